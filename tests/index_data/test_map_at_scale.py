"""The map of a gallery that is larger than what it may hold in memory, and clusters of planes."""

import tracemalloc

import numpy as np
import pytest

from index_data import generations, mapping
from index_data.clustering import islands
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from index_data.indexes.choosing import Aims

ITEMS, GROUPS = 20_000, 8


def grouped_vectors(count: int, dims: int) -> np.ndarray:
    """Vectors of length 1 around `GROUPS` directions, in turn."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(GROUPS, dims))
    vectors = centres[np.arange(count) % GROUPS] + 0.3 * random.normal(size=(count, dims))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def large(bundle, tmp_path):
    """A gallery of 20,000 vectors in groups, without files."""
    with Gallery.create(tmp_path / "large", bundle) as gallery:
        vectors = grouped_vectors(ITEMS, gallery.dims)
        with gallery.changes() as changes:
            root = changes.root_id(tmp_path)
            for number, vector in enumerate(vectors):
                content = Content(number.to_bytes(32, "big"), 64, 48, "JPEG", vector[:4], vector)
                changes.put_item(FileState(root, b"%05d.jpg" % number, 1, 1), changes.add_content(content))
        build_generation(gallery, Aims(kind="flat"))
        yield gallery


def test_a_map_never_holds_all_vectors(large, monkeypatch):
    monkeypatch.setattr(generations, "READ_AT_ONCE", 0)  # so that the vectors are mapped, as those of large galleries
    monkeypatch.setattr(mapping, "SAMPLE_BYTES", 1 << 20)
    monkeypatch.setattr(mapping, "BLOCK", 512)
    tracemalloc.start()
    drawn = mapping.compute_map(large, None, clusters=4 * GROUPS)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < ITEMS * large.dims * 4 / 2
    assert len(drawn.ids) == ITEMS
    # Ids follow each other, and so do the groups.
    group = (drawn.ids - 1) % GROUPS
    for cluster in range(len(drawn.medoids)):
        assert len(set(group[drawn.clusters == cluster].tolist())) == 1
        assert drawn.clusters[drawn.ids == drawn.medoids[cluster]] == cluster


def test_what_is_read_in_blocks_is_what_all_vectors_at_once_say(large, monkeypatch):
    whole = mapping.compute_map(large, None)
    monkeypatch.setattr(mapping, "BLOCK", 777)
    in_blocks = mapping.compute_map(large, None)
    assert np.allclose(whole.points, in_blocks.points, atol=1e-4)
    # Products of matrices round by the size of the block, so what lies on a border may go either way.
    assert np.mean(whole.clusters == in_blocks.clusters) > 0.999
    vectors = grouped_vectors(ITEMS, large.dims).astype(np.float64)
    axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][:2]
    expected = (vectors - vectors.mean(axis=0)) @ axes.T
    for axis in range(2):
        assert abs(np.corrcoef(whole.points[:, axis], expected[:, axis])[0, 1]) > 0.9999


def test_islands_of_a_plane_are_clusters_and_what_lies_between_belongs_to_the_nearest():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    places = np.array([[-0.8, 0], [0.8, 0], [0, 0.8]], np.float32)
    truth = np.arange(900) % 3
    points = (places[truth] + 0.05 * random.normal(size=(900, 2))).astype(np.float32)
    points[:3] = 0.6 * places  # towards the middle
    found = islands(points, seed=0)
    assert found is not None
    assert len(set(zip(found.tolist(), truth.tolist(), strict=True))) == 3
    assert islands(points[:10], seed=0) is None
    assert islands(np.zeros((100, 2), np.float32), seed=0) is None


def test_a_large_plane_is_clustered_by_a_sample_of_it(monkeypatch):
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    truth = np.arange(5000) % 2
    points = (np.array([[-0.5, 0], [0.5, 0]])[truth] + 0.05 * random.normal(size=(5000, 2))).astype(np.float32)
    monkeypatch.setattr("index_data.clustering.SAMPLED_POINTS", 500)
    found = islands(points, seed=3)
    assert found is not None
    assert len(set(zip(found.tolist(), truth.tolist(), strict=True))) == 2
