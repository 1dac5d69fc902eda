"""An order of vectors in which neighbours in space are neighbours in memory.

A walk over a graph of a million vectors waits for memory most of its time: in the order in which pictures came, each
vector that it looks at lies on another page. So the vectors are split into clusters, those into smaller ones, and laid
down cluster by cluster: what a walk looks at next is near, and often in the processor's caches already. What that is
worth is in docs/benchmarks.md.
"""

import numpy as np

from index_data.indexes.library import load_faiss
from index_data.indexes.vectors import Floats, Rows, StoredVectors
from train.interruption import StopRequest

BRANCHES = 64  # clusters that vectors are split into at a time
SMALLEST = 256  # vectors that are not split further: they fill some pages
TRAINED_A_BRANCH = 64  # vectors from which a cluster's centre is found
ROUNDS = 5
UNSPLIT = 0.9  # of the vectors in one cluster: they are copies of each other, or nearly, and splitting gets nowhere
SEED = 0


def rows_by_nearness(vectors: StoredVectors, *, stop: StopRequest | None = None) -> Rows:
    """All rows, (n,), in an order in which those with like vectors are near each other; always the same one.

    Args:
        vectors: Of all rows; a slice of them is in memory at a time.
        stop: Looked at between two splits.

    Raises:
        Interrupted: It was asked to stop.
    """
    ordered = []
    unsplit = [np.arange(len(vectors))]  # the next one at the end
    while unsplit:
        rows = unsplit.pop()
        if stop is not None:
            stop.raise_if_set("The index that was there stays.")
        parts = _split(vectors, rows) if len(rows) > SMALLEST else [rows]
        if max(map(len, parts)) >= UNSPLIT * len(rows):
            ordered.append(rows)
        else:
            unsplit += reversed(parts)
    return np.concatenate(ordered)


def _split(vectors: StoredVectors, rows: Rows) -> list[Rows]:
    """Some rows in clusters, each beside one that is like it."""
    centres = _centres(vectors, rows)
    of = np.concatenate([np.argmax(some @ centres.T, axis=1) for some in vectors.slices(rows)])
    return [rows[of == branch] for branch in _chain(centres)]


def _centres(vectors: StoredVectors, rows: Rows) -> Floats:
    """The centres of clusters, (BRANCHES, dims), of length 1."""
    faiss = load_faiss()
    sample = np.sort(np.random.default_rng(SEED).permutation(len(rows))[: BRANCHES * TRAINED_A_BRANCH])
    kmeans = faiss.Kmeans(vectors.dims, BRANCHES, niter=ROUNDS, spherical=True, seed=SEED, min_points_per_centroid=1)
    kmeans.train(vectors.take(rows[sample]))
    centres: Floats = kmeans.centroids
    return centres


def _chain(centres: Floats) -> list[int]:
    """All centres, each followed by the one that is most like it among those that are left."""
    likeness = centres @ centres.T
    chain = [0]
    while len(chain) < len(centres):
        likeness[:, chain[-1]] = -np.inf
        chain.append(int(np.argmax(likeness[chain[-1]])))
    return chain
