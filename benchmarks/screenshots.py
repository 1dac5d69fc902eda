"""Photograph the page for the documentation, in Debian's chromium, from a running demo.

    lookalike demo --no-browser &
    python benchmarks/screenshots.py http://localhost:8000 docs/screenshots

The demo's pictures (OpenMoji, CC BY-SA 4.0) may be shown anywhere; those of other galleries may not, so other
galleries are refused.
"""

import io
import json
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
GALLERY = "openmoji"
QUERY = "grinning-cat-face-with-smiling-eyes_1F638.png"
ENDS = "fox-face_1F98A.png", "panda-face_1F43C.png"
DESKTOP, PHONE = (1280, 860), (390, 844)
QUALITY = 88  # of the WebP files: each well below 400 kB


@dataclass(frozen=True)
class Scene:
    """One photograph: what to open, in which window, and what to do there."""

    name: str
    address: str
    size: tuple[int, int]
    scheme: str
    prepare: Callable[[Page], None]


def main(origin: str, folder: Path) -> None:
    ids = ids_by_name(origin)
    query, a, b = (ids[name] for name in (QUERY, *ENDS))
    scenes = [
        Scene("start", "", DESKTOP, "light", settled),
        Scene("results", f"search?id={query}", DESKTOP, "light", point_at_a_tile),
        Scene("morph", f"morph?a={a}&b={b}&t=0.5", DESKTOP, "dark", morphed),
        Scene("phone", f"search?id={query}", PHONE, "dark", settled),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        for scene in scenes:
            width, height = scene.size
            phone = scene.size is PHONE
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scene.scheme,
                has_touch=phone,
                is_mobile=phone,
                device_scale_factor=2 if phone else 1,
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(f"{origin}/g/{GALLERY}/{scene.address}", wait_until="networkidle")
            scene.prepare(page)
            file = folder / f"{scene.name}.webp"
            Image.open(io.BytesIO(page.screenshot())).save(file, quality=QUALITY, method=6)
            print(f"{file}  {file.stat().st_size / 1000:.0f} kB")
            context.close()
        browser.close()


def ids_by_name(origin: str) -> dict[str, str]:
    """Ids of the demo's items by their files' names."""
    ids, cursor = {}, ""
    while True:
        address = f"{origin}/api/v1/galleries/{GALLERY}/items?limit=1000{cursor}"
        with urllib.request.urlopen(address) as answer:
            page = json.load(answer)
        ids |= {item["name"]: item["id"] for item in page["items"]}
        if page["next_cursor"] is None:
            return ids
        cursor = f"&cursor={page['next_cursor']}"


def settled(page: Page) -> None:
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")


def point_at_a_tile(page: Page) -> None:
    settled(page)
    page.locator(".tile").nth(2).hover()
    page.wait_for_timeout(500)  # the buttons fade in


def morphed(page: Page) -> None:
    page.wait_for_selector(".film-frame")
    settled(page)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
