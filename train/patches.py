"""An encoder without training: responses of whitened random patches, pooled over quarters of an image, and their PCA.

Filters are patches of the images themselves, whitened, so that a few hundred of them see edges and colours about as a
first layer of a trained network does. It is the floor that a trained encoder has to beat. No PyTorch: evaluation prints
it beside every model. `train/architectures/similarity.py` builds on the same filters.

Sources: Coates, Ng, Lee 2011, "An analysis of single-layer networks in unsupervised feature learning", with random
patches in place of k-means, which they found nearly as good; the square root of pooled responses, as in the power
normalisation of Perronnin, Sanchez, Mensink 2010: on 10,000 images of CIFAR-10 it is worth 2 to 5 points of kNN.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from train.images import Pixels

Floats = NDArray[np.float32]

SIDE = 32  # px of the images that are encoded
PATCH = 6  # px
FILTERS = 384
SAMPLED_PATCHES = 100_000  # from which the whitening is found
CONTRAST = 10 / 255**2  # added to a patch's variance: flat patches are not noise magnified (Coates et al.)
THRESHOLD = 0.5  # of a response, below which a filter says nothing (Coates et al.)
RIDGE = 0.1  # added to the variances of contrast-normalised patches before they are divided by (Coates et al.)
POOL, POOL_STEP = 13, 14  # of 27 x 27 responses, quarters; the middle row and column are left out
CELLS = 2  # quarters on a side
FITTED_IMAGES = 10_000  # at most, for the principal components of the responses
BATCH = 64
SMALLEST_SHARE = 1e-6  # of the largest variance: below it a direction is rounding noise


@dataclass(frozen=True)
class PatchEncoder:
    """Filters and the projection of their pooled responses.

    Attributes:
        filters: (FILTERS, 3 * PATCH**2), on contrast-normalised patches, channels first.
        offsets: (FILTERS,) responses of the mean patch, taken off.
        mean: (2 * FILTERS * CELLS**2,) of the pooled responses.
        projection: (dims, the same), principal directions over a power of their deviation.
    """

    filters: Floats
    offsets: Floats
    mean: Floats
    projection: Floats

    @classmethod
    def fit(cls, images: Pixels, dims: int, seed: int = 0, whitening: float = 0.5) -> "PatchEncoder":
        """Find filters and projection from images.

        Args:
            images: (n, 32, 32, 3) uint8; may be a memory map, of which a sample is read.
            dims: Of the code; fewer come out where the images do not support as many.
            seed: Of the choice of patches.
            whitening: Power of the deviation that divides a component: 0.5 is best on a thousand photos, 1 on many
                small images (docs/decisions/0007).
        """
        random = np.random.default_rng(seed)
        rows = np.sort(random.permutation(len(images))[:FITTED_IMAGES])
        sample = np.asarray(images[rows])
        filters, offsets = whitened_patches(sample, FILTERS, random)
        responses = np.concatenate(list(_responses(sample, filters, offsets)))
        mean = responses.mean(axis=0)
        projection = _projection(responses - mean, dims, whitening)
        return cls(filters, offsets, mean, projection)

    @property
    def dims(self) -> int:
        """Length of a code."""
        return len(self.projection)

    def encode(self, images: Pixels) -> Floats:
        """Codes of images (n, 32, 32, 3), centred on the images it was fitted to: (n, dims)."""
        parts = [(part - self.mean) @ self.projection.T for part in _responses(images, self.filters, self.offsets)]
        return np.concatenate(parts) if parts else np.empty((0, self.dims), np.float32)


def whitened_patches(images: Pixels, count: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Some patches of the images as filters of length 1 behind the whitening of all patches.

    Args:
        images: (n, side, side, 3) uint8.
        count: How many filters.
        random: Chooses them.

    Returns:
        Filters on contrast-normalised patches, (count, 3 * PATCH**2), channels first, and the responses of the mean
        patch, which are to be taken off, (count,).
    """
    side = images.shape[1]
    which = random.integers(len(images), size=SAMPLED_PATCHES)
    top, left = random.integers(side - PATCH + 1, size=(2, SAMPLED_PATCHES))
    windows = sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))  # (n, 27, 27, 3, 6, 6)
    patches = _contrast_normalised(
        windows[which, top, left].reshape(SAMPLED_PATCHES, -1).astype(np.float32) / np.float32(255)
    )
    mean = patches.mean(axis=0)
    centred = patches - mean
    variances, directions = np.linalg.eigh((centred.T @ centred / len(centred)).astype(np.float64))
    whitening = ((directions / np.sqrt(variances + RIDGE)) @ directions.T).astype(np.float32)
    chosen = centred[random.permutation(SAMPLED_PATCHES)[:count]] @ whitening
    chosen /= np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-6)
    filters = (chosen @ whitening).astype(np.float32)
    return filters, filters @ mean


def _contrast_normalised(patches: Floats) -> Floats:
    """Patches (n, values) less their mean, over their deviation."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    normalised: Floats = centred / np.sqrt(centred.var(axis=1, keepdims=True) + np.float32(CONTRAST))
    return normalised


def _responses(images: Pixels, filters: Floats, offsets: Floats) -> Iterator[Floats]:
    """Pooled responses, (batch, 2 * FILTERS * CELLS**2): positive and negative parts, each over every quarter."""
    side = SIDE - PATCH + 1
    for start in range(0, len(images), BATCH):
        batch = np.asarray(images[start : start + BATCH], np.float32) / np.float32(255)
        windows = sliding_window_view(batch, (PATCH, PATCH), axis=(1, 2))
        patches = _contrast_normalised(windows.reshape(len(batch) * side * side, -1))
        found = (patches @ filters.T - offsets).reshape(len(batch), side, side, -1)
        cells = [
            part[:, y : y + POOL, x : x + POOL].mean(axis=(1, 2))
            for part in (np.maximum(found - THRESHOLD, 0), np.maximum(-found - THRESHOLD, 0))
            for y in range(0, CELLS * POOL_STEP, POOL_STEP)
            for x in range(0, CELLS * POOL_STEP, POOL_STEP)
        ]
        yield np.sqrt(np.concatenate(cells, axis=1))


def _projection(centred: Floats, dims: int, whitening: float) -> Floats:
    """Principal directions (dims, values) of centred rows, each over its deviation to the power of `whitening`."""
    count, width = centred.shape
    few = count < width  # the Gram matrix is then the smaller one, and has the same eigenvalues
    products = (centred @ centred.T if few else centred.T @ centred) / count
    values, vectors = np.linalg.eigh(products.astype(np.float64))
    order = np.argsort(values)[::-1][: min(dims, count - 1)]
    order = order[values[order] > SMALLEST_SHARE * max(values[-1], 1e-12)]
    directions = vectors[:, order]
    if few:
        directions = centred.T @ directions / np.sqrt(count * values[order])
    rows: Floats = (directions / np.sqrt(values[order]) ** whitening).T.astype(np.float32)
    return rows
