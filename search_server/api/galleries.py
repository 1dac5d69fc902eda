"""Galleries as a whole: made, renamed, deleted, scanned; their indexes, failures and numbers."""

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path

from flask import Response, request
from flask_openapi import APIBlueprint, Tag

from export.bundle import Bundle
from export.choice import choose_model
from index_data.calibration import Scale, Spread
from index_data.folders import narrowed, places_of_roots, plan_places
from index_data.gallery import Failure, Gallery
from index_data.generations import build_generation, current_name, read_manifest, roll_back, stored_names
from search_server.access import needs
from search_server.api.answers import PREFIX, describe_gallery, gallery_address, json_answer
from search_server.api.documents import NOT_CHANGED, body_of
from search_server.api.gallery_schemas import (
    DeleteGallery,
    DeletionOut,
    DriftOut,
    FailureOut,
    FailuresOut,
    GalleryBody,
    GalleryMadeOut,
    GalleryPatch,
    IndexBody,
    IndexBuildOut,
    IndexChoice,
    IndexesOut,
    ListFailures,
    ModelChoice,
    PathsOut,
    PlanOut,
    ScanBody,
    ScoresOut,
    SpreadOut,
    StatsOut,
)
from search_server.api.jobs import ACCEPTED, accepted, describe_job, submit
from search_server.api.preconditions import expect_unchanged
from search_server.api.schemas import GalleryOut, GalleryPath, NoParameters
from search_server.galleries import ServedGallery
from search_server.incoming import read_request
from search_server.jobs import Job
from search_server.problems import REMEDIES, InvalidRequest, responses
from search_server.service import Service, service
from search_server.uploads import uploads_folder
from train.errors import PROBLEMS, DamagedError, IncompatibleError, UserError
from train.files import disk_errors, locked
from train.printable import printable

galleries = APIBlueprint("galleries", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="galleries")])


class GalleryExistsError(UserError):
    """A gallery has this name already."""

    code = "gallery_exists"


@galleries.post(
    "/galleries",
    request_body=body_of(GalleryBody, files=(), bare=False, form=False),
    responses={
        201: GalleryMadeOut,
        **responses("gallery_exists", "empty", "fingerprint_mismatch", "damaged", "disk_full"),
    },
)
@needs("admin")
def make_gallery(query: NoParameters) -> Response:
    """Make a gallery in the workspace and serve it; folders of the server's machine are indexed as jobs."""
    found = service()
    asked = read_request(GalleryBody, query).options
    roots = [Path(root) for root in asked.roots]
    for root in roots:
        if not root.is_absolute() or not root.is_dir():
            raise InvalidRequest(f"roots: there is no folder {printable(str(root))[:200]} on the server's machine.")
    bundle = choose_model(found.workspace, asked.model)
    folder = found.workspace.place("galleries", asked.name)
    if folder.exists() or found.galleries.has(asked.name):
        raise GalleryExistsError(f"there is a gallery {asked.name!r} already: choose another name, or use that one.")
    with Gallery.create(folder, bundle) as gallery, locked(folder, "new gallery"):
        build_generation(gallery)
    found.serve(asked.name, folder)
    jobs = [_add_folder(found, asked.name, folder, root, bundle) for root in roots]
    served = found.gallery(asked.name)
    answer = GalleryMadeOut(gallery=describe_gallery(served), jobs=[describe_job(job) for job in jobs])
    response = json_answer(answer, 201)
    response.headers["Location"] = gallery_address(asked.name)
    return response


@galleries.patch(
    "/galleries/<gallery>",
    request_body=body_of(GalleryPatch, files=(), bare=False, form=False),
    responses={
        200: GalleryOut,
        **responses("no_such_gallery", "gallery_exists", "precondition_failed", "locked", "disk_full"),
    },
)
@needs("admin")
def rename_gallery(path: GalleryPath, query: NoParameters) -> Response:
    """Give a gallery of the workspace another name."""
    found = service()
    asked = read_request(GalleryPatch, query).options
    served = found.gallery(path.gallery)
    expect_unchanged(gallery_etag(served))
    before = _own_folder(found, served)
    after = found.workspace.place("galleries", asked.name)
    if asked.name != path.gallery and (after.exists() or found.galleries.has(asked.name)):
        raise GalleryExistsError(f"there is a gallery {asked.name!r} already: choose another name.")
    if asked.name != path.gallery:
        old_uploads = uploads_folder(served.gallery)
        with locked(before, "rename"), disk_errors(after):
            before.rename(after)
        found.galleries.remove(path.gallery)
        found.serve(asked.name, after)
        _move_uploads(found.gallery(asked.name).gallery, old_uploads)
    return _shown(found.gallery(asked.name))


@galleries.delete(
    "/galleries/<gallery>",
    responses={
        200: DeletionOut,
        204: {"description": "it is gone"},
        **responses("no_such_gallery", "not_empty", "precondition_failed", "locked", "disk_full"),
    },
)
@needs("admin")
def delete_gallery(path: GalleryPath, query: DeleteGallery) -> Response:
    """Delete a gallery of the workspace: items, index, thumbnails; never a file of its folders."""
    found = service()
    served = found.gallery(path.gallery)
    expect_unchanged(gallery_etag(served))
    folder = _own_folder(found, served)
    uploads = uploads_folder(served.gallery)
    kept = sum(1 for file in uploads.rglob("*") if file.is_file())
    if query.dry_run:
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return json_answer(DeletionOut(items=served.gallery.count, uploads=kept, bytes=size))
    if kept and not query.uploads:
        raise UserError(
            f"{kept} pictures were uploaded into {path.gallery} and stand nowhere else: say uploads=true to delete "
            "them too.",
            code="not_empty",
        )
    gone = folder.with_name(f".{folder.name}.deleted")
    with locked(folder, "delete"), disk_errors(folder):
        shutil.rmtree(gone, ignore_errors=True)  # of a deletion that was killed
        folder.rename(gone)
    found.galleries.remove(path.gallery)
    shutil.rmtree(gone, ignore_errors=True)
    return Response(status=204)


@galleries.get("/galleries/<gallery>/paths", responses={200: PathsOut, **responses("no_such_gallery")})
@needs("admin")
def show_paths(path: GalleryPath) -> Response:
    """Say where a gallery, its model and its folders are on the server's machine: no other answer does."""
    gallery = service().gallery(path.gallery).gallery
    roots = [printable(str(root)) for root in gallery.roots().values()]
    return json_answer(
        PathsOut(
            folder=printable(str(gallery.folder.resolve())),
            model_folder=printable(str(gallery.bundle_folder)),
            roots=roots,
        )
    )


@galleries.post(
    "/galleries/<gallery>/scan",
    request_body=body_of(ScanBody, files=(), bare=False, form=False, required=False),
    responses={200: PlanOut, **ACCEPTED, **responses("no_such_gallery", "empty", "locked", "key_reused", "disk_full")},
)
@needs("write")
def scan_gallery(path: GalleryPath, query: NoParameters) -> Response:
    """Look again at all folders of a gallery: as a job, or only say what it would do."""
    found = service()
    served = found.gallery(path.gallery)
    asked = read_request(ScanBody, query).options
    paths = [_below_the_folders(path) for path in asked.paths]
    there, not_there = places_of_roots(served.gallery) if paths or asked.dry_run else ([], [])
    if paths:
        there = narrowed(served.gallery, there, paths)
    if asked.dry_run:
        plan = plan_places(served.gallery, there, not_there, missing=asked.remove_missing, retry=asked.retry)
        return json_answer(
            PlanOut(
                new=plan.new,
                changed=plan.changed,
                unchanged=plan.unchanged,
                missing=plan.missing,
                folders_not_there=len(plan.folders_not_there),
            )
        )
    chosen = {"--retry": asked.retry, "--keep-missing": not asked.remove_missing}
    words = ["index_data", "scan", *(option for option, wanted in chosen.items() if wanted)]
    folder = str(served.gallery.folder.resolve())
    return accepted(submit(found, "scan", words, served.name, folder, *map(str, paths)))


def _below_the_folders(text: str) -> Path:
    """A path as a request may give it: below the gallery's folders, wherever they are.

    Raises:
        InvalidRequest: It leads elsewhere, or is none.
    """
    path = Path(text)
    if "\0" in text or path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"paths: {printable(text)[:200]!r} is no path below the gallery's folders.")
    return path


@galleries.get("/galleries/<gallery>/indexes", responses={200: IndexesOut, **responses("no_such_gallery")})
def list_indexes(path: GalleryPath) -> Response:
    """List the generations of the index that are on disk."""
    return _listed(service().gallery(path.gallery).gallery)


def _listed(gallery: Gallery) -> Response:
    current = current_name(gallery)
    return json_answer(
        IndexesOut(indexes=[_describe_generation(gallery, name, current) for name in stored_names(gallery)])
    )


@galleries.post(
    "/galleries/<gallery>/indexes",
    request_body=body_of(IndexBody, files=(), bare=False, form=False, required=False),
    responses={**ACCEPTED, **responses("no_such_gallery", "key_reused")},
)
@needs("admin")
def build_index(path: GalleryPath, query: NoParameters) -> Response:
    """Build the index anew, aside, and let it answer when it is proved: as a job."""
    found = service()
    served = found.gallery(path.gallery)
    asked = read_request(IndexBody, query).options
    aims = {
        "--kind": asked.kind,
        "--memory": None if asked.memory_mb is None else f"{asked.memory_mb}M",
        "--recall": asked.target_recall,
        "--latency": asked.latency_ms,
    }
    words = [word for name, value in aims.items() if value is not None for word in (name, f"{value}")]
    folder = str(served.gallery.folder.resolve())
    return accepted(submit(found, "build", ["index_data", "build", *words], served.name, folder))


@galleries.put(
    "/galleries/<gallery>/indexes/current",
    request_body=body_of(IndexChoice, files=(), bare=False, form=False),
    responses={200: IndexesOut, **responses("no_such_gallery", "empty", "damaged", "fingerprint_mismatch", "locked")},
)
@needs("admin")
def choose_index(path: GalleryPath, query: NoParameters) -> Response:
    """Let another generation of the index answer; what changed since it was built is found all the same."""
    served = service().gallery(path.gallery)
    with locked(served.gallery.folder, "index rollback"):
        roll_back(served.gallery, read_request(IndexChoice, query).options.version)
    served.engine.refresh()
    return _listed(served.gallery)


@galleries.put(
    "/galleries/<gallery>/model",
    request_body=body_of(ModelChoice, files=(), bare=False, form=False),
    responses={**ACCEPTED, **responses("no_such_gallery", "empty", "damaged", "fingerprint_mismatch")},
)
@needs("admin")
def choose_model_of_gallery(path: GalleryPath, query: NoParameters) -> Response:
    """Give a gallery another model, as a job: its pictures are embedded anew aside, the old one answers until then."""
    found = service()
    served = found.gallery(path.gallery)
    name = read_request(ModelChoice, query).options.model
    if choose_model(found.workspace, name).model_id == served.gallery.model_id:
        raise InvalidRequest(f"model: {served.name} has this model already.")
    words = ["index_data", "build", "--model", name]
    return accepted(submit(found, "model", words, served.name, str(served.gallery.folder.resolve())))


@galleries.get("/galleries/<gallery>/failures", responses={200: FailuresOut, **responses("no_such_gallery")})
def list_failures(path: GalleryPath, query: ListFailures) -> Response:
    """List the files that could not be used, and why."""
    return json_answer(find_failures(service().gallery(path.gallery), query))


def find_failures(served: ServedGallery, query: ListFailures) -> FailuresOut:
    """One page of failures, as the API and the page show them."""
    failures = served.gallery.failures(after=query.cursor, limit=query.limit)
    more = failures[-1].id if len(failures) == query.limit else None
    return FailuresOut(failures=[_describe_failure(one) for one in failures], next_cursor=more)


@galleries.get("/galleries/<gallery>/stats", responses={200: StatsOut, **responses("no_such_gallery")})
def show_stats(path: GalleryPath) -> Response:
    """Count what a gallery holds; say what its scores are like, and whether it is drifting."""
    served = service().gallery(path.gallery)
    gallery = served.gallery
    current = _describe_generation(gallery, current_name(gallery) or "", None)
    return json_answer(
        StatsOut(
            items=gallery.count,
            failures=gallery.failure_count,
            failures_by_code=gallery.failures_by_code(),
            changes=gallery.seq,
            index_bytes=current.bytes or 0,
            index_recall=current.recall,
            database_bytes=gallery.database.stat().st_size,
            generations=len(stored_names(gallery)),
            scores=_describe_scores(served.engine.calibration.as_indexed),
            drift=DriftOut(**asdict(served.engine.drift())),
        )
    )


def _describe_scores(scale: Scale) -> ScoresOut:
    return ScoresOut(
        nearest=_describe_spread(scale.spread("nearest")),
        random=_describe_spread(scale.spread("random")),
        labels={label: round(least, 4) for least, label in scale.thresholds},
    )


def _describe_spread(spread: Spread | None) -> SpreadOut | None:
    if spread is None:
        return None
    quantiles = {str(share): round(score, 4) for share, score in spread.quantiles.items()}
    return SpreadOut(pairs=spread.pairs, quantiles=quantiles, histogram=list(spread.histogram))


@galleries.post("/galleries/<gallery>/reload", responses={200: GalleryOut, **responses("no_such_gallery", "damaged")})
@needs("admin")
def reload_gallery(path: GalleryPath) -> Response:
    """Open a gallery anew, as SIGHUP does; a change of its index is seen by itself."""
    found = service()
    served = found.gallery(path.gallery)
    found.serve(served.name, served.gallery.folder)
    return _shown(found.gallery(path.gallery))


def gallery_etag(served: ServedGallery) -> str:
    """What changes with everything that GET /galleries/{gallery} shows."""
    gallery, engine = served.gallery, served.engine
    state = (served.name, gallery.model_id, gallery.seq, engine.generation, engine.count, engine.encoder.provider)
    return hashlib.sha256(repr(state).encode()).hexdigest()[:32]


def _shown(served: ServedGallery) -> Response:
    answer = json_answer(describe_gallery(served))
    answer.set_etag(gallery_etag(served))
    return answer


@galleries.get(
    "/galleries/<gallery>",
    responses={200: GalleryOut, **NOT_CHANGED, **responses("no_such_gallery")},
)
def show_gallery(path: GalleryPath) -> Response:
    """Describe one gallery."""
    served = service().gallery(path.gallery)
    if gallery_etag(served) in request.if_none_match:
        answer = Response(status=304)
        answer.set_etag(gallery_etag(served))
        return answer
    return _shown(served)


def _add_folder(found: Service, name: str, folder: Path, root: Path, bundle: Bundle) -> Job:
    words = ["index_data", "add", "--model", str(bundle.folder.resolve())]
    return submit(found, "add", words, name, str(folder.resolve()), str(root))


def _own_folder(found: Service, served: ServedGallery) -> Path:
    """The folder of a gallery that stands in the workspace.

    Raises:
        InvalidRequest: It stands elsewhere, so it is not ours to move.
    """
    folder = served.gallery.folder
    if folder.resolve().parent != (found.workspace.home / "galleries").resolve():
        raise InvalidRequest(f"the gallery {served.name} does not stand in the server's workspace: move it by hand.")
    return folder


def _move_uploads(gallery: Gallery, before: Path) -> None:
    """Let the root of the uploads follow its folder."""
    number = next((number for number, root in gallery.roots().items() if root == before), None)
    if number is not None:
        with gallery.changes() as changes:
            changes.move_root(number, changes.root_id(uploads_folder(gallery)), b"")


def _describe_generation(gallery: Gallery, name: str, current: str | None) -> IndexBuildOut:
    try:
        manifest = read_manifest(gallery, name)
    except (DamagedError, IncompatibleError):
        return IndexBuildOut(version=name, current=name == current, kind=None, count=None, recall=None, bytes=None)
    size = sum(file.size for file in manifest.files.values())
    return IndexBuildOut(
        version=name,
        current=name == current,
        kind=manifest.kind,
        count=manifest.count,
        recall=manifest.recall,
        bytes=size,
    )


def _describe_failure(failure: Failure) -> FailureOut:
    # What the decoder said may name a folder: admins have `failures.jsonl`.
    return FailureOut(
        id=failure.id,
        path=printable(failure.path),
        code=failure.code,
        title=PROBLEMS[failure.code].title if failure.code in PROBLEMS else failure.code,
        remedy=REMEDIES.get(failure.code, ""),
        seen_at=failure.seen_at,
    )
