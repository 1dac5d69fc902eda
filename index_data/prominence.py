"""How far a pair of pictures stands out from what is around them: by this near-duplicates are told from the rest.

A cosine by itself says little: in a crowd of sunsets any two are as near as a picture and its torn copy are elsewhere.
So each picture has a score that is ordinary around it, the mean of those of its 9th to 16th nearest other pictures, and
a pair's prominence is how far its score lies on the way from the ordinary one to 1, seen from the denser side.

Sources: normalising scores by what is around a query, as in Jegou, Harzallah, Schmid 2007, "A contextual dissimilarity
measure", and by a background, as for SSCD (arXiv 2202.10261); what it is worth is in docs/benchmarks.md.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FIRST, LAST = 8, 16  # of the nearest other pictures: behind a picture's own copies, where it has no more than eight
CROWDED = 0.9  # an ordinary score is never above: what is so near all around are copies
NEAR = 0.65  # prominence of near-duplicates: 98 to 99 of 100 such pairs are right (docs/benchmarks.md)


def ordinary_scores(scores: Floats) -> Floats:
    """What is ordinary around some pictures, (n,), at most `CROWDED`; nan where a picture has fewer than nine others.

    Args:
        scores: Of their `LAST` nearest other pictures, best first, (n, k); -inf where there are fewer.
    """
    around = scores[:, FIRST:LAST].astype(np.float64)
    there = np.isfinite(around)
    totals = np.where(there, around, 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        ordinary: Floats = np.minimum(totals / there.sum(axis=1), CROWDED).astype(np.float32)
    return ordinary


def prominence(scores: Floats, ordinary: Floats) -> Floats:
    """How far scores lie on the way from the ordinary one to 1; both of shapes that fit each other."""
    found: Floats = (scores - ordinary) / (1 - ordinary)
    return found


def near_from(ordinary: Floats) -> Floats:
    """The scores from which another picture stands out as a near-duplicate: `prominence` turned round."""
    found: Floats = (ordinary + NEAR * (1 - ordinary)).astype(np.float32)
    return found
