"""Galleries are made, filled, renamed and emptied over HTTP; long work becomes jobs that survive the server."""

import http.client
import json
import os
import shutil
import signal
import time

import pytest

from index_data.gallery import Gallery
from search_server.jobs import ENDED, JobTable, KeyReusedError
from search_server.tokens import Tokens
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import make_gallery, serving

API = "/api/v1"
GALLERY = f"{API}/galleries/drawn"


@pytest.fixture(scope="module")
def place(bundle, tmp_path_factory):
    """A workspace with one model, a gallery of three pictures, and a folder of pictures that no gallery has."""
    folder = tmp_path_factory.mktemp("changes")
    home = folder / "lookalike"
    shutil.copytree(bundle.folder, home / "models" / "averaging")
    pictures, more = folder / "pictures", folder / "more"
    for name, numbers in ((pictures, range(3)), (more, range(10, 16))):
        name.mkdir()
        for number in numbers:
            (name / f"{number}.png").write_bytes(encoded(draw_picture(number)))
    make_gallery(home / "galleries" / "drawn", type(bundle).open(home / "models" / "averaging"), pictures)
    return folder


@pytest.fixture(scope="module")
def server(place):
    with serving(place / "lookalike" / "galleries" / "drawn", log=place / "log") as running:
        yield running


def ask_json(server, method: str, path: str, headers: dict[str, str] | None = None, **fields):
    return server.ask(method, path, json.dumps(fields).encode(), Content_Type="application/json", **(headers or {}))


def best(server, number: int) -> dict:
    return server.send_form(f"{GALLERY}/search", image=encoded(draw_picture(number)), k=1).json()["hits"][0]


def ended(server, job: dict, seconds: float = 60) -> dict:
    deadline = time.monotonic() + seconds
    while job["state"] not in ENDED:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
        job = server.get(f"{API}/jobs/{job['id']}").json()
    return job


# ---- adding and taking out


def test_an_added_picture_is_found_at_once_and_the_same_bytes_stay_one_item(server):
    picture = encoded(draw_picture(20))
    made = server.send_form(f"{GALLERY}/items", images=picture).json()["results"]
    assert [(one["status"], one["problem"]) for one in made] == [("created", None)]
    assert best(server, 20)["id"] == made[0]["id"]
    again = server.ask("POST", f"{GALLERY}/items?name=other.png", picture, Content_Type="image/png").json()["results"]
    assert [(one["name"], one["status"], one["id"]) for one in again] == [("other.png", "duplicate", made[0]["id"])]
    item = server.get(f"{GALLERY}/items/{made[0]['id']}").json()
    assert (item["name"], item["width"]) == ("images-picture.png", 96)
    assert server.get(item["image"]).status == 200


def test_one_bad_picture_keeps_no_other_from_being_added(server):
    pictures = [encoded(draw_picture(21)), b"no picture", encoded(draw_picture(22))]
    results = server.send_form(f"{GALLERY}/items", images=pictures).json()["results"]
    assert [one["status"] for one in results] == ["created", "failed", "created"]
    assert results[1]["problem"]["code"] == "unsupported_format"
    assert best(server, 21)["id"] == results[0]["id"]
    assert best(server, 22)["id"] == results[2]["id"]


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..", "/a/b.png", "a\\b.png", "x" * 500, "\u202e.png", "\x00", "-rf"]
)
def test_whatever_a_picture_is_called_it_stays_in_the_folder_of_uploads(server, place, name):
    number = 100 + abs(hash(name)) % 10_000
    made = ask_json(
        server, "POST", f"{GALLERY}/items", image_base64=_base64(encoded(draw_picture(number))), name=name[:200]
    ).json()["results"][0]
    assert made["status"] == "created"
    with Gallery.open(place / "lookalike" / "galleries" / "drawn") as gallery:
        file = gallery.item(int(made["id"])).file
        assert file.resolve().is_relative_to((gallery.folder / "uploads").resolve())
        assert file.read_bytes() == encoded(draw_picture(number))


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def test_a_removed_item_is_gone_at_once_and_its_file_stays(server, place):
    made = server.send_form(f"{GALLERY}/items", images=encoded(draw_picture(30))).json()["results"][0]
    item = f"{GALLERY}/items/{made['id']}"
    with Gallery.open(place / "lookalike" / "galleries" / "drawn") as gallery:
        file = gallery.item(int(made["id"])).file
    assert server.ask("DELETE", item, If_Match='"another"').code == "precondition_failed"
    gone = server.ask("DELETE", item)
    assert (gone.status, gone.body) == (204, b"")
    assert server.get(item).code == "no_such_item"
    assert server.ask("DELETE", item).code == "no_such_item"
    assert best(server, 30)["id"] != made["id"]
    assert file.is_file()


def test_several_items_are_taken_out_together_and_first_only_for_show(server):
    pictures = [encoded(draw_picture(number)) for number in (31, 32)]
    ids = [one["id"] for one in server.send_form(f"{GALLERY}/items", images=pictures).json()["results"]]
    asked = {"ids": [*ids, "999999", ids[0]]}
    shown = server.send_json(f"{GALLERY}/items/delete", **asked, dry_run=True).json()
    assert shown == {"deleted": 2, "ids": ids}
    assert server.get(f"{GALLERY}/items/{ids[0]}").status == 200
    assert server.send_json(f"{GALLERY}/items/delete", **asked).json() == shown
    assert server.get(f"{GALLERY}/items/{ids[0]}").code == "no_such_item"
    assert server.send_json(f"{GALLERY}/items/delete", ids=["x"]).code == "invalid"


def test_what_cannot_be_added_is_refused(server):
    assert server.send_form(f"{GALLERY}/items", other=b"x").code == "bad_request"
    assert server.send_json(f"{GALLERY}/items").code == "invalid"
    assert server.send_json(f"{GALLERY}/items", urls=["https://example.org/a.png"]).json()["results"][0]["problem"][
        "code"
    ] == ("url_not_allowed")
    many = [encoded(draw_picture(1))] * 17
    assert server.send_form(f"{GALLERY}/items", images=many).code == "invalid"


# ---- galleries


def test_a_gallery_is_made_filled_by_a_job_renamed_and_deleted(server, place):
    refused = server.send_json(f"{API}/galleries", name="drawn")
    assert (refused.status, refused.code) == (409, "gallery_exists")
    assert server.send_json(f"{API}/galleries", name="../x").code == "invalid"
    assert server.send_json(f"{API}/galleries", name="new", roots=["relative"]).code == "invalid"
    made = server.send_json(f"{API}/galleries", name="new", roots=[str(place / "more")])
    assert (made.status, made.headers["location"]) == (201, f"{API}/galleries/new")
    [job] = made.json()["jobs"]
    job = ended(server, job)
    assert (job["state"], job["kind"], job["result"]["embedded"]) == ("done", "add", 6)
    deadline = time.monotonic() + 5
    while server.get(f"{API}/galleries/new").json()["index"]["count"] != 6:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    added = server.send_form(f"{API}/galleries/new/items", images=encoded(draw_picture(40))).json()["results"][0]

    shown = server.get(f"{API}/galleries/new")
    assert server.get(f"{API}/galleries/new", headers={"If_None_Match": shown.headers["etag"]}).status == 304
    stale = ask_json(server, "PATCH", f"{API}/galleries/new", {"If_Match": '"old"'}, name="newer")
    assert stale.code == "precondition_failed"
    etag = {"If_Match": shown.headers["etag"]}
    assert ask_json(server, "PATCH", f"{API}/galleries/new", etag, name="drawn").code == "gallery_exists"
    assert ask_json(server, "PATCH", f"{API}/galleries/new", etag, name="newer").json()["name"] == "newer"
    assert server.get(f"{API}/galleries/new").code == "no_such_gallery"
    assert server.get(f"{API}/galleries/newer/items/{added['id']}/image").status == 200

    would = server.ask("DELETE", f"{API}/galleries/newer?dry_run=true").json()
    assert (would["items"], would["uploads"]) == (7, 1)
    assert server.ask("DELETE", f"{API}/galleries/newer").code == "not_empty"
    assert server.ask("DELETE", f"{API}/galleries/newer?uploads=true").status == 204
    assert server.get(f"{API}/galleries/newer").code == "no_such_gallery"
    assert len(list((place / "more").iterdir())) == 6
    assert not (place / "lookalike" / "galleries" / "newer").exists()


def test_a_gallery_tells_its_numbers_its_indexes_and_its_failures(server, place):
    (place / "pictures" / "bad.png").write_bytes(encoded(draw_picture(50))[:100])
    job = ended(server, server.send_json(f"{GALLERY}/scan").json())
    assert (job["state"], job["result"]["rejected"]) == ("done", {"corrupt": 1}), job
    failures = server.get(f"{GALLERY}/failures").json()["failures"]
    assert [(one["path"], one["code"]) for one in failures] == [("bad.png", "corrupt")]
    stats = server.get(f"{GALLERY}/stats").json()
    assert stats["failures_by_code"] == {"corrupt": 1}
    assert stats["items"] == server.get(GALLERY).json()["items"]
    assert stats["scores"]["nearest"]["pairs"] == sum(stats["scores"]["nearest"]["histogram"])
    assert stats["scores"]["labels"]["identical"] == 0.9995
    assert stats["drift"]["verdict"] in {"nothing-new", "too-few"}
    assert stats["drift"]["says"].endswith((".", "compared."))
    built = ended(server, server.ask("POST", f"{GALLERY}/indexes").json())
    assert built["state"] == "done", built
    listed = server.get(f"{GALLERY}/indexes").json()["indexes"]
    assert [one["current"] for one in listed].count(True) == 1
    assert listed[0]["current"]
    assert listed[0]["count"] == stats["items"]
    why = server.get(f"{GALLERY}/indexes/{listed[0]['version']}").json()
    assert (why["kind"], why["count"]) == ("flat", stats["items"])
    assert why["reasons"]
    assert [(point["recall"], point["chosen"]) for point in why["points"]] == [(1.0, True)]
    assert server.get(f"{GALLERY}/indexes/999999").code == "empty"


def test_a_scan_can_be_looked_at_before_it_is_done(server, place):
    (place / "pictures" / "new.png").write_bytes(encoded(draw_picture(51)))
    plan = server.send_json(f"{GALLERY}/scan", dry_run=True).json()
    assert (plan["new"], plan["folders_not_there"]) == (1, 0)
    job = ended(server, server.ask("POST", f"{GALLERY}/scan").json())
    assert job["state"] == "done", job
    assert job["result_url"] == GALLERY


def test_a_scan_may_be_kept_to_some_folders_and_may_keep_what_is_missing(server, place):
    for number, folder in enumerate(("spring", "autumn"), 60):
        (place / "pictures" / folder).mkdir()
        (place / "pictures" / folder / "one.png").write_bytes(encoded(draw_picture(number)))
    plan = server.send_json(f"{GALLERY}/scan", dry_run=True, paths=["spring"]).json()
    assert (plan["new"], plan["changed"]) == (1, 0)
    job = ended(server, server.send_json(f"{GALLERY}/scan", paths=["spring"]).json())
    assert (job["state"], job["result"]["embedded"]) == ("done", 1), job
    assert server.send_json(f"{GALLERY}/scan", dry_run=True).json()["new"] == 1  # that of autumn
    (place / "pictures" / "spring" / "one.png").unlink()
    kept = ended(server, server.send_json(f"{GALLERY}/scan", remove_missing=False).json())
    assert (kept["state"], kept["result"]["removed"]) == ("done", 0), kept
    assert server.send_json(f"{GALLERY}/scan", dry_run=True, remove_missing=False).json()["missing"] == 0
    elsewhere = server.send_json(f"{GALLERY}/scan", dry_run=True, paths=["autumn"]).json()
    assert elsewhere["missing"] == 0
    gone = ended(server, server.send_json(f"{GALLERY}/scan", paths=["spring/one.png"]).json())
    assert (gone["state"], gone["result"]["removed"]) == ("done", 1), gone


@pytest.mark.parametrize("path", ["/etc", "../more", "spring/../../more", "nowhere", "\0", ""])
def test_a_scan_leads_nowhere_but_to_the_gallerys_folders(server, place, path):
    refused = server.send_json(f"{GALLERY}/scan", paths=[path])
    assert refused.status in {400, 422}, refused.json()
    assert str(place) not in json.dumps(refused.json())


def test_where_things_are_on_the_machine_is_told_to_admins_alone(drawn_gallery, tmp_path):
    tokens = Tokens(tmp_path / "lookalike")
    admin, writer = tokens.create("a", "admin"), tokens.create("w", "write")
    with serving(drawn_gallery, log=tmp_path / "log", options=("--host", "0.0.0.0")) as server:
        told = server.get(f"{GALLERY}/paths", headers={"Authorization": f"Bearer {admin}"}).json()
        assert told["folder"] == str(drawn_gallery)
        refused = server.get(f"{GALLERY}/paths", headers={"Authorization": f"Bearer {writer}"})
        assert (refused.status, refused.code) == (403, "insufficient_scope")


# ---- jobs


def test_a_job_started_twice_with_one_key_is_one_job(server):
    key = {"Idempotency_Key": "nightly-2026-11-21"}
    first, second = (server.ask("POST", f"{GALLERY}/scan", **key) for _ in range(2))
    assert (first.status, second.status) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["location"] == f"{API}/jobs/{first.json()['id']}"
    other = server.ask("POST", f"{GALLERY}/indexes", **key)
    assert (other.status, other.code) == (409, "key_reused")
    ended(server, first.json())


def test_a_job_is_watched_to_its_end(server):
    job = server.ask("POST", f"{GALLERY}/scan").json()
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    connection.request("GET", f"{API}/jobs/{job['id']}/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    text = response.read().decode()
    connection.close()
    events = [part for part in text.split("\n\n") if "event: " in part]
    assert events[-1].splitlines()[1] == "event: end"
    assert json.loads(events[-1].split("data: ", 1)[1])["state"] == "done"
    numbers = [int(part.split("id: ")[1].split("\n")[0]) for part in events]
    assert numbers == sorted(set(numbers))
    assert "inflight 1.0" in server.get("/metrics").body.decode()  # this look, and nothing that was forgotten


def test_jobs_that_are_not_there_or_not_in_the_state_for_it_are_refused(server):
    assert server.get(f"{API}/jobs/999999").code == "no_such_job"
    assert server.ask("POST", f"{API}/jobs/999999/cancel").code == "no_such_job"
    done = server.get(f"{API}/jobs", state="done").json()["jobs"][0]
    assert server.ask("POST", f"{API}/jobs/{done['id']}/cancel").code == "job_state"
    assert server.ask("POST", f"{API}/jobs/{done['id']}/resume").code == "job_state"
    assert server.send_json(f"{API}/jobs", kind="train", name="x", folder="relative").code == "invalid"
    assert server.send_json(f"{API}/jobs", kind="export", name="nothing-there").status == 202


@pytest.fixture
def busy_place(bundle, tmp_path):
    """A workspace whose gallery has a folder that takes a while to index."""
    home = tmp_path / "lookalike"
    shutil.copytree(bundle.folder, home / "models" / "averaging")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "first.png").write_bytes(encoded(draw_picture(0)))
    make_gallery(home / "galleries" / "drawn", type(bundle).open(home / "models" / "averaging"), pictures)
    for number in range(300):
        (pictures / f"{number}.png").write_bytes(encoded(draw_picture(number, 800, 600)))
    return tmp_path


def test_a_cancelled_job_keeps_what_it_did_and_goes_on_when_it_is_resumed(busy_place):
    with serving(busy_place / "lookalike" / "galleries" / "drawn", log=busy_place / "log") as server:
        job = server.ask("POST", f"{GALLERY}/scan").json()
        _wait_for_progress(server, job)
        waiting = server.ask("POST", f"{GALLERY}/scan").json()
        assert waiting["state"] == "queued"
        assert server.ask("POST", f"{API}/jobs/{waiting['id']}/cancel").json()["state"] == "cancelled"
        assert server.ask("POST", f"{API}/jobs/{job['id']}/cancel").status == 202
        job = ended(server, job)
        assert (job["state"], job["exit_code"]) == ("cancelled", 143), job
        assert server.ask("POST", f"{API}/jobs/{job['id']}/resume").json()["state"] in ("queued", "running")
        job = ended(server, server.get(f"{API}/jobs/{job['id']}").json())
        assert job["state"] == "done", job
        assert job["result"]["seen"] == 301


def test_a_job_outlives_its_server_and_is_found_by_the_next(busy_place):
    gallery = busy_place / "lookalike" / "galleries" / "drawn"
    with serving(gallery, log=busy_place / "log") as server:
        job = server.ask("POST", f"{GALLERY}/scan").json()
        _wait_for_progress(server, job)
        server.process.kill()
        server.process.wait()
    with serving(gallery, log=busy_place / "log2") as server:
        job = ended(server, server.get(f"{API}/jobs/{job['id']}").json())
        assert job["state"] == "done", job


def test_a_killed_job_is_seen_to_be_interrupted_and_can_be_resumed(busy_place):
    table = JobTable(busy_place / "lookalike")
    with serving(busy_place / "lookalike" / "galleries" / "drawn", log=busy_place / "log") as server:
        job = server.ask("POST", f"{GALLERY}/scan").json()
        _wait_for_progress(server, job)
        pid = table.get(job["id"]).pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        job = ended(server, job)
        assert job["state"] == "interrupted", job
        assert server.ask("POST", f"{API}/jobs/{job['id']}/resume").status == 202
        assert ended(server, server.get(f"{API}/jobs/{job['id']}").json())["state"] == "done"


def _wait_for_progress(server, job: dict) -> None:
    deadline = time.monotonic() + 60
    while not server.get(f"{API}/jobs/{job['id']}").json()["message"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_key_is_good_for_one_request(tmp_path):
    table = JobTable(tmp_path)
    first, is_new = table.add("scan", ["index_data", "scan", "a"], "a", "key")
    again, is_newer = table.add("scan", ["index_data", "scan", "a"], "a", "key")
    assert (first.id, is_new, is_newer) == (again.id, True, False)
    with pytest.raises(KeyReusedError):
        table.add("scan", ["index_data", "scan", "b"], "b", "key")
