"""In which order items are listed, and the shapes of their pictures: enough to lay out a list before it is read."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from index_data.filters import Ids
from index_data.gallery import Gallery

Order = Literal["id", "-id", "name", "path", "-pixels", "-bytes"]  # "-": falling
Aspects = NDArray[np.float32]  # (n,), width / height

ORDERS: tuple[Order, ...] = get_args(Order)

_BY_TEXT = {
    "name": "SELECT item_id FROM names ORDER BY name COLLATE NOCASE, item_id",
    "path": "SELECT item_id FROM names ORDER BY folder, name COLLATE NOCASE, item_id",
}


def in_order(gallery: Gallery, ids: Ids, order: Order) -> Ids:
    """Ids of items, rising, brought into another order; of equal ones the older comes first."""
    if order == "id":
        return ids
    if order == "-id":
        return ids[::-1]
    if order in _BY_TEXT:
        rows = gallery.rows(_BY_TEXT[order])
        sorted_ids = np.fromiter((number for (number,) in rows), np.int64, len(rows))
        return sorted_ids[np.isin(sorted_ids, ids, assume_unique=True)]
    if order == "-bytes":
        sizes = _column(gallery.rows("SELECT id, size FROM items"), ids)
    else:
        shapes = _shapes(gallery, ids)
        sizes = shapes[:, 0] * shapes[:, 1]
    return ids[np.argsort(-sizes, kind="stable")]


def aspects(gallery: Gallery, ids: Ids) -> Aspects:
    """Width / height of items, in any order, (n,)."""
    rising = np.argsort(ids, kind="stable")
    found = np.ones(len(ids), np.float32)
    shapes = _shapes(gallery, ids[rising])
    found[rising] = shapes[:, 0] / np.maximum(shapes[:, 1], 1)
    return found


def _shapes(gallery: Gallery, ids: Ids) -> NDArray[np.int64]:
    """Widths and heights of items whose ids rise, (n, 2); 1 x 1 of those that are gone."""
    # Both statements read an index alone: the rows of contents hold the vectors.
    contents = gallery.rows("SELECT id, width, height FROM contents INDEXED BY contents_by_size ORDER BY id")
    table = np.array(contents, np.int64).reshape(-1, 3)
    content_ids = _column(gallery.rows("SELECT id, content_id FROM items INDEXED BY items_by_content"), ids)
    places = np.searchsorted(table[:, 0], content_ids)
    known = (
        (places < len(table)) & (table[np.minimum(places, len(table) - 1), 0] == content_ids) if len(table) else None
    )
    shapes = np.ones((len(ids), 2), np.int64)
    if known is not None:
        shapes[known] = table[places[known], 1:]
    return shapes


def _column(rows: list[tuple[int, int]], ids: Ids) -> NDArray[np.int64]:
    """The values of items whose ids rise, from rows of id and value in any order, (n,); 0 of those that are gone."""
    table = np.array(rows, np.int64).reshape(-1, 2)
    table = table[np.argsort(table[:, 0])]
    values = np.zeros(len(ids), np.int64)
    if len(table):
        places = np.minimum(np.searchsorted(table[:, 0], ids), len(table) - 1)
        known = table[places, 0] == ids
        values[known] = table[places[known], 1]
    return values
