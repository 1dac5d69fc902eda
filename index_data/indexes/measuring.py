"""Measuring an index: its settings swept, each one's finds compared with exact neighbours, each search timed alone."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_data.config import MAX_BETA
from index_data.indexes.curve import Curve, Point, Weight, worth_having
from index_data.indexes.kinds import FLAT, Setting
from index_data.indexes.library import faiss_threads
from index_data.indexes.searching import BuiltIndex
from index_data.indexes.vectors import Floats, Rows, StoredVectors
from train.interruption import StopRequest

QUERIES = 512  # of the gallery's own vectors: the recall of ten neighbours each is known to within .002
QUERIES_MIN = 64
WORK = 300_000_000_000  # multiplications, at most, to find their exact neighbours: half a minute of one core
SECONDS = 1.5  # for one setting, at most; then fewer queries have to do
WARMING = 16  # searches that are not counted: pages of mapped files come in
SLOWER = 2.0  # times the exact search: settings beyond are not tried
HALF = 0.5  # of the neighbours: an effort that finds fewer is not tried with more to rank anew ...
RISING = 0.05  # ... where the next effort finds so many more
GAIN = 0.0005  # of recall, that a greater effort has to bring
TOLERANCE = 1e-5  # of scores: neighbours that are equally near are equally right
MEASURED_K = (10, 30, 100)
AIMED_K = 10  # neighbours that the aims speak of
BETAS = (0.0, 0.25, 4.0, 16.0, 64.0, MAX_BETA)  # weights of a query's pixel half
WEIGHED_QUERIES = 256
TIMES = (1.0, 2.0, 4.0, 8.0)  # the effort
SLACK = 0.005  # of recall, at another weight

Weigh = Callable[[Floats, float], Floats]  # queries, beta -> weighed queries


@dataclass(frozen=True)
class Sample:
    """Queries with the scores of their exact neighbours."""

    queries: Floats  # (n, dims)
    rows: Rows  # of the queries themselves among the vectors, which do not count as found; -1: not among them
    scores: Floats  # (n, k) of the exact neighbours, best first

    @property
    def k(self) -> int:
        """Neighbours that are known of each query."""
        return int(self.scores.shape[1])


def sample_of(vectors: StoredVectors, rows: Rows, queries: Floats, k: int, threads: int) -> Sample:
    """Find the exact neighbours of queries.

    Args:
        vectors: What is searched.
        rows: Of the queries among them, -1 where they are not.
        queries: (n, dims).
        k: Neighbours; fewer where there are not as many other vectors.
        threads: Of FAISS.
    """
    k = min(k, len(vectors) - int((rows >= 0).any()))
    with faiss_threads(threads):
        scores, found = BuiltIndex(FLAT, None, vectors).exact(queries, k + 1)
    return Sample(queries, rows, _others(scores, found, rows, k))


def affordable_queries(count: int, dims: int) -> int:
    """Queries whose exact neighbours are found in bounded time."""
    return min(QUERIES, max(QUERIES_MIN, WORK // max(count * dims, 1)), count)


def _others(scores: Floats, found: Rows, rows: Rows, k: int) -> Floats:
    """The scores of the first k neighbours that are not the query itself, (n, k)."""
    itself = found == rows[:, None]
    # Among equals the query itself may come last, or not at all: then the last one is dropped.
    itself[~itself.any(axis=1), -1] = True
    others: Floats = scores[~itself].reshape(len(scores), -1)[:, :k]
    return others


def recall_of(scores: Floats, sample: Sample, k: int) -> float:
    """Share of the exact k neighbours that were found: of places with a score that an exact neighbour may have.

    Args:
        scores: Exact scores of what was found, (queries, k), best first, without the queries themselves.
        sample: With as many queries or more.
        k: Neighbours that count.
    """
    least = sample.scores[: len(scores), k - 1 : k]
    return float(np.mean(scores[:, :k] >= least - TOLERANCE))


def measure(built: BuiltIndex, sample: Sample, setting: Setting, k: int) -> Point:
    """Search for the k nearest of each query, one at a time, as requests come, by one thread.

    What is timed is the thread's own processor time: what else the machine does meanwhile does not decide which index
    is the fastest, and on a machine with nothing else to do it is what a search takes.
    """
    queries = np.ascontiguousarray(sample.queries)
    k = min(k, sample.k)
    for query in queries[:WARMING]:
        built.search(query[None], k + 1, setting)
    taken: list[float] = []
    scores = np.empty((len(queries), k), np.float32)
    began = time.thread_time()
    for number, query in enumerate(queries):
        before = time.thread_time()
        _, rows = built.search(query[None], k + 1, setting)
        after = time.thread_time()
        taken.append(after - before)
        scores[number] = _true_scores(built.vectors, query, rows[0], int(sample.rows[number]), k)
        if after - began > SECONDS and number + 1 >= QUERIES_MIN:
            break
    p50, p95 = np.quantile(taken, [0.5, 0.95])
    recall = recall_of(scores[: len(taken)], sample, k)
    return Point(setting, recall, round(1000 * float(p50), 4), round(1000 * float(p95), 4))


def _true_scores(vectors: StoredVectors, query: NDArray[np.float32], rows: Rows, itself: int, k: int) -> Floats:
    """Exact scores of found rows without the query itself, best first, (k,); what is missing scores -inf."""
    others = rows[(rows >= 0) & (rows != itself)][:k]
    scores = np.full(k, -np.inf, np.float32)
    scores[: len(others)] = -np.sort(-(vectors.take(others) @ query))
    return scores


def exact_point(built: BuiltIndex, sample: Sample) -> Point:
    """Time of an exact search."""
    return measure(BuiltIndex(FLAT, None, built.vectors), sample, Setting(), min(10, sample.k))


def sweep(
    built: BuiltIndex,
    sample: Sample,
    k: int,
    *,
    slowest_ms: float,
    stop: StopRequest | None = None,
) -> list[Point]:
    """Try the settings of an index's kind: each row of efforts until more effort brings nothing, or takes too long.

    Args:
        built: The index.
        sample: Queries with their exact neighbours.
        k: Neighbours that are asked for.
        slowest_ms: A search that takes longer is of no use.
        stop: Looked at between two settings.
    """
    points: list[Point] = []
    hopeless = -1  # efforts up to it find less than half however much is ranked anew: it is more effort that helps
    for row in built.kind.settings(len(built.vectors)):
        before, last = -1.0, -1
        for setting in row:
            if stop is not None:
                stop.raise_if_set("The index that was there stays.")
            if setting.effort <= hopeless:
                continue
            if built.kind.walks and setting.effort < k * setting.factor and setting is not row[-1]:
                continue  # a graph keeps at least as many candidates as are asked for
            points.append(point := measure(built, sample, setting, k))
            if point.p50_ms > slowest_ms or point.recall >= 1 or point.recall - before < GAIN:
                break
            if before >= 0 and before < HALF and point.recall - before > RISING:
                hopeless = max(hopeless, last)
            before, last = point.recall, setting.effort
    return points


def weights_of(
    built: BuiltIndex,
    sample: Sample,
    weigh: Weigh,
    point: Point,
    *,
    slowest_ms: float,
    threads: int,
    stop: StopRequest | None = None,
) -> tuple[Weight, ...]:
    """Measure how much more has to be looked at where the halves of a query are weighed otherwise.

    A graph and lists were made for the weight of the index. Far from it they miss more: what the same setting misses is
    looked for with more effort, and where that takes as long, by comparing all.

    Args:
        built: The index.
        sample: Queries at the weight of the index.
        weigh: Weighs the halves of queries.
        point: What searches use, and the recall that is to be had at every weight.
        slowest_ms: Time of an exact search.
        threads: Of FAISS, for the exact neighbours.
        stop: Looked at between two measurements.
    """
    k = min(AIMED_K, sample.k)
    found = []
    for beta in BETAS:
        queries = np.ascontiguousarray(weigh(sample.queries[:WEIGHED_QUERIES], beta), np.float32)
        weighed = sample_of(built.vectors, sample.rows[:WEIGHED_QUERIES], queries, k, threads)
        times = None
        for more in TIMES:
            if stop is not None:
                stop.raise_if_set("The index that was there stays.")
            tried = measure(built, weighed, point.setting.scaled(more), k)
            if tried.p50_ms > slowest_ms:
                break
            if tried.recall >= point.recall - SLACK:
                times = more
                break
        found.append(Weight(beta, times))
    return tuple(found)


def curve_of(
    built: BuiltIndex, sample: Sample, *, ks: Iterable[int] = MEASURED_K, stop: StopRequest | None = None
) -> Curve:
    """Measure the whole curve of an index, for a few numbers of neighbours.

    Raises:
        ValueError: There is no vector to ask for.
    """
    wanted = sorted({min(k, sample.k) for k in ks})
    if not wanted or wanted[0] < 1:
        raise ValueError("an index of fewer than two vectors has no curve")
    exact = exact_point(built, sample)
    if built.kind is FLAT:
        return Curve(dict.fromkeys(wanted, (exact,)))
    slowest = SLOWER * exact.p50_ms
    return Curve({k: worth_having(sweep(built, sample, k, slowest_ms=slowest, stop=stop)) for k in wanted})
