"""What is known of items beside their pixels: one item with its tags and fields, changing them, counting them."""

import hashlib

from flask import Response, request
from flask_openapi import APIBlueprint, Tag

from index_data.facets import Facet, facets
from index_data.filters import field_types
from index_data.gallery import Item
from index_data.metadata import Description, change_own, change_tags, descriptions, own_values, set_tags
from search_server.access import needs
from search_server.api.answers import PREFIX, cached, describe_item, json_answer, thumb_address
from search_server.api.documents import NOT_CHANGED, body_of
from search_server.api.preconditions import expect_unchanged
from search_server.api.schemas import (
    DescribeBody,
    DescribedOut,
    FacetOptions,
    FacetOut,
    FacetsOut,
    FacetValueOut,
    FieldOut,
    FieldsOut,
    GalleryPath,
    ItemOut,
    ItemPatch,
    ItemPath,
    NoParameters,
    TaggedOut,
    TagsBody,
)
from search_server.galleries import ServedGallery
from search_server.incoming import read_request
from search_server.problems import CHANGING, responses
from search_server.service import service
from search_server.stopwatch import stage
from search_server.subjects import chosen_ids, find_item

metadata = APIBlueprint("metadata", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="metadata")])


@metadata.get(
    "/galleries/<gallery>/items/<id>",
    responses={
        200: ItemOut,
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_item"),
    },
)
def show_item(path: ItemPath) -> Response:
    """Describe one item, with its tags and metadata."""
    served = service().gallery(path.gallery)
    return _shown(served, find_item(served, path.id))


@metadata.patch(
    "/galleries/<gallery>/items/<id>",
    request_body=body_of(ItemPatch, files=(), bare=False, form=False),
    responses={
        200: ItemOut,
        **responses("no_such_gallery", "no_such_item", "precondition_failed", *CHANGING),
    },
)
@needs("write")
def change_item(path: ItemPath, query: NoParameters) -> Response:
    """Set an item's tags and metadata; with `If-Match` only where nobody else did since."""
    served = service().gallery(path.gallery)
    patch = read_request(ItemPatch, query).options
    item = find_item(served, path.id)
    with served.gallery.changes() as changes:
        # Within the transaction: nobody can come between the look and the change.
        expect_unchanged(item_etag(served, item))
        if patch.tags is not None:
            set_tags(changes, item.id, patch.tags)
        if patch.metadata:
            change_own(changes, item.id, patch.metadata)
    return _shown(served, item)


@metadata.post(
    "/galleries/<gallery>/items/tags",
    request_body=body_of(TagsBody, files=(), bare=False, form=False),
    responses={
        200: TaggedOut,
        **responses("no_such_gallery", *CHANGING),
    },
)
@needs("write")
def tag_items(path: GalleryPath, query: NoParameters) -> Response:
    """Give many items tags, or take tags from them, by their ids or by a filter: all or, where it fails, none."""
    served = service().gallery(path.gallery)
    asked = read_request(TagsBody, query).options
    ids = chosen_ids(served, asked)
    with served.gallery.changes() as changes:
        there = [item.id for item in served.gallery.items_by_id(list(dict.fromkeys(ids)))]
        change_tags(changes, there, add=asked.add, remove=asked.remove)
    return json_answer(TaggedOut(items=len(there)))


@metadata.post(
    "/galleries/<gallery>/items/metadata",
    request_body=body_of(DescribeBody, files=(), bare=False, form=False),
    responses={
        200: DescribedOut,
        **responses("no_such_gallery", *CHANGING),
    },
)
@needs("write")
def describe_items(path: GalleryPath, query: NoParameters) -> Response:
    """Set metadata of many items by hand, by their ids or by a filter: all or, where it fails, none."""
    served = service().gallery(path.gallery)
    asked = read_request(DescribeBody, query).options
    ids = chosen_ids(served, asked)
    with served.gallery.changes() as changes:
        there = [item.id for item in served.gallery.items_by_id(list(dict.fromkeys(ids)))]
        before = own_values(changes, there, list(asked.metadata)) if asked.ids is not None else {}
        for number in there:
            change_own(changes, number, asked.metadata)
    told = {str(number): values for number, values in before.items()}
    return json_answer(DescribedOut(items=len(there), before=told if asked.ids is not None else None))


@metadata.get("/galleries/<gallery>/fields", responses={200: FieldsOut, **responses("no_such_gallery")})
def list_fields(path: GalleryPath) -> Response:
    """List the fields of the metadata, with the types of their values."""
    types = field_types(service().gallery(path.gallery).gallery)
    described = [FieldOut.model_validate({"field": name, "types": sorted(types[name])}) for name in sorted(types)]
    return json_answer(FieldsOut(fields=described))


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
                values=_counted_values(served, facet),
                more=facet.more,
            )
            for facet in counted
        ],
        passing=None if passing is None else len(passing),
    )


def _counted_values(served: ServedGallery, facet: Facet) -> list[FacetValueOut]:
    typical = {item.id: item for item in served.gallery.items_by_id(list(facet.typical.values()))}
    thumbs = {
        value: thumb_address(served.name, typical[number])
        for value, number in facet.typical.items()
        if number in typical  # it may have left since
    }
    return [FacetValueOut(value=each.value, count=each.count, thumb=thumbs.get(each.value)) for each in facet.values]


def _shown(served: ServedGallery, item: Item) -> Response:
    known = known_of(served, item)
    etag = _etag(item, known)
    if request.method == "GET" and etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    return cached(json_answer(describe_item(served, item, known)), etag, for_ever=False)


def known_of(served: ServedGallery, item: Item) -> Description:
    """What is known of an item beside its pixels."""
    return descriptions(served.gallery, [item.id]).get(item.id, Description())


def _etag(item: Item, known: Description) -> str:
    state = repr((item.id, item.sha256, item.path, known.tags, known.fields, known.own))
    return hashlib.sha256(state.encode()).hexdigest()[:32]


def item_etag(served: ServedGallery, item: Item) -> str:
    """What changes with an item's bytes, place, tags and metadata."""
    return _etag(item, known_of(served, item))
