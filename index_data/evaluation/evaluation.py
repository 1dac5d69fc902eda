"""`lookalike eval` from beginning to end: which pictures, which methods, which parts, and what came out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from index_data.evaluation.copies import (
    Copies,
    Detection,
    Division,
    Drift,
    Found,
    detect_copies,
    find_originals,
    make_copies,
    measure_drift,
    sample_rows,
)
from index_data.evaluation.labels import (
    Protocol,
    Retrieval,
    choose_queries,
    encode,
    failures_first,
    measure_retrieval,
    protocol_json,
)
from index_data.evaluation.methods import Method, ModelMethod, fit_baselines, hashes
from index_data.evaluation.originals import STOPPED, Material, views_of
from index_data.evaluation.ranking import Floats, ranked_blocks
from index_data.evaluation.reconstruction import Reconstruction, measure_reconstruction
from index_data.evaluation.same_pictures import LAID_OVER, find_same
from index_data.evaluation.transforms import DRIFTING, FINDING, STRONG, UNTOUCHED, Transform
from index_data.weighting import Halves
from train.errors import NothingFoundError, SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.labelled import Rows
from train.progress import Reporter, duration

PARTS = ("labels", "copies", "reconstruction", "drift")
SHOWN = 12  # queries on a sheet that went wrong, and half as many that went well
ANSWERS = 10  # neighbours beside each


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is measured, and on how much."""

    parts: Sequence[str] = PARTS
    queries: int = 10_000  # pictures with labels that ask, at most
    originals: int = 200  # pictures of which copies are made, at most
    same_picture: bool = False  # also find originals with the first hits laid over the copy
    seed: int = 0


@dataclass(frozen=True)
class SheetRow:
    """One query and what it found, for people."""

    query: Pixels  # (size, size, 3)
    label: str
    found: list[tuple[Pixels, str, float, bool]]  # picture, label, score, right
    original: Pixels | None = None  # of a copy


@dataclass
class Evaluation:
    """Everything that was measured."""

    title: str
    pictures: int
    models: dict[str, dict[str, Any]]  # name -> what it is
    settings: EvaluationSettings
    protocol: Protocol | None = None
    retrievals: list[Retrieval] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    finding: dict[str, list[Found]] = field(default_factory=dict)  # by the name of the method
    drifts: list[Drift] = field(default_factory=list)
    reconstructions: list[Reconstruction] = field(default_factory=list)
    originals: int = 0  # of which copies were made
    searched: int = 0  # pictures among which they were looked for
    background: int = 0
    notes: list[str] = field(default_factory=list)
    wrong: dict[str, list[SheetRow]] = field(default_factory=dict)  # by the name of the model
    right: dict[str, list[SheetRow]] = field(default_factory=dict)
    missed: dict[str, list[SheetRow]] = field(default_factory=dict)  # copies whose original was not found first
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        record: dict[str, Any] = {
            "source": self.title,
            "pictures": self.pictures,
            "models": self.models,
            "seed": self.settings.seed,
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
        }
        if self.protocol:
            record["labels"] = protocol_json(self.protocol) | {
                "methods": [retrieval.to_json() for retrieval in self.retrievals]
            }
        if self.detections:
            record["copies"] = {
                "originals": self.originals,
                "pictures": self.searched,
                "background": self.background,
                "detection": [detection.to_json() for detection in self.detections],
                "find_the_original": {
                    name: [found.to_json() for found in answers] for name, answers in self.finding.items()
                },
            }
        if self.drifts:
            record["drift"] = [drift.to_json() for drift in self.drifts]
        if self.reconstructions:
            record["reconstruction"] = [found.to_json() for found in self.reconstructions]
        return record


def evaluate(
    material: Material,
    models: Sequence[ModelMethod],
    settings: EvaluationSettings,
    *,
    reporter: Reporter,
    stop: StopRequest,
) -> Evaluation:
    """Measure the models and, beside them, what needs no training.

    Args:
        material: The pictures.
        models: Open encoders; each of its sizes is in the material.
        settings: What is measured.
        reporter: Told what is going on.
        stop: Looked at between two steps.

    Raises:
        NothingFoundError: Nothing that was asked for can be measured on these pictures.
        Interrupted: The user asked to stop.
    """
    began = time.monotonic()
    if len(material) < 2:
        raise NothingFoundError(f"{material.title} has one picture that can be used: two at least can be compared.")
    result = Evaluation(material.title, len(material), {each.name: _about(each) for each in models}, settings)
    result.notes += _notes_on(material)
    protocol = _protocol(material, result)
    baselines = _baselines(material, models, protocol, settings, reporter, stop)
    if protocol is not None:
        for method in (*models, *baselines):
            found = measure_retrieval(method, material, protocol, settings.seed, reporter, stop)
            result.retrievals.append(found)
            if method.is_model:
                _fill_sheets(result, material, protocol, found)
    if {"copies", "drift"} & set(settings.parts):
        _measure_copies(result, material, models, baselines, reporter, stop)
    if "reconstruction" in settings.parts:
        _measure_reconstructions(result, material, models, reporter, stop)
    for model in models:
        if model.unusable:
            result.notes.append(f"{model.name} gave no usable code {model.unusable:,} times: it finds nothing there.")
        if model.encoder.degraded:
            result.notes.append(f"{model.name}: {model.encoder.degraded}.")
    result.seconds = time.monotonic() - began
    if not (result.retrievals or result.detections or result.drifts or result.reconstructions):
        raise NothingFoundError(" ".join(["nothing could be measured.", *result.notes]))
    return result


def _notes_on(material: Material) -> list[str]:
    images = material.images
    notes = []
    if images.rejected:
        notes.append(f"{images.rejected:,} files could not be read, and are left out.")
    if images.available - images.rejected > len(images):
        notes.append(f"A sample of {len(images):,} of {images.available:,} pictures.")
    if not (images.splits == "test").any():
        notes.append(
            "Nobody says which of these pictures a model was trained on: figures of one that saw them are flattering."
        )
    return notes


def _measure_reconstructions(
    result: Evaluation, material: Material, models: Sequence[ModelMethod], reporter: Reporter, stop: StopRequest
) -> None:
    for model in models:
        if not model.bundle.has_decoder:
            result.notes.append(f"No reconstructions by {model.name}: the model has no decoder.")
            continue
        result.reconstructions.append(
            measure_reconstruction(
                model,
                material,
                others=[other for other in models if other is not model],
                seed=result.settings.seed,
                reporter=reporter,
                stop=stop,
            )
        )
    if any(not found.held_out for found in result.reconstructions):
        result.notes.append("Too few pictures to hold any out: PCA rebuilds those that it was found in.")


def _about(model: ModelMethod) -> dict[str, Any]:
    bundle = model.bundle
    return {
        "model_id": bundle.model_id,
        "folder": str(bundle.folder),
        "image_size": model.size,
        "dims": bundle.dims,
        "semantic_dims": bundle.semantic_dims,
        "alpha": bundle.alpha,
        "source": bundle.facts.source,
        "provider": model.encoder.provider,
    }


def _protocol(material: Material, result: Evaluation) -> Protocol | None:
    if "labels" not in result.settings.parts:
        return None
    try:
        result.protocol = choose_queries(material, result.settings.queries, result.settings.seed)
    except SettingsError as refusal:
        result.notes.append(f"{refusal.detail[0].upper()}{refusal.detail[1:]}")
    protocol = result.protocol
    fewer = 200 if protocol is None else len(protocol.searched) - protocol.leave_one_out
    if fewer < 200:
        result.notes.append(f"Fewer than 200 pictures can be found: kNN@200 lets all {fewer:,} vote.")
    return protocol


def _baselines(
    material: Material,
    models: Sequence[ModelMethod],
    protocol: Protocol | None,
    settings: EvaluationSettings,
    reporter: Reporter,
    stop: StopRequest,
) -> list[Method]:
    if protocol is None and "copies" not in settings.parts:
        return []
    # They learn from what is searched, as whoever serves these pictures could have them learn.
    rows: Rows | slice = slice(None) if protocol is None else protocol.searched
    if len(material) == (len(material) if isinstance(rows, slice) else len(rows)):
        rows = slice(None)  # no copy of all pixels
    views = material.views(rows)
    largest = {max(views): views[max(views)]}
    return list(
        fit_baselines(largest, [model.dims for model in models], seed=settings.seed, reporter=reporter, stop=stop)
    )


def _measure_copies(
    result: Evaluation,
    material: Material,
    models: Sequence[ModelMethod],
    baselines: Sequence[Method],
    reporter: Reporter,
    stop: StopRequest,
) -> None:
    """Make copies once, for detection, for finding originals and for drift."""
    settings = result.settings
    division = Division.draw(len(material), settings.seed)
    asked = set(settings.parts)
    transforms: list[Transform] = [UNTOUCHED]
    methods: list[Method] = list(models)
    if "copies" in asked:
        hashing, sentence = hashes()
        result.notes += [sentence] if sentence else []
        transforms += [*FINDING, *STRONG]
        methods += [*(each for each in baselines if not _is_variant(each, models)), *hashing]
    if "drift" in asked:
        transforms += DRIFTING
    rows = sample_rows(division.searched, settings.originals, settings.seed)
    copies, lost = make_copies(
        methods,
        material.originals,
        rows,
        transforms,
        sorted(material.fitted),
        seed=settings.seed,
        reporter=reporter,
        stop=stop,
    )
    if lost:
        result.notes.append(f"{lost:,} originals could not be read at full size, so no copies were made of them.")
    result.originals = len(rows) - lost
    if not result.originals:
        result.notes.append("No copies were made: no original could be read at full size.")
        return
    if "drift" in asked:
        result.drifts = [measure_drift(model.name, copies[model.name], DRIFTING) for model in models]
    if "copies" in asked:
        result.searched, result.background = len(division.searched), len(division.background)
        for method in methods:
            stop.raise_if_set(STOPPED)
            pictures = encode(method, material, division.searched, reporter, stop)
            background = encode(method, material, division.background, reporter, stop)
            found = copies[method.name]
            places = np.searchsorted(division.searched, found.rows)
            result.detections.append(detect_copies(method, found, pictures, places, background, settings.seed))
            result.finding[method.name] = find_originals(found, pictures, places, method.halves)
            if method.is_model and settings.same_picture:
                result.finding[method.name + LAID_OVER] = find_same(
                    found,
                    pictures,
                    division.searched,
                    method.halves,
                    material.originals,
                    seed=settings.seed,
                    reporter=reporter,
                    stop=stop,
                )
            if method.is_model:
                result.missed[method.name] = _missed(
                    material,
                    found,
                    pictures,
                    division.searched,
                    places,
                    halves=method.halves,
                    seed=settings.seed,
                )


def _is_variant(method: Method, models: Sequence[ModelMethod]) -> bool:
    """Whether a row says little about copies: whitened, or of 64 dimensions where there are as many as the model's."""
    dims = {model.dims for model in models}
    plain = f"PCA-{method.dims}", f"half-whitened PCA-{method.dims}"
    return "PCA" in method.name and (method.dims not in dims or method.name not in plain)


# --- Sheets ---------------------------------------------------------------------------------------------------------


def _fill_sheets(result: Evaluation, material: Material, protocol: Protocol, retrieval: Retrieval) -> None:
    images = material.images
    asked = images.labels[protocol.queries]
    bad, good = failures_first(retrieval, asked, images.labels[retrieval.first], SHOWN)

    def row(query: int) -> SheetRow:
        found = retrieval.first[query]
        return SheetRow(
            images.pixels[protocol.queries[query]],
            images.classes[asked[query]],
            [
                (
                    images.pixels[each],
                    images.classes[images.labels[each]],
                    float(score),
                    images.labels[each] == asked[query],
                )
                for each, score in zip(found.tolist(), retrieval.scores[query], strict=True)
            ],
        )

    result.wrong[retrieval.method] = [row(query) for query in bad.tolist()]
    result.right[retrieval.method] = [row(query) for query in good.tolist()]


def _missed(
    material: Material,
    copies: Copies,
    pictures: Floats,
    searched: Rows,
    own: Rows,
    *,
    halves: Halves,
    seed: int,
) -> list[SheetRow]:
    """Some copies whose original is not first: of every kind of copy the one that went worst."""
    squares = material.images.pixels
    size = squares.shape[1]
    worst: list[tuple[Transform, int, Rows, Floats]] = []
    for transform in STRONG:
        queries = copies.vectors[transform.name]
        blocks = list(ranked_blocks(queries, pictures, k=ANSWERS, halves=halves))
        found = np.concatenate([block.order[:, :ANSWERS] for block in blocks])
        scores = np.concatenate([block.scores for block in blocks])
        margin = np.where(found[:, 0] != own, scores[:, 0] - (queries * pictures[own]).sum(axis=1), -np.inf)
        row = int(np.argmax(margin))
        if found[row, 0] != own[row]:
            worst.append((transform, row, found[row], scores[row]))
    wanted = np.unique([copies.rows[row] for _, row, _, _ in worst]).astype(np.int64)
    images = {row: image for row, image in material.originals(wanted) if image is not None}
    sheet: list[SheetRow] = []
    for transform, row, found, scores in worst:
        number = int(copies.rows[row])
        if number not in images:
            continue
        answers = [
            (squares[searched[each]], "", float(score), bool(each == own[row]))
            for each, score in zip(found.tolist(), scores, strict=True)
        ]
        copied = views_of(transform.apply(images[number], number, seed), [size])[size][0]
        sheet.append(SheetRow(copied, transform.name, answers, squares[number]))
    return sheet


# --- For people -----------------------------------------------------------------------------------------------------


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first one to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percent(value: float | None) -> str:
    """A share as people read it."""
    return "-" if value is None else f"{100 * value:.1f}"


LABEL_COLUMNS = (
    "kNN@1",
    "kNN@20 T 0.07",
    "kNN@200 T 0.07",
    "kNN@200 T 0.1",
    "Recall@10",
    "P@10",
    "R-Precision",
    "mAP@100",
    "mAP",
)


def text_of(result: Evaluation) -> str:
    """Everything as tables, for a terminal."""
    parts = []
    if result.protocol:
        rows = [["with labels, %", "dims", *LABEL_COLUMNS]]
        rows += [
            [each.method, f"{each.dims:,}", *(percent(each.figures[name].value) for name in LABEL_COLUMNS)]
            for each in result.retrievals
        ]
        widest = max((figure.high - figure.low) / 2 for each in result.retrievals for figure in each.figures.values())
        parts.append(
            f"{result.protocol.sentence}\n{table(rows)}\n95 % intervals are {percent(widest)} to either side or less."
        )
    if result.detections:
        rows = [
            ["copies, %", "dims", "mAP", "uAP", "uAP normalised", "uAP prominence", "originals found first", "passed"]
        ]
        for detection in result.detections:
            answers = [found for found in result.finding[detection.method] if found.transform.severity]
            recall = float(np.mean([found.recall for found in answers]))
            passed = f"{sum(found.passed for found in answers)} of {len(answers)}"
            rows.append(
                [
                    detection.method,
                    f"{detection.dims:,}",
                    percent(detection.mean_ap.value),
                    percent(detection.micro_ap),
                    percent(detection.micro_ap_normalised),
                    percent(detection.micro_ap_prominence),
                    percent(recall),
                    passed,
                ]
            )
        head = (
            f"{result.originals:,} originals, {len(STRONG)} strong copies of each among {result.searched:,} pictures "
            f"(scores normalised on {result.background:,} others)."
        )
        parts.append(f"{head}\n{table(rows)}\n\n{_finding_text(result)}")
    if result.drifts:
        names = list(result.drifts[0].rows)
        rows = [["1 - cosine, median (95 %)", *(each.method for each in result.drifts)]]
        rows += [
            [name, *(f"{each.rows[name][0]:.4f} ({each.rows[name][1]:.4f})" for each in result.drifts)]
            for name in names
        ]
        parts.append(table(rows))
    for found in result.reconstructions:
        rows = [[f"{found.measured:,} pictures rebuilt", "dims", "MSE", "PSNR, dB", "SSIM"]]
        rows += [
            [row.name, f"{row.dims:,}", f"{row.mse:.5f}", f"{row.psnr:.2f}", f"{row.ssim:.3f}"] for row in found.rows
        ]
        text = table(rows)
        if found.morphs:
            morphs = found.morphs
            text += (
                f"\n{morphs.pairs} morphs: {morphs.closeness}; {percent(morphs.monotone)} % never turn back; the "
                f"middle frame has {percent(morphs.sharpness)} % of the ends' detail, a cross-fade "
                f"{percent(morphs.cross_fade)} %."
                f"{morphs.verdicts}"
            )
        parts.append(text)
    parts.append("\n".join([*result.notes, f"{result.pictures:,} pictures, {duration(result.seconds)}."]))
    return "\n\n".join(parts)


def _finding_text(result: Evaluation) -> str:
    ours = [name for name in result.finding if name.removesuffix(LAID_OVER) in result.models]
    shown = ours + [name for name in result.finding if name not in ours and ("histogram" in name or "patches" in name)]
    rows = [["originals found first, %", "needed", *shown]]
    for number, found in enumerate(result.finding[shown[0]]):
        cells = [result.finding[name][number] for name in shown]
        marks = [percent(cell.recall) + (" " if cell.passed else "!") for cell in cells]
        rows.append([found.transform.name, percent(found.transform.passes), *marks])
    return table(rows) + "\n! fewer than needed."
