"""Stored queries: a picture is sent once, and links to its neighbours and morphs work for an hour.

They stand below a gallery because that gallery's model decides whether a picture can be used; the id is good in all.
"""

from flask import Response, request
from flask_openapi import APIBlueprint, Tag

from search_server.access import needs
from search_server.api.answers import LONGEST_SIDE, PREFIX, cached, describe_query, gallery_address, json_answer
from search_server.api.documents import NOT_CHANGED, body_of, pictures
from search_server.api.schemas import (
    GalleryPath,
    ImageOptions,
    NoParameters,
    QueryBody,
    QueryPath,
    StoredQueryOut,
)
from search_server.incoming import File, read_request
from search_server.problems import DECODING, FETCHING, UPLOADING, responses
from search_server.service import Service, StoredQuery, service
from search_server.stopwatch import stage
from search_server.subjects import Subject, look_at, one_file

queries = APIBlueprint("queries", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="search")])


@queries.post(
    "/galleries/<gallery>/queries",
    request_body=body_of(QueryBody, files=("image",)),
    responses={201: StoredQueryOut, **responses("no_such_gallery", *FETCHING, *UPLOADING, *DECODING)},
)
@needs("read")
def store_query(path: GalleryPath, query: NoParameters) -> Response:
    """Store a picture for an hour: its id stands for it in searches and morphs."""
    found = service()
    incoming = read_request(QueryBody, query, image_fields=("image",))
    asked = incoming.options
    file = one_file(
        file=incoming.file("image"), image_base64=asked.image_base64, url=asked.url, fetch=found.fetcher.fetch
    )
    # A picture that cannot be decoded or embedded is refused now, not when it is asked about.
    subject = look_at(found, found.gallery(path.gallery), file)
    stored = store(found, subject, file)
    answer = json_answer(describe_query(path.gallery, stored), 201)
    answer.headers["Location"] = f"{gallery_address(path.gallery)}/queries/{stored.id}"
    return answer


def store(found: Service, subject: Subject, file: File) -> StoredQuery:
    """Keep an uploaded picture that was looked at."""
    return found.store_query(
        file.data,
        name=subject.name,
        width=subject.width,
        height=subject.height,
        image_format=subject.format,
        plain=subject.plain,
    )


@queries.get(
    "/galleries/<gallery>/queries/<id>",
    responses={200: StoredQueryOut, **responses("no_such_gallery", "no_such_query")},
)
def show_query(path: QueryPath) -> Response:
    """Describe a stored query."""
    service().gallery(path.gallery)
    return json_answer(describe_query(path.gallery, service().stored_query(path.id)))


@queries.get(
    "/galleries/<gallery>/queries/<id>/image",
    responses={
        200: pictures("image/webp", "image/jpeg", "image/png", described="the picture, encoded anew"),
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_query", *DECODING),
    },
)
def show_query_image(path: QueryPath, query: ImageOptions) -> Response:
    """Give the picture of a stored query, upright and encoded anew."""
    service().gallery(path.gallery)
    stored = service().stored_query(path.id)
    etag = f"{stored.id}-{query.size}-{query.format}"
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=True)
    with stage("decode"):
        rendered = service().decoding.render(stored.data, LONGEST_SIDE[query.size], query.format.upper())
    return cached(Response(rendered.data, mimetype=rendered.content_type), etag, for_ever=True)
