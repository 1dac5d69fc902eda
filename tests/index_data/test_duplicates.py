"""Pictures that are there more than once: the same bytes, the same pixels, near ones; verdicts; lists."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index_data.adding import add_folder
from index_data.analyses import NotComputedError
from index_data.duplicates import compute_duplicates, describe_groups, difference, duplicate_groups, put_verdict
from index_data.gallery import Gallery
from index_data.neighbours import all_neighbours, open_segments
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from tests.index_data.test_commands import lookalike
from train.decoding import DecodePool
from train.errors import UserError
from train.images import FOLDER_LIMITS


@pytest.fixture(scope="module")
def doubled(bundle, tmp_path_factory) -> Path:
    """The folder of a gallery: 20 pictures, some of them again as the same bytes, the same pixels, or nearly."""
    place = tmp_path_factory.mktemp("doubled")
    folder = place / "pictures"
    (folder / "copies").mkdir(parents=True)
    for number in range(20):
        draw_picture(number).save(folder / f"{number:02}.png")
    shutil.copy(folder / "00.png", folder / "copies" / "bytes.png")
    shutil.copy(folder / "00.png", folder / "copies" / "bytes too.png")
    draw_picture(1).save(folder / "copies" / "pixels.webp", lossless=True)
    draw_picture(2).save(folder / "copies" / "near.jpg", quality=60)
    draw_picture(3).resize((192, 160)).save(folder / "copies" / "larger.png")
    with Gallery.create(place / "gallery", bundle) as gallery:
        add_folder(gallery, bundle, folder, provider="cpu", workers=1)
        with DecodePool(1, FOLDER_LIMITS) as pool:
            compute_duplicates(gallery, pool, min_score=0.999)
    return place / "gallery"


@pytest.fixture
def gallery(doubled, tmp_path):
    with Gallery.open(shutil.copytree(doubled, tmp_path / "gallery")) as gallery:
        yield gallery


def found(gallery: Gallery, **settings: object) -> list[tuple[str, list[str]]]:
    groups = describe_groups(gallery, duplicate_groups(gallery, **settings))
    return sorted((group.kind, [member.item.path.decode() for member in group.members]) for group in groups)


BYTES = ("bytes", ["00.png", "copies/bytes.png", "copies/bytes too.png"])


def ids_of(gallery: Gallery, *paths: str) -> list[int]:
    by_path = {item.path.decode(): item.id for item in items_of(gallery)}
    return [by_path[path] for path in paths]


def test_each_kind_finds_its_own_and_the_stricter_ones(gallery):
    assert found(gallery, kind="bytes") == [BYTES]
    kinds = found(gallery, kind="pixels")
    assert [kind for kind, _ in kinds] == ["bytes", "pixels"]
    assert {*kinds[1][1]} == {"01.png", "copies/pixels.webp"}
    everything = found(gallery)
    assert [kind for kind, _ in everything] == ["bytes", "near", "near", "pixels"]
    near = [paths for kind, paths in everything if kind == "near"]
    assert ["copies/larger.png", "03.png"] in near
    assert {"02.png", "copies/near.jpg"} in [set(paths) for paths in near]
    assert found(gallery, min_score=0.99999999) == kinds


def test_the_one_to_keep_has_a_reason(gallery):
    groups = describe_groups(gallery, duplicate_groups(gallery))
    for group in groups:
        assert [member.keep for member in group.members] == [True] + [False] * (len(group.members) - 1)
        assert group.members[0].why
        assert [member.why for member in group.members[1:]] == [""] * (len(group.members) - 1)
        assert all(member.score > 0.99 for member in group.members)
    reasons = {group.members[0].item.path.decode(): group.members[0].why for group in groups}
    assert reasons["copies/larger.png"] == "most pixels: 192 x 160"


def test_verdicts_are_remembered_by_the_bytes_wherever_the_files_go(gallery, bundle):
    pair = ids_of(gallery, "03.png", "copies/larger.png")
    with gallery.changes() as changes:
        put_verdict(changes, gallery, pair, "different")
    assert all("copies/larger.png" not in paths for _, paths in found(gallery))
    with gallery.changes() as changes:
        put_verdict(changes, gallery, pair, "duplicate")
        put_verdict(changes, gallery, ids_of(gallery, "03.png"), "keep")
    groups = describe_groups(gallery, duplicate_groups(gallery))
    (group,) = [group for group in groups if any(member.item.id in pair for member in group.members)]
    assert group.verdict == "keep"
    assert [member.item.path for member in group.members] == [b"03.png", b"copies/larger.png"]
    assert group.members[0].why == "chosen by hand"
    with gallery.changes() as changes:
        changes.remove_items(pair)
    assert len(gallery.rows("SELECT * FROM verdicts")) == 1


def test_a_verdict_needs_two_pictures_that_are_there(gallery):
    same = ids_of(gallery, "00.png", "copies/bytes.png")
    for ids, said in (([same[0]], "two pictures"), (same, "different bytes"), ([1, 999], "no item 999")):
        with pytest.raises(UserError, match=said), gallery.changes() as changes:
            put_verdict(changes, gallery, ids, "different")


def test_items_that_left_are_in_no_group(gallery):
    with gallery.changes() as changes:
        changes.remove_items(ids_of(gallery, "01.png", "copies/bytes.png"))
    kinds = found(gallery)
    assert kinds[0] == ("bytes", ["00.png", "copies/bytes too.png"])
    assert "pixels" not in [kind for kind, _ in kinds]


def test_a_chain_of_small_changes_is_not_one_group(bundle, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for step in range(30):
        image = draw_picture(1)
        image.paste(draw_picture(2).crop((0, 0, 96, 80)).resize((max(1, step * 3), 80)), (0, 0))
        image.save(folder / f"{step:02}.png")
    with Gallery.create(tmp_path / "gallery", bundle) as gallery, DecodePool(1, FOLDER_LIMITS) as pool:
        add_folder(gallery, bundle, folder, provider="cpu", workers=1)
        compute_duplicates(gallery, pool, min_score=0.95)
        groups = duplicate_groups(gallery)
        assert len(groups) > 1
        for group in groups:
            assert (gallery.embeddings(group) @ gallery.embeddings(group[:1])[0]).min() >= 0.95 - 1e-5


def test_many_copies_of_one_picture_are_one_group(bundle, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(90):  # more than are looked at first, each of other bytes
        draw_picture(5).save(folder / f"{number:02}.png", dpi=(number + 1, 72))
    with Gallery.create(tmp_path / "gallery", bundle) as gallery, DecodePool(1, FOLDER_LIMITS) as pool:
        add_folder(gallery, bundle, folder, provider="cpu", workers=1)
        assert len({item.sha256 for item in items_of(gallery)}) == 90
        compute_duplicates(gallery, pool)
        (group,) = describe_groups(gallery, duplicate_groups(gallery, kind="pixels"))
        assert (group.kind, len(group.members)) == ("pixels", 90)


def test_what_was_not_computed_names_the_command(filled):
    with Gallery.open(filled) as gallery:
        assert duplicate_groups(gallery, kind="bytes") == []
        with pytest.raises(NotComputedError, match="index duplicates drawn"):
            duplicate_groups(gallery)


def test_a_damaged_file_of_pairs_is_as_good_as_none(gallery):
    place = gallery.folder / "analyses" / "duplicates.npz"
    for damage in (b"", b"rubbish", place.read_bytes()[:100]):
        place.write_bytes(damage)
        with pytest.raises(NotComputedError):
            duplicate_groups(gallery)


def test_neighbours_of_all_items_are_those_of_plain_numpy(gallery, bundle, tmp_path):
    for number in range(40, 44):
        draw_picture(number).save(tmp_path / f"{number}.png")
    add_folder(gallery, bundle, tmp_path, provider="cpu", workers=1)  # fresh rows beside the index
    with gallery.changes() as changes:
        changes.remove_items([2, 5])
    segments = open_segments(gallery)
    ids = np.array([item.id for item in items_of(gallery)])
    vectors = gallery.embeddings(ids.tolist())
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    for block in all_neighbours(segments, 3):
        for number, neighbours, values in zip(block.ids, block.neighbours, block.scores, strict=True):
            expected = np.sort(scores[np.flatnonzero(ids == number)[0]])[::-1][:3]
            assert values == pytest.approx(expected, abs=1e-5)
            assert number not in neighbours
            assert set(neighbours.tolist()) <= set(ids.tolist())
    assert sum(len(block.ids) for block in all_neighbours(segments, 3)) == len(ids)


def test_a_difference_is_black_where_nothing_differs():
    one = np.asarray(draw_picture(1))
    other = one.copy()
    other[10:20, 10:20] ^= 8
    apart = difference(one, other)
    assert apart[10:20, 10:20].min() == 32
    apart[10:20, 10:20] = 0
    assert not apart.any()
    assert difference(one, np.asarray(draw_picture(1).resize((48, 40)))).shape == one.shape


def test_duplicates_are_listed_compared_and_judged_on_the_command_line(gallery, tmp_path):
    files = sorted((gallery.folder.parent).rglob("*.png"))
    ended = lookalike("index", "duplicates", gallery.folder, "--min-score", "0.999", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    assert "4 groups; 5 items could go. Nothing was deleted." in ended.stdout
    assert "keep (most pixels: 192 x 160)" in ended.stdout
    listed = tmp_path / "list.csv"
    ended = lookalike("index", "duplicates", gallery.folder, "--known", "-o", listed, "--fail-if-any", "--json", "-q")
    assert ended.returncode == 10
    assert json.loads(ended.stdout)["groups"] == 4
    with listed.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert [row["suggestion"] for row in rows].count("keep") == 4
    pair = ids_of(gallery, "02.png", "copies/near.jpg")
    ended = lookalike("index", "verdict", gallery.folder, "different", *pair)
    assert ended.returncode == 0, ended.stderr
    ended = lookalike("index", "duplicates", gallery.folder, "--known", "-o", tmp_path / "list.json", "--json", "-q")
    assert json.loads(ended.stdout)["groups"] == 3
    assert len(json.loads((tmp_path / "list.json").read_text())) == 7
    painted = tmp_path / "difference.png"
    ended = lookalike("index", "duplicates", gallery.folder, "--difference", *pair, "-o", painted)
    assert ended.returncode == 0, ended.stderr
    with Image.open(painted) as image:
        assert image.size == (96, 80)
    assert lookalike("index", "duplicates", gallery.folder, "-o", tmp_path / "x.txt").returncode == 2
    assert sorted((gallery.folder.parent).rglob("*.png")) == sorted([*files, painted])
