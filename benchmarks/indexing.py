"""How fast a folder becomes a gallery, beside what decoding alone and the model alone reach on the same machine.

    python benchmarks/indexing.py FOLDER --model BUNDLE [--provider cpu] [--workers 2] [--batch 128]
    python benchmarks/indexing.py --model BUNDLE --items 10000     (no pictures: a gallery of random vectors)

The pipeline cannot be faster than the slower of its halves where each has processors of its own; where they share
them, not faster than 1 / (1/decode + 1/model). Prints one JSON line.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from export.bundle import Bundle
from export.sessions import Encoder
from index_data.adding import add_folder
from index_data.config import AddSettings
from index_data.engine import Engine
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from train.decoding import DecodePool
from train.errors import ImageError
from train.images import FOLDER_LIMITS, THUMBNAIL_SIDE, FoundFile, find_files, read_file

MODEL_SECONDS = 5.0  # the model alone is measured for
ITEMS_A_COMMIT = 256


def decode_rate(folder: Path, bundle: Bundle, workers: int) -> float:
    """Images a second that are read and decoded, thumbnails included, when nothing else is done."""
    paths = [found.path for found in find_files(folder) if isinstance(found, FoundFile)]
    with DecodePool(workers, FOLDER_LIMITS) as pool:

        def decode(path: bytes) -> object:
            data = read_file(folder, path, FOLDER_LIMITS).data
            return pool.fit(data, bundle.preprocessing, thumbnail=THUMBNAIL_SIDE)

        started = time.monotonic()
        good = sum(not isinstance(outcome, ImageError) for _, outcome in pool.map(decode, paths))
        return good / (time.monotonic() - started)


def model_rate(bundle: Bundle, provider: str, batch: int) -> tuple[float, str]:
    """Images a second that the encoder takes when nothing else is done, and the provider that it runs on."""
    encoder = Encoder.open(bundle, provider=provider)
    size = bundle.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    encoder.encode(pixels)
    started = time.monotonic()
    batches = 0
    while time.monotonic() - started < MODEL_SECONDS:
        encoder.encode(pixels)
        batches += 1
    return batches * batch / (time.monotonic() - started), encoder.provider


def pipeline(folder: Path, bundle: Bundle, settings: AddSettings, place: Path) -> dict[str, float]:
    """Images a second from files to a published gallery, and the seconds of a second look at the same folder."""
    given = {"provider": settings.provider, "workers": settings.workers, "batch": settings.batch}
    with Gallery.create(place, bundle) as gallery:
        first = add_folder(gallery, bundle, folder, **given)
        again = add_folder(gallery, bundle, folder, **given)
    assert again.embedded == 0
    return {
        "images": first.embedded,
        "pipeline_images_per_s": first.embedded / first.seconds,
        "unchanged_folder_s": again.seconds,
        "database_bytes_per_image": (place / "gallery.db").stat().st_size / max(first.embedded, 1),
    }


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
    parser.add_argument("--items", type=int, help="also measure a gallery of so many random vectors")
    asked = parser.parse_args()
    bundle = Bundle.open(asked.model)
    settings = AddSettings(provider=asked.provider, workers=asked.workers, batch=asked.batch)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="indexing-") as scratch:
        if asked.items:
            figures |= random_gallery(bundle, asked.items, Path(scratch) / "random")
        if asked.folder:
            figures["decode_images_per_s"] = decode_rate(asked.folder, bundle, settings.workers)
            rate, figures["provider"] = model_rate(bundle, settings.provider, settings.batch)
            figures["model_images_per_s"] = rate
            figures |= pipeline(asked.folder, bundle, settings, Path(scratch) / "gallery")
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
