"""Adding pictures to a gallery, and taking items out of it."""

from flask import Response
from flask_openapi import APIBlueprint, Tag

from search_server import limits
from search_server.access import needs
from search_server.api.answers import PREFIX, json_answer
from search_server.api.documents import body_of
from search_server.api.gallery_schemas import (
    AddedOut,
    AdditionAddress,
    AdditionBody,
    AdditionOut,
    RemovalBody,
    RemovalOut,
)
from search_server.api.metadata import item_etag
from search_server.api.preconditions import expect_unchanged
from search_server.api.schemas import GalleryPath, ItemPath, NoParameters
from search_server.incoming import File, decode_base64, read_request
from search_server.problems import DECODING, FETCHING, UPLOADING, InvalidRequest, public_detail, refusal, responses
from search_server.service import service
from search_server.stopwatch import took_ms
from search_server.subjects import MAX_NAME, chosen_ids, find_item
from search_server.uploads import Added, add_pictures, remove_items
from train.errors import UserError
from train.printable import printable

additions = APIBlueprint("additions", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="galleries")])


@additions.post(
    "/galleries/<gallery>/items",
    request_body=body_of(AdditionBody, files=("images",), several=True),
    responses={200: AdditionOut, **responses("no_such_gallery", "disk_full", *FETCHING, *UPLOADING, *DECODING)},
)
@needs("write")
def add_items(path: GalleryPath, query: AdditionAddress) -> Response:
    """Add pictures: each is kept, embedded, and found by the next search; the same bytes stay one item."""
    found = service()
    served = found.gallery(path.gallery)
    incoming = read_request(AdditionBody, query, image_fields=("images",))
    asked = incoming.options
    files = [*incoming.files.get("images", [])]
    if asked.image_base64 is not None:
        files.append(File(decode_base64(asked.image_base64, "image_base64"), asked.name or "picture"))
    elif asked.name is not None and len(files) == 1:
        files = [File(files[0].data, asked.name)]
    if not 1 <= len(files) + len(asked.urls or ()) <= limits.ADD_IMAGES:
        raise InvalidRequest(f"images: send 1 to {limits.ADD_IMAGES} pictures at once.")
    failed = []
    for url in asked.urls or ():
        try:
            files.append(found.fetcher.fetch(url))
        except UserError as error:
            failed.append(Added(url, "failed", None, error))
    results = add_pictures(found, served, files) + failed
    return json_answer(AdditionOut(results=[_describe(one) for one in results], took_ms=took_ms()))


@additions.delete(
    "/galleries/<gallery>/items/<id>",
    responses={
        204: {"description": "it is no item any more"},
        **responses("no_such_gallery", "no_such_item", "precondition_failed", "disk_full"),
    },
)
@needs("write")
def delete_item(path: ItemPath) -> Response:
    """Take an item out of the gallery; its file stays where it is."""
    served = service().gallery(path.gallery)
    item = find_item(served, path.id)
    expect_unchanged(item_etag(served, item))
    remove_items(served, [item.id])
    return Response(status=204)


@additions.post(
    "/galleries/<gallery>/items/delete",
    request_body=body_of(RemovalBody, files=(), bare=False, form=False),
    responses={200: RemovalOut, **responses("no_such_gallery", "disk_full")},
)
@needs("write")
def delete_items(path: GalleryPath, query: NoParameters) -> Response:
    """Take items out of the gallery, by their ids or by a filter; ids that there are not are passed over."""
    served = service().gallery(path.gallery)
    asked = read_request(RemovalBody, query).options
    ids = chosen_ids(served, asked)
    if asked.dry_run:
        gone = [item.id for item in served.gallery.items_by_id(list(dict.fromkeys(ids)))]
    else:
        gone = remove_items(served, ids)
    return json_answer(RemovalOut(deleted=len(gone), ids=[str(number) for number in gone]))


def _describe(added: Added) -> AddedOut:
    return AddedOut(
        name=printable(added.name[:MAX_NAME]),
        status=added.status,
        id=None if added.item_id is None else str(added.item_id),
        problem=None if added.error is None else refusal(added.error.problem, public_detail(added.error)),
    )
