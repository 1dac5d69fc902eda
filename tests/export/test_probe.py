import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.uses import study_command
from export.uses.probe import nearest_labels
from train.command_line import exit_code
from train.errors import SettingsError
from train.images import Preprocessing
from train.interruption import StopRequest
from train.labelled import Accuracy, LabelledImages, divide, read_labelled, stratified
from train.progress import SILENT


def probe(*words: object) -> int:
    arguments = [str(word) for word in (*words, "--threads", 1, "--provider", "cpu", "--quiet")]
    return exit_code(study_command.probe, ("probe",), arguments)


def labelled(labels: list[int], splits: list[str] | None = None) -> LabelledImages:
    """Images that are nothing but their labels."""
    count = len(labels)
    return LabelledImages(
        np.zeros((count, 1, 1, 3), np.uint8),
        np.array(labels),
        tuple("abcdefgh"[: max(labels) + 1]),
        np.array(splits or [""] * count, "<U5"),
        tuple(map(str, range(count))),
        count,
    )


@pytest.fixture(scope="module")
def coloured_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 noisy pictures, red, green and blue ones: anything that sees colour tells them apart."""
    folder = tmp_path_factory.mktemp("coloured")
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir()
        for number in range(20):
            pixels = random.integers(0, 90, (40, 40, 3))
            pixels[..., channel] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_what_tells_pictures_apart_is_found_by_every_classifier(bundle, coloured_folder, capsys):
    assert probe(coloured_folder, "--model", bundle.folder, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["train_images"], said["test_images"], said["classes"]) == (48, 12, 3)
    assert said["chance"] == pytest.approx(1 / 3, abs=1e-4)
    assert list(said["features"]) == ["codes", "PCA", "pixels"]
    for row in said["features"].values():
        assert {kind: found["accuracy"] for kind, found in row.items() if kind != "dims"} == {
            "knn_cosine": 1,
            "knn_euclidean": 1,
            "svm": 1,
            "forest": 1,
        }
    assert said["features"]["codes"]["dims"] == 192
    assert said["features"]["PCA"]["dims"] == 47  # as many as 48 pictures have


def test_the_table_names_features_classifiers_and_split(bundle, coloured_folder, capsys):
    assert probe(coloured_folder, "--model", bundle.folder, "--only", "knn", "--k", 3, "--limit", 30) == 0
    out = capsys.readouterr().out
    assert out.startswith("30 of 48 images to learn from, 12 held out (stratified split, seed 0, stratified sample)")
    assert "3-NN cosine" in out
    assert "forest" not in out
    assert "codes" in out and "PCA" in out and "pixels" in out


def test_the_same_seed_gives_the_same_figures(bundle, drawn_folder, capsys):
    figures = []
    for seed in (0, 0, 1):
        assert probe(drawn_folder, "--model", bundle.folder, "--json", "--seed", seed) == 0
        figures.append(json.loads(capsys.readouterr().out)["features"])
    assert figures[0] == figures[1] != figures[2]


@pytest.mark.parametrize("labels", [["round"], []])
def test_a_folder_without_two_labels_is_refused(bundle, drawn_folder, tmp_path, capsys, labels):
    for name in labels:
        shutil.copytree(drawn_folder / name, tmp_path / "pictures" / name)
    if not labels:
        shutil.copytree(drawn_folder / "round", tmp_path / "pictures")
    assert probe(tmp_path / "pictures", "--model", bundle.folder) == 2
    assert "put the images of each label into a folder of its own" in capsys.readouterr().err


def test_without_scikit_learn_the_remedy_is_named(bundle, drawn_folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert probe(drawn_folder, "--model", bundle.folder) == 2
    assert "pip install 'lookalike[probe]'" in capsys.readouterr().err


def test_a_name_that_is_neither_folder_nor_data_set_is_refused(bundle, tmp_path, capsys):
    assert probe("nowhere-at-all", "--model", bundle.folder, "--data", tmp_path) in (2, 4)
    assert "nowhere-at-all" in capsys.readouterr().err


def test_nearest_labels_are_those_of_a_slow_vote():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(60, 5)).astype(np.float32), random.normal(size=(17, 5)).astype(np.float32)
    labels = random.integers(0, 4, 60)
    for k in (1, 3, 5, 60):
        slow = []
        for asked in test:
            near = labels[np.argsort(((train - asked) ** 2).sum(axis=1))[:k]].tolist()
            votes = Counter(near)
            slow.append(next(label for label in near if votes[label] == max(votes.values())))
        assert nearest_labels((train, test), labels, k).tolist() == slow


def test_a_division_has_every_label_on_both_sides_and_no_image_twice():
    images = labelled([0] * 2 + [1] * 40 + [2] * 7 + [3])
    division = divide(images, held_out=0.2, seed=0)
    assert Counter(images.labels[division.test].tolist()) == {0: 1, 1: 8, 2: 1}
    assert Counter(images.labels[division.train].tolist()) == {0: 1, 1: 32, 2: 6}
    assert not set(division.train) & set(division.test)
    assert division.classes == (0, 1, 2)  # the fourth has a single image


def test_an_official_split_is_kept():
    images = labelled([0, 1] * 10, ["train"] * 16 + ["test"] * 4)
    division = divide(images, held_out=0.5, seed=3, test_limit=2)
    assert division.official
    assert division.train.tolist() == list(range(16))
    assert len(division.test) == 2
    assert "official split, stratified sample, seed 3" in division.sentence(3)


def test_one_label_is_not_enough():
    with pytest.raises(SettingsError, match="1 of them with two images or more"):
        divide(labelled([0] * 9 + [1]), held_out=0.2, seed=0)


def test_a_stratified_sample_keeps_the_shares():
    labels = np.array([0] * 600 + [1] * 300 + [2] * 100)
    rows = stratified(labels, 100, seed=0)
    assert Counter(labels[rows].tolist()) == {0: 60, 1: 30, 2: 10}
    assert sorted(stratified(labels, 5000, seed=0).tolist()) == list(range(1000))
    assert rows.tolist() != stratified(labels, 100, seed=1).tolist()


def test_the_interval_is_that_of_resampled_answers():
    correct = np.arange(200) < 150
    found = Accuracy.of(correct, seed=0)
    random = np.random.default_rng(5)
    drawn = [correct[random.integers(0, 200, 200)].mean() for _ in range(4000)]
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.011)


def test_the_same_file_twice_is_read_once_and_damaged_ones_are_counted(drawn_folder, tmp_path):
    first = sorted((drawn_folder / "round").iterdir())[:3]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in first:
            shutil.copy(file, tmp_path / name)
    (tmp_path / "two" / "broken.png").write_bytes(first[0].read_bytes()[:100])
    images = read_labelled(
        str(tmp_path),
        Preprocessing(16),
        datasets=tmp_path,
        limit=None,
        seed=0,
        reporter=SILENT,
        stop=StopRequest(),
        workers=1,
    )
    assert [Path(name).parent.name for name in images.names] == ["one"] * 3
    assert images.rejected == 1
    assert images.classes == ("one", "two")
