"""Nothing jumps: what comes late has its place before it comes."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import draw_picture, encoded
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles
from tests.search_server.page.views import settle

pytestmark = pytest.mark.browser

MOST = 0.02  # of the cumulative layout shift; 0.1 is what web.dev calls good
# All that moved by itself, and what it was: https://wicg.github.io/layout-instability/
WATCH = """
    globalThis.shifts = [];
    new PerformanceObserver((list) => {
        for (const { value, hadRecentInput, sources } of list.getEntries()) {
            if (hadRecentInput) continue;
            const moved = sources.map(({ node }) => node?.className || node?.nodeName || "gone");
            globalThis.shifts.push({ value, moved });
        }
    }).observe({ type: "layout-shift", buffered: true });
"""
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


def assert_still(page: Page) -> None:
    settle(page)
    page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go))))")
    shifts: list[dict[str, Any]] = page.evaluate("globalThis.shifts")
    assert sum(shift["value"] for shift in shifts) <= MOST, shifts


@SIZES
@pytest.mark.parametrize("gallery", ["drawings", "halved"])
def test_from_the_start_to_the_neighbours_of_a_file_nothing_jumps(
    visit: Callable[..., Visit], size: dict[str, int], gallery: str
):
    reader = visit(size, reduced_motion="reduce")
    reader.page.add_init_script(WATCH)
    page = reader.open(gallery=gallery)
    expect(tiles(page)).to_have_count(40)
    settle(page)
    picture = {"name": "mine.png", "mimeType": "image/png", "buffer": encoded(draw_picture(3, 1200, 900))}
    page.locator("#picture-file").set_input_files(picture)
    expect(page.locator(".query-facts")).to_contain_text("Searched")
    expect(tiles(page)).to_have_count(48)
    assert_still(page)


@SIZES
def test_from_one_view_to_the_next_nothing_jumps(visit: Callable[..., Visit], size: dict[str, int]):
    reader = visit(size, reduced_motion="reduce")
    reader.page.add_init_script(WATCH)
    page = reader.open("browse", "halved")
    settle(page)
    tiles(page).first.locator(".tile-picture").focus()
    page.keyboard.press("s")
    expect(page.locator(".query-facts")).to_contain_text("Searched")
    settle(page)
    page.go_back()
    expect(page.locator(".browse")).to_be_visible()
    assert_still(page)
    page = reader.open("search?id=1", "halved")
    assert_still(page)
