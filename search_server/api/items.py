"""Galleries, their items, and the items' pictures."""

import base64
import hashlib
import json
from typing import Any

import numpy as np
from flask import Response, request
from flask_openapi import APIBlueprint, Tag

from index_data.filters import state_of_fields
from index_data.gallery import Item
from index_data.metadata import descriptions
from index_data.orders import aspects, in_order
from search_server import limits
from search_server.api.answers import LONGEST_SIDE, PREFIX, cached, describe_gallery, describe_item, json_answer
from search_server.api.documents import NOT_CHANGED, pictures
from search_server.api.galleries import gallery_etag
from search_server.api.schemas import (
    GalleriesOut,
    GalleryPath,
    ImageOptions,
    ItemPath,
    ItemsOut,
    ListItems,
    OutlineOptions,
)
from search_server.galleries import ServedGallery
from search_server.problems import DECODING, InvalidRequest, responses
from search_server.service import Service, service
from search_server.stopwatch import stage
from search_server.subjects import find_item, original
from train.errors import UserError
from train.printable import printable

items = APIBlueprint("items", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="galleries")])


@items.get("/galleries", responses={200: GalleriesOut, **responses()})
def list_galleries() -> Response:
    """List the galleries that are served."""
    return json_answer(GalleriesOut(galleries=[describe_gallery(served) for served in service().galleries]))


@items.get("/galleries/<gallery>/items", responses={200: ItemsOut, **responses("no_such_gallery")})
def list_items(path: GalleryPath, query: ListItems) -> Response:
    """List items, page by page: oldest first, newest first, shuffled, or those that are named."""
    served = service().gallery(path.gallery)
    return json_answer(find_items(served, query))


def find_items(served: ServedGallery, query: ListItems) -> ItemsOut:
    """One page of items, as the API and the page show them."""
    with stage("fetch"):
        if query.ids is not None:
            found, cursor = _named_items(served, query.ids), None
        else:
            found, cursor = _page(served, query)
        known = descriptions(served.gallery, [item.id for item in found]) if "metadata" in query.include else {}
        small = service().placeholders.of(served, [item.id for item in found]) if query.placeholders else {}
    described = [describe_item(served, item, known.get(item.id)) for item in found]
    for item in described if small else ():
        item.placeholder = small.get(int(item.id))
    return ItemsOut(items=described, next_cursor=cursor)


@items.get(
    "/galleries/<gallery>/items/outline",
    responses={
        200: {
            "description": "`X-Count` ids as int64, then as many aspects (width / height) as float32, little-endian; "
            "`X-Total` items there are, of which an outline has at most `limits.outline_max`",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "the gallery has not changed"},
        **responses("no_such_gallery"),
    },
)
def outline_items(path: GalleryPath, query: OutlineOptions) -> Response:
    """Give ids and shapes of all items, in order: what a list needs to be as long as it is before it is read."""
    found = service()
    served = found.gallery(path.gallery)
    etag = _outline_etag(served, query)
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    body = found.frames.get(f"outline-{etag}")
    among = served.passing(query.filter) if body is None or query.filter else None
    ids = served.engine.ids if among is None else among
    if body is None:
        with stage("fetch"):
            shown = in_order(served.gallery, ids, query.sort)[: limits.OUTLINE]
            body = shown.astype("<i8").tobytes() + aspects(served.gallery, shown).astype("<f4").tobytes()
        found.frames.put(f"outline-{etag}", body)
    answer = Response(body, mimetype="application/octet-stream")
    answer.headers["X-Count"] = str(len(body) // 12)
    answer.headers["X-Total"] = str(len(ids))
    return cached(answer, etag, for_ever=False)


@items.get(
    "/galleries/<gallery>/items/<id>/image",
    responses={
        200: pictures("image/webp", "image/jpeg", "image/png", described="the picture, encoded anew"),
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_item", "file_missing", "file_changed", *DECODING),
    },
)
def show_image(path: ItemPath, query: ImageOptions) -> Response:
    """Give an item's picture, upright and encoded anew: never the file's own bytes."""
    found = service()
    served = found.gallery(path.gallery)
    item = find_item(served, path.id)
    image_format = "webp" if query.size == "thumb" else query.format
    etag = f"{item.sha256[:32]}-{query.size}-{image_format}"
    if etag in request.if_none_match:
        answer = Response(status=304)
    else:
        answer = Response(_rendered(found, served, item, query.size, image_format), mimetype=f"image/{image_format}")
    return cached(answer, etag, for_ever=query.v == item.sha256)


@items.get(
    "/galleries/<gallery>/items/<id>/original",
    responses={
        200: pictures("application/octet-stream", described="the file's bytes, with --originals"),
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_item", "not_found", "file_missing", "file_changed"),
    },
)
def download_original(path: ItemPath) -> Response:
    """Give an item's file itself, with its metadata, for download: only where the server is started for that."""
    found = service()
    served = found.gallery(path.gallery)
    item = find_item(served, path.id)
    if not found.settings.originals:
        raise OriginalsKeptError(
            "this server keeps the files themselves: start it with --originals, or take the picture encoded anew."
        )
    if item.sha256 in request.if_none_match:
        return cached(Response(status=304), item.sha256, for_ever=False)
    answer = Response(original(served, item), mimetype="application/octet-stream")
    # Whatever the bytes are, no browser shows them as a page of this server.
    answer.headers.set("Content-Disposition", "attachment", filename=printable(item.name))
    return cached(answer, item.sha256, for_ever=False)


class OriginalsKeptError(UserError):
    """The files of the pictures are not given out."""

    code = "not_found"


def _rendered(found: Service, served: ServedGallery, item: Item, size: str, image_format: str) -> bytes:
    if size == "thumb":
        thumbnail = served.gallery.thumbnail(item.sha256)
        if thumbnail is not None:
            return thumbnail
    data = original(served, item)
    with stage("decode"):
        return found.originals.render(data, LONGEST_SIDE[size], image_format.upper()).data


def _outline_etag(served: ServedGallery, query: OutlineOptions) -> str:
    state = state_of_fields(served.gallery) if query.filter else ""
    asked = json.dumps([query.sort, query.filter, gallery_etag(served), state], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def _named_items(served: ServedGallery, ids: str) -> list[Item]:
    words = ids.split(",")
    if len(words) > limits.LIST:
        raise InvalidRequest(f"ids: {len(words)} are given, at most {limits.LIST} are allowed.")
    return [find_item(served, word.strip()) for word in words]


def _page(served: ServedGallery, query: ListItems) -> tuple[list[Item], str | None]:
    """One page and the cursor of the next; a cursor holds where to go on, so that additions shift nothing."""
    after = _read_cursor(query)
    among = served.passing(query.filter)
    if among is None and query.seed is None and query.sort == "id":
        found = served.gallery.items(after=after, limit=query.limit)
        return found, _cursor(query, found[-1].id) if len(found) == query.limit else None
    ids = served.engine.ids if among is None else among
    by_place = query.seed is not None or query.sort not in ("id", "-id")
    if query.seed is not None:
        ids = np.random.default_rng(query.seed).permutation(ids)[after:]
    elif by_place:
        ids = in_order(served.gallery, ids, query.sort)[after:]
    elif query.sort == "id":
        ids = ids[ids > after]
    else:
        ids = ids[::-1]
        ids = ids[ids < after] if after else ids
    chosen = ids[: query.limit].tolist()
    by_id = {item.id: item for item in served.gallery.items_by_id(chosen)}
    more = len(ids) > len(chosen)
    place = after + len(chosen) if by_place else chosen[-1] if chosen else 0
    return [by_id[number] for number in chosen if number in by_id], _cursor(query, place) if more else None


def _cursor(query: ListItems, place: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([_order(query), place]).encode()).decode().rstrip("=")


def _order(query: ListItems) -> str | int:
    return query.sort if query.seed is None else query.seed


def _read_cursor(query: ListItems) -> int:
    if query.cursor is None:
        return 0
    try:
        padded = query.cursor + "=" * (-len(query.cursor) % 4)
        content: Any = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        order, place = content
        if order != _order(query) or type(place) is not int or not 0 <= place < 2**63:
            raise ValueError("made for another list")
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest("cursor: use the next_cursor of the page before, with the same sort or seed.") from error
    return place
