"""`lookalike report`: how good a gallery's embeddings are, without anybody having labelled a picture.

Copies are made of a sample of the gallery's own pictures, and their originals looked for among the stored embeddings.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.evaluation.copies import Copies, Found, find_originals, make_copies, sample_rows
from index_data.evaluation.methods import ModelMethod
from index_data.evaluation.metrics import (
    Hubness,
    alignment,
    alpha_req,
    best_threshold,
    hubness,
    rank_me,
    uniformity,
)
from index_data.evaluation.originals import distinct_items, originals_of
from index_data.evaluation.ranking import Floats, nearest, unit
from index_data.evaluation.transforms import FINDING, UNTOUCHED, Transform
from index_data.gallery import Gallery
from index_data.weighting import Halves
from train.errors import NothingFoundError
from train.interruption import StopRequest
from train.labelled import Rows
from train.progress import Reporter, duration

MOST_PICTURES = 100_000  # whose embeddings are looked at; of a larger gallery a sample
SPECTRUM = 8192  # pictures
HUB_PICTURES = 5000  # among which neighbours are counted
NEIGHBOURS = 10
PAIRS = 20_000  # random pairs
ASKED = 2000  # pictures whose nearest neighbour is looked for
BINS = 50  # of a histogram of scores
ALPHAS = (0.0, 0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
CLEARLY = 0.005  # share of originals by which another alpha has to be better
ALPHA_PICTURES = 20_000

NARROW = 0.05  # share of the dimensions; a RankMe below it is an alarm
ALIKE = 0.9  # cosine; when most random pairs are above it, everything looks alike
FIRM = 0.98  # share of originals found that counts as nearly always

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Histogram:
    """Shares of scores by their size; all histograms of a report have the same edges."""

    name: str
    edges: list[float]
    shares: list[float]

    @classmethod
    def of(cls, name: str, scores: Scores, low: float) -> "Histogram":
        """Count scores from `low` to 1."""
        counts, edges = np.histogram(np.clip(scores, low, 1), BINS, (low, 1.0))
        return cls(name, [round(float(edge), 4) for edge in edges], (counts / max(len(scores), 1)).tolist())


@dataclass(frozen=True)
class Threshold:
    """Above which score two pictures are copies of each other."""

    score: float
    copies_above: float  # share of slightly changed copies
    others_above: float  # share of pictures whose nearest other picture is above: copies that are there, or errors


@dataclass(frozen=True)
class AlphaChoice:
    """How the weight of the pixel half changes what is found."""

    present: float
    best: float
    recalls: dict[float, float]  # share of originals found first, by alpha


@dataclass
class GalleryReport:
    """Everything that was measured."""

    gallery: str
    model: dict[str, Any]
    pictures: int  # with different bytes
    looked_at: int
    sampled: int  # originals that copies were made of
    unreadable: int
    finding: list[Found]
    rank_me: float
    alpha_req: float
    alignment: float
    uniformity: float
    random_score: float  # median cosine of random pairs
    alike: float  # share of random pairs above `ALIKE`
    hubs: Hubness
    threshold: Threshold
    histograms: list[Histogram] = field(repr=False)
    alpha: AlphaChoice | None = None
    notes: list[str] = field(default_factory=list)
    seed: int = 0
    seconds: float = 0.0

    @property
    def most_dims(self) -> int:
        """As many dimensions as could be used by so many pictures."""
        return max(1, min(int(self.model["dims"]), self.looked_at - 1))

    @property
    def collapsed(self) -> bool:
        """Whether the embeddings lie so close together that a search makes little sense."""
        return self.rank_me < max(2.0, NARROW * self.most_dims) or self.alike > 0.5

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "gallery": self.gallery,
            "model": self.model,
            "pictures": self.pictures,
            "looked_at": self.looked_at,
            "originals": self.sampled,
            "unreadable": self.unreadable,
            "verdict": verdict(self),
            "find_the_original": [found.to_json() for found in self.finding],
            "rank_me": round(self.rank_me, 3),
            "alpha_req": round(self.alpha_req, 4),
            "collapsed": self.collapsed,
            "alignment": round(self.alignment, 5),
            "uniformity": round(self.uniformity, 5),
            "median_random_score": round(self.random_score, 5),
            "random_pairs_above_0.9": round(self.alike, 5),
            "hubness": {
                "k": NEIGHBOURS,
                "skewness": round(self.hubs.skewness, 4),
                "anti_hubs": round(self.hubs.anti_hubs, 5),
                "largest": self.hubs.largest,
            },
            "near_duplicates": {
                "threshold": round(self.threshold.score, 4),
                "copies_above": round(self.threshold.copies_above, 5),
                "others_above": round(self.threshold.others_above, 5),
            },
            "scores": {each.name: {"edges": each.edges, "shares": each.shares} for each in self.histograms},
            "alpha": None
            if self.alpha is None
            else {
                "present": self.alpha.present,
                "best": self.alpha.best,
                "recall@1": {f"{alpha:g}": round(recall, 5) for alpha, recall in self.alpha.recalls.items()},
            },
            "notes": self.notes,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
        }


def report_gallery(
    gallery: Gallery,
    model: ModelMethod,
    *,
    originals: int,
    seed: int,
    workers: int,
    reporter: Reporter,
    stop: StopRequest,
) -> GalleryReport:
    """Measure a gallery.

    Args:
        gallery: Open.
        model: The one that it was made with.
        originals: Pictures that are copied, at most.
        seed: Of every choice by chance.
        workers: Processes that decode.
        reporter: Told what is going on.
        stop: Looked at between two steps.

    Raises:
        IncompatibleError: The model is another one.
        NothingFoundError: There are too few pictures, or no original can be read.
        Interrupted: The user asked to stop.
    """
    began = time.monotonic()
    gallery.expect_model(model.bundle)
    items = distinct_items(gallery)
    if len(items) < 3:
        raise NothingFoundError(
            f"the gallery {gallery.name} has {len(items)} different pictures: three at least can be compared."
        )
    random = np.random.default_rng([seed, 10])
    kept = np.sort(random.permutation(len(items))[:MOST_PICTURES]).tolist()
    looked_at = [items[row] for row in kept]
    embeddings = gallery.embeddings([item.id for item in looked_at])
    rows = sample_rows(np.arange(len(looked_at)), originals, seed)
    transforms: Sequence[Transform] = (UNTOUCHED, *FINDING)
    source = originals_of(gallery, looked_at, workers)
    made, lost = make_copies([model], source, rows, transforms, [model.size], seed=seed, reporter=reporter, stop=stop)
    copies = made[model.name]
    if not len(copies.rows):
        raise NothingFoundError(
            f"none of {lost:,} originals of the gallery {gallery.name} could be read: are its folders still there?"
        )
    with reporter.task("measuring", 5, "steps") as task:
        finding = find_originals(copies, embeddings, copies.rows, model.halves)
        task.advance()
        spectrum = embeddings[random.permutation(len(embeddings))[:SPECTRUM]]
        ranks, slope = rank_me(spectrum), alpha_req(spectrum)
        task.advance()
        hubs = _hubs(embeddings, random)
        task.advance()
        pairs = _random_pairs(embeddings, random)
        threshold, histograms = _scores(embeddings, copies, pairs, random)
        task.advance()
        alpha = _choose_alpha(model, embeddings, copies, random)
        task.advance()
    report = GalleryReport(
        gallery=gallery.name,
        model={
            "name": model.name,
            "model_id": model.bundle.model_id,
            "dims": model.dims,
            "image_size": model.size,
            "semantic_dims": model.bundle.semantic_dims,
            "alpha": model.bundle.alpha,
        },
        pictures=len(items),
        looked_at=len(looked_at),
        sampled=len(copies.rows),
        unreadable=lost,
        finding=finding,
        rank_me=ranks,
        alpha_req=slope,
        alignment=float(
            np.mean([alignment(embeddings[copies.rows], unit(copies.vectors[each.name])) for each in FINDING])
        ),
        uniformity=uniformity(pairs),
        random_score=float(np.median(pairs)),
        alike=float((pairs > ALIKE).mean()),
        hubs=hubs,
        threshold=threshold,
        histograms=histograms,
        alpha=alpha,
        seed=seed,
    )
    if lost:
        report.notes.append(f"{lost:,} originals are gone, changed or too large, and were passed over.")
    if len(looked_at) < len(items):
        report.notes.append(f"A sample of {len(looked_at):,} of {len(items):,} pictures.")
    if len(copies.rows) < 50:
        report.notes.append(f"Copies of {len(copies.rows)} pictures only: a share may be 10 points off.")
    if model.encoder.degraded:
        report.notes.append(f"{model.encoder.degraded}.")
    report.seconds = time.monotonic() - began
    return report


def _random_pairs(embeddings: Floats, random: np.random.Generator) -> Scores:
    """Cosines of random pairs of different pictures."""
    count = len(embeddings)
    first = random.integers(0, count, PAIRS)
    second = (first + random.integers(1, count, PAIRS)) % count
    scores: Scores = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
    return scores


def _hubs(embeddings: Floats, random: np.random.Generator) -> Hubness:
    some = embeddings[random.permutation(len(embeddings))[:HUB_PICTURES]]
    neighbours, _ = nearest(some, some, NEIGHBOURS, own=np.arange(len(some)))
    return hubness(neighbours, len(some))


def near_duplicates_of() -> list[Transform]:
    """Copies that anybody would call the same picture: everything mild and medium but mirror images."""
    return [each for each in FINDING if each.severity in (1, 2) and each.kind != "mirror"]


def _scores(
    embeddings: Floats, copies: Copies, pairs: Scores, random: np.random.Generator
) -> tuple[Threshold, list[Histogram]]:
    asked: Rows = np.sort(random.permutation(len(embeddings))[:ASKED])
    _, nearest_scores = nearest(embeddings[asked], embeddings, 1, own=asked)
    others = nearest_scores[:, 0]
    own = embeddings[copies.rows]
    slight = np.concatenate([(copies.vectors[each.name] * own).sum(axis=1) for each in near_duplicates_of()])
    score = best_threshold(slight, others)
    threshold = Threshold(score, float((slight >= score).mean()), float((others >= score).mean()))
    low = min(float(np.floor(5 * min(pairs.min(), others.min(), slight.min())) / 5), 0.8)
    named = (("random pairs", pairs), ("nearest other pictures", others), ("slightly changed copies", slight))
    return threshold, [Histogram.of(name, scores, low) for name, scores in named]


# --- alpha ----------------------------------------------------------------------------------------------------------


def reweighted(embeddings: Floats, semantic_dims: int, alpha: float) -> Floats:
    """Embeddings as they would be with another weight of the pixel half.

    An embedding is [unit(semantic); a * unit(pixel)] / sqrt(1 + a^2): whatever a was, both directions are in it.
    """
    halves = unit(embeddings[:, :semantic_dims]), unit(embeddings[:, semantic_dims:])
    joined = np.concatenate([halves[0], np.float32(alpha) * halves[1]], axis=1)
    weighted: Floats = (joined / np.sqrt(1 + alpha**2)).astype(np.float32)
    return weighted


def _choose_alpha(
    model: ModelMethod, embeddings: Floats, copies: Copies, random: np.random.Generator
) -> AlphaChoice | None:
    """Try other weights of the pixel half on the copies; None where there is no such half, or it was left out."""
    semantic, present = model.bundle.semantic_dims, model.bundle.alpha
    if not 0 < semantic < model.dims or present <= 0:
        return None
    others = np.setdiff1d(np.arange(len(embeddings)), copies.rows)
    others = others[random.permutation(len(others))[: max(0, ALPHA_PICTURES - len(copies.rows))]]
    searched = np.concatenate([copies.rows, others])
    targets = np.arange(len(copies.rows))
    recalls: dict[float, float] = {}
    for alpha in sorted({*ALPHAS, present}):
        pictures = reweighted(embeddings[searched], semantic, alpha)
        turned = Copies(
            copies.rows,
            {name: reweighted(vectors, semantic, alpha) for name, vectors in copies.vectors.items()},
        )
        answers = find_originals(turned, pictures, targets, Halves(semantic, alpha))
        recalls[alpha] = float(np.mean([found.recall for found in answers if found.transform.severity]))
    best = max(recalls, key=lambda alpha: (recalls[alpha], -abs(alpha - present)))
    # A difference that another sample would turn round is none.
    if recalls[best] < recalls[present] + CLEARLY:
        best = present
    return AlphaChoice(present, best, recalls)


# --- For people -----------------------------------------------------------------------------------------------------


def recall_by_kind(finding: Sequence[Found]) -> dict[str, float]:
    """Mean share of originals found first, by kind of copy."""
    kinds: dict[str, list[float]] = {}
    for found in finding:
        if found.transform.severity:
            kinds.setdefault(found.transform.kind, []).append(found.recall)
    return {kind: float(np.mean(recalls)) for kind, recalls in kinds.items()}


_COPIES_CALLED = {
    "JPEG": "saved as JPEG",
    "smaller": "shrunk",
    "crop": "cropped",
    "mirror": "mirrored",
    "rotation": "turned",
    "less colour": "faded",
    "brightness": "brightened",
    "contrast": "flattened",
    "blur": "blurred",
    "lettering": "captioned",
}


def verdict(report: GalleryReport) -> list[str]:
    """What all of it means, in sentences; what is weak comes first."""
    kinds = recall_by_kind(report.finding)
    firm = [_COPIES_CALLED[kind] for kind, recall in kinds.items() if recall >= FIRM]
    weak = sorted((recall, _COPIES_CALLED[kind]) for kind, recall in kinds.items() if recall < FIRM)
    sentences = []
    if weak:
        listed = _joined([f"{name} pictures {_percent(recall)} of the time" for recall, name in weak])
        sentences.append(f"Finds the original of {listed}.")
    if firm:
        almost = "all kinds of copies that were tried" if not weak else f"pictures that were {_joined(firm)}"
        sentences.append(f"Finds the original of {almost} nearly always.")
    uses = f"about {report.rank_me:.0f} of {report.most_dims:,} dimensions"
    if report.collapsed:
        sentences.append(
            f"The embeddings look collapsed: they use {uses}, and {_percent(report.alike)} of random pairs score above "
            f"{ALIKE:g}. Train longer, with more pictures, or by another recipe."
        )
    else:
        sentences.append(f"Nothing looks collapsed: the embeddings use {uses}.")
    found = report.threshold
    sentences.append(
        f"A score of {found.score:.2f} tells near-duplicates best: {_percent(found.copies_above)} of slightly changed "
        f"copies are above it, and so is the nearest other picture of {_percent(found.others_above)} of the pictures."
    )
    if report.hubs.anti_hubs > 0.3:
        sentences.append(
            f"{_percent(report.hubs.anti_hubs)} of the pictures are among nobody's {NEIGHBOURS} nearest: some turn up "
            "everywhere, others hardly ever."
        )
    if report.alpha and report.alpha.best != report.alpha.present:
        choice = report.alpha
        sentences.append(
            f"alpha {choice.best:g} would find {_percent(choice.recalls[choice.best])} of the originals, and "
            f"{choice.present:g}, which the model has, finds {_percent(choice.recalls[choice.present])}."
        )
    elif report.alpha:
        sentences.append(
            f"alpha {report.alpha.present:g}, which the model has, finds as many originals as any other weight of the "
            "pixel half would."
        )
    return sentences


def text_of(report: GalleryReport) -> str:
    """For a terminal."""
    lines = [*verdict(report), ""]
    lines += [
        f"{'failed' if not found.passed else 'passed'}  {found.transform.name:18} {100 * found.recall:5.1f} % found "
        f"first ({100 * found.transform.passes:.0f} % needed), MRR {found.mrr:.3f}, median score {found.score:.3f}"
        for found in sorted(report.finding, key=lambda found: (found.passed, found.recall))
    ]
    lines += [
        "",
        f"RankMe {report.rank_me:.1f}, alpha-ReQ {report.alpha_req:.2f}, alignment {report.alignment:.3f}, uniformity "
        f"{report.uniformity:.2f}, hubness: skewness {report.hubs.skewness:.2f}, anti-hubs "
        f"{_percent(report.hubs.anti_hubs)}.",
    ]
    if report.alpha:
        tried = ", ".join(f"{alpha:g}: {100 * recall:.1f} %" for alpha, recall in report.alpha.recalls.items())
        lines.append(f"Originals found first by alpha: {tried}.")
    lines += [
        *report.notes,
        f"{report.pictures:,} pictures, copies of {report.sampled:,} of them, {duration(report.seconds)}.",
    ]
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
