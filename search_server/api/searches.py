"""Many searches at once: in several galleries, or several in one request."""

import base64
import json
from functools import partial
from typing import Any

from flask import Response, g, request
from flask_openapi import APIBlueprint, Tag
from pydantic import ValidationError

from index_data.filters import FilterError
from search_server import limits
from search_server.access import needs
from search_server.api.answers import PREFIX, json_answer
from search_server.api.documents import body_of
from search_server.api.schemas import (
    BatchAnswer,
    BatchBody,
    BatchOut,
    GalleryHitOut,
    GalleryPath,
    NoParameters,
    QueryPart,
    SearchAllBody,
    SearchAllOut,
    SearchBody,
    SearchOptions,
    SearchOut,
)
from search_server.api.search import answer_search
from search_server.galleries import ServedGallery
from search_server.incoming import File, read_request
from search_server.problems import (
    DECODING,
    FETCHING,
    UPLOADING,
    InvalidRequest,
    from_validation,
    problem_document,
    public_detail,
    responses,
)
from search_server.service import Service, service
from search_server.stopwatch import took_ms
from search_server.subjects import find_item, original
from train.errors import UserError

searches = APIBlueprint("searches", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="search")])

_REFUSALS = (
    "no_such_gallery",
    "no_such_item",
    "no_such_query",
    "no_decoder",
    "no_semantic_half",
    "dimension_mismatch",
    "file_missing",
    "file_changed",
    *FETCHING,
    *UPLOADING,
    *DECODING,
)
# What one gallery cannot answer, while others can: its model, its fields, or a file that only they would need to see.
_OF_ONE_GALLERY = {"no_semantic_half", "no_decoder", "bad_embedding", "file_missing", "file_changed"}


@searches.post(
    "/search",
    request_body=body_of(SearchAllBody, files=("image",)),
    responses={200: SearchAllOut, **responses(*_REFUSALS)},
)
@needs("read")
def search_all(query: SearchOptions) -> Response:
    """Find the nearest neighbours of a picture in several galleries at once."""
    incoming = read_request(SearchAllBody, query, image_fields=("image",))
    return json_answer(answer_search_all(service(), incoming.options, incoming.file("image")))


def answer_search_all(found: Service, asked: SearchAllBody, file: File | None = None) -> SearchAllOut:
    """Neighbours in several galleries, those of all of them in one order; and which could not be asked, and why.

    Raises:
        UserError: The question cannot be answered, or no gallery can answer it: then the first one's reason.
    """
    chosen = [found.galleries.get(name) for name in dict.fromkeys(asked.galleries)] or list(found.galleries)
    shared = SearchBody(**asked.model_dump(exclude={"galleries", "gallery", "offset"}), offset=0)
    shared.k = min(asked.offset + asked.k, limits.OFFSET)
    answers: dict[str, SearchOut] = {}
    refused: dict[str, UserError] = {}
    for served in chosen:
        try:
            answers[served.name] = answer_search(found, served, *_as_seen_from(found, served, asked, shared, file))
        except UserError as error:
            if not isinstance(error, FilterError) and error.problem.code not in _OF_ONE_GALLERY:
                raise
            refused[served.name] = error
    if refused and not answers:
        raise next(iter(refused.values()))
    same_model = len({served.gallery.model_id for served in chosen if served.name in answers}) == 1
    hits = [GalleryHitOut(**hit, gallery=name) for name, answer in answers.items() for hit in answer.hits]
    hits.sort(key=partial(_merit, same_model=same_model), reverse=True)
    hits = hits[asked.offset : asked.offset + asked.k]
    for rank, hit in enumerate(hits, asked.offset + 1):
        hit["rank"] = rank
    return SearchAllOut(
        queries={name: answer.query for name, answer in answers.items()},
        hits=hits,
        by="score" if same_model else "percentile",
        problems={name: _problem_of(error) for name, error in refused.items()},
        took_ms=took_ms(),
    )


def _merit(hit: GalleryHitOut, *, same_model: bool) -> tuple[float, float, float, float]:
    """By what hits of several galleries are put in one order."""
    same = hit["same_picture"]
    agreement = 0.0 if same is None else same["agreement"]
    return agreement, hit["stands_out"] or 0.0, 0.0 if same_model else hit["percentile"] or 0.0, hit["score"]


def _as_seen_from(
    found: Service, served: ServedGallery, asked: SearchAllBody, shared: SearchBody, file: File | None
) -> tuple[SearchBody, File | None]:
    """The same question to another gallery: there, an item of one gallery is a picture like any other."""
    named = [asked.id, *(part.id for part in (*asked.positive, *asked.negative))]
    if all(name is None or name.startswith("q_") for name in named):
        return shared, file
    if asked.gallery is None:
        raise InvalidRequest("gallery: say which gallery the item is of.")
    if served.name == asked.gallery:
        return shared, file
    home = found.galleries.get(asked.gallery)
    if asked.id is not None:
        item = find_item(home, asked.id)
        return shared.model_copy(update={"id": None, "store": False}), File(original(home, item), item.name)
    parts = {"positive": asked.positive, "negative": asked.negative}
    return shared.model_copy(
        update={name: [_carried(home, part) for part in those] for name, those in parts.items()}
    ), file


def _carried(home: ServedGallery, part: QueryPart) -> QueryPart:
    """One picture of a query of several, as a gallery that does not have it can be asked about it."""
    if part.id is None or part.id.startswith("q_"):
        return part
    data = base64.b64encode(original(home, find_item(home, part.id))).decode()
    return part.model_copy(update={"id": None, "image_base64": data})


@searches.post(
    "/galleries/<gallery>/search/batch",
    request_body=body_of(BatchBody, files=("image",), several=True, bare=False),
    responses={200: BatchOut, **responses("no_such_gallery", "body_too_large", "unsupported_format")},
)
@needs("read")
def search_batch(path: GalleryPath, query: NoParameters) -> Response:
    """Answer several searches, each with its neighbours or its problem, in their order."""
    found = service()
    incoming = read_request(BatchBody, query, image_fields=("image",))
    served = found.gallery(path.gallery)
    asked, files = incoming.options, incoming.files.get("image", [])
    if bool(asked.queries) == bool(files):
        raise InvalidRequest("give queries in JSON, or pictures as files in a form.")
    waiting: list[tuple[dict[str, Any], File | None]] = [({**asked.defaults, **each}, None) for each in asked.queries]
    waiting += [({}, file) for file in files]
    return json_answer(
        BatchOut(results=[_answered(found, served, options, file) for options, file in waiting], took_ms=took_ms())
    )


def _answered(found: Service, served: ServedGallery, options: dict[str, Any], file: File | None) -> BatchAnswer:
    try:
        try:
            body = SearchBody.model_validate(options, strict=True)
        except ValidationError as error:
            raise from_validation(error, in_body=True) from error
        return BatchAnswer(answer=answer_search(found, served, body, file))
    except UserError as error:
        return BatchAnswer(problem=_problem_of(error))


def _problem_of(error: UserError) -> dict[str, Any]:
    """What the API would say of an error, inside an answer."""
    detail, errors = public_detail(error), getattr(error, "errors", ())
    document = problem_document(error.problem, detail, instance=request.path, request_id=g.request_id, errors=errors)
    loaded: dict[str, Any] = json.loads(document)
    return loaded
