"""The whole API against its own document: no input brings an error of ours, an undeclared status or another shape."""

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
from search_server.service import EXTENSION
from train.workspace import Workspace

DOCUMENT = "/api/v1/openapi.json"
EXAMPLES, MANY_EXAMPLES = 8, 150  # of each operation

# What is allowed by its schema may still be refused: a base64 that is no picture, an id that is not there.
WITHOUT = (positive_data_acceptance,)

# Each starts a process; tests/search_server/test_changes.py asks them.
STARTS_A_JOB = {("POST", "/api/v1/jobs"), ("POST", "/api/v1/galleries/{gallery}/scan")} | {
    ("POST", "/api/v1/galleries/{gallery}/indexes"),
    ("POST", "/api/v1/galleries"),
    ("POST", "/api/v1/galleries/{gallery}/duplicates/compute"),
    ("POST", "/api/v1/galleries/{gallery}/anomalies"),
    ("POST", "/api/v1/galleries/{gallery}/map"),
}
# These would leave nothing to ask about.
TAKES_AWAY = {("DELETE", "/api/v1/galleries/{gallery}"), ("PATCH", "/api/v1/galleries/{gallery}")}


# Werkzeug leaves the part of a form that it was reading to the garbage collector when the form has too many parts.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def contract(drawn_gallery, tmp_path_factory) -> Iterator[schemathesis.BaseSchema]:
    """The document of an application whose gallery may be changed."""
    home = tmp_path_factory.mktemp("contract")
    folder = home / "galleries" / "drawn"
    shutil.copytree(drawn_gallery, folder)
    with Engine.open(folder, provider="cpu", threads=1) as engine:
        app = create_app({"drawn": engine}, workspace=Workspace(home))
        schema = schemathesis.openapi.from_wsgi(DOCUMENT, app)

        @schema.hook("map_path_parameters")
        def to_what_is_there(context, path_parameters):
            operation = (context.operation.method.upper(), context.operation.path)
            if path_parameters and "gallery" in path_parameters and operation not in TAKES_AWAY:
                path_parameters["gallery"] = "drawn"
            return path_parameters

        yield schema
        app.extensions[EXTENSION].close()


def operations() -> list[tuple[str, str]]:
    document = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text())
    found = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    return [operation for operation in found if operation not in STARTS_A_JOB]


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
            answer = case.call()
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
