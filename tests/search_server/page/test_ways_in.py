"""How a picture comes to the page from outside: by camera, as a folder, by address; and a network that goes away."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from index_data.engine import Engine
from search_server.app import create_app
from search_server.fetching import FetchPolicy
from search_server.service import EXTENSION
from search_server.settings import ServerSettings
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import Server, serving
from tests.search_server.page.conftest import CHROMIUM, DESKTOP, PHONE, QUIET, WAIT, Visit, tiles
from tests.search_server.test_fetching import PUBLIC, Stub, answering, whole
from train.workspace import Workspace

pytestmark = pytest.mark.browser

PICTURE = encoded(draw_picture(8, 120, 80), "WEBP", lossless=True)  # the pixels of drawn-08.png, in another file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium with a camera that films a drawing."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: the browser tests need Debian's chromium")
    with sync_playwright() as playwright:
        arguments = [*QUIET, "--use-fake-device-for-media-stream"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def page_server(galleries: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the drawn pictures."""
    with serving(galleries[0], log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


# The camera ---------------------------------------------------------------------------------------------------------


def test_a_photograph_is_searched_with(visit: Callable[..., Visit]):
    page = visit(permissions=["camera"]).open()
    page.evaluate(
        """() => {
            const { mediaDevices } = navigator;
            const ask = mediaDevices.getUserMedia.bind(mediaDevices);
            mediaDevices.getUserMedia = async (wanted) => (globalThis.filmed = await ask(wanted));
        }"""
    )
    page.get_by_role("button", name="Camera").click()
    dialog = page.get_by_role("dialog", name="Camera")
    shoot = dialog.get_by_role("button", name="Take the picture")
    expect(shoot).to_be_enabled()
    expect(shoot).to_be_focused()
    shoot.click()
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/search\?q=q_[\w-]+$"))
    expect(page.locator(".query-name")).to_have_text("Photo.jpg")
    expect(tiles(page)).to_have_count(48)
    states = page.evaluate("globalThis.filmed.getTracks().map((track) => track.readyState)")
    assert set(states) == {"ended"}  # the camera's light is off


def test_a_camera_that_is_closed_again_films_no_longer(visit: Callable[..., Visit]):
    page = visit(permissions=["camera"]).open()
    page.get_by_role("button", name="Camera").click()
    dialog = page.get_by_role("dialog", name="Camera")
    expect(dialog.get_by_role("button", name="Take the picture")).to_be_enabled()
    page.evaluate("globalThis.filmed = document.querySelector('video').srcObject")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("globalThis.filmed.active") is False
    expect(page.get_by_role("button", name="Camera")).to_be_focused()


def test_a_camera_that_may_not_be_used_says_what_to_do(visit: Callable[..., Visit]):
    page = visit(permissions=[]).open()
    page.get_by_role("button", name="Camera").click()
    dialog = page.get_by_role("dialog", name="Camera")
    expect(dialog.get_by_role("status")).to_have_text(re.compile("The camera may not be used: allow it"))
    expect(dialog.get_by_role("button", name="Take the picture")).to_be_disabled()


def test_a_phone_takes_a_photograph_with_its_own_camera(visit: Callable[..., Visit]):
    page = visit(PHONE).open()
    expect(page.get_by_role("button", name="Camera")).to_be_hidden()
    own = page.locator("label", has_text="Take a photo").locator("input")
    expect(own).to_have_attribute("capture", "environment")
    own.set_input_files({"name": "IMG_1.webp", "mimeType": "image/webp", "buffer": PICTURE})
    expect(page.locator(".query-name")).to_have_text("IMG_1.webp")
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile("^drawn-08.png, identical"))


# A folder -----------------------------------------------------------------------------------------------------------


def drop_path(reader: Visit, path: Path, over: str = "main") -> None:
    """Drop a file or a folder of this machine, as its window manager would."""
    box = reader.page.locator(over).bounding_box()
    assert box is not None
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    hand = reader.context.new_cdp_session(reader.page)
    for step in ("dragEnter", "dragOver", "drop"):
        if step == "drop" and over.startswith("#drop-veil"):
            expect(reader.page.locator(over)).to_be_visible()
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + min(box["height"], 400) / 2}
        hand.send("Input.dispatchDragEvent", {"type": step, "data": data, **place})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text, and a folder with pictures in it."""
    (tmp_path / "mine" / "inner").mkdir(parents=True)
    (tmp_path / "mine" / "notes.txt").write_text("Dear diary")
    (tmp_path / "mine" / "inner" / "picture-2.webp").write_bytes(PICTURE)
    (tmp_path / "mine" / "inner" / "picture-10.png").write_bytes(encoded(draw_picture(10)))
    return tmp_path / "mine"


def test_of_a_folder_that_is_dropped_the_first_picture_is_searched_with(visit: Callable[..., Visit], folder: Path):
    reader = visit()
    page = reader.open()
    drop_path(reader, folder)
    expect(page.locator(".query-name")).to_have_text("picture-2.webp")
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile("^drawn-08.png, identical"))
    expect(page.locator("#note")).to_have_text("Searching with the first of 2 pictures")


def test_a_folder_without_pictures_says_so(visit: Callable[..., Visit], folder: Path):
    for picture in (folder / "inner").iterdir():
        picture.unlink()
    reader = visit()
    page = reader.open()
    drop_path(reader, folder)
    expect(page.locator("#note")).to_have_text("There is no picture in this folder")
    expect(page).to_have_url(re.compile("/g/drawings/$"))


# A network that goes away ---------------------------------------------------------------------------------------------


def fetch_what_searches(page: Page) -> None:
    """Have here what the page fetches when it has come to rest, however busy the machine is."""
    page.evaluate(
        """async () => {
            const app = document.querySelector("script[type=module][src]").src;
            await import(new URL("search/search_view.js", app));
        }"""
    )
    page.wait_for_function("performance.getEntriesByType('resource').some((one) => one.name.endsWith('/search.css'))")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_search_goes_on_by_itself_when_the_network_is_back(visit: Callable[..., Visit], size: dict[str, int]):
    reader = visit(size)
    reader.expected = "ERR_INTERNET_DISCONNECTED"
    page = reader.open()
    fetch_what_searches(page)
    reader.context.set_offline(True)
    page.locator("#picture-file").set_input_files({"name": "mine.webp", "mimeType": "image/webp", "buffer": PICTURE})
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server does not answer")
    expect(alert).to_contain_text("mine.webp")
    reader.context.set_offline(False)
    expect(tiles(page)).to_have_count(48, timeout=4 * WAIT)
    expect(page.locator(".query-name")).to_have_text("mine.webp")
    expect(page).to_have_url(re.compile(r"/search\?q=q_[\w-]+$"))


def test_more_neighbours_come_when_the_network_is_back(visit: Callable[..., Visit]):
    reader = visit()
    reader.expected = "ERR_INTERNET_DISCONNECTED"
    page = reader.open("search?id=1")
    expect(tiles(page)).to_have_count(48)
    reader.context.set_offline(True)
    page.mouse.wheel(0, 20_000)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(tiles(page)).to_have_count(48)  # what was there stays
    reader.context.set_offline(False)
    expect(tiles(page)).to_have_count(71, timeout=4 * WAIT)


# An address ---------------------------------------------------------------------------------------------------------


@dataclass
class Local:
    """A server of this process."""

    port: int


@pytest.fixture
def fetching_server(galleries: tuple[Path, Path], tmp_path: Path, servers: ExitStack) -> Local:
    """A server that fetches pictures from pictures.example, which is a server of this test."""
    return servers.enter_context(serving_addresses(galleries[0], tmp_path))


@contextmanager
def serving_addresses(gallery: Path, place: Path) -> Iterator[Local]:
    engine = Engine.open(gallery, provider="cpu", threads=1)
    settings = ServerSettings(fetch_hosts=("pictures.example",), fetch_http=True)
    app = create_app({"drawings": engine}, settings, workspace=Workspace(place))
    service = app.extensions[EXTENSION]
    found = whole(PICTURE, "Content-Type: image/webp")
    missing = whole(b"not here", status="404 Not Found")
    with answering(lambda wire, path: wire.sendall(found if path == "/cat.webp" else missing)) as port:
        stub = Stub([[PUBLIC]], port)
        service.fetcher = stub.fetcher(FetchPolicy(frozenset({"pictures.example"}), plain_http=True))
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Local(server.server_port)
        server.shutdown()
        thread.join()
        server.server_close()
    service.close()
    engine.close()


def search_address(page: Page, address: str) -> None:
    page.get_by_label("Address of a picture").fill(address)
    page.get_by_role("button", name="Search", exact=True).click()


def test_an_address_is_searched_with_where_the_server_fetches_it(visit: Callable[..., Visit], fetching_server: Local):
    reader = visit(server=fetching_server)
    reader.expected = "status of [45]"
    page = reader.open()
    search_address(page, "http://pictures.example/cat.webp")
    expect(page.locator(".query-name")).to_have_text("cat.webp")
    expect(tiles(page).first.locator("img")).to_have_attribute("alt", re.compile("^drawn-08.png, identical"))
    expect(page).to_have_url(re.compile(r"/search\?q=q_[\w-]+$"))
    page.go_back()
    for address in ("http://elsewhere.example/cat.webp", "http://pictures.example/dog.webp"):
        search_address(page, address)
        expect(page.get_by_role("alert")).to_contain_text(address)
        page.get_by_role("button", name="Start over").click()
        expect(page.get_by_label("Address of a picture")).to_be_visible()
    reader.verify()
    page.goto("about:blank")
