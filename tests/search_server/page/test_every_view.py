"""What holds for every view: it can be read, reached and used, by whomever, on whatever they have."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import ImageEnhance
from playwright.sync_api import Browser, Page, expect

from export.bundle import Bundle
from tests.conftest import draw_picture
from tests.search_server.conftest import Server, make_gallery, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, WAIT, Visit, watch
from tests.search_server.page.views import View, every_view, settle

pytestmark = pytest.mark.browser

VIEWS = every_view()
every = pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])


def one_in(share: int, first: int) -> pytest.MarkDecorator:
    """One view in so many, beginning with the `first`; `make test-full` takes all of them."""
    marks = [() if number % share == first else pytest.mark.full for number in range(len(VIEWS))]
    views = [pytest.param(view, marks=mark, id=view.name) for view, mark in zip(VIEWS, marks, strict=True)]
    return pytest.mark.parametrize("view", views)


NARROW = {"width": 320, "height": 640}
ZOOMED = {"width": 640, "height": 400}  # 1280 x 800 at 200 %
TABS = 500  # more than any view has places to stop at
EVERYTHING = "everything"


@pytest.fixture(scope="session")
def furnished(halved_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one gallery that has all there is: folders, duplicates, a map, outliers."""
    place = tmp_path_factory.mktemp("furnished")
    for number in range(60):
        folder = place / "pictures" / ("round", "square", "wide")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        width, height = ((96, 96), (80, 120), (160, 60))[number % 3]
        picture = draw_picture(number, width, height)
        picture.save(folder / f"drawn-{number:02}.png")
        if number < 6:
            ImageEnhance.Brightness(picture).enhance(1.02).save(folder / f"drawn-{number:02} brighter.png")
        if number < 2:
            shutil.copy(folder / f"drawn-{number:02}.png", folder / f"drawn-{number:02} copy.png")
    gallery = make_gallery(place / EVERYTHING, halved_bundle, place / "pictures")
    for words in (("duplicates",), ("outliers", "--provider", "cpu"), ("map", "--provider", "cpu", "--clusters", "4")):
        command = [sys.executable, "-m", "index_data", words[0], str(gallery), *words[1:]]
        subprocess.run(command, check=True, capture_output=True, cwd=place)
    with serving(gallery, log=place / "log") as running:
        yield running


@pytest.fixture
def open_view(browser: Browser, furnished: Server) -> Iterator[Callable[..., Page]]:
    """Opens a view with its content; at the end no error stands in its console, and nothing left the server."""
    visits: list[Visit] = []

    def begin(view: View, size: dict[str, int] = DESKTOP, **options: Any) -> Page:
        phone = size is PHONE
        context = browser.new_context(viewport=size, has_touch=phone, is_mobile=phone, **options)
        context.set_default_timeout(WAIT)
        reader = Visit(context, context.new_page(), f"http://localhost:{furnished.port}")
        watch(reader)
        visits.append(reader)
        reader.page.goto(reader.origin + view.address(EVERYTHING))
        if options.get("java_script_enabled", True):
            settle(reader.page)
        return reader.page

    yield begin
    for reader in visits:
        reader.verify()
        reader.context.close()


STICKS_OUT = """() => [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => `${element.tagName} ${element.className} ${element.textContent.trim().slice(0, 40)}`)"""


@one_in(2, 0)
def test_every_view_is_accessible_in_the_light_and_in_the_dark(open_view: Callable[..., Page], view: View):
    expect_accessible(open_view, view, DESKTOP)


@one_in(2, 1)
def test_every_view_is_accessible_on_a_phone(open_view: Callable[..., Page], view: View):
    expect_accessible(open_view, view, PHONE)


def expect_accessible(open_view: Callable[..., Page], view: View, size: dict[str, int]) -> None:
    # The policy would keep the test's own script out as well; all other tests run under it.
    page = open_view(view, size, color_scheme="light", bypass_csp=True, reduced_motion="reduce")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
        # What depends on the colours is asked twice, all else once.
        found = Axe().run(page, options={} if scheme == "light" else {"runOnly": ["color-contrast"]})
        assert found.violations_count == 0, found.generate_report()
    assert too_small_to_press(page) == []


@every
def test_every_view_fits_into_a_narrow_and_into_a_magnified_window(open_view: Callable[..., Page], view: View):
    page = open_view(view)
    for size in (NARROW, ZOOMED):
        page.set_viewport_size(size)
        settle(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], page.evaluate(STICKS_OUT)
        expect(page.locator("main")).to_be_visible()


@one_in(3, 0)
def test_every_view_keeps_still_for_who_wants_less_motion(open_view: Callable[..., Page], view: View):
    page = open_view(view, reduced_motion="reduce")
    moving = page.evaluate(
        """() => document.getAnimations().filter((one) => {
            const { duration, iterations } = one.effect.getComputedTiming();
            return one.playState === "running" && (iterations === Infinity || duration > 10);
        }).map((one) => one.animationName ?? one.transitionProperty)"""
    )
    assert moving == []


@one_in(3, 1)
def test_every_view_can_be_seen_in_the_colours_that_the_reader_forces(open_view: Callable[..., Page], view: View):
    page = open_view(view, forced_colors="active", color_scheme="dark")
    # A pressed button, the chosen view: what only a colour said is said by nothing any more.
    chosen = page.locator("[aria-current]:visible, [aria-pressed=true]:visible")
    for one in chosen.all():
        look = "(one) => { const style = getComputedStyle(one); return [style.backgroundColor, style.borderColor, \
            style.borderStyle, style.outlineStyle, style.textDecorationLine, style.color, style.fontWeight].join() }"
        other = page.locator("nav a:not([aria-current]):visible, button[aria-pressed=false]:visible").first
        if other.count():
            assert one.evaluate(look) != other.evaluate(look), one.evaluate("(one) => one.outerHTML.slice(0, 200)")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


@one_in(2, 1)
def test_every_view_can_be_walked_through_with_the_keyboard(open_view: Callable[..., Page], view: View):
    page = open_view(view)
    stops = walk(page)
    assert len(stops) < TABS, "the focus never comes out again"
    assert [stop["words"] for stop in stops if not stop["seen"]] == [], "the focus cannot be seen"
    assert [stop["words"] for stop in stops if not stop["named"]] == [], "nothing says what this is"
    assert [stop["words"] for stop in stops if not stop["follows"]] == [], "the focus jumps back"
    assert stops[0]["words"].startswith("Skip")
    missed = page.evaluate(
        """() => {
            const wanted = "a[href], button:not([disabled]), input:not([disabled]), select, textarea, summary";
            return [...document.querySelectorAll(wanted)].filter((one) => !one.wasFocused && one.tabIndex >= 0
                && one.checkVisibility({ visibilityProperty: true }) && !(one.type === "radio" && !one.checked)
            ).map((one) => one.outerHTML.slice(0, 160));
        }"""
    )
    assert missed == [], "the keyboard does not reach these"


@one_in(3, 2)
def test_the_sheet_of_keys_keeps_the_focus_and_gives_it_back(open_view: Callable[..., Page], view: View):
    page = open_view(view)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect_kept_focus(page, lambda: page.keyboard.press("?"))


@pytest.mark.parametrize(
    ("name", "opener"),
    [("search", "main .tile-picture"), ("morph", ".slot-a .slot-picture")],
    ids=["an open picture", "the choice of a picture"],
)
def test_a_dialog_keeps_the_focus_and_gives_it_back(open_view: Callable[..., Page], name: str, opener: str):
    [view] = [view for view in VIEWS if view.name == name]
    page = open_view(view, reduced_motion="reduce")
    page.locator(opener).first.focus()
    expect_kept_focus(page, lambda: page.keyboard.press("Enter"))


SOMETHING = ("img", "a", "button", "table", "dl")


@one_in(2, 0)
def test_every_view_can_be_read_without_javascript(open_view: Callable[..., Page], view: View):
    page = open_view(view, java_script_enabled=False)
    main = page.locator("main")
    expect(main.get_by_role("heading", level=1)).to_be_visible()
    # A new gallery's place is in the gallery switch; in the bar it stands only where no gallery is served.
    expect(page.locator("header a[data-view][aria-current=page]").first).to_be_attached()
    # Something to look at or to do beside the heading.
    assert main.locator(", ".join(f"{kind}:visible" for kind in SOMETHING)).count() > 0
    expect(main.locator("[aria-busy=true], .skeleton")).to_have_count(0)


def test_without_javascript_the_bar_leads_to_every_view(open_view: Callable[..., Page]):
    page = open_view(VIEWS[0], java_script_enabled=False)
    links = page.locator("header nav a[data-view]").evaluate_all(
        "(all) => all.map((one) => [one.dataset.view, one.href])"
    )
    # A picture's own view and the start, where searches begin, have no link of their own in the bar; a gallery's making
    # has one only where none is served.
    assert {view.name for view in VIEWS} - {name for name, _ in links} <= {"start", "item", "new"}
    for name, address in dict(links).items():
        answer = page.goto(address)
        assert answer is not None
        assert answer.ok, address
        expect(page.locator(f"header nav [data-view={name}][aria-current=page]").first).to_be_attached()


def expect_kept_focus(page: Page, open_dialog: Callable[[], None]) -> None:
    """A dialog that is opened with the keyboard keeps the focus until Escape, which gives it back."""
    before = page.evaluate_handle("document.activeElement")
    open_dialog()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        # Between the last and the first stop the browser itself has the focus, never the page behind.
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_function("(before) => document.activeElement === before", arg=before)


def too_small_to_press(page: Page) -> list[str]:
    """Buttons and links of the bar with less than 44 pixels to a side."""
    found: list[str] = page.locator(
        "button:visible, label.button:visible, a.button:visible, nav a:visible, summary:visible"
    ).evaluate_all(
        "(all) => all.filter((one) => { const box = one.getBoundingClientRect(); "
        "return box.width < 43.5 || box.height < 43.5 }).map((one) => one.outerHTML)"
    )
    return found


def walk(page: Page) -> list[dict[str, Any]]:
    """Press Tab until the focus leaves the page; what it stopped at, in this order."""
    page.evaluate(
        """() => {
            let before = document.body;
            globalThis.stop = () => {
                const one = document.activeElement;
                if (one === document.body || one.wasFocused) return null;
                one.wasFocused = true;
                const same = one.type === "radio" ? document.querySelectorAll(`[name="${one.name}"]`) : [];
                same.forEach((each) => (each.wasFocused = true)); // the arrows go to the others
                const around = [one, ...one.querySelectorAll("*"), one.parentElement, one.nextElementSibling];
                const seen = around.filter(Boolean).map((each) => getComputedStyle(each)).some((style) =>
                    style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1);
                const words = (one.getAttribute("aria-label") ?? one.innerText ?? "").trim();
                const follows = Boolean(before.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING);
                before = one;
                return {
                    words: words || one.outerHTML.slice(0, 160),
                    seen,
                    named: Boolean(words || one.labels?.length || one.title || one.querySelector("img[alt]")
                        || one.getAttribute("aria-labelledby")),
                    follows,
                };
            };
        }"""
    )
    stops = []
    for _ in range(TABS):
        page.keyboard.press("Tab")
        stop = page.evaluate("stop()")
        if stop is None:
            break
        stops.append(stop)
    return stops
