"""Bytes that are kept for a while: bounded in room, number and time; the longest unused goes first."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """A dictionary that forgets; safe to use from several threads.

    Args:
        size_of: Bytes of a value.
        max_bytes: Of all values together.
        max_count: How many values.
        seconds: After which a value is forgotten; None: never for its age.
        clock: Seconds, for the age.
    """

    def __init__(
        self,
        size_of: Callable[[Value], int],
        *,
        max_bytes: int,
        max_count: int,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, tuple[Value, float]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> Value | None:
        """A value that is still there; asking keeps it from being the next to go, not from growing old."""
        with self._lock:
            self._forget_old()
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Key, value: Value) -> None:
        """Keep a value, and forget others where it needs the room; one that is larger than all the room is not kept."""
        with self._lock:
            self._remove(key)
            if self._size_of(value) > self._max_bytes:
                return
            self._entries[key] = (value, self._clock())
            self._bytes += self._size_of(value)
            self._forget_old()
            while self._bytes > self._max_bytes or len(self._entries) > self._max_count:
                self._remove(next(iter(self._entries)))

    def _forget_old(self) -> None:
        if self._seconds is None:
            return
        limit = self._clock() - self._seconds
        for key in [key for key, (_, born) in self._entries.items() if born < limit]:
            self._remove(key)

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= self._size_of(entry[0])

    def __len__(self) -> int:
        return len(self._entries)
