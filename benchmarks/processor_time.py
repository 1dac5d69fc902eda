"""What a piece of work costs by the clock and in processor time, all processes that it starts included."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import psutil

T = TypeVar("T")


@dataclass(frozen=True)
class Cost(Generic[T]):
    """What came out of some work, and what it took, seconds."""

    result: T
    clock: float
    processor: float  # of this process and of all that it started


def cost(work: Callable[[], T]) -> Cost[T]:
    """Do some work and say what it took."""
    clock, processor = time.perf_counter(), _processor_seconds()
    result = work()
    return Cost(result, time.perf_counter() - clock, _processor_seconds() - processor)


def load() -> float:
    """How many processes have lately been at work or waited for a processor."""
    return float(Path("/proc/loadavg").read_text().split()[0])


def _processor_seconds() -> float:
    alive = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(time.process_time() + ended.ru_utime + ended.ru_stime + sum(each.user + each.system for each in alive))
