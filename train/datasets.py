"""Data sets by name."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.images import Pixels, Preprocessing


@dataclass(frozen=True)
class Samples:
    pixels: Pixels
    labels: NDArray[np.int64]
    split: str
    names: list[str]


class Dataset:
    def __init__(self, name: str, classes: Sequence[str], parts: Any, count: int) -> None:
        self.name, self.classes, self._parts, self.count = name, tuple(classes), parts, count

    def samples(self, preprocessing: Preprocessing, *, classes: Sequence[str] | None = None) -> Iterator[Samples]:
        number = 0
        for pixels, labels, split in self._parts():
            names = [f"{self.name}/{number + n:06}" for n in range(len(pixels))]
            number += len(pixels)
            if classes:
                keep = np.isin(np.array(self.classes)[labels], list(classes))
                pixels, labels, names = pixels[keep], labels[keep], [n for n, k in zip(names, keep) if k]
            yield Samples(pixels, labels, split, names)


def find_dataset(text: str, folder: Path) -> Dataset:
    if text == "mnist":
        file = np.load(folder / "mnist.npz")

        def parts() -> Any:
            for split in ("train", "test"):
                yield file[f"x_{split}"][..., None].repeat(3, -1), file[f"y_{split}"].astype(np.int64), split

        return Dataset("mnist", [str(n) for n in range(10)], parts, 70000)
    with tarfile.open(folder / f"{text}_webp.tar") as tar:
        content = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore
    index = json.loads(content[f"{text}/index.json"])

    def sheet(name: str) -> Any:
        image = np.asarray(Image.open(io.BytesIO(content[name])).convert("RGB"))
        return image.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3)

    def cifar() -> Any:
        for name, each in index["sheets"].items():
            path = f"cifar10/{name}.webp" if not name.endswith(".webp") else f"cifar10/{name}"
            yield sheet(path), np.array(each["labels"]), "test" if "test" in name else "train"

    def lfw() -> Any:
        for n in range(14):
            labels = np.array(index["labels"][n * 1000 : (n + 1) * 1000])
            yield sheet(f"lfw32/{n:02}.webp")[: len(labels)], labels, ""

    if text == "cifar10":
        return Dataset(text, index["classes"], cifar, 60000)
    return Dataset(text, index["people"], lfw, 13233)
