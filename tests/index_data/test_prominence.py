"""Near-duplicates are pairs that stand out from what is around them."""

import numpy as np
import pytest

from index_data.duplicates import compute_duplicates, duplicate_groups
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from index_data.indexes.choosing import Aims
from index_data.prominence import CROWDED, near_from, ordinary_scores, prominence
from train.decoding import DecodePool
from train.images import FOLDER_LIMITS


def beside(vector: np.ndarray, cosine: float, random: np.random.Generator) -> np.ndarray:
    """A vector of length 1 that has this cosine with another."""
    aside = random.normal(size=len(vector))
    aside -= aside @ vector * vector
    return cosine * vector + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)


@pytest.fixture
def gallery_of(bundle, tmp_path):
    """Makes a gallery of vectors without files; its ids begin with 1."""
    opened = []

    def make(vectors: np.ndarray) -> Gallery:
        gallery = Gallery.create(tmp_path / "made", bundle)
        opened.append(gallery)
        with gallery.changes() as changes:
            root = changes.root_id(tmp_path)
            for number, vector in enumerate(np.asarray(vectors, np.float32)):
                content = Content(number.to_bytes(32, "big"), 64, 48, "JPEG", vector[:4], vector)
                changes.put_item(FileState(root, b"%05d.jpg" % number, 1, 1), changes.add_content(content))
        build_generation(gallery, Aims(kind="flat"))
        return gallery

    yield make
    for gallery in opened:
        gallery.close()


def near_pairs(gallery: Gallery, **settings: float) -> list[list[int]]:
    with DecodePool(1, FOLDER_LIMITS) as pool:
        compute_duplicates(gallery, pool, **settings)
    return duplicate_groups(gallery)


def test_a_score_that_is_ordinary_in_a_crowd_tells_a_duplicate_elsewhere(gallery_of, bundle):
    random = np.random.default_rng(0)
    scattered = random.normal(size=(120, bundle.dims))
    scattered /= np.linalg.norm(scattered, axis=1, keepdims=True)
    centre = scattered[0]
    crowd = np.stack([beside(centre, 0.93, random) for _ in range(30)])  # with each other about .86
    pair = beside(scattered[1], 0.86, random)
    vectors = np.concatenate([scattered[1:], pair[None], crowd])
    gallery = gallery_of(vectors)
    assert near_pairs(gallery) == [[1, 120]]
    assert len(near_pairs(gallery, min_score=0.86)) > 1  # one cosine for all takes the crowd for copies


def test_a_copy_stands_out_in_a_crowd_too(gallery_of, bundle):
    random = np.random.default_rng(1)
    scattered = random.normal(size=(120, bundle.dims))
    scattered /= np.linalg.norm(scattered, axis=1, keepdims=True)
    crowd = np.stack([beside(scattered[0], 0.9, random) for _ in range(30)])
    copy = beside(crowd[3], 0.985, random)
    assert near_pairs(gallery_of(np.concatenate([crowd, copy[None], scattered[1:]]))) == [[4, 31]]


def test_a_picture_with_more_copies_than_are_looked_at_is_found_all_the_same(gallery_of, bundle):
    random = np.random.default_rng(2)
    scattered = random.normal(size=(120, bundle.dims))
    scattered /= np.linalg.norm(scattered, axis=1, keepdims=True)
    copies = np.stack([beside(scattered[0], 0.995, random) for _ in range(40)])
    (group,) = near_pairs(gallery_of(np.concatenate([copies, scattered])))
    assert sorted(group) == list(range(1, 42))


def test_where_a_gallery_is_too_small_a_fixed_cosine_decides(gallery_of, bundle):
    random = np.random.default_rng(3)
    one = np.eye(bundle.dims)[0]
    vectors = np.stack([one, beside(one, 0.96, random), beside(one, 0.9, random)])
    assert near_pairs(gallery_of(vectors)) == [[1, 2]]


def test_prominence_is_the_share_of_the_way_from_the_ordinary_score_to_one():
    scores = np.array([np.linspace(0.9, 0.15, 16), np.full(16, -np.inf)], np.float32)
    ordinary = ordinary_scores(scores)
    assert ordinary[0] == pytest.approx(scores[0, 8:].mean())
    assert np.isnan(ordinary[1])
    assert prominence(np.float32(1), ordinary[:1]) == pytest.approx(1)
    assert prominence(ordinary[:1], ordinary[:1]) == pytest.approx(0)
    assert prominence(near_from(ordinary[:1]), ordinary[:1]) == pytest.approx(0.65)


def test_what_is_so_near_all_around_that_they_are_copies_is_not_ordinary():
    assert ordinary_scores(np.full((1, 16), 0.97, np.float32)) == pytest.approx(CROWDED)
