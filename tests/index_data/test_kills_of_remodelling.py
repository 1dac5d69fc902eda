"""SIGKILL anywhere in a change of the model, and a disk that fills up on the way: the old model or the new one."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from index_data.adding import add_folder
from index_data.config import AddSettings
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.generations import current_name, is_of_this_model
from index_data.remodelling import change_model
from index_data.verification import verify
from tests.index_data.conftest import items_of
from tests.index_data.test_disk_full import resize, small_disk  # noqa: F401  (a fixture)
from train.errors import DiskError

CONTENTS = 48
KILLS, KILLS_IN_FULL = 8, 60


@pytest.fixture(scope="module")
def models(bundle, other_bundle, filled, drawn_folder, tmp_path_factory):
    """Both models, each with the embeddings of all items of a gallery that was its from the start."""
    place = tmp_path_factory.mktemp("from-the-start") / "gallery"
    with Gallery.create(place, other_bundle) as gallery:
        add_folder(gallery, other_bundle, drawn_folder, provider="cpu", workers=1, batch=16)
    found = {}
    for model, folder in ((bundle, filled), (other_bundle, place)):
        with Gallery.open(folder) as gallery:
            found[model.model_id] = model, {item.path: gallery.embeddings([item.id])[0] for item in items_of(gallery)}
    return found


def command(folder: Path, model) -> list[str]:
    options = ["--model", model.folder, "--provider", "cpu", "--workers", "1", "--quiet", "--json"]
    return [str(word) for word in (sys.executable, "-m", "index_data", "build", folder, *options)]


def expect_one_model_alone(folder: Path, models) -> str:
    """Whatever was interrupted: all vectors are of one model, and they are found. Returns its id."""
    with Gallery.open(folder) as gallery:
        model, expected = models[gallery.model_id]
        items = items_of(gallery)
        assert {item.path for item in items} == expected.keys()
        embeddings = gallery.embeddings([item.id for item in items])
        assert np.allclose(embeddings, [expected[item.path] for item in items], atol=1e-6)
        assert not [finding for finding in verify(gallery) if finding.harmful]
        with Engine.open(folder, bundle=model, provider="cpu") as engine:
            assert engine.count == CONTENTS
            hits = engine.search(embeddings, 1)
            assert [found[0].id for found in hits] == [item.id for item in items]
            # Only between the switch and the moment at which the new index is named, another one answers.
            assert engine.degraded is None or not is_of_this_model(gallery, current_name(gallery) or "")
        return gallery.model_id


def embedded_aside(folder: Path, model) -> int:
    """How many contents the new model has embedded so far."""
    try:
        connection = sqlite3.connect(f"{(folder / f'model-{model.model_id}.db').as_uri()}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        return int(connection.execute("SELECT count(*) FROM contents").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


def wait_for_a_random_moment(chance: random.Random, process: subprocess.Popen, folder: Path, model) -> None:
    """Until some contents are embedded (by turns none, some, all), or the gallery is switched, and a moment more."""
    wanted = chance.choice(["start", "embedding", "embedding", "switch", "built"])
    before = current_name_of(folder)
    deadline = time.monotonic() + 60

    def reached() -> bool:
        if wanted == "start":
            return True
        if wanted == "embedding":
            return embedded_aside(folder, model) > 0
        with Gallery.open(folder) as gallery:
            switched = gallery.model_id == model.model_id
        return switched if wanted == "switch" else switched and current_name_of(folder) != before

    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 1.0 if wanted == "start" else 0.03))


def current_name_of(folder: Path) -> str | None:
    with Gallery.open(folder) as gallery:
        return current_name(gallery)


@pytest.mark.parametrize(
    "kills", [KILLS, pytest.param(KILLS_IN_FULL, marks=[pytest.mark.full, pytest.mark.timeout(3000)])]
)
def test_a_kill_anywhere_leaves_the_old_model_or_the_new_one(kills, models, bundle, other_bundle, copied):
    chance = random.Random(kills)
    goal, midway, behind = other_bundle, 0, 0
    for _ in range(kills):
        words = command(copied, goal)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_for_a_random_moment(chance, process, copied, goal)
            process.send_signal(signal.SIGKILL)
            said = process.stdout.read()
        now = expect_one_model_alone(copied, models)
        if said:
            assert now == goal.model_id
        else:
            midway += 1
            behind += now == goal.model_id
        if now == goal.model_id:  # there and back again
            finish(copied, goal, resumed=None)
            goal = bundle if goal is other_bundle else other_bundle
        elif chance.random() < 0.3:
            finish(copied, goal, resumed=embedded_aside(copied, goal))
            goal = bundle if goal is other_bundle else other_bundle
        expect_one_model_alone(copied, models)
    print(f"{kills} kills, {midway} before the end, {behind} of them behind the switch")  # noqa: T201  (for docs)
    assert midway >= kills // 2


def finish(folder: Path, model, *, resumed: int | None) -> None:
    """Let the same command come to its end: nothing that was kept is embedded again."""
    ended = subprocess.run(command(folder, model), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["embedded"] + summary["resumed"] == CONTENTS
    assert summary["resumed"] == (CONTENTS if resumed is None else resumed)
    assert list(folder.glob("model-*")) == []
    with Gallery.open(folder) as gallery:
        assert gallery.model_id == model.model_id
        assert verify(gallery) == []


def test_a_disk_that_fills_up_leaves_the_old_model_until_there_is_room(small_disk, models, other_bundle, filled):  # noqa: F811
    """The disk grows a little at a time; every run ends with DiskError until one has room, and each goes on."""
    resize(small_disk, 4000)
    place = shutil.copytree(filled, small_disk / "drawn")
    used = 4000 - os.statvfs(small_disk).f_bavail * 4
    refusals, kept = 0, 0
    settings = AddSettings(provider="cpu", workers=1, batch=4)
    for kilobytes in range(used + 16, used + 4000, 24):
        resize(small_disk, kilobytes)
        try:
            with Gallery.open(place) as gallery:
                summary = change_model(gallery, other_bundle, settings=settings)
            break
        except DiskError as error:
            assert "free some space" in error.detail.lower()
            assert error.problem.exit_code == 6
            refusals += 1
        there = embedded_aside(place, other_bundle)
        assert there >= kept
        kept = there
    assert refusals > 5
    assert summary.resumed >= kept
    assert expect_one_model_alone(place, models) == other_bundle.model_id
    with Gallery.open(place) as gallery:
        assert verify(gallery) == []
