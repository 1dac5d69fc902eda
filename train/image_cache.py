"""The training images, decoded once: a uint8 memory map and a journal that says which file each row came from.

    images/pixels.bin      rows of size * size * 3 bytes, in the order of the journal's stored files
    images/journal.jsonl   one line for each file that was looked at: stored, duplicate, rejected or other
    images/COMPLETE        every file of the folder has been looked at

Pixels are durable before the journal names them, so that a kill loses at most the files since the last commit: what the
journal does not name is cut off and decoded again.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from train.datasets.lookup import Dataset, Samples
from train.decoding import DecodePool, Undecoded
from train.errors import ImageError
from train.files import disk_errors, sync_folder, write_file
from train.images import (
    FOLDER_LIMITS,
    FileContent,
    FoundFile,
    OtherFileError,
    Pixels,
    Preprocessing,
    Rejected,
    find_files,
    looks_like_image,
    read_file,
)
from train.interruption import StopRequest
from train.progress import Reporter

DATASET_COMMIT = 5000  # images of a data set between two commits: they are not decoded one by one
MIN_IMAGES = 8  # of a training: a few to learn from, one to choose by and one to measure on
COMMIT_FILES = 256  # looked at between two commits: at most these are decoded again after a kill

Record = dict[str, Any]  # one line of the journal


class Pictures(Protocol):
    """Image files that a cache is filled from, told apart by their paths."""

    @property
    def place(self) -> str:
        """Where they are: a run remembers it, and goes on with the same ones only."""

    def files(self) -> list[FoundFile | Rejected]:
        """All of them, in the order of the rows."""

    def read(self, file: FoundFile) -> FileContent:
        """One of them; raises ImageError where it cannot be read. Several threads read at once."""


@dataclass(frozen=True)
class FolderPictures:
    """All files below a folder, by rising path."""

    folder: Path

    @property
    def place(self) -> str:
        """The whole path of the folder."""
        return os.fsdecode(self.folder.resolve())

    def files(self) -> list[FoundFile | Rejected]:
        """What stands below the folder; raises NothingFoundError where it is none."""
        return sorted(find_files(self.folder), key=lambda file: file.path)

    def read(self, file: FoundFile) -> FileContent:
        """The file as it is; raises ImageError."""
        return read_file(self.folder, file.path, FOLDER_LIMITS)

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class CacheSummary:
    """What became of the files of a folder."""

    stored: int  # images that can be trained on
    duplicate: int  # files with the same bytes as one of them
    rejected: dict[str, int]  # images that cannot be used, by code
    other: int  # files that are not meant to be images

    @property
    def rejected_count(self) -> int:
        """Images that cannot be used."""
        return sum(self.rejected.values())

    @property
    def rejected_share(self) -> float:
        """Share of the images that cannot be used."""
        return self.rejected_count / max(self.stored + self.duplicate + self.rejected_count, 1)


class ImageCache:
    """The cache inside a run folder: filled once, then only read."""

    def __init__(self, folder: Path, preprocessing: Preprocessing) -> None:
        self.folder = folder
        self.size = preprocessing.size
        self.preprocessing = preprocessing
        self._pixels = folder / "pixels.bin"
        self._journal = folder / "journal.jsonl"
        self._complete = folder / "COMPLETE"

    @property
    def complete(self) -> bool:
        """Whether every file of the folder was looked at."""
        return self._complete.exists()

    def records(self) -> list[Record]:
        """What the journal says of each file, in order; a torn last line is left out."""
        if not self._journal.exists():
            return []
        lines = self._journal.read_bytes().split(b"\n")
        # Without a line feed at its end the last line is torn, whether or not it parses.
        return [json.loads(line) for line in lines[:-1]]

    def pixels(self) -> Pixels:
        """All rows, (n, size, size, 3), as a read-only memory map."""
        rows = len(self.hashes())
        return np.memmap(self._pixels, np.uint8, "r", shape=(rows, self.size, self.size, 3))

    def hashes(self) -> list[str]:
        """SHA-256 of the file behind each row, in hexadecimal."""
        return [record["sha256"] for record in self.records() if record["fate"] == "stored"]

    def labels(self) -> list[str]:
        """Label of each row: as the data set has it, or the first folder on the file's path; may be empty."""
        return [_label(record) for record in self.records() if record["fate"] == "stored"]

    def splits(self) -> list[str]:
        """What a data set says each row is for: "train", "test", or nothing."""
        return [record.get("split", "") for record in self.records() if record["fate"] == "stored"]

    def rows_of(self, classes: Sequence[str]) -> list[int]:
        """Rows with one of these labels; all where none is named."""
        wanted = set(classes)
        return [row for row, label in enumerate(self.labels()) if not wanted or label in wanted]

    def failures(self) -> list[Record]:
        """Path, code and detail of the files that could not be used."""
        return [record for record in self.records() if record["fate"] in ("rejected", "other")]

    def summary(self) -> CacheSummary:
        """Count what the journal says."""
        records = self.records()
        fates = Counter(record["fate"] for record in records)
        rejected = Counter(record["code"] for record in records if record["fate"] == "rejected")
        return CacheSummary(fates["stored"], fates["duplicate"], dict(sorted(rejected.items())), fates["other"])

    def fill(self, source: Pictures, *, workers: int, reporter: Reporter, stop: StopRequest) -> CacheSummary:
        """Look at every file that the journal does not name yet, in their order.

        Raises:
            Interrupted: The user asked to stop; what was decoded is kept.
            NothingFoundError: `source` is a folder that is not there.
            DiskError: The disk is full.
        """
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            known = self._recover()
            seen = {os.fsencode(record["path"]) for record in known}
            found = source.files()
            left = [file for file in found if file.path not in seen]
            with reporter.task("reading images", len(found), "files") as task:
                task.resume_at(len(found) - len(left))
                with _Writer(self._pixels, self._journal, known) as writer:
                    for record, pixels in _decoded(source, left, self.preprocessing, workers):
                        fate = writer.add(record, pixels)
                        task.advance(1, note=None, **_counts(fate))
                        if stop:
                            writer.commit()
                            stop.raise_if_set("what was read so far is kept: the same command goes on from there.")
            write_file(self._complete, b"")
        return self.summary()

    def fill_from(
        self, dataset: Dataset, *, classes: Sequence[str] | None, reporter: Reporter, stop: StopRequest
    ) -> CacheSummary:
        """Take the images of a data set, with their labels and what they are for; equal images stay, as it has them.

        Raises:
            Interrupted: The user asked to stop; it is read again from the start, which takes seconds.
        """
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.forget()
            self._recover()
            with (
                reporter.task(f"reading {dataset.name}", dataset.count, "images") as task,
                _Writer(self._pixels, self._journal, []) as writer,
            ):

                def reject(name: str, error: ImageError) -> None:
                    record = {"path": name, "fate": "rejected", "code": error.problem.code, "detail": error.detail}
                    writer.add(record, None)

                for samples in dataset.samples(self.preprocessing, classes=classes, on_rejected=reject):
                    for record, pixels in _labelled(samples, dataset.classes):
                        writer.keep(record, pixels)
                    task.advance(len(samples.pixels))
                    stop.raise_if_set("nothing is lost: the same command reads the data set again.")
            write_file(self._complete, b"")
        return self.summary()

    def forget(self) -> None:
        """Remove everything: the next start looks at all files again."""
        for file in (self._complete, self._journal, self._pixels):
            file.unlink(missing_ok=True)

    def _recover(self) -> list[Record]:
        """Cut journal and pixels back to what both have, and return the journal's records."""
        records = self.records()
        row_bytes = self.size * self.size * 3
        rows = self._pixels.stat().st_size // row_bytes if self._pixels.exists() else 0
        whole: list[Record] = []
        stored = 0
        for record in records:
            if record["fate"] == "stored":
                if stored == rows:
                    break
                stored += 1
            whole.append(record)
        write_file(self._journal, b"".join(_line(record) for record in whole))
        with self._pixels.open("ab") as file:
            file.truncate(stored * row_bytes)
        sync_folder(self.folder)
        return whole


class _Writer:
    """Appends rows and journal lines, pixels first."""

    def __init__(self, pixels: Path, journal: Path, known: list[Record]) -> None:
        self._pixels: BinaryIO = pixels.open("ab")
        self._journal: BinaryIO = journal.open("ab")
        self._hashes = {record["sha256"] for record in known if record["fate"] == "stored"}
        self._pending: list[Record] = []

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self._pixels.close()
            self._journal.close()

    def add(self, record: Record, pixels: Pixels | None) -> str:
        """Take one file's record and, if it is an image, its pixels; return its fate."""
        if pixels is not None:
            if record["sha256"] in self._hashes:
                record = {**record, "fate": "duplicate"}
            else:
                self._hashes.add(record["sha256"])
                self._pixels.write(pixels.tobytes())
        self._pending.append(record)
        if len(self._pending) >= COMMIT_FILES:
            self.commit()
        fate: str = record["fate"]
        return fate

    def keep(self, record: Record, pixels: Pixels) -> None:
        """Take an image of a data set, whether or not there is an equal one."""
        self._pixels.write(pixels.tobytes())
        self._pending.append(record)
        if len(self._pending) >= DATASET_COMMIT:
            self.commit()

    def commit(self) -> None:
        """Make the pixels durable, then name them."""
        self._pixels.flush()
        os.fsync(self._pixels.fileno())
        self._journal.write(b"".join(_line(record) for record in self._pending))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._pending = []


def _decoded(
    source: Pictures, files: list[FoundFile | Rejected], preprocessing: Preprocessing, workers: int
) -> Iterator[tuple[Record, Pixels | None]]:
    """The record of each file, in order, and the pixels of those that are images."""
    with DecodePool(workers, FOLDER_LIMITS) as pool:

        def read(file: FoundFile | Rejected) -> Undecoded[tuple[str, Pixels]] | tuple[str, Pixels]:
            if isinstance(file, Rejected):
                raise ImageError(file.detail, code=file.code)
            content = source.read(file)
            return Undecoded(content.data, lambda decoded: (content.sha256.hex(), decoded.pixels))

        for file, outcome in pool.fit_each(read, files, preprocessing):
            record: Record = {"path": os.fsdecode(file.path)}
            if isinstance(outcome, ImageError):
                fate = "other" if _is_other(file, outcome) else "rejected"
                yield {**record, "fate": fate, "code": outcome.problem.code, "detail": outcome.detail}, None
            else:
                sha256, pixels = outcome
                yield {**record, "fate": "stored", "sha256": sha256}, pixels


def _labelled(samples: Samples, classes: Sequence[str]) -> Iterator[tuple[Record, Pixels]]:
    """Journal records of a part of a data set, with the pixels."""
    for name, pixels, label in zip(samples.names, samples.pixels, samples.labels, strict=True):
        # By content and name: the division into training and test images then keeps equal images apart by chance only.
        digest = hashlib.sha256(pixels.tobytes() + name.encode("utf-8", "surrogateescape")).hexdigest()
        label_name = classes[label] if label >= 0 and classes else ""
        yield (
            {"path": name, "fate": "stored", "sha256": digest, "label": label_name, "split": samples.split},
            np.ascontiguousarray(pixels),
        )


def _label(record: Record) -> str:
    if "label" in record:
        label: str = record["label"]
        return label
    folder, separator, _ = record["path"].partition("/")
    return folder if separator else ""


def _counts(fate: str) -> dict[str, int]:
    """What the progress bar counts apart."""
    return {} if fate == "stored" else {fate: 1}


def _is_other(file: FoundFile | Rejected, outcome: ImageError) -> bool:
    """Whether nobody would miss the file among the images."""
    if isinstance(file, Rejected):
        return not looks_like_image(file.path, b"")
    return isinstance(outcome, OtherFileError)


def split(hashes: list[str], validation_share: float, test_share: float) -> tuple[list[int], list[int], list[int]]:
    """Divide rows into training, validation and test rows, by the hash of each image's content.

    So an image stays on its side when files are renamed or moved, and none of the three is empty from three images on;
    without a share, there are no test rows.
    """
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    validation = max(1, round(validation_share * len(order)))
    test = max(1, round(test_share * len(order))) if test_share else 0
    held_out = validation + test
    return sorted(order[held_out:]), sorted(order[:validation]), sorted(order[validation:held_out])


def _line(record: Record) -> bytes:
    # ASCII: names that are not text pass as escaped surrogates.
    return json.dumps(record).encode("ascii") + b"\n"
