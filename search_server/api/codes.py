"""What the model makes of pictures: their codes, and what it sees in them."""

import hashlib
import io
from typing import Literal

import numpy as np
from flask import Response, request
from flask_openapi import APIBlueprint, Tag

from search_server import limits
from search_server.access import needs
from search_server.api.answers import PREFIX, cached, data_uri, json_answer
from search_server.api.documents import NOT_CHANGED, body_of, pictures
from search_server.api.schemas import (
    EmbedAddress,
    EmbedBody,
    EmbedOut,
    ItemPath,
    QueryPath,
    ReconstructAddress,
    ReconstructBody,
    ReconstructionOptions,
    ReconstructionOut,
)
from search_server.galleries import ServedGallery
from search_server.incoming import read_request
from search_server.morphing import encode
from search_server.painting import Reconstruction, decoder_of, reconstruct
from search_server.problems import DECODING, FETCHING, UPLOADING, InvalidRequest, responses
from search_server.service import service
from search_server.stopwatch import took_ms
from search_server.subjects import Source, find_item, look_at, named_source

codes = APIBlueprint("codes", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="model")])

PAINTED = pictures("image/webp", "image/png", described="what the decoder paints", or_json=ReconstructionOut)
MISSING = ("no_such_gallery", "no_such_item", "no_such_query", "file_missing", "file_changed")


@codes.post(
    "/embed",
    request_body=body_of(EmbedBody, files=("image",), several=True),
    responses={
        200: pictures("application/x-npy", described="the vectors", or_json=EmbedOut),
        **responses(*MISSING, *FETCHING, *UPLOADING, *DECODING),
    },
)
@needs("read")
def embed(query: EmbedAddress) -> Response:
    """Give the vectors of pictures: unit-length embeddings for searching, or latents for the decoder."""
    found = service()
    incoming = read_request(EmbedBody, query, image_fields=("image",))
    asked = incoming.options
    served = found.gallery(asked.gallery)
    uploads = incoming.files.get("image", [])
    if len(uploads) > limits.EMBED_IMAGES:
        raise InvalidRequest(f"image: {len(uploads)} pictures came, at most {limits.EMBED_IMAGES} are taken at once.")
    if len(uploads) > 1 and asked.image_base64 is None and asked.id is None and asked.url is None:
        sources: list[Source] = [*uploads]
    else:
        file = incoming.file("image")
        sources = [named_source(found, file, asked)]
    subjects = [look_at(found, served, source) for source in sources]
    vectors = [subject.embedding if asked.kind == "search" else subject.latent for subject in subjects]
    if asked.format == "npy":
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.stack(vectors))
        return Response(buffer.getvalue(), mimetype="application/x-npy")
    return json_answer(
        EmbedOut(
            model=served.gallery.model_id,
            kind=asked.kind,
            dims=served.gallery.dims,
            vectors=[vector.tolist() for vector in vectors],
            took_ms=took_ms(),
        )
    )


@codes.post(
    "/reconstruct",
    request_body=body_of(ReconstructBody, files=("image",)),
    responses={200: PAINTED, **responses("no_decoder", *MISSING, *FETCHING, *UPLOADING, *DECODING)},
)
@needs("read")
def reconstruct_picture(query: ReconstructAddress) -> Response:
    """Paint a picture from its own code: what the model sees of it."""
    found = service()
    incoming = read_request(ReconstructBody, query, image_fields=("image",))
    asked = incoming.options
    source = named_source(found, incoming.file("image"), asked)
    served = found.gallery(asked.gallery)
    decoder_of(served)
    return painted_answer(reconstruct(found, served, look_at(found, served, source)), asked)


@codes.get(
    "/galleries/<gallery>/items/<id>/reconstruction",
    responses={
        200: PAINTED,
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_item", "no_decoder", "file_missing", "file_changed", *DECODING),
    },
)
def item_reconstruction(path: ItemPath, query: ReconstructionOptions) -> Response:
    """Paint an item from its stored code: what the model sees of it."""
    served = service().gallery(path.gallery)
    decoder_of(served)
    item = find_item(served, path.id)
    return _kept(served, str(item.id), query, item.sha256)


@codes.get(
    "/galleries/<gallery>/queries/<id>/reconstruction",
    responses={
        200: PAINTED,
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_query", "no_decoder", "bad_embedding", *DECODING),
    },
)
def query_reconstruction(path: QueryPath, query: ReconstructionOptions) -> Response:
    """Paint a stored query from its code: what the gallery's model sees of it."""
    served = service().gallery(path.gallery)
    decoder_of(served)
    stored = service().stored_query(path.id)
    return _kept(served, stored.id, query, stored.id)


def _kept(served: ServedGallery, source: Source, query: ReconstructionOptions, content: str) -> Response:
    kind = kind_of(query.format)
    key = repr((content, served.gallery.model_id, kind, query.layout, query.size))
    etag = hashlib.sha256(key.encode()).hexdigest()[:32]
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    found = service()
    subject = look_at(found, served, source)
    return cached(painted_answer(reconstruct(found, served, subject), query), etag, for_ever=False)


def kind_of(given: Literal["webp", "png", "json"] | None) -> Literal["webp", "png", "json"]:
    """What a painted picture is sent as: what the address says, else what `Accept` does, else WebP."""
    if given is not None:
        return given
    accepted = request.accept_mimetypes.best_match(["image/webp", "image/png", "application/json"])
    return {"image/png": "png", "application/json": "json"}.get(accepted or "", "webp")  # type: ignore[return-value]


def painted_answer(painted: Reconstruction, query: ReconstructionOptions) -> Response:
    """A painted picture as the answer, or as a part of one."""
    image = painted.image(query.size, pair=query.layout == "pair")
    kind = kind_of(query.format)
    if kind == "json":
        return json_answer(ReconstructionOut(image=data_uri(encode(image, "webp")), mse=painted.mse))
    answer = Response(encode(image, kind), mimetype=f"image/{kind}")
    answer.headers["Vary"] = "Accept"
    return answer
