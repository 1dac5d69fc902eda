"""Duplicates among the hits of a search: of those that are the same picture the nearest one stands for all.

Nothing has to be computed before: hits are compared with each other, and what people said of them
(`index verdict`) counts more than their score.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from index_data.calibration import LABELS, Calibration
from index_data.gallery import Gallery

MOST_HITS = 4096  # that are looked at for as many different pictures as are asked for

Hit = TypeVar("Hit")
Standing = tuple[Hit, tuple[int, ...]]  # a hit, and the ids of the other ones that it stands for


def near_from(calibration: Calibration) -> float:
    """The cosine from which two pictures of a gallery are near-duplicates."""
    thresholds = {label: threshold for threshold, label in calibration.as_indexed.thresholds}
    return float(thresholds.get("near-duplicate", LABELS[1][0]))


def without_duplicates(
    find: Callable[[int], Sequence[Hit]],
    k: int,
    *,
    id_of: Callable[[Hit], int],
    gallery: Gallery,
    calibration: Calibration,
) -> list[Standing[Hit]]:
    """The k nearest different pictures, best first; fewer where the gallery has fewer, or `MOST_HITS` hold no more.

    Each hit belongs to the first one before it that it is a duplicate of by itself, so a chain of small changes does
    not become one picture.

    Args:
        find: Gives as many nearest hits as it is asked for, best first.
        k: How many different ones.
        id_of: The item of a hit.
        gallery: That they are of.
        calibration: Says how near duplicates are.
    """
    asked = 2 * k
    while True:
        asked = max(k, min(asked, MOST_HITS))
        hits = find(asked)
        standing = _collapsed(hits, [id_of(hit) for hit in hits], gallery, near_from(calibration))
        # A picture behind the k-th may have duplicates behind the last hit: nobody sees it.
        if len(standing) >= k or len(hits) < asked or asked >= MOST_HITS:
            return standing[:k]
        asked *= 4


def _collapsed(hits: Sequence[Hit], ids: Sequence[int], gallery: Gallery, least: float) -> list[Standing[Hit]]:
    contents = gallery.contents_of(ids)  # those that are still there
    rows = [row for row, number in enumerate(ids) if number in contents]
    if not rows:
        return []
    vectors = np.stack([contents[ids[row]][1] for row in rows])
    digests = [contents[ids[row]][0] for row in rows]
    said = _verdicts(gallery, set(digests))
    kept: list[int] = []  # places among `rows`
    others: dict[int, list[int]] = {}
    for place in range(len(rows)):
        one = digests[place]
        scores = vectors[kept] @ vectors[place]
        for first, score in zip(kept, scores.tolist(), strict=True):
            verdict = said.get((min(one, digests[first]), max(one, digests[first])))
            if one == digests[first] or verdict == "duplicate" or (verdict is None and score >= least):
                others[first].append(ids[rows[place]])
                break
        else:
            kept.append(place)
            others[place] = []
    return [(hits[rows[place]], tuple(others[place])) for place in kept]


def _verdicts(gallery: Gallery, digests: set[bytes]) -> dict[tuple[bytes, bytes], str]:
    """What somebody said of two of some contents."""
    rows = gallery.rows("SELECT one, other, verdict FROM verdicts")  # made by hand, so they are few
    return {(one, other): verdict for one, other, verdict in rows if one in digests and other in digests}
