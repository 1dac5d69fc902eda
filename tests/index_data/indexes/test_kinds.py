import gc
import io
import sys
from dataclasses import replace

import numpy as np
import pytest

from index_data.indexes.building import ONE_BY_ONE, build_index, open_index, write_index
from index_data.indexes.kinds import KINDS, Setting, candidates, choosable, kind_named, lists_for
from index_data.indexes.searching import AllowedRows
from index_data.indexes.vectors import StoredVectors
from tests.index_data.indexes.conftest import DIMS, embeddings, exact_neighbours, recall
from train.errors import DamagedError, SettingsError
from train.interruption import Interrupted, StopRequest

MUCH = {"flat": Setting(), "lsh": Setting(0, 64), "ivf-pq": Setting(64, 16), "ivf-rabitq": Setting(64, 32)}
ALL = sorted(KINDS)
CHOOSABLE = sorted(choosable())
WITH_FILES = sorted({*CHOOSABLE} - {"flat"})


def much(kind):
    return MUCH.get(kind.name, Setting(128, 4 if kind.refined else 1))


@pytest.fixture(scope="module")
def built(vectors):
    made = {}

    def build(name):
        if name not in made:
            made[name] = build_index(KINDS[name], vectors, threads=1)
        return made[name]

    return build


@pytest.mark.parametrize("name", ALL)
def test_every_kind_finds_the_exact_neighbours_when_it_looks_at_much(built, vectors, queries, name):
    scores, rows = built(name).search(queries, 10, much(KINDS[name]))
    best, expected = exact_neighbours(vectors.array, queries, 10)
    assert recall(rows, expected) > 0.97
    assert np.allclose(scores[:, 0], best[:, 0], atol=1e-3)
    found = np.take_along_axis(queries @ vectors.array.T, rows, axis=1)
    assert np.allclose(scores, found, atol=1e-5), "scores are those of the stored vectors, whatever the codes say"


@pytest.mark.parametrize("name", CHOOSABLE)
@pytest.mark.parametrize("share", [0.999, 0.7, 0.1, 0.001, 0.0])
def test_a_row_that_is_not_allowed_is_never_found_and_the_others_still_are(built, vectors, queries, name, share):
    mask = np.random.default_rng(2).random(len(vectors)) < share
    scores, rows = built(name).search(queries, 10, much(KINDS[name]), AllowedRows.of(mask))
    wanted = min(10, int(mask.sum()))
    assert mask[rows[rows >= 0]].all()
    if wanted:
        _, expected = exact_neighbours(vectors.array, queries, wanted, mask)
        assert recall(rows[:, :wanted], expected) > 0.95
    assert (rows[:, wanted:] == -1).all()
    assert scores.shape == rows.shape == (len(queries), 10)


@pytest.mark.parametrize("name", ALL)
def test_more_neighbours_than_there_are_vectors_are_all_of_them(built, queries, name):
    _, rows = built(name).search(queries[:2], 5000, Setting(4, 1))
    assert [sorted(row[row >= 0].tolist()) for row in rows] == [list(range(4000))] * 2


@pytest.mark.parametrize("name", WITH_FILES)
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("mapped", [True, False])
def test_an_index_is_opened_as_it_was_built(tmp_path, queries, name, precision, mapped):
    whole = StoredVectors(embeddings(2000).astype(precision))
    built = build_index(KINDS[name], whole, threads=1)
    path = tmp_path / "index.faiss"
    with path.open("wb") as file:
        write_index(built, file.write)
    with path.open("rb") as file:
        opened = open_index(KINDS[name], file, whole, mapped=mapped)
    path.unlink()
    for one, other in zip(
        built.search(queries, 10, much(built.kind)), opened.search(queries, 10, much(built.kind)), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", WITH_FILES)
def test_what_an_index_takes_is_about_what_was_said(built, vectors, name):
    buffer = io.BytesIO()
    write_index(built(name), buffer.write)
    own = 0 if KINDS[name].holds_vectors else vectors.bytes_each * len(vectors)
    said = KINDS[name].memory(DIMS, len(vectors), "float32")
    assert 0.75 * said < len(buffer.getvalue()) + own < 1.15 * said


def test_a_graph_over_stored_vectors_writes_none_of_them_again(built, vectors):
    buffer = io.BytesIO()
    write_index(built("hnsw"), buffer.write)
    assert len(buffer.getvalue()) < 300 * len(vectors)


@pytest.mark.parametrize("name", CHOOSABLE)
@pytest.mark.parametrize("count", [0, 1, 2, 20, 150])
def test_vectors_too_few_to_train_codes_are_compared_all_the_same(queries, name, count):
    few = StoredVectors(embeddings(count))
    kind = KINDS[name] if count >= 20 else KINDS["flat"]
    scores, rows = build_index(kind, few, threads=1).search(queries, 10, much(kind))
    assert scores.shape == rows.shape == (len(queries), 10)
    assert (np.sort(rows, axis=1)[:, -min(count, 10) :] >= 0).all() or count == 0
    assert (rows < count).all()


@pytest.mark.parametrize("dims", [1, 3, 7, 33])
@pytest.mark.parametrize("name", CHOOSABLE)
def test_odd_lengths_of_vectors_are_no_problem(name, dims):
    odd = StoredVectors(embeddings(1500, dims=dims))
    _, rows = build_index(KINDS[name], odd, threads=1).search(odd.take(np.arange(20)), 5, much(KINDS[name]))
    assert rows.shape == (20, 5)
    assert (rows >= 0).all()


def test_coded_lists_are_scanned_for_one_query_at_a_time_whether_built_or_opened(tmp_path, built, vectors):
    path = tmp_path / "index.faiss"
    with path.open("wb") as file:
        write_index(built("ivf-pq"), file.write)
    with path.open("rb") as file:
        opened = open_index(KINDS["ivf-pq"], file, vectors)
    assert opened.index.implem == built("ivf-pq").index.implem == ONE_BY_ONE


def test_an_index_of_other_vectors_is_refused(tmp_path, built, vectors):
    path = tmp_path / "index.faiss"
    with path.open("wb") as file:
        write_index(built("ivf-pq"), file.write)
    fewer = StoredVectors(vectors.array[:100])
    with (
        path.open("rb") as file,
        pytest.raises(DamagedError, match="4,000 vectors of 32 numbers, its stored vectors are 100"),
    ):
        open_index(KINDS["ivf-pq"], file, fewer)


def test_a_graph_from_before_they_were_laid_down_by_nearness_is_searched_as_it_is(tmp_path, vectors, queries):
    kind = KINDS["hnsw-fp16"]
    before = build_index(replace(kind, by_nearness=False), vectors, threads=1)
    path = tmp_path / "index.faiss"
    with path.open("wb") as file:
        write_index(before, file.write)
    with path.open("rb") as file:
        opened = open_index(kind, file, vectors)
    for one, other in zip(before.search(queries, 10, much(kind)), opened.search(queries, 10, much(kind)), strict=True):
        assert np.array_equal(one, other)


def test_a_file_that_is_no_index_is_damaged(tmp_path, vectors):
    path = tmp_path / "index.faiss"
    path.write_bytes(b"nothing of the kind")
    for mapped in (True, False):
        with path.open("rb") as file, pytest.raises(DamagedError, match=r"index\.faiss cannot be read by FAISS"):
            open_index(KINDS["hnsw"], file, vectors, mapped=mapped)


@pytest.mark.parametrize("name", ["hnsw", "ivf-pq"])
def test_building_stops_between_two_slices_when_it_is_asked_to(vectors, name):
    stop = StopRequest()
    stop.signal_number = 15
    with pytest.raises(Interrupted) as caught:
        build_index(KINDS[name], vectors, stop=stop)
    assert caught.value.exit_code == 143


def test_a_kind_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match="did you mean hnsw"):
        kind_named("hnws")


def test_what_is_measured_only_cannot_be_had():
    with pytest.raises(SettingsError, match="lsh is measured for comparison only"):
        kind_named("lsh")


def test_candidates_fit_the_memory_and_the_comparison_stays():
    every = {kind.name for kind in candidates(100_000, 128, "float32", None)}
    assert every == set(KINDS) - {"flat"}
    tight = {kind.name for kind in candidates(100_000, 128, "float32", int(0.2 * 100_000 * 512))}
    assert tight == {"ivf-pq", "ivf-rabitq", "lsh"}
    assert {kind.name for kind in candidates(100_000, 128, "float32", 1000)} == {"lsh"}
    assert candidates(100, 128, "float32", None) == []


def test_where_the_stored_vectors_are_float16_one_graph_over_two_bytes_a_number_is_compared():
    names = {kind.name for kind in candidates(100_000, 128, "float16", None)}
    assert {"hnsw", "hnsw-fp16"} & names == {"hnsw-fp16"}


@pytest.mark.parametrize("count", [1, 39, 40, 1000, 65_536, 1_000_000, 100_000_000])
def test_every_list_has_enough_vectors_to_be_trained_on(count):
    assert 1 <= lists_for(count) <= max(1, count / 39)


def test_building_graphs_again_and_again_takes_nothing_from_the_types_of_faiss(vectors):
    table = sys.modules["swig_runtime_data5"].type_pointer_capsule
    few = StoredVectors(vectors.array[:64])
    gc.collect()
    before = sys.getrefcount(table)
    for _ in range(5):
        build_index(KINDS["hnsw"], few, threads=1)
    gc.collect()
    # When the last reference is gone, every object of FAISS loses its type, and the next one crashes the process.
    assert sys.getrefcount(table) >= before
