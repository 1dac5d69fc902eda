"""The similarity slider: a re-weighted query moves between "same thing" and "looks the same"; nothing is indexed anew.

An embedding is `[unit(z_sem); alpha unit(z_pix)] / sqrt(1 + alpha^2)`: what is shown, and what it looks like. The
inner product is bilinear, so a weight beta on the query's pixel half alone weighs the pixel half of every score:

    q' = [q_sem; beta q_pix] (1 + alpha^2) / (1 + beta alpha^2)
    q' . x = (cos_sem + beta alpha^2 cos_pix) / (1 + beta alpha^2)

A score stays a weighted mean of the two halves' cosines, and a picture scores 1 with itself at each weight.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from index_data.config import AS_INDEXED, MAX_BETA
from train.errors import UserError

if TYPE_CHECKING:
    from export.bundle import Bundle

Floats = NDArray[np.float32]

SMALLEST = 1e-9  # length of a half: below it it points nowhere and is near to nothing


class NoSemanticHalfError(UserError):
    """Another weight was asked of a model whose embedding has one part only."""

    code = "no_semantic_half"


@dataclass(frozen=True)
class Halves:
    """How the embeddings of a model are put together."""

    semantic_dims: int = 0  # the leading numbers; 0: an embedding is one part, and there is nothing to weigh
    alpha: float = 1.0  # weight of the pixel half that is baked into the index

    @classmethod
    def of(cls, bundle: "Bundle") -> "Halves":
        """The halves of a model's embeddings."""
        return cls(bundle.semantic_dims, bundle.alpha)

    def expect_weight(self, beta: float) -> None:
        """Refuse a weight that this model cannot give.

        Raises:
            UserError: It is not from 0 to `MAX_BETA`.
            NoSemanticHalfError: It is not 1, and the model has no semantic half.
        """
        if not 0 <= beta <= MAX_BETA:  # nor is NaN
            raise UserError(f"beta is {beta}: it must be from 0 (same thing) to {MAX_BETA:g} (looks the same).")
        if beta != AS_INDEXED and not self.semantic_dims:
            raise NoSemanticHalfError(
                f"beta is {beta:g}, but this gallery's model has no semantic half to weigh against the pixels: leave "
                "beta at 1, or index the pictures with a model that has one (`semantic_dims`)."
            )

    def weigh_queries(self, embeddings: Floats, beta: float) -> Floats:
        """Weigh the pixel half of queries.

        Args:
            embeddings: (queries, dims), each of length 1.
            beta: 0 same thing, 1 as indexed, high: looks the same.

        Returns:
            (queries, dims): their inner products with the index's embeddings are scores from -1 to 1. Their length is
            1 only where beta is 1.

        Raises:
            UserError: See `expect_weight`.
        """
        self.expect_weight(beta)
        if beta == AS_INDEXED:
            return embeddings
        weighed = embeddings * self._scale(beta)
        weighed[:, self.semantic_dims :] *= beta
        return weighed.astype(np.float32)

    def inner_products(self, a: Floats, b: Floats) -> Floats:
        """What each half brings to the scores of pairs of embeddings, (n, dims) each: (n, 2), semantic and pixel."""
        products = a * b
        split = self.semantic_dims
        return np.stack([products[:, :split].sum(axis=1), products[:, split:].sum(axis=1)], axis=1)

    def cosines(self, query: Floats, vectors: Floats) -> Floats:
        """Cosines of one query, (dims,), with embeddings, (n, dims), in each half: (2, n), semantic and pixel.

        The halves of a query may have any length; those of embeddings have the lengths that their making gave them.
        """
        split = self.semantic_dims
        length = math.sqrt(1 + self.alpha**2)
        found = np.empty((2, len(vectors)), np.float32)
        found[0] = vectors[:, :split] @ (query[:split] * (length / _length(query[:split])))
        found[1] = vectors[:, split:] @ (query[split:] * (length / max(self.alpha, SMALLEST) / _length(query[split:])))
        return found

    def scores(self, inner_products: Floats, beta: float) -> Floats:
        """Scores of pairs at a weight, from what `inner_products` gives, (..., 2): (...)."""
        together = inner_products[..., 0] + beta * inner_products[..., 1]
        scores: Floats = (together * self._scale(beta)).astype(np.float32)
        return scores

    def _scale(self, beta: float) -> float:
        if beta == AS_INDEXED:  # also where alpha does not count, because there is one part only
            return 1.0
        return (1 + self.alpha**2) / (1 + beta * self.alpha**2)


ONE_PART = Halves()  # of embeddings that have no halves


def _length(half: Floats) -> float:
    return max(math.sqrt(np.vdot(half, half)), SMALLEST)
