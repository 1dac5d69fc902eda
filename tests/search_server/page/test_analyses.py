"""The views of what is computed of a gallery: one item, duplicates, outliers, the map."""

import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from export.bundle import Bundle
from index_data import metadata
from index_data.gallery import Gallery
from search_server.jobs import JobTable, now
from search_server.tokens import Tokens
from tests.conftest import draw_picture
from tests.index_data.test_commands import lookalike
from tests.search_server.conftest import Server, make_gallery, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles
from tests.search_server.page.views import every_view, settle

pytestmark = pytest.mark.browser

PICTURES = 40


@pytest.fixture(scope="module")
def computed_gallery(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures in two folders, two of them twice, one in two formats; of which everything is computed."""
    place = tmp_path_factory.mktemp("analyses")
    pictures = place / "pictures"
    for number in range(PICTURES):
        folder = pictures / ("hills", "sea")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        draw_picture(number, 120, 80).save(folder / f"drawn-{number:02}.png")
    for number in (0, 1):
        shutil.copy(pictures / ("hills", "sea")[number] / f"drawn-{number:02}.png", pictures / f"copy-{number}.png")
    for number in (4, 6, 8):
        draw_picture(number, 120, 80).save(pictures / f"same-{number}.webp", lossless=True)
    gallery = make_gallery(place / "galleries" / "drawings", bundle, pictures)
    with Gallery.open(gallery) as opened, opened.changes() as changes:
        for item in opened.items():
            metadata.change_own(changes, item.id, {"year": 2019 + item.id % 2})
        metadata.change_tags(changes, [3], add=["good"])
    for words in (("duplicates",), ("outliers", "--provider", "cpu"), ("map", "--provider", "cpu")):
        ended = lookalike("index", words[0], gallery, *words[1:], "-q")
        assert ended.returncode == 0, ended.stderr
    return gallery


@pytest.fixture(scope="module")
def page_server(computed_gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of that gallery, and of one of which nothing is computed."""
    place = tmp_path_factory.mktemp("analyses-server")
    bare = shutil.copytree(computed_gallery, place / "bare")
    shutil.rmtree(bare / "analyses")
    with serving(computed_gallery, bare, log=place / "log") as running:
        yield running


def check(page: Page) -> None:
    """Nothing is wrong with it for those who cannot see it, and it is no wider than its window."""
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        "[...document.querySelectorAll('main a, main button, main summary')].filter((one) => {"
        "const box = one.getBoundingClientRect(); return box.width && (box.width < 44 || box.height < 44); })"
        ".map((one) => one.outerHTML)"
    )
    assert small == []


LOOKS = pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])


# An item ------------------------------------------------------------------------------------------------------------


@LOOKS
def test_an_item_shows_all_that_is_known_of_it(visit: Callable[..., Visit], size, theme):
    page = visit(size, color_scheme=theme, bypass_csp=True).open("item/3")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"\.(png|webp)$"))
    expect(page.locator(".facts").first).to_contain_text("120 × 80 pixels")
    expect(page.locator(".item-seen figure")).to_have_count(4)
    expect(page.locator(".small-map")).to_be_visible()
    expect(tiles(page)).to_have_count(12)
    check(page)


def test_an_item_leads_to_the_next_and_back(visit: Callable[..., Visit]):
    page = visit().open("item/3")
    name = page.get_by_role("heading", level=1).inner_text()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"/item/4$"))
    expect(page.get_by_role("heading", level=1)).not_to_have_text(name)
    page.get_by_role("link", name="Picture after").click()
    expect(page).to_have_url(re.compile(r"/item/5$"))
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_role("button", name="More like this").click()
    expect(page).to_have_url(re.compile(r"/search\?id=3$"))


def test_tags_can_be_given_and_taken_away_and_are_kept_though_the_reader_leaves_at_once(visit: Callable[..., Visit]):
    reader = visit()
    page = reader.open("item/3")
    expect(page.locator(".tag")).to_have_text(["good"])
    page.get_by_label("New tag").fill("<b>hill")
    page.get_by_label("New tag").press("Enter")
    expect(page.locator(".tag")).to_have_text(["<b>hill", "good"])
    page.get_by_role("button", name="Take the tag good away").click()
    expect(page.locator(".tag")).to_have_text(["<b>hill"])
    page.goto("about:blank")
    for _ in range(200):
        if page.request.get(f"{reader.origin}/api/v1/galleries/drawings/items/3").json()["tags"] == ["<b>hill"]:
            break
        page.wait_for_timeout(50)
    reader.open("item/3")
    expect(page.locator(".tag")).to_have_text(["<b>hill"])
    page.locator(".tag a").click()
    expect(tiles(page)).to_have_count(1)


def test_an_item_that_is_not_there_is_said(visit: Callable[..., Visit]):
    reader = visit()
    reader.expected = "404"
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/item/999")
    expect(page.get_by_role("heading", name="This picture is no longer in the gallery")).to_be_visible()


# Duplicates ---------------------------------------------------------------------------------------------------------


@LOOKS
def test_duplicates_stand_side_by_side(visit: Callable[..., Visit], size, theme):
    page = visit(size, color_scheme=theme, bypass_csp=True).open("duplicates")
    expect(page.locator(".group")).to_have_count(5)
    expect(page.locator(".member.kept")).to_have_count(5)
    page.get_by_role("link", name="Same file").click()
    expect(page.locator(".group")).to_have_count(2)
    expect(page).to_have_url(re.compile("only=bytes"))
    page.get_by_role("link", name="Same pixels").click()
    expect(page.locator(".group")).to_have_count(3)
    page.locator(".group").first.get_by_role("button", name="Difference").click()
    expect(page.get_by_alt_text(re.compile("What differs"))).to_be_visible()
    check(page)
    page.go_back()
    expect(page.locator(".group")).to_have_count(2)


def test_duplicates_are_reviewed_with_the_keyboard(visit: Callable[..., Visit], page_server: Server):
    page = visit().open("duplicates?only=pixels")
    groups = page.locator(".group")
    expect(groups.first).to_have_attribute("aria-current", "true")
    page.keyboard.press("2")
    expect(page.locator("#reviewed")).to_contain_text("1 of 3 reviewed")
    expect(groups.first.locator(".keeper")).to_contain_text("chosen by hand")
    expect(groups.nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("n")
    expect(groups.nth(1)).to_have_attribute("data-verdict", "different")
    expect(groups.nth(2)).to_have_attribute("aria-current", "true")
    page.keyboard.press("a")
    expect(page.locator("#reviewed")).to_contain_text("3 of 3 reviewed, 3 files could go")
    page.keyboard.press("k")
    page.keyboard.press("z")
    expect(groups.nth(1)).to_have_attribute("data-verdict", "")
    expect(page.locator("#reviewed")).to_contain_text("2 of 3 reviewed")
    listed = page_server.get("/api/v1/galleries/drawings/duplicates/surplus", reviewed=True).json()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    assert json.loads(Path(download.value.path()).read_text()) == listed
    assert len(listed["items"]) == 2


# Outliers -----------------------------------------------------------------------------------------------------------


@LOOKS
def test_outliers_are_ranked_with_what_the_model_makes_of_them(visit: Callable[..., Visit], size, theme):
    page = visit(size, color_scheme=theme, bypass_csp=True).open("outliers")
    expect(page.locator(".outlier:not(.skeleton)")).to_have_count(45)
    expect(page.locator(".outlier").first.get_by_alt_text(re.compile("Error map"))).to_be_visible()
    first = page.locator(".outlier").first.get_attribute("data-id")
    page.get_by_text("Farthest from others").click()
    expect(page).to_have_url(re.compile("by=distance"))
    expect(page.locator(".outlier:not(.skeleton)")).to_have_count(45)
    page.locator(".outlier").first.get_by_role("button", name="on the tray").click()
    expect(page.locator(".outlier").first.locator("[data-act=tray]")).to_have_attribute("aria-pressed", "true")
    check(page)
    page.go_back()
    expect(page.locator(".outlier").first).to_have_attribute("data-id", str(first))


# The map ------------------------------------------------------------------------------------------------------------


def stage(page: Page):
    return page.locator(".map-stage:not(.skeleton)")


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Draw on the map, in shares of its width and height."""
    box = stage(page).bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


@LOOKS
def test_the_map_shows_clusters_and_lists_what_is_in_them(visit: Callable[..., Visit], size, theme):
    page = visit(size, color_scheme=theme, bypass_csp=True).open("map")
    expect(stage(page)).to_be_visible()
    assert stage(page).get_attribute("data-renderer") == "canvas"  # no graphics card here
    expect(page.locator(".cluster")).to_have_count(5)
    page.get_by_label("Colour by").select_option("Folder")
    expect(page.locator(".cluster-words")).to_have_text(["hills", "sea", "(top folder)"])
    expect(page).to_have_url(re.compile("by=folder"))
    page.get_by_role("button", name="List sea").click()
    expect(page.get_by_role("heading", name="sea: 20 pictures")).to_be_focused()
    expect(page.locator(".map-list .tile:not(.skeleton)")).to_have_count(20)
    check(page)


def test_the_map_moves_by_keys_and_the_address_keeps_its_place(visit: Callable[..., Visit]):
    page = visit().open("map")
    stage(page).focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"view=0\.\d+%2C[\d.-]+%2C1\.5$"))
    address = page.url
    page.keyboard.press("Enter")
    page.get_by_role("button", name="All about it").click()
    expect(page).to_have_url(re.compile(r"/item/\d+$"))
    page.go_back()
    expect(stage(page)).to_be_visible()
    assert page.url == address
    page.keyboard.press("0")
    expect(page).to_have_url(re.compile(r"view=0%2C0%2C1$"))


def test_what_a_lasso_or_a_box_encloses_goes_to_the_tray(visit: Callable[..., Visit]):
    page = visit(reduced_motion="reduce").open("map")
    page.get_by_role("button", name="Choose with a lasso").click()
    drag(page, (0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98))
    expect(page.locator(".map-bar")).to_contain_text("45 pictures chosen")
    page.get_by_role("checkbox", name=re.compile("^Show Cluster")).first.uncheck()
    page.get_by_role("button", name="Choose in a box").click()
    drag(page, (0.02, 0.02), (0.98, 0.98))
    expect(page.locator(".map-bar")).not_to_contain_text("45 pictures chosen")
    chosen = int(page.locator(".map-bar p").inner_text().split()[0])
    page.get_by_role("button", name="Put on the tray").click()
    expect(page.locator("#note")).to_contain_text(f"{chosen} pictures are on the tray")
    page.get_by_role("button", name="List them").click()
    expect(page.locator(".map-list .tile:not(.skeleton)")).to_have_count(chosen)


# How many colours the canvas of the points has: read right after a frame was drawn, when WebGL still holds it.
COLOURS = """() => new Promise((resolve) => {
    const canvas = document.querySelector(".map-stage canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    document.querySelector(".map-zooms button:nth-child(3)").click();
    const look = (left) => {
        copy.drawImage(canvas, 0, 0);
        const pixels = new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
        const seen = new Set(pixels.filter((pixel) => pixel >>> 24 > 200));
        if (seen.size > 3 || !left) resolve(seen.size);
        else requestAnimationFrame(() => look(left - 1));
    };
    requestAnimationFrame(() => look(60));
})"""


@pytest.mark.parametrize("renderer", ["canvas", "webgl"])
def test_points_are_drawn_with_and_without_webgl(visit: Callable[..., Visit], renderer: str):
    reader = visit()
    reader.expected = "GPU stall"  # reading back what software drew is slow, says the driver: the test does it
    page = reader.open(f"map?renderer={renderer}")
    expect(stage(page)).to_have_attribute("data-renderer", renderer)
    assert page.evaluate(COLOURS) > 3  # points of several clusters


# Sends a picture that no gallery has, and gives the id that stands for it.
SENT = """async () => {
  const canvas = new OffscreenCanvas(90, 60);
  const context = canvas.getContext("2d");
  context.fillStyle = "orange";
  context.fillRect(20, 10, 40, 30);
  const form = new FormData();
  form.set("image", await canvas.convertToBlob(), "sent.png");
  const root = location.pathname.split("/map")[0];
  const answer = await fetch(`/api/v1${root.replace("/g/", "/galleries/")}/queries`, {method: "POST", body: form});
  return (await answer.json()).id;
}"""


def test_a_search_and_a_morph_are_shown_on_the_map(visit: Callable[..., Visit]):
    page = visit().open("map?id=3")
    expect(page.locator(".map-query")).to_contain_text("and its 24 neighbours")
    page.goto(f"{page.url.split('?')[0]}?q={page.evaluate(SENT)}")
    expect(page.locator(".map-query")).to_contain_text("the two main axes put it here")
    expect(page.locator(".map-query")).to_contain_text("and its 24 neighbours")
    page = visit().open("map?path=3,9")
    expect(page.locator(".map-query")).to_contain_text("real pictures")
    page.get_by_role("link", name="The morph").click()
    expect(page).to_have_url(re.compile(r"/morph\?a=3&b=9"))


@pytest.fixture
def bare_server(computed_gallery: Path, tmp_path: Path, servers: ExitStack) -> Server:
    """A server of a gallery of which nothing is computed, for tests that compute it."""
    folder = shutil.copytree(computed_gallery, tmp_path / "lookalike" / "galleries" / "bare")
    shutil.rmtree(folder / "analyses")
    return servers.enter_context(serving(folder, log=tmp_path / "log"))


@pytest.mark.full  # UMAP takes a minute to be compiled
def test_a_map_by_umap_is_computed_from_the_page_and_a_sent_picture_lies_between_its_neighbours(
    visit: Callable[..., Visit], bare_server: Server
):
    pytest.importorskip("umap", reason="UMAP, of lookalike[map], is not installed")
    reader = visit(server=bare_server)
    reader.expected = "status of 409"  # not computed yet
    page = reader.open("map", gallery="bare")
    page.get_by_role("button", name="Draw it with UMAP").click()
    expect(page.get_by_role("heading", name="Working …")).to_be_visible()
    expect(stage(page)).to_be_visible(timeout=300_000)  # UMAP is compiled first
    expect(page.locator(".map-side")).to_contain_text("UMAP: neighbours stay together")
    page.goto(f"{page.url.split('?')[0]}?q={page.evaluate(SENT)}")
    expect(page.locator(".map-query")).to_contain_text("the mean of where its 15 nearest pictures lie")
    page.get_by_role("button", name="Lay out with PCA").click()
    expect(page.locator(".map-side")).to_contain_text("PCA: along the two main axes")


def test_a_map_that_is_being_drawn_is_stopped_where_it_would_be_shown(
    visit: Callable[..., Visit], bare_server: Server, tmp_path: Path
):
    table = JobTable(tmp_path / "lookalike")
    job, _ = table.add("map", ["index_data", "map"], "bare")
    table.change(job.id, state="running", started_at=now(), done=5, total=10, message="Laying out 45 items (umap).")
    with table.lock_file(job.id).open("wb") as lock:  # whoever holds it stands for the job's process
        fcntl.flock(lock, fcntl.LOCK_EX)
        reader = visit(PHONE, server=bare_server)
        reader.expected = "status of 409"  # not computed yet
        page = reader.open("map", gallery="bare")
        expect(page.get_by_text("Laying out 45 items (umap).")).to_be_visible()
        check(page)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#note")).to_have_text("It is being stopped")
        assert table.get(job.id).cancelled
        table.change(job.id, state="cancelled", ended_at=now())
        expect(page.get_by_role("heading", name="The map is not drawn yet")).to_be_visible()
        expect(page.get_by_role("button", name="Draw it now")).to_be_visible()


# Readers who may only look -------------------------------------------------------------------------------------------

# What the buttons and links are called that change something, in any view.
CHANGES = re.compile(
    "^(Tag|Describe|Take out|Add (pictures|to the|a tag|the tag|a field)|Change |Draw |Lay out|Find (dup|out)"
    "|Look (again|for)|Measure|Train|Use it|Make |Build|Let version|Keep |They are all|Not duplicates|The same"
    "|New gallery|Stop|Cancel|Go on|Undo)"
)


def _changing(page: Page) -> set[str]:
    named = page.locator("header, main, .selection-bar").locator("button:visible, a.button:visible")
    words = {(one.get_attribute("aria-label") or one.inner_text()).strip() for one in named.all()}
    return {each for each in words if CHANGES.search(each)}


def test_a_reader_who_may_only_look_sees_every_view_and_nothing_that_changes_it(
    visit: Callable[..., Visit], servers: ExitStack, computed_gallery: Path, tmp_path: Path
):
    folder = shutil.copytree(computed_gallery, tmp_path / "galleries" / "drawings")
    tokens = Tokens(tmp_path / "lookalike")
    secrets = {scope: tokens.create(scope, scope) for scope in ("read", "admin")}
    found: dict[str, dict[str, set[str]]] = {}
    server = servers.enter_context(serving(folder, log=tmp_path / "log", options=("--trusted-proxies", "1")))
    for scope, secret in secrets.items():
        reader = visit(server=server)
        page = reader.page
        page.goto(reader.origin)
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        found[scope] = {}
        for view in every_view():
            page.goto(f"{reader.origin}{view.address('drawings', '3', '5')}")
            settle(page)
            expect(page.locator("main").get_by_role("alert")).to_have_count(0)
            if view.name == "browse":
                tiles(page).first.hover()
                tiles(page).first.get_by_role("checkbox").click()
            found[scope][view.name] = _changing(page)
    assert {view: words for view, words in found["read"].items() if words} == {}
    assert {"browse", "duplicates", "item", "jobs", "models", "new"} <= {
        view for view, words in found["admin"].items() if words
    }


# Without JavaScript -------------------------------------------------------------------------------------------------


def test_without_javascript_all_of_it_can_be_read(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/drawings/item/3")
    expect(page.locator(".grid .tile")).to_have_count(12)
    page.goto(f"{reader.origin}/g/drawings/duplicates")
    expect(page.locator(".group")).to_have_count(5)
    page.get_by_role("link", name="Same file").click()
    expect(page.locator(".group")).to_have_count(2)
    page.goto(f"{reader.origin}/g/drawings/outliers?by=distance")
    expect(page.locator(".outlier")).to_have_count(45)
    page.goto(f"{reader.origin}/g/drawings/map")
    expect(page.locator(".clusters li").first).to_contain_text("pictures")
    page.goto(f"{reader.origin}/g/bare/duplicates")
    expect(page.locator("main")).to_contain_text("lookalike index duplicates bare")


# What is not computed yet -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "start", "there"),
    [
        ("duplicates", "Look for duplicates", ".group"),
        ("outliers", "Look for outliers", ".outlier"),
        ("map", "Draw it now", ".map-stage"),
    ],
)
def test_what_is_not_computed_is_computed_with_one_click(
    visit: Callable[..., Visit], view: str, start: str, there: str
):
    reader = visit()
    reader.expected = "409"  # the browser's own line about an answer that the page expects
    page = reader.open(view, gallery="bare")
    page.get_by_role("button", name=start).click()
    expect(page.locator(f"{there}:not(.skeleton)").first).to_be_visible(timeout=60_000)
