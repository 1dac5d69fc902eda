"""A warm start brings a decoder that already paints, where it fits and paints the new pictures better."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.bundle import Bundle
from export.onnx_export import export_run
from train.errors import DamagedError
from train.progress import SILENT
from train.recipe import Recipe
from train.run import Run
from train.warm_start import TRUNK_FILE, WarmStart, trunk_bytes
from train.workspace import STARTER, Workspace

SHAPE = ["--set", "architecture.widths=[16,32]", "--set", "architecture.filters=16"]
SHAPE += ["--set", "architecture.trunk_widths=[8,12]", "--set", "architecture.refine=8"]
QUICK = ["--image-size", "32", "--mirror", "yes", "--precision", "fp32", "--threads", "1"]


def train(folder: Path, home: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", str(folder), "--name", name, "--home", str(home), *QUICK, *words]
    return subprocess.run(command, capture_output=True, text=True)


def draw(folder: Path, numbers: range) -> Path:
    """Pictures of discs on slopes: alike enough for one model to paint them all."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:32, 0:32] / 32
    for number in numbers:
        random = np.random.default_rng(number)
        (left, top), radius = random.uniform(0.3, 0.7, 2), random.uniform(0.1, 0.3)
        slope = random.uniform(-1, 1, 3) * x[..., None] + random.uniform(-1, 1, 3) * y[..., None]
        disc = ((x - left) ** 2 + (y - top) ** 2 < radius**2)[..., None]
        pixels = np.where(disc, random.uniform(0, 1, 3), 0.5 + slope / 2)
        Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"{number:04}.png")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run `many` of 300 pictures, which has a trunk and a decoder, and models made of it."""
    folder = tmp_path_factory.mktemp("workspace")
    many = draw(folder / "many", range(300))
    # A recipe whose semantic half has a trunk however few the pictures are: it begins from one.
    recipe = Recipe.read("similarity", {"architecture.trunk_widths": [8, 12]})
    (folder / "models" / "blank").mkdir(parents=True)
    (folder / "models" / "blank" / TRUNK_FILE).write_bytes(trunk_bytes(recipe.build(), recipe) or b"")
    ended = train(many, folder, "many", "--dims", "32", "--epochs", "8", "--from", "blank", *SHAPE)
    assert ended.returncode == 0, ended.stderr
    assert "Not starting from the decoder of blank: it comes without a decoder." in ended.stderr
    for name, compact in (("whole", False), ("compact", True)):
        run, place = Run.open(folder / "runs" / "many"), folder / "models" / name
        export_run(run, place, licence="CC BY 4.0", reporter=SILENT, compact=compact)
    return folder


@pytest.fixture(scope="module")
def few(home: Path) -> Path:
    return draw(home / "few", range(1000, 1040))


@pytest.mark.parametrize("start", ["many", "whole", "compact"])
def test_few_pictures_begin_with_the_decoder_of_a_run_or_a_model(home, few, start):
    ended = train(few, home, f"from-{start}", "--dims", "32", "--epochs", "1", "--from", start)
    assert ended.returncode == 0, ended.stderr
    assert f"Starting from the decoder of {start}: it paints held-out pictures with an MSE of" in ended.stderr
    run, other = Run.open(home / "runs" / f"from-{start}"), Run.open(home / "runs" / "many").load_network()
    network = run.load_network()
    assert run.plan.dims == 32  # more than 36 pictures support by themselves
    assert run.recipe_as_planned.architecture.refine == 8
    assert run.result["test_mse"] < run.result["pca_test_mse"]
    assert run.result["start"] == {"model": start, "trunk": True, "decoder": True}
    # One epoch of one batch later it is still nearly what it began from.
    weight, before = network.decoder.linear.weight.detach(), other.decoder.linear.weight.detach()
    torch.testing.assert_close(weight, before, rtol=0, atol=0.02 * float(before.abs().max()))
    assert network.deviation.min() > 0


def test_what_is_begun_from_a_start_goes_on_without_it(home, few, tmp_path):
    ended = train(few, home, "alone", "--dims", "32", "--epochs", "1", "--from", "compact")
    assert ended.returncode == 0, ended.stderr
    run = Run.open(home / "runs" / "alone")
    (run.folder / "best.pt").rename(tmp_path / "best.pt")
    (run.folder / "checkpoint.pt").unlink()
    run.update(result=None)
    again = train(few, home, "alone", "--dims", "32", "--epochs", "1", "--from", "compact")
    assert again.returncode == 0, again.stderr
    first = torch.load(tmp_path / "best.pt", weights_only=True)["weights"]
    second = Run.open(run.folder).load("best.pt")["weights"]
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--dims", "24"], "its dims is 32, and that of this model 24"),
        (["--dims", "32", "--image-size", "64"], "it paints 32 px, and this model 64"),
        (["--dims", "32", "--set", "architecture.refine=4"], "its refine is 8, and 4 was asked for"),
    ],
)
def test_a_decoder_that_does_not_fit_is_left_and_the_trunk_comes_alone(home, few, words, why, tmp_path):
    ended = train(few, tmp_path, "run", "--epochs", "1", "--from", str(home / "models" / "compact"), *words)
    assert ended.returncode == 0, ended.stderr
    assert f"Not starting from the decoder of compact: {why}." in ended.stderr
    run = Run.open(tmp_path / "runs" / "run")
    assert not run.plan.pixel_half_from_start
    assert run.recipe_as_planned.architecture.trunk_widths == (8, 12)
    assert run.result["start"] == {"model": "compact", "trunk": True, "decoder": False}


def test_the_decoder_comes_without_the_trunk_where_none_is_wanted(home, few, tmp_path):
    words = ["--dims", "32", "--epochs", "1", "--from", str(home / "models" / "compact")]
    ended = train(few, tmp_path, "run", *words, "--set", "architecture.trunk_widths=[]")
    assert ended.returncode == 0, ended.stderr
    run = Run.open(tmp_path / "runs" / "run")
    assert run.result["start"] == {"model": "compact", "trunk": False, "decoder": True}
    assert run.load_network().semantic.trunk is None


def test_pictures_that_it_paints_worse_than_their_own_components_keep_those(home, tmp_path):
    noise = tmp_path / "noise"
    noise.mkdir()
    parts = np.random.default_rng(0).uniform(0, 255, (6, 32, 32, 3))
    for number in range(60):  # six patterns, mixed: their components say it all
        shares = np.random.default_rng(number).dirichlet(np.ones(6))
        Image.fromarray(np.tensordot(shares, parts, 1).astype(np.uint8)).save(noise / f"{number}.png")
    ended = train(noise, tmp_path, "run", "--dims", "32", "--epochs", "1", "--from", str(home / "models" / "compact"))
    assert ended.returncode == 0, ended.stderr
    assert "Not starting from the decoder of compact: it paints held-out pictures with an MSE of" in ended.stderr
    assert not Run.open(tmp_path / "runs" / "run").plan.pixel_half_from_start


def test_a_graph_that_is_not_what_was_written_is_refused(home, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in (home / "models" / "compact").iterdir():
        content = file.read_bytes()
        (folder / file.name).write_bytes(content[:-1] + b"?" if file.name == "decoder.onnx" else content)
    with pytest.raises(DamagedError, match=r"decoder\.onnx is not what was written"):
        WarmStart.find(Workspace(tmp_path), str(folder))


def test_a_model_without_its_decoder_brings_the_trunk_alone(home, tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    for file in (home / "models" / "compact").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    told = json.loads((folder / "bundle.json").read_text())
    del told["files"]["decoder.onnx"]
    (folder / "bundle.json").write_text(json.dumps(told))
    start = WarmStart.find(Workspace(tmp_path), str(folder))
    assert start.pixel is None
    assert start.lacking == "it comes without a decoder"


def test_a_start_says_whose_pictures_it_has_learnt_from(home):
    assert WarmStart.find(Workspace(home), "compact").facts()["licence"] == "CC BY 4.0"


def test_the_model_that_comes_with_the_package_brings_its_decoder(tmp_path):
    start = WarmStart.find(Workspace(tmp_path), STARTER)
    bundle = Bundle.open(Path(start.name).parent)
    assert start.pixel is not None
    assert start.pixel.image_size == bundle.preprocessing.size
    assert start.pixel.mirrored
    assert WarmStart.read(start.content, "again").pixel.weights.keys() == start.pixel.weights.keys()
