"""One call for several requests: on a GPU, calls of one picture each leave most of it idle.

Nobody waits for company: who asks while nothing is computed is computed at once, alone. What comes meanwhile goes
together in the next call. Calls have a few fixed sizes, filled up with zeros, because a GPU's libraries plan each new
size anew, which takes longer than many pictures.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = (1, 2, 4, 8, 16, 32)  # pictures of one call

Rows = NDArray[Any]  # (n, ...)
Compute = Callable[[Rows], Sequence[Rows]]  # rows to rows of one or more outputs, as many of each


@dataclass
class _Request:
    rows: Rows
    its_turn: threading.Event = field(default_factory=threading.Event)  # it is computed, or computes
    outputs: list[Rows] | None = None
    error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        return self.outputs is not None or self.error is not None


class Batches:
    """Shares calls among threads."""

    def __init__(self, compute: Compute) -> None:
        """Compute nothing yet.

        Args:
            compute: Is called by one thread at a time, with one of `SIZES` rows.
        """
        self._compute = compute
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._busy = False

    def run(self, rows: Rows) -> list[Rows]:
        """What `compute` makes of some rows, any number of them; raises what it raises."""
        pieces = [self._run(rows[start : start + SIZES[-1]]) for start in range(0, max(len(rows), 1), SIZES[-1])]
        return [np.concatenate(outputs) for outputs in zip(*pieces, strict=True)]

    def _run(self, rows: Rows) -> list[Rows]:
        request = _Request(rows)
        with self._lock:
            self._waiting.append(request)
            if not self._busy:
                self._busy = True
                request.its_turn.set()
        request.its_turn.wait()
        if not request.is_over:
            self._lead()
        if request.error is not None:
            raise request.error
        assert request.outputs is not None  # noqa: S101  (it is over)
        return request.outputs

    def _lead(self) -> None:
        """Compute for the first ones that wait, the caller among them, and let the next one lead."""
        together = self._take()
        try:
            outputs = self._compute(_filled_up([request.rows for request in together]))
            start = 0
            for request in together:
                end = start + len(request.rows)
                request.outputs = [output[start:end] for output in outputs]
                start = end
        except BaseException as error:  # noqa: BLE001  (each of them raises it)
            for request in together:
                request.error = error
        for request in together:
            request.its_turn.set()
        with self._lock:
            if self._waiting:
                self._waiting[0].its_turn.set()
            else:
                self._busy = False

    def _take(self) -> list[_Request]:
        with self._lock:
            together = [self._waiting.popleft()]
            room = SIZES[-1] - len(together[0].rows)
            while self._waiting and len(self._waiting[0].rows) <= room:
                together.append(self._waiting.popleft())
                room -= len(together[-1].rows)
            return together


def _filled_up(parts: list[Rows]) -> Rows:
    """The rows of all parts, and zeros up to the next size."""
    count = sum(map(len, parts))
    size = next(size for size in SIZES if size >= count)
    missing = np.zeros((size - count, *parts[0].shape[1:]), parts[0].dtype)
    return np.concatenate([*parts, missing])
