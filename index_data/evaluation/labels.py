"""Finding pictures of the same kind, where somebody has said which kind each one is.

Where a data set has an official split, its training pictures are searched and its test pictures ask. Elsewhere every
picture whose label another one has too asks all others (leave-one-out), which is also how identities are measured: of
5,749 people in LFW most have one picture, and those are only in the way.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.evaluation.methods import Method
from index_data.evaluation.metrics import (
    Doubles,
    Estimate,
    Rows,
    average_precisions,
    bootstrap,
    found_within,
    precision_within,
    r_precisions,
    vote,
)
from index_data.evaluation.originals import STOPPED, Material
from index_data.evaluation.ranking import Floats, ranked_blocks
from train.errors import SettingsError
from train.interruption import StopRequest
from train.labelled import stratified
from train.progress import Reporter

NEIGHBOURS = (1, 20, 200)  # that vote
TEMPERATURES = (0.07, 0.1)
SHEET = 10  # neighbours that are shown
CURVE = (1, 2, 5, 10, 20, 50, 100)  # k of the curve
ENCODED_AT_ONCE = 1000  # pictures


@dataclass(frozen=True)
class Protocol:
    """Who asks whom."""

    searched: Rows  # rows of the pictures that are searched
    queries: Rows  # rows of those that ask
    leave_one_out: bool
    classes: int  # labels that are asked for
    available: int  # pictures that could ask, before a sample was drawn

    @property
    def sentence(self) -> str:
        """What was done, for people."""
        of = f" of {self.available:,}" if self.available > len(self.queries) else ""
        how = (
            "each asks all others (leave-one-out)"
            if self.leave_one_out
            else f"the test pictures ask the {len(self.searched):,} training pictures (official split)"
        )
        return f"{len(self.queries):,}{of} queries, {len(self.searched):,} pictures, {self.classes:,} labels: {how}."


@dataclass(frozen=True)
class Retrieval:
    """What one method found."""

    method: str
    dims: int
    is_model: bool
    figures: dict[str, Estimate]
    curve: list[float]  # share of queries with a right picture among the first k, for each k of `CURVE`
    first: Rows = field(repr=False)  # (queries, SHEET) rows of what was found
    scores: Floats = field(repr=False)
    precision: Doubles = field(repr=False)  # average precision of each query

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "method": self.method,
            "dims": self.dims,
            "is_model": self.is_model,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "recall_curve": {str(k): round(value, 5) for k, value in zip(CURVE, self.curve, strict=True)},
        }


def choose_queries(material: Material, most: int, seed: int) -> Protocol:
    """Decide who asks whom.

    Raises:
        SettingsError: There are no two labels to tell apart, or no label has two pictures.
    """
    images = material.images
    labelled = images.labels >= 0
    train, test = (np.flatnonzero((images.splits == name) & labelled) for name in ("train", "test"))
    official = len(train) > 0 and len(test) > 0
    if official:
        searched, candidates = train, test[np.isin(images.labels[test], images.labels[train])]
    else:
        searched = np.flatnonzero(labelled)
        counts = np.bincount(images.labels[searched], minlength=max(len(images.classes), 1))
        candidates = searched[counts[images.labels[searched]] >= 2]
    kinds = len(np.unique(images.labels[searched]))
    if kinds < 2 or not len(candidates):
        told = f"{kinds:,} label{'' if kinds == 1 else 's'}" + (", none of which two pictures have" * (kinds > 1))
        raise SettingsError(
            f"nothing is measured with labels: these {len(images):,} pictures have {told}. A label is the first folder "
            "on a picture's path: put those of each kind into a folder of its own."
        )
    queries = candidates[np.sort(stratified(images.labels[candidates], min(most, len(candidates)), seed))]
    classes = len(np.unique(images.labels[candidates]))
    return Protocol(searched, queries, not official, classes, len(candidates))


def encode(method: Method, material: Material, rows: Rows, reporter: Reporter, stop: StopRequest) -> Floats:
    """Vectors of some pictures, (rows, dims)."""
    found = np.empty((len(rows), method.dims), np.float32)
    with reporter.task(f"encoding: {method.name}", len(rows)) as task:
        for start in range(0, len(rows), ENCODED_AT_ONCE):
            stop.raise_if_set(STOPPED)
            part = rows[start : start + ENCODED_AT_ONCE]
            found[start : start + len(part)] = method.vectors(material.views(part))
            task.advance(len(part))
    return found


def measure_retrieval(
    method: Method, material: Material, protocol: Protocol, seed: int, reporter: Reporter, stop: StopRequest
) -> Retrieval:
    """Rank the pictures for every query, and measure the answers."""
    pictures = encode(method, material, protocol.searched, reporter, stop)
    if protocol.leave_one_out:
        own: Rows | None = np.searchsorted(protocol.searched, protocol.queries)
        queries = pictures[own]
    else:
        own = None
        queries = encode(method, material, protocol.queries, reporter, stop)
    labels = material.images.labels
    asked, there = labels[protocol.queries], labels[protocol.searched]
    columns: dict[str, list[NDArray[np.floating]]] = {}
    first = np.zeros((len(queries), min(SHEET, len(there) - (own is not None))), np.int64)
    scores = np.zeros(first.shape, np.float32)
    with reporter.task(f"ranking: {method.name}", len(queries), "queries") as task:
        for ranked in ranked_blocks(queries, pictures, own, k=max(NEIGHBOURS), halves=method.halves):
            stop.raise_if_set(STOPPED)
            found = there[ranked.order]
            answers = _measured(found, ranked.scores, asked[ranked.queries], len(material.images.classes))
            for name, values in answers.items():
                columns.setdefault(name, []).append(values)
            first[ranked.queries] = protocol.searched[ranked.order[:, : first.shape[1]]]
            scores[ranked.queries] = ranked.scores[:, : first.shape[1]]
            task.advance(len(found))
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    curve = [float(whole.pop(f"curve@{k}").mean()) for k in CURVE]
    return Retrieval(
        method.name, method.dims, method.is_model, bootstrap(whole, seed), curve, first, scores, whole["mAP"]
    )


def _measured(found: Rows, scores: Floats, asked: Rows, classes: int) -> dict[str, Doubles]:
    """Everything that is measured of some queries; `found` has the labels of all pictures, best first."""
    relevant = found == asked[:, None]
    answers: dict[str, Doubles] = {}
    for k in NEIGHBOURS:
        for temperature in TEMPERATURES if k > 1 else TEMPERATURES[:1]:
            name = f"kNN@{k}" + (f" T {temperature:g}" if k > 1 else "")
            chosen = vote(scores[:, :k], found[:, : min(k, scores.shape[1])], classes, temperature)
            answers[name] = (chosen == asked).astype(np.float64)
    answers["Recall@1"] = found_within(relevant, 1)
    answers["Recall@10"] = found_within(relevant, 10)
    answers["P@10"] = precision_within(relevant, 10)
    answers["R-Precision"] = r_precisions(relevant)
    answers["mAP@10"] = average_precisions(relevant, 10)
    answers["mAP@100"] = average_precisions(relevant, 100)
    answers["mAP"] = average_precisions(relevant)
    for k in CURVE:
        answers[f"curve@{k}"] = found_within(relevant, k)
    return answers


def failures_first(retrieval: Retrieval, asked: Rows, found_labels: Rows, most: int) -> tuple[Rows, Rows]:
    """Queries to show: those that went worst, at most `most`, and half as many where all went well.

    Args:
        retrieval: Of one method.
        asked: Labels of the queries.
        found_labels: Labels of what was found first, (queries, SHEET).
        most: Of those that went wrong.
    """
    wrong = (found_labels != asked[:, None]).sum(axis=1)
    order = np.lexsort((retrieval.precision, -wrong))
    bad = order[wrong[order] > 0][:most]
    good = np.flatnonzero(wrong == 0)
    chosen = good[np.linspace(0, len(good) - 1, min(most // 2, len(good))).astype(np.int64)] if len(good) else good
    return bad, chosen


def protocol_json(protocol: Protocol) -> dict[str, Any]:
    """For --json."""
    return {
        "queries": len(protocol.queries),
        "pictures": len(protocol.searched),
        "labels": protocol.classes,
        "leave_one_out": protocol.leave_one_out,
        "available_queries": protocol.available,
    }
