"""A real browser on a real server, and what every test of the page asks at its end."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from export.bundle import Bundle, write_bundle
from tests.conftest import averaging_graphs, draw_picture
from tests.search_server.conftest import Server, make_gallery, serving

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
HOSTILE_NAME = "<img src=x onerror=alert(1)>.png"
PICTURES = 72  # more than one helping of neighbours
WAIT = 10_000  # milliseconds: far more than anything here takes on an idle machine


@pytest.fixture(scope="session")
def galleries(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Drawn pictures of several shapes, once with a model that paints and once with one that cannot."""
    pictures = tmp_path_factory.mktemp("page") / "pictures"
    pictures.mkdir()
    for number in range(PICTURES):
        width, height = ((120, 80), (80, 120), (96, 96), (160, 60))[number % 4]
        draw_picture(number, width, height).save(pictures / f"drawn-{number:02}.png")
    shutil.move(pictures / "drawn-02.png", pictures / HOSTILE_NAME)
    place = tmp_path_factory.mktemp("page-galleries")
    encoder, _ = averaging_graphs()
    foreign = write_bundle(place / "foreign-model", {("encoder", "fp32"): encoder}, bundle.facts, bundle.probes)
    return (
        make_gallery(place / "drawings", bundle, pictures),
        make_gallery(place / "foreign", foreign, pictures),
    )


@pytest.fixture(scope="session")
def page_server(
    galleries: tuple[Path, Path], halved_gallery: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of both galleries, and of one whose model has a semantic half."""
    with serving(*galleries, halved_gallery, log=tmp_path_factory.mktemp("page-server") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: the browser tests need Debian's chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


@dataclass
class Visit:
    """One reader: a browser window, and everything in it that must not happen."""

    context: BrowserContext
    page: Page
    origin: str
    troubles: list[str] = field(default_factory=list)
    expected: str = "$^"  # a pattern of console lines that belong to what is tested

    def open(self, path: str = "", gallery: str = "drawings") -> Page:
        return self.go(f"/g/{gallery}/{path}")

    def go(self, path: str) -> Page:
        self.page.goto(f"{self.origin}{path}")
        expect(self.page.locator("html[data-ready]")).to_be_attached()
        return self.page

    def verify(self) -> None:
        violations = self.page.evaluate("globalThis.policyViolations ?? []")
        assert [trouble for trouble in self.troubles if not re.search(self.expected, trouble)] == []
        assert violations == []


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """The servers of one test. They end after every window on them is closed: `visit` asks for this first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def visit(browser: Browser, page_server: Server, servers: ExitStack) -> Iterator[Callable[..., Visit]]:
    """Opens a window; at the end no error stands in its console, and nothing left the server.

    A server of a test's own is entered into `servers`, that it may outlive the windows.
    """
    visits: list[Visit] = []

    def begin(size: dict[str, int] = DESKTOP, *, server: Server = page_server, **options: Any) -> Visit:
        phone = size is PHONE
        context = browser.new_context(viewport=size, has_touch=phone, is_mobile=phone, **options)
        context.set_default_timeout(WAIT)
        reader = Visit(context, context.new_page(), f"http://localhost:{server.port}")
        watch(reader)
        visits.append(reader)
        return reader

    yield begin
    for reader in visits:
        reader.verify()
        reader.context.close()


def watch(reader: Visit) -> None:
    def requested(request: Any) -> None:
        if not request.url.startswith((reader.origin, "blob:", "data:")):
            reader.troubles.append(f"asked {request.url}")

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            reader.troubles.append(f"{message.text} {message.location.get('url', '')}")

    reader.page.on("request", requested)
    reader.page.on("console", said)
    reader.page.on("pageerror", lambda error: reader.troubles.append(str(error)))
    reader.page.on("dialog", lambda dialog: reader.troubles.append(f"dialog {dialog.message}"))
    reader.page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => "
        "(globalThis.policyViolations ??= []).push(`${event.violatedDirective} ${event.blockedURI}`));"
    )


def tiles(page: Page) -> Any:
    return page.locator(".grid .tile:not(.skeleton)")
