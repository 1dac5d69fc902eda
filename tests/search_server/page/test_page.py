"""The page in a real browser, on a real server: what a reader does, and what he sees then."""

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import Server
from tests.search_server.page.conftest import DESKTOP, HOSTILE_NAME, PHONE, PICTURES, Visit, tiles

pytestmark = pytest.mark.browser


def drop(page: Page, data: bytes, name: str = "mine.png", target: str = "main", event: str = "drop") -> None:
    """Drop, or paste, a file as an operating system would hand it over."""
    page.evaluate(
        """([encoded, name, target, kind]) => {
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            const place = document.querySelector(target);
            const options = { bubbles: true, cancelable: true };
            const paste = new ClipboardEvent(kind, { ...options, clipboardData: transfer });
            if (kind === "paste") place.dispatchEvent(paste);
            else for (const step of ["dragenter", "dragover", kind])
                place.dispatchEvent(new DragEvent(step, { ...options, dataTransfer: transfer }));
        }""",
        [base64.b64encode(data).decode(), name, target, event],
    )


def name_of(tile: Any) -> str:
    """The file's name, which the text alternative begins with."""
    return (tile.locator("img").get_attribute("alt") or "").split(",")[0]


PICTURE = encoded(draw_picture(8, 120, 80), "WEBP", lossless=True)  # the pixels of drawn-08.png, in another file


# The main way -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_that_comes_in_finds_itself_first(visit: Callable[..., Visit], event: str):
    page = visit().open()
    drop(page, PICTURE, event=event)
    expect(tiles(page)).to_have_count(48)
    first = tiles(page).first
    expect(first.locator("img")).to_have_attribute("alt", "drawn-08.png, identical, similarity 1.00")
    expect(page.locator(".query-name")).to_have_text("mine.png")
    expect(page.locator(".query-facts")).to_contain_text("Embedded in")
    assert page.locator(".query-seen img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert re.search(r"/search\?q=q_[\w-]+$", page.url)


def test_more_like_this_goes_on_and_back_comes_back(visit: Callable[..., Visit]):
    page = visit().open()
    drop(page, PICTURE)
    expect(tiles(page)).to_have_count(48)
    uploaded = page.url
    second = tiles(page).nth(1)
    name = name_of(second)
    second.hover()
    second.get_by_role("button", name="More like this").click()
    expect(page.locator(".query-name")).to_have_text(name)
    assert re.search(r"/search\?id=\d+$", page.url)
    expect(page.get_by_role("img", name=name)).to_have_count(1)  # the query, and no neighbour of itself

    page.go_back()
    expect(page.locator(".query-name")).to_have_text("mine.png")
    assert page.url == uploaded
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile(r"^drawn-08"))
    page.go_back()
    expect(page.get_by_role("heading", name="Find the pictures that look like yours")).to_be_visible()
    page.go_forward()
    expect(page.locator(".query-name")).to_have_text("mine.png")
    page.reload()
    expect(page.locator(".query-name")).to_have_text("mine.png")
    expect(tiles(page)).to_have_count(48)


# Ways in ------------------------------------------------------------------------------------------------------------


def test_a_phone_searches_with_a_file_from_its_picker_or_camera(visit: Callable[..., Visit]):
    page = visit(PHONE).open()
    camera = page.locator("input[capture]")
    expect(camera).to_have_attribute("capture", "environment")
    camera.set_input_files(files=[{"name": "photo.png", "mimeType": "image/png", "buffer": PICTURE}])
    expect(page.locator(".query-name")).to_have_text("photo.png")
    expect(tiles(page)).to_have_count(48)
    tiles(page).first.locator("a").tap()  # opens it; Back closes it, and not the page
    expect(page.locator("dialog.lightbox")).to_be_visible()
    page.go_back()
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    expect(page.locator(".query-name")).to_have_text("photo.png")


def test_a_tile_can_be_dropped_back_on_the_page(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    name = name_of(tiles(page).first)
    tiles(page).first.locator("a").drag_to(page.locator(".query"))
    expect(page.locator(".query-name")).to_have_text(name)


def test_the_page_offers_pictures_and_surprises(visit: Callable[..., Visit]):
    page = visit().open()
    expect(tiles(page)).to_have_count(40)
    before = [picture.get_attribute("src") for picture in page.locator(".tile img").all()]
    page.get_by_role("button", name="Shuffle").click()
    expect(page.locator(f'.tile:first-child img:not([src="{before[0]}"])')).to_be_attached()
    page.get_by_role("button", name="Surprise me").click()
    expect(page.locator(".query-name")).to_be_visible()
    page.go_back()
    expect(tiles(page)).to_have_count(40)


# Results ------------------------------------------------------------------------------------------------------------


def test_more_results_come_with_scrolling_until_there_are_no_more(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    expect(tiles(page)).to_have_count(48)
    page.locator(".results-foot").scroll_into_view_if_needed()
    expect(tiles(page)).to_have_count(PICTURES - 1)
    expect(page.get_by_text("These are all.")).to_be_visible()
    page.locator(".results-foot").scroll_into_view_if_needed()
    place = page.evaluate("scrollY")
    tiles(page).last.hover()
    tiles(page).last.get_by_role("button", name="More like this").click()
    page.wait_for_function("() => scrollY === 0")
    page.go_back()
    expect(tiles(page)).to_have_count(PICTURES - 1)
    page.wait_for_function("(place) => Math.abs(scrollY - place) < 200", arg=place)


def test_the_least_score_hides_weaker_pictures_and_says_when_none_is_left(visit: Callable[..., Visit]):
    reader = visit()
    page = reader.open("search?id=1")
    hits = reader.page.request.get(f"{reader.origin}/api/v1/galleries/drawings/items/1/similar?k=48").json()["hits"]
    least = round(hits[7]["score"], 2)
    field = page.get_by_role("slider", name="Score at least")
    field.fill(f"{least:.2f}")
    expect(tiles(page).locator("visible=true")).to_have_count(sum(hit["score"] >= least for hit in hits))
    expect(page.get_by_role("button", name="Show weaker matches")).to_be_visible()
    field.fill("1")
    field.dispatch_event("change")
    expect(page.get_by_role("heading", name=re.compile("Nothing is closer than"))).to_be_visible()
    assert page.url.endswith("min=1.00")
    page.get_by_role("button", name="Show the nearest").click()
    expect(tiles(page).locator("visible=true")).to_have_count(48)


def test_pictures_keep_their_aspect_and_take_their_room_before_they_come(visit: Callable[..., Visit]):
    reader = visit()
    reader.page.route("**/image?size=thumb*", lambda route: route.abort())
    reader.expected = "ERR_FAILED"
    page = reader.open("search?id=1")
    expect(tiles(page)).to_have_count(48)
    aspects = page.locator(".tile-picture").evaluate_all(
        "(all) => all.map(({ clientWidth, clientHeight, firstChild: picture }) => "
        "[clientWidth / clientHeight, picture.getAttribute('width') / picture.getAttribute('height')])"
    )
    assert len(aspects) == 48
    for room, picture in aspects:
        assert room == pytest.approx(picture, rel=0.03)


def test_the_lightbox_walks_compares_and_leads_on(visit: Callable[..., Visit]):
    page = visit().open("search?id=1")
    tiles(page).first.locator("a").click()
    lightbox = page.locator("dialog.lightbox")
    names = [name_of(tiles(page).nth(number)) for number in range(2)]
    expect(lightbox.get_by_role("heading", name=names[0])).to_be_visible()
    expect(lightbox.get_by_role("button", name="Previous picture")).to_be_disabled()
    page.keyboard.press("ArrowRight")
    expect(lightbox.get_by_role("heading", name=names[1])).to_be_visible()
    page.keyboard.press("c")
    expect(lightbox.get_by_role("img")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(lightbox).to_be_hidden()
    expect(tiles(page).nth(1).locator("a")).to_be_focused()
    page.keyboard.press("Enter")
    lightbox.get_by_role("button", name="More like this").click()
    expect(page.locator(".query-name")).to_have_text(names[1])
    expect(lightbox).to_be_hidden()
    page.go_back()
    expect(page).to_have_url(re.compile(r"\?id=1$"))


def test_everything_can_be_done_with_the_keyboard(visit: Callable[..., Visit]):
    page = visit().open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#picture-file")).to_be_focused()
    tiles(page).first.locator("a").focus()
    page.keyboard.press("ArrowRight")
    expect(tiles(page).nth(1).locator("a")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("s")
    expect(page.locator(".query-name")).to_be_visible()
    expect(page.locator("#announcements")).to_have_text(re.compile(r"48 results\. The nearest is .+, similarity"))
    tiles(page).first.locator("a").focus()
    page.keyboard.press("m")
    expect(page.locator(".film-frame")).to_have_count(16)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.get_by_role("checkbox", name="Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_a_file_name_is_text_and_nothing_else(visit: Callable[..., Visit]):
    page = visit().open("browse")
    expect(page.locator(f"img[alt='{HOSTILE_NAME}']")).to_have_count(1)
    page.locator(f".tile:has(img[alt='{HOSTILE_NAME}']) a").click()
    expect(page.locator(".query-name")).to_have_text(HOSTILE_NAME)
    page.reload()
    expect(page.locator(".query-name")).to_have_text(HOSTILE_NAME)
    assert page.title() == f"{HOSTILE_NAME} · Lookalike"


# The similarity slider ----------------------------------------------------------------------------------------------

WEIGHT = "From same thing to looks the same"


def names_shown(page: Page) -> list[str]:
    return [name_of(tile) for tile in tiles(page).all()]


def names_found(reader: Visit, item: str, beta: float) -> list[str]:
    address = f"{reader.origin}/api/v1/galleries/halved/items/{item}/similar?k=48&beta={beta}"
    return [hit["name"] for hit in reader.page.request.get(address).json()["hits"]]


def ranked(page: Page, names: list[str]) -> None:
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile(f"^{re.escape(names[0])},"))
    page.wait_for_function(
        "(names) => [...document.querySelectorAll('.grid .tile img')].slice(0, 48)"
        ".every((image, place) => image.alt.startsWith(`${names[place]},`))",
        arg=names,
    )


def test_the_similarity_slider_ranks_anew_and_the_address_keeps_its_weight(visit: Callable[..., Visit]):
    reader = visit()
    page = reader.open("search?id=1", "halved")
    indexed, same_thing, looks = (names_found(reader, "1", beta) for beta in (1, 0, 1000))
    slider = page.get_by_role("slider", name=WEIGHT)
    back = page.get_by_role("button", name="As indexed")
    expect(slider).to_have_attribute("aria-valuetext", "as indexed")
    expect(back).to_be_disabled()
    ranked(page, indexed)

    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "same thing only")
    ranked(page, same_thing)
    expect(slider).to_be_focused()  # the slider is the one that was there: only what stands below it is new
    expect(page).to_have_url(re.compile(r"\?id=1&beta=0$"))
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "looks the same only")
    ranked(page, looks)
    expect(page).to_have_url(re.compile(r"\?id=1&beta=1000$"))
    expect(page.locator("#announcements")).to_have_text(re.compile("48 results"))

    page.reload()
    expect(slider).to_have_attribute("aria-valuetext", "looks the same only")
    ranked(page, looks)
    back.click()
    ranked(page, indexed)
    expect(page).to_have_url(re.compile(r"\?id=1$"))
    expect(slider).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "1 of 10 towards looks the same")
    expect(page).to_have_url(re.compile(r"beta=2$"))
    slider.dblclick()
    expect(page).to_have_url(re.compile(r"\?id=1$"))


def test_the_weight_goes_on_to_the_next_search_and_back_comes_back_to_it(visit: Callable[..., Visit]):
    reader = visit()
    page = reader.open("search?id=1&beta=0", "halved")
    same_thing = names_found(reader, "1", 0)
    ranked(page, same_thing)
    second = tiles(page).nth(1)
    assert (second.locator("a").get_attribute("href") or "").endswith("&beta=0")
    second.hover()
    second.get_by_role("button", name="More like this").click()
    expect(page.locator(".query-name")).to_have_text(same_thing[1])
    expect(page).to_have_url(re.compile(r"beta=0$"))
    page.get_by_role("button", name="As indexed").click()
    expect(page).not_to_have_url(re.compile("beta"))
    page.go_back()
    expect(page.get_by_role("slider", name=WEIGHT)).to_have_attribute("aria-valuetext", "same thing only")
    ranked(page, same_thing)


def test_a_picture_that_came_in_can_be_weighed_and_its_list_goes_on(visit: Callable[..., Visit]):
    page = visit().open(gallery="halved")
    drop(page, PICTURE)
    expect(tiles(page)).to_have_count(48)
    page.get_by_role("slider", name=WEIGHT).fill("10")
    expect(page).to_have_url(re.compile(r"/search\?q=q_[\w-]+&beta=1000$"))
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile("^drawn-008.png, identical"))
    page.locator(".results-foot").scroll_into_view_if_needed()
    expect(tiles(page)).to_have_count(96)
    scores = [float(score.replace("−", "-")) for score in page.locator(".tile .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)


def test_a_model_without_a_semantic_half_has_no_slider(visit: Callable[..., Visit]):
    reader = visit()
    page = reader.open("search?id=1")
    expect(tiles(page)).to_have_count(48)
    expect(page.get_by_role("slider", name=WEIGHT)).to_have_count(0)
    reader.expected = "status of 409"
    page = reader.open("search?id=1&beta=5")
    expect(page.get_by_role("alert")).to_contain_text("The model has no semantic half")


def test_without_javascript_the_weights_are_links(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/halved/search?id=1")
    expect(page.get_by_role("link", name="as indexed")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="looks the same").click()
    expect(page).to_have_url(re.compile("beta=1000"))
    expect(tiles(page)).to_have_count(48)
    assert names_shown(page) == names_found(reader, "1", 1000)
    page.get_by_role("link", name="Show more").click()
    expect(page).to_have_url(re.compile("beta=1000&offset=48"))
    expect(tiles(page)).to_have_count(48)


# When it goes wrong -------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_picture_is_explained(visit: Callable[..., Visit]):
    reader = visit()
    reader.expected = "status of 415"
    page = reader.open()
    drop(page, b"Dear diary", name="diary <b>.jpg")
    expect(page.get_by_role("alert")).to_contain_text("This file cannot be read as a picture")
    expect(page.get_by_role("alert")).to_contain_text("diary <b>.jpg")
    page.locator("#picture-file").set_input_files(files=[{"name": "a.png", "mimeType": "image/png", "buffer": PICTURE}])
    expect(tiles(page)).to_have_count(48)


def test_a_file_that_is_too_large_is_not_even_sent(visit: Callable[..., Visit]):
    page = visit().open()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(21 * 2 ** 20)], "large.png"));
            document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: transfer }));
        }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("It has 21 MiB; at most 20 MiB are accepted")
    expect(page.get_by_role("alert")).to_contain_text("large.png")
    assert "POST" not in sent


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("search?q=q_0123456789012345678901", "This search has expired"),
        ("search?id=999999", "This picture is no longer in the gallery"),
        ("morph?a=1&b=999999", "This picture is no longer in the gallery"),
    ],
)
def test_what_is_gone_is_said(visit: Callable[..., Visit], address: str, words: str):
    reader = visit()
    reader.expected = "status of 404"
    page = reader.open(address)
    expect(page.get_by_role("alert")).to_contain_text(words)


# Everywhere ---------------------------------------------------------------------------------------------------------

VIEWS = {
    "start": "",
    "results": "search?id=1",
    "nothing": "search?id=1&min=1.00",
    "weighed": "../halved/search?id=1&beta=0",
    "browse": "browse",
    "morph": "morph?a=1&b=2",
    "empty morph": "morph",
    "problem": "search?id=999999",
    "lightbox": "search?id=1",
    "keyboard": "",
}


def _show(page: Page, view: str) -> None:
    page.wait_for_load_state("networkidle")
    if view == "lightbox":
        tiles(page).first.locator("a").click()
        expect(page.locator("dialog.lightbox img")).to_be_visible()
    if view == "keyboard":
        page.keyboard.press("?")
    if view == "morph":
        expect(page.locator(".film-frame")).to_have_count(16)


@pytest.mark.parametrize(
    ("size", "scheme"),
    [pytest.param(DESKTOP, "light", marks=pytest.mark.full), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_every_view_is_accessible_and_never_wider_than_the_window(
    visit: Callable[..., Visit], size: dict[str, int], scheme: str
):
    # The policy would keep the test's own script out as well; all other tests run under it.
    reader = visit(size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    reader.expected = "status of 404"
    for view, address in VIEWS.items():
        page = reader.open(address)
        _show(page, view)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], view
        small = page.locator("button:visible, label.button:visible, nav a:visible").evaluate_all(
            "(all) => all.filter((one) => { const box = one.getBoundingClientRect(); "
            "return box.width < 43.5 || box.height < 43.5 }).map((one) => one.outerHTML)"
        )
        assert small == [], view


def test_a_theme_that_was_chosen_stays(visit: Callable[..., Visit]):
    page = visit(color_scheme="light").open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    theme = page.get_by_role("button", name="Theme")
    theme.click()
    theme.click()
    expect(theme).to_have_attribute("aria-label", "Theme: dark")
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(ground) != light


# Without JavaScript -------------------------------------------------------------------------------------------------


def test_without_javascript_a_form_finds_and_links_lead_on(visit: Callable[..., Visit], tmp_path: Path):
    reader = visit(java_script_enabled=False)
    page = reader.page
    mine = tmp_path / "mine.png"
    mine.write_bytes(PICTURE)
    page.goto(f"{reader.origin}/")
    expect(page).to_have_url(re.compile("/g/drawings/$"))
    expect(tiles(page)).to_have_count(40)
    page.get_by_label("Choose a picture").set_input_files(mine)
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"/search\?q=q_"))
    expect(page.locator(".query-name")).to_have_text("mine.png")
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", "drawn-08.png, identical, similarity 1.00")
    page.get_by_role("link", name="Show more").click()
    expect(tiles(page)).to_have_count(PICTURES - 48)
    tiles(page).first.locator("a").click()
    expect(page).to_have_url(re.compile(r"/search\?id=\d+$"))
    page.get_by_role("link", name="Browse").click()
    expect(tiles(page)).to_have_count(PICTURES)
    page.goto(f"{reader.origin}/g/drawings/morph?a=1&b=2")
    expect(page.get_by_role("img", name="The morph, frame by frame")).to_be_visible()


def test_without_javascript_a_file_that_is_no_picture_is_explained(visit: Callable[..., Visit], tmp_path: Path):
    reader = visit(java_script_enabled=False)
    reader.expected = "status of 415"
    page = reader.page
    diary = tmp_path / "diary.txt"
    diary.write_text("Dear diary")
    page.goto(f"{reader.origin}/g/drawings/")
    page.get_by_label("Choose a picture").set_input_files(diary)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("Not an image format that is read here")
    expect(page.get_by_label("Search with another picture")).to_be_visible()


def test_a_gallery_that_is_not_served_is_not_found(page_server: Server):
    answer = page_server.get("/g/nothing/", headers={"Accept": "text/html"})
    assert answer.status == 404
    assert b"no gallery" in answer.body
    assert os.fsencode(str(Path.cwd())) not in answer.body
