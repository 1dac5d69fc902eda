import numpy as np
import pytest

from index_data.indexes.locality import SMALLEST, rows_by_nearness
from index_data.indexes.vectors import StoredVectors
from tests.index_data.indexes.conftest import embeddings, exact_neighbours
from train.interruption import Interrupted, StopRequest


@pytest.mark.parametrize("dims", [1, 2, 32])
@pytest.mark.parametrize("count", [0, 1, SMALLEST, SMALLEST + 1, 3000])
def test_every_row_comes_once(count, dims):
    rows = rows_by_nearness(StoredVectors(embeddings(count, dims=dims)))
    assert sorted(rows.tolist()) == list(range(count))


def test_the_order_is_always_the_same(vectors):
    assert np.array_equal(rows_by_nearness(vectors), rows_by_nearness(vectors))


def test_neighbours_in_space_are_near_each_other(vectors):
    rows = rows_by_nearness(vectors)
    place = np.argsort(rows)
    _, nearest = exact_neighbours(vectors.array, vectors.array[:500], 6)
    apart = np.abs(place[nearest[:, 1:]] - place[:500, None])
    assert np.median(apart) < len(vectors) / 20, "in an order of chance a third of all lie between two"


def test_copies_of_one_vector_are_not_split_for_ever():
    same = np.repeat(embeddings(1), 5000, axis=0)
    rows = rows_by_nearness(StoredVectors(np.concatenate([same, embeddings(300, seed=3)])))
    assert sorted(rows.tolist()) == list(range(5300))


def test_ordering_stops_when_it_is_asked_to(vectors):
    stop = StopRequest()
    stop.signal_number = 2
    with pytest.raises(Interrupted):
        rows_by_nearness(vectors, stop=stop)
