"""Cleaning pictures: tiles whose seams do not show, and files that are never lost."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

from export.uses.denoise import Axis, clean_by_tiles, fade, mirrored
from export.uses.pictures import Model
from tests.conftest import draw_picture
from tests.export.uses_models import TILE, per_pixel_bundle, retold, use
from train.images import Pixels
from train.interruption import Interrupted, StopRequest


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return per_pixel_bundle(tmp_path_factory.mktemp("models") / "identity")


@pytest.fixture(scope="module")
def blurring(tmp_path_factory):
    return per_pixel_bundle(tmp_path_factory.mktemp("models") / "blurring", blur=5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three pictures of different sizes in a folder with another folder in it."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "inner").mkdir()
    draw_picture(1, 150, 70).save(folder / "wide.png")
    draw_picture(2, 20, 90).save(folder / "thin.png")
    draw_picture(3, 64, 64).save(folder / "inner" / "square.png")
    return folder


def pixels_of(path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# --- Tiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0.05, 0.25, 0.5])
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 200), (31, 5), (32, 32), (33, 32), (64, 64), (97, 41), (150, 301), (57, 56)]
)
def test_a_model_that_changes_nothing_gives_back_every_pixel_of_any_size(identity, size, overlap):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cleaned = clean_by_tiles(Model.open(identity, provider="cpu"), pixels, overlap=overlap)
    assert np.array_equal(cleaned, pixels)


def test_no_seam_shows_although_the_model_darkens_the_border_of_every_tile(blurring):
    model = Model.open(blurring, provider="cpu")
    grey = np.full((100, 130, 3), 200, np.uint8)
    alone = model.decode(model.encode(grey[None, :TILE, :TILE]))[0]
    assert int(alone.min()) < 100  # what a tile without overlap would show at its corners
    assert np.abs(clean_by_tiles(model, grey).astype(int) - 200).max() <= 1


def test_tiles_give_what_the_whole_picture_would_have_given(blurring):
    drawn = np.asarray(draw_picture(5, 140, 90))
    cleaned = clean_by_tiles(Model.open(blurring, provider="cpu"), drawn)
    padded = np.pad(drawn.astype(np.float64), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
    whole = windows.mean(axis=(-1, -2))
    assert np.abs(cleaned - whole).max() < 2  # of 255: what is rounded, in the model and here


@pytest.mark.parametrize("length", [1, 7, 32, 33, 500])
def test_tiles_cover_a_side_evenly_and_overlap_as_much_as_was_asked_for(length):
    axis = Axis.of(length, 32, 8)
    assert axis.starts[0] == 0
    assert axis.starts[-1] == axis.reach - 32
    assert all(later - earlier <= 32 - 8 for earlier, later in zip(axis.starts, axis.starts[1:], strict=False))
    inside = axis.total(fade(32, 8))[axis.margin : axis.margin + length]
    assert inside.min() > 0.5
    assert np.array_equal(axis.source[axis.margin : axis.margin + length], np.arange(length))


def test_the_border_is_mirrored_without_doubling_its_pixel():
    assert mirrored(3, np.arange(-3, 7)).tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1, 2][0:10]
    assert mirrored(1, np.arange(-2, 3)).tolist() == [0] * 5


def test_a_stop_is_heard_between_two_batches_of_tiles(identity):
    stop = StopRequest()
    stop.signal_number = signal.SIGINT
    with pytest.raises(Interrupted, match="kept"):
        clean_by_tiles(Model.open(identity, provider="cpu"), np.zeros((99, 99, 3), np.uint8), stop=stop, saved="kept")


# --- The command --------------------------------------------------------------------------------------------------


def test_pictures_are_cleaned_at_full_resolution_under_their_names(identity, photos, tmp_path):
    ended = use("denoise", photos, "-o", tmp_path / "clean", "--model", identity.folder, "--json")
    assert ended.returncode == 0, ended.stderr
    assert "trained to remove gaussian; full resolution, in tiles of 32 x 32 pixels" in ended.stderr
    assert "Cleaning: 3/3 pictures" in ended.stderr
    for name in ("wide.png", "thin.png", "inner/square.png"):
        assert np.array_equal(pixels_of(tmp_path / "clean" / name), pixels_of(photos / name))
    assert ended.record["pictures"] == 3
    assert len(ended.record["files"]) == 3


def test_a_turned_photo_comes_out_upright_and_nothing_of_its_metadata_is_kept(identity, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "where I live"
    draw_picture(1, 90, 40).save(tmp_path / "turned.png", exif=exif)
    assert use("denoise", tmp_path / "turned.png", "-o", tmp_path / "out", "--model", identity.folder).returncode == 0
    with Image.open(tmp_path / "out" / "turned.png") as image:
        assert image.size == (40, 90)
        assert not image.getexif()


def test_other_formats_are_written_on_request(identity, photos, tmp_path):
    for name in ("jpg", "webp"):
        ended = use("denoise", photos / "wide.png", "-o", tmp_path, "--format", name, "--model", identity.folder)
        assert ended.returncode == 0, ended.stderr
        with Image.open(tmp_path / f"wide.{name}") as image:
            assert (image.format, image.size) == ({"jpg": "JPEG", "webp": "WEBP"}[name], (150, 70))


def test_a_model_that_is_not_fully_convolutional_fits_pictures_to_its_square_and_says_so(identity, photos, tmp_path):
    fitted = retold(identity, tmp_path / "fitted", tileable=False)
    ended = use("denoise", photos, "-o", tmp_path / "out", "--model", fitted.folder)
    assert ended.returncode == 0, ended.stderr
    assert "not fully convolutional, so every picture is fitted to 32 x 32 pixels" in ended.stderr
    assert pixels_of(tmp_path / "out" / "wide.png").shape == (TILE, TILE, 3)


def test_a_model_that_was_not_trained_for_it_is_refused_with_the_remedy(identity, photos, tmp_path):
    plain = retold(identity, tmp_path / "plain", removes=())
    ended = use("denoise", photos, "-o", tmp_path / "out", "--model", plain.folder)
    assert ended.returncode == 2
    assert "--recipe lfw-denoise-512" in ended.stderr
    assert "--anyway" in ended.stderr
    assert not (tmp_path / "out").exists()
    assert use("denoise", photos, "-o", tmp_path / "out", "--model", plain.folder, "--anyway").returncode == 0


def test_an_earlier_result_is_written_over_only_with_force(identity, photos, tmp_path):
    words = ("denoise", photos, "-o", tmp_path, "--model", identity.folder)
    (tmp_path / "wide.png").write_bytes(b"mine")
    ended = use(*words)
    assert (ended.returncode, "wide.png is there already" in ended.stderr) == (2, True)
    assert (tmp_path / "wide.png").read_bytes() == b"mine"
    assert not (tmp_path / "thin.png").exists()
    skipped = use(*words, "--skip-existing", "--json")
    assert (skipped.record["skipped"], skipped.record["pictures"]) == (1, 2)
    assert (tmp_path / "wide.png").read_bytes() == b"mine"
    assert use(*words, "--force").returncode == 0
    assert pixels_of(tmp_path / "wide.png").shape == (70, 150, 3)
    again = use(*words, "--skip-existing")
    assert (again.returncode, "3 were there already" in again.stdout) == (0, True)


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_an_original_is_never_written_over_not_even_with_force(identity, tmp_path, link):
    (tmp_path / "in").mkdir()
    original = tmp_path / "in" / "a.png"
    draw_picture(1).save(original)
    before = original.read_bytes()
    output = tmp_path / "in"
    if link:
        output = tmp_path / "out"
        output.mkdir()
        link(original, output / "a.png")
    ended = use("denoise", original, "-o", output, "--model", identity.folder, "--force")
    assert (ended.returncode, "never written over" in ended.stderr) == (2, True)
    assert original.read_bytes() == before


def test_pictures_of_one_name_do_not_overwrite_each_other(identity, tmp_path):
    for number, name in enumerate(("one/a.png", "two/a.png", "one/a.jpg")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        draw_picture(number).save(tmp_path / name)
    files = [tmp_path / name for name in ("one/a.png", "two/a.png", "one/a.jpg")]
    ended = use("denoise", *files, "-o", tmp_path / "out", "--model", identity.folder)
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert np.array_equal(pixels_of(tmp_path / "out" / "a.png"), pixels_of(files[0]))


def test_one_bad_picture_is_reported_and_the_others_go_on(identity, photos, tmp_path):
    (tmp_path / "bad.png").write_bytes((photos / "wide.png").read_bytes()[:200])
    words = ("denoise", tmp_path / "bad.png", tmp_path / "gone.png", photos, "-o", tmp_path / "out")
    ended = use(*words, "--model", identity.folder, "--json")
    assert ended.returncode == 3
    assert "bad.png: " in ended.stderr
    assert "gone.png: There is no such file" in ended.stderr
    assert "2 of 5 pictures were rejected (1 corrupt, 1 file_missing)" in ended.stderr
    assert ended.record["pictures"] == 3
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3
    tolerant = use(*words, "--model", identity.folder, "--force", "--max-bad", "0.5")
    assert tolerant.returncode == 0, tolerant.stderr


def test_a_picture_for_which_the_model_gives_nan_is_one_bad_picture(photos, tmp_path):
    broken = per_pixel_bundle(tmp_path / "broken", nan_above=250)
    Image.new("RGB", (99, 50), "white").save(tmp_path / "white.png")
    ended = use(
        "denoise", tmp_path / "white.png", photos / "wide.png", "-o", tmp_path / "out", "--model", broken.folder
    )
    assert ended.returncode == 3
    assert "white.png: The model gives no finite code for it." in ended.stderr
    assert (tmp_path / "out" / "wide.png").is_file()


def test_nothing_to_clean_is_said_in_one_line(identity, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    ended = use("denoise", tmp_path / "empty", "-o", tmp_path / "out", "--model", identity.folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (4, 1), ended.stderr
    assert "has no images" in ended.stderr
    ended = use("denoise", tmp_path / "gone.png", "-o", tmp_path / "out", "--model", identity.folder)
    assert ended.returncode == 4
    assert "no picture could be used (1 file_missing)" in ended.stderr


def test_a_folder_that_cannot_be_made_is_said_in_one_line(identity, photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ended = use("denoise", photos, "-o", tmp_path / "file" / "out", "--model", identity.folder)
    assert ended.returncode == 6, ended.stderr
    assert "bug" not in ended.stderr
