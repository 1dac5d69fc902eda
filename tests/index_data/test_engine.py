import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from export.bundle import Bundle
from index_data.adding import add_folder, scan_roots
from index_data.engine import Engine
from index_data.gallery import FileState, Gallery
from index_data.generations import build_generation
from index_data.removing import remove_items
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from train.errors import IncompatibleError, NothingFoundError, UserError


@pytest.fixture
def engine(copied):
    with Engine.open(copied, provider="cpu") as engine:
        yield engine


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute_force(engine, query, k):
    """Ids and cosines by plain NumPy, equal ones in the order of their ids."""
    ids = [item.id for item in items_of(engine.gallery)]
    scores = engine.gallery.embeddings(ids).astype(np.float64) @ query
    order = sorted(zip(-np.round(scores, 6), ids, strict=True))[:k]
    return [number for _, number in order], [-score for score, _ in order]


def test_every_item_finds_itself_first(engine):
    ids = [item.id for item in items_of(engine.gallery)]
    for number, hits in zip(ids, engine.search(engine.gallery.embeddings(ids), k=3), strict=True):
        assert (hits[0].id, hits[0].rank) == (number, 1)
        assert hits[0].score == pytest.approx(1, abs=2e-6)
        assert [hit.rank for hit in hits] == [1, 2, 3]


@pytest.mark.parametrize("k", [1, 7, 48, 1000])
def test_the_neighbours_are_those_of_plain_numpy(engine, k):
    queries = unit(np.random.default_rng(k).standard_normal((20, engine.gallery.dims)))
    for query, hits in zip(queries, engine.search(queries, k), strict=True):
        ids, scores = brute_force(engine, query.astype(np.float64), k)
        assert [hit.id for hit in hits] == ids
        assert [hit.score for hit in hits] == pytest.approx(scores, abs=2e-6)


def test_equal_pictures_stand_in_the_order_of_their_ids(gallery, bundle, pictures):
    original = pictures / "square" / "picture-02.png"
    for number in range(30):
        shutil.copy(original, pictures / f"copy-{number}.png")
    add_folder(gallery, bundle, pictures, provider="cpu", workers=1)
    equal = sorted(item.id for item in items_of(gallery) if gallery.read_original(item) == original.read_bytes())
    assert len(equal) == 31
    with Engine.open(gallery.folder, provider="cpu") as engine:
        query = gallery.embeddings(equal[:1])
        for k in (1, 5, 31):
            assert [hit.id for hit in engine.search(query, k)[0]] == equal[:k]
        excluded = {equal[0], equal[2]}
        assert [hit.id for hit in engine.search(query, 3, exclude=excluded)[0]] == [equal[1], equal[3], equal[4]]


def test_excluded_items_do_not_cost_neighbours(engine):
    query = engine.gallery.embeddings([1])
    everything = [hit.id for hit in engine.search(query, 48)[0]]
    assert [hit.id for hit in engine.search(query, 5, exclude=set(everything[:3]))[0]] == everything[3:8]
    assert engine.search(query, 5, exclude=set(everything)) == [[]]


def test_a_gallery_without_items_answers_with_nothing(gallery):
    with Engine.open(gallery.folder, provider="cpu") as engine:
        query = unit(np.ones((2, engine.gallery.dims)))
        assert engine.search(query, 5) == [[], []]
        assert engine.count == 0


@pytest.mark.parametrize("shape", [(1, 5), (5,), (2, 3, 4)])
def test_a_query_of_the_wrong_shape_is_refused(engine, shape):
    with pytest.raises(UserError) as refused:
        engine.search(np.ones(shape, np.float32), 3)
    assert refused.value.problem.code == "dimension_mismatch"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_not_finite_is_refused(engine, value):
    query = engine.gallery.embeddings([1])
    query[0, 3] = value
    with pytest.raises(UserError) as refused:
        engine.search(query, 3)
    assert refused.value.problem.code == "bad_embedding"


def test_an_engine_opens_with_the_model_its_gallery_was_made_with(engine, bundle):
    assert engine.bundle.model_id == bundle.model_id
    assert engine.decoder is not None
    assert engine.encoder.provider == "cpu"


def test_another_model_is_refused(copied, other_bundle):
    with pytest.raises(IncompatibleError, match=other_bundle.model_id):
        Engine.open(copied, bundle=other_bundle, provider="cpu")


def test_a_model_that_is_gone_is_named(tmp_path, bundle):
    shutil.copytree(bundle.folder, tmp_path / "models" / "mine")
    Gallery.create(tmp_path / "gallery", Bundle.open(tmp_path / "models" / "mine")).close()
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(NothingFoundError, match="models/mine"):
        Engine.open(tmp_path / "gallery", provider="cpu")


def test_what_is_added_is_found_at_once_and_a_newer_generation_changes_nothing(engine, bundle, tmp_path, drawn_folder):
    (tmp_path / "more").mkdir()
    draw_picture(77).save(tmp_path / "more" / "new.png")
    with Gallery.open(engine.gallery.folder) as gallery:
        add_folder(gallery, bundle, tmp_path / "more", provider="cpu", workers=1)
        query = gallery.embeddings([49])
        found = engine.search(query, 49)
        assert (found[0][0].id, found[0][0].score) == (49, pytest.approx(1, abs=2e-6))
        assert (engine.count, engine.changed_count, engine.generation) == (49, 1, "000001")
        assert engine.ids.tolist() == list(range(1, 50))
        assert not engine.refresh()
        build_generation(gallery)
    assert engine.refresh()
    assert (engine.count, engine.changed_count, engine.generation, engine.degraded) == (49, 0, "000002", None)
    assert engine.search(query, 49) == found
    assert not engine.refresh()


def test_what_is_removed_is_gone_from_index_and_fresh_rows_alike(engine, bundle, tmp_path):
    (tmp_path / "more").mkdir()
    draw_picture(77).save(tmp_path / "more" / "new.png")
    draw_picture(78).save(tmp_path / "more" / "newer.png")
    with Gallery.open(engine.gallery.folder) as gallery:
        add_folder(gallery, bundle, tmp_path / "more", provider="cpu", workers=1)
        query = gallery.embeddings([3])
        assert len(engine.search(query, 100)[0]) == 50
        remove_items(gallery, [3, 4, 49])
    found = [hit.id for hit in engine.search(query, 100)[0]]
    assert len(found) == engine.count == 47
    assert not {3, 4, 49} & set(found)
    assert engine.ids.tolist() == sorted(found)


def test_equal_pictures_stand_in_the_order_of_their_ids_wherever_they_are(engine, bundle, tmp_path, drawn_folder):
    """Old and fresh rows are compared by the same arithmetic, so copies tie to the last bit."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(3):
        shutil.copy(drawn_folder / "square" / "picture-02.png", copies / f"{number}.png")
    with Gallery.open(engine.gallery.folder) as gallery:
        add_folder(gallery, bundle, copies, build=False, provider="cpu", workers=1)
        (original,) = [item.id for item in items_of(gallery) if item.path.endswith(b"square/picture-02.png")]
        query = gallery.embeddings([original])
    for k in (1, 2, 3, 4):
        assert [hit.id for hit in engine.search(query, k)[0]] == [original, 49, 50, 51][:k]


def test_items_whose_content_changes_again_and_again_cost_no_more_than_they_are(engine, monkeypatch):
    monkeypatch.setattr("index_data.segments.DEAD_ALLOWED", 10)
    with Gallery.open(engine.gallery.folder) as gallery:
        first, second = items_of(gallery)[:2]
        for turn in range(40):
            with gallery.changes() as changes:
                content = changes.content_id(bytes.fromhex((second, first)[turn % 2].sha256))
                changes.put_item(FileState(1, first.path, 1, turn), content)
            query = gallery.embeddings([second.id])
            assert (engine.search(query, 2)[0][1].score == 1) == (turn % 2 == 0)
    assert engine.count == 48
    assert len(engine._state.segments.fresh_ids) < 14


def test_a_large_index_is_mapped_and_checked_after_the_start(copied, monkeypatch):
    monkeypatch.setattr("index_data.generations.READ_AT_ONCE", 1000)
    with Engine.open(copied, provider="cpu") as engine:
        query = engine.gallery.embeddings([5])
        before = engine.search(query, 10)
        engine.check_files()
        assert engine.degraded is None
        assert engine.search(query, 10) == before
    path = copied / "indexes" / "000001" / "vectors.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with Engine.open(copied, provider="cpu") as engine:
        assert engine.degraded is None
        engine.check_files()
        assert "vectors.npy" in engine.degraded
        assert engine.search(query, 10) == before


def test_a_gallery_whose_changes_cannot_be_read_is_searched_as_it_was(engine):
    query = engine.gallery.embeddings([5])
    engine.gallery.close()
    (engine.gallery.folder / "gallery.db").unlink()
    assert engine.search(query, 1)[0][0].id == 5
    assert "cannot be read" in engine.trouble


def test_searches_go_on_while_generations_are_published(copied, bundle):
    """Every answer is that of one whole generation: the old one or the new one."""
    with Gallery.open(copied) as gallery, Engine.open(copied, provider="cpu") as engine:
        query = gallery.embeddings([1])
        expected = [(hit.id, hit.score) for hit in engine.search(query, 10)[0]]
        ended = False

        def search():
            answers = 0
            while not ended or answers == 0:
                assert [(hit.id, hit.score) for hit in engine.search(query, 10)[0]] == expected
                answers += 1
                time.sleep(0.001)
            return answers

        with ThreadPoolExecutor(2) as threads:
            searching = [threads.submit(search) for _ in range(2)]
            try:
                for _ in range(5):
                    build_generation(gallery)
                    assert engine.refresh()
            finally:
                ended = True
            assert all(each.result() for each in searching)
        assert engine.generation == "000006"


def test_a_damaged_index_is_said_and_the_search_goes_on(copied):
    (copied / "indexes" / "000001" / "vectors.npy").write_bytes(b"damaged")
    with Engine.open(copied, provider="cpu") as engine:
        assert "vectors.npy" in engine.degraded
        assert engine.search(engine.gallery.embeddings([5]), 1)[0][0].id == 5


def test_in_a_forked_process_the_engine_refuses_rather_than_hangs(engine):
    query = engine.gallery.embeddings([1])
    engine._process += 1  # as a forked child sees it
    with pytest.raises(RuntimeError, match="fork"):
        engine.search(query, 1)
    assert os.getpid() != engine._process


def test_what_a_scan_takes_out_is_found_no_more(gallery, bundle, add, pictures):
    add(pictures)
    with Engine.open(gallery.folder, provider="cpu") as engine:
        (pictures / "square" / "picture-02.png").unlink()
        scan_roots(gallery, bundle, provider="cpu", workers=1)
        engine.keep_up()
        assert engine.count == 47
