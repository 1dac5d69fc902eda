"""Jobs: long work that was asked for, its progress, its end."""

import importlib.util
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from flask import Response, request, stream_with_context
from flask_openapi import APIBlueprint, Tag

from search_server.access import caller, needs
from search_server.api.answers import PREFIX, gallery_address, json_answer
from search_server.api.documents import body_of
from search_server.api.job_schemas import JobBody, JobOut, JobPath, JobsOut, ListJobs
from search_server.api.schemas import NoParameters
from search_server.incoming import read_request
from search_server.jobs import ENDED, Job, Kind
from search_server.problems import InvalidRequest, responses
from search_server.service import Service, service
from train.decoding import BusyError
from train.errors import UserError
from train.image_cache import MIN_IMAGES
from train.recipe_files import DEFAULT_RECIPE, preset_names

jobs = APIBlueprint("jobs", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="jobs")])

EVENT_SECONDS = 0.5  # between two looks at a job that somebody watches
STREAM_SECONDS = 300  # of one stream; a client then connects again and misses nothing
LONGEST_KEY = 200  # characters of an idempotency key
_HEARTBEATS = 10  # looks without news between two signs of life, which also find out who has left

# What a job of a gallery makes, below the gallery's address, where it is not the gallery itself.
_RESULTS: dict[Kind, str] = {"duplicates": "/duplicates", "outliers": "/anomalies", "map": "/map"}

ACCEPTED = {202: JobOut, **responses("locked", "key_reused", "disk_full")}


@jobs.get("/jobs", responses={200: JobsOut, **responses()})
@needs("write")
def list_jobs(query: ListJobs) -> Response:
    """List jobs, the newest first."""
    return json_answer(list_newest(query))


def list_newest(query: ListJobs) -> JobsOut:
    """A page of jobs, the newest first."""
    found = service().jobs.table.newest(state=query.state, before=query.cursor, limit=query.limit)
    more = found[-1].id if len(found) == query.limit else None
    return JobsOut(jobs=[describe_job(job) for job in found], next_cursor=more)


@jobs.post("/jobs", request_body=body_of(JobBody, files=(), bare=False, form=False), responses=ACCEPTED)
@needs("admin")
def start_job(query: NoParameters) -> Response:
    """Train on a folder or a gallery, or export a run; what changes a gallery stands below it."""
    found = service()
    asked = read_request(JobBody, query).options
    if asked.kind == "export":
        beside = asked.model_dump(exclude={"kind", "name"}, exclude_defaults=True)
        if beside:
            raise InvalidRequest(f"{', '.join(beside)}: for training only, leave them out.")
        return accepted(submit(found, "export", ["export", "--name", asked.name], None, asked.name))
    return accepted(_train(found, asked))


def _train(found: Service, asked: JobBody) -> Job:
    """Put a training into the queue, with what is to follow it.

    Raises:
        InvalidRequest: It could not begin, or would write over a model that is there.
    """
    if not can_train():
        raise InvalidRequest("kind: training is not installed on the server (pip install 'lookalike[train]').")
    if (asked.folder is None) == (asked.gallery is None):
        raise InvalidRequest("folder, gallery: give one of them.")
    if asked.adopt and (asked.gallery is None or not asked.export):
        raise InvalidRequest("adopt: it takes a gallery, and export.")
    if asked.export and asked.name in found.workspace.names("models"):
        raise InvalidRequest(f"name: there is a model {asked.name} already: choose another name.")
    _expect_recipe(asked)
    given = {"--minutes": asked.minutes, "--recipe": asked.recipe, "--preset": asked.preset}
    given |= {"--invariance": asked.invariance}
    options = ["--name", asked.name, *(f"{word}" for pair in given.items() if pair[1] is not None for word in pair)]
    served, learns_from = None, asked.folder or ""
    if asked.gallery is None:
        if not Path(learns_from).is_absolute() or not Path(learns_from).is_dir():
            raise InvalidRequest("folder: give the whole path of a folder of pictures on the server's machine.")
        words = ["train", *options]
    else:
        served = found.gallery(asked.gallery)
        if served.gallery.count < MIN_IMAGES:
            raise InvalidRequest(
                f"gallery: {served.name} has {served.gallery.count} pictures, and training needs at least "
                f"{MIN_IMAGES}: add more, or keep the model that it has."
            )
        learns_from = str(served.gallery.folder.resolve())
        words = ["index_data", "train", *options]
    then = [command_words(found, ["export", "--name", asked.name], asked.name)] if asked.export else []
    if asked.adopt:
        then.append(command_words(found, ["index_data", "build", "--model", asked.name], learns_from))
    return submit(found, "train", words, served.name if served else None, learns_from, then=then)


def can_train() -> bool:
    """Whether what training takes is installed; looked for, not loaded."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "onnx"))


def _expect_recipe(asked: JobBody) -> None:
    """Refuse a recipe or a preset that there is not, before the job would."""
    try:
        presets = preset_names(asked.recipe or DEFAULT_RECIPE)
    except UserError as error:
        raise InvalidRequest(f"recipe: {error.detail}") from error
    if asked.preset is not None and asked.preset not in presets:
        raise InvalidRequest(f"preset: this recipe has {', '.join(presets) or 'none'}.")


@jobs.get("/jobs/<int:id>", responses={200: JobOut, **responses("no_such_job")})
@needs("write")
def show_job(path: JobPath) -> Response:
    """Show one job, with the end of its log."""
    table = service().jobs.table
    job = table.get(path.id)
    return json_answer(describe_job(job, log_tail=table.log_tail(job.id)))


_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "for `Last-Event-ID`"},
        "event": {"type": "string", "enum": ["progress", "end"]},
        "data": {"type": "string", "description": "the job as JSON, as GET gives it"},
        "retry": {"type": "integer", "description": "milliseconds"},
    },
}


@jobs.get(
    "/jobs/<int:id>/events",
    responses={
        200: {
            "description": "server-sent events: `progress` and `end`, each with the job; `Last-Event-ID` goes on",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        },
        **responses("no_such_job"),
    },
)
@needs("write")
def job_events(path: JobPath) -> Response:
    """Watch a job and its log: an event for each change until it ends; asking for the job now and then works too."""
    found = service()
    job = found.jobs.table.get(path.id)
    given = request.headers.get("Last-Event-ID", "")
    seen = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
    if not found.watchers.acquire(blocking=False):
        raise BusyError("as many jobs are watched as can be: ask for the job now and then instead.")
    events = _events(found, job.id, seen)
    answer = Response(stream_with_context(events), mimetype="text/event-stream")
    answer.call_on_close(found.watchers.release)
    answer.headers["X-Accel-Buffering"] = "no"  # a proxy hands events on as they come
    return answer


@jobs.post("/jobs/<int:id>/cancel", responses={202: JobOut, **responses("no_such_job", "job_state")})
@needs("admin")
def cancel_job(path: JobPath) -> Response:
    """Ask a job to end; what it has done is kept."""
    return accepted(service().jobs.cancel(path.id))


@jobs.post("/jobs/<int:id>/resume", responses={202: JobOut, **responses("no_such_job", "job_state")})
@needs("admin")
def resume_job(path: JobPath) -> Response:
    """Let a job that failed or was stopped go on where it was."""
    return accepted(service().jobs.resume(path.id))


def submit(
    found: Service,
    kind: Kind,
    words: list[str],
    gallery: str | None,
    *arguments: str,
    then: Sequence[Sequence[str]] = (),
) -> Job:
    """Put a command into the queue.

    Args:
        found: The service.
        kind: Of the job.
        words: Module and options of the command.
        gallery: That it is about.
        arguments: Names and folders; whatever they begin with, none is taken for an option.
        then: Further commands, each as `command_words` gives it.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise InvalidRequest(f"Idempotency-Key: send 1 to {LONGEST_KEY} printable characters.")
    return found.jobs.submit(kind, command_words(found, words, *arguments), gallery, key, then=then)


def command_words(found: Service, words: Sequence[str], *arguments: str) -> list[str]:
    """A command of a job: module, options, those that every job has, and the arguments behind all options."""
    home = str(found.workspace.home.resolve())
    return [*words, "--home", home, "--progress", "json", "--json", "--", *arguments]


def accepted(job: Job) -> Response:
    """The answer to what became a job."""
    answer = json_answer(describe_job(job), 202)
    answer.headers["Location"] = job_address(job.id)
    return answer


def job_address(job_id: int) -> str:
    """The path of a job."""
    return f"{request.script_root}{PREFIX}/jobs/{job_id}"


def describe_job(job: Job, *, log_tail: list[str] | None = None) -> JobOut:
    """A job; what may name folders of the machine only for admins."""
    admin = caller().may("admin")
    result = job.result
    if result is not None and not admin:
        result = {name: value for name, value in result.items() if isinstance(value, int | float)}
    return JobOut(
        id=job.id,
        kind=job.kind,
        gallery=job.gallery,
        model=_model_of(job),
        state=job.state,
        done=job.done,
        total=job.total,
        unit=job.unit,
        rate=job.rate,
        eta_s=job.seconds_left,
        message=job.message if admin else None,
        warnings=list(job.warnings) if admin else [],
        result=result,
        result_url=_result_of(job),
        exit_code=job.exit_code,
        log_tail=log_tail if admin and log_tail is not None else [],
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


def _model_of(job: Job) -> str | None:
    """The name of the model that a job is about."""
    option = {"train": "--name", "export": "--name", "model": "--model"}.get(job.kind)
    words = job.steps[0]
    return words[words.index(option) + 1] if option in words else None


def _result_of(job: Job) -> str | None:
    """The address of what a job makes or changes."""
    model = _model_of(job)
    if job.kind == "export" or (job.kind == "train" and any(step[0] == "export" for step in job.steps)):
        return f"{request.script_root}{PREFIX}/models/{model}"
    if job.kind == "train":
        return f"{request.script_root}{PREFIX}/runs/{model}"
    return gallery_address(job.gallery) + _RESULTS.get(job.kind, "") if job.gallery is not None else None


def _events(found: Service, job_id: int, seen: int) -> Iterator[str]:
    deadline = time.monotonic() + STREAM_SECONDS
    silent = 0
    yield "retry: 1000\n\n"
    while time.monotonic() < deadline and not found.closing.is_set():
        job = found.jobs.table.get(job_id)
        ended = job.state in ENDED
        if job.version > seen or ended:
            seen, silent = job.version, 0
            described = describe_job(job, log_tail=found.jobs.table.log_tail(job.id))
            data = json.dumps(described.model_dump(mode="json"))
            yield f"id: {job.version}\nevent: {'end' if ended else 'progress'}\ndata: {data}\n\n"
        if ended:
            return
        silent += 1
        if silent % _HEARTBEATS == 0:
            yield ": still there\n\n"
        found.closing.wait(EVENT_SECONDS)
