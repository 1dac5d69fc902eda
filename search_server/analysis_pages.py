"""The page's views of what is computed of a gallery: the map, duplicates, outliers; and of one item.

As in search_server/page.py, each is drawn without JavaScript too, and hands the API's answer to the page's modules.
"""

from typing import Any

from flask import Blueprint, request, url_for

from index_data.analyses import NotComputedError
from index_data.mapping import read_map
from search_server.api.analyses import find_anomalies, find_clusters, find_duplicates
from search_server.api.analysis_schemas import ListAnomalies, ListDuplicates
from search_server.api.answers import describe_item, gallery_address
from search_server.api.metadata import known_of
from search_server.api.schemas import SearchBody
from search_server.api.search import find_neighbours
from search_server.api.standings import find_standing
from search_server.page import checked, draw_view, explain
from search_server.service import service
from search_server.subjects import find_item, look_at
from train.errors import IncompatibleError, UserError

analysis_pages = Blueprint("analysis_pages", __name__)
analysis_pages.register_error_handler(UserError, explain)

GROUPS = 24  # of duplicates, on one page
RANKED = 48  # outliers on one page
ALIKE = 12  # neighbours of an item
TIERS = {"near": "Nearly the same", "pixels": "Same pixels", "bytes": "Same file"}
MEASURES = {"reconstruction": "Painted worst", "distance": "Farthest from others"}


@analysis_pages.get("/g/<gallery>/item/<item_id>")
def show_item(gallery: str, item_id: str) -> str:
    """One item: its picture, what is known of it, where it stands, what is like it."""
    found = service()
    served = found.gallery(gallery)
    item = find_item(served, item_id)
    described = describe_item(served, item, known_of(served, item)).model_dump(mode="json")
    standing = find_standing(served, item).model_dump(mode="json")
    hits = find_neighbours(found, served, look_at(found, served, item_id), SearchBody(id=item_id, k=ALIKE)).model_dump(
        mode="json"
    )["hits"]
    painted = None
    if served.engine.decoder is not None:
        place = f"{gallery_address(served.name)}/items/{item.id}"
        painted = {"reconstruction": f"{place}/reconstruction", "error_map": f"{place}/error-map"}
    shown = {"item": described, "standing": standing, "hits": hits}
    return draw_view("item", served, shown, title=item.name, painted=painted, **shown)


@analysis_pages.get("/g/<gallery>/map")
def show_map(gallery: str) -> str:
    """The map; without JavaScript its clusters, each with what the decoder makes of it."""
    served = service().gallery(gallery)
    clusters: list[dict[str, Any]] = []
    try:
        drawn = read_map(served.gallery)
        clusters = [cluster.model_dump(mode="json") for cluster in find_clusters(served, drawn)]
        clusters.sort(key=lambda cluster: -cluster["count"])
        middles = {item.id: describe_item(served, item) for item in served.gallery.items_by_id(drawn.medoids.tolist())}
        for cluster in clusters:
            cluster["middle"] = middles.get(int(cluster["medoid"]))
    except NotComputedError:
        pass
    return draw_view("map", served, None, title="Map", clusters=clusters)


@analysis_pages.get("/g/<gallery>/duplicates")
def show_duplicates(gallery: str) -> str:
    """Groups of pictures that are the same, page by page."""
    served = service().gallery(gallery)
    only, cursor, least = (request.args.get(name) for name in ("only", "cursor", "min"))
    asked = checked(ListDuplicates, judged=True, only=only, min_score=least, limit=GROUPS, cursor=cursor)
    try:
        listed = find_duplicates(served, asked).model_dump(mode="json")
    except NotComputedError:
        return draw_view("duplicates", served, None, title="Duplicates", listed=None)

    def address(tier: str | None, after: str | None = None) -> str:
        return url_for("analysis_pages.show_duplicates", gallery=gallery, only=tier, min=least, cursor=after)

    tiers = [(words, address(tier), listed["kinds"][tier], tier == only) for tier, words in TIERS.items()]
    everything = ("All", address(None), sum(listed["kinds"].values()), only is None)
    more = address(only, listed["next_cursor"]) if listed["next_cursor"] else None
    shown = {"listed": listed, "tiers": [everything, *tiers], "more": more}
    return draw_view("duplicates", served, listed if cursor is None else None, title="Duplicates", **shown)


@analysis_pages.get("/g/<gallery>/outliers")
def show_outliers(gallery: str) -> str:
    """The most unusual pictures, page by page."""
    served = service().gallery(gallery)
    by = request.args.get("by", "reconstruction" if served.engine.decoder is not None else "distance")
    cursor = request.args.get("cursor")
    asked = checked(ListAnomalies, by=by, limit=RANKED, cursor=cursor)
    try:
        listed = find_anomalies(served, asked).model_dump(mode="json")
    except (NotComputedError, IncompatibleError):
        return draw_view("outliers", served, None, title="Outliers", listed=None)

    def address(measure: str, after: str | None = None) -> str:
        return url_for("analysis_pages.show_outliers", gallery=gallery, by=measure, cursor=after)

    measures = [
        (words, address(measure), measure == by)
        for measure, words in MEASURES.items()
        if measure != "reconstruction" or served.engine.decoder is not None
    ]
    more = address(by, listed["next_cursor"]) if listed["next_cursor"] else None
    return draw_view(
        "outliers",
        served,
        listed if cursor is None else None,
        title="Outliers",
        listed=listed,
        measures=measures,
        more=more,
        by=by,
    )
