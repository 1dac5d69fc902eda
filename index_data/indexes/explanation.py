"""Saying why a gallery is searched as it is: tables for a terminal, and the curve as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from index_data.indexes.curve import Curve, Weight
from index_data.indexes.kinds import KINDS, Setting
from index_data.indexes.record import IndexRecord
from train.errors import NothingFoundError
from train.files import write_file

_BLUE, _ORANGE, _GREY = "#2563eb", "#ea580c", "#6b7280"
SHOWN_POINTS = 12  # of a curve, in a terminal


def explain(record: IndexRecord, name: str) -> str:
    """Everything in text: what was chosen and why, what was compared, what a search costs at which recall."""
    aims = record.aims
    wanted = f"recall {aims.recall:g}, {aims.latency_ms:g} ms"
    if aims.memory is not None:
        wanted += f", at most {megabytes(aims.memory)}"
    if aims.kind is not None:
        wanted += f", as {aims.kind}"
    lines = [
        f"{name}: {record.kind}, {KINDS[record.kind].says}; {record.count:,} vectors of {record.dims} numbers, "
        f"stored as {record.precision}.",
        f"Aimed at: {wanted}.",
        *record.reasons,
        f"In memory for searches to be fast: {megabytes(record.memory)} = "
        f"{record.memory / max(record.count * record.dims * 4, 1):.0%} of the vectors as float32.",
    ]
    if record.trials:
        rows = [
            (
                trial.kind + ("" if trial.chosen else " (compared only)"),
                megabytes(trial.memory),
                f"{trial.recall:.4f}",
                f"{trial.sampled_ms:.3f}",
                f"{trial.expected_ms:.3f}",
                described(trial.setting, trial.kind),
            )
            for trial in sorted(record.trials, key=lambda trial: trial.expected_ms)
        ]
        titles = ("kind", "memory", "recall@10", "ms", f"ms at {record.count:,}", "with")
        lines += ["", f"Compared on {record.sampled:,} vectors:", table(titles, rows)]
    if record.curve is not None:
        lines += ["", "Measured on all vectors, one thread:", curve_table(record, record.curve)]
    if record.weights:
        more = [f"{weight.beta:g}: {_more(weight)}" for weight in record.weights]
        lines += ["", f"Looked at where a query's halves are weighed by beta, beside 1: {', '.join(more)}."]
    return "\n".join(lines)


def _more(weight: Weight) -> str:
    if weight.times is None:
        return "all compared"
    return "as much" if weight.times == 1 else f"{weight.times:g} times as much"


def curve_table(record: IndexRecord, curve: Curve) -> str:
    """The points of a curve, the exact search last."""
    rows = []
    for k, points in sorted(curve.points.items()):
        step = max(1, -(-len(points) // SHOWN_POINTS))
        for place, point in enumerate(points):
            if place % step == 0 or point is points[-1] or point.setting == record.setting:
                default = "default" if k == min(curve.points) and point.setting == record.setting else ""
                rows.append(
                    (
                        str(k),
                        f"{point.recall:.4f}",
                        f"{point.p50_ms:.3f}",
                        f"{point.p95_ms:.3f}",
                        described(point.setting, record.kind),
                        default,
                    )
                )
    if record.kind != "flat" and record.exact_ms is not None:
        rows.append(("any", "1.0000", f"{record.exact_ms:.3f}", "", "exact: all stored vectors", ""))
    return table(("k", "recall", "p50 ms", "p95 ms", "with", ""), rows)


def described(setting: Setting, kind: str) -> str:
    """A setting in words."""
    if not setting.effort and setting.factor == 1:
        return "nothing to turn"
    parts = []
    if setting.effort:
        parts.append(f"{setting.effort} {'candidates' if KINDS[kind].walks else 'lists'}")
    if KINDS[kind].refined and setting.factor > 1:
        parts.append(f"{setting.factor} k ranked anew")
    return ", ".join(parts)


def megabytes(size: int) -> str:
    """A size in MiB."""
    return f"{size / 2**20:,.1f} MiB"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text."""
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [titles, *rows]
    )


def draw_curve(record: IndexRecord, name: str, path: Path) -> None:
    """Draw recall against time into a PNG file, beside the sample's candidates and the exact search.

    Raises:
        NothingFoundError: There is no curve, or matplotlib is not installed.
    """
    try:
        # Without pyplot: no global state and no display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NothingFoundError(
            "drawing takes matplotlib: `pip install 'lookalike[train]'`, or leave -o out for a table."
        ) from error
    if record.curve is None:
        raise NothingFoundError(f"the index of {name} has no curve: it holds fewer than two vectors.")
    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _draw(axes, record, record.curve)
    axes.set(
        xlabel="share of the exact neighbours that are found",
        ylabel="ms for a search, one thread, median",
        yscale="log",
        title=f"{name}: {record.kind}, {record.count:,} x {record.dims}",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_file(path, buffer.getvalue())


def _draw(axes: Any, record: IndexRecord, curve: Curve) -> None:
    for colour, (k, points) in zip((_BLUE, _ORANGE), sorted(curve.points.items()), strict=False):
        axes.plot(
            [point.recall for point in points],
            [point.p50_ms for point in points],
            marker=".",
            color=colour,
            label=f"{k} neighbours",
        )
    if record.exact_ms is not None:
        axes.axhline(record.exact_ms, color=_GREY, linestyle="--", label="exact")
    for trial in record.trials:
        if trial.kind != record.kind:
            axes.plot([trial.recall], [trial.expected_ms], marker="x", color=_GREY, linestyle="none")
            axes.annotate(trial.kind, (trial.recall, trial.expected_ms), fontsize=8, color=_GREY)
