"""The semantic half, before the decoder is trained: filters, the trunk without labels, and the map in closed form."""

import time
from dataclasses import replace

import numpy as np
import torch

from train.architectures.similarity import SemanticEncoder, Similarity, SimilarityAutoencoder, Trunk
from train.data import Data, evenly
from train.interruption import StopRequest
from train.invariance import fit_semantic_half
from train.progress import Reporter
from train.recipe import Recipe
from train.run import Plan, Run
from train.trunk_learner import TrunkLearner
from train.warm_start import estimate_norms

PATCHED_IMAGES = 2000  # from which filters are chosen
CALIBRATION_STEPS = 4  # timed, after one that warms up
CALIBRATION_SHARE = 0.95  # of the measured rate is promised
LINES = 200  # of metrics.jsonl from the trunk, at most
LOOKS = 20  # for collapse
FIRST_LOOK = 0.1  # share of the steps: before it a trunk may still be finding its way
CHECKPOINT = "semantic.pt"
MIN_EPOCHS = 5  # of a trunk; in fewer it learns less than patches and colours say
MIN_IMAGES = 2000  # from fewer, a trunk or a map learns less than the closed form has (docs/decisions/0007)


def trunk_steps(plan: Plan, recipe: Recipe, data: Data) -> int:
    """Steps of the trunk: as many as its epochs have, or as its share of the minutes holds on this machine.

    0 where that is not worth while: the budget is better spent on the decoder.
    """
    settings = recipe.semantic
    learner = _learner(recipe, replace(plan, trunk_steps=1000), data, _new_trunk(recipe))
    if recipe.training.minutes is None:
        return settings.epochs * learner.steps_per_epoch
    learner.take_step()
    times = []
    for _ in range(CALIBRATION_STEPS):
        start = time.perf_counter()
        learner.take_step()
        times.append(time.perf_counter() - start)
    seconds = 60 * recipe.training.minutes * settings.share
    steps = int(seconds * CALIBRATION_SHARE / float(np.median(times)))
    return steps if steps >= MIN_EPOCHS * learner.steps_per_epoch else 0


def find_semantic_half(
    run: Run, plan: Plan, data: Data, network: SimilarityAutoencoder, reporter: Reporter, stop: StopRequest
) -> None:
    """Set all weights of a network's semantic half, or go on with where an earlier start was stopped.

    Raises:
        Interrupted: The user asked to stop; what the trunk has learnt is saved.
        CollapsedError: To the trunk, all images look the same.
    """
    recipe = run.recipe_as_planned
    encoder: SemanticEncoder = network.semantic
    device = torch.device(plan.device)
    encoder.fit_patches(data.tensor(evenly(data.train, PATCHED_IMAGES), torch.device("cpu")), recipe.training.seed)
    if encoder.trunk is not None:
        start = run.start()
        if start is not None:
            reporter.say(f"Starting from the trunk of {run.record['start']['name']}.")
            encoder.trunk.load_state_dict(start.trunk().state_dict())
            estimate_norms(encoder.trunk, data, recipe.semantic.batch, device)
        if plan.trunk_steps:
            _train_trunk(run, recipe, plan, data, encoder.trunk, reporter, stop)
    fit_semantic_half(
        encoder,
        data,
        recipe.semantic.augmentation,
        mirror=plan.mirror,
        whitening=recipe.semantic.whitening_power,
        neighbours=recipe.semantic.neighbours_kept if len(data.train) >= MIN_IMAGES else 0,
        seed=recipe.training.seed,
        device=device,
        reporter=reporter,
        stop=stop,
    )


def _train_trunk(
    run: Run, recipe: Recipe, plan: Plan, data: Data, trunk: Trunk, reporter: Reporter, stop: StopRequest
) -> None:
    learner = _learner(recipe, plan, data, trunk)
    stored = run.load(CHECKPOINT)
    if stored is not None:
        learner.restore(stored)
    run.rewind_metrics(_line_number(learner))
    between, look = max(1, plan.trunk_steps // LINES), max(1, plan.trunk_steps // LOOKS)
    saved = began = time.monotonic()
    first = learner.step
    images = learner.batch * (recipe.semantic.views + recipe.semantic.weak)
    with reporter.task("learning what is alike", plan.trunk_steps * images, "views") as task:
        task.resume_at(learner.step * images)
        while learner.step < plan.trunk_steps:
            learner.take_step()
            task.advance(images)
            if learner.step % between == 0 or learner.step == plan.trunk_steps:
                rate = (learner.step - first) * images / max(time.monotonic() - began, 1e-9)
                run.add_metrics(
                    {"step": _line_number(learner), "split": "trunk", **_means(learner), "views_per_second": rate}
                )
            if learner.step % look == 0 and learner.step >= FIRST_LOOK * plan.trunk_steps:
                found = learner.expect_spread()
                run.add_metrics({"step": _line_number(learner), "split": "spread", **found})
                task.note = f"epoch {learner.step / learner.steps_per_epoch:.0f}, rank {found['rank']:.0f}"
            if stop or time.monotonic() - saved >= recipe.training.checkpoint_seconds:
                run.save(CHECKPOINT, learner.state())
                saved = time.monotonic()
                stop.raise_if_set(
                    f"saved at step {learner.step:,} of {plan.trunk_steps:,} of the trunk: the same command goes on "
                    "from there."
                )
    run.save(CHECKPOINT, learner.state())
    learner.finish()


def _learner(recipe: Recipe, plan: Plan, data: Data, trunk: Trunk) -> TrunkLearner:
    return TrunkLearner(recipe, plan, data, trunk)


def _new_trunk(recipe: Recipe) -> Trunk:
    architecture = recipe.architecture
    assert isinstance(architecture, Similarity)  # noqa: S101  (`Recipe.has_trunk` said so)
    return Trunk(architecture)


def _line_number(learner: TrunkLearner) -> int:
    """The trunk's steps stand before those of the decoder, which begin at 0."""
    return learner.step - learner.plan.trunk_steps - 1


def _means(learner: TrunkLearner) -> dict[str, float]:
    steps = learner.sums.pop("steps")
    means = {name: total / steps for name, total in learner.sums.items()}
    learner.sums = {}
    return means | {"epoch": learner.step / learner.steps_per_epoch, "learning_rate": learner.learning_rate}
