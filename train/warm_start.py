"""A warm start: a trunk that has learnt from other pictures, to go on from instead of random weights.

    trunk.npz    its settings, and its weights in half precision, by name

`lookalike export` puts one into every bundle whose model has a trunk. What depends on the pictures is found anew for
the new ones: the statistics of BatchNorm, the filters, the map of the semantic half and the principal components.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from train.architectures.similarity import Similarity, SimilarityAutoencoder, Trunk
from train.data import Data, evenly
from train.errors import DamagedError, NothingFoundError, SettingsError
from train.recipe import Recipe
from train.run import RUN_FILE, Run
from train.workspace import SHIPPED, STARTER, Workspace

TRUNK_FILE = "trunk.npz"
MAX_BYTES = 256 << 20
NORM_IMAGES = 4096  # from which the statistics of BatchNorm are found anew
_SHAPE = ("trunk_widths", "trunk_blocks", "trunk_stride")  # settings that decide the shapes of the weights
_SETTINGS = "settings"  # name of the array that holds them, as JSON


@dataclass(frozen=True)
class WarmStart:
    """A trunk as a file holds it."""

    name: str  # for people
    content: bytes  # of the file
    shape: dict[str, Any]  # the settings of `_SHAPE`
    weights: dict[str, np.ndarray[Any, Any]]

    @classmethod
    def read(cls, content: bytes, name: str) -> "WarmStart":
        """Read trunk.npz.

        Raises:
            DamagedError: It is not one.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                weights = {key: arrays[key] for key in arrays.files}
            shape = json.loads(weights.pop(_SETTINGS).tobytes())
            shape = {key: tuple(shape[key]) if isinstance(shape[key], list) else shape[key] for key in _SHAPE}
            start = cls(name, content, shape, weights)
            start.trunk()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SettingsError, zipfile.BadZipFile) as error:
            raise DamagedError(f"{name} holds no trunk to start from ({error}): export the model again.") from error
        return start

    @classmethod
    def find(cls, workspace: Workspace, name: str) -> "WarmStart":
        """The trunk of a model, or of a run, by name or folder.

        Raises:
            NothingFoundError: There is neither, or it has no trunk.
        """
        for kind in ("models", "runs"):
            for folder in (workspace.place(kind, name), Path(name), *([SHIPPED] if name == STARTER else [])):
                if (folder / TRUNK_FILE).is_file():
                    return cls.read(_read(folder / TRUNK_FILE), str(folder / TRUNK_FILE))
                if (folder / RUN_FILE).is_file():
                    return cls.read(_of_run(Run.open(folder)), str(folder))
        models = ", ".join(each for each in workspace.names("models")) or "none"
        raise NothingFoundError(
            f"there is no model or run {name!r} with a trunk to start from (models here: {models}): give one that was "
            "trained by the recipe similarity and exported by this version."
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

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

    def trunk(self) -> Trunk:
        """The trunk with these weights."""
        trunk = Trunk(Similarity(**self.shape))
        trunk.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in self.weights.items()})
        return trunk


def trunk_bytes(network: nn.Module, recipe: Recipe) -> bytes | None:
    """trunk.npz of a trained network; None where it has no trunk."""
    trunk = network.semantic.trunk if isinstance(network, SimilarityAutoencoder) else None
    if trunk is None:
        return None
    shape = {key: getattr(recipe.architecture, key) for key in _SHAPE}
    arrays = {key: value.numpy() for key, value in trunk.state_dict().items()}
    halved = {key: value.astype(np.float16) if value.dtype == np.float32 else value for key, value in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **{_SETTINGS: np.frombuffer(json.dumps(shape).encode(), np.uint8)}, **halved)  # type: ignore[arg-type]
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


def _of_run(run: Run) -> bytes:
    content = trunk_bytes(run.load_network(), run.recipe_as_planned)
    if content is None:
        raise NothingFoundError(f"{run.folder} has no trunk to start from: its recipe is {run.recipe.name}.")
    return content
