"""What every network of a recipe has in common: a code to find by, and a picture from the code.

An architecture is added in one place: a module beside this one with a class of settings (`Architecture`) and the
network that it builds, and its name in `ARCHITECTURES` of this package.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.errors import SettingsError
from train.losses import luminance
from train.pca import PrincipalComponents

Layer = TypeVar("Layer", bound=nn.Module)

SMALLEST_LENGTH = 1e-6  # a shorter vector has no direction
EMBEDDING_GRID = 4  # cells on a side, at most, of a spatial code that is searched by: where things are, roughly


class Autoencoder(nn.Module):
    """A network that makes a code of an image, and an image of a code.

    Attributes:
        image_size: Side of the images, px.
        channels: 3 for colour, 1 for shades of grey. Images have 3 channels all the same.
        latent_shape: (dims,), or (channels, height, width) of a spatial code. A latent itself is flat.
        outputs: Numbers that the encoder gives for one of the latent: 2 where it is a mean and a log variance.
        semantic_dims: Leading dimensions of the latent that say what is shown; 0 where there are none.
        alpha: Weight of the other dimensions in the embedding, where there are semantic ones.
        fits_images: `fit` sets something from training images.
        tileable: Fully convolutional: larger images may be done tile by tile.
        centre: Mean of the latents of the training images, (latent_dims,).
        deviation: Their standard deviation, (latent_dims,).
    """

    centre: Tensor
    deviation: Tensor
    tileable: ClassVar[bool] = False
    fits_images: ClassVar[bool] = False

    def __init__(self, image_size: int, channels: int, latent_shape: Sequence[int], *, outputs: int = 1) -> None:
        super().__init__()
        self.image_size = image_size
        self.channels = channels
        self.latent_shape = tuple(latent_shape)
        self.outputs = outputs
        self.semantic_dims = 0
        self.alpha = 1.0
        self.register_buffer("centre", torch.zeros(self.latent_dims))
        self.register_buffer("deviation", torch.ones(self.latent_dims))

    @property
    def latent_dims(self) -> int:
        """Length of a latent."""
        return math.prod(self.latent_shape)

    @property
    def dims(self) -> int:
        """Length of an embedding: that of a latent, unless it is spatial and finer than `EMBEDDING_GRID`."""
        if len(self.latent_shape) == 1:
            return self.latent_dims
        maps, height, width = self.latent_shape
        return maps * min(height, EMBEDDING_GRID) * min(width, EMBEDDING_GRID)

    def statistics(self, x: Tensor) -> Tensor:
        """What the encoder says of images (n, 3, h, w) in [0, 1]: (n, outputs * latent_dims)."""
        raise NotImplementedError

    def paint(self, latent: Tensor) -> Tensor:
        """Paint latents (n, latent_dims) as images (n, 3, h, w), without the clip that would stop gradients."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w) in [0, 1] as latents (n, latent_dims), norms kept."""
        return self.statistics(x)[:, : self.latent_dims].float()

    def pixel_half(self, x: Tensor) -> Tensor:
        """The dimensions of `encode` that are not semantic, (n, latent_dims - semantic_dims)."""
        return self.encode(x)[:, self.semantic_dims :]

    def decode(self, latent: Tensor) -> Tensor:
        """Paint latents (n, latent_dims) as images (n, 3, h, w) in [0, 1]."""
        return self.paint(latent).clamp(0, 1)

    def embed(self, latent: Tensor) -> Tensor:
        """Turn latents (n, latent_dims) into embeddings (n, dims) of length 1, whose inner product is the score."""
        centred = latent - self.centre
        if self.dims != self.latent_dims:
            maps, height, width = self.latent_shape
            cells = centred.reshape(-1, maps, height, width)
            step = (height // min(height, EMBEDDING_GRID), width // min(width, EMBEDDING_GRID))
            centred = F.avg_pool2d(cells, step).flatten(1)
        return unit(centred)

    def see(self, x: Tensor) -> Tensor:
        """Images (n, 3, h, w) with as many channels as the network works on."""
        return luminance(x) if self.channels == 1 else x

    def show(self, x: Tensor) -> Tensor:
        """What the network painted, (n, channels, h, w), with 3 channels."""
        return x.float().expand(-1, 3, -1, -1) if self.channels == 1 else x.float()

    def linear_parameters(self) -> list[nn.Parameter]:
        """Weights of a linear path that is good from the start, and that training leaves alone for a while."""
        return []

    def start_from(self, components: PrincipalComponents) -> None:
        """Set a linear path to the principal components of the training images; nothing where there is none."""

    def fit(self, images: Tensor) -> None:
        """Set what else follows from a sample of training images (n, 3, h, w) without training; nothing here."""

    @property
    def pretraining_stages(self) -> int:
        """How many parts can be trained one after the other before the whole."""
        return 0

    def pretraining_loss(self, stage: int, x: Tensor) -> Tensor:
        """Squared error of one part alone on images (n, 3, h, w)."""
        raise NotImplementedError

    @torch.no_grad()
    def centre_on(self, latents: Tensor) -> None:
        """Remember mean and deviation of the training images' latents (n, latent_dims)."""
        self.centre.copy_(latents.mean(0))
        self.deviation.copy_(latents.std(0, unbiased=False))


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Settings of a network: the fields of a subclass are the keys of [architecture] in a recipe."""

    kind: ClassVar[str] = ""
    starts_from_components: ClassVar[bool] = False  # of the training images, by `Autoencoder.start_from`
    is_fitted: ClassVar[bool] = False  # by that alone: nothing is left to train

    def check(self, image_size: int, channels: int) -> None:
        """Refuse settings that do not go together with a size.

        Raises:
            SettingsError: They do not; the message names values that would.
        """

    def build(self, image_size: int, channels: int, outputs: int = 1) -> Autoencoder:
        """Make the network, with random weights."""
        raise NotImplementedError

    def code(self, image_size: int) -> int:
        """Numbers in the code of an image."""
        dims: int = getattr(self, "dims")  # noqa: B009  (a spatial code has none and says so itself)
        return dims

    def thumbnail_factor(self, image_size: int) -> int:
        """How many times larger the image is than what a linear path sees of it."""
        return 1


ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": nn.Identity}
INITIALISATIONS = ("default", "xavier", "he")


def expect_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}: use one of {', '.join(choices)}.")


def expect_divisible(image_size: int, step: int, what: str) -> None:
    """Refuse an image size that cannot be halved as often as an architecture does.

    Raises:
        SettingsError: It is not a multiple of `step`; the message names the nearest ones.
    """
    if image_size % step == 0:
        return
    below = max(image_size // step * step, step)
    above = below + step
    raise SettingsError(
        f"image_size is {image_size}, but {what} halves it {step.bit_length() - 1} times: use a multiple of {step}, "
        f"for example {below} or {above}."
    )


def initialise(network: nn.Module, how: str) -> None:
    """Draw the weights of all layers by Xavier's or He's rule (uniform), biases 0; "default" leaves PyTorch's.

    Sources: Glorot, Bengio 2010; He et al. 2015.
    """
    if how == "default":
        return
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if how == "xavier":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def unit(x: Tensor) -> Tensor:
    """Scale rows to length 1. A product with `rsqrt` exports without the shape operations of `F.normalize`."""
    return x * torch.rsqrt((x * x).sum(dim=1, keepdim=True) + SMALLEST_LENGTH**2)


def zeroed(layer: Layer) -> Layer:
    """Give a layer zero weights: the branch that it ends adds nothing until it is trained."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
