"""The convolutional autoencoder of the tutorials: convolution and pooling down to a dense code, and back up."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from train.architectures.autoencoder import (
    ACTIVATIONS,
    INITIALISATIONS,
    Architecture,
    Autoencoder,
    expect_choice,
    expect_divisible,
    initialise,
)
from train.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Convolutional(Architecture):
    """Settings of a convolutional autoencoder with a dense code."""

    kind: ClassVar[str] = "convolutional"
    dims: int = 32  # of the code
    widths: tuple[int, ...] = (32, 64, 128, 256)  # channels; the image is halved once for each
    activation: str = "elu"  # elu, relu, sigmoid, tanh
    code_activation: str = "linear"  # of the code itself; sigmoid for KL sparsity
    output_activation: str = "linear"  # of the pixels: linear (then clipped) or sigmoid
    initialisation: str = "default"  # default (PyTorch's), xavier, he
    pooling: str = "max"  # how the image is halved: max, mean, or stride (of the convolution)
    normalisation: bool = False  # BatchNorm after each convolution but the last; it folds away in ONNX Runtime
    dropout: float = 0.0  # share of the code's inputs that are left out at each step

    def __post_init__(self) -> None:
        for name in ("activation", "code_activation", "output_activation"):
            expect_choice(f"architecture.{name}", getattr(self, name), tuple(ACTIVATIONS))
        expect_choice("architecture.initialisation", self.initialisation, INITIALISATIONS)
        expect_choice("architecture.pooling", self.pooling, ("max", "mean", "stride"))
        if not self.widths or any(width < 1 for width in self.widths):
            raise SettingsError(f"architecture.widths is {list(self.widths)}: give one number of channels or more.")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"architecture.dropout is {self.dropout}: it must be from 0 to below 1.")

    def check(self, image_size: int, channels: int) -> None:
        """Refuse sizes that cannot be halved once for each width."""
        expect_divisible(image_size, 2 ** len(self.widths), f"a network of {len(self.widths)} widths")

    def build(self, image_size: int, channels: int, outputs: int = 1) -> "ConvolutionalAutoencoder":
        """Make the network, with random weights."""
        self.check(image_size, channels)
        return ConvolutionalAutoencoder(self, image_size, channels, outputs)


class ConvolutionalAutoencoder(Autoencoder):
    """Convolution, activation, pooling for each width; a dense code; transposed convolutions back to the pixels."""

    def __init__(self, settings: Convolutional, image_size: int, channels: int, outputs: int) -> None:
        super().__init__(image_size, channels, (settings.dims,), outputs=outputs)
        grid = image_size // 2 ** len(settings.widths)
        deepest = settings.widths[-1]
        down: list[nn.Module] = []
        for narrow, wide in pairwise((channels, *settings.widths)):
            down += _halving(narrow, wide, settings)
        if settings.dropout:
            down.append(nn.Dropout(settings.dropout))
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(deepest * grid * grid, outputs * settings.dims))
        self.code_activation = ACTIVATIONS[settings.code_activation]()
        self.seed = nn.Sequential(
            nn.Linear(settings.dims, deepest * grid * grid), nn.Unflatten(1, (deepest, grid, grid))
        )
        up: list[nn.Module] = []
        steps = list(pairwise((*reversed(settings.widths), channels)))
        for place, (wide, narrow) in enumerate(steps):
            # Kernel 4, stride 2: kernels overlap evenly, so they paint no checkerboard as kernel 3 does.
            up.append(nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1))
            if place < len(steps) - 1:
                up += [nn.BatchNorm2d(narrow)] if settings.normalisation else []
                up.append(ACTIVATIONS[settings.activation]())
        self.decoder = nn.Sequential(*up, ACTIVATIONS[settings.output_activation]())
        initialise(self, settings.initialisation)

    def statistics(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w)."""
        code: Tensor = self.code_activation(self.encoder(self.see(x) - 0.5))
        return code

    def paint(self, latent: Tensor) -> Tensor:
        """Paint latents (n, dims) as images (n, 3, h, w)."""
        return self.show(self.decoder(self.seed(latent)))


def _halving(narrow: int, wide: int, settings: Convolutional) -> list[nn.Module]:
    """One convolution with its norm and activation, and the step to half the size."""
    norm: list[nn.Module] = [nn.BatchNorm2d(wide)] if settings.normalisation else []
    activation = ACTIVATIONS[settings.activation]()
    if settings.pooling == "stride":
        return [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), *norm, activation]
    pool: nn.Module = nn.MaxPool2d(2) if settings.pooling == "max" else nn.AvgPool2d(2)
    return [nn.Conv2d(narrow, wide, 3, padding=1), *norm, activation, pool]
