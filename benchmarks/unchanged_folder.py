"""How much faster an unchanged folder is looked at again than it was embedded.

    python -m benchmarks.unchanged_folder cifar10 lfw32 --data ../shared/data --model BUNDLE --count 100000

The files are the pictures of data sets as small JPEGs, a thousand in each of the folder's folders; where there are too
few, they come again with a number behind the end, so that each file has bytes of its own. Nothing of the folder is
remembered but what the gallery holds. The first time ends with the index built, as `index add` does.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.processor_time import cost, load
from export.bundle import Bundle
from index_data.adding import add_folder
from index_data.gallery import Gallery
from train.datasets.lookup import find_dataset
from train.images import Preprocessing

FILES_A_FOLDER = 1000
SIDE = 32  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="of looking again")
    asked = parser.parse_args()
    bundle = Bundle.open(asked.model)
    with tempfile.TemporaryDirectory(prefix="unchanged-") as scratch:
        folder = Path(scratch) / "pictures"
        distinct = write_out(asked.datasets, asked.data, folder, asked.count)
        print(f"{asked.count:,} files, {distinct:,} of them different pictures; load {load():.1f}", flush=True)
        with Gallery.create(Path(scratch) / "gallery", bundle) as gallery:
            first = cost(lambda: add_folder(gallery, bundle, folder))
            print(
                f"| embedded: {first.result.embedded:,} | {first.clock:.1f} s, processor {first.processor:.1f} s |",
                flush=True,
            )
            for _ in range(asked.rounds):
                again = cost(lambda: add_folder(gallery, bundle, folder))
                assert again.result.embedded == 0, again.result
                print(
                    f"| looked at again | {again.clock:.2f} s, processor {again.processor:.2f} s | "
                    f"{first.clock / again.clock:.0f} times, by processor time "
                    f"{first.processor / again.processor:.0f}; load {load():.1f} |",
                    flush=True,
                )


def write_out(datasets: list[str], data: Path, folder: Path, total: int) -> int:
    """Write so many pictures to a folder; how many of them are different."""
    written = distinct = 0
    for turn in count():
        for picture in pictures(datasets, data):
            if written == total:
                return distinct
            place = folder / f"{written // FILES_A_FOLDER:04}" / f"{written:08}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture if turn == 0 else picture + b"%d" % turn)
            written += 1
            distinct += turn == 0
        if not written:
            raise SystemExit("The data sets have no pictures.")
    raise AssertionError


def pictures(datasets: list[str], data: Path) -> Iterator[bytes]:
    for name in datasets:
        for samples in find_dataset(name, data).samples(Preprocessing(SIDE)):
            for pixels in samples.pixels:
                file = io.BytesIO()
                Image.fromarray(np.asarray(pixels)).save(file, "JPEG", quality=92)
                yield file.getvalue()


if __name__ == "__main__":
    main()
