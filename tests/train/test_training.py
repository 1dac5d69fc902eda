import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from train.corruptions import damage
from train.data import Data
from train.errors import NothingFoundError, SettingsError
from train.image_cache import MIN_IMAGES
from train.interruption import Interrupted, StopRequest
from train.learner import DivergedError
from train.losses import clip_straight_through, laplacian_distance, ms_ssim
from train.progress import SILENT, Reporter
from train.recipe import Recipe
from train.run import Run, restore_network
from train.training import Result, train_recipe

SMALL = {
    "data.image_size": 16,
    "architecture.dims": 16,
    "architecture.widths": [16, 16, 16],
    "training.batch": 8,
    "training.precision": "fp32",
    "training.threads": 1,
}
SECTIONS = {"image_size": "data", "mirror": "data", "dims": "architecture", "semantic_dims": "architecture"}


class StopAfter(StopRequest):
    """A user who presses Ctrl-C when the loop looks for the n-th time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    def __bool__(self) -> bool:
        self._left -= 1
        if self._left < 0:
            self.signal_number = 2
        return super().__bool__()


class Listener(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__("none")
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def train(
    source: Path,
    folder: Path,
    *,
    fresh: bool = False,
    stop: StopRequest | None = None,
    reporter: Reporter = SILENT,
    name: str = "principal",
    **settings: object,
) -> Result:
    if not settings.keys() & {"minutes", "epochs"}:
        settings["epochs"] = 6
    changed = {key if "." in key else f"{SECTIONS.get(key, 'training')}.{key}": v for key, v in settings.items()}
    recipe = Recipe.read(name, {**SMALL, **changed})
    with own_threads():
        stop = StopRequest() if stop is None else stop
        return train_recipe(source, folder, recipe, datasets=Path("none"), fresh=fresh, reporter=reporter, stop=stop)


@contextmanager
def own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weights(run: Run) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.load("checkpoint.pt")["averaged"].values()])


@pytest.fixture(scope="module")
def finished(drawn_folder, tmp_path_factory) -> Result:
    return train(drawn_folder, tmp_path_factory.mktemp("runs") / "drawn")


def test_the_published_network_is_never_worse_than_where_it_began(finished):
    errors = [line["mse"] for line in finished.run.metrics() if line["split"] == "validation"]
    assert len(errors) > 1
    assert finished.figures["validation_mse"] == pytest.approx(min(errors))
    stored = finished.run.load("best.pt")
    assert stored["validation_mse"] == finished.figures["validation_mse"] <= errors[0]


def test_the_plan_says_what_the_settings_came_to(finished):
    plan = finished.run.plan
    assert (plan.dims, plan.batch, plan.steps_per_epoch, plan.steps) == (16, 8, 5, 30)
    assert finished.figures["train_images"] + finished.figures["test_images"] + 2 == 48


def test_metrics_have_rates_and_errors(finished):
    train_lines = [line for line in finished.run.metrics() if line["split"] == "train"]
    assert [line["step"] for line in train_lines] == [20, 30]
    assert {"loss", "mse", "learning_rate", "images_per_second", "epoch"} <= train_lines[0].keys()


@pytest.mark.parametrize(
    "name", ["sheets/reconstructions.png", "sheets/morphs.png", "sheets/neighbours.png", "curves.png"]
)
def test_sheets_and_curves_are_drawn(finished, name):
    with Image.open(finished.run.path(name)) as picture:
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert min(picture.size) > 100
    assert len(colours) > 50


def test_what_it_painted_at_its_first_and_its_last_step_stays(finished):
    kept = finished.run.moments()
    assert (kept[0], kept[-1]) == (0, 30)
    assert finished.run.moment(30).read_bytes() == finished.run.path("sheets/reconstructions.png").read_bytes()
    assert f"sheets/reconstructions/ has what it painted at {len(kept)} moments" in finished.sentence()


def test_tensorboard_reads_the_events(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.run.path("events")))
    events.Reload()
    tags = events.Tags()
    assert {"mse/train", "mse/validation", "loss/train", "learning_rate/train", "images_per_second/train"} <= set(
        tags["scalars"]
    )
    assert set(tags["images"]) == {"reconstructions", "morphs", "neighbours"}


@pytest.mark.parametrize("looks", [60, 75])
def test_an_interrupted_run_goes_on_to_the_same_weights(finished, drawn_folder, tmp_path, looks):
    with pytest.raises(Interrupted, match="the same command goes on"):
        train(drawn_folder, tmp_path, stop=StopAfter(looks))
    assert 0 < Run.open(tmp_path).load("checkpoint.pt")["step"] < 30
    resumed = train(drawn_folder, tmp_path)
    assert resumed.resumed
    assert torch.equal(weights(resumed.run), weights(finished.run))
    assert resumed.figures["test_mse"] == finished.figures["test_mse"]
    steps = [(line["step"], line["split"], line["mse"]) for line in resumed.run.metrics()]
    assert steps == [(line["step"], line["split"], line["mse"]) for line in finished.run.metrics()]


def test_a_run_that_denoises_goes_on_to_the_same_weights_and_chooses_by_clean_pictures(drawn_folder, tmp_path):
    denoising = {"name": "similarity", "epochs": 4, "architecture.filters": 16, "training.denoising": 0.5}
    whole = train(drawn_folder, tmp_path / "whole", **denoising)
    with pytest.raises(Interrupted, match="the same command goes on"):
        train(drawn_folder, tmp_path / "stopped", stop=StopAfter(55), **denoising)
    assert 0 < Run.open(tmp_path / "stopped").load("checkpoint.pt")["step"] < 20
    resumed = train(drawn_folder, tmp_path / "stopped", **denoising)
    assert torch.equal(weights(resumed.run), weights(whole.run))
    plain = train(drawn_folder, tmp_path / "plain", **{**denoising, "training.denoising": 0.0})
    assert not torch.equal(weights(plain.run), weights(whole.run))
    first = [next(line for line in run.metrics() if line["split"] == "validation") for run in (whole.run, plain.run)]
    assert first[0]["mse"] == first[1]["mse"]


def test_who_learns_to_denoise_paints_damaged_pictures_more_like_the_clean_ones(drawn_folder, tmp_path):
    def error(share: float) -> float:
        run = train(drawn_folder, tmp_path / str(share), epochs=20, denoising=share).run
        data = Data.of(run.cache, run.recipe.data)
        x = data.tensor(data.train, torch.device("cpu"))
        network = restore_network(run.recipe_as_planned, {"weights": run.load("checkpoint.pt")["averaged"]}, tmp_path)
        with torch.no_grad():
            painted = network.decode(network.encode(damage(x, 1.0, torch.Generator().manual_seed(9))))
        return float((painted - x).square().mean())

    assert error(0.5) < error(0.0)


def test_another_seed_learns_something_else(finished, drawn_folder, tmp_path):
    assert not torch.equal(weights(train(drawn_folder, tmp_path, seed=1).run), weights(finished.run))


def test_a_finished_run_is_left_alone_and_a_fresh_one_begins_again(drawn_folder, tmp_path):
    run = train(drawn_folder, tmp_path, epochs=1).run
    written = run.path("best.pt").stat().st_mtime_ns
    listener = Listener()
    train(drawn_folder, tmp_path, epochs=1, reporter=listener)
    assert "trained already" in listener.said[-1]
    assert run.path("best.pt").stat().st_mtime_ns == written
    train(drawn_folder, tmp_path, epochs=1, fresh=True, dims=8)
    assert Run.open(tmp_path).load_network().dims == 8


def test_other_settings_are_refused_by_name(finished, drawn_folder, tmp_path):
    with pytest.raises(SettingsError, match=r"dims \(16, now 8\).*--fresh"):
        train(drawn_folder, finished.run.folder, dims=8)
    with pytest.raises(SettingsError, match="the images"):
        train(tmp_path, finished.run.folder)


def test_a_budget_in_minutes_becomes_steps_once_and_for_all(drawn_folder, tmp_path):
    listener = Listener()
    with pytest.raises(Interrupted):
        train(drawn_folder, tmp_path, minutes=0.02, precision="auto", reporter=listener, stop=StopAfter(50))
    assert "epochs in" in listener.said[-1] and "about" in listener.said[-1]
    plan = Run.open(tmp_path).plan
    assert plan.precision in ("fp32", "bf16")
    assert train(drawn_folder, tmp_path, minutes=0.02, precision="auto").run.plan == plan


def test_bf16_trains_too(drawn_folder, tmp_path):
    figures = train(drawn_folder, tmp_path, precision="bf16", epochs=2).figures
    assert figures["validation_mse"] <= figures["pca_validation_mse"] * 1.05


def test_fewer_images_than_dimensions_is_said(drawn_folder, tmp_path):
    listener = Listener()
    train(drawn_folder, tmp_path, dims=300, epochs=1, reporter=listener)
    assert any("44 training images support 43 dimensions: using 43 instead of 300" in line for line in listener.said)


@pytest.mark.parametrize("name", ["patches", "similarity"])
def test_as_few_images_as_can_be_trained_on_make_a_network(drawn_folder, tmp_path, name):
    (tmp_path / "pictures").mkdir()
    for file in sorted(drawn_folder.rglob("*.png"))[:MIN_IMAGES]:
        shutil.copy(file, tmp_path / "pictures")
    train(tmp_path / "pictures", tmp_path / "run", name=name, dims=64, semantic_dims=32, epochs=1)
    network = Run.open(tmp_path / "run").load_network()
    latents = network.encode(torch.rand(3, 3, 16, 16))
    assert bool(network.embed(latents).isfinite().all())


def test_a_loss_that_is_no_number_stops_and_keeps_the_best(drawn_folder, tmp_path):
    with pytest.raises(DivergedError, match="lower --learning-rate"):
        train(drawn_folder, tmp_path, learning_rate=1e30, linear_frozen=0.0, epochs=30)
    network = Run.open(tmp_path).load_network()
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())


def test_too_few_images_are_refused_with_their_number(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(NothingFoundError, match="no images that can be used"):
        train(tmp_path / "pictures", tmp_path / "run")


def test_the_clip_passes_gradients_only_where_the_clipped_image_is_wrong():
    image = torch.tensor([1.5, 1.5, 0.5], requires_grad=True)
    target = torch.tensor([1.0, 0.5, 0.5])
    clipped = clip_straight_through(image)
    assert clipped.tolist() == [1.0, 1.0, 0.5]
    (clipped - target).square().sum().backward()
    assert image.grad.tolist() == [0.0, 1.0, 0.0]


def test_losses_are_nothing_for_equal_images_and_grow_with_noise():
    random = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 64, 64, generator=random)
    noise = torch.randn(image.shape, generator=random)
    assert float(ms_ssim(image, image)) == pytest.approx(1, abs=1e-5)
    assert float(laplacian_distance(image, image)) == 0
    similar, other = (image + level * noise for level in (0.05, 0.3))
    assert 1 > float(ms_ssim(image, similar)) > float(ms_ssim(image, other))
    assert 0 < float(laplacian_distance(image, similar)) < float(laplacian_distance(image, other))
