"""All pictures: a list as long as the gallery, of which a window full is there; what can be done with many of them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from export.bundle import Bundle
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import Server, make_gallery, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles

pytestmark = pytest.mark.browser

PICTURES = 400  # more than stand in the document at once


@pytest.fixture(scope="session")
def page_server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of 400 small pictures and two files that are none."""
    pictures = tmp_path_factory.mktemp("many") / "pictures"
    pictures.mkdir()
    for number in range(PICTURES):
        width, height = ((60, 40), (40, 60), (48, 48), (80, 30))[number % 4]
        draw_picture(number, width, height).save(pictures / f"drawn-{number:03}.png")
    for number in range(2):
        (pictures / f"broken-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    place = make_gallery(tmp_path_factory.mktemp("galleries") / "many", bundle, pictures)
    with serving(place, log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


def browse(reader: Visit, parameters: str = "") -> Page:
    page = reader.open(f"browse{parameters}", "many")
    expect(page.locator(".browse-count")).to_have_text(re.compile("^[0-9,]+ pictures$"))
    return page


def test_a_long_list_has_its_whole_length_and_few_tiles(visit: Callable[..., Visit]):
    reader = visit()
    page = browse(reader)
    newest = page.request.get(f"{reader.origin}/api/v1/galleries/many/items?sort=-id&limit=1").json()["items"][0]
    long = page.evaluate("document.documentElement.scrollHeight")
    assert tiles(page).count() < 200
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last = page.locator(f".tile img[alt='{newest['name']}']")
    expect(last).to_be_visible()
    assert last.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert page.evaluate("document.documentElement.scrollHeight") == long  # nothing has shifted
    assert tiles(page).count() < 200
    assert tiles(page).last.get_attribute("aria-posinset") == "400"


def test_back_comes_back_to_the_place(visit: Callable[..., Visit]):
    page = browse(visit())
    page.evaluate("scrollTo(0, 4000)")
    expect(page.locator(".tile.waiting")).to_have_count(0)
    page.wait_for_function("() => document.querySelectorAll('.tile img').length > 20")
    seen = page.evaluate("document.elementFromPoint(400, 400).closest('.tile')?.dataset.id")
    assert seen
    page.locator(f".tile[data-id='{seen}'] .tile-picture").click()
    expect(page.locator(".query-name")).to_be_visible()
    page.go_back()
    expect(page.locator(f".tile[data-id='{seen}']")).to_be_visible()
    assert abs(page.evaluate("scrollY") - 4000) < 5


def test_the_keyboard_walks_beyond_what_is_there(visit: Callable[..., Visit]):
    page = browse(visit())
    tiles(page).first.locator(".tile-picture").focus()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    focused = "document.activeElement.closest('.tile')?.dataset.place"
    place = int(page.evaluate(focused))
    assert place > 60
    page.keyboard.press("ArrowUp")
    assert int(page.evaluate(focused)) < place


def test_other_orders_are_addresses(visit: Callable[..., Visit]):
    page = browse(visit())
    page.get_by_label("Order").select_option("-id")
    expect(page).to_have_url(re.compile("sort=-id"))
    expect(page.locator(".browse-count")).to_have_text("400 pictures")
    newest = int(tiles(page).first.get_attribute("data-id") or 0)
    assert newest >= PICTURES
    page.reload()
    expect(tiles(page).first).to_have_attribute("data-id", str(newest))
    page.get_by_label("Order").select_option("-pixels")
    expect(tiles(page).first.locator("img")).to_have_attribute("width", re.compile("60|40|80"))


def test_ticked_pictures_are_tagged_and_the_filter_finds_them(visit: Callable[..., Visit]):
    page = browse(visit())
    bar = page.get_by_role("region", name="Selected pictures")
    tiles(page).nth(0).hover()
    tiles(page).nth(0).get_by_role("checkbox").click()
    tiles(page).nth(4).hover()
    tiles(page).nth(4).get_by_role("checkbox").click(modifiers=["Shift"])
    expect(bar).to_contain_text("5 selected")
    tiles(page).nth(1).locator(".tile-picture").focus()
    page.keyboard.press("x")
    expect(bar).to_contain_text("4 selected")
    bar.get_by_role("button", name="Tag").click()
    page.get_by_role("combobox", name="Tag").fill("chosen")
    page.get_by_role("button", name="Add the tag").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(f'{page.url.split("?")[0]}?filter={{"tags":{{"eq":"chosen"}}}}')
    expect(tiles(page)).to_have_count(4)
    page.goto(page.url.split("?")[0])
    expect(page.locator(".browse-count")).to_have_text("400 pictures")
    tiles(page).first.hover()
    tiles(page).first.get_by_role("checkbox").click()
    bar.get_by_role("button", name="Select all 400").click()
    expect(bar).to_contain_text("400 selected")
    bar.get_by_role("button", name="To the tray").click()
    expect(page.locator(".tray-picture")).to_have_count(100)
    bar.get_by_role("button", name="Clear the selection").click()
    expect(bar).to_be_hidden()


def test_pictures_are_added_and_taken_out_again(visit: Callable[..., Visit], tmp_path: Path):
    reader = visit()
    page = browse(reader)
    files = [
        {"name": "new.png", "mimeType": "image/png", "buffer": encoded(draw_picture(9001))},
        {"name": "diary.png", "mimeType": "image/png", "buffer": b"Dear diary"},
    ]
    page.locator("#picture-files").set_input_files(files=files)
    panel = page.get_by_role("region", name="Adding pictures")
    expect(panel).to_contain_text("1 picture added")
    panel.get_by_text("1 file could not be used").click()
    expect(panel).to_contain_text("diary.png: ")
    panel.get_by_role("button", name="Show them").click()
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", "new.png")
    expect(tiles(page).first.locator("img")).not_to_have_js_property("naturalWidth", 0)  # not asked for later
    tiles(page).first.locator(".tile-picture").focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Take out").click()
    page.get_by_role("button", name="Take 1 picture out").click()
    expect(page.locator(".tile img[alt='new.png']")).to_have_count(0)
    expect(page.locator(".browse-count")).to_have_text("400 pictures")


def test_files_that_are_dropped_are_searched_with_or_added(visit: Callable[..., Visit]):
    reader = visit()
    page = browse(reader)
    for slot, name in (("add", "drawn-007.png"), ("search", "mine.png")):
        expect(tiles(page).first.locator("img")).to_be_visible()
        page.evaluate(
            """async ([slot, name]) => {
                const bytes = await (await fetch(document.querySelector(".tile img").src)).blob();
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name));
                const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
                const fire = (place, kind) => place.dispatchEvent(new DragEvent(kind, options));
                fire(document.querySelector("main"), "dragenter");
                fire(document.querySelector(`#drop-veil [data-slot=${slot}]`), "drop");
            }""",
            [slot, name],
        )
        if slot == "add":
            expect(page.get_by_role("region", name="Adding pictures")).to_contain_text("1 picture added")
            expect(page.locator(".browse-count")).to_have_text("401 pictures")
            added = page.request.get(f"{reader.origin}/api/v1/galleries/many/items?sort=-id&limit=1").json()["items"][0]
    expect(page.locator(".query-name")).to_have_text("mine.png")
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile("identical"))
    page.goto("about:blank")  # nobody asks for its thumbnail any more
    assert page.request.delete(f"{reader.origin}/api/v1/galleries/many/items/{added['id']}").status == 204


def test_files_that_could_not_be_used_are_listed_with_the_reason(visit: Callable[..., Visit]):
    page = browse(visit())
    page.get_by_role("link", name="Could not be used 2").click()
    expect(page).to_have_url(re.compile("show=failures"))
    expect(page.locator(".failures tbody tr")).to_have_count(2)
    expect(page.locator(".failures")).to_contain_text("broken-0.png")
    page.go_back()
    expect(page.locator(".browse-count")).to_have_text("400 pictures")


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), pytest.param(PHONE, "dark", marks=pytest.mark.full)],
    ids=["desktop-light", "phone-dark"],
)
def test_browsing_and_selecting_are_accessible(visit: Callable[..., Visit], size: dict[str, int], scheme: str):
    page = browse(visit(size, color_scheme=scheme, bypass_csp=True))
    tiles(page).first.locator(".tile-picture").focus()
    page.keyboard.press("x")
    expect(page.get_by_role("region", name="Selected pictures")).to_be_visible()
    _check(page, size)
    page = visit(size, color_scheme=scheme, bypass_csp=True).open("browse?show=failures", "many")
    expect(page.locator(".failures tbody tr")).to_have_count(2)
    _check(page, size)


def _check(page: Page, size: dict[str, int]) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_without_javascript_orders_and_failures_are_links(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/many/browse")
    expect(tiles(page)).to_have_count(120)
    page.get_by_role("link", name="Name").click()
    expect(page.locator(".tile img").first).to_have_attribute("alt", "drawn-000.png")
    page.get_by_role("link", name="Next page").click()
    expect(page.locator(".tile img").first).to_have_attribute("alt", "drawn-120.png")
    page.get_by_role("link", name="Could not be used").click()
    expect(page.locator(".failures tbody tr")).to_have_count(2)
