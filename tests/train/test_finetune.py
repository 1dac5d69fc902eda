import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train import finetune_command
from train.command_line import exit_code
from train.errors import DamagedError, NothingFoundError
from train.finetune import (
    Classifier,
    Finetuned,
    FinetuneSettings,
    finetune,
    load_classifier,
    save_finetuned,
    untrained_twin,
)
from train.images import Preprocessing
from train.interruption import Interrupted, StopRequest
from train.labelled import LabelledImages, divide, read_labelled
from train.progress import SILENT
from train.recipe import Recipe
from train.run import Run
from train.training import train_recipe

SMALL = {
    "data.image_size": 16,
    "architecture.dims": 16,
    "architecture.widths": [16, 16, 16],
    "training.batch": 8,
    "training.precision": "fp32",
    "training.threads": 1,
    "training.epochs": 2,
}


@pytest.fixture(autouse=True)
def own_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(drawn_folder, tmp_path_factory) -> Run:
    before = torch.get_num_threads()
    recipe = Recipe.read("principal", SMALL)
    folder = tmp_path_factory.mktemp("runs") / "drawn"
    train_recipe(drawn_folder, folder, recipe, datasets=Path("none"), fresh=False, reporter=SILENT, stop=StopRequest())
    torch.set_num_threads(before)
    return Run.open(folder)


@pytest.fixture(scope="module")
def sunny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures in two folders, that are lighter above or lighter below."""
    folder = tmp_path_factory.mktemp("sunny")
    random = np.random.default_rng(0)
    for name, slope in (("above", np.linspace(180, 0, 20)), ("below", np.linspace(0, 180, 20))):
        (folder / name).mkdir()
        for number in range(30):
            pixels = slope[:, None, None] + random.integers(0, 70, (20, 20, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def sunny(sunny_folder) -> LabelledImages:
    settings = {"datasets": Path("none"), "limit": None, "seed": 0, "reporter": SILENT, "workers": 1}
    return read_labelled(str(sunny_folder), Preprocessing(16), stop=StopRequest(), **settings)


def tune(trained: Run, images: LabelledImages, stop: StopRequest | None = None, **settings: object) -> Finetuned:
    return finetune(
        trained.load_network(),
        untrained_twin(trained.recipe_as_planned, 0),
        images,
        divide(images, held_out=0.2, seed=0),
        FinetuneSettings(**settings),
        reporter=SILENT,
        stop=stop or StopRequest(),
    )


def command(*words: object) -> int:
    arguments = [str(word) for word in (*words, "--threads", 1, "--device", "cpu", "--quiet")]
    return exit_code(finetune_command.finetune, ("finetune",), arguments)


def test_labels_that_can_be_seen_are_learnt_by_both(trained, sunny):
    found = tune(trained, sunny, epochs=4)
    assert found.pretrained.correct.mean() == 1
    assert found.random.correct.mean() > 0.8
    assert found.pretrained.losses[-1] < found.pretrained.losses[0] / 2
    assert len(found.pretrained.accuracies) == len(found.random.accuracies) == 5
    assert len(found.pretrained.losses) == len(found.random.losses) == 4 * 2


def test_the_head_learns_alone_first(trained, sunny):
    before = trained.load_network().state_dict()
    rested = tune(trained, sunny, epochs=1, head_share=1.0).pretrained.classifier.network.state_dict()
    assert all(torch.equal(rested[name], before[name]) for name in before)
    moved = tune(trained, sunny, epochs=1, head_share=0.0).pretrained.classifier.network.state_dict()
    assert any(not torch.equal(moved[name], before[name]) for name in before)


def test_the_same_seed_gives_the_same_weights(trained, sunny):
    one, same, other = (tune(trained, sunny, epochs=1, seed=seed) for seed in (0, 0, 1))
    weights = [found.random.classifier.head.weight for found in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert one.random.losses == same.random.losses


def test_the_twin_has_the_same_shape_and_other_weights(trained):
    network, twin = trained.load_network(), untrained_twin(trained.recipe_as_planned, 0)
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (network, twin)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(next(network.parameters()), next(twin.parameters()))


def test_the_gain_has_the_interval_of_the_paired_difference(trained, sunny):
    found = tune(trained, sunny, epochs=1)
    one, other = np.arange(12) < 9, np.arange(12) < 6
    found.pretrained.correct[:], found.random.correct[:] = one, other
    assert found.gain.value == pytest.approx(0.25)
    assert 0 <= found.gain.low < 0.25 < found.gain.high <= 0.6


def test_a_classifier_comes_back_from_disk_with_its_answers(trained, sunny, tmp_path):
    found = tune(trained, sunny, epochs=2)
    save_finetuned(found, trained.recipe_as_planned, tmp_path / "classifier")
    back = load_classifier(tmp_path / "classifier")
    assert back.classes == ("above", "below")
    x = torch.from_numpy(sunny.pixels[found.division.test]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert back(x).argmax(dim=1).numpy().tolist() == found.pretrained.answers.tolist()
    said = json.loads((tmp_path / "classifier" / "classifier.json").read_text())
    assert said["accuracy_by_class"].keys() == {"above", "below"}
    with Image.open(tmp_path / "classifier" / "curves.png") as picture:
        assert min(picture.size) > 300


def test_a_damaged_or_missing_classifier_is_refused(trained, sunny, tmp_path):
    with pytest.raises(NothingFoundError, match="lookalike finetune"):
        load_classifier(tmp_path)
    save_finetuned(tune(trained, sunny, epochs=1), trained.recipe_as_planned, tmp_path / "classifier")
    path = tmp_path / "classifier" / "classifier.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DamagedError, match="run `lookalike finetune` again"):
        load_classifier(tmp_path / "classifier")


def test_stopping_writes_nothing(trained, sunny):
    stop = StopRequest()
    stop.signal_number = 2
    with pytest.raises(Interrupted, match="nothing was written"):
        tune(trained, sunny, stop=stop)


def test_the_command_shows_both_and_writes_the_classifier(trained, sunny_folder, tmp_path, capsys):
    words = (sunny_folder, "--run", trained.folder, "-o", tmp_path / "out")
    assert command(*words, "--epochs", 2) == 0
    out = capsys.readouterr().out
    assert "48 images to learn from, 12 held out" in out
    assert "trained encoder" in out and "random weights" in out and "difference" in out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "classifier.json",
        "classifier.pt",
        "curves.png",
    ]
    assert isinstance(load_classifier(tmp_path / "out"), Classifier)
    assert command(*words, "--epochs", 1, "--json") == 0  # takes the place of the first
    assert json.loads(capsys.readouterr().out)["settings"]["epochs"] == 1


def test_a_folder_with_something_else_in_it_is_never_replaced(trained, sunny_folder, tmp_path, capsys):
    (tmp_path / "letters.txt").write_text("dear")
    assert command(sunny_folder, "--run", trained.folder, "-o", tmp_path) == 2
    assert "give another --output" in capsys.readouterr().err
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_with_one_label_is_refused(trained, sunny_folder, tmp_path, capsys):
    assert command(sunny_folder / "above", "--run", trained.folder, "-o", tmp_path / "out") == 2
    assert "at least two such are needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_pytorch_the_remedy_is_named(trained, sunny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert command(sunny_folder, "--run", trained.folder, "-o", tmp_path / "out") == 2
    assert "pip install 'lookalike[train]'" in capsys.readouterr().err
