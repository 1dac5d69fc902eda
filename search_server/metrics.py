"""What /metrics shows, for Prometheus: requests by route template, stages, galleries, jobs, the process."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)  # seconds


@dataclass(frozen=True)
class GalleryState:
    """What is told of one gallery."""

    items: int
    index_bytes: int
    asked: str  # execution provider
    used: str
    degraded: bool


class Metrics:
    """Counters of one application; safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        requests = Counter(
            "http_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        seconds = Histogram(
            "http_request_seconds",
            "From a request's begin to its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        stages = Histogram(
            "stage_seconds", "Time in each stage of a request.", ("stage",), buckets=_BUCKETS, registry=self._registry
        )
        # One for each value of the labels, kept: to be found anew, each takes longer than to be counted.
        self._requests = cache(requests.labels)
        self._seconds = cache(seconds.labels)
        self._stages = cache(stages.labels)
        self._inflight = Gauge("inflight", "Requests that are being answered.", registry=self._registry)
        self._rejections = Counter(
            "queue_rejections", "Requests refused because too much was to do.", ("reason",), registry=self._registry
        )
        for reason in ("full", "late"):
            self._rejections.labels(reason)
        ProcessCollector(registry=self._registry)
        for collector in (GC_COLLECTOR, PLATFORM_COLLECTOR):
            self._registry.register(collector)

    def watch(self, galleries: Callable[[], Mapping[str, GalleryState]], jobs: Callable[[], Mapping[str, int]]) -> None:
        """Ask at each look how the galleries are, and how many jobs there are in each state."""
        self._registry.register(_State(galleries, jobs))

    def begin(self) -> None:
        """A request came."""
        self._inflight.inc()

    def end(self) -> None:
        """A request is over."""
        self._inflight.dec()

    def answered(self, route: str, method: str, status: int, seconds: float, stages: Mapping[str, float]) -> None:
        """Count an answer.

        Args:
            route: Its template, never the address itself, which may hold names and has no end of values.
            method: Of the request.
            status: Of the answer.
            seconds: From begin to end.
            stages: Milliseconds by stage.
        """
        self._requests(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds(route).observe(seconds)
        for stage, milliseconds in stages.items():
            self._stages(stage).observe(milliseconds / 1000)

    def rejected(self, reason: str) -> None:
        """Count a request that was refused before it was looked at."""
        self._rejections.labels(reason).inc()

    def as_text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _State(Collector):
    """What is looked at when it is asked for, rather than counted."""

    def __init__(
        self, galleries: Callable[[], Mapping[str, GalleryState]], jobs: Callable[[], Mapping[str, int]]
    ) -> None:
        self._galleries = galleries
        self._jobs = jobs

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        items = GaugeMetricFamily("gallery_items", "Pictures of a gallery.", labels=["gallery"])
        size = GaugeMetricFamily("index_bytes", "Bytes of the index that answers.", labels=["gallery"])
        provider = InfoMetricFamily("provider", "Execution provider.", labels=["gallery"])
        degraded = GaugeMetricFamily("degraded", "1 where something is not as asked for.", labels=["gallery"])
        for name, state in self._galleries().items():
            items.add_metric([name], state.items)
            size.add_metric([name], state.index_bytes)
            provider.add_metric([name], {"asked": state.asked, "used": state.used})
            degraded.add_metric([name], float(state.degraded))
        jobs = GaugeMetricFamily("jobs", "Jobs by state.", labels=["state"])
        for job_state, count in self._jobs().items():
            jobs.add_metric([job_state], count)
        yield from (items, size, provider, degraded, jobs)
