"""The run: the folder that training writes and export reads.

run.json         format, recipe, plan, result
images/          the training images as one memory map (train/image_cache.py)
start.npz        what a warm start began from (train/warm_start.py)
semantic.pt      the trunk of a semantic half, trained first: weights, optimiser, step
checkpoint.pt    the last state: weights, averaged weights, optimiser, step
best.pt          the averaged weights with the lowest error on the validation images
metrics.jsonl    one line for each measurement
failures.jsonl   one line for each file that could not be used
events/ sheets/ curves.png     for people; sheets/reconstructions/<step>.png: what it painted on its way
"""

import contextlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.errors import DamagedError, IncompatibleError, NothingFoundError, SettingsError
from train.files import atomic_file, disk_errors, write_file
from train.image_cache import ImageCache
from train.images import Pixels, Preprocessing
from train.printable import printable

if TYPE_CHECKING:
    from train.architectures import Autoencoder
    from train.recipe import Recipe
    from train.warm_start import WarmStart

FORMAT = 2  # 1 was written before there were recipes
RUN_FILE = "run.json"
MOMENTS_FOLDER = "reconstructions"  # below sheets/
START = "start.npz"
_CONTENT = (
    "images",
    "start.npz",
    "semantic.pt",
    "checkpoint.pt",
    "best.pt",
    "metrics.jsonl",
    "failures.jsonl",
    "events",
    "sheets",
    "curves.png",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the settings came to on this machine and these images; fixed for the life of a run, so resuming agrees."""

    dims: int
    mirror: bool
    batch: int
    steps: int
    steps_per_epoch: int
    precision: str  # fp32 or bf16
    device: str
    threads: int
    pca_validation_mse: float | None  # of PCA with as many dimensions, not mirrored: the number to beat
    pca_test_mse: float | None  # None: with more dimensions than images nobody can say
    trunk_steps: int = 0  # of training without labels before the others, where the network has a trunk
    wiener_test_mse: float | None = None  # of the best linear denoiser with as many, where there is noise
    pixel_half_from_start: bool = False  # with its decoder; else it begins from the components of these images

    @property
    def epochs(self) -> float:
        """Passes over the training images."""
        return self.steps / self.steps_per_epoch


class Run:
    """One training run on disk."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def create(cls, folder: Path, recipe: "Recipe", source: str, start: "WarmStart | None" = None) -> "Run":
        """Begin a run in an empty folder; `source` is a folder, or the name or file of a data set."""
        run = cls(folder, {"format": FORMAT})
        if start is not None:
            write_file(folder / START, start.content)
            run.record["start"] = start.facts()
        preprocessing = Preprocessing(recipe.data.image_size).to_json()
        run.update(source=source, recipe=recipe.to_json(), preprocessing=preprocessing)
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open a run, finished or not.

        Raises:
            NothingFoundError: There is none.
            DamagedError: run.json is damaged.
            IncompatibleError: A later version wrote it, or images are prepared in another way today.
        """
        path = folder / RUN_FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            run_format = record["format"]
        except FileNotFoundError as error:
            raise NothingFoundError(f"{folder} is no training run: it has no {RUN_FILE}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{path} is damaged ({error}): train again with --fresh.") from error
        if run_format != FORMAT:
            raise IncompatibleError(
                f"{folder} has run format {run_format}, but this version reads {FORMAT}: use the version that wrote "
                "it, or train again with --fresh."
            )
        run = cls(folder, record)
        run.preprocessing  # noqa: B018  (refuses pictures that are prepared in another way)
        return run

    @staticmethod
    def clear(folder: Path) -> None:
        """Remove what a run consists of from a folder; run.json goes first, so that no half of it is left behind."""
        (folder / RUN_FILE).unlink(missing_ok=True)
        for name in _CONTENT:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Path of one of the run's files or folders."""
        return self.folder / name

    def update(self, **values: Any) -> None:
        """Write values into run.json, atomically."""
        self.record = {**self.record, **values}
        write_file(self.folder / RUN_FILE, json.dumps(self.record, indent=1).encode())

    @property
    def name(self) -> str:
        """Name of the run: its folder's."""
        return self.folder.resolve().name

    @property
    def recipe(self) -> "Recipe":
        """Settings the run was begun with.

        Raises:
            IncompatibleError: Another version wrote settings that this one does not know.
        """
        from train.recipe import Recipe

        try:
            return Recipe.from_json(self.record["recipe"])
        except (SettingsError, KeyError, TypeError) as error:
            raise IncompatibleError(
                f"{self.folder} has settings that this version does not know ({error}): use the version that began it, "
                "or train again with --fresh."
            ) from error

    @property
    def recipe_as_planned(self) -> "Recipe":
        """The same as the plan has it.

        With as many dimensions as the images support, no trunk where there was nothing to train it, and the branches
        of the start where they are taken over.
        """
        recipe, plan = self.recipe, self.plan
        if plan is not None and not plan.trunk_steps and not self.has_start:
            recipe = recipe.without_trunk()
        if plan is not None and plan.pixel_half_from_start:
            recipe = recipe.with_branches(self.record["start"]["branches"])
        if plan is None or recipe.architecture.code(recipe.data.image_size) == plan.dims:
            return recipe
        return recipe.with_dims(plan.dims)

    @property
    def has_start(self) -> bool:
        """Whether it began from what another model has learnt."""
        return "start" in self.record

    def began_from(self) -> dict[str, Any]:
        """What it took over from which model, for JSON; empty where its weights were random."""
        if not self.has_start:
            return {}
        pixel_half = self.plan is not None and self.plan.pixel_half_from_start
        took = {"trunk": self.recipe_as_planned.has_trunk, "decoder": pixel_half}
        return {"start": {"model": self.record["start"].get("model", ""), **took}}

    def start(self) -> "WarmStart | None":
        """What this run began from; None where its weights were random.

        Raises:
            DamagedError: It cannot be read.
        """
        from train.warm_start import WarmStart

        if not self.has_start:
            return None
        path = self.folder / START
        try:
            start = WarmStart.read(path.read_bytes(), str(path))
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror}): train again with --fresh.") from error
        if start.digest != self.record["start"]["sha256"]:
            raise DamagedError(f"{path} is not what the run began from: train again with --fresh.")
        return replace(start, name=self.record["start"]["name"])

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become the pixels that the network is trained on."""
        return Preprocessing.from_json(self.record["preprocessing"])

    @property
    def plan(self) -> Plan | None:
        """What the settings came to; None until the images are read."""
        stored = self.record.get("plan")
        return Plan(**stored) if stored else None

    @property
    def result(self) -> dict[str, Any] | None:
        """Final figures; None until the run is finished."""
        return self.record.get("result")

    @property
    def images(self) -> Pixels:
        """The images as a memory map, (n, size, size, 3)."""
        return self.cache.pixels()

    @property
    def cache(self) -> ImageCache:
        """The images with the files that they came from."""
        return ImageCache(self.folder / "images", self.preprocessing)

    def load_network(self) -> "Autoencoder":
        """The network with the best averaged weights, in evaluation mode, on the CPU.

        Raises:
            NothingFoundError: Training has not come far enough.
            DamagedError: best.pt does not hold what it should.
        """
        stored = self.load("best.pt")
        if stored is None:
            raise NothingFoundError(f"{self.folder} holds no trained network yet: run `lookalike train` again.")
        return restore_network(self.recipe_as_planned, stored, self.folder / "best.pt")

    def load(self, name: str) -> dict[str, Any] | None:
        """Read a checkpoint of this run; None where there is none yet.

        Raises:
            DamagedError: It cannot be read.
        """
        import torch

        path = self.folder / name
        if not path.exists():
            return None
        try:
            stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise DamagedError(f"{path} is damaged ({error}): train again with --fresh.") from error
        return stored

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint atomically."""
        import torch

        with atomic_file(self.folder / name) as file:
            torch.save(dict(state), file)

    def write_failures(self, records: Sequence[Mapping[str, Any]]) -> None:
        """List the files that could not be used: path, code, detail, and whether it was meant to be an image."""
        lines = [json.dumps({**record, "path": printable(os.fsencode(record["path"]))}) for record in records]
        write_file(self.folder / "failures.jsonl", "".join(line + "\n" for line in lines).encode())

    def moments(self) -> list[int]:
        """Steps of the training whose reconstructions are kept, in order."""
        found = self.path("sheets").glob(f"{MOMENTS_FOLDER}/*.png")
        return sorted(int(file.stem) for file in found if file.stem.isascii() and file.stem.isdigit())

    def moment(self, step: int) -> Path:
        """Where the reconstructions at a step are kept."""
        return self.path("sheets") / MOMENTS_FOLDER / f"{step:08}.png"

    def set_plan(self, plan: Plan) -> None:
        """Fix the plan for the life of the run."""
        self.update(plan=asdict(plan))

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl, in order; a line that a kill tore is left out."""
        return list(_whole_lines(self.folder / "metrics.jsonl"))

    def add_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one measurement."""
        path = self.folder / "metrics.jsonl"
        with disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def rewind_metrics(self, step: int) -> None:
        """Forget measurements after a step: the run goes on from there."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_file(self.folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept).encode())


def restore_network(recipe: "Recipe", stored: Mapping[str, Any], path: Path) -> "Autoencoder":
    """Make the network of a recipe with the weights of a checkpoint, in evaluation mode."""
    try:
        network = recipe.build()
        network.load_state_dict(stored["weights"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise DamagedError(f"{path} does not hold this network ({error}): train again with --fresh.") from error
    return network.eval()


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
