"""Pictures that are unlike those that a model was trained on: it paints them badly.

The score of a picture is its squared error; the threshold is a quantile of the errors that training measured on
pictures that were held out. Where some labels are known to be normal, the scores are judged by AUROC.
"""

import base64
import csv
import heapq
import html
import io
import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.bundle import Bundle, Floats
from export.uses.pictures import (
    Model,
    Picture,
    Tally,
    encode_picture,
    expect_free,
    format_of,
    no_code,
    psnr,
    see,
    write_picture,
)
from train.decoding import DecodePool
from train.errors import SettingsError
from train.images import THUMBNAIL_SIDE, Pixels
from train.interruption import StopRequest
from train.printable import printable
from train.progress import SILENT, Reporter

if TYPE_CHECKING:
    from train.datasets.lookup import Dataset, Samples

QUANTILE = 0.99
TOP = 20  # pictures that are listed
SHOWN = 200  # on the page, the worst ones
LIST_FORMATS = (".csv", ".jsonl", ".html")

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """One picture and how badly it was painted."""

    name: str  # path below the folder, or what the data set calls it
    label: str  # the first folder on that path, or the data set's; empty where there is none
    mse: float  # values from 0 to 1


@dataclass(frozen=True)
class Batch:
    """Some pictures that a source gave, row for row."""

    names: list[str]
    labels: list[str]
    pixels: Pixels  # (n, size, size, 3)
    latents: Floats  # (n, latent_dims), all finite
    thumbnails: list[bytes | None]


class Source(Protocol):
    """Where pictures come from."""

    labels: list[str]  # sorted
    originals: Sequence[Picture]  # files that are read

    def batches(
        self, model: Model, tally: Tally, *, thumbnails: bool, reporter: Reporter, stop: StopRequest | None
    ) -> Iterator[Batch]:
        """Encode all of them, some at a time."""
        ...


class FolderSource:
    """Pictures of a folder."""

    def __init__(self, pictures: Sequence[Picture], pool: DecodePool) -> None:
        self.originals = pictures
        self.labels = sorted({picture.label for picture in pictures} - {""})
        self._pool = pool

    def batches(
        self, model: Model, tally: Tally, *, thumbnails: bool, reporter: Reporter, stop: StopRequest | None
    ) -> Iterator[Batch]:
        """Encode all of them, some at a time."""
        side = THUMBNAIL_SIDE if thumbnails else None
        for seen in see(
            model, self._pool, self.originals, tally, name="Scoring", thumbnail=side, reporter=reporter, stop=stop
        ):
            yield Batch(
                [picture.name for picture in seen.pictures],
                [picture.label for picture in seen.pictures],
                seen.pixels,
                seen.latents,
                [decoded.thumbnail for decoded in seen.decoded],
            )


class DatasetSource:
    """Images of a data set: those to test by, where it says which these are."""

    originals: Sequence[Picture] = ()

    def __init__(self, dataset: "Dataset", split: str | None = None) -> None:
        self.labels = sorted(dataset.classes)
        self._dataset = dataset
        self._split = split

    def batches(
        self, model: Model, tally: Tally, *, thumbnails: bool, reporter: Reporter, stop: StopRequest | None
    ) -> Iterator[Batch]:
        """Encode all of them, some at a time; thumbnails are made of what the model sees."""
        del thumbnails
        with reporter.task("Scoring", total=self._dataset.count, unit="images") as task:
            for samples in self._dataset.samples(model.bundle.preprocessing):
                if not self._split or samples.split in ("", self._split):
                    for start in range(0, len(samples.names), model.batch):
                        if stop is not None:
                            stop.raise_if_set("Nothing was written.")
                        yield self._encoded(model, samples, slice(start, start + model.batch), tally)
                task.advance(len(samples.names))

    def _encoded(self, model: Model, samples: "Samples", rows: slice, tally: Tally) -> Batch:
        pixels = samples.pixels[rows]
        latents = model.encode(pixels)
        finite = np.asarray(np.isfinite(latents).all(axis=1), np.bool_)
        tally.good += int(finite.sum())
        if not finite.all():
            tally.rejected[no_code().problem.code] += int((~finite).sum())
        classes = (*self._dataset.classes, "")  # of -1, which says that there is no label
        kept = np.flatnonzero(finite).tolist()
        names, labels = samples.names[rows], samples.labels[rows].tolist()
        return Batch(
            [printable(names[row]) for row in kept],
            [classes[labels[row]] for row in kept],
            pixels[kept],
            latents[kept],
            [None] * len(kept),
        )


@dataclass
class Outliers:
    """All pictures with their scores, and what they are held against."""

    threshold: float
    quantile: float
    held_out: int  # pictures that the threshold was measured on
    scored: list[Scored] = field(default_factory=list)  # worst first
    tally: Tally = field(default_factory=Tally)
    judged: dict[str, Any] = field(default_factory=dict)  # AUROC and the like, where labels are known

    @property
    def above(self) -> int:
        """Pictures with a larger error than the threshold."""
        return sum(each.mse > self.threshold for each in self.scored)


def threshold_of(bundle: Bundle, quantile: float) -> float:
    """The squared error that a share of held-out training pictures stays below; between known quantiles, a line.

    Raises:
        SettingsError: The bundle does not know it.
    """
    known = bundle.error_quantiles
    if not known:
        raise SettingsError(
            f"the model {bundle.folder} does not say how well it paints pictures of its own kind, so there is nothing "
            "to compare with: export the run again with this version, or train it again."
        )
    shares, errors = zip(*known, strict=True)
    if not shares[0] <= quantile <= shares[-1]:
        raise SettingsError(
            f"--threshold-quantile is {quantile:g}, but the model knows its errors from {shares[0]:g} to "
            f"{shares[-1]:g}."
        )
    return float(np.interp(quantile, shares, errors))


def find_outliers(
    model: Model,
    source: Source,
    *,
    quantile: float = QUANTILE,
    normal: Collection[str] = (),
    output: Path | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Outliers:
    """Score pictures, worst first, and write the list.

    Args:
        model: Encoder and decoder.
        source: Gives the pictures.
        quantile: Of the errors of held-out training pictures; what lies above is unusual.
        normal: Labels of what the model should know; all others are held to be outliers, and AUROC is measured.
        output: A .csv or .jsonl with all pictures, or a page (.html) that shows the worst ones.
        force: Write over what stands there.
        reporter: Shows the progress.
        stop: Looked at between two batches.

    Raises:
        SettingsError: The model knows no threshold, the labels are not there, or the output may not be written.
    """
    result = Outliers(threshold_of(model.bundle, quantile), quantile, int(model.bundle.facts.errors.get("images", 0)))
    _expect_labels(source.labels, normal)
    kind = ""
    if output is not None:
        kind = format_of(output, LIST_FORMATS)
        expect_free([output], force=force, originals=source.originals)
    gallery = _Worst(SHOWN if kind == ".html" else 0)
    for batch in source.batches(model, result.tally, thumbnails=kind == ".html", reporter=reporter, stop=stop):
        painted = model.decode(batch.latents)
        errors = model.errors(batch.pixels, painted).tolist()
        for row, error in enumerate(errors):
            scored = Scored(batch.names[row], batch.labels[row], error)
            result.scored.append(scored)
            gallery.offer(scored, batch.thumbnails[row], batch.pixels[row], painted[row])
    result.scored.sort(key=lambda each: (-each.mse, each.name))
    if normal and result.scored:
        result.judged = judge_scores(result.scored, normal)
    if output is not None and result.scored:
        if kind == ".html":
            content = page(result, gallery.worst_first(), model.bundle)
        elif kind == ".csv":
            content = _csv(result)
        else:
            content = "".join(f"{json.dumps(_row(result, each))}\n" for each in result.scored)
        write_picture(output, content.encode())
    return result


class _Worst:
    """Holds what the page shows of the worst pictures, and of no others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Scored, bytes, bytes]] = []
        self._count = itertools.count()  # equal scores: the earlier one stays, and no pictures are compared

    def offer(self, scored: Scored, thumbnail: bytes | None, original: Pixels, painted: Pixels) -> None:
        if not self._most:
            return
        if len(self._heap) == self._most and scored.mse <= self._heap[0][0]:
            return
        shown = thumbnail or encode_picture(original, "webp")
        entry = (scored.mse, -next(self._count), scored, shown, encode_picture(painted, "webp"))
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def worst_first(self) -> list[tuple[Scored, bytes, bytes]]:
        return [(scored, thumbnail, painted) for _, _, scored, thumbnail, painted in sorted(self._heap, reverse=True)]


# --- Judging ------------------------------------------------------------------------------------------------------


def _expect_labels(labels: Sequence[str], normal: Collection[str]) -> None:
    for name in normal:
        if name not in labels:
            shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
            raise SettingsError(
                f"there is no label {name!r}: a label is a picture's first folder, or what its data set says; here are "
                f"{shown or 'none'}."
            )
    if normal and not set(labels) - set(normal):
        raise SettingsError("every label is said to be normal: name with --normal only those that the model knows.")


def judge_scores(scored: Sequence[Scored], normal: Collection[str]) -> dict[str, Any]:
    """AUROC and average precision of the scores, where pictures with these labels are normal and all others are not.

    Pictures without a label are left out. Empty where only one kind is there.
    """
    labelled = [each for each in scored if each.label]
    unusual = np.array([each.label not in normal for each in labelled], bool)
    if not unusual.any() or unusual.all():
        return {}
    scores = np.array([each.mse for each in labelled])
    return {
        "normal": sorted(normal),
        "normal_pictures": int((~unusual).sum()),
        "outliers": int(unusual.sum()),
        "auroc": auroc(scores, unusual),
        "average_precision": average_precision(scores, unusual),
    }


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Chance that a positive one of the two has the higher score, ties counting half.

    Args:
        scores: (n,).
        positive: (n,), bool; both kinds must be there.

    Source: Mann and Whitney 1947; Hanley and McNeil 1982: U / (positives * negatives), by mean ranks.
    """
    values, sought = np.asarray(scores, np.float64), np.asarray(positive, bool)
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]  # of equal ones the mean, counted from 1
    positives = int(sought.sum())
    negatives = len(sought) - positives
    return float((ranks[sought].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Mean over the positive ones of the precision down to their score; equal scores stand together.

    Args:
        scores: (n,).
        positive: (n,), bool; one at least.

    Source: Manning et al., Introduction to Information Retrieval, 8.4, with thresholds instead of ranks.
    """
    values, sought = np.asarray(scores, np.float64), np.asarray(positive, bool)
    order = np.argsort(-values, kind="stable")
    values, sought = values[order], sought[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each group of equal scores
    hits = np.cumsum(sought)[last]
    precision = hits / (last + 1)
    return float((precision * np.diff(hits, prepend=0)).sum() / sought.sum())


# --- Lists --------------------------------------------------------------------------------------------------------


def _row(result: Outliers, scored: Scored) -> dict[str, Any]:
    return {
        "file": scored.name,
        "label": scored.label,
        "mse": float(f"{scored.mse:.6g}"),
        "psnr": round(psnr(scored.mse), 2),
        "outlier": scored.mse > result.threshold,
    }


def rows_of(result: Outliers, count: int) -> Iterator[dict[str, Any]]:
    """The first rows of the list, for JSON."""
    for scored in result.scored[:count]:
        yield _row(result, scored)


def _csv(result: Outliers) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["file", "label", "mse", "psnr", "outlier"], lineterminator="\n")
    writer.writeheader()
    for scored in result.scored:
        row = _row(result, scored)
        writer.writerow(row | {"outlier": int(row["outlier"])})
    return text.getvalue()


# --- The page -----------------------------------------------------------------------------------------------------

_STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #202124; --soft: #5f6368; --line: #dadce0; --mark: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181a; --ink: #e8eaed; --soft: #9aa0a6; --line: #3c4043; --mark: #f2b8b5 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem; margin: 0 0 .25rem }
p { margin: 0 0 1rem; color: var(--soft) }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)) }
li { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; min-width: 0 }
li.above { border-left: .3rem solid var(--mark) }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem }
figure { margin: 0; min-width: 0 }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: .25rem;
  background: var(--line); outline: 1px solid var(--line) }
img.painted { image-rendering: pixelated }
figcaption, .score { font-size: .8rem; color: var(--soft) }
.name { overflow-wrap: anywhere; font-size: .9rem; margin-top: .5rem }
.above .score strong { color: var(--mark) }
"""


def page(result: Outliers, worst: Sequence[tuple[Scored, bytes, bytes]], bundle: Bundle) -> str:
    """One HTML file that needs no other: the worst pictures beside what the model made of them."""
    total = len(result.scored)
    judged = ""
    if result.judged:
        judged = (
            f" AUROC {result.judged['auroc']:.3f}, average precision {result.judged['average_precision']:.3f}, with "
            f"{html.escape(', '.join(result.judged['normal']))} as normal."
        )
    shown = f" The {len(worst):,} worst are shown." if len(worst) < total else ""
    items = "\n".join(_item(result, number, *each) for number, each in enumerate(worst, 1))
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Outliers: {result.above:,} of {total:,} pictures</title>
<style>
{_STYLE}</style>
</head>
<body>
<h1>{result.above:,} of {total:,} pictures are unusual</h1>
<p>The model {html.escape(bundle.folder.name)} paints them with a squared error above {result.threshold:.5f}, which
{result.quantile:.1%} of {result.held_out:,} held-out training pictures stay below.{judged}{shown}</p>
<ol>
{items}
</ol>
</body>
</html>
"""


def _item(result: Outliers, number: int, scored: Scored, thumbnail: bytes, painted: bytes) -> str:
    name = html.escape(scored.name)
    above = scored.mse > result.threshold
    times = f"{scored.mse / result.threshold:.1f} times" if result.threshold > 0 else "above" if above else "at"
    return f"""\
<li{' class="above"' if above else ""}>
<div class="pair">
<figure><img src="{_data_uri(thumbnail)}" alt="{name}" loading="lazy"><figcaption>original</figcaption></figure>
<figure><img class="painted" src="{_data_uri(painted)}" alt="What the model makes of {name}" loading="lazy">\
<figcaption>reconstruction</figcaption></figure>
</div>
<div class="name">{number}. {name}</div>
<div class="score"><strong>{scored.mse:.5f}</strong> {times} the threshold</div>
</li>"""


def _data_uri(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
