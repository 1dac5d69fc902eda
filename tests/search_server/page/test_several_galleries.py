"""A search that goes through several galleries at once: choosing them, telling them apart, going into one of them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from export.bundle import Bundle
from index_data.gallery import Gallery
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import Server, make_gallery, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def page_server(
    galleries: tuple[Path, Path], halved_gallery: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of two galleries of one model, one with nothing in it, and two of other models."""
    place = tmp_path_factory.mktemp("several-galleries")
    (place / "pictures" / "old").mkdir(parents=True)
    for number in range(200, 220):
        folder = place / "pictures" / ("old" if number < 205 else "")
        draw_picture(number).save(folder / f"scan-{number}.png")
    scans = make_gallery(place / "scans", bundle, place / "pictures")
    Gallery.create(place / "unfilled", bundle).close()
    with serving(*galleries, scans, halved_gallery, place / "unfilled", log=place / "log") as running:
        yield running


def choose(page: Page, *names: str) -> None:
    page.locator(".gallery-choice > summary").click()
    expect(page.locator(".galleries-to-tick")).to_be_visible()
    for box in page.locator(".gallery-choice input:enabled").all():
        box.set_checked(box.get_attribute("value") in names)


def homes(page: Page) -> set[str]:
    expect(page.locator(".tile-gallery").first).to_be_attached()
    return set(page.locator(".tile-gallery").all_inner_texts())


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_galleries_are_chosen_searched_and_left_again(visit: Callable[..., Visit], size: dict[str, int]):
    page = visit(size).open("search?id=1")
    expect(tiles(page)).to_have_count(48)
    expect(page.locator(".tile-gallery")).to_have_count(0)
    choose(page, "drawings", "scans")
    page.get_by_role("button", name="Search in these").click()
    expect(page).to_have_url(re.compile(r"id=1&in=drawings%2Fscans$"))
    expect(page.locator(".query-facts")).to_contain_text("Searched 92 in 2 galleries")
    expect(tiles(page)).to_have_count(48)
    assert homes(page) == {"drawings", "scans"}
    scores = [float(score.replace("−", "-")) for score in page.locator(".tile .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.mouse.wheel(0, 20_000)
    expect(tiles(page)).to_have_count(91)  # all of both, but the one that is asked about
    expect(page.locator(".results-title")).to_have_text("91 pictures")

    scan = tiles(page).filter(has=page.locator(".tile-gallery", has_text="scans")).first
    name = (scan.locator("img").get_attribute("alt") or "").split(" in scans")[0]
    expect(scan.locator(".tile-picture")).to_have_attribute("href", re.compile(r"/g/scans/search\?id=\d+&in="))
    page.reload()
    assert homes(page) == {"drawings", "scans"}
    page.go_back()
    expect(page).to_have_url(re.compile(r"id=1$"))
    expect(page.locator(".tile-gallery")).to_have_count(0)
    page.go_forward()
    expect(page.locator(".tile-gallery").first).to_be_visible()

    scan.locator(".tile-picture").click()
    lightbox = page.locator("dialog.lightbox")
    expect(lightbox.locator(".path")).to_have_text(f"scans: {name}")
    expect(lightbox.get_by_role("button", name="Why similar")).to_have_count(0)  # the item is not known to that model
    expect(lightbox.locator('[data-action="tray"]')).to_have_count(0)  # the tray is of this gallery
    lightbox.get_by_role("button", name="More like this").click()
    expect(page).to_have_url(re.compile(r"/g/scans/search\?id=\d+&in=drawings%2Fscans"))
    expect(page.locator(".query-name")).to_have_text(name)
    page.go_back()
    expect(page).to_have_url(re.compile(r"/g/drawings/search\?id=1&in="))


def test_a_picture_that_is_sent_is_looked_for_in_the_galleries_that_were_chosen(visit: Callable[..., Visit]):
    page = visit().open()
    choose(page, "scans", "halved")
    expect(page.locator(".gallery-choice > summary")).to_have_text("In 2 galleries")
    expect(page.locator(".gallery-models")).to_contain_text("Their models differ")
    expect(page).to_have_url(re.compile(r"/g/drawings/\?in=scans%2Fhalved$"))
    picture = {"name": "mine.png", "mimeType": "image/png", "buffer": encoded(draw_picture(210))}
    page.locator("#picture-file").set_input_files(picture)
    expect(page).to_have_url(re.compile(r"/g/drawings/search\?q=q_[\w-]+&in=scans%2Fhalved$"))
    expect(page.locator(".query-name")).to_have_text("mine.png")
    expect(page.get_by_label("Score at least")).to_have_count(0)  # of different models they cannot be compared
    expect(page.locator(".tile .score").first).to_have_text(re.compile(r"^[\d.]+ %$"))
    assert homes(page) == {"scans", "halved"}
    tiles(page).first.locator(".tile-picture").focus()
    page.keyboard.press("w")  # a picture that was sent is known to every model
    expect(page.locator("dialog.lightbox canvas.veil")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    page.keyboard.press("x")
    expect(page.locator(".tray-picture")).to_have_count(0)
    page.keyboard.press("m")
    expect(page).to_have_url(re.compile(r"/g/(scans|halved)/morph\?a=q_[\w-]+&b=\d+"))


def test_what_cannot_be_searched_says_why(visit: Callable[..., Visit]):
    page = visit().open("search?id=1", "halved")
    page.locator(".gallery-choice > summary").click()
    entries = page.locator(".galleries-to-tick li")
    expect(entries).to_have_count(5)
    expect(entries.filter(has_text="unfilled")).to_contain_text("It has no pictures yet.")
    expect(entries.filter(has_text="unfilled").get_by_role("checkbox")).to_be_disabled()
    page = visit().open("search?id=1&beta=0&in=halved/drawings", "halved")
    expect(page.locator(".notice.unanswered")).to_contain_text("drawings could not be searched")
    expect(tiles(page)).to_have_count(48)
    assert homes(page) == {"halved"}
    page.locator(".gallery-choice > summary").click()
    drawings = page.locator(".galleries-to-tick li").filter(has_text="drawings")
    expect(drawings).to_contain_text("search as indexed")


def test_several_pictures_are_looked_for_in_another_gallery_alone(visit: Callable[..., Visit]):
    page = visit().open("search?like=1,2&unlike=3&in=scans")
    expect(page.locator(".query-name")).to_have_text("2 pictures, less 1")
    expect(tiles(page)).to_have_count(20)
    assert homes(page) == {"scans"}
    page.locator(".query-parts li").first.get_by_role("slider").fill("2.5")
    expect(page).to_have_url(re.compile(r"like=1\*2.5%2C2&unlike=3&in=scans"))
    expect(tiles(page)).to_have_count(20)
    page = visit().open("search?id=1&in=scans")
    expect(page.locator(".query-picture img")).to_have_attribute("src", re.compile("/galleries/drawings/items/1/"))
    expect(page.locator(".query-seen img")).to_have_attribute("src", re.compile("/galleries/drawings/items/1/"))


@pytest.mark.parametrize(
    ("size", "scheme"),
    [pytest.param(DESKTOP, "light", marks=pytest.mark.full), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_choosing_galleries_is_accessible(visit: Callable[..., Visit], size: dict[str, int], scheme: str):
    reader = visit(size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    for path in ("", "search?id=1&in=drawings/halved"):
        page = reader.open(path)
        page.locator(".gallery-choice > summary").click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_without_javascript_galleries_are_ticked_in_a_form(visit: Callable[..., Visit], size: dict[str, int]):
    reader = visit(size, java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/")
    page.get_by_role("checkbox", name="scans").check()
    expect(page.get_by_role("checkbox", name="unfilled")).to_be_disabled()
    picture = {"name": "mine.png", "mimeType": "image/png", "buffer": encoded(draw_picture(210))}
    page.get_by_label("Choose a picture").set_input_files(picture)
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"/g/drawings/search\?q=q_[\w-]+&in=drawings(/|%2F)scans$"))
    assert homes(page) == {"drawings", "scans"}
    first = page.locator(".tile").first
    expect(first.locator("img")).to_have_attribute("alt", re.compile(r"^scan-210.png in scans, "))
    expect(first.locator("a")).to_have_attribute("href", re.compile(r"/g/scans/search\?id="))
    page.get_by_role("link", name="Show more").click()
    expect(page).to_have_url(re.compile("offset=48"))
    expect(page.locator(".tile")).to_have_count(44)
    page.locator(".gallery-choice > summary").click()
    page.get_by_role("checkbox", name="drawings").first.uncheck()
    page.get_by_role("button", name="Search in these").click()
    expect(page).to_have_url(re.compile(r"in=scans$"))
    assert homes(page) == {"scans"}
    page.goto(f"{reader.origin}/g/halved/search?id=1&beta=0&in=halved/drawings")
    expect(page.locator(".notice")).to_contain_text("drawings could not be searched")


def test_without_javascript_the_pictures_of_several_galleries_are_filtered_by_links(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/search?id=1&in=drawings/scans")
    page.locator(".facet-groups:not(.gallery-choice) > summary").click()
    folders = page.get_by_role("group", name="Folder")
    names, counts = (folders.locator(part).all_inner_texts() for part in ("span", "small"))
    assert dict(zip(names, counts, strict=True)) == {"(top folder)": "87", "old": "5"}
    folders.get_by_role("link", name="old 5").click()
    expect(page.locator(".tile")).to_have_count(5)
    assert homes(page) == {"scans"}
    page.get_by_label("Folder old: take this filter away").click()
    expect(page).to_have_url(re.compile(r"in=drawings(/|%2F)scans$"))
    assert homes(page) == {"drawings", "scans"}
    page.goto(f'{reader.origin}/g/drawings/search?id=1&in=drawings/scans&filter={{"width":{{"gte":1}}}}')
    page.get_by_label("width ≥ 1: take this filter away").click()
    assert homes(page) == {"drawings", "scans"}
