"""What is done to the input of the encoder in training: noise, missing pixels, boxes, text. The target stays clean.

A corruption is a frozen dataclass: its fields are the keys of [[corruption]] in a recipe. It is added here alone, with its
name in `CORRUPTIONS`. It is drawn anew for every picture at every step, from the generator of that step.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from train.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """Base of the corruptions."""

    kind: ClassVar[str] = ""

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Corrupt images (n, 3, h, w) in [0, 1]; a new tensor of that shape, the same for the same generator."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Gaussian(Corruption):
    """Gaussian noise, another number for each pixel and channel; not clipped."""

    kind: ClassVar[str] = "gaussian"
    sigma: float = 0.1  # standard deviation, of pixels from 0 to 1

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise SettingsError(f"corruption.sigma is {self.sigma}: it must be more than 0.")

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Add noise."""
        return x + self.sigma * torch.randn(x.shape, generator=random).to(x.device)


@dataclass(frozen=True, kw_only=True)
class Dropout(Corruption):
    """Some pixels are black."""

    kind: ClassVar[str] = "dropout"
    share: float = 0.2  # of the pixels

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingsError(f"corruption.share is {self.share}: it must be between 0 and 1.")

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Set pixels to 0 in all channels."""
        kept = torch.rand((len(x), 1, *x.shape[2:]), generator=random) >= self.share
        return x * kept.to(x.device)


CORRUPTIONS: dict[str, type[Corruption]] = {each.kind: each for each in (Gaussian, Dropout)}
