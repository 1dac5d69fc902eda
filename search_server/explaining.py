"""Why two pictures are alike, and what sets a gallery's pictures apart: asked of the model itself."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from index_data.gallery import Vectors
from index_data.indexes.library import load_faiss
from index_data.schema import names_of
from search_server.galleries import ServedGallery
from train.images import Pixels

Heat = NDArray[np.float64]  # (grid, grid)

SAMPLE = 2000  # items that axes and prototypes are taken from
FARTHEST = 4  # items at each end of an axis
MEMBERS = 8  # items that stand for a group
BATCH = 64  # pictures that are embedded together
_DARK = 0.2  # how bright what counts for nothing stays
_SEED = 20


@dataclass(frozen=True)
class Axis:
    """A direction in which the latents of a gallery differ."""

    share: float  # of the variance
    deviation: float
    direction: Vectors  # (latent_dims,), length 1
    low: list[int]  # items that lie farthest out on this side, the farthest first
    high: list[int]


@dataclass(frozen=True)
class Group:
    """Items that belong together."""

    name: str
    items: int
    latent: Vectors  # their mean, (latent_dims,)
    members: list[int]  # items whose embeddings are nearest to the mean of theirs, the nearest first


def patches_that_count(served: ServedGallery, pixels: Pixels, other: Vectors, grid: int) -> Heat:
    """How much the cosine to another picture falls when a patch is blurred away.

    Args:
        served: Whose model looks.
        pixels: The picture as the model sees it, (size, size, 3).
        other: Embedding of the other one, (dims,).
        grid: Patches in a row.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks (2014), with a blur for their grey
        square: grey may itself be what two pictures share.
    """
    (whole,) = served.engine.embed(pixels[None]).embeddings
    scores = np.concatenate(
        [served.engine.embed(np.stack(some)).embeddings @ other for some in _in_batches(_occluded(pixels, grid))]
    )
    return np.nan_to_num(float(whole @ other) - scores).astype(np.float64).reshape(grid, grid)


def show_heat(pixels: Pixels, heat: Heat) -> Image.Image:
    """A picture in which what counts is bright and all else dark."""
    positive = np.clip(heat, 0, None)
    shares = positive / positive.max() if positive.max() > 0 else np.ones_like(positive)
    side = pixels.shape[0]
    smooth = Image.fromarray((shares * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    light = _DARK + (1 - _DARK) * np.asarray(smooth, np.float32)[..., None] / 255
    return Image.fromarray((pixels * light).astype(np.uint8))


def show_error(original: Pixels, painted: Pixels) -> Image.Image:
    """Where a reconstruction differs from its original: black is equal, white differs most."""
    difference = np.abs(original.astype(np.int16) - painted.astype(np.int16)).mean(axis=2)
    return Image.fromarray(np.clip(difference * (255 / max(float(difference.max()), 1.0)), 0, 255).astype(np.uint8))


def sample_of(served: ServedGallery) -> list[int]:
    """Ids of items that stand for a gallery: all of a small one, the same random ones of a large one."""
    ids = served.engine.ids
    if len(ids) > SAMPLE:
        ids = np.sort(np.random.default_rng(_SEED).choice(ids, SAMPLE, replace=False))
    return [item.id for item in served.gallery.items_by_id(ids.tolist())]


def main_axes(served: ServedGallery, ids: Sequence[int], count: int) -> tuple[Vectors, list[Axis]]:
    """The mean latent of some items, and the directions in which they differ most (principal components)."""
    latents = served.gallery.latents(ids)
    mean = latents.mean(axis=0)
    centred = latents - mean
    _, sizes, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    variances = sizes**2 / max(len(ids) - 1, 1)
    total = float(variances.sum())
    axes = []
    for number in range(min(count, len(sizes))):
        if variances[number] <= 1e-12 * max(total, 1e-12):
            break
        order = np.argsort(centred @ directions[number], kind="stable").tolist()
        axes.append(
            Axis(
                share=float(variances[number]) / total,
                deviation=float(np.sqrt(variances[number])),
                direction=directions[number].astype(np.float32),
                low=[ids[place] for place in order[:FARTHEST]],
                high=[ids[place] for place in order[::-1][:FARTHEST]],
            )
        )
    return mean, axes


def groups_by_folder(served: ServedGallery, ids: Sequence[int], count: int) -> list[Group]:
    """The largest folders of some items, the largest first."""
    names = [names_of(item.path)[0] for item in served.gallery.items_by_id(list(ids))]
    return _groups(served, ids, names, count)


def groups_by_likeness(served: ServedGallery, ids: Sequence[int], count: int) -> list[Group]:
    """Clusters of some items (k-means on their embeddings), the largest first."""
    embeddings = np.ascontiguousarray(served.gallery.embeddings(ids))
    clusters = min(count, len(ids))
    kmeans = load_faiss().Kmeans(
        embeddings.shape[1], clusters, niter=20, seed=_SEED, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(embeddings)
    _, nearest = kmeans.index.search(embeddings, 1)
    return _groups(served, ids, [str(number + 1) for number in nearest[:, 0]], count)


def _groups(served: ServedGallery, ids: Sequence[int], names: Sequence[str], count: int) -> list[Group]:
    latents, embeddings = served.gallery.latents(ids), served.gallery.embeddings(ids)
    labels = np.array(names)
    groups = []
    for name in dict.fromkeys(names):
        members = np.flatnonzero(labels == name)
        likeness = embeddings[members] @ embeddings[members].mean(axis=0)
        typical = members[np.argsort(-likeness, kind="stable")[:MEMBERS]]
        groups.append(Group(name, len(members), latents[members].mean(axis=0), [ids[place] for place in typical]))
    return sorted(groups, key=lambda group: (-group.items, group.name))[:count]


def _occluded(pixels: Pixels, grid: int) -> Iterator[Pixels]:
    """A picture with one patch after the other blurred away, row by row."""
    side = pixels.shape[0]
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(side / grid)))
    edges = np.linspace(0, side, grid + 1).round().astype(int)
    for top, bottom in itertools.pairwise(edges):
        for left, right in itertools.pairwise(edges):
            changed = pixels.copy()
            changed[top:bottom, left:right] = blurred[top:bottom, left:right]
            yield changed


def _in_batches(pictures: Iterator[Pixels]) -> Iterator[list[Pixels]]:
    batch: list[Pixels] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
