import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from train.architectures.similarity import Similarity, Trunk
from train.data import Data
from train.interruption import Interrupted, StopRequest
from train.recipe import Recipe
from train.run import Plan, Run
from train.trunk_learner import (
    CollapsedError,
    TrunkLearner,
    coding_rate,
    contrast,
    effective_rank,
    nearest_distance,
)

SETTINGS = {
    "data.image_size": 32,
    "architecture.trunk_widths": [8, 16],
    "architecture.filters": 8,
    "architecture.widths": [16],
    "semantic.batch": 32,
    "semantic.epochs": 4,
    "training.epochs": 1,
    "training.precision": "fp32",
    "training.threads": 1,
}


def images(count: int = 128) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def learner(steps: int = 16, **changes: object) -> TrunkLearner:
    recipe = Recipe.read("similarity", {**SETTINGS, **changes})
    rows = np.arange(128)
    plan = Plan(
        dims=256,
        mirror=True,
        batch=32,
        steps=1,
        steps_per_epoch=4,
        precision="fp32",
        device="cpu",
        threads=1,
        pca_validation_mse=None,
        pca_test_mse=None,
        trunk_steps=steps,
    )
    assert isinstance(recipe.architecture, Similarity)
    torch.manual_seed(0)
    return TrunkLearner(recipe, plan, Data(images(), rows, rows[:32], rows[:32]), Trunk(recipe.architecture))


def test_contrast_is_what_its_formula_says_for_two_images():
    angles = torch.tensor([[0.0, 0.3], [0.1, 0.5]])  # two views of two images on a circle
    z = torch.stack([angles.cos(), angles.sin()], dim=-1)
    losses = []
    for view in range(2):
        for image in range(2):
            alike = math.cos(float(angles[view, image] - angles[1 - view, image])) / 0.2
            others = [math.cos(float(angles[view, image] - angles[each, 1 - image])) / 0.2 for each in range(2)]
            losses.append(math.log(sum(math.exp(other) for other in others)) - alike)
    assert float(contrast(3 * z, 0.2)) == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_coding_rate_is_larger_for_rows_that_point_everywhere():
    everywhere, together = torch.eye(8).repeat(4, 1), torch.ones(32, 8)
    assert float(coding_rate(everywhere)) == pytest.approx(math.log(1 + 1 / 0.04) / 2, rel=1e-5)
    assert float(coding_rate(together)) == pytest.approx(math.log(1 + 8 / 0.04) / 16, rel=1e-4)


def test_nearest_distance_is_the_mean_logarithm_of_distances_to_neighbours():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert float(nearest_distance(rows)) == pytest.approx(math.log(2**0.5), abs=1e-4)


def test_effective_rank_counts_directions_in_use():
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.ones(6, 3)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("objective", ["contrast", "bootstrap"])
def test_views_of_an_image_grow_alike_and_images_stay_apart(objective):
    found = learner(40, **{"semantic.objective": objective})
    losses = []
    for _ in range(40):
        found.sums = {}
        found.take_step()
        losses.append(found.sums["agreement_loss"])
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert found.expect_spread()["rank"] > 2


@pytest.mark.parametrize("objective", ["contrast", "bootstrap"])
def test_a_learner_that_is_restored_ends_with_the_same_weights(objective):
    changes = {"semantic.objective": objective}
    whole = learner(6, **changes)
    for _ in range(6):
        whole.take_step()
    first = learner(6, **changes)
    for _ in range(3):
        first.take_step()
    second = learner(6, **changes)
    second.restore(first.state())
    for _ in range(3):
        second.take_step()
    for a, b in zip(whole.online.state_dict().values(), second.online.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_collapsed_trunk_is_said_to_be_one_with_the_way_out():
    found = learner()
    with torch.no_grad():
        for weight in found.trunk.parameters():
            weight.zero_()
    with pytest.raises(CollapsedError, match=r"collapsed.*semantic\.objective=contrast.*patches"):
        found.expect_spread()


def test_a_loss_that_is_no_number_stops_the_trunk():
    found = learner()
    with torch.no_grad():
        next(found.trunk.parameters()).fill_(math.nan)
    with pytest.raises(CollapsedError, match="learning_rate"):
        found.take_step()


def test_a_run_that_was_stopped_in_its_trunk_ends_as_an_undisturbed_one(tmp_path):
    from PIL import Image

    from train import training
    from train.progress import Reporter

    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(images(120)):
        Image.fromarray(image).save(photos / f"{number:03d}.png")
    recipe = Recipe.read("similarity", {**SETTINGS, "architecture.dims": 24, "architecture.semantic_dims": 8})

    def train(folder: Path, stop: StopRequest) -> Run:
        result = training.train_recipe(
            photos, folder, recipe, datasets=tmp_path, fresh=False, reporter=Reporter(), stop=stop
        )
        return result.run

    class AfterSteps(StopRequest):
        """A user who presses Ctrl-C while the trunk is trained."""

        looks = 0

        def __bool__(self) -> bool:
            self.looks += (tmp_path / "b" / "metrics.jsonl").exists()
            return self.looks > 5

        def raise_if_set(self, saved: str = "") -> None:
            if self.looks > 5:
                raise Interrupted(2, saved)

    least = pytest.MonkeyPatch()
    least.setattr(training, "MIN_TRUNK_IMAGES", 100)
    try:
        whole = train(tmp_path / "a", StopRequest())
        with pytest.raises(Interrupted) as stopped:
            train(tmp_path / "b", AfterSteps())
        assert "of the trunk" in str(stopped.value)
        assert not (tmp_path / "b" / "checkpoint.pt").exists()
        resumed = train(tmp_path / "b", StopRequest())
    finally:
        least.undo()
    ours, theirs = (run.load_network().state_dict() for run in (whole, resumed))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    lines = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)


def test_few_images_get_a_semantic_half_without_a_trunk(tmp_path, drawn_folder):
    from train.interruption import stop_request
    from train.progress import Reporter
    from train.training import train_recipe

    recipe = Recipe.read("similarity", {**SETTINGS, "architecture.dims": 12, "architecture.semantic_dims": 4})
    with stop_request() as stop:
        run = train_recipe(
            drawn_folder, tmp_path / "r", recipe, datasets=tmp_path, fresh=False, reporter=Reporter(), stop=stop
        ).run
    network = run.load_network()
    assert network.semantic.trunk is None
    assert float(network.semantic.projection.abs().max()) > 0
