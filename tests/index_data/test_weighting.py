"""The similarity slider: the weight of what a picture looks like, on a real model with both halves."""

import numpy as np
import pytest

from index_data.adding import add_folder
from index_data.config import MAX_BETA
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.weighting import Halves
from train.errors import UserError

WEIGHTS = (0.0, 0.1, 1.0, 7.0, 100.0, MAX_BETA)


@pytest.fixture(scope="module")
def engine(halved_bundle, drawn_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("halved-galleries") / "drawn"
    with Gallery.create(folder, halved_bundle) as gallery:
        add_folder(gallery, halved_bundle, drawn_folder, provider="cpu", workers=1)
    with Engine.open(folder, provider="cpu", decoder=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def embeddings(engine):
    return engine.gallery.embeddings(engine.ids.tolist())


def cosines(a, b):
    """Of each row of a with each of b, by plain NumPy."""
    a, b = (each.astype(np.float64) / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    return a @ b.T


def test_a_models_halves_are_as_long_as_its_bundle_says(engine, halved_bundle, embeddings):
    assert (engine.halves.semantic_dims, engine.halves.alpha) == (8, halved_bundle.alpha)
    lengths = np.linalg.norm(embeddings[:, :8], axis=1), np.linalg.norm(embeddings[:, 8:], axis=1)
    assert lengths[1] / lengths[0] == pytest.approx(np.full(48, halved_bundle.alpha), rel=1e-4)


def test_at_weight_1_nothing_changes(engine, embeddings):
    assert engine.search(embeddings, 10, beta=1.0) == engine.search(embeddings, 10)
    assert engine.halves.weigh_queries(embeddings, 1.0) is embeddings


@pytest.mark.parametrize("beta", WEIGHTS)
def test_a_picture_scores_1_with_itself_at_each_weight(engine, embeddings, beta):
    for number, hits in zip(engine.ids.tolist(), engine.search(embeddings, 48, beta=beta), strict=True):
        (itself,) = (hit.score for hit in hits if hit.id == number)
        assert itself == pytest.approx(1, abs=5e-6)
        assert all(-1 <= hit.score <= 1 for hit in hits)


@pytest.mark.parametrize("beta", WEIGHTS)
def test_a_score_is_the_weighted_mean_of_the_cosines_of_both_halves(engine, embeddings, beta):
    semantic, pixel = cosines(embeddings[:, :8], embeddings[:, :8]), cosines(embeddings[:, 8:], embeddings[:, 8:])
    share = beta * engine.halves.alpha**2
    expected = (semantic + share * pixel) / (1 + share)
    ids = engine.ids.tolist()
    for row, hits in enumerate(engine.search(embeddings, 48, beta=beta)):
        assert [hit.score for hit in hits] == pytest.approx(
            [expected[row, ids.index(hit.id)] for hit in hits], abs=5e-6
        )
        merits = [(hit.stands_out, hit.score) for hit in hits]
        assert merits == sorted(merits, reverse=True)


def test_at_weight_0_only_the_semantic_half_counts(engine, embeddings):
    expected = cosines(embeddings[:, :8], embeddings[:, :8])
    for row, hits in enumerate(engine.search(embeddings, 48, beta=0.0)):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(expected[row])[::-1], abs=5e-6)


def test_at_the_highest_weight_the_pixel_half_decides(engine, embeddings):
    pixel = cosines(embeddings[:, 8:], embeddings[:, 8:])
    ids = engine.ids.tolist()
    for row, hits in enumerate(engine.search(embeddings, 10, beta=MAX_BETA)):
        found = [pixel[row, ids.index(hit.id)] for hit in hits]
        assert found == pytest.approx(np.sort(pixel[row])[::-1][:10], abs=2 / (MAX_BETA * engine.halves.alpha**2))


def test_another_weight_changes_neither_the_index_nor_the_query(engine, embeddings):
    generation, before = engine.generation, embeddings.copy()
    ranked = [[hit.id for hit in engine.search(embeddings[:1], 48, beta=beta)[0]] for beta in (0.0, MAX_BETA)]
    assert ranked[0] != ranked[1]
    assert engine.generation == generation
    assert np.array_equal(embeddings, before)
    assert np.array_equal(engine.gallery.embeddings(engine.ids.tolist()), before)


@pytest.mark.parametrize("beta", [-0.1, MAX_BETA * 1.01, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_refused_with_the_range(engine, embeddings, beta):
    with pytest.raises(UserError, match=r"from 0 \(same thing\) to 1000") as refused:
        engine.search(embeddings, 3, beta=beta)
    assert refused.value.problem.code == "invalid"


def test_a_model_of_one_part_has_nothing_to_weigh(filled):
    with Engine.open(filled, provider="cpu", decoder=False) as engine:
        query = engine.gallery.embeddings([1])
        assert engine.search(query, 3, beta=1.0) == engine.search(query, 3)
        with pytest.raises(UserError, match="semantic_dims") as refused:
            engine.search(query, 3, beta=2.0)
    assert refused.value.problem.code == "no_semantic_half"


def test_scores_follow_from_the_inner_products_of_the_halves():
    random = np.random.default_rng(0)
    halves = Halves(4, 0.5)
    both = [np.hstack([each[:, :4] / np.linalg.norm(each[:, :4], axis=1, keepdims=True),
                       0.5 * each[:, 4:] / np.linalg.norm(each[:, 4:], axis=1, keepdims=True)]) / np.sqrt(1.25)
            for each in random.standard_normal((2, 30, 12)).astype(np.float32)]  # fmt: skip
    products = halves.inner_products(*both)
    for beta in WEIGHTS:
        direct = (halves.weigh_queries(both[0], beta) * both[1]).sum(axis=1)
        assert halves.scores(products, beta) == pytest.approx(direct, abs=1e-5)
