"""Where a request's time goes: decode, embed, search, fetch. Shown as Server-Timing and as `took_ms`."""

import time
from types import TracebackType

from flask import g, has_request_context


def start() -> None:
    """Begin to time the request at hand."""
    g.started = time.perf_counter()
    g.stages = {}


class stage:  # noqa: N801  (read as a verb: with stage("decode"))
    """Add the time of the block to a stage of the request at hand, where there is one."""

    __slots__ = ("_begin", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if has_request_context():
            stages = g.stages
            stages[self._name] = stages.get(self._name, 0.0) + (time.perf_counter() - self._begin) * 1000


def took_ms() -> dict[str, float]:
    """Milliseconds by stage so far, and in all."""
    total = (time.perf_counter() - g.started) * 1000
    return {name: round(value, 2) for name, value in (*g.stages.items(), ("total", total))}


def server_timing() -> str:
    """The same as the value of a Server-Timing header."""
    return ", ".join(f"{name};dur={value}" for name, value in took_ms().items())
