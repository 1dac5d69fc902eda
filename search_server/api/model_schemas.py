"""What goes in and out of the API when it is asked about models and what they see."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from search_server import limits
from search_server.api.job_schemas import NAME
from search_server.api.schemas import (
    Code,
    End,
    FilterObject,
    GalleryChoice,
    HitOut,
    ImageFormat,
    ModelOut,
    Parameters,
    ReconstructAddress,
    ReconstructBody,
    words_of,
)

_SIDE = Field(default=None, ge=limits.FRAME_SIDE_MIN, le=limits.FRAME_SIDE_MAX, description="of a picture, pixels")


class DecodeBody(Parameters):
    """Latents to be painted, as POST /embed gives them with kind=code."""

    gallery: str | None = Field(default=None, description="whose model paints; may be left out where there is one")
    code: Code | None = None
    codes: list[Code] | None = Field(default=None, min_length=1, max_length=limits.CODES)
    format: Literal["webp", "png", "json"] | None = Field(
        default=None, description="wins over `Accept`; default webp for one code, json for several"
    )
    size: int | None = _SIDE
    nearest_k: int = Field(
        default=0, ge=0, le=limits.NEAREST_K, description="real pictures of the gallery beside each painted one (json)"
    )


class DecodedOut(BaseModel):
    """What the decoder paints, in the order of the codes."""

    model: str
    images: list[str] = Field(description="data: URIs")
    nearest: list[list[HitOut]] = Field(description="real pictures that are nearest to what each shows; see nearest_k")


class DenoiseBody(ReconstructBody):
    """A picture to be cleaned."""

    anyway: bool = Field(default=False, description="also by a model that was not trained to remove anything")


class DenoiseAddress(ReconstructAddress):
    """The options of cleaning that stand in the address."""

    anyway: bool = Field(default=False, description="also by a model that was not trained to remove anything")


class VectorOptions(Parameters):
    """Which vector of an item."""

    kind: Literal["search", "code"] = Field(default="search", description="length 1 for searching, or the latent")
    format: Literal["json", "npy"] = "json"


class VectorOut(BaseModel):
    """A vector of an item."""

    id: str
    model: str
    kind: Literal["search", "code"]
    dims: int
    vector: list[float]


class ErrorMapOptions(Parameters):
    """How the error of a reconstruction is shown."""

    format: ImageFormat = "webp"
    size: int | None = _SIDE
    v: str | None = Field(default=None, max_length=64, description="anything: tells caches that the model changed")


class ExplainBody(Parameters):
    """Two pictures whose likeness is to be explained."""

    gallery: str | None = Field(default=None, description="whose model looks; may be left out where there is one")
    a: End | None = None
    b: End | None = None
    grid: int = Field(default=8, ge=2, le=limits.EXPLAIN_GRID, description="patches in a row")


class ExplainAddress(GalleryChoice):
    """The options of an explanation that stand in the address."""

    grid: int = Field(default=8, ge=2, le=limits.EXPLAIN_GRID, description="patches in a row")


class HeatOut(BaseModel):
    """Which parts of one picture make it like the other."""

    weights: list[list[float]] = Field(
        description="how much the cosine falls when a patch is blurred away, row by row; below 0: it rises"
    )
    image: str = Field(description="data: URI: the picture as the model sees it, what counts bright, all else dark")


class ExplainOut(BaseModel):
    """Why two pictures are alike."""

    score: float
    a: HeatOut
    b: HeatOut
    took_ms: dict[str, float]


class AxesOptions(Parameters):
    """Which axes."""

    count: int = Field(default=6, ge=1, le=limits.AXES, description="how many, the widest first")
    steps: int = Field(default=5, ge=3, le=9, description="pictures along each, from -2 to +2 deviations")
    include: Annotated[list[Literal["vectors"]], BeforeValidator(words_of)] = Field(
        default_factory=list, description="vectors: the mean latent and each axis's direction, to make codes from"
    )


class AxisOut(BaseModel):
    """One of the main directions in which a gallery's pictures differ."""

    share: float = Field(description="of the variance of the latents")
    deviation: float = Field(description="standard deviation along it")
    steps: list[float] = Field(description="deviations from the mean")
    images: list[str] = Field(description="data: URIs: what the decoder paints there")
    ends: list[str] = Field(description="ids of the items farthest out: low, high")
    low: list[str] = Field(description="ids of items that lie far out on the lower side, the farthest first")
    high: list[str] = Field(description="and on the higher one")
    direction: list[float] | None = Field(
        default=None, description="of length 1, in the latents' space; with include=vectors"
    )


class AxesOut(BaseModel):
    """The main axes of a gallery's latents."""

    items: int = Field(description="that were looked at")
    mean: list[float] | None = Field(default=None, description="latent where all axes cross; with include=vectors")
    axes: list[AxisOut]


class PrototypesOptions(Parameters):
    """What a prototype stands for."""

    by: Literal["folder", "cluster"] = "cluster"
    count: int = Field(default=12, ge=1, le=limits.PROTOTYPES, description="at most: the largest folders, or clusters")


class PrototypeOut(BaseModel):
    """What a group of pictures has in common."""

    name: str = Field(description="of the folder, or the number of the cluster")
    items: int
    image: str = Field(description="data: URI: what the decoder paints of their mean latent")
    nearest: str = Field(description="id of the item that is most like it")
    members: list[str] = Field(description="ids of items that are most like it, the nearest first")
    filter: FilterObject | None = Field(description="that leaves the pictures of the folder; null for a cluster")


class PrototypesOut(BaseModel):
    """Prototypes, the largest group first."""

    items: int = Field(description="that were looked at")
    prototypes: list[PrototypeOut]


class ModelPath(Parameters):
    """A model in an address."""

    model: str = Field(pattern=NAME, description="name of a model of the workspace")


class NamedModelOut(ModelOut):
    """A model of the workspace."""

    name: str
    galleries: list[str] = Field(description="served ones that were made with it")
    variants: list[str]
    removes: list[str] = Field(description="what it was trained to take off pictures")
    source: str
    licence: str
    quality: dict[str, object]
    bytes: int
    has_report: bool


class ModelsOut(BaseModel):
    """The models of the workspace."""

    models: list[NamedModelOut]
