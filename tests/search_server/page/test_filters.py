"""Filters on the page: chips with counts, above what they leave."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from export.bundle import Bundle
from index_data import metadata
from index_data.gallery import Gallery
from index_data.mapping import compute_map
from tests.conftest import draw_picture
from tests.search_server.conftest import Server, make_gallery, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def page_server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of 30 pictures in three folders and clusters, a third of them tagged, each of one of two years."""
    pictures = tmp_path_factory.mktemp("filtered") / "pictures"
    for number in range(30):
        folder = pictures / ("", "cats", "<b>dogs")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        draw_picture(number).save(folder / f"drawn-{number:02}.png")
    place = make_gallery(tmp_path_factory.mktemp("galleries") / "drawings", bundle, pictures)
    with Gallery.open(place) as gallery, gallery.changes() as changes:
        for item in gallery.items():
            metadata.change_own(changes, item.id, {"year": 2019 + item.id % 2})
            if item.id % 3 == 0:
                metadata.change_tags(changes, [item.id], add=["good"])
        compute_map(gallery, None, clusters=3)
    with serving(place, log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


def chip(page: Page, words: str):
    return page.locator(".facet .chip").filter(has_text=re.compile(rf"^{re.escape(words)}\s"))


def open_choices(page: Page) -> None:
    page.get_by_text("Filter", exact=True).click()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_chips_leave_what_they_say_and_go_away_again(visit: Callable[..., Visit], size: dict):
    page = visit(size).open("browse")
    expect(tiles(page)).to_have_count(30)
    open_choices(page)
    expect(chip(page, "cats")).to_have_text("cats 10")
    chip(page, "cats").click()
    expect(tiles(page)).to_have_count(10)
    open_choices(page)
    expect(chip(page, "<b>dogs")).to_have_text("<b>dogs 10")  # another folder could be chosen instead
    expect(chip(page, "cats")).to_have_attribute("aria-current", "true")
    expect(chip(page, "2019")).to_be_visible()
    left = int(chip(page, "2019").locator("small").inner_text())
    chip(page, "2019").click()
    expect(tiles(page)).to_have_count(left)
    page.get_by_label("Folder cats: take this filter away").click()
    expect(tiles(page)).to_have_count(15)
    page.go_back()
    expect(tiles(page)).to_have_count(left)
    page.reload()
    expect(tiles(page)).to_have_count(left)
    expect(page.locator(".facets > .chip")).to_have_count(2)


def test_a_search_goes_on_among_what_was_chosen(visit: Callable[..., Visit]):
    page = visit().open("search?id=7")
    expect(tiles(page)).to_have_count(29)
    open_choices(page)
    chip(page, "good").click()
    expect(tiles(page)).to_have_count(10)
    tiles(page).first.hover()
    tiles(page).first.locator("[data-action=similar]").click()
    expect(tiles(page)).to_have_count(9)
    expect(page).to_have_url(re.compile("filter="))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_choices_are_accessible_and_never_wider_than_the_window(visit: Callable[..., Visit], size, theme):
    page = visit(size, color_scheme=theme, bypass_csp=True).open('browse?filter={"folder":{"eq":"cats"}}')
    open_choices(page)
    expect(chip(page, "cats")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_javascript_the_chips_are_links(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/browse")
    open_choices(page)
    chip(page, "(top folder)").click()
    expect(page.locator(".grid .tile")).to_have_count(10)
    page.get_by_label("Folder (top folder): take this filter away").click()
    expect(page.locator(".grid .tile")).to_have_count(30)
    page.goto(f"{reader.origin}/g/drawings/search?id=7")
    open_choices(page)
    chip(page, "good").click()
    expect(page.locator(".grid .tile")).to_have_count(10)


def test_a_filter_of_the_address_that_is_not_understood_is_said(page_server: Server):
    page = page_server.get("/g/drawings/browse", filter='{"foldr": {"eq": 1}}', headers={"Accept": "text/html"})
    assert page.status == 422
    assert "did you mean folder?" in page.body.decode()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_cluster_of_the_map_is_browsed_and_searched_in(visit: Callable[..., Visit], size: dict):
    page = visit(size).open("browse")
    open_choices(page)
    clusters = page.get_by_role("group", name="Cluster")
    expect(clusters.locator(".chip")).to_have_count(3)
    first = clusters.locator(".chip").first
    assert first.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    name, number = first.locator("span").inner_text(), int(first.locator("small").inner_text())
    first.click()
    expect(tiles(page)).to_have_count(number)
    expect(page).to_have_url(re.compile("filter=%7B%22cluster%22"))
    taken_away = page.get_by_role("link", name=f"{name}: take this filter away")
    expect(taken_away).to_be_visible()
    page.keyboard.press("r")  # a picture of it
    expect(page.locator(".query-facts")).to_contain_text("Searched")
    page.go_back()
    expect(tiles(page)).to_have_count(number)
    taken_away.click()
    expect(tiles(page)).to_have_count(30)
    page = visit(size).open('search?id=1&filter={"cluster":{"in":[0,1]}}')
    open_choices(page)
    counts = [int(words) for words in page.get_by_role("group", name="Cluster").locator("small").all_inner_texts()]
    assert sum(counts) == 30  # the filter's own field is counted without it


def test_a_cluster_is_browsed_from_the_map(visit: Callable[..., Visit]):
    page = visit().open("map")
    legend = page.get_by_role("complementary", name="Legend")
    legend.get_by_role("button", name=re.compile("^List Cluster")).first.click()
    page.get_by_role("link", name="Browse them").click()
    expect(page).to_have_url(re.compile(r"/browse\?filter=%7B%22cluster%22"))
    expect(page.get_by_role("link", name=re.compile(r"^Cluster \d: take this filter away"))).to_be_visible()


def test_without_javascript_clusters_are_links(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/browse")
    open_choices(page)
    first = page.get_by_role("group", name="Cluster").locator(".chip").first
    number = int(first.locator("small").inner_text())
    expect(first.locator("img")).to_be_visible()
    first.click()
    expect(tiles(page)).to_have_count(number)
    expect(page.get_by_role("link", name=re.compile(r"Cluster \d: take this filter away"))).to_be_visible()
