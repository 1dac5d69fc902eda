"""Views of an image: crops, flips and colours that leave what it shows as it is. Whoever is invariant to them finds it.

Batched tensor operations on the device of the images: a crop with its flip is one affine map and one bilinear sampling,
all colour changes of an image are one 3 x 4 matrix. They are drawn on the CPU from the generator of the step, so that a
step is the same on every device.

Sources: random resized crops and jitter as in SimCLR, arXiv 2002.05709; the order brightness, contrast, saturation, hue
is fixed here. Hue turns the colour plane of YIQ, as in FastAutoAugment's and Kornia's linear approximations.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Invariance = Literal["semantic", "balanced", "copy"]

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in `train.losses.luminance`
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))  # FCC 1953


@dataclass(frozen=True, kw_only=True)
class Views:
    """How far views may be from their image; the colour changes follow the names of torchvision's ColorJitter."""

    smallest_crop: float  # share of the area
    brightness: float  # factors from 1 - x to 1 + x
    contrast: float
    saturation: float
    hue: float  # turns from -x to x
    coloured: float  # share of the views whose colours change
    grey: float  # share of the views without colour
    solarised: float  # share of the views whose bright pixels are inverted
    aspect: float = 4 / 3  # of a crop, at most, either way

    def __call__(self, x: Tensor, random: torch.Generator, *, mirror: bool) -> Tensor:
        """One view of each image.

        Args:
            x: (n, 3, h, w) in [0, 1].
            random: On the CPU.
            mirror: Half of the views are mirrored.

        Returns:
            The same shape, in [0, 1]; a new tensor.
        """
        view = crop(x, self._boxes(len(x), random, mirror).to(x.device))
        matrices, offsets = self._colours(len(x), random)
        view = recolour(view, matrices.to(x.device), offsets.to(x.device))
        if self.solarised:
            turned = torch.rand((len(x), 1, 1, 1), generator=random).to(x.device) < self.solarised
            view = torch.where(turned & (view >= 0.5), 1 - view, view)
        return view

    def _boxes(self, count: int, random: torch.Generator, mirror: bool) -> Tensor:
        """Centre, width and height of the crops as shares of the image, negative widths mirrored: (n, 4)."""
        area, aspect, across, down, turn = torch.rand((5, count), generator=random).unbind(0)
        side = (self.smallest_crop + (1 - self.smallest_crop) * area).sqrt()
        stretch = torch.exp((2 * aspect - 1) * math.log(self.aspect) / 2)
        width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
        left, top = across * (1 - width), down * (1 - height)
        sign = torch.where(turn < 0.5, -1.0, 1.0) if mirror else torch.ones(count)
        return torch.stack([left + width / 2, top + height / 2, sign * width, height], dim=1)

    def _colours(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Colour changes, (n, 3, 3), and the share of its mean grey that is added to an image, (n,)."""
        draws = 2 * torch.rand((4, count), generator=random) - 1
        changed, grey = torch.rand((2, count), generator=random).unbind(0)
        kept = (changed >= self.coloured).float()
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        brightness, contrast, saturation, turn = (
            (1 - kept) * size * draw for size, draw in zip(ranges, draws, strict=True)
        )
        saturation = torch.where(grey < self.grey, torch.tensor(-1.0), saturation)
        return colour_changes(1 + brightness, 1 + contrast, 1 + saturation, turn)


VIEWS: dict[Invariance, Views] = {
    "semantic": Views(
        smallest_crop=0.2,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        coloured=0.8,
        grey=0.2,
        solarised=0.1,
    ),
    "balanced": Views(
        smallest_crop=0.3,
        brightness=0.2,
        contrast=0.2,
        saturation=0.1,
        hue=0.03,
        coloured=1.0,
        grey=0.2,
        solarised=0.0,
    ),
    "copy": Views(
        smallest_crop=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.1,
        hue=0.02,
        coloured=0.5,
        grey=0.05,
        solarised=0.0,
    ),
}
# What a person who looks for a picture does to it by chance: a mirror image, a shift of some pixels.
WEAK = Views(
    smallest_crop=0.8,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
    coloured=0,
    grey=0,
    solarised=0,
    aspect=1.05,
)


def crop(x: Tensor, boxes: Tensor) -> Tensor:
    """Cut boxes out of images (n, c, h, w) and scale them to the images' size, bilinearly; edges are mirrored.

    Args:
        x: The images.
        boxes: (n, 4): centre (x, y), width, height, as shares of the image; a negative width mirrors.
    """
    across, down, width, height = boxes.unbind(1)
    # Upright boxes: rows and columns apart, at a fifth of what `F.affine_grid` takes, which is as much as the sampling.
    grid = torch.empty((len(x), *x.shape[2:], 2), device=x.device)
    grid[..., 0] = _places(across, width, x.shape[3])[:, None, :]
    grid[..., 1] = _places(down, height, x.shape[2])[:, :, None]
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _places(centres: Tensor, sizes: Tensor, count: int) -> Tensor:
    """Middles of equal parts of stretches, given in shares of a side; from -1 to 1 over that side, (n, count)."""
    middles = (2 * torch.arange(count, device=sizes.device) + 1) / count - 1
    return sizes[:, None] * middles + (2 * centres - 1)[:, None]


def recolour(x: Tensor, matrices: Tensor, offsets: Tensor) -> Tensor:
    """Change the colours of images (n, 3, h, w): matrix (n, 3, 3) times colour, plus a share of the mean grey, (n,)."""
    grey = x.mean(dim=(2, 3)) @ torch.tensor(LUMINANCE, dtype=x.dtype, device=x.device)
    added = (offsets * grey)[:, None, None].expand(-1, 3, 1)
    return torch.baddbmm(added, matrices, x.flatten(2)).clamp_(0, 1).view_as(x)


def colour_changes(brightness: Tensor, contrast: Tensor, saturation: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Four changes, one after the other, as one matrix (n, 3, 3) and one share of the mean grey (n,).

    Args:
        brightness: Factors of the pixels, (n,).
        contrast: Factors of the distance from the mean grey, (n,).
        saturation: Factors of the distance from each pixel's grey, (n,).
        turn: Of the hue, in whole turns, (n,).
    """
    one = torch.eye(3)
    grey = torch.tensor(LUMINANCE).expand(3, 3)
    scale = (brightness * contrast)[:, None, None]
    saturated = saturation[:, None, None] * one + (1 - saturation)[:, None, None] * grey
    to_yiq = torch.tensor(_TO_YIQ)
    angle = 2 * math.pi * turn
    cos, sin = angle.cos(), angle.sin()
    zero, unity = torch.zeros_like(cos), torch.ones_like(cos)
    rotation = torch.stack([unity, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).reshape(-1, 3, 3)
    hue = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
    # Saturation and hue leave greys as they are, so that what contrast adds passes through them.
    return hue @ saturated * scale, brightness * (1 - contrast)
