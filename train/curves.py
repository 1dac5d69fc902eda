"""The curves of a run as one picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.files import write_file

_BLUE, _ORANGE, _GREY = "#2563eb", "#ea580c", "#6b7280"


def draw_curves(metrics: Sequence[dict[str, Any]], pca_mse: float | None, path: Path) -> None:
    """Draw squared error (beside PCA's), learning rate and speed over the epochs into a PNG file.

    Args:
        metrics: Lines of metrics.jsonl.
        pca_mse: Error of PCA with as many dimensions on the validation images; None or 0: not drawn.
        path: Of the PNG file; written atomically.
    """
    # Without pyplot: no global state and no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = [line for line in metrics if line["split"] == "train"]
    validation = [line for line in metrics if line["split"] == "validation"]
    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    error, rate, speed = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    error.plot(*_points(train, "mse"), color=_BLUE, alpha=0.45, label="training batches")
    error.plot(*_points(validation, "mse"), color=_ORANGE, marker=".", label="validation, averaged weights")
    if pca_mse:
        error.axhline(pca_mse, color=_GREY, linestyle="--", label="PCA, as many dimensions")
    error.set(yscale="log", title="mean squared error", xlabel="epoch")
    error.legend(frameon=False)
    rate.plot(*_points(train, "learning_rate"), color=_BLUE)
    rate.set(title="learning rate", xlabel="epoch")
    speed.plot(*_points(train, "images_per_second"), color=_BLUE)
    speed.set(title="images per second", xlabel="epoch", ylim=(0, None))
    for axes in (error, rate, speed):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, which="both")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_file(path, buffer.getvalue())


def _points(lines: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    return [line["epoch"] for line in lines if name in line], [line[name] for line in lines if name in line]
