"""Pictures in and out, and the commands that show what a model makes of them: reconstruct, sample, morph."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import export.uses.command as commands
from export.sessions import Encoder
from export.uses import pictures as uses
from export.uses.pictures import Model, cell_of, greys, names_below, pictures_of, psnr, squared_errors
from export.uses.sample import draw_latents, spread_of
from tests.conftest import AVERAGED_SIZE, draw_picture
from tests.export.uses_models import per_pixel_bundle, retold, use
from train.errors import SettingsError


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return per_pixel_bundle(tmp_path_factory.mktemp("models") / "identity")


@pytest.fixture(scope="module")
def encoder_only(bundle, tmp_path_factory):
    return retold(bundle, tmp_path_factory.mktemp("models") / "encoder", without_decoder=True)


def mse_of(picture: Path) -> float:
    """What averaging 8 x 8 cells costs a picture, computed by hand."""
    with Image.open(picture) as image:
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        size = (AVERAGED_SIZE, AVERAGED_SIZE)
        square = image.convert("RGB").resize(
            size, Image.Resampling.BICUBIC, box=(left, top, left + side, top + side), reducing_gap=3
        )
    cells = np.asarray(square, np.float64).reshape(8, 4, 8, 4, 3)
    painted = np.rint(cells.mean(axis=(1, 3), keepdims=True))
    return float((((cells - painted) / 255) ** 2).mean())


# --- Pictures -----------------------------------------------------------------------------------------------------


def test_pictures_of_a_folder_come_in_order_with_labels_and_without_what_is_no_image(drawn_folder, tmp_path):
    found = pictures_of([drawn_folder])
    assert len(found) == 48
    assert [picture.name for picture in found] == sorted(
        str(file.relative_to(drawn_folder)) for file in drawn_folder.rglob("*.*")
    )
    assert {picture.label for picture in found} == {"round", "square"}
    (tmp_path / "notes.txt").write_text("no picture")
    draw_picture(1).save(tmp_path / "a.png")
    again = pictures_of([tmp_path, tmp_path / "b.png", tmp_path / "b.png"])
    assert [picture.name for picture in again] == ["a.png", "b.png"]
    assert again[0].label == ""


def test_results_below_the_originals_are_not_taken_for_originals(tmp_path):
    for name in ("a.png", "clean/a.png", "cleaner/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        draw_picture(1).save(tmp_path / name)
    found = pictures_of([tmp_path], output=tmp_path / "clean")
    assert [picture.name for picture in found] == ["a.png", "cleaner/b.png"]
    assert len(pictures_of([tmp_path], output=tmp_path)) == 3
    assert len(pictures_of([tmp_path / "clean"], output=tmp_path)) == 1


def test_names_of_results_are_kept_and_never_twice():
    names = ["a.jpg", "b/a.png", "a.png", "A.webp", "plain", ".hidden"]
    assert names_below(names, ".png") == ["a.png", "b/a.png", "a.png.png", "A.webp.png", "plain.png", ".hidden.png"]
    assert names_below(["a.png"] * 4, ".png") == ["a.png", "a.png.png", "a-2.png", "a-3.png"]


def test_psnr_is_that_of_the_mean_squared_error():
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0) == pytest.approx(100)


def test_a_model_of_greys_is_measured_on_greys(identity, tmp_path, drawn_pixels):
    grey = retold(identity, tmp_path / "grey", channels=1)
    shown = greys(drawn_pixels)
    by_pillow = np.asarray(Image.fromarray(drawn_pixels[0]).convert("L"), int)
    assert np.abs(shown[0] - by_pillow[..., None]).max() <= 1  # which rounds in another way
    assert Model.open(grey, provider="cpu").errors(drawn_pixels, shown).max() == 0
    assert squared_errors(drawn_pixels, shown).min() > 0


def test_small_pictures_are_enlarged_by_whole_numbers_on_sheets():
    assert [cell_of(size) for size in (1, 28, 32, 64, 96, 128, 512)] == [96, 112, 96, 128, 96, 128, 256]


def test_the_commands_know_the_defaults_of_the_library():
    from export.uses import denoise, morph, outliers

    defaults = {
        (command, each.name): each.default
        for command in ("reconstruct", "denoise", "outliers", "codes", "sample", "morph", "decode")
        for each in getattr(commands, command).params
    }
    assert defaults["reconstruct", "max_bad"] == uses.MAX_BAD
    assert defaults["denoise", "overlap"] == denoise.OVERLAP
    assert defaults["outliers", "threshold_quantile"] == outliers.QUANTILE
    assert defaults["morph", "frames"] == morph.FRAMES
    assert defaults["morph", "fps"] == morph.FPS


def test_no_use_of_a_bundle_loads_pytorch():
    script = (
        "import sys, export.uses.command\n"
        "light = {'numpy', 'PIL', 'onnxruntime'} & set(sys.modules)\n"
        "from export.uses import pictures, reconstruct, denoise, outliers, codes, sample, morph\n"
        "sys.exit('torch' in sys.modules or 'onnx' in sys.modules or bool(light))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


# --- reconstruct --------------------------------------------------------------------------------------------------


def test_a_sheet_shows_pictures_above_what_the_model_makes_of_them(bundle, drawn_folder, tmp_path):
    files = sorted(drawn_folder.rglob("*.png"))[:3]
    sheet = tmp_path / "sheet.png"
    ended = use("reconstruct", *files, "-o", sheet, "--model", bundle.folder, "--json")
    assert ended.returncode == 0, ended.stderr
    assert [row["file"] for row in ended.record["results"]] == [file.name for file in files]
    for row, file in zip(ended.record["results"], files, strict=True):
        assert row["mse"] == pytest.approx(mse_of(file), rel=0.02)
        assert row["psnr"] == pytest.approx(psnr(row["mse"]), abs=0.01)
    assert ended.record["mse"] == pytest.approx(np.mean([row["mse"] for row in ended.record["results"]]), rel=1e-4)
    with Image.open(sheet) as image:
        assert image.width > 3 * 96
        assert image.height > 2 * 96


def test_painted_pictures_go_into_a_folder_one_by_one(bundle, drawn_folder, tmp_path):
    ended = use("reconstruct", drawn_folder, "-o", f"{tmp_path / 'painted'}/", "--model", bundle.folder)
    assert ended.returncode == 0, ended.stderr
    assert "mean of 48" in ended.stdout
    files = sorted((tmp_path / "painted").rglob("*.png"))
    assert len(files) == 48
    with Image.open(files[0]) as image:
        assert image.size == (AVERAGED_SIZE, AVERAGED_SIZE)


def test_a_model_that_only_encodes_is_refused_in_one_line(encoder_only, drawn_folder, tmp_path):
    for words in (
        ("reconstruct", drawn_folder, "-o", tmp_path / "a.png"),
        ("denoise", drawn_folder, "-o", tmp_path / "out", "--anyway"),
        ("outliers", drawn_folder),
        ("codes", drawn_folder, "-o", tmp_path / "a.npz"),
        ("sample", "-o", tmp_path / "a.png"),
        ("morph", *sorted(drawn_folder.rglob("*.png"))[:2], "-o", tmp_path / "a.png"),
    ):
        ended = use(*words, "--model", encoder_only.folder)
        assert (ended.returncode, ended.stderr.count("\n")) == (7, 1), ended.stderr
        assert "only encodes" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sheet.tiff", "sheet.bmp"])
def test_a_sheet_of_another_format_is_refused(bundle, drawn_folder, tmp_path, name):
    ended = use("reconstruct", drawn_folder, "-o", tmp_path / name, "--model", bundle.folder)
    assert ended.returncode == 2
    assert ".png, .jpg, .jpeg, .webp" in ended.stderr


def test_a_sheet_is_not_written_over_a_picture(bundle, tmp_path):
    original = tmp_path / "a.png"
    draw_picture(1).save(original)
    before = original.read_bytes()
    ended = use("reconstruct", original, "-o", original, "--model", bundle.folder, "--force")
    assert (ended.returncode, "never written over" in ended.stderr) == (2, True)
    assert original.read_bytes() == before


def test_a_sheet_holds_only_so_many(bundle, drawn_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("export.uses.reconstruct.MOST_ON_A_SHEET", 10)
    ended = use("reconstruct", drawn_folder, "-o", tmp_path / "a.png", "--model", bundle.folder)
    assert (ended.returncode, "give a folder" in ended.stderr) == (2, True)


def test_the_only_model_of_the_workspace_needs_no_name(bundle, drawn_folder, tmp_path):
    picture = next(drawn_folder.rglob("*.png"))
    words = ("reconstruct", picture, "--home", tmp_path)
    none = use(*words, "-o", tmp_path / "a.png", "--model", "nobody")
    assert (none.returncode, "no model 'nobody'" in none.stderr) == (4, True)
    retold(bundle, tmp_path / "models" / "one")
    assert use(*words, "-o", tmp_path / "a.png").returncode == 0
    retold(bundle, tmp_path / "models" / "two")
    several = use(*words, "-o", tmp_path / "b.png")
    assert (several.returncode, "one, two" in several.stderr) == (2, True)


def test_a_name_with_control_codes_stays_one_harmless_line(bundle, tmp_path):
    evil = tmp_path / os.fsdecode(b"a\x1b[31m\n\xff.png")
    draw_picture(1).save(evil, "PNG")
    ended = use("reconstruct", evil, "-o", f"{tmp_path / 'out'}/", "--model", bundle.folder)
    assert ended.returncode == 0, ended.stderr
    assert "a\\x1b[31m\\n\\xff.png" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


# --- sample -------------------------------------------------------------------------------------------------------


def test_samples_of_a_variational_model_come_from_its_prior(bundle, tmp_path):
    variational = retold(bundle, tmp_path / "variational", latent={"prior": "normal", "mean": [], "deviation": []})
    drawn = draw_latents(np.random.default_rng(1), 2000, *spread_of(variational))
    assert drawn.shape == (2000, bundle.latent_dims)
    assert abs(drawn.mean()) < 0.01
    assert drawn.std() == pytest.approx(1, abs=0.01)
    ended = use("sample", "-o", tmp_path / "sheet.png", "--model", variational.folder, "--count", 20)
    assert ended.returncode == 0, ended.stderr
    assert "not trained" not in ended.stdout + ended.stderr


def test_samples_of_another_model_are_drawn_as_its_codes_lie_and_it_is_said(bundle, tmp_path):
    mean, deviation = np.linspace(-0.4, 0.4, bundle.latent_dims), np.linspace(0.01, 0.2, bundle.latent_dims)
    plain = retold(bundle, tmp_path / "plain", latent={"prior": "", "mean": list(mean), "deviation": list(deviation)})
    drawn = draw_latents(np.random.default_rng(0), 4000, *spread_of(plain))
    assert np.abs(drawn.mean(axis=0) - mean).max() < 0.02
    assert np.abs(drawn.std(axis=0) - deviation).max() < 0.02
    ended = use("sample", "-o", tmp_path / "sheet.png", "--model", plain.folder, "--count", 9, "--json")
    assert ended.returncode == 0, ended.stderr
    assert "was not trained to paint codes drawn by chance" in ended.stderr
    assert ended.record["trained_for_it"] is False


@pytest.mark.parametrize("latent", [{}, {"mean": [0.1], "deviation": [1]}, {"mean": "x"}, {"mean": [[1], [2, 3]]}])
def test_a_model_that_does_not_say_how_its_codes_lie_is_refused(bundle, tmp_path, latent):
    with pytest.raises(SettingsError, match="use a variational model"):
        spread_of(retold(bundle, tmp_path / "silent", latent=latent))


def test_the_same_seed_gives_the_same_pictures(bundle, tmp_path):
    model = retold(bundle, tmp_path / "model", latent={"prior": "normal"})
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        ended = use("sample", "-o", f"{tmp_path / name}/", "--model", model.folder, "--count", 5, "--seed", seed)
        assert ended.returncode == 0, ended.stderr
    a, b, c = ([file.read_bytes() for file in sorted((tmp_path / name).iterdir())] for name in "abc")
    assert len(a) == 5
    assert a == b
    assert a != c
    again = use("sample", "-o", tmp_path / "a", "--model", model.folder, "--count", 5)
    assert (again.returncode, "--force" in again.stderr) == (2, True)


# --- morph --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(drawn_folder):
    return sorted(drawn_folder.rglob("*.png"))[:2]


def test_a_strip_has_the_pictures_themselves_at_both_ends(identity, two, tmp_path):
    strip = tmp_path / "strip.png"
    ended = use("morph", *two, "-o", strip, "--model", identity.folder, "--frames", 3, "--path", "lerp")
    assert ended.returncode == 0, ended.stderr
    assert "3 frames" in ended.stdout
    with Image.open(strip) as image:
        pixels = np.asarray(image.convert("RGB"))
    cells = [pixels[8 : 8 + 90, left + 2 : left + 92] for left in range(6, 6 + 5 * 102, 102)]
    # This model's code is the picture: its ends are painted as they are, and between them is their mean.
    assert np.array_equal(cells[0], cells[1])
    assert np.array_equal(cells[3], cells[4])
    middle = (cells[0].astype(float) + cells[4]) / 2
    assert np.abs(cells[2] - middle).max() <= 1


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_an_animation_goes_there_and_back_for_ever(identity, two, tmp_path, suffix):
    file = tmp_path / f"morph.{suffix}"
    ended = use("morph", *two, "-o", file, "--model", identity.folder, "--frames", 5, "--fps", 10)
    assert ended.returncode == 0, ended.stderr
    with Image.open(file) as image:
        assert (image.n_frames, image.size) == (8, (96, 96))
        assert image.info["loop"] == 0
        image.load()
        assert image.info["duration"] == 100


def test_the_arc_is_longer_than_the_line(bundle, two, tmp_path):
    for way in ("slerp", "lerp"):
        assert (
            use("morph", *two, "-o", tmp_path / f"{way}.png", "--path", way, "--model", bundle.folder).returncode == 0
        )
    assert (tmp_path / "slerp.png").read_bytes() != (tmp_path / "lerp.png").read_bytes()


def test_a_picture_that_cannot_be_used_is_named(bundle, two, tmp_path):
    ended = use("morph", two[0], tmp_path / "gone.png", "-o", tmp_path / "a.png", "--model", bundle.folder)
    assert ended.returncode == 4
    assert "gone.png cannot be used: There is no such file" in ended.stderr
    ended = use("morph", *two, "-o", tmp_path / "a.mp4", "--model", bundle.folder)
    assert (ended.returncode, ".png, .webp, .gif" in ended.stderr) == (2, True)


def test_the_encoder_of_the_test_model_paints_what_it_is_shown(identity, drawn_pixels):
    latents = Encoder.open(identity, provider="cpu").encode(drawn_pixels).latents
    assert np.array_equal(Model.open(identity, provider="cpu").decode(latents), drawn_pixels)
