"""The linear autoencoder, whose best weights are known: the principal components of the training images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from train.architectures.autoencoder import Architecture, Autoencoder
from train.pca import PrincipalComponents


@dataclass(frozen=True, kw_only=True)
class Linear(Architecture):
    """Settings of the linear autoencoder. It is fitted exactly, not by gradient, so there is nothing else to set."""

    kind: ClassVar[str] = "linear"
    starts_from_components: ClassVar[bool] = True
    is_fitted: ClassVar[bool] = True
    dims: int = 64  # of the code

    def build(self, image_size: int, channels: int, outputs: int = 1) -> "LinearAutoencoder":
        """Make the network."""
        return LinearAutoencoder(image_size, channels, self.dims, outputs)


class LinearAutoencoder(Autoencoder):
    """code = W (x - mean), x = W^T code + mean, with the rows of W orthonormal."""

    mean: Tensor  # of the training images, (pixels,)

    def __init__(self, image_size: int, channels: int, dims: int, outputs: int) -> None:
        super().__init__(image_size, channels, (dims,), outputs=outputs)
        pixels = channels * image_size * image_size
        # Taken off the pixels, not folded into a bias: small differences of large sums would not survive fp16.
        self.register_buffer("mean", torch.full((pixels,), 0.5))
        self.encoder = nn.Linear(pixels, outputs * dims)
        self.decoder = nn.Linear(dims, pixels)

    def statistics(self, x: Tensor) -> Tensor:
        """Project images (n, 3, h, w)."""
        projected: Tensor = self.encoder(self.see(x).flatten(1) - self.mean)
        return projected

    def paint(self, latent: Tensor) -> Tensor:
        """Rebuild latents (n, dims) as images (n, 3, h, w)."""
        flat: Tensor = self.decoder(latent) + self.mean
        return self.show(flat.reshape(-1, self.channels, self.image_size, self.image_size))

    @torch.no_grad()
    def start_from(self, components: PrincipalComponents) -> None:
        """Take the principal components of the training images: of all linear codes, the one that loses least."""
        basis = torch.as_tensor(components.basis)
        self.mean.copy_(torch.as_tensor(components.mean))
        self.encoder.weight[: len(basis)].copy_(basis)
        self.encoder.bias.zero_()
        self.decoder.weight.copy_(basis.T)
        self.decoder.bias.zero_()

    def linear_parameters(self) -> list[nn.Parameter]:
        """All weights."""
        return [*self.encoder.parameters(), *self.decoder.parameters()]
