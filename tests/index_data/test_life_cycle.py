"""Any sequence of changes, builds, rollbacks and restarts: the same answers as a dict and plain NumPy."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from export.sessions import Encoder
from index_data.gallery import Gallery
from index_data.generations import build_generation, build_if_due, roll_back, stored_names
from index_data.removing import remove_items
from index_data.verification import verify
from tests.index_data.living import KINDS, answer, ids_of, nearest, open_engine, put, vectors

KIND = st.integers(0, KINDS - 1)
FILE = st.integers(0, 30).map(lambda number: b"%02d.png" % number)


class LifeCycle(RuleBasedStateMachine):
    """A gallery, two programs that search it, and what it should hold."""

    def __init__(self, bundle, encoder):
        super().__init__()
        self.bundle, self.encoder = bundle, encoder
        self.folder = Path(tempfile.mkdtemp(prefix="life-cycle-"))
        self.gallery = Gallery.create(self.folder / "gallery", bundle)
        self.vectors = vectors(bundle.dims)
        self.kinds = {}  # id -> kind
        self.ids = {}  # path -> id
        self.highest = 0  # id that was ever given
        # One is told of new generations, the other never is.
        self.engines = [self.opened(), self.opened()]

    def opened(self):
        return open_engine(self.gallery.folder, self.bundle, self.encoder)

    def teardown(self):
        for engine in self.engines:
            engine.close()
        assert not [finding for finding in verify(self.gallery) if finding.harmful]
        self.gallery.close()
        shutil.rmtree(self.folder)

    @rule(files=st.dictionaries(FILE, KIND, min_size=1, max_size=8))
    def add_or_update(self, files):
        put(self.gallery, files)
        now = ids_of(self.gallery)
        for path, kind in files.items():
            if path in self.ids:
                assert now[path] == self.ids[path]
            else:
                assert now[path] > self.highest
            self.ids[path] = now[path]
            self.kinds[now[path]] = kind
        self.highest = max(self.highest, *self.ids.values())

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def remove(self, data):
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.ids.values())), min_size=1, max_size=5, unique=True))
        assert remove_items(self.gallery, [*chosen, 10**9]) == len(chosen)
        self.kinds = {number: kind for number, kind in self.kinds.items() if number not in chosen}
        self.ids = {path: number for path, number in self.ids.items() if number not in chosen}

    @rule()
    def build(self):
        build_generation(self.gallery)

    @rule()
    def build_if_due(self):
        build_if_due(self.gallery)

    @precondition(lambda self: len(stored_names(self.gallery)) > 1)
    @rule(data=st.data())
    def roll_back(self, data):
        roll_back(self.gallery, data.draw(st.sampled_from(stored_names(self.gallery))))

    @rule()
    def take_up_the_generation(self):
        self.engines[0].refresh()

    @rule(which=st.integers(0, 1))
    def restart(self, which):
        self.engines[which].close()
        self.engines[which] = self.opened()

    @rule(kind=KIND, k=st.integers(1, 40), others=st.sets(st.integers(1, 40), max_size=3))
    def search(self, kind, k, others):
        items = {number: self.vectors[kind] for number, kind in self.kinds.items()}
        for engine in self.engines:
            expected = nearest(items, self.vectors[kind], k, frozenset(others))
            assert answer(engine, self.vectors[kind], k, frozenset(others)) == expected

    @invariant()
    def all_agree(self):
        for engine in self.engines:
            engine.keep_up()
            assert engine.ids.tolist() == sorted(self.kinds)
            assert engine.count == len(self.kinds)
            assert (engine.degraded, engine.trouble) == (None, None)


@pytest.mark.parametrize("examples", [40, pytest.param(500, marks=[pytest.mark.full, pytest.mark.timeout(3000)])])
def test_whatever_happens_answers_are_those_of_a_dict_and_numpy(examples, bundle):
    encoder = Encoder.open(bundle, provider="cpu")
    run_state_machine_as_test(
        lambda: LifeCycle(bundle, encoder),
        settings=settings(
            max_examples=examples,
            stateful_step_count=30 if examples < 100 else 50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
