"""What goes in and out of the API about whole galleries: duplicates, the map, outliers."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from index_data.mapping import MOST_SEEDS
from search_server import limits
from search_server.api.schemas import GalleryPath, ItemOut, Parameters

ItemId = Annotated[str, Field(pattern=r"^[0-9]{1,19}$")]
Cursor = Annotated[int | None, Field(ge=0, lt=2**63, description="`next_cursor` of the page before")]


class ListDuplicates(Parameters):
    """Which groups."""

    kind: Literal["bytes", "pixels", "near"] = Field(default="near", description="the weakest link that counts")
    min_score: float | None = Field(default=None, ge=-1, le=1, description="of near ones")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: Cursor = None


class VerdictBody(Parameters):
    """What somebody says of some pictures."""

    ids: list[ItemId] = Field(min_length=1, max_length=limits.LIST)
    verdict: Literal["duplicate", "different", "keep"] = Field(
        description="they are the same; they are not; they are the ones to keep of their groups"
    )


class DuplicatesBody(Parameters):
    """How duplicates are looked for."""

    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="cosine from which two are near; else as calibrated: near-duplicate"
    )


class DifferenceOptions(Parameters):
    """Which two items are compared."""

    a: ItemId
    b: ItemId
    format: Literal["webp", "png"] = "webp"
    size: int = Field(default=limits.PREVIEW_SIDE, ge=16, le=limits.PREVIEW_SIDE, description="longest side, pixels")


class MapOptions(Parameters):
    """How the map is given."""

    format: Literal["json", "f32"] = Field(
        default="json",
        description="f32: as many little-endian int64 ids as `X-Count` says, then of each three float32: x, y, cluster",
    )


class MapBody(Parameters):
    """How the map is drawn."""

    method: Literal["pca", "umap"] = Field(
        default="pca", description="umap: where `features.umap` of the server says so"
    )
    clusters: int | None = Field(
        default=None, ge=1, le=1000, description="how many; else as many as suit the number of items"
    )
    seed: int = Field(default=0, ge=0, le=MOST_SEEDS, description="the same one draws the same map")


class ClusterPath(GalleryPath):
    """A cluster in an address."""

    cluster: int = Field(ge=0, le=100_000)


class ListAnomalies(Parameters):
    """Which ranking, and which part of it."""

    by: Literal["reconstruction", "distance"] = "reconstruction"
    limit: int = Field(default=50, ge=1, le=limits.LIST)
    cursor: Cursor = None


class MemberOut(BaseModel):
    """One item of a group."""

    item: ItemOut
    score: float = Field(description="with the one to keep")
    keep: bool = Field(description="the suggestion; nothing is deleted")
    why: str = Field(description="why it is to be kept; empty for the others")


class GroupOut(BaseModel):
    """Items that are the same picture, the one to keep first."""

    id: str = Field(description="the lowest id in it")
    kind: Literal["bytes", "pixels", "near"] = Field(description="of its weakest link")
    verdict: Literal["duplicate"] | None
    members: list[MemberOut]


class DuplicatesOut(BaseModel):
    """A page of groups."""

    groups: list[GroupOut]
    total: int = Field(description="groups in all")
    surplus: int = Field(description="items beyond one of each group")
    next_cursor: str | None


class VerdictOut(BaseModel):
    """What is remembered now."""

    ids: list[str]
    verdict: str


class PointOut(BaseModel):
    """One item on the map."""

    id: str
    x: float
    y: float
    cluster: int


class ClusterOut(BaseModel):
    """One cluster."""

    cluster: int
    count: int
    medoid: str = Field(description="id of the item in its middle")
    prototype: str | None = Field(description="address of what the decoder paints of its mean code")


class MapOut(BaseModel):
    """All items on a plane, from -1 to 1."""

    method: Literal["pca", "umap"]
    computed_at: str
    stale: bool = Field(description="the gallery has changed since")
    points: list[PointOut]
    clusters: list[ClusterOut]


class MapMadeOut(BaseModel):
    """A map that was drawn at once: GET it."""

    method: Literal["pca", "umap"]
    computed_at: str
    items: int
    clusters: int


class AnomalyOut(BaseModel):
    """One item, and how unusual it is."""

    rank: int
    value: float = Field(description="mean squared error of values from 0 to 1, or 1 - mean cosine of its neighbours")
    percentile: float = Field(description="share of the items, in percent, that are less unusual")
    unusual: bool | None = Field(description="painted worse than 99 % of the training pictures; null: not known")
    item: ItemOut


class AnomaliesOut(BaseModel):
    """A page of the ranking."""

    by: Literal["reconstruction", "distance"]
    stale: bool = Field(description="the gallery has changed since")
    total: int
    items: list[AnomalyOut]
    next_cursor: str | None
