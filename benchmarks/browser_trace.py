"""What the browser itself recorded: when it drew frames, and how long its main thread worked for them.

For benchmarks of the page; `with recorded(browser, page) as trace: ...`, then ask the trace.
On a machine that others use too, a frame may be late for their sake: `busiest` counts processor time, which they do
not change, `gaps` the clock.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any

from playwright.sync_api import Browser, Page

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
CHROMIUM = "/usr/bin/chromium"
_TIMELINE = "disabled-by-default-devtools.timeline"
_CATEGORIES = ["devtools.timeline", _TIMELINE, f"{_TIMELINE}.frame", "blink.user_timing"]
_TASK = "RunTask"  # and nothing within it: what else the browser calls a task is a part of one


@dataclass
class Trace:
    """The events of one recording; times in milliseconds."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def drawn(self) -> list[float]:
        """When frames of the page were drawn."""
        mains = self._mains()
        pids = {pid for pid, _ in mains}
        return sorted(
            event["ts"] / 1000 for event in self.events if event["name"] == "DrawFrame" and event["pid"] in pids
        )

    def shows(self, moment: float) -> float:
        """When the first frame was drawn that shows what the document was at a moment.

        A frame that was committed to the compositor before may be drawn after it: it shows the document before.
        """
        commit = next(begun for begun in self.named("Commit") if begun > moment)
        active = next(begun for begun in self.named("ActivateLayerTree") if begun > commit)
        return next(drawn for drawn in self.drawn() if drawn >= active)

    def gaps(self) -> list[float]:
        """Times between one drawn frame and the next, by the clock."""
        drawn = self.drawn()
        return [after - before for before, after in pairwise(drawn)]

    def tasks(self, since: float = -inf, until: float = inf) -> list[float]:
        """Processor time of each task of the main thread that began between two moments, the longest first."""
        mains = self._mains()
        return sorted(
            (
                event.get("tdur", 0) / 1000
                for event in self.events
                if event["name"] == _TASK
                and event.get("ph") == "X"
                and (event["pid"], event["tid"]) in mains
                and since <= event["ts"] / 1000 <= until
            ),
            reverse=True,
        )

    def busiest(self) -> float:
        """Processor time of the main thread's longest task: what a frame waits for at the most."""
        return self.tasks()[0]

    def named(self, name: str) -> list[float]:
        """When events of this name happened in the page's process: `performance.mark(name)`."""
        pids = {pid for pid, _ in self._mains()}
        return sorted(event["ts"] / 1000 for event in self.events if event["name"] == name and event["pid"] in pids)

    def received(self, part: str) -> list[float]:
        """When answers from addresses with this part had come whole."""
        asked = {
            event["args"]["data"]["requestId"]
            for event in self.events
            if event["name"] == "ResourceSendRequest" and part in event["args"]["data"]["url"]
        }
        return sorted(
            event["ts"] / 1000
            for event in self.events
            if event["name"] == "ResourceFinish" and event["args"]["data"]["requestId"] in asked
        )

    def _mains(self) -> set[tuple[int, int]]:
        """Process and main thread of the page; the browser has pages of its own, which begin to work when it starts."""
        pids = {frame.get("processId") for frame in self._frames() if frame["url"].startswith("http")}
        return {
            (event["pid"], event["tid"])
            for event in self.events
            if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain" and event["pid"] in pids
        }

    def _frames(self) -> Iterator[dict[str, Any]]:
        for event in self.events:
            if event["name"] in ("TracingStartedInBrowser", "FrameCommittedInBrowser"):
                yield from event["args"]["data"].get("frames", [event["args"]["data"]])


@contextmanager
def recorded(browser: Browser, page: Page) -> Iterator[Trace]:
    """Record what the browser does for a page; the trace is filled at the end."""
    trace = Trace()
    browser.start_tracing(page=page, categories=_CATEGORIES)
    try:
        yield trace
    finally:
        trace.events = json.loads(browser.stop_tracing())["traceEvents"]
