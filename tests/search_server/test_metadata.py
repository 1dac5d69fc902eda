"""Filters, facets, tags and metadata over HTTP."""

import json
import shutil

import pytest

from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import Answer, Server, serving
from tests.train.test_facts import camera_exif

GALLERY = "/api/v1/galleries/drawn"


@pytest.fixture
def changing(drawn_gallery, tmp_path):
    """A server of a gallery that may be changed."""
    folder = shutil.copytree(drawn_gallery, tmp_path / "drawn")
    with serving(folder, log=tmp_path / "log") as running:
        yield running


def send(server: Server, method: str, path: str, body: object = None, **headers: str) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    return server.ask(method, path, data, Content_Type="application/json", **headers)


def test_items_are_tagged_described_counted_listed_and_searched_among(changing):
    for item_id in ("3", "5"):
        changed = send(changing, "PATCH", f"{GALLERY}/items/{item_id}", {"tags": ["good"], "metadata": {"year": 2019}})
        assert changed.status == 200
        assert (changed.json()["tags"], changed.json()["metadata"]) == (["good"], {"year": 2019})
        assert changing.get(f"{GALLERY}/items/{item_id}").json() == changed.json()
    asked = json.dumps({"year": {"gte": 2019}, "tags": {"eq": "good"}})
    listed = changing.get(f"{GALLERY}/items", filter=asked, include="metadata").json()
    assert [(item["id"], item["tags"]) for item in listed["items"]] == [("3", ["good"]), ("5", ["good"])]
    assert changing.get(f"{GALLERY}/items").json()["items"][0]["tags"] is None
    facets = changing.get(f"{GALLERY}/facets", filter=asked).json()
    assert facets["passing"] == 2
    assert {facet["field"] for facet in facets["facets"]} == {"folder", "tags", "year"}
    assert changing.get(f"{GALLERY}/facets", fields="year").json()["facets"] == [
        {"field": "year", "values": [{"value": 2019, "count": 2, "thumb": None}], "more": False}
    ]
    found = changing.send_json(f"{GALLERY}/search", id="7", k=10, filter=json.loads(asked), include=["metadata"]).json()
    assert {hit["id"] for hit in found["hits"]} == {"3", "5"}
    assert found["passing"] == 2
    assert found["hits"][0]["metadata"] == {"year": 2019}
    linked = changing.get(f"{GALLERY}/items/7/similar", k=10, filter=asked).json()
    assert [hit["id"] for hit in linked["hits"]] == [hit["id"] for hit in found["hits"]]
    sent = changing.send_form(f"{GALLERY}/search", image=encoded(draw_picture(1)), filter=asked).json()
    assert {hit["id"] for hit in sent["hits"]} == {"3", "5"}
    taken_back = send(changing, "PATCH", f"{GALLERY}/items/3", {"metadata": {"year": None}})
    assert (taken_back.json()["tags"], taken_back.json()["metadata"]) == (["good"], {})


@pytest.mark.parametrize("order", [{}, {"sort": "-id"}, {"seed": 3}])
def test_filtered_items_come_page_by_page(server, order):
    asked = json.dumps({"folder": {"eq": "round"}})
    found, cursor = [], None
    while True:
        page = {"cursor": cursor} if cursor else {}
        answer = server.get(f"{GALLERY}/items", limit=7, filter=asked, **order, **page).json()
        found += [int(item["id"]) for item in answer["items"]]
        assert all(item["path"].startswith("round/") for item in answer["items"])
        if (cursor := answer["next_cursor"]) is None:
            break
    assert len(found) == len(set(found)) == 25
    if "seed" not in order:
        assert found == sorted(found, reverse="sort" in order)


@pytest.mark.parametrize("path", ["/items", "/facets", "/items/1/similar"])
@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("{", 422, "not JSON"),
        ("[]", 422, "no JSON object"),
        ('{"widht": {"eq": 1}}', 422, "did you mean width?"),
        ('{"width": {"eq": "96"}}', 422, "leave the quotes out"),
        ('{"width": 96}', 422, "no operator"),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(server, path, asked, status, said):
    answer = server.get(GALLERY + path, filter=asked)
    assert answer.status == status
    assert answer.code == "invalid"
    assert said in answer.json()["detail"]


def test_an_item_is_changed_only_as_it_was_seen(changing):
    seen = changing.get(f"{GALLERY}/items/3")
    etag = seen.headers["etag"]
    assert changing.get(f"{GALLERY}/items/3", headers={"If-None-Match": etag}).status == 304
    assert send(changing, "PATCH", f"{GALLERY}/items/3", {"tags": ["mine"]}, If_Match=etag).status == 200
    late = send(changing, "PATCH", f"{GALLERY}/items/3", {"tags": ["yours"]}, If_Match=etag)
    assert (late.status, late.code) == (412, "precondition_failed")
    assert changing.get(f"{GALLERY}/items/3").json()["tags"] == ["mine"]
    assert send(changing, "DELETE", f"{GALLERY}/items/3", If_Match=etag).status == 412


@pytest.mark.parametrize(
    "body",
    [
        {"tags": ["a,b"]},
        {"tags": [""]},
        {"tags": "x"},
        {"metadata": {"": 1}},
        {"metadata": {"a": "x" * 3000}},
        {"name": "x"},
        {"tags": ["ok"], "metadata": {"tags": ["x"]}},
    ],
)
def test_a_change_that_cannot_be_kept_changes_nothing(changing, body):
    before = changing.get(f"{GALLERY}/items/3").json()
    assert send(changing, "PATCH", f"{GALLERY}/items/3", body).status in (400, 422)
    assert changing.get(f"{GALLERY}/items/3").json() == before


def test_all_items_that_pass_a_filter_are_taken_out(changing):
    asked = {"filter": {"folder": {"eq": "round"}}}
    would = send(changing, "POST", f"{GALLERY}/items/delete", {**asked, "dry_run": True}).json()
    assert would["deleted"] == len(would["ids"]) == 25
    assert changing.get(GALLERY).json()["items"] == 50
    assert send(changing, "POST", f"{GALLERY}/items/delete", asked).json() == would
    assert changing.get(GALLERY).json()["items"] == 25
    assert changing.get(f"{GALLERY}/items", filter=json.dumps(asked["filter"])).json()["items"] == []
    for body in ({}, {"filter": {}}, {"ids": ["1"], **asked}, {"ids": []}, {"filter": {"foldr": {"eq": "x"}}}):
        assert send(changing, "POST", f"{GALLERY}/items/delete", body).status == 422, body


def test_an_uploaded_picture_is_described_by_its_exif_data(changing):
    sent = changing.send_form(f"{GALLERY}/items", images=encoded(draw_picture(77), "JPEG", exif=camera_exif()))
    assert sent.status == 200, sent.body
    item = changing.get(f"{GALLERY}/items/{sent.json()['results'][0]['id']}").json()
    assert (item["metadata"]["camera"], item["metadata"]["year"]) == ("Canon EOS 5D", 2019)


def test_the_clusters_of_a_map_are_counted_and_filtered_by_and_a_new_map_changes_them(changing):
    asked = {"filter": json.dumps({"cluster": {"eq": 0}})}
    assert changing.get(f"{GALLERY}/items", **asked).code == "invalid"
    assert changing.get(f"{GALLERY}/facets", fields="cluster").json()["facets"] == []
    assert changing.send_json(f"{GALLERY}/map", clusters=4).status == 200
    (facet,) = changing.get(f"{GALLERY}/facets", fields="cluster").json()["facets"]
    counts = {value["value"]: value["count"] for value in facet["values"]}
    assert sorted(counts) == [0, 1, 2, 3]
    assert sum(counts.values()) == changing.get("/api/v1/galleries/drawn").json()["items"]
    for value in facet["values"]:
        assert changing.get(value["thumb"]).headers["content-type"] == "image/webp"
    outline = changing.get(f"{GALLERY}/items/outline", **asked)
    assert int(outline.headers["x-total"]) == counts[0]
    found = changing.send_form(f"{GALLERY}/search", image=encoded(draw_picture(1)), k=100, **asked).json()
    assert (len(found["hits"]), found["passing"]) == (counts[0], counts[0])
    assert changing.send_json(f"{GALLERY}/map", clusters=1).status == 200
    again = changing.get(f"{GALLERY}/items/outline", **asked, headers={"If-None-Match": outline.headers["etag"]})
    assert (again.status, int(again.headers["x-total"])) == (200, sum(counts.values()))
