"""Exact search among some rows of an index only: what passes a filter is gathered and compared, row by row."""

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Vectors

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]

ROWS_AT_ONCE = 65_536  # gathered: 64 MiB of vectors of 256 numbers


def rows_of(ids: Ids, wanted: Ids, removed: AbstractSet[int] = frozenset()) -> Ids:
    """Rows of an index that hold the wanted items.

    Args:
        ids: Row -> item id, rising.
        wanted: Ids of items, rising; those that the index does not have are passed over.
        removed: Ids that are not wanted after all.
    """
    if removed:
        wanted = wanted[~np.isin(wanted, np.fromiter(removed, np.int64, len(removed)))]
    if not len(ids) or not len(wanted):
        return np.empty(0, np.int64)
    rows = np.searchsorted(ids, wanted)
    rows[rows == len(ids)] = 0
    found: Ids = rows[ids[rows] == wanted].astype(np.int64)
    return found


def nearest_rows(index: Any, query: Vectors, rows: Ids, k: int) -> tuple[Scores, Ids]:
    """The nearest of some rows of an index, best first.

    Args:
        index: Of FAISS; `reconstruct_batch` must give the vectors as they were added.
        query: (1, dims).
        rows: Which are looked at.
        k: How many; all that have the same score as the last one come too.

    Returns:
        Scores and rows, k or more of each, fewer where there are fewer.
    """
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        scores[start : start + len(some)] = index.reconstruct_batch(some) @ query[0]
    if k < len(rows):
        least = np.partition(scores, len(rows) - k)[len(rows) - k]
        kept = np.flatnonzero(scores >= least - np.float32(2e-6))  # rounding must not part equals
    else:
        kept = np.arange(len(rows))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return scores[kept], rows[kept]
