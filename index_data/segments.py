"""What a search looks through: the rows of a generation that still hold, and exact fresh rows beside them.

A generation is never changed, so items that came or got another content since it was built live in a fresh segment,
which is compared row by row; items that went are hidden in both by a bitmap. All of it follows from the gallery's
changes since the generation's number, a few rows at a time, and a search sees one whole moment of it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.config import AS_INDEXED
from index_data.gallery import ChangedItems, Gallery, Vectors
from index_data.generations import Generation, Ids, current
from index_data.indexes.library import load_faiss
from index_data.indexes.searching import AllowedRows

TRIES = 3  # at a generation and what changed since, while others build
Bits = NDArray[np.uint8]  # one bit a row, the lowest first

FIRST_CAPACITY = 1024  # fresh rows; doubled when they are full
DEAD_ALLOWED = 4096  # hidden fresh rows, and as many again as live ones, before the live ones are copied out


@dataclass(frozen=True)
class Shown:
    """Which rows of a segment still hold."""

    count: int
    bits: Bits | None  # None: all of them

    def without(self, rows: NDArray[np.int64], total: int) -> "Shown":
        """The same without some rows, of `total` in all."""
        rows = np.unique(rows)
        if len(rows) == 0:
            return self
        bits = self.grown(total).copy()
        mask = np.left_shift(1, rows & 7).astype(np.uint8)
        hidden_now = np.count_nonzero(bits[rows >> 3] & mask)
        np.bitwise_and.at(bits, rows >> 3, ~mask)
        return Shown(self.count - int(hidden_now), bits)

    def with_more(self, added: int, total: int) -> "Shown":
        """The same with rows added at the end, `total` in all now."""
        if self.bits is None:
            return Shown(self.count + added, None)
        return Shown(self.count + added, self.grown(total))

    def grown(self, total: int) -> Bits:
        """One bit for each of `total` rows; rows that are added later are shown."""
        length = -(-total // 8)
        bits = np.full(length, 0xFF, np.uint8)
        if self.bits is not None:
            bits[: len(self.bits)] = self.bits
        return bits

    def allowed(self, total: int) -> AllowedRows | None:
        """The rows of `total` that hold, as a search takes them; None: all of them."""
        return None if self.bits is None else AllowedRows(self.bits, total, self.count)

    def holds(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of some rows holds."""
        if self.bits is None:
            return np.ones(len(rows), bool)
        hold: NDArray[np.bool_] = (self.bits[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1
        return hold

    def of(self, total: int) -> NDArray[np.bool_]:
        """Whether each of `total` rows holds."""
        if self.bits is None:
            return np.ones(total, bool)
        return np.unpackbits(self.bits, count=total, bitorder="little").astype(bool)


class _FreshRows:
    """Vectors that are only ever added to: who saw fewer of them is not disturbed."""

    def __init__(self, dims: int) -> None:
        self.ids = np.empty(FIRST_CAPACITY, np.int64)
        self.vectors = np.empty((FIRST_CAPACITY, dims), np.float32)
        self.length = 0
        self.row_of: dict[int, int] = {}  # of the newest content of each item; for the one thread that adds

    def append(self, ids: Ids, vectors: Vectors) -> None:
        needed = self.length + len(ids)
        if needed > len(self.ids):
            capacity = max(2 * len(self.ids), needed)
            self.ids = _grown(self.ids, self.length, capacity)
            self.vectors = _grown(self.vectors, self.length, capacity)
        self.ids[self.length : needed] = ids
        self.vectors[self.length : needed] = vectors
        self.row_of.update(zip(ids.tolist(), range(self.length, needed), strict=True))
        self.length = needed


@dataclass(frozen=True)
class Found:
    """Rows that a search found, in no order."""

    scores: Vectors  # (n,)
    rows: Ids  # (n,); fresh ones are counted on behind those of the generation
    ids: Ids  # (n,) of their items
    left_out: float | None  # the most that any other row may score; None: there is no other


@dataclass(frozen=True)
class Segments:
    """All items of a gallery at one moment, searchable. Never changed: any number of threads may search it."""

    generation: Generation
    seq: int  # of the gallery's last change that is in here
    old: Shown  # rows of the generation
    fresh: Shown  # rows beside it
    fresh_ids: Ids
    fresh_vectors: Vectors
    _store: _FreshRows

    @classmethod
    def of(cls, generation: Generation, dims: int) -> "Segments":
        """What a generation holds, before anything has changed."""
        store = _FreshRows(dims)
        shown = Shown(generation.count, None)
        return cls(generation, generation.seq, shown, Shown(0, None), store.ids[:0], store.vectors[:0], store)

    def after(self, changed: ChangedItems) -> "Segments":
        """The gallery after some changes; one thread at a time, and only on the newest of these objects."""
        old_ids, store = self.generation.ids, self._store
        without = np.concatenate([changed.ids, changed.removed])
        gone = [row for number in without.tolist() if (row := store.row_of.get(number)) is not None]
        for number in changed.removed.tolist():
            store.row_of.pop(number, None)
        old = self.old.without(_rows_of(without, old_ids), len(old_ids))
        fresh = self.fresh.without(np.array(gone, np.int64), store.length)
        store.append(changed.ids, changed.embeddings)
        fresh = fresh.with_more(len(changed.ids), store.length)
        ids, vectors = store.ids[: store.length], store.vectors[: store.length]
        after = replace(self, seq=changed.seq, old=old, fresh=fresh, fresh_ids=ids, fresh_vectors=vectors)
        return after._without_dead_rows() if store.length > 2 * fresh.count + DEAD_ALLOWED else after

    @property
    def count(self) -> int:
        """Number of items."""
        return self.old.count + self.fresh.count

    @property
    def rows(self) -> int:
        """Number of rows, hidden ones included."""
        return self.generation.count + len(self.fresh_ids)

    @cached_property
    def ids(self) -> Ids:
        """Ids of all items, rising."""
        if self.old.bits is None and self.fresh.count == 0:
            return self.generation.ids
        old = self.generation.ids[self.old.of(self.generation.count)]
        return np.sort(np.concatenate([old, self.fresh_ids[self.fresh.of(len(self.fresh_ids))]]))

    @cached_property
    def _allowed_old(self) -> AllowedRows | None:
        return self.old.allowed(self.generation.count)

    @cached_property
    def _allowed_fresh(self) -> AllowedRows | None:
        return self.fresh.allowed(len(self.fresh_ids))

    def search(self, query: Vectors, k: int, *, accuracy: float | None = None, beta: float = AS_INDEXED) -> Found:
        """The rows among which the k nearest are, and a few more.

        Args:
            query: (1, dims), contiguous.
            k: At least 1.
            accuracy: See `Generation.search`; fresh rows are always compared one by one.
            beta: See `Generation.search`.
        """
        scores, rows = np.empty(0, np.float32), np.empty(0, np.int64)
        if self.old.count:
            asked = min(k, self.generation.count)
            all_scores, all_rows = self.generation.search(query, asked, self._allowed_old, accuracy=accuracy, beta=beta)
            there = all_rows[0] >= 0  # FAISS fills up with -1
            scores, rows = all_scores[0, there], all_rows[0, there]
        left_out = float(scores[-1]) if len(scores) == k else None
        ids = self.generation.ids[rows]
        if self.fresh.count:
            # A fresh row that k old ones come before is none of the k nearest.
            fresh_scores, fresh_rows = self._fresh_from(query, -np.inf if left_out is None else left_out)
            if len(fresh_rows) > k:
                best = np.argpartition(-fresh_scores, k - 1)[:k]
                fresh_scores, fresh_rows = fresh_scores[best], fresh_rows[best]
                left_out = float(fresh_scores.min())
            scores = np.concatenate([scores, fresh_scores])
            rows = np.concatenate([rows, fresh_rows + self.generation.count])
            ids = np.concatenate([ids, self.fresh_ids[fresh_rows]])
        return Found(scores, rows, ids, left_out)

    def vectors(self, rows: Ids) -> Vectors:
        """The embeddings of rows that `search` found, (n, dims), in their order."""
        is_fresh = rows >= self.generation.count
        if not is_fresh.any():
            return self.generation.vectors(rows)
        vectors = np.empty((len(rows), self.fresh_vectors.shape[1]), np.float32)
        vectors[is_fresh] = self.fresh_vectors[rows[is_fresh] - self.generation.count]
        vectors[~is_fresh] = self.generation.vectors(rows[~is_fresh])
        return vectors

    def among(self, wanted: Ids) -> "Segments":
        """The same as if there were no other items than some.

        Args:
            wanted: Their ids, rising; those that are not there are passed over.
        """
        old = np.zeros(self.generation.count, bool)
        old[_rows_of(wanted, self.generation.ids)] = True
        old &= self.old.of(len(old))
        fresh = np.isin(self.fresh_ids, wanted) & self.fresh.of(len(self.fresh_ids))
        return replace(self, old=_shown(old), fresh=_shown(fresh))

    def _fresh_from(self, query: Vectors, least: float) -> tuple[Vectors, Ids]:
        """The fresh rows that score at least so much, and what they score, (n,) each, in no order.

        In the same arithmetic as that of a flat index: equal vectors score equal.
        """
        faiss = load_faiss()
        found = faiss.RangeSearchResult(1)
        faiss.range_search_inner_product(
            faiss.swig_ptr(query),
            faiss.swig_ptr(self.fresh_vectors),
            query.shape[1],
            1,
            len(self.fresh_vectors),
            float(np.nextafter(np.float32(least), np.float32(-np.inf))),  # it gives what scores more
            found,
            self._allowed_fresh.selector if self._allowed_fresh is not None else None,
        )
        count = int(faiss.rev_swig_ptr(found.lims, 2)[1])
        if count == 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        return faiss.rev_swig_ptr(found.distances, count).copy(), faiss.rev_swig_ptr(found.labels, count).copy()

    def _without_dead_rows(self) -> "Segments":
        """The same with the rows copied that hold: items whose content changes again and again leave many behind."""
        hold = self.fresh.of(len(self.fresh_ids))
        store = _FreshRows(self.fresh_vectors.shape[1])
        store.append(self.fresh_ids[hold], self.fresh_vectors[hold])
        ids, vectors = store.ids[: store.length], store.vectors[: store.length]
        shown = Shown(store.length, None)
        return replace(self, fresh=shown, fresh_ids=ids, fresh_vectors=vectors, _store=store)


def open_current(gallery: Gallery, *, damaged: Mapping[str, str] = MappingProxyType({})) -> tuple[Segments, str | None]:
    """All items of a gallery as they are now, and in one sentence what is wrong with its index; see `current`."""
    known = dict(damaged)
    tries: Counter[str] = Counter()
    while True:
        generation, degraded = current(gallery, in_full=False, damaged=known)
        changed = gallery.changed_since(generation.seq)
        if changed.complete:
            return Segments.of(generation, gallery.dims).after(changed), degraded
        # Newer ones were published while it was read. If not, somebody put an old one into the folder.
        tries[generation.name] += 1
        if generation.name and tries[generation.name] == TRIES:
            known[generation.name] = f"generation {generation.name} is too old: what was removed since is not known."


def _shown(mask: NDArray[np.bool_]) -> Shown:
    return Shown(int(np.count_nonzero(mask)), np.packbits(mask, bitorder="little"))


def _rows_of(numbers: Ids, ids: Ids) -> NDArray[np.int64]:
    """The rows of those of some item ids that are among rising ids."""
    if len(ids) == 0:
        return np.empty(0, np.int64)
    rows: NDArray[np.int64] = np.minimum(np.searchsorted(ids, numbers), len(ids) - 1)
    found: NDArray[np.int64] = rows[ids[rows] == numbers]
    return found


def _grown(array: Any, length: int, capacity: int) -> Any:
    larger = np.empty((capacity, *array.shape[1:]), array.dtype)
    larger[:length] = array[:length]
    return larger
