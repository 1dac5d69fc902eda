"""The models: which there are, what they make of vectors and pictures, and why they find pictures alike."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from numpy.typing import NDArray
from pydantic import BaseModel

from export.bundle import Bundle
from export.uses.denoise import clean_by_tiles
from export.uses.pictures import Model
from search_server import limits
from search_server.access import needs
from search_server.api.answers import PREFIX, cached, data_uri, json_answer
from search_server.api.codes import MISSING, PAINTED, kind_of, painted_answer
from search_server.api.documents import NOT_CHANGED, body_of, pictures
from search_server.api.galleries import gallery_etag
from search_server.api.model_schemas import (
    AxesOptions,
    AxesOut,
    AxisOut,
    DecodeBody,
    DecodedOut,
    DenoiseAddress,
    DenoiseBody,
    ErrorMapOptions,
    ExplainAddress,
    ExplainBody,
    ExplainOut,
    HeatOut,
    ModelPath,
    ModelsOut,
    NamedModelOut,
    PrototypeOut,
    PrototypesOptions,
    PrototypesOut,
    VectorOptions,
    VectorOut,
)
from search_server.api.morph import end_of_pair, nearest_to_painted
from search_server.api.schemas import GalleryPath, ItemPath, NoParameters, Parameters
from search_server.explaining import (
    groups_by_folder,
    groups_by_likeness,
    main_axes,
    patches_that_count,
    sample_of,
    show_error,
    show_heat,
)
from search_server.galleries import ServedGallery
from search_server.incoming import File, read_request
from search_server.morphing import encode, scale
from search_server.painting import Reconstruction, as_latents, decode, decoder_of, morph_place, reconstruct
from search_server.problems import DECODING, FETCHING, UPLOADING, InvalidRequest, responses
from search_server.service import Service, service
from search_server.stopwatch import stage, took_ms
from search_server.subjects import Source, find_item, look_at, named_source, original, pixels_of
from train.errors import IncompatibleError, NothingFoundError, UserError
from train.images import Pixels

Options = TypeVar("Options", bound=Parameters)

models = APIBlueprint("models", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="model")])

REPORT = "report.html"
_TOP = "(no folder)"
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


class NoSuchModelError(UserError):
    """A model that the workspace does not have."""

    code = "no_such_model"


class NotTrainedError(IncompatibleError):
    """The model was not trained for what is asked."""

    code = "not_trained"


# ---- pictures and vectors


@models.post(
    "/decode",
    request_body=body_of(DecodeBody, files=(), bare=False, form=False),
    responses={
        200: pictures("image/webp", "image/png", described="what the decoder paints", or_json=DecodedOut),
        **responses("no_such_gallery", "no_decoder", "dimension_mismatch"),
    },
)
@needs("read")
def decode_codes(query: NoParameters) -> Response:
    """Paint latents: those of POST /embed with kind=code, or any others of the same length."""
    found = service()
    asked = read_request(DecodeBody, query).options
    served = found.gallery(asked.gallery)
    decoder_of(served)
    codes = [asked.code] if asked.code is not None else asked.codes
    if codes is None or (asked.code is not None and asked.codes is not None):
        raise InvalidRequest("give one code as `code`, or several as `codes`.")
    painted = decode(served, as_latents(served, codes))
    kind = asked.format or ("json" if asked.codes is not None else kind_of(None))
    if kind != "json" and len(painted) > 1:
        raise InvalidRequest("several codes are painted as json: leave the format out.")
    with stage("encode"):
        images = [encode(scale(one, asked.size or one.shape[0]), "png" if kind == "png" else "webp") for one in painted]
    if kind != "json":
        return Response(images[0], mimetype=f"image/{kind}")
    nearest, _ = nearest_to_painted(served, painted, asked.nearest_k)
    return json_answer(
        DecodedOut(model=served.gallery.model_id, images=[data_uri(image) for image in images], nearest=nearest)
    )


@models.get(
    "/galleries/<gallery>/items/<id>/vector",
    responses={
        200: pictures("application/x-npy", described="the vector", or_json=VectorOut),
        **responses("no_such_gallery", "no_such_item", "damaged"),
    },
)
def item_vector(path: ItemPath, query: VectorOptions) -> Response:
    """Give the stored vector of an item: the embedding that is searched, or the latent that the decoder takes."""
    served = service().gallery(path.gallery)
    item = find_item(served, path.id)
    with stage("fetch"):
        read = served.gallery.embeddings if query.kind == "search" else served.gallery.latents
        vector = read([item.id])[0]
    if query.format == "npy":
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, vector)
        return Response(buffer.getvalue(), mimetype="application/x-npy")
    return json_answer(
        VectorOut(
            id=str(item.id),
            model=served.gallery.model_id,
            kind=query.kind,
            dims=len(vector),
            vector=vector.tolist(),
        )
    )


@models.get(
    "/galleries/<gallery>/items/<id>/error-map",
    responses={
        200: pictures("image/webp", "image/jpeg", "image/png", described="where the reconstruction differs"),
        **NOT_CHANGED,
        **responses("no_such_gallery", "no_such_item", "no_decoder", "file_missing", "file_changed", *DECODING),
    },
)
def error_map(path: ItemPath, query: ErrorMapOptions) -> Response:
    """Show where an item differs from its reconstruction: black is equal, white differs most."""
    found = service()
    served = found.gallery(path.gallery)
    decoder_of(served)
    item = find_item(served, path.id)
    etag = _digest("error-map", item.sha256, served.gallery.model_id, query.format, query.size)
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    seen = reconstruct(found, served, look_at(found, served, str(item.id)))
    image = show_error(seen.original, seen.painted).convert("RGB")
    image = scale(np.asarray(image), query.size or image.width)
    buffer = io.BytesIO()
    image.save(buffer, query.format.upper())
    return cached(Response(buffer.getvalue(), mimetype=f"image/{query.format}"), etag, for_ever=False)


@models.post(
    "/denoise",
    request_body=body_of(DenoiseBody, files=("image",)),
    responses={200: PAINTED, **responses("no_decoder", "not_trained", *MISSING, *FETCHING, *UPLOADING, *DECODING)},
)
@needs("read")
def denoise_picture(query: DenoiseAddress) -> Response:
    """Take off a picture what the model was trained to take off: noise, lettering, boxes.

    A fully convolutional model does it at the picture's own size, others at the model's.
    """
    found = service()
    incoming = read_request(DenoiseBody, query, image_fields=("image",))
    asked = incoming.options
    source = named_source(found, incoming.file("image"), asked)
    served = found.gallery(asked.gallery)
    decoder_of(served)
    facts = served.engine.bundle.facts
    if not facts.removes and not asked.anyway:
        raise NotTrainedError(
            f"the model of the gallery {served.name} was not trained to remove anything: say anyway=true to use it "
            "all the same."
        )
    if not facts.tileable:
        return painted_answer(reconstruct(found, served, look_at(found, served, source)), asked)
    data = _bytes_of(found, served, source)
    with stage("decode"):
        rendered = found.decoding.render(data, limits.CLEANED_SIDE, "PNG")
        pixels = found.decoding.pixels(rendered.data)
    with morph_place(), stage("paint"):
        engine = served.engine
        cleaned = clean_by_tiles(Model(engine.bundle, engine.encoder, engine.decoder), pixels)
    return _cleaned(pixels, cleaned, asked)


@models.post(
    "/explain",
    request_body=body_of(ExplainBody, files=("a", "b"), bare=False),
    responses={200: ExplainOut, **responses(*MISSING, *FETCHING, *UPLOADING, *DECODING)},
)
@needs("read")
def explain_pair(query: ExplainAddress) -> Response:
    """Say why two pictures are alike: which patches of each make its cosine to the other fall when they are blurred."""
    found = service()
    incoming = read_request(ExplainBody, query, image_fields=("a", "b"))
    asked = incoming.options
    sources = [
        end_of_pair(found, incoming.file("a"), asked.a, "a"),
        end_of_pair(found, incoming.file("b"), asked.b, "b"),
    ]
    served = found.gallery(asked.gallery)
    a, b = (look_at(found, served, source) for source in sources)
    with morph_place():
        heats = []
        for one, other in ((a, b), (b, a)):
            pixels = pixels_of(found, served, one)
            with stage("embed"):
                heat = patches_that_count(served, pixels, other.embedding, asked.grid)
            image = data_uri(encode(show_heat(pixels, heat), "webp"))
            heats.append(HeatOut(weights=np.round(heat, 6).tolist(), image=image))
    score = round(float(a.embedding @ b.embedding), 6)
    return json_answer(ExplainOut(score=score, a=heats[0], b=heats[1], took_ms=took_ms()))


# ---- a gallery as the model sees it


@models.get(
    "/galleries/<gallery>/axes",
    responses={200: AxesOut, **NOT_CHANGED, **responses("no_such_gallery", "no_decoder", "busy")},
)
def gallery_axes(path: GalleryPath, query: AxesOptions) -> Response:
    """Give the main directions in which a gallery's latents differ, and what the decoder paints along each."""
    served = service().gallery(path.gallery)
    decoder_of(served)
    return _kept(served, axes_of, query)


@models.get(
    "/galleries/<gallery>/prototypes",
    responses={200: PrototypesOut, **NOT_CHANGED, **responses("no_such_gallery", "no_decoder", "busy")},
)
def gallery_prototypes(path: GalleryPath, query: PrototypesOptions) -> Response:
    """Give what the decoder paints of the mean latents of folders or clusters."""
    served = service().gallery(path.gallery)
    decoder_of(served)
    return _kept(served, prototypes_of, query)


# ---- models


@models.get("/models", responses={200: ModelsOut, **responses()})
def list_models() -> Response:
    """List the models of the workspace."""
    return json_answer(all_models(service()))


def all_models(found: Service) -> ModelsOut:
    """The models of the workspace, described."""
    return ModelsOut(models=[_describe(found, name) for name in _names(found)])


@models.get("/models/<model>", responses={200: NamedModelOut, **responses("no_such_model")})
def show_model(path: ModelPath) -> Response:
    """Describe a model: what it was made from, how good it is, which galleries use it."""
    found = service()
    model_folder(found, path.model)
    return json_answer(_describe(found, path.model))


@models.get(
    "/models/<model>/report",
    responses={
        200: {"description": "the report of its evaluation", "content": {"text/html": {"schema": {"type": "string"}}}},
        **responses("no_such_model", "empty"),
    },
)
def show_report(path: ModelPath) -> Response:
    """Show the report that stands beside a model, where there is one."""
    report = model_folder(service(), path.model) / REPORT
    if not report.is_file():
        raise NothingFoundError(f"there is no report of the model {path.model}: `lookalike report` makes one.")
    answer = Response(report.read_bytes(), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = _REPORT_POLICY
    return answer


def axes_of(served: ServedGallery, query: AxesOptions) -> AxesOut:
    """The main axes of a gallery, painted."""
    ids = sample_of(served)
    if len(ids) < 2:
        return AxesOut(items=len(ids), axes=[])
    mean, axes = main_axes(served, ids, query.count)
    steps = np.linspace(-2, 2, query.steps)
    described = []
    for axis in axes:
        way = mean + (steps[:, None] * axis.deviation * axis.direction).astype(np.float32)
        described.append(
            AxisOut(
                share=round(axis.share, 6),
                deviation=round(axis.deviation, 6),
                steps=[round(float(step), 3) for step in steps],
                images=_as_uris(decode(served, way.astype(np.float32))),
                ends=[str(axis.low[0]), str(axis.high[0])],
                low=[str(number) for number in axis.low],
                high=[str(number) for number in axis.high],
                direction=_rounded(axis.direction) if "vectors" in query.include else None,
            )
        )
    return AxesOut(items=len(ids), mean=_rounded(mean) if "vectors" in query.include else None, axes=described)


def _rounded(vector: NDArray[np.float32]) -> list[float]:
    # Five digits paint the same picture, and are half as many bytes.
    return [round(number, 5) for number in vector.tolist()]


def prototypes_of(served: ServedGallery, query: PrototypesOptions) -> PrototypesOut:
    """Prototypes of a gallery's folders or clusters, painted."""
    ids = sample_of(served)
    if not ids:
        return PrototypesOut(items=0, prototypes=[])
    find = groups_by_folder if query.by == "folder" else groups_by_likeness
    groups = find(served, ids, query.count)
    images = _as_uris(decode(served, np.stack([group.latent for group in groups]).astype(np.float32)))
    return PrototypesOut(
        items=len(ids),
        prototypes=[
            PrototypeOut(
                name=group.name or _TOP,
                items=group.items,
                image=image,
                nearest=str(group.members[0]),
                members=[str(number) for number in group.members],
                filter={"folder": {"eq": group.name}} if query.by == "folder" else None,
            )
            for group, image in zip(groups, images, strict=True)
        ],
    )


def _kept(served: ServedGallery, make: Callable[[ServedGallery, Options], BaseModel], query: Options) -> Response:
    """An answer that holds until the gallery changes."""
    etag = _etag_of(served, make, query)
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    return cached(Response(kept_json(served, make, query), mimetype="application/json"), etag, for_ever=False)


def kept_json(served: ServedGallery, make: Callable[[ServedGallery, Options], BaseModel], query: Options) -> bytes:
    """What a gallery's axes or prototypes are, as JSON: made once, and kept until the gallery changes.

    Raises:
        NoDecoderError: Its model does not paint.
        BusyError: Too many are being made.
    """
    found = service()
    etag = _etag_of(served, make, query)
    body = found.frames.get(etag)
    if body is None:
        with morph_place():
            body = make(served, query).model_dump_json().encode()
        found.frames.put(etag, body)
    return body


def _etag_of(served: ServedGallery, make: Callable[[ServedGallery, Options], BaseModel], query: Parameters) -> str:
    return _digest(make.__name__, query.model_dump(), gallery_etag(served))


def _as_uris(painted: Pixels) -> list[str]:
    with stage("encode"):
        return [data_uri(encode(scale(one, one.shape[0]), "webp")) for one in painted]


def _bytes_of(found: Service, served: ServedGallery, source: Source) -> bytes:
    if isinstance(source, File):
        return source.data
    if source.startswith("q_"):
        return found.stored_query(source).data
    return original(served, find_item(served, source))


def _cleaned(before: Pixels, after: Pixels, asked: DenoiseBody) -> Response:
    height, width = after.shape[:2]
    if asked.size is not None or asked.layout == "pair":
        # A square, as every other painted picture; at its own size it keeps its shape.
        side = asked.size or max(height, width)
        return painted_answer(Reconstruction(_square(before, side), _square(after, side)), asked)
    return painted_answer(Reconstruction(before, after), asked)


def _square(pixels: Pixels, side: int) -> Pixels:
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (side, side)))


def _names(found: Service) -> list[str]:
    return [name for name in found.workspace.names("models") if _is_model(found.workspace.place("models", name))]


def _is_model(folder: Path) -> bool:
    try:
        Bundle.open(folder)
    except UserError:
        return False
    return True


def model_folder(found: Service, name: str) -> Path:
    """The folder of a model of the workspace.

    Raises:
        NoSuchModelError: There is none of this name.
    """
    folder = found.workspace.place("models", name)
    if not _is_model(folder):
        raise NoSuchModelError(f"there is no model {name!r} in the server's workspace.")
    return folder


def _describe(found: Service, name: str) -> NamedModelOut:
    folder = found.workspace.place("models", name)
    bundle = Bundle.open(folder)
    return NamedModelOut(
        id=bundle.model_id,
        image_size=bundle.preprocessing.size,
        dims=bundle.dims,
        semantic_dims=bundle.semantic_dims,
        has_decoder=bundle.has_decoder,
        name=name,
        galleries=[served.name for served in found.galleries if served.gallery.model_id == bundle.model_id],
        variants=list(bundle.variants),
        removes=list(bundle.facts.removes),
        source=bundle.facts.source,
        licence=bundle.facts.licence,
        quality=dict(bundle.quality),
        bytes=sum(int(facts["bytes"]) for facts in bundle.files.values()),
        has_report=(folder / REPORT).is_file(),
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
