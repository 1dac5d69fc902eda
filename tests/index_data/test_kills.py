"""Killing a real `index add` with SIGKILL at random moments: the next run goes on, and nobody sees a difference."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.verification import verify
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from train.errors import NothingFoundError

BATCH = 16
PICTURES = 150
ITEMS = PICTURES + 10  # ten are there twice
KILLS = 4
KILLS_IN_FULL = 20


@pytest.fixture(scope="module")
def many_pictures(tmp_path_factory):
    """150 drawn pictures, 10 of them twice, and two files that are no pictures."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        draw_picture(number).save(folder / f"{number:03}.png")
    for number in range(ITEMS - PICTURES):
        shutil.copy(folder / f"{number:03}.png", folder / f"copy-{number}.png")
    (folder / "bad.jpg").write_text("no picture")
    (folder / "note.txt").write_text("a note")
    return folder


def command(home: Path, folder: Path, bundle) -> list[str]:
    options = ["--home", home, "--model", bundle.folder, "--provider", "cpu", "--workers", "1", "--batch", BATCH]
    words = [sys.executable, "-m", "index_data", "add", "many", folder, *options, "--quiet", "--json"]
    return [str(word) for word in words]


def run(home: Path, folder: Path, bundle) -> dict:
    ended = subprocess.run(command(home, folder, bundle), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def undisturbed(many_pictures, bundle, tmp_path_factory):
    """The gallery of a run that nobody disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    run(home, many_pictures, bundle)
    return home / "galleries" / "many"


def contents_of(folder: Path) -> list:
    with Gallery.open(folder) as gallery:
        items = items_of(gallery)
        return [(item.id, item.path, item.sha256, item.width, item.height, item.size) for item in items]


def neighbours_of(folder: Path) -> tuple[list, np.ndarray]:
    with Engine.open(folder, provider="cpu") as engine:
        embeddings = engine.gallery.embeddings(engine.ids.tolist())
        hits = engine.search(embeddings, k=10)
        return [[hit.id for hit in found] for found in hits], embeddings


def committed(folder: Path) -> int:
    """Items that a killed run left; whatever is there must open and be sound."""
    try:
        gallery = Gallery.open(folder)
    except NothingFoundError:
        return 0
    with gallery:
        wrong = [finding for finding in verify(gallery) if finding.harmful]
        assert wrong == []
        with Engine.open(folder, provider="cpu") as engine:
            assert engine.degraded is None
            assert engine.count == gallery.count  # found as soon as it is committed
        return gallery.count


@pytest.mark.parametrize(
    "seed", [*range(KILLS), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(KILLS, KILLS_IN_FULL))]
)
def test_a_run_that_was_killed_goes_on_as_if_nothing_had_happened(seed, many_pictures, bundle, undisturbed, tmp_path):
    folder = tmp_path / "galleries" / "many"
    process = subprocess.Popen(command(tmp_path, many_pictures, bundle), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        wait_for_a_random_moment(seed, process, folder)
        process.send_signal(signal.SIGKILL)
    before = committed(folder)
    summary = run(tmp_path, many_pictures, bundle)
    # Nothing that was committed is embedded again: at most the batch in flight was.
    assert summary["resumed"] + summary["unchanged"] == before
    assert summary["embedded"] + summary["duplicate"] == ITEMS - before
    assert contents_of(folder) == contents_of(undisturbed)
    neighbours, embeddings = neighbours_of(folder)
    expected_neighbours, expected_embeddings = neighbours_of(undisturbed)
    assert neighbours == expected_neighbours
    assert np.allclose(embeddings, expected_embeddings, atol=1e-6)
    with Gallery.open(folder) as gallery:
        assert verify(gallery) == []
        assert {failure.path for failure in gallery.failures(other=True)} == {b"bad.jpg", b"note.txt"}


def wait_for_a_random_moment(seed: int, process: subprocess.Popen, folder: Path) -> None:
    """Wait until some items are committed (by turns none, two random numbers, all), and a random moment more."""
    chance = random.Random(seed)
    items = (0, chance.randint(1, ITEMS - 1), chance.randint(1, ITEMS - 1), ITEMS)[seed % 4]
    deadline = time.monotonic() + 60
    while committed_now(folder) < items and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.6 if items == 0 else 0.05))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_a_batch_with_its_exit_code_and_the_next_run_goes_on(
    number, code, many_pictures, bundle, undisturbed, tmp_path
):
    process = subprocess.Popen(
        command(tmp_path, many_pictures, bundle), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "galleries" / "many"
    deadline = time.monotonic() + 60
    while committed_now(folder) == 0 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    output, complaints = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert process.returncode == code, complaints
    assert output == ""
    assert "goes on" in complaints
    before = committed(folder)
    assert before > 0
    assert not (folder / "current").exists()
    run(tmp_path, many_pictures, bundle)
    assert contents_of(folder) == contents_of(undisturbed)


def committed_now(folder: Path) -> int:
    try:
        with Gallery.open(folder) as gallery:
            return gallery.count
    except NothingFoundError:
        return 0


def test_many_runs_at_once_add_each_file_once(many_pictures, bundle, undisturbed, tmp_path):
    words = command(tmp_path, many_pictures, bundle)
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(process, *process.communicate(timeout=200)) for process in processes]
    for process, _, complaint in ends:
        assert process.returncode == 0, complaint
    folder = tmp_path / "galleries" / "many"
    # Ids are given in the order of the commits; all else is as if one run had been alone.
    assert sorted(row[1:] for row in contents_of(folder)) == sorted(row[1:] for row in contents_of(undisturbed))
    summaries = [json.loads(output) for _, output, _ in ends]
    assert sum(summary["embedded"] for summary in summaries) == PICTURES
    with Gallery.open(folder) as gallery:
        assert verify(gallery) == []
