"""What goes in and out of the API: each model is both the check and its own documentation in openapi.json."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from index_data.config import AS_INDEXED, MAX_WEIGHT
from index_data.filters import parse_filter
from index_data.orders import Order
from search_server import limits

# An item's id is an int64 as text (JavaScript's numbers would round it); a stored query's begins with q_.
REFERENCE = r"^([0-9]{1,19}|q_[A-Za-z0-9_-]{22})$"

Reference = Annotated[str, Field(pattern=REFERENCE, description="id of an item, or of a stored query (`q_...`)")]
ImageSize = Literal["thumb", "preview", "full"]
ImageFormat = Literal["webp", "jpeg", "png"]

_SCHEMAS: dict[Any, dict[str, Any]] = {}


class Parameters(BaseModel):
    """What a client sends: a name that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def model_json_schema(cls, *args: Any, **settings: Any) -> dict[str, Any]:
        """The schema; kept, because flask-openapi asks for it with every request, and making it takes 0.6 ms."""
        key = (cls, args, tuple(settings.items()))
        if key not in _SCHEMAS:
            _SCHEMAS[key] = super().model_json_schema(*args, **settings)
        return _SCHEMAS[key]


class NoParameters(Parameters):
    """Of a route that takes none."""


# ---- what comes in


class GalleryPath(Parameters):
    """A gallery in an address."""

    gallery: str = Field(description="name of a gallery, see GET /galleries")


class ItemPath(GalleryPath):
    """An item in an address."""

    id: str = Field(description="id of an item")


class QueryPath(GalleryPath):
    """A stored query in an address."""

    id: str = Field(description="id of a stored query (`q_...`)")


class GalleryChoice(Parameters):
    """Which gallery's model a route uses that is not below a gallery."""

    gallery: str | None = Field(default=None, description="name of a gallery; may be left out where only one is served")


def words_of(value: Any) -> Any:
    """A list of words, also from text with commas between them."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return [word for part in value for word in part.split(",")]
    return value


PLACEHOLDERS = Field(
    default=False,
    description="with each picture a tiny blurred likeness of it, guessed from its code; the first ones of a gallery "
    "may come without",
)
IncludedInLists = Annotated[list[Literal["metadata"]], BeforeValidator(words_of)]
Coloured = Literal["folder", "tags", "year", "camera", "reconstruction", "distance"]
IncludedInMaps = Annotated[list[Coloured], BeforeValidator(words_of)]


def _filter_from_text(value: Any) -> Any:
    return parse_filter(value) if isinstance(value, str) else value


FilterObject = Annotated[
    dict[str, Any],
    BeforeValidator(_filter_from_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "object"}],
            "description": 'only items that pass: {"field": {"eq|ne|in|lt|lte|gt|gte|prefix|exists": ...}, '
            '"and": [...], "or": [...], "not": {...}}; as text: the same as JSON. Evaluated before the search',
        }
    ),
]


class Filtered(Parameters):
    """Which items are looked at."""

    filter: FilterObject | None = None


class ListItems(Filtered):
    """Which items, and in which order."""

    limit: int = Field(default=100, ge=1, le=limits.LIST)
    cursor: str | None = Field(default=None, max_length=100, description="`next_cursor` of the page before")
    sort: Order = Field(default="id", description="oldest or newest first, by name or path, most pixels or bytes first")
    seed: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="instead: shuffled, the same seed gives the same order"
    )
    ids: str | None = Field(
        default=None, max_length=20_000, description="only these items: ids with commas between them"
    )
    include: IncludedInLists = Field(default_factory=list, description="metadata: tags and fields of each item")
    placeholders: bool = PLACEHOLDERS


class OutlineOptions(Filtered):
    """Which items, and in which order."""

    sort: Order = Field(default="id", description="oldest or newest first, by name or path, most pixels or bytes first")


class FacetOptions(Filtered):
    """Which values are counted."""

    fields: Annotated[list[str], BeforeValidator(words_of), Field(max_length=20)] = Field(
        default_factory=list,
        description="which; else folder, tags, year, camera, the map's cluster and all with few values. As text: with "
        "commas between them",
    )
    values: int = Field(default=50, ge=1, le=limits.LIST, description="how many of each field, the most frequent first")
    own: bool = Field(
        default=True,
        description="false: a field is counted without the filter's own condition on it, so that its other values can "
        "be chosen instead",
    )


Tag = Annotated[str, Field(max_length=200)]


class ItemPatch(Parameters):
    """What is to be known of an item: what is not named stays as it is."""

    tags: list[Tag] | None = Field(default=None, max_length=200, description="all its tags, in place of those it has")
    metadata: dict[str, Any] | None = Field(
        default=None, description="fields to set by hand (JSON merge patch): null takes back what was set"
    )


class TagsBody(Filtered):
    """Tags of many items at once."""

    ids: list[str] | None = Field(default=None, max_length=limits.LIST, description="items; or give a filter")
    add: list[Tag] = Field(default_factory=list, max_length=200)
    remove: list[Tag] = Field(default_factory=list, max_length=200)


class DescribeBody(Filtered):
    """Metadata of many items at once."""

    ids: list[str] | None = Field(default=None, max_length=limits.LIST, description="items; or give a filter")
    metadata: dict[str, Any] = Field(
        min_length=1, description="fields to set by hand (JSON merge patch): null takes back what was set"
    )


class ImageOptions(Parameters):
    """Which rendering of a picture."""

    size: ImageSize = Field(
        default="preview", description=f"thumb {limits.THUMB_SIDE}, preview {limits.PREVIEW_SIDE} px, full"
    )
    format: ImageFormat = Field(default="webp", description="a thumb is always WebP")
    v: str | None = Field(
        default=None, max_length=64, description="the item's sha256: the answer may then be kept for ever"
    )


class ReconstructionOptions(Parameters):
    """How a reconstruction is shown."""

    format: Literal["webp", "png", "json"] | None = Field(default=None, description="wins over `Accept`; default webp")
    layout: Literal["single", "pair"] = Field(default="single", description="pair: what came in on the left")
    size: int | None = Field(default=None, ge=limits.FRAME_SIDE_MIN, le=limits.FRAME_SIDE_MAX, description="pixels")
    v: str | None = Field(default=None, max_length=64, description="anything: tells caches that the model changed")


def _crop_from_text(value: Any) -> Any:
    if isinstance(value, str):
        parts = value.split(",")
        return dict(zip("xywh", parts, strict=True)) if len(parts) == 4 else value
    return value


class CropBox(Parameters):
    """A part of the upright picture, as shares of its width and height."""

    x: float = Field(ge=0, lt=1)
    y: float = Field(ge=0, lt=1)
    w: float = Field(gt=0, le=1)
    h: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _inside(self) -> "CropBox":
        if self.x + self.w > 1 + 1e-9 or self.y + self.h > 1 + 1e-9:
            raise ValueError("the crop reaches beyond the picture: x + w and y + h are at most 1")
        return self

    def box(self) -> tuple[float, float, float, float]:
        """The same as the decoder takes it."""
        return (self.x, self.y, self.w, self.h)


_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
Crop = Annotated[
    CropBox,
    BeforeValidator(_crop_from_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+$", "description": "x,y,w,h"},
                {
                    "type": "object",
                    "properties": dict.fromkeys("xywh", _SHARE),
                    "required": list("xywh"),
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class NeighbourOptions(Filtered):
    """Which neighbours."""

    k: int = Field(default=24, ge=1, le=limits.K, description="how many neighbours")
    offset: int = Field(default=0, ge=0, le=limits.OFFSET, description="how many to leave out first")
    min_score: float | None = Field(default=None, ge=-1, le=1, description="only neighbours with at least this cosine")
    exclude_self: bool = Field(default=True, description="leave out the items that are asked about")
    accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the exact neighbours to look for: the index's measured curve says how; 1 compares all. "
        "Left out: what the index was built for",
    )
    exact: bool = Field(default=False, description="compare all stored vectors, whatever it takes")
    placeholders: bool = PLACEHOLDERS
    collapse_duplicates: bool = Field(
        default=False,
        description="of hits that are the same picture (near-duplicates by the gallery's calibration, or by a verdict) "
        "only the nearest, with the ids of the others; still `k` hits where there are so many different ones",
    )
    same_picture: bool = Field(
        default=False,
        description="lay the picture over the first 32 hits: those that are the same picture, cropped, mirrored, "
        "turned, recoloured or written on, come first, and each says how. Takes some tenths of a second; for one "
        "picture, not for several",
    )
    beta: float = Field(
        default=AS_INDEXED,
        ge=0,
        le=limits.BETA,
        description="weight of what a picture looks like: 0 same thing, 1 as indexed, high: looks the same. Other than "
        "1 only where the gallery's model has `semantic_dims`",
    )


class SearchOptions(NeighbourOptions):
    """Which neighbours, of which part of the picture, and what to tell beside them."""

    crop: Crop | None = Field(default=None, description="as text: x,y,w,h")
    transforms: Literal["none", "mirror", "rotate", "all"] = Field(
        default="none",
        description="forms to look for too: mirrored, by quarter turns, or all 8; the best score counts",
    )
    store: bool = Field(
        default=True, description="keep an uploaded picture for an hour, so that its id can be used again"
    )
    include: Annotated[list[Literal["reconstruction", "vector", "metadata"]], BeforeValidator(words_of)] = Field(
        default_factory=list,
        description="metadata: tags and fields of each hit. As text: words with commas between them",
    )


Url = Annotated[
    str,
    Field(max_length=limits.URL, description="address of a picture, where the server is started with --fetch-host"),
]


class QueryPart(Parameters):
    """One picture of a query of several: an item or stored query, or a picture as base64; of all or a part of it."""

    id: Reference | None = None
    url: Url | None = None
    image_base64: str | None = Field(default=None, description="the file's bytes; a data: URI is accepted")
    weight: float = Field(default=1.0, gt=0, le=MAX_WEIGHT)
    crop: Crop | None = None


class SearchBody(SearchOptions):
    """A search: for one of a file, base64, an address, an id of an item or stored query, a vector, several pictures."""

    id: Reference | None = None
    url: Url | None = None
    image_base64: str | None = Field(default=None, description="the file's bytes; a data: URI is accepted")
    vector: list[float] | None = Field(default=None, max_length=65_536, description="an embedding; only in JSON")
    positive: list[QueryPart] = Field(
        default_factory=list, max_length=limits.QUERY_PARTS, description="like all of these; only in JSON"
    )
    negative: list[QueryPart] = Field(
        default_factory=list, max_length=limits.QUERY_PARTS, description="and unlike these; only in JSON"
    )


class SearchAllBody(SearchBody):
    """A search in several galleries, each with its own model."""

    galleries: list[str] = Field(
        default_factory=list,
        max_length=limits.GALLERIES,
        description="names; all that are served, if none is given; only in JSON",
    )
    gallery: str | None = Field(default=None, description="the gallery of the items whose ids are given")


class BatchBody(Parameters):
    """Several searches in one request."""

    queries: list[dict[str, Any]] = Field(
        default_factory=list, max_length=limits.BATCH, description="each as the body of a search; only in JSON"
    )
    defaults: dict[str, Any] = Field(default_factory=dict, description="of all of them; only in JSON")


class PictureBody(Parameters):
    """One picture: exactly one of a file, base64, an address, and the id of an item or of a stored query."""

    gallery: str | None = Field(default=None, description="name of a gallery; may be left out where only one is served")
    id: Reference | None = None
    url: Url | None = None
    image_base64: str | None = Field(default=None, description="the file's bytes; a data: URI is accepted")


class EmbedBody(PictureBody):
    """Pictures to embed."""

    kind: Literal["search", "code"] = Field(
        default="search", description="search: unit-length embeddings; code: latents"
    )
    format: Literal["json", "npy"] = Field(default="json", description="npy: one array, as numpy.load reads it")


class EmbedAddress(GalleryChoice):
    """The options of an embedding that stand in the address."""

    kind: Literal["search", "code"] = Field(
        default="search", description="search: unit-length embeddings; code: latents"
    )
    format: Literal["json", "npy"] = Field(default="json", description="npy: one array, as numpy.load reads it")


class ReconstructBody(PictureBody, ReconstructionOptions):
    """A picture to reconstruct, and how to show it."""


class ReconstructAddress(GalleryChoice, ReconstructionOptions):
    """The options of a reconstruction that stand in the address."""


class QueryBody(Parameters):
    """A picture to be stored for a while."""

    url: Url | None = None
    image_base64: str | None = Field(default=None, description="the file's bytes; a data: URI is accepted")


Code = Annotated[list[float], Field(min_length=1, max_length=limits.CODE_NUMBERS)]


class PictureSource(Parameters):
    """One of two pictures."""

    id: Reference | None = None
    url: Url | None = None
    image_base64: str | None = None


class MorphSource(PictureSource):
    """One end of a morph: a picture, or a latent as POST /embed gives it with kind=code."""

    code: Code | None = None


def _from_reference(value: Any) -> Any:
    return {"id": value} if isinstance(value, str) else value


_PICTURE_FIELDS: dict[str, Any] = {
    "id": {"type": "string", "pattern": REFERENCE},
    "url": {"type": "string", "maxLength": limits.URL},
    "image_base64": {"type": "string"},
}
_CODE_FIELD: dict[str, Any] = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 1,
    "maxItems": limits.CODE_NUMBERS,
    "description": "a latent, as POST /embed gives it with kind=code",
}


def _end_schema(fields: dict[str, Any]) -> dict[str, Any]:
    described = {"type": "object", "properties": fields, "additionalProperties": False}
    return {"anyOf": [{"type": "string", "pattern": REFERENCE}, described]}


End = Annotated[PictureSource, BeforeValidator(_from_reference), WithJsonSchema(_end_schema(_PICTURE_FIELDS))]
MorphEnd = Annotated[
    MorphSource, BeforeValidator(_from_reference), WithJsonSchema(_end_schema(_PICTURE_FIELDS | {"code": _CODE_FIELD}))
]


_VIA = "pictures between a and b that the way leads past, in their order; frames are divided evenly among the legs"
Via = Annotated[
    list[Reference],
    BeforeValidator(words_of),
    Field(max_length=limits.MORPH_STOPS - 2, description=f"{_VIA}. As text: ids with commas between them"),
]


class MorphOptions(Parameters):
    """How one picture turns into another."""

    frames: int = Field(default=24, ge=limits.FRAMES_MIN, le=limits.FRAMES_MAX)
    path: Literal["lerp", "slerp"] = Field(
        default="slerp", description="straight, or along the sphere at even angular speed"
    )
    easing: Literal["linear", "ease-in", "ease-out", "ease-in-out"] = "linear"
    pingpong: bool = Field(default=False, description="and back again")
    fps: float = Field(default=12, ge=1, le=60, description="frames a second")
    size: int = Field(
        default=256, ge=limits.FRAME_SIDE_MIN, le=limits.FRAME_SIDE_MAX, description="side of a frame, pixels"
    )
    format: Literal["webp", "gif", "apng", "strip", "zip", "json"] | None = Field(
        default=None,
        description="wins over `Accept`; default webp. strip: a PNG with all frames in a row; zip: a PNG each",
    )
    keep_ends: bool = Field(
        default=False,
        description="the first and last frame are the pictures themselves, not decoded; a code has no other",
    )
    nearest_k: int = Field(default=1, ge=0, le=limits.NEAREST_K, description="real pictures beside each frame (json)")


class MorphBody(MorphOptions):
    """A morph between two pictures, each an item, a stored query, a picture as base64 or a code."""

    gallery: str | None = Field(default=None, description="name of a gallery; may be left out where only one is served")
    a: MorphEnd | None = None
    b: MorphEnd | None = None
    via: list[MorphEnd] = Field(
        default_factory=list, max_length=limits.MORPH_STOPS - 2, description=f"{_VIA}; only in JSON"
    )


class MorphAddress(GalleryChoice, MorphOptions):
    """The options of a morph that stand in the address."""


class MorphLink(MorphOptions):
    """A morph as a link: both ends are known here."""

    a: Reference
    b: Reference
    via: Via = Field(default_factory=list)
    v: str | None = Field(default=None, max_length=64, description="anything: tells caches that the model changed")


class MorphFrame(Parameters):
    """One frame of a morph."""

    a: Reference
    b: Reference
    via: Via = Field(default_factory=list)
    t: float = Field(ge=0, le=1, description="0 is a, 1 is b")
    path: Literal["lerp", "slerp"] = "slerp"
    size: int = Field(default=256, ge=limits.FRAME_SIDE_MIN, le=limits.FRAME_SIDE_MAX, description="side, pixels")
    v: str | None = Field(default=None, max_length=64, description="anything: tells caches that the model changed")


# ---- what goes out


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Check(BaseModel):
    """One thing that must work before questions can be answered."""

    ok: bool
    detail: str


Status = Literal["ready", "degraded", "unavailable"]


class Readiness(BaseModel):
    """Whether questions can be answered; degraded: they can, more slowly or from older data."""

    status: Status
    degraded: list[str]
    checks: dict[str, Check]


class ProviderOut(BaseModel):
    """Which execution provider was asked for, and which computes."""

    asked: str
    used: str
    degraded: str | None = None


class ModelOut(BaseModel):
    """The model of a gallery."""

    id: str
    image_size: int
    dims: int
    semantic_dims: int = Field(description="leading numbers that say what is shown; 0: `beta` cannot be used")
    has_decoder: bool


class IndexOut(BaseModel):
    """The index that answered."""

    version: str
    kind: str = Field(description="flat: all are compared; else a graph or codes, see docs/galleries.md")
    exact: bool = Field(description="whether everything was compared for this answer")
    count: int


class CalibrationOut(BaseModel):
    """How near the pictures of a gallery are to each other, as scores at their percentiles (`p50`: the median)."""

    pictures: int = Field(description="that were asked for their nearest neighbour")
    enough: bool = Field(description="whether it decides what is close; else fixed cosines do")
    nearest: dict[str, float] = Field(description="of pictures with their nearest other picture")
    random: dict[str, float] = Field(description="of pairs of pictures by chance")
    labels: dict[str, float] = Field(description="the least score of each label")


class GalleryOut(BaseModel):
    """One gallery."""

    name: str
    items: int
    failures: int
    model: ModelOut
    index: IndexOut
    calibration: CalibrationOut
    provider: ProviderOut


class GalleriesOut(BaseModel):
    """All galleries that are served."""

    galleries: list[GalleryOut]


class InfoOut(BaseModel):
    """The server: what it is, what it serves, what it allows."""

    version: str
    galleries: list[GalleryOut]
    limits: dict[str, int | float]
    features: dict[str, bool]


class ItemOut(BaseModel):
    """One picture of a gallery."""

    id: str
    name: str
    path: str = Field(description="below the folder that was added; for display, it need not be valid UTF-8")
    sha256: str
    width: int
    height: int
    format: str
    bytes: int
    added_at: str
    thumb: str
    image: str
    placeholder: str | None = Field(default=None, description="4 x 4 pixels as a data: URI; with placeholders=true")
    tags: list[str] | None = Field(default=None, description="with include=metadata, and of a single item")
    metadata: dict[str, Any] | None = Field(default=None, description="its fields by name; likewise")
    own: dict[str, Any] | None = Field(default=None, description="those of them that were set by hand; likewise")


class ItemsOut(BaseModel):
    """A page of items."""

    items: list[ItemOut]
    next_cursor: str | None


class TaggedOut(BaseModel):
    """How many items were looked at."""

    items: int


class DescribedOut(BaseModel):
    """Items whose metadata were changed."""

    items: int
    before: dict[str, dict[str, Any]] | None = Field(
        description="by id, what was set by hand of these fields, as a patch that sets it again; null with a filter"
    )


class FieldOut(BaseModel):
    """A field of the metadata."""

    field: str
    types: list[Literal["text", "number", "boolean"]] = Field(description="that values have somewhere in the gallery")


class FieldsOut(BaseModel):
    """The fields of a gallery's metadata."""

    fields: list[FieldOut]


class FacetValueOut(BaseModel):
    """One value of a field."""

    value: str | int | float | bool
    count: int = Field(description="items that have it")
    thumb: str | None = Field(
        default=None, description="address of a small picture that stands for it: of a cluster, the one in its middle"
    )


class FacetOut(BaseModel):
    """One field."""

    field: str
    values: list[FacetValueOut] = Field(description="the most frequent first")
    more: bool = Field(description="whether there are others")


class FacetsOut(BaseModel):
    """How many items have which values."""

    facets: list[FacetOut]
    passing: int | None = Field(description="items that pass the filter; null without one")


ScoreLabel = Literal["identical", "near-duplicate", "very similar", "similar", "weak"]


class SamePictureOut(TypedDict):
    """How the query lies on a hit that is the same picture."""

    agreement: Annotated[float, Field(description="share of the part that the whole explains, 0 to 1")]
    detail: Annotated[float, Field(description="correlation of the finer shades where both show the same")]
    mirrored: bool
    turned: Annotated[float, Field(description="degrees by which the query is turned, anticlockwise")]
    shown: Annotated[float, Field(description="share of the hit's area that the query shows")]
    corners: Annotated[
        list[list[float]],
        Field(description="of the query, clockwise from its upper left: x and y as shares of the hit"),
    ]


class HitOut(TypedDict):
    """One neighbour."""

    id: str
    rank: int
    score: Annotated[float, Field(description="cosine, -1 to 1; with `beta` the weighted mean of the halves' cosines")]
    percentile: Annotated[
        float | None,
        Field(description="share of this gallery's pictures, in percent, whose own nearest neighbour is farther away"),
    ]
    label: ScoreLabel
    stands_out: Annotated[
        float | None,
        Field(
            description="null, or how far (.45 to 1) it stands out from the other hits in one half of the code, as "
            "crops, turned and colourless copies do: such hits come first, all others in the order of their scores"
        ),
    ]
    same_picture: Annotated[
        SamePictureOut | None,
        Field(description="with same_picture=true: how the query lies on it; null where it is another picture"),
    ]
    name: str
    path: str
    sha256: str
    width: int
    height: int
    thumb: str
    image: str
    duplicates: Annotated[
        list[str] | None, Field(description="with collapse_duplicates: ids of other hits that are the same picture")
    ]
    placeholder: Annotated[str | None, Field(description="4 x 4 pixels as a data: URI; with placeholders=true")]
    tags: Annotated[list[str] | None, Field(description="with include=metadata")]
    metadata: Annotated[dict[str, Any] | None, Field(description="likewise")]


# Built by us, and many in each answer: dictionaries that the type checker has seen are not looked at again.
Hits = Annotated[list[HitOut], WrapValidator(lambda hits, _check: hits)]


QueryWarning = Literal["plain-query", "nothing-close", "out-of-domain"]


class QueryOut(BaseModel):
    """What was asked about."""

    kind: Literal["item", "upload", "stored", "combination", "vector", "code"]
    id: str | None = Field(description="of the item or stored query; null for an upload that was not stored")
    name: str
    width: int
    height: int
    image: str | None = Field(description="address of the picture; null for an upload that was not stored")
    reconstruction_url: str | None = Field(description="what the model sees; a data: URI with include=reconstruction")
    reconstruction_mse: float | None = Field(
        default=None, description="on values from 0 to 1; with include=reconstruction"
    )
    reconstruction_percentile: float | None = Field(
        default=None,
        description="share of the pictures that training held out, in percent, that the model paints better; likewise",
    )
    warning: QueryWarning | None = Field(
        default=None,
        description="plain-query: almost one colour; nothing-close: even the best neighbour is farther away than "
        "nearly all of the gallery's pictures are from theirs; out-of-domain, with include=reconstruction: the model "
        "paints it worse than 99 of 100 pictures of its training's kind",
    )
    vector: list[float] | None = Field(default=None, description="the embedding; with include=vector")


class SearchOut(BaseModel):
    """Neighbours, best first."""

    query: QueryOut
    hits: Hits
    beta: float = Field(description="weight that the hits were found with")
    passing: int | None = Field(default=None, description="items that pass the filter; null without one")
    index: IndexOut
    provider: str = Field(description="the execution provider that computes")
    took_ms: dict[str, float]


class GalleryHitOut(HitOut):
    """One neighbour, and where it is."""

    gallery: str


class SearchAllOut(BaseModel):
    """Neighbours of several galleries, best first."""

    queries: dict[str, QueryOut] = Field(description="what was asked about, as each gallery's model sees it")
    hits: list[GalleryHitOut]
    by: Literal["score", "percentile"] = Field(
        description="what they are ranked by: scores of different models cannot be compared, percentiles can"
    )
    problems: dict[str, dict[str, Any]] = Field(
        description="galleries that could not be searched, each with its problem; where none could, that is the answer"
    )
    took_ms: dict[str, float]


class BatchAnswer(BaseModel):
    """What came of one search of a batch: an answer, or a problem."""

    answer: SearchOut | None = None
    problem: dict[str, Any] | None = None


class BatchOut(BaseModel):
    """What came of each search, in their order."""

    results: list[BatchAnswer]
    took_ms: dict[str, float]


class StoredQueryOut(BaseModel):
    """A picture that is kept for a while, so that links to its neighbours and morphs work."""

    id: str
    name: str
    width: int
    height: int
    format: str
    bytes: int
    expires_at: str
    image: str
    warning: QueryWarning | None


class EmbedOut(BaseModel):
    """Vectors of pictures, in the order in which they came."""

    model: str
    kind: Literal["search", "code"]
    dims: int
    vectors: list[list[float]]
    took_ms: dict[str, float]


class ReconstructionOut(BaseModel):
    """What the decoder paints of a picture's code."""

    image: str = Field(description="a data: URI")
    mse: float = Field(description="mean squared difference to the picture at the model's size, values from 0 to 1")


class FrameOut(BaseModel):
    """One frame of a morph."""

    t: float
    image: str = Field(description="a data: URI (WebP)")
    nearest: list[HitOut]
    scores: list[float] = Field(
        description="cosines of what the frame shows with each picture of the way, in their order; none where "
        "nearest_k is 0"
    )


class MorphOut(BaseModel):
    """A morph, frame by frame."""

    a: QueryOut
    b: QueryOut
    via: list[QueryOut] = Field(description="between them, in their order")
    score: float = Field(description="cosine of a and b: how far it is from one to the other")
    label: ScoreLabel = Field(description="what that score means in this gallery")
    path: str
    fps: float
    size: int
    frames: list[FrameOut]
    took_ms: dict[str, float]
