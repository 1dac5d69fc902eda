"""Whether the pictures that were added since an index was built are like those that it was built of.

Two samples are compared: the scores of pictures with their nearest other picture, as they were when the index was
built (index_data/calibration.py), and those of the new pictures with their nearest one in the index. Where new pictures
are of another kind, they lie farther away; where they are copies, nearer.

Sources: the two-sample test of Kolmogorov and Smirnov; its probability for small samples as Stephens 1970 corrects it.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_data.segments import Segments

Verdict = Literal["nothing-new", "too-few", "alike", "somewhat-different", "different"]
Floats = NDArray[np.float32]

SEED = 0
COMPARED_MAX = 256  # new pictures
FEW = 30  # pictures, old or new: fewer tell nothing
WORK = 4_000_000_000  # multiplications to find their neighbours: half a second of one core
BY_CHANCE = 0.01  # a difference that is more probable than this is none
SLIGHT, STRONG = 0.1, 0.3  # largest difference of the two shares below any score: less than the first is none
_TERMS = 100  # of the series


@dataclass(frozen=True)
class Drift:
    """How the new pictures compare with those of the index."""

    verdict: Verdict
    says: str  # in words
    added: int  # since the index was built
    compared: int = 0  # of them
    difference: float | None = None  # largest one of the shares below any score, 0 to 1
    probability: float | None = None  # that it is by chance
    median_before: float | None = None  # score with the nearest other picture
    median_now: float | None = None


def measure_drift(segments: Segments) -> Drift:
    """Compare what lies beside an index with what is in it; bounded in time whatever the size."""
    added = segments.fresh.count
    before = segments.generation.calibration.as_indexed.nearest
    if added == 0:
        return Drift("nothing-new", "Nothing was added since the index was built.", 0)
    if min(added, len(before)) < FEW or segments.old.count == 0:
        what = "were added since the index was built" if added < FEW else "can be compared with few of the index"
        return Drift("too-few", f"{added:,} pictures {what}: from {FEW:,} on they are compared.", added)
    now = _nearest_scores(segments)
    difference = largest_difference(before, now)
    probability = by_chance(difference, len(before), len(now))
    medians = float(np.median(before)), float(np.median(now))
    verdict = _verdict(difference, probability)
    says = _words(verdict, added, farther=medians[1] < medians[0])
    return Drift(verdict, says, added, len(now), difference, probability, *medians)


def largest_difference(one: Floats, other: Floats) -> float:
    """The largest difference of the shares of two samples that lie at or below any value, 0 to 1."""
    values = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(each), values, side="right") / len(each) for each in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def by_chance(difference: float, one: int, other: int) -> float:
    """How probable so large a difference is where two samples are of one kind.

    Args:
        difference: See `largest_difference`.
        one: Values in the first sample.
        other: And in the other.
    """
    root = math.sqrt(one * other / (one + other))
    reached = (root + 0.12 + 0.11 / root) * difference
    if reached < 0.2:  # the series needs more terms the nearer it is to 0; what it gives there is 1
        return 1.0
    terms = (math.exp(-2 * (term * reached) ** 2) * (1 if term % 2 else -1) for term in range(1, _TERMS))
    return min(max(2 * sum(terms), 0.0), 1.0)


def _nearest_scores(segments: Segments) -> Floats:
    """Scores of some new pictures, each with its nearest one in the index."""
    generation = segments.generation
    rows = np.flatnonzero(segments.fresh.of(len(segments.fresh_ids)))
    affordable = WORK // (generation.count * segments.fresh_vectors.shape[1])
    compared = min(len(rows), COMPARED_MAX, max(FEW, affordable))
    chosen = np.sort(np.random.default_rng(SEED).choice(rows, compared, replace=False))
    allowed: Any = segments.old.allowed(generation.count)
    scores, found = generation.search(segments.fresh_vectors[chosen], 1, allowed)
    return scores[found >= 0]


def _verdict(difference: float, probability: float) -> Verdict:
    if difference < SLIGHT or probability > BY_CHANCE:
        return "alike"
    return "somewhat-different" if difference < STRONG else "different"


def _words(verdict: Verdict, added: int, *, farther: bool) -> str:
    they = f"The {added:,} pictures that were added since the index was built"
    if verdict == "alike":
        return f"{they} are as near to the others as those are to each other."
    much = "much" if verdict == "different" else "somewhat"
    if not farther:
        return f"{they} lie {much} nearer to the others than those to each other: many are like what was there."
    return (
        f"{they} lie {much} farther from the others than those from each other: they are of another kind. Build the "
        "index again; where searches have become worse, train the model with them."
    )
