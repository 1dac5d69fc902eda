"""Progress is a sentence for people and a JSON line for programs."""

import io
import json

import pytest

from train.progress import Reporter, duration


def test_json_progress_is_one_object_a_line_with_counts_at_the_end():
    stream = io.StringIO()
    with Reporter("json", stream).task("Embedding", 10) as task:
        task.advance(7, failed=2)
        task.advance(3, failed=1)
    end = json.loads(stream.getvalue().splitlines()[-1])
    assert (end["event"], end["task"], end["done"], end["total"]) == ("end", "Embedding", 10, 10)
    assert end["counts"] == {"failed": 3}
    assert end["rate"] > 0


def test_a_resumed_task_counts_what_was_done_before_but_not_in_its_rate():
    stream = io.StringIO()
    with Reporter("json", stream).task("Embedding", 1000) as task:
        task.resume_at(990)
        assert task.seconds_left is None
        task.advance(5)
        assert task.done == 995
        assert task.rate * 1e-9 < 5
    assert json.loads(stream.getvalue().splitlines()[-1])["done"] == 995


def test_lines_name_the_task_the_rate_and_what_failed():
    stream = io.StringIO()
    reporter = Reporter("lines", stream)
    reporter.say("Now embedding.")
    with reporter.task("Embedding", 2000, "images") as task:
        task.advance(2000, failed=1, skipped=0)
    first, last = stream.getvalue().splitlines()
    assert first == "Now embedding."
    assert last.startswith("Embedding: 2,000/2,000 images, ")
    assert last.endswith("1 failed")


def test_quiet_writes_nothing():
    stream = io.StringIO()
    reporter = Reporter("none", stream)
    reporter.say("Now embedding.")
    with reporter.task("Embedding") as task:
        task.advance(1)
    assert stream.getvalue() == ""


def test_a_bar_can_be_talked_over_and_leaves_the_sentence():
    stream = io.StringIO()
    reporter = Reporter("bar", stream)
    with reporter.task("Embedding", 3, "images") as task:
        task.advance(1)
        reporter.say("One file was rejected.")
        task.advance(2)
    assert "One file was rejected." in stream.getvalue()
    assert "3/3 images" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_a_duration_reads_as_people_say_it(seconds, text):
    assert duration(seconds) == text
