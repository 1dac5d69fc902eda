"""Hits that are the same picture come first, and each says how the query lies on it."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from index_data.gallery import Gallery
from index_data.same_picture import LOOKED_AT, Outlines, outline_of, same_first
from index_data.template_matching import Outline
from tests.conftest import draw_picture, encoded
from tests.index_data.conftest import items_of
from tests.index_data.test_commands import lookalike
from train.decoding import DecodePool
from train.errors import ImageError
from train.images import FOLDER_LIMITS


@pytest.fixture(scope="module")
def pool():
    with DecodePool(1, FOLDER_LIMITS) as running:
        yield running


def outline(image: Image.Image) -> Outline:
    return Outline.of(np.asarray(image.convert("RGB")))


def test_the_same_picture_comes_first_and_all_others_stay_in_their_order():
    pictures = [draw_picture(number, 160, 120) for number in range(8)]
    copy = ImageOps.mirror(pictures[5].crop((20, 10, 150, 108)))
    found = same_first(outline(copy), list("abcdefgh"), [outline(each) for each in pictures])
    assert "".join(hit for hit, _ in found) == "fabcdegh"
    assert [same is not None for _, same in found] == [True] + [False] * 7
    assert found[0][1].mirrored


def test_hits_without_an_outline_are_passed_over():
    pictures = [draw_picture(number, 160, 120) for number in range(3)]
    outlines = [None, outline(pictures[1]), None]
    found = same_first(outline(pictures[1]), ["a", "b", "c", "behind"], outlines)
    assert [hit for hit, _ in found] == ["b", "a", "c", "behind"]


def test_outlines_come_from_thumbnails_and_are_kept(filled, pool, tmp_path):
    with Gallery.open(filled) as gallery:
        contents = [item.sha256 for item in items_of(gallery)][:5]
        outlines = Outlines(pool, kept=3)
        first = outlines.of(gallery, contents)
        assert all(first)
        assert outlines.of(gallery, contents[2:]) == first[2:]  # the same objects: they were kept
        again = outlines.of(gallery, [contents[0], "0" * 64])
        assert again[1] is None
        assert again[0] is not first[0]  # read anew: it was too long ago
        assert np.array_equal(again[0].patterns, first[0].patterns)


def test_a_part_of_a_query_is_laid_over_by_itself(pool):
    image = draw_picture(3, 200, 100)
    data = encoded(image)
    part = outline_of(data, pool, (0.5, 0.0, 0.5, 1.0))
    assert part.image.size[0] == part.image.size[1]
    (found,) = same_first(part, ["hit"], [outline(image)])
    assert found[1].corners[0] == pytest.approx((0.5, 0), abs=0.03)
    with pytest.raises(ImageError):
        outline_of(b"no picture", pool)


def test_the_command_says_how_the_same_picture_was_changed(filled, drawn_folder, tmp_path):
    original = drawn_folder / "round" / "picture-05.png"
    with Image.open(original) as image:
        ImageOps.mirror(image).crop((10, 5, 90, 72)).save(tmp_path / "copy.png")
    answer = json.loads(
        lookalike("search", filled, tmp_path / "copy.png", "--same-picture", "-k", "3", "--json").stdout
    )
    first, *others = answer["results"][0]["hits"]
    assert first["file"] == str(original)
    assert first["same_picture"]["mirrored"]
    assert first["same_picture"]["shown"] == pytest.approx(80 * 67 / 96 / 80, rel=0.1)
    assert [hit["same_picture"] for hit in others] == [None, None]
    text = lookalike("search", filled, tmp_path / "copy.png", "--same-picture", "-k", "1").stdout
    assert "same picture, mirrored, 7" in text
    lookalike("search", filled, tmp_path / "copy.png", "--same-picture", "--out", tmp_path / "hits.csv")
    assert '"mirrored, 7' in (tmp_path / "hits.csv").read_text().splitlines()[1]


def test_the_command_lays_one_image_over_hits_not_several(filled, drawn_folder):
    image = drawn_folder / "round" / "picture-05.png"
    refused = lookalike("search", filled, "--plus", image, "1", "--same-picture")
    assert refused.returncode != 0
    assert "--same-picture is for one image" in refused.stderr


def test_photos_that_look_alike_are_not_called_the_same(corel_photos):
    names = sorted((corel_photos / "flowers").glob("*.jpg"))[:LOOKED_AT]
    photos = [Image.open(name).convert("RGB") for name in names]
    outlines = [outline(each) for each in photos]
    for number in (0, 7, 19):
        width, height = photos[number].size
        copy = photos[number].crop((width // 5, height // 6, width * 9 // 10, height * 9 // 10)).convert("L")
        found = same_first(outline(copy), list(range(len(photos))), outlines)
        assert [hit for hit, same in found if same] == [number]
        assert found[0][0] == number
