"""All views of the page, as its own table has them, each with an address that shows real content."""

import re
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from search_server.static_files import FOLDER

PATIENCE = 30_000  # milliseconds: far more than anything here takes on an idle machine

# What an address needs beside the view's name; `a` and `b` are items.
_OPENED_WITH = {"start": "", "search": "search?id={a}", "morph": "morph?a={a}&b={b}&t=0.5", "item": "item/{a}"}
_ENTRY = re.compile(r"^  (\w+): \{ load: (.*?),?$", re.MULTILINE)


@dataclass(frozen=True)
class View:
    """One view."""

    name: str
    everywhere: bool  # it is the server's, not a gallery's

    def address(self, gallery: str, a: str = "1", b: str = "2") -> str:
        """Its path, with content."""
        path = _OPENED_WITH.get(self.name, self.name).format(a=a, b=b)
        return f"/{path}" if self.everywhere else f"/g/{gallery}/{path}"


def every_view() -> list[View]:
    """The views that `views.js` names."""
    found = _ENTRY.findall((FOLDER / "views.js").read_text())
    assert {"search", "browse", "morph"} <= {name for name, _ in found}, "views.js is not written as it was"
    return [View(name, "everywhere: true" in entry) for name, entry in found]


def settle(page: Page) -> None:
    """Wait until a view shows what it was asked for."""
    expect(page.locator("html[data-ready]")).to_be_attached(timeout=PATIENCE)
    expect(page.locator("main [aria-busy=true], main .skeleton")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator("main .tile-picture img:not([src])")).to_have_count(0, timeout=PATIENCE)
    page.wait_for_function(
        "() => [...document.images].every((one) => one.complete || one.loading === 'lazy' || !one.checkVisibility())",
        timeout=PATIENCE,
    )
