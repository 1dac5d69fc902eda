"""Exact search among some items only: the rows of what passes a filter are gathered and compared one by one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Vectors
from index_data.generations import Ids
from index_data.segments import Segments

Scores = NDArray[np.float32]

ROWS_AT_ONCE = 65_536  # gathered: 64 MiB of vectors of 256 numbers
ROUNDING = np.float32(2e-6)  # what may part the scores of equal vectors


def nearest_among(segments: Segments, query: Vectors, wanted: Ids, k: int) -> tuple[Scores, Ids]:
    """The nearest of some items.

    Args:
        segments: Where they are; items that are not there are passed over.
        query: (1, dims).
        wanted: Ids, rising.
        k: How many; all that score the same as the last one come too.

    Returns:
        Scores and ids, k or more of each, fewer where there are fewer.
    """
    scores, ids = _scored(segments, query[0], wanted)
    if k < len(ids):
        least = np.partition(scores, len(ids) - k)[len(ids) - k]
        kept = np.flatnonzero(scores >= least - ROUNDING)
        scores, ids = scores[kept], ids[kept]
    return scores, ids


def _scored(segments: Segments, query: Any, wanted: Ids) -> tuple[Scores, Ids]:
    rows = _rows_among(segments.generation.ids, wanted)
    rows = rows[segments.old.of(segments.generation.count)[rows]]
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        scores[start : start + len(some)] = segments.generation.vectors(some) @ query
    fresh = np.flatnonzero(segments.fresh.of(len(segments.fresh_ids)) & np.isin(segments.fresh_ids, wanted))
    both = np.concatenate([scores, segments.fresh_vectors[fresh] @ query]).astype(np.float32)
    return both, np.concatenate([segments.generation.ids[rows], segments.fresh_ids[fresh]])


def _rows_among(ids: Ids, wanted: Ids) -> Ids:
    """Rows of those of the wanted items that are among rising ids."""
    if not len(ids) or not len(wanted):
        return np.empty(0, np.int64)
    rows = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    found: Ids = rows[ids[rows] == wanted].astype(np.int64)
    return found
