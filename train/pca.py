"""Principal components of the training images: the linear skip of the network and the number to beat.

With `mirror`, the components are those of the images and their mirror images together. Each is then either symmetric or
antisymmetric under mirroring, so that the two kinds can be found apart, each on half the pixels, and the sign of an
antisymmetric coordinate says which way round an image is.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from train.images import Pixels

Floats = NDArray[np.float32]

MAX_IMAGES = 10_000  # of a larger set, that many drawn evenly say the same to three digits
EXACT_SIDE = 2048  # up to this many images or pixels the eigenvectors are exact: about a second
OVERSAMPLING = 32  # extra directions of the randomised method ...
POWER_ITERATIONS = 4  # ... and its rounds: the error of the reconstruction is then within 0.1 % of the exact one
NEGLIGIBLE = 1e-4  # of the largest deviation: below it a component is rounding noise


@dataclass(frozen=True)
class PrincipalComponents:
    """Directions of greatest variance, by falling variance; pixels are in [0, 1], channels first (3, h, w), flat."""

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
    images: "Pixels",
    rows: NDArray[np.int64],
    dims: int,
    *,
    mirror: bool,
    factor: int = 1,
    seed: int = 0,
) -> PrincipalComponents:
    """Find the principal components of some rows of an image array.

    Args:
        images: (n, h, w, 3) uint8, may be a memory map.
        rows: Which of them to use; of more than `MAX_IMAGES`, as many evenly spaced ones.
        dims: How many components are wanted; fewer come back where the images do not have as many.
        mirror: Treat each image and its mirror image alike.
        factor: The images are averaged down by this factor first.
        seed: Of the randomised method.
    """
    import torch

    if len(rows) > MAX_IMAGES:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_IMAGES).astype(np.int64)]
    x = _as_floats(images, rows, factor)
    size = (x.shape[2], x.shape[3])
    if not mirror:
        flat = x.flatten(1)
        mean = flat.mean(0)
        parts = [_part(flat.sub_(mean), dims, seed, antisymmetric=False)]
    else:
        half = size[1] // 2  # the width is even: image sizes are multiples of 16
        turned = x.flip(3)
        # The left half says it all; sqrt(2) keeps lengths.
        symmetric = ((x + turned)[..., :half] / 2**0.5).flatten(1)
        antisymmetric = x.sub_(turned)[..., :half].flatten(1).div_(2**0.5)
        del turned
        mean_half = symmetric.mean(0)
        mean = _unfold(mean_half[None], size, sign=1)[0]
        parts = [
            _part(symmetric.sub_(mean_half), dims, seed, antisymmetric=False),
            _part(antisymmetric, dims, seed, antisymmetric=True),
        ]
        parts = [
            (_unfold(basis, size, sign=-1 if odd[0] else 1), deviations, magnitudes, odd)
            for basis, deviations, magnitudes, odd in parts
        ]
    basis, deviations, magnitudes, odd = (torch.cat(each) for each in zip(*parts, strict=True))
    order = torch.argsort(deviations, descending=True, stable=True)[: min(dims, len(rows) - 1)]
    order = order[deviations[order] > NEGLIGIBLE * deviations.max()]
    return PrincipalComponents(
        mean=mean.numpy(),
        basis=basis[order].numpy(),
        deviations=deviations[order].numpy(),
        magnitudes=magnitudes[order].numpy(),
        antisymmetric=odd[order].numpy(),
    )


def reconstruction_error(
    components: PrincipalComponents, images: "Pixels", rows: NDArray[np.int64], factor: int = 1
) -> float:
    """Mean squared error per pixel and channel, in [0, 1] units, of images that are rebuilt from their coordinates.

    Clipped to [0, 1], like the network's reconstruction: the stricter number to beat.
    """
    import torch

    basis, mean = torch.from_numpy(components.basis), torch.from_numpy(components.mean)
    total = 0.0
    for start in range(0, len(rows), 256):
        x = _as_floats(images, rows[start : start + 256], factor).flatten(1)
        rebuilt = torch.addmm(mean, (x - mean) @ basis.T, basis).clamp_(0, 1)
        total += float((rebuilt - x).square().mean(1).double().sum())
    return total / len(rows)


def _as_floats(images: "Pixels", rows: NDArray[np.int64], factor: int) -> "torch.Tensor":
    """Rows of an image array as (n, 3, h, w) in [0, 1], averaged down; a batch at a time, to bound the memory."""
    import torch
    import torch.nn.functional as F

    height, width = images.shape[1] // factor, images.shape[2] // factor
    x = torch.empty(len(rows), 3, height, width)
    for start in range(0, len(rows), 512):
        batch = torch.from_numpy(images[rows[start : start + 512]]).permute(0, 3, 1, 2).float().div_(255)
        x[start : start + 512] = F.avg_pool2d(batch, factor) if factor > 1 else batch
    return x


Part = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor", "torch.Tensor"]


def _part(x: "torch.Tensor", dims: int, seed: int, *, antisymmetric: bool) -> Part:
    """Basis (k, pixels), deviations, mean magnitudes and kind (k,) of centred rows x (n, pixels)."""
    import torch

    basis = _eigenvectors(x, dims, seed)
    coordinates = x @ basis.T
    deviations = coordinates.square().mean(0).sqrt()
    kind = torch.full_like(deviations, float(antisymmetric))
    return basis, deviations, coordinates.abs().mean(0), kind


def _eigenvectors(x: "torch.Tensor", dims: int, seed: int) -> "torch.Tensor":
    """Directions of greatest variance (k, pixels), k <= dims: exact by the smaller side, or randomised."""
    import torch

    images, pixels = x.shape
    dims = min(dims, images, pixels)
    if pixels <= min(images, EXACT_SIDE):
        found: torch.Tensor = torch.linalg.eigh((x.T @ x).double())[1].flip(1)[:, :dims].T.float().contiguous()
        return found
    if images <= EXACT_SIDE:
        # The Gram trick: eigenvectors u of x x^T give the directions x^T u.
        values, vectors = torch.linalg.eigh((x @ x.T).double())
        values, vectors = values.flip(0)[:dims], vectors.flip(1)[:, :dims]
        kept = values > values[0].clamp_min(1e-30) * NEGLIGIBLE**2
        directions: torch.Tensor = vectors[:, kept].T.float() @ x
        return directions.div_(directions.norm(dim=1, keepdim=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.svd_lowrank(x, q=dims + OVERSAMPLING, niter=POWER_ITERATIONS)[2][:, :dims].T.contiguous()


def _unfold(half: "torch.Tensor", size: tuple[int, int], *, sign: int) -> "torch.Tensor":
    """Complete left halves (k, pixels of the half), scaled by sqrt(2), with their mirror image, as (k, pixels)."""
    import torch

    height, width = size
    left = half.reshape(len(half), 3, height, width // 2) / 2**0.5
    return torch.cat([left, sign * left.flip(3)], dim=3).flatten(1)
