"""Finding originals once more, with the first hits laid over the copy: what `search --same-picture` finds."""

from collections.abc import Callable, Iterator

import numpy as np

from index_data.evaluation.copies import Copies, Found
from index_data.evaluation.metrics import Rows
from index_data.evaluation.originals import STOPPED, Original
from index_data.evaluation.ranking import Floats, ranked_blocks
from index_data.evaluation.transforms import FINDING, UNTOUCHED, Transform
from index_data.same_picture import LOOKED_AT, same_first
from index_data.template_matching import Outline
from index_data.weighting import Halves
from train.interruption import StopRequest
from train.progress import Reporter

LAID_OVER = ", same picture"  # what a model's name has behind it where its hits were laid over the query

Originals = Callable[[Rows], Iterator[Original]]


def find_same(
    copies: Copies,
    pictures: Floats,
    searched: Rows,
    halves: Halves,
    originals: Originals,
    *,
    seed: int,
    reporter: Reporter,
    stop: StopRequest,
) -> list[Found]:
    """Look for the originals of every kind of copy, hits that are the same picture first.

    Args:
        copies: By one model.
        pictures: Vectors of all pictures that may be found, (n, dims).
        searched: Their numbers, (n,), rising.
        halves: Of the model's vectors.
        originals: Gives pictures at full size.
        seed: Of the copies, which are made anew.
        reporter: Told what is going on.
        stop: Looked at between two pictures.
    """
    transforms = (UNTOUCHED, *FINDING)
    places = np.searchsorted(searched, copies.rows)
    ranked = {each.name: _ranked(copies.vectors[each.name], pictures, places, halves) for each in transforms}
    first = np.unique(np.concatenate([order for order, _ in ranked.values()]))
    outlines: dict[int, Outline] = {}
    with reporter.task("reading", len(first), "pictures") as task:
        for row, image in originals(searched[first]):
            stop.raise_if_set(STOPPED)
            task.advance(unreadable=image is None)
            if image is not None:
                outlines[row] = Outline.of(np.asarray(image))
    ranks: dict[str, list[int]] = {each.name: [] for each in transforms}
    with reporter.task("laying copies over hits", len(copies.rows), "originals") as task:
        for number, (row, image) in enumerate(originals(copies.rows)):
            assert image is not None  # noqa: S101  (it was read before)
            for each in transforms:
                stop.raise_if_set(STOPPED)
                order, rank = ranked[each.name][0][number], ranked[each.name][1][number]
                hits = searched[order].tolist()
                query = Outline.of(np.asarray(each.apply(image, row, seed)))
                standing = [hit for hit, _ in same_first(query, hits, [outlines.get(hit) for hit in hits])]
                ranks[each.name].append(standing.index(row) + 1 if row in standing else int(rank))
            task.advance()
    return [_found(each, copies, pictures[places], ranks[each.name]) for each in transforms]


def _ranked(queries: Floats, pictures: Floats, own: Rows, halves: Halves) -> tuple[Rows, Rows]:
    """The first hits of each query, and at which rank its original is."""
    orders, ranks = [], []
    for block in ranked_blocks(queries, pictures, k=1, halves=halves):
        orders.append(block.order[:, :LOOKED_AT])
        ranks.append(np.argmax(block.order == own[block.queries, None], axis=1) + 1)
    return np.concatenate(orders), np.concatenate(ranks)


def _found(transform: Transform, copies: Copies, own: Floats, ranks: list[int]) -> Found:
    places = np.array(ranks)
    scores = (copies.vectors[transform.name] * own).sum(axis=1)
    return Found(transform, float((places == 1).mean()), float((1 / places).mean()), float(np.median(scores)))
