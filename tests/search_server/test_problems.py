"""One table of errors: in the source, in the documentation, in the OpenAPI document, and on its own pages."""

import re
from pathlib import Path

import pytest

from search_server.problems import REMEDIES, ProblemDocument
from train.errors import PROBLEMS

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def row(code: str) -> str:
    problem = PROBLEMS[code]
    return f"| `{code}` | {problem.status} | {problem.exit_code} | {problem.title} | {REMEDIES[code]} |"


def test_the_documentation_has_exactly_the_problems_of_the_source():
    rows = [line for line in DOCUMENTATION.read_text().splitlines() if re.match(r"\| `\w+` \|", line)]
    assert rows == [row(code) for code in PROBLEMS]


def test_every_problem_says_what_to_do():
    assert set(REMEDIES) == set(PROBLEMS)


def test_openapi_names_exactly_the_problems_of_the_source(server):
    document = server.get("/api/v1/openapi.json").json()
    codes = document["components"]["schemas"][ProblemDocument.__name__]["properties"]["code"]["enum"]
    assert set(codes) == set(PROBLEMS)


def test_every_route_declares_its_refusals_as_problems(server):
    document = server.get("/api/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            refusals = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
            assert {"400", "403", "422", "500"} <= set(refusals), path
            for status, answer in refusals.items():
                if status != "503":  # of readyz, which answers in its own form
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_has_a_page_for_people_and_one_for_programs(server, code):
    told = server.get(f"/problems/{code}").json()
    assert (told["code"], told["status"]) == (code, PROBLEMS[code].status)
    page = server.get(f"/problems/{code}", headers={"Accept": "text/html"})
    assert PROBLEMS[code].title in page.body.decode().replace("&#39;", "'")


def test_a_problem_that_is_none_has_no_page(server):
    assert server.get("/problems/bad_weather").code == "not_found"
