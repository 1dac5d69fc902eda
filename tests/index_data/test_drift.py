"""Whether what was added since an index was built is like what it was built of."""

from pathlib import Path

import numpy as np
import pytest

from export.sessions import Encoder
from index_data.drift import FEW, by_chance, largest_difference
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from tests.index_data.living import open_engine

OLD, NEW = 400, 200


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def drawn(count, dims, *, seed, beside=0.0):
    """Directions around one, and a little beside it."""
    random = np.random.default_rng(seed)
    centre = np.eye(dims)[0] + beside * np.eye(dims)[1]
    return unit(centre + 0.6 / np.sqrt(dims) * random.standard_normal((count, dims)))


def put(gallery, vectors, first):
    with gallery.changes() as changes:
        root = changes.root_id(Path("/of/no/pictures"))
        for number, vector in enumerate(vectors, first):
            content = changes.add_content(Content(number.to_bytes(32, "big"), 3, 2, "PNG", vector, vector))
            changes.put_item(FileState(root, b"%d" % number, 1, 1), content)


@pytest.fixture
def engine(gallery: Gallery, bundle):
    put(gallery, drawn(OLD, gallery.dims, seed=0), 0)
    build_generation(gallery)
    with open_engine(gallery.folder, bundle, Encoder.open(bundle, provider="cpu")) as engine:
        yield engine


def test_where_nothing_was_added_nothing_is_compared(engine):
    drift = engine.drift()
    assert (drift.verdict, drift.added, drift.difference) == ("nothing-new", 0, None)


def test_a_few_pictures_are_too_few_to_tell(engine, gallery):
    put(gallery, drawn(FEW - 1, gallery.dims, seed=1), OLD)
    drift = engine.drift()
    assert (drift.verdict, drift.added, drift.compared) == ("too-few", FEW - 1, 0)
    assert str(FEW) in drift.says


def test_more_of_the_same_kind_is_no_drift(engine, gallery):
    put(gallery, drawn(NEW, gallery.dims, seed=1), OLD)
    drift = engine.drift()
    assert (drift.verdict, drift.added, drift.compared) == ("alike", NEW, NEW)
    assert drift.probability > 0.01
    assert drift.median_now == pytest.approx(drift.median_before, abs=0.05)


def test_pictures_of_another_kind_lie_farther_away_and_copies_nearer(engine, gallery):
    put(gallery, drawn(NEW, gallery.dims, seed=1, beside=3.0), OLD)
    drift = engine.drift()
    assert drift.verdict == "different"
    assert drift.median_now < drift.median_before
    assert "another kind" in drift.says
    build_generation(gallery)
    engine.refresh()
    assert engine.drift().verdict == "nothing-new"
    put(gallery, unit(drawn(NEW, gallery.dims, seed=0) + 1e-3), OLD + NEW)
    drift = engine.drift()
    assert drift.median_now > drift.median_before
    assert "nearer" in drift.says


def test_it_is_measured_once_for_each_state(engine, gallery):
    put(gallery, drawn(NEW, gallery.dims, seed=1), OLD)
    first = engine.drift()
    assert engine.drift() is first
    put(gallery, drawn(1, gallery.dims, seed=2), OLD + NEW)
    assert engine.drift().added == NEW + 1


@pytest.mark.parametrize(("count", "other", "shift"), [(30, 30, 0.0), (1024, 256, 0.2), (500, 40, 0.5), (60, 900, 2.0)])
def test_the_test_agrees_with_that_of_another_library(count, other, shift):
    stats = pytest.importorskip("scipy.stats", reason="scikit-learn (lookalike[probe]) brings it")
    random = np.random.default_rng(count)
    one, two = random.standard_normal(count), random.standard_normal(other) + shift
    expected = stats.ks_2samp(one, two, method="asymp")
    difference = largest_difference(one, two)
    assert difference == pytest.approx(expected.statistic)
    assert by_chance(difference, count, other) == pytest.approx(expected.pvalue, abs=0.05)
    assert by_chance(0.0, count, other) == 1.0
