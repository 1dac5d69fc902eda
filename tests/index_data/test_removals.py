"""What was removed long ago is forgotten, and nobody finds it again for that."""

import shutil

import pytest

from export.sessions import Encoder
from index_data.analyses import read_analysis
from index_data.gallery import Gallery
from index_data.generations import build_generation, roll_back, stored_names
from index_data.mapping import compute_map
from index_data.removing import remove_items
from index_data.segments import open_current
from tests.index_data.living import KINDS, answer, nearest, open_engine, put, vectors


@pytest.fixture
def living(bundle, tmp_path):
    """A gallery of 40 items with an index, and what each holds."""
    with Gallery.create(tmp_path / "living", bundle) as gallery:
        put(gallery, {b"%02d.png" % number: number for number in range(KINDS)})
        build_generation(gallery)
        yield gallery, {number + 1: vectors(gallery.dims)[number] for number in range(KINDS)}


@pytest.fixture(scope="module")
def encoder(bundle):
    return Encoder.open(bundle, provider="cpu")


def remembered(gallery: Gallery) -> list[int]:
    return [number for (number,) in gallery.rows("SELECT item_id FROM removals WHERE item_id != 0 ORDER BY 1")]


def test_removals_are_remembered_as_long_as_a_stored_generation_holds_the_items(living):
    gallery, _ = living
    remove_items(gallery, [1, 2])
    build_generation(gallery)
    assert remembered(gallery) == [1, 2]  # the generation before may be rolled back to
    roll_back(gallery)
    segments, degraded = open_current(gallery)
    assert (segments.count, degraded) == (KINDS - 2, None)
    remove_items(gallery, [3])
    build_generation(gallery)
    assert remembered(gallery) == [3]
    build_generation(gallery)
    assert remembered(gallery) == []


def test_a_program_that_slept_through_all_of_it_finds_nothing_that_was_removed(living, bundle, encoder):
    gallery, items = living
    with open_engine(gallery.folder, bundle, encoder) as sleeper:
        remove_items(gallery, [1, 2])
        for _ in range(3):
            build_generation(gallery)
        assert remembered(gallery) == []
        there = {number: vector for number, vector in items.items() if number > 2}
        assert answer(sleeper, items[1], KINDS) == nearest(there, items[1], KINDS)
        assert sleeper.generation == stored_names(gallery)[0]
        assert sleeper.degraded is None


def test_a_generation_that_is_older_than_what_is_remembered_does_not_answer(living, bundle, encoder):
    gallery, items = living
    old = shutil.copytree(gallery.folder / "indexes", gallery.folder.parent / "old")
    pointer = (gallery.folder / "current").read_bytes()
    remove_items(gallery, [1, 2])
    for _ in range(3):
        build_generation(gallery)
    shutil.rmtree(gallery.folder / "indexes")
    shutil.copytree(old, gallery.folder / "indexes")
    (gallery.folder / "current").write_bytes(pointer)
    with open_engine(gallery.folder, bundle, encoder) as engine:
        assert engine.degraded is not None
        assert "too old" in engine.degraded
        there = {number: vector for number, vector in items.items() if number > 2}
        assert answer(engine, items[1], KINDS) == nearest(there, items[1], KINDS)


def test_an_analysis_knows_that_it_is_stale_even_when_the_removals_are_forgotten(living):
    gallery, _ = living
    compute_map(gallery, None)
    for _ in range(3):
        build_generation(gallery)
    assert not read_analysis(gallery, "map").is_stale(gallery)
    remove_items(gallery, [1])
    for _ in range(3):
        build_generation(gallery)
    assert remembered(gallery) == []
    assert read_analysis(gallery, "map").is_stale(gallery)


def test_many_removals_are_forgotten_a_few_at_a_time(living, monkeypatch):
    gallery, _ = living
    monkeypatch.setattr("index_data.gallery._FORGOTTEN_AT_ONCE", 3)
    remove_items(gallery, list(range(1, 21)))
    assert gallery.forget_removals(gallery.seq) == 20
    assert gallery.forget_removals(gallery.seq) == 0
    assert not gallery.changed_since(0).complete
    assert gallery.changed_since(gallery.seq).complete
