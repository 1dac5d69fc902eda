"""Morphing on the page: the ends, the stage and its slider, the frames, the files."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.search_server.conftest import Server, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles
from tests.search_server.page.test_page import PICTURE, drop

pytestmark = pytest.mark.browser

SLIDER = "From picture A to picture B"


@pytest.fixture(scope="session")
def page_server(galleries: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the two galleries, one of which has a model that paints."""
    with serving(*galleries, log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


def paint(page: Page) -> str:
    """What the morph's canvas shows."""
    return page.locator(".morph-canvas").evaluate("(canvas) => canvas.toDataURL()")


def frames(page: Page, number: int = 16) -> Any:
    film = page.locator(".film-frame")
    expect(film).to_have_count(number)
    return film


def fill_tray(page: Page, ids: list[int]) -> None:
    """Put items into the tray, as whoever gathered them on other views did."""
    page.evaluate(
        """async (ids) => {
            const { items } = await (await fetch(`/api/v1/galleries/drawings/items?ids=${ids}`)).json();
            sessionStorage.setItem("lookalike.tray.drawings", JSON.stringify(items.map((item) => ({ item, sign: 1 }))));
        }""",
        ids,
    )


def test_two_pictures_morph_and_the_slider_moves_the_frames(visit: Callable[..., Visit]):
    page = visit(reduced_motion="reduce").open()
    drop(page, PICTURE)
    third = tiles(page).nth(2)
    third.hover()
    third.get_by_role("button", name=re.compile("^More: ")).click()
    page.get_by_role("button", name="Morph with the query").click()
    film = frames(page)
    assert re.search(r"/morph\?a=q_[\w-]+&b=\d+$", page.url)
    start = paint(page)
    expect(page.locator(".slot-a .slot-name")).to_have_text("mine.png")

    slider = page.get_by_role("slider", name=SLIDER)
    slider.fill("100")
    expect(slider).to_have_attribute("aria-valuetext", "50 % towards B")
    middle = paint(page)
    slider.press("ArrowRight")  # a step between two frames: their cross-fade
    between = paint(page)
    film.last.click()
    expect(film.last).to_have_attribute("aria-current", "true")
    expect(page.locator(".morph-readout")).to_contain_text("100 % towards B")
    end = paint(page)
    assert len({start, middle, between, end}) == 4
    assert "t=1.00" in page.url

    page.get_by_role("button", name="Swap A and B").click()
    expect(page.locator(".slot-b .slot-name")).to_have_text("mine.png")
    expect(page.locator(".morph-stage:not([aria-busy])")).to_be_visible()
    assert paint(page) == end  # the same place, seen from the other end
    page.locator(".nearest").first.click()
    expect(page).to_have_url(re.compile(r"/search\?id=\d+$"))


def test_scrubbing_asks_the_server_nothing(visit: Callable[..., Visit]):
    page = visit(reduced_motion="reduce").open("morph?a=1&b=2")
    frames(page)
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    slider = page.get_by_role("slider", name=SLIDER)
    shown = set()
    for place in (10, 60, 110, 160, 200):
        slider.fill(str(place))
        shown.add(paint(page))
    assert len(shown) == 5
    assert [address for address in asked if "/morph" in address] == []


def test_the_keyboard_goes_from_frame_to_frame_and_the_real_picture_goes_along(visit: Callable[..., Visit]):
    page = visit(reduced_motion="reduce").open("morph?a=1&b=2")
    film = frames(page)
    expect(page.locator('.film-frame[tabindex="0"]')).to_have_count(1)
    film.first.focus()
    page.keyboard.press("ArrowRight")
    expect(film.nth(1)).to_be_focused()
    expect(film.nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("End")
    expect(film.last).to_be_focused()
    expect(page.get_by_role("slider", name=SLIDER)).to_have_attribute("aria-valuetext", "100 % towards B")
    nearest = page.locator(".nearest.current")
    expect(page.locator(".stage-real")).to_have_attribute("href", nearest.get_attribute("href") or "")


def test_the_address_is_the_morph_and_back_comes_back_to_it_without_asking(visit: Callable[..., Visit]):
    page = visit(reduced_motion="reduce").open("morph?a=1&via=3&b=2&t=0.50&path=lerp&frames=8")
    frames(page, 15)
    expect(page.get_by_role("radio", name="Straight")).to_be_checked()
    expect(page.get_by_role("combobox", name="Frames")).to_have_value("8")
    expect(page.get_by_role("slider", name=SLIDER)).to_have_attribute("aria-valuetext", "50 % towards B")
    shown, address = paint(page), page.url
    page.get_by_role("link", name="Browse").click()
    expect(tiles(page).first).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.go_back()
    frames(page, 15)
    expect(page.locator(".morph-stage:not([aria-busy])")).to_be_visible()
    assert (paint(page), page.url) == (shown, address)
    assert [one for one in asked if "/morph" in one] == []
    page.get_by_role("combobox", name="Frames").select_option("16")
    frames(page, 31)
    assert "frames" not in page.url


def test_a_way_leads_past_pictures_that_are_added_and_through_the_tray(visit: Callable[..., Visit]):
    reader = visit(reduced_motion="reduce")
    page = reader.open("morph?a=1&b=2")
    frames(page)
    drop(page, PICTURE, target="[data-slot=add]")
    frames(page, 31)
    expect(page.locator(".film-frame.stop")).to_have_count(3)
    assert re.search(r"via=q_[\w-]+", page.url)
    page.get_by_role("button", name="Leave out mine.png").click()
    frames(page, 16)
    assert "via" not in page.url

    fill_tray(page, [5, 6, 7, 8])
    page = reader.open("morph?a=1&b=2")
    page.get_by_role("button", name="Choose picture B").or_(page.get_by_title("Change picture B")).click()
    chooser = page.get_by_role("dialog", name="Choose picture B")
    expect(chooser.get_by_role("list", name="Pictures of the tray").locator(".tile")).to_have_count(4)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Through the tray (4)").click()
    frames(page, 46)
    assert re.search(r"a=5&b=8&via=6%2C7", page.url)


def test_a_morph_is_made_of_dropped_and_chosen_pictures(visit: Callable[..., Visit]):
    page = visit(reduced_motion="reduce").open("morph")
    drop(page, PICTURE, target=".slot-b")
    expect(page.locator(".slot-b .slot-name")).to_have_text("mine.png")
    page.get_by_role("button", name="Choose picture A").click()
    chooser = page.get_by_role("dialog", name="Choose picture A")
    chooser.locator(".tile a").first.click()
    expect(chooser).to_be_hidden()
    frames(page)
    page.get_by_text("Straight").click()
    expect(page).to_have_url(re.compile("path=lerp"))
    frames(page)


@pytest.mark.parametrize(
    ("words", "kind", "least"),
    [("Animated WebP", "WEBP", 50), ("GIF", "GIF", 25), ("Film strip", "PNG", 1), ("Single frames", None, 16)],
)
def test_a_morph_is_saved_as_a_file(visit: Callable[..., Visit], words: str, kind: str | None, least: int):
    page = visit(reduced_motion="reduce").open("morph?a=1&b=2")
    frames(page)
    page.get_by_text("Save as").click()
    with page.expect_download() as saving:
        page.get_by_role("link", name=words).click()
    saved = saving.value
    assert saved.suggested_filename.startswith("morph-1-2.")
    if kind is None:
        assert len(zipfile.ZipFile(saved.path()).namelist()) == least
        return
    with Image.open(io.BytesIO(saved.path().read_bytes())) as image:
        assert image.format == kind
        # There and back; frames that are the same become one.
        assert getattr(image, "n_frames", 1) >= least


def test_a_morph_plays_there_and_back_unless_less_motion_is_wanted(visit: Callable[..., Visit]):
    moving = visit().open("morph?a=1&b=2")
    slider = moving.get_by_role("slider", name=SLIDER)
    moving.wait_for_function("() => Number(document.querySelector('#morph-t')?.value) > 20")
    moving.get_by_role("button", name="Pause").click()
    place = slider.input_value()
    expect(moving.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert slider.input_value() == place
    moving.get_by_role("combobox", name="Speed").select_option("4")
    moving.get_by_role("button", name="Back and forth").click()
    moving.reload()
    frames(moving)
    expect(moving.get_by_role("combobox", name="Speed")).to_have_value("4")
    expect(moving.get_by_role("button", name="Back and forth")).to_have_attribute("aria-pressed", "false")

    still = visit(reduced_motion="reduce").open("morph?a=1&b=2")
    frames(still)
    expect(still.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert still.get_by_role("slider", name=SLIDER).input_value() == "0"


def test_ends_that_are_the_same_or_gone_are_said_and_can_be_put_right(visit: Callable[..., Visit]):
    reader = visit(reduced_motion="reduce")
    reader.expected = "status of 404"
    page = reader.open("morph?a=3&b=3")
    expect(page.get_by_role("heading", name="The same picture twice")).to_be_visible()
    page.get_by_role("button", name="Two others").click()
    frames(page)
    page = reader.open("morph?a=3&b=q_0123456789012345678901")
    expect(page.get_by_role("alert")).to_contain_text("This search has expired")
    expect(page.locator(".slot-a img")).to_be_visible()  # what is there stays
    page.get_by_role("alert").get_by_role("button", name="Choose picture B").click()
    page.get_by_role("dialog", name="Choose picture B").locator(".tile a").first.click()
    frames(page)


def test_a_model_that_cannot_paint_says_so(visit: Callable[..., Visit]):
    reader = visit()
    page = reader.page
    page.goto(f"{reader.origin}/g/foreign/morph")
    expect(page.get_by_role("heading", name="This gallery's model cannot paint")).to_be_visible()
    page.goto(f"{reader.origin}/g/foreign/search?id=1")
    expect(tiles(page)).to_have_count(48)
    expect(page.get_by_role("button", name="Morph")).to_have_count(0)
    expect(page.locator(".query-seen img")).to_have_count(0)
    page.locator(".galleries summary").click()
    page.get_by_role("link", name="drawings").click()
    expect(page).to_have_url(re.compile("/g/drawings/$"))


@pytest.mark.parametrize(
    ("size", "scheme"),
    [pytest.param(DESKTOP, "light", marks=pytest.mark.full), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_a_tour_is_accessible_and_never_wider_than_the_window(visit: Callable[..., Visit], size: dict, scheme: str):
    reader = visit(size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    page = reader.open("morph?a=1&via=3,4&b=2")
    frames(page, 46)
    page.get_by_text("Save as").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
