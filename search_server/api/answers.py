"""What our values look like in an answer."""

import base64
from typing import cast
from urllib.parse import quote

import numpy as np
from flask import Response, request
from numpy.typing import NDArray
from pydantic import BaseModel

from index_data.calibration import Calibration, Scale
from index_data.config import AS_INDEXED
from index_data.gallery import Item
from index_data.metadata import Description, descriptions
from search_server import limits
from search_server.api.schemas import (
    CalibrationOut,
    GalleryOut,
    HitOut,
    ImageSize,
    IndexOut,
    ItemOut,
    ModelOut,
    ProviderOut,
    QueryOut,
    QueryWarning,
    SamePictureOut,
    StoredQueryOut,
)
from search_server.galleries import Neighbour, ServedGallery
from search_server.service import StoredQuery
from search_server.subjects import Subject
from train.printable import printable

PREFIX = "/api/v1"
LONGEST_SIDE = {"thumb": limits.THUMB_SIDE, "preview": limits.PREVIEW_SIDE, "full": limits.WEBP_SIDE}  # pixels
_PERCENT = (2, 10, 50, 90, 99, 99.9)  # of a gallery's scores, that describe it
FOR_EVER = "private, max-age=31536000, immutable"


def json_answer(model: BaseModel, status: int = 200) -> Response:
    """A model as the body of an answer."""
    return Response(model.model_dump_json(), status, mimetype="application/json")


def cached(answer: Response, etag: str, *, for_ever: bool) -> Response:
    """Let a client keep an answer: for ever where its address names its content, else until it asks again."""
    answer.set_etag(etag)
    answer.headers["Cache-Control"] = FOR_EVER if for_ever else "private, no-cache"
    return answer


def data_uri(data: bytes, content_type: str = "image/webp") -> str:
    """Bytes as a data: URI."""
    return f"data:{content_type};base64,{base64.b64encode(data).decode('ascii')}"


def gallery_address(name: str) -> str:
    """The path of a gallery."""
    return f"{request.script_root}{PREFIX}/galleries/{quote(name, safe='')}"


def describe_gallery(served: ServedGallery) -> GalleryOut:
    """A gallery, its model and its index."""
    gallery, engine = served.gallery, served.engine
    return GalleryOut(
        name=served.name,
        items=gallery.count,
        failures=gallery.failure_count,
        model=ModelOut(
            id=gallery.model_id,
            image_size=gallery.preprocessing.size,
            dims=gallery.dims,
            semantic_dims=engine.bundle.semantic_dims,
            has_decoder=engine.decoder is not None,
        ),
        index=describe_index(served),
        calibration=_describe_calibration(engine.calibration),
        provider=ProviderOut(
            asked=engine.encoder.asked, used=engine.encoder.provider, degraded=engine.encoder.degraded
        ),
    )


def describe_index(served: ServedGallery, *, exact: bool | None = None) -> IndexOut:
    """The index that answers at the moment, and whether it compares everything where nothing else is asked for."""
    engine = served.engine
    exact = engine.is_exact() if exact is None else exact
    return IndexOut(version=engine.generation, kind=engine.index_record.kind, exact=exact, count=engine.count)


def _describe_calibration(calibration: Calibration) -> CalibrationOut:
    scale = calibration.as_indexed
    return CalibrationOut(
        pictures=len(scale.nearest),
        enough=scale.enough,
        nearest=_quantiles(scale.nearest),
        random=_quantiles(scale.random),
        labels={label: round(threshold, 4) for threshold, label in scale.thresholds},
    )


def _quantiles(scores: NDArray[np.float32]) -> dict[str, float]:
    if len(scores) == 0:
        return {}
    values = np.quantile(scores, [percent / 100 for percent in _PERCENT])
    return {f"p{percent}": round(float(value), 4) for percent, value in zip(_PERCENT, values, strict=True)}


def describe_item(served: ServedGallery, item: Item, known: Description | None = None) -> ItemOut:
    """An item, without its place on this machine; with what is `known` of it beside its pixels."""
    items = _items_address(served.name)
    return ItemOut(
        id=str(item.id),
        name=item.name,
        path=printable(item.path),
        sha256=item.sha256,
        width=item.width,
        height=item.height,
        format=item.format,
        bytes=item.size,
        added_at=item.added_at,
        thumb=_image_address(items, item, "thumb"),
        image=_image_address(items, item, "preview"),
        tags=known.tags if known else None,
        metadata=known.fields if known else None,
        own=known.own if known else None,
    )


def describe_hits(
    served: ServedGallery,
    neighbours: list[Neighbour],
    *,
    first_rank: int = 1,
    beta: float = AS_INDEXED,
    with_metadata: bool = False,
    with_duplicates: bool = False,
) -> list[HitOut]:
    """Neighbours with what their scores mean at the weight that they were found with."""
    scale = served.engine.calibration.at(beta)
    known = descriptions(served.gallery, [each.item.id for each in neighbours]) if with_metadata else {}
    items = _items_address(served.name)
    percentiles = scale.percentiles([each.score for each in neighbours])
    described = [
        _describe_hit(items, neighbour, rank, percentile, scale, known.get(neighbour.item.id))
        for rank, (neighbour, percentile) in enumerate(zip(neighbours, percentiles, strict=True), first_rank)
    ]
    for hit, neighbour in zip(described, neighbours, strict=True) if with_duplicates else ():
        hit["duplicates"] = [str(number) for number in neighbour.duplicates]
    return described


def _describe_hit(
    items: str, neighbour: Neighbour, rank: int, percentile: float | None, scale: Scale, known: Description | None
) -> HitOut:
    item, score = neighbour.item, neighbour.score
    path = printable(item.path)
    return HitOut(
        id=str(item.id),
        rank=rank,
        score=round(score, 6),
        percentile=percentile,
        label=scale.label(score),
        stands_out=round(neighbour.stands_out, 6) or None,
        same_picture=None if neighbour.same is None else cast(SamePictureOut, neighbour.same.to_json()),
        name=path.rpartition("/")[2],
        path=path,
        sha256=item.sha256,
        width=item.width,
        height=item.height,
        thumb=_image_address(items, item, "thumb"),
        image=_image_address(items, item, "preview"),
        duplicates=None,
        placeholder=None,
        tags=known.tags if known else None,
        metadata=known.fields if known else None,
    )


def describe_subject(served: ServedGallery, subject: Subject) -> QueryOut:
    """What was asked about."""
    if subject.item is not None:
        image = _image_address(_items_address(served.name), subject.item, "preview")
        place = f"{gallery_address(served.name)}/items/{subject.id}"
    else:
        place = f"{gallery_address(served.name)}/queries/{subject.id}"
        image = f"{place}/image?size=preview"
    known = subject.id is not None
    can_paint = known and served.engine.decoder is not None
    return QueryOut(
        kind=subject.kind,
        id=subject.id,
        name=subject.name,
        width=subject.width,
        height=subject.height,
        image=image if known else None,
        reconstruction_url=f"{place}/reconstruction?v={served.gallery.model_id}" if can_paint else None,
        warning=plain_warning(plain=subject.plain),
    )


def describe_query(gallery: str, query: StoredQuery) -> StoredQueryOut:
    """A stored query."""
    return StoredQueryOut(
        id=query.id,
        name=query.name,
        width=query.width,
        height=query.height,
        format=query.format,
        bytes=len(query.data),
        expires_at=query.expires_at,
        image=f"{gallery_address(gallery)}/queries/{query.id}/image?size=preview",
        warning=plain_warning(plain=query.plain),
    )


def plain_warning(*, plain: bool) -> QueryWarning | None:
    """The warning of a picture that is almost one colour."""
    return "plain-query" if plain else None


def thumb_address(gallery: str, item: Item) -> str:
    """The address of an item's small picture."""
    return _image_address(_items_address(gallery), item, "thumb")


def _items_address(gallery: str) -> str:
    return f"{gallery_address(gallery)}/items"


def _image_address(items: str, item: Item, size: ImageSize) -> str:
    """The address of an item's image, which changes with the bytes, so it may be kept for ever."""
    return f"{items}/{item.id}/image?size={size}&v={item.sha256}"
