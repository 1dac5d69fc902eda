"""Filters are evaluated once as long as nothing changes; hidden rows of an exact scan are passed over."""

import numpy as np
import pytest

from export.sessions import Encoder
from index_data import filters, passing
from index_data.gallery import Gallery
from index_data.generations import build_generation
from index_data.indexes.kinds import FLAT
from index_data.indexes.searching import SPARE, AllowedRows, BuiltIndex
from index_data.indexes.vectors import StoredVectors
from index_data.passing import PassingItems
from index_data.removing import remove_items
from tests.index_data.living import KINDS, ids_of, open_engine, put, vectors


@pytest.fixture
def engine(bundle, tmp_path):
    with Gallery.create(tmp_path / "living", bundle) as gallery:
        put(gallery, {b"%02d/%02d.png" % (number % 3, number): number for number in range(KINDS)})
        build_generation(gallery)
    with open_engine(tmp_path / "living", bundle, Encoder.open(bundle, provider="cpu")) as engine:
        yield engine


@pytest.fixture
def evaluated(monkeypatch):
    """The filters that were evaluated."""
    asked = []
    real = filters.matching_ids

    def noted(gallery, condition):
        asked.append(condition)
        return real(gallery, condition)

    monkeypatch.setattr("index_data.engine.matching_ids", noted)
    return asked


def test_a_filter_is_evaluated_once_until_something_changes(engine, evaluated):
    asked = {"folder": {"eq": "01"}, "width": {"eq": 3}}
    query = vectors(engine.gallery.dims)[1]
    first = engine.passing(asked)
    again = engine.passing({"width": {"eq": 3}, "folder": {"eq": "01"}})
    assert again is first
    hits = [engine.search(query[None], 10, among=first)[0] for _ in range(2)]
    assert hits[0] == hits[1]
    assert len(evaluated) == 1
    engine.passing({"folder": {"eq": "02"}})
    assert len(evaluated) == 2
    gone = int(first[0])
    with Gallery.open(engine.gallery.folder) as another:
        remove_items(another, [gone])
        put(another, {b"01/new.png": 7})
        new = ids_of(another)[b"01/new.png"]
    now = engine.passing(asked)
    assert set(now.tolist()) == set(first.tolist()) - {gone} | {new}
    found = {hit.id for hit in engine.search(query[None], KINDS, among=now)[0]}
    assert found == set(now.tolist())


def test_filters_that_are_kept_do_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(passing, "MOST_FILTERS", 3)
    monkeypatch.setattr(passing, "MOST_BYTES", 80_000)
    kept, evaluations = PassingItems(), []

    def ask(number, length=10):
        def evaluate():
            evaluations.append(number)
            return np.arange(length)

        return kept.ids({"id": {"eq": number}}, evaluate)

    for number in (1, 2, 3, 1, 4, 1, 2):
        ask(number)
    assert evaluations == [1, 2, 3, 4, 2]  # 1 was asked for again and again, 2 was forgotten for 4
    assert len(ask(5, length=20_000)) == 20_000  # larger than all there is room for: alone, and given all the same
    ask(5)
    ask(1)
    assert evaluations[5:] == [5, 1]


@pytest.mark.parametrize("hidden", [0, 1, 7, 60, 200])
@pytest.mark.parametrize("k", [1, 10, 500, 6000])
def test_an_exact_scan_finds_what_plain_numpy_finds_whatever_is_hidden(hidden, k):
    random = np.random.default_rng(hidden)
    rows = random.normal(size=(5000, 16)).astype(np.float32)
    stored = StoredVectors(rows)
    built = BuiltIndex(FLAT, stored.as_index, stored)
    queries = random.normal(size=(3, 16)).astype(np.float32)
    scores = queries @ rows.T
    mask = np.ones(5000, bool)
    # The nearest ones of the first query: those that are asked for beyond k do not make up for more than `SPARE`.
    mask[np.argsort(-scores[0])[:hidden]] = False
    found_scores, found = built.exact(queries, k, AllowedRows.of(mask))
    assert found.shape == (3, k)
    for row in range(3):
        expected = np.argsort(-np.where(mask, scores[row], -np.inf))[: min(k, 5000 - hidden)]
        there = found[row][found[row] >= 0]
        assert mask[there].all()
        assert len(set(there.tolist())) == len(there) == len(expected)
        assert np.allclose(found_scores[row][: len(there)], scores[row][there], atol=1e-4)
        assert np.allclose(scores[row][there], scores[row][expected], atol=1e-4)  # equal ones in any order
        assert (found[row][len(there) :] == -1).all()
    assert 60 < SPARE < 200
