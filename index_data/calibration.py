"""What scores mean in a gallery: how near its pictures are to each other by chance, and to their nearest neighbours.

Sampled when an index is built, and stored with it (calibration.npz): for pairs of pictures what each half of the
embedding brings to the score, so that the distributions follow for every weight of the similarity slider.

- `random`: pairs of pictures by chance.
- `nearest`: sampled pictures with their nearest other picture, at a few weights. Which picture is nearest depends on
  the weight. But a score is linear in the pixel half's share, so the nearest picture's score is a maximum of straight
  lines: those of a few weights are tangents, exact where they touch, and a little too low between.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_data.config import AS_INDEXED, MAX_BETA
from index_data.weighting import Halves
from train.errors import DamagedError

Label = Literal["identical", "near-duplicate", "very similar", "similar", "weak"]
Floats = NDArray[np.float32]

# Cosines, best first, for a gallery too small to be calibrated; docs/api.md has what they come from.
LABELS: tuple[tuple[float, Label], ...] = (
    (0.9995, "identical"),  # the same picture, perhaps saved again smaller
    (0.95, "near-duplicate"),
    (0.70, "very similar"),
    (0.50, "similar"),
)
_IDENTICAL, _NEAR_DUPLICATE, _VERY_SIMILAR, _ = (threshold for threshold, _ in LABELS)

SEED = 0
PAIRS = 10_000  # random ones: ten of them lie above the 99.9th percentile
PICTURES_MAX, PICTURES_MIN = 1024, 128  # that are asked for their nearest neighbour
QUERIES_MIN = 512  # fewer at once take longer: FAISS 1.15 multiplies smaller matrices in another, slower way
WORK = 30_000_000_000  # multiplications to find the nearest neighbours: a few seconds of one core
PIECE = 1024  # pairs that are taken from the index at a time
WEIGHTS = (0.0, 0.25, 1.0, 4.0, 16.0, 64.0, MAX_BETA)

ENOUGH = 100  # pictures: two of them are the farthest 2 %
FAR = 0.02  # of the nearest neighbours: a best hit that is farther away than all but these is not close ...
BY_CHANCE = 0.999  # ... unless it is nearer than all but 1 in 1,000 random pairs
# A similar picture is nearer than so many random pairs, a very similar one than so many. In a gallery of ten kinds of
# things, one random pair in ten is of a kind.
SIMILAR, VERY_SIMILAR = 0.95, 0.995


@dataclass(frozen=True)
class Calibration:
    """Sampled pairs of a gallery's pictures."""

    halves: Halves
    count: int  # of the gallery's pictures
    random: Floats  # (pairs, 2): inner products of the semantic and of the pixel halves
    nearest: Floats  # (pictures, weights, 2): the same, with the nearest other picture at each weight

    def at(self, beta: float) -> "Scale":
        """What scores mean at a weight."""
        return self.as_indexed if beta == AS_INDEXED else self._measure(beta)

    @cached_property
    def as_indexed(self) -> "Scale":
        """What scores mean at the weight of the index."""
        return self._measure(AS_INDEXED)

    def to_bytes(self) -> bytes:
        """The content of calibration.npz."""
        file = io.BytesIO()
        model = np.array([self.halves.semantic_dims, self.halves.alpha, self.count], np.float64)
        np.savez(file, model=model, random=self.random, nearest=self.nearest)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Calibration":
        """Read calibration.npz.

        Raises:
            DamagedError: It is none.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                semantic_dims, alpha, count = stored["model"].tolist()
                random, nearest = stored["random"], stored["nearest"]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedError(f"calibration.npz is damaged ({error}).") from error
        if random.shape[1:] != (2,) or nearest.ndim != 3 or nearest.shape[2] != 2:
            raise DamagedError("calibration.npz is damaged: its tables have another shape.")
        return cls(Halves(int(semantic_dims), alpha), int(count), random, nearest)

    def _measure(self, beta: float) -> "Scale":
        nearest = self.halves.scores(self.nearest, beta).max(axis=1, initial=-1)
        random = self.halves.scores(self.random, beta)
        return Scale(np.sort(nearest), np.sort(random), self.count)


@dataclass(frozen=True)
class Scale:
    """What scores mean in a gallery at one weight."""

    nearest: Floats  # scores of sampled pictures with their nearest other picture, rising
    random: Floats  # scores of random pairs, rising
    count: int  # of the gallery's pictures

    @property
    def enough(self) -> bool:
        """Whether the gallery is large enough to say what is far; else fixed cosines have to do."""
        return self.count >= ENOUGH

    @cached_property
    def thresholds(self) -> tuple[tuple[float, Label], ...]:
        """The least score of each label, best first.

        Identical is a property of two pictures, whatever else is in the gallery. The others go by random pairs, because
        a cosine says little by itself: it depends on the model, on the weight, and on how alike the gallery's pictures
        are. A near-duplicate is as far on the way from very similar to 1 as its fixed cosine is.
        """
        if not self.enough:
            return LABELS
        similar, very_similar = (float(np.quantile(self.random, share)) for share in (SIMILAR, VERY_SIMILAR))
        way = (_NEAR_DUPLICATE - _VERY_SIMILAR) / (1 - _VERY_SIMILAR)
        near_duplicate = min(_IDENTICAL, very_similar + way * (1 - very_similar))
        return (
            (_IDENTICAL, "identical"),
            (near_duplicate, "near-duplicate"),
            (very_similar, "very similar"),
            (similar, "similar"),
        )

    def percentile(self, score: float) -> float | None:
        """Share of the sampled pictures, in percent, whose nearest neighbour is farther away than `score`."""
        return self.percentiles([score])[0]

    def percentiles(self, scores: Sequence[float]) -> list[float] | list[None]:
        """The same of several scores."""
        if len(self.nearest) == 0:
            return [None] * len(scores)
        farther = np.searchsorted(self.nearest, scores, side="left")
        return (100 * farther / len(self.nearest)).round(1).tolist()  # type: ignore[no-any-return]

    def label(self, score: float) -> Label:
        """The label of a score."""
        for threshold, label in self.thresholds:
            if score >= threshold:
                return label
        return "weak"

    def is_far(self, best: float) -> bool:
        """Whether a best hit is so far away that nothing in the gallery is close.

        A picture of the gallery's own kind is so judged once in 50 times. Random pairs alone cannot tell: among the
        999 others of a gallery of 1,000, the best one by chance is at their 99.9th percentile.
        """
        if not self.enough:
            return self.label(best) == "weak"
        far, by_chance = self._bounds_of_far
        return best < far and best <= by_chance

    @cached_property
    def _bounds_of_far(self) -> tuple[float, float]:
        """What a best hit lies below that is far, and what it is not above."""
        return float(np.quantile(self.nearest, FAR)), float(np.quantile(self.random, BY_CHANCE))


def calibrate(index: Any, halves: Halves) -> Calibration:
    """Sample the pairs of an index: seeded, and bounded in time and memory whatever its size.

    Args:
        index: A faiss.IndexFlatIP of embeddings.
        halves: Of the model that made them.
    """
    random = np.random.default_rng(SEED)
    return Calibration(halves, index.ntotal, _random_pairs(index, halves, random), _nearest(index, halves, random))


def _random_pairs(index: Any, halves: Halves, random: np.random.Generator) -> Floats:
    count = index.ntotal
    if count * (count - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(count, 1)  # all there are
    else:
        first = random.integers(0, count, PAIRS)
        second = (first + random.integers(1, count, PAIRS)) % count
    return _products(index, halves, first, second)


def _nearest(index: Any, halves: Halves, random: np.random.Generator) -> Floats:
    weights = WEIGHTS if halves.semantic_dims else (AS_INDEXED,)
    count = index.ntotal
    if count < 2:
        return np.empty((0, len(weights), 2), np.float32)
    affordable = WORK // (count * index.d * len(weights))
    asked = min(count, PICTURES_MAX, max(PICTURES_MIN, -(-QUERIES_MIN // len(weights)), affordable))
    rows = np.sort(random.choice(count, asked, replace=False))
    queries = index.reconstruct_batch(rows)
    weighed = np.concatenate([halves.weigh_queries(queries, beta) for beta in weights])
    _, best = index.search(weighed, 2)
    rows = np.tile(rows, len(weights))
    # The picture itself stands first, or second after a copy, or after two copies not at all.
    others = np.where(best[:, 0] == rows, best[:, 1], best[:, 0])
    return _products(index, halves, rows, others).reshape(len(weights), asked, 2).swapaxes(0, 1)


def _products(index: Any, halves: Halves, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    starts = range(0, len(first), PIECE)
    pieces = [
        halves.inner_products(*(index.reconstruct_batch(rows[start : start + PIECE]) for rows in (first, second)))
        for start in starts
    ]
    return np.concatenate(pieces) if pieces else np.empty((0, 2), np.float32)
