"""What a score means: a label by fixed thresholds, and its place among this gallery's own nearest neighbours."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Label = Literal["identical", "near-duplicate", "very similar", "similar", "weak"]

# Cosines, best first; docs/api.md has the measurements on photos that they come from.
LABELS: tuple[tuple[float, Label], ...] = (
    (0.9995, "identical"),  # the same picture, perhaps saved again smaller
    (0.95, "near-duplicate"),
    (0.70, "very similar"),
    (0.50, "similar"),
)

SAMPLES_MAX, SAMPLES_MIN = 256, 32
_SAMPLE_WORK = 20_000_000  # comparisons: a fraction of a second, once for each state of the index


def label_of(score: float) -> Label:
    """The label of a cosine."""
    return next((label for threshold, label in LABELS if score >= threshold), "weak")


def sample_size(count: int) -> int:
    """How many pictures of a gallery are asked for their nearest neighbour; each is compared with all others."""
    return min(count, SAMPLES_MAX, max(SAMPLES_MIN, _SAMPLE_WORK // max(count, 1)))


class NeighbourScores:
    """How near the pictures of a gallery are to their own nearest neighbours.

    Args:
        scores: Cosines of sampled pictures to their nearest other picture, (n,).
    """

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self._sorted = np.sort(scores)

    def percentile(self, score: float) -> float | None:
        """Share of the sampled pictures, in percent, whose nearest neighbour is farther away than `score`."""
        if len(self._sorted) == 0:
            return None
        return round(100 * float(np.searchsorted(self._sorted, score, side="left")) / len(self._sorted), 1)
