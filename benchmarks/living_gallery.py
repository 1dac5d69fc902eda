"""What living costs: adding and removing until a search sees it, our search path beside bare FAISS, the server's start.

    python benchmarks/living_gallery.py [--items 100000] [--dims 256] [--semantic-dims 0] [--rounds 200]

All in one run and one process (but the server), so that ratios hold. The gallery has random unit vectors and no files:
none of these figures depends on what the vectors are, only on how many there are. Embedding is not part of them.
"""

import argparse
import contextlib
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.server_start import averaging_bundle, start
from export.sessions import Encoder
from index_data.engine import Engine
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from index_data.indexes.choosing import Aims
from index_data.removing import remove_items

T = TypeVar("T")
ROWS_AT_ONCE = 2000
K = 10
FEW = 1000  # items of the gallery whose server's start is the bound
FRESH = 10_000  # rows beside the index, in the second half of the figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--semantic-dims", type=int, default=0, help="of them: then what stands out is looked for too")
    parser.add_argument("--rounds", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bundle = averaging_bundle(Path(name) / "model")
        encoder = Encoder.open(bundle, provider="cpu")
        facts = replace(bundle.facts, dims=chosen.dims, semantic_dims=chosen.semantic_dims)
        bundle = replace(bundle, facts=facts)
        with Gallery.create(Path(name) / "many", bundle) as gallery:
            fill(gallery, chosen.items)
            build_generation(gallery, Aims(kind="flat"))
            report(gallery, bundle, encoder, chosen.items, chosen.rounds)
        with Gallery.create(Path(name) / "few", bundle) as few:
            fill(few, FEW)
            build_generation(few)
        # By turns, so that both see the same machine.
        both = (gallery.folder, few.folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        starts = [start(place, port, Path(name) / "log", searches=None) for _ in range(3) for place in both]
        mapped = max(file.stat().st_size for file in (gallery.folder / "indexes").rglob("vectors.npy")) / 1e6
        print(f"vectors of the large one: {mapped:.0f} MB, mapped")
        for count, runs in ((chosen.items, starts[::2]), (FEW, starts[1::2])):
            seconds = statistics.median(run.seconds_to_ready for run in runs)
            megabytes = statistics.median(run.megabytes_at_ready for run in runs)
            print(f"| server of {count:,} items: start to ready | {seconds:.2f} s, {megabytes:.0f} MB resident |")


def report(gallery: Gallery, bundle: object, encoder: Encoder, items: int, rounds: int) -> None:
    """Print the rows of the table."""
    print(f"{items:,} items of {gallery.dims} dimensions; medians of {rounds} (p95)")
    began = time.perf_counter()
    with Engine(gallery, bundle, encoder, None) as engine:  # type: ignore[arg-type]
        print(f"| open | {1000 * (time.perf_counter() - began):.1f} ms |")
        random = np.random.default_rng(1)
        for fresh in (0, FRESH):
            fill(gallery, fresh, first=items)
            engine.keep_up()
            queries = unit(random.normal(size=(rounds, gallery.dims)))
            print(f"| with {fresh:,} fresh rows | |")
            compare(engine, queries)
            # A durable commit (fsync) is in both; the search that follows costs as any other.
            turns = range(fresh, fresh + rounds)
            added = measure("add one, until any search finds it", turns, lambda turn: add(gallery, engine, turn))
            for vector in added[:3]:
                (hit,) = engine.search(vector, 1)[0]
                assert hit.score > 0.999
            chosen = engine.ids[: items // 2][-rounds:].tolist()
            what = "remove one, until no search finds it"
            removed = measure(what, chosen, lambda number: remove(gallery, engine, number))
            assert not set(removed) & set(engine.ids.tolist())


def compare(engine: Engine, queries: np.ndarray) -> None:
    """Our path, metadata of the hits included, beside the index alone: by turns, and in time of the processor."""
    index = engine._state.segments.generation.index
    bare, ours, hits, rest = [], [], [], []
    with scans_timed(type(index)) as scans:
        for query in queries:
            began = time.thread_time()
            index.search(query[None], K)
            middle = time.thread_time()
            scans.clear()
            found = engine.search(query[None], K)[0]
            searched = time.thread_time()
            engine.gallery.items_by_id([hit.id for hit in found])
            bare.append(middle - began)
            ours.append(searched - middle)
            hits.append(time.thread_time() - searched)
            rest.append(ours[-1] + hits[-1] - sum(scans))
    fields = [1000 * statistics.median(values) for values in (bare, ours, hits)]
    print("| search: bare FAISS / ours / metadata of 10 hits | {:.2f} / {:.2f} / {:.2f} ms |".format(*fields))
    print(f"| overhead of a search | {fields[1] + fields[2] - fields[0]:.2f} ms |")
    print(f"| what of a search and the metadata is not the scan | {1000 * statistics.median(rest):.2f} ms |")


@contextlib.contextmanager
def scans_timed(kind: type) -> Iterator[list[float]]:
    """What the searches of a kind of FAISS index take inside the block: the same scans vary by more than all else."""
    plain = kind.search
    seconds: list[float] = []

    def search(*given: object, **named: object) -> object:
        began = time.thread_time()
        try:
            return plain(*given, **named)
        finally:
            seconds.append(time.thread_time() - began)

    kind.search = search
    try:
        yield seconds
    finally:
        kind.search = plain


def add(gallery: Gallery, engine: Engine, turn: int) -> np.ndarray:
    """Add one item and take it up."""
    vector = unit(np.random.default_rng(10**6 + turn).normal(size=(1, gallery.dims)))
    put(gallery, vector, 10**8 * (1 + turn) + engine.count)
    engine.keep_up()
    return vector


def remove(gallery: Gallery, engine: Engine, number: int) -> int:
    """Remove one item and take that up."""
    remove_items(gallery, [number])
    engine.keep_up()
    return number


def measure(what: str, turns: Iterable[int], work: Callable[[int], T]) -> list[T]:
    seconds, made = [], []
    for turn in turns:
        began = time.perf_counter()
        made.append(work(turn))
        seconds.append(time.perf_counter() - began)
    p95 = float(np.quantile(seconds, 0.95))
    print(f"| {what} | {1000 * statistics.median(seconds):.1f} ms ({1000 * p95:.1f}) |")
    return made


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fill(gallery: Gallery, count: int, first: int = 0) -> None:
    random = np.random.default_rng(first)
    for start_at in range(first, first + count, ROWS_AT_ONCE):
        put(gallery, unit(random.normal(size=(min(ROWS_AT_ONCE, first + count - start_at), gallery.dims))), start_at)


def put(gallery: Gallery, vectors: np.ndarray, first: int) -> None:
    with gallery.changes() as changes:
        root = changes.root_id(gallery.folder / "pictures")
        for number, vector in enumerate(vectors, first):
            # The latent is not searched: a short one keeps the file small.
            content = Content(number.to_bytes(32, "big"), 640, 480, "JPEG", vector[:4], vector)
            file = FileState(root, f"{number:012}.jpg".encode(), 50_000, number)
            changes.put_item(file, changes.add_content(content))


if __name__ == "__main__":
    main()
