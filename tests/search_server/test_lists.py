"""Lists of items: their orders, their outlines, and tags of many at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from export.bundle import Bundle
from tests.conftest import draw_picture
from tests.search_server.conftest import Answer, Server, make_gallery, serving

ITEMS = "/api/v1/galleries/shapes/items"
SHAPES = [(30, 20), (20, 30), (64, 64), (90, 30), (20, 30)]


@pytest.fixture(scope="module")
def shapes(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of five pictures whose names, sizes and order of addition all differ."""
    folder = tmp_path_factory.mktemp("shapes") / "pictures"
    for number, (width, height) in enumerate(SHAPES):
        place = folder / "ba"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        draw_picture(number, width, height).save(place / f"{'edcba'[number]}.png")
    place = make_gallery(tmp_path_factory.mktemp("galleries") / "shapes", bundle, folder)
    with serving(place, log=tmp_path_factory.mktemp("server") / "log") as running:
        yield running


def listed(server: Server, **parameters: object) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, object] = {}
    while True:
        page = server.get(ITEMS, limit=2, **parameters, **cursor).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def outline(answer: Answer) -> tuple[list[str], np.ndarray]:
    assert answer.status == 200, answer.body
    count = int(answer.headers["x-count"])
    ids = np.frombuffer(answer.body, "<i8", count)
    return [str(number) for number in ids], np.frombuffer(answer.body, "<f4", count, offset=8 * count)


@pytest.mark.parametrize(
    ("sort", "key", "falling"),
    [
        ("id", lambda item: int(item["id"]), False),
        ("-id", lambda item: int(item["id"]), True),
        ("name", lambda item: item["name"], False),
        ("path", lambda item: item["path"], False),
        ("-pixels", lambda item: item["width"] * item["height"], True),
        ("-bytes", lambda item: item["bytes"], True),
    ],
)
def test_pages_and_outline_have_the_same_order(shapes: Server, sort: str, key: Any, falling: bool):
    items = listed(shapes, sort=sort)
    assert len(items) == len(SHAPES)
    assert [key(item) for item in items] == sorted((key(item) for item in items), reverse=falling)
    ids, aspects = outline(shapes.get(f"{ITEMS}/outline", sort=sort))
    assert ids == [item["id"] for item in items]
    assert aspects == pytest.approx([item["width"] / item["height"] for item in items])


def test_an_outline_has_only_what_passes_and_says_when_nothing_has_changed(shapes: Server):
    answer = shapes.get(f"{ITEMS}/outline", filter='{"folder": {"eq": "a"}}')
    ids, _ = outline(answer)
    assert ids == [item["id"] for item in listed(shapes, filter='{"folder": {"eq": "a"}}')]
    assert answer.headers["x-total"] == str(len(ids))
    again = {"If-None-Match": answer.headers["etag"]}
    assert shapes.get(f"{ITEMS}/outline", again, filter='{"folder": {"eq": "a"}}').status == 304
    assert shapes.get(f"{ITEMS}/outline", again).status == 200
    assert shapes.get(f"{ITEMS}/outline", sort="size").code == "invalid"


def test_many_items_are_tagged_at_once(shapes: Server):
    ids = [item["id"] for item in listed(shapes)]
    assert shapes.send_json(f"{ITEMS}/tags", ids=[*ids[:3], ids[0], "999999"], add=["good", "late"]).json() == {
        "items": 3
    }
    assert shapes.send_json(f"{ITEMS}/tags", filter={"tags": {"eq": "good"}}, remove=["late"]).json() == {"items": 3}
    tagged = listed(shapes, filter='{"tags": {"eq": "good"}}', include="metadata")
    assert [(item["id"], item["tags"]) for item in tagged] == [(number, ["good"]) for number in ids[:3]]
    assert shapes.send_json(f"{ITEMS}/tags", add=["good"]).code == "invalid"
    assert shapes.send_json(f"{ITEMS}/tags", ids=["x"], add=["good"]).code == "invalid"


def test_what_a_query_is_made_of_is_not_among_its_neighbours(shapes: Server):
    ids = [item["id"] for item in listed(shapes)]
    search = "/api/v1/galleries/shapes/search"
    parts = {"positive": [{"id": ids[0]}, {"id": ids[1]}], "negative": [{"id": ids[2]}]}
    found = [hit["id"] for hit in shapes.send_json(search, **parts).json()["hits"]]
    assert sorted(found) == sorted(ids[3:])
    assert len(shapes.send_json(search, **parts, exclude_self=False).json()["hits"]) == len(ids)
