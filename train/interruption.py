"""Ctrl-C and `kill`: finish the step in hand, save, and end with 130 or 143; a second signal ends at once."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C and many service managers signal a whole group: what a parent hands on then arrives a second time.
SAME_SIGNAL_SECONDS = 1.0


class Interrupted(Exception):
    """Raised where work has been saved and the process should end as the signal asks."""

    def __init__(self, signal_number: int, saved: str = "") -> None:
        super().__init__(saved)
        self.exit_code = 128 + signal_number


class StopRequest:
    """Remembers the first SIGINT or SIGTERM, for a loop that looks at it between two steps."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __bool__(self) -> bool:
        return self.signal_number is not None

    def raise_if_set(self, saved: str = "") -> None:
        """End the work here, where everything is saved.

        Args:
            saved: What the user should know: what is kept, and how to go on.
        """
        if self.signal_number is not None:
            raise Interrupted(self.signal_number, saved)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Watch for SIGINT and SIGTERM inside the block (main thread only)."""
    request = StopRequest()
    asked_at = 0.0

    def remember(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_at
        if not request:
            request.signal_number, asked_at = number, time.monotonic()
        elif time.monotonic() - asked_at > SAME_SIGNAL_SECONDS:
            # The user insists: no clean-up; every format here survives a kill.
            os._exit(128 + number)

    with _handling(remember):
        yield request


def wait_for(child: subprocess.Popen[bytes]) -> int:
    """Wait for a child process, hand SIGINT and SIGTERM on to it, and return its exit code (main thread only)."""
    with _handling(lambda number, _frame: child.send_signal(number)):
        code = child.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
