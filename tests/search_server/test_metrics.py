"""What the server tells of itself: to Prometheus, to whoever asks whether it is ready, and in its log."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from export.sessions import Encoder, open_session
from index_data.engine import Engine
from search_server.app import create_app
from search_server.service import EXTENSION
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import serving
from train.workspace import Workspace

GALLERY = "/api/v1/galleries/drawn"
PICTURE = encoded(draw_picture(7))


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_the_template_of_their_route_and_never_by_their_address(server):
    before = samples(server.get("/metrics").body.decode())
    server.send_form(f"{GALLERY}/search", image=PICTURE)
    server.get(f"{GALLERY}/items/424242424242")
    server.get("/nothing/secret-name.php")
    server.ask("SECRETS", "/healthz")
    text = server.get("/metrics").body.decode()
    after = samples(text)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0) - before.get(key, 0)

    search = "/api/v1/galleries/<gallery>/search"
    assert grown("http_requests_total", route=search, method="POST", status="200") == 1
    assert grown("http_request_seconds_count", route=search) == 1
    item = "/api/v1/galleries/<gallery>/items/<id>"
    assert grown("http_requests_total", route=item, method="GET", status="404") == 1
    assert grown("http_requests_total", route="none", method="GET", status="404") == 1
    for stage in ("decode", "embed", "search", "fetch"):
        assert grown("stage_seconds_count", stage=stage) >= 1
    assert "secret" not in text.lower()
    assert "424242424242" not in text


def test_galleries_jobs_and_the_process_are_told(server):
    found = samples(server.get("/metrics").body.decode())
    assert found["gallery_items", (("gallery", "drawn"),)] == 50
    assert found["index_bytes", (("gallery", "drawn"),)] > 0
    assert found["degraded", (("gallery", "drawn"),)] == 0
    assert found["jobs", (("state", "running"),)] == 0
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert found["inflight", ()] == 1
    providers = [labels for name, labels in found if name == "provider_info"]
    assert dict(providers[0])["asked"] == "auto"


class _FailingSession:
    """A GPU that computes for a while, and then no more."""

    def __init__(self, graph: bytes, threads: int | None) -> None:
        self._session = open_session(graph, "CPUExecutionProvider", threads)
        self.works = True

    def run(self, outputs, feed):
        if not self.works:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")
        return self._session.run(outputs, feed)

    def get_providers(self):
        return ["CUDAExecutionProvider"]


def test_a_gpu_that_fails_while_serving_gives_way_to_the_cpu_and_says_so(drawn_gallery, tmp_path, monkeypatch):
    sessions = []

    def factory(graph: bytes, official_name: str, threads: int | None):
        if official_name != "CUDAExecutionProvider":
            return open_session(graph, official_name, threads)
        sessions.append(_FailingSession(graph, threads))
        return sessions[-1]

    monkeypatch.setattr("export.sessions.available_providers", lambda: ["cuda", "cpu"])
    with Engine.open(drawn_gallery, provider="cpu", threads=1) as engine:
        engine.encoder = Encoder.open(engine.bundle, provider="auto", threads=1, session_factory=factory)
        app = create_app({"drawn": engine}, workspace=Workspace(tmp_path))
        client = app.test_client()

        def search() -> dict:
            answer = client.post(f"{GALLERY}/search?k=3", data=PICTURE, content_type="image/png")
            assert answer.status_code == 200
            return answer.json

        well = search()
        assert well["provider"] == "cuda"
        assert client.get("/readyz").json["status"] == "ready"
        sessions[0].works = False
        ill = search()
        assert ill["provider"] == "cpu"
        assert [hit["id"] for hit in ill["hits"]] == [hit["id"] for hit in well["hits"]]
        np.testing.assert_allclose(
            [hit["score"] for hit in ill["hits"]], [hit["score"] for hit in well["hits"]], atol=1e-3
        )
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json["status"]) == (200, "degraded")
        assert "drawn" in ready.json["degraded"][0]
        told = samples(client.get("/metrics").text)
        assert told["degraded", (("gallery", "drawn"),)] == 1
        assert dict(next(labels for name, labels in told if name == "provider_info"))["used"] == "cpu"
        app.extensions[EXTENSION].close()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_whatever_is_asked_a_request_is_one_line_of_the_log_without_what_is_secret(drawn_gallery, tmp_path, log_format):
    options = ("--access-log", "--log-format", log_format)
    with serving(drawn_gallery, log=tmp_path / "log", options=options) as server:
        for path in ("/a%0Ab%1b[31m", "/api/v1/info?token=hush", "/g/%E2%80%AE/", f"{GALLERY}/items/%ff%0d"):
            server.get(path, headers={"X_Request_Id": "x-1", "Authorization": "", "Cookie": "lookalike_session=hush"})
        server.send_form(f"{GALLERY}/search", image=PICTURE)
        lines = [line for line in server.logged().splitlines() if "answered" in line]
    assert len(lines) == 5
    for line in lines:
        assert "hush" not in line
        assert all(32 <= ord(letter) < 0x202A for letter in line)
    if log_format == "json":
        told = json.loads(lines[1])
        assert (told["request_id"], told["route"], told["status"]) == ("x-1", "/api/v1/info", 200)
        assert set(told) >= {"method", "ms", "peer", "code"}


def test_every_name_in_the_deployment_page_is_one_that_is_told(server):
    page = (Path(__file__).resolve().parents[2] / "docs" / "deployment.md").read_text()
    names = re.findall(r"`([a-z_]+)(?:\{|`)", page.split("`/metrics`")[1].split("Routes are")[0])
    text = server.get("/metrics").body.decode()
    assert {"inflight", "jobs", "degraded"} <= set(names)
    for name in names:
        assert re.search(rf"^(# TYPE )?{name}", text, re.MULTILINE), name
