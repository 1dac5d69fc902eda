"""A warm start: the trunk of one run is where another begins."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.onnx_export import export_run
from train.architectures.similarity import Similarity
from train.command import DECODERS
from train.data import Data
from train.errors import DamagedError, SettingsError
from train.progress import SILENT
from train.recipe import Recipe
from train.run import Run
from train.warm_start import TRUNK_FILE, WarmStart, estimate_norms, trunk_bytes

SHAPE = {"trunk_widths": (8, 12), "trunk_blocks": 1, "trunk_stride": 4}
QUICK = ["--dims", "16", "--image-size", "32", "--epochs", "1", "--precision", "fp32", "--threads", "1"]
QUICK += ["--set", "architecture.widths=[16,16]", "--set", "architecture.filters=16"]


def network_with_trunk():
    torch.manual_seed(1)
    network = Similarity(dims=12, widths=(16,), filters=8, **SHAPE).build(32, 3)
    for norm in network.semantic.trunk.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
    return network


def recipe_with_trunk() -> Recipe:
    return Recipe.read("similarity", {f"architecture.{key}": value for key, value in SHAPE.items()})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A bundle's folder with a trunk in it."""
    folder = tmp_path_factory.mktemp("models") / "photos"
    folder.mkdir()
    (folder / TRUNK_FILE).write_bytes(trunk_bytes(network_with_trunk(), recipe_with_trunk()))
    return folder


def train(folder: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", str(folder), "--name", "run", "--home", str(home), *QUICK, *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_trunk_comes_back_in_half_precision(model):
    kept, found = network_with_trunk().semantic.trunk, WarmStart.read((model / TRUNK_FILE).read_bytes(), "it").trunk()
    for (name, one), other in zip(kept.state_dict().items(), found.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("damage", ["short", "garbage", "other shape"])
def test_a_file_that_holds_no_trunk_is_refused(model, damage, tmp_path):
    content = (model / TRUNK_FILE).read_bytes()
    if damage == "short":
        content = content[: len(content) // 2]
    elif damage == "garbage":
        content = b"PK" + bytes(100)
    else:
        with np.load(model / TRUNK_FILE) as arrays:
            named = {key: arrays[key] for key in arrays.files}
        named["layers.0.weight"] = named["layers.0.weight"][:, :, :1]
        np.savez(tmp_path / "other.npz", **named)
        content = (tmp_path / "other.npz").read_bytes()
    with pytest.raises(DamagedError, match="no trunk to start from"):
        WarmStart.read(content, "photos")


def test_a_recipe_takes_the_shape_of_its_start_and_one_without_a_trunk_is_refused(model):
    start = WarmStart.read((model / TRUNK_FILE).read_bytes(), "photos")
    assert start.fit_recipe(Recipe.read("similarity")).architecture.trunk_widths == (8, 12)
    with pytest.raises(SettingsError, match="no trunk"):
        start.fit_recipe(Recipe.read("principal"))


def test_statistics_are_those_of_the_new_pictures():
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (40, 32, 32, 3), np.uint8)  # dark
    trunk, rows = network_with_trunk().semantic.trunk, np.arange(40)
    estimate_norms(trunk, Data(images, rows, rows, rows), 16, torch.device("cpu"))
    stem, norm = trunk.layers[0], trunk.layers[1]
    with torch.no_grad():
        expected = stem(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-2, atol=1e-3)
    assert not trunk.training


def test_a_few_pictures_keep_the_trunk_as_it_came_and_resume_with_it(model, drawn_folder, tmp_path):
    ended = train(drawn_folder, tmp_path, "--from", str(model))
    assert ended.returncode == 0, ended.stderr
    run = Run.open(tmp_path / "runs" / "run")
    trunk, start = run.load_network().semantic.trunk, run.start().trunk()
    weights, expected = trunk.layers[0].weight, start.layers[0].weight
    assert torch.equal(weights, expected)
    assert not torch.equal(trunk.layers[1].running_mean, start.layers[1].running_mean)
    assert run.plan.trunk_steps == 0
    again = train(drawn_folder, tmp_path, "--from", str(model))
    assert again.returncode == 0
    assert "trained already" in again.stderr
    other = train(drawn_folder, tmp_path)
    assert other.returncode == 2
    assert "--from" in other.stderr


def test_a_bundle_carries_the_trunk_and_a_compact_one_takes_half_the_room(model, drawn_folder, tmp_path):
    assert train(drawn_folder, tmp_path, "--from", str(model)).returncode == 0
    run = Run.open(tmp_path / "runs" / "run")
    whole = export_run(run, tmp_path / "models" / "whole", licence="", reporter=SILENT)
    compact = export_run(run, tmp_path / "models" / "compact", licence="", reporter=SILENT, compact=True)
    assert compact.variants == ("fp32",)
    assert compact.files["encoder.onnx"]["bytes"] < 0.75 * whole.files["encoder.onnx"]["bytes"]
    assert compact.facts.parity["fp32"]["embedding_cosine"] > 0.9999
    ended = train(drawn_folder, tmp_path, "--fresh", "--from", "compact")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "runs" / "run" / "run.json").read_text())["start"]["name"].endswith(TRUNK_FILE)


def test_a_start_that_is_nowhere_is_said_to_be(drawn_folder, tmp_path):
    ended = train(drawn_folder, tmp_path, "--from", "nobody")
    assert ended.returncode == 4
    assert "nobody" in ended.stderr


def test_pictures_that_differ_more_are_farther_apart_in_the_features_of_the_trunk():
    semantic = network_with_trunk().eval().semantic
    picture = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    same, near, far = (float(semantic.distance(picture + size * noise, picture)) for size in (0.0, 0.02, 0.2))
    assert same == 0
    assert 0 < near < far


def test_a_sharp_decoder_is_judged_by_features_and_needs_a_semantic_half(drawn_folder, tmp_path):
    ended = train(drawn_folder, tmp_path, "--decoder", "sharp")
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in (tmp_path / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("features" in line for line in lines if line["split"] == "train")
    judged = [line for line in lines if line["split"] == "validation"]
    least = min(judged, key=lambda line: line["mse"] + DECODERS["sharp"]["loss.features"] * line["features"])
    assert Run.open(tmp_path / "runs" / "run").result["best_step"] == least["step"]
    with pytest.raises(SettingsError, match="similarity"):
        Recipe.read("principal", {"loss.features": 0.1})


def test_pictures_that_are_all_alike_get_a_plain_refusal(tmp_path):
    folder = tmp_path / "same"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (40 + number, 40), (9, 9, 9)).save(folder / f"{number}.png")
    ended = train(folder, tmp_path)
    assert ended.returncode == 4
    assert "Traceback" not in ended.stderr
