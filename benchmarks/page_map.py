"""How smoothly the map of the page moves, by the browser's own trace; and how long it takes to be there.

    python benchmarks/page_map.py [--items 200000] [--seconds 5]

The gallery has random vectors and no files; the map's points stand in clusters of many sizes, as those of pictures do.
Small pictures come from the benchmark itself. The browser draws by software: no graphics card helps. A frame is what
the trace calls DrawFrame. On a machine that others use too frames come late for their sake; the processor time of a
frame is its own: in the page's script, in all of its main thread, and in the threads that put it on the screen. The
last column is the frame that is drawn at rest, with all points.
"""

import argparse
import gzip
import io
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, Route, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.living_gallery import fill
from benchmarks.server_start import averaging_bundle
from index_data.analyses import write_analysis
from index_data.gallery import Gallery
from index_data.generations import build_generation
from index_data.indexes.choosing import Aims
from tests.conftest import draw_picture

CLUSTERS = 60
WINDOW = {"width": 1280, "height": 860}
CATEGORIES = [
    "devtools.timeline",
    "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame",
]
# Events and the threads that they count on: the page's own drawing, all of its main thread, what puts it on the screen.
SCRIPTS = ("FireAnimationFrame", "CrRendererMain")
MAIN = ("RunTask", "CrRendererMain")
OTHERS = ("RunTask", "Compositor|VizCompositorThread|CrGpuMain")
ZOOMS = (1.0, 4.0, 16.0)  # at which the map is moved
INCLUDED = "folder,year,tags,camera,reconstruction,distance"  # what the page asks for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        gallery = place / "many"
        with Gallery.create(gallery, averaging_bundle(place / "model")) as many:
            fill(many, chosen.items)
            build_generation(many, Aims(kind="flat"))
            draw_map(many, chosen.items)
        with served(gallery, place / "log") as origin, sync_playwright() as playwright:
            answer(origin, chosen.items)
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
            )
            print(
                "| renderer, zoom | frames | of each: script, main thread, screen | share of points | script of all |"
            )
            for renderer in ("canvas", "webgl"):
                page = opened(browser, origin, renderer)
                for zoom in ZOOMS:
                    moved(browser, page, renderer, zoom, chosen.seconds)
                page.context.close()
            browser.close()


def draw_map(gallery: Gallery, count: int) -> None:
    """Keep a map of clusters whose sizes differ as those of pictures do."""
    random = np.random.default_rng(0)
    ids = np.array([number for (number,) in gallery.rows("SELECT id FROM items ORDER BY id")], np.int64)
    shares = random.pareto(1.2, CLUSTERS) + 0.1
    clusters = random.choice(CLUSTERS, count, p=shares / shares.sum()).astype(np.int32)
    middles, spreads = random.uniform(-0.85, 0.85, (CLUSTERS, 2)), random.uniform(0.02, 0.12, (CLUSTERS, 1))
    points = np.clip(middles[clusters] + random.normal(size=(count, 2)) * spreads[clusters], -1, 1)
    prototypes = random.integers(0, 255, (CLUSTERS, 32, 32, 3), np.uint8)
    _, medoids = np.unique(clusters, return_index=True)
    write_analysis(
        gallery,
        "map",
        gallery.seq,
        {"method": "umap", "clustering": "k-means"},
        ids=ids,
        points=points.astype(np.float32),
        clusters=np.unique(clusters, return_inverse=True)[1].astype(np.int32),
        medoids=ids[medoids],
        prototypes=prototypes[: len(medoids)],
    )


@contextmanager
def served(gallery: Path, log: Path) -> Iterator[str]:
    """A server of the gallery; its origin."""
    command = [sys.executable, "-m", "search_server", str(gallery), "--port", "0", "--no-browser"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=Path(__file__).resolve().parents[1])
    try:
        while not (found := re.search(r"http://localhost:(\d+)/", log.read_text())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield f"http://localhost:{found[1]}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def answer(origin: str, items: int) -> None:
    """Print how large the API's answer is, and how long it takes."""
    for what, query in (("JSON", "format=json"), ("columns", f"format=columns&include={INCLUDED}")):
        seconds, body = [], b""
        for _ in range(2):
            began = time.perf_counter()
            with urllib.request.urlopen(f"{origin}/api/v1/galleries/many/map?{query}") as response:
                body = response.read()
            seconds.append(time.perf_counter() - began)
        packed = len(gzip.compress(body, 6)) / 1e6
        print(
            f"| map of {items:,} points as {what} | {len(body) / 1e6:.2f} MB, {packed:.2f} MB with gzip; "
            f"{statistics.median(seconds):.2f} s |",
            flush=True,
        )


def opened(browser: Browser, origin: str, renderer: str) -> Page:
    """The map in a new window, when it is drawn."""
    page = browser.new_context(viewport=WINDOW).new_page()
    file = io.BytesIO()
    draw_picture(3, 256, 192).save(file, "WEBP")

    def give_picture(route: Route) -> None:
        route.fulfill(body=file.getvalue(), content_type="image/webp")

    page.route("**/image?size=thumb*", give_picture)
    began = time.perf_counter()
    page.goto(f"{origin}/g/many/map?renderer={renderer}")
    page.wait_for_selector(".map-stage:not(.skeleton)")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    print(f"| {renderer}: from the address to the map | {time.perf_counter() - began:.2f} s |", flush=True)
    page.wait_for_timeout(1500)
    return page


def moved(browser: Browser, page: Page, renderer: str, zoom: float, seconds: float) -> None:
    """Drag the map round and round, and print what the trace says of the frames."""
    box = page.locator(".map-stage").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.press("0")
    page.mouse.move(*middle)
    page.mouse.wheel(0, -float(np.log(zoom)) / 0.0022)
    page.wait_for_timeout(2500)
    browser.start_tracing(page=page, categories=CATEGORIES)
    # The browser itself sends the moves, 60 a second: a driver's would come as slowly as it is served.
    page.evaluate(DRAG, [*middle, 1000 * seconds])
    page.wait_for_timeout(600)  # it rests, and is drawn whole
    trace = json.loads(browser.stop_tracing())["traceEvents"]
    frames = drawn(trace)
    gaps = np.diff(frames)
    share = page.evaluate("document.querySelector('.map-stage').dataset.share ?? '1'")
    script, main_thread, raster = (sum(spent(trace, names)) / len(frames) for names in (SCRIPTS, MAIN, OTHERS))
    whole = max(spent(trace, SCRIPTS))
    p95 = float(np.quantile(gaps, 0.95))
    print(
        f"| {renderer}, zoom {zoom:g} | {1000 / gaps.mean():.0f} a second, 95th percentile {p95:.0f} ms "
        f"| {script:.1f}, {main_thread:.1f}, {raster:.1f} ms | {float(share):.2f} | {whole:.1f} ms |",
        flush=True,
    )


def drawn(trace: list[dict[str, Any]]) -> list[float]:
    """When the page's frames were drawn, in milliseconds."""
    pages = {
        event["pid"] for event in trace if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return sorted(event["ts"] / 1000 for event in trace if event["name"] == "DrawFrame" and event["pid"] in pages)


def spent(trace: list[dict[str, Any]], names: tuple[str, str]) -> list[float]:
    """Processor time of each event with a name, on threads with a name, in milliseconds."""
    event_name, thread_name = names
    threads = {
        (event["pid"], event["tid"])
        for event in trace
        if event["name"] == "thread_name" and re.fullmatch(thread_name, event["args"]["name"])
    }
    return [
        event.get("tdur", 0) / 1000
        for event in trace
        if event["name"] == event_name and event.get("ph") == "X" and (event["pid"], event["tid"]) in threads
    ]


DRAG = """([x, y, length]) => new Promise((done) => {
    const stage = document.querySelector(".map-stage");
    stage.setPointerCapture = () => {};
    const send = (kind, at) => stage.dispatchEvent(new PointerEvent(kind, {
        pointerId: 1, button: 0, bubbles: true, clientX: at[0], clientY: at[1] }));
    const began = performance.now();
    const place = () => {
        const turn = (performance.now() - began) / 400;
        return [x + 120 * Math.sin(turn), y + 90 * Math.sin(1.3 * turn)];
    };
    send("pointerdown", [x, y]);
    const timer = setInterval(() => {
        send("pointermove", place());
        if (performance.now() - began < length) return;
        clearInterval(timer);
        send("pointerup", place());
        done();
    }, 1000 / 60);
})"""


if __name__ == "__main__":
    main()
