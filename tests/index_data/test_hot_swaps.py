"""Generations are swapped while clients search and the gallery changes: every answer is that of one moment."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from export.sessions import Encoder
from index_data.gallery import Gallery
from index_data.generations import build_generation
from index_data.removing import remove_items
from tests.index_data.living import KINDS, answer, ids_of, nearest, open_engine, put, vectors

CLIENTS = 8
ITEMS = 300
K = 10
REMEMBERED = 100  # states: more than the changes that one search can meet


class History:
    """What the gallery held after each of its changes, in order."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.drawn = vectors(gallery.dims)
        self.kinds: dict[bytes, int] = {}
        self.states: list[dict[int, np.ndarray]] = [{}]
        self.next = 0

    def add(self, chance: random.Random, count: int) -> None:
        files = {b"%06d" % (self.next + number): chance.randrange(KINDS) for number in range(count)}
        self.next += count
        # The next state is known before it can be seen: ids follow one another, and nobody else writes.
        first = max(self.states[-1], default=0) if self.next == count else self.highest
        self.highest = first + count
        after = dict(self.states[-1])
        after.update({first + 1 + place: self.drawn[kind] for place, kind in enumerate(files.values())})
        self.states.append(after)
        put(self.gallery, files)

    def change(self, chance: random.Random) -> None:
        paths = {number: path for path, number in ids_of(self.gallery).items()}
        chosen = chance.choice(sorted(self.states[-1]))
        kind = chance.randrange(KINDS)
        self.states.append(self.states[-1] | {chosen: self.drawn[kind]})
        put(self.gallery, {paths[chosen]: kind})

    def remove(self, chance: random.Random, count: int) -> None:
        chosen = chance.sample(sorted(self.states[-1]), count)
        self.states.append({number: vector for number, vector in self.states[-1].items() if number not in chosen})
        remove_items(self.gallery, chosen)

    def forget(self) -> None:
        """Let go of states that no search in flight can have begun on."""
        if len(self.states) > REMEMBERED:
            self.states[len(self.states) - REMEMBERED] = {}


@pytest.mark.parametrize("swaps", [8, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(3000)])])
def test_every_answer_under_swaps_is_exactly_that_of_a_moment(swaps, bundle, tmp_path):
    chance = random.Random(swaps)
    ended = threading.Event()
    process = psutil.Process(os.getpid())
    with Gallery.create(tmp_path / "gallery", bundle) as gallery:
        history = History(gallery)
        history.add(chance, ITEMS)
        build_generation(gallery)
        engine = open_engine(gallery.folder, bundle, Encoder.open(bundle, provider="cpu"))

        def search(seed: int) -> int:
            mine, answers = random.Random(seed), 0
            while not ended.is_set():
                query = history.drawn[mine.randrange(KINDS)]
                # What was committed when the search began is the oldest that it may see.
                oldest = committed[0]
                found = answer(engine, query, K)
                newest = len(history.states)
                moments = (nearest(items, query, K) for items in history.states[oldest:newest])
                assert any(found == expected for expected in moments), (found, oldest, newest)
                answers += 1
            return answers

        def change() -> int:
            changes = 0
            while not ended.is_set():
                if len(history.states[-1]) > ITEMS:
                    history.remove(chance, 5)
                else:
                    chance.choice([lambda: history.add(chance, 7), lambda: history.change(chance)])()
                committed[0] = len(history.states) - 1
                history.forget()
                changes += 1
                time.sleep(0.002)
            return changes

        committed = [len(history.states) - 1]
        sizes = []
        with ThreadPoolExecutor(CLIENTS + 1) as threads:
            try:
                clients = [threads.submit(search, seed) for seed in range(CLIENTS)]
                writer = threads.submit(change)
                for _ in range(swaps):
                    build_generation(gallery)
                    assert engine.refresh()
                    sizes.append(process.memory_info().rss)
                    assert not any(each.done() for each in (*clients, writer)), "one has failed"
            finally:
                ended.set()
            answers, changes = sum(each.result() for each in clients), writer.result()
        engine.close()
        assert answers > 10 * swaps
        assert changes > swaps
        assert engine.generation == f"{swaps + 1:06}"
        growth = sizes[-1] / sizes[len(sizes) // 5]
        print(f"{swaps} swaps, {answers} answers, {changes} changes, memory x{growth:.3f}")  # noqa: T201  (for docs/benchmarks.md)
        if swaps >= 100:
            assert growth < 1.05
