"""One call for several requests: each gets its own rows, nobody waits for company, and calls have fixed sizes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from export.batching import SIZES, Batches
from export.sessions import Encoder, open_session


class Doubling:
    """Doubles rows, and holds its first call until it is let go on."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, rows):
        self.sizes.append(len(rows))
        self.begun.set()
        assert self.go_on.wait(60)
        if (rows == 13).any():
            raise ZeroDivisionError("thirteen")
        return [2 * rows, rows.sum(axis=1)]


def waiting(batches: Batches) -> int:
    return len(batches._waiting)


def ask_together(doubling: Doubling, batches: Batches, asked: list) -> list:
    """Let a first call begin, then all others come while it runs; give the futures of the others."""
    pool = ThreadPoolExecutor(len(asked) + 1)
    with pool:
        first = pool.submit(batches.run, np.array([[1, 1]]))
        assert doubling.begun.wait(60)
        others = []
        for rows in asked:
            others.append(pool.submit(batches.run, rows))
            while waiting(batches) < len(others):  # in this order
                assert not others[-1].done()
        doubling.go_on.set()
        assert first.result()[0].tolist() == [[2, 2]]
    return others


def test_what_comes_while_a_call_runs_goes_together_in_the_next_and_each_gets_its_own():
    doubling = Doubling()
    batches = Batches(doubling)
    asked = [np.full((count, 2), number) for number, count in enumerate((1, 3, 1), 2)]
    found = [future.result() for future in ask_together(doubling, batches, asked)]
    for rows, (doubled, sums) in zip(asked, found, strict=True):
        assert doubled.tolist() == (2 * rows).tolist()
        assert sums.tolist() == rows.sum(axis=1).tolist()
    assert doubling.sizes == [1, 8]  # five rows, filled up


def test_a_call_takes_no_more_than_its_largest_size_and_the_rest_comes_next():
    doubling = Doubling()
    most = SIZES[-1]
    asked = [np.full((count, 2), 5) for count in (most - 1, 1, 2, 2 * most + 3)]
    found = [future.result()[0] for future in ask_together(doubling, Batches(doubling), asked)]
    assert [len(rows) for rows in found] == [most - 1, 1, 2, 2 * most + 3]
    assert set(doubling.sizes) <= set(SIZES)
    assert doubling.sizes[:2] == [1, most]


def test_who_asks_alone_is_computed_alone():
    doubling = Doubling()
    doubling.go_on.set()
    batches = Batches(doubling)
    assert [batches.run(np.array([[number, 0]]))[1].tolist() for number in (4, 5)] == [[4], [5]]
    assert batches.run(np.empty((0, 2)))[0].shape == (0, 2)
    assert doubling.sizes == [1, 1, 1]


def test_a_call_that_fails_fails_for_those_in_it_and_not_for_the_next():
    doubling = Doubling()
    batches = Batches(doubling)
    failed = ask_together(doubling, batches, [np.array([[13, 0]]), np.array([[2, 0]])])
    for future in failed:
        with pytest.raises(ZeroDivisionError):
            future.result()
    assert batches.run(np.array([[3, 0]]))[0].tolist() == [[6, 0]]


def test_an_encoder_that_batches_gives_each_thread_the_codes_that_it_gives_alone(bundle):
    sizes: list[int] = []

    class Counting:
        def __init__(self, graph, official_name, threads):
            self._session = open_session(graph, official_name, threads)
            self.get_providers = self._session.get_providers

        def run(self, outputs, feed):
            sizes.append(len(feed["pixels"]))
            return self._session.run(outputs, feed)

    side = bundle.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (64, side, side, 3), np.uint8)
    alone = Encoder.open(bundle, provider="cpu", threads=1)
    shared = Encoder.open(bundle, provider="cpu", threads=1, batching="on", session_factory=Counting)
    assert sizes[-len(SIZES) :] == list(SIZES)  # planned before anybody asks
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: shared.encode(pixels[number : number + 1]), range(64)))
    for number, codes in enumerate(found):
        expected = alone.encode(pixels[number : number + 1])
        np.testing.assert_allclose(codes.latents, expected.latents, atol=1e-5)
        np.testing.assert_allclose(codes.embeddings, expected.embeddings, atol=1e-5)
    assert set(sizes) <= {*SIZES, 4}


def test_an_encoder_on_the_cpu_batches_only_where_it_is_asked_to(bundle):
    for asked, expected in (("auto", False), ("off", False), ("on", True)):
        assert Encoder.open(bundle, provider="cpu", threads=1, batching=asked).is_batching is expected
