"""The web page: its address says what it shows, and it shows it without JavaScript too, only more plainly.

Each view's template draws what the address asks for, and hands the same answer to the page's modules as JSON: they
draw it again with everything that moves, and need not ask a second time.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request, url_for
from pydantic import ConfigDict, ValidationError
from werkzeug.wrappers import Response as Redirection

from index_data.config import AS_INDEXED, MAX_BETA
from index_data.filters import Filter
from index_data.search_lists import COPIES, lying_words
from search_server import limits
from search_server.access import caller, needs
from search_server.api.answers import PREFIX, describe_gallery, describe_subject, gallery_address
from search_server.api.galleries import find_failures
from search_server.api.gallery_schemas import ListFailures
from search_server.api.items import find_items
from search_server.api.model_schemas import AxesOptions, PrototypesOptions
from search_server.api.models import axes_of, kept_json, prototypes_of
from search_server.api.queries import store
from search_server.api.schemas import (
    ListItems,
    NoParameters,
    QueryPart,
    SearchAllBody,
    SearchBody,
)
from search_server.api.search import find_neighbours
from search_server.api.searches import answer_search_all
from search_server.combinations import subject_of
from search_server.filter_links import CHOICES, counted_values, filter_links, filter_text
from search_server.galleries import ServedGallery
from search_server.incoming import read_request
from search_server.problems import from_validation, public_detail
from search_server.service import Service, service
from search_server.static_files import EVERY_STYLE, add_static_files, static_files
from search_server.subjects import look_at, one_file
from search_server.tokens import SCOPES
from train.errors import UserError

page = Blueprint("page", __name__, template_folder="templates")
add_static_files(page)

_VERSION = version("lookalike")
SAMPLE = 40  # pictures below the empty search
NEIGHBOURS = 48  # that are fetched at a time
LISTED = 120  # pictures of one page of Browse
# Words and icon of each view, in the order of the bar; where there is little room, the first four stay in it.
VIEWS = {
    "search": ("Search", "search"),
    "browse": ("Browse", "grid"),
    "map": ("Map", "map"),
    "morph": ("Morph", "morph"),
    "explore": ("Explore", "explore"),
    "duplicates": ("Duplicates", "duplicates"),
    "outliers": ("Outliers", "outliers"),
}
SERVER_VIEWS: dict[str, tuple[str, str]] = {}  # the same for what belongs to no gallery (server_page.py)
WITHIN = {"start": "search", "item": "browse"}  # views that are not in the bar, and the one that they belong to
_AXES, _PROTOTYPES = 8, 12  # of Explore
_FEWEST_TO_EXPLORE = 3  # pictures
_STRIP_FRAMES = 12  # of a morph without JavaScript

_SORTS = {
    "id": "Oldest first",
    "-id": "Newest first",
    "name": "Name",
    "path": "Folder",
    "-pixels": "Most pixels",
    "-bytes": "Largest file",
}
_TICK = "in/"  # and the name of a gallery: a field of a plain form
_WEIGHTS = {"same thing": 0.0, "as indexed": AS_INDEXED, "looks the same": MAX_BETA}  # without JavaScript
_WARNINGS = {
    "plain-query": "This picture is almost one colour: there is little to compare.",
    "out-of-domain": "The model has hardly seen pictures of this kind: its neighbours may mean little.",
    "nothing-close": "Nothing in this gallery is much like it. These are the nearest.",
}


class _PlainForm(NoParameters):
    """The form without JavaScript: the galleries that are ticked come beside the picture, as fields of any name."""

    model_config = ConfigDict(extra="allow")


@page.get("/")
def first_gallery() -> Redirection:
    """Lead to the first gallery; where there is none, to the place where one is made."""
    served = next(iter(service().galleries), None)
    if served is None:
        return redirect(url_for("server_page.new"))
    return redirect(url_for("page.start", gallery=served.name))


@page.get("/g/<gallery>/")
def start(gallery: str) -> str:
    """A place for a picture, above a random choice of the gallery's pictures."""
    served = service().gallery(gallery)
    seed = secrets.randbelow(2**31)
    sample = find_items(served, ListItems(limit=SAMPLE, seed=seed, placeholders=True)).model_dump(mode="json")
    choice = _choice_of_galleries(served, _chosen_galleries(served))
    return draw_view("start", served, {**sample, "seed": seed}, items=sample["items"], choice=choice)


@page.get("/g/<gallery>/search")
def results(gallery: str) -> str | Redirection:
    """Neighbours of an item (`id`), of a stored query (`q`), or of several pictures (`like`, `unlike`)."""
    if not any(request.args.get(name) for name in ("id", "q", "like", "unlike")):
        return redirect(url_for("page.start", gallery=gallery))
    if ticked := _ticked(request.args):  # a plain form: one address for one search
        others = {name: value for name, value in request.args.items() if not name.startswith(_TICK)}
        parameters: dict[str, Any] = {**others, "in": ticked}
        return redirect(url_for("page.results", gallery=gallery, **parameters))
    found = service()
    served = found.gallery(gallery)
    body = _question(served)
    names = _chosen_galleries(served)
    if names:
        return _results_of_several(found, served, body, names)
    subject, _ = subject_of(found, served, body, None)
    answer = find_neighbours(found, served, subject, body).model_dump(mode="json")
    more = None
    if len(answer["hits"]) == NEIGHBOURS:
        more = _results_address(gallery, body, offset=body.offset + NEIGHBOURS)
    initial = answer if body.offset == 0 else None
    weights = {words: _results_address(gallery, body, beta=weight) for words, weight in _WEIGHTS.items()}
    chosen = next((words for words, weight in _WEIGHTS.items() if weight == body.beta), None)
    shown = {"title": answer["query"]["name"], "more": more, "weights": weights, "chosen": chosen}
    shown |= {"choice": _choice_of_galleries(served, [], body), "unanswered": {}}
    counted = counted_values([served], body.filter)
    shown["filters"] = filter_links(counted, body.filter, lambda other: _results_address(gallery, body, filter=other))
    return draw_view("results", served, initial, counted=counted, **shown, **answer)


def _results_of_several(found: Service, served: ServedGallery, body: SearchBody, names: list[str]) -> str:
    """Neighbours in several galleries, each marked with the one that it is of."""
    asked = checked(SearchAllBody, **body.model_dump(), gallery=served.name, galleries=names)
    answer = answer_search_all(found, asked).model_dump(mode="json")
    if served.name not in answer["queries"]:
        subject, _ = subject_of(found, served, body, None)
        answer["queries"][served.name] = describe_subject(served, subject).model_dump(mode="json")
    query = answer["queries"][served.name]
    roots = {name: url_for("page.start", gallery=name) for name in names}
    more = None
    if len(answer["hits"]) == NEIGHBOURS:
        more = _results_address(served.name, body, offset=body.offset + NEIGHBOURS, names=names)
    searched = [found.galleries.get(name) for name in names if found.galleries.has(name)]
    able = all(one.engine.bundle.semantic_dims for one in searched)
    weights = {words: _results_address(served.name, body, beta=beta, names=names) for words, beta in _WEIGHTS.items()}
    return draw_view(
        "results",
        served,
        answer if body.offset == 0 else None,
        title=query["name"],
        query=query,
        hits=[{**hit, "root": roots[hit["gallery"]]} for hit in answer["hits"]],
        more=more,
        weights=weights if able else {},
        chosen=next((words for words, weight in _WEIGHTS.items() if weight == body.beta), None),
        choice=_choice_of_galleries(served, names, body),
        unanswered={name: problem["detail"] for name, problem in answer["problems"].items()},
        filters=filter_links(
            counted_values(searched, body.filter),
            body.filter,
            lambda other: _results_address(served.name, body, filter=other, names=names),
        ),
    )


def _chosen_galleries(served: ServedGallery) -> list[str]:
    """The galleries that the address names (`in=photos/scans`); none where it is the one that is shown, alone."""
    names = [name for name in request.args.get("in", "").split("/") if name]
    return [] if names == [served.name] else list(dict.fromkeys(names))


def _ticked(given: Mapping[str, str]) -> str:
    """The galleries that are ticked in a plain form, as an address has them: no folder's name has a slash in it."""
    return "/".join(name.removeprefix(_TICK) for name in given if name.startswith(_TICK))


def _choice_of_galleries(
    served: ServedGallery, names: list[str], body: SearchBody | None = None
) -> list[dict[str, Any]]:
    """All galleries to choose from, whether each is chosen, and why one cannot be; nothing where there is no choice."""
    galleries = list(service().galleries)
    if len(galleries) < 2:
        return []
    chosen = names or [served.name]
    return [
        {"chosen": other.name in chosen, "hindrance": _hindrance(other, body), **_searchable(other)}
        for other in galleries
    ]


def _hindrance(served: ServedGallery, body: SearchBody | None) -> str | None:
    if not served.gallery.count:
        return "It has no pictures yet."
    if body is not None and body.beta != AS_INDEXED and not served.engine.bundle.semantic_dims:
        return "Its model cannot tell what a picture shows from how it looks: search as indexed."
    return None


def _searchable(served: ServedGallery) -> dict[str, Any]:
    """What a reader who chooses where to search wants to know of a gallery."""
    return {
        "name": served.name,
        "items": served.gallery.count,
        "model": served.gallery.model_id,
        "semantic": bool(served.engine.bundle.semantic_dims),
        "paints": served.engine.decoder is not None,
    }


def _question(served: ServedGallery) -> SearchBody:
    """What an address of the search asks."""
    given = request.args
    parts = {"positive": _parts(given.get("like")), "negative": _parts(given.get("unlike"))}
    asked: dict[str, Any] = {
        "k": NEIGHBOURS,
        "placeholders": True,
        "offset": given.get("offset", 0),
        "beta": given.get("beta", AS_INDEXED),
        "filter": given.get("filter"),
        "crop": given.get("crop"),
        "transforms": given.get("forms", "none"),
        "exclude_self": given.get("self") != "1",
        "collapse_duplicates": given.get("once") == "1",
        "same_picture": given.get("same") == "1" and not any(parts.values()),
    }
    if any(parts.values()):
        asked |= parts
    else:
        asked["id"] = given.get("id") or given.get("q")
    if served.engine.decoder is not None and (any(parts.values()) or asked["crop"]):
        asked["include"] = ["reconstruction"]
    body: SearchBody = checked(SearchBody, **asked)
    return body


def _parts(text: str | None) -> list[dict[str, Any]]:
    """`17,42*0.5` as parts of a query."""
    parts = []
    for word in filter(None, (text or "").split(",")):
        part_id, _, weight = word.partition("*")
        parts.append({"id": part_id, "weight": weight or 1.0})
    return parts


@page.post("/g/<gallery>/search")
@needs("read")
def search_with_form(gallery: str) -> Redirection:
    """Take a picture from the plain form, and lead to its neighbours: an address that Back and reload work with."""
    found = service()
    served = found.gallery(gallery)
    incoming = read_request(_PlainForm, NoParameters(), image_fields=("image",))
    file = one_file(file=incoming.file("image"), image_base64=None)
    stored = store(found, look_at(found, served, file), file)
    where = _ticked(request.form)
    several: dict[str, Any] = {"in": where} if where not in ("", gallery) else {}
    return redirect(url_for("page.results", gallery=gallery, q=stored.id, **several), 303)


@page.get("/g/<gallery>/browse")
def browse(gallery: str) -> str:
    """All pictures, page by page."""
    served = service().gallery(gallery)
    if request.args.get("show") == "failures":
        return _failures(served)
    cursor, sort = request.args.get("cursor"), request.args.get("sort", "id")
    asked = checked(
        ListItems, limit=LISTED, cursor=cursor, sort=sort, filter=request.args.get("filter"), placeholders=True
    )
    listed = find_items(served, asked).model_dump(mode="json")

    def address(chosen: Filter | None, cursor: str | None = None, order: str = sort) -> str:
        order_or_none = None if order == "id" else order
        return url_for("page.browse", gallery=gallery, filter=filter_text(chosen), sort=order_or_none, cursor=cursor)

    more = address(asked.filter, cursor=listed["next_cursor"]) if listed["next_cursor"] else None
    sorts = [(words, address(asked.filter, order=order), order == sort) for order, words in _SORTS.items()]
    shown = {"title": "Browse", "more": more, "items": listed["items"], "sorts": sorts, "failures": None}
    counted = counted_values([served], asked.filter)
    filters = filter_links(counted, asked.filter, address)
    initial = listed if cursor is None else None
    return draw_view("browse", served, initial, counted=counted, filters=filters, **shown)


def _failures(served: ServedGallery) -> str:
    """What could not be used, and why."""
    after = checked(ListFailures, limit=LISTED, cursor=request.args.get("cursor", 0))
    listed = find_failures(served, after).model_dump(mode="json")
    more = None
    if listed["next_cursor"]:
        more = url_for("page.browse", gallery=served.name, show="failures", cursor=listed["next_cursor"])
    return draw_view("browse", served, None, title="Could not be used", more=more, failures=listed["failures"])


@page.get("/g/<gallery>/morph")
def morph(gallery: str) -> str:
    """One picture that turns into another, past others (`via`) if need be; without JavaScript its film strip."""
    served = service().gallery(gallery)
    a, b, via = (request.args.get(name) for name in ("a", "b", "via"))
    strip = None
    if a and b and served.engine.decoder is not None:
        given: dict[str, Any] = {"a": a, "b": b, "via": via, "frames": _STRIP_FRAMES}
        strip = url_for("morph.linked_morph", gallery=gallery, format="strip", **given)
    return draw_view("morph", served, None, title="Morph", strip=strip)


@page.get("/g/<gallery>/explore")
def explore(gallery: str) -> str:
    """What the model has learnt: the main axes of its codes, and what groups of pictures have in common, painted."""
    served = service().gallery(gallery)
    if served.engine.decoder is None or served.gallery.count < _FEWEST_TO_EXPLORE:
        return draw_view("explore", served, None, title="Explore")
    by: Literal["folder", "cluster"] = "folder" if request.args.get("by") == "folder" else "cluster"
    axes = kept_json(served, axes_of, AxesOptions(count=_AXES, steps=3, include=["vectors"]))
    prototypes = kept_json(served, prototypes_of, PrototypesOptions(by=by, count=_PROTOTYPES))
    shown = {"axes": json.loads(axes), "prototypes": json.loads(prototypes)}
    return draw_view("explore", served, shown, title="Explore", by=by, **shown)


@page.errorhandler(UserError)
def explain(error: UserError) -> tuple[str, int]:
    """Show what is wrong in the page's own clothes."""
    try:
        served = service().gallery((request.view_args or {}).get("gallery"))
    except UserError:
        served = None
    return draw_problem(error, served)


def draw_problem(error: UserError, served: ServedGallery | None) -> tuple[str, int]:
    """Draw what is wrong, and say its status."""
    title, detail = error.problem.title, public_detail(error)
    return draw_view("problem", served, None, title=title, detail=detail), error.problem.status


def draw_view(name: str, served: ServedGallery | None, initial: dict[str, Any] | None, **shown: Any) -> str:
    """Draw a view.

    Args:
        name: Of its template.
        served: The gallery that it shows, or that the reader came from; None where none is served.
        initial: The API's answer to what the address asks; None where the page's modules are to ask for themselves.
        shown: What the template wants to know beside that.
    """
    view = name if name in VIEWS or name in SERVER_VIEWS or name in WITHIN else "search"
    gallery = describe_gallery(served).model_dump(mode="json") if served else None
    root = url_for("page.start", gallery=served.name) if served else None
    galleries = [_link(other, view) for other in service().galleries]
    may = {scope: caller().may(scope) for scope in SCOPES}
    return render_template(
        f"{name}.html",
        view=WITHIN.get(view, view),
        views=VIEWS if served else {},
        server_views=SERVER_VIEWS,
        gallery=gallery,
        galleries=galleries,
        root=root,
        from_gallery=_from_gallery(served),
        may=may,
        signed_in=caller().by_cookie,
        attribution=served.engine.bundle.facts.licence if served else None,
        version=_VERSION,
        modules=_modules(view),
        styles=_styles(view),
        data={
            "gallery": gallery,
            "galleries": [other["name"] for other in galleries],
            "searchable": [_searchable(other) for other in service().galleries] if len(galleries) > 1 else [],
            "root": root,
            "top": url_for("page.first_gallery"),
            "api": gallery_address(served.name) if served else None,
            "server": f"{request.script_root}{PREFIX}",
            "may": may,
            "limits": _limits(),
            "features": {"urls": service().fetcher.policy.is_on},
            "initial": initial,
            "facets": shown["counted"].model_dump(mode="json") if "counted" in shown else None,
        },
        **shown,
    )


def gallery_of_reader() -> ServedGallery | None:
    """The gallery that a reader of a view of the server came from: the one that the address names, or the first."""
    galleries = service().galleries
    name = request.args.get("gallery")
    if name is not None and galleries.has(name):
        return galleries.get(name)
    return next(iter(galleries), None)


def _from_gallery(served: ServedGallery | None) -> dict[str, str]:
    """What an address of a view of the server says of where the reader came from: nothing where it is the first."""
    first = next(iter(service().galleries), None)
    return {} if served is None or first is None or served.name == first.name else {"gallery": served.name}


def _link(served: ServedGallery, view: str) -> dict[str, Any]:
    """A gallery in the switch, which keeps the view."""
    root = url_for("page.start", gallery=served.name)
    address = root + (view if view in VIEWS and view != "search" else "")
    if view in SERVER_VIEWS and view != "new":
        address = f"{url_for('page.first_gallery')}{view}?{urlencode({'gallery': served.name})}"
    return {"name": served.name, "items": served.gallery.count, "root": root, "address": address}


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
        "frames": limits.FRAMES_MAX,
        "morph_pixels": limits.MORPH_PIXELS,
    }


def _modules(view: str) -> list[str]:
    """The modules that a view begins with: a browser that knows all of them fetches them at once, not one by one."""
    return static_files().modules_of("app.js", f"{view}/{view}_view.js")


def _styles(view: str) -> list[str]:
    """The styles that a view needs, in the order in which they count; its own are named as its folder is."""
    return [EVERY_STYLE, *static_files().styles_in(view)]


def _results_address(gallery: str, body: SearchBody, *, names: Sequence[str] = (), **changed: Any) -> str:
    """Where a search leads, with something of it changed; what is as usual stands in no address."""
    asked = body.model_copy(update={"offset": 0, **changed})
    picture = asked.id or ""
    crop = asked.crop
    parameters: dict[str, Any] = {
        "q" if picture.startswith("q_") else "id": picture or None,
        "like": _parts_text(asked.positive),
        "unlike": _parts_text(asked.negative),
        "crop": f"{crop.x:g},{crop.y:g},{crop.w:g},{crop.h:g}" if crop else None,
        "forms": None if asked.transforms == "none" else asked.transforms,
        "self": None if asked.exclude_self else 1,
        "once": 1 if asked.collapse_duplicates else None,
        "same": 1 if asked.same_picture else None,
        "beta": None if asked.beta == AS_INDEXED else f"{asked.beta:g}",
        "filter": filter_text(asked.filter),
        "offset": asked.offset or None,
        "in": "/".join(names) or None,
    }
    return url_for("page.results", gallery=gallery, **parameters)


def _parts_text(parts: list[QueryPart]) -> str | None:
    return ",".join(f"{part.id}*{part.weight:g}" if part.weight != 1 else str(part.id) for part in parts) or None


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


@page.app_template_filter("hit_words")
def hit_words(hit: Mapping[str, Any]) -> str:
    """How near a hit is, and of one that comes first for another reason, why: as `parts/words.js` says it."""
    if hit.get("same_picture"):
        return ", ".join(filter(None, ("Same picture", lying_words(**hit["same_picture"]))))
    stands_out = hit["stands_out"] and hit["label"] not in COPIES
    return "Stands out" if stands_out else str(hit["label"]).capitalize()


@page.app_template_filter("warning")
def warning_words(warning: str) -> str:
    """A warning of the API as a sentence."""
    return _WARNINGS.get(warning, warning)
