"""`lookalike index tag`, `describe`, `facets` and `lookalike search --filter` as they are typed."""

import json
from pathlib import Path

import pytest

from tests.index_data.test_commands import lookalike


def answer_of(*arguments: object) -> dict:
    ended = lookalike(*arguments, "--json", "-q")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_items_are_tagged_described_counted_and_searched_among(copied, drawn_folder):
    round_ones = '{"folder": {"eq": "round"}}'
    assert answer_of("index", "tag", copied, "--filter", round_ones, "--add", "circle", "--dry-run")["items"] == 24
    assert answer_of("index", "facets", copied, "--field", "tags")["facets"] == []
    assert answer_of("index", "tag", copied, "--filter", round_ones, "--add", "circle")["items"] == 24
    assert answer_of("index", "tag", copied, 1, 2, "--add", "first", "--remove", "circle")["items"] == 2
    assert answer_of("index", "describe", copied, 3, "--set", "title=The cat", "--set", "rating=5")["items"] == 1
    (item,) = answer_of("index", "describe", copied, 3)["items"]
    assert item["metadata"] == item["own"] == {"title": "The cat", "rating": 5}
    assert "rating: 5" in lookalike("index", "describe", copied, 3).stdout
    facets = {each["field"]: each["values"] for each in answer_of("index", "facets", copied)["facets"]}
    assert facets["folder"] == [{"value": "round", "count": 24}, {"value": "square", "count": 24}]
    assert {each["value"] for each in facets["tags"]} == {"circle", "first"}
    assert facets["rating"] == [{"value": 5, "count": 1}]
    assert '24  "round"' in lookalike("index", "facets", copied).stdout
    image = next(Path(drawn_folder).glob("square/*.png"))
    found = answer_of("search", copied, image, "--filter", round_ones, "--provider", "cpu")["results"][0]["hits"]
    assert len(found) == 10
    assert all("/round/" in hit["file"] for hit in found)
    answer_of("index", "describe", copied, 3, "--unset", "title")
    assert answer_of("index", "describe", copied, 3)["items"][0]["metadata"] == {"rating": 5}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["index", "tag", "G", "--add", "x"], 2, "say which items"),
        (["index", "tag", "G", "1", "--filter", "{}", "--add", "x"], 2, "say which items"),
        (["index", "tag", "G", "1"], 2, "no tag is given"),
        (["index", "tag", "G", "999", "--add", "x"], 4, "no item 999"),
        (["index", "tag", "G", "1", "--add", "a,b"], 2, "without a comma"),
        (["index", "describe", "G", "1", "--set", "x"], 2, "FIELD=VALUE"),
        (["index", "describe", "G", "--filter", "{"], 2, "not JSON"),
        (["index", "facets", "G", "--filter", '{"yaer": {"eq": 1}}'], 2, "no field 'yaer'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(copied, arguments, code, said):
    ended = lookalike(*(copied if word == "G" else word for word in arguments))
    assert ended.returncode == code
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
