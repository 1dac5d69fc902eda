"""Ways between two latents begin, end and turn as they should."""

import numpy as np
import pytest
import torch

from train.interpolation import interpolate, interpolate_along
from train.mixtures import on_the_way

A = np.array([3.0, 0, 0, 1], np.float32)
B = np.array([0, 5.0, 0, 2], np.float32)
TIMES = np.linspace(0, 1, 9)


@pytest.mark.parametrize("path", ["lerp", "slerp"])
@pytest.mark.parametrize("semantic_dims", [0, 1, 3, 4])
def test_a_way_begins_and_ends_exactly_at_its_ends(path, semantic_dims):
    way = interpolate(A, B, TIMES, path=path, semantic_dims=semantic_dims)
    assert way.dtype == np.float32
    assert way.shape == (9, 4)
    np.testing.assert_allclose(way[[0, -1]], [A, B], atol=1e-6)


def test_the_straight_way_is_the_mean_in_the_middle():
    np.testing.assert_allclose(interpolate(A, B, [0.5], path="lerp")[0], (A + B) / 2)


def test_the_way_on_the_sphere_turns_evenly_and_keeps_its_length():
    way = interpolate([2, 0, 0], [0, 0, 2], TIMES, path="slerp")
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 2, rtol=1e-6)
    angles = np.degrees(np.arctan2(way[:, 2], way[:, 0]))
    np.testing.assert_allclose(np.diff(angles), 90 / 8, rtol=1e-4)


def test_each_half_turns_on_its_own():
    halves = interpolate(A, B, TIMES, path="slerp", semantic_dims=3)
    np.testing.assert_allclose(halves[:, :3], interpolate(A[:3], B[:3], TIMES, path="slerp"), rtol=1e-6)
    np.testing.assert_allclose(halves[:, 3:], interpolate(A[3:], B[3:], TIMES, path="slerp"), rtol=1e-6)


@pytest.mark.parametrize("end", [A, -A, 2 * A, np.zeros(4, np.float32)], ids=["same", "opposite", "longer", "zero"])
def test_a_way_without_a_plane_to_turn_in_is_straight(end):
    np.testing.assert_allclose(
        interpolate(A, end, TIMES, path="slerp"), interpolate(A, end, TIMES, path="lerp"), atol=1e-6
    )


@pytest.mark.parametrize("path", ["lerp", "slerp"])
def test_a_way_past_several_latents_takes_as_long_for_each_leg_and_touches_all_of_them(path):
    stops = [A, B, 2 * A, -B]
    way = interpolate_along(stops, np.linspace(0, 1, 13), path=path)
    np.testing.assert_allclose(way[::4], stops, rtol=1e-5, atol=1e-6)
    for leg in range(3):
        expected = interpolate(stops[leg], stops[leg + 1], np.linspace(0, 1, 5), path=path)
        np.testing.assert_allclose(way[4 * leg : 4 * leg + 5], expected, rtol=1e-5, atol=1e-6)


def test_a_way_between_two_latents_is_one_leg():
    along = interpolate_along([A, B], TIMES, path="slerp", semantic_dims=2)
    np.testing.assert_allclose(along, interpolate(A, B, TIMES, path="slerp", semantic_dims=2), rtol=1e-6)


@pytest.mark.parametrize("semantic_dims", [0, 3])
def test_training_mixes_codes_on_the_way_that_morphs_take(semantic_dims):
    random = np.random.default_rng(0)
    first, last = random.normal(size=(2, 8, 10)).astype(np.float32)
    first[0], last[0] = last[1], last[1]  # the same
    first[2] = -last[2]  # opposite
    last[3] = 0
    shares = random.random((8, 1)).astype(np.float32)
    found = on_the_way(*(torch.from_numpy(each) for each in (first, last, shares)), semantic_dims)
    pairs = zip(first, last, shares, strict=True)
    expected = [interpolate(a, b, t, path="slerp", semantic_dims=semantic_dims)[0] for a, b, t in pairs]
    np.testing.assert_allclose(found, np.stack(expected), atol=2e-4)
