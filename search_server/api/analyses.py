"""What is computed of whole galleries: duplicates, with what people say of them; the map; outliers."""

import csv
import hashlib
import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from PIL import Image

from index_data.analyses import NotComputedError, state_of
from index_data.duplicates import (
    KINDS,
    Group,
    Member,
    Survey,
    describe_computation,
    describe_groups,
    difference,
    duplicate_groups,
    put_verdict,
    survey_groups,
)
from index_data.duplicates import Kind as DuplicateKind
from index_data.gallery import Gallery
from index_data.mapping import Map, can_draw_by_umap, compute_map, read_map
from index_data.outliers import ranked_outliers
from search_server import limits
from search_server.access import needs
from search_server.api.analysis_schemas import (
    AnomaliesOut,
    AnomalyOut,
    ClusterOut,
    ClusterPath,
    DifferenceOptions,
    DuplicatesBody,
    DuplicatesOut,
    GroupOut,
    ListAnomalies,
    ListDuplicates,
    ListSurplus,
    MapBody,
    MapMadeOut,
    MapOptions,
    MapOut,
    MemberOut,
    PointOut,
    SurplusListOut,
    SurplusOut,
    VerdictBody,
    VerdictOut,
)
from search_server.api.answers import PREFIX, cached, describe_item, gallery_address, json_answer
from search_server.api.documents import NOT_CHANGED, body_of, pictures, schema_of
from search_server.api.jobs import ACCEPTED, accepted, submit
from search_server.api.map_columns import map_columns
from search_server.api.schemas import GalleryPath, NoParameters
from search_server.galleries import ServedGallery
from search_server.incoming import read_request
from search_server.jobs import Kind
from search_server.morphing import encode
from search_server.problems import CHANGING, DECODING, InvalidRequest, responses
from search_server.service import service
from search_server.stopwatch import stage
from search_server.subjects import find_item, original
from train.printable import printable

analyses = APIBlueprint("analyses", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="analyses")])

GROUPS_AT_ONCE = 500  # that are described together

Groups = list[tuple[list[int], Survey]]
_groups: "WeakKeyDictionary[Gallery, tuple[object, Groups]]" = WeakKeyDictionary()


@analyses.get(
    "/galleries/<gallery>/duplicates", responses={200: DuplicatesOut, **responses("no_such_gallery", "not_computed")}
)
def list_duplicates(path: GalleryPath, query: ListDuplicates) -> Response:
    """List groups of pictures that are the same, each with the one to keep; no file is ever deleted."""
    return json_answer(find_duplicates(service().gallery(path.gallery), query))


def find_duplicates(served: ServedGallery, query: ListDuplicates) -> DuplicatesOut:
    """One page of groups, as the API and the page show them."""
    with stage("fetch"), told_where(served, "/duplicates/compute"):
        every = duplicate_groups_of(served, query.kind, query.min_score, judged=query.judged)
        computed = describe_computation(served.gallery)
        kept = [(group, survey) for group, survey in every if query.only in (None, survey.kind)]
        groups = [group for group, _ in kept]
        first = bisect_right([min(group) for group in groups], query.cursor or 0)
        shown = describe_groups(served.gallery, groups[first : first + query.limit])
    more = first + query.limit < len(groups)
    kinds = Counter(survey.kind for _, survey in every)
    return DuplicatesOut(
        stale=computed is not None and computed.is_stale,
        min_score=None if computed is None else computed.min_score,
        groups=[describe_group(served, group) for group in shown],
        total=len(groups),
        kinds={kind: kinds[kind] for kind in KINDS},
        reviewed=sum(survey.verdict is not None for _, survey in kept),
        surplus=sum(len(group) - 1 for group in groups),
        next_cursor=str(min(groups[first + query.limit - 1])) if more else None,
    )


def describe_group(served: ServedGallery, group: Group) -> GroupOut:
    """A group, as the API and the page show it."""
    return GroupOut(
        id=str(group.first_id),
        kind=group.kind,
        verdict=group.verdict,
        members=[
            MemberOut(
                item=describe_item(served, member.item),
                score=round(member.score, 6),
                keep=member.keep,
                why=member.why,
                apart=member.apart,
            )
            for member in group.members
        ],
    )


def duplicate_groups_of(
    served: ServedGallery, kind: DuplicateKind, min_score: float | None, *, judged: bool = False
) -> Groups:
    """All groups; those of the last question are kept until something changes, for the next page.

    Raises:
        NotComputedError: The pairs have not been computed.
    """
    gallery = served.gallery
    key = (gallery.data_version(), state_of(gallery, "duplicates"), kind, min_score, judged)
    kept = _groups.get(gallery)
    if kept is None or kept[0] != key:
        groups = duplicate_groups(gallery, kind=kind, min_score=min_score, judged=judged)
        kept = key, list(zip(groups, survey_groups(gallery, groups), strict=True))
        _groups[gallery] = kept
    return kept[1]


@analyses.get(
    "/galleries/<gallery>/duplicates/surplus",
    responses={
        200: {
            "description": "all pictures that could go",
            "content": {
                "application/json": {"schema": schema_of(SurplusListOut)},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        **responses("no_such_gallery", "not_computed"),
    },
)
def list_surplus(path: GalleryPath, query: ListSurplus) -> Response:
    """List the pictures that could go, each with the one that stays: for a program or a person who deletes files."""
    served = service().gallery(path.gallery)
    with stage("fetch"), told_where(served, "/duplicates/compute"):
        every = duplicate_groups_of(served, "near", query.min_score)
        groups = [
            group
            for group, survey in every
            if query.only in (None, survey.kind) and (survey.verdict is not None or not query.reviewed)
        ]
        listed = _surplus_of(served, groups)
    if query.format == "json":
        return json_answer(SurplusListOut(items=listed, bytes=sum(each.bytes for each in listed)))
    answer = Response(_as_csv(listed), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="duplicates.csv"'
    return answer


def _surplus_of(served: ServedGallery, groups: list[list[int]]) -> list[SurplusOut]:
    return [
        _describe_surplus(group, member)
        for start in range(0, len(groups), GROUPS_AT_ONCE)
        for group in describe_groups(served.gallery, groups[start : start + GROUPS_AT_ONCE])
        for member in group.members[1:]
    ]


def _describe_surplus(group: Group, member: Member) -> SurplusOut:
    kept = group.members[0].item
    return SurplusOut(
        id=str(member.item.id),
        path=printable(member.item.path),
        bytes=member.item.size,
        kept_id=str(kept.id),
        kept_path=printable(kept.path),
        kind=group.kind,
        score=round(member.score, 6),
        verdict=None if group.verdict == "different" else group.verdict,
    )


def _as_csv(listed: list[SurplusOut]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(SurplusOut.model_fields))
    writer.writeheader()
    writer.writerows(each.model_dump() for each in listed)
    return file.getvalue()


@analyses.post(
    "/galleries/<gallery>/duplicates",
    request_body=body_of(VerdictBody, files=(), bare=False, form=False),
    responses={
        200: VerdictOut,
        **responses("no_such_gallery", "no_such_item", *CHANGING),
    },
)
@needs("write")
def judge_duplicates(path: GalleryPath, query: NoParameters) -> Response:
    """Remember that pictures are the same, that they are not, or which to keep: by their bytes, wherever they go."""
    served = service().gallery(path.gallery)
    asked = read_request(VerdictBody, query).options
    ids, others = ([find_item(served, number).id for number in some] for some in (asked.ids, asked.instead_of))
    with served.gallery.changes() as changes:
        put_verdict(changes, served.gallery, ids, asked.verdict, instead_of=others)
    return json_answer(VerdictOut(ids=asked.ids, verdict=asked.verdict))


@analyses.post(
    "/galleries/<gallery>/duplicates/compute",
    request_body=body_of(DuplicatesBody, files=(), bare=False, form=False, required=False),
    responses={**ACCEPTED, **responses("no_such_gallery", "locked", "key_reused", "disk_full")},
)
@needs("write")
def compute_duplicates(path: GalleryPath, query: NoParameters) -> Response:
    """Look for pictures that are the same, as a job; then GET lists them."""
    served = service().gallery(path.gallery)
    asked = read_request(DuplicatesBody, query).options
    words = [] if asked.min_score is None else ["--min-score", f"{asked.min_score}"]
    return _as_job(served, "duplicates", ["duplicates", "--top", "0", *words])


@analyses.get(
    "/galleries/<gallery>/duplicates/difference",
    responses={
        200: pictures("image/webp", "image/png", described="black where they are the same"),
        **responses("no_such_gallery", "no_such_item", "file_missing", "file_changed", *DECODING),
    },
)
def show_difference(path: GalleryPath, query: DifferenceOptions) -> Response:
    """Paint where two items differ: black where they do not, brighter the more they do."""
    found = service()
    served = found.gallery(path.gallery)
    one, other = find_item(served, query.a), find_item(served, query.b)
    etag = f"{one.sha256[:16]}-{other.sha256[:16]}-{query.size}-{query.format}"
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    with stage("decode"):
        seen = [found.originals.pixels(original(served, item)) for item in (one, other)]
    apart = Image.fromarray(difference(*seen))
    apart.thumbnail((query.size, query.size))
    return cached(Response(encode(apart, query.format), mimetype=f"image/{query.format}"), etag, for_ever=False)


@analyses.get(
    "/galleries/<gallery>/map",
    responses={
        200: pictures("application/octet-stream", described="the map", or_json=MapOut),
        **NOT_CHANGED,
        **responses("no_such_gallery", "not_computed"),
    },
)
def show_map(path: GalleryPath, query: MapOptions) -> Response:
    """Give all items on a plane, those alike near each other, and their clusters."""
    served = service().gallery(path.gallery)
    etag = _etag(served, "map", repr((query.format, query.include, query.sample, state_of(served.gallery, "outliers"))))
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    with stage("fetch"), told_where(served, "/map"):
        drawn = read_map(served.gallery)
    if query.format == "columns":
        data = map_columns(served, drawn, find_clusters(served, drawn), query.include, query.sample)
        answer = Response(data, mimetype="application/octet-stream")
    elif query.format == "f32":
        rows = np.column_stack([drawn.points, drawn.clusters]).astype("<f4")
        answer = Response(drawn.ids.astype("<i8").tobytes() + rows.tobytes(), mimetype="application/octet-stream")
        answer.headers["X-Count"] = str(len(drawn.ids))
    else:
        answer = json_answer(_map_out(served, drawn))
    return cached(answer, etag, for_ever=False)


def _map_out(served: ServedGallery, drawn: Map) -> MapOut:
    places = zip(drawn.ids.tolist(), drawn.points.tolist(), drawn.clusters.tolist(), strict=True)
    return MapOut(
        method=drawn.method,
        clustering=drawn.clustering,
        computed_at=drawn.computed_at,
        stale=drawn.is_stale,
        points=[
            PointOut(id=str(number), x=round(x, 5), y=round(y, 5), cluster=cluster)
            for number, (x, y), cluster in places
        ],
        clusters=find_clusters(served, drawn),
    )


def find_clusters(served: ServedGallery, drawn: Map) -> list[ClusterOut]:
    """The clusters of a map, as the API and the page show them."""
    counts = np.bincount(drawn.clusters, minlength=len(drawn.medoids)).tolist()
    address = f"{gallery_address(served.name)}/map/prototypes/"
    version = _prototypes_version(served)
    return [
        ClusterOut(
            cluster=cluster,
            count=counts[cluster],
            medoid=str(medoid),
            prototype=f"{address}{cluster}?v={version}" if len(drawn.prototypes) else None,
        )
        for cluster, medoid in enumerate(drawn.medoids.tolist())
    ]


@analyses.post(
    "/galleries/<gallery>/map",
    request_body=body_of(MapBody, files=(), bare=False, form=False, required=False),
    responses={200: MapMadeOut, **ACCEPTED, **responses("no_such_gallery", "locked", "key_reused", "disk_full")},
)
@needs("write")
def draw_map(path: GalleryPath, query: NoParameters) -> Response:
    """Lay all items out anew: by PCA at once in a gallery of at most `limits.map_at_once` items, else as a job."""
    served = service().gallery(path.gallery)
    asked = read_request(MapBody, query).options
    if asked.method == "umap" and not can_draw_by_umap():
        raise InvalidRequest("method: UMAP is not installed on the server (pip install 'lookalike[map]'): take pca.")
    if asked.method == "pca" and served.engine.count <= limits.MAP_AT_ONCE:
        with stage("search"):
            drawn = compute_map(served.gallery, served.engine.decoder, clusters=asked.clusters, seed=asked.seed)
        return json_answer(
            MapMadeOut(
                method=drawn.method,
                computed_at=drawn.computed_at,
                items=len(drawn.ids),
                clusters=len(drawn.medoids),
            )
        )
    words = ["--method", asked.method, "--seed", f"{asked.seed}"]
    words += [] if asked.clusters is None else ["--clusters", f"{asked.clusters}"]
    return _as_job(served, "map", ["map", *words, "--provider", served.engine.encoder.asked])


@analyses.get(
    "/galleries/<gallery>/map/prototypes/<int:cluster>",
    responses={
        200: pictures("image/webp", described="what the decoder paints of the cluster's mean code"),
        **NOT_CHANGED,
        **responses("no_such_gallery", "not_computed"),
    },
)
def show_prototype(path: ClusterPath) -> Response:
    """Paint a cluster of the map: the mean of its codes."""
    found = service()
    served = found.gallery(path.gallery)
    version = _prototypes_version(served)
    etag = f"{version}-{path.cluster}"
    if etag in request.if_none_match:
        return cached(Response(status=304), etag, for_ever=False)
    data = found.frames.get(etag)
    if data is None:
        with told_where(served, "/map"):
            prototypes = read_map(served.gallery).prototypes
        if path.cluster >= len(prototypes):
            raise NotComputedError(f"the map has {len(prototypes)} prototypes: there is no {path.cluster} among them.")
        # A page shows all of them, and the map is large: it is read once.
        for cluster, image in enumerate(prototypes):
            painted = encode(Image.fromarray(image), "webp")
            found.frames.put(f"{version}-{cluster}", painted)
            data = painted if cluster == path.cluster else data
    answer = Response(data, mimetype="image/webp")
    return cached(answer, etag, for_ever=request.args.get("v") == version)


def _prototypes_version(served: ServedGallery) -> str:
    """What the address of a map's prototypes ends with: it changes with the map, so they may be kept for ever."""
    return hashlib.sha256(f"{served.name}\n{state_of(served.gallery, 'map')}".encode()).hexdigest()[:16]


@analyses.get(
    "/galleries/<gallery>/anomalies",
    responses={200: AnomaliesOut, **responses("no_such_gallery", "not_computed", "no_decoder")},
)
def list_anomalies(path: GalleryPath, query: ListAnomalies) -> Response:
    """List items by how unusual they are: badly painted, or far from their neighbours."""
    return json_answer(find_anomalies(service().gallery(path.gallery), query))


def find_anomalies(served: ServedGallery, query: ListAnomalies) -> AnomaliesOut:
    """One page of the ranking, as the API and the page show it."""
    with stage("fetch"), told_where(served, "/anomalies"):
        ranked = ranked_outliers(served.gallery, query.by, served.engine.bundle)
        first, total = query.cursor or 0, len(ranked.ids)
        ids = ranked.ids[first : first + query.limit].tolist()
        values = ranked.values[first : first + query.limit].tolist()
        items = {item.id: item for item in served.gallery.items_by_id(ids)}
    listed = [
        AnomalyOut(
            rank=rank,
            value=value,
            percentile=round(100 * (total - rank) / total, 3),
            unusual=None if ranked.threshold is None else value > ranked.threshold,
            item=describe_item(served, items[number]),
        )
        for rank, (number, value) in enumerate(zip(ids, values, strict=True), first + 1)
        if number in items
    ]
    after = first + query.limit
    return AnomaliesOut(
        by=query.by,
        stale=ranked.is_stale,
        total=total,
        items=listed,
        next_cursor=str(after) if after < total else None,
    )


@analyses.post(
    "/galleries/<gallery>/anomalies", responses={**ACCEPTED, **responses("no_such_gallery", "key_reused", "disk_full")}
)
@needs("write")
def compute_anomalies(path: GalleryPath, query: NoParameters) -> Response:
    """Measure how unusual all items are, as a job; then GET ranks them."""
    served = service().gallery(path.gallery)
    words = ["outliers", "--top", "0", "--provider", served.engine.encoder.asked]
    return _as_job(served, "outliers", words)


def _as_job(served: ServedGallery, kind: Kind, words: list[str]) -> Response:
    folder = str(served.gallery.folder.resolve())
    return accepted(submit(service(), kind, ["index_data", *words], served.name, folder))


@contextmanager
def told_where(served: ServedGallery, place: str) -> Iterator[None]:
    """Let what was not computed yet name the request that computes it, and not only the command."""
    try:
        yield
    except NotComputedError as error:
        detail = f"{error.detail.removesuffix('.')}, or ask for it: POST {gallery_address(served.name)}{place}."
        raise NotComputedError(detail) from error


def _etag(served: ServedGallery, what: str, form: str) -> str:
    state = repr((state_of(served.gallery, what), served.gallery.seq, form))
    return hashlib.sha256(state.encode()).hexdigest()[:32]
