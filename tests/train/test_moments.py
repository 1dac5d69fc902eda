"""What a run painted on its way: few pictures, evenly over its steps, and none that a resumed run has not painted."""

import itertools
from dataclasses import replace

import pytest

from tests.train.test_run import PLAN, SMALL
from train.events import MOMENTS, Moments
from train.run import Run


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run.create(tmp_path / "run", SMALL, "pictures")
    run.set_plan(replace(PLAN, steps=100))
    return run


def paint(run: Run, first: int, last: int, between: int = 1) -> None:
    moments = Moments(run, first)
    for step in range(first, last + 1, between):
        moments.keep(step, b"%d" % step)


def test_the_first_the_last_and_a_few_between_are_kept(run):
    paint(run, 0, 100)
    kept = run.moments()
    assert (len(kept), kept[0], kept[-1]) == (MOMENTS + 1, 0, 100)
    apart = [after - before for before, after in itertools.pairwise(kept)]
    assert max(apart) <= 9
    assert run.moment(kept[3]).read_bytes() == b"%d" % kept[3]


def test_where_less_is_painted_less_is_kept(run):
    paint(run, 0, 100, between=25)
    assert run.moments() == [0, 25, 50, 75, 100]


def test_a_resumed_run_keeps_what_an_undisturbed_one_does(run, tmp_path):
    undisturbed = Run.create(tmp_path / "undisturbed", SMALL, "pictures")
    undisturbed.set_plan(run.plan)
    paint(undisturbed, 0, 100)
    paint(run, 0, 70)  # killed: the last checkpoint is of step 40
    (run.path("sheets") / "reconstructions" / "notes.png").write_bytes(b"not ours")
    paint(run, 40, 100)
    assert run.moments() == undisturbed.moments()


def test_a_run_that_trains_nothing_keeps_what_it_ends_with(run):
    run.set_plan(replace(PLAN, steps=0))
    paint(run, 0, 0)
    assert run.moments() == [0]
