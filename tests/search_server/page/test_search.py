"""What a reader does with results: puts pictures aside, combines them, searches with a part, compares, asks why."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Page, Route, expect

from tests.search_server.conftest import Server, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def page_server(galleries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the drawn pictures, with a model that paints and one that cannot."""
    with serving(*galleries, log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


def focus(page: Page, place: int) -> None:
    tiles(page).nth(place).locator(".tile-picture").focus()


def id_of(page: Page, place: int) -> str:
    return tiles(page).nth(place).get_attribute("data-id") or ""


# The tray and combined queries --------------------------------------------------------------------------------------


def test_pictures_are_put_aside_by_keys_and_searched_with_together(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    ids = [id_of(page, place) for place in range(3)]
    for place, key in enumerate(("x", "+", "-")):
        focus(page, place)
        page.keyboard.press(key)
    tray = page.get_by_role("region", name="Tray", exact=True)
    expect(tray.locator(".tray-picture")).to_have_count(3)
    expect(tray.get_by_role("button", name="Tray: 3 pictures, 1 of them less")).to_be_visible()
    expect(tiles(page).nth(2)).to_have_attribute("data-sign", "minus")
    expect(tray.get_by_role("button", name="this is their sum")).to_be_visible()  # painted before it is asked

    page.reload()
    expect(tray.locator(".tray-picture")).to_have_count(3)
    tray.get_by_role("button", name="Search with all", exact=True).click()
    expect(page).to_have_url(re.compile(rf"like={ids[0]}%2C{ids[1]}&unlike={ids[2]}$"))
    expect(page.locator(".query-name")).to_have_text("2 pictures, less 1")
    expect(page.locator(".query-seen img")).to_have_attribute("src", re.compile("^data:image/webp"))
    expect(tiles(page)).to_have_count(48)
    shown = {tile.get_attribute("data-id") for tile in tiles(page).all()}
    assert not shown & set(ids[:2])  # who asks with a picture has it

    parts = page.locator(".query-parts li")
    expect(parts).to_have_count(3)
    before = page.locator(".query-seen img").get_attribute("src")
    parts.first.get_by_role("slider").fill("2.5")
    expect(page).to_have_url(re.compile(rf"like={ids[0]}\*2.5%2C{ids[1]}"))
    expect(page.locator(f'.query-seen img:not([src="{before}"])')).to_be_visible()
    parts.nth(2).get_by_role("button", name=re.compile("press for more")).click()
    expect(page).not_to_have_url(re.compile("unlike"))
    page.go_back()
    expect(page).to_have_url(re.compile(r"\?id=1$"))


def test_a_tray_becomes_a_sheet_a_table_and_ids(visit: Callable[..., Visit]):
    reader = visit(permissions=["clipboard-read", "clipboard-write"])
    page = reader.open("search?id=1")
    for place in range(2):
        focus(page, place)
        page.keyboard.press("x")
    ids = [id_of(page, place) for place in range(2)]
    with page.expect_download() as sheet:
        page.get_by_role("button", name="Contact sheet").click()
    assert sheet.value.path().read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as table:
        page.get_by_role("button", name="CSV").click()
    lines = table.value.path().read_text().splitlines()
    assert lines[0].startswith("id,sign,name,path")
    assert [line.split(",")[:2] for line in lines[1:]] == [[number, "1"] for number in ids]
    page.get_by_role("button", name="Copy ids").click()
    page.wait_for_function("async (ids) => (await navigator.clipboard.readText()) === ids", arg="\n".join(ids))
    page.locator(".tray-picture").first.focus()
    page.keyboard.press("Delete")
    expect(page.locator(".tray-picture")).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".tray")).to_be_hidden()


def test_a_phone_puts_pictures_aside_from_the_menu(visit: Callable[..., Visit]):
    page = visit(PHONE).open("browse")
    page.locator(".tile-actions button").first.tap()
    menu = page.locator(".picture-menu")
    expect(menu.get_by_role("button")).not_to_have_count(0)
    menu.get_by_role("button", name="More of this").tap()
    expect(menu).to_be_hidden()
    expect(page.locator(".tray-picture")).to_have_count(1)
    page.get_by_role("button", name="Tray: 1 picture").tap()
    expect(page.locator(".tray-picture")).to_be_hidden()


# The query ----------------------------------------------------------------------------------------------------------


def test_a_part_of_the_picture_is_searched_with(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    expect(tiles(page)).to_have_count(48)
    first = id_of(page, 0)
    page.get_by_role("button", name="Crop").click()
    layer = page.locator(".crop-layer")
    box = layer.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile("crop="))
    expect(page.locator(".query-facts")).to_contain_text("Embedded in")
    drawn = page.url
    page.locator(".crop-box").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.wait_for_function("(before) => location.href !== before", arg=drawn)
    page.reload()
    expect(page.locator(".crop-layer.cropped")).to_be_visible()
    page.get_by_role("button", name="Whole picture").click()
    expect(page).not_to_have_url(re.compile("crop="))
    expect(tiles(page).first).to_have_attribute("data-id", first)


def test_mirrored_pictures_are_found_and_other_orders_are_kept(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    page.get_by_label("Forms to look for").select_option("mirror")
    expect(page).to_have_url(re.compile("forms=mirror"))
    page.get_by_label("Order").select_option("new")
    expect(page).to_have_url(re.compile("sort=new"))
    expect(tiles(page)).to_have_count(71)
    ids = [int(tile.get_attribute("data-id")) for tile in tiles(page).all()]
    assert ids == sorted(ids, reverse=True)
    page.reload()
    expect(tiles(page)).to_have_count(71)
    assert [int(tile.get_attribute("data-id")) for tile in tiles(page).all()] == ids


def test_the_same_picture_comes_first_with_its_part_outlined(visit: Callable[..., Visit]):
    page = visit().open("search?id=13&crop=0,0,0.7,0.7&self=1")
    page.get_by_label("Find the same picture first").check()
    expect(page).to_have_url(re.compile("same=1"))
    best = tiles(page).first
    expect(best).to_have_attribute("data-id", "13")
    expect(best.locator(".score-label")).to_have_text(re.compile("^Same picture, 4[0-9] % of it$"))
    expect(best.get_by_role("img")).to_have_attribute("alt", re.compile("same picture, 4[0-9] % of it, similarity"))
    outline = best.locator(".part-outline polygon").get_attribute("points") or ""
    lower_right = [float(number) for number in outline.split()[2].split(",")]
    assert lower_right == pytest.approx([0.7, 0.7], abs=0.05)
    expect(tiles(page).nth(1).locator(".part-outline")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Find the same picture first")).to_be_checked()
    expect(tiles(page).first.locator(".score-label")).to_have_text(re.compile("^Same picture"))
    page.get_by_label("Find the same picture first").uncheck()
    expect(page).not_to_have_url(re.compile("same=1"))
    expect(page.locator(".part-outline")).to_have_count(0)


def test_an_address_is_refused_with_the_reason_where_the_server_fetches_none(visit: Callable[..., Visit]):
    page = visit().open()
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.setData("text/plain", "https://pictures.example/cat.jpg");
            document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData: transfer }));
        }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("This server fetches no addresses")
    expect(page.get_by_role("alert")).to_contain_text("https://pictures.example/cat.jpg")


# Comparing ----------------------------------------------------------------------------------------------------------


def test_an_open_picture_is_compared_in_every_way(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    focus(page, 1)
    page.keyboard.press("w")
    box = page.locator("dialog.lightbox")
    expect(box.get_by_text("What counts in your picture")).to_be_visible()
    expect(box.locator("canvas.veil")).to_have_count(2)
    expect(page.locator("#announcements")).to_have_text(re.compile("What counts most in your picture is at the"))
    page.keyboard.press("o")
    cover = box.get_by_role("slider", name="How much of the item covers your picture")
    cover.fill("80")
    assert box.locator(".layer").last.evaluate("(picture) => picture.style.opacity") == "0.8"
    box.get_by_role("button", name="Blink").click()
    expect(box.get_by_role("button", name="Blink")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("e")
    expect(box.locator("figcaption")).to_have_text(
        ["The part that the model sees", "What it keeps of it", "Where the two differ"]
    )
    for picture in box.locator("img").all():
        assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("1")
    page.keyboard.press("+")
    expect(box.locator(".lightbox-stage")).to_have_class(re.compile("zoomed-in"))
    page.keyboard.press("0")
    expect(box.locator(".lightbox-stage")).not_to_have_class(re.compile("zoomed-in"))
    page.keyboard.press("i")
    expect(box.get_by_role("complementary", name="About this picture")).to_contain_text("PNG")
    page.keyboard.press("x")
    expect(box.locator('[data-action="tray"]')).to_have_attribute("aria-pressed", "true")


def test_resting_on_a_picture_shows_why_it_is_similar(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/explain") else None)
    tiles(page).nth(1).hover()
    page.get_by_role("button", name="Why similar").click()
    tiles(page).nth(1).locator("img").hover()
    expect(tiles(page).nth(1).locator("canvas.tile-why")).to_be_visible()
    expect(page.locator(".query-picture canvas.tile-why")).to_be_visible()  # both ways
    expect(page.locator("#announcements")).to_have_text(re.compile("^What counts most in drawn-.* is at the"))
    focus(page, 1)
    page.keyboard.press("ArrowRight")
    expect(tiles(page).nth(2).locator("canvas.tile-why")).to_be_visible()
    expect(page.locator("canvas.tile-why")).to_have_count(2)
    page.mouse.move(0, 0)
    tiles(page).nth(1).locator("img").hover()
    expect(tiles(page).nth(1).locator("canvas.tile-why")).to_be_visible()
    assert len(asked) == 2  # what was answered is known
    page.reload()
    expect(page.get_by_role("button", name="Why similar")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("h")
    expect(page.get_by_role("button", name="Why similar")).to_have_attribute("aria-pressed", "false")
    tiles(page).nth(3).locator("img").hover()
    page.wait_for_timeout(600)
    expect(page.locator("canvas.tile-why")).to_have_count(0)
    assert len(asked) == 2
    expect(visit().open("search?like=1,2").get_by_role("button", name="Why similar")).to_have_count(0)


def test_of_pictures_that_are_passed_over_only_the_last_is_explained(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    waiting: list[Route] = []
    page.route("**/explain", lambda route: waiting.append(route))  # noqa: PLW0108  (Playwright marks it)
    page.keyboard.press("h")
    for place in (0, 1, 2, 3):
        focus(page, place)
        expect(tiles(page).nth(place)).to_have_attribute("aria-busy", "true")
    assert len(waiting) == 1  # the others wait for their turn, and nobody looks at them any more
    with page.expect_request("**/explain") as asked:
        waiting[0].continue_()
    assert asked.value.post_data_json["b"] == id_of(page, 3)
    expect(page.locator("canvas.tile-why")).to_have_count(0)
    waiting[1].continue_()
    expect(tiles(page).nth(3).locator("canvas.tile-why")).to_be_visible()


def test_a_finger_that_stays_on_a_picture_asks_why(visit: Callable[..., Visit]):
    reader = visit(PHONE)
    page = reader.open("search?id=1")
    page.get_by_role("button", name="Options").tap()
    page.get_by_role("button", name="Why similar").tap()
    picture = tiles(page).nth(1).locator("img")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    finger = reader.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    expect(tiles(page).nth(1).locator("canvas.tile-why")).to_be_visible()
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    expect(tiles(page).nth(1).locator("canvas.tile-why")).to_be_visible()  # until another one is touched
    tiles(page).nth(2).locator("img").tap()
    expect(page.locator("dialog.lightbox")).to_be_visible()
    expect(page.locator("canvas.tile-why")).to_have_count(0)


def test_the_whole_grid_is_shown_as_the_model_sees_it(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    page.keyboard.press("e")
    expect(tiles(page).first.locator("img")).to_have_attribute("src", re.compile("/reconstruction"))
    page.get_by_role("button", name="As the model sees").click()
    expect(tiles(page).first.locator("img")).to_have_attribute("src", re.compile("size=thumb"))


def test_a_blurred_likeness_is_there_before_the_picture(visit: Callable[..., Visit], page_server: Server):
    reader = visit()
    page = reader.page
    listed = f"{reader.origin}/api/v1/galleries/drawings/items?limit=1&placeholders=true"
    deadline = time.monotonic() + 60
    while page.request.get(listed).json()["items"][0]["placeholder"] is None:  # they are being fitted
        assert time.monotonic() < deadline
    reader.open('browse?filter={"id":{"lt":10}}')
    held: list[Route] = []
    page.route("**/image?size=thumb*", lambda route: held.append(route))  # noqa: PLW0108  (Playwright marks it)
    focus(page, 0)
    page.keyboard.press("s")
    blurred = page.locator(".results .tile:has(.tile-picture[style*='data:image/bmp'])").first
    expect(blurred).to_be_visible()
    picture = page.locator(f".results .tile[data-id='{blurred.get_attribute('data-id')}'] .tile-picture")
    page.unroute("**/image?size=thumb*")
    for route in held:
        with suppress(Error):  # nobody waits for it any more
            route.continue_()
    expect(picture).to_have_css("background-image", "none")  # a picture may let something through


def test_a_model_without_decoder_offers_nothing_that_it_would_have_to_paint(visit: Callable[..., Visit]):
    page = visit().open("search?id=1", "foreign")
    expect(page.get_by_role("button", name="As the model sees")).to_have_count(0)
    focus(page, 0)
    page.keyboard.press(".")
    expect(page.locator('.picture-menu [data-action="similar"]')).to_be_visible()
    expect(page.locator('.picture-menu [data-action="morph"]')).to_have_count(0)
    page.keyboard.press("Escape")
    page = visit().open("search?like=1,2&unlike=3", "foreign")
    expect(page.locator(".query-parts li")).to_have_count(3)
    expect(page.locator(".query-seen img")).to_have_count(0)


# Everywhere ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scheme"),
    [pytest.param(DESKTOP, "light", marks=pytest.mark.full), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_tray_menu_and_comparisons_are_accessible(visit: Callable[..., Visit], size: dict[str, int], scheme: str):
    page = visit(size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce").open("search?like=1,2&unlike=3")
    for place, key in enumerate(("+", "-")):
        focus(page, place)
        page.keyboard.press(key)
    expect(page.locator(".tray-together")).to_be_visible()
    _check(page, size)
    focus(page, 3)
    page.keyboard.press(".")
    expect(page.locator(".picture-menu")).to_be_visible()
    _check(page, size)
    page.keyboard.press("Escape")
    page = visit(size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce").open(
        "search?id=1&crop=0,0,0.5,0.5"
    )
    expect(page.locator(".crop-layer.cropped")).to_be_visible()
    _check(page, size)
    tiles(page).first.locator(".tile-picture").click()
    for key, shown in (
        ("c", "figure"),
        ("o", ".over-tools"),
        ("w", "canvas.veil"),
        ("e", ".shot"),
        ("i", ".lightbox-details dl"),
    ):
        page.keyboard.press(key)
        expect(page.locator(f"dialog.lightbox {shown}").first).to_be_visible()
        _check(page, size)


def _check(page: Page, size: dict[str, int]) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


# Without JavaScript -------------------------------------------------------------------------------------------------


def test_without_javascript_combined_and_cropped_queries_are_answered(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/search?like=1,2*0.5&unlike=3")
    expect(page.locator(".query-name")).to_have_text("2 pictures, less 1")
    expect(tiles(page)).to_have_count(48)
    page.get_by_role("link", name="Show more").click()
    expect(page).to_have_url(re.compile(r"like=1,2\*0\.5&unlike=3&offset=48"))
    page.goto(f"{reader.origin}/g/drawings/search?id=1&crop=0,0,0.5,0.5&forms=mirror")
    expect(tiles(page)).to_have_count(48)
