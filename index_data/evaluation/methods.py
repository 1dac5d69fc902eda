"""Ways to turn pictures into vectors of length 1: models, and what needs no training and has to be beaten."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from export.bundle import Bundle
from export.sessions import Encoder
from index_data.evaluation.originals import STOPPED
from index_data.evaluation.principal_axes import PrincipalAxes, flat
from index_data.evaluation.ranking import Floats, unit
from index_data.weighting import ONE_PART, Halves
from train.images import Pixels
from train.interruption import StopRequest
from train.patches import PatchEncoder
from train.progress import Reporter

BASELINE_SIDE = 32  # px: what works on pixels sees them averaged down to this
BINS = 8  # of each colour in the histogram
SMALL_DIMS = 64  # of the principal components that always stand there beside as many as the model has
BATCH_VALUES = 1 << 22  # of pixels in one call of a model: 340 pictures of 64 px
MOST_IN_A_BATCH = 256
HASH_SIDE = 8  # hashes have 8 x 8 bits

Views = Mapping[int, Pixels]  # pictures (n, size, size, 3) at every size that a model takes


class Method(Protocol):
    """One way to turn pictures into vectors."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def dims(self) -> int:
        """Length of a vector."""
        ...

    @property
    def is_model(self) -> bool:
        """Whether it is what is measured; the others stand beside it."""
        ...

    @property
    def halves(self) -> Halves:
        """Of its vectors: what stands out in one of them is ranked first."""
        ...

    def vectors(self, views: Views) -> Floats:
        """Vectors of pictures, (n, dims), of length 1; zero where there is none."""
        ...


class ModelMethod:
    """The exported encoder of a bundle: what is measured is what is served."""

    is_model = True

    def __init__(self, name: str, bundle: Bundle, *, provider: str, threads: int | None) -> None:
        self.name = name
        self.bundle = bundle
        self.dims = bundle.dims
        self.halves = Halves.of(bundle)
        self.size = bundle.preprocessing.size
        self.encoder = Encoder.open(bundle, provider=provider, threads=threads)
        self.unusable = 0  # pictures that got no usable code

    @property
    def batch(self) -> int:
        """Pictures in one call."""
        return max(1, min(MOST_IN_A_BATCH, BATCH_VALUES // (3 * self.size**2)))

    def vectors(self, views: Views) -> Floats:
        """Embeddings; zero where the model gives none that could be searched for."""
        pixels = views[self.size]
        found = np.zeros((len(pixels), self.dims), np.float32)
        for start in range(0, len(pixels), self.batch):
            part = slice(start, start + self.batch)
            codes = self.encoder.encode(np.ascontiguousarray(pixels[part]))
            found[part][codes.usable] = codes.embeddings[codes.usable]
            self.unusable += int((~codes.usable).sum())
        return found

    def latents(self, pixels: Pixels) -> Floats:
        """Latents of pictures, (n, latent_dims); what is not finite becomes zero."""
        starts = range(0, len(pixels), self.batch)
        parts = [self.encoder.encode(np.ascontiguousarray(pixels[at : at + self.batch])).latents for at in starts]
        return np.nan_to_num(np.concatenate(parts), nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)


@dataclass(frozen=True)
class RawPixels:
    """Pixels less their mean, 32 x 32."""

    mean: Floats
    name: str = "raw pixels"
    is_model: bool = False
    halves: Halves = ONE_PART

    @property
    def dims(self) -> int:
        """Values of a picture."""
        return len(self.mean)

    def vectors(self, views: Views) -> Floats:
        """Their values."""
        return unit(flat(averaged(views)) - self.mean)


@dataclass(frozen=True)
class ColourHistogram:
    """Square roots of the shares of 8 x 8 x 8 colours: a cosine is then Bhattacharyya's coefficient."""

    name: str = f"RGB histogram {BINS}x{BINS}x{BINS}"
    dims: int = BINS**3
    is_model: bool = False
    halves: Halves = ONE_PART

    def vectors(self, views: Views) -> Floats:
        """One histogram for each."""
        pixels = views[max(views)]
        found = np.empty((len(pixels), self.dims), np.float32)
        for row, picture in enumerate(pixels):
            bins = (picture.reshape(-1, 3) // (256 // BINS)).astype(np.int64)
            numbers = (bins[:, 0] * BINS + bins[:, 1]) * BINS + bins[:, 2]
            found[row] = np.sqrt(np.bincount(numbers, minlength=self.dims) / len(numbers))
        return found


@dataclass(frozen=True)
class Principal:
    """Principal components of the pixels, plain or divided by their deviation to a power."""

    axes: PrincipalAxes
    dims: int
    power: float  # 0 plain, .5 half-whitened, 1 whitened
    is_model: bool = False
    halves: Halves = ONE_PART

    @property
    def name(self) -> str:
        """What people call it."""
        return {0.0: "", 0.5: "half-whitened ", 1.0: "whitened "}[self.power] + f"PCA-{self.dims}"

    def vectors(self, views: Views) -> Floats:
        """Coordinates along the axes."""
        return unit(self.axes.coordinates(flat(averaged(views)), self.dims, self.power))


@dataclass(frozen=True)
class Patches:
    """Responses of random whitened patches: what a first layer sees without training."""

    encoder: PatchEncoder
    is_model: bool = False
    halves: Halves = ONE_PART

    @property
    def dims(self) -> int:
        """Length of a code."""
        return self.encoder.dims

    @property
    def name(self) -> str:
        """What people call it."""
        return f"patches-{self.dims}"

    def vectors(self, views: Views) -> Floats:
        """Their codes."""
        return unit(self.encoder.encode(averaged(views)))


@dataclass(frozen=True)
class PerceptualHash:
    """A hash of 64 bits from the package imagehash; a cosine is 1 - 2 * (differing bits) / 64."""

    name: str
    function: Any
    dims: int = HASH_SIDE**2
    is_model: bool = False
    halves: Halves = ONE_PART

    def vectors(self, views: Views) -> Floats:
        """Bits as -1 and 1."""
        pixels = views[max(views)]
        bits = [self.function(Image.fromarray(picture), hash_size=HASH_SIDE).hash.ravel() for picture in pixels]
        return ((2 * np.array(bits, np.float32) - 1) / HASH_SIDE).reshape(-1, self.dims).astype(np.float32)


def hashes() -> tuple[list[PerceptualHash], str]:
    """Both perceptual hashes, pHash and dHash, where the package imagehash is there, else a sentence that says so."""
    try:
        module = importlib.import_module("imagehash")
    except ImportError:
        return [], "No rows of pHash and dHash: they need the package imagehash (pip install imagehash)."
    return [PerceptualHash("pHash", module.phash), PerceptualHash("dHash", module.dhash)], ""


def fit_baselines(
    views: Views, dims: Sequence[int], *, seed: int, reporter: Reporter, stop: StopRequest
) -> Iterator[Method]:
    """What stands beside every model, learnt from some pictures where there is something to learn.

    Args:
        views: The pictures that are searched.
        dims: Lengths of the models' embeddings.
        seed: Of the choice of patches.
        reporter: Told what is going on.
        stop: Looked at between two of them.
    """
    with reporter.task("fitting what needs no training", 3, "fits") as task:
        small = averaged(views)
        axes = PrincipalAxes.fit(small, max(*dims, SMALL_DIMS), seed)
        task.advance()
        yield RawPixels(axes.mean)
        yield ColourHistogram()
        task.advance()
        lengths = sorted({min(each, axes.dims) for each in (*dims, SMALL_DIMS)}, reverse=True)
        for length in lengths:
            for power in (0.0, 0.5, 1.0):
                yield Principal(axes, length, power)
        stop.raise_if_set(STOPPED)
        yield Patches(PatchEncoder.fit(small, max(dims), seed))
        task.advance()


def averaged(views: Views) -> Pixels:
    """The largest squares averaged down to 32 px, (n, 32, 32, 3); smaller ones are enlarged."""
    pixels = views[max(views)]
    size = pixels.shape[1]
    if size == BASELINE_SIDE:
        return pixels
    method = Image.Resampling.BOX if size > BASELINE_SIDE else Image.Resampling.BICUBIC
    found = np.empty((len(pixels), BASELINE_SIDE, BASELINE_SIDE, 3), np.uint8)
    for row, picture in enumerate(pixels):
        found[row] = np.asarray(Image.fromarray(picture).resize((BASELINE_SIDE, BASELINE_SIDE), method))
    return found
