"""A large gallery of real pictures: those of a smaller one, repeated, each with a vector a little beside the first's.

    python -m benchmarks.repeated_gallery GALLERY FOLDER --count 100000

Each repetition is an item of its own: id, name, digest, address, thumbnail file (a hard link), vector. So a browser
fetches and decodes every thumbnail anew, and lists, searches and maps are as long as they would be. There are no
originals: what is larger than a thumbnail is not found.
"""

import argparse
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from index_data.gallery import Content, FileState, Gallery, Item
from index_data.generations import build_generation
from index_data.indexes.choosing import Aims
from train.progress import Reporter

AT_ONCE = 1000
BESIDE = 0.05  # how far a repetition's vector is from the original's, as a share of its length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    chosen = parser.parse_args()
    repeat_gallery(chosen.gallery, chosen.folder, chosen.count)


def repeat_gallery(source: Path, folder: Path, count: int) -> Path:
    """Make a gallery of `count` items out of a smaller one; the originals' items come first."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("analyses", "indexes", "current", "*-shm", "*-wal"))
    random = np.random.default_rng(0)
    with Gallery.open(folder) as gallery, Reporter().task("repeating", total=count) as task:
        originals = gallery.items(limit=gallery.count)
        task.resume_at(len(originals))
        for first in range(len(originals), count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            chosen = [originals[number % len(originals)] for number in numbers]
            vectors = [gallery.latents([item.id for item in chosen]), gallery.embeddings([item.id for item in chosen])]
            beside = [each + BESIDE * random.normal(size=each.shape) * _spread(each) for each in vectors]
            with gallery.changes() as changes:
                root = changes.root_id(Path("/") / "repeated")
                for number, item, latent, embedding in zip(numbers, chosen, *beside, strict=True):
                    digest = hashlib.sha256(f"{item.sha256} {number}".encode())
                    _link_thumbnail(gallery, item, digest.hexdigest())
                    vector = (embedding / np.linalg.norm(embedding)).astype(np.float32)
                    made = Content(
                        digest.digest(), item.width, item.height, item.format, latent.astype(np.float32), vector
                    )
                    path = b"%03d/%b" % (number // len(originals), item.path)
                    changes.put_item(FileState(root, path, item.size, item.mtime_ns), changes.add_content(made))
            task.advance(len(numbers))
        build_generation(gallery, Aims(kind="flat"))
    return folder


def _spread(vectors: np.ndarray) -> np.ndarray:
    """Length of a vector for each of its numbers, (n, 1)."""
    return np.linalg.norm(vectors, axis=1, keepdims=True) / np.sqrt(vectors.shape[1])


def _link_thumbnail(gallery: Gallery, item: Item, digest: str) -> None:
    place = gallery.thumbnail_path(digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    original = gallery.thumbnail_path(item.sha256)
    if original.exists():
        os.link(original, place)


if __name__ == "__main__":
    main()
