"""Train the recipes and hold each against the published number and the best linear code of the same length.

    python benchmarks/recipes.py --data ../shared/data --home /tmp/recipes            all, hours on two cores
    python benchmarks/recipes.py --data ../shared/data --home /tmp/recipes lfw-32     one
    python benchmarks/recipes.py --data ../shared/data --home /tmp/recipes outliers   one-digit models, all ten digits

Runs stand in --home and go on where they were; a finished one is only read. The table is printed as Markdown.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train.architectures.linear import Linear
from train.data import Data, evenly
from train.figures import image_errors
from train.pca import principal_components
from train.recipe import Recipe
from train.recipe_files import recipe_names, recipe_titles
from train.run import Run

GREY_LEVELS = 255**2  # squared error on the scale of bytes
CODES = (1, 8, 32, 128, 512)  # of faces
CODE_EPOCHS = 3  # for each of them: enough to say that the error falls with the code
NEIGHBOURS = 5
CODE_SAMPLE = 20_000  # training images whose codes answer the nearest-neighbour question


def trained(home: Path, data: Path, recipe: str, *more: str, name: str | None = None) -> tuple[Run, float]:
    """The finished run of a recipe, and the minutes that its training took (of all starts together)."""
    words = ["--recipe", recipe, "--data", str(data), "--home", str(home), "--name", name or recipe, *more]
    subprocess.run([sys.executable, "-m", "train", *words], check=True, stdout=sys.stderr)
    run = Run.open(home / "runs" / (name or recipe))
    lines = [line for line in run.metrics() if line["split"] == "train"]
    images = (line["step"] for line in lines)
    steps = np.diff([0, *images])
    seconds = sum(
        step * run.plan.batch / line["images_per_second"] for step, line in zip(steps, lines, strict=True) if run.plan
    )
    return run, seconds / 60


def row(run: Run, minutes: float, published: str) -> str:
    """One line of the table."""
    f = run.result or {}
    scale = GREY_LEVELS if "grey" in run.recipe.name and run.recipe.data.dataset == "cifar10" else 1
    digits = 1 if scale > 1 else 5
    bound = f.get("wiener_test_mse") or f.get("pca_test_mse")
    linear = "-" if bound is None else f"{bound * scale:.{digits}f}" + (" (Wiener)" if f.get("wiener_test_mse") else "")
    ours = f"{f['test_mse'] * scale:.{digits}f}"
    extra = [f"{name} {value:.4g}" for name, value in f.get("constraints", {}).items()]
    if "psnr_elsewhere" in f:
        extra.append(
            f"changed pixels {f['psnr_changed_before']:.1f} -> {f['psnr_changed_after']:.1f} dB, "
            f"others {f['psnr_elsewhere']:.1f} dB"
        )
    return (
        f"| {run.name} | {run.recipe.training.seed}, {run.plan.dims:,} | {published or '-'} | {linear} | {ours} "
        f"| {', '.join(extra)} | {minutes:.1f} |"
    )


def neighbour_accuracy(run: Run) -> dict[str, float]:
    """Accuracy of the 5 nearest neighbours on codes (cosine) and on raw pixels, official test images."""
    cache, network = run.cache, run.load_network()
    data, labels = Data.of(cache, run.recipe.data), np.array(cache.labels())
    learnt, asked = evenly(data.train, CODE_SAMPLE), data.test

    def accuracy(known: torch.Tensor, queries: torch.Tensor) -> float:
        known, queries = (torch.nn.functional.normalize(x, dim=1) for x in (known, queries))
        right = 0
        for start in range(0, len(queries), 1000):
            nearest = (queries[start : start + 1000] @ known.T).topk(NEIGHBOURS, dim=1).indices.numpy()
            for votes, truth in zip(labels[learnt][nearest], labels[asked][start : start + 1000], strict=True):
                names, counts = np.unique(votes, return_counts=True)
                right += names[counts.argmax()] == truth
        return right / len(queries)

    @torch.no_grad()
    def codes(rows: Any) -> torch.Tensor:
        parts = [
            network.embed(network.encode(data.tensor(part, torch.device("cpu")))) for part in np.array_split(rows, 50)
        ]
        return torch.cat(parts)

    def pixels(rows: Any) -> torch.Tensor:
        return torch.from_numpy(data.images[rows]).float().mean(3).flatten(1) / 255

    return {"codes": accuracy(codes(learnt), codes(asked)), "pixels": accuracy(pixels(learnt), pixels(asked))}


def area_under_curve(normal: np.ndarray, unusual: np.ndarray) -> float:
    """Probability that an unusual picture has the larger error (Mann-Whitney); ties count half."""
    order = np.concatenate([normal, unusual])
    _, inverse, counts = np.unique(order, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[len(normal) :].sum() - len(unusual) * (len(unusual) + 1) / 2
    return float(above / (len(normal) * len(unusual)))


def outliers(home: Path, data: Path) -> Iterator[str]:
    """AUROC of each one-digit model on all test digits, with PCA of as many dimensions beside it."""
    everything, _ = trained(home, data, "mnist-dense-64")
    found = []
    for digit in range(10):
        run, _ = trained(home, data, "mnist-outliers", "--set", f'data.classes=["{digit}"]', name=f"outliers-{digit}")
        test = Data.of(everything.cache, everything.recipe.data)
        labels = np.array(everything.cache.labels())[test.test]
        own = Data.of(run.cache, run.recipe.data)
        components = principal_components(own.images, own.train, run.plan.dims, mirror=False, channels=1)
        linear = Linear(dims=components.dims).build(28, 1)
        linear.start_from(components)
        scores = []
        for network in (run.load_network(), linear.eval()):
            errors = image_errors(network, test, test.test, Recipe()).numpy()
            scores.append(area_under_curve(errors[labels == str(digit)], errors[labels != str(digit)]))
        found.append(scores)
        yield f"| {digit} | {scores[0]:.4f} | {scores[1]:.4f} |"
    means = np.mean(found, axis=0)
    yield f"| mean | {means[0]:.4f} | {means[1]:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="recipes, 'codes' or 'outliers'; all by default")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--home", type=Path, required=True, help="workspace of the runs")
    asked = parser.parse_args()
    published = {name: number for name, _, number in recipe_titles()}
    with_data = [name for name in recipe_names() if Recipe.read(name).data.dataset]
    lines = ["| recipe | seed, code | published | linear bound | ours | its own quantity | minutes |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in asked.what or [*with_data, "codes", "outliers"]:
        if name == "outliers":
            lines += ["", "| digit | AUROC | PCA |", "|---|---|---|", *outliers(asked.home, asked.data)]
        elif name == "codes":
            for dims in CODES:
                run, minutes = trained(
                    asked.home,
                    asked.data,
                    "lfw-32",
                    "--dims",
                    str(dims),
                    "--epochs",
                    str(CODE_EPOCHS),
                    name=f"codes-{dims}",
                )
                lines.append(row(run, minutes, ""))
        else:
            run, minutes = trained(asked.home, asked.data, name)
            lines.append(row(run, minutes, published[name]))
            if run.recipe.data.dataset == "mnist" and not run.recipe.data.classes:
                accuracy = neighbour_accuracy(run)
                pixels, codes = (f"{name} {accuracy[name]:.4f}" for name in ("pixels", "codes"))
                lines.append(f"| - accuracy of {NEIGHBOURS} neighbours | | | {pixels} | {codes} | | |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
