"""Data sets: images with labels and an official division, by name (`cifar10`) or from a file of the user's own.

Names are looked up in `train/datasets/catalogue.py`; the files stay as they are, packed, in one folder.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from train.datasets.archives import TAR_SUFFIXES
from train.datasets.catalogue import KNOWN_SETS, Form, known_set, nearest
from train.datasets.readers import (
    CifarReader,
    FolderReader,
    IdxReader,
    Labels,
    NpzReader,
    OnRejected,
    Query,
    Reader,
    Samples,
    SheetReader,
    all_cores,
)
from train.errors import ImageError, NothingFoundError, SettingsError
from train.images import Preprocessing
from train.printable import printable

__all__ = ["Dataset", "Samples", "find_dataset"]

logger = logging.getLogger(__name__)

FACE_CROP = 80  # pixels of 250 that the face tutorial cuts off every side
_DIGITS = [str(digit) for digit in range(10)]
_CLASSES = {
    "mnist": _DIGITS,
    "fashion-mnist": [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}
_SAMPLED_BYTES = 64 << 10
_SAMPLES_OF_A_FILE = 16


class Dataset:
    """A data set that is there, ready to be read."""

    def __init__(self, name: str, reader: Reader, files: Sequence[Path]) -> None:
        self.name = name
        self.files = tuple(files)
        self._reader = reader

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ...; empty where the images have none."""
        return self._reader.classes

    @property
    def count(self) -> int | None:
        """Images, before any is found to be unusable; None where it is not known."""
        return self._reader.count

    @property
    def identity(self) -> str:
        """Says which content this is, wherever the files lie: a run that was begun with other data is not resumed.

        Of each file the size and up to `_SAMPLES_OF_A_FILE` parts count: reading 180 MB at each start takes too long.
        """
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name} {file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
            digest.update(_digest_of_parts(file))
        names = "+".join(file.name for file in self.files)
        return f"{self.name} {names} {digest.hexdigest()[:32]}"

    def describe(self) -> str:
        """What it is, in a few words."""
        count = f"{self.count:,} images" if self.count is not None else "images"
        labels = f"{len(self.classes):,} labels" if self.classes else "no labels"
        return f"{self.name}: {count}, {labels}, from {', '.join(str(file) for file in self.files)}"

    def samples(
        self,
        preprocessing: Preprocessing,
        *,
        classes: Sequence[str] | None = None,
        workers: int | None = None,
        on_rejected: OnRejected | None = None,
    ) -> Iterator[Samples]:
        """Read the images in batches of at most 1,000, always in the same order.

        Args:
            preprocessing: How they are fitted.
            classes: Only images with one of these labels; None or empty: all.
            workers: Processes that decode; as many as there are cores.
            on_rejected: Called with the name of each image that cannot be used; a warning is logged where not given.

        Raises:
            SettingsError: The data set does not have one of the classes.
            DamagedError: What is in the files does not fit together.
        """
        query = Query(
            preprocessing,
            self._numbers(classes) if classes else None,
            workers or all_cores(),
            on_rejected or _warn,
        )
        return self._reader.samples(query, self.name)

    def _numbers(self, classes: Sequence[str]) -> Labels:
        numbers = {name: number for number, name in enumerate(self.classes)}
        for name in classes:
            if not numbers:
                raise SettingsError(f"the data set {self.name} has no labels, so it has no class {name!r}.")
            if name not in numbers:
                raise SettingsError(f"the data set {self.name} has no class {name!r}: {nearest(name, numbers)}")
        return np.array([numbers[name] for name in classes], np.int64)


def _warn(name: str, refusal: ImageError) -> None:
    logger.warning("%s is left out: %s", printable(name.encode("utf-8", "surrogateescape")), refusal.detail)


def _digest_of_parts(path: Path) -> bytes:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for part in range(_SAMPLES_OF_A_FILE):
            file.seek(max(0, size - _SAMPLED_BYTES) * part // (_SAMPLES_OF_A_FILE - 1))
            digest.update(file.read(_SAMPLED_BYTES))
    return digest.digest()


def find_dataset(text: str, folder: Path) -> Dataset:
    """Open a data set.

    Args:
        text: A name of the catalogue, or a file: FILE.npz, FILE.tar, FILE.tar.gz, FILE.tgz.
        folder: Where the files of named data sets lie; a file's name is looked for there too.

    Raises:
        SettingsError: There is no such name; the message has the nearest ones.
        NothingFoundError: Its files are not there; the message says how to get them.
        DamagedError: A file is not what it should be.
    """
    if text in KNOWN_SETS:
        known = known_set(text)
        form = known.present(folder)
        if form is None:
            raise NothingFoundError(f"the data set {text} is not in {folder}: {known.how_to_get(folder)}.")
        files = [folder / file for file in form.files]
        return Dataset(text, _reader(text, form, files), files)
    if text.endswith((".npz", *TAR_SUFFIXES)):
        return _own_file(text, folder)
    if os.sep in text or Path(text).exists():
        raise SettingsError(f"{text} is no data set: give a name, FILE.npz or FILE.tar, or a folder of images.")
    raise SettingsError(f"there is no data set {text!r}: {nearest(text, KNOWN_SETS)}")


def _own_file(text: str, folder: Path) -> Dataset:
    """A file of the user's own."""
    path = next((path for path in (Path(text), folder / text) if path.is_file()), None)
    if path is None:
        raise NothingFoundError(f"there is no file {text}, neither here nor in {folder}.")
    if text.endswith(".npz"):
        return Dataset(path.stem, NpzReader(path), [path])
    suffix = next(suffix for suffix in TAR_SUFFIXES if text.endswith(suffix))
    return Dataset(path.name.removesuffix(suffix), FolderReader(path), [path])


def _reader(name: str, form: Form, files: Sequence[Path]) -> Reader:
    classes = _CLASSES.get(name, [])
    match form.kind:
        case "sheets":
            return SheetReader(files[0])
        case "npz":
            return NpzReader(files[0], classes)
        case "idx":
            return IdxReader(files, classes)
        case "cifar_binary" | "cifar_python":
            return CifarReader(files[0], classes, pickled=form.kind == "cifar_python")
        case "folders":
            return FolderReader(files[0])
        case "faces":
            return FolderReader(files[0], crop=FACE_CROP)
