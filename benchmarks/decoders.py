"""What decoders of finished runs make of held-out pictures: clean ones, and such as something happened to.

    python -m benchmarks.decoders RUN... [--pictures RUN]

The pictures are those that the first run, or the one that --pictures names, neither learnt from nor chose by (both its
validation and its test pictures, so the validation pictures have chosen the checkpoint of that run). Printed as
Markdown: squared error of the picture rebuilt, also where noise, lettering or a box was laid over it (as
`training.denoising` does; the target is clean), SSIM, MS-SSIM, distance in the run's own features, fine detail beside
the pictures' own, and the cosine of the semantic halves of picture and rebuilt picture.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from index_data.evaluation.metrics import laplacian_energy, ssim
from train.architectures import Autoencoder
from train.architectures.autoencoder import unit
from train.architectures.similarity import SimilarityAutoencoder
from train.corruptions import DAMAGES
from train.data import Data, batches
from train.figures import SEED
from train.images import Pixels
from train.losses import luminance, ms_ssim
from train.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs, all of one image size")
    parser.add_argument("--pictures", type=Path, help="the run whose held-out pictures are rebuilt")
    asked = parser.parse_args()
    held = Run.open(asked.pictures or asked.runs[0])
    data = Data.of(held.cache, held.recipe.data)
    x = data.tensor(np.concatenate([data.validation, data.test]), torch.device("cpu"))
    damages = ", ".join(each.kind for each in DAMAGES)
    print(f"{len(x):,} pictures; squared error of clean ones and of {damages}.\n")
    names = (
        "run",
        "step",
        "clean",
        *(each.kind for each in DAMAGES),
        "SSIM",
        "MS-SSIM",
        "features",
        "detail",
        "cosine",
    )
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for folder in asked.runs:
        run = Run.open(folder)
        figures = ["" if value is None else f"{value:.5f}" for value in measure(run.load_network(), x)]
        print(f"| {run.name} | {(run.result or {}).get('best_step', '')} | {' | '.join(figures)} |", flush=True)


@torch.no_grad()
def measure(network: Autoencoder, x: Tensor) -> list[float | None]:
    """Figures of a decoder on pictures (n, 3, h, w), in the order of the table; None where it has no features."""
    painted = rebuilt(network, x)
    damaged = [rebuilt(network, damage(x, torch.Generator().manual_seed(SEED))) for damage in DAMAGES]
    seen, shown = as_pixels(x), as_pixels(painted)
    semantic = network.semantic if isinstance(network, SimilarityAutoencoder) else None
    return [
        *(mean_square(each, x) for each in (painted, *damaged)),
        float(ssim(seen, shown).mean()),
        float(ms_ssim(luminance(painted), luminance(x))),
        float(semantic.distance(painted, x)) if semantic else None,
        float(laplacian_energy(shown).mean() / laplacian_energy(seen).mean()),
        float((unit(semantic(painted)) * unit(semantic(x))).sum(1).mean()) if semantic else None,
    ]


def rebuilt(network: Autoencoder, x: Tensor) -> Tensor:
    parts = batches(np.arange(len(x)))
    return torch.cat([network.decode(network.encode(x[part])) for part in parts])


def mean_square(painted: Tensor, x: Tensor) -> float:
    return float((painted - x).square().mean())


def as_pixels(x: Tensor) -> Pixels:
    pixels: Pixels = (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return pixels


if __name__ == "__main__":
    main()
