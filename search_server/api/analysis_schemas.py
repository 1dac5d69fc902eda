"""What goes in and out of the API about whole galleries: duplicates, the map, outliers."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from index_data.mapping import MOST_SEEDS
from search_server import limits
from search_server.api.schemas import GalleryPath, IncludedInMaps, ItemOut, Parameters

ItemId = Annotated[str, Field(pattern=r"^[0-9]{1,19}$")]
Cursor = Annotated[int | None, Field(ge=0, lt=2**63, description="`next_cursor` of the page before")]


class ListDuplicates(Parameters):
    """Which groups."""

    kind: Literal["bytes", "pixels", "near"] = Field(default="near", description="the weakest link that counts")
    only: Literal["bytes", "pixels", "near"] | None = Field(
        default=None, description="only groups whose weakest link is of this kind"
    )
    judged: bool = Field(
        default=False,
        description="list groups that somebody took apart too: as they were, each with what was said of it",
    )
    min_score: float | None = Field(default=None, ge=-1, le=1, description="of near ones")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: Cursor = None


class ListSurplus(Parameters):
    """Which groups, and how their surplus is listed."""

    only: Literal["bytes", "pixels", "near"] | None = Field(
        default=None, description="only groups whose weakest link is of this kind"
    )
    min_score: float | None = Field(default=None, ge=-1, le=1, description="of near ones")
    reviewed: bool = Field(default=False, description="only groups that somebody has looked at")
    format: Literal["json", "csv"] = "json"


class VerdictBody(Parameters):
    """What somebody says of some pictures."""

    ids: list[ItemId] = Field(min_length=1, max_length=limits.LIST)
    verdict: Literal["duplicate", "different", "keep", "forget"] = Field(
        description="they are the same; they are not; they are the ones to keep of their groups; nothing: take back "
        "what was said of them"
    )
    instead_of: list[ItemId] = Field(
        default_factory=list, max_length=limits.LIST, description="with keep: these are no longer the ones to keep"
    )


class DuplicatesBody(Parameters):
    """How duplicates are looked for."""

    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="cosine from which two are near; else pairs that stand out"
    )


class DifferenceOptions(Parameters):
    """Which two items are compared."""

    a: ItemId
    b: ItemId
    format: Literal["webp", "png"] = "webp"
    size: int = Field(default=limits.PREVIEW_SIDE, ge=16, le=limits.PREVIEW_SIDE, description="longest side, pixels")


class MapOptions(Parameters):
    """How the map is given."""

    format: Literal["json", "f32", "columns"] = Field(
        default="json",
        description="f32: as many little-endian int64 ids as `X-Count` says, then of each three float32: x, y, "
        "cluster; columns: a head as JSON after its length in four bytes, then ids, x, y, cluster and what `include` "
        "names, see docs/api.md#the-map-as-columns",
    )
    include: IncludedInMaps = Field(
        default_factory=list, description="of each item; only in columns. As text: words with commas between them"
    )
    sample: int | None = Field(default=None, ge=1, le=10_000_000, description="at most so many items; only in columns")


class MapPlaceOptions(Parameters):
    """A picture whose place on the map is asked for."""

    id: str = Field(max_length=100, description="of an item or of a stored query")


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
    apart: bool = Field(description="somebody said that it is not the same as the one to keep; only with `judged`")


class GroupOut(BaseModel):
    """Items that are the same picture, the one to keep first."""

    id: str = Field(description="the lowest id in it")
    kind: Literal["bytes", "pixels", "near"] = Field(description="of its weakest link")
    verdict: Literal["duplicate", "different", "keep"] | None = Field(
        description="what somebody said: they are all the same; they are not all the same (only with `judged`); this "
        "one is to be kept"
    )
    members: list[MemberOut]


class DuplicatesOut(BaseModel):
    """A page of groups."""

    stale: bool = Field(description="the gallery has changed since")
    min_score: float | None = Field(
        description="the lowest score of near ones, or from which they were looked for; null: they were not"
    )
    groups: list[GroupOut]
    total: int = Field(description="groups in all")
    kinds: dict[str, int] = Field(description="groups by their weakest link, whatever `only` says")
    reviewed: int = Field(description="of `total`: those that somebody said something of")
    surplus: int = Field(description="items beyond one of each group")
    next_cursor: str | None


class SurplusOut(BaseModel):
    """A picture that could go, because another one stays. Nothing is deleted."""

    id: str
    path: str
    bytes: int
    kept_id: str
    kept_path: str
    kind: Literal["bytes", "pixels", "near"]
    score: float = Field(description="with the one that stays")
    verdict: Literal["duplicate", "keep"] | None


class SurplusListOut(BaseModel):
    """All pictures that could go."""

    items: list[SurplusOut]
    bytes: int = Field(description="of all of them")


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
    clustering: Literal["k-means", "hdbscan"] = Field(description="how the clusters were found")
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


class MapPlaceOut(BaseModel):
    """Where an item lies on the map."""

    x: float
    y: float
    cluster: int
    count: int = Field(description="items of its cluster")
    medoid: str = Field(description="id of the item in the middle of its cluster")


class QueryPlaceOut(BaseModel):
    """Where a picture lies on the map."""

    x: float = Field(description="from -1 to 1, where items lie; a picture that is like none may lie outside")
    y: float
    how: Literal["item", "axes", "neighbours"] = Field(
        description="it is an item of the map; the map's axes put it there; or its neighbours lie around it: the mean "
        "of their places, each weighing 1 / (1 - score)"
    )
    neighbours: int | None = Field(description="of how many it is the mean, where that says where it lies")


class RankOut(BaseModel):
    """How unusual an item is, by one measure; see GET /galleries/{gallery}/anomalies."""

    by: Literal["reconstruction", "distance"]
    rank: int
    total: int
    value: float
    percentile: float = Field(description="share of the items, in percent, that are less unusual")
    unusual: bool | None


class StandingOut(BaseModel):
    """Where an item stands among the others; null: not computed, or not among what was computed."""

    previous: str | None = Field(description="id of the item that was added before it")
    next: str | None
    map: MapPlaceOut | None
    duplicates: GroupOut | None = Field(description="the group of pictures that are the same; null: there is none")
    unusual: list[RankOut] = Field(description="what was measured")
