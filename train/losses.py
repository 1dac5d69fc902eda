"""What training minimises: squared error, structure (MS-SSIM) and edges (Laplacian pyramid).

Structure and edges are judged on luminance, as SSIM was defined: colour is left to the squared error, and it takes a
third of the time, which on a CPU is a fifth of all training.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from train.errors import SettingsError

WINDOW = 7  # px; side of the square window of SSIM
SMALLEST_SCALE = 16  # px; a scale needs a few windows side by side
_C1, _C2 = 0.01**2, 0.03**2  # Wang et al. 2004, for values in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """[loss] of a recipe: one distance of pixels, with structure and edges mixed in."""

    kind: Literal["mse", "l1", "bce"] = "mse"  # bce needs pixels that are shares: output_activation = "sigmoid"
    structure: float = 0.0  # weight of 1 - MS-SSIM
    edges: float = 0.0  # weight of the L1 distance of Laplacian pyramids
    features: float = 0.0  # weight of the distance in the features of its own semantic half (the learner adds it)
    changed: float = 0.0  # extra weight of the pixels that the corruption changed
    plain: float = 0.2  # share of the steps, the last ones, without structure, edges and code noise

    def __post_init__(self) -> None:
        for name in ("structure", "edges", "features", "changed"):
            if not 0 <= getattr(self, name) < 1e6:
                raise SettingsError(f"loss.{name} is {getattr(self, name)}: it must be 0 or more.")
        if not 0 <= self.plain <= 1:
            raise SettingsError(f"loss.plain is {self.plain}: it must be from 0 to 1.")

    def __call__(self, painted: Tensor, target: Tensor, changed: Tensor | None = None, *, plain: bool) -> Tensor:
        """Distance of painted images from their targets, both (n, 3, h, w) in [0, 1].

        Args:
            painted: What the network gives.
            target: What it should have given.
            changed: (n, 1, h, w), 1 where the corruption changed a pixel; None where there is none.
            plain: Leave structure and edges out.
        """
        loss = self._distance(painted, target)
        if self.changed and changed is not None:
            loss = loss * (1 + self.changed * changed)
        total = loss.mean()
        if not plain and (self.structure or self.edges):
            grey, grey_target = luminance(painted), luminance(target)
            total = total + self.structure * (1 - ms_ssim(grey, grey_target))
            total = total + self.edges * laplacian_distance(grey, grey_target)
        return total

    def _distance(self, painted: Tensor, target: Tensor) -> Tensor:
        if self.kind == "l1":
            return (painted - target).abs()
        if self.kind == "bce":
            return F.binary_cross_entropy(painted.clamp(1e-6, 1 - 1e-6), target, reduction="none")
        return (painted - target).square()


def clip_straight_through(image: Tensor) -> Tensor:
    """Clip to [0, 1] as `decode` does, while the gradient passes as if nothing had been clipped.

    A pixel beyond white that should be white then costs nothing, and one that should be grey is still pulled back.
    Without it the branches learn next to nothing on drawn pictures: their squared error is spent on overshoot that
    nobody sees (docs/training.md has the figures).
    """
    return image + (image.clamp(0, 1) - image).detach()


def luminance(image: Tensor) -> Tensor:
    """Images (n, 3, h, w) as shades of grey (n, 1, h, w), by the weights of ITU-R BT.601."""
    red, green, blue = image.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of images (n, c, h, w) in [0, 1]: a mean over the images, 1 for equal ones.

    Square windows and equal weights for as many scales as the size holds; a box is far cheaper than a Gaussian.
    Source: Wang, Simoncelli, Bovik 2003.
    """
    scales = 1
    while a.shape[-1] >> scales >= SMALLEST_SCALE:
        scales += 1
    product = torch.ones(len(a), device=a.device)
    for scale in range(scales):
        similarity = _similarity(a, b, with_luminance=scale == scales - 1)
        product = product * similarity.mean(dim=(1, 2, 3)).clamp_min(1e-3) ** (1 / scales)
        if scale < scales - 1:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product.mean()


def _similarity(a: Tensor, b: Tensor, *, with_luminance: bool) -> Tensor:
    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    covariance = mean(a * b) - mean_a * mean_b
    variances = mean(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    structure = (2 * covariance + _C2) / (variances + _C2)
    if not with_luminance:
        return structure
    return structure * (2 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)


def laplacian_distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance of the Laplacian pyramids of images (n, c, h, w), averaged over pixels, summed over 4 levels."""
    # The pyramid is linear: that of the difference is the difference of the pyramids.
    image = a - b
    total = torch.zeros((), device=a.device)
    for _ in range(3):
        coarse = F.avg_pool2d(image, 2)
        total = total + (image - F.interpolate(coarse, scale_factor=2, mode="nearest")).abs().mean()
        image = coarse
    return total + image.abs().mean()
