"""Morphs: one picture turns into another through the decoder, as a file, as frames, or one frame at a time."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from numpy.typing import NDArray

from index_data.gallery import Vectors
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
from search_server.api.documents import NOT_CHANGED, body_of, pictures
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
from search_server.subjects import Source, Subject, Vector, find_item, look_at, named_source, pixels_of
from train.images import Pixels
from train.interpolation import Path as WayKind
from train.interpolation import interpolate_along

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
    """Morph one picture into another, past others too: each a file, base64, an item, a stored query or a code."""
    found = service()
    incoming = read_request(MorphBody, query, image_fields=("a", "b"))
    asked = incoming.options
    served = found.gallery(asked.gallery)
    decoder_of(served)
    a, b = (_end(found, served, incoming.file(name), named, name) for name, named in (("a", asked.a), ("b", asked.b)))
    between = [_end(found, served, None, named, "via") for named in asked.via]
    return _answer(found, served, [a, *between, b], asked)


@morph.get(
    "/galleries/<gallery>/morph",
    responses={200: _FILES, **NOT_CHANGED, **responses(*_MISSING, *DECODING)},
)
def linked_morph(path: GalleryPath, query: MorphLink) -> Response:
    """Morph between two items or stored queries: a link that can be shared, or the `src` of an `<img>`."""
    found = service()
    served = found.gallery(path.gallery)
    decoder_of(served)
    references = _references(query)
    contents = [_content(found, served, reference) for reference in references]
    etag = _digest(contents, served.gallery.model_id, _format(query), query.model_dump(exclude={"v", "format"}))
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    stops = [look_at(found, served, reference) for reference in references]
    return cached(_answer(found, served, stops, query), etag, for_ever=False)


@morph.get(
    "/galleries/<gallery>/morph/frame",
    responses={
        200: pictures("image/webp", described="one frame"),
        **NOT_CHANGED,
        **responses(*_MISSING, *DECODING),
    },
)
def morph_frame(path: GalleryPath, query: MorphFrame) -> Response:
    """Give one frame of a morph, for a slider."""
    found = service()
    served = found.gallery(path.gallery)
    decoder_of(served)
    references = _references(query)
    contents = [_content(found, served, reference) for reference in references]
    etag = _digest(contents, served.gallery.model_id, query.model_dump(exclude={"v"}))
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    frame = found.frames.get(etag)
    if frame is None:
        stops = [look_at(found, served, reference) for reference in references]
        latents = _way(served, stops, np.array([query.t]), query.path)
        frame = encode(scale(decode(served, latents)[0], query.size), "webp")
        found.frames.put(etag, frame)
    return cached(Response(frame, mimetype="image/webp"), etag, for_ever=False)


def end_of_pair(found: Service, file: File | None, named: PictureSource | None, name: str) -> Source:
    """One of the two pictures that a request names; raises like `named_source`."""
    return named_source(found, file, named or PictureSource(), name=name)


def _references(query: MorphLink | MorphFrame) -> list[str]:
    """The pictures that a way leads past, both ends among them."""
    return [query.a, *query.via, query.b]


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


def _way(served: ServedGallery, stops: Sequence[Subject], times: Times, path: WayKind) -> NDArray[np.float32]:
    """Latents at times from 0 (the first stop) to 1 (the last), (n, dims)."""
    latents = [stop.latent for stop in stops]
    return interpolate_along(latents, times, path=path, semantic_dims=served.engine.bundle.semantic_dims)


def _answer(found: Service, served: ServedGallery, stops: Sequence[Subject], asked: MorphOptions) -> Response:
    times = frame_times(asked.frames, easing=asked.easing, pingpong=asked.pingpong, legs=len(stops) - 1)
    if len(times) * asked.size**2 > limits.MORPH_PIXELS:
        raise InvalidRequest(
            f"{len(times)} frames of {asked.size} x {asked.size} pixels are more than {limits.MORPH_PIXELS:,} pixels: "
            "ask for fewer or smaller frames."
        )
    latents = _way(served, stops, times, asked.path)
    with morph_place():
        frames = decode(served, latents)
        if asked.keep_ends:
            frames = _with_pictures(found, served, frames, times, stops)
        if _format(asked) == "json":
            return _as_json(served, stops, asked, times, frames)
        with stage("encode"):
            rendered = _as_file(frames, asked)
    answer = Response(rendered.data, mimetype=rendered.content_type)
    answer.headers["Content-Disposition"] = f'inline; filename="{rendered.name}"'
    answer.headers["Vary"] = "Accept"
    return answer


def _with_pictures(
    found: Service, served: ServedGallery, frames: Pixels, times: Times, stops: Sequence[Subject]
) -> Pixels:
    """Frames of which those that stand where a picture does are that picture; a code is none."""
    frames = frames.copy()
    for time, stop in zip(np.linspace(0, 1, len(stops)), stops, strict=True):
        if stop.kind != "code":
            frames[np.isclose(times, time, rtol=0, atol=1e-9)] = pixels_of(found, served, stop)
    return frames


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
    stops: Sequence[Subject],
    asked: MorphOptions,
    times: Times,
    frames: Pixels,
) -> Response:
    known = np.stack([_embedding_of(served, stop) for stop in stops])
    nearest, scores = nearest_to_painted(served, frames, asked.nearest_k, known)
    a, *via, b = (describe_subject(served, stop) for stop in stops)
    score = float(known[0] @ known[-1])
    with stage("encode"):
        images = [data_uri(encode(scale(frame, asked.size), "webp")) for frame in frames]
    return json_answer(
        MorphOut(
            a=a,
            b=b,
            via=via,
            score=round(score, 6),
            label=served.engine.calibration.as_indexed.label(score),
            path=asked.path,
            fps=asked.fps,
            size=asked.size,
            frames=[
                FrameOut(t=round(float(time), 6), image=image, nearest=hits, scores=cosines)
                for time, image, hits, cosines in zip(times, images, nearest, scores, strict=True)
            ],
            took_ms=took_ms(),
        )
    )


def _embedding_of(served: ServedGallery, stop: Subject) -> Vector:
    """Of a picture of the way; of a code, that of what is painted from it, all 0 where the model sees nothing in it."""
    if len(stop.embedding):
        return stop.embedding
    (seen,) = served.engine.embed(decode(served, stop.latent[None])).embeddings
    return np.asarray(np.nan_to_num(seen), np.float32)


def nearest_to_painted(
    served: ServedGallery, painted: Pixels, k: int, known: Vectors | None = None
) -> tuple[list[list[HitOut]], list[list[float]]]:
    """The real pictures that are nearest to what painted ones show, and their cosines with some embeddings.

    Both are empty where k is 0, and where the model gives no usable embedding of what was painted.
    """
    hits: list[list[HitOut]] = [[] for _ in painted]
    scores: list[list[float]] = [[] for _ in painted]
    if k == 0:
        return hits, scores
    with stage("embed"):
        codes = served.engine.embed(painted)
    usable = np.flatnonzero(codes.usable)
    embeddings = codes.embeddings[usable]
    known = np.empty((0, served.gallery.dims), np.float32) if known is None else known
    cosines = np.round(np.clip(embeddings @ known.T, -1, 1).astype(np.float64), 6)
    for number, neighbours, row in zip(usable.tolist(), served.neighbours(embeddings, k), cosines, strict=True):
        hits[number], scores[number] = describe_hits(served, neighbours), row.tolist()
    return hits, scores
