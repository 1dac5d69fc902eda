"""What the model has learnt: sliders along the main axes, and groups of pictures, painted."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from export.bundle import Bundle
from tests.conftest import draw_picture
from tests.search_server.conftest import Server, make_gallery, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, WAIT, Visit, tiles
from tests.search_server.page.test_page import PICTURE, drop

pytestmark = pytest.mark.browser

FOLDERS = {"bright": 12, "dark": 8}


@pytest.fixture(scope="session")
def page_server(
    galleries: tuple[Path, Path], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of 20 pictures in two folders, and of one whose model cannot paint."""
    pictures = tmp_path_factory.mktemp("explored") / "pictures"
    for folder, count in FOLDERS.items():
        (pictures / folder).mkdir(parents=True)
        for number in range(count):
            picture = draw_picture(number).point(lambda value, dark=folder == "dark": value // (3 if dark else 1))
            picture.save(pictures / folder / f"drawn-{number:02}.png")
    place = make_gallery(tmp_path_factory.mktemp("galleries") / "drawings", bundle, pictures)
    with serving(place, galleries[1], log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


def paint(page: Page) -> str:
    """What the stage shows."""
    return page.locator(".explore-canvas").evaluate("(canvas) => canvas.toDataURL()")


def opened(visit: Callable[..., Visit], address: str = "explore", **options: object) -> Page:
    """The view, with everything painted that it paints by itself."""
    page = visit(reduced_motion="reduce", **options).open(address)
    settled(page)
    return page


def settled(page: Page) -> None:
    expect(page.locator(".explore-stage:not([aria-busy])")).to_be_visible(timeout=WAIT)
    expect(page.locator(".axis-end img[src]")).to_have_count(16, timeout=WAIT)
    page.wait_for_load_state("networkidle")


def slider(page: Page, number: int) -> Locator:
    return page.get_by_role("slider", name=f"Axis {number}", exact=True)


def test_a_slider_changes_what_is_painted_from_what_is_here_already(visit: Callable[..., Visit]):
    page = opened(visit, "explore?id=3")
    expect(page.locator(".explore-start strong")).to_have_text("drawn-01.png")
    home = slider(page, 1).get_attribute("aria-valuetext")
    first = paint(page)
    page.route("**/api/**", lambda route: route.abort())  # dragging asks for nothing that is not here
    shown = {first}
    slider(page, 1).evaluate(
        "(field) => { for (const place of [-3, -1.5, 0.5, 2.8]) {"
        "field.value = place; field.dispatchEvent(new Event('input')); "
        "(globalThis.seen ??= []).push(document.querySelector('.explore-canvas').toDataURL()); } }"
    )
    shown |= set(page.evaluate("globalThis.seen"))
    assert len(shown) == 5
    page.unroute("**/api/**")

    slider(page, 1).fill("2")
    slider(page, 1).dispatch_event("change")
    expect(page).to_have_url(re.compile(r"explore\?id=3&at=1%3A2\.00$"))
    settled(page)
    expect(page.locator(".explore-real a")).to_have_count(6)
    moved = paint(page)
    page.reload()
    settled(page)
    expect(slider(page, 1)).to_have_attribute("aria-valuetext", "+2.0 standard deviations")
    assert paint(page) == moved

    page.get_by_role("button", name="Reset").click()
    expect(page).to_have_url(re.compile(r"explore\?id=3$"))
    settled(page)
    expect(slider(page, 1)).to_have_attribute("aria-valuetext", home or "")
    assert paint(page) == first


def test_the_ends_of_an_axis_show_what_is_painted_and_what_is_real_there(visit: Callable[..., Visit]):
    page = opened(visit)
    expect(page.locator(".explore-start strong")).to_have_text("the average of all pictures")
    expect(page.locator(".axis").first.locator(".axis-real a")).to_have_count(6)
    before = paint(page)
    page.locator(".axis").first.get_by_role("button", name="Axis 1, upper end").click()
    expect(page).to_have_url(re.compile(r"at=1%3A3\.00$"))
    settled(page)
    assert paint(page) != before
    page.locator(".axis").first.locator(".axis-real a").first.click()
    expect(page).to_have_url(re.compile(r"/search\?id=\d+$"))
    page.go_back()
    expect(page).to_have_url(re.compile(r"at=1%3A3\.00$"))
    expect(slider(page, 1)).to_have_attribute("aria-valuetext", "+3.0 standard deviations")


def test_what_is_painted_can_be_searched_with(visit: Callable[..., Visit]):
    page = opened(visit, "explore?id=3&at=2:1.50")
    page.get_by_role("button", name="Find what looks like this").click()
    expect(page.locator(".query-name")).to_have_text("Painted from drawn-01.png, axis 2 at +1.5")
    expect(tiles(page)).to_have_count(sum(FOLDERS.values()))
    assert re.search(r"/search\?q=q_[\w-]+$", page.url)


def test_it_starts_from_a_dropped_or_any_picture_and_steps_at_random(visit: Callable[..., Visit]):
    page = opened(visit)
    drop(page, PICTURE, target="[data-slot=start]")
    expect(page.locator(".explore-start strong")).to_have_text("mine.png")
    settled(page)
    assert re.search(r"explore\?q=q_[\w-]+$", page.url)
    page.get_by_role("button", name="Start from any picture").click()
    expect(page).to_have_url(re.compile(r"explore\?id=\d+$"))
    page.get_by_role("button", name="Random step").click()
    expect(page).to_have_url(re.compile(r"at=1%3A"))
    page.get_by_role("button", name="Start from the average of all pictures").click()
    expect(page).to_have_url(re.compile(r"explore$"))
    settled(page)


def test_a_random_walk_goes_on_until_it_is_stopped(visit: Callable[..., Visit]):
    page = visit().open("explore")
    settled(page)
    page.get_by_role("button", name="Random walk").click()
    page.wait_for_function("() => document.querySelectorAll('.axis-field.moved').length > 4")
    page.get_by_role("button", name="Stop").click()
    expect(page).to_have_url(re.compile(r"at=1%3A"))
    place = slider(page, 1).input_value()
    settled(page)
    assert slider(page, 1).input_value() == place


def test_groups_are_painted_beside_their_pictures_and_lead_on(visit: Callable[..., Visit]):
    page = opened(visit)
    groups = page.locator(".prototype:not(.skeleton)")
    expect(groups.first).to_contain_text("Group 1")
    page.get_by_text("Folders", exact=True).click()
    expect(groups).to_have_count(2)
    expect(page).to_have_url(re.compile("by=folder"))
    expect(groups.first).to_contain_text("bright")
    expect(groups.first).to_contain_text("12 pictures")
    expect(groups.first.locator(".prototype-members a")).to_have_count(6)
    page.get_by_role("button", name="Browse dark").click()
    expect(tiles(page)).to_have_count(FOLDERS["dark"])
    page.go_back()
    page.get_by_role("button", name="Find what looks like bright").click()
    expect(page.locator(".query-name")).to_have_text("bright, painted")
    page.go_back()
    page.get_by_role("button", name="Explore from dark").click()
    expect(page.locator(".explore-start strong")).to_have_text("dark, painted")
    page.get_by_role("button", name="Morph: bright").click()
    expect(page.get_by_role("button", name="Morph: bright")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Morph: dark").click()
    expect(page.locator(".film-frame")).to_have_count(16)
    expect(page.locator(".slot-a .slot-name")).to_have_text("bright, painted")


def test_a_model_that_cannot_paint_and_a_picture_that_is_gone_are_said(visit: Callable[..., Visit]):
    reader = visit()
    reader.expected = "status of 404"
    reader.open("explore", "foreign")
    expect(reader.page.get_by_role("heading", name="This gallery's model cannot paint")).to_be_visible()
    page = reader.open("explore?q=q_0123456789012345678901")
    expect(page.get_by_role("alert")).to_contain_text("This search has expired")
    page.get_by_role("button", name="From the average").click()
    settled(page)


def test_without_javascript_the_axes_and_groups_are_pictures_and_links(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/explore")
    expect(page.get_by_text(re.compile(r"^Axis 1, \d+"))).to_be_visible()
    expect(page.get_by_role("img", name="Painted, step 2 of 3")).to_have_count(8)
    page.get_by_role("link", name="Folders").click()
    page.get_by_role("link", name="dark").click()
    expect(tiles(page)).to_have_count(FOLDERS["dark"])


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), pytest.param(PHONE, "dark", marks=pytest.mark.full)],
    ids=["desktop-light", "phone-dark"],
)
def test_it_is_accessible_and_never_wider_than_the_window(visit: Callable[..., Visit], size: dict, scheme: str):
    page = opened(visit, "explore?id=3&at=1:2.00&by=folder", size=size, color_scheme=scheme, bypass_csp=True)
    expect(page.locator(".prototype:not(.skeleton)")).to_have_count(2)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    small = page.locator("button:visible, label.button:visible, .axis-real a:visible").evaluate_all(
        "(all) => all.filter((one) => { const box = one.getBoundingClientRect(); "
        "return box.width < 43.5 || box.height < 43.5 }).map((one) => one.outerHTML)"
    )
    assert small == []
