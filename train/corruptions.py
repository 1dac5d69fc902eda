"""What is done to the input of the encoder in training: noise, missing pixels, boxes, text. The target stays clean.

A corruption is a frozen dataclass: its fields are the keys of [[corruption]] in a recipe. It is added here alone, with
its name in `CORRUPTIONS`. It is drawn anew for every picture at every step, from the generator of that step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.errors import SettingsError
from train.lettering import centred_words, random_words


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
    together: bool = False  # the same number in all channels; always so where a recipe sees shades of grey

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise SettingsError(f"corruption.sigma is {self.sigma}: it must be more than 0.")

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Add noise."""
        channels = 1 if self.together else x.shape[1]  # three numbers of a grey pixel would average out
        return x + self.sigma * torch.randn((len(x), channels, *x.shape[2:]), generator=random).to(x.device)


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


@dataclass(frozen=True, kw_only=True)
class Boxes(Corruption):
    """Boxes that hide what is behind them; what was there is to be painted in."""

    kind: ClassVar[str] = "boxes"
    count: int = 2  # of boxes in a picture
    smallest: float = 0.15  # side, as a share of the picture's
    largest: float = 0.4
    colour: Literal["random", "grey"] = "random"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingsError(f"corruption.count is {self.count}: it must be 1 or more.")
        _expect_range("smallest", self.smallest, "largest", self.largest)

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Paint boxes over."""
        hidden = x.clone()
        height, width = x.shape[2:]
        draws = torch.rand((len(x), self.count, 7), generator=random)
        span = self.largest - self.smallest
        for picture, boxes in zip(hidden, draws, strict=True):
            for tall, wide, top, left, *colour in boxes.tolist():
                h = max(1, round((self.smallest + span * tall) * height))
                w = max(1, round((self.smallest + span * wide) * width))
                y, x0 = round(top * (height - h)), round(left * (width - w))
                fill = torch.tensor(colour if self.colour == "random" else [0.5] * 3, device=x.device)
                picture[:, y : y + h, x0 : x0 + w] = fill[:, None, None]
        return hidden


@dataclass(frozen=True, kw_only=True)
class Text(Corruption):
    """Words laid over the picture: random words, fonts, places, sizes, colours and opacity, or one fixed text."""

    kind: ClassVar[str] = "text"
    words: str = ""  # a fixed text in the middle of the picture; empty: random words anywhere
    smallest_cover: float = 0.03  # share of the pixels that random words cover ...
    largest_cover: float = 0.10
    smallest_opacity: float = 0.5
    largest_opacity: float = 1.0

    def __post_init__(self) -> None:
        _expect_range("smallest_cover", self.smallest_cover, "largest_cover", self.largest_cover)
        _expect_range("smallest_opacity", self.smallest_opacity, "largest_opacity", self.largest_opacity)

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Write over each picture."""
        side = x.shape[-1]
        seeds = torch.randint(0, 2**31, (len(x),), generator=random).tolist()
        written = [self._layer(side, np.random.default_rng(seed)) for seed in seeds]
        mask = torch.from_numpy(np.stack([layer for layer, _ in written])).to(x.device)[:, None]
        colours = torch.tensor([colour for _, colour in written], device=x.device, dtype=x.dtype)
        return torch.lerp(x, colours[:, :, None, None].expand_as(x), mask.expand_as(x))

    def _layer(self, side: int, random: np.random.Generator) -> tuple[NDArray[np.float32], list[float]]:
        """Opacity of the letters at each pixel, (side, side), and their colour."""
        if self.words:
            mask = centred_words(self.words, side)
            return mask * self.largest_opacity, [1.0, 1.0, 1.0]
        opacity = random.uniform(self.smallest_opacity, self.largest_opacity)
        cover = random.uniform(self.smallest_cover, self.largest_cover)
        return random_words(side, cover, random) * np.float32(opacity), random.random(3).tolist()


def _expect_range(low_name: str, low: float, high_name: str, high: float) -> None:
    if not 0 < low <= high <= 1:
        raise SettingsError(
            f"corruption.{low_name} is {low} and {high_name} {high}: they must be above 0, at most 1, and in order."
        )


CORRUPTIONS: dict[str, type[Corruption]] = {each.kind: each for each in (Gaussian, Dropout, Boxes, Text)}

# What may have happened to a picture that a decoder is to mend without being told what it was (`training.denoising`).
DAMAGES: tuple[Corruption, ...] = (Gaussian(sigma=0.1), Text(), Boxes(count=1))


def damage(x: Tensor, share: float, random: torch.Generator, damages: Sequence[Corruption] = DAMAGES) -> Tensor:
    """Corrupt the last images of a batch (n, 3, h, w), each by one of some corruptions that is drawn for it.

    Args:
        x: Images in [0, 1].
        share: Of the images that are corrupted, rounded to the nearest number of them.
        random: What decides which, how and where; the same for the same generator.
        damages: The corruptions.

    Returns:
        A new tensor of that shape; the first images are as they were.
    """
    seen = x.clone()
    damaged = torch.arange(len(x) - round(share * len(x)), len(x))
    kinds = torch.randint(len(damages), (len(damaged),), generator=random)
    for number, corruption in enumerate(damages):
        places = damaged[kinds == number].to(x.device)
        if len(places):
            seen[places] = corruption(x[places], random)
    return seen
