import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from train.views import VIEWS, WEAK, Views, colour_changes, crop, recolour

PLAIN = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "coloured": 0, "grey": 0, "solarised": 0}


@pytest.fixture(scope="module")
def images(drawn_pixels) -> torch.Tensor:
    return torch.from_numpy(drawn_pixels[:6]).permute(0, 3, 1, 2).float() / 255


def as_picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("enhance", "factors"),
    [(ImageEnhance.Brightness, (0.6, 1, 1)), (ImageEnhance.Contrast, (1, 0.5, 1)), (ImageEnhance.Color, (1, 1, 0.3))],
)
def test_brightness_contrast_and_saturation_are_those_of_pillow(images, enhance, factors):
    count = len(images)
    changes = colour_changes(*(torch.full((count,), float(factor)) for factor in factors), torch.zeros(count))
    ours = recolour(images, *changes)
    factor = next((each for each in factors if each != 1), 1)
    theirs = torch.stack([as_tensor(enhance(as_picture(image)).enhance(factor)) for image in images])
    assert float((ours - theirs).abs().max()) < 2.5 / 255  # Pillow rounds greys and pixels to bytes


def test_changes_one_after_the_other_are_one_matrix(images):
    count = len(images)
    one, zero = torch.ones(count), torch.zeros(count)
    small = 0.4 + 0.2 * images  # nothing is clipped between two changes
    bright, flat, pale, turn = 1.1 * one, 0.8 * one, 0.7 * one, 0.05 * one
    at_once = recolour(small, *colour_changes(bright, flat, pale, turn))
    step = recolour(small, *colour_changes(bright, one, one, zero))
    step = recolour(step, *colour_changes(one, flat, one, zero))
    step = recolour(step, *colour_changes(one, one, pale, zero))
    step = recolour(step, *colour_changes(one, one, one, turn))
    assert torch.allclose(at_once, step, atol=1e-5)


def test_a_whole_turn_of_the_hue_and_no_change_at_all_leave_an_image_as_it_is(images):
    one = torch.ones(len(images))
    for turn in (0.0, 1.0):
        assert torch.allclose(recolour(images, *colour_changes(one, one, one, turn * one)), images, atol=1e-4)


def test_half_a_turn_of_the_hue_makes_red_greenish_blue_and_leaves_grey_alone():
    red, grey = torch.tensor([0.8, 0.2, 0.2]), torch.tensor([0.5, 0.5, 0.5])
    image = torch.stack([red, grey], dim=1).reshape(1, 3, 1, 2)
    turned = recolour(image, *colour_changes(*(torch.ones(1) for _ in range(3)), torch.tensor([0.5])))
    assert turned[0, 0, 0, 0] < turned[0, 1, 0, 0]
    assert turned[0, 0, 0, 0] < turned[0, 2, 0, 0]
    assert torch.allclose(turned[0, :, 0, 1], grey, atol=1e-4)


def test_a_crop_of_the_whole_image_is_the_image_and_a_negative_width_mirrors_it(images):
    whole = torch.tensor([[0.5, 0.5, 1.0, 1.0]]).repeat(len(images), 1)
    assert torch.allclose(crop(images, whole), images, atol=1e-5)
    mirrored = whole * torch.tensor([1.0, 1.0, -1.0, 1.0])
    assert torch.allclose(crop(images, mirrored), images.flip(3), atol=1e-5)


def test_a_crop_of_a_quarter_is_that_quarter_enlarged():
    image = torch.rand(1, 3, 32, 32, generator=generator())
    ours = crop(image, torch.tensor([[0.25, 0.25, 0.5, 0.5]]))
    enlarged = torch.nn.functional.interpolate(image[:, :, :16, :16], size=32, mode="bilinear", align_corners=False)
    inner = slice(2, -2)  # at its border a crop sees the pixels beyond it
    assert torch.allclose(ours[..., inner, inner], enlarged[..., inner, inner], atol=1e-5)


def test_crops_are_as_large_as_asked_and_inside_the_image():
    views = Views(smallest_crop=0.3, **PLAIN)
    boxes = views._boxes(2000, generator(), mirror=True)
    across, down, width, height = boxes.unbind(1)
    area = width.abs() * height
    assert float(area.min()) >= 0.25 and float(area.max()) <= 1
    assert float((across - width.abs() / 2).min()) >= -1e-6 and float((across + width.abs() / 2).max()) <= 1 + 1e-6
    assert float((down - height / 2).min()) >= -1e-6 and float((down + height / 2).max()) <= 1 + 1e-6
    assert 0.45 < float((width < 0).float().mean()) < 0.55


@pytest.mark.parametrize("views", [*VIEWS.values(), WEAK])
def test_views_are_the_same_for_the_same_generator_and_stay_in_range(images, views):
    first, again = (views(images, generator(3), mirror=True) for _ in range(2))
    other = views(images, generator(4), mirror=True)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert float(first.min()) >= 0 and float(first.max()) <= 1


def test_shares_of_grey_and_solarised_views_are_what_was_asked_for():
    image = torch.tensor([0.9, 0.6, 0.2]).reshape(1, 3, 1, 1).expand(4000, 3, 4, 4)
    some_grey = Views(smallest_crop=1, **{**PLAIN, "grey": 0.3})(image, generator(), mirror=False)
    without_colour = (some_grey.amax(1) - some_grey.amin(1)).amax((1, 2)) < 1e-4
    assert abs(float(without_colour.float().mean()) - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 4000)
    some_turned = Views(smallest_crop=1, **{**PLAIN, "solarised": 0.3})(image, generator(), mirror=False)
    turned = some_turned[:, 0, 0, 0] < 0.5
    assert abs(float(turned.float().mean()) - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 4000)


def test_stronger_invariance_changes_colours_more(images):
    def change(views: Views) -> float:
        many = images.repeat(50, 1, 1, 1)
        uncropped = Views(**{**vars(views), "smallest_crop": 1.0, "aspect": 1.0, "solarised": 0.0})
        return float((uncropped(many, generator(), mirror=False) - many).square().mean())

    assert change(WEAK) < 1e-9
    assert change(VIEWS["copy"]) < change(VIEWS["balanced"]) < change(VIEWS["semantic"])
