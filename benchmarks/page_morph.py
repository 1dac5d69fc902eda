"""How long the page takes from a key press on a slider to its frame, from what it has fetched already.

    lookalike serve GALLERY --no-browser &
    python benchmarks/page_morph.py http://localhost:8000 GALLERY

Debian's chromium presses the arrow keys on the slider of a morph, and on one of Explore. The time is that from the key
event's own time stamp to the first task after the frame that shows it; up to 17 ms of it are the wait for that frame at
60 a second. What the page's thread computes for a move (its own clock, which stands while others have the processor)
is told beside it, and any question to the server in between is counted: there should be none.
"""

import argparse
import json
import statistics
import urllib.request
from dataclasses import dataclass

from playwright.sync_api import CDPSession, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WINDOW = {"width": 1280, "height": 860}
MEASURE = """
(slider) => {
    globalThis.waits = [];
    slider.addEventListener("keydown", (event) => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => globalThis.waits.push(performance.now() - event.timeStamp);
        port2.postMessage(null); // runs after the frame is painted
    }));
    slider.focus();
}
"""


@dataclass(frozen=True)
class Measured:
    """What the moves of one slider took."""

    waits: list[float]  # milliseconds
    questions: int  # that went to the server meanwhile
    computed: float  # milliseconds of the page's thread, all moves together

    def words(self) -> str:
        """Median, 95th percentile and worst; what a move costs; whether the server was asked."""
        twentieths = statistics.quantiles(self.waits, n=20)
        return (
            f"median {twentieths[9]:.1f} ms, 95 % within {twentieths[18]:.1f} ms, worst {max(self.waits):.1f} ms; "
            f"{self.computed / len(self.waits):.1f} ms of the page's thread a move "
            f"({len(self.waits)} moves, {self.questions} questions to the server)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("origin")
    parser.add_argument("gallery")
    parser.add_argument("--moves", type=int, default=200)
    chosen = parser.parse_args()
    origin = chosen.origin.rstrip("/")
    with urllib.request.urlopen(f"{origin}/api/v1/galleries/{chosen.gallery}/items?limit=3&seed=1") as answer:
        a, via, b = (item["id"] for item in json.load(answer)["items"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport=WINDOW, reduced_motion="reduce").new_page()
        place = f"{origin}/g/{chosen.gallery}"
        for words, address in {
            "morph, 16 frames": f"{place}/morph?a={a}&b={b}",
            "tour of three, 95 frames": f"{place}/morph?a={a}&via={via}&b={b}&frames=48",
        }.items():
            page.goto(address)
            page.wait_for_selector(".film-frame[aria-current]")
            print(f"{words}: {moved(page, '#morph-t', chosen.moves).words()}")
        page.goto(f"{place}/explore?id={a}")
        page.wait_for_selector(".axis-end img[src]")
        print(f"explore, one of eight axes: {moved(page, '#axis-1', chosen.moves).words()}")
        browser.close()


def moved(page: Page, selector: str, moves: int) -> Measured:
    """Press the arrow keys on a slider, from its start on and back again."""
    slider = page.locator(selector)
    slider.evaluate(MEASURE)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    before = computed(session)
    for number in range(moves):
        # Held, not released: a slider that rests asks for what lies around its new place.
        page.keyboard.down("ArrowRight" if number % 100 < 50 else "ArrowLeft")
        slider.evaluate(
            "(_, number) => new Promise((done) => { const look = () => globalThis.waits.length > number ? done() "
            ": setTimeout(look, 5); look(); })",
            number,
        )
    after = computed(session)
    questions = sum("image?size=" not in address for address in asked)  # thumbnails of what is nearest may come
    page.keyboard.up("ArrowRight")
    page.keyboard.up("ArrowLeft")
    return Measured(page.evaluate("globalThis.waits"), questions, after - before)


def computed(session: CDPSession) -> float:
    """Milliseconds that the page's thread has computed."""
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(metrics["TaskDuration"])


if __name__ == "__main__":
    main()
