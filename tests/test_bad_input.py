"""Bad input on the command line: one clear line with the remedy, the right exit code, nothing lost."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def lookalike(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search_server.lookalike", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong."""
    lines = [line for line in ended.stderr.splitlines() if line.startswith("lookalike: error: ")]
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return lines[0]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.mark.parametrize("command", ["train", "up"])
def test_a_folder_that_is_not_there(command, home, tmp_path):
    ended = lookalike(command, tmp_path / "nowhere", "--home", home)
    assert ended.returncode == 4
    assert "nowhere" in complaint(ended)


@pytest.mark.parametrize("command", ["train", "up"])
def test_an_empty_folder(command, home, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = lookalike(command, tmp_path / "empty", "--home", home)
    assert ended.returncode == 4
    assert "no images" in complaint(ended)
    assert not (home / "models").exists()


@pytest.mark.parametrize("command", ["train", "up"])
def test_a_folder_without_images(command, home, tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"note-{number}.txt").write_text("no picture")
    ended = lookalike(command, tmp_path / "texts", "--home", home)
    assert ended.returncode == 4
    assert "no images" in complaint(ended)


def test_a_folder_that_had_too_few_images_is_read_anew_when_it_has_more(home, tmp_path, drawn_folder):
    (tmp_path / "few").mkdir()
    settings = ("--image-size", "16", "--dims", "8", "--epochs", "1", "--threads", "1", "--home", home)
    assert "no images" in complaint(lookalike("train", tmp_path / "few", *settings))
    shutil.copytree(drawn_folder, tmp_path / "few", dirs_exist_ok=True)
    assert lookalike("train", tmp_path / "few", *settings).returncode == 0


def test_a_folder_of_nothing_but_damaged_images(home, tmp_path, bundle_folder):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "text.jpg").write_text("no picture")
    (tmp_path / "damaged" / "empty.png").write_bytes(b"")
    ended = lookalike("index", "add", "photos", tmp_path / "damaged", "--model", bundle_folder, "--home", home)
    assert ended.returncode == 4
    complaint(ended)


def test_a_model_that_is_not_there(home, drawn_folder):
    ended = lookalike("index", "add", "photos", drawn_folder, "--model", "nothing", "--home", home)
    assert ended.returncode == 4
    assert "nothing" in complaint(ended)


def test_a_run_that_is_not_there(home):
    ended = lookalike("export", "nothing", "--home", home)
    assert ended.returncode == 4
    assert "nothing" in complaint(ended)


@pytest.mark.parametrize("command", ["serve", "search"])
def test_a_gallery_that_is_not_there(command, home, drawn_folder):
    arguments = [drawn_folder / "square" / "picture-02.png"] if command == "search" else []
    ended = lookalike(command, "nothing", *arguments, "--home", home)
    assert ended.returncode == 4
    assert "nothing" in complaint(ended)


@pytest.fixture(scope="session")
def bundle_folder(bundle) -> Path:
    return bundle.folder


@pytest.fixture(scope="module")
def drawn_gallery(drawn_folder, bundle_folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("gallery-home")
    ended = lookalike("index", "add", "drawn", drawn_folder, "--model", bundle_folder, "--home", home)
    assert ended.returncode == 0, ended.stderr
    return home


def test_a_port_in_use_names_another(drawn_gallery):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = lookalike("serve", "drawn", "--port", str(port), "--no-browser", "--home", drawn_gallery)
    assert ended.returncode == 2
    assert str(port) in complaint(ended)
    assert "--port" in complaint(ended)


def test_an_address_other_machines_reach_is_refused_without_being_asked_for_twice(drawn_gallery):
    ended = lookalike("serve", "drawn", "--host", "0.0.0.0", "--no-browser", "--home", drawn_gallery)
    assert ended.returncode == 2
    assert "--insecure" in complaint(ended)


def test_a_query_that_is_no_image(drawn_gallery, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    ended = lookalike("search", "drawn", tmp_path / "text.jpg", "--home", drawn_gallery)
    assert ended.returncode == 4
    assert "text.jpg" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_provider_that_is_not_on_this_machine(drawn_gallery, drawn_folder):
    query = drawn_folder / "square" / "picture-02.png"
    ended = lookalike("search", "drawn", query, "--provider", "coreml", "--home", drawn_gallery)
    assert ended.returncode == 2
    assert "coreml" in complaint(ended).lower()


def test_an_unknown_option_names_the_near_one(home, drawn_folder):
    ended = lookalike("train", drawn_folder, "--epoch", "3", "--home", home)
    assert ended.returncode == 2
    assert "--epochs" in ended.stderr


def test_an_image_size_the_network_cannot_halve_names_those_it_can(home, drawn_folder):
    ended = lookalike("train", drawn_folder, "--image-size", "33", "--home", home)
    assert ended.returncode == 2
    assert "33" in complaint(ended)
    assert "48" in complaint(ended)
