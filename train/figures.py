"""What is measured of a network on held-out images: errors, what a corruption left, what constraints reached."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.architectures import Autoencoder
from train.architectures.similarity import SimilarityAutoencoder
from train.constraints import Situation
from train.corruptions import Corruption
from train.data import Data, Rows, batches
from train.recipe import Recipe

SEED = 20_060_102  # of the noise on held-out images, the same at every evaluation
CHANGED = 1 / 255  # a pixel that a corruption moved by more has been changed
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.995, 1.0)
FIGURE_IMAGES = 512  # for the quantities of constraints


def corrupt(x: Tensor, corruption: Sequence[Corruption], random: torch.Generator) -> Tensor:
    """Images (n, 3, h, w) in [0, 1] as the encoder is to see them in training: all corruptions, one after the other."""
    for each in corruption:
        x = each(x, random)
    return x


def changed_pixels(seen: Tensor, x: Tensor) -> Tensor:
    """Where a corruption changed an image: (n, 1, h, w), 1 or 0."""
    return ((seen - x).abs().amax(dim=1, keepdim=True) > CHANGED).float()


@torch.no_grad()
def image_errors(network: Autoencoder, data: Data, rows: Rows, recipe: Recipe) -> Tensor:
    """Squared error of each image, (n,), per pixel and channel, in [0, 1] units and in fp32, as export computes.

    The input is corrupted as in training, by the same noise at every call; the target is clean.
    """
    random = torch.Generator().manual_seed(SEED)
    device = network.centre.device
    found = []
    for batch in batches(rows):
        x = data.tensor(batch, device)
        target = network.show(network.see(x))
        painted = network.decode(network.encode(corrupt(x, recipe.corruption, random)))
        found.append((painted - target).square().mean(dim=(1, 2, 3)).double().cpu())
    return torch.cat(found)


def squared_error(network: Autoencoder, data: Data, rows: Rows, recipe: Recipe) -> float:
    """Mean of `image_errors`."""
    return float(image_errors(network, data, rows, recipe).mean())


@torch.no_grad()
def feature_distance(network: Autoencoder, data: Data, rows: Rows) -> float:
    """How differently clean images and what is painted of them look to the network's own features, 0 to 4."""
    assert isinstance(network, SimilarityAutoencoder)  # noqa: S101  (the recipe refused others)
    device = network.centre.device
    total = 0.0
    for batch in batches(rows):
        x = data.tensor(batch, device)
        total += len(batch) * float(network.semantic.distance(network.decode(network.encode(x)), x))
    return total / len(rows)


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in decibels."""
    return 10 * math.log10(1 / max(mse, 1e-10))


def error_distribution(network: Autoencoder, data: Data, rows: Rows) -> dict[str, Any]:
    """Quantiles of the error of clean images: what is unusual is measured by them."""
    errors = image_errors(network, data, rows, Recipe()).numpy()
    return {"images": len(rows), "quantiles": {f"{q:g}": float(np.quantile(errors, q)) for q in QUANTILES}}


@torch.no_grad()
def latents_of(network: Autoencoder, data: Data, rows: Rows) -> Tensor:
    """Latents of clean images, (n, latent_dims)."""
    device = network.centre.device
    return torch.cat([network.encode(data.tensor(batch, device)) for batch in batches(rows)])


@torch.no_grad()
def removal(network: Autoencoder, data: Data, rows: Rows, recipe: Recipe) -> dict[str, float]:
    """What a corruption cost and what is left of it, where it changed pixels and elsewhere; nothing without one.

    PSNR is of the mean squared error over all those pixels of all images.
    """
    if not recipe.corruption:
        return {}
    random = torch.Generator().manual_seed(SEED)
    device = network.centre.device
    sums = dict.fromkeys(("changed", "elsewhere", "before", "after", "kept"), 0.0)
    for batch in batches(rows):
        x = data.tensor(batch, device)
        seen = corrupt(x, recipe.corruption, random)
        changed = changed_pixels(seen, x)
        restored = (network.decode(network.encode(seen)) - x).square().mean(1, keepdim=True)
        sums["changed"] += float(changed.sum())
        sums["elsewhere"] += float((1 - changed).sum())
        sums["before"] += float(((seen - x).square().mean(1, keepdim=True) * changed).sum())
        sums["after"] += float((restored * changed).sum())
        sums["kept"] += float((restored * (1 - changed)).sum())
    share = sums["changed"] / (sums["changed"] + sums["elsewhere"])
    found = {
        "changed_share": share,
        "corrupted_mse": sums["before"] / (sums["changed"] + sums["elsewhere"]),
        "psnr_changed_before": psnr(sums["before"] / max(sums["changed"], 1)),
        "psnr_changed_after": psnr(sums["after"] / max(sums["changed"], 1)),
    }
    return found | ({"psnr_elsewhere": psnr(sums["kept"] / sums["elsewhere"])} if sums["elsewhere"] else {})


def constraint_figures(
    network: Autoencoder, data: Data, rows: Rows, recipe: Recipe, critics: Sequence[torch.nn.Module | None]
) -> dict[str, float]:
    """The own quantities of a recipe's constraints, on clean images."""
    if not recipe.constraint:
        return {}
    random = torch.Generator().manual_seed(SEED)
    x = data.tensor(rows, network.centre.device).requires_grad_(
        any(constraint.wants_gradient for constraint in recipe.constraint)
    )
    statistics = network.statistics(x).float()
    found: dict[str, float] = {}
    for constraint, critic in zip(recipe.constraint, critics, strict=True):
        situation = Situation(network, x, statistics, statistics[:, : network.latent_dims], random, critic)
        found |= constraint.figures(situation)
    return found
