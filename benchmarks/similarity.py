"""Weighted kNN of a trained run on its own data set: its training pictures are searched, its test pictures ask.

    python benchmarks/similarity.py RUN... [--models FOLDER] [--queries 10000]

What is measured is the exported bundle on ONNX Runtime (`lookalike export RUN` first; models/ beside runs/ unless
--models says another folder); what needs no training stands beside it, learnt from the same pictures. Labels only
judge. k is 200 and the temperature .1, as published figures of CIFAR-10 have it. The table is printed as Markdown.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from export.bundle import Bundle
from index_data.evaluation.methods import Method, ModelMethod, fit_baselines
from index_data.evaluation.metrics import vote
from index_data.evaluation.ranking import Floats
from train.data import Data, Rows, evenly
from train.interruption import StopRequest
from train.progress import SILENT
from train.run import Run

NEIGHBOURS, TEMPERATURE = 200, 0.1
BLOCK = 500  # queries at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs on the same data set and split")
    parser.add_argument("--models", type=Path, help="folder of their bundles")
    parser.add_argument("--queries", type=int, default=10_000, help="test pictures that ask, at most")
    asked = parser.parse_args()
    first = Run.open(asked.runs[0])
    data = Data.of(first.cache, first.recipe.data)
    labels = np.unique(np.array(first.cache.labels()), return_inverse=True)[1]
    queries = evenly(data.test, asked.queries)
    print(
        f"{len(data.train):,} pictures are searched, {len(queries):,} test pictures ask; "
        f"k {NEIGHBOURS}, T {TEMPERATURE}.\n"
    )
    print("| code | numbers | kNN | MSE | PCA's |\n|---|---|---|---|---|")
    for method, quality in methods(asked.runs, asked.models, data):
        accuracy = neighbours(method, data, labels, queries)
        mse, bound = (f"{quality[key]:.5f}" if quality.get(key) else "" for key in ("test_mse", "pca_test_mse"))
        print(f"| {method.name} | {method.dims} | {accuracy:.4f} | {mse} | {bound} |", flush=True)


def methods(runs: list[Path], models: Path | None, data: Data) -> Iterator[tuple[Method, dict[str, float]]]:
    """Each way to turn pictures into vectors, and what is known of a model's reconstruction."""
    bundles = [Bundle.open((models or run.parent.parent / "models") / run.name) for run in runs]
    searched = {data.images.shape[1]: data.images[np.sort(data.train)]}
    for method in fit_baselines(searched, [each.dims for each in bundles], seed=0, reporter=SILENT, stop=StopRequest()):
        yield method, {}
    for bundle in bundles:
        yield ModelMethod(bundle.folder.name, bundle, provider="cpu", threads=None), dict(bundle.quality)


def neighbours(method: Method, data: Data, labels: Rows, queries: Rows) -> float:
    """Share of the queries whose label their neighbours choose."""
    return share_right(
        vectors(method, data, data.train), labels[data.train], vectors(method, data, queries), labels[queries]
    )


def share_right(pictures: Floats, there: Rows, asking: Floats, truth: Rows) -> float:
    """Share of the queries (m, dims) whose label the nearest pictures (n, dims) choose."""
    right = 0
    for start in range(0, len(asking), BLOCK):
        scores = asking[start : start + BLOCK] @ pictures.T
        nearest = np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        best = np.take_along_axis(scores, nearest, axis=1)
        order = np.argsort(-best, axis=1)
        best, nearest = np.take_along_axis(best, order, axis=1), np.take_along_axis(nearest, order, axis=1)
        chosen = vote(best, there[nearest], int(there.max()) + 1, TEMPERATURE)
        right += int((chosen == truth[start : start + BLOCK]).sum())
    return right / len(asking)


def vectors(method: Method, data: Data, rows: Rows) -> Floats:
    """Vectors of pictures, (rows, dims)."""
    size = data.images.shape[1]
    parts = np.array_split(rows, max(1, len(rows) // 1000))
    return np.concatenate([method.vectors({size: np.ascontiguousarray(data.images[part])}) for part in parts])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
