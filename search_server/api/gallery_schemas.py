"""What goes in and out of the API when galleries and their items are changed."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from index_data.drift import Verdict
from search_server import limits
from search_server.api.job_schemas import NAME, JobOut
from search_server.api.schemas import FilterObject, GalleryOut, Parameters
from search_server.problems import ProblemDocument


class GalleryBody(Parameters):
    """A gallery to be made."""

    name: str = Field(pattern=NAME)
    model: str | None = Field(
        default=None, pattern=NAME, description="name of a model of the workspace; may be left out where there is one"
    )
    roots: list[str] = Field(
        default_factory=list,
        max_length=20,
        description="folders of the server's machine to be indexed: a job each",
    )


class GalleryPatch(Parameters):
    """What of a gallery is to be changed."""

    name: str = Field(pattern=NAME, description="its new name; addresses with the old one are no more")


class ModelChoice(Parameters):
    """The model that a gallery is to have."""

    model: str = Field(pattern=NAME, description="name of a model of the workspace")


class DeleteGallery(Parameters):
    """How a gallery is deleted."""

    dry_run: bool = Field(default=False, description="only say what would be lost")
    uploads: bool = Field(
        default=False, description="also the pictures that were uploaded into it and are nowhere else"
    )


class GalleryMadeOut(BaseModel):
    """A gallery that was made, and the jobs that fill it."""

    gallery: GalleryOut
    jobs: list[JobOut]


class DeletionOut(BaseModel):
    """What the deletion of a gallery takes with it; the files of its folders are never touched."""

    items: int
    uploads: int = Field(description="pictures that stand nowhere else")
    bytes: int = Field(description="on disk")


class ScanBody(Parameters):
    """How the folders of a gallery are looked at again."""

    dry_run: bool = Field(default=False, description="only say what would be done")
    retry: bool = Field(default=False, description="look again at files that were rejected and have not changed")
    paths: list[Annotated[str, Field(min_length=1, max_length=limits.PATH)]] = Field(
        default_factory=list,
        max_length=limits.PATHS,
        description="look only at these folders and files, by their paths below the gallery's folders, as items have "
        "them; empty: at everything",
    )
    remove_missing: bool = Field(default=True, description="take out items whose file is gone")


class PlanOut(BaseModel):
    """What a scan would do, as far as names, sizes and times can tell."""

    new: int
    changed: int
    unchanged: int
    missing: int = Field(description="items whose file is gone")
    folders_not_there: int


class IndexBody(Parameters):
    """What an index is to be like; what is left out is as `lookalike index build` has it."""

    kind: Literal["flat", "hnsw", "hnsw-fp16", "hnsw-sq8", "ivf-pq", "ivf-rabitq"] | None = Field(
        default=None, description="instead of a choice by measurement"
    )
    memory_mb: int | None = Field(default=None, ge=1, le=1_000_000, description="most that it may keep in memory")
    target_recall: float | None = Field(
        default=None, gt=0, le=1, description="share of the ten nearest neighbours that shall be found"
    )
    latency_ms: float | None = Field(
        default=None, gt=0, le=10_000, description="time of a search below which all items are compared"
    )


class IndexChoice(Parameters):
    """Which generation is to answer."""

    version: str = Field(pattern=r"^[0-9]{6,12}$")


class IndexBuildOut(BaseModel):
    """One generation of an index on disk."""

    version: str
    current: bool
    kind: str | None = Field(description="null where it is damaged or of another model")
    count: int | None
    recall: float | None = Field(description="sampled, against exact neighbours")
    bytes: int | None


class IndexesOut(BaseModel):
    """Generations, the newest first."""

    indexes: list[IndexBuildOut]


class FailureOut(BaseModel):
    """A file that could not be used."""

    id: int
    path: str = Field(description="below the folder that was added; for display")
    code: str
    title: str
    remedy: str
    seen_at: str


class FailuresOut(BaseModel):
    """A page of failures."""

    failures: list[FailureOut]
    next_cursor: int | None


class ListFailures(Parameters):
    """Which failures."""

    limit: int = Field(default=100, ge=1, le=limits.LIST)
    cursor: int = Field(default=0, ge=0, lt=2**63, description="`next_cursor` of the page before")


class SpreadOut(BaseModel):
    """How the scores of sampled pairs of pictures are spread."""

    pairs: int
    quantiles: dict[str, float] = Field(description="the score below which so many percent of the pairs lie")
    histogram: list[int] = Field(description="pairs in 40 equal ranges of the scores from -1 to 1")


class ScoresOut(BaseModel):
    """What scores are like in a gallery, sampled when its index was built."""

    nearest: SpreadOut | None = Field(description="pictures with their nearest other picture; null: too few pictures")
    random: SpreadOut | None = Field(description="pairs of pictures by chance")
    labels: dict[str, float] = Field(description="the least score of each label")


class DriftOut(BaseModel):
    """Whether the pictures that were added since the index was built are like those that it was built of."""

    verdict: Verdict
    says: str = Field(description="the verdict in words")
    added: int = Field(description="pictures that were added or changed since the index was built")
    compared: int = Field(description="of them")
    difference: float | None = Field(
        description="of the two-sample Kolmogorov-Smirnov test of the scores with the nearest picture, 0 to 1; null "
        "where nothing is compared, as for the next three"
    )
    probability: float | None = Field(description="that so large a difference is by chance")
    median_before: float | None = Field(description="score of a picture of the index with its nearest other one")
    median_now: float | None = Field(description="score of an added picture with its nearest one in the index")


class StatsOut(BaseModel):
    """Numbers of a gallery."""

    items: int
    failures: int
    failures_by_code: dict[str, int]
    changes: int = Field(description="number of the last change: it grows with every one")
    index_bytes: int
    index_recall: float | None
    database_bytes: int
    generations: int
    scores: ScoresOut
    drift: DriftOut


class PathsOut(BaseModel):
    """Where a gallery is on the server's machine."""

    folder: str
    model_folder: str
    roots: list[str]


class AdditionBody(Parameters):
    """Pictures to be added, where they do not come as files of a form."""

    image_base64: str | None = Field(default=None, description="one picture; a data: URI is accepted")
    urls: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=limits.ADD_IMAGES,
        description="addresses to be fetched, where the server is started with --fetch-host",
    )
    name: str | None = Field(default=None, max_length=200, description="file name of the one picture")


class AdditionAddress(Parameters):
    """The options of an addition that stand in the address."""

    name: str | None = Field(default=None, max_length=200, description="file name, where one bare picture is sent")


class AddedOut(BaseModel):
    """What became of one picture."""

    name: str
    status: Literal["created", "duplicate", "failed"] = Field(
        description="duplicate: the gallery has these bytes already, and `id` is that item"
    )
    id: str | None
    problem: ProblemDocument | None = None


class AdditionOut(BaseModel):
    """What became of the pictures, in the order in which they came."""

    results: list[AddedOut]
    took_ms: dict[str, float]


class RemovalBody(Parameters):
    """Items to be taken out of a gallery: those of some ids, or all that pass a filter."""

    ids: list[str] | None = Field(default=None, min_length=1, max_length=limits.LIST, description="ids of items")
    filter: FilterObject | None = None
    dry_run: bool = Field(default=False, description="only say which of them there are")


class RemovalOut(BaseModel):
    """Items that were taken out of a gallery; their files stay where they are."""

    deleted: int
    ids: list[str]
