"""A real server, over HTTP, with a real gallery of drawn pictures."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from export.bundle import Bundle
from index_data.adding import add_folder
from index_data.engine import Engine
from index_data.gallery import Gallery
from search_server.app import create_app
from search_server.service import EXTENSION
from tests.conftest import draw_picture
from train.workspace import Workspace


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self.body[:200]
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["type"] == f"/problems/{problem['code']}"
        assert problem["request_id"] == self.headers.get("x-request-id", "")
        return problem["code"]


@dataclass
class Client:
    """Asks a server, each time on a connection of its own."""

    port: int
    host: str = "127.0.0.1"

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, given)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, /, headers: dict[str, str] | None = None, **parameters: object) -> Answer:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self.ask("GET", path + query, **(headers or {}))

    def send_json(self, path: str, /, **fields: object) -> Answer:
        return self.ask("POST", path, json.dumps(fields).encode(), Content_Type="application/json")

    def send_form(self, path: str, /, headers: dict[str, str] | None = None, **fields: object) -> Answer:
        """Send a form; bytes are files."""
        builder = EnvironBuilder(method="POST", data=dict(_parts(fields)), content_type="multipart/form-data")
        environ = builder.get_environ()
        body = environ["wsgi.input"].read()
        return self.ask("POST", path, body, Content_Type=environ["CONTENT_TYPE"], **(headers or {}))


def _parts(fields: dict[str, object]) -> Iterator[tuple[str, object]]:
    from io import BytesIO

    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        yield (
            name,
            [(BytesIO(one), f"{name}-picture.png") if isinstance(one, bytes) else str(one) for one in values],
        )


@dataclass
class Server(Client):
    """A running server process."""

    process: "subprocess.Popen[bytes]" = None  # type: ignore[assignment]
    log: Path = Path()
    galleries: list[str] = field(default_factory=list)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def serving(*galleries: Path, log: Path, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """Start `python -m search_server` on a free port; end it with SIGTERM, which has to succeed."""
    command = [sys.executable, "-m", "search_server", *map(str, galleries), "--port", "0", "--no-browser", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        port = _port(process, log)
        yield Server(port, process=process, log=log, galleries=[folder.name for folder in galleries])
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=15) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"http://localhost:(\d+)/", log.read_text())
        if found:
            return int(found[1])
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def make_gallery(folder: Path, bundle: Bundle, pictures: Path) -> Path:
    """Index a folder of pictures."""
    with Gallery.create(folder, bundle) as gallery:
        add_folder(gallery, bundle, pictures, provider="cpu", workers=1)
    return folder


@pytest.fixture(scope="session")
def pictures(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures, with two of one content and one whose name is no text."""
    folder = tmp_path_factory.mktemp("served") / "my pictures"
    shutil.copytree(drawn_folder, folder)
    shutil.copy(folder / "round" / "picture-01.png", folder / "round" / "the same.png")
    odd = os.fsencode(folder) + b"/<b>odd\xff\n.png"
    shutil.copy(folder / "round" / "picture-05.png", odd)
    return folder


@pytest.fixture(scope="session")
def drawn_gallery(bundle: Bundle, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of the drawn pictures."""
    return make_gallery(tmp_path_factory.mktemp("galleries") / "drawn", bundle, pictures)


@pytest.fixture(scope="session")
def halved_gallery(halved_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of 120 drawn pictures, enough to be calibrated, by a model that has a semantic half."""
    pictures = tmp_path_factory.mktemp("halved-pictures")
    for number in range(120):
        width, height = ((120, 80), (80, 120), (96, 96), (160, 60))[number % 4]
        draw_picture(number, width, height).save(pictures / f"drawn-{number:03}.png")
    return make_gallery(tmp_path_factory.mktemp("galleries") / "halved", halved_bundle, pictures)


@pytest.fixture(scope="session")
def server(drawn_gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one gallery, for tests that leave it as it is."""
    with serving(drawn_gallery, log=tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest.fixture
def app_of_everything(drawn_gallery: Path, tmp_path: Path) -> Iterator[Flask]:
    """The application without a server around it."""
    engine = Engine.open(drawn_gallery, provider="cpu", threads=1)
    app = create_app({"drawn": engine}, workspace=Workspace(tmp_path))
    yield app
    app.extensions[EXTENSION].close()
    engine.close()
