"""Ctrl-C and `kill`: finish the step in hand, save, and end with 130 or 143; a second signal ends at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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

    def remember(number: int, _frame: FrameType | None) -> None:
        if request:
            # The user insists: no clean-up; every format here survives a kill.
            os._exit(128 + number)
        request.signal_number = number

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
