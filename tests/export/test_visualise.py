import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.bundle import Bundle, write_bundle
from export.sessions import Decoder
from export.uses import study_command
from export.uses.visualise import CELL, REACH, code_pictures, principal_plane, traversal_sheet
from train.command_line import exit_code


def draw(*words: object) -> int:
    arguments = [str(word) for word in (*words, "--threads", 1, "--provider", "cpu", "--quiet")]
    return exit_code(study_command.visualise, ("visualise",), arguments)


def colours(path: Path) -> int:
    with Image.open(path) as picture:
        assert min(picture.size) > 100
        return len(picture.convert("RGB").getcolors(picture.width * picture.height))


def copied(bundle: Bundle, folder: Path, *, decoder: bool = True, **changes: object) -> Bundle:
    """The bundle, saying something else of itself."""
    parts = ("encoder", "decoder") if decoder else ("encoder",)
    graphs = {(part, "fp32"): bundle.graph(part) for part in parts}
    return write_bundle(folder, graphs, replace(bundle.facts, **changes), bundle.probes)


def test_sheets_are_drawn_and_listed(bundle, drawn_folder, tmp_path, capsys):
    assert draw(drawn_folder, "--model", bundle.folder, "-o", tmp_path / "sheets", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == ["reconstructions.png", "traversals.png", "map.png"]
    assert sorted(file.name for file in (tmp_path / "sheets").iterdir()) == sorted(said["files"])
    assert all(colours(tmp_path / "sheets" / name) > 50 for name in said["files"])
    assert said["images"] == 48
    assert 0 < said["mse"] < 0.1
    assert len(said["moved_dims"]) == 8
    assert "not variational" in said["left_out"][0]


def test_a_model_with_a_prior_paints_samples(bundle, drawn_folder, tmp_path):
    with_prior = copied(bundle, tmp_path / "model", latent={"mean": [], "deviation": [], "prior": "normal"})
    assert draw(drawn_folder, "--model", with_prior.folder, "-o", tmp_path / "one") == 0
    assert draw(drawn_folder, "--model", with_prior.folder, "-o", tmp_path / "other", "--seed", 1) == 0
    assert colours(tmp_path / "one" / "samples.png") > 50
    samples = [(tmp_path / name / "samples.png").read_bytes() for name in ("one", "other")]
    assert samples[0] != samples[1]


def test_a_model_without_decoder_still_gets_codes_and_map(bundle, drawn_folder, tmp_path, capsys):
    blind = copied(bundle, tmp_path / "model", decoder=False)
    assert draw(drawn_folder, "--model", blind.folder, "-o", tmp_path / "sheets") == 0
    assert {file.name for file in (tmp_path / "sheets").iterdir()} == {"reconstructions.png", "map.png"}
    assert "no decoder" in capsys.readouterr().out


def test_pictures_without_labels_are_shown_on_the_map_themselves(bundle, drawn_folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted((drawn_folder / "round").iterdir())[:12]:
        shutil.copy(file, flat)
    assert draw(flat, "--model", bundle.folder, "-o", tmp_path / "plain") == 0
    assert draw(drawn_folder, "--model", bundle.folder, "-o", tmp_path / "labelled") == 0
    assert draw(drawn_folder, "--model", bundle.folder, "-o", tmp_path / "thumbs", "--thumbnails") == 0
    assert colours(tmp_path / "plain" / "map.png") > colours(tmp_path / "labelled" / "map.png")
    assert colours(tmp_path / "thumbs" / "map.png") > colours(tmp_path / "labelled" / "map.png")


def test_a_folder_name_that_looks_like_a_formula_is_a_label_like_any_other(bundle, drawn_folder, tmp_path):
    pictures = tmp_path / "pictures"
    shutil.copytree(drawn_folder / "round", pictures / "$\\frac{1}$")
    shutil.copytree(drawn_folder / "square", pictures / "_hidden\n\udcff")
    assert draw(pictures, "--model", bundle.folder, "-o", tmp_path / "sheets") == 0


def test_a_sample_of_a_large_folder_is_said(bundle, drawn_folder, tmp_path, capsys):
    assert draw(drawn_folder, "--model", bundle.folder, "-o", tmp_path, "--limit", 10, "--pictures", 4) == 0
    assert capsys.readouterr().out.startswith("10 of 48 pictures, 2 labels")


def test_an_empty_folder_is_refused(bundle, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert draw(tmp_path / "empty", "--model", bundle.folder, "-o", tmp_path / "sheets") == 4
    assert "no images that can be used" in capsys.readouterr().err
    assert not (tmp_path / "sheets").exists()


def test_without_matplotlib_the_remedy_is_named(bundle, drawn_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw(drawn_folder, "--model", bundle.folder, "-o", tmp_path) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_flat_code_is_a_square_in_which_white_is_the_mean():
    mean, deviation = np.arange(6, dtype=np.float32) - 3, np.full(6, 2, np.float32)
    moved = mean + 3 * deviation * np.eye(6, dtype=np.float32)[1]
    drawn = code_pictures(np.stack([mean, moved]), (6,), mean, deviation)
    assert drawn.pixels.shape == (2, CELL, CELL, 3)
    assert drawn.pixels[0].min() > 240
    red = drawn.pixels[1, CELL // 3, CELL // 2].astype(int)  # first of two rows, second of three numbers
    assert red[0] > red[2] + 50
    assert "6 numbers" in drawn.caption


@pytest.mark.parametrize(
    ("shape", "told"), [((64, 8, 8), "all 64"), ((128, 16, 16), "49 of 128"), ((8, 100, 100), "4 of 8")]
)
def test_a_spatial_code_is_tiled_by_its_maps(shape, told):
    random = np.random.default_rng(0)
    codes = random.normal(size=(3, int(np.prod(shape)))).astype(np.float32)
    drawn = code_pictures(codes, shape, codes.mean(axis=0), codes.std(axis=0))
    assert drawn.pixels.shape == (3, CELL, CELL, 3)
    assert told in drawn.caption


def test_codes_that_are_never_negative_have_a_scale_from_nothing_upwards():
    codes = np.abs(np.random.default_rng(0).normal(size=(4, 9))).astype(np.float32)
    codes[0] = 0
    drawn = code_pictures(codes, (9,), codes.mean(axis=0), codes.std(axis=0))
    middle = drawn.pixels[0, CELL // 2, CELL // 2]
    assert middle.tolist() == [68, 1, 84]  # the dark end of viridis
    assert "dark 0" in drawn.caption


def test_traversals_move_one_dimension_at_a_time(bundle):
    painted: list[np.ndarray] = []

    class Watched(Decoder):
        def decode(self, latents):
            painted.append(latents.copy())
            return super().decode(latents)

    mean, deviation = np.zeros(bundle.latent_dims, np.float32), np.full(bundle.latent_dims, 0.1, np.float32)
    latent = np.full(bundle.latent_dims, 0.2, np.float32)
    picture = np.zeros((32, 32, 3), np.uint8)
    drawn = traversal_sheet(Watched.open(bundle, provider="cpu"), picture, latent, mean, deviation, np.array([5, 7]))
    assert drawn.dtype == np.uint8
    assert [np.flatnonzero((codes != codes[0]).any(axis=0)).tolist() for codes in painted] == [[5], [7], [5], [7]]
    assert painted[0][:, 5] == pytest.approx(REACH * 0.1)
    assert painted[2][:, 5] == pytest.approx(0.2 + REACH * 0.1)


@pytest.mark.parametrize(("count", "dims"), [(50, 7), (7, 50), (5, 1)])
def test_the_map_is_the_plane_of_the_singular_vectors(count, dims):
    codes = np.random.default_rng(1).normal(size=(count, dims)).astype(np.float32)
    places, shares = principal_plane(codes)
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    wanted = (left * values)[:, :2]
    assert np.abs(places[:, : wanted.shape[1]]) == pytest.approx(np.abs(wanted), abs=1e-6)
    expected = np.append(values**2 / (values**2).sum(), 0.0)[:2]
    assert shares == pytest.approx(expected, abs=1e-9)
