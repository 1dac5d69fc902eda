"""Where a request's time goes: decode, embed, search, fetch. Shown as Server-Timing and as `took_ms`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import g, has_request_context


def start() -> None:
    """Begin to time the request at hand."""
    g.started = time.perf_counter()
    g.stages = {}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time of the block to a stage of the request at hand, where there is one."""
    if not has_request_context():
        yield
        return
    begin = time.perf_counter()
    try:
        yield
    finally:
        g.stages[name] = g.stages.get(name, 0.0) + (time.perf_counter() - begin) * 1000


def took_ms() -> dict[str, float]:
    """Milliseconds by stage so far, and in all."""
    total = (time.perf_counter() - g.started) * 1000
    return {name: round(value, 2) for name, value in (*g.stages.items(), ("total", total))}


def server_timing() -> str:
    """The same as the value of a Server-Timing header."""
    return ", ".join(f"{name};dur={value}" for name, value in took_ms().items())
