import io

import numpy as np
import pytest

from index_data.indexes.vectors import StoredVectors, write_vectors
from tests.index_data.indexes.conftest import DIMS, embeddings, exact_neighbours
from train.errors import DamagedError, UserError


def stored(tmp_path, vectors, precision="float32"):
    path = tmp_path / "vectors.npy"
    with path.open("wb") as file:
        write_vectors(file, np.array_split(vectors, 7), len(vectors), vectors.shape[1], precision)
    return path


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_vectors_are_written_in_slices_and_mapped_back_in_the_order_of_their_rows(tmp_path, precision):
    whole = embeddings(1000)
    opened = StoredVectors.open(stored(tmp_path, whole, precision))
    assert not opened.array.flags.owndata, "it is mapped"
    assert (len(opened), opened.dims, opened.precision) == (1000, DIMS, precision)
    assert opened.bytes_each == DIMS * (4 if precision == "float32" else 2)
    assert np.array_equal(opened.take(np.array([999, 0, 5])), whole.astype(precision)[[999, 0, 5]])
    assert np.array_equal(np.concatenate(list(opened.slices(length=64))), whole.astype(precision))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_faiss_searches_the_mapped_file_itself(tmp_path, precision):
    opened = StoredVectors.open(stored(tmp_path, embeddings(1000), precision))
    queries = embeddings(20, seed=1)
    scores, rows = opened.as_index.search(queries, 10)
    best, expected = exact_neighbours(opened.array.astype(np.float32), queries, 10)
    assert np.array_equal(rows, expected)
    assert np.allclose(scores, best, atol=1e-5)


def test_the_view_keeps_its_vectors_alive(tmp_path):
    whole = embeddings(1000)
    index = StoredVectors.open(stored(tmp_path, whole)).as_index
    assert index.search(whole[7:8], 1)[1].tolist() == [[7]]


def test_no_vectors_at_all_are_stored_and_opened(tmp_path):
    opened = StoredVectors.open(stored(tmp_path, np.empty((0, DIMS), np.float32)))
    assert (len(opened), opened.as_index.ntotal) == (0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_with_its_row(bad):
    vectors = embeddings(100)
    vectors[57, 3] = bad
    with pytest.raises(UserError, match="row 57 is not finite") as caught:
        write_vectors(io.BytesIO(), [vectors[:50], vectors[50:]], 100, DIMS)
    assert caught.value.problem.code == "bad_embedding"


def test_vectors_of_another_length_are_refused():
    with pytest.raises(UserError) as caught:
        write_vectors(io.BytesIO(), [embeddings(10)], 10, DIMS + 1)
    assert caught.value.problem.code == "dimension_mismatch"


def test_fewer_vectors_than_were_announced_are_an_error():
    with pytest.raises(ValueError, match="10 vectors were given, but 11 announced"):
        write_vectors(io.BytesIO(), [embeddings(10)], 11, DIMS)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_file_that_holds_no_vectors_is_damaged(tmp_path, content):
    path = stored(tmp_path, embeddings(100))
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(DamagedError, match=r"vectors\.npy"):
        StoredVectors.open(path)


def test_numbers_of_another_type_are_no_vectors(tmp_path):
    np.save(tmp_path / "vectors.npy", np.zeros((10, 4), np.float64))
    with pytest.raises(DamagedError, match="float64"):
        StoredVectors.open(tmp_path / "vectors.npy")
