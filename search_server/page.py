"""The web page: its address says what it shows, and it shows it without JavaScript too, only more plainly.

Each view's template draws what the address asks for, and hands the same answer to the page's modules as JSON: they
draw it again with everything that moves, and need not ask a second time.
"""

import json
import secrets
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.wrappers import Response as Redirection

from index_data.config import AS_INDEXED, MAX_BETA
from index_data.filters import Filter
from search_server import limits
from search_server.access import needs
from search_server.api.answers import describe_gallery, gallery_address
from search_server.api.items import find_items
from search_server.api.metadata import find_facets
from search_server.api.queries import store
from search_server.api.schemas import FacetOptions, ListItems, NoParameters, SearchBody
from search_server.api.search import find_neighbours
from search_server.galleries import NoSuchGalleryError, ServedGallery
from search_server.incoming import read_request
from search_server.problems import answer_user_error, from_validation, public_detail
from search_server.service import service
from search_server.static_files import add_static_files, static_files
from search_server.subjects import look_at, one_file
from train.errors import UserError

page = Blueprint("page", __name__, template_folder="templates")
add_static_files(page)

SAMPLE = 40  # pictures below the empty search
NEIGHBOURS = 48  # that are fetched at a time
LISTED = 120  # pictures of one page of Browse
CHOICES = 24  # values of a facet
FACETS = {"folder": "Folder", "tags": "Tags", "year": "Year", "camera": "Camera"}
VIEWS = {  # words and icon, in the order of the bar
    "search": ("Search", "search"),
    "browse": ("Browse", "grid"),
    "map": ("Map", "map"),
    "morph": ("Morph", "morph"),
    "duplicates": ("Duplicates", "duplicates"),
    "outliers": ("Outliers", "outliers"),
}
UNLISTED = ("item",)  # views that other views lead to
_STYLES = ("tokens", "controls", "frame", "pictures", "filters", "lightbox")  # of every view
_STRIP_FRAMES = 12  # of a morph without JavaScript

_WEIGHTS = {"same thing": 0.0, "as indexed": AS_INDEXED, "looks the same": MAX_BETA}  # without JavaScript
_WARNINGS = {
    "plain-query": "This picture is almost one colour: there is little to compare.",
    "out-of-domain": "The model has hardly seen pictures of this kind: its neighbours may mean little.",
    "nothing-close": "Nothing in this gallery is much like it. These are the nearest.",
}


@page.get("/")
def first_gallery() -> Redirection:
    """Lead to the first gallery."""
    served = next(iter(service().galleries), None)
    if served is None:
        raise NoSuchGalleryError("no gallery is served here: make one with POST /api/v1/galleries.")
    return redirect(url_for("page.start", gallery=served.name))


@page.get("/g/<gallery>/")
def start(gallery: str) -> str:
    """A place for a picture, above a random choice of the gallery's pictures."""
    served = service().gallery(gallery)
    seed = secrets.randbelow(2**31)
    sample = find_items(served, ListItems(limit=SAMPLE, seed=seed)).model_dump(mode="json")
    return draw_view("start", served, {**sample, "seed": seed}, items=sample["items"])


@page.get("/g/<gallery>/search")
def results(gallery: str) -> str | Redirection:
    """Neighbours of an item (`id`) or of a stored query (`q`)."""
    asked = request.args.get("id") or request.args.get("q")
    if not asked:
        return redirect(url_for("page.start", gallery=gallery))
    found = service()
    served = found.gallery(gallery)
    offset, beta = request.args.get("offset", 0), request.args.get("beta", AS_INDEXED)
    body = checked(SearchBody, id=asked, k=NEIGHBOURS, offset=offset, beta=beta, filter=request.args.get("filter"))
    answer = find_neighbours(found, served, look_at(found, served, asked), body).model_dump(mode="json")
    more = None
    if len(answer["hits"]) == NEIGHBOURS:
        more = f"{_results_address(gallery, asked, body.beta, body.filter)}&offset={body.offset + NEIGHBOURS}"
    initial = answer if body.offset == 0 else None
    weights = {words: _results_address(gallery, asked, weight, body.filter) for words, weight in _WEIGHTS.items()}
    chosen = next((words for words, weight in _WEIGHTS.items() if weight == body.beta), None)
    shown = {"title": answer["query"]["name"], "more": more, "weights": weights, "chosen": chosen}
    chosen_facets = _facets(served, body.filter, lambda other: _results_address(gallery, asked, body.beta, other))
    return draw_view("results", served, initial, **shown, **chosen_facets, **answer)


@page.post("/g/<gallery>/search")
@needs("read")
def search_with_form(gallery: str) -> Redirection:
    """Take a picture from the plain form, and lead to its neighbours: an address that Back and reload work with."""
    found = service()
    served = found.gallery(gallery)
    incoming = read_request(NoParameters, NoParameters(), image_fields=("image",))
    file = one_file(file=incoming.file("image"), image_base64=None)
    stored = store(found, look_at(found, served, file), file)
    return redirect(_results_address(gallery, stored.id), 303)


@page.get("/g/<gallery>/browse")
def browse(gallery: str) -> str:
    """All pictures, page by page."""
    served = service().gallery(gallery)
    cursor = request.args.get("cursor")
    asked = checked(ListItems, limit=LISTED, cursor=cursor, filter=request.args.get("filter"))
    listed = find_items(served, asked).model_dump(mode="json")

    def address(chosen: Filter | None, cursor: str | None = None) -> str:
        return url_for("page.browse", gallery=gallery, filter=_filter_text(chosen), cursor=cursor)

    more = address(asked.filter, cursor=listed["next_cursor"]) if listed["next_cursor"] else None
    shown = {"title": "Browse", "more": more, "items": listed["items"]}
    return draw_view(
        "browse", served, listed if cursor is None else None, **shown, **_facets(served, asked.filter, address)
    )


@page.get("/g/<gallery>/morph")
def morph(gallery: str) -> str:
    """One picture that turns into another; without JavaScript its film strip."""
    served = service().gallery(gallery)
    a, b = request.args.get("a"), request.args.get("b")
    strip = None
    if a and b and served.engine.decoder is not None:
        strip = url_for("morph.linked_morph", gallery=gallery, a=a, b=b, frames=_STRIP_FRAMES, format="strip")
    return draw_view("morph", served, None, title="Morph", strip=strip)


@page.errorhandler(UserError)
def explain(error: UserError) -> Response | tuple[str, int]:
    """Show what is wrong in the page's own clothes; where there is no gallery to go on with, as every other route."""
    try:
        served = service().gallery((request.view_args or {}).get("gallery"))
    except UserError:
        return answer_user_error(error)
    title, detail = error.problem.title, public_detail(error)
    return draw_view("problem", served, None, title=title, detail=detail), error.problem.status


def _facets(served: ServedGallery, asked: Filter | None, address: Callable[[Filter | None], str]) -> dict[str, Any]:
    """The facets of what is shown, each value with the address that chooses it, or lets it go."""
    asked = asked or {}
    counted = find_facets(served, FacetOptions(filter=asked or None, fields=list(FACETS), values=CHOICES, own=False))
    groups, chosen = [], []
    for facet in counted.facets:
        values = []
        for each in facet.values:
            is_chosen = asked.get(facet.field) == {"eq": each.value}
            others = {field: condition for field, condition in asked.items() if field != facet.field}
            then = others if is_chosen else {**others, facet.field: {"eq": each.value}}
            value = {"words": _value_words(facet.field, each.value), "count": each.count, "chosen": is_chosen}
            values.append(value | {"address": address(then or None)})
        chosen += [{"title": FACETS[facet.field], **value} for value in values if value["chosen"]]
        if len(values) > 1 or facet.field == "tags":  # all items have a folder, but not all a tag
            groups.append({"title": FACETS[facet.field], "values": values})
    return {
        "facets": {
            "groups": groups,
            "chosen": chosen,
            "everything": address(None) if asked else None,
            "passing": counted.passing,
        },
        "counted": counted.model_dump(mode="json"),
    }


def _value_words(field: str, value: Any) -> str:
    return "(top folder)" if field == "folder" and value == "" else str(value)


def _filter_text(asked: Filter | None) -> str | None:
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")) if asked else None


def draw_view(name: str, served: ServedGallery, initial: dict[str, Any] | None, **shown: Any) -> str:
    """Draw a view.

    Args:
        name: Of its template.
        served: The gallery.
        initial: The API's answer to what the address asks; None where the page's modules are to ask for themselves.
        shown: What the template wants to know beside that.
    """
    gallery = describe_gallery(served).model_dump(mode="json")
    view = name if name in VIEWS or name in UNLISTED else "search"
    return render_template(
        f"{name}.html",
        view=view,
        views=VIEWS,
        gallery=gallery,
        galleries=[_link(other) for other in service().galleries],
        root=url_for("page.start", gallery=served.name),
        attribution=served.engine.bundle.facts.licence,
        version=version("lookalike"),
        modules=_modules(view),
        styles=_styles(view),
        data={
            "gallery": gallery,
            "root": url_for("page.start", gallery=served.name),
            "top": url_for("page.first_gallery"),
            "api": gallery_address(served.name),
            "limits": _limits(),
            "initial": initial,
            "facets": shown.get("counted"),
        },
        **shown,
    )


def _link(served: ServedGallery) -> dict[str, Any]:
    root = url_for("page.start", gallery=served.name)
    return {"name": served.name, "items": served.gallery.count, "root": root}


def _limits() -> dict[str, int | float]:
    """What the page's modules keep to."""
    return {
        "image_bytes": limits.IMAGE_BYTES,
        "sample": SAMPLE,
        "neighbours": NEIGHBOURS,
        "reach": limits.OFFSET + NEIGHBOURS,
        "listed": LISTED,
        "choices": CHOICES,
        "beta": MAX_BETA,
    }


def _modules(view: str) -> list[str]:
    """The modules that a view begins with: a browser that knows all of them fetches them at once, not one by one."""
    return static_files().modules_of("app.js", f"{view}/{view}_view.js")


def _styles(view: str) -> list[str]:
    """The styles that a view needs, in the order in which they count; its own are named as its folder is."""
    return [f"styles/{name}.css" for name in _STYLES] + static_files().styles_in(view)


def _results_address(gallery: str, picture_id: str, beta: float = AS_INDEXED, asked: Filter | None = None) -> str:
    parameters: dict[str, Any] = {"q" if picture_id.startswith("q_") else "id": picture_id}
    if beta != AS_INDEXED:
        parameters["beta"] = f"{beta:g}"
    if asked:
        parameters["filter"] = _filter_text(asked)
    return url_for("page.results", gallery=gallery, **parameters)


def checked(model: type[Any], **given: Any) -> Any:
    """What an address gives, as a model; raises InvalidRequest where it is not allowed."""
    try:
        return model(**given)
    except ValidationError as error:
        raise from_validation(error) from error


@page.app_template_filter("score")
def score_words(score: float) -> str:
    """A cosine with two digits: what is only nearly the same never reads 1.00, and nothing reads -0.00."""
    shown = 1.0 if score > 0.99995 else min(score, 0.9949)
    return f"{round(shown, 2) + 0.0:.2f}".replace("-", "−")


@page.app_template_filter("warning")
def warning_words(warning: str) -> str:
    """A warning of the API as a sentence."""
    return _WARNINGS.get(warning, warning)
