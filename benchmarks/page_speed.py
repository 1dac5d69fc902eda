"""How fast the page is, against what it has to keep: first view, results, and scrolling through a large gallery.

    python -m benchmarks.page_speed GALLERY --many FOLDER [--beside CHECKOUT] [--rounds 5]

GALLERY holds real pictures, FOLDER is what `python -m benchmarks.repeated_gallery` made of it. A real server and
Debian's chromium, all on this machine; frames and tasks come from the browser's own trace, and nothing asks the page
anything while it is measured. With --beside, another checkout's server answers by turns with ours, so that both see
the same machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.browser_trace import CHROMIUM, QUIET, recorded
from benchmarks.page_screenshots import when_ready

WINDOW = {"width": 1280, "height": 860}
ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120_000  # milliseconds
SETTLE = 1_500  # milliseconds after which nothing is on its way any more
GESTURES = (  # pixels, pixels a second
    ("wheel", 12_000, 1_500),
    ("fast", 60_000, 12_000),
)
# Says when the page is ready and when pictures stand in a grid, and counts nothing else.
WATCH = """
    new MutationObserver((changes, watcher) => {
        if (document.documentElement.dataset.ready === undefined) return;
        globalThis.readyAt = performance.now();
        performance.mark("ready");
        watcher.disconnect();
    }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-ready"] });
"""


@dataclass
class Figures:
    """What was measured of one server."""

    by_name: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Note a value of one round."""
        self.by_name.setdefault(name, []).append(value)

    def median(self, name: str) -> str:
        """The median of all rounds, in words."""
        values = self.by_name.get(name)
        return "-" if values is None else f"{statistics.median(values):,.0f}"


ROWS = (  # what is measured, in words; the bound
    ("bytes", "first view: kB on the wire until it can be used, headers included, all but pictures", "<= 150"),
    ("requests", "first view: requests until then, all but pictures", ""),
    ("later bytes", "first view: kB that come after it, for what its reader may want next", ""),
    ("ready", "first view: ms until it can be used, by the clock", "<= 1,000"),
    ("ready work", "first view: ms of processor time of the main thread until then", ""),
    ("again ready", "second visit: ms until it can be used, by the clock", ""),
    ("again ready work", "second visit: ms of processor time of the main thread until then", ""),
    ("again bytes", "second visit: kB on the wire until then, all but pictures", ""),
    ("paint", "a search with a file: ms from the answer to its first frame, by the clock", "<= 100"),
    ("paint work", "the same: ms of processor time of the main thread", "<= 100"),
    *(
        row
        for name, distance, speed in GESTURES
        for row in (
            (f"{name} task", f"{distance:,} px at {speed:,} px/s: ms of processor time of the longest task", "<= 50"),
            (f"{name} longest", "the same: ms between two frames, the longest, by the clock", "<= 50"),
            (f"{name} usual", "the same: ms between two frames, median, by the clock", ""),
        )
    ),
    ("jump task", "40 jumps of 50,000 px: ms of processor time of the longest task", "<= 50"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--many", type=Path, help="a gallery of many items")
    parser.add_argument("--picture", type=Path, help="a file to search with; else one that is drawn")
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    checkouts = [ROOT, *([chosen.beside.resolve()] if chosen.beside else [])]
    galleries = [folder.resolve() for folder in (chosen.gallery, chosen.many) if folder]
    measured = [Figures() for _ in checkouts]
    with ExitStack() as open_until_then, tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        picture = chosen.picture or drawn_picture(Path(place))
        origins = [open_until_then.enter_context(serving(checkout, galleries)) for checkout in checkouts]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        for _ in range(chosen.rounds):
            for origin, figures in zip(origins, measured, strict=True):
                measure_first_view(browser, f"{origin}/g/{chosen.gallery.name}/", figures)
                measure_results(browser, f"{origin}/g/{chosen.gallery.name}/", picture, figures)
                if chosen.many:
                    measure_scrolling(browser, f"{origin}/g/{chosen.many.name}/browse", figures)
        browser.close()
    load = os.getloadavg()[0]
    print(f"Medians of {chosen.rounds}; {os.cpu_count()} cores, load {load:.1f} at the end.\n")
    print(f"| what | {' | '.join(['now', 'beside'][: len(measured)])} | aim |")
    print(f"|---|{'---|' * len(measured)}---|")
    for name, words, bound in ROWS:
        print(f"| {words} | {' | '.join(figures.median(name) for figures in measured)} | {bound} |")


def measure_first_view(browser: Browser, address: str, figures: Figures) -> None:
    """A first visit with nothing in the cache, and a second one."""
    context = browser.new_context(viewport=WINDOW)
    context.set_default_timeout(PATIENCE)
    for visit in ("", "again "):
        page = context.new_page()
        page.add_init_script(WATCH)
        answers = wire_answers(page)
        with recorded(browser, page) as trace:
            page.goto(address)
            settle(page, "ready")
        [ready, *_] = trace.named("ready")
        before = [answer.bytes for answer in answers if answer.finished <= ready]
        figures.add(f"{visit}bytes", sum(before) / 1000)
        figures.add(f"{visit}requests", len(before))
        figures.add(f"{visit}later bytes", sum(answer.bytes for answer in answers) / 1000 - sum(before) / 1000)
        figures.add(f"{visit}ready", page.evaluate("globalThis.readyAt"))
        figures.add(f"{visit}ready work", sum(trace.tasks(until=ready)))
        page.close()
    context.close()


def settle(page: Page, mark: str) -> None:
    """Wait until the page has set a mark and come to rest."""
    page.wait_for_timeout(SETTLE)
    while not page.evaluate("(mark) => performance.getEntriesByName(mark).length", mark):
        page.wait_for_timeout(SETTLE)
    page.wait_for_timeout(SETTLE)


@dataclass(frozen=True)
class Answer:
    """One request that was answered."""

    bytes: float  # on the wire
    finished: float  # milliseconds, by the clock of the trace


def wire_answers(page: Page) -> list[Answer]:
    """Answers to all requests but those for pictures of a gallery; filled while the page loads."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    pictures: set[str] = set()
    answers: list[Answer] = []

    def answered(event: dict[str, Any]) -> None:
        if "/api/" in event["response"]["url"] and event["type"] == "Image":
            pictures.add(event["requestId"])

    def finished(event: dict[str, Any]) -> None:
        if event["requestId"] not in pictures:
            answers.append(Answer(event["encodedDataLength"], event["timestamp"] * 1000))

    session.on("Network.responseReceived", answered)
    session.on("Network.loadingFinished", finished)
    return answers


def measure_results(browser: Browser, address: str, picture: Path, figures: Figures) -> None:
    """From the moment when the answer has come to the first frame with its pictures' places."""
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    expect(page.locator("html[data-ready]")).to_be_attached(timeout=PATIENCE)
    page.wait_for_timeout(SETTLE)
    page.evaluate(
        """() => new MutationObserver((changes, watcher) => {
            if (!document.querySelector(".answer .tile:not(.skeleton)")) return;
            performance.mark("results");
            watcher.disconnect();
        }).observe(document.querySelector("main"), { subtree: true, childList: true })"""
    )
    field = page.locator("#picture-file")
    # Nothing asks the page itself while it is measured: a selector that is looked for costs as much as a frame.
    with recorded(browser, page) as trace:
        with page.expect_response(lambda response: response.url.endswith("/search")):
            field.set_input_files(picture)
        settle(page, "results")
    [answered, *_], [placed, *_] = trace.received("/search"), trace.named("results")
    shown = trace.shows(placed)
    figures.add("paint", shown - answered)
    figures.add("paint work", sum(trace.tasks(answered, shown)))
    page.close()


def measure_scrolling(browser: Browser, address: str, figures: Figures) -> None:
    """Scroll through a gallery as a wheel does, faster than anybody reads, and by jumps."""
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    expect(page.locator(".grid .tile:not(.skeleton) img").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(2 * SETTLE)
    session = page.context.new_cdp_session(page)
    for name, distance, speed in GESTURES:
        with recorded(browser, page) as trace:
            middle = {"x": WINDOW["width"] // 2, "y": WINDOW["height"] // 2}
            gesture = {**middle, "yDistance": -distance, "speed": speed, "gestureSourceType": "mouse"}
            session.send("Input.synthesizeScrollGesture", gesture)
        figures.add(f"{name} task", trace.busiest())
        figures.add(f"{name} longest", max(trace.gaps()))
        figures.add(f"{name} usual", statistics.median(trace.gaps()))
    with recorded(browser, page) as trace:
        page.evaluate(
            """async () => {
                for (let number = 0; number < 40; number++) {
                    scrollBy(0, 50_000);
                    await new Promise((go) => setTimeout(go, 100));
                }
            }"""
        )
    figures.add("jump task", trace.busiest())
    page.close()


def drawn_picture(folder: Path) -> Path:
    from tests.conftest import draw_picture

    file = folder / "drawn.jpg"
    draw_picture(1, 1024, 768).save(file, quality=90)
    return file


@contextmanager
def serving(checkout: Path, galleries: list[Path]) -> Iterator[str]:
    """A checkout's server of some galleries; its origin."""
    with tempfile.NamedTemporaryFile() as log:
        command = [sys.executable, "-m", "search_server", *map(str, galleries), "--port", "0", "--no-browser"]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=checkout, env=environment)
        try:
            yield when_ready(process, Path(log.name))
        finally:
            process.terminate()
            process.wait(timeout=30)


if __name__ == "__main__":
    main()
