"""The autoencoder: principal components as a linear skip, and two small convolutional branches that start at zero.

With untrained branches `decode(encode(x))` is exactly the reconstruction by PCA, so that training can only improve on
it. The latent is half-whitened: component i of the images, whose standard deviation is s_i, is divided by
`s_i ** WHITENING` (and by one common constant that gives the latent a mean square of 1); the decoder multiplies by it
again. Halfway between PCA and whitened PCA neighbours are best on photos (docs/training.md has the table).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures import cleaner
from train.architectures.autoencoder import Architecture, Autoencoder, expect_choice, unit, zeroed
from train.errors import SettingsError
from train.pca import PrincipalComponents

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

WHITENING = 0.5  # power of the standard deviation that divides a component
FOLD = 2  # px; pixels of such a square become channels where a branch works near full resolution: 4 times cheaper
PATCHES = (1, 2, 4, 8)  # px
SMALLEST_SIZE, LARGEST_SIZE = 16, 512  # px
EPSILON = 1e-4  # under roots and in denominators; large enough to survive fp16


def thumbnail_factor(image_size: int, linear_size: int) -> int:
    """How many times larger the image is than the thumbnail that the linear path sees: 1, 2, 4, ..."""
    factor = 1
    while image_size // factor > linear_size:
        factor *= 2
    return factor


@dataclass(frozen=True, kw_only=True)
class Principal(Architecture):
    """Settings of the autoencoder with principal components as a linear skip."""

    kind: ClassVar[str] = "principal"
    starts_from_components: ClassVar[bool] = True
    dims: int = 256  # of the latent; fewer where the images do not support as many
    semantic_dims: int = 0  # of them that say what is shown; 0 until the similarity losses train them
    widths: tuple[int, ...] = (32, 64, 128)  # channels of the branches, finest grid first; multiples of 16 are fast
    alpha: float = 0.25  # weight of the pixel half in the embedding, where there is a semantic one
    initialisation: str = "default"  # of the branches: default (PyTorch's) or he; see `_enliven`
    patch: int = 4  # px; side of the patches that the branches read and paint, their finest grid: a power of 2
    linear_size: int = 64  # px; larger images meet the linear skip as a thumbnail of at most this side
    clean: int = 0  # channels of what takes noise or text off before the code (train/architectures/cleaner.py); 0: none
    refine: int = 0  # channels of a branch behind the code, on the painted image, near full resolution; 0: none
    blocks: int = 4  # residual blocks of that branch
    # Deviation of Gaussian noise on the input that the linear path expects, pixels in 0..1. Leave it at 0 where `clean`
    # takes the noise off: that network would have to undo the shrinkage.
    noise: float = 0.0

    def __post_init__(self) -> None:
        expect_choice("architecture.initialisation", self.initialisation, ("default", "he"))
        if self.dims <= self.semantic_dims:
            raise SettingsError(f"dims is {self.dims}: it must be more than semantic_dims, {self.semantic_dims}.")
        if not self.widths or any(width < 1 for width in self.widths):
            raise SettingsError(f"architecture.widths is {list(self.widths)}: give one number of channels or more.")
        if self.patch not in PATCHES:
            raise SettingsError(f"architecture.patch is {self.patch}: use one of {', '.join(map(str, PATCHES))}.")
        if self.linear_size < SMALLEST_SIZE:
            raise SettingsError(f"architecture.linear_size is {self.linear_size}: use {SMALLEST_SIZE} or more.")
        for name in ("clean", "refine", "blocks", "noise"):
            if not 0 <= getattr(self, name) < 1e6:
                raise SettingsError(f"architecture.{name} is {getattr(self, name)}: it must be 0 or more.")

    @property
    def stride(self) -> int:
        """Side of the part of an image to one cell of the branches' coarsest grid, px."""
        return self.patch << (len(self.widths) - 1)

    @property
    def size_step(self) -> int:
        """Image sizes are multiples of it, px."""
        return max(self.stride, cleaner.STEP if self.clean else 1, FOLD if self.refine else 1)

    def thumbnail_factor(self, image_size: int) -> int:
        """1 up to `linear_size`, then 2, 4, ..."""
        return thumbnail_factor(image_size, self.linear_size)

    def check(self, image_size: int, channels: int) -> None:
        """Refuse an image size that the branches cannot divide as often as they do, or that is out of range."""
        step = self.size_step
        smallest, largest = -(-SMALLEST_SIZE // step) * step, LARGEST_SIZE // step * step
        if image_size % step == 0 and smallest <= image_size <= largest:
            return
        below = min(max(image_size // step * step, smallest), largest)
        above = min(below + step, largest)
        nearest = f"{below} or {above}" if smallest < image_size < largest else f"{below}"
        raise SettingsError(
            f"image_size is {image_size}, but the network halves it {step.bit_length() - 1} times: use a multiple of "
            f"{step} from {smallest} to {largest}, for example {nearest}."
        )

    def build(self, image_size: int, channels: int, outputs: int = 1) -> "PrincipalAutoencoder":
        """Make the network; its branches add nothing yet.

        Raises:
            SettingsError: Its code is to be a distribution; a linear skip has none.
        """
        self.check(image_size, channels)
        if outputs != 1:
            raise SettingsError("a variational code needs another architecture: convolutional, dense or spatial.")
        return PrincipalAutoencoder(self, image_size, channels)


class GlobalResponseNorm(nn.Module):
    """Lets channels compete by their energy over the whole image; the identity at initialisation.

    Source: ConvNeXt V2, arXiv 2301.00808, with the mean square in place of the sum, which fp16 can hold.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, h, w) to the same shape."""
        energy = torch.sqrt((x * x).mean(dim=(2, 3), keepdim=True) + EPSILON)
        share = energy / energy.mean(dim=1, keepdim=True)
        # One multiplication and one addition at full resolution, in the precision of x.
        return torch.addcmul(self.bias.to(x.dtype), x, (1 + self.weight * share).to(x.dtype))


class ResidualBlock(nn.Module):
    """x + conv(ELU(norm(conv(x)))), the identity at initialisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = GlobalResponseNorm(channels)
        self.second = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Refine (n, channels, h, w) in place of its shape."""
        change: Tensor = self.second(F.elu(self.norm(self.first(x))))
        return x + change


class Retouch(nn.Module):
    """What can be guessed from a blurred image, as networks for super-resolution do: a few residual blocks.

    Nothing comes out of them at first. Squares of `FOLD` px are folded into channels before.

    Source of the folding: FFDNet, arXiv 1710.04026.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels * FOLD**2, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.last = zeroed(nn.Conv2d(width, channels * FOLD**2, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """What to add to images (n, channels, h, w) less 0.5."""
        folded = F.pixel_unshuffle(image, FOLD)
        if not torch.compiler.is_exporting():
            folded = folded.contiguous(memory_format=torch.channels_last)
        change = self.last(F.elu(self.blocks(F.elu(self.first(folded)))))
        return F.pixel_shuffle(change, FOLD).float()


class Encoder(nn.Module):
    """Images to latents: the linear skip plus a convolutional branch whose last layer starts at zero."""

    mean: Tensor  # of the training images (or their thumbnails), (1, 3, h, w)

    def __init__(
        self, image_size: int, channels: int, settings: Principal, pixel_dims: int, semantic_dims: int
    ) -> None:
        super().__init__()
        widths = settings.widths
        self.factor = settings.thumbnail_factor(image_size)
        side = image_size // self.factor
        grid = image_size // settings.stride
        patch = settings.patch
        self.clean = cleaner.Cleaner(channels, settings.clean) if settings.clean else None
        # Taken off the pixels, not folded into a bias: small differences of large sums would not survive fp16.
        self.register_buffer("mean", torch.zeros(1, channels, side, side))
        self.linear = nn.Linear(channels * side * side, pixel_dims)
        stages: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], patch, stride=patch),
            nn.ELU(),
            ResidualBlock(widths[0]),
        ]
        for fine, coarse in pairwise(widths):
            stages += [nn.Conv2d(fine, coarse, 3, stride=2, padding=1), nn.ELU(), ResidualBlock(coarse)]
        self.trunk = nn.Sequential(*stages)
        self.semantic = nn.Linear(widths[-1], semantic_dims) if semantic_dims else None
        self.pixel = zeroed(nn.Linear(widths[-1] * grid * grid, pixel_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w) in [0, 1] as latents (n, semantic + pixel dims)."""
        centred = x - 0.5
        change = None if self.clean is None else self.clean(centred)
        features = self.trunk(centred if change is None else centred + change)
        pixel: Tensor = self.project(x, change) + self.pixel(features.flatten(1)).float()
        if self.semantic is None:
            return pixel
        return torch.cat([self.semantic(features.mean(dim=(2, 3))).float(), pixel], dim=1)

    def project(self, x: Tensor, change: Tensor | None = None) -> Tensor:
        """The linear skip, always in fp32: images (n, channels, h, w) to scaled principal components (n, pixel dims).

        What `clean` adds comes after the mean is off: the sum of image and change would lose digits in fp16.
        """
        with torch.autocast(x.device.type, enabled=False):
            centred = self._thumbnail(x) - self.mean
            if change is not None:
                centred = centred + self._thumbnail(change)
            projected: Tensor = self.linear(centred.flatten(1))
        return projected

    def _thumbnail(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor) if self.factor > 1 else x


class Decoder(nn.Module):
    """Latents to images: the inverse of the linear skip plus a convolutional branch that starts at zero."""

    def __init__(self, image_size: int, channels: int, settings: Principal, pixel_dims: int) -> None:
        super().__init__()
        widths, semantic_dims = settings.widths, settings.semantic_dims
        self.factor = settings.thumbnail_factor(image_size)
        self.side = image_size // self.factor
        self.grid = image_size // settings.stride
        self.patch = settings.patch
        self.semantic_dims = semantic_dims
        self.linear = nn.Linear(pixel_dims, channels * self.side * self.side)
        self.channels = channels
        coarse_to_fine = tuple(reversed(widths))
        self.coarsest = coarse_to_fine[0]
        self.seed = nn.Linear(semantic_dims + pixel_dims, coarse_to_fine[0] * self.grid * self.grid)
        self.stages = nn.ModuleList(UpStage(wide, narrow, semantic_dims) for wide, narrow in pairwise(coarse_to_fine))
        # The finest step is a reordering of channels: its colours for each pixel of a patch.
        self.paint = zeroed(nn.Conv2d(coarse_to_fine[-1], channels * settings.patch**2, 3, padding=1))
        self.refine = Retouch(channels, settings.refine, settings.blocks) if settings.refine else None

    def forward(self, latent: Tensor) -> Tensor:
        """Paint latents (n, semantic + pixel dims) as images (n, 3, h, w), not clipped to [0, 1]."""
        semantic = latent[:, : self.semantic_dims] if self.semantic_dims else None
        x = F.elu(self.seed(latent)).reshape(-1, self.coarsest, self.grid, self.grid)
        if not torch.compiler.is_exporting():
            x = x.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x, semantic)
        detail = F.pixel_shuffle(self.paint(x), self.patch)
        painted = self.unproject(latent[:, self.semantic_dims :]) + detail.float()
        return painted if self.refine is None else painted + self.refine(painted - 0.5)

    def unproject(self, pixel: Tensor) -> Tensor:
        """The linear path alone, always in fp32: scaled principal components to images (n, 3, h, w)."""
        with torch.autocast(pixel.device.type, enabled=False):
            thumbnail: Tensor = self.linear(pixel).reshape(-1, self.channels, self.side, self.side)
        if self.factor == 1:
            return thumbnail
        return F.interpolate(thumbnail, scale_factor=self.factor, mode="bilinear", align_corners=False)


class UpStage(nn.Module):
    """Doubles the grid: nearest x2, convolution, norm, FiLM by the semantic half, ELU, one residual block.

    No transposed convolution: its overlapping kernels paint checkerboards.
    """

    def __init__(self, wide: int, narrow: int, semantic_dims: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(wide, narrow, 3, padding=1)
        self.film = zeroed(nn.Linear(semantic_dims, 2 * narrow)) if semantic_dims else None
        self.refine = ResidualBlock(narrow)

    def forward(self, x: Tensor, semantic: Tensor | None) -> Tensor:
        """Take (n, wide, h, w) and, where there is one, the semantic half (n, S), to (n, narrow, 2h, 2w)."""
        x = self.convolution(F.interpolate(x, scale_factor=2, mode="nearest"))
        if self.film is not None and semantic is not None:
            scale, shift = self.film(semantic).unsqueeze(-1).unsqueeze(-1).chunk(2, dim=1)
            x = x * (1 + scale) + shift
        refined: Tensor = self.refine(F.elu(x))
        return refined


class PrincipalAutoencoder(Autoencoder):
    """One code that is both searchable and decodable.

    Attributes:
        pixel_dims: Dimensions of the latent behind the semantic ones, which say what an image looks like.
        deviation: Standard deviation of each pixel dimension on the training images, (pixel_dims,).
        antisymmetric: 1 for pixel dimensions whose sign turns when the image is mirrored, (pixel_dims,). The
            embedding takes their magnitude, so that a mirrored image is found; all 0 where mirroring matters.
        centre: Mean of the pixel half of the embedding before it is scaled to unit length, (pixel_dims,).
    """

    antisymmetric: Tensor

    def __init__(self, settings: Principal, image_size: int, channels: int, *, own_semantic_half: bool = False) -> None:
        super().__init__(image_size, channels, (settings.dims,))
        self.semantic_dims, self.alpha = settings.semantic_dims, settings.alpha
        self.pixel_dims = settings.dims - settings.semantic_dims
        self.noise = settings.noise
        within = 0 if own_semantic_half else settings.semantic_dims
        self.encoder = Encoder(image_size, channels, settings, self.pixel_dims, within)
        self.decoder = Decoder(image_size, channels, settings, self.pixel_dims)
        self.register_buffer("deviation", torch.ones(self.pixel_dims))
        self.register_buffer("antisymmetric", torch.zeros(self.pixel_dims))
        self.register_buffer("centre", torch.zeros(self.pixel_dims))
        if settings.initialisation == "he":
            _enliven(self)

    def statistics(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w) in [0, 1] as latents (n, dims), norms kept."""
        latent: Tensor = self.encoder(self.see(x))
        return latent

    def embed(self, latent: Tensor) -> Tensor:
        """Turn latents (n, dims) into embeddings (n, dims) of length 1, whose inner product is the score."""
        signed = latent[:, self.semantic_dims :]
        pixel = unit(signed + self.antisymmetric * (signed.abs() - signed) - self.centre)
        if not self.semantic_dims:
            return pixel
        semantic = unit(latent[:, : self.semantic_dims])
        both = torch.cat([semantic, self.alpha * pixel], dim=1)
        return both * float((1 + self.alpha**2) ** -0.5)

    def paint(self, latent: Tensor) -> Tensor:
        """Paint latents (n, dims), without the clip, which would stop the gradient of a pixel that is too bright."""
        # Clipped by `decode`, not squashed: a sigmoid would bend the linear path.
        return self.show(self.decoder(latent))

    def linear_parameters(self) -> list[nn.Parameter]:
        """Weights of the linear path, which training leaves as they are for its first part."""
        return [*self.encoder.linear.parameters(), *self.decoder.linear.parameters()]

    def centre_on(self, latents: Tensor) -> None:
        """Leave centre and deviation as the principal components gave them."""

    @torch.no_grad()
    def start_from(self, components: PrincipalComponents) -> None:
        """Set the linear path to the principal components of the training images (of their thumbnails, if large)."""
        basis = torch.as_tensor(components.basis)  # (pixel_dims, pixels of the thumbnail)
        mean = torch.as_tensor(components.mean)
        deviations = torch.as_tensor(components.deviations)
        scale = deviations**WHITENING
        scale = scale * (deviations / scale).square().mean().sqrt()
        # Wiener's filter: of a noisy coordinate, only the share of its variance that is image counts.
        gain = deviations.square() / (deviations.square() + self.noise**2)
        self.encoder.linear.weight.copy_(basis * (gain / scale)[:, None])
        self.encoder.linear.bias.zero_()
        self.encoder.mean.copy_(mean.reshape(self.encoder.mean.shape))
        self.decoder.linear.weight.copy_((basis * scale[:, None]).T)
        self.decoder.linear.bias.copy_(mean)
        self.deviation.copy_(deviations / scale)
        self.antisymmetric.copy_(torch.as_tensor(components.antisymmetric))
        self.centre.copy_(torch.as_tensor(components.magnitudes) / scale * self.antisymmetric)


def _enliven(network: nn.Module) -> None:
    """Draw the weights of all branches by He's rule; those that start at zero stay there.

    By PyTorch's default each layer gives a third of the variance that it takes. After a few of them an ELU works on its
    straight middle, so that a branch is linear in its input, and of linear codes the one it starts from is the best:
    on faces with 32 numbers nothing was learnt in 16 epochs. It is no default: on OpenMoji at 64 px with 256 numbers
    the network fell to a validation error of .117 in the middle of the run (PCA .0065).
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and bool(layer.weight.any()):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
