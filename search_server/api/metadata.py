"""What is known of items beside their pixels: one item with its tags and fields, changing them, counting them."""

import hashlib

from flask import Response, request
from flask_openapi import APIBlueprint, Tag

from index_data.facets import facets
from index_data.gallery import Item
from index_data.metadata import Description, change_own, descriptions, set_tags
from search_server import limits
from search_server.api.answers import PREFIX, cached, describe_item, json_answer
from search_server.api.documents import json_body
from search_server.api.schemas import (
    DeletedOut,
    FacetOptions,
    FacetOut,
    FacetsOut,
    FacetValueOut,
    GalleryPath,
    ItemOut,
    ItemPatch,
    ItemPath,
    ItemsToDelete,
    NoParameters,
)
from search_server.galleries import ServedGallery
from search_server.incoming import read_request
from search_server.problems import InvalidRequest, responses
from search_server.service import service
from search_server.stopwatch import stage
from search_server.subjects import find_item
from train.errors import UserError

metadata = APIBlueprint("metadata", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="metadata")])

_REMOVED_AT_ONCE = 1000  # items in one transaction


class PreconditionFailed(UserError):
    """An item is not what the client thinks it is."""

    code = "precondition_failed"


@metadata.get(
    "/galleries/<gallery>/items/<id>",
    responses={
        200: ItemOut,
        304: {"description": "it has not changed"},
        **responses("no_such_gallery", "no_such_item"),
    },
)
def show_item(path: ItemPath) -> Response:
    """Describe one item, with its tags and metadata."""
    served = service().gallery(path.gallery)
    return _shown(served, find_item(served, path.id))


@metadata.patch(
    "/galleries/<gallery>/items/<id>",
    request_body=json_body(ItemPatch),
    responses={
        200: ItemOut,
        **responses(
            "no_such_gallery",
            "no_such_item",
            "precondition_failed",
            "body_too_large",
            "unsupported_format",
            "locked",
            "disk_full",
        ),
    },
)
def change_item(path: ItemPath, query: NoParameters) -> Response:
    """Set an item's tags and metadata; with `If-Match` only where nobody else did since."""
    served = service().gallery(path.gallery)
    patch = read_request(ItemPatch, query).options
    item = find_item(served, path.id)
    with served.gallery.changes() as changes:
        # Within the transaction: nobody can come between the look and the change.
        _expect_unchanged(served, item)
        if patch.tags is not None:
            set_tags(changes, item.id, patch.tags)
        if patch.metadata:
            change_own(changes, item.id, patch.metadata)
    return _shown(served, item)


@metadata.delete(
    "/galleries/<gallery>/items/<id>",
    responses={
        204: {"description": "it is no longer in the gallery"},
        **responses("no_such_gallery", "no_such_item", "precondition_failed", "locked", "disk_full"),
    },
)
def delete_item(path: ItemPath) -> Response:
    """Take an item out of the gallery; its file is never touched."""
    served = service().gallery(path.gallery)
    item = find_item(served, path.id)
    _expect_unchanged(served, item)
    _remove(served, [item.id])
    return Response(status=204)


@metadata.post(
    "/galleries/<gallery>/items/delete",
    request_body=json_body(ItemsToDelete),
    responses={
        200: DeletedOut,
        **responses("no_such_gallery", "no_such_item", "body_too_large", "unsupported_format", "locked", "disk_full"),
    },
)
def delete_items(path: GalleryPath, query: NoParameters) -> Response:
    """Take items out of the gallery, by their ids or by a filter; their files are never touched."""
    served = service().gallery(path.gallery)
    asked = read_request(ItemsToDelete, query).options
    if (asked.ids is None) == (asked.filter is None):
        raise InvalidRequest("say which items: give ids, or a filter.")
    if asked.ids is not None:
        chosen = list(dict.fromkeys(find_item(served, word).id for word in asked.ids))
    else:
        passing = served.passing(asked.filter)
        if passing is None:
            raise InvalidRequest("the filter is empty, and all items would go: say which are meant.")
        chosen = passing.tolist()
    if not asked.dry_run:
        _remove(served, chosen)
    ids = [str(number) for number in chosen[: limits.LIST]]
    return json_answer(DeletedOut(deleted=len(chosen), ids=ids, dry_run=asked.dry_run))


@metadata.get("/galleries/<gallery>/facets", responses={200: FacetsOut, **responses("no_such_gallery")})
def show_facets(path: GalleryPath, query: FacetOptions) -> Response:
    """Count the values of fields: folders, tags, years, cameras, and what else has few values."""
    return json_answer(find_facets(service().gallery(path.gallery), query))


def find_facets(served: ServedGallery, query: FacetOptions) -> FacetsOut:
    """Counted values, as the API and the page show them."""
    passing = served.passing(query.filter)
    with stage("fetch"):
        counted = facets(served.gallery, query.filter, query.fields or None, values=query.values, with_own=query.own)
    return FacetsOut(
        facets=[
            FacetOut(
                field=facet.field,
                values=[FacetValueOut(value=each.value, count=each.count) for each in facet.values],
                more=facet.more,
            )
            for facet in counted
        ],
        passing=None if passing is None else len(passing),
    )


def _shown(served: ServedGallery, item: Item) -> Response:
    known = _known(served, item)
    etag = _etag(item, known)
    if request.method == "GET" and etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    return cached(json_answer(describe_item(served, item, known)), etag, for_ever=False)


def _known(served: ServedGallery, item: Item) -> Description:
    return descriptions(served.gallery, [item.id]).get(item.id, Description())


def _etag(item: Item, known: Description) -> str:
    state = repr((item.id, item.sha256, item.path, known.tags, known.fields))
    return hashlib.sha256(state.encode()).hexdigest()[:32]


def _expect_unchanged(served: ServedGallery, item: Item) -> None:
    if request.if_match and _etag(item, _known(served, item)) not in request.if_match:
        raise PreconditionFailed(f"item {item.id} has changed since it was read: get it again.")


def _remove(served: ServedGallery, ids: list[int]) -> None:
    for start in range(0, len(ids), _REMOVED_AT_ONCE):
        with served.gallery.changes() as changes:
            changes.remove_items(ids[start : start + _REMOVED_AT_ONCE])
    served.engine.refresh()
