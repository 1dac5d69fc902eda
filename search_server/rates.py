"""Rate limits: each token, or each address without one, has a bucket that fills at a steady pace."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from train.errors import UserError

BURST_SECONDS = 15  # how long a bucket takes to fill: a page of thumbnails comes at once
MOST_BUCKETS = 10_000  # addresses that are remembered; the longest unseen goes first


class RateLimitedError(UserError):
    """Somebody asks more often than allowed."""

    code = "rate_limited"

    def __init__(self, detail: str, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after  # seconds


class RateLimit:
    """Token buckets by whoever asks; safe to use from several threads.

    Args:
        rate: Requests a second that are allowed for long; 0: any number.
        clock: Seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._room = max(1.0, rate * BURST_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # what is left, and when it was so

    def count(self, who: Hashable) -> None:
        """Count one request.

        Raises:
            RateLimitedError: It is one too many.
        """
        if self._rate <= 0:
            return
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(who, (self._room, now))
            left = min(self._room, left + (now - since) * self._rate)
            enough = left >= 1
            self._buckets[who] = (left - 1 if enough else left, now)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        if not enough:
            wait = (1 - left) / self._rate
            raise RateLimitedError(
                f"more than {self._rate:g} requests a second: ask again in {wait:.1f} s.", retry_after=wait
            )
