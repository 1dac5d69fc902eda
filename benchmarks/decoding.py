"""How fast the decode workers are, beside bare Pillow in one run.

    python -m benchmarks.decoding [--size 64] [--workers 1 2]

Both read the same JPEG files from memory, let the decoder reduce them with draft(), and scale the centre square to
the model's size. Rounds take turns, so that whatever else the machine does falls on both; the ratio is the median. On a
busy machine look at the processor time, which the workers' parent is part of: where all processors are at work, the
ratio of rates is that of processor times.
"""

import argparse
import io
import multiprocessing
import multiprocessing.pool
import os
import statistics
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.processor_time import cost, load
from train.decoding import DecodePool
from train.images import FOLDER_LIMITS, REDUCING_GAP, RESAMPLE, Preprocessing

SIZES = {"12 megapixels": (4000, 3000), "250 pixels": (250, 188)}


def photo(width: int, height: int, seed: int) -> bytes:
    """A JPEG with detail on all scales, as photos have: noise of many sizes, quality 85."""
    random = np.random.default_rng(seed)
    layers = np.zeros((height, width, 3), np.float32)
    for octave in (4, 16, 64, 256, 1024):
        noise = random.integers(0, 256, (octave * height // width + 1, octave, 3), dtype=np.uint8)
        layers += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)) / octave**0.5
    pixels = (layers * (255 / layers.max())).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def bare(data: bytes, preprocessing: Preprocessing) -> bytes:
    """Decode and fit as one would in a loop of one's own."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft(None, (preprocessing.decoded_side,) * 2)
    image.load()
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = image.resize(
        (preprocessing.size,) * 2,
        Image.Resampling[RESAMPLE],
        box=(left, top, left + side, top + side),
        reducing_gap=REDUCING_GAP,
    )
    return square.tobytes()


def bare_many(task: tuple[list[bytes], Preprocessing]) -> int:
    return sum(len(bare(data, task[1])) for data in task[0])


def bare_pool(workers: int) -> multiprocessing.pool.Pool:
    # The workers are nice: on a busy machine these would otherwise get more of it.
    return multiprocessing.get_context("spawn").Pool(workers, os.nice, (5,))


def compare(name: str, files: list[bytes], workers: int, rounds: int, preprocessing: Preprocessing) -> None:
    shares = [(files[start::workers], preprocessing) for start in range(workers)]
    with DecodePool(workers, FOLDER_LIMITS) as pool, bare_pool(workers) as processes:

        def through_pool() -> int:
            return sum(1 for _ in pool.map_fit(((None, partial(bytes, data)) for data in files), preprocessing))

        def without() -> list[int]:
            return processes.map(bare_many, shares, chunksize=1)

        through_pool(), without()  # start everything
        turns = [(cost(through_pool), cost(without)) for _ in range(rounds)]
    pooled, plain = (statistics.median(len(files) / each.clock for each in costs) for costs in zip(*turns, strict=True))
    ratio = statistics.median(other.clock / one.clock for one, other in turns)
    processor = statistics.median(other.processor / one.processor for one, other in turns)
    print(
        f"{name:15} {workers} process{'es' if workers > 1 else '':2}  workers {pooled:8.1f} images/s   "
        f"bare Pillow {plain:8.1f} images/s   ratio {ratio:.2f}   "
        f"by processor time {processor:.2f}   load {load():.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="side of the square, pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, multiprocessing.cpu_count()])
    options = parser.parse_args()
    for name, (width, height) in SIZES.items():
        few = [photo(width, height, seed) for seed in range(4)]
        files = few * (8 if width > 1000 else 250)
        for workers in options.workers:
            compare(name, files, workers, options.rounds, Preprocessing(options.size))


if __name__ == "__main__":
    main()
