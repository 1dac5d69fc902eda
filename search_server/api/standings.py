"""Where one picture stands among the others: before and after which, where on the map, whose copy, how unusual."""

from typing import Any, Literal

import numpy as np
from flask import Response
from flask_openapi import APIBlueprint, Tag
from numpy.typing import NDArray

from index_data.analyses import NotComputedError
from index_data.duplicates import describe_groups
from index_data.gallery import Item
from index_data.mapping import read_map
from index_data.outliers import By, ranked_outliers
from search_server.api.analyses import describe_group, duplicate_groups_of, told_where
from search_server.api.analysis_schemas import (
    GroupOut,
    MapPlaceOptions,
    MapPlaceOut,
    QueryPlaceOut,
    RankOut,
    StandingOut,
)
from search_server.api.answers import PREFIX, json_answer
from search_server.api.codes import MISSING
from search_server.api.schemas import GalleryPath, ItemPath
from search_server.galleries import ServedGallery
from search_server.problems import DECODING, responses
from search_server.service import service
from search_server.stopwatch import stage
from search_server.subjects import find_item, look_at
from train.errors import IncompatibleError

standings = APIBlueprint("standings", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="analyses")])

PLACED_BETWEEN = 15  # neighbours, where a map has no axes: as many as UMAP keeps together
_RANKINGS: tuple[By, ...] = ("reconstruction", "distance")


@standings.get(
    "/galleries/<gallery>/items/<id>/standing",
    responses={200: StandingOut, **responses("no_such_gallery", "no_such_item")},
)
def show_standing(path: ItemPath) -> Response:
    """Say where an item stands among the others; what was not computed yet is left out."""
    served = service().gallery(path.gallery)
    return json_answer(find_standing(served, find_item(served, path.id)))


@standings.get(
    "/galleries/<gallery>/map/place",
    responses={200: QueryPlaceOut, **responses(*MISSING, "not_computed", *DECODING)},
)
def place_on_map(path: GalleryPath, query: MapPlaceOptions) -> Response:
    """Say where an item or a stored query lies on the map: by the map's axes, or between its neighbours."""
    found = service()
    served = found.gallery(path.gallery)
    with stage("fetch"), told_where(served, "/map"):
        drawn = read_map(served.gallery)
    subject = look_at(found, served, query.id)
    if subject.item is not None and len(rows := np.flatnonzero(drawn.ids == subject.item.id)):
        return _placed(drawn.points[rows[0]], "item")
    projected = drawn.project(subject.embedding)
    if projected is not None:
        return _placed(projected, "axes")
    with stage("search"):
        hits = served.engine.search(subject.embedding[None], PLACED_BETWEEN)[0]
    mean = drawn.between([hit.id for hit in hits], [hit.score for hit in hits])
    if mean is None:
        raise NotComputedError("none of its neighbours is on the map: draw it again.")
    return _placed(mean[0], "neighbours", mean[1])


def _placed(
    point: NDArray[np.float32], how: Literal["item", "axes", "neighbours"], count: int | None = None
) -> Response:
    x, y = point.tolist()
    return json_answer(QueryPlaceOut(x=round(x, 5), y=round(y, 5), how=how, neighbours=count))


def find_standing(served: ServedGallery, item: Item) -> StandingOut:
    """Where an item stands, as the API and the page show it."""
    with stage("fetch"):
        return StandingOut(
            previous=_beside(served, "SELECT max(id) FROM items WHERE id < ?", item),
            next=_beside(served, "SELECT min(id) FROM items WHERE id > ?", item),
            map=_place(served, item),
            duplicates=_copies(served, item),
            unusual=[rank for rank in (_rank(served, item, by) for by in _RANKINGS) if rank is not None],
        )


def _beside(served: ServedGallery, statement: str, item: Item) -> str | None:
    ((number,),) = served.gallery.rows(statement, (item.id,))
    return None if number is None else str(number)


def _place(served: ServedGallery, item: Item) -> MapPlaceOut | None:
    try:
        drawn = read_map(served.gallery)
    except NotComputedError:
        return None
    row = _row_of(drawn.ids, item)
    if row is None:
        return None  # it came after the map was drawn
    cluster = int(drawn.clusters[row])
    x, y = drawn.points[row].tolist()
    return MapPlaceOut(
        x=round(x, 5),
        y=round(y, 5),
        cluster=cluster,
        count=int((drawn.clusters == cluster).sum()),
        medoid=str(int(drawn.medoids[cluster])),
    )


def _copies(served: ServedGallery, item: Item) -> GroupOut | None:
    try:
        groups = duplicate_groups_of(served, "near", None)
    except NotComputedError:
        groups = duplicate_groups_of(served, "bytes", None)  # those are known without looking for them
    group = next((group for group, _ in groups if item.id in group), None)
    described = describe_groups(served.gallery, [group]) if group is not None else []
    return describe_group(served, described[0]) if described else None


def _rank(served: ServedGallery, item: Item, by: By) -> RankOut | None:
    try:
        ranked = ranked_outliers(served.gallery, by, served.engine.bundle)
    except (NotComputedError, IncompatibleError):
        return None
    row = _row_of(ranked.ids, item)
    if row is None:
        return None
    total, value = len(ranked.ids), float(ranked.values[row])
    return RankOut(
        by=by,
        rank=row + 1,
        total=total,
        value=value,
        percentile=round(100 * (total - row - 1) / total, 3),
        unusual=None if ranked.threshold is None else value > ranked.threshold,
    )


def _row_of(ids: Any, item: Item) -> int | None:
    rows = np.flatnonzero(ids == item.id)
    return int(rows[0]) if len(rows) else None
