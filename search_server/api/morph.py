"""Morphs: one picture turns into another through the decoder, as a file, as frames, or one frame at a time."""

import hashlib
from typing import Literal

import numpy as np
from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from numpy.typing import NDArray

from search_server import limits
from search_server.access import needs
from search_server.api.answers import (
    PREFIX,
    cached,
    data_uri,
    describe_hits,
    describe_subject,
    json_answer,
)
from search_server.api.documents import body_of, pictures
from search_server.api.schemas import (
    FrameOut,
    GalleryPath,
    HitOut,
    MorphAddress,
    MorphBody,
    MorphFrame,
    MorphLink,
    MorphOptions,
    MorphOut,
    MorphSource,
    PictureSource,
)
from search_server.combinations import subject_of_code
from search_server.galleries import ServedGallery
from search_server.incoming import File, read_request
from search_server.morphing import (
    Rendered,
    Times,
    encode,
    frame_times,
    render_apng,
    render_gif,
    render_strip,
    render_webp,
    render_zip,
    scale,
)
from search_server.painting import decode, decoder_of, morph_place
from search_server.problems import DECODING, FETCHING, UPLOADING, InvalidRequest, responses
from search_server.service import Service, service
from search_server.stopwatch import stage, took_ms
from search_server.subjects import Source, Subject, find_item, look_at, named_source, pixels_of
from train.images import Pixels
from train.interpolation import Path as WayKind
from train.interpolation import interpolate

morph = APIBlueprint("morph", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="morph")])

Format = Literal["webp", "gif", "apng", "strip", "zip", "json"]
_FORMAT_OF_TYPE: dict[str, Format] = {
    "image/webp": "webp",
    "image/gif": "gif",
    "image/apng": "apng",
    "image/png": "strip",
    "application/zip": "zip",
    "application/json": "json",
}

_FILES = pictures(*list(_FORMAT_OF_TYPE)[:-1], described="the morph", or_json=MorphOut)
_MISSING = ("no_such_gallery", "no_such_item", "no_such_query", "no_decoder", "file_missing", "file_changed")


@morph.post(
    "/morph",
    request_body=body_of(MorphBody, files=("a", "b"), bare=False),
    responses={200: _FILES, **responses("dimension_mismatch", *_MISSING, *FETCHING, *UPLOADING, *DECODING)},
)
@needs("read")
def make_morph(query: MorphAddress) -> Response:
    """Morph one picture into another: each a file, base64, an item, a stored query or a code."""
    found = service()
    incoming = read_request(MorphBody, query, image_fields=("a", "b"))
    asked = incoming.options
    served = found.gallery(asked.gallery)
    decoder_of(served)
    a, b = (_end(found, served, incoming.file(name), named, name) for name, named in (("a", asked.a), ("b", asked.b)))
    return _answer(found, served, a, b, asked)


@morph.get(
    "/galleries/<gallery>/morph",
    responses={200: _FILES, 304: {"description": "it has not changed"}, **responses(*_MISSING, *DECODING)},
)
def linked_morph(path: GalleryPath, query: MorphLink) -> Response:
    """Morph between two items or stored queries: a link that can be shared, or the `src` of an `<img>`."""
    found = service()
    served = found.gallery(path.gallery)
    decoder_of(served)
    key = (_content(found, served, query.a), _content(found, served, query.b), served.gallery.model_id, _format(query))
    etag = _digest(key, query.model_dump(exclude={"v", "format"}))
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    a, b = (look_at(found, served, reference) for reference in (query.a, query.b))
    return cached(_answer(found, served, a, b, query), etag, for_ever=False)


@morph.get(
    "/galleries/<gallery>/morph/frame",
    responses={
        200: pictures("image/webp", described="one frame"),
        304: {"description": "it has not changed"},
        **responses(*_MISSING, *DECODING),
    },
)
def morph_frame(path: GalleryPath, query: MorphFrame) -> Response:
    """Give one frame of a morph, for a slider."""
    found = service()
    served = found.gallery(path.gallery)
    decoder_of(served)
    key = (_content(found, served, query.a), _content(found, served, query.b), served.gallery.model_id)
    etag = _digest(key, query.model_dump(exclude={"v"}))
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    frame = found.frames.get(etag)
    if frame is None:
        a, b = (look_at(found, served, reference) for reference in (query.a, query.b))
        latents = _way(served, a, b, np.array([query.t]), query.path)
        frame = encode(scale(decode(served, latents)[0], query.size), "webp")
        found.frames.put(etag, frame)
    return cached(Response(frame, mimetype="image/webp"), etag, for_ever=False)


def end_of_pair(found: Service, file: File | None, named: PictureSource | None, name: str) -> Source:
    """One of the two pictures that a request names; raises like `named_source`."""
    return named_source(found, file, named or PictureSource(), name=name)


def _end(found: Service, served: ServedGallery, file: File | None, named: MorphSource | None, name: str) -> Subject:
    if named is None or named.code is None:
        return look_at(found, served, end_of_pair(found, file, named, name))
    if file is not None or (named.id or named.url or named.image_base64) is not None:
        raise InvalidRequest(f"{name}: a code and a picture are given, but it must be one of them.")
    return subject_of_code(served, named.code)


def _content(found: Service, served: ServedGallery, reference: str) -> str:
    """What a reference stands for at the moment: an edited file is another picture under the same id."""
    if reference.startswith("q_"):
        return found.stored_query(reference).id
    return find_item(served, reference).sha256


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _format(query: MorphOptions) -> Format:
    if query.format is not None:
        return query.format
    return _FORMAT_OF_TYPE.get(request.accept_mimetypes.best_match(list(_FORMAT_OF_TYPE)) or "", "webp")


def _way(served: ServedGallery, a: Subject, b: Subject, times: Times, path: WayKind) -> NDArray[np.float32]:
    """Latents at times from 0 (a) to 1 (b), (n, dims)."""
    return interpolate(a.latent, b.latent, times, path=path, semantic_dims=served.engine.bundle.semantic_dims)


def _answer(found: Service, served: ServedGallery, a: Subject, b: Subject, asked: MorphOptions) -> Response:
    times = frame_times(asked.frames, easing=asked.easing, pingpong=asked.pingpong)
    if len(times) * asked.size**2 > limits.MORPH_PIXELS:
        raise InvalidRequest(
            f"{len(times)} frames of {asked.size} x {asked.size} pixels are more than {limits.MORPH_PIXELS:,} pixels: "
            "ask for fewer or smaller frames."
        )
    latents = _way(served, a, b, times, asked.path)
    with morph_place():
        frames = decode(served, latents)
        if asked.keep_ends:
            frames = frames.copy()
            for end, subject in ((0, a), (1, b)):
                if subject.kind != "code":
                    frames[times == end] = pixels_of(found, served, subject)
        if _format(asked) == "json":
            return _as_json(served, a, b, asked, times, frames)
        with stage("encode"):
            rendered = _as_file(frames, asked)
    answer = Response(rendered.data, mimetype=rendered.content_type)
    answer.headers["Content-Disposition"] = f'inline; filename="{rendered.name}"'
    answer.headers["Vary"] = "Accept"
    return answer


def _as_file(frames: Pixels, asked: MorphOptions) -> Rendered:
    kind = _format(asked)
    if kind == "gif":
        return render_gif(frames, asked.size, asked.fps)
    if kind == "apng":
        return render_apng(frames, asked.size, asked.fps)
    if kind == "strip":
        return render_strip(frames, asked.size)
    if kind == "zip":
        return render_zip(frames, asked.size)
    return render_webp(frames, asked.size, asked.fps)


def _as_json(
    served: ServedGallery,
    a: Subject,
    b: Subject,
    asked: MorphOptions,
    times: Times,
    frames: Pixels,
) -> Response:
    nearest = _nearest(served, frames, asked.nearest_k)
    with stage("encode"):
        images = [data_uri(encode(scale(frame, asked.size), "webp")) for frame in frames]
    return json_answer(
        MorphOut(
            a=describe_subject(served, a),
            b=describe_subject(served, b),
            path=asked.path,
            fps=asked.fps,
            size=asked.size,
            frames=[
                FrameOut(t=round(float(time), 6), image=image, nearest=hits)
                for time, image, hits in zip(times, images, nearest, strict=True)
            ],
            took_ms=took_ms(),
        )
    )


def _nearest(served: ServedGallery, frames: Pixels, k: int) -> list[list[HitOut]]:
    """The real pictures that are nearest to what each frame shows."""
    if k == 0:
        return [[] for _ in frames]
    with stage("embed"):
        embeddings = served.engine.embed(frames).embeddings
    return [describe_hits(served, neighbours) for neighbours in served.neighbours(embeddings, k)]
