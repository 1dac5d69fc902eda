"""Many real embeddings from few pictures: views of the shared sets (crops, mirror images, colours), each one embedded.

    python -m benchmarks.augmented_embeddings BUNDLE --data ../shared/data --count 200000 --out FOLDER

Vectors that are jittered instead of pictures make searches look easier than they are, so each vector here is what the
model says of a picture of its own: CIFAR-10's training images and LFW as they are, then views of them as
`train/views.py` draws them, until there are enough. The queries are CIFAR-10's 10,000 test images: the gallery has
nothing of them.
Writes FOLDER/vectors.npy and FOLDER/queries.npy; a stopped run goes on where it was.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from export.bundle import Bundle
from export.sessions import Encoder
from train.datasets.lookup import find_dataset
from train.images import Pixels, Preprocessing
from train.progress import Reporter
from train.views import VIEWS

SETS = ("cifar10", "lfw32")
AT_ONCE = 512
A_CALL = 8  # pictures: what a layer makes of them stays in the processor's caches, so that each takes half the time
INVARIANCE = "balanced"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    encoder = Encoder.open(bundle, provider="cpu", threads=1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    gallery, queries = pictures(arguments.data, bundle.preprocessing)
    embed(encoder, queries, len(queries), arguments.out / "queries.npy")
    embed(encoder, gallery, arguments.count, arguments.out / "vectors.npy")


def pictures(data: Path, preprocessing: Preprocessing) -> tuple[Pixels, Pixels]:
    """Pictures for the gallery, and others for queries."""
    found: dict[bool, list[Pixels]] = {True: [], False: []}
    for name in SETS:
        for samples in find_dataset(name, data).samples(preprocessing):
            found[samples.split == "test" and name == "cifar10"].append(samples.pixels)
    return np.concatenate(found[False]), np.concatenate(found[True])


def embed(encoder: Encoder, originals: Pixels, count: int, place: Path) -> None:
    """Embed the originals, then views of them, until there are `count` vectors."""
    aside = place.with_suffix(".raw")  # grows; the .npy stands when it is complete
    if place.exists():
        return
    dims = encoder.encode(originals[:1]).embeddings.shape[1]
    done = aside.stat().st_size // (4 * dims) // AT_ONCE * AT_ONCE if aside.exists() else 0
    with aside.open("r+b" if done else "wb") as file, Reporter().task(place.name, total=count) as task:
        file.truncate(4 * dims * done)
        file.seek(0, os.SEEK_END)
        task.resume_at(done)
        for start in range(done, count, AT_ONCE):
            numbers = np.arange(start, min(start + AT_ONCE, count))
            seen = views(originals, numbers)
            calls = range(0, len(seen), A_CALL)
            vectors = np.concatenate([encoder.encode(seen[first : first + A_CALL]).embeddings for first in calls])
            file.write(np.ascontiguousarray(vectors, np.float32).tobytes())
            task.advance(len(numbers))
    np.save(place, np.fromfile(aside, np.float32).reshape(-1, dims))
    aside.unlink()


def views(originals: Pixels, numbers: np.ndarray) -> Pixels:
    """Picture `number` of an endless row: the originals, then views of each, and so on."""
    chosen = originals[numbers % len(originals)]
    changed = numbers >= len(originals)
    if not changed.any():
        return chosen
    random = torch.Generator().manual_seed(int(numbers[0]))
    x = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
    seen = VIEWS[INVARIANCE](x, random, mirror=True).permute(0, 2, 3, 1)
    return np.where(changed[:, None, None, None], (255 * seen).round().clamp(0, 255).byte().numpy(), chosen)


if __name__ == "__main__":
    main()
