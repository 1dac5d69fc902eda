"""A server that was told no names serves whatever its workspace has, as it comes and goes: a real server."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from index_data.gallery import DATABASE
from search_server.discovery import Discovery
from search_server.service import EXTENSION
from search_server.settings import ServerSettings
from tests.search_server.conftest import Server, serving
from tests.search_server.test_upkeep import wait_until
from train.workspace import Workspace


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "galleries").mkdir(parents=True)
    return tmp_path / "home"


@contextmanager
def serving_all(home: Path) -> Iterator[Server]:
    with serving(log=home.parent / "log", options=("--home", str(home))) as server:
        yield server


def names(server: Server) -> list[str]:
    return [gallery["name"] for gallery in server.get("/api/v1/galleries").json()["galleries"]]


def test_a_gallery_that_another_command_makes_is_served_and_one_that_is_deleted_is_not(home, drawn_gallery):
    with serving_all(home) as server:
        assert names(server) == []
        shutil.copytree(drawn_gallery, home / "galleries" / "drawn")
        wait_until(lambda: names(server) == ["drawn"])
        assert server.send_json("/api/v1/galleries/drawn/search", id="1", k=3).json()["hits"]
        (home / "galleries" / "drawn").rename(home / "galleries" / "others")
        wait_until(lambda: names(server) == ["others"])
        shutil.rmtree(home / "galleries" / "others")
        wait_until(lambda: names(server) == [])
        assert server.get("/api/v1/galleries/others").status == 404


def test_a_damaged_gallery_keeps_no_other_from_being_served_and_is_served_once_it_is_mended(home, drawn_gallery):
    for name in ("broken", "whole"):
        shutil.copytree(drawn_gallery, home / "galleries" / name)
    (home / "galleries" / "no gallery").mkdir()
    database = home / "galleries" / "broken" / DATABASE
    good = database.read_bytes()
    database.write_bytes(b"not a database" * 1000)
    with serving_all(home) as server:
        assert names(server) == ["whole"]
        assert "broken is not served: " in server.log.read_text()
        database.write_bytes(good)
        wait_until(lambda: sorted(names(server)) == ["broken", "whole"])
        assert "no gallery" not in server.log.read_text()


def test_where_no_gallery_can_be_opened_the_server_says_why_and_does_not_start(home, drawn_gallery):
    shutil.copytree(drawn_gallery, home / "galleries" / "broken")
    (home / "galleries" / "broken" / DATABASE).write_bytes(b"not a database" * 1000)
    command = [sys.executable, "-m", "search_server", "--port", "0", "--no-browser", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=home)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "gallery.db" in done.stderr


def test_what_cannot_be_opened_is_said_once(home, drawn_gallery):
    from search_server.app import create_app

    app = create_app({}, ServerSettings(), Workspace(home))
    service = app.extensions[EXTENSION]
    discovery = Discovery(service)
    shutil.copytree(drawn_gallery, home / "galleries" / "broken")
    (home / "galleries" / "broken" / DATABASE).write_bytes(b"not a database" * 1000)
    assert list(discovery.look()) == ["broken"]
    assert discovery.look() == {}
    discovery._not_before.clear()
    assert discovery.look() == {}
    assert list(service.galleries) == []
    service.close()
