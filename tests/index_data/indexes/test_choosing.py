import json
from dataclasses import replace

import numpy as np
import pytest

from index_data.indexes.choosing import Aims, Trial, choose_index, ranked
from index_data.indexes.curve import Curve, Point, Weight, times_for, worth_having
from index_data.indexes.explanation import draw_curve, explain
from index_data.indexes.kinds import KINDS, Setting
from index_data.indexes.measuring import measure, recall_of, sample_of
from index_data.indexes.record import IndexRecord
from index_data.indexes.searching import BuiltIndex
from index_data.indexes.vectors import StoredVectors
from index_data.weighting import Halves
from tests.index_data.indexes.conftest import DIMS, embeddings, exact_neighbours, recall
from train.errors import DamagedError, NothingFoundError, SettingsError
from train.interruption import Interrupted, StopRequest

NEVER_EXACT = 1e-6  # ms: no comparison with all vectors is as fast


@pytest.fixture(scope="module")
def large():
    return StoredVectors(embeddings(6000))


@pytest.fixture(scope="module")
def chosen(large):
    return choose_index(large, Aims(latency_ms=NEVER_EXACT, recall=0.95), threads=1, sample=2000)


def test_all_is_compared_where_that_is_fast_enough(vectors):
    choice = choose_index(vectors, Aims(latency_ms=1000), threads=1)
    assert choice.built.kind.name == "flat"
    assert "less than 1,000 ms" in choice.reasons[0]
    assert choice.curve.at(10)[0].recall == 1
    assert choice.trials == ()


def test_otherwise_the_kinds_are_compared_and_one_is_built_that_reaches_the_recall(large, chosen):
    assert {trial.kind for trial in chosen.trials} == set(KINDS) - {"flat"}
    assert [trial.kind for trial in chosen.trials if not trial.chosen] == ["lsh"]
    assert chosen.built.kind.name not in ("flat", "lsh")
    queries = embeddings(200, seed=1)
    _, rows = chosen.built.search(queries, 10, chosen.setting)
    # The queries here are new ones, the aim was met with the gallery's own vectors.
    assert recall(rows, exact_neighbours(large.array, queries, 10)[1]) > 0.92
    assert any("not 1e-06 ms" in reason for reason in chosen.reasons)


def test_the_curve_holds_on_the_whole_index(large, chosen):
    rows = np.arange(0, 6000, 97)
    asked = sample_of(large, rows, large.take(rows), 100, threads=1)
    for k in (10, 30, 100):
        points = chosen.curve.at(k)
        assert [point.recall for point in points] == sorted({point.recall for point in points})
        assert [point.p50_ms for point in points] == sorted(point.p50_ms for point in points)
        best = points[-1]
        assert measure(chosen.built, asked, best.setting, k).recall == pytest.approx(best.recall, abs=0.03)


def test_the_memory_is_kept_even_where_comparing_all_would_be_fast(large):
    budget = int(0.6 * large.bytes_each * len(large))
    choice = choose_index(large, Aims(memory=budget, recall=0.8), threads=1, sample=1500)
    assert choice.memory <= budget
    assert choice.built.kind.name in ("ivf-pq", "ivf-rabitq")
    assert all(trial.memory <= budget for trial in choice.trials if trial.chosen)


def test_a_memory_that_nothing_fits_into_is_refused_with_what_would(large):
    with pytest.raises(SettingsError, match=r"ivf-\w+, the smallest kind: allow more"):
        choose_index(large, Aims(memory=1000), threads=1)


def test_a_kind_that_is_asked_for_is_built(large):
    choice = choose_index(large, Aims(kind="hnsw-sq8", latency_ms=1000), threads=1)
    assert choice.built.kind.name == "hnsw-sq8"
    assert choice.curve.fastest(10, 0.9) is not None


def test_a_kind_that_is_asked_for_of_too_few_vectors_gives_way_to_comparing_all():
    choice = choose_index(StoredVectors(embeddings(100)), Aims(kind="ivf-pq"), threads=1)
    assert choice.built.kind.name == "flat"
    assert "takes 1,024 vectors" in choice.reasons[0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 12])
def test_hardly_any_vectors_are_compared(count):
    choice = choose_index(StoredVectors(embeddings(count)), Aims(latency_ms=NEVER_EXACT), threads=1)
    assert choice.built.kind.name == "flat"
    _, rows = choice.built.search(embeddings(1, seed=1), 10, choice.setting)
    assert np.sum(rows >= 0) == min(count, 10)
    assert "flat" in explain(IndexRecord.of(choice), "few")


def test_many_copies_of_one_vector_have_all_of_them_as_neighbours():
    same = StoredVectors(np.repeat(embeddings(1), 1500, axis=0))
    choice = choose_index(same, Aims(latency_ms=NEVER_EXACT), threads=1, sample=600)
    assert choice.curve.at(10)[-1].recall == 1


@pytest.mark.parametrize(
    "wrong", [{"recall": 0}, {"recall": 1.1}, {"latency_ms": 0}, {"latency_ms": float("nan")}, {"memory": 0}]
)
def test_aims_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingsError):
        Aims(**wrong)


def test_an_unknown_kind_is_refused_before_anything_is_done():
    with pytest.raises(SettingsError, match="did you mean ivf-pq"):
        Aims(kind="ivfpq")


def test_the_fastest_is_tried_first_and_of_those_about_as_fast_the_smallest():
    def trial(kind, memory, recall, ms, chosen=True):
        return Trial(kind, memory, chosen, recall, ms, ms, Setting(32))

    trials = [
        trial("hnsw", 784, 0.993, 0.10),
        trial("hnsw-fp16", 536, 0.993, 0.12),
        trial("ivf-pq", 44, 0.991, 0.13),
        trial("ivf-rabitq", 36, 0.98, 0.05),
        trial("hnsw-sq8", 408, 0.989, 0.05),
        trial("lsh", 10, 0.999, 0.01, chosen=False),
    ]
    names = [trial.kind for trial in ranked(trials, 0.99)]
    assert names == ["hnsw-fp16", "hnsw", "ivf-pq", "hnsw-sq8", "ivf-rabitq"]
    assert ranked(trials[:0], 0.99) == []


def test_choosing_stops_when_it_is_asked_to(large):
    stop = StopRequest()
    stop.signal_number = 2
    with pytest.raises(Interrupted):
        choose_index(large, Aims(latency_ms=NEVER_EXACT), threads=1, stop=stop)


# --- Curves ---------------------------------------------------------------------------------------------------------


def point(effort, recall, p50):
    return Point(Setting(effort), recall, p50, 2 * p50)


CURVE = Curve({10: (point(16, 0.9, 0.1), point(64, 0.99, 0.3)), 100: (point(128, 0.95, 0.5), point(256, 0.999, 0.9))})


def test_points_that_another_one_beats_are_not_worth_having():
    kept = worth_having([point(1, 0.5, 0.1), point(2, 0.4, 0.2), point(3, 0.9, 0.3), point(4, 0.9, 0.4)])
    assert [each.setting.effort for each in kept] == [1, 3]


@pytest.mark.parametrize(
    ("k", "accuracy", "effort"),
    [
        (10, 0.5, 16),
        (10, 0.9, 16),
        (1, 0.95, 64),
        (12, 0.5, 16),
        (13, 0.5, 128),
        (100, 0.99, 256),
        (1000, 0.99, 2560),
        (10, 0.999, None),
        (10, 1.0, None),
    ],
)
def test_an_accuracy_picks_the_cheapest_setting_that_has_it_and_else_all_is_compared(k, accuracy, effort):
    setting = CURVE.setting_for(k, accuracy)
    assert (setting.effort if setting else None) == effort


@pytest.mark.parametrize("accuracy", [-0.1, 1.01, float("nan")])
def test_an_accuracy_that_is_no_share_is_refused(accuracy):
    with pytest.raises(SettingsError, match="from 0 to 1"):
        CURVE.setting_for(10, accuracy)


def test_a_neighbour_that_is_as_near_as_an_exact_one_is_right(vectors):
    doubled = StoredVectors(np.repeat(vectors.array[:50], 2, axis=0))
    asked = sample_of(doubled, np.arange(10), doubled.take(np.arange(10)), 5, threads=1)
    copies = np.sort(vectors.array[:5].repeat(2, 0) @ vectors.array[:50].repeat(2, 0).T, axis=1)[:, ::-1]
    assert recall_of(copies[:, 1:6].astype(np.float32), asked, 5) == 1


def test_the_recall_that_is_measured_is_the_share_of_neighbours_that_are_found(vectors):
    flat = BuiltIndex(KINDS["flat"], None, vectors)
    rows = np.arange(100, 200)
    asked = sample_of(vectors, rows, vectors.take(rows), 10, threads=1)
    assert measure(flat, asked, Setting(), 10).recall == 1
    _, exact = exact_neighbours(vectors.array, vectors.take(rows), 11)
    graph = choose_index(vectors, Aims(kind="hnsw"), threads=1).built
    found = graph.search(vectors.take(rows), 11, Setting(16))[1]
    assert measure(graph, asked, Setting(16), 10).recall == pytest.approx(recall(found[:, 1:], exact[:, 1:]), abs=0.02)


HALVES = Halves(8, 0.3)


@pytest.fixture(scope="module")
def weighed():
    """An index whose vectors have two halves that know nothing of each other."""
    semantic, pixels = embeddings(3000, dims=8), embeddings(3000, dims=24, seed=5)
    vectors = np.concatenate([semantic, 0.3 * pixels], axis=1) / np.sqrt(1 + 0.3**2)
    whole = StoredVectors(np.ascontiguousarray(vectors, np.float32))
    aims = Aims(kind="hnsw", recall=0.95)
    return choose_index(whole, aims, threads=1, weigh=HALVES.weigh_queries)


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0, 8.0, 1000.0])
def test_at_every_weight_of_the_halves_enough_is_looked_at(weighed, beta):
    queries = HALVES.weigh_queries(weighed.built.vectors.take(np.arange(300, 420)), beta)
    setting = IndexRecord.of(weighed).setting_for(10, None, beta)
    whole = weighed.built
    _, rows = whole.exact(queries, 10) if setting is None else whole.search(queries, 10, setting)
    assert recall(rows, exact_neighbours(whole.vectors.array, queries, 10)[1]) > 0.92


def test_without_measured_weights_another_one_is_answered_by_comparing_all():
    assert (times_for((), 1.0), times_for((), 2.0)) == (1.0, None)


@pytest.mark.parametrize(
    ("beta", "times"), [(0, 2), (0.5, 2), (1, 1), (2, 4), (4, 4), (5, None), (16, None), (17, None), (2000, None)]
)
def test_between_measured_weights_the_more_demanding_one_counts(beta, times):
    weights = (Weight(0.0, 2.0), Weight(0.25, 1.0), Weight(4.0, 4.0), Weight(16.0, None))
    if beta == 0.5:
        weights = (Weight(0.25, 2.0), *weights[2:])
    assert times_for(weights, beta) == times


# --- What is stored and shown ---------------------------------------------------------------------------------------


def test_what_is_stored_of_a_choice_reads_back(chosen):
    record = replace(IndexRecord.of(chosen), weights=(Weight(0.0, 2.0), Weight(1000.0, None)))
    assert IndexRecord.from_bytes(record.to_bytes()) == record


@pytest.mark.parametrize("wrong", [b"", b"[]", b"{}", b'{"kind": "flat"}'])
def test_a_damaged_record_is_refused(wrong):
    with pytest.raises(DamagedError):
        IndexRecord.from_bytes(wrong)


def test_a_record_of_a_kind_that_is_not_known_is_refused(chosen):
    stored = json.loads(IndexRecord.of(chosen).to_bytes()) | {"kind": "nonsense"}
    with pytest.raises(DamagedError, match="nonsense"):
        IndexRecord.from_bytes(json.dumps(stored).encode())


def test_the_explanation_says_what_was_compared_and_what_a_search_costs(chosen):
    text = explain(IndexRecord.of(chosen), "photos")
    assert f"photos: {chosen.built.kind.name}, " in text
    assert f"6,000 vectors of {DIMS} numbers, stored as float32" in text
    assert "lsh (compared only)" in text
    assert "default" in text
    assert "exact: all stored vectors" in text
    weighed = replace(IndexRecord.of(chosen), weights=(Weight(0.0, 1.0), Weight(4.0, 2.0), Weight(1000.0, None)))
    assert "0: as much, 4: 2 times as much, 1000: all compared." in explain(weighed, "photos")


def test_the_curve_is_drawn_as_a_png(tmp_path, chosen):
    draw_curve(IndexRecord.of(chosen), "photos", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_curve_nothing_is_drawn(tmp_path, chosen):
    with pytest.raises(NothingFoundError, match="fewer than two vectors"):
        draw_curve(replace(IndexRecord.of(chosen), curve=None), "photos", tmp_path / "curve.png")
