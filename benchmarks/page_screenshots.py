"""Photograph every view of the page for the documentation: desktop and phone, light and dark, and a morph that moves.

    make screenshots
    python -m benchmarks.page_screenshots [--home lookalike] [--out docs/screenshots] [--only morph --only start]

Makes and serves the demo, computes what its views show, and takes all views that `views.js` names, in Debian's
chromium. The demo's pictures (OpenMoji, CC BY-SA 4.0) may be shown anywhere.
"""

import argparse
import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Error, FloatRect, Page, sync_playwright

from tests.search_server.page.views import every_view, settle

CHROMIUM = "/usr/bin/chromium"
GALLERY = "openmoji"
MODEL = GALLERY  # the demo names both alike
QUERY = "grinning-cat-face-with-smiling-eyes_1F638.png"
ENDS = "fox-face_1F98A.png", "panda-face_1F43C.png"
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
THEMES = "light", "dark"
ANALYSES = "duplicates/compute", "anomalies", "map"  # what the views show; two of them are jobs then
QUALITY = 80  # of the WebP files
READY_SECONDS = 1200  # a demo that is made for the first time trains
LATE_SECONDS = 40  # for what comes by and by: painted axes, thumbnails of a map
MOVING_WIDTH = 800  # pixels of the moving morph
STEPS = 16  # of it, one way
STEP_MS = 90
REST_MS = 700  # at either end
AIR = 12  # CSS pixels around it


@dataclass(frozen=True)
class Scene:
    """What to open, and what to do there."""

    name: str
    address: str
    prepare: Callable[[Page], None] = lambda page: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("lookalike"), help="workspace of the demo")
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--only", action="append", default=[], help="name of a scene")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with serving_demo(chosen.home) as origin, sync_playwright() as playwright:
        for analysis in ANALYSES:
            compute(origin, analysis)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        ids = ids_by_name(origin)
        for scene in scenes(ids):
            if not chosen.only or scene.name in chosen.only:
                for size in SIZES:
                    photograph(browser, origin, scene, size, chosen.out)
        if not chosen.only or "moving" in chosen.only:
            film_morph(
                browser, f"{origin}/g/{GALLERY}/morph?a={ids[ENDS[0]]}&b={ids[ENDS[1]]}", chosen.out / "morph.webp"
            )
        browser.close()
    total = sum(file.stat().st_size for file in chosen.out.iterdir())
    print(f"{chosen.out}: {len(list(chosen.out.iterdir()))} files, {total / 1e6:.2f} MB")


def scenes(ids: dict[str, str]) -> list[Scene]:
    """All views with content, and the states of them that are worth a picture of their own."""
    a, b = (ids[name] for name in ENDS)
    found = [
        Scene("start", f"/g/{GALLERY}/"),
        Scene("lightbox", f"/g/{GALLERY}/search?id={ids[QUERY]}", open_first),
        Scene("model", f"/models?name={MODEL}", to_training),
    ]
    for view in every_view():
        first = ids[QUERY] if view.name in ("search", "item") else a
        found.append(Scene(view.name, view.address(GALLERY, first, b), PREPARED.get(view.name, lambda page: None)))
    return found


def photograph(browser: Browser, origin: str, scene: Scene, size: str, folder: Path) -> None:
    """Take a scene in both themes."""
    width, height = SIZES[size]
    phone = size == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=1.5 if phone else 1,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(origin + scene.address)
    settle(page)
    with suppress(Error):  # a view that follows a job never rests
        page.wait_for_load_state("networkidle", timeout=LATE_SECONDS * 1000)
    scene.prepare(page)
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(700)  # what fades has faded, what comes late has come
        file = folder / f"{scene.name}-{size}-{theme}.webp"
        Image.open(io.BytesIO(page.screenshot())).save(file, quality=QUALITY, method=6)
        print(f"{file}  {file.stat().st_size / 1000:.0f} kB", flush=True)
    context.close()


def film_morph(browser: Browser, address: str, file: Path) -> None:
    """Move the morph's slider there and back, as an animated WebP: both ends, the stage and the slider."""
    width, height = SIZES["desktop"]
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce", color_scheme="light")
    page.goto(address)
    settle(page)
    slider = page.locator("input.morph-slider")
    around = around_all(page, (".slot-a", ".slot-b", ".morph-transport"))
    taken = []
    for number in range(STEPS + 1):
        slider.evaluate(
            "(field, share) => { field.value = String(field.max * share); field.dispatchEvent(new Event('input')) }",
            number / STEPS,
        )
        page.wait_for_timeout(60)
        taken.append(Image.open(io.BytesIO(page.screenshot(clip=around))).convert("RGB"))
    side = (MOVING_WIDTH, round(taken[0].height * MOVING_WIDTH / taken[0].width))
    taken = [frame.resize(side, Image.Resampling.LANCZOS) for frame in taken]
    frames = [*taken, *taken[-2:0:-1]]
    durations = [REST_MS if place in (0, STEPS) else STEP_MS for place in range(len(frames))]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=72, method=4)
    print(f"{file}  {file.stat().st_size / 1000:.0f} kB", flush=True)
    page.close()


def around_all(page: Page, selectors: tuple[str, ...]) -> FloatRect:
    """The room that some elements take together, with a little air."""
    boxes = [box for box in (page.locator(one).first.bounding_box() for one in selectors) if box]
    left, top = (min(box[edge] for box in boxes) - AIR for edge in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + AIR
    bottom = max(box["y"] + box["height"] for box in boxes) + AIR
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


@contextmanager
def serving_demo(home: Path) -> Iterator[str]:
    """`lookalike demo`, until it serves; its address."""
    with tempfile.NamedTemporaryFile() as log:
        words = ("search_server.lookalike", "demo", "--no-browser", "--port", "0", "--home", str(home))
        process = subprocess.Popen([sys.executable, "-m", *words], stdout=log, stderr=log)
        try:
            yield when_ready(process, Path(log.name))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def when_ready(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://localhost:\d+", log.read_text(errors="replace"))
        if found:
            return found[0]
        time.sleep(0.2)
    raise SystemExit(f"the demo does not serve: {log.read_text(errors='replace')[-2000:]}")


def compute(origin: str, analysis: str) -> None:
    """Let the server compute something of the gallery, and wait for the job."""
    job = ask(f"{origin}/api/v1/galleries/{GALLERY}/{analysis}", b"{}")
    while "state" in job and job["state"] in ("queued", "running"):
        time.sleep(0.5)
        job = ask(f"{origin}/api/v1/jobs/{job['id']}")
    if job.get("state", "done") != "done":
        raise SystemExit(f"{analysis}: {job}")


def ask(address: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"} if body else {})
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def ids_by_name(origin: str) -> dict[str, str]:
    """Ids of the demo's items by their files' names."""
    ids, cursor = {}, ""
    while True:
        page = ask(f"{origin}/api/v1/galleries/{GALLERY}/items?limit=1000{cursor}")
        ids |= {item["name"]: item["id"] for item in page["items"]}
        if page["next_cursor"] is None:
            return ids
        cursor = f"&cursor={page['next_cursor']}"


def open_first(page: Page) -> None:
    page.locator(".grid .tile-picture").first.click()
    page.locator("dialog.lightbox img").first.wait_for()


def to_training(page: Page) -> None:
    sheet = page.locator(".training-sheet img").first
    sheet.scroll_into_view_if_needed()
    sheet.evaluate("(image) => image.decode()")
    page.locator(".model-training").evaluate("(section) => section.scrollIntoView()")


def point_at_a_tile(page: Page) -> None:
    page.locator(".grid .tile").nth(2).hover()


PREPARED: dict[str, Callable[[Page], None]] = {"search": point_at_a_tile}


if __name__ == "__main__":
    main()
