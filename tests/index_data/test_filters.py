"""Filters: compiled to SQL, they let through what a plain evaluation in Python does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_data import metadata
from index_data.engine import Engine
from index_data.facets import facets
from index_data.filters import MAX_DEPTH, FilterError, field_types, matching_ids, parse_filter
from index_data.gallery import Gallery
from index_data.mapping import compute_map, read_map
from tests.index_data.conftest import items_of

WORDS = ["a", "A", "ab", "b", "é", "10", "snow\N{SNOWMAN}", "\U0010ffff", "%", "_", "'; DROP TABLE items --"]


@pytest.fixture(scope="module")
def described(tmp_path_factory, filled) -> Gallery:
    """The 48 drawn pictures with metadata and tags of every type, drawn from a seed."""
    import shutil

    folder = shutil.copytree(filled, tmp_path_factory.mktemp("described") / "drawn")
    random = np.random.default_rng(0)

    def pick(choices: list) -> Any:
        return choices[random.integers(len(choices))]

    with Gallery.open(folder) as gallery:
        with gallery.changes() as changes:
            for item in items_of(gallery):
                said = {
                    "title": pick([*WORDS, None]),
                    "year": pick([1999, 2019, 2020, 2020.5, -3, None]),
                    "good": pick([True, False, None]),
                    "mixed": pick([1, "1", True, [1, "a"], ["b", "ab", 7], None]),
                    "width": pick([5, None]),
                    "author": {"name": pick(["Ada", "Bob", None])},
                    "whole": "the same",
                }
                metadata.put_document(changes.connection, item.id, "sidecar", said)
                metadata.describe(changes.connection, [item.id])
                tags = [tag for tag in ("red", "blue", "é") if random.random() < 0.4]
                metadata.change_tags(changes, [item.id], add=tags)
        yield gallery


# --- The same in plain Python ---


def values_of(item, known: metadata.Description, field: str) -> list:
    folder, _, name = item.path.decode().rpartition("/")
    built_in = {
        "id": [item.id],
        "folder": [folder],
        "name": [name],
        "path": [item.path.decode()],
        "width": [item.width],
        "height": [item.height],
        "format": [item.format],
        "sha256": [item.sha256],
        "bytes": [item.size],
        "added_at": [item.added_at],
        "tags": known.tags,
        "tag": known.tags,
    }
    if field in built_in:
        return built_in[field]
    value = known.fields.get(field.removeprefix("metadata."), [])
    return value if isinstance(value, list) else [value]


def passes(item, known: metadata.Description, asked: dict) -> bool:
    for name, value in asked.items():
        if name == "and":
            good = all(passes(item, known, each) for each in value)
        elif name == "or":
            good = any(passes(item, known, each) for each in value)
        elif name == "not":
            good = not passes(item, known, value)
        else:
            values = values_of(item, known, name)
            good = all(meets(values, operator, wanted) for operator, wanted in value.items())
        if not good:
            return False
    return True


def meets(values: list, operator: str, wanted: Any) -> bool:
    if operator == "exists":
        return bool(values) == wanted
    if operator == "ne":
        return not meets(values, "eq", wanted)
    if operator == "in":
        return any(meets(values, "eq", each) for each in wanted)
    same = [value for value in values if metadata.type_of(value) == metadata.type_of(wanted)]
    if operator == "prefix":
        return any(value.startswith(wanted) for value in same)
    compare = {
        "eq": lambda value: value == wanted,
        "lt": lambda value: value < wanted,
        "lte": lambda value: value <= wanted,
        "gt": lambda value: value > wanted,
        "gte": lambda value: value >= wanted,
    }
    return any(compare[operator](value) for value in same)


# --- Filters by chance ---

TEXTS = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
NUMBERS = st.sampled_from([1, 5, 1999, 2019, 2020, 2020.5]) | st.integers(-(2**63) + 1, 2**63 - 1)
NUMBERS |= st.floats(-1e15, 1e15)
TYPES = {
    "title": TEXTS,
    "year": NUMBERS,
    "good": st.booleans(),
    "mixed": TEXTS | NUMBERS | st.booleans(),
    "metadata.width": NUMBERS,
    "author.name": st.sampled_from(["Ada", "Bob", "A"]),
    "id": NUMBERS | st.integers(1, 60),
    "folder": st.sampled_from(["round", "square", "r", ""]),
    "name": st.sampled_from(["picture-01.png", "picture-1", "p"]) | TEXTS,
    "path": st.sampled_from(["round/picture-01.png", "round/", "s"]) | TEXTS,
    "width": NUMBERS | st.just(96),
    "height": NUMBERS | st.just(80),
    "format": st.sampled_from(["PNG", "JPEG", "P"]),
    "bytes": NUMBERS,
    "tags": st.sampled_from(["red", "blue", "é", "r", "green"]),
    "tag": st.sampled_from(["red", "blue"]),
}


@st.composite
def conditions(draw: st.DrawFn) -> dict:
    field = draw(st.sampled_from(list(TYPES)))
    tests = {}
    for operator in draw(st.lists(st.sampled_from(["eq", "ne", "in", "lt", "gte", "prefix", "exists"]), min_size=1)):
        value = draw(TYPES[field])
        if operator == "exists":
            tests[operator] = draw(st.booleans())
        elif operator == "in":
            tests[operator] = draw(st.lists(TYPES[field], max_size=4))
        elif (operator == "prefix" and not isinstance(value, str)) or (
            operator in ("lt", "gte") and isinstance(value, bool)
        ):
            continue
        else:
            tests[operator] = value
    return {field: tests} if tests else {}


FILTERS = st.recursive(
    conditions(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"and": some})
        | st.lists(inner, min_size=1, max_size=3).map(lambda some: {"or": some})
        | inner.map(lambda one: {"not": one})
        | st.tuples(inner, inner).map(lambda two: {**two[0], **two[1]})
    ),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(asked=FILTERS)
def test_a_filter_lets_through_what_plain_python_does(described, asked):
    items = items_of(described)
    known = metadata.descriptions(described, [item.id for item in items])
    expected = [item.id for item in items if passes(item, known[item.id], asked)]
    try:
        found = matching_ids(described, json.loads(json.dumps(asked)))
    except FilterError as error:
        assert "levels" in error.detail or "conditions" in error.detail, error.detail
        return
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"titel": {"eq": "a"}}, r"no field 'titel': did you mean title\?"),
        ({"metadata.titel": {"eq": "a"}}, "there is no field"),
        ({"xyzzy": {"eq": "a"}}, "there are id, folder"),
        ({"title": {"equals": "a"}}, r"no operator 'equals': did you mean eq\?|there is no operator"),
        ({"title": {"gt3": "a"}}, r"did you mean gte?\?"),
        ({"title": "a"}, 'write {"title": {"eq"'),
        ({"title": {}}, "no operator"),
        ({"year": {"gte": "2019"}}, "holds number: leave the quotes out"),
        ({"title": {"eq": 7}}, "holds text: write it in quotes"),
        ({"good": {"lt": True}}, "no order"),
        ({"year": {"prefix": "2"}}, "holds number"),
        ({"year": {"prefix": 2}}, "no text"),
        ({"year": {"in": 2019}}, "no list"),
        ({"year": {"in": list(range(1001))}}, "1,000"),
        ({"year": {"exists": 1}}, "true or false"),
        ({"year": {"eq": None}}, "no text, number"),
        ({"year": {"eq": 2**63}}, "64 bits"),
        ({"year": {"eq": float("nan")}}, "64 bits"),
        ({"title": {"eq": "x" * 2001}}, "2,000"),
        ({"title": {"eq": "\ud800"}}, "half of a character"),
        ({"and": []}, "no list of filters"),
        ({"or": {"title": {"eq": "a"}}}, "no list of filters"),
        ({"and": [7]}, "/and/0 is no object"),
        ({"and": [{"title": {"exists": True}}] * 101}, "100 conditions"),
        ({"an": [{}]}, r"an object|no operator"),
    ],
)
def test_a_filter_that_is_not_understood_says_where_and_what_is_near(described, asked, said):
    with pytest.raises(FilterError, match=said) as refused:
        matching_ids(described, asked)
    assert refused.value.problem.status == 422


def test_a_filter_that_is_nested_too_deep_is_refused(described):
    asked: dict = {"title": {"exists": True}}
    for _ in range(MAX_DEPTH - 1):
        asked = {"not": asked}
    matching_ids(described, asked)
    with pytest.raises(FilterError, match="deeper"):
        matching_ids(described, {"not": asked})


@pytest.mark.parametrize("text", ["{", "[]", "7", "[" * 100_000, '{"a": "' + "x" * 70_000 + '"}', "\ud800"])
def test_a_filter_is_a_json_object_of_bounded_length(text):
    with pytest.raises(FilterError):
        parse_filter(text)


def test_names_of_fields_are_never_part_of_the_sql(described):
    with pytest.raises(FilterError):
        matching_ids(described, {"x' OR 1=1 --": {"eq": 1}})
    assert described.count == 48


def test_the_fields_of_a_gallery_are_known_with_their_types(described, filled):
    assert field_types(described) == {
        "author.name": {"text"},
        "good": {"boolean"},
        "mixed": {"boolean", "number", "text"},
        "title": {"text"},
        "whole": {"text"},
        "width": {"number"},
        "year": {"number"},
    }
    with Gallery.open(filled) as bare:
        assert field_types(bare) == {}


# --- Searching among what passes ---


@pytest.mark.parametrize("asked", [{}, {"folder": {"eq": "round"}}, {"year": {"gte": 2019}}, {"id": {"in": [3, 5, 9]}}])
def test_a_search_among_what_passes_finds_the_nearest_of_them(described, bundle, asked):
    with Engine.open(described.folder, bundle=bundle, provider="cpu") as engine:
        among = matching_ids(engine.gallery, asked)
        query = engine.gallery.embeddings([17])
        everything = [(hit.id, hit.score) for hit in engine.search(query, 48)[0] if hit.id in set(among.tolist())]
        for k in (1, 5, 48):
            found = engine.search(query, k, among=among)[0]
            assert [hit.id for hit in found] == [number for number, _ in everything[:k]]
            assert [hit.score for hit in found] == pytest.approx([score for _, score in everything[:k]], abs=2e-6)
            assert [hit.rank for hit in found] == list(range(1, len(found) + 1))


def test_a_search_among_some_leaves_out_what_was_removed_or_excluded(copied, bundle):
    with Engine.open(copied, bundle=bundle, provider="cpu") as engine:
        with engine.gallery.changes() as changes:
            changes.remove_items([4])
        engine.refresh()
        query = engine.gallery.embeddings([3])
        among = np.array([2, 3, 4, 5, 999], np.int64)
        found = engine.search(query, 10, {3}, among=among)[0]
        assert {hit.id for hit in found} == {2, 5}
        assert engine.search(query, 10, among=np.empty(0, np.int64)) == [[]]


def test_equals_among_some_stand_in_the_order_of_their_ids(bundle, drawn_folder, tmp_path):
    from index_data.adding import add_folder

    folder = tmp_path / "same"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes((Path(drawn_folder) / "square" / "picture-02.png").read_bytes())
    with Gallery.create(tmp_path / "gallery", bundle) as gallery:
        add_folder(gallery, bundle, folder, provider="cpu", workers=1)
    with Engine.open(tmp_path / "gallery", bundle=bundle, provider="cpu") as engine:
        query = engine.gallery.embeddings([1])
        found = engine.search(query, 3, among=np.arange(4, 13, dtype=np.int64))[0]
        assert [hit.id for hit in found] == [4, 5, 6]


# --- Clusters of the map ---


@pytest.fixture(scope="module")
def mapped(described, tmp_path_factory) -> Gallery:
    """The described gallery with a map of five clusters."""
    import shutil

    folder = shutil.copytree(described.folder, tmp_path_factory.mktemp("mapped") / "drawn")
    with Gallery.open(folder) as gallery:
        compute_map(gallery, None, clusters=5)
        yield gallery


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"eq": 2}, lambda cluster: cluster == 2),
        ({"ne": 2}, lambda cluster: cluster != 2),
        ({"in": [0, 4, 77]}, lambda cluster: cluster in (0, 4)),
        ({"gte": 1, "lt": 3}, lambda cluster: 1 <= cluster < 3),
        ({"exists": True}, lambda cluster: True),
        ({"exists": False}, lambda cluster: False),
        ({"eq": 77}, lambda cluster: False),
    ],
)
def test_a_cluster_of_the_map_is_a_field(mapped, asked, wanted):
    drawn = read_map(mapped)
    expected = [number for number, cluster in zip(drawn.ids.tolist(), drawn.clusters, strict=True) if wanted(cluster)]
    assert matching_ids(mapped, {"cluster": asked}).tolist() == sorted(expected)
    both = {"cluster": asked, "folder": {"eq": "round"}}
    in_round = set(matching_ids(mapped, {"folder": {"eq": "round"}}).tolist())
    assert matching_ids(mapped, both).tolist() == [number for number in sorted(expected) if number in in_round]


def test_without_a_map_a_cluster_is_no_field(described, mapped):
    with pytest.raises(FilterError, match="index map"):
        matching_ids(described, {"cluster": {"eq": 2}})
    with pytest.raises(FilterError, match="leave the quotes out"):
        matching_ids(mapped, {"cluster": {"eq": "2"}})
    assert [facet.field for facet in facets(described, fields=["cluster"])] == []


def test_a_new_map_changes_what_passes(mapped, bundle, tmp_path):
    import shutil

    folder = shutil.copytree(mapped.folder, tmp_path / "drawn")
    with Engine.open(folder, bundle=bundle, provider="cpu") as engine:
        asked = {"cluster": {"eq": 0}}
        before = engine.passing(asked)
        assert engine.passing(asked) is before  # kept
        compute_map(engine.gallery, None, clusters=1)
        assert engine.passing(asked).tolist() == engine.gallery.item_ids().tolist()


def test_clusters_are_counted_with_an_item_that_stands_for_each(mapped):
    drawn = read_map(mapped)
    (facet,) = facets(mapped, fields=["cluster"])
    assert {each.value: each.count for each in facet.values} == dict(enumerate(np.bincount(drawn.clusters).tolist()))
    assert [each.count for each in facet.values] == sorted((each.count for each in facet.values), reverse=True)
    assert facet.typical == dict(enumerate(drawn.medoids.tolist()))
    asked = {"cluster": {"eq": 1}, "folder": {"eq": "round"}}
    (others,) = facets(mapped, asked, ["cluster"], values=2, with_own=False)
    assert others.more
    assert len(others.values) == 2
    (own,) = facets(mapped, asked, ["cluster"])
    assert [each.value for each in own.values] == [1]
    assert facets(mapped, {"id": {"eq": -1}}, ["cluster"]) == []


# --- Facets ---


def test_facets_count_what_passes(described):
    items = items_of(described)
    known = metadata.descriptions(described, [item.id for item in items])
    for asked in ({}, {"folder": {"eq": "round"}}, {"tags": {"eq": "red"}}):
        passing = [item for item in items if passes(item, known[item.id], asked)]
        found = facets(described, asked)
        assert [facet.field for facet in found][:3] == ["folder", "tags", "year"]
        for facet in found:
            counted = {(metadata.type_of(each.value), each.value): each.count for each in facet.values}
            expected: dict = {}
            field = facet.field if facet.field in ("folder", "tags") else f"metadata.{facet.field}"
            for item in passing:
                for value in values_of(item, known[item.id], field):
                    key = metadata.type_of(value), value
                    expected[key] = expected.get(key, 0) + 1
            assert counted == expected, facet.field
            assert [each.count for each in facet.values] == sorted(counted.values(), reverse=True)


def test_facets_are_bounded(described):
    (facet,) = facets(described, fields=["title"], values=2)
    assert len(facet.values) == 2
    assert facet.more
