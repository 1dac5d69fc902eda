import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from train.run import Run

SETTINGS = ("--image-size", "16", "--dims", "16", "--batch", "8", "--precision", "fp32", "--threads", "1")
LONG = ("--epochs", "60", "--checkpoint-seconds", "0.2")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "train", *(str(word) for word in words)]


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True)


def averaged(folder: Path) -> torch.Tensor:
    return torch.cat([value.flatten() for value in Run.open(folder).load("best.pt")["weights"].values()])


@pytest.fixture(scope="module")
def undisturbed(drawn_folder, tmp_path_factory) -> tuple[Path, float]:
    """A run that nobody disturbed, and how long it took."""
    home = tmp_path_factory.mktemp("home")
    began = time.monotonic()
    done = run_command(drawn_folder, "--home", home, "--name", "whole", *SETTINGS, *LONG)
    assert done.returncode == 0, done.stderr
    return home / "runs" / "whole", time.monotonic() - began


def test_its_help_needs_no_pytorch_and_no_time():
    code = "import sys, train.command; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_says_where_the_run_is_and_the_next_command(drawn_folder, tmp_path):
    done = run_command(drawn_folder, "--home", tmp_path, *SETTINGS, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    held_out, place, following = done.stdout.splitlines()
    assert held_out.startswith("Held out (2 images") and "PCA with 16 dimensions" in held_out
    assert str(tmp_path / "runs" / "pictures") in place
    assert following == "Next: lookalike export pictures"


def test_many_rejected_files_end_with_3_and_a_good_run(drawn_folder, tmp_path):
    shutil.copytree(drawn_folder, tmp_path / "pictures")
    for number in range(5):
        (tmp_path / "pictures" / f"bad-{number}.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    (tmp_path / "pictures" / "notes.txt").write_text("other files are not missed")
    words = (tmp_path / "pictures", "--home", tmp_path, *SETTINGS, "--epochs", "1", "--json")
    done = run_command(*words)
    assert done.returncode == 3
    assert "5 images were rejected, 9.4%" in done.stderr
    result = json.loads(done.stdout)
    assert (result["images"], result["rejected"], result["other"]) == (48, {"corrupt": 5}, 1)
    assert len((tmp_path / "runs" / "pictures" / "failures.jsonl").read_text().splitlines()) == 6
    again = run_command(*words, "--max-bad", "0.2")
    assert again.returncode == 0
    assert json.loads(again.stdout)["resumed"] is True


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--image-size", "33"), 2, "32 or 48"),
        (("--epochs", "1", "--minutes", "1"), 2, "give one of them"),
        (("--device", "cuda:99", "--epochs", "1", "--image-size", "16"), 2, "use auto or cpu"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_one_line(drawn_folder, tmp_path, words, code, says):
    done = run_command(drawn_folder, "--home", tmp_path, "--quiet", *words)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_not_there_or_has_no_images_ends_with_4(tmp_path):
    assert run_command(tmp_path / "nowhere", "--home", tmp_path).returncode == 4
    (tmp_path / "empty").mkdir()
    done = run_command(tmp_path / "empty", "--home", tmp_path, "--quiet")
    assert done.returncode == 4
    assert "no images that can be used" in done.stderr


def test_two_at_once_are_kept_apart(drawn_folder, tmp_path):
    from train.files import locked

    with locked(tmp_path / "runs" / "one", "a test"):
        done = run_command(drawn_folder, "--home", tmp_path, "--name", "one", *SETTINGS)
    assert done.returncode == 5
    assert f"process {os.getpid()}" in done.stderr


def test_ctrl_c_saves_and_ends_with_130(drawn_folder, tmp_path):
    code, said = stop_in_training(signal.SIGINT, drawn_folder, tmp_path)
    assert code == 130
    assert "the same command goes on from there" in said
    assert Run.open(tmp_path / "runs" / "stopped").load("checkpoint.pt")["step"] > 0


def test_after_sigterm_the_same_command_goes_on_to_the_same_weights(undisturbed, drawn_folder, tmp_path):
    code, _ = stop_in_training(signal.SIGTERM, drawn_folder, tmp_path)
    assert code == 143
    done = run_command(drawn_folder, "--home", tmp_path, "--name", "stopped", *SETTINGS, *LONG)
    assert done.returncode == 0, done.stderr
    assert torch.allclose(averaged(tmp_path / "runs" / "stopped"), averaged(undisturbed[0]))


def stop_in_training(number: signal.Signals, source: Path, home: Path) -> tuple[int, str]:
    """Start a run, send it a signal once it learns, and return its exit code and what it said."""
    words = (source, "--home", home, "--name", "stopped", *SETTINGS, *LONG)
    child = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    metrics = home / "runs" / "stopped" / "metrics.jsonl"
    while not metrics.exists() or '"train"' not in metrics.read_text():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(number)
    _, said = child.communicate()
    return child.returncode, said


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_a_run_that_is_killed_again_and_again_ends_like_an_undisturbed_one(undisturbed, drawn_folder, tmp_path, kills):
    whole, seconds = undisturbed
    words = (drawn_folder, "--home", tmp_path, "--name", "killed", *SETTINGS, *LONG)
    moments = random.Random(kills)
    for _ in range(kills):
        child = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
        try:
            child.wait(moments.uniform(0.1, 1) * seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    killed = tmp_path / "runs" / "killed"
    assert torch.allclose(averaged(killed), averaged(whole))
    assert Run.open(killed).result["test_mse"] == pytest.approx(Run.open(whole).result["test_mse"])
    assert (killed / "images" / "pixels.bin").read_bytes() == (whole / "images" / "pixels.bin").read_bytes()
    errors = [[(line["step"], line["mse"]) for line in Run.open(folder).metrics()] for folder in (killed, whole)]
    assert errors[0] == errors[1]
    assert not list(killed.glob(".*.tmp"))
