import numpy as np
import pytest

from index_data.indexes.vectors import StoredVectors

DIMS = 32


def embeddings(count, *, dims=DIMS, seed=0):
    """Vectors of length 1 about fifty centres in a space of 12 dimensions, as embeddings of kinds of things lie."""
    random = np.random.default_rng(seed)
    basis = np.random.default_rng(99).standard_normal((min(12, dims), dims))
    centres = np.random.default_rng(98).standard_normal((50, len(basis)))
    inner = centres[random.integers(0, 50, count)] + 0.6 * random.standard_normal((count, len(basis)))
    vectors = inner @ basis + 0.3 * random.standard_normal((count, dims))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exact_neighbours(vectors, queries, k, mask=None):
    """Rows and scores by plain NumPy, best first."""
    products = queries.astype(np.float64) @ vectors.astype(np.float64).T
    if mask is not None:
        products[:, ~mask] = -np.inf
    rows = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, rows, axis=1), rows


def recall(found, exact):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist(), strict=True)])


@pytest.fixture(scope="session")
def vectors():
    return StoredVectors(embeddings(4000))


@pytest.fixture(scope="session")
def queries():
    return embeddings(60, seed=1)
