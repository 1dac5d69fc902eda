"""Are the skin-tone and gender variants of an emoji among its first ten neighbours?

    python benchmarks/openmoji_variants.py MODEL... [--folder FOLDER]

MODEL is a bundle's folder. Every OpenMoji that has variants asks all others; the figure is the share of its variants
(of ten of them, where it has more) among the first ten, averaged over those that ask. FOLDER has the drawings, as
`lookalike demo` makes them; without it they are drawn anew. What needs no training stands beside the models, learnt
from the same pictures. The table is printed as Markdown.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from export.bundle import Bundle
from index_data.evaluation.methods import Method, ModelMethod, fit_baselines
from index_data.evaluation.ranking import ranked_blocks
from search_server.openmoji import code_points, draw_openmoji, variant_group
from train.decoding import DecodePool
from train.images import FOLDER_LIMITS, Pixels, Preprocessing
from train.interruption import StopRequest
from train.progress import SILENT

FIRST = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    bundles = [Bundle.open(folder) for folder in asked.models]
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch) / "openmoji"
        if asked.folder is None:
            draw_openmoji(folder, SILENT)
        files = sorted(folder.glob("*.png"))
        views = {size: pictures(files, size) for size in {bundle.preprocessing.size for bundle in bundles}}
    subjects = [variant_group(code_points(file.name)) for file in files]
    groups = np.unique(np.array([repr(each) for each in subjects]), return_inverse=True)[1]
    asking = np.flatnonzero(np.bincount(groups)[groups] > 1)
    print(f"{len(files):,} drawings, of which {len(asking):,} have variants; shares among the first {FIRST}.\n")
    print("| code | numbers | share |\n|---|---|---|")
    for method in methods(bundles, views):
        print(f"| {method.name} | {method.dims} | {share(method, views, groups, asking):.3f} |", flush=True)


def methods(bundles: list[Bundle], views: dict[int, Pixels]) -> Iterator[Method]:
    """Each way to turn pictures into vectors."""
    yield from fit_baselines(views, [each.dims for each in bundles], seed=0, reporter=SILENT, stop=StopRequest())
    for bundle in bundles:
        yield ModelMethod(bundle.folder.name, bundle, provider="cpu", threads=None)


def share(method: Method, views: dict[int, Pixels], groups: np.ndarray, asking: np.ndarray) -> float:
    """Mean share of variants that are found, ranked as a search ranks them."""
    vectors = method.vectors(views)
    ranked = ranked_blocks(vectors[asking], vectors, asking, k=FIRST, halves=method.halves)
    first = np.concatenate([block.order[:, :FIRST] for block in ranked])
    right = (groups[first] == groups[asking][:, None]).sum(axis=1)
    variants = np.bincount(groups)[groups[asking]] - 1
    return float(np.mean(right / np.minimum(variants, FIRST)))


def pictures(files: list[Path], size: int) -> Pixels:
    """All drawings as a model of that size sees them."""
    with DecodePool(1, FOLDER_LIMITS) as pool:
        return np.stack([pool.fit(file.read_bytes(), Preprocessing(size)).pixels for file in files])


if __name__ == "__main__":
    main()
