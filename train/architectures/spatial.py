"""A code that keeps its grid: (channels, height, width) numbers, each made from the pixels around its place.

With `linear_skip`, patches start as their principal components, so that the network is good before the first step, and
convolutions that start at zero add to it. With a `cleaner`, what is on top of a picture (text, boxes) is taken off
before it is coded.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures import cleaner
from train.architectures.autoencoder import (
    ACTIVATIONS,
    INITIALISATIONS,
    Architecture,
    Autoencoder,
    expect_choice,
    expect_divisible,
    initialise,
    zeroed,
)
from train.errors import SettingsError

MIDDLE = 0.5  # taken off the pixels: patches vary about it


@dataclass(frozen=True, kw_only=True)
class Spatial(Architecture):
    """Settings of an autoencoder with a spatial code."""

    kind: ClassVar[str] = "spatial"
    code_channels: int = 8  # numbers at each place of the grid
    stride: int = 2  # px of the picture to one place; a power of 2
    widths: tuple[int, ...] = (32,)  # channels of the convolutions, from the pixels inwards; one for each halving
    activation: str = "elu"  # elu, relu, sigmoid, tanh
    initialisation: str = "default"  # default (PyTorch's), xavier, he
    pooling: str = "max"  # how the picture is halved: max, mean, or stride (of the convolution)
    linear_skip: bool = False  # patches start as their principal components
    cleaner: int = 0  # channels of what takes text or noise off before coding; 0: nothing does

    def __post_init__(self) -> None:
        expect_choice("architecture.activation", self.activation, tuple(ACTIVATIONS))
        expect_choice("architecture.initialisation", self.initialisation, INITIALISATIONS)
        expect_choice("architecture.pooling", self.pooling, ("max", "mean", "stride"))
        halvings = int(math.log2(self.stride)) if self.stride > 0 else 0
        if 2**halvings != self.stride or halvings < 1:
            raise SettingsError(f"architecture.stride is {self.stride}: use 2, 4, 8 or another power of 2.")
        if len(self.widths) != halvings or any(width < 1 for width in self.widths):
            raise SettingsError(
                f"architecture.widths is {list(self.widths)}: a stride of {self.stride} needs {halvings} of them."
            )
        if self.code_channels < 1 or self.cleaner < 0:
            raise SettingsError("architecture.code_channels must be 1 or more, and cleaner 0 or more.")

    def code(self, image_size: int) -> int:
        """Numbers in the code of an image."""
        return self.code_channels * (image_size // self.stride) ** 2

    def check(self, image_size: int, channels: int) -> None:
        """Refuse sizes that the stride does not divide, and principal components that are not there."""
        expect_divisible(image_size, self.stride, f"a stride of {self.stride}")
        if self.cleaner:
            expect_divisible(image_size, cleaner.STEP, "a cleaner")
        values = channels * self.stride**2
        if self.linear_skip and self.code_channels > values:
            raise SettingsError(
                f"architecture.code_channels is {self.code_channels}, but a patch has {values} numbers: use fewer, or "
                "linear_skip = false."
            )

    def build(self, image_size: int, channels: int, outputs: int = 1) -> "SpatialAutoencoder":
        """Make the network, with random weights."""
        self.check(image_size, channels)
        if outputs != 1 and self.linear_skip:
            raise SettingsError("a variational code has no linear skip: set architecture.linear_skip = false.")
        return SpatialAutoencoder(self, image_size, channels, outputs)


class SpatialAutoencoder(Autoencoder):
    """Fully convolutional: what it does at one place does not depend on where that is."""

    tileable: ClassVar[bool] = True
    fits_images: ClassVar[bool] = True

    def __init__(self, settings: Spatial, image_size: int, channels: int, outputs: int) -> None:
        side, maps, stride = image_size // settings.stride, settings.code_channels, settings.stride
        super().__init__(image_size, channels, (maps, side, side), outputs=outputs)
        down: list[nn.Module] = []
        for narrow, wide in pairwise((channels, *settings.widths)):
            down += _halving(narrow, wide, settings)
        self.encoder = nn.Sequential(*down, nn.Conv2d(settings.widths[-1], outputs * maps, 3, padding=1))
        up: list[nn.Module] = [
            nn.Conv2d(maps, settings.widths[-1], 3, padding=1),
            ACTIVATIONS[settings.activation](),
        ]
        for wide, narrow in pairwise((*reversed(settings.widths), settings.widths[0])):
            # Kernel 4, stride 2: kernels overlap evenly, so they paint no checkerboard as kernel 3 does.
            up += [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), ACTIVATIONS[settings.activation]()]
        self.decoder = nn.Sequential(*up, nn.Conv2d(settings.widths[0], channels, 3, padding=1))
        initialise(self, settings.initialisation)
        self.cleaner = cleaner.Cleaner(channels, settings.cleaner) if settings.cleaner else None
        self.patch = nn.Conv2d(channels, maps, stride, stride=stride, bias=False) if settings.linear_skip else None
        self.unpatch = (
            nn.ConvTranspose2d(maps, channels, stride, stride=stride, bias=False) if settings.linear_skip else None
        )
        if settings.linear_skip:
            zeroed(self.encoder[-1])
            zeroed(self.decoder[-1])

    def statistics(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w)."""
        x = self.see(x) - MIDDLE
        if self.cleaner is not None:
            x = x + self.cleaner(x)
        code: Tensor = self.encoder(x)
        if self.patch is not None:
            code = code + self.patch(x)
        return code.flatten(1)

    def paint(self, latent: Tensor) -> Tensor:
        """Paint latents (n, latent_dims) as images (n, 3, h, w)."""
        code = latent.reshape(-1, *self.latent_shape)
        image: Tensor = self.decoder(code)
        if self.unpatch is not None:
            image = image + self.unpatch(code)
        return self.show(image + MIDDLE)

    def linear_parameters(self) -> list[nn.Parameter]:
        """Weights of the patches' principal components."""
        return [weight for layer in (self.patch, self.unpatch) if layer is not None for weight in layer.parameters()]

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the linear skip to the principal components of patches of images (n, 3, h, w)."""
        if self.patch is None or self.unpatch is None:
            return
        stride = self.patch.kernel_size[0]
        moments = torch.zeros((), dtype=torch.float64)
        for part in torch.split(images, 64):
            patches = F.pixel_unshuffle(self.see(part) - MIDDLE, stride).permute(0, 2, 3, 1).flatten(0, 2).double()
            moments = moments + patches.T @ patches
        # pixel_unshuffle orders a patch as (channels, stride, stride), like the kernel of a convolution.
        basis = torch.linalg.eigh(moments)[1].flip(1)[:, : self.patch.out_channels].T.float()
        kernel = basis.reshape(self.patch.weight.shape)
        self.patch.weight.copy_(kernel)
        self.unpatch.weight.copy_(kernel)


def _halving(narrow: int, wide: int, settings: Spatial) -> list[nn.Module]:
    """One convolution with its activation, and the step to half the size."""
    activation = ACTIVATIONS[settings.activation]()
    if settings.pooling == "stride":
        return [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), activation]
    pool: nn.Module = nn.MaxPool2d(2) if settings.pooling == "max" else nn.AvgPool2d(2)
    return [nn.Conv2d(narrow, wide, 3, padding=1), activation, pool]
