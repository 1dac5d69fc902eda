"""Duplicates among the hits of a search are shown once."""

import json

import numpy as np
import pytest

from index_data.collapsing import near_from, without_duplicates
from index_data.duplicates import put_verdict
from index_data.engine import Engine
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from tests.conftest import draw_picture
from tests.index_data.test_commands import lookalike

GROUPS, COPIES, DIMS = 12, 5, 192


@pytest.fixture
def engine(bundle, tmp_path):
    """Twelve pictures, each farther away, five times each with small changes, two of the five of the same bytes."""
    random = np.random.default_rng(0)
    query, *others = np.linalg.qr(random.normal(size=(DIMS, GROUPS + 1)))[0].T
    with Gallery.create(tmp_path / "gallery", bundle) as gallery:
        with gallery.changes() as changes:
            root = changes.root_id(tmp_path)
            for group, other in enumerate(others):
                for copy in range(COPIES):
                    vector = query + 0.5 * (group + 1) * other + 0.01 * random.normal(size=DIMS) / DIMS**0.5
                    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
                    digest = bytes([group, min(copy, COPIES - 2)]) + bytes(30)
                    content = changes.content_id(digest)
                    if content is None:
                        content = changes.add_content(Content(digest, 3, 2, "PNG", vector, vector))
                    changes.put_item(FileState(root, b"%02d-%d.png" % (group, copy), 1, 1), content)
        build_generation(gallery)
    with Engine.open(tmp_path / "gallery", bundle=bundle, provider="cpu") as engine:
        yield engine, query.astype(np.float32)


def different_ones(engine, query, k):
    return without_duplicates(
        lambda count: engine.search(query[None], count)[0],
        k,
        id_of=lambda hit: hit.id,
        gallery=engine.gallery,
        calibration=engine.calibration,
    )


def group_of(number: int) -> int:
    return (number - 1) // COPIES


@pytest.mark.parametrize("k", [1, 3, GROUPS, 100])
def test_each_picture_comes_once_with_its_best_score_and_there_are_k_of_them(engine, k):
    engine, query = engine
    standing = different_ones(engine, query, k)
    assert [group_of(hit.id) for hit, _ in standing] == list(range(min(k, GROUPS)))
    for hit, others in standing:
        every = [each for each in engine.search(query[None], 100)[0] if group_of(each.id) == group_of(hit.id)]
        assert hit.score == max(each.score for each in every)
        assert {group_of(number) for number in others} <= {group_of(hit.id)}
        if k == 100:
            assert {hit.id, *others} == {each.id for each in every}


def test_what_people_said_counts_more_than_the_score(engine):
    engine, query = engine
    first = different_ones(engine, query, 2)[0][0].id
    # Two of the first group are not the same; a picture of the third is one of the second group.
    other = next(number for number in range(1, COPIES - 1) if number != first)
    with engine.gallery.changes() as changes:
        put_verdict(changes, engine.gallery, [first, other], "different")
    standing = different_ones(engine, query, 100)
    assert [group_of(hit.id) for hit, _ in standing][:2] == [0, 0]
    second, third = (next(hit.id for hit, _ in standing if group_of(hit.id) == group) for group in (1, 2))
    with engine.gallery.changes() as changes:
        put_verdict(changes, engine.gallery, [second, third], "duplicate")
    collapsed = {hit.id: others for hit, others in different_ones(engine, query, 100)}
    assert third in collapsed[second]


def test_where_all_are_the_same_picture_there_is_one_hit(engine):
    engine, query = engine
    with engine.gallery.changes() as changes:
        changes.remove_items(range(COPIES + 1, GROUPS * COPIES + 1))
    [(hit, others)] = different_ones(engine, query, 10)
    assert {hit.id, *others} == set(range(1, COPIES + 1))
    assert near_from(engine.calibration) < 0.9995
    with engine.gallery.changes() as changes:
        changes.remove_items(range(1, COPIES + 1))
    assert different_ones(engine, query, 10) == []


def test_the_command_says_how_many_a_hit_stands_for(bundle, drawn_folder, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        image = draw_picture(number)
        image.save(pictures / f"{number}.png")
        image.save(pictures / f"{number}.bmp")
    words = ("--model", bundle.folder, "--home", tmp_path, "--provider", "cpu")
    assert lookalike("index", "add", "drawn", pictures, *words, "-q").returncode == 0
    query = (pictures / "1.png", "-k", 3, "--home", tmp_path, "--provider", "cpu")
    ended = lookalike("search", "drawn", *query, "--collapse-duplicates", "--json", "-q")
    assert ended.returncode == 0, ended.stderr
    hits = json.loads(ended.stdout)["results"][0]["hits"]
    assert [len(hit["duplicates"]) for hit in hits] == [1, 1, 1]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert "(and 1 like it)" in lookalike("search", "drawn", *query, "--collapse-duplicates", "-q").stdout
    assert "duplicates" not in lookalike("search", "drawn", *query, "--json", "-q").stdout
