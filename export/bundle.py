"""The bundle: a trained model as ONNX graphs with everything that is needed to use them. Writer and reader.

    models/<name>/
        bundle.json         what it is, and the digest of every graph
        encoder.onnx        pixels uint8 (n, h, w, 3) -> latent (n, dims), embedding (n, dims) of length 1
        decoder.onnx        latent (n, dims) -> pixels uint8 (n, h, w, 3); not there for a foreign encoder
        encoder.fp16.onnx, decoder.fp16.onnx
        trunk.npz           what a warm start begins from (train/warm_start.py), where the model has a trunk

Reading needs neither PyTorch nor the package onnx. A graph is handed to ONNX Runtime as the very bytes whose digest was
compared, after a look at what it asks for: a bundle may come from somebody else.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.onnx_file import UnsafeModelError, expect_self_contained
from train.errors import DamagedError, IncompatibleError, NothingFoundError
from train.files import atomic_folder
from train.images import Pixels, Preprocessing

FORMAT_VERSION = 1
DESCRIPTION = "bundle.json"
MAX_GRAPH_BYTES = 500 << 20
MAX_DESCRIPTION_BYTES = 16 << 20  # far more than the probes of any encoder take
PROBES = 4

Variant = Literal["fp32", "fp16", "int8"]
Part = Literal["encoder", "decoder"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a bundle says of its model; part of `bundle.json`."""

    preprocessing: Preprocessing
    dims: int  # length of an embedding
    latent_shape: tuple[int, ...] = ()  # of a latent, which is handed on flat: (dims,) or (c, h, w); empty: (dims,)
    semantic_dims: int = 0  # the leading ones that say what is shown
    alpha: float = 1.0  # weight of the other half in the embedding
    channels: int = 3  # 1: the model sees shades of grey only
    tileable: bool = False  # fully convolutional: larger pictures may be done tile by tile
    removes: tuple[str, ...] = ()  # corruptions that it was trained to undo, by kind
    latent: Mapping[str, Any] = field(default_factory=dict)  # mean, deviation and prior of latents (docs/models.md)
    errors: Mapping[str, Any] = field(default_factory=dict)  # distribution of the squared error on held-out images
    recipe: Mapping[str, Any] = field(default_factory=dict)  # that it was trained by, whole
    source: str = ""  # what it was made from, for people
    licence: str = ""  # of the training images; the page shows it
    quality: Mapping[str, Any] = field(default_factory=dict)  # reconstruction and the like, measured in training
    parity: Mapping[str, Any] = field(default_factory=dict)  # how near each variant is to the original network
    versions: Mapping[str, str] = field(default_factory=dict)  # of the libraries that wrote it


@dataclass(frozen=True)
class Bundle:
    """A model that stands in a folder, read and found to be whole."""

    folder: Path
    model_id: str
    facts: ModelFacts
    files: Mapping[str, Mapping[str, Any]]  # name -> {"sha256": hex, "bytes": int}
    # (PROBES, dims): embeddings of `probe_pixels`, as the writer computed them
    probes: Floats | None = field(compare=False)

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Read a bundle; the graphs' digests are compared when a graph is read.

        Raises:
            NothingFoundError: There is no bundle in the folder.
            IncompatibleError: A newer version of Lookalike wrote it.
            DamagedError: Its description or a graph is missing, of another size, or makes no sense.
        """
        path = folder / DESCRIPTION
        try:
            if path.stat().st_size > MAX_DESCRIPTION_BYTES:
                raise _damaged(path, f"it has more than {MAX_DESCRIPTION_BYTES >> 20} MB")
            stored = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NothingFoundError(
                f"there is no model in {folder}: make one with `lookalike train` and `lookalike export`, "
                "or name another folder."
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, str(error)) from error
        bundle = _read_description(folder, stored)
        for name, facts in bundle.files.items():
            file = folder / name
            if not file.is_file():
                raise _damaged(file, "it is missing")
            if file.stat().st_size != facts["bytes"]:
                raise _damaged(file, f"it has {file.stat().st_size:,} bytes, but {facts['bytes']:,} were written")
        return bundle

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are fitted before they are encoded."""
        return self.facts.preprocessing

    @property
    def dims(self) -> int:
        """Length of an embedding."""
        return self.facts.dims

    @property
    def latent_dims(self) -> int:
        """Length of a latent: as many as an embedding has, except for a spatial code."""
        return math.prod(self.facts.latent_shape) if self.facts.latent_shape else self.facts.dims

    @property
    def semantic_dims(self) -> int:
        """The leading dimensions that say what is shown."""
        return self.facts.semantic_dims

    @property
    def alpha(self) -> float:
        """Weight of the pixel half in the embedding."""
        return self.facts.alpha

    @property
    def quality(self) -> Mapping[str, Any]:
        """Figures measured in training."""
        return self.facts.quality

    @property
    def error_quantiles(self) -> list[tuple[float, float]]:
        """Share of the images held out in training, and the squared error that it stays below; rising, may be empty."""
        stored = self.facts.errors.get("quantiles")
        try:
            known = sorted((float(share), float(error)) for share, error in stored.items()) if stored else []
        except (AttributeError, TypeError, ValueError):
            return []
        return known if np.isfinite(known).all() else []

    @property
    def has_decoder(self) -> bool:
        """Whether latents can be painted: morphs and reconstructions."""
        return graph_name("decoder", "fp32") in self.files

    @property
    def variants(self) -> tuple[str, ...]:
        """The number formats in which the encoder is there."""
        return tuple(variant for variant in ("fp32", "fp16", "int8") if graph_name("encoder", variant) in self.files)

    def graph(self, part: Part, variant: str = "fp32") -> bytes:
        """Read the bytes of a graph and compare their digest.

        Raises:
            NothingFoundError: The bundle has no such graph.
            DamagedError: The file is not what was written.
            IncompatibleError: It asks for files or operators from outside.
        """
        name = graph_name(part, variant)
        if name not in self.files:
            has = ", ".join(self.files)
            raise NothingFoundError(f"the model in {self.folder} has no {name}: it has {has}.", code=_missing(part))
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise _damaged(self.folder / name, str(error)) from error
        if hashlib.sha256(content).hexdigest() != self.files[name]["sha256"]:
            raise _damaged(self.folder / name, "its digest is not that of what was written")
        try:
            expect_self_contained(content)
        except UnsafeModelError as error:
            raise IncompatibleError(
                f"{self.folder / name} is refused: {error}. Use a model that `lookalike export` wrote."
            ) from error
        return content

    def info(self) -> dict[str, Any]:
        """Everything that can be told of the model, ready for JSON."""
        return _describe(self.model_id, self.facts, self.files) | {"variants": list(self.variants)}


def graph_name(part: str, variant: str) -> str:
    """File name of a graph: encoder.onnx, encoder.fp16.onnx."""
    return f"{part}.onnx" if variant == "fp32" else f"{part}.{variant}.onnx"


def model_id_of(encoder: bytes, preprocessing: Preprocessing) -> str:
    """Identity of a model: what decides its embeddings, and nothing else.

    Returns:
        64 hexadecimal digits: SHA-256 over the encoder's graph and the canonical JSON of its preprocessing.
    """
    canonical = json.dumps(preprocessing.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(encoder + b"\0" + canonical.encode()).hexdigest()


def write_bundle(
    folder: Path,
    graphs: Mapping[tuple[Part, Variant], bytes],
    facts: ModelFacts,
    probes: Floats | None,
    others: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Publish a bundle in one step: a folder that stood there is replaced whole or not at all.

    Args:
        folder: Its place.
        graphs: At least ("encoder", "fp32").
        facts: What it says of its model.
        probes: Embeddings of `probe_pixels` by the encoder, (PROBES, dims).
        others: Files beside the graphs, by name.

    Raises:
        DiskError: It cannot be written.
    """
    model_id = model_id_of(graphs["encoder", "fp32"], facts.preprocessing)
    named = {graph_name(*key): content for key, content in graphs.items()} | dict(others or {})
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in named.items()
    }
    with atomic_folder(folder) as aside:
        for name, content in named.items():
            (aside / name).write_bytes(content)
        description = _describe(model_id, facts, files) | {"probes": _rounded(probes)}
        text = json.dumps(description, indent=2, sort_keys=True)
        (aside / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    return Bundle.open(folder)


def probe_pixels(size: int) -> Pixels:
    """Draw the pictures whose embeddings every bundle carries: a library that computes differently is noticed.

    Returns:
        (PROBES, size, size, 3): a ramp, stripes, a disc and smooth noise, in colour.
    """
    y, x = np.mgrid[0:size, 0:size] / size
    disc = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.09).astype(np.float64)
    noise = np.random.default_rng(0).random((4, 4, 3)).repeat(-(-size // 4), 0).repeat(-(-size // 4), 1)[:size, :size]
    pictures = (
        np.stack([x, y, 1 - x], -1),
        np.stack([np.sin(x * 24) ** 2, np.sin(y * 12) ** 2, x * y], -1),
        np.stack([disc, 1 - disc, 0.5 * disc + 0.25], -1),
        noise,
    )
    return (np.stack(pictures) * 255).round().astype(np.uint8)


def _describe(model_id: str, facts: ModelFacts, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "model_id": model_id,
        "preprocessing": facts.preprocessing.to_json(),
        "dims": facts.dims,
        "latent_shape": list(facts.latent_shape),
        "semantic_dims": facts.semantic_dims,
        "alpha": facts.alpha,
        "channels": facts.channels,
        "tileable": facts.tileable,
        "removes": list(facts.removes),
        "latent": dict(facts.latent),
        "errors": dict(facts.errors),
        "recipe": dict(facts.recipe),
        "source": facts.source,
        "licence": facts.licence,
        "quality": dict(facts.quality),
        "parity": dict(facts.parity),
        "versions": dict(facts.versions),
        "files": {name: dict(each) for name, each in files.items()},
    }


def _rounded(probes: Floats | None) -> list[list[float]] | None:
    return None if probes is None else [[round(float(value), 6) for value in row] for row in probes]


def _read_description(folder: Path, stored: Any) -> Bundle:
    path = folder / DESCRIPTION
    if not isinstance(stored, dict) or not isinstance(stored.get("format"), int):
        raise _damaged(path, "it does not describe a model")
    if stored["format"] > FORMAT_VERSION:
        raise IncompatibleError(
            f"{path} has format {stored['format']}, and this version reads up to {FORMAT_VERSION}: "
            "update Lookalike, or export the model again."
        )
    try:
        facts = ModelFacts(
            preprocessing=Preprocessing.from_json(stored["preprocessing"]),
            dims=int(stored["dims"]),
            latent_shape=tuple(int(length) for length in stored.get("latent_shape", ())),
            semantic_dims=int(stored["semantic_dims"]),
            alpha=float(stored["alpha"]),
            channels=int(stored.get("channels", 3)),
            tileable=bool(stored.get("tileable", False)),
            removes=tuple(str(kind) for kind in stored.get("removes", ())),
            latent=dict(stored.get("latent", {})),
            errors=dict(stored.get("errors", {})),
            recipe=dict(stored.get("recipe", {})),
            source=str(stored["source"]),
            licence=str(stored["licence"]),
            quality=dict(stored["quality"]),
            parity=dict(stored["parity"]),
            versions=dict(stored["versions"]),
        )
        probes = None if stored["probes"] is None else np.asarray(stored["probes"], np.float32)
        files: dict[str, dict[str, Any]] = {
            str(name): {"sha256": str(f["sha256"]), "bytes": int(f["bytes"])} for name, f in stored["files"].items()
        }
        model_id = str(stored["model_id"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _damaged(path, f"it lacks or garbles {error}") from error
    if graph_name("encoder", "fp32") not in files or any(Path(name).name != name for name in files):
        raise _damaged(path, "it names no encoder, or a file outside the folder")
    if any(facts["bytes"] > MAX_GRAPH_BYTES for facts in files.values()):
        raise _damaged(path, f"a graph has more than {MAX_GRAPH_BYTES >> 20} MB")
    if probes is not None and (probes.shape != (PROBES, facts.dims) or not np.isfinite(probes).all()):
        raise _damaged(path, "its probe embeddings do not have the model's dimensions")
    return Bundle(folder, model_id, facts, files, probes)


def _missing(part: Part) -> str | None:
    return "no_decoder" if part == "decoder" else None


def _damaged(file: Path, why: str) -> DamagedError:
    return DamagedError(f"{file} is damaged ({why}): export the model again, or restore it from a copy.")
