"""Training over the API: what is offered, what is refused, a job of several steps, and the runs it leaves."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search_server.jobs import JobTable, now
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import make_gallery, serving

API = "/api/v1"
HERE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(bundle, tmp_path_factory):
    """A workspace with a model, a gallery of nine pictures, one of two, and a training that is under way."""
    home = tmp_path_factory.mktemp("training") / "lookalike"
    shutil.copytree(bundle.folder, home / "models" / "averaging")
    model = type(bundle).open(home / "models" / "averaging")
    for name, count in (("drawn", 9), ("two", 2)):
        pictures = home.parent / name
        pictures.mkdir()
        for number in range(count):
            (pictures / f"{number}.png").write_bytes(encoded(draw_picture(number)))
        make_gallery(home / "galleries" / name, model, pictures)
    run = home / "runs" / "begun"
    run.mkdir(parents=True)
    described = json.loads((model.folder / "bundle.json").read_text())
    record = {"format": 2, "recipe": {"name": "similarity"}, "preprocessing": described["preprocessing"]}
    plan = {"steps": 200, "steps_per_epoch": 50, "device": "cpu", "trunk_steps": 10, "pca_validation_mse": None}
    plan |= {"dims": 8, "mirror": False, "batch": 4, "precision": "fp32", "threads": 1, "pca_test_mse": None}
    (run / "run.json").write_text(json.dumps(record | {"plan": plan}))
    lines = [{"step": step - 11, "split": "trunk", "epoch": step / 5, "agreement_loss": 3.0} for step in (5, 10)]
    lines.append({"step": 20, "epoch": 0.4, "split": "train", "mse": 0.02})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    (home / "runs" / "no-run").mkdir()
    return home


@pytest.fixture(scope="module")
def server(home):
    galleries = [home / "galleries" / name for name in ("drawn", "two")]
    with serving(*galleries, log=home.parent / "log") as running:
        yield running


def test_what_can_be_trained_is_said(server):
    ways = server.get(f"{API}/training").json()
    assert ways["available"] and ways["preset"] in ways["presets"]
    assert 0 < ways["least_images"] < ways["few_images"]
    assert ways["taken"] == ["averaging", "begun", "no-run", "starter"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gallery": "two"}, "gallery: two has 2 pictures, and training needs at least 8"),
        ({"gallery": "drawn", "name": "averaging", "export": True}, "name: there is a model averaging already"),
        ({"gallery": "drawn", "folder": "/tmp"}, "give one of them"),
        ({}, "give one of them"),
        ({"folder": "/nowhere/at all"}, "folder: give the whole path"),
        ({"folder": "/tmp", "export": True, "adopt": True}, "adopt: it takes a gallery"),
        ({"gallery": "drawn", "recipe": "similar"}, "recipe: there is no recipe 'similar'"),
        ({"gallery": "drawn", "preset": "abacus"}, "preset: this recipe has cpu-small, cpu, gpu"),
        ({"gallery": "drawn", "recipe": "patches", "preset": "gpu"}, "preset: this recipe has none"),
        ({"gallery": "drawn", "invariance": "none"}, "invariance"),
    ],
)
def test_a_training_that_could_not_begin_is_refused_at_the_field(server, asked, words):
    answer = server.send_json(f"{API}/jobs", **{"kind": "train", "name": "new", **asked})
    assert (answer.status, answer.code) == (422, "invalid")
    assert words in answer.json()["detail"]


def test_a_gallery_that_is_not_there_is_refused(server):
    assert server.send_json(f"{API}/jobs", kind="train", name="new", gallery="none").code == "no_such_gallery"
    assert server.send_json(f"{API}/jobs", kind="export", name="new", minutes=5).code == "invalid"


def test_a_run_is_seen_while_it_is_trained(server):
    runs = server.get(f"{API}/runs").json()["runs"]
    assert runs == [{"name": "begun", "finished": False, "has_model": False, "step": 20, "steps": 200}]
    run = server.get(f"{API}/runs/begun").json()
    assert [one["epoch"] for one in run["agreement"]] == [1.0, 2.0]
    assert [one["step"] for one in run["train"]] == [20]
    assert (run["finished"], run["epochs"], run["sheets"]) == (False, 4.0, {})
    assert server.get(f"{API}/runs/begun/sheets/morphs").code == "empty"
    assert server.get(f"{API}/runs/none").code == "empty"


def test_a_gallery_is_given_a_model_that_is_there_and_not_its_own(server):
    def choose(gallery: str, model: str):
        body = json.dumps({"model": model}).encode()
        return server.ask("PUT", f"{API}/galleries/{gallery}/model", body, Content_Type="application/json")

    assert choose("drawn", "averaging").json()["detail"].startswith("model: drawn has this model already")
    assert choose("drawn", "nothing").code == "empty"
    assert choose("nothing", "averaging").code == "no_such_gallery"


def _run(home: Path, *steps: str) -> JobTable:
    """Run a job whose steps are small programs, in a process of its own as always."""
    place = home / "steps"
    place.mkdir(exist_ok=True)
    commands = []
    for number, code in enumerate(steps):
        (place / f"step_{number}.py").write_text(code)
        commands.append([f"step_{number}", "--", f"{number}"])
    table = JobTable(home)
    job, _ = table.add("train", commands[0], None, then=commands[1:])
    assert job.steps == tuple(map(tuple, commands))
    table.change(job.id, state="running", started_at=now())
    with table.lock_file(job.id).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = [sys.executable, "-m", "search_server.job_runner", str(home), str(job.id), str(lock.fileno())]
        subprocess.run(words, check=True, pass_fds=(lock.fileno(),), env=os.environ | {"PYTHONPATH": f"{place}:{HERE}"})
    return table


SAYS = "import json, sys; print(json.dumps({sys.argv[-1]: 1}))"


def test_the_steps_of_a_job_run_one_after_the_other_and_what_they_find_is_put_together(tmp_path):
    counts = 'import json, sys; print(json.dumps({"event": "progress", "done": 5, "total": 9}), file=sys.stderr)'
    table = _run(tmp_path, f"{SAYS}; {counts.removeprefix('import json, sys; ')}", SAYS)
    job = table.get(1)
    assert (job.state, job.result, job.done, job.total) == ("done", {"0": 1, "1": 1}, 0, None)


def test_a_step_that_fails_is_the_last_one(tmp_path):
    job = _run(tmp_path, SAYS, "import sys; sys.exit('lookalike: error: no room.')", SAYS).get(1)
    assert (job.state, job.exit_code, job.message, job.result) == ("failed", 1, "no room.", None)


def test_a_job_that_is_cancelled_between_two_steps_begins_no_other(tmp_path):
    cancels = (
        "from pathlib import Path; from search_server.jobs import JobTable; "
        f"JobTable(Path({str(tmp_path)!r})).change(1, cancelled=1)"
    )
    job = _run(tmp_path, cancels, "import time; time.sleep(60)").get(1)
    assert (job.state, job.exit_code) == ("cancelled", 143)
