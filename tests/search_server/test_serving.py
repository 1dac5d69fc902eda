"""The server process: starting, refusing to start, staying up whatever comes, keeping up to date, and ending."""

import contextlib
import gzip
import json
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.bundle import ModelFacts, write_bundle
from index_data.adding import scan_roots
from index_data.engine import Engine
from index_data.gallery import Gallery
from search_server.app import create_app
from search_server.service import EXTENSION
from tests.conftest import AVERAGED_SIZE, averaging_graphs, draw_picture, encoded
from tests.search_server.conftest import Client, make_gallery, serving
from train.errors import PROBLEMS
from train.images import Preprocessing

GALLERY = "/api/v1/galleries/drawn"
PICTURE = encoded(draw_picture(7))


def start(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "search_server", *arguments, "--no-browser"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)


@pytest.fixture
def changing(bundle, drawn_folder, tmp_path):
    """A folder of three pictures and a gallery of it, for tests that change them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (0, 1, 2):
        (folder / f"{number}.png").write_bytes(encoded(draw_picture(number)))
    return folder, make_gallery(tmp_path / "galleries" / "drawn", bundle, folder)


def update(gallery_folder: Path, bundle) -> None:
    with Gallery.open(gallery_folder) as gallery:
        scan_roots(gallery, bundle, provider="cpu", workers=1)


# ---- starting


def test_a_port_in_use_is_named_with_the_next_free_one(drawn_gallery, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = start(str(drawn_gallery), "--port", str(port), folder=tmp_path)
    assert ended.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use" in ended.stderr
    suggested = int(ended.stderr.rsplit("--port ", 1)[1].rstrip(".\n"))
    with socket.create_server(("127.0.0.1", suggested)):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_an_address_beyond_this_machine_needs_to_be_asked_for(drawn_gallery, tmp_path, host):
    ended = start(str(drawn_gallery), "--host", host, folder=tmp_path)
    assert ended.returncode == 2
    assert "--insecure" in ended.stderr


def test_an_insecure_server_listens_beyond_this_machine_and_knows_its_names(drawn_gallery, tmp_path):
    options = ("--host", "0.0.0.0", "--insecure", "--allow-host", "pictures.example")
    with serving(drawn_gallery, log=tmp_path / "log", options=options) as server:
        assert "anybody who reaches it" in server.logged()
        assert server.get("/healthz").status == 200
        assert server.get("/healthz", headers={"Host": "192.0.2.7:8000"}).status == 200
        assert server.get("/healthz", headers={"Host": "pictures.example"}).status == 200
        assert server.get("/healthz", headers={"Host": "evil.example"}).code == "origin_refused"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("nothing-here",), 4, "there is no gallery 'nothing-here'"),
        (("--port", "99999"), 2, "99999"),
        (("GALLERY", "--host", "no.such.host.invalid", "--insecure"), 2, "--host 127.0.0.1"),
        (("GALLERY", "GALLERY"), 2, "rename a folder"),
        (("GALLERY", "--provider", "steam"), 2, "steam"),
    ],
    ids=str,
)
def test_a_server_that_cannot_start_says_why_in_one_line(drawn_gallery, tmp_path, arguments, exit_code, words):
    ended = start(*(str(drawn_gallery) if word == "GALLERY" else word for word in arguments), folder=tmp_path)
    assert ended.returncode == exit_code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_running_server_holds_no_pytorch_and_its_decoders_end_with_it(drawn_gallery, tmp_path):
    with serving(drawn_gallery, log=tmp_path / "log") as server:
        server.send_form(f"{GALLERY}/search", image=PICTURE)
        assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


# ---- ending


# Our server around an application whose answer takes until a line comes on the standard input.
TAKES_ITS_TIME = """
import sys
from flask import Flask
from search_server.serving import Server, bind, run_until_stopped, watch_signals

app = Flask("slow")

@app.get("/")
def answer():
    print("begun", flush=True)
    sys.stdin.readline()
    return "x" * 1_000_000

listener, signals = bind("127.0.0.1", 0), watch_signals()
server = Server(app, listener, threads=1)
server.start()
print(listener.getsockname()[1], flush=True)
run_until_stopped(server, signals, reload=lambda: None)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_being_answered_is_answered_to_its_end(number):
    command = [sys.executable, "-c", TAKES_ITS_TIME]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        client = Client(int(process.stdout.readline()))
        slow = pool.submit(client.get, "/")
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        wait_until(lambda: not takes_connections(client))
        assert not slow.done()
        assert process.poll() is None
        process.communicate("go on\n")
        answer = slow.result()
        assert (answer.status, answer.body) == (200, b"x" * 1_000_000)
    assert process.returncode == 0


def takes_connections(client: Client) -> bool:
    try:
        socket.create_connection((client.host, client.port)).close()
    except ConnectionRefusedError:
        return False
    return True


# ---- staying up


def test_several_clients_at_once_get_the_same_answers_as_one(server):
    def ask(number: int) -> list[str]:
        found = server.send_form(f"{GALLERY}/search", image=encoded(draw_picture(number)), k=5).json()
        return [hit["id"] for hit in found["hits"]]

    alone = [ask(number) for number in range(12)]
    with ThreadPoolExecutor(8) as clients:
        for _ in range(3):
            assert list(clients.map(ask, range(12))) == alone


def test_hostile_files_get_declared_answers_and_the_next_question_a_good_one(server, evil_images):
    manifest = json.loads((evil_images / "manifest.json").read_text())["files"]
    document = server.get("/api/v1/openapi.json").json()
    declared = {int(status) for status in document["paths"]["/api/v1/galleries/{gallery}/search"]["post"]["responses"]}
    good = server.send_form(f"{GALLERY}/search", image=PICTURE, k=3).json()["hits"]
    statuses = set()
    for name in random.Random(1).sample(sorted(manifest), 150):
        packed = manifest[name]["packed_as"]
        data = (evil_images / packed).read_bytes()
        data = gzip.decompress(data) if packed == f"{name}.gz" else data
        answer = server.ask("POST", f"{GALLERY}/search?k=1", data, Content_Type="application/octet-stream")
        assert answer.status in declared - {500, 503}, (name, answer.body[:300])
        assert answer.status == 200 or answer.status == PROBLEMS[answer.code].status
        statuses.add(answer.status)
    assert {200, 415, 422} <= statuses
    assert server.send_form(f"{GALLERY}/search", image=PICTURE, k=3).json()["hits"] == good
    assert server.get("/readyz").json()["status"] == "ready"


def test_silent_clients_do_not_keep_others_waiting(server):
    idle = [socket.create_connection((server.host, server.port)) for _ in range(150)]
    try:
        for number, connection in enumerate(idle):
            connection.sendall(b"POST /api/v1/galleries/drawn/search HTTP/1.1\r\nHost: loc"[: 5 + number % 50])
        assert server.get("/healthz").status == 200
        for connection in idle:  # it did not wait until they were let go
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
    ],
    ids=["length", "no request", "long head", "no host", "two hosts"],
)
def test_a_request_that_is_no_http_gets_a_4xx_and_nothing_else(server, head):
    answer = exchange(server, head)
    if answer or len(head) < 1000:  # a long head may still be on its way when the server closes: then a reset is seen
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:100]
        assert answer.count(b"HTTP/1.") == 1
        assert b"application/problem+json" in answer
    assert server.get("/healthz").status == 200


def test_a_length_beside_chunks_counts_for_nothing_and_smuggles_no_second_request(server):
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lengths = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n0\r\n\r\n"
    answer = exchange(server, head + smuggled)
    # What follows the last chunk is a request of its own, as RFC 9112 has it; nothing is hidden in a body.
    statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/")]
    assert statuses in ([b"405"], [b"405", b"200"])


def exchange(server, sent: bytes) -> bytes:
    """Send bytes as they are, and read until the server closes."""
    received = b""
    connection = socket.create_connection((server.host, server.port), timeout=20)
    with connection, contextlib.suppress(OSError):  # the server may have closed already
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            received += part
    return received


# ---- keeping up to date


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_pictures_that_come_and_go_are_found_and_missed_within_moments(changing, bundle, tmp_path):
    folder, gallery = changing
    with serving(gallery, log=tmp_path / "log") as server:

        def found(number: int) -> bool:
            answer = server.send_form(f"{GALLERY}/search", image=encoded(draw_picture(number)), k=1, store="false")
            return answer.json()["hits"][0]["label"] == "identical"

        assert not found(3)
        (folder / "3.png").write_bytes(encoded(draw_picture(3)))
        update(gallery, bundle)
        wait_until(lambda: found(3))
        assert server.get(GALLERY).json()["index"]["count"] == 4
        (folder / "3.png").unlink()
        update(gallery, bundle)
        wait_until(lambda: not found(3))
        assert server.get(GALLERY).json()["index"]["count"] == 3


def test_a_file_that_is_gone_or_changed_is_said_to_be_and_its_neighbours_are_still_found(changing, tmp_path):
    folder, gallery = changing
    with serving(gallery, log=tmp_path / "log") as server:
        places = {
            item["name"]: f"{GALLERY}/items/{item['id']}" for item in server.get(f"{GALLERY}/items").json()["items"]
        }
        (folder / "0.png").unlink()
        (folder / "1.png").write_bytes(encoded(draw_picture(9)))
        gone, changed = server.get(f"{places['0.png']}/image"), server.get(f"{places['1.png']}/image")
        assert (gone.status, gone.code) == (410, "file_missing")
        assert (changed.status, changed.code) == (409, "file_changed")
        for answer in (gone, changed):
            assert str(folder).encode() not in answer.body
        for rest in ("/image?size=thumb", "/similar", "/reconstruction"):
            assert server.get(places["0.png"] + rest).status == 200


def test_a_hang_up_opens_the_galleries_again(changing, tmp_path):
    _, gallery = changing
    with serving(gallery, log=tmp_path / "log") as server:
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "Opened again: drawn." in server.logged())
        assert server.get(f"{GALLERY}/items/1/similar").status == 200


def test_several_galleries_are_served_and_a_route_of_none_asks_which(changing, drawn_gallery, tmp_path):
    _, gallery = changing
    other = gallery.rename(gallery.with_name("a few"))
    with serving(drawn_gallery, other, log=tmp_path / "log") as server:
        assert [one["name"] for one in server.get("/api/v1/galleries").json()["galleries"]] == ["drawn", "a few"]
        items = server.get("/api/v1/galleries/a%20few/items").json()["items"]
        assert len(items) == 3
        assert server.get(items[0]["image"]).status == 200
        assert server.send_json("/api/v1/embed", id="1").code == "invalid"
        assert server.send_json("/api/v1/embed", id="1", gallery="a few").status == 200


# ---- other models, and bugs


def test_a_model_without_a_decoder_searches_and_refuses_to_paint(drawn_folder, tmp_path):
    facts = ModelFacts(preprocessing=Preprocessing(AVERAGED_SIZE), dims=192, source="mean colours")
    bundle = write_bundle(tmp_path / "model", {("encoder", "fp32"): averaging_graphs()[0]}, facts, None)
    gallery = make_gallery(tmp_path / "drawn", bundle, drawn_folder)
    with serving(gallery, log=tmp_path / "log") as server:
        found = server.send_form(f"{GALLERY}/search", image=PICTURE, k=1)
        assert found.json()["query"]["reconstruction_url"] is None
        for path in (
            f"{GALLERY}/items/1/reconstruction",
            f"{GALLERY}/morph?a=1&b=2",
            f"{GALLERY}/morph/frame?a=1&b=2&t=0",
        ):
            answer = server.get(path)
            assert (answer.status, answer.code) == (409, "no_decoder")
        assert server.send_json("/api/v1/morph", a="1", b="2").code == "no_decoder"
        assert server.send_json("/api/v1/reconstruct", id="1").code == "no_decoder"
        assert server.get("/api/v1/info").json()["features"]["morph"] is False


@pytest.fixture
def app(drawn_gallery):
    with Engine.open(drawn_gallery, provider="cpu", threads=1) as engine:
        app = create_app({"drawn": engine})
        yield app
        app.extensions[EXTENSION].close()


def test_a_bug_is_logged_with_its_traceback_and_told_with_its_request_id_alone(app, caplog):
    def fail() -> None:
        raise ZeroDivisionError("a secret /place")

    app.add_url_rule("/fail", view_func=fail)
    answer = app.test_client().get("/fail")
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert answer.json["request_id"] in caplog.text
    assert "a secret /place" in caplog.text


def test_a_damaged_vector_is_a_problem_whose_details_stay_in_the_log(app, drawn_gallery, caplog):
    engine = app.extensions[EXTENSION].galleries.get("drawn").engine
    with engine.gallery._reading() as connection:
        (before,) = connection.execute("SELECT checksum FROM contents WHERE id = 1").fetchone()
        connection.execute("UPDATE contents SET checksum = 0 WHERE id = 1")
    try:
        answer = app.test_client().get(f"{GALLERY}/items/1/similar")
        assert (answer.status_code, answer.json["code"]) == (503, "damaged")
        assert "Retry-After" in answer.headers
        assert str(drawn_gallery) not in answer.text
        assert str(drawn_gallery) in caplog.text
    finally:
        with engine.gallery._reading() as connection:
            connection.execute("UPDATE contents SET checksum = ? WHERE id = 1", (before,))


def test_a_server_whose_decoders_are_gone_is_not_ready(app):
    app.extensions[EXTENSION].close()
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
    assert answer.json["checks"]["decode"]["ok"] is False
    assert "Retry-After" in answer.headers
    search = app.test_client().post(f"{GALLERY}/search", data=PICTURE, content_type="image/png")
    assert (search.status_code, search.json["code"]) == (503, "busy")
