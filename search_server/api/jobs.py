"""Jobs: long work that was asked for, its progress, its end."""

import json
import time
from collections.abc import Iterator
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
    """Train on a folder of the server's machine, or export a run; what belongs to a gallery stands below it."""
    found = service()
    asked = read_request(JobBody, query).options
    words = ["train"] if asked.kind == "train" else ["export"]
    if asked.kind == "train":
        if asked.folder is None or not Path(asked.folder).is_absolute():
            raise InvalidRequest("folder: give the whole path of a folder of pictures on the server's machine.")
        words += ["--name", asked.name]
        words += ["--minutes", f"{asked.minutes:g}"] if asked.minutes is not None else []
        words += ["--recipe", asked.recipe] if asked.recipe is not None else []
        last = asked.folder
    else:
        if asked.folder is not None or asked.minutes is not None or asked.recipe is not None:
            raise InvalidRequest("folder, minutes and recipe are for training: leave them out.")
        words += ["--name", asked.name]
        last = asked.name
    return accepted(submit(found, asked.kind, words, None, last))


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


def submit(found: Service, kind: Kind, words: list[str], gallery: str | None, *arguments: str) -> Job:
    """Put a command into the queue.

    Args:
        found: The service.
        kind: Of the job.
        words: Module and options of the command.
        gallery: That it is about.
        arguments: Names and folders; whatever they begin with, none is taken for an option.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise InvalidRequest(f"Idempotency-Key: send 1 to {LONGEST_KEY} printable characters.")
    home = str(found.workspace.home.resolve())
    options = ["--home", home, "--progress", "json", "--json", "--", *arguments]
    return found.jobs.submit(kind, [*words, *options], gallery, key)


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
        state=job.state,
        done=job.done,
        total=job.total,
        unit=job.unit,
        rate=job.rate,
        eta_s=job.seconds_left,
        message=job.message if admin else None,
        warnings=list(job.warnings) if admin else [],
        result=result,
        result_url=gallery_address(job.gallery) + _RESULTS.get(job.kind, "") if job.gallery is not None else None,
        exit_code=job.exit_code,
        log_tail=log_tail if admin and log_tail is not None else [],
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


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
