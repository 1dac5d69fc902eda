"""Why a version of a gallery's index is as it is: what was compared, and what a search costs at which recall."""

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from index_data.generations import current_record, stored_names
from index_data.indexes.explanation import described
from index_data.indexes.kinds import KINDS
from index_data.indexes.record import IndexRecord
from search_server.api.answers import PREFIX, json_answer
from search_server.api.schemas import GalleryPath
from search_server.problems import responses
from search_server.service import service
from train.errors import NothingFoundError

index_explanation = APIBlueprint("index_explanation", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="galleries")])


class IndexPath(GalleryPath):
    """A version of an index in an address."""

    version: str = Field(pattern=r"^[0-9]{6,12}$", description="see GET /galleries/{gallery}/indexes")


class IndexPointOut(BaseModel):
    """What one setting of an index reaches, measured on all vectors by one thread."""

    k: int
    recall: float = Field(description="share of the exact k nearest that are found")
    p50_ms: float
    p95_ms: float
    setting: str = Field(description="in words")
    chosen: bool = Field(description="searches that ask for nothing else are done so")


class IndexTrialOut(BaseModel):
    """What a sample said of one kind of index."""

    kind: str
    memory_bytes: int
    recall: float = Field(description="of ten neighbours")
    expected_ms: float = Field(description="of a search of the whole gallery")
    chosen: bool = Field(description="false: measured for comparison only")


class IndexExplanationOut(BaseModel):
    """What is known of a version of an index."""

    version: str
    kind: str
    says: str = Field(description="the kind in words")
    count: int
    dims: int
    precision: str
    memory_bytes: int = Field(description="that have to be in memory for searches to be fast")
    target_recall: float
    latency_ms: float = Field(description="below which all items are compared")
    reasons: list[str]
    exact_ms: float | None = Field(description="comparing all")
    sampled: int = Field(description="vectors that the kinds were compared on")
    points: list[IndexPointOut]
    trials: list[IndexTrialOut]


@index_explanation.get(
    "/galleries/<gallery>/indexes/<version>",
    responses={200: IndexExplanationOut, **responses("no_such_gallery", "empty")},
)
def explain_index(path: IndexPath) -> Response:
    """Say why a version of the index is as it is, with its curve of recall and time."""
    gallery = service().gallery(path.gallery).gallery
    names = stored_names(gallery)
    if path.version not in names:
        raise NothingFoundError(f"{gallery.name} has no version {path.version} of its index: there are {names}.")
    record = current_record(gallery, path.version)
    if record is None:
        raise NothingFoundError(f"nothing is known of version {path.version}: build the index anew.")
    return json_answer(_describe(path.version, record))


def _describe(version: str, record: IndexRecord) -> IndexExplanationOut:
    curve = record.curve.points if record.curve is not None else {}
    points = [
        IndexPointOut(
            k=k,
            recall=point.recall,
            p50_ms=point.p50_ms,
            p95_ms=point.p95_ms,
            setting=described(point.setting, record.kind),
            chosen=k == min(curve) and point.setting == record.setting,
        )
        for k, measured in sorted(curve.items())
        for point in measured
    ]
    trials = [
        IndexTrialOut(
            kind=trial.kind,
            memory_bytes=trial.memory,
            recall=trial.recall,
            expected_ms=trial.expected_ms,
            chosen=trial.chosen,
        )
        for trial in sorted(record.trials, key=lambda trial: trial.expected_ms)
    ]
    return IndexExplanationOut(
        version=version,
        kind=record.kind,
        says=KINDS[record.kind].says,
        count=record.count,
        dims=record.dims,
        precision=record.precision,
        memory_bytes=record.memory,
        target_recall=record.aims.recall,
        latency_ms=record.aims.latency_ms,
        reasons=list(record.reasons),
        exact_ms=record.exact_ms,
        sampled=record.sampled,
        points=points,
        trials=trials,
    )
