"""Searching an index of any kind: settings, rows that may be found, ranking anew, exact scans of stored vectors."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.indexes.kinds import FLAT, Kind, Setting
from index_data.indexes.library import load_faiss
from index_data.indexes.vectors import Floats, Rows, StoredVectors

Found = tuple[Floats, Rows]  # scores and rows of the neighbours of each query, (queries, k), best first; -1: no more

# Where so small a share is hidden, an exact scan that asks for a few rows more is faster than one that asks at each row
# whether it counts.
HIDDEN_SHARE, SPARE = 1 / 16, 64
FEW, FEW_SHARE = 20_000, 0.02  # rows that pass, and share of all, up to which they are gathered and compared one by one


class AllowedRows:
    """The rows that a search may find: all but the hidden ones, or those that a filter passes."""

    def __init__(self, bits: NDArray[np.uint8], total: int, count: int) -> None:
        """Take one bit a row, the lowest first, of `total` rows, and how many of them are set."""
        self.bits = bits
        self.total = total
        self.count = count

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> "AllowedRows":
        """From a mask, (total,)."""
        return cls(np.packbits(mask, bitorder="little"), len(mask), int(np.count_nonzero(mask)))

    @property
    def share(self) -> float:
        """Of all rows."""
        return self.count / max(self.total, 1)

    @property
    def few(self) -> bool:
        """Whether comparing them one by one is better than any index: graphs get lost among rows that do not count."""
        return self.count <= max(FEW, FEW_SHARE * self.total) and self.share <= 0.5

    @property
    def nearly_all(self) -> bool:
        """Whether next to nothing is hidden."""
        return self.total - self.count <= HIDDEN_SHARE * self.total

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of some rows may be found."""
        found: NDArray[np.bool_] = (self.bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(bool)
        return found

    @cached_property
    def rows(self) -> Rows:
        """Their numbers, rising."""
        return np.flatnonzero(np.unpackbits(self.bits, count=self.total, bitorder="little"))

    @cached_property
    def selector(self) -> Any:
        """The same as a faiss.IDSelectorBitmap, which has to be the innermost one."""
        return load_faiss().IDSelectorBitmap(self.bits)


@dataclass(frozen=True)
class BuiltIndex:
    """An index with the stored vectors it is of. It is never changed, so any number of threads may search it."""

    kind: Kind
    index: Any  # the FAISS index; for `flat` the view on the stored vectors
    vectors: StoredVectors

    @cached_property
    def _refining(self) -> Any:
        return load_faiss().IndexRefine(self.index, self.vectors.as_index)

    def search(self, queries: Floats, k: int, setting: Setting, allowed: AllowedRows | None = None) -> Found:
        """The k nearest rows of each query, as the kind finds them at a setting.

        Args:
            queries: (queries, dims), finite.
            k: How many neighbours.
            setting: How much the index looks at; more where few rows may be found.
            allowed: The rows that may be found; None: all.
        """
        count = len(self.vectors)
        if self.kind is FLAT or k * setting.factor >= count or (allowed is not None and allowed.few):
            return self.exact(queries, k, allowed)
        if allowed is not None and allowed.count == 0:
            return _nothing(len(queries), k)
        selector = allowed.selector if allowed is not None else None
        reached = setting.scaled(1 / allowed.share) if allowed is not None else setting
        asked = k * setting.factor
        parameters = self.kind.parameters(reached, asked, selector, count)
        queries = np.ascontiguousarray(queries, np.float32)
        if not self.kind.refined:
            scores, rows = self.index.search(queries, k, params=parameters)
            return scores, rows
        refining = load_faiss().IndexRefineSearchParameters(k_factor=setting.factor, base_index_params=parameters)
        scores, rows = self._refining.search(queries, k, params=refining)
        return scores, rows

    def exact(self, queries: Floats, k: int, allowed: AllowedRows | None = None) -> Found:
        """The k nearest rows of each query, by comparing the stored vectors."""
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None and allowed.few:
            return _nearest_of(self.vectors, allowed.rows, queries, k)
        asked = min(k, len(self.vectors))
        if asked == 0 or not len(queries):
            return _nothing(len(queries), k)
        if allowed is not None and allowed.nearly_all:
            found = self._exact_passing_over(queries, asked, allowed)
            if found is not None:
                return _padded(*found, k)
        parameters = load_faiss().SearchParameters(sel=allowed.selector) if allowed is not None else None
        scores, rows = self.vectors.as_index.search(queries, asked, params=parameters)
        return _padded(scores, rows, k)

    def _exact_passing_over(self, queries: Floats, k: int, allowed: AllowedRows) -> Found | None:
        """The k nearest rows, of a few more that are nearest whether hidden or not; None where those do not suffice."""
        asked = min(k + min(SPARE, allowed.total - allowed.count), allowed.total)
        scores, rows = self.vectors.as_index.search(queries, asked)
        holds = allowed.holds(rows)
        k = min(k, allowed.count)
        if holds.sum(axis=1).min() < k:
            return None
        first = np.argsort(~holds, axis=1, kind="stable")[:, :k]
        lines = np.arange(len(first))[:, None]
        return scores[lines, first], rows[lines, first]


def _nearest_of(vectors: StoredVectors, rows: Rows, queries: Floats, k: int) -> Found:
    """The k nearest of some rows, by plain products."""
    asked = min(k, len(rows))
    if asked == 0:
        return _nothing(len(queries), k)
    products = queries @ vectors.take(rows).T
    best = np.argpartition(-products, asked - 1, axis=1)[:, :asked]
    scores = np.take_along_axis(products, best, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    found = rows[np.take_along_axis(best, order, axis=1)]
    return _padded(np.take_along_axis(scores, order, axis=1), found, k)


def _padded(scores: Floats, rows: Rows, k: int) -> Found:
    missing = k - scores.shape[1]
    if missing <= 0:
        return scores, rows
    around = ((0, 0), (0, missing))
    return np.pad(scores, around, constant_values=-np.inf), np.pad(rows, around, constant_values=-1)


def _nothing(queries: int, k: int) -> Found:
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)
