"""How fast a folder becomes a gallery, beside what decoding alone and the model alone reach on the same machine.

    python -m benchmarks.indexing FOLDER --model BUNDLE [--provider cpu] [--workers 2] [--batch 128]
    python -m benchmarks.indexing --model BUNDLE --photos 12,0.05        (drawn JPEGs of 12 megapixels and of 250 px)
    python -m benchmarks.indexing --model BUNDLE --items 10000           (no pictures: a gallery of random vectors)

The pipeline cannot be faster than the slower of its halves where each has processors of its own; where they share
them, not faster than 1 / (1/decode + 1/model). Decoding alone reads the files, hashes them and makes thumbnails, as the
pipeline does. Rounds take turns; on a busy machine look at processor times. Prints one JSON line a folder.

Processors share caches and memory, and threads that take turns evict each other's data. What that costs on this
machine, whatever the program, is measured too: decoding and the model at the same time, as processes that know nothing
of each other (`both_at_once_...`: what an image then takes of what it takes alone), and the pipeline beside that.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.decoding import photo
from benchmarks.processor_time import Cost, cost, load
from export.bundle import Bundle
from export.sessions import Encoder
from index_data.adding import AddSummary, add_folder
from index_data.config import AddSettings
from index_data.engine import Engine
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from train.decoding import DecodePool
from train.errors import ImageError
from train.images import FOLDER_LIMITS, THUMBNAIL_SIDE, FoundFile, find_files, read_file

MODEL_SECONDS = 3.0  # the model alone is measured for
ITEMS_A_COMMIT = 256


@dataclass(frozen=True)
class Photos:
    """JPEGs to draw."""

    width: int
    height: int
    count: int


# So many that opening a session and building the index, a quarter of a second, count for little.
PHOTOS = {"12": Photos(4000, 3000, 480), "0.05": Photos(250, 188, 3000)}  # by megapixels
DRAWN = 4  # different ones; each file has its number behind the end, so that its bytes are its own


def draw(photos: Photos, folder: Path) -> Path:
    """Write photos to a folder."""
    folder.mkdir()
    drawn = [photo(photos.width, photos.height, seed) for seed in range(DRAWN)]
    for number in range(photos.count):
        (folder / f"{number:06}.jpg").write_bytes(drawn[number % DRAWN] + b"%06d" % number)
    return folder


def decode_all(folder: Path, bundle: Bundle, workers: int) -> int:
    """Read, hash and decode the images of a folder, thumbnails included; how many are good."""
    paths = [found.path for found in find_files(folder) if isinstance(found, FoundFile)]
    with DecodePool(workers, FOLDER_LIMITS) as pool:
        sources = ((path, partial(data_of, folder, path)) for path in paths)
        outcomes = pool.map_fit(sources, bundle.preprocessing, thumbnail=THUMBNAIL_SIDE)
        return sum(not isinstance(outcome, ImageError) for _, outcome in outcomes)


def data_of(folder: Path, path: bytes) -> bytes:
    return read_file(folder, path, FOLDER_LIMITS).data


def encode_for(encoder: Encoder, size: int, batch: int, seconds: float) -> int:
    """Let the encoder work for some seconds; how many images that were."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    started = time.monotonic()
    images = 0
    while time.monotonic() - started < seconds:
        encoder.encode(pixels)
        images += batch
    return images


def both_at_once(folder: Path, bundle: Bundle, settings: AddSettings) -> tuple[Cost[int], Cost[int]]:
    """Decode a folder while another process lets the model work: what each took, for as long as both lasted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=encode_beside, args=(theirs, bundle.folder, settings), daemon=True)
    other.start()
    try:
        ours.recv()  # it is ready
        ours.send("count")
        before = processor_seconds_of(other)
        decoding = cost(lambda: decode_all(folder, bundle, settings.workers))
        beside = processor_seconds_of(other) - before  # `cost` counts all processes that this one started
        ours.send("stop")
        model: Cost[int] = ours.recv()
    finally:
        other.terminate()
        other.join()
    return Cost(decoding.result, decoding.clock, decoding.processor - beside), model


def processor_seconds_of(process: multiprocessing.process.BaseProcess) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def encode_beside(parent: Connection, folder: Path, settings: AddSettings) -> None:
    """Let the model work from "count" until "stop", in whole batches, and say what they took."""
    bundle = Bundle.open(folder)
    encoder = Encoder.open(bundle, provider=settings.provider)
    pixels = np.zeros((settings.batch, bundle.preprocessing.size, bundle.preprocessing.size, 3), np.uint8)
    encoder.encode(pixels)
    parent.send("ready")
    parent.recv()

    def until_stopped() -> int:
        images = 0
        while not parent.poll():
            encoder.encode(pixels)
            images += len(pixels)
        return images

    parent.send(cost(until_stopped))


def pipeline(folder: Path, bundle: Bundle, settings: AddSettings, place: Path) -> Cost[AddSummary]:
    """Make a gallery of a folder, and look at it again, when nothing has to be done."""
    given = {"provider": settings.provider, "workers": settings.workers, "batch": settings.batch}
    with Gallery.create(place, bundle) as gallery:
        return cost(lambda: add_folder(gallery, bundle, folder, **given))


def again(folder: Path, bundle: Bundle, place: Path) -> Cost[AddSummary]:
    """Look at an unchanged folder."""
    with Gallery.open(place) as gallery:
        seen = cost(lambda: add_folder(gallery, bundle, folder))
    assert seen.result.embedded == 0
    return seen


def compare(folder: Path, bundle: Bundle, settings: AddSettings, rounds: int, scratch: Path) -> dict[str, object]:
    """Images a second of decoding, of the model and of both, and what the last is of what it could be."""
    encoder = Encoder.open(bundle, provider=settings.provider)
    encode_for(encoder, bundle.preprocessing.size, settings.batch, 0.1)
    turns = []
    for number in range(rounds):
        place = scratch / f"{folder.name}-{number}"
        decoding = cost(lambda: decode_all(folder, bundle, settings.workers))
        model = cost(lambda: encode_for(encoder, bundle.preprocessing.size, settings.batch, MODEL_SECONDS))
        whole = pipeline(folder, bundle, settings, place)
        seen_again = again(folder, bundle, place)
        turns.append((decoding, model, whole, seen_again, *both_at_once(folder, bundle, settings)))
    clock = [[each.clock / images(each) for each in turn] for turn in turns]
    processor = [[each.processor / images(each) for each in turn] for turn in turns]
    middle = [statistics.median(column) for column in zip(*clock, strict=True)]
    return {
        "images": turns[0][2].result.embedded,
        "provider": encoder.provider,
        "decode_images_per_s": 1 / middle[0],
        "model_images_per_s": 1 / middle[1],
        "pipeline_images_per_s": 1 / middle[2],
        "of_what_it_could_be": statistics.median((d + m) / p for d, m, p, *_ in clock),
        "the_same_by_processor_time": statistics.median((d + m) / p for d, m, p, *_ in processor),
        # Shares of the machine that both have at once, added: 1 where neither slows the other but by taking turns.
        "both_at_once_of_alone": statistics.median(d / db + m / mb for d, m, _, _, db, mb in clock),
        "both_at_once_by_processor_time": statistics.median((d + m) / (db + mb) for d, m, _, _, db, mb in processor),
        "pipeline_of_both_at_once_by_processor_time": statistics.median(
            (db + mb) / p for _, _, p, _, db, mb in processor
        ),
        "unchanged_times_faster": statistics.median(p / a for _, _, p, a, *_ in clock),
        "load": load(),
    }


def images(done: Cost[Any]) -> int:
    """Images that some work was about."""
    return done.result.seen if isinstance(done.result, AddSummary) else int(done.result)


def random_gallery(bundle: Bundle, items: int, place: Path) -> dict[str, float]:
    """Seconds to commit, index, open and search a gallery of random vectors; memory of this process behind it."""
    random = np.random.default_rng(0)
    with Gallery.create(place, bundle) as gallery:
        started = time.monotonic()
        for start in range(0, items, ITEMS_A_COMMIT):
            with gallery.changes() as changes:
                root_id = changes.root_id(place)
                for number in range(start, min(start + ITEMS_A_COMMIT, items)):
                    vector = random.standard_normal(bundle.dims).astype(np.float32)
                    content = Content(
                        number.to_bytes(32, "big"), 640, 480, "JPEG", vector, vector / np.linalg.norm(vector)
                    )
                    file = FileState(root_id, b"folder/%08d.jpg" % number, 1, 1)
                    changes.put_item(file, changes.add_content(content))
        committed = time.monotonic() - started
        started = time.monotonic()
        build_generation(gallery)
        built = time.monotonic() - started
    started = time.monotonic()
    with Engine.open(place, provider="cpu") as engine:
        opened = time.monotonic() - started
        queries = engine.gallery.embeddings(engine.ids[:200].tolist())
        latencies = []
        for query in queries:
            started = time.monotonic()
            engine.search(query[None], k=20)
            latencies.append(time.monotonic() - started)
    return {
        "items": items,
        "commit_items_per_s": items / committed,
        "build_and_verify_s": built,
        "engine_open_s": opened,
        "search_p50_ms": statistics.median(latencies) * 1000,
        "search_p99_ms": sorted(latencies)[int(0.99 * len(latencies))] * 1000,
        "resident_MB": resident_bytes() / 1e6,
    }


def resident_bytes() -> int:
    """Memory of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--provider", default=AddSettings.provider)
    parser.add_argument("--workers", type=int, default=AddSettings.workers)
    parser.add_argument("--batch", type=int, default=AddSettings.batch)
    parser.add_argument("--photos", help="draw photos of so many megapixels: 12, 0.05 or both, with a comma")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, help="also measure a gallery of so many random vectors")
    asked = parser.parse_args()
    bundle = Bundle.open(asked.model)
    settings = AddSettings(provider=asked.provider, workers=asked.workers, batch=asked.batch)
    with tempfile.TemporaryDirectory(prefix="indexing-") as name:
        scratch = Path(name)
        if asked.items:
            show({"name": "random vectors", **random_gallery(bundle, asked.items, scratch / "random")})
        folders = [asked.folder] if asked.folder else []
        kinds = asked.photos.split(",") if asked.photos else []
        folders += [draw(PHOTOS[megapixels], scratch / f"{megapixels}-megapixels") for megapixels in kinds]
        for folder in folders:
            show({"name": folder.name, **compare(folder, bundle, settings, asked.rounds, scratch)})


def show(figures: dict[str, object]) -> None:
    """Print one JSON line."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
