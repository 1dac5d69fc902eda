"""What stands out in one half of the code alone comes first: a crop, a turned or a colourless copy of the query.

A crop of half a picture shows the same thing and looks like nothing near: its semantic half finds the original far
ahead of all others, its pixel half finds nothing, and the mean of both loses it in a crowd. A colourless copy is the
reverse. So what a search finds is read again: in each half a hit's cosine is held against what is ordinary around the
query there (`index_data.prominence`), and hits that lie nearly half of the way from the ordinary to the same in
either half stand before the others, the most prominent first. Scores stay what they are.
"""

import numpy as np
from numpy.typing import NDArray

from index_data.config import TIE_DECIMALS
from index_data.prominence import FIRST, LAST, prominence
from index_data.weighting import Halves

Floats = NDArray[np.float32]

READ_AGAIN = 128  # of the best hits by score: where an original is found at all, it is among them
READ_AGAIN_APPROXIMATELY = 32  # where each one more makes an index look farther
DENSEST = 0.999  # an ordinary cosine is never above: nearer than that all are copies, and rounding would decide
STANDS_OUT = 0.45  # of the way from the ordinary cosine to 1 (docs/decisions/0014-what-stands-out-first.md)


def stand_out(query: Floats, vectors: Floats, halves: Halves) -> Floats:
    """How far hits stand out from each other in the half where they do most.

    Args:
        query: (dims,), of length 1 as it is indexed.
        vectors: Embeddings of the best hits, (n, dims), whatever their order; the query itself is not among them.
        halves: Of which the embeddings are put together; with a semantic half.

    Returns:
        (n,): The prominence where it is at least `STANDS_OUT`, else 0; all 0 where there are too few hits to tell.
    """
    if len(vectors) <= FIRST:
        return np.zeros(len(vectors), np.float32)
    cosines = np.minimum(halves.cosines(query, vectors).round(TIE_DECIMALS), 1)
    around = np.sort(cosines, axis=1)[:, ::-1][:, FIRST:LAST]
    ordinary = np.minimum(around.sum(axis=1, keepdims=True) / around.shape[1], DENSEST)
    farthest: Floats = prominence(cosines, ordinary).max(axis=0)
    farthest[farthest < STANDS_OUT] = 0
    return farthest
