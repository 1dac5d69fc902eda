"""The whole API against its own document: no input brings an error of ours, an undeclared status or another shape."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from index_data.engine import Engine
from search_server.app import create_app
from search_server.jobs import Job, JobTable, now
from search_server.service import EXTENSION
from train.workspace import Workspace

DOCUMENT = "/api/v1/openapi.json"
EXAMPLES, MANY_EXAMPLES = 8, 150  # of each operation

# What is allowed by its schema may still be refused: a base64 that is no picture, an id that is not there.
WITHOUT = (positive_data_acceptance,)

# These would leave nothing to ask about.
TAKES_AWAY = {("DELETE", "/api/v1/galleries/{gallery}"), ("PATCH", "/api/v1/galleries/{gallery}")}

# The events of a job that waits go on until it has ended.
NEVER_ENDS = ("GET", "/api/v1/jobs/{id}/events")


# Werkzeug leaves the part of a form that it was reading to the garbage collector when the form has too many parts.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def contract(drawn_gallery, tmp_path_factory) -> Iterator[schemathesis.BaseSchema]:
    """The document of an application whose gallery may be changed."""
    home = tmp_path_factory.mktemp("contract")
    folder = home / "galleries" / "drawn"
    shutil.copytree(drawn_gallery, folder)
    engine = Engine.open(folder, provider="cpu", threads=1)
    with jobs_that_wait(JobTable(home)) as ended:
        app = create_app({"drawn": engine}, workspace=Workspace(home))
        schema = schemathesis.openapi.from_wsgi(DOCUMENT, app)

        @schema.hook("map_path_parameters")
        def to_what_is_there(context, path_parameters):
            operation = (context.operation.method.upper(), context.operation.path)
            if path_parameters and "gallery" in path_parameters and operation not in TAKES_AWAY:
                path_parameters["gallery"] = "drawn"
            if operation == NEVER_ENDS and str(path_parameters["id"]).isdecimal():
                path_parameters["id"] = str(ended.id)
            return path_parameters

        yield schema
        service = app.extensions[EXTENSION]
        service.close()
        for served in service.galleries:
            served.engine.close()


@contextlib.contextmanager
def jobs_that_wait(table: JobTable) -> Iterator[Job]:
    """A queue whose only place is taken, so that whatever is put into it starts no process; gives a job that ended."""
    ended, _ = table.add("scan", ["drawn"], "drawn")
    table.change(ended.id, state="done", ended_at=now(), exit_code=0)
    running, _ = table.add("scan", ["drawn"], "drawn")
    with table.lock_file(running.id).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table.change(running.id, state="running", started_at=now())
        yield table.get(ended.id)


def operations() -> list[tuple[str, str]]:
    document = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text())
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


def check(schema: schemathesis.BaseSchema, method: str, path: str, examples: int, *, derandomize: bool) -> None:
    operation = schema[path][method]
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
        if mode is schemathesis.GenerationMode.NEGATIVE and not _can_be_wrong(schema, method, path):
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=derandomize,
            database=None,
        )
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(
                headers={"Accept-Encoding": "identity"}
            )  # the application is asked in process: nobody unpacks
            # A form of too many parts is refused as too large (413), which is a refusal, though not one that is
            # expected.
            without = (*WITHOUT, negative_data_rejection) if answer.status_code == 413 else WITHOUT
            case.validate_response(answer, excluded_checks=without)

        ask()


def _can_be_wrong(schema: schemathesis.BaseSchema, method: str, path: str) -> bool:
    """Whether there is anything to send that could be wrong; a path of plain text cannot be."""
    described = schema.raw_schema["paths"][path][method.lower()]
    typed = [one for one in described.get("parameters", []) if one["in"] == "query"]
    return bool(typed or "requestBody" in described)


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_answer_is_one_that_the_document_declares(contract, method, path):
    check(contract, method, path, EXAMPLES, derandomize=True)


@pytest.mark.full
@pytest.mark.parametrize(("method", "path"), operations())
def test_every_answer_is_one_that_the_document_declares_whatever_is_asked(contract, method, path):
    check(contract, method, path, MANY_EXAMPLES, derandomize=False)
