"""A warm start: what a model has learnt from other pictures, to go on from instead of random weights.

    trunk.npz    in a bundle: the settings of the trunk, and its weights in half precision, by name
    start.npz    in a run: the same, and the pixel half with the decoder where the model has them to give

`lookalike export` puts a trunk.npz into every bundle whose model has a trunk, since its BatchNorm is folded away in the
graph; the pixel half is read from the graphs. What depends on the pictures is found anew for the new ones: the
statistics of BatchNorm, the filters and the map of the semantic half; and the principal components, unless the pixel
half that comes with the start paints the new pictures better.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from train.architectures.similarity import Similarity, SimilarityAutoencoder, Trunk
from train.data import Data, evenly
from train.errors import DamagedError, NothingFoundError, SettingsError
from train.pixel_half import BRANCHES, PixelHalf
from train.recipe import Recipe
from train.run import RUN_FILE, Run
from train.workspace import SHIPPED, STARTER, Workspace

TRUNK_FILE = "trunk.npz"
MAX_BYTES = 256 << 20
NORM_IMAGES = 4096  # from which the statistics of BatchNorm are found anew
_SHAPE = ("trunk_widths", "trunk_blocks", "trunk_stride")  # settings that decide the shapes of the weights
_SETTINGS = "settings"  # name of the array that holds them, as JSON
_PIXEL = "pixel."  # before the names of the weights of a pixel half
_BUNDLE_FILE = "bundle.json"  # export/bundle.py writes it, which this package cannot import
_GRAPHS = ("encoder.onnx", "decoder.onnx")
_IN_GRAPHS, _HALVED = "network.", "_half"  # before and behind the names that weights had in the network

Array = NDArray[Any]


@dataclass(frozen=True)
class WarmStart:
    """A trunk as a file holds it, and the pixel half with its decoder where there is one."""

    name: str  # for people
    content: bytes  # of the file
    shape: dict[str, Any]  # the settings of `_SHAPE`
    weights: dict[str, Array]
    pixel: PixelHalf | None = None
    lacking: str = "it comes without a decoder"  # why there is no pixel half, where there is none
    licence: str = ""  # of the pictures that it was trained on, where the model says so

    @classmethod
    def read(cls, content: bytes, name: str) -> "WarmStart":
        """Read trunk.npz or start.npz.

        Raises:
            DamagedError: It is not one.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                held = {key: arrays[key] for key in arrays.files}
            told = json.loads(held.pop(_SETTINGS).tobytes())
            shape = {key: tuple(told[key]) if isinstance(told[key], list) else told[key] for key in _SHAPE}
            pixel = {key.removeprefix(_PIXEL): held.pop(key) for key in [*held] if key.startswith(_PIXEL)}
            start = cls(
                name,
                content,
                shape,
                held,
                PixelHalf.read(told["pixel"], pixel) if pixel else None,
                str(told.get("lacking", cls.lacking)),
                str(told.get("licence", "")),
            )
            start.trunk()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SettingsError, zipfile.BadZipFile) as error:
            raise DamagedError(f"{name} holds no trunk to start from ({error}): export the model again.") from error
        return start

    @classmethod
    def find(cls, workspace: Workspace, name: str) -> "WarmStart":
        """What a model, or a run, has to start from, by name or folder.

        Raises:
            NothingFoundError: There is neither, or it has no trunk.
            DamagedError: A file is not what was written.
        """
        for kind in ("models", "runs"):
            for folder in (workspace.place(kind, name), Path(name), *([SHIPPED] if name == STARTER else [])):
                if (folder / TRUNK_FILE).is_file():
                    return _of_bundle(cls.read(_read(folder / TRUNK_FILE), str(folder / TRUNK_FILE)), folder)
                if (folder / RUN_FILE).is_file():
                    return _of_run(Run.open(folder))
        models = ", ".join(each for each in workspace.names("models")) or "none"
        raise NothingFoundError(
            f"there is no model or run {name!r} with a trunk to start from (models here: {models}): give one that was "
            "trained by the recipe similarity and exported by this version."
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def model(self) -> str:
        """Name of the model or run: that of its folder."""
        place = Path(self.name)
        return (place.parent if place.name == TRUNK_FILE else place).resolve().name

    def facts(self) -> dict[str, Any]:
        """What a run remembers of it, for JSON."""
        told: dict[str, Any] = {"name": self.name, "sha256": self.digest, "model": self.model}
        told |= {"branches": self.pixel.branches} if self.pixel else {}
        return told | ({"licence": self.licence} if self.licence else {})

    def fit_recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with a trunk of this shape.

        Raises:
            SettingsError: Its architecture has no trunk.
        """
        if not isinstance(recipe.architecture, Similarity):
            raise SettingsError(
                f"the recipe {recipe.name} has no trunk (its architecture is {recipe.architecture.kind}): --from goes "
                "with the recipe similarity."
            )
        return replace(recipe, architecture=replace(recipe.architecture, **self.shape))

    def keeping(self, chosen: Recipe, plain: Recipe) -> "WarmStart":
        """The same without a pixel half where it does not fit, or the user has set its shape otherwise.

        Args:
            chosen: The recipe as it will be trained.
            plain: The recipe as its file has it.
        """
        if self.pixel is None:
            return self
        lacking = self.pixel.misfit(chosen)
        for name in BRANCHES:
            wanted, brought = getattr(chosen.architecture, name), self.pixel.architecture[name]
            if wanted not in (brought, getattr(plain.architecture, name)):
                lacking = lacking or f"its {name} is {_plain(brought)}, and {_plain(wanted)} was asked for"
        return self._with(None, lacking) if lacking else self

    def trunk(self) -> Trunk:
        """The trunk with these weights."""
        trunk = Trunk(Similarity(**self.shape))
        trunk.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in self.weights.items()})
        return trunk

    def _with(self, pixel: PixelHalf | None, lacking: str = "", licence: str | None = None) -> "WarmStart":
        """The same with another pixel half, or with a reason why there is none."""
        licence = self.licence if licence is None else licence
        told = {**self.shape, "licence": licence} | ({"lacking": lacking} if pixel is None else {})
        content = _packed(told, self.weights, pixel)
        return replace(self, content=content, pixel=pixel, lacking=lacking, licence=licence)


def agreed(chosen: Recipe, start: WarmStart | None, *, plain: Recipe) -> tuple[Recipe, WarmStart | None]:
    """A recipe with the trunk of a start, and of the start what the recipe can take.

    Args:
        chosen: The recipe as the user wants it; where that is without the trunk of its file, the trunk stays behind.
        start: What is begun from, if anything.
        plain: The recipe as its file has it.

    Raises:
        SettingsError: There is a start, and the recipe has no trunk.
    """
    if start is None:
        return chosen, None
    fitted = chosen if plain.has_trunk and not chosen.has_trunk else start.fit_recipe(chosen)
    return fitted, start.keeping(fitted, plain)


def trunk_bytes(network: nn.Module, recipe: Recipe) -> bytes | None:
    """trunk.npz of a trained network; None where it has no trunk."""
    trunk = network.semantic.trunk if isinstance(network, SimilarityAutoencoder) else None
    if trunk is None:
        return None
    shape = {key: getattr(recipe.architecture, key) for key in _SHAPE}
    return _packed(shape, {key: value.numpy() for key, value in trunk.state_dict().items()})


def _packed(told: Mapping[str, Any], trunk: Mapping[str, Array], pixel: PixelHalf | None = None) -> bytes:
    """Settings and weights as an .npz, in half precision; the same bytes for the same content."""
    told = {**told, "pixel": pixel.settings()} if pixel else told
    arrays = {**trunk, **{_PIXEL + key: value for key, value in (pixel.weights if pixel else {}).items()}}
    halved = {key: value.astype(np.float16) if value.dtype == np.float32 else value for key, value in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **{_SETTINGS: np.frombuffer(json.dumps(told).encode(), np.uint8)}, **halved)  # type: ignore[arg-type]
    return buffer.getvalue()


@torch.no_grad()
def estimate_norms(trunk: Trunk, data: Data, batch: int, device: torch.device) -> None:
    """Find the statistics of every BatchNorm anew from the training images, in place."""
    norms = [module for module in trunk.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    trunk.to(device).train()
    rows = evenly(data.train, NORM_IMAGES)
    for first in range(0, len(rows), batch):
        some = rows[first : first + batch]
        if len(some) > 1 or len(rows) == 1:
            trunk(data.tensor(some, device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    trunk.eval()


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise DamagedError(f"{path} has more than {MAX_BYTES >> 20} MB: it is no trunk.")
    return path.read_bytes()


def _of_run(run: Run) -> WarmStart:
    network, recipe = run.load_network(), run.recipe_as_planned
    content = trunk_bytes(network, recipe)
    if content is None:
        raise NothingFoundError(f"{run.folder} has no trunk to start from: its recipe is {run.recipe.name}.")
    assert isinstance(network, SimilarityAutoencoder)  # noqa: S101  (it has a trunk)
    return WarmStart.read(content, str(run.folder))._with(PixelHalf.of_network(network, recipe))


def _of_bundle(start: WarmStart, folder: Path) -> WarmStart:
    """A trunk with the pixel half that the graphs beside it hold."""
    if not (folder / _BUNDLE_FILE).is_file():
        return start
    try:
        told = json.loads(_read(folder / _BUNDLE_FILE))
        digests = {name: told["files"][name]["sha256"] for name in _GRAPHS if name in told["files"]}
        licence, settings = str(told["licence"]), told["recipe"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{folder / _BUNDLE_FILE} is damaged ({error}): export the model again.") from error
    if len(digests) < len(_GRAPHS):
        return start._with(None, start.lacking, licence)
    try:
        recipe = Recipe.from_json(settings)
    except SettingsError:
        return start._with(None, "another version of Lookalike trained it", licence)
    weights: dict[str, Array] = {}
    for name, digest in digests.items():
        weights |= _initialisers(folder / name, digest)
    pixel = PixelHalf.of_graphs(recipe, weights)
    return start._with(pixel, "" if pixel else "its graphs do not hold the weights under their names", licence)


def _initialisers(path: Path, digest: str) -> dict[str, Array]:
    """Weights of a graph by the names that they had in the network."""
    import onnx

    content = _read(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(f"{path} is not what was written: export the model again, or restore it from a copy.")
    try:
        # From bytes: nothing is read from other files that a graph may name.
        graph = onnx.load_model_from_string(content).graph
        found = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer if _is_weight(each.name)}
    except (ValueError, TypeError, RuntimeError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise DamagedError(f"{path} is no ONNX graph that can be read ({error}): export the model again.") from error
    return {key.removeprefix(_IN_GRAPHS).removesuffix(_HALVED): value for key, value in found.items()}


def _is_weight(name: str) -> bool:
    return name.startswith(_IN_GRAPHS)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
