"""Frames become files that show what they should, at the pace that was asked for."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from search_server.morphing import (
    frame_times,
    render_gif,
    render_strip,
    render_webp,
    render_zip,
    scale,
    side_by_side,
)

GREYS = np.array([0, 80, 160, 240], np.uint8)
FRAMES = np.broadcast_to(GREYS[:, None, None, None], (4, 8, 8, 3))


@pytest.mark.parametrize("easing", ["linear", "ease-in", "ease-out", "ease-in-out"])
def test_every_pace_begins_at_the_first_picture_ends_at_the_second_and_never_turns_back(easing):
    times = frame_times(24, easing=easing)
    assert len(times) == 24
    assert (times[0], times[-1]) == (0, 1)
    assert (np.diff(times) > 0).all()


def test_easing_is_slow_where_its_name_says():
    first, last = np.diff(frame_times(24, easing="ease-in"))[[0, -1]]
    assert first < last
    first, last = np.diff(frame_times(24, easing="ease-out"))[[0, -1]]
    assert first > last
    steps = np.diff(frame_times(25, easing="ease-in-out"))
    assert steps[0] < steps[12] > steps[-1]


def test_every_leg_of_a_way_has_its_own_slow_start_and_end():
    times = frame_times(9, easing="ease-in-out", legs=2)
    np.testing.assert_allclose(times[:5], frame_times(5, easing="ease-in-out") / 2)
    np.testing.assert_allclose(times[4:], 0.5 + frame_times(5, easing="ease-in-out") / 2)


def test_there_and_back_shows_no_end_twice():
    assert frame_times(4, pingpong=True).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    assert frame_times(2, pingpong=True).tolist() == [0, 1]


@pytest.mark.parametrize(("render", "image_format"), [(render_webp, "WEBP"), (render_gif, "GIF")])
def test_an_animation_has_every_frame_at_its_size_and_pace_and_plays_for_ever(render, image_format):
    rendered = render(FRAMES, 32, fps=10)
    with Image.open(io.BytesIO(rendered.data)) as image:
        assert (image.format, image.size, image.n_frames) == (image_format, (32, 32), 4)
        assert image.info["loop"] == 0
        for number, grey in enumerate(GREYS):
            image.seek(number)
            image.load()
            assert image.info["duration"] == 100
            assert np.asarray(image.convert("L")).mean() == pytest.approx(grey, abs=4)


def test_a_strip_shows_the_frames_from_left_to_right():
    with Image.open(io.BytesIO(render_strip(FRAMES, 16).data)) as strip:
        pixels = np.asarray(strip)
    assert pixels.shape == (16, 64, 3)
    np.testing.assert_array_equal(pixels[8, 8::16, 0], GREYS)


def test_an_archive_has_a_numbered_picture_for_each_frame_and_is_the_same_each_time():
    rendered = render_zip(FRAMES, 16)
    with zipfile.ZipFile(io.BytesIO(rendered.data)) as archive:
        assert archive.namelist() == [f"frame-{number:03}.png" for number in range(4)]
        with Image.open(archive.open("frame-002.png")) as image:
            assert (image.size, image.getpixel((3, 3))) == ((16, 16), (160, 160, 160))
    assert render_zip(FRAMES, 16) == rendered


def test_a_frame_of_the_right_size_is_left_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(scale(frame, 8)), frame)
    assert side_by_side([scale(frame, 8), scale(frame, 8)]).size == (16, 8)
