"""Clusters for the map: k-means over the embeddings, or HDBSCAN over a plane that keeps neighbourhoods (UMAP).

HDBSCAN over embeddings was tried and left: most items belong nowhere there (docs/decisions/0010-clusters.md).
"""

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Vectors
from index_data.indexes.library import load_faiss

Points = NDArray[np.float32]  # (n, 2), from -1 to 1
Clusters = NDArray[np.int32]  # (n,): the cluster of each item, from 0
Method = Literal["k-means", "hdbscan"]

MOST_CLUSTERS, FEWEST_IN_A_CLUSTER = 32, 8
TRIES = 5  # of k-means, from other beginnings: the best one counts
MOST_ISLANDS = 200  # HDBSCAN's clusters hold at least so small a share of all
CORE = 5  # points that make a place dense
SAMPLED_POINTS = 20_000  # that HDBSCAN looks at: its time grows with their square


def usual_clusters(count: int) -> int:
    """How many clusters suit a number of items."""
    return max(1, min(MOST_CLUSTERS, round(math.sqrt(count)), count // FEWEST_IN_A_CLUSTER))


class Centres:
    """The middles of k-means on the sphere."""

    def __init__(self, sample: Vectors, count: int, seed: int) -> None:
        """Find them in a sample of the embeddings, (n, dims), at least one."""
        kmeans = load_faiss().Kmeans(
            sample.shape[1],
            min(count, len(sample)),
            niter=20,
            nredo=TRIES,
            seed=seed + 1,
            spherical=True,
            min_points_per_centroid=1,
        )
        kmeans.train(np.ascontiguousarray(sample))
        self._index = kmeans.index

    def nearest(self, vectors: Vectors) -> Clusters:
        """The centre that is nearest to each."""
        found: Clusters = self._index.search(np.ascontiguousarray(vectors), 1)[1][:, 0].astype(np.int32)
        return found


def islands(points: Points, seed: int) -> Clusters | None:
    """Clusters of a plane by HDBSCAN; what lies between them belongs to the nearest one. None where there are no two.

    Needs scikit-learn, which UMAP brings.
    """
    from scipy.spatial import KDTree  # type: ignore[import-untyped]
    from sklearn.cluster import HDBSCAN

    sample = points
    if len(points) > SAMPLED_POINTS:
        sample = points[np.random.default_rng(seed).choice(len(points), SAMPLED_POINTS, replace=False)]
    fewest = max(FEWEST_IN_A_CLUSTER, len(sample) // MOST_ISLANDS)
    if len(sample) < 2 * fewest:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found: Any = HDBSCAN(min_cluster_size=fewest, min_samples=CORE, copy=True).fit_predict(sample)
    inside = found >= 0
    if found.max() < 1:
        return None
    nearest = KDTree(sample[inside]).query(points)[1]
    return found[inside][nearest].astype(np.int32)  # type: ignore[no-any-return]
