"""All scores of many queries with many pictures, a block at a time: exact, in an order that never depends on blocks.

Nothing larger than a block is ever held: 50,000 pictures and 10,000 queries are 500 million scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_data.standing_out import READ_AGAIN, stand_out
from index_data.weighting import ONE_PART, Halves

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

BLOCK_SCORES = 4_000_000  # held at a time: 16 MB, and the keys by which they are sorted 32 MB
DECIMALS = 6  # what differs by less is rounding: the picture that comes first stands first
_WORST = np.float32(-2)  # below every cosine


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Scale each row to length 1; what has no direction, or is not finite, becomes zero and is near to nothing."""
    rows = np.nan_to_num(np.asarray(vectors, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    scaled: Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return scaled


def score_blocks(
    queries: Floats, pictures: Floats, own: Rows | None = None, block: int = BLOCK_SCORES
) -> Iterator[tuple[slice, Floats]]:
    """Cosines of queries with all pictures, some queries at a time.

    Args:
        queries: (q, dims), of length 1.
        pictures: (n, dims), of length 1.
        own: For each query the picture that it is itself, which must not count; None: the queries are others.
        block: Scores that are held at a time.

    Yields:
        Which queries, and their scores (some, n); those of `own` are below every cosine.
    """
    step = max(1, block // max(len(pictures), 1))
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        scores = np.round(queries[part] @ pictures.T, DECIMALS)
        if own is not None:
            scores[np.arange(len(scores)), own[part]] = _WORST
        yield part, scores


def as_served(scores: Floats, queries: Floats, pictures: Floats, halves: Halves) -> Floats:
    """By what a search ranks pictures: their scores, and above them what stands out in one half of the code.

    Args:
        scores: (q, n), as `score_blocks` gives them.
        queries: (q, dims).
        pictures: (n, dims).
        halves: Of their embeddings.
    """
    if not halves.semantic_dims:
        return scores
    ranked = scores.copy()
    again = min(READ_AGAIN, scores.shape[1])
    best = np.argpartition(-scores, again - 1, axis=1)[:, :again]
    for query, row, some in zip(queries, ranked, best, strict=True):
        found = some[row[some] > _WORST]  # not the query itself
        farthest = np.round(stand_out(query, pictures[found], halves), DECIMALS)
        first = found[farthest > 0]
        row[first] = 2 - _places(farthest[farthest > 0], row[first]) / READ_AGAIN
    return ranked


def _places(farthest: Floats, scores: Floats) -> Rows:
    """Places of what stands out, from 0, by how far and then by its score; what is equal has one place."""
    order = np.lexsort((-scores, -farthest))
    differs = (np.diff(farthest[order]) != 0) | (np.diff(scores[order]) != 0)
    places = np.empty(len(order), np.int64)
    places[order] = np.concatenate([[0], np.cumsum(differs)])[: len(order)]
    return places


@dataclass(frozen=True)
class Ranked:
    """All pictures in the order of their scores, for some of the queries."""

    queries: slice
    order: Rows  # (some, n) numbers of the pictures, best first
    scores: Floats  # (some, k) of the first ones


def ranked_blocks(
    queries: Floats,
    pictures: Floats,
    own: Rows | None = None,
    *,
    k: int,
    halves: Halves = ONE_PART,
    block: int = BLOCK_SCORES,
) -> Iterator[Ranked]:
    """Rank all pictures for each query as a search does; arguments as for `score_blocks` and `as_served`.

    Of what is equal the lower number is first.

    Where `own` is given, the last picture, which is the query itself, is left out.
    """
    last = len(pictures) - (own is not None)
    numbers = np.arange(len(pictures), dtype=np.int64)
    for part, scores in score_blocks(queries, pictures, own, block):
        # One integer for merit and number: NumPy sorts 64-bit integers several times as fast as it sorts by keys.
        merits = as_served(scores, queries[part], pictures, halves)
        bits = (merits + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
        falling = ~(bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF)))
        keys = (falling.astype(np.int64) << 32) | numbers
        keys.sort(axis=1)
        order = (keys & 0xFFFFFFFF)[:, :last]
        yield Ranked(part, order, np.take_along_axis(scores, order[:, :k], axis=1))


def nearest(queries: Floats, pictures: Floats, k: int, own: Rows | None = None) -> tuple[Rows, Floats]:
    """The k nearest pictures of each query, best first, and their scores: (q, k) each; fewer where there are fewer."""
    k = min(k, len(pictures) - (own is not None))
    found = np.empty((len(queries), k), np.int64)
    scored = np.empty((len(queries), k), np.float32)
    for part, scores in score_blocks(queries, pictures, own):
        some = np.argpartition(-scores, max(k - 1, 0), axis=1)[:, :k]
        some.sort(axis=1)  # so that equal scores stay in the order of the numbers
        values = np.take_along_axis(scores, some, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found[part] = np.take_along_axis(some, order, axis=1)
        scored[part] = np.take_along_axis(values, order, axis=1)
    return found, scored
