"""What filters and the map of a large gallery cost.

    python -m benchmarks.filters_and_map [--items 1000000] [--dims 256] [--rounds 5]

Random unit vectors with a year each, and no files. Filters are evaluated anew (nothing kept) and asked again, when
what passed them is; a search among what passes is part of neither. Each map is drawn in a process of its own, whose
memory at most, without the files that it maps, is told beyond what it had before it began. Times are by the clock and
of the processor.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.living_gallery import unit
from benchmarks.processor_time import cost, load
from benchmarks.server_start import averaging_bundle
from export.sessions import Encoder
from index_data.engine import Engine
from index_data.filters import matching_ids
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from index_data.indexes.choosing import Aims

AT_ONCE = 2000
FIRST_YEAR, YEARS = 1500, 500  # each year has one item in 500
FILTERS: dict[str, dict[str, Any]] = {
    "one year (1 in 500)": {"year": {"eq": FIRST_YEAR + 7}},
    "half of the years": {"year": {"lt": FIRST_YEAR + YEARS // 2}},
    "one year of wide pictures (1 in 1,000)": {"year": {"eq": FIRST_YEAR + 8}, "width": {"gt": 640}},
    "names that begin alike (1 in 100)": {"name": {"prefix": "00"}},
    "not half of the years": {"not": {"year": {"gte": FIRST_YEAR + YEARS // 2}}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-") as name:
        bundle = averaging_bundle(Path(name) / "model")
        wide = replace(bundle, facts=replace(bundle.facts, dims=asked.dims))
        place = Path(name) / "gallery"
        with Gallery.create(place, wide) as gallery:
            fill(gallery, asked.items)
            build_generation(gallery, Aims(kind="flat"))
            print(f"{asked.items:,} items of {asked.dims} numbers; load {load():.1f}", flush=True)
            with Engine(gallery, wide, Encoder.open(bundle, provider="cpu"), None) as engine:
                for words, each in FILTERS.items():
                    show_filter(words, engine, each, asked.rounds)
        for _ in range(2):
            show_map(place, asked.items * asked.dims * 4)


def show_filter(words: str, engine: Engine, asked: dict[str, Any], rounds: int) -> None:
    """Print the row of a filter."""
    turns = [cost(lambda: matching_ids(engine.gallery, asked)) for _ in range(rounds)]
    engine.passing(asked)
    again = [cost(lambda: engine.passing(asked)) for _ in range(rounds)]
    clock, processor = (statistics.median(1000 * value for value in values) for values in times(turns))
    kept = statistics.median(1000 * turn.clock for turn in again)
    print(
        f"| {words}: {len(turns[0].result):,} pass | {clock:.1f} ms, processor {processor:.1f} ms | "
        f"again {kept:.2f} ms |",
        flush=True,
    )


def times(turns: list[Any]) -> tuple[list[float], list[float]]:
    return [turn.clock for turn in turns], [turn.processor for turn in turns]


def show_map(place: Path, vector_bytes: int) -> None:
    """Draw the map in a process of its own, and print its row."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        clock, processor, megabytes = pool.apply(draw_map, (place,))
    print(
        f"| map by PCA | {clock:.1f} s, processor {processor:.1f} s | {megabytes:.0f} MB at most; the vectors have "
        f"{vector_bytes / 1e6:.0f} MB; load {load():.1f} |",
        flush=True,
    )


def draw_map(place: Path) -> tuple[float, float, float]:
    """Seconds by the clock and of the processor, and megabytes at most beyond what there was before."""
    from index_data.mapping import compute_map

    with Gallery.open(place) as gallery, Watch() as watch:
        drawn = cost(lambda: compute_map(gallery, None))
    return drawn.clock, drawn.processor, watch.most - watch.before


class Watch:
    """Looks again and again at how much memory of its own this process has."""

    def __enter__(self) -> "Watch":
        self.before = self.most = own_megabytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.most = max(self.most, own_megabytes())


def own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def fill(gallery: Gallery, items: int) -> None:
    random = np.random.default_rng(0)
    for first in range(0, items, AT_ONCE):
        vectors = unit(random.normal(size=(min(AT_ONCE, items - first), gallery.dims)))
        with gallery.changes() as changes:
            root = changes.root_id(gallery.folder / "pictures")
            for number, vector in enumerate(vectors, first):
                facts = {"year": FIRST_YEAR + number % YEARS}
                width = 640 + number // YEARS % 2
                # The latent is not looked at: a short one keeps the file small.
                content = Content(number.to_bytes(32, "big"), width, 480, "JPEG", vector[:4], vector, facts)
                name = f"{number % 100:02}/{number % 100:02}{number:012}.jpg".encode()
                changes.put_item(FileState(root, name, 50_000, number), changes.add_content(content))


if __name__ == "__main__":
    main()
