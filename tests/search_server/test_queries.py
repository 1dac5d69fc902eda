"""Queries that are more than one picture, several galleries at once, several searches in one request."""

import base64

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import make_gallery, serving

GALLERY = "/api/v1/galleries/drawn"
PICTURE = encoded(draw_picture(7, 80, 80))


def in_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def vector_of(server, item_id: str) -> np.ndarray:
    found = server.send_json(f"{GALLERY}/search", id=item_id, k=1, include=["vector"]).json()
    return np.array(found["query"]["vector"], np.float32)


def test_several_pictures_with_weights_are_one_query(server):
    parts = [{"id": "3", "weight": 2.0}, {"image_base64": in_text(PICTURE)}]
    answer = server.send_json(
        f"{GALLERY}/search", positive=parts, negative=[{"id": "9", "weight": 0.5}], k=50, include=["vector"]
    ).json()
    assert answer["query"]["kind"] == "combination"
    sent = server.send_form(f"{GALLERY}/search", image=PICTURE, include="vector").json()["query"]["vector"]
    total = 2 * vector_of(server, "3") + np.array(sent) - 0.5 * vector_of(server, "9")
    assert answer["query"]["vector"] == pytest.approx(total / np.linalg.norm(total), abs=1e-5)
    by_vector = server.send_json(f"{GALLERY}/search", vector=answer["query"]["vector"], k=50).json()
    # What the query is made of is no news; a vector is made of nothing.
    others = [hit["id"] for hit in by_vector["hits"] if hit["id"] not in ("3", "9")]
    assert others == [hit["id"] for hit in answer["hits"]]
    assert by_vector["query"]["kind"] == "vector"
    alone = server.send_json(f"{GALLERY}/search", positive=[{"id": "3"}], k=1, exclude_self=False).json()
    assert (alone["hits"][0]["id"], alone["hits"][0]["score"]) == ("3", pytest.approx(1, abs=1e-5))
    painted = server.send_json(f"{GALLERY}/search", positive=parts, k=1, include=["reconstruction"]).json()
    assert painted["query"]["reconstruction_url"].startswith("data:image/webp;base64,")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"positive": [{"id": "3"}], "id": "4"}, "invalid"),
        ({"positive": [{"id": "3"}], "vector": [1.0]}, "invalid"),
        ({"positive": [{}]}, "invalid"),
        ({"positive": [{"id": "3", "weight": 0}]}, "invalid"),
        ({"positive": [{"id": "3", "weight": -1.0}]}, "invalid"),
        ({"positive": [{"id": "3"}] * 17}, "invalid"),
        ({"positive": [{"id": "3"}], "negative": [{"id": "3"}]}, "bad_embedding"),
        ({"positive": [{"id": "3"}], "transforms": "all"}, "invalid"),
        ({"vector": [1.0, 2.0]}, "dimension_mismatch"),
        ({"vector": [0.0] * 192}, "bad_embedding"),
        ({"vector": ["x"]}, "bad_request"),
        ({"positive": [{"id": "99999"}]}, "no_such_item"),
    ],
)
def test_a_query_of_several_that_makes_no_sense_is_refused(server, body, code):
    assert server.send_json(f"{GALLERY}/search", **body).code == code


@pytest.mark.parametrize(
    ("transforms", "turn", "finds"),
    [
        ("mirror", Image.Transpose.FLIP_LEFT_RIGHT, True),
        ("rotate", Image.Transpose.ROTATE_90, True),
        ("all", Image.Transpose.TRANSPOSE, True),
        ("all", Image.Transpose.ROTATE_180, True),
        ("none", Image.Transpose.ROTATE_90, False),
        ("mirror", Image.Transpose.ROTATE_90, False),
    ],
)
def test_a_picture_is_found_mirrored_and_turned(server, transforms, turn, finds):
    square = draw_picture(12, 96, 80).crop((8, 0, 88, 80))  # what the model sees of item picture-12
    image = encoded(square.transpose(turn))
    answer = server.send_form(f"{GALLERY}/search", image=image, k=50, transforms=transforms).json()
    best = answer["hits"][0]
    assert (best["name"].startswith("picture-12") and best["score"] > 0.99) == finds
    assert len({hit["id"] for hit in answer["hits"]}) == len(answer["hits"]) == 50
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_many_searches_in_one_request_are_answered_each_by_itself(server):
    queries = [
        {"id": "3"},
        {"id": "99999"},
        {"image_base64": in_text(PICTURE), "k": 2},
        {"image_base64": "%"},
        {"id": "3", "colour": "red"},
        {"positive": [{"id": "3"}, {"id": "4"}], "filter": {"folder": {"eq": "round"}}},
    ]
    answer = server.send_json(f"{GALLERY}/search/batch", queries=queries, defaults={"k": 5, "store": False})
    assert answer.status == 200, answer.body
    results = answer.json()["results"]
    assert [len(each["answer"]["hits"]) if each["answer"] else each["problem"]["code"] for each in results] == [
        5,
        "no_such_item",
        2,
        "bad_base64",
        "invalid",
        5,
    ]
    assert all(hit["path"].startswith("round/") for hit in results[5]["answer"]["hits"])
    sent = server.send_form(f"{GALLERY}/search/batch", image=[PICTURE, b"rubbish", PICTURE]).json()["results"]
    assert [bool(each["answer"]) for each in sent] == [True, False, True]
    assert sent[1]["problem"]["code"] == "unsupported_format"
    assert server.send_json(f"{GALLERY}/search/batch").status == 422
    assert server.send_json(f"{GALLERY}/search/batch", queries=[{"id": "3"}] * 65).status == 422


@pytest.fixture(scope="module")
def several(drawn_gallery, halved_gallery, bundle, tmp_path_factory):
    """A server of two galleries of one model, and of one of another model."""
    place = tmp_path_factory.mktemp("several")
    (place / "pictures").mkdir()
    for number in range(100, 120):
        draw_picture(number).save(place / "pictures" / f"other-{number}.png")
    other = make_gallery(place / "other", bundle, place / "pictures")
    with serving(drawn_gallery, other, halved_gallery, log=place / "log") as running:
        yield running


def test_several_galleries_are_searched_at_once(several):
    picture = encoded(draw_picture(105))
    asked = {"image_base64": in_text(picture), "k": 8}
    answer = several.send_json("/api/v1/search", galleries=["drawn", "other"], **asked).json()
    assert answer["by"] == "score"
    assert (answer["hits"][0]["gallery"], answer["hits"][0]["name"]) == ("other", "other-105.png")
    expected = []
    for name in ("drawn", "other"):
        hits = several.send_json(f"/api/v1/galleries/{name}/search", **asked).json()["hits"]
        expected += [(hit["score"], name, hit["id"]) for hit in hits]
    best = sorted(expected, key=lambda hit: -hit[0])[:8]
    assert [(hit["score"], hit["gallery"], hit["id"]) for hit in answer["hits"]] == best
    assert [hit["rank"] for hit in answer["hits"]] == list(range(1, 9))
    rest = several.send_json("/api/v1/search", galleries=["drawn", "other"], offset=3, **asked).json()["hits"]
    assert [hit["id"] for hit in rest][:5] == [hit["id"] for hit in answer["hits"]][3:]
    assert several.send_json("/api/v1/search", **asked).json()["by"] == "percentile"
    assert set(several.send_json("/api/v1/search", **asked).json()["queries"]) == {"drawn", "other", "halved"}


def test_an_item_is_looked_for_in_other_galleries(several):
    assert several.send_json("/api/v1/search", id="3").code == "invalid"
    answer = several.send_json("/api/v1/search", id="3", gallery="drawn", galleries=["drawn", "other"], k=30).json()
    assert "3" not in [hit["id"] for hit in answer["hits"] if hit["gallery"] == "drawn"]
    assert {hit["gallery"] for hit in answer["hits"]} == {"drawn", "other"}
    assert several.send_json("/api/v1/search", positive=[{"id": "3"}]).code == "invalid"
    assert several.send_json("/api/v1/search", id="3", gallery="nowhere").code == "no_such_gallery"


def test_pictures_of_a_gallery_are_looked_for_together_in_others(several):
    parts = {"positive": [{"id": "3", "weight": 2.0}, {"id": "5"}], "negative": [{"id": "9"}]}
    asked = {**parts, "gallery": "drawn", "galleries": ["drawn", "other"], "k": 40}
    answer = several.send_json("/api/v1/search", **asked).json()
    at_home = several.send_json(f"{GALLERY}/search", **parts, k=40).json()["hits"]
    found_there = [hit for hit in answer["hits"] if hit["gallery"] == "drawn"]
    assert [hit["id"] for hit in found_there] == [hit["id"] for hit in at_home][: len(found_there)]
    files = [in_text(several.get(f"{GALLERY}/items/{number}/image", size="full").body) for number in (3, 5, 9)]
    sent = [{"image_base64": data, "weight": weight} for data, weight in zip(files, (2.0, 1.0, 1.0), strict=True)]
    elsewhere = several.send_json("/api/v1/galleries/other/search", positive=sent[:2], negative=sent[2:], k=40).json()
    assert [hit["id"] for hit in answer["hits"] if hit["gallery"] == "other"][:5] == [
        hit["id"] for hit in elsewhere["hits"]
    ][:5]


def test_a_gallery_that_cannot_answer_is_named_and_the_others_do(several):
    asked = {"image_base64": in_text(PICTURE), "beta": 0.0, "k": 5}
    answer = several.send_json("/api/v1/search", **asked).json()
    assert {hit["gallery"] for hit in answer["hits"]} == {"halved"}
    assert {name: problem["code"] for name, problem in answer["problems"].items()} == {
        "drawn": "no_semantic_half",
        "other": "no_semantic_half",
    }
    assert answer["by"] == "score"  # of the only model that answered
    assert several.send_json("/api/v1/search", galleries=["drawn", "other"], **asked).code == "no_semantic_half"
    assert several.send_json("/api/v1/search", image_base64=in_text(b"no picture")).code == "unsupported_format"


# --- The same picture, changed ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def part(drawn_folder) -> bytes:
    """A mirrored part of item picture-07."""
    with Image.open(drawn_folder / "round" / "picture-07.png") as image:
        return encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((8, 6, 90, 74)))


def test_hits_that_are_the_same_picture_come_first_and_say_how(server, part):
    answer = server.send_form(f"{GALLERY}/search", image=part, k=8, same_picture="true").json()
    first, *others = answer["hits"]
    assert first["name"] == "picture-07.png"
    assert first["same_picture"]["mirrored"]
    assert first["same_picture"]["shown"] == pytest.approx(82 * 68 / 96 / 80, rel=0.1)
    assert len(first["same_picture"]["corners"]) == 4
    assert [hit["rank"] for hit in answer["hits"]] == list(range(1, 9))
    assert not any(hit["same_picture"] for hit in others)
    assert answer["took_ms"]["register"] > 0
    stored = server.send_json(f"{GALLERY}/search", id=answer["query"]["id"], k=8, same_picture=True).json()
    assert stored["hits"] == answer["hits"]


def test_pages_of_hits_fit_together_when_the_same_picture_comes_first(server, part):
    whole = server.send_form(f"{GALLERY}/search", image=part, k=40, same_picture="true").json()["hits"]
    asked = {"image": part, "k": 20, "same_picture": "true"}
    pages = [server.send_form(f"{GALLERY}/search", **asked, offset=offset).json()["hits"] for offset in (0, 20)]
    assert [hit["id"] for page in pages for hit in page] == [hit["id"] for hit in whole]
    plain = server.send_form(f"{GALLERY}/search", image=part, k=40).json()["hits"]
    assert {hit["id"] for hit in plain} == {hit["id"] for hit in whole}
    assert not any(hit["same_picture"] for hit in plain)


def test_an_item_and_a_part_of_it_are_laid_over_others(server):
    itself = server.get(f"{GALLERY}/items/5/similar", k=3, same_picture="true", exclude_self="false").json()
    assert itself["hits"][0]["id"] == "5"
    assert itself["hits"][0]["same_picture"]["shown"] == 1
    crop = {"x": 0.0, "y": 0.0, "w": 0.75, "h": 0.75}
    asked = {"id": "5", "k": 3, "same_picture": True, "exclude_self": False, "crop": crop}
    part = server.send_json(f"{GALLERY}/search", **asked).json()["hits"][0]
    assert part["id"] == "5"
    assert part["same_picture"]["corners"][2] == pytest.approx([0.75, 0.75], abs=0.04)


def test_the_same_picture_is_looked_for_in_several_galleries(server, part):
    body = {"image_base64": in_text(part), "galleries": ["drawn"], "k": 4, "same_picture": True}
    hits = server.send_json("/api/v1/search", **body).json()["hits"]
    assert hits[0]["name"] == "picture-07.png"
    assert hits[0]["same_picture"]["mirrored"]


def test_only_one_picture_can_be_laid_over_others(server):
    refused = server.send_json(f"{GALLERY}/search", positive=[{"id": "3"}], same_picture=True)
    assert refused.code == "invalid"
    assert "same_picture: only one picture" in refused.json()["detail"]
