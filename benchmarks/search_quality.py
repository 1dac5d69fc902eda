"""How good a search is without labels to learn from: precision@10 over folders as classes, and finding originals.

    python benchmarks/search_quality.py GALLERY [--queries 1000]
    python benchmarks/search_quality.py FOLDER --model BUNDLE

The classes are the top-level folders of the pictures. Beside the gallery's embeddings stand what linear algebra and a
histogram reach on the same pixels: whatever was trained has to beat them. "Original found first": copies of half the
size, saved as JPEG of quality 60, are the queries, and only the picture they were made of counts.

Prints a table and one JSON line.
"""

import argparse
import io
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from export.bundle import Bundle
from index_data.adding import add_folder
from index_data.engine import Engine
from index_data.gallery import Gallery, Item
from train.decoding import DecodePool
from train.images import FOLDER_LIMITS
from train.progress import Reporter

Floats = NDArray[np.float32]

K = 10
COPY_QUALITY = 60  # of JPEG
HALF_WHITENED_DIMS = 64
FITTED_PICTURES = 4000  # a PCA of more changes nothing that can be seen here
BINS = 8  # a channel of the histogram
AT_ONCE = 512  # queries against everything


@dataclass(frozen=True)
class Method:
    """One way to turn pictures into vectors; cosines compare them."""

    name: str
    of_items: Floats  # (n, dims)
    of_copies: Floats  # (queries, dims)


def unit(vectors: Floats) -> Floats:
    """Scale each row to length 1."""
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def nearest(queries: Floats, items: Floats, k: int) -> NDArray[np.int64]:
    """Positions of the k items with the largest cosine, best first, (queries, k)."""
    items = unit(items)
    found = []
    for start in range(0, len(queries), AT_ONCE):
        scores = unit(queries[start : start + AT_ONCE]) @ items.T
        best = np.argpartition(-scores, min(k, len(items) - 1), axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)


def precision_at_k(vectors: Floats, classes: NDArray[np.str_], queries: NDArray[np.int64], k: int = K) -> float:
    """Mean share of the k nearest other pictures that are of the query's class."""
    found = nearest(vectors[queries], vectors, k + 1)
    precisions = []
    for query, neighbours in zip(queries, found, strict=True):
        others = neighbours[neighbours != query][:k]
        precisions.append(np.mean(classes[others] == classes[query]))
    return float(np.mean(precisions))


def share_found_first(method: Method, queries: NDArray[np.int64], contents: NDArray[np.str_]) -> float:
    """Share of the copies whose nearest picture is the one they were made of (or has the very same bytes)."""
    first = nearest(method.of_copies, method.of_items, 1)[:, 0]
    return float(np.mean(contents[first] == contents[queries]))


def fitted_pca(flat: Floats, dims: int, power: float) -> Callable[[Floats], Floats]:
    """Coordinates along the main axes, each divided by its standard deviation to some power (0 none, 1 whitened)."""
    sample = flat[np.random.default_rng(0).permutation(len(flat))[:FITTED_PICTURES]]
    mean = sample.mean(axis=0)
    _, singular, axes = np.linalg.svd(sample - mean, full_matrices=False)
    dims = min(dims, len(singular))
    deviations = singular[:dims] / math.sqrt(len(sample))
    scaled = axes[:dims] / np.maximum(deviations[:, None], 1e-9) ** power
    return lambda pictures: (pictures - mean) @ scaled.T


def histogram(pixels: NDArray[np.uint8]) -> Floats:
    """Square roots of the shares of 8 x 8 x 8 colours, so that a cosine is Bhattacharyya's coefficient."""
    bins = (pixels.reshape(len(pixels), -1, 3) // (256 // BINS)).astype(np.int64)
    numbers = (bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2]
    counts = np.stack([np.bincount(row, minlength=BINS**3) for row in numbers])
    return np.sqrt(counts / numbers.shape[1]).astype(np.float32)


def half_size_copy(data: bytes) -> bytes:
    """A copy of half the width and height, saved as JPEG."""
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    small = upright.resize((max(upright.width // 2, 1), max(upright.height // 2, 1)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=COPY_QUALITY)
    return buffer.getvalue()


def all_items(gallery: Gallery) -> list[Item]:
    """Every item, in the order of the ids."""
    items: list[Item] = []
    while some := gallery.items(after=items[-1].id if items else 0, limit=10_000):
        items += some
    return items


def measure(engine: Engine, most_queries: int, reporter: Reporter) -> dict[str, dict[str, float]]:
    """Both figures of every method."""
    gallery = engine.gallery
    items = all_items(gallery)
    classes = np.array([item.path.split(b"/")[0].decode(errors="backslashreplace") for item in items])
    contents = np.array([item.sha256 for item in items])
    queries = np.sort(np.random.default_rng(0).permutation(len(items))[:most_queries])
    with DecodePool(2, FOLDER_LIMITS) as pool, reporter.task("Decoding", total=len(items) + len(queries)) as task:

        def pixels_of(data: bytes) -> NDArray[np.uint8]:
            task.advance()
            return pool.fit(data, gallery.preprocessing).pixels

        original = np.stack([out for _, out in pool.map(lambda i: pixels_of(gallery.read_original(i)), items)])
        copied = [items[query] for query in queries]
        copies = np.stack(
            [out for _, out in pool.map(lambda i: pixels_of(half_size_copy(gallery.read_original(i))), copied)]
        )
    flat, flat_copies = (pixels.reshape(len(pixels), -1).astype(np.float32) / 255 for pixels in (original, copies))
    mean = flat.mean(axis=0)
    same_dims = fitted_pca(flat, gallery.dims, power=0)
    half_whitened = fitted_pca(flat, HALF_WHITENED_DIMS, power=0.5)
    of_copies = np.concatenate([engine.embed(copies[at : at + 64]).embeddings for at in range(0, len(copies), 64)])
    methods = [
        Method("this gallery", gallery.embeddings([item.id for item in items]), of_copies),
        Method("raw pixels", flat - mean, flat_copies - mean),
        Method(f"PCA-{gallery.dims}", same_dims(flat), same_dims(flat_copies)),
        Method(f"half-whitened PCA-{HALF_WHITENED_DIMS}", half_whitened(flat), half_whitened(flat_copies)),
        Method(f"RGB histogram {BINS}x{BINS}x{BINS}", histogram(original), histogram(copies)),
    ]
    return {
        method.name: {
            f"precision@{K}": round(precision_at_k(method.of_items, classes, queries), 4),
            "original found first": round(share_found_first(method, queries, contents), 4),
        }
        for method in methods
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path, help="a gallery, or a folder of pictures in folders")
    parser.add_argument("--model", type=Path, help="bundle, to index a folder of pictures with")
    parser.add_argument("--queries", type=int, default=1000, help="at most so many pictures are queries")
    asked = parser.parse_args()
    reporter = Reporter("auto")
    with tempfile.TemporaryDirectory(prefix="search-quality-") as scratch:
        place = asked.place
        if not (place / "gallery.db").is_file():
            if asked.model is None:
                parser.error("a folder of pictures needs --model BUNDLE")
            bundle = Bundle.open(asked.model)
            place = Path(scratch) / "gallery"
            with Gallery.create(place, bundle) as gallery:
                add_folder(gallery, bundle, asked.place, reporter=reporter)
        with Engine.open(place, decoder=False) as engine:
            figures = measure(engine, asked.queries, reporter)
            count = engine.count
    print(f"{count:,} pictures, {asked.place}")
    for name, values in figures.items():
        print(f"  {name:24}" + "".join(f"  {key} {value:.3f}" for key, value in values.items()))
    print(json.dumps({"items": count, "methods": figures}))


if __name__ == "__main__":
    main()
