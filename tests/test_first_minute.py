"""From a folder of pictures to an answer of the API with one command, and again without doing the work twice."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

QUICK = {"LOOKALIKE_TRAIN_IMAGE_SIZE": "32", "LOOKALIKE_TRAIN_DIMS": "16", "LOOKALIKE_TRAIN_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(arguments: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "search_server.lookalike", *arguments, "--port", str(port), "--no-browser"],
            env=os.environ | QUICK,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 240
            while not answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def get(port: int, path: str) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def test_up_goes_from_a_folder_to_neighbours_and_does_not_train_twice(drawn_folder, tmp_path):
    port = free_port()
    command = ["up", str(drawn_folder), "--recipe", "patches", "--minutes", "0.1", "--home", str(tmp_path / "home")]
    with running(command, port, tmp_path / "first.log"):
        items = get(port, "/api/v1/galleries/pictures/items?limit=1")["items"]
        hits = get(port, f"/api/v1/galleries/pictures/items/{items[0]['id']}/similar?k=5&exclude_self=false")["hits"]
        assert hits[0]["id"] == items[0]["id"]
        assert hits[0]["score"] == pytest.approx(1, abs=1e-3)
        assert len(hits) == 5
    assert "Training on" in (tmp_path / "first.log").read_text()
    bundle = (tmp_path / "home/models/pictures/bundle.json").read_bytes()
    with running(command, port, tmp_path / "second.log"):
        assert get(port, "/api/v1/galleries")["galleries"][0]["name"] == "pictures"
    assert "Training on" not in (tmp_path / "second.log").read_text()
    assert (tmp_path / "home/models/pictures/bundle.json").read_bytes() == bundle


def test_few_pictures_are_searchable_at_once_by_the_model_that_comes_with_the_package(drawn_folder, tmp_path):
    port = free_port()
    with running(["up", str(drawn_folder), "--home", str(tmp_path / "home")], port, tmp_path / "log"):
        items = get(port, "/api/v1/galleries/pictures/items?limit=1")["items"]
        hits = get(port, f"/api/v1/galleries/pictures/items/{items[0]['id']}/similar?k=5")["hits"]
        assert len(hits) == 5
    said = (tmp_path / "log").read_text()
    assert "too few to learn from" in said
    assert "Training on" not in said
    assert (tmp_path / "home/models/starter/bundle.json").is_file()


def test_a_running_server_never_loads_pytorch(drawn_folder, tmp_path):
    port = free_port()
    command = ["up", str(drawn_folder), "--recipe", "principal", "--minutes", "0.05", "--home", str(tmp_path / "home")]
    with running(command, port, tmp_path / "log") as process:
        libraries = Path(f"/proc/{process.pid}/maps").read_text()
    assert "onnxruntime" in libraries
    assert "torch" not in re.findall(r"site-packages/(\w+)/", libraries)


@pytest.mark.parametrize(
    ("number", "everybody"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "kill"]
)
def test_stopping_up_while_it_trains_saves_and_says_which_signal_it_was(drawn_folder, tmp_path, number, everybody):
    home = tmp_path / "home"
    command = [sys.executable, "-m", "search_server.lookalike", "up", str(drawn_folder), "--home", str(home)]
    process = subprocess.Popen(
        [*command, "--recipe", "principal", "--minutes", "5", "--no-browser", "--progress", "lines"],
        env=os.environ | QUICK,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    metrics = home / "runs" / "pictures" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (os.killpg if everybody else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert (home / "runs" / "pictures" / "checkpoint.pt").is_file()
