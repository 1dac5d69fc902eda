"""Fully connected autoencoders: any widths, as one whole or stacked layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures.autoencoder import (
    ACTIVATIONS,
    INITIALISATIONS,
    Architecture,
    Autoencoder,
    expect_choice,
    initialise,
)
from train.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Dense(Architecture):
    """Settings of a fully connected autoencoder; the decoder mirrors the encoder."""

    kind: ClassVar[str] = "dense"
    dims: int = 64  # of the code
    widths: tuple[int, ...] = (128,)  # of the layers between the pixels and the code
    activation: str = "elu"  # between layers: elu, relu, sigmoid, tanh
    code_activation: str = "linear"  # of the code itself; sigmoid for KL sparsity
    output_activation: str = "linear"  # of the pixels: linear (then clipped) or sigmoid
    initialisation: str = "default"  # default (PyTorch's), xavier, he
    pretraining: bool = False  # layer by layer first, each on what the layer below it gives

    def __post_init__(self) -> None:
        for name in ("activation", "code_activation", "output_activation"):
            expect_choice(f"architecture.{name}", getattr(self, name), tuple(ACTIVATIONS))
        expect_choice("architecture.initialisation", self.initialisation, INITIALISATIONS)
        if any(width < 1 for width in self.widths):
            raise SettingsError(f"architecture.widths is {list(self.widths)}: every layer needs at least 1 unit.")

    def build(self, image_size: int, channels: int, outputs: int = 1) -> "DenseAutoencoder":
        """Make the network, with random weights."""
        return DenseAutoencoder(self, image_size, channels, outputs)


class DenseAutoencoder(Autoencoder):
    """Pixels, layers that narrow, the code, layers that widen, pixels."""

    def __init__(self, settings: Dense, image_size: int, channels: int, outputs: int) -> None:
        super().__init__(image_size, channels, (settings.dims,), outputs=outputs)
        pixels = channels * image_size * image_size
        narrowing = [pixels, *settings.widths, settings.dims]
        self.encoder = _layers([*narrowing[:-1], outputs * settings.dims])
        self.decoder = _layers(narrowing[::-1])
        self.activation = ACTIVATIONS[settings.activation]()
        self.code_activation = ACTIVATIONS[settings.code_activation]()
        self.output_activation = ACTIVATIONS[settings.output_activation]()
        self.stages = len(self.encoder) if settings.pretraining and outputs == 1 else 0
        initialise(self, settings.initialisation)

    def statistics(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w)."""
        return self._through(self.encoder, self.see(x).flatten(1), self.code_activation)

    def paint(self, latent: Tensor) -> Tensor:
        """Paint latents (n, dims) as images (n, 3, h, w)."""
        flat = self._through(self.decoder, latent, self.output_activation)
        return self.show(flat.reshape(-1, self.channels, self.image_size, self.image_size))

    def _through(self, layers: nn.ModuleList, x: Tensor, last: nn.Module) -> Tensor:
        for layer in layers[:-1]:
            x = self.activation(layer(x))
        activated: Tensor = last(layers[-1](x))
        return activated

    @property
    def pretraining_stages(self) -> int:
        """One for each layer of the encoder, from the pixels inwards."""
        return self.stages

    def pretraining_loss(self, stage: int, x: Tensor) -> Tensor:
        """How well one layer of the encoder and its counterpart rebuild what the layers before give.

        Source: Bengio, Lamblin, Popovici, Larochelle 2006, greedy layer-wise training.
        """
        given = self.see(x).flatten(1)
        for layer in self.encoder[:stage]:
            given = self.activation(layer(given))
        given = given.detach()
        innermost, outermost = stage == len(self.encoder) - 1, stage == 0
        inner = (self.code_activation if innermost else self.activation)(self.encoder[stage](given))
        rebuilt = self.decoder[len(self.decoder) - 1 - stage](inner)
        rebuilt = (self.output_activation if outermost else self.activation)(rebuilt)
        return F.mse_loss(rebuilt, given)


def _layers(widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(wide, narrow) for wide, narrow in pairwise(widths))
