"""Principal components of pictures without PyTorch: the linear numbers that stand beside every model's.

`train/pca.py` finds those that go into a network; these only have to be right, and as good on the same pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.images import Pixels

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MAX_VALUES = 160_000_000  # bytes that are learnt from, as in training: 52,000 pictures of 32 px
MAX_FLOATS = 60_000_000  # where all have to be held as floats, of which there are then three copies
BLOCK_VALUES = 6_000_000  # turned into floats at a time
EXACT_SIDE = 3072  # up to this many pictures or values of one, the axes are exact
OVERSAMPLING = 32  # extra directions of the randomised method ...
POWER_ITERATIONS = 4  # ... and its rounds
NEGLIGIBLE = 1e-4  # of the largest deviation: below it an axis is rounding noise


@dataclass(frozen=True)
class PrincipalAxes:
    """Directions of greatest variance of rows of numbers, by falling variance."""

    mean: Floats  # (values,)
    axes: Floats  # (dims, values), orthonormal rows
    deviations: Floats  # (dims,) standard deviation along each

    @classmethod
    def fit(cls, pixels: Pixels, dims: int, seed: int) -> "PrincipalAxes":
        """Find them in pictures.

        Args:
            pixels: (n, h, w, 3); of more than can be held, evenly spaced ones are learnt from.
            dims: How many; fewer where the pictures do not have as many.
            seed: Of the randomised method, for what is large both ways.

        Source: the randomised method: Halko, Martinsson, Tropp 2011, algorithm 4.4.
        """
        count, values = len(pixels), int(np.prod(pixels.shape[1:]))
        exact = values <= min(count, EXACT_SIDE)
        most = max(2, (MAX_VALUES if exact else MAX_FLOATS) // values)
        if count > most:
            pixels = pixels[np.linspace(0, count - 1, most).astype(np.int64)]
            count = most
        wanted = max(1, min(dims, count - 1, values))
        mean = (sum(part.sum(axis=0, dtype=np.float64) for part in _blocks(pixels)) / count).astype(np.float32)
        if exact:
            squares, axes = _by_covariance(pixels, mean, wanted)
        else:
            centred = np.concatenate([part - mean for part in _blocks(pixels)])
            by = _by_gram if count <= EXACT_SIDE else _by_chance
            squares, axes = by(centred, wanted, seed)
        deviations = np.sqrt(np.maximum(squares, 0) / count)
        kept = deviations > NEGLIGIBLE * max(float(deviations[0]), 1e-12)
        kept[0] = True  # pictures that are all alike have one axis too
        return cls(mean, axes[kept].astype(np.float32), np.maximum(deviations[kept], 1e-12).astype(np.float32))

    @property
    def dims(self) -> int:
        """How many there are."""
        return len(self.axes)

    def coordinates(self, rows: Floats, dims: int, power: float = 0.0) -> Floats:
        """Where rows lie along the first axes, each divided by its deviation to a power (1: whitened), (n, dims)."""
        return (rows - self.mean) @ (self.axes[:dims] / self.deviations[:dims, None] ** power).T

    def rebuilt(self, rows: Floats, dims: int) -> Floats:
        """Rows (n, values) with nothing but their coordinates along the first axes, clipped to 0 to 1."""
        found = (rows - self.mean) @ self.axes[:dims].T @ self.axes[:dims] + self.mean
        return np.clip(found, 0, 1).astype(np.float32)


def flat(pixels: Pixels) -> Floats:
    """Pictures as rows of numbers from 0 to 1."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)


def _blocks(pixels: Pixels) -> Iterator[Floats]:
    step = max(1, BLOCK_VALUES // int(np.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), step):
        yield flat(pixels[start : start + step])


def _by_covariance(pixels: Pixels, mean: Floats, wanted: int) -> tuple[Doubles, Floats]:
    total = np.zeros((len(mean), len(mean)))
    for part in _blocks(pixels):
        centred = part - mean
        total += centred.T @ centred
    squares, found = np.linalg.eigh(total)
    return squares[::-1][:wanted], found[:, ::-1][:, :wanted].T.astype(np.float32)


def _by_gram(centred: Floats, wanted: int, seed: int) -> tuple[Doubles, Floats]:
    del seed
    squares, found = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    squares, left = squares[::-1][:wanted], found[:, ::-1][:, :wanted]
    axes = (left.T.astype(np.float32) @ centred) / np.sqrt(np.maximum(squares, 1e-12))[:, None]
    return squares, axes.astype(np.float32)


def _by_chance(centred: Floats, wanted: int, seed: int) -> tuple[Doubles, Floats]:
    random = np.random.default_rng([seed, 5])
    span = centred.T @ random.standard_normal((len(centred), wanted + OVERSAMPLING), np.float32)
    for _ in range(POWER_ITERATIONS):
        span = centred.T @ (centred @ np.linalg.qr(span)[0])
    basis = np.linalg.qr(span)[0]
    _, singular, turn = np.linalg.svd(centred @ basis, full_matrices=False)
    return singular[:wanted].astype(np.float64) ** 2, (turn @ basis.T)[:wanted].astype(np.float32)
