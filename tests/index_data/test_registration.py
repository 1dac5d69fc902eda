"""Laying pictures over each other: what was done to a copy is told, and other pictures do not pass for it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from index_data.registration import Registration, register
from index_data.same_picture import is_same, same_first
from index_data.search_lists import lying_words
from index_data.template_matching import Outline
from tests.conftest import draw_picture

WIDTH, HEIGHT = 192, 128


def outline(image: Image.Image) -> Outline:
    return Outline.of(np.asarray(image.convert("RGB")))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [draw_picture(number, WIDTH, HEIGHT) for number in range(12)]


def laid(copy: Image.Image, original: Image.Image) -> Registration:
    (found,) = register(outline(copy), [outline(original)])
    assert found is not None
    return found


def written_on(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).text((20, 50), "SAMPLE", fill="white", stroke_width=2, stroke_fill="black", font_size=30)
    return copy


CHANGES = {
    "the same": lambda image: image,
    "grey": ImageOps.grayscale,
    "pale": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "small": lambda image: image.resize((48, 32)),
    "written on": written_on,
    "squeezed": lambda image: image.resize((128, 128)),
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.rotate(4, fillcolor="white"),
    "on its side": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cropped": lambda image: image.crop((30, 20, 162, 108)),
    "framed": lambda image: ImageOps.expand(image, 30, "white"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_known_and_comes_before_all_others(pictures, change):
    others = [outline(each) for each in pictures]
    for number in range(4):
        (first, same), *_ = same_first(outline(CHANGES[change](pictures[number])), list(range(len(others))), others)
        assert first == number
        assert same is not None


def test_different_pictures_are_not_the_same(pictures):
    others = [outline(each) for each in pictures]
    for number, one in enumerate(others):
        found = register(one, others)
        assert [other for other, lying in enumerate(found) if lying is not None and is_same(lying)] == [number]


@pytest.mark.parametrize("number", range(4))
def test_a_crop_says_which_part_it_is(pictures, number):
    found = laid(pictures[number].crop((48, 32, 160, 112)), pictures[number])
    expected = [(0.25, 0.25), (0.8333, 0.25), (0.8333, 0.875), (0.25, 0.875)]
    assert np.abs(np.array(found.corners) - expected).max() < 0.05
    assert found.shown == pytest.approx(0.5833 * 0.625, rel=0.1)
    assert not found.mirrored
    assert abs(found.turned) < 3


@pytest.mark.parametrize("degrees", [-9, -4, 3, 8])
def test_a_turn_says_which_way_and_how_far(pictures, degrees):
    found = laid(pictures[1].rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white"), pictures[1])
    assert found.turned == pytest.approx(degrees, abs=1)


def test_a_mirrored_part_says_both(pictures):
    found = laid(ImageOps.mirror(pictures[2].crop((0, 0, 144, 96))), pictures[2])
    assert found.mirrored
    assert found.shown == pytest.approx(0.5625, rel=0.1)
    assert found.corners[0] == pytest.approx((0.75, 0), abs=0.03)  # the copy's left is the picture's right
    assert lying_words(**found.to_json()).startswith("mirrored, 5")


def test_the_whole_in_a_frame_is_not_called_a_part(pictures):
    found = laid(ImageOps.expand(pictures[3], (40, 10), "grey"), pictures[3])
    assert found.shown == 1
    assert lying_words(**found.to_json()) == ""


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (2000, 40)])
def test_odd_sizes_are_laid_over_without_harm(pictures, size):
    odd = outline(pictures[0].resize(size))
    everything = [odd, *(outline(each) for each in pictures[:3])]
    for one in everything:
        for found in register(one, everything):
            assert found is None or 0 <= found.agreement <= 1


def test_pictures_of_one_colour_are_nobodys_copies(pictures):
    plain = [outline(Image.new("RGB", (64, 48), colour)) for colour in ("white", "black", "#808080")]
    hits = list(range(len(plain) + 3))
    others = [*plain, *(outline(each) for each in pictures[:3])]
    for one in plain:
        assert [same for _, same in same_first(one, hits, others)] == [None] * len(hits)


def test_nothing_is_laid_over_nothing(pictures):
    assert register(outline(pictures[0]), []) == []
