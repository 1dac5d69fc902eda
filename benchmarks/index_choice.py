"""The chosen index beside an exact search, bare FAISS, hnswlib and usearch, on the same vectors in one run.

    python -m benchmarks.index_choice FOLDER [--count 300000] [--memory-share .35]
        [--aims speed memory] [--kind ivf-pq] [--others hnswlib usearch]

FOLDER holds vectors.npy and queries.npy as benchmarks/augmented_embeddings.py writes them. Everything is timed by one
thread's own processor time, one query at a time, so other work on the machine disturbs it little; recall@10 is that of
queries that are not in the gallery. Prints tables and one JSON line.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from index_data.indexes.building import build_index
from index_data.indexes.choosing import Aims, Choice, choose_index
from index_data.indexes.explanation import explain
from index_data.indexes.kinds import FLAT, Setting
from index_data.indexes.library import faiss_threads, load_faiss
from index_data.indexes.record import IndexRecord
from index_data.indexes.searching import AllowedRows
from index_data.indexes.vectors import StoredVectors
from train.progress import Reporter

K = 10
ASKED = 1000
FAST_RECALL, SMALL_RECALL = 0.99, 0.98
FAST_TIMES, SMALL_TIMES = 150, 60  # as fast as an exact search
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
TOLERANCE = 1e-5

Search = Callable[[np.ndarray], np.ndarray]  # (1, dims) -> rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, help="of the vectors; all, if it is left out")
    parser.add_argument("--memory-share", type=float, default=0.35, help="of float32, for the index chosen for memory")
    parser.add_argument("--threads", type=int, default=1, help="that build")
    parser.add_argument("--aims", nargs="*", choices=("speed", "memory"), default=("speed", "memory"))
    parser.add_argument("--kind", help="that is built instead of one that is chosen")
    parser.add_argument("--others", nargs="*", choices=tuple(OTHERS), default=(), help="measured too")
    arguments = parser.parse_args()
    vectors = StoredVectors(np.load(arguments.folder / "vectors.npy", mmap_mode="r")[: arguments.count])
    queries = np.load(arguments.folder / "queries.npy")[:ASKED]
    bench = Bench(vectors, queries)
    print(f"{len(vectors):,} vectors of {vectors.dims} numbers, {len(queries)} queries")
    flat = bench.flat()
    found = {"count": len(vectors), "dims": vectors.dims, "flat": flat}
    budget = int(arguments.memory_share * vectors.dims * 4 * len(vectors))
    aims = {
        "speed": Aims(recall=FAST_RECALL, latency_ms=flat["ms"] / FAST_TIMES, kind=arguments.kind),
        "memory": Aims(recall=SMALL_RECALL, latency_ms=flat["ms"] / SMALL_TIMES, memory=budget, kind=arguments.kind),
    }
    for what in arguments.aims:
        found[f"for_{what}"] = bench.chosen(aims[what], f"for {what}", arguments.threads)
    found["others"] = {name: bench.other(name, OTHERS[name]) for name in arguments.others}
    print(json.dumps(found))


class Bench:
    """Vectors and queries with their exact neighbours."""

    def __init__(self, vectors: StoredVectors, queries: np.ndarray) -> None:
        self.vectors = vectors
        self.queries = np.ascontiguousarray(queries, np.float32)
        self.least = vectors.as_index.search(self.queries, K)[0][:, -1]

    def flat(self) -> dict:
        """Our exact search beside bare FAISS on a copy in memory, in turns."""
        bare = load_faiss().IndexFlatIP(self.vectors.dims)
        for some in self.vectors.slices():
            bare.add(some)
        ours = build_index(FLAT, self.vectors)
        allowed = AllowedRows.of(np.arange(len(self.vectors)) % 1000 != 0)
        asked = self.queries[:100]
        times: dict[str, list[float]] = {"ours": [], "bare": [], "tombstones": []}
        for query in asked:
            times["bare"].append(timed(lambda q: bare.search(q, K)[1], query)[0])
            times["ours"].append(timed(lambda q: ours.search(q, K, Setting())[1], query)[0])
            times["tombstones"].append(timed(lambda q: ours.search(q, K, Setting(), allowed)[1], query)[0])
        ms = {name: 1000 * float(np.median(each)) for name, each in times.items()}
        print(f"exact: ours {ms['ours']:.2f} ms, bare FAISS {ms['bare']:.2f} ms, with 1 in 1,000 removed", end=" ")
        print(f"{ms['tombstones']:.2f} ms: {ms['ours'] / ms['bare']:.3f} times bare")
        return {"ms": ms["ours"], "bare_ms": ms["bare"], "removed_ms": ms["tombstones"]}

    def chosen(self, aims: Aims, what: str, threads: int) -> dict:
        """Let an index be chosen, and measure what it promises with queries that it has never seen."""
        began = time.process_time()
        choice = choose_index(self.vectors, aims, threads=threads, reporter=Reporter("lines"))
        seconds = time.process_time() - began
        print(f"\nchosen {what} in {seconds:.0f} s of processor time")
        print(explain(IndexRecord.of(choice), what))
        at_default = self.measured(lambda q: choice.built.search(q, K, choice.setting)[1])
        print(f"new queries at that setting: recall {at_default[0]:.4f}, {at_default[1]:.3f} ms")
        reached = self.at_recall(choice, aims.recall)
        print(f"new queries reach {aims.recall}: {reached}")
        bare = self.bare_ms(choice, reached)
        share = choice.memory / (len(self.vectors) * self.vectors.dims * 4)
        return {
            "kind": choice.built.kind.name,
            "memory_share": share,
            "at_default": at_default,
            "reached": reached,
            "bare_faiss_ms": bare,
            "choosing_s": seconds,
        }

    def at_recall(self, choice: Choice, recall: float) -> dict | None:
        """The fastest point of the curve that has a recall with new queries."""
        for point in choice.curve.at(K):
            if point.recall < recall - 0.05:
                continue
            found, ms = self.measured(lambda q, point=point: choice.built.search(q, K, point.setting)[1])
            if found >= recall:
                return {"recall": found, "ms": ms, "effort": point.setting.effort, "factor": point.setting.factor}
        return None

    def bare_ms(self, choice: Choice, reached: dict | None) -> float | None:
        """The same search by FAISS alone, without our path around it and without ranking anew."""
        if reached is None or choice.built.kind is FLAT:
            return None
        setting = Setting(reached["effort"], reached["factor"])
        parameters = choice.built.kind.parameters(setting, K * setting.factor, None, len(self.vectors))
        return self.measured(lambda q: choice.built.index.search(q, K * setting.factor, params=parameters)[1])[1]

    def other(self, name: str, make: Callable[[StoredVectors], Callable[[int], Search]]) -> dict | None:
        """The fastest search of another library with the recall."""
        began = time.process_time()
        try:
            at = make(self.vectors)
        except ImportError:
            print(f"{name} is not installed")
            return None
        print(f"{name}: built in {time.process_time() - began:.0f} s of processor time")
        for effort in EFFORTS:
            recall, ms = self.measured(at(effort))
            print(f"  {effort:>4}: recall {recall:.4f}, {ms:.3f} ms")
            if recall >= FAST_RECALL:
                return {"recall": recall, "ms": ms, "effort": effort}
        return None

    def measured(self, search: Search) -> tuple[float, float]:
        """Recall, and median milliseconds of a search."""
        for query in self.queries[:20]:
            search(query[None])
        taken, right = [], []
        for query, least in zip(self.queries, self.least, strict=True):
            seconds, rows = timed(search, query)
            taken.append(seconds)
            rows = np.asarray(rows).reshape(-1).astype(np.int64)[:K]
            scores = self.vectors.take(rows[rows >= 0]) @ query
            right.append(np.sum(scores >= least - TOLERANCE) / K)
        return round(float(np.mean(right)), 4), round(1000 * float(np.median(taken)), 4)


def timed(search: Search, query: np.ndarray) -> tuple[float, np.ndarray]:
    """One search by this thread's processor time."""
    before = time.thread_time()
    found = search(query[None])
    return time.thread_time() - before, found


def slices(vectors: StoredVectors) -> Iterable[tuple[int, np.ndarray]]:
    start = 0
    for some in vectors.slices():
        yield start, some
        start += len(some)


def hnswlib(vectors: StoredVectors) -> Callable[[int], Search]:
    import hnswlib as library

    index = library.Index(space="ip", dim=vectors.dims)
    index.init_index(max_elements=len(vectors), M=32, ef_construction=60, random_seed=0)
    index.set_num_threads(1)
    for start, some in slices(vectors):
        index.add_items(some, np.arange(start, start + len(some)))

    def at(effort: int) -> Search:
        index.set_ef(effort)
        return lambda query: index.knn_query(query, k=K)[0]

    return at


def usearch(vectors: StoredVectors) -> Callable[[int], Search]:
    from usearch.index import Index

    index = Index(ndim=vectors.dims, metric="ip", dtype="f32", connectivity=32, expansion_add=60)
    for start, some in slices(vectors):
        index.add(np.arange(start, start + len(some)), some, threads=1)

    def at(effort: int) -> Search:
        index.expansion_search = effort
        return lambda query: index.search(query[0], K, threads=1).keys

    return at


OTHERS = {"hnswlib": hnswlib, "usearch": usearch}

if __name__ == "__main__":
    with faiss_threads(1):
        main()
