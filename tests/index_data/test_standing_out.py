"""What stands out in one half of the code comes first, whatever its score; all else is in the order of the scores."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_data.adding import add_folder
from index_data.engine import Engine
from index_data.evaluation.ranking import ranked_blocks
from index_data.gallery import Gallery
from index_data.standing_out import READ_AGAIN, STANDS_OUT, stand_out
from index_data.weighting import Halves
from tests.conftest import draw_picture
from tests.index_data.test_commands import lookalike

DIMS, SEMANTIC = 24, 8
HALVES = Halves(SEMANTIC, 1.0)


def joined(semantic, pixel):
    """Embeddings of two halves, (n, dims)."""
    halves = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (semantic, pixel)]
    return (np.concatenate(halves, axis=1) / np.sqrt(2)).astype(np.float32)


def crowd(count, seed=0):
    """Embeddings that have nothing to do with each other."""
    random = np.random.default_rng(seed)
    return joined(random.normal(size=(count, SEMANTIC)), random.normal(size=(count, DIMS - SEMANTIC)))


@pytest.mark.parametrize("half", ["semantic", "pixel"])
def test_what_is_the_same_in_one_half_stands_out_though_the_other_has_nothing_of_it(half):
    vectors = crowd(100)
    query = crowd(1, seed=1)[0]
    part = slice(SEMANTIC) if half == "semantic" else slice(SEMANTIC, None)
    vectors[7, part] = query[part]
    found = stand_out(query, vectors, HALVES)
    assert found[7] == pytest.approx(1, abs=1e-5)
    assert np.argmax(found) == 7


@pytest.mark.parametrize("spread", [1, 0.3, 0.1])
def test_nobody_stands_out_in_a_crowd_however_dense(spread):
    random = np.random.default_rng(2)
    halves = Halves(32, 1.0)
    vectors = joined(1 + spread * random.normal(size=(300, 32)), 1 + spread * random.normal(size=(300, 96)))
    assert not stand_out(vectors[0], vectors[1:], halves).any()
    copy = vectors[5].copy()
    copy[32:] = random.normal(size=96)
    assert np.flatnonzero(stand_out(copy, vectors, halves)).tolist() == [5]


def test_of_many_copies_none_is_before_another_by_rounding():
    vectors = np.repeat(crowd(1), 40, axis=0) * np.float32(1 + 1e-7)
    assert set(stand_out(vectors[0], vectors, HALVES).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("count", [0, 1, 8])
def test_of_a_handful_of_hits_none_can_be_told_from_the_others(count):
    vectors = crowd(9)
    assert stand_out(vectors[0], vectors[:count], HALVES).tolist() == [0] * count


def test_a_half_that_points_nowhere_is_near_to_nothing():
    vectors = crowd(50)
    vectors[3, SEMANTIC:] = 0
    query = vectors[4].copy()
    query[:SEMANTIC] = 0
    found = stand_out(query, vectors, HALVES)
    assert np.isfinite(found).all()
    assert found[4] == pytest.approx(1, abs=1e-5)
    assert found[3] == 0


@given(st.integers(0, 2**32 - 1), st.integers(9, 60))
def test_the_order_of_the_hits_changes_nothing_of_what_stands_out(seed, count):
    vectors = crowd(count, seed)
    order = np.random.default_rng(seed).permutation(count)
    query = vectors[0] + 0.3 * vectors[1]
    found = stand_out(query, vectors, HALVES)
    assert stand_out(query, vectors[order], HALVES) == pytest.approx(found[order], abs=1e-4)
    assert ((found == 0) | ((found >= STANDS_OUT) & (found <= 1.00001))).all()


@pytest.fixture(scope="module")
def engine(halved_bundle, tmp_path_factory):
    """A gallery of 200 drawn pictures, and a model with both halves."""
    place = tmp_path_factory.mktemp("standing-out")
    (place / "pictures").mkdir()
    for number in range(200):
        draw_picture(number).save(place / "pictures" / f"{number:03}.png")
    with Gallery.create(place / "gallery", halved_bundle) as gallery:
        add_folder(gallery, halved_bundle, place / "pictures", provider="cpu", workers=1)
    with Engine.open(place / "gallery", provider="cpu", decoder=False) as engine:
        yield engine


def torn(engine, a, b):
    """A query that shows what item a shows and looks as item b looks."""
    one, other = engine.gallery.embeddings([a, b])
    split = engine.halves.semantic_dims
    return np.concatenate([one[:split], other[split:]])[None]


def test_a_search_puts_what_stands_out_before_all_others_and_those_in_the_order_of_their_scores(engine):
    for a, b in ((1, 60), (33, 150), (90, 17)):
        (hits,) = engine.search(torn(engine, a, b), 150)
        far = [hit.stands_out for hit in hits]
        assert far == sorted(far, reverse=True)
        assert {a, b} <= {hit.id for hit in hits if hit.stands_out == pytest.approx(1, abs=1e-4)}
        rest = [(-hit.score, hit.id) for hit in hits if not hit.stands_out]
        assert rest
        assert rest == sorted(rest)
        assert [hit.rank for hit in hits] == list(range(1, 151))
        (plain,) = engine.search(torn(engine, a, b), 150, beta=1.0001)
        assert {hit.id: hit.score for hit in plain} == pytest.approx({hit.id: hit.score for hit in hits}, abs=1e-3)


def test_who_weighs_the_halves_gets_the_order_of_the_scores(engine):
    for beta in (0.0, 0.5, 4.0):
        (hits,) = engine.search(torn(engine, 5, 80), 50, beta=beta)
        assert {hit.stands_out for hit in hits} == {0.0}
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_how_many_hits_are_asked_for_changes_nothing_of_the_first_ones(engine):
    query = torn(engine, 12, 111)
    (most,) = engine.search(query, 200)
    for k in (1, 3, 20, READ_AGAIN - 1, READ_AGAIN, READ_AGAIN + 1, 199):
        assert engine.search(query, k) == [most[:k]]


def test_what_may_not_be_found_does_not_stand_out_and_does_not_count(engine):
    query = torn(engine, 12, 111)
    (hits,) = engine.search(query, 10, exclude={12})
    assert 12 not in {hit.id for hit in hits}
    assert hits[0].id == 111
    among = np.array([3, 12, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55])
    (hits,) = engine.search(query, 10, among=among)
    assert hits[0].id == 12
    assert hits[0].stands_out == pytest.approx(1, abs=1e-4)
    (hits,) = engine.search(query, 10, among=among[:6])
    assert {hit.stands_out for hit in hits} == {0.0}  # too few to say what is ordinary


def test_the_evaluation_ranks_as_the_search_does(engine):
    ids = engine.ids
    pictures = engine.gallery.embeddings(ids.tolist())
    queries = np.concatenate([torn(engine, a, a + 31) for a in range(1, 160, 7)])
    ranked = np.concatenate([block.order for block in ranked_blocks(queries, pictures, k=5, halves=engine.halves)])
    for order, hits in zip(ranked, engine.search(queries, len(ids)), strict=True):
        assert [hit.id for hit in hits[:20]] == ids[order[:20]].tolist()


def test_changed_pictures_stand_out_by_what_they_are_now(engine, halved_bundle, tmp_path):
    gallery_folder, pictures = tmp_path / "gallery", tmp_path / "pictures"
    shutil.copytree(engine.gallery.folder.parent / "pictures", pictures)
    with Gallery.create(gallery_folder, halved_bundle) as gallery:
        add_folder(gallery, halved_bundle, pictures, provider="cpu", workers=1)
    with Engine.open(gallery_folder, provider="cpu", decoder=False) as changing:
        items = changing.gallery.items_by_id(changing.ids.tolist())
        (turned,) = (item.id for item in items if Path(item.file).name == "019.png")
        before = torn(changing, turned, 70)
        (hits,) = changing.search(before, 2)
        assert {hit.id for hit in hits} == {turned, 70}
        for turn in (300, 400):  # twice, so that a row beside the index is hidden too
            draw_picture(turn).save(pictures / "019.png")
            draw_picture(turn + 1).save(pictures / "200.png")
            add_folder(changing.gallery, halved_bundle, pictures, provider="cpu", workers=1)
        (hits,) = changing.search(before, 200)
        assert hits[0].id == 70
        assert [hit.stands_out for hit in hits if hit.id == turned] != [pytest.approx(1, abs=1e-4)]
        (hits,) = changing.search(torn(changing, turned, 201), 2)
        assert {hit.id for hit in hits} == {turned, 201}
        assert [hit.stands_out for hit in hits] == pytest.approx([1, 1], abs=1e-4)


def test_the_command_says_what_stands_out(engine):
    picture = engine.gallery.folder.parent / "pictures" / "004.png"
    words = ["search", engine.gallery.folder, picture, "-k", 30, "--provider", "cpu"]
    (answer,) = json.loads(lookalike(*words, "--json", "-q").stdout)["results"]
    assert answer["hits"][0]["stands_out"] == pytest.approx(1, abs=1e-3)
    assert answer["hits"][-1]["stands_out"] is None
    shown = lookalike(*words).stdout
    assert "identical  " in shown
    assert "identical, stands out" not in shown
