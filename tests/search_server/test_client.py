"""The client, the command line on it, the examples of the documentation, and the document that programs read."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search_server.client import Client, ServerProblem, Unreachable
from search_server.openapi_file import openapi_text
from search_server.tokens import Tokens
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import make_gallery, serving

ROOT = Path(__file__).resolve().parents[2]
PICTURE = encoded(draw_picture(4))


@pytest.fixture(scope="module")
def place(bundle, drawn_folder, tmp_path_factory):
    """A server that others could reach, on a gallery that may be changed, and a token that may change it."""
    folder = tmp_path_factory.mktemp("client")
    gallery = make_gallery(folder / "lookalike" / "galleries" / "photos", bundle, drawn_folder)
    token = Tokens(folder / "lookalike").create("programs", "write")
    (folder / "cat.jpg").write_bytes(encoded(draw_picture(4), "JPEG", quality=95))
    with serving(gallery, log=folder / "log", options=("--host", "0.0.0.0", "--rate", "0")) as server:
        yield server, token, folder


@pytest.fixture
def client(place):
    server, token, _ = place
    with Client(f"http://localhost:{server.port}", token=token) as client:
        yield client


def test_the_client_finds_embeds_morphs_and_lists(client, place):
    found = client.search("photos", place[2] / "cat.jpg", k=3)
    assert len(found["hits"]) == 3
    assert client.search("photos", PICTURE, k=1, exclude_self=False)["hits"][0]["score"] == pytest.approx(1)
    assert client.search("photos", found["hits"][0]["id"], k=1)["hits"]
    assert len(client.embed(PICTURE)["vectors"][0]) == 192
    assert client.morph("photos", "1", "2", frames=3, size=32)[:4] == b"RIFF"
    assert len(list(client.items("photos"))) == client.galleries()[0]["items"]


def test_the_client_adds_removes_and_waits_for_jobs(client, tmp_path):
    files = []
    for number in range(60, 78):  # more than one request takes
        files.append(tmp_path / f"späte {number}.png")
        files[-1].write_bytes(encoded(draw_picture(number)))
    added = client.add("photos", files)
    assert [one["status"] for one in added] == ["created"] * 18
    assert client.search("photos", files[0], k=1)["hits"][0]["id"] == added[0]["id"]
    assert client.remove("photos", [one["id"] for one in added])["deleted"] == 18
    job = client.wait(client.scan("photos", retry=True)["id"], seconds=60)
    assert job["state"] == "done"


def test_the_client_says_what_is_wrong(client, place):
    with pytest.raises(ServerProblem) as refused:
        client.search("nothing", PICTURE)
    assert (refused.value.status, refused.value.problem.code) == (404, "no_such_gallery")
    with pytest.raises(ServerProblem, match="token"), Client(f"http://localhost:{place[0].port}", token="") as other:
        other.info()
    with pytest.raises(Unreachable, match="is the server running"), Client("http://localhost:9") as nobody:
        nobody.info()
    with pytest.raises(Unreachable, match="http://localhost:8000"):
        Client("localhost:8000")


def run(place, *words: str) -> "subprocess.CompletedProcess[str]":
    server, token, folder = place
    environment = {
        "LOOKALIKE_TOKEN": token,
        "LOOKALIKE_SERVER": f"http://localhost:{server.port}",
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "search_server.lookalike", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_commands_ask_a_server_where_one_is_named(place):
    found = json.loads(run(place, "search", "photos", "cat.jpg", "-k", "2", "--json").stdout)
    assert len(found["results"][0]["hits"]) == 2
    none = json.loads(run(place, "search", "photos", "cat.jpg", "--filter", '{"width": {"lt": 1}}', "--json").stdout)
    assert none["results"][0]["hits"] == []
    alone = run(place, "search", "photos", "--plus", "cat.jpg", "1")
    assert (alone.returncode, "on this machine" in alone.stderr) == (2, True)
    shown = run(place, "search", "photos", "cat.jpg", "nothing.png")
    assert "identical" in shown.stdout
    assert "there is no file nothing.png" in shown.stderr
    assert "photos" in run(place, "index", "list").stdout
    scanned = run(place, "index", "scan", "photos")
    assert (scanned.returncode, "is done" in scanned.stdout) == (0, True), scanned.stderr
    assert run(place, "index", "scan", "photos", "--dry-run").returncode == 0
    refused = run(place, "search", "photos", "cat.jpg", "--provider", "cuda")
    assert (refused.returncode, "the server has its own" in refused.stderr) == (2, True)
    assert run(place, "search", "elsewhere", "cat.jpg").returncode == 4


# ---- the documentation


def examples(language: str) -> list[str]:
    text = (ROOT / "docs" / "api.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def as_here(example: str, place) -> str:
    server, token, _ = place
    return example.replace("http://localhost:8000", f"http://localhost:{server.port}").replace("lookalike_...", token)


@pytest.mark.parametrize("example", examples("sh"), ids=lambda text: text.split("\n")[0][:40])
def test_the_examples_for_curl_work_as_they_stand(place, example):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    script = f'set -eu\ncurl() {{ command curl --fail-with-body -sS "$@"; }}\n{as_here(example, place)}'
    ended = subprocess.run(["bash", "-c", script], capture_output=True, cwd=place[2])
    assert ended.returncode == 0, ended.stdout.decode(errors="replace") + ended.stderr.decode()


@pytest.mark.parametrize("example", examples("python"), ids=lambda text: text.split("\n")[0][:40])
def test_the_examples_for_python_work_as_they_stand(place, example):
    ended = subprocess.run(
        [sys.executable, "-c", as_here(example, place)],
        capture_output=True,
        text=True,
        cwd=place[2],
        env={"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


@pytest.mark.parametrize("example", examples("js"), ids=lambda text: text.split("\n")[0][:40])
def test_the_examples_for_javascript_work_as_they_stand(place, example):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    command = ["node", "--input-type=module", "-e", as_here(example, place)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=place[2])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_there_are_examples_in_each_language():
    assert all(examples(language) for language in ("sh", "python", "js"))


def test_the_committed_document_is_what_a_server_gives():
    committed = (ROOT / "docs" / "openapi.json").read_text()
    assert committed == openapi_text(), "run: python -m search_server.openapi_file docs/openapi.json"


def test_the_page_describes_every_operation_without_a_script_of_its_own(server):
    page = server.get("/docs", headers={"Accept": "text/html"})
    text = page.body.decode()
    document = server.get("/api/v1/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in text
    assert text.count("<script") == 1
    assert "style=" not in text
    assert "unsafe" not in page.headers["content-security-policy"]
