"""How useful a model's codes are: how well labels are found from them, beside raw pixels and PCA of the same length.

Everything is measured on held-out pictures that no classifier and no PCA has seen. Nearest neighbours compare by cosine
(codes: their embeddings; pixels and PCA: after taking off the mean) and by Euclidean distance (codes: their latents).
The support vector machine sees every dimension with mean 0 and deviation 1.
"""

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.sessions import Encoder
from train.errors import NothingFoundError, SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.labelled import Accuracy, Division, LabelledImages, batches
from train.progress import Reporter

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

BATCH = 64
PIXEL_SIDE = 32  # px; larger pictures are shrunk for the classifiers on pixels and for PCA: 3,072 numbers do for both
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as `train.losses.luminance`
# On 10,000 + 2,000 MNIST digits .0001, .001, .01, .1, 1 give .870, .897, .916, .920, .921 with 64 principal components;
# on pixels .01 gives .906 and .1 .897.
SVM_STRENGTH = 0.01  # C
SVM_ROUNDS = 100  # ten times as many change no digit of those
PRIMAL_DIMS = 300  # up to here the primal problem is solved faster than the dual one
TREES = 200
NEIGHBOUR_BATCH = 500  # held-out pictures whose distances to all others are held at a time


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """What is measured."""

    k: int = 5
    classifiers: Sequence[str] = ("knn", "svm", "forest")
    seed: int = 0
    threads: int | None = None
    provider: str = "auto"


@dataclass(frozen=True)
class Features:
    """What a classifier is given."""

    name: str
    dims: int
    linear: tuple[Floats, Floats]  # training and test rows, for Euclidean distance and the classifiers
    directions: tuple[Floats, Floats]  # the same, whose cosines are compared; not necessarily of length 1


@dataclass
class ProbeResult:
    """A table of accuracies."""

    head: str
    k: int
    chance: float  # always saying the most frequent label
    seed: int
    rows: dict[str, dict[str, Accuracy]] = field(default_factory=dict)  # features -> classifier -> accuracy
    dims: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    train_images: int = 0
    test_images: int = 0
    classes: int = 0
    official_split: bool = False
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "train_images": self.train_images,
            "test_images": self.test_images,
            "classes": self.classes,
            "official_split": self.official_split,
            "k": self.k,
            "seed": self.seed,
            "chance": round(self.chance, 5),
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
            "features": {
                name: {"dims": self.dims[name]} | {kind: found.to_json() for kind, found in row.items()}
                for name, row in self.rows.items()
            },
        }

    def table(self) -> str:
        """For people: accuracy with its bootstrap interval, in per cent."""
        titles = {
            "knn_cosine": f"{self.k}-NN cosine",
            "knn_euclidean": f"{self.k}-NN Euclidean",
            "svm": "linear SVM",
            "forest": "random forest",
        }
        kinds = [kind for kind in titles if any(kind in row for row in self.rows.values())]
        lines = [["accuracy, % (95 % interval)", "dims", *(titles[kind] for kind in kinds)]]
        for name, row in self.rows.items():
            lines.append([name, f"{self.dims[name]:,}", *(_percent(row[kind]) for kind in kinds)])
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        chance = f"Always saying the most frequent label: {100 * self.chance:.1f} %."
        return "\n".join([self.head, *text, chance, *self.notes])


def expect_scikit_learn() -> None:
    """Refuse to begin without scikit-learn.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise SettingsError(f"the probe needs scikit-learn ({error}): pip install 'lookalike[probe]'.") from error


def probe_codes(
    bundle: Bundle,
    images: LabelledImages,
    division: Division,
    settings: ProbeSettings,
    *,
    reporter: Reporter,
    stop: StopRequest,
) -> ProbeResult:
    """Find labels from codes, PCA and pixels, each in several ways.

    Args:
        bundle: The model.
        images: With labels.
        division: Which of them are learnt from, and which are asked.
        settings: What is measured.
        reporter: Told what is going on.
        stop: Looked at between two steps.

    Raises:
        NothingFoundError: The model gives no usable code for some label's images.
        Interrupted: The user asked to stop.
    """
    expect_scikit_learn()
    began = time.monotonic()
    train, test, codes = _codes(bundle, images, division, settings, reporter, stop)
    labels = images.labels[train], images.labels[test]
    k = min(settings.k, len(train))
    counts = np.bincount(labels[0])
    result = ProbeResult(
        head=division.sentence(settings.seed),
        k=k,
        chance=float((labels[1] == counts.argmax()).mean()),
        seed=settings.seed,
        train_images=len(train),
        test_images=len(test),
        classes=len(division.classes),
        official_split=division.official,
    )
    if k < settings.k:
        result.notes.append(f"There are {len(train)} pictures to learn from: {k} neighbours vote, not {settings.k}.")
    lost = len(division.train) + len(division.test) - len(train) - len(test)
    if lost:
        result.notes.append(f"{lost:,} pictures are left out: the model gives no usable code for them.")
    pixels, side = _pixel_features(bundle, images.pixels, train, test)
    if side < bundle.preprocessing.size:
        result.notes.append(f"Pixels and PCA see the pictures at {side} x {side} px, codes at the model's size.")
    every = [codes, _principal_features(pixels, codes.dims, settings.seed), pixels]
    steps = len(every) * len(settings.classifiers)
    with reporter.task("probing", steps, "classifiers") as task:
        for features in every:
            result.dims[features.name] = features.dims
            row = result.rows.setdefault(features.name, {})
            for kind in settings.classifiers:
                stop.raise_if_set("nothing is kept: the same command begins again.")
                for name, correct in _right(kind, features, labels, k, settings).items():
                    row[name] = Accuracy.of(correct, settings.seed)
                task.advance(note=features.name)
    result.seconds = time.monotonic() - began
    return result


# --- features ---------------------------------------------------------------------------------------------------------


def _codes(
    bundle: Bundle,
    images: LabelledImages,
    division: Division,
    settings: ProbeSettings,
    reporter: Reporter,
    stop: StopRequest,
) -> tuple[Rows, Rows, Features]:
    """Rows with a usable code, and the codes."""
    encoder = Encoder.open(bundle, provider=settings.provider, threads=settings.threads)
    kept: list[Rows] = []
    latents: list[Floats] = []
    embeddings: list[Floats] = []
    with reporter.task("encoding", len(division.train) + len(division.test)) as task:
        for rows in (division.train, division.test):
            parts = []
            for part in batches(rows, BATCH):
                stop.raise_if_set("nothing is kept: the same command begins again.")
                parts.append(encoder.encode(images.pixels[part]))
                task.advance(len(part))
            usable = np.concatenate([codes.usable for codes in parts])
            kept.append(rows[usable])
            latents.append(np.concatenate([codes.latents for codes in parts])[usable])
            embeddings.append(np.concatenate([codes.embeddings for codes in parts])[usable])
    train, test = kept
    if len(np.unique(images.labels[train])) < 2 or not len(test):
        raise NothingFoundError("the model gives no usable codes for the pictures of two labels: export it again.")
    return train, test, Features("codes", bundle.latent_dims, (latents[0], latents[1]), (embeddings[0], embeddings[1]))


def _pixel_features(bundle: Bundle, pixels: Pixels, train: Rows, test: Rows) -> tuple[Features, int]:
    size, channels = bundle.preprocessing.size, bundle.facts.channels
    # Whole pixels are averaged: no resampling whose details would matter.
    step = -(-size // PIXEL_SIDE)
    side = size // step

    def values(rows: Rows) -> Floats:
        parts = []
        for part in batches(rows, 1000):
            shares = pixels[part, : side * step, : side * step].astype(np.float32) / 255
            shares = shares.reshape(len(part), side, step, side, step, 3).mean(axis=(2, 4))
            seen = shares @ np.array(GREY, np.float32) if channels == 1 else shares
            parts.append(seen.reshape(len(part), -1))
        return np.concatenate(parts)

    linear = values(train), values(test)
    mean = linear[0].mean(axis=0)
    return Features("pixels", linear[0].shape[1], linear, (linear[0] - mean, linear[1] - mean)), side


def _principal_features(pixels: Features, dims: int, seed: int) -> Features:
    """As many principal components of the pixels as a code has numbers, or as there are."""
    from sklearn.decomposition import PCA

    train, test = pixels.linear
    dims = min(dims, train.shape[1], len(train) - 1)
    solver = (
        "randomized" if dims < 0.5 * min(train.shape) else "covariance_eigh" if pixels.dims <= len(train) else "full"
    )
    found = PCA(dims, svd_solver=solver, random_state=seed).fit(train)
    linear = found.transform(train).astype(np.float32), found.transform(test).astype(np.float32)
    return Features("PCA", dims, linear, linear)


# --- classifiers ------------------------------------------------------------------------------------------------------


def _right(
    kind: str, features: Features, labels: tuple[Rows, Rows], k: int, settings: ProbeSettings
) -> dict[str, NDArray[np.bool_]]:
    """For each way of a kind, which held-out pictures it names rightly."""
    if kind == "knn":
        return {
            "knn_cosine": nearest_labels(_unit(features.directions), labels[0], k) == labels[1],
            "knn_euclidean": nearest_labels(features.linear, labels[0], k) == labels[1],
        }
    if kind == "svm":
        return {"svm": _by_svm(features.linear, labels[0], settings.seed) == labels[1]}
    return {"forest": _by_forest(features.linear, labels[0], settings) == labels[1]}


def _unit(pair: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    def scaled(rows: Floats) -> Floats:
        lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        unit: Floats = (rows / lengths).astype(np.float32)
        return unit

    return scaled(pair[0]), scaled(pair[1])


def nearest_labels(pair: tuple[Floats, Floats], labels: Rows, k: int) -> Rows:
    """The label that most of the k nearest training rows have; of equally many, the one whose first row is nearest.

    Args:
        pair: Training rows (n, dims), and those that are asked (m, dims), compared by Euclidean distance.
        labels: Of the training rows, (n,).
        k: At most n.

    Returns:
        (m,)
    """
    train, test = pair
    squares = (train * train).sum(axis=1)
    found = []
    for rows in batches(np.arange(len(test)), NEIGHBOUR_BATCH):
        distances = squares - 2 * (test[rows] @ train.T)  # up to a constant for each that is asked
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
        voters = labels[np.take_along_axis(near, order, axis=1)]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        found.append(voters[np.arange(len(rows)), votes.argmax(axis=1)])  # argmax: the first of equals is the nearest
    return np.concatenate(found)


def _by_svm(pair: tuple[Floats, Floats], labels: Rows, seed: int) -> Rows:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    train, test = pair
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    # A dimension that hardly ever moves would be blown up to the size of the others.
    scale = np.maximum(deviation, 1e-3 * max(float(deviation.max()), 1e-12))
    machine = LinearSVC(C=SVM_STRENGTH, random_state=seed, max_iter=SVM_ROUNDS, dual=train.shape[1] > PRIMAL_DIMS)
    with warnings.catch_warnings():
        # It wants rounds that change nothing any more.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit((train - mean) / scale, labels)
    answers: Rows = machine.predict((test - mean) / scale)
    return answers


def _by_forest(pair: tuple[Floats, Floats], labels: Rows, settings: ProbeSettings) -> Rows:
    from sklearn.ensemble import RandomForestClassifier

    jobs = settings.threads or len(os.sched_getaffinity(0))
    forest = RandomForestClassifier(TREES, random_state=settings.seed, n_jobs=jobs)
    answers: Rows = forest.fit(pair[0], labels).predict(pair[1])
    return answers


def _percent(found: Accuracy) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"
