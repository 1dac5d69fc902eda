"""What is done to pictures is the same at every call, and does what its name says."""

import numpy as np
import pytest
from PIL import Image

from index_data.evaluation.transforms import DRIFTING, FINDING, STRONG, UNTOUCHED
from tests.conftest import draw_picture

EVERY = {each.name: each for each in (UNTOUCHED, *FINDING, *STRONG, *DRIFTING)}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return draw_picture(3, 96, 80)


def distance(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other.resize(one.size), float)).mean())


@pytest.mark.parametrize("name", EVERY)
def test_a_transform_is_the_same_every_time_and_leaves_the_picture_alone(name, picture):
    before = picture.tobytes()
    once, again = (EVERY[name].apply(picture, 7, 1) for _ in range(2))
    assert once.tobytes() == again.tobytes()
    assert once.mode == "RGB"
    assert picture.tobytes() == before


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (16, 16)])
@pytest.mark.parametrize("name", EVERY)
def test_no_picture_is_too_small(name, size):
    assert min(EVERY[name].apply(Image.new("RGB", size, "red"), 0, 0).size) >= 1


def test_every_kind_comes_in_three_severities():
    kinds = {each.kind for each in FINDING}
    for kind in kinds:
        assert [each.severity for each in FINDING if each.kind == kind] == [1, 2, 3]
    assert len(kinds) == 10


def test_the_stronger_ones_change_more(picture):
    for kind in ("JPEG", "less colour", "brightness", "contrast", "blur", "lettering", "rotation"):
        moved = [distance(picture, each.apply(picture, 0, 0)) for each in FINDING if each.kind == kind]
        assert moved == sorted(moved) and moved[0] < moved[2], kind


def test_a_crop_keeps_its_share_of_the_area_and_lies_elsewhere_in_another_picture(picture):
    half = EVERY["crop 50 %"]
    sizes = {half.apply(picture, number, 0).size for number in range(5)}
    assert sizes == {(68, 57)}
    assert len({half.apply(picture, number, 0).tobytes() for number in range(5)}) == 5


def test_mirroring_twice_changes_nothing(picture):
    mirror = EVERY["mirror"]
    assert mirror.apply(mirror.apply(picture, 0, 0), 0, 0).tobytes() == picture.tobytes()


def test_a_thumbnail_is_never_smaller_than_the_limit():
    assert EVERY["size 1/8"].apply(Image.new("RGB", (400, 320)), 0, 0).size == (50, 40)
    assert EVERY["size 1/8"].apply(Image.new("RGB", (32, 64)), 0, 0).size == (16, 32)


def test_grey_has_no_colour(picture):
    pixels = np.asarray(EVERY["grey"].apply(picture, 0, 0))
    assert (pixels.max(axis=2) == pixels.min(axis=2)).all()
