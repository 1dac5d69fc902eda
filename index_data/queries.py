"""Queries that are more than one picture: several with weights, one in all its mirrored and turned forms."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from index_data.config import MAX_WEIGHT
from index_data.gallery import Vectors
from train.errors import UserError
from train.images import Pixels

Transforms = Literal["none", "mirror", "rotate", "all"]
SMALLEST = 1e-4  # length of a weighted sum of unit vectors: below it nothing but rounding is left

T = TypeVar("T", bound=Hashable)
Merit = tuple[float, float]  # how far a hit stands out (0: it does not), and its score


def variants(pixels: Pixels, transforms: Transforms) -> Pixels:
    """A picture in all the forms in which it is looked for.

    Args:
        pixels: (size, size, 3), as the model takes it.
        transforms: none; mirror: 2 forms; rotate: 4, by quarter turns; all: 8.

    Returns:
        (forms, size, size, 3), the picture itself first.
    """
    turned = [np.rot90(pixels, turns) for turns in range(4 if transforms in ("rotate", "all") else 1)]
    mirrored = [np.fliplr(each) for each in turned] if transforms in ("mirror", "all") else []
    return np.ascontiguousarray(np.stack([*turned, *mirrored]))


def combine(embeddings: Vectors, weights: Sequence[float]) -> Vectors:
    """One query of several: the weighted sum of their embeddings, scaled to length 1.

    Args:
        embeddings: (n, dims), each of length 1.
        weights: Positive: like this one; negative: unlike it.

    Returns:
        (dims,).

    Raises:
        UserError: The pictures cancel each other out, or all weights are 0 (bad_embedding).
    """
    given = np.asarray(weights, np.float64)
    if not np.isfinite(given).all() or np.abs(given).max(initial=0) > MAX_WEIGHT:
        raise UserError(f"a weight is from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}.")
    total = given @ embeddings.astype(np.float64)
    length = float(np.linalg.norm(total))
    if length < SMALLEST:
        raise UserError("nothing is left of the pictures together: change their weights.", code="bad_embedding")
    return (total / length).astype(np.float32)


def combine_latents(latents: Vectors, weights: Sequence[float]) -> Vectors:
    """What the decoder is to paint of a combined query: the weighted mean of latents, (n, latent_dims) to (dims,)."""
    given = np.asarray(weights, np.float64)
    # Of a - b the whole difference would be no mean: the weights add up to nothing.
    total = given.sum() if given.sum() > 0.5 * np.abs(given).max() else np.abs(given).sum()
    mean: Vectors = (given @ latents.astype(np.float64) / max(total, 1e-9)).astype(np.float32)
    return mean


def unit_vector(vector: Sequence[float], dims: int) -> Vectors:
    """A vector that somebody gives as a query, scaled to length 1, (dims,).

    Raises:
        UserError: It has another length (dimension_mismatch), or points nowhere (bad_embedding).
    """
    if len(vector) != dims:
        raise UserError(
            f"the vector has {len(vector)} numbers, but the gallery's have {dims}.", code="dimension_mismatch"
        )
    given: NDArray[np.float64] = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(given))
    if not np.isfinite(length) or length < 1e-12:
        raise UserError("the vector points nowhere: give one whose length is not 0.", code="bad_embedding")
    return (given / length).astype(np.float32)


def best_of(found: Iterable[Iterable[tuple[T, Merit]]], k: int) -> list[tuple[T, Merit]]:
    """Of the things that several queries found, each once with its greatest merit; the k best, best first."""
    best: dict[T, Merit] = {}
    for pairs in found:
        for thing, merit in pairs:
            best[thing] = max(merit, best.get(thing, merit))
    # Sorting is stable: equals stay as the queries gave them.
    return sorted(best.items(), key=lambda pair: pair[1], reverse=True)[:k]
