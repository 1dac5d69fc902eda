"""Readers of the files that hold data sets: each gives images with labels, in bounded batches and a fixed order.

Whatever does not fit together (a sheet of another size, fewer labels than images, an array of objects) is a
`DamagedError` or a `SettingsError` that says what would do; nothing is unpickled.
"""

import contextlib
import gzip
import json
import math
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from train.datasets.archives import Layout, Picture, TarFile, image_data, looks_usable, reading
from train.datasets.pickles import read_pickled_batch
from train.decoding import DecodePool, Undecoded
from train.errors import DamagedError, ImageError, SettingsError
from train.images import FOLDER_LIMITS, REDUCING_GAP, RESAMPLE, Pixels, Preprocessing

BATCH_IMAGES = 1000
BATCH_BYTES = 64 << 20  # of pixels; large images come in smaller batches
MAX_SIDE = 4096  # pixels
MAX_LABELS_BYTES = 1 << 30
_IN_ADVANCE = 32  # pictures read ahead of their decoders

Labels = NDArray[np.int64]  # (n,), index into the classes; -1: none
OnRejected = Callable[[str, ImageError], None]


@dataclass(frozen=True)
class Samples:
    """Some images of a data set."""

    pixels: Pixels  # (n, size, size, 3)
    labels: Labels
    split: str  # "train", "test", or "" where the data set does not say
    names: list[str]  # within the data set, one for each image


@dataclass(frozen=True)
class Query:
    """What is asked of a reader."""

    preprocessing: Preprocessing
    wanted: NDArray[np.int64] | None  # labels; None: all
    workers: int  # processes that decode
    on_rejected: OnRejected


class Reader(ABC):
    """One form of a data set."""

    classes: tuple[str, ...] = ()
    count: int | None = None  # images; None: not known before they are read

    @abstractmethod
    def samples(self, query: Query, name: str) -> Iterator[Samples]:
        """Read the images that are asked for, in batches."""


@dataclass(frozen=True)
class Batch:
    """Images as an array file has them."""

    pixels: Pixels  # (n, h, w) grey, or (n, h, w, 3)
    labels: Labels
    split: str


class ArrayReader(Reader):
    """A reader of images that all have one size; they have no names, so they are numbered."""

    @abstractmethod
    def batches(self, query: Query) -> Iterator[Batch]:
        """All images."""

    def samples(self, query: Query, name: str) -> Iterator[Samples]:
        """Read the images that are asked for, in batches."""
        number = 0
        for batch in self.batches(query):
            rows = np.arange(len(batch.pixels))
            if query.wanted is not None:
                rows = np.flatnonzero(np.isin(batch.labels, query.wanted))
            for part in _parts(rows, _images_at_once(query.preprocessing.size)):
                pixels = fit_pixels(batch.pixels[part], query.preprocessing.size)
                names = [f"{name}/{number + row:06}" for row in part.tolist()]
                yield Samples(pixels, batch.labels[part], batch.split, names)
            number += len(batch.pixels)


def fit_pixels(pixels: Pixels, size: int, resample: str = RESAMPLE) -> Pixels:
    """Fit images as decoders do (`train/decode_worker.py`): the shorter side to `size`, the centre square.

    Args:
        pixels: (n, h, w) or (n, h, w, 3).
        size: Of the square.
        resample: Pillow's name of the filter.

    Returns:
        (n, size, size, 3).
    """
    height, width = pixels.shape[1:3]
    if height != size or width != size:
        from PIL import Image

        side = min(height, width)
        x, y = (width - side) / 2, (height - side) / 2
        box = (x, y, x + side, y + side)
        how = Image.Resampling[resample]
        scaled = [
            np.asarray(Image.fromarray(image).resize((size, size), how, box=box, reducing_gap=REDUCING_GAP))
            for image in pixels
        ]
        pixels = np.stack(scaled) if scaled else np.zeros((0, size, size, *pixels.shape[3:]), np.uint8)
    if pixels.ndim == 3:
        pixels = np.repeat(pixels[..., None], 3, axis=3)
    return np.ascontiguousarray(pixels)


def _images_at_once(*sides: int) -> int:
    return max(1, min(BATCH_IMAGES, BATCH_BYTES // (3 * math.prod(sides if len(sides) > 1 else (*sides, *sides)))))


def _parts(rows: Labels, size: int) -> Iterator[Labels]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


# --- Sheets: cifar10_webp.tar, lfw32_webp.tar -------------------------------------------------------------------------


class SheetReader(ArrayReader):
    """Contact sheets of images without a gap, and an index of their labels: few files where there would be many.

    NAME/index.json has either `classes` and `sheets` (file: labels), or `people`, `labels` and `per_sheet`.
    """

    COLUMNS, ROWS, SIDE = 40, 25, 32  # a sheet; pixels

    def __init__(self, path: Path) -> None:
        self.path = path
        index: Any = None
        for member, content in TarFile(path).members():
            if member.name.endswith("/index.json") and not member.problem:
                with self._expecting_sense():
                    index = json.loads(content.read())
        if index is None:
            raise DamagedError(f"{path} has no index.json: it is not the archive of that name; copy it again.")
        with self._expecting_sense():
            self.classes, self._labels = self._read_index(index)
        self.count = sum(len(labels) for labels in self._labels.values())

    def _read_index(self, index: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Labels]]:
        if "sheets" in index:
            classes = index["classes"]
            labels = {str(name): sheet["labels"] for name, sheet in index["sheets"].items()}
        else:
            classes, step = index["people"], int(index["per_sheet"])
            starts = range(0, len(index["labels"]), step)
            labels = {f"{number:02}.webp": index["labels"][start : start + step] for number, start in enumerate(starts)}
        if not all(isinstance(name, str) for name in classes):
            raise ValueError("its classes are no text")
        checked = {name: np.array(values, np.int64) for name, values in labels.items()}
        for name, values in checked.items():
            if values.ndim != 1 or not 0 < len(values) <= self.COLUMNS * self.ROWS:
                raise ValueError(f"{name} has {values.size} labels")
            _expect_labels(values, len(classes), name)
        return tuple(classes), checked

    def batches(self, query: Query) -> Iterator[Batch]:
        """Decode the sheets, in the archive's order."""
        missing = set(self._labels)
        with DecodePool(query.workers, FOLDER_LIMITS) as pool:

            def sheets() -> Iterator[tuple[str, bytes]]:
                for member, content in TarFile(self.path).members():
                    name = member.name.rpartition("/")[2]
                    if name in missing and not member.problem:
                        missing.remove(name)
                        yield name, content.read()

            for (name, _), pixels in pool.map(lambda sheet: pool.pixels(sheet[1]), sheets(), in_advance=query.workers):
                if isinstance(pixels, ImageError):
                    raise DamagedError(f"{self.path} is damaged ({name}: {pixels.detail}): copy it again.")
                labels = self._labels[name]
                yield Batch(self._cut(name, pixels)[: len(labels)], labels, self._split(name))
        if missing:
            raise DamagedError(f"{self.path} is damaged ({min(missing)} is missing): copy it again.")

    def _cut(self, name: str, sheet: Pixels) -> Pixels:
        """Cut a sheet into its images, row by row."""
        side = self.SIDE
        expected = (self.ROWS * side, self.COLUMNS * side, 3)
        if sheet.shape != expected:
            raise DamagedError(
                f"{self.path} is damaged ({name} has {sheet.shape[1]} x {sheet.shape[0]} pixels instead of "
                f"{expected[1]} x {expected[0]}): copy it again."
            )
        tiles = sheet.reshape(self.ROWS, side, self.COLUMNS, side, 3).transpose(0, 2, 1, 3, 4)
        return tiles.reshape(-1, side, side, 3)

    @staticmethod
    def _split(name: str) -> str:
        return next((split for split in ("train", "test") if name.startswith(f"{split}_")), "")

    @contextlib.contextmanager
    def _expecting_sense(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise DamagedError(f"{self.path} is damaged (index.json: {error}): copy it again.") from error


def _expect_labels(labels: Labels, classes: int, where: str) -> None:
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"{where} has labels from {labels.min()} to {labels.max()}, but there are {classes} classes")


# --- NumPy: FILE.npz --------------------------------------------------------------------------------------------------

_NPZ_HELP = (
    "It needs x_train, y_train, x_test, y_test, or x (or images) and perhaps y (or labels): images as uint8 of shape "
    "(n, height, width) or (n, height, width, 3), labels as whole numbers or text of shape (n,)"
)
_NPZ_KEYS = (("x_train", "y_train", "train"), ("x_test", "y_test", "test"))
_NPZ_PLAIN_KEYS = (("x", "y", ""), ("x", "labels", ""), ("images", "y", ""), ("images", "labels", ""))


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class NpzReader(ArrayReader):
    """Arrays as `numpy.savez` writes them, read row by row: one array may be larger than the memory."""

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        """Read the headers and the labels.

        Args:
            path: The file.
            classes: Names of the labels 0, 1, ...; those of the array `classes`, or the numbers, where not given.

        Raises:
            DamagedError: The file is damaged.
            SettingsError: It has other arrays than it should have.
        """
        self.path = path
        with self._opened() as archive:
            keys = {name.removesuffix(".npy") for name in archive.namelist()}
            self._images = self._find(keys)
            stored = self._names(archive, keys)
            labels = {split: self._read_labels(archive, key, y, keys) for key, y, split in self._images}
        names = list(classes) if classes else stored
        self.classes, self._labels = self._numbered(labels, names)
        self.count = sum(len(values) for values in self._labels.values())

    def batches(self, query: Query) -> Iterator[Batch]:
        """Read the rows of each array."""
        for key, _, split in self._images:
            labels = self._labels[split]
            for start, pixels in self._rows(key):
                yield Batch(pixels, labels[start : start + len(pixels)], split)

    def _rows(self, key: str) -> Iterator[tuple[int, Pixels]]:
        with self._opened() as archive, self._member(archive, key) as file:
            header = self._header(file, key)
            shape = header.shape[1:]
            step = _images_at_once(*shape[:2])
            for start in range(0, header.shape[0], step):
                count = min(step, header.shape[0] - start)
                with reading(self.path):
                    data = file.read(count * math.prod(shape))
                    if len(data) != count * math.prod(shape):
                        raise EOFError(f"{key} has fewer than {header.shape[0]:,} images")
                pixels = np.frombuffer(data, np.uint8).reshape(count, *shape)
                yield start, pixels[..., 0] if shape[2:] == (1,) else pixels

    @contextlib.contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        with reading(self.path):
            archive = zipfile.ZipFile(self.path)
        with archive:
            yield archive

    def _member(self, archive: zipfile.ZipFile, key: str) -> IO[bytes]:
        with reading(self.path):
            return archive.open(f"{key}.npy")

    def _find(self, keys: set[str]) -> list[tuple[str, str, str]]:
        """Arrays of images and labels, with the split."""
        official = [row for row in _NPZ_KEYS if row[0] in keys]
        if official:
            return official
        plain = [row for row in _NPZ_PLAIN_KEYS if row[0] in keys]
        if not plain:
            found = ", ".join(sorted(keys)[:8]) or "nothing"
            raise SettingsError(f"{self.path} holds {found}. {_NPZ_HELP}.")
        return [next((row for row in plain if row[1] in keys), plain[0])]

    def _header(self, file: IO[bytes], key: str) -> _Header:
        with reading(self.path):
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, columns_first, dtype = read(file)
        if columns_first and len(shape) > 1:
            raise SettingsError(f"{self.path}: {key} is stored column by column: save np.ascontiguousarray({key}).")
        return _Header(shape, dtype)

    def _names(self, archive: zipfile.ZipFile, keys: set[str]) -> list[str] | None:
        if "classes" not in keys:
            return None
        return [str(name) for name in self._vector(archive, "classes").tolist()]

    def _read_labels(self, archive: zipfile.ZipFile, key: str, y: str, keys: set[str]) -> NDArray[Any] | int:
        """Labels as stored; where there are none, how many images there are."""
        with self._member(archive, key) as file:
            header = self._header(file, key)
        count = self._expect_images(key, header)
        if y not in keys:
            return count
        labels = self._vector(archive, y)
        if len(labels) != count:
            raise DamagedError(f"{self.path}: {key} has {count:,} images, but {y} {len(labels):,} labels.")
        return labels

    def _expect_images(self, key: str, header: _Header) -> int:
        shape = header.shape
        fits = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
        if header.dtype != np.uint8 or not fits or not all(1 <= side <= MAX_SIDE for side in shape[1:3]):
            raise SettingsError(f"{self.path}: {key} is {header.dtype} of shape {shape}. {_NPZ_HELP}.")
        if shape[0] * np.dtype(np.int64).itemsize > MAX_LABELS_BYTES:
            raise DamagedError(f"{self.path} is damaged ({key} claims {shape[0]:,} images): save or copy it again.")
        return int(shape[0])

    def _vector(self, archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
        with self._member(archive, key) as file:
            header = self._header(file, key)
            if header.dtype.kind not in "iuU" or len(header.shape) not in (1, 2) or header.shape[1:] not in ((), (1,)):
                raise SettingsError(f"{self.path}: {key} is {header.dtype} of shape {header.shape}. {_NPZ_HELP}.")
            size = math.prod(header.shape) * header.dtype.itemsize
            with reading(self.path):
                if size > MAX_LABELS_BYTES:
                    raise ValueError(f"{key} has {size:,} bytes")
                data = file.read(size)
                if len(data) != size:
                    raise EOFError(f"{key} breaks off")
                values = np.frombuffer(data, header.dtype).reshape(header.shape[0])
                if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
                    raise ValueError(f"{key} has the label {values.max()}")
        return values if values.dtype.kind == "U" else values.astype(np.int64)

    def _numbered(
        self, stored: Mapping[str, NDArray[Any] | int], names: list[str] | None
    ) -> tuple[tuple[str, ...], dict[str, Labels]]:
        """Number the classes; a negative label is none."""
        vectors = {split: values for split, values in stored.items() if not isinstance(values, int)}
        lengths = {split: values if isinstance(values, int) else len(values) for split, values in stored.items()}
        numbered = {split: np.full(length, -1, np.int64) for split, length in lengths.items()}
        if not vectors:
            return (), numbered
        if len({values.dtype.kind == "U" for values in vectors.values()}) > 1:
            raise SettingsError(f"{self.path}: some labels are numbers and some are text. {_NPZ_HELP}.")
        if names is not None and all(values.dtype.kind != "U" for values in vectors.values()):
            for split, values in vectors.items():
                if values.size and values.max() >= len(names):
                    raise DamagedError(
                        f"{self.path}: a label is {values.max()}, but the classes are 0 to {len(names) - 1}."
                    )
                numbered[split] = np.maximum(values, -1)
            return tuple(names), numbered
        everything = np.unique(np.concatenate(list(vectors.values())))
        if everything.dtype.kind != "U":
            everything = everything[everything >= 0]
        for split, values in vectors.items():
            places = np.searchsorted(everything, values).astype(np.int64)
            numbered[split] = places if values.dtype.kind == "U" else np.where(values < 0, -1, places)
        return tuple(str(value) for value in everything.tolist()), numbered


# --- MNIST's own format: idx ------------------------------------------------------------------------------------------


class IdxReader(ArrayReader):
    """The four official files of MNIST or Fashion-MNIST: images and labels to train with, images and labels to test.

    Source of the format: https://yann.lecun.com/exdb/mnist/
    """

    IMAGES, LABELS = b"\0\0\x08\x03", b"\0\0\x08\x01"  # uint8; 3 and 1 dimensions

    def __init__(self, files: Sequence[Path], classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._files = [(files[0], files[1], "train"), (files[2], files[3], "test")]
        self.count = 0
        for images, labels, _ in self._files:
            (count, *sides), (labelled,) = self._shape(images, self.IMAGES), self._shape(labels, self.LABELS)
            if count != labelled:
                raise DamagedError(f"{images} has {count:,} images, but {labels.name} {labelled:,} labels.")
            if not all(1 <= side <= MAX_SIDE for side in sides):
                raise DamagedError(f"{images} has images of {sides[1]} x {sides[0]} pixels: download it again.")
            self.count += count

    def _shape(self, path: Path, magic: bytes) -> list[int]:
        with reading(path), gzip.open(path) as file:
            return self._read_shape(file, magic)

    def _read_shape(self, file: gzip.GzipFile, magic: bytes) -> list[int]:
        dimensions = magic[3]
        head = file.read(4 + 4 * dimensions)
        if len(head) < 4 + 4 * dimensions or head[:4] != magic:
            raise ValueError("it does not start as it should")
        return [int.from_bytes(head[start : start + 4], "big") for start in range(4, len(head), 4)]

    def batches(self, query: Query) -> Iterator[Batch]:
        """Read images and labels side by side."""
        for images, labels, split in self._files:
            with reading(images), gzip.open(images) as pixel_file, gzip.open(labels) as label_file:
                count, height, width = self._read_shape(pixel_file, self.IMAGES)
                self._read_shape(label_file, self.LABELS)
                step = _images_at_once(height, width)
                for start in range(0, count, step):
                    number = min(step, count - start)
                    values = self._exactly(label_file, number).astype(np.int64)
                    _expect_labels(values, len(self.classes), labels.name)
                    pixels = self._exactly(pixel_file, number * height * width).reshape(number, height, width)
                    yield Batch(pixels, values, split)
                if pixel_file.read(1) or label_file.read(1):  # reaching the end also compares the checksum
                    raise ValueError("it goes on behind its end")

    @staticmethod
    def _exactly(file: gzip.GzipFile, size: int) -> NDArray[np.uint8]:
        data = file.read(size)
        if len(data) != size:
            raise EOFError("it breaks off")
        return np.frombuffer(data, np.uint8)


# --- CIFAR-10's own formats -------------------------------------------------------------------------------------------

_CIFAR_FILES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


class CifarReader(ArrayReader):
    """The official archives of CIFAR-10: binary, or Python pickles (which are parsed, not unpickled).

    Source of the formats: https://www.cs.toronto.edu/~kriz/cifar.html
    """

    SIDE = 32

    def __init__(self, path: Path, classes: Sequence[str], *, pickled: bool) -> None:
        self.path = path
        self.classes = tuple(classes)
        self.count = 60_000
        self._pickled = pickled

    def batches(self, query: Query) -> Iterator[Batch]:
        """Read the six files, in the archive's order."""
        missing = set(_CIFAR_FILES)
        for member, content in TarFile(self.path).members():
            name = member.name.rpartition("/")[2].removesuffix(".bin")
            if name not in missing or member.problem:
                continue
            missing.remove(name)
            data = content.read()
            with reading(self.path):
                labels, pixels = self._pickle(data, name) if self._pickled else self._binary(data, name)
                _expect_labels(labels, len(self.classes), name)
            for rows in _parts(np.arange(len(labels)), BATCH_IMAGES):
                yield Batch(pixels[rows], labels[rows], "test" if name == "test_batch" else "train")
        if missing:
            raise DamagedError(f"{self.path} is damaged ({min(missing)} is missing): download it again.")

    def _binary(self, data: bytes, name: str) -> tuple[Labels, Pixels]:
        """Records of one byte for the label and 3 planes of 32 x 32 bytes."""
        record = 1 + 3 * self.SIDE**2
        if not data or len(data) % record:
            raise ValueError(f"{name} has {len(data):,} bytes, which are no records of {record:,}")
        records = np.frombuffer(data, np.uint8).reshape(-1, record)
        return records[:, 0].astype(np.int64), self._planes(records[:, 1:])

    def _pickle(self, data: bytes, name: str) -> tuple[Labels, Pixels]:
        rows, labels = read_pickled_batch(data)
        if rows.shape[1:] != (3 * self.SIDE**2,) or len(rows) != len(labels):
            raise ValueError(f"{name} has data of shape {rows.shape} and {len(labels):,} labels")
        return np.array(labels, np.int64), self._planes(rows)

    def _planes(self, rows: NDArray[np.uint8]) -> Pixels:
        pixels: Pixels = rows.reshape(-1, 3, self.SIDE, self.SIDE).transpose(0, 2, 3, 1)
        return pixels


# --- Image files in label folders -------------------------------------------------------------------------------------


class FolderReader(Reader):
    """A tar archive of image files, in one folder for each label; decoded by the pool like any stranger's files."""

    def __init__(self, path: Path, *, crop: int = 0) -> None:
        """Look through the archive for the names.

        Args:
            path: The archive.
            crop: Pixels to cut off every side first; then the rest is scaled bilinearly, as the face tutorial does.

        Raises:
            DamagedError: It is truncated, or no tar archive.
        """
        self.path = path
        self._crop = crop
        usable = (member for member, _ in TarFile(path).members() if looks_usable(member))
        names = [member.name for member in usable if not member.problem]
        self._layout = Layout(names)
        self.classes = self._layout.classes
        self.count = len(names)

    def samples(self, query: Query, name: str) -> Iterator[Samples]:
        """Decode the images that are asked for, in the archive's order; a batch holds one split."""
        numbers = {label: number for number, label in enumerate(self.classes)} | {"": -1}
        gathered: list[tuple[Pixels, int, str]] = []
        split = ""
        most = _images_at_once(query.preprocessing.size)
        for picture, pixels in self._decoded(query, numbers):
            if gathered and (len(gathered) == most or picture.split != split):
                yield _stacked(gathered, split)
                gathered = []
            split = picture.split
            gathered.append((pixels, numbers[picture.label], picture.name))
        if gathered:
            yield _stacked(gathered, split)

    def _decoded(self, query: Query, numbers: Mapping[str, int]) -> Iterator[tuple[Picture, Pixels]]:
        with DecodePool(query.workers, FOLDER_LIMITS) as pool:

            def read(item: tuple[Picture, bytes | ImageError]) -> Undecoded[Pixels] | Pixels:
                data = item[1]
                if isinstance(data, ImageError):
                    raise data
                if self._crop:
                    return self._cropped(pool.pixels(data), query.preprocessing.size)
                return Undecoded(data, lambda decoded: decoded.pixels)

            files = self._files(query, numbers)
            for (picture, _), outcome in pool.fit_each(read, files, query.preprocessing, in_advance=_IN_ADVANCE):
                if isinstance(outcome, ImageError):
                    query.on_rejected(picture.name, outcome)
                else:
                    yield picture, outcome

    def _files(self, query: Query, numbers: Mapping[str, int]) -> Iterator[tuple[Picture, bytes | ImageError]]:
        for member, content in TarFile(self.path).members():
            if not looks_usable(member):
                continue
            if member.problem:
                yield Picture(member.name, "", ""), ImageError(member.problem, code="not_a_file")
                continue
            picture = self._layout.picture(member.name)
            if query.wanted is None or numbers[picture.label] in query.wanted:
                try:
                    yield picture, image_data(member, content)
                except ImageError as refusal:
                    yield picture, refusal

    def _cropped(self, pixels: Pixels, size: int) -> Pixels:
        height, width = pixels.shape[:2]
        if min(height, width) <= 2 * self._crop:
            detail = f"It has {width} x {height} pixels, and {self._crop} are to be cut off on every side."
            raise ImageError(detail, code="corrupt")
        middle = pixels[self._crop : height - self._crop, self._crop : width - self._crop]
        fitted: Pixels = fit_pixels(np.ascontiguousarray(middle)[None], size, "BILINEAR")[0]
        return fitted


def _stacked(gathered: list[tuple[Pixels, int, str]], split: str) -> Samples:
    labels = np.array([label for _, label, _ in gathered], np.int64)
    return Samples(np.stack([pixels for pixels, _, _ in gathered]), labels, split, [name for _, _, name in gathered])


def all_cores() -> int:
    """Processes that decode, where nobody says how many."""
    return len(os.sched_getaffinity(0))
