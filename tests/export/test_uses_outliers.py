"""Outliers: scores, their judgement, and the lists."""

import csv
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export.uses.outliers import auroc, average_precision, threshold_of
from tests.conftest import draw_picture
from tests.export.uses_models import retold, use
from train.errors import SettingsError

QUANTILES = {"0.5": 0.0001, "0.9": 0.0005, "0.95": 0.001, "0.99": 0.002, "0.995": 0.003, "1": 0.01}


@pytest.fixture(scope="module")
def model(bundle, tmp_path_factory):
    """The averaging model, as if it had been trained on flat pictures."""
    return retold(bundle, tmp_path_factory.mktemp("models") / "flat", errors={"images": 100, "quantiles": QUANTILES})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 flat pictures, which averaging keeps, and 5 of noise, which it does not."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for label in ("flat", "noise"):
        (folder / label).mkdir()
    for number in range(12):
        Image.new("RGB", (40, 40), tuple(random.integers(0, 256, 3).tolist())).save(folder / "flat" / f"{number}.png")
    for number in range(5):
        noise = random.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(noise).save(folder / "noise" / f"<b>{number}.png")
    return folder


# --- Figures ------------------------------------------------------------------------------------------------------

metrics = pytest.importorskip("sklearn.metrics")
cases = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({positive for _, positive in rows}) == 2
)


@given(cases)
def test_auroc_is_the_chance_that_an_outlier_scores_higher(rows):
    scores, positive = [score for score, _ in rows], [sought for _, sought in rows]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, sought in rows if sought for b, also in rows if not also]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs))
    assert auroc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores))


@given(cases)
def test_average_precision_is_that_of_scikit_learn(rows):
    scores, positive = [score for score, _ in rows], [sought for _, sought in rows]
    assert average_precision(scores, positive) == pytest.approx(metrics.average_precision_score(positive, scores))


def test_a_threshold_between_two_known_quantiles_lies_on_the_line(model):
    assert threshold_of(model, 0.99) == 0.002
    assert threshold_of(model, 0.7) == pytest.approx(0.0003)
    assert threshold_of(model, 1) == 0.01
    with pytest.raises(SettingsError, match=r"from 0\.5 to 1"):
        threshold_of(model, 0.2)


@pytest.mark.parametrize(
    "errors", [{}, {"quantiles": {}}, {"quantiles": {"a": "b"}}, {"quantiles": {"1": float("nan")}}]
)
def test_a_model_without_a_distribution_of_errors_is_refused(bundle, folder, tmp_path, errors):
    silent = retold(bundle, tmp_path / "silent", errors=errors)
    ended = use("outliers", folder, "--model", silent.folder)
    assert ended.returncode == 2
    assert "nothing to compare with" in ended.stderr


# --- The command --------------------------------------------------------------------------------------------------


def test_unusual_pictures_come_first_and_are_counted(model, folder):
    ended = use("outliers", folder, "--model", model.folder, "--normal", "flat", "--top", 6, "--json")
    assert ended.returncode == 0, ended.stderr
    record = ended.record
    assert (record["above"], record["pictures"], record["threshold"]) == (5, 17, 0.002)
    assert [row["label"] for row in record["top"]] == ["noise"] * 5 + ["flat"]
    assert [row["outlier"] for row in record["top"]] == [True] * 5 + [False]
    assert (record["auroc"], record["average_precision"]) == (1, 1)
    assert (record["outliers"], record["normal_pictures"]) == (5, 12)
    assert all(earlier["mse"] >= later["mse"] for earlier, later in zip(record["top"], record["top"][1:], strict=False))


def test_the_text_says_how_many_are_above_and_how_well_labels_are_told_apart(model, folder):
    ended = use("outliers", folder, "--model", model.folder, "--normal", "flat", "--top", 2)
    assert "5 of 17 pictures (29.4%) are above 0.00200 (*), which 99.0% of 100 held-out" in ended.stdout
    assert "AUROC 1.0000, average precision 1.0000: 5 outliers among 12 of flat." in ended.stdout
    assert len(ended.stdout.splitlines()) == 4


def test_lists_hold_every_picture(model, folder, tmp_path):
    for name in ("list.csv", "list.jsonl"):
        ended = use("outliers", folder, "--model", model.folder, "-o", tmp_path / name)
        assert ended.returncode == 0, ended.stderr
    with (tmp_path / "list.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert [row["file"] for row in table] == [row["file"] for row in lines]
    assert len(table) == 17
    assert [row["outlier"] for row in table[4:6]] == ["1", "0"]
    again = use("outliers", folder, "--model", model.folder, "-o", tmp_path / "list.csv")
    assert (again.returncode, "--force" in again.stderr) == (2, True)


def test_the_page_needs_no_other_file_and_takes_no_name_for_markup(model, folder, tmp_path):
    page = tmp_path / "page.html"
    ended = use("outliers", folder, "--model", model.folder, "--normal", "flat", "-o", page)
    assert ended.returncode == 0, ended.stderr
    text = page.read_text()
    assert text.count("<li") == 17
    assert text.count('<li class="above">') == 5
    assert text.count('src="data:image/webp;base64,') == 34
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert text.index("noise/") < text.index("flat/")


def test_the_page_shows_only_the_worst(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("export.uses.outliers.SHOWN", 3)
    page = tmp_path / "page.html"
    assert use("outliers", folder, "--model", model.folder, "-o", page).returncode == 0
    text = page.read_text()
    assert text.count("<li") == text.count('<li class="above">') == 3
    assert "The 3 worst are shown." in text


@pytest.mark.parametrize(
    ("normal", "says"),
    [(["flut"], "here are flat, noise"), (["flat", "noise"], "every label is said to be normal")],
)
def test_labels_that_make_no_sense_are_refused_before_any_work(model, folder, normal, says):
    words = [word for label in normal for word in ("--normal", label)]
    ended = use("outliers", folder, "--model", model.folder, *words)
    assert (ended.returncode, says in ended.stderr) == (2, True), ended.stderr


def test_damaged_pictures_are_counted_and_the_rest_is_scored(model, tmp_path):
    draw_picture(1).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = use("outliers", tmp_path, "--model", model.folder, "--json")
    assert (ended.returncode, ended.record["pictures"]) == (3, 1)
    assert ended.record["rejected"] == {"corrupt": 1}
    missing = use("outliers", tmp_path / "gone", "--model", model.folder)
    assert (missing.returncode, "there is no folder" in missing.stderr) == (4, True)


def test_a_data_set_brings_its_own_labels(model, tmp_path):
    random = np.random.default_rng(1)
    flat = np.repeat(random.integers(0, 256, (9, 1, 1, 3), np.uint8), 32, axis=1).repeat(32, axis=2)
    noise = random.integers(0, 256, (4, 32, 32, 3), np.uint8)
    labels = np.array([0] * 9 + [1] * 4)
    np.savez(tmp_path / "own.npz", images=np.concatenate([flat, noise]), labels=labels)
    page = tmp_path / "page.html"
    ended = use("outliers", tmp_path / "own.npz", "--model", model.folder, "--normal", "0", "-o", page, "--json")
    assert ended.returncode == 0, ended.stderr
    assert (ended.record["above"], ended.record["pictures"], ended.record["auroc"]) == (4, 13, 1)
    assert {row["label"] for row in ended.record["top"][:4]} == {"1"}
    assert page.read_text().count("<li") == 13
