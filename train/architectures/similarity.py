"""One code with two halves: what a picture shows, however it was taken, and what it looks like.

The pixel half and the decoder are those of `principal.py`. The semantic half is a linear map of two kinds of features:

- responses of whitened random patches, pooled over quarters of the image, and a soft colour histogram: nothing of them
  is trained;
- those of a small residual network (`trunk_widths`), which training without labels makes invariant to views.

The map is found in closed form from views of the training images (train/invariance.py): directions along which images
differ, and views of one image do not.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures.autoencoder import unit
from train.architectures.principal import Principal, PrincipalAutoencoder
from train.errors import SettingsError
from train.patches import CONTRAST, PATCH, THRESHOLD, whitened_patches

SEMANTIC_PART = 8  # one in so many dimensions is semantic
SIDE = 32  # px; larger images are averaged down to at least this before patches are looked at
LEVELS = 8  # of each channel in the colour histogram
SMALLEST = 1e-6  # added to pooled responses before the root, whose slope at 0 has no end
PARTS = 4  # images at a time: their responses stay in the processor's cache, which is five times as fast


@dataclass(frozen=True, kw_only=True)
class Similarity(Principal):
    """Settings of the autoencoder with a semantic half."""

    kind: ClassVar[str] = "similarity"
    semantic_dims: int = 0  # of `dims`; 0: an eighth of them
    filters: int = 384  # whitened patches
    cells: int = 2  # on a side, over which their responses are pooled
    colour: float = 0.7  # weight of the colour histogram beside the patches; 0: none
    trunk_widths: tuple[int, ...] = ()  # channels of the trained features, finest grid first; empty: none
    trunk_blocks: int = 1  # residual blocks at each width
    trunk_stride: int = 2  # px; the finest grid has a cell for each; 1, 2, 4, 8

    def __post_init__(self) -> None:
        if self.semantic_dims == 0:
            object.__setattr__(self, "semantic_dims", max(1, self.dims // SEMANTIC_PART))
        super().__post_init__()
        if self.semantic_dims < 0:
            raise SettingsError(f"architecture.semantic_dims is {self.semantic_dims}: it must be 0 or more.")
        if self.trunk_stride not in (1, 2, 4, 8):
            raise SettingsError(f"architecture.trunk_stride is {self.trunk_stride}: use 1, 2, 4 or 8.")
        if any(width < 1 for width in self.trunk_widths) or self.trunk_blocks < 1:
            raise SettingsError("architecture.trunk_widths and trunk_blocks must be 1 or more.")
        if not 1 <= self.cells <= 4 or self.filters < 1 or not 0 <= self.colour < 1e3:
            raise SettingsError("architecture.cells must be from 1 to 4, filters 1 or more, and colour 0 or more.")

    def check(self, image_size: int, channels: int) -> None:
        """Refuse what `Principal` refuses, and grey images, whose colours say nothing."""
        super().check(image_size, channels)
        if channels != 3:
            raise SettingsError("the architecture similarity sees colour: set data.channels = 3.")

    def build(self, image_size: int, channels: int, outputs: int = 1) -> "SimilarityAutoencoder":
        """Make the network; its semantic half says nothing before `SemanticEncoder` is fitted."""
        self.check(image_size, channels)
        if outputs != 1:
            raise SettingsError("a variational code needs another architecture: convolutional, dense or spatial.")
        return SimilarityAutoencoder(self, image_size, channels)


class SimilarityAutoencoder(PrincipalAutoencoder):
    """A searchable half beside the decodable one."""

    def __init__(self, settings: Similarity, image_size: int, channels: int) -> None:
        super().__init__(settings, image_size, channels, own_semantic_half=True)
        self.semantic = SemanticEncoder(settings, image_size)

    def statistics(self, x: Tensor) -> Tensor:
        """Encode images (n, 3, h, w) in [0, 1] as latents (n, dims): semantic, then pixel half."""
        return torch.cat([self.semantic(x), self.encoder(x)], dim=1)

    def pixel_half(self, x: Tensor) -> Tensor:
        """The pixel half alone, without the work of the semantic one."""
        half: Tensor = self.encoder(x)
        return half


class SemanticEncoder(nn.Module):
    """Features and their linear map; fixed while the decoder is trained.

    Attributes:
        mean: Of the features of the training images, (features,).
        projection: (semantic_dims, features).
        scale: Of each kind of features, so that their variances are alike before `projection`, (features,).
    """

    mean: Tensor
    projection: Tensor
    scale: Tensor

    def __init__(self, settings: Similarity, image_size: int) -> None:
        super().__init__()
        self.patches = PatchResponses(settings.filters, settings.cells, image_size)
        self.colour = settings.colour
        self.factor = self.patches.factor
        self.trunk = Trunk(settings) if settings.trunk_widths else None
        widths = [self.patches.features, LEVELS**3 if self.colour else 0, self.trunk.features if self.trunk else 0]
        self.widths = tuple(widths)
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("scale", torch.ones(sum(widths)))
        self.register_buffer("projection", torch.zeros(settings.semantic_dims, sum(widths)))
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "SemanticEncoder":
        """Stay as it is: the statistics of the trunk's BatchNorm belong to its own training."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The semantic half of images (n, 3, h, w): (n, semantic_dims), about 0."""
        return self.project(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """All features of images (n, 3, h, w), side by side: (n, features), in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            small = F.avg_pool2d(x, self.factor) if self.factor > 1 else x
            found = [self.patches(small)]
            if self.colour:
                found.append(colour_histogram(small))
        if self.trunk is not None:
            found.append(self.trunk(x).float())
        return torch.cat(found, dim=1)

    def distance(self, painted: Tensor, target: Tensor) -> Tensor:
        """How differently two batches of images (n, 3, h, w) look to these features, with places kept: 0 to 4.

        The squared distance of features of length 1 at every place, averaged over places and layers: LPIPS, arXiv
        1801.03924, with the network's own layers and equal weights. The features stay as they are.
        """
        layers = zip(self._layers(painted), self._layers(target.detach()), strict=True)
        distances = [(unit(one.float()) - unit(other.float())).square().sum(dim=1).mean() for one, other in layers]
        return torch.stack(distances).mean()

    def _layers(self, x: Tensor) -> list[Tensor]:
        """Feature maps, (n, channels, rows, columns): of the trunk where there is one, else of the patches."""
        if self.trunk is not None:
            return self.trunk.maps(x)
        with torch.autocast(x.device.type, enabled=False):
            small = F.avg_pool2d(x, self.factor) if self.factor > 1 else x
            return [torch.cat(self.patches.maps(small.float()), dim=1)]

    def project(self, features: Tensor) -> Tensor:
        """Features (n, features) to the semantic half (n, semantic_dims), in fp32."""
        with torch.autocast(features.device.type, enabled=False):
            projected: Tensor = F.linear((features - self.mean) * self.scale, self.projection)
        return projected

    @torch.no_grad()
    def fit_patches(self, images: Tensor, seed: int) -> None:
        """Choose the filters from images (n, 3, h, w) in [0, 1]."""
        small = F.avg_pool2d(images, self.factor) if self.factor > 1 else images
        pixels = (small * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        filters, offsets = whitened_patches(pixels, len(self.patches.offsets), np.random.default_rng(seed))
        self.patches.take(torch.from_numpy(filters), torch.from_numpy(offsets))


class PatchResponses(nn.Module):
    """Roots of the pooled positive and negative responses of whitened patches; see train/patches.py."""

    filters: Tensor
    offsets: Tensor

    def __init__(self, filters: int, cells: int, image_size: int) -> None:
        super().__init__()
        self.factor = next(each for each in range(max(image_size // SIDE, 1), 0, -1) if image_size % each == 0)
        responses = image_size // self.factor - PATCH + 1
        self.window = responses // cells
        self.step = (responses - self.window) // (cells - 1) if cells > 1 else self.window
        self.features = 2 * filters * cells**2
        self.register_buffer("filters", torch.zeros(filters, 3, PATCH, PATCH))
        self.register_buffer("offsets", torch.zeros(filters))

    def take(self, filters: Tensor, offsets: Tensor) -> None:
        """Set the filters, (filters, 3 * PATCH**2), and what the mean patch gives, (filters,)."""
        # A patch less its mean times a filter is the patch times the filter less its mean.
        centred = filters - filters.mean(dim=1, keepdim=True)
        self.filters.copy_(centred.reshape(self.filters.shape))
        self.offsets.copy_(offsets)

    def forward(self, x: Tensor) -> Tensor:
        """Features of small images (n, 3, h, w): (n, features)."""
        if torch.compiler.is_exporting() or len(x) <= PARTS:
            return self._respond(x)
        x = x.contiguous(memory_format=torch.channels_last)
        parts = x.split(PARTS) if x.device.type == "cpu" else [x]  # type: ignore[no-untyped-call]
        return torch.cat([self._respond(part) for part in parts])

    def maps(self, x: Tensor) -> list[Tensor]:
        """Positive and negative responses of small images at every place, each (n, filters, rows, columns)."""
        # The variance of a patch, from that of its pixels about the middle: smaller numbers, fewer digits lost.
        x = x - 0.5
        mean = F.avg_pool2d(x.mean(dim=1, keepdim=True), PATCH, stride=1)
        square = F.avg_pool2d((x * x).mean(dim=1, keepdim=True), PATCH, stride=1)
        contrast = torch.rsqrt((square - mean * mean).clamp_min(0) + CONTRAST)
        found = F.conv2d(x, self.filters) * contrast - self.offsets[:, None, None]
        return [F.relu(found - THRESHOLD), F.relu(-found - THRESHOLD)]

    def _respond(self, x: Tensor) -> Tensor:
        pooled = [F.avg_pool2d(each, self.window, self.step).flatten(1) for each in self.maps(x)]
        return torch.sqrt(torch.cat(pooled, dim=1) + SMALLEST)


def colour_histogram(x: Tensor) -> Tensor:
    """Root of the soft histogram of images (n, 3, h, w): `LEVELS` hats a channel, (n, LEVELS**3).

    The root makes the inner product of two histograms their Bhattacharyya coefficient.
    """
    levels = torch.arange(LEVELS, device=x.device, dtype=x.dtype)
    hats = F.relu(1 - (x.flatten(2).unsqueeze(-1) * (LEVELS - 1) - levels).abs())  # (n, 3, pixels, LEVELS)
    red, green, blue = hats.unbind(1)
    two = (red.unsqueeze(-1) * green.unsqueeze(-2)).flatten(2)  # (n, pixels, LEVELS**2)
    counted = two.transpose(1, 2) @ blue / (x.shape[2] * x.shape[3])
    return torch.sqrt(counted.flatten(1) + SMALLEST)


class Trunk(nn.Module):
    """A small residual network with BatchNorm, which folds into the convolutions in ONNX Runtime.

    Source: ResNet, arXiv 1512.03385, with a stem of one convolution whose kernel is twice its stride.
    """

    def __init__(self, settings: Similarity) -> None:
        super().__init__()
        widths, stride = settings.trunk_widths, settings.trunk_stride
        stem = (
            nn.Conv2d(3, widths[0], 2 * stride, stride=stride, padding=stride // 2, bias=False)
            if stride > 1
            else nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        )
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
        layers += [BasicBlock(widths[0], widths[0], 1) for _ in range(settings.trunk_blocks)]
        for narrow, wide in pairwise(widths):
            layers.append(BasicBlock(narrow, wide, 2))
            layers += [BasicBlock(wide, wide, 1) for _ in range(settings.trunk_blocks - 1)]
        self.layers = nn.Sequential(*layers)
        self.features = widths[-1]
        stem_layers, blocks = 3, settings.trunk_blocks
        self.ends = tuple(stem_layers + blocks * (number + 1) for number in range(len(widths)))

    def forward(self, x: Tensor) -> Tensor:
        """Features of images (n, 3, h, w) in [0, 1], averaged over all places: (n, features)."""
        return self.maps(x)[-1].mean(dim=(2, 3))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What the last block of each width gives, finest grid first, each (n, width, rows, columns)."""
        found = x - 0.5
        if not torch.compiler.is_exporting():
            found = found.contiguous(memory_format=torch.channels_last)
        maps = []
        for first, end in pairwise((0, *self.ends)):
            found = self.layers[first:end](found)
            maps.append(found)
        return maps


class BasicBlock(nn.Module):
    """Two convolutions with BatchNorm, and the input added."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(wide)
        self.second = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(wide)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or narrow != wide:
            self.skip = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        """Take (n, narrow, h, w) to (n, wide, h / stride, w / stride)."""
        changed = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(changed + self.skip(x))
