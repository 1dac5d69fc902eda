"""The nearest neighbours of all items, a block at a time: for duplicates, outliers, the map and exports."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Gallery, Vectors
from index_data.generations import Ids
from index_data.segments import Segments, open_current
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

BLOCK = 1024  # queries at a time
NOBODY = -1  # where an item has fewer neighbours than asked for

Rows = NDArray[np.int64]  # (n, k) ids
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Some items and their neighbours, best first, without themselves."""

    ids: Ids  # (n,)
    neighbours: Rows  # (n, k), `NOBODY` at the end where there are fewer
    scores: Scores  # (n, k), -inf there


def open_segments(gallery: Gallery) -> Segments:
    """All items of a gallery as they are now, searchable."""
    return open_current(gallery)[0]


def vectors_in_blocks(segments: Segments, size: int = BLOCK) -> Iterator[tuple[Ids, Vectors]]:
    """Ids and embeddings of all items, those of the index first."""
    rows = np.flatnonzero(segments.old.of(segments.generation.count))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        yield segments.generation.ids[some], segments.generation.vectors(some)
    fresh = np.flatnonzero(segments.fresh.of(len(segments.fresh_ids)))
    for start in range(0, len(fresh), size):
        some = fresh[start : start + size]
        yield segments.fresh_ids[some], segments.fresh_vectors[some]


def nearest(segments: Segments, queries: Vectors, k: int) -> tuple[Rows, Scores]:
    """The k nearest items of many queries at once: ids and scores, best first, filled up with `NOBODY` and -inf."""
    parts: list[tuple[Rows, Scores]] = []
    queries = np.ascontiguousarray(queries, np.float32)
    generation = segments.generation
    if segments.old.count:
        scores, rows = generation.search(queries, min(k, generation.count), segments.old.allowed(generation.count))
        parts.append((np.where(rows >= 0, generation.ids[rows], NOBODY), np.where(rows >= 0, scores, -np.inf)))
    if segments.fresh.count:
        fresh = np.flatnonzero(segments.fresh.of(len(segments.fresh_ids)))
        scores = queries @ segments.fresh_vectors[fresh].T
        parts.append((np.broadcast_to(segments.fresh_ids[fresh], scores.shape), scores))
    ids = np.concatenate([np.full((len(queries), k), NOBODY), *(part for part, _ in parts)], axis=1)
    scores = np.concatenate([np.full((len(queries), k), -np.inf), *(part for _, part in parts)], axis=1)
    order = np.lexsort((ids, -np.round(scores, 6)), axis=1)[:, :k]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1).astype(np.float32)


def without_themselves(ids: Ids, found: Rows, scores: Scores) -> tuple[Rows, Scores]:
    """Of k + 1 neighbours of each item those k that are not the item itself."""
    itself = found == ids[:, None]
    itself[~itself.any(axis=1), -1] = True  # hidden behind others as near as itself: the last one goes
    shape = (len(ids), found.shape[1] - 1)
    return found[~itself].reshape(shape), scores[~itself].reshape(shape)


def all_neighbours(
    segments: Segments, k: int, *, reporter: Reporter = SILENT, stop: StopRequest | None = None
) -> Iterator[Block]:
    """The k nearest other items of each item.

    Raises:
        Interrupted: `stop` was set.
    """
    with reporter.task("Comparing", total=segments.count) as task:
        for ids, vectors in vectors_in_blocks(segments):
            if stop is not None:
                stop.raise_if_set("Nothing was written.")
            yield Block(ids, *without_themselves(ids, *nearest(segments, vectors, k + 1)))
            task.advance(len(ids))
