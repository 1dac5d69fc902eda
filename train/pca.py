"""Principal components of the training images: the linear skip of the network and the number to beat.

With `mirror`, the components are those of the images and their mirror images together. Each is then either symmetric or
antisymmetric under mirroring, so that the two kinds can be found apart, each on half the pixels, and the sign of an
antisymmetric coordinate says which way round an image is.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from train.images import Pixels
from train.losses import luminance

Floats = NDArray[np.float32]

MAX_VALUES = 160_000_000  # of a larger set, evenly drawn images: 52,000 at 32 px, 13,000 at 64 px; 0.6 GB
EXACT_SIDE = 3072  # up to this many images or values of one, the eigenvectors are exact: a few seconds
OVERSAMPLING = 32  # extra directions of the randomised method ...
POWER_ITERATIONS = 4  # ... and its rounds: the error of the reconstruction is then within 0.1 % of the exact one
SMALLEST_DEVIATION = 1e-5  # of a component: less is rounding, among images that are all the same
NEGLIGIBLE = 1e-4  # of the largest deviation: below it a component is rounding noise


@dataclass(frozen=True)
class PrincipalComponents:
    """Directions of greatest variance, by falling variance; pixels are in [0, 1], channels first (c, h, w), flat."""

    mean: Floats  # (pixels,)
    basis: Floats  # (dims, pixels), orthonormal rows
    deviations: Floats  # (dims,) standard deviation of each coordinate
    magnitudes: Floats  # (dims,) mean absolute value of each coordinate
    antisymmetric: Floats  # (dims,) 1 where mirroring an image turns the sign, else 0

    @property
    def dims(self) -> int:
        """Number of components."""
        return len(self.deviations)


def principal_components(
    images: Pixels,
    rows: NDArray[np.int64],
    dims: int,
    *,
    mirror: bool,
    factor: int = 1,
    channels: int = 3,
    seed: int = 0,
) -> PrincipalComponents:
    """Find the principal components of some rows of an image array.

    Args:
        images: (n, h, w, 3) uint8, may be a memory map.
        rows: Which of them to use; of more than `MAX_VALUES` holds, as many evenly spaced ones.
        dims: How many components are wanted; fewer come back where the images do not have as many.
        mirror: Treat each image and its mirror image alike.
        factor: The images are averaged down by this factor first.
        channels: 1 turns them into shades of grey first.
        seed: Of the randomised method.
    """
    most = MAX_VALUES * factor**2 // (channels * images.shape[1] * images.shape[2])
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    x = _as_floats(images, rows, factor, channels)
    mean, parts = _mirrored_parts(x, dims, seed) if mirror else _plain_parts(x, dims, seed)
    found = _Part(*(torch.cat(each) for each in zip(*parts, strict=True)))
    order = torch.argsort(found.deviations, descending=True, stable=True)[: min(dims, len(rows) - 1)]
    least = (NEGLIGIBLE * found.deviations[order[:1]]).clamp_min(SMALLEST_DEVIATION)
    order = order[found.deviations[order] > least]
    return PrincipalComponents(
        mean=mean.numpy(),
        basis=found.basis[order].numpy(),
        deviations=found.deviations[order].numpy(),
        magnitudes=found.magnitudes[order].numpy(),
        antisymmetric=found.antisymmetric[order].numpy(),
    )


def reconstruction_error(
    components: PrincipalComponents,
    images: Pixels,
    rows: NDArray[np.int64],
    factor: int = 1,
    channels: int = 3,
    sigma: float = 0.0,
) -> float:
    """Mean squared error per pixel and channel, in [0, 1] units, of images that are rebuilt from their coordinates.

    Clipped to [0, 1], like the network's reconstruction: the stricter number to beat. With `sigma`, the coordinates are
    those of the images plus Gaussian noise of that standard deviation, each shrunk by the share of its variance that is
    signal (Wiener's filter): the best linear denoiser with as many dimensions.
    """
    random = torch.Generator().manual_seed(0)
    variances = torch.from_numpy(components.deviations).square()
    gain = variances / (variances + sigma**2)
    basis, mean = torch.from_numpy(components.basis), torch.from_numpy(components.mean)
    total = 0.0
    for start in range(0, len(rows), 256):
        x = _as_floats(images, rows[start : start + 256], factor, channels).flatten(1)
        seen = x + sigma * torch.randn(x.shape, generator=random) if sigma else x
        rebuilt = torch.addmm(mean, (seen - mean) @ basis.T * gain, basis).clamp_(0, 1)
        total += float((rebuilt - x).square().mean(1).double().sum())
    return total / len(rows)


def _as_floats(images: Pixels, rows: NDArray[np.int64], factor: int, channels: int) -> Tensor:
    """Rows of an image array as (n, channels, h, w) in [0, 1], averaged down; batchwise, to bound the memory."""
    height, width = images.shape[1] // factor, images.shape[2] // factor
    x = torch.empty(len(rows), channels, height, width)
    for start in range(0, len(rows), 512):
        batch = torch.from_numpy(images[rows[start : start + 512]]).permute(0, 3, 1, 2).float().div_(255)
        batch = luminance(batch) if channels == 1 else batch
        x[start : start + 512] = F.avg_pool2d(batch, factor) if factor > 1 else batch
    return x


class _Part(NamedTuple):
    """Components of one kind: `PrincipalComponents` before they are sorted."""

    basis: Tensor
    deviations: Tensor
    magnitudes: Tensor
    antisymmetric: Tensor


def _plain_parts(x: Tensor, dims: int, seed: int) -> tuple[Tensor, list[_Part]]:
    """Mean and components of images (n, c, h, w), which are overwritten."""
    flat = x.flatten(1)
    mean = flat.mean(0)
    return mean, [_part(flat.sub_(mean), dims, seed, antisymmetric=False)]


def _mirrored_parts(x: Tensor, dims: int, seed: int) -> tuple[Tensor, list[_Part]]:
    """The same for the images together with their mirror images; an even width."""
    height, width = x.shape[2:]
    turned = x.flip(3)
    # The left half says it all; the square root keeps lengths.
    symmetric = ((x + turned)[..., : width // 2] / 2**0.5).flatten(1)
    antisymmetric = x.sub_(turned)[..., : width // 2].flatten(1).div_(2**0.5)
    mean = symmetric.mean(0)
    even = _part(symmetric.sub_(mean), dims, seed, antisymmetric=False)
    odd = _part(antisymmetric, dims, seed, antisymmetric=True)

    def whole(half: Tensor, sign: int) -> Tensor:
        left = half.reshape(-1, x.shape[1], height, width // 2) / 2**0.5
        return torch.cat([left, sign * left.flip(3)], dim=3).flatten(1)

    parts = [even._replace(basis=whole(even.basis, 1)), odd._replace(basis=whole(odd.basis, -1))]
    return whole(mean, 1)[0], parts


def _part(x: Tensor, dims: int, seed: int, *, antisymmetric: bool) -> _Part:
    """Components of centred rows x (n, pixels)."""
    basis = _eigenvectors(x, dims, seed)
    coordinates = x @ basis.T
    deviations = coordinates.square().mean(0).sqrt()
    kind = torch.full_like(deviations, float(antisymmetric))
    return _Part(basis, deviations, coordinates.abs().mean(0), kind)


def _eigenvectors(x: Tensor, dims: int, seed: int) -> Tensor:
    """Directions of greatest variance (k, pixels), k <= dims: exact by the smaller side, or randomised."""
    images, pixels = x.shape
    dims = min(dims, images, pixels)
    if pixels <= min(images, EXACT_SIDE):
        found: Tensor = torch.linalg.eigh((x.T @ x).double())[1].flip(1)[:, :dims].T.float().contiguous()
        return found
    if images <= EXACT_SIDE:
        # The Gram trick: eigenvectors u of x x^T give the directions x^T u.
        values, vectors = torch.linalg.eigh((x @ x.T).double())
        values, vectors = values.flip(0)[:dims], vectors.flip(1)[:, :dims]
        kept = values > values[0].clamp_min(1e-30) * NEGLIGIBLE**2
        directions: Tensor = vectors[:, kept].T.float() @ x
        return directions.div_(directions.norm(dim=1, keepdim=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.svd_lowrank(x, q=dims + OVERSAMPLING, niter=POWER_ITERATIONS)[2][:, :dims].T.contiguous()
