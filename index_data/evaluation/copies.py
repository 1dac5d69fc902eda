"""Copies made of the pictures themselves: whether their originals are found, and whether one threshold knows them.

A sample of the pictures is read at full size; every transform makes a query of each. All other pictures are in the
way. Nothing needs a label.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from index_data.evaluation.methods import Method, Views
from index_data.evaluation.metrics import (
    Doubles,
    Estimate,
    Rows,
    bootstrap,
    micro_average_precision,
    precisions_at_right_pairs,
)
from index_data.evaluation.originals import STOPPED, Original, views_of
from index_data.evaluation.ranking import Floats, as_served, nearest, score_blocks, unit
from index_data.evaluation.transforms import FINDING, STRONG, UNTOUCHED, Transform
from index_data.prominence import LAST, ordinary_scores, prominence
from index_data.weighting import Halves
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import Reporter

TOP_OF_BACKGROUND = 3  # scores whose mean is subtracted, as SSCD does (ranks 0 to 2)
BACKGROUND_SHARE, MOST_BACKGROUND = 0.25, 2000  # of the pictures, which are then neither query nor in the way
MOST_SEARCHED = 20_000  # pictures among which originals are looked for
CHUNK = 16  # originals whose copies are encoded together
CURVE_POINTS = 101


@dataclass(frozen=True)
class Copies:
    """Vectors of copies by one method."""

    rows: Rows  # of the originals that could be read, (n,)
    vectors: dict[str, Floats]  # by the name of the transform, (n, dims)


def make_copies(
    methods: Sequence[Method],
    originals: Callable[[Rows], Iterator[Original]],
    rows: Rows,
    transforms: Sequence[Transform],
    sizes: Sequence[int],
    *,
    seed: int,
    reporter: Reporter,
    stop: StopRequest,
) -> tuple[dict[str, Copies], int]:
    """Make every copy once, and let every method see it.

    Args:
        methods: By which they are encoded.
        originals: Gives the pictures at full size.
        rows: Which of them.
        transforms: What is done to them; of the same name, once.
        sizes: Of the squares that the methods take.
        seed: Of what a transform needs of chance.
        reporter: Told what is going on.
        stop: Looked at between two pictures.

    Returns:
        By the names of the methods; and how many originals could not be read.
    """
    every = list({each.name: each for each in transforms}.values())
    read: list[int] = []
    lost = 0
    parts: dict[str, dict[str, list[Floats]]] = {method.name: {each.name: [] for each in every} for method in methods}
    with reporter.task("copying", len(rows), "originals") as task:

        def encode(chunk: Sequence[tuple[int, Image.Image]]) -> None:
            squares: list[dict[int, Pixels]] = [
                views_of(transform.apply(image, row, seed), sizes) for row, image in chunk for transform in every
            ]
            views: Views = {size: np.concatenate([square[size] for square in squares]) for size in sizes}
            for method in methods:
                vectors = method.vectors(views).reshape(len(chunk), len(every), -1)
                for number, transform in enumerate(every):
                    parts[method.name][transform.name].append(vectors[:, number])

        chunk: list[tuple[int, Image.Image]] = []
        for row, image in originals(rows):
            stop.raise_if_set(STOPPED)
            task.advance(unreadable=image is None)
            if image is None:
                lost += 1
                continue
            read.append(row)
            chunk.append((row, image))
            if len(chunk) == CHUNK:
                encode(chunk)
                chunk = []
        if chunk:
            encode(chunk)
    kept = np.array(read, np.int64)
    found = {
        method.name: Copies(
            kept,
            {
                name: np.concatenate(some) if some else np.zeros((0, method.dims), np.float32)
                for name, some in parts[method.name].items()
            },
        )
        for method in methods
    }
    return found, lost


def ranks_of_originals(queries: Floats, pictures: Floats, targets: Rows, halves: Halves) -> tuple[Rows, Floats]:
    """At which rank each copy finds its original, from 1, and with which score.

    Of what is equal the original is counted last: a model that sees no difference finds nothing.
    """
    ranks = np.empty(len(queries), np.int64)
    scores = np.empty(len(queries), np.float32)
    for part, block in score_blocks(queries, pictures):
        itself = np.arange(len(block)), targets[part]
        merits = as_served(block, queries[part], pictures, halves)
        ranks[part] = (merits >= merits[itself][:, None]).sum(axis=1)
        scores[part] = block[itself]
    return ranks, scores


# --- Finding the original -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """How often the originals of one kind of copy are found first."""

    transform: Transform
    recall: float  # share found first
    mrr: float  # mean of 1 / rank
    score: float  # median cosine of copy and original

    @property
    def passed(self) -> bool:
        """Whether as many are found as should be."""
        return self.recall >= self.transform.passes

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "transform": self.transform.name,
            "kind": self.transform.kind,
            "severity": self.transform.severity,
            "recall@1": round(self.recall, 5),
            "mrr": round(self.mrr, 5),
            "median_score": round(self.score, 5),
            "needed": self.transform.passes,
            "passed": self.passed,
        }


def find_originals(copies: Copies, pictures: Floats, targets: Rows, halves: Halves) -> list[Found]:
    """Look for the originals of every kind of copy.

    Args:
        copies: By one method.
        pictures: Vectors of all pictures that may be found, (n, dims).
        targets: Which of those each original is, (originals,).
        halves: Of the method's vectors.
    """
    answers = []
    for transform in (UNTOUCHED, *FINDING):
        ranks, scores = ranks_of_originals(copies.vectors[transform.name], pictures, targets, halves)
        recall, mrr = float((ranks == 1).mean()), float((1 / ranks).mean())
        answers.append(Found(transform, recall, mrr, float(np.median(scores))))
    return answers


# --- Copy detection -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detection:
    """How well strong copies are told from everything else."""

    method: str
    dims: int
    is_model: bool
    mean_ap: Estimate  # each query by itself
    micro_ap: float  # one threshold for all
    micro_ap_normalised: float | None  # the same after normalising scores; None without a background
    micro_ap_prominence: float | None  # of what near-duplicates are told by; None where too few pictures are searched
    by_transform: dict[str, float]  # mAP
    curve: list[tuple[float, float]] = field(repr=False)  # recall and precision at falling thresholds

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        normalised, prominent = self.micro_ap_normalised, self.micro_ap_prominence
        return {
            "method": self.method,
            "dims": self.dims,
            "is_model": self.is_model,
            "mAP": self.mean_ap.to_json(),
            "uAP": round(self.micro_ap, 5),
            "uAP_normalised": None if normalised is None else round(normalised, 5),
            "uAP_prominence": None if prominent is None else round(prominent, 5),
            "mAP_by_transform": {name: round(value, 5) for name, value in self.by_transform.items()},
        }


@dataclass(frozen=True)
class Division:
    """Which pictures are searched, and which only say what an ordinary score is."""

    searched: Rows
    background: Rows

    @classmethod
    def draw(cls, count: int, seed: int) -> "Division":
        """Divide `count` pictures by chance."""
        order = np.random.default_rng([seed, 6]).permutation(count)
        held = min(int(BACKGROUND_SHARE * count), MOST_BACKGROUND)
        held = held if held >= TOP_OF_BACKGROUND else 0
        return cls(np.sort(order[held : held + MOST_SEARCHED]), np.sort(order[:held]))


def detect_copies(
    method: Method, copies: Copies, pictures: Floats, places: Rows, background: Floats, seed: int
) -> Detection:
    """Measure copy detection, with the other pictures as distractors.

    Args:
        method: Which one it is.
        copies: By this method.
        pictures: Vectors of all pictures that are searched, (n, dims).
        places: Which of those each original is, (originals,).
        background: Vectors of other pictures, which say what an ordinary score is; may be empty.
        seed: Of the bootstrap.
    """
    queries = np.concatenate([copies.vectors[each.name] for each in STRONG])
    targets = np.tile(places, len(STRONG))
    ranks, own = ranks_of_originals(queries, pictures, targets, method.halves)
    precision = 1 / ranks  # there is one original: its rank is all
    plain = _pairs_above(queries, pictures, own, lambda part, scores: scores)
    normalised = prominent = None
    if len(background):
        _, scores = nearest(queries, background, TOP_OF_BACKGROUND)
        offsets = scores.mean(axis=1)
        less = _pairs_above(queries, pictures, own - offsets, lambda part, scores: scores - offsets[part, None])
        normalised = micro_average_precision(less)
    if len(pictures) > LAST:
        prominent = micro_average_precision(_pairs_by_prominence(queries, pictures, targets, own))
    by_transform = {
        transform.name: float(some.mean())
        for transform, some in zip(STRONG, np.split(precision, len(STRONG)), strict=True)
    }
    return Detection(
        method.name,
        method.dims,
        method.is_model,
        bootstrap({"mAP": precision}, seed)["mAP"],
        micro_average_precision(plain),
        normalised,
        prominent,
        by_transform,
        _curve(precisions_at_right_pairs(plain)),
    )


def _pairs_by_prominence(queries: Floats, pictures: Floats, targets: Rows, own: Floats) -> Rows:
    """The same where pairs stand in the order of their prominence; arguments as for `_pairs_above`."""
    of_pictures = ordinary_scores(nearest(pictures, pictures, LAST, own=np.arange(len(pictures)))[1])
    of_queries = ordinary_scores(nearest(queries, pictures, LAST)[1])

    def transform(part: slice, scores: Floats) -> Floats:
        return prominence(scores, np.maximum(of_queries[part, None], of_pictures[None]))

    return _pairs_above(queries, pictures, prominence(own, np.maximum(of_queries, of_pictures[targets])), transform)


def _pairs_above(queries: Floats, pictures: Floats, own: Floats, transform: Callable[[slice, Floats], Floats]) -> Rows:
    """For each right pair, how many pairs of all queries score at least as much, itself among them, (queries,).

    Every score counts, those of a million pictures too; only counts are kept.

    Args:
        queries: (q, dims).
        pictures: (n, dims).
        own: Scores of the right pairs, (q,), transformed.
        transform: Which queries, and their cosines with all pictures, to what is compared.
    """
    order = np.argsort(own, kind="stable")
    rising = own[order]
    counts = np.zeros(len(queries), np.int64)
    for part, block in score_blocks(queries, pictures):
        scores = np.sort(transform(part, block).ravel())
        counts += len(scores) - np.searchsorted(scores, rising, side="left")
    found = np.empty(len(queries), np.int64)
    found[order] = counts
    return found


def _curve(precision: Doubles) -> list[tuple[float, float]]:
    recall = np.arange(1, len(precision) + 1) / len(precision)
    points = np.unique(np.linspace(0, len(precision) - 1, CURVE_POINTS).astype(np.int64))
    return [(float(recall[at]), float(precision[at])) for at in points]


# --- Drift ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drift:
    """How far embeddings move when pictures are saved or cut anew: 1 - cosine with the untouched picture."""

    method: str
    rows: dict[str, tuple[float, float, float]]  # by transform: median, 95th percentile, largest

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "method": self.method,
            "drift": {
                name: {"median": round(low, 6), "p95": round(high, 6), "largest": round(most, 6)}
                for name, (low, high, most) in self.rows.items()
            },
        }


def measure_drift(method: str, copies: Copies, transforms: Sequence[Transform]) -> Drift:
    """Compare copies with untouched pictures that went the same way."""
    before = unit(copies.vectors[UNTOUCHED.name])
    rows: dict[str, tuple[float, float, float]] = {}
    for transform in transforms:
        moved = np.clip(1 - (before * copies.vectors[transform.name]).sum(axis=1, dtype=np.float64), 0, 2)
        median, high = np.quantile(moved, (0.5, 0.95))
        rows[transform.name] = float(median), float(high), float(moved.max())
    return Drift(method, rows)


def sample_rows(rows: Rows, count: int, seed: int) -> Rows:
    """Some rows by chance, rising."""
    chosen: Rows = np.sort(np.random.default_rng([seed, 7]).permutation(rows)[:count])
    return chosen
