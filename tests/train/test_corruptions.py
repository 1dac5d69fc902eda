import pytest
import torch

from train.corruptions import CORRUPTIONS, DAMAGES, Boxes, Corruption, Dropout, Gaussian, Text, damage
from train.errors import SettingsError
from train.recipe import Recipe

SIDE = 64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 16, side: int = SIDE) -> torch.Tensor:
    """Pictures of one colour each, which nothing has that is drawn on them."""
    return torch.rand(n, 3, 1, 1, generator=seeded(7)).expand(n, 3, side, side).contiguous()


def changed(x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Where a picture is not what it was, (n, h, w)."""
    return (seen != x).any(1)


@pytest.fixture(params=[*(kind() for kind in CORRUPTIONS.values()), Text(words="Hot-Tube")], ids=lambda each: each.kind)
def corruption(request) -> Corruption:
    return request.param


def test_a_corruption_follows_from_its_generator_and_leaves_its_input_as_it_was(corruption):
    x = pictures()
    before = x.clone()
    first, second = corruption(x, seeded()), corruption(x, seeded())
    assert torch.equal(first, second)
    assert torch.equal(x, before)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert changed(x, first).any(-1).any(-1).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_picture_is_corrupted_in_another_way_at_every_call(kind):
    x, random, corruption = pictures(1).expand(8, -1, -1, -1), seeded(), CORRUPTIONS[kind]()
    both = torch.cat([corruption(x, random), corruption(x, random)])
    assert len({picture.numpy().tobytes() for picture in both}) == 16


def test_noise_has_the_deviation_asked_for():
    noise = Gaussian(sigma=0.2)(pictures(), seeded()) - pictures()
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)


def test_dropout_blackens_the_share_asked_for_in_all_channels():
    seen = Dropout(share=0.3)(pictures(), seeded())
    black = (seen == 0).all(1)
    assert float(black.float().mean()) == pytest.approx(0.3, rel=0.05)
    assert torch.equal(black, (seen == 0).any(1))


def test_a_box_is_a_rectangle_of_the_size_asked_for():
    x = pictures()
    seen = Boxes(count=1, smallest=0.25, largest=0.5, colour="grey")(x, seeded())
    for hidden, picture in zip(changed(x, seen), seen, strict=True):
        rows, columns = hidden.any(1), hidden.any(0)
        assert torch.equal(hidden, rows[:, None] & columns[None])
        assert SIDE * 0.25 <= int(rows.sum()) <= SIDE * 0.5
        assert SIDE * 0.25 <= int(columns.sum()) <= SIDE * 0.5
        assert (picture[:, hidden] == 0.5).all()


@pytest.mark.parametrize("kind", [Boxes, Text])
def test_what_hides_a_picture_has_colours_of_pictures(kind):
    seen = kind()(torch.rand(16, 3, SIDE, SIDE, generator=seeded(1)), seeded())
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 1


@pytest.mark.parametrize("side", [64, 128, 256])
def test_random_words_cover_the_share_asked_for(side):
    white, black = torch.ones(64, 3, side, side), torch.zeros(64, 3, side, side)
    text = Text(smallest_opacity=1.0)
    written = 1 - (text(white, seeded()) - text(black, seeded()))[:, 0]
    share = (written > 0.1).float().mean((1, 2))  # less is the soft rim of a letter
    assert float(share.min()) >= 0.03 * 0.9
    assert float(share.max()) <= 0.10 * 1.15
    assert float(share.std()) > 0.01


def test_the_middle_of_letters_is_at_least_half_opaque():
    white, black = torch.ones(32, 3, 128, 128), torch.zeros(32, 3, 128, 128)
    opacity = 1 - (Text()(white, seeded()) - Text()(black, seeded()))[:, 0]
    densest = opacity.amax((1, 2))
    assert float(densest.min()) >= 0.5 - 1e-6
    assert float(densest.max()) > 0.9


def test_a_fixed_text_is_the_same_on_every_picture():
    x = pictures(4, 128)
    drawn = changed(x, Text(words="Hot-Tube")(x, seeded()))
    assert (drawn == drawn[0]).all()
    columns = drawn[0].any(0).nonzero()
    assert float(columns.max() - columns.min()) / 128 == pytest.approx(2 / 3, abs=0.05)
    assert torch.equal(drawn, changed(x, Text(words="Hot-Tube")(x, seeded(1))))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Gaussian, {"sigma": 0}, "sigma is 0"),
        (Dropout, {"share": 1}, "share is 1"),
        (Boxes, {"count": 0}, "count is 0"),
        (Boxes, {"smallest": 0.5, "largest": 0.2}, "smallest is 0.5 and largest 0.2"),
        (Text, {"smallest_cover": 0}, "smallest_cover is 0"),
        (Text, {"smallest_opacity": 0.9, "largest_opacity": 0.8}, "smallest_opacity is 0.9 and largest_opacity 0.8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, settings, message):
    with pytest.raises(SettingsError, match=message):
        kind(**settings)


def test_noise_on_shades_of_grey_keeps_its_deviation():
    recipe = Recipe.read("mnist-64", {"corruption.kind": "gaussian", "corruption.sigma": 0.3})
    grey = torch.full((8, 3, 28, 28), 0.5)
    seen = recipe.build().see(recipe.corruption[0](grey, torch.Generator().manual_seed(0)))
    assert float(seen.std()) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(("share", "damaged"), [(0.25, 4), (0.0, 0), (1.0, 16), (0.01, 0)])
def test_a_share_of_the_batch_is_damaged_at_its_end_and_the_rest_stays(share, damaged):
    x = pictures()
    seen = damage(x, share, seeded())
    assert changed(x, seen).any(-1).any(-1).tolist() == [False] * (16 - damaged) + [True] * damaged
    assert torch.equal(x, pictures())
    assert torch.equal(seen, damage(x, share, seeded()))


def test_every_kind_of_damage_is_met_and_each_picture_has_one():
    x = pictures(60)
    share_changed = changed(x, damage(x, 1.0, seeded())).float().mean((1, 2))
    noisy, hidden = share_changed > 0.99, (share_changed > 0.01) & (share_changed < 0.2)
    assert 10 < int(noisy.sum()) < 30
    assert int(noisy.sum()) + int(hidden.sum()) == 60
    assert {each.kind for each in DAMAGES} == {"gaussian", "text", "boxes"}


def test_a_recipe_that_corrupts_every_picture_denoises_no_share_beside_it():
    with pytest.raises(SettingsError, match=r"training.denoising is 0.25.*\(gaussian\).*corruption.kind=none"):
        Recipe.read("lfw-denoise-512", {"training.denoising": 0.25})
    changed = {"training.denoising": 0.25, "corruption.kind": "none"}
    assert Recipe.read("lfw-denoise-512", changed).training.denoising == 0.25


def test_where_grey_is_seen_damage_is_grey_noise_too():
    damages = Recipe.read("mnist-64", {"training.denoising": 0.5}).damages
    assert [each.together for each in damages if isinstance(each, Gaussian)] == [True]


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(SettingsError, match=r"training\.denoising"):
        Recipe.read("similarity", {"training.denoising": share})
