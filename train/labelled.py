"""Images with labels, for whatever is measured on them or taught with them: from folders or from a data set.

Free of PyTorch. The label of a file is the first folder on its path; a data set brings its own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.decoding import DecodePool, Undecoded
from train.errors import ImageError, NothingFoundError, SettingsError
from train.images import FOLDER_LIMITS, FoundFile, Pixels, Preprocessing, find_files, read_file
from train.interruption import StopRequest
from train.progress import Reporter

MAX_BYTES = 2 << 30  # of pixels that are held in memory; what is more is thinned out at random
BOOTSTRAP_DRAWS = 10_000

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledImages:
    """Images, and what each one shows."""

    pixels: Pixels  # (n, size, size, 3)
    labels: Rows  # (n,), index into `classes`; -1: none
    classes: tuple[str, ...]
    splits: NDArray[np.str_]  # (n,), "train", "test", or "" where nobody says
    names: tuple[str, ...]  # path below the folder, or what the data set calls it
    available: int  # images that there are; more than n where a sample was asked for
    rejected: int = 0  # files that cannot be used

    def __len__(self) -> int:
        """How many were read."""
        return len(self.labels)

    def take(self, rows: Rows) -> "LabelledImages":
        """Some of them."""
        names = tuple(self.names[row] for row in rows)
        return LabelledImages(
            self.pixels[rows],
            self.labels[rows],
            self.classes,
            self.splits[rows],
            names,
            self.available,
            self.rejected,
        )


def read_labelled(
    source: str,
    preprocessing: Preprocessing,
    *,
    datasets: Path,
    limit: int | None,
    seed: int,
    reporter: Reporter,
    stop: StopRequest,
    workers: int | None = None,
) -> LabelledImages:
    """Read images with their labels into memory.

    Args:
        source: A folder, searched recursively, or the name or file of a data set.
        preprocessing: How they are fitted.
        datasets: Where the archives of data sets lie.
        limit: Images of a folder, at most: a sample of each label in proportion. None: as many as fit into `MAX_BYTES`.
        seed: Of the sample.
        reporter: Told what is going on.
        stop: Looked at between two images.
        workers: Processes that decode; as many as there are cores.

    Raises:
        NothingFoundError: There is no such folder, or no usable image in it.
        Interrupted: The user asked to stop.
    """
    if not Path(source).is_dir():
        return _read_dataset(source, preprocessing, datasets, seed, reporter, stop)
    files = [file for file in find_files(Path(source)) if isinstance(file, FoundFile)]
    files.sort(key=lambda file: file.path)
    folders = [_first_folder(file.path) for file in files]
    classes = tuple(sorted({name for name in folders if name}))
    numbers = {name: number for number, name in enumerate(classes)} | {"": -1}
    labels = np.array([numbers[name] for name in folders], np.int64)
    most = max(1, MAX_BYTES // (preprocessing.size**2 * 3))
    chosen = np.sort(stratified(labels, min(most, limit or most), seed))
    pixels: list[Pixels] = []
    kept: list[int] = []
    seen: set[bytes] = set()
    rejected = 0
    workers = workers or len(os.sched_getaffinity(0))
    with reporter.task("reading images", len(chosen), "files") as task, DecodePool(workers, FOLDER_LIMITS) as pool:

        def read(row: int) -> Undecoded[tuple[bytes, Pixels]] | tuple[bytes, Pixels]:
            content = read_file(Path(source), files[row].path, FOLDER_LIMITS)
            return Undecoded(content.data, lambda decoded: (content.sha256, decoded.pixels))

        for row, outcome in pool.fit_each(read, chosen.tolist(), preprocessing):
            task.advance()
            stop.raise_if_set("nothing was written: the same command begins again.")
            if isinstance(outcome, ImageError):
                rejected += 1
            elif outcome[0] not in seen:  # the same file twice would be learnt from here and asked for there
                seen.add(outcome[0])
                pixels.append(outcome[1])
                kept.append(row)
    if not pixels:
        raise NothingFoundError(f"{source} has no images that can be used: give a folder with JPEG, PNG, WebP files.")
    return LabelledImages(
        np.stack(pixels),
        labels[kept],
        classes,
        np.full(len(kept), "", "<U5"),
        tuple(os.fsdecode(files[row].path) for row in kept),
        available=len(kept) + len(files) - len(chosen),
        rejected=rejected,
    )


def _first_folder(path: bytes) -> str:
    folder, separator, _ = path.partition(b"/")
    return os.fsdecode(folder) if separator else ""


def _read_dataset(
    source: str, preprocessing: Preprocessing, datasets: Path, seed: int, reporter: Reporter, stop: StopRequest
) -> LabelledImages:
    from train.datasets.lookup import find_dataset

    dataset = find_dataset(source, datasets)
    random = np.random.default_rng(seed)
    parts: list[tuple[Pixels, Rows, list[str], list[str]]] = []
    share, held, available = 1.0, 0, 0
    with reporter.task(f"reading {dataset.name}", dataset.count, "images") as task:
        for samples in dataset.samples(preprocessing):
            stop.raise_if_set("nothing was written: the same command begins again.")
            available += len(samples.pixels)
            task.advance(len(samples.pixels))
            splits = [samples.split] * len(samples.names)
            parts.append(_thinned((samples.pixels, samples.labels, splits, samples.names), share, random))
            held += parts[-1][0].nbytes
            if held > MAX_BYTES:
                parts = [_thinned(part, 0.5, random) for part in parts]
                share, held = share / 2, sum(part[0].nbytes for part in parts)
    if not held:
        raise NothingFoundError(f"the data set {source} has no images.")
    return LabelledImages(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        tuple(dataset.classes),
        np.array([split for part in parts for split in part[2]], "<U5"),
        tuple(name for part in parts for name in part[3]),
        available,
    )


def _thinned(
    part: tuple[Pixels, Rows, list[str], list[str]], share: float, random: np.random.Generator
) -> tuple[Pixels, Rows, list[str], list[str]]:
    """A random share of some images."""
    if share == 1:
        return part
    rows = np.flatnonzero(random.random(len(part[1])) < share)
    return part[0][rows], part[1][rows], [part[2][row] for row in rows], [part[3][row] for row in rows]


# --- dividing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Division:
    """Which images are learnt from, and by which the result is measured."""

    train: Rows
    test: Rows
    official: bool  # as the data set has it
    train_available: int  # before a sample was taken
    test_available: int
    classes: tuple[int, ...]  # numbers of those that take part

    def sentence(self, seed: int) -> str:
        """What was divided how."""
        of = [
            f"{len(rows):,}" + (f" of {available:,}" if available > len(rows) else "")
            for rows, available in ((self.train, self.train_available), (self.test, self.test_available))
        ]
        how = "official split" if self.official else f"stratified split, seed {seed}"
        sampled = len(self.train) < self.train_available or len(self.test) < self.test_available
        sample = f", stratified sample{f', seed {seed}' if self.official else ''}" if sampled else ""
        return f"{of[0]} images to learn from, {of[1]} held out ({how}{sample}), {len(self.classes)} labels."


def divide(
    images: LabelledImages, *, held_out: float, seed: int, train_limit: int | None = None, test_limit: int | None = None
) -> Division:
    """Divide images into those to learn from and those to measure by: officially, else so that each label is on both.

    Args:
        images: With labels; those without are left out.
        held_out: Share that is held out, where the data set does not say.
        seed: Of the division and of the samples.
        train_limit: To learn from, at most.
        test_limit: To measure by, at most.

    Raises:
        SettingsError: There are no two labels with two images each.
    """
    train, test = (np.flatnonzero((images.splits == name) & (images.labels >= 0)) for name in ("train", "test"))
    official = len(train) > 0 and len(test) > 0
    if official:
        classes = sorted(set(images.labels[train].tolist()) & set(images.labels[test].tolist()))
        train, test = (rows[np.isin(images.labels[rows], classes)] for rows in (train, test))
    else:
        known = images.labels[images.labels >= 0]
        counts = np.bincount(known, minlength=len(images.classes))
        classes = np.flatnonzero(counts >= 2).tolist()
        train, test = _drawn(images.labels, classes, held_out, seed)
    if len(classes) < 2:
        raise SettingsError(_too_few_labels(images, len(classes)))
    kept = [
        rows[np.sort(stratified(images.labels[rows], limit or len(rows), seed))]
        for rows, limit in ((train, train_limit), (test, test_limit))
    ]
    return Division(kept[0], kept[1], official, len(train), len(test), tuple(classes))


def _drawn(labels: Rows, classes: list[int], held_out: float, seed: int) -> tuple[Rows, Rows]:
    random = np.random.default_rng([seed, 1])
    test: list[Rows] = []
    for number in classes:
        rows = random.permutation(np.flatnonzero(labels == number))
        test.append(rows[: min(max(1, round(held_out * len(rows))), len(rows) - 1)])
    held = np.sort(np.concatenate(test)) if test else np.zeros(0, np.int64)
    return np.setdiff1d(np.flatnonzero(np.isin(labels, classes)), held), held


def _too_few_labels(images: LabelledImages, usable: int) -> str:
    return (
        f"these {len(images):,} images have {len(images.classes)} labels, {usable} of them with two images or more; at "
        "least two such are needed: put the images of each label into a folder of its own (roses/, tulips/, ...) "
        "and give the folder above them."
    )


def stratified(labels: Rows, count: int, seed: int) -> Rows:
    """Rows of a sample in which each label has its share; all rows, shuffled, where there are no more than `count`."""
    random = np.random.default_rng([seed, 2])
    order = random.permutation(len(labels))
    # The k-th of n rows with one label stands at (k + 1/2) / n: a prefix has as large a part of every label.
    place = np.empty(len(labels))
    for number in np.unique(labels):
        rows = order[labels[order] == number]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    found: Rows = order[np.argsort(place[order], kind="stable")][:count]
    return found


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows in parts of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


# --- accuracy ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accuracy:
    """Share of held-out images whose label was found, and how far chance may move it."""

    value: float
    low: float  # bootstrap interval, 95 %
    high: float

    @classmethod
    def of(cls, correct: NDArray[np.bool_], seed: int) -> "Accuracy":
        """Accuracy of answers, (n,), right or wrong."""
        value = float(correct.mean())
        # Drawing n answers of n with replacement, the number of right ones is binomial: no need to draw each.
        drawn = np.random.default_rng([seed, 3]).binomial(len(correct), value, BOOTSTRAP_DRAWS) / len(correct)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return cls(value, float(low), float(high))

    def to_json(self) -> dict[str, float]:
        """For --json."""
        return {"accuracy": round(self.value, 5), "low": round(self.low, 5), "high": round(self.high, 5)}

    def __str__(self) -> str:
        return f"{self.value:6.1%} ({self.low:.1%} to {self.high:.1%})".replace("%", " %").strip()
