"""Duplicates, the map and outliers over HTTP."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.index_data.test_commands import lookalike
from tests.search_server.conftest import serving
from tests.search_server.test_changes import ended

GALLERY = "/api/v1/galleries/drawn"


@pytest.fixture(scope="module")
def analysed(drawn_gallery, tmp_path_factory):
    """A server of a gallery with two of the same bytes, of which everything is computed."""
    place = tmp_path_factory.mktemp("analysed")
    folder = shutil.copytree(drawn_gallery, place / "drawn")
    for words in (
        ("duplicates", "--min-score", "0.5"),
        ("outliers", "--provider", "cpu"),
        ("map", "--provider", "cpu", "--clusters", "4"),
    ):
        ended = lookalike("index", words[0], folder, *words[1:], "-q")
        assert ended.returncode == 0, ended.stderr
    with serving(folder, log=place / "log") as running:
        yield running


def test_what_was_not_computed_names_its_command(server):
    for path in ("duplicates", "map", "anomalies", "map/prototypes/0"):
        answer = server.get(f"{GALLERY}/{path}")
        assert (answer.status, answer.code) == (409, "not_computed")
        assert "lookalike index" in answer.json()["detail"]
    assert server.get(f"{GALLERY}/duplicates", kind="bytes").json()["total"] == 2


def test_duplicates_are_listed_judged_and_compared(analysed):
    listed = analysed.get(f"{GALLERY}/duplicates").json()
    assert listed["total"] >= 2
    group = next(group for group in listed["groups"] if group["kind"] == "bytes")
    assert [member["keep"] for member in group["members"]] == [True, False]
    assert group["members"][0]["why"]
    assert group["members"][0]["item"]["thumb"]
    pages, cursor = [], None
    while True:
        page = {"cursor": cursor} if cursor else {}
        answer = analysed.get(f"{GALLERY}/duplicates", limit=1, **page).json()
        pages += answer["groups"]
        if (cursor := answer["next_cursor"]) is None:
            break
    assert [each["id"] for each in pages] == [each["id"] for each in listed["groups"]]
    ids = [member["item"]["id"] for member in group["members"]]
    said = analysed.send_json(f"{GALLERY}/duplicates", ids=[ids[1]], verdict="keep")
    assert said.json() == {"ids": [ids[1]], "verdict": "keep"}
    painted = analysed.get(f"{GALLERY}/duplicates/difference", a=ids[0], b=ids[1], format="png")
    assert painted.headers["content-type"] == "image/png"
    assert not np.asarray(Image.open(io.BytesIO(painted.body))).any()
    for body in (
        {"ids": [], "verdict": "keep"},
        {"ids": ids, "verdict": "maybe"},
        {"ids": ids, "verdict": "different"},
    ):
        assert analysed.send_json(f"{GALLERY}/duplicates", **body).status in (400, 422)
    assert analysed.send_json(f"{GALLERY}/duplicates", ids=["99999"], verdict="keep").code == "no_such_item"


def test_the_map_comes_as_json_and_as_numbers(analysed):
    answer = analysed.get(f"{GALLERY}/map")
    drawn = answer.json()
    assert (drawn["method"], drawn["stale"], len(drawn["points"]), len(drawn["clusters"])) == ("pca", False, 50, 4)
    assert sum(cluster["count"] for cluster in drawn["clusters"]) == 50
    assert analysed.get(f"{GALLERY}/map", headers={"If-None-Match": answer.headers["etag"]}).status == 304
    numbers = analysed.get(f"{GALLERY}/map", format="f32")
    count = int(numbers.headers["x-count"])
    ids = np.frombuffer(numbers.body[: 8 * count], "<i8")
    rows = np.frombuffer(numbers.body[8 * count :], "<f4").reshape(count, 3)
    assert [str(number) for number in ids] == [point["id"] for point in drawn["points"]]
    assert rows[0].tolist() == pytest.approx([drawn["points"][0][name] for name in ("x", "y", "cluster")], abs=1e-4)
    prototype = analysed.get(drawn["clusters"][0]["prototype"])
    with Image.open(io.BytesIO(prototype.body)) as image:
        assert image.size == (32, 32)
    assert analysed.get(f"{GALLERY}/map/prototypes/99").code == "not_computed"


@pytest.mark.parametrize("by", ["reconstruction", "distance"])
def test_outliers_are_ranked_page_by_page(analysed, by):
    values, cursor = [], None
    while True:
        page = {"cursor": cursor} if cursor else {}
        answer = analysed.get(f"{GALLERY}/anomalies", by=by, limit=20, **page).json()
        values += [(each["rank"], each["value"]) for each in answer["items"]]
        if (cursor := answer["next_cursor"]) is None:
            break
    assert [rank for rank, _ in values] == list(range(1, 51))
    assert [value for _, value in values] == sorted((value for _, value in values), reverse=True)
    assert analysed.get(f"{GALLERY}/anomalies", by="colour").status == 422


@pytest.fixture(scope="module")
def fresh(drawn_gallery, tmp_path_factory):
    """A server of a gallery of a workspace, of which nothing is computed."""
    place = tmp_path_factory.mktemp("fresh")
    folder = shutil.copytree(drawn_gallery, place / "lookalike" / "galleries" / "drawn")
    with serving(folder, log=place / "log") as running:
        yield running


@pytest.mark.parametrize(
    ("what", "asked", "kind", "found"),
    [
        ("duplicates", "duplicates/compute", "duplicates", {"groups": 2, "surplus": 2}),
        ("anomalies", "anomalies", "outliers", {"items": 50}),
        # UMAP is compiled first, which takes most of a minute.
        pytest.param("map", "map", "map", {"items": 50, "clusters": 3}, marks=pytest.mark.full),
    ],
)
def test_what_was_not_computed_is_computed_by_the_request_that_the_problem_names(fresh, what, asked, kind, found):
    refused = fresh.get(f"{GALLERY}/{what}")
    assert refused.code == "not_computed"
    assert f"POST {GALLERY}/{asked}." in refused.json()["detail"]
    body = {"method": "umap", "clusters": 3} if what == "map" else {}
    accepted = fresh.send_json(f"{GALLERY}/{asked}", **body)
    assert accepted.status == 202, accepted.body
    job = ended(fresh, accepted.json(), seconds=240)
    assert (job["state"], job["kind"], job["result_url"]) == ("done", kind, f"{GALLERY}/{what}"), job
    assert found.items() <= job["result"].items()
    assert fresh.get(job["result_url"]).status == 200


def test_the_map_says_where_a_picture_lies_that_is_no_item(analysed):
    drawn = {point["id"]: point for point in analysed.get(f"{GALLERY}/map").json()["points"]}
    itself = analysed.get(f"{GALLERY}/map/place", id="7").json()
    assert itself == {"x": drawn["7"]["x"], "y": drawn["7"]["y"], "how": "item", "neighbours": None}
    shown = analysed.get(f"{GALLERY}/items/7/image", size="full", format="png").body
    same = analysed.send_form(f"{GALLERY}/queries", image=shown).json()
    placed = analysed.get(f"{GALLERY}/map/place", id=same["id"]).json()
    assert placed["how"] == "axes"
    assert (placed["x"], placed["y"]) == pytest.approx((itself["x"], itself["y"]), abs=0.05)
    assert analysed.get(f"{GALLERY}/map/place", id="q_none").code == "no_such_query"
    assert analysed.get(f"{GALLERY}/map/place", id="9999").code == "no_such_item"


def test_a_map_by_pca_of_a_small_gallery_is_there_at_once(fresh):
    made = fresh.ask("POST", f"{GALLERY}/map")
    assert made.status == 200
    drawn = fresh.get(f"{GALLERY}/map").json()
    assert (drawn["method"], len(drawn["points"])) == ("pca", 50)
    assert made.json() == {
        "method": "pca",
        "computed_at": drawn["computed_at"],
        "items": 50,
        "clusters": len(drawn["clusters"]),
    }
    assert fresh.send_json(f"{GALLERY}/map", clusters=5, seed=7).status == 200
    assert len(fresh.get(f"{GALLERY}/map").json()["clusters"]) == 5
    for wrong in ({"method": "tsne"}, {"seed": -1}, {"seed": 2**40}, {"clusters": 0}, {"metod": "pca"}):
        assert fresh.send_json(f"{GALLERY}/map", **wrong).code == "invalid"
    assert fresh.send_json(f"{GALLERY}/duplicates/compute", min_score=2).code == "invalid"


def test_one_analysis_asked_for_twice_with_one_key_is_one_job(fresh):
    key = {"Idempotency_Key": "duplicates-once"}
    first, second = (fresh.ask("POST", f"{GALLERY}/duplicates/compute", **key) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert fresh.ask("POST", f"{GALLERY}/anomalies", **key).code == "key_reused"
    ended(fresh, first.json())


def test_hits_that_are_the_same_picture_come_once_where_that_is_asked(analysed):
    groups = analysed.get(f"{GALLERY}/duplicates", kind="bytes").json()["groups"]
    one, other = (member["item"]["id"] for member in groups[0]["members"])
    asker = next(number for number in map(str, range(1, 51)) if number not in (one, other))
    similar = f"{GALLERY}/items/{asker}/similar"
    plain = analysed.get(similar, k=100).json()["hits"]
    assert {one, other} <= {hit["id"] for hit in plain}
    assert all(hit["duplicates"] is None for hit in plain)
    hits = analysed.get(similar, k=100, collapse_duplicates="true").json()["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    shown = [hit for hit in hits if hit["id"] in (one, other)]
    assert len(shown) == 1
    assert {one, other} <= {shown[0]["id"], *shown[0]["duplicates"]}
    assert len(hits) + sum(len(hit["duplicates"]) for hit in hits) == len(plain)
    page = analysed.get(similar, k=5, offset=5, collapse_duplicates="true").json()["hits"]
    assert [hit["id"] for hit in page] == [hit["id"] for hit in hits[5:10]]


def test_the_map_comes_as_columns_with_what_points_are_coloured_by(analysed):
    drawn = analysed.get(f"{GALLERY}/map").json()
    head, columns = read_columns(analysed.get(f"{GALLERY}/map", format="columns", include="folder,distance,year").body)
    assert (head["method"], head["items"], head["count"], head["clusters"]) == ("pca", 50, 50, drawn["clusters"])
    assert [str(number) for number in columns["id"]] == [point["id"] for point in drawn["points"]]
    assert columns["x"].tolist() == pytest.approx([point["x"] for point in drawn["points"]], abs=1e-4)
    assert columns["cluster"].tolist() == [point["cluster"] for point in drawn["points"]]
    assert set(columns) == {"id", "x", "y", "cluster", "folder", "distance"}  # nothing here has a year
    item = analysed.get(f"{GALLERY}/items/{columns['id'][7]}").json()
    folders = next(column["values"] for column in head["columns"] if column["name"] == "folder")
    assert item["path"].rpartition("/")[0] == folders[columns["folder"][7]]
    most_unusual = analysed.get(f"{GALLERY}/anomalies", by="distance", limit=1).json()["items"][0]["item"]["id"]
    assert str(columns["id"][columns["distance"].argmax()]) == most_unusual
    sampled, few = read_columns(analysed.get(f"{GALLERY}/map", format="columns", sample=5).body)
    assert (sampled["items"], len(few["x"])) == (50, 5)
    assert analysed.get(f"{GALLERY}/map", format="columns", include="smell").status == 422


def read_columns(body):
    (length,) = np.frombuffer(body[:4], "<u4")
    head = json.loads(body[4 : 4 + length])
    columns = {
        column["name"]: np.frombuffer(body, column["type"], head["count"], 4 + length + column["start"])
        for column in head["columns"]
    }
    return head, columns


def test_groups_that_were_judged_are_still_there_when_they_are_asked_for(analysed):
    def listed(**options):
        return analysed.get(f"{GALLERY}/duplicates", judged=True, **options).json()

    before = listed()
    assert sum(before["kinds"].values()) == before["total"] == len(before["groups"])
    near = listed(only="near")
    assert near["total"] == before["kinds"]["near"] == len(near["groups"]) > 0
    ids = [member["item"]["id"] for member in near["groups"][0]["members"]][:2]
    analysed.send_json(f"{GALLERY}/duplicates", ids=ids, verdict="different")
    after = listed(only="near")
    assert (after["total"], after["reviewed"]) == (near["total"], near["reviewed"] + 1)
    assert after["groups"][0]["verdict"] == "different"
    assert [member["apart"] for member in after["groups"][0]["members"]][:2] == [False, True]
    analysed.send_json(f"{GALLERY}/duplicates", ids=[ids[1]], instead_of=[ids[0]], verdict="keep")
    assert analysed.send_json(f"{GALLERY}/duplicates", ids=ids, verdict="forget").status == 200
    assert listed(only="near") == near


def test_the_surplus_is_listed_for_whoever_deletes_files(analysed):
    groups = analysed.get(f"{GALLERY}/duplicates").json()
    answer = analysed.get(f"{GALLERY}/duplicates/surplus").json()
    assert len(answer["items"]) == groups["surplus"]
    assert answer["bytes"] == sum(each["bytes"] for each in answer["items"])
    first = groups["groups"][0]["members"]
    assert (answer["items"][0]["kept_id"], answer["items"][0]["id"]) == tuple(each["item"]["id"] for each in first)[:2]
    text = analysed.get(f"{GALLERY}/duplicates/surplus", format="csv", reviewed=True)
    assert text.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(text.body.decode())))
    assert all(line["verdict"] for line in lines)


def test_an_item_says_where_it_stands(analysed):
    drawn = analysed.get(f"{GALLERY}/map").json()
    group = analysed.get(f"{GALLERY}/duplicates").json()["groups"][0]
    number = group["members"][1]["item"]["id"]
    standing = analysed.get(f"{GALLERY}/items/{number}/standing").json()
    point = next(point for point in drawn["points"] if point["id"] == number)
    assert [standing["map"][name] for name in ("x", "y", "cluster")] == [point[name] for name in ("x", "y", "cluster")]
    assert standing["duplicates"] == group
    assert [rank["by"] for rank in standing["unusual"]] == ["reconstruction", "distance"]
    ends = [analysed.get(f"{GALLERY}/items/{number}/standing").json() for number in ("1", drawn["points"][-1]["id"])]
    assert [(end["previous"], end["next"]) for end in ends] == [(None, "2"), (drawn["points"][-2]["id"], None)]
    assert analysed.get(f"{GALLERY}/items/99999/standing").code == "no_such_item"


def test_an_item_of_a_gallery_of_which_nothing_was_computed_has_neighbours_in_the_list_only(server):
    standing = server.get(f"{GALLERY}/items/2/standing").json()
    assert (standing["previous"], standing["map"], standing["unusual"]) == ("1", None, [])
