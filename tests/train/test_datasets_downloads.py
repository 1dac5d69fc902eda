"""Downloads from a server on this machine that breaks off, lies, or has nothing."""

import hashlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from train.command_line import exit_code
from train.datasets.catalogue import KNOWN_SETS, Download, Form, KnownSet
from train.datasets.command import datasets
from train.datasets.downloads import download
from train.errors import DamagedError, NothingFoundError
from train.interruption import Interrupted, StopRequest
from train.progress import SILENT

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path but /missing, with ranges, as its attributes say."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.break_after: list[int] = []  # bytes of the next answers, then the connection is closed
        self.ranges = True
        self.seconds = 0.0  # between two pieces
        self.asked: list[str] = []  # Range header of each request

    def url(self, path: str = "file.gz") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.asked.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = 0
        if wanted and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.break_after:
            body = body[: server.break_after.pop(0)]
        try:
            for position in range(0, len(body), 100_000):
                self.wfile.write(body[position : position + 100_000])
                time.sleep(server.seconds)
        except ConnectionError:
            pass  # the client left

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/file.gz"


def item(*urls: str, content: bytes = CONTENT, size: int | None = None) -> Download:
    return Download(
        file="sub/file.gz", urls=urls, digest=hashlib.sha256(content).hexdigest(), algorithm="sha256", size=size
    )


def fetch(what: Download, folder: Path, stop: StopRequest | None = None) -> bool:
    return download(what, folder, reporter=SILENT, stop=stop or StopRequest(), pause=0.0)


def test_a_file_is_downloaded_once_and_checked(server, tmp_path):
    assert fetch(item(server.url(), size=len(CONTENT)), tmp_path)
    assert (tmp_path / "sub" / "file.gz").read_bytes() == CONTENT
    assert not fetch(item(server.url()), tmp_path)
    assert server.asked == [""]
    assert [file.name for file in (tmp_path / "sub").iterdir()] == ["file.gz"]


def test_what_broke_off_goes_on_from_its_end(server, tmp_path):
    server.break_after = [1_000_000, 500_000]
    assert fetch(item(server.url()), tmp_path)
    assert server.asked == ["", "bytes=1000000-", "bytes=1500000-"]
    assert (tmp_path / "sub" / "file.gz").read_bytes() == CONTENT


def test_what_an_earlier_start_left_is_gone_on_with(server, tmp_path):
    part = tmp_path / "sub" / "file.gz.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:2_345_678])
    assert fetch(item(server.url()), tmp_path)
    assert server.asked == ["bytes=2345678-"]
    part.write_bytes(CONTENT)  # stopped before it was checked
    (tmp_path / "sub" / "file.gz").unlink()
    assert fetch(item(server.url()), tmp_path)
    assert (tmp_path / "sub" / "file.gz").read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_from_the_start(server, tmp_path):
    server.ranges, server.break_after = False, [1_000_000]
    assert fetch(item(server.url()), tmp_path)
    assert (tmp_path / "sub" / "file.gz").read_bytes() == CONTENT


def test_another_file_than_the_published_one_is_refused_and_removed(server, tmp_path):
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DamagedError) as refused:
        fetch(item(server.url()), tmp_path)
    for word in (server.url(), hashlib.sha256(CONTENT).hexdigest(), "is removed", str(tmp_path / "sub" / "file.gz")):
        assert word in refused.value.detail
    assert list((tmp_path / "sub").iterdir()) == []


def test_a_longer_file_than_the_published_one_is_not_received(server, tmp_path):
    with pytest.raises(NothingFoundError, match="3,000,000 bytes, more than 1,000"):
        fetch(item(server.url(), size=1000), tmp_path)


def test_a_file_of_that_name_that_is_not_the_published_one_is_left_alone(server, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file.gz").write_bytes(b"mine")
    with pytest.raises(DamagedError, match="move it away"):
        fetch(item(server.url()), tmp_path)
    assert (tmp_path / "sub" / "file.gz").read_bytes() == b"mine"
    assert server.asked == []


def test_offline_or_missing_says_from_where_and_where_to_put_it(server, nobody, tmp_path):
    with pytest.raises(NothingFoundError) as missing:
        fetch(item(nobody, server.url("missing")), tmp_path)
    detail = missing.value.detail
    assert f"cannot download {nobody} (Connection refused) nor {server.url('missing')} (404 Not Found)" in detail
    assert f"put it at {tmp_path / 'sub' / 'file.gz'}" in detail
    assert "\n" not in detail


def test_the_next_address_is_asked_where_the_first_has_nothing(server, nobody, tmp_path):
    assert fetch(item(nobody, server.url("missing"), server.url()), tmp_path)


def test_a_connection_that_always_breaks_is_given_up_and_what_came_is_kept(server, tmp_path):
    server.break_after = [100_000] + [0] * 10
    with pytest.raises(NothingFoundError, match="100,000 bytes of it are kept"):
        fetch(item(server.url()), tmp_path)
    assert (tmp_path / "sub" / "file.gz.part").stat().st_size == 100_000
    assert len(server.asked) == 5


def test_ctrl_c_keeps_what_has_come(server, tmp_path):
    stop = StopRequest()
    stop.signal_number = signal.SIGINT
    with pytest.raises(Interrupted, match="the same command goes on"):
        fetch(item(server.url()), tmp_path, stop)
    kept = (tmp_path / "sub" / "file.gz.part").read_bytes()
    assert 0 < len(kept) <= len(CONTENT)
    assert CONTENT.startswith(kept)
    assert fetch(item(server.url()), tmp_path)


# --- The commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def served_set(server, monkeypatch) -> Server:
    """The server's file under a name of the catalogue."""
    known = KnownSet(
        name="served",
        what="A set for tests",
        labels="none",
        terms="none",
        page="http://127.0.0.1/",
        forms=(Form(kind="folders", files=("sub/file.gz",)),),
        downloads=(item(server.url()),),
    )
    monkeypatch.setitem(KNOWN_SETS, "served", known)
    return server


def test_get_downloads_to_the_folder_and_says_how_to_use_it(served_set, tmp_path, capfd):
    words = ["get", "served", "--to", str(tmp_path / "sets"), "--home", str(tmp_path), "--json"]
    assert exit_code(datasets, ("datasets",), words) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["downloaded"] == ["sub/file.gz"]
    assert Path(answer["files"][0]).read_bytes() == CONTENT
    assert exit_code(datasets, ("datasets",), words[:-1]) == 0
    assert "It is here already" in capfd.readouterr().out


def test_progress_is_told_with_the_rate_and_the_time_left(served_set, tmp_path, capfd):
    served_set.seconds = 0.05
    words = ["get", "served", "--home", str(tmp_path), "--progress", "json"]
    assert exit_code(datasets, ("datasets",), words) == 0
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    end = next(record for record in told if record["event"] == "end")
    assert (end["task"], end["done"], end["total"], end["unit"]) == ("downloading file.gz", 3000, 3000, "kB")


def test_list_says_what_is_here_and_how_to_get_the_rest(tmp_path, capfd):
    (tmp_path / "mnist.npz").write_bytes(b"")
    words = ["list", "--data", str(tmp_path), "--home", str(tmp_path)]
    assert exit_code(datasets, ("datasets",), words) == 0
    text = capfd.readouterr().out
    for word in ("here: mnist.npz", "lookalike datasets get cifar10", "CC BY-SA 3.0", "put corel1k.tar into"):
        assert word in text
    assert exit_code(datasets, ("datasets",), [*words, "--json"]) == 0
    listed = {record["name"]: record for record in json.loads(capfd.readouterr().out)["datasets"]}
    assert [name for name, record in listed.items() if record["present"]] == ["mnist"]
    assert set(listed) == set(KNOWN_SETS)


def test_get_of_an_unknown_set_or_one_without_an_official_file_is_refused(tmp_path, capfd):
    assert exit_code(datasets, ("datasets",), ["get", "cifar100", "--home", str(tmp_path)]) == 2
    assert "did you mean cifar10?" in capfd.readouterr().err
    assert exit_code(datasets, ("datasets",), ["get", "corel1k", "--home", str(tmp_path)]) == 4
    assert "put corel1k.tar into" in capfd.readouterr().err


def test_its_help_needs_neither_pytorch_nor_numpy():
    program = "import sys, train.datasets.command; sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == 0
