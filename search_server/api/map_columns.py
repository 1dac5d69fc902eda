"""The map as columns: what a page needs to draw hundreds of thousands of points, in a few bytes for each.

4 bytes   little-endian length of the head
head      JSON, filled up with spaces so that the columns begin at a multiple of 8
columns   one after the other, each beginning at a multiple of 8: where and of what type stands in the head
"""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Gallery
from index_data.generations import Ids
from index_data.mapping import Map
from index_data.outliers import By, ranked_outliers
from search_server.api.analysis_schemas import ClusterOut
from search_server.api.schemas import Coloured
from search_server.galleries import ServedGallery
from train.errors import UserError

CHOICES = 64  # values of a field that are told apart, the most frequent ones
OTHER = 65_535  # code of an item that has none of them
_ALIGNED = 8
_RANKINGS: dict[str, By] = {"reconstruction": "reconstruction", "distance": "distance"}

Column = tuple[dict[str, Any], NDArray[Any]]  # what the head says of it beside its place, and its values


def map_columns(
    served: ServedGallery, drawn: Map, clusters: list[ClusterOut], wanted: list[Coloured], sample: int | None
) -> bytes:
    """The map as it is sent.

    Args:
        served: Its gallery.
        drawn: The map.
        clusters: What is said of each cluster.
        wanted: What else of each item; what the gallery does not have is left out.
        sample: At most so many items, evenly taken; None: all.
    """
    count = len(drawn.ids)
    rows = np.arange(count)
    if sample is not None and sample < count:
        rows = np.linspace(0, count - 1, sample).astype(np.int64)
    ids = drawn.ids[rows]
    columns: list[Column] = [
        ({"name": "id"}, _as_numbers(ids)),
        ({"name": "x"}, drawn.points[rows, 0].astype("<f4")),
        ({"name": "y"}, drawn.points[rows, 1].astype("<f4")),
        ({"name": "cluster"}, drawn.clusters[rows].astype("<u2")),
    ]
    for name in dict.fromkeys(wanted):
        column = _ranks(served, ids, name) if name in _RANKINGS else _choices(served.gallery, ids, name)
        if column is not None:
            columns.append(column)
    head = {
        "method": drawn.method,
        "computed_at": drawn.computed_at,
        "stale": drawn.is_stale,
        "items": count,
        "count": len(ids),
        "clusters": [cluster.model_dump() for cluster in clusters],
    }
    return _packed(head, columns)


def _as_numbers(ids: Ids) -> NDArray[Any]:
    """Ids as JavaScript can read them: whole numbers of four bytes, or floats, which are exact up to 2^53."""
    return ids.astype("<u4" if len(ids) == 0 or int(ids.max()) < 2**32 else "<f8")


def _choices(gallery: Gallery, ids: Ids, field: Coloured) -> Column | None:
    """For each item the place of its value among the most frequent ones; None where no item has a value."""
    if field == "folder":
        rows = gallery.rows("SELECT item_id, folder FROM names")
    elif field == "tags":
        # The first of several in the order of the alphabet: an item has one colour.
        rows = gallery.rows("SELECT item_id, min(tag) FROM tags GROUP BY item_id")
    else:
        rows = gallery.rows("SELECT item_id, value FROM metadata WHERE field = ? AND position = 0", (field,))
    if not rows:
        return None
    numbers = np.fromiter((number for number, _ in rows), np.int64, len(rows))
    values: dict[Any, int] = {}
    codes = np.fromiter((values.setdefault(value, len(values)) for _, value in rows), np.int64, len(rows))
    order = np.argsort(-np.bincount(codes), kind="stable")[:CHOICES]
    place = np.full(len(values), OTHER)
    place[order] = np.arange(len(order))
    named = list(values)
    return (
        {"name": field, "values": [named[code] for code in order.tolist()]},
        _of_items(ids, numbers, place[codes], OTHER).astype("<u2"),
    )


def _ranks(served: ServedGallery, ids: Ids, by: Coloured) -> Column | None:
    """For each item the share of the others that are less unusual, 0 to 255; None where it was not measured."""
    try:
        ranked = ranked_outliers(served.gallery, _RANKINGS[by], served.engine.bundle)
    except UserError:
        return None  # not computed, or the model does not paint
    falling = np.linspace(255, 0, len(ranked.ids)).round()
    return {"name": by}, _of_items(ids, ranked.ids, falling, 0).astype("<u1")


def _of_items(ids: Ids, numbers: Ids, values: NDArray[Any], otherwise: int) -> NDArray[Any]:
    """The value of each of `ids`, where `values` belong to `numbers`."""
    found = np.full(len(ids), otherwise, np.int64)
    if len(numbers) == 0:
        return found
    order = np.argsort(numbers)
    places = order[np.minimum(np.searchsorted(numbers, ids, sorter=order), len(numbers) - 1)]
    known = numbers[places] == ids
    found[known] = values[places[known]]
    return found


def _packed(head: dict[str, Any], columns: list[Column]) -> bytes:
    """Head and columns as bytes."""
    described, parts, start = [], [], 0
    for facts, values in columns:
        data = values.tobytes()
        data += b"\0" * (-len(data) % _ALIGNED)
        described.append({**facts, "type": values.dtype.str.lstrip("<|"), "start": start})
        parts.append(data)
        start += len(data)
    text = json.dumps({**head, "columns": described}, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 4) % _ALIGNED)
    return b"".join([struct.pack("<I", len(text)), text, *parts])
