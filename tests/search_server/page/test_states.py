"""What the page shows when there is no answer: what passes is asked again by itself, the rest says what to do."""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from search_server.tokens import Tokens
from tests.search_server.conftest import serving
from tests.search_server.page.conftest import Visit, tiles

pytestmark = pytest.mark.browser

SEARCHES = "**/api/**/similar?*"


def refuse(page: Page, code: str, status: int, **headers: str) -> None:
    body = json.dumps({"code": code, "title": "Refused", "detail": "no, because of this.", "status": status})
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    page.route(
        SEARCHES,
        lambda route: route.fulfill(status=status, body=body, content_type="application/problem+json", headers=given),
    )


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("rate_limited", 429, "That was a lot at once"),
        ("busy", 503, "Busy at the moment"),
        ("loading", 503, "Still starting"),
    ],
)
def test_what_passes_is_asked_again_after_the_time_that_the_server_says(
    visit: Callable[..., Visit], code: str, status: int, words: str
):
    reader = visit()
    reader.expected = f"status of {status}"
    page = reader.open()
    refuse(page, code, status, Retry_After="2")
    tiles(page).first.locator("a").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(words)
    expect(alert).to_contain_text(re.compile(r"It tries again by itself in [12] s"))
    page.unroute(SEARCHES)
    expect(tiles(page)).to_have_count(48)


def test_a_server_that_is_gone_is_said_and_asked_again_when_it_is_back(visit: Callable[..., Visit]):
    reader = visit()
    reader.expected = "ERR_FAILED"
    page = reader.open()

    def abort(route: Route) -> None:
        route.abort()

    page.route(re.compile("/(api|healthz)"), abort)
    tiles(page).first.locator("a").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_contain_text("As soon as it answers")
    page.unroute(re.compile("/(api|healthz)"), abort)
    expect(tiles(page)).to_have_count(48)


def test_who_was_signed_out_signs_in_again_and_comes_back(visit: Callable[..., Visit]):
    reader = visit()
    reader.expected = "status of 401"
    page = reader.open()
    refuse(page, "token_required", 401)
    tiles(page).first.locator("a").click()
    link = page.get_by_role("alert").get_by_role("link", name="Sign in")
    expect(link).to_have_attribute("href", re.compile(r"/sign-in\?after=%2Fg%2Fdrawings%2Fsearch%3Fid%3D\d+$"))


def test_a_slow_answer_is_announced_by_a_line_at_the_top_and_a_quick_one_is_not(visit: Callable[..., Visit]):
    page = visit().open()
    line = page.locator("#in-flight")
    held: list[Route] = []
    page.route(SEARCHES, lambda route: held.append(route))  # noqa: PLW0108  (Playwright marks it)
    expect(line).to_be_hidden()
    tiles(page).first.locator("a").click()
    expect(line).to_be_visible()
    held[0].continue_()
    expect(tiles(page)).to_have_count(48)
    expect(line).to_be_hidden()


def test_a_reader_without_the_scope_is_told_what_it_takes(
    visit: Callable[..., Visit], servers: ExitStack, galleries: tuple[Path, Path], tmp_path: Path
):
    secret = Tokens(tmp_path / "lookalike").create("reader", "read")
    server = servers.enter_context(serving(galleries[0], log=tmp_path / "log", options=("--trusted-proxies", "1")))
    reader = visit(server=server)
    page = reader.page
    page.goto(f"{reader.origin}/jobs")
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/jobs$"))  # where the reader wanted to go
    expect(page.get_by_role("heading", name="Jobs are not for everybody")).to_be_visible()
    reader.go("/new")
    expect(page.get_by_text("that takes one with the scope admin")).to_be_visible()
    page.locator(".more summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
