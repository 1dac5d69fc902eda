"""Training, from a folder of images or a data set, or from wherever an earlier start left off, to the best network."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train import pca
from train.architectures import Autoencoder
from train.architectures.similarity import SimilarityAutoencoder
from train.data import Data, Rows, evenly
from train.datasets.lookup import find_dataset
from train.devices import find_device
from train.errors import NothingFoundError, SettingsError, TooManyRejectedError
from train.events import Showcase
from train.figures import error_distribution, latents_of, psnr, removal, squared_error
from train.files import locked, remove_leftovers
from train.image_cache import MIN_IMAGES, CacheSummary, FolderPictures, Pictures
from train.interruption import StopRequest
from train.learner import EVALUATION_IMAGES, DivergedError, Learner, new_network
from train.pixel_half import PixelHalf, chosen_pixel_half
from train.progress import Reporter, duration
from train.recipe import Recipe
from train.recipe_files import DEFAULT_EPOCHS
from train.run import MOMENTS_FOLDER, Plan, Run
from train.semantic_half import MIN_IMAGES as MIN_TRUNK_IMAGES
from train.semantic_half import find_semantic_half, trunk_steps
from train.warm_start import WarmStart

TEST_IMAGES = 10_000  # of the test images, at most: all that CIFAR-10 and MNIST have
FIT_IMAGES = 2000  # that parts which are fitted without gradients see
LATENT_IMAGES = 5000  # of the training images, whose latents say how they are spread
MOST_DESCRIBED = 4096  # dimensions of a latent, of which mean and deviation are written down
STEPS_BETWEEN_LINES = 20  # of metrics.jsonl
MIRROR_DIMS = 256  # components, at most, by which held-out images are asked whether mirroring fits them
MIRROR_TOLERANCE = 1.02  # mirrored components may rebuild held-out images this much worse: they search better
CALIBRATION_STEPS = 6  # timed, after one that warms up
CALIBRATION_SHARE = 0.9  # of the measured rate is promised: evaluations, sheets and checkpoints take the rest


@dataclass(frozen=True)
class Result:
    """What training came to."""

    run: Run
    cache: CacheSummary
    figures: dict[str, Any]
    resumed: bool  # an earlier start had done some of the steps
    seconds: float  # of this start

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": self.run.name,
            "folder": str(self.run.folder),
            "images": self.cache.stored,
            "duplicate": self.cache.duplicate,
            "rejected": self.cache.rejected,
            "other": self.cache.other,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 1),
            **self.figures,
        }

    def sentence(self) -> str:
        """What was reached on held-out images, where the run is, and the next command."""
        f = self.figures
        parts = [f"MSE {f['test_mse']:.5f}"]
        if f.get("ratio") is not None:
            parts.append(f"PCA with {f['dims']} dimensions {f['pca_test_mse']:.5f}, ratio {f['ratio']:.3f}")
        if f.get("wiener_test_mse") is not None:
            parts.append(f"Wiener filter with {f['dims']} dimensions {f['wiener_test_mse']:.5f}")
        parts.append(f"PSNR {f['psnr']:.1f} dB")
        if "psnr_elsewhere" in f:
            parts.append(
                f"changed pixels {f['psnr_changed_before']:.1f} dB before and {f['psnr_changed_after']:.1f} dB after, "
                f"the others {f['psnr_elsewhere']:.1f} dB"
            )
        parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in f.get("constraints", {}).items()]
        return (
            f"Held out ({f['test_images']:,} images neither trained on nor used to choose): {', '.join(parts)}.\n"
            f"The run is in {self.run.folder} (sheets/, curves.png, events/ for TensorBoard"
            f"{self._moments_in_words()}).\n"
            f"Next: lookalike export {self.name_to_export}"
        )

    def _moments_in_words(self) -> str:
        count = len(self.run.moments())
        return f"; sheets/{MOMENTS_FOLDER}/ has what it painted at {count} moments" if count > 1 else ""

    def refuse_too_many_rejected(self, max_bad: float) -> None:
        """End with the exit code for it where a larger share of the images than `max_bad` was rejected.

        Raises:
            TooManyRejectedError: It was; the run is finished and good all the same.
        """
        if self.cache.rejected_share > max_bad:
            raise TooManyRejectedError(
                f"{self.cache.rejected_count:,} images were rejected, {self.cache.rejected_share:.1%} of them and more "
                f"than --max-bad {max_bad:.1%}: the run is trained on the good ones; "
                f"{self.run.path('failures.jsonl')} lists the others."
            )

    @property
    def name_to_export(self) -> str:
        """What `lookalike export` takes: the name in the workspace, or the path where the run stands elsewhere."""
        return self.run.name if self.run.folder.parent.name == "runs" else str(self.run.folder)


# --- from a folder to a result ----------------------------------------------------------------------------------------


def train_recipe(
    source: Path | str | Pictures,
    folder: Path,
    recipe: Recipe,
    *,
    datasets: Path,
    fresh: bool,
    reporter: Reporter,
    stop: StopRequest,
    start: WarmStart | None = None,
) -> Result:
    """Train by a recipe, or go on with what an earlier start left in the run's folder.

    Args:
        source: A folder of images, searched recursively, the name or file of a data set, or any other pictures.
        folder: Of the run.
        recipe: Settings; those that shape what is learnt must be the ones the run was begun with.
        datasets: Where the archives of data sets lie.
        fresh: Remove what stands in the run's folder first.
        reporter: Told what is going on.
        stop: Looked at between two steps.
        start: What another model has learnt, to begin from instead of random weights.

    Raises:
        Interrupted: The user asked to stop; everything is saved.
    """
    began = time.monotonic()
    source = FolderPictures(source) if isinstance(source, Path) else source
    with locked(folder, "training"):
        remove_leftovers(folder)
        run = _begin(source, folder, recipe, start, fresh=fresh)
        recipe = run.recipe
        threads = run.plan.threads if run.plan else recipe.training.threads or len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        summary = _read_images(run, source, datasets, threads, reporter, stop)
        resumed = run.path("checkpoint.pt").exists()
        if run.result is None:
            _train(run, recipe, threads, reporter, stop)
        else:
            reporter.say(f"{folder} is trained already (--fresh trains it again).")
    return Result(run, summary, run.result or {}, resumed, time.monotonic() - began)


def _begin(source: Pictures | str, folder: Path, recipe: Recipe, start: WarmStart | None, *, fresh: bool) -> Run:
    """Open the run that stands in a folder, or begin one."""
    if fresh:
        Run.clear(folder)
    told = source if isinstance(source, str) else source.place
    if not (folder / "run.json").exists():
        return Run.create(folder, recipe, told, start)
    run = Run.open(folder)
    differences = run.recipe.differences(recipe)
    begun = run.record.get("start", {})
    if begun.get("sha256") != (start.digest if start else None):
        differences.insert(0, f"--from ({begun.get('name', 'none')}, now {start.name if start else 'none'})")
    if run.record["source"] != told:
        differences.insert(0, f"the images ({run.record['source']}, now {told})")
    if differences:
        raise SettingsError(
            f"{folder} was begun with other settings: {'; '.join(differences)}. Give the same ones to go on with it, "
            "another --name to train beside it, or --fresh to begin again."
        )
    return run


def _read_images(
    run: Run, source: Pictures | str, datasets: Path, threads: int, reporter: Reporter, stop: StopRequest
) -> CacheSummary:
    cache = run.cache
    if cache.complete:
        return cache.summary()
    if not isinstance(source, str):
        summary = cache.fill(source, workers=threads, reporter=reporter, stop=stop)
    else:
        dataset = find_dataset(source, datasets)
        classes = run.recipe.data.classes or None
        summary = cache.fill_from(dataset, classes=classes, reporter=reporter, stop=stop)
        run.update(dataset=dataset.identity)
    run.write_failures(cache.failures())
    if summary.stored < MIN_IMAGES:
        cache.forget()  # the folder is read anew when it has more
        raise NothingFoundError(_too_few(source, summary, run))
    counts = [f"{summary.stored:,} images"]
    counts += [f"{summary.duplicate:,} duplicates"] if summary.duplicate else []
    counts += [f"{summary.rejected_count:,} rejected ({run.path('failures.jsonl')})"] if summary.rejected_count else []
    counts += [f"{summary.other:,} other files"] if summary.other else []
    reporter.say(f"Read {', '.join(counts)}.")
    return summary


def _too_few(source: Pictures | str, summary: CacheSummary, run: Run) -> str:
    found = f"only {summary.stored} usable images" if summary.stored else "no images that can be used"
    if summary.rejected_count:
        found += f" and {summary.rejected_count} that were rejected ({run.path('failures.jsonl')} says why)"
    return (
        f"{source} has {found}; training needs at least {MIN_IMAGES}: give more JPEG, PNG, WebP, GIF, BMP, TIFF or "
        "AVIF files."
    )


def _train(run: Run, recipe: Recipe, threads: int, reporter: Reporter, stop: StopRequest) -> None:
    data = Data.of(run.cache, recipe.data)
    plan = run.plan
    if plan is None:
        plan, components = _make_plan(data, recipe, threads, reporter, run.start())
        run.set_plan(plan)
    elif run.path("checkpoint.pt").exists() or plan.pixel_half_from_start:
        components = None
    else:
        components = _components(data, recipe, plan.mirror, plan.dims)
    recipe = run.recipe_as_planned
    learner = _learner(run, recipe, plan, data, components, reporter, stop)
    began = time.monotonic()
    shown = Showcase(
        run, data.validation, data.train, recipe=recipe, step=learner.step, pca_mse=plan.pca_validation_mse
    )
    with shown as showcase:
        _loop(run, learner, showcase, reporter, stop)
        best = run.load_network()
        showcase.show(best, learner.step)
        share = showcase.seconds / max(time.monotonic() - began, 1e-9)
    figures = _final_figures(best, learner) | run.began_from()
    run.update(result={**figures, "sheets_share_of_time": round(share, 4)})


def _learner(
    run: Run,
    recipe: Recipe,
    plan: Plan,
    data: Data,
    components: pca.PrincipalComponents | None,
    reporter: Reporter,
    stop: StopRequest,
) -> Learner:
    """A learner at its first step, from what can be fitted without gradients, or at that of the last checkpoint."""
    learner = Learner(recipe, plan, data, new_network(recipe))
    stored = run.load("checkpoint.pt")
    if stored is not None:
        learner.restore(stored)
        run.rewind_metrics(learner.step)
        return learner
    if components is not None:
        learner.network.start_from(components)
    if isinstance(learner.network, SimilarityAutoencoder):
        start = run.start() if plan.pixel_half_from_start else None
        if start and start.pixel:
            start.pixel.give_to(learner.network, data, mirror=plan.mirror)
        find_semantic_half(run, plan, data, learner.network, reporter, stop)
    if learner.network.fits_images:
        learner.network.fit(data.tensor(evenly(data.train, FIT_IMAGES), learner.device))
    learner.averaged.load_state_dict(learner.network.state_dict())
    run.rewind_metrics(-1)
    return learner


# --- the plan ---------------------------------------------------------------------------------------------------------


def _components(data: Data, recipe: Recipe, mirror: bool, dims: int) -> pca.PrincipalComponents:
    """Components of the images as a linear path sees them: of thumbnails, where they are large."""
    return pca.principal_components(
        data.images,
        data.train,
        dims - recipe.semantic_dims,
        mirror=mirror,
        factor=recipe.architecture.thumbnail_factor(recipe.data.image_size),
        channels=recipe.data.channels,
        seed=recipe.training.seed,
    )


def _make_plan(
    data: Data, recipe: Recipe, threads: int, reporter: Reporter, start: WarmStart | None = None
) -> tuple[Plan, pca.PrincipalComponents | None]:
    """Find the linear bound, choose what the settings leave open, and say what will be done.

    Returns:
        The plan, and the components that the network starts from, where it does.
    """
    code = recipe.architecture.code(recipe.data.image_size)
    learns_trunk = recipe.has_trunk and recipe.semantic.epochs > 0
    if learns_trunk and len(data.train) < MIN_TRUNK_IMAGES:
        instead = "the trunk stays as it came" if start else "the semantic half is found from patches and colours"
        reporter.say(
            f"{len(data.train):,} images are too few to learn from what is alike ({MIN_TRUNK_IMAGES:,} would do): "
            f"{instead}, without training."
        )
        learns_trunk = False
    recipe = recipe if learns_trunk or start else recipe.without_trunk()
    mirror, components = _choose_mirror(data, recipe, code, reporter)
    if components is not None and components.dims == 0:
        raise NothingFoundError("all training images look the same, so there is nothing to learn: give other images.")
    pixel = _pixel_half(start, data, recipe, components, reporter, mirror=mirror)
    if pixel is not None:
        recipe, components = recipe.with_branches(pixel.branches), None
    if components is not None:
        supported = components.dims + recipe.semantic_dims
        if supported < code:
            reporter.say(
                f"{len(data.train):,} training images support {supported} dimensions: using {supported} instead of "
                f"{code}."
            )
            code = supported
            recipe = recipe.with_dims(code)
    batch = min(recipe.training.batch, len(data.train))
    bound = _linear_bound(data, recipe, code, reporter)
    plan = Plan(
        dims=code,
        mirror=mirror,
        batch=batch,
        steps=1,
        steps_per_epoch=len(data.train) // batch,
        precision=recipe.training.precision,
        device=find_device(recipe.training.device),
        threads=threads,
        pca_validation_mse=bound["pca_validation_mse"],
        pca_test_mse=bound["pca_test_mse"],
        wiener_test_mse=bound.get("wiener_test_mse"),
        pixel_half_from_start=pixel is not None,
    )
    return _with_budget(plan, recipe, data, reporter, learns_trunk=learns_trunk), components


def _pixel_half(
    start: WarmStart | None,
    data: Data,
    recipe: Recipe,
    components: pca.PrincipalComponents | None,
    reporter: Reporter,
    *,
    mirror: bool,
) -> PixelHalf | None:
    """The pixel half of a start, where it is to be begun from; else why it is not, in one line."""
    if start is None:
        return None
    pixel, why = start.pixel, start.lacking
    if pixel is not None and components is not None:
        pixel, why = chosen_pixel_half(pixel, data, recipe, components, mirror=mirror)
    what = "Starting" if pixel else "Not starting"
    reporter.say(f"{what} from the decoder of {start.model}: {why}.")
    return pixel


def _linear_bound(data: Data, recipe: Recipe, code: int, reporter: Reporter) -> dict[str, float | None]:
    """What the best linear code of that length reaches on validation and test images; None where nobody can say."""
    values = recipe.data.channels * recipe.data.image_size**2
    if code >= values:
        reporter.say(
            f"The code has {code:,} numbers and a picture has {values:,}: it could be copied, so nothing is compressed."
        )
        return {"pca_validation_mse": 0.0, "pca_test_mse": 0.0}
    if code >= len(data.train):
        return {"pca_validation_mse": None, "pca_test_mse": None}
    reporter.say(f"Finding the principal components of {len(data.train):,} images.")
    plain = pca.principal_components(
        data.images, data.train, code, mirror=False, channels=recipe.data.channels, seed=recipe.training.seed
    )
    held_out = {"validation": evenly(data.validation, EVALUATION_IMAGES), "test": _test_rows(data)}
    sigma = recipe.noise

    def error(rows: Rows, sigma: float) -> float:
        return pca.reconstruction_error(plain, data.images, rows, channels=recipe.data.channels, sigma=sigma)

    bound: dict[str, float | None] = {f"pca_{name}_mse": error(rows, 0.0) for name, rows in held_out.items()}
    if sigma:
        bound["wiener_test_mse"] = error(held_out["test"], sigma)
    return bound


def _choose_mirror(
    data: Data, recipe: Recipe, code: int, reporter: Reporter
) -> tuple[bool, pca.PrincipalComponents | None]:
    """Mirror as the settings say; on `auto`, unless held-out images have a right way round (text, faces, flags).

    Returns:
        The choice, and the components that the network starts from, where it starts from some.
    """
    needed = recipe.architecture.starts_from_components
    if recipe.data.mirror != "auto":
        mirror = recipe.data.mirror == "yes"
        return mirror, _components(data, recipe, mirror, code) if needed else None
    reporter.say("Asking the images whether they look the same mirrored.")
    dims = code if needed else min(code, MIRROR_DIMS)
    plain, mirrored = (_components(data, recipe, mirror, dims) for mirror in (False, True))
    factor = recipe.architecture.thumbnail_factor(recipe.data.image_size)
    validation = evenly(data.validation, EVALUATION_IMAGES)
    errors = [
        pca.reconstruction_error(found, data.images, validation, factor, recipe.data.channels)
        for found in (plain, mirrored)
    ]
    mirror = errors[1] <= MIRROR_TOLERANCE * errors[0]
    return mirror, (mirrored if mirror else plain) if needed else None


def _with_budget(plan: Plan, recipe: Recipe, data: Data, reporter: Reporter, *, learns_trunk: bool) -> Plan:
    """Choose precision and steps; where that needs the rate of this machine, measure it."""
    training = recipe.training
    if recipe.architecture.is_fitted or training.epochs == 0:
        return replace(plan, precision="fp32", steps=0)
    precisions = ["fp32", "bf16"] if training.precision == "auto" else [training.precision]
    epochs = training.epochs or DEFAULT_EPOCHS
    if len(precisions) == 1 and training.minutes is None:
        plan = replace(plan, steps=epochs * plan.steps_per_epoch)
        return replace(plan, trunk_steps=trunk_steps(plan, recipe, data)) if learns_trunk else plan
    times = {name: _step_times(replace(plan, precision=name), recipe, data) for name in precisions}
    # The fastest step says what a precision can do, the median what the machine gives beside its other work.
    precision = min(precisions, key=lambda name: min(times[name]))
    step = float(np.median(times[precision])) / CALIBRATION_SHARE
    plan = replace(plan, precision=precision)
    plan = replace(plan, trunk_steps=trunk_steps(plan, recipe, data) if learns_trunk else 0)
    share = 1 - recipe.semantic.share if plan.trunk_steps else 1.0
    steps = (
        epochs * plan.steps_per_epoch if training.minutes is None else max(1, int(training.minutes * share * 60 / step))
    )
    plan = replace(plan, steps=steps)
    if plan.trunk_steps:
        reporter.say(f"Learning what is alike without labels first: {plan.trunk_steps:,} steps.")
    reporter.say(
        f"Training {plan.dims:,} dimensions on {len(data.train):,} images of {recipe.data.image_size} px: "
        f"{plan.epochs:.3g} epochs in {precision} on {plan.device}, about {duration(steps * step)}."
    )
    return plan


def _step_times(plan: Plan, recipe: Recipe, data: Data) -> list[float]:
    """Seconds of a few steps with every loss and all weights moving, on a network that is then thrown away."""
    nothing = torch.zeros(len(data.train), recipe.semantic_dims)  # finding the semantic half is no part of a step
    learner = Learner(recipe, replace(plan, steps=1000), data, new_network(recipe), semantic_half=nothing)
    learner.step = int(1000 * max(recipe.training.linear_frozen, 1 / 2))
    learner.take_step()
    times = []
    for _ in range(CALIBRATION_STEPS):
        start = time.perf_counter()
        learner.take_step()
        times.append(time.perf_counter() - start)
    return times


# --- the loop ---------------------------------------------------------------------------------------------------------


def _loop(run: Run, learner: Learner, showcase: Showcase, reporter: Reporter, stop: StopRequest) -> None:
    plan = learner.plan
    clock = _Clock(learner)
    with reporter.task("training", plan.steps * plan.batch, "images") as task:
        task.resume_at(learner.step * plan.batch)
        if learner.step == 0:
            task.note = _note(learner, _evaluate(run, learner, showcase, clock))
            learner.save_best(run)
        while learner.step < plan.steps:
            try:
                learner.take_step()
            except DivergedError:
                learner.save_best(run)
                raise
            if learner.step % STEPS_BETWEEN_LINES == 0 or learner.step == plan.steps:
                _log(run, showcase, learner.step, "train", clock.line(learner))
            task.advance(plan.batch)
            if learner.step % learner.steps_between_evaluations == 0 or learner.step == plan.steps:
                task.note = _note(learner, _evaluate(run, learner, showcase, clock))
            if stop:
                learner.save(run)
                stop.raise_if_set(
                    f"saved at step {learner.step:,} of {plan.steps:,}: the same command goes on from there."
                )
            if clock.since_save() >= learner.settings.checkpoint_seconds:
                learner.save(run)
                clock.saved()
        learner.save(run)


def _evaluate(run: Run, learner: Learner, showcase: Showcase, clock: "_Clock") -> float:
    found = learner.evaluate()
    mse = found["mse"]
    epoch = learner.step / learner.plan.steps_per_epoch
    _log(run, showcase, learner.step, "validation", {"epoch": epoch, **found, "psnr": psnr(mse)})
    showcase.show_if_cheap(learner.averaged, learner.step, clock.seconds())
    return mse


def _log(run: Run, showcase: Showcase, step: int, kind: str, values: dict[str, float]) -> None:
    run.add_metrics({"step": step, "split": kind, **values})
    showcase.scalars(kind, values, step)


def _note(learner: Learner, mse: float) -> str:
    epoch = learner.step / learner.plan.steps_per_epoch
    bound = learner.plan.pca_validation_mse
    beside = f" (PCA {bound:.5f})" if bound else ""
    return f"epoch {epoch:.0f}, validation MSE {mse:.5f}{beside}"


class _Clock:
    """Times of this process: they say how fast it is and when to save, and decide nothing that is learnt."""

    def __init__(self, learner: Learner) -> None:
        self._began = self._saved = self._line = time.monotonic()
        self._line_step = learner.step

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def since_save(self) -> float:
        return time.monotonic() - self._saved

    def saved(self) -> None:
        self._saved = time.monotonic()

    def line(self, learner: Learner) -> dict[str, float]:
        """Means since the last line of metrics."""
        now = time.monotonic()
        images = (learner.step - self._line_step) * learner.plan.batch
        rate = images / max(now - self._line, 1e-9)
        self._line, self._line_step = now, learner.step
        steps = learner.sums.pop("steps")
        means = {name: total / steps for name, total in learner.sums.items()}
        learner.sums = {}
        epoch = learner.step / learner.plan.steps_per_epoch
        return {"epoch": epoch, **means, "learning_rate": learner.learning_rate, "images_per_second": rate}


# --- figures ----------------------------------------------------------------------------------------------------------


def _test_rows(data: Data) -> Rows:
    return evenly(data.test, TEST_IMAGES)


def _final_figures(best: Autoencoder, learner: Learner) -> dict[str, Any]:
    """Figures of the best network on the test images, which were neither trained on nor used to choose it."""
    best, data, plan = best.to(learner.device), learner.data, learner.plan
    rows = _test_rows(data)
    mse = squared_error(best, data, rows, learner.recipe)
    bound = plan.pca_test_mse
    return {
        "recipe": learner.recipe.name,
        "steps": learner.step,
        "best_step": learner.best_step,
        "dims": plan.dims,
        "mirror": plan.mirror,
        "train_images": len(data.train),
        "test_images": len(rows),
        "test_mse": mse,
        "pca_test_mse": bound,
        "wiener_test_mse": plan.wiener_test_mse,
        "ratio": mse / bound if bound else None,
        "psnr": psnr(mse),
        "validation_mse": learner.best_mse,
        "pca_validation_mse": plan.pca_validation_mse,
        "constraints": learner.constraint_figures(best, rows),
        "errors": error_distribution(best, data, evenly(data.validation, LATENT_IMAGES)),
        "latent": _latent_facts(best, learner),
        **removal(best, data, evenly(rows, EVALUATION_IMAGES), learner.recipe),
    }


def _latent_facts(best: Autoencoder, learner: Learner) -> dict[str, Any]:
    """How the latents of the training images are spread, for sampling and traversals."""
    facts: dict[str, Any] = {"prior": learner.recipe.prior}
    if best.latent_dims > MOST_DESCRIBED:
        return facts
    latents = latents_of(best, learner.data, evenly(learner.data.train, LATENT_IMAGES))
    spread = {"mean": latents.mean(0), "deviation": latents.std(0, unbiased=False)}
    return facts | {name: [round(float(value), 6) for value in values] for name, values in spread.items()}
