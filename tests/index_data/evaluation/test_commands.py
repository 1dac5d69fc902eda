"""`lookalike eval` and `lookalike report` as they are typed, on drawn pictures and a model that averages colours."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.bundle import Bundle, write_bundle
from index_data.adding import add_folder
from index_data.evaluation.command import evaluate, report
from index_data.gallery import Gallery
from tests.conftest import draw_picture
from train.command_line import exit_code

EVAL = ("--quiet", "--threads", "1", "--provider", "cpu", "--originals", "6")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def record(self) -> dict[str, Any]:
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout)


def run(command, name: str, *words: object) -> Ended:
    output, complaints = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(complaints):
        code = exit_code(command, (name,), [str(word) for word in (*words, *EVAL)])
    return Ended(code, output.getvalue(), complaints.getvalue())


def eval_command(*words: object) -> Ended:
    return run(evaluate, "eval", *words)


def report_command(*words: object) -> Ended:
    return run(report, "report", *words)


def without_decoder(bundle: Bundle, folder: Path, **facts: Any) -> Bundle:
    return write_bundle(
        folder, {("encoder", "fp32"): bundle.graph("encoder")}, replace(bundle.facts, **facts), bundle.probes
    )


@pytest.fixture(scope="module")
def coloured_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 noisy pictures, red, green and blue ones: anything that sees colour tells them apart."""
    folder = tmp_path_factory.mktemp("coloured") / "coloured"
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.asarray(draw_picture(100 * channel + number, 48, 40)) // 3
            pixels = pixels + random.integers(0, 20, pixels.shape)
            pixels[..., channel] += 140
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def gallery(bundle, drawn_folder, tmp_path_factory) -> Path:
    """A gallery of the 48 drawn pictures. Read only."""
    folder = tmp_path_factory.mktemp("galleries") / "drawn"
    with Gallery.create(folder, bundle) as opened:
        add_folder(opened, bundle, drawn_folder, workers=1, provider="cpu")
    return folder


@pytest.fixture(scope="module")
def whole(bundle, coloured_folder, tmp_path_factory) -> tuple[dict[str, Any], str]:
    """What `eval` says of the coloured pictures, and its page."""
    page = tmp_path_factory.mktemp("pages") / "eval.html"
    ended = eval_command(coloured_folder, "--model", bundle.folder, "--html", page, "--json")
    return ended.record, page.read_text()


# --- eval -----------------------------------------------------------------------------------------------------------


def test_what_tells_pictures_apart_is_told_apart_in_every_figure(whole):
    record, _ = whole
    labels = record["labels"]
    assert (labels["queries"], labels["pictures"], labels["labels"], labels["leave_one_out"]) == (36, 36, 3, True)
    rows = {row["method"]: row for row in labels["methods"]}
    ours = rows["averaging"]["figures"]
    assert ours["kNN@1"] == {"value": 1, "low": 1, "high": 1}
    assert ours["P@10"]["value"] == ours["mAP"]["value"] == ours["R-Precision"]["value"] == 1


def test_every_model_stands_beside_what_needs_no_training(whole):
    record, _ = whole
    names = [row["method"] for row in record["labels"]["methods"]]
    assert names == [
        "averaging",
        "raw pixels",
        "RGB histogram 8x8x8",
        "PCA-35",
        "half-whitened PCA-35",
        "whitened PCA-35",
        "patches-35",
    ]
    assert [row["method"] for row in record["copies"]["detection"]][:3] == names[:3]


def test_copies_are_counted_and_an_untouched_picture_finds_itself(whole):
    copies = whole[0]["copies"]
    assert (copies["originals"], copies["pictures"], copies["background"]) == (6, 27, 9)
    rows = {row["transform"]: row for row in copies["find_the_original"]["averaging"]}
    assert len(rows) == 31
    assert rows["untouched"]["recall@1"] == rows["JPEG 70"]["recall@1"] == 1
    # Averages of colours do not survive a mirror.
    assert rows["mirror"]["median_score"] < rows["JPEG 30"]["median_score"]
    detection = copies["detection"][0]
    assert 0 < detection["uAP"] <= detection["mAP"]["value"] <= 1
    assert 0 < detection["uAP_prominence"] <= 1


def test_copies_find_more_originals_when_they_are_laid_over_the_hits(bundle, drawn_folder):
    words = (drawn_folder, "--model", bundle.folder, "--only", "copies", "--same-picture")
    finding = eval_command(*words, "--json").record["copies"]["find_the_original"]
    name = bundle.folder.name
    alone = {row["transform"]: row["recall@1"] for row in finding[name]}
    laid_over = {row["transform"]: row["recall@1"] for row in finding[f"{name}, same picture"]}
    assert laid_over.keys() == alone.keys()
    assert all(laid_over[each] >= alone[each] for each in alone)
    assert laid_over["mirror"] == laid_over["crop 80 %"] == 1 > alone["mirror"]
    text = eval_command(*words).stdout
    assert f"{name}, same picture" in text


def test_embeddings_drift_more_the_more_is_cut_off(whole):
    (found,) = whole[0]["drift"]
    drift = {name: row["median"] for name, row in found["drift"].items()}
    assert drift["JPEG 90"] < drift["JPEG 30"] < drift["crop 80 %"]
    assert drift["crop 95 %"] < drift["crop 80 %"]


def test_reconstructions_stand_beside_principal_components(whole):
    (found,) = whole[0]["reconstruction"]
    own, in_bytes, linear = found["rows"]
    assert (own["name"], own["dims"], linear["name"]) == ("averaging", 192, "PCA-28")
    assert own["mse"] <= in_bytes["mse"] < 1.05 * own["mse"]
    assert 0 < own["ssim"] < 1
    # A frame of mean colours has the mean colours that it was painted from, but where a way leads beyond white.
    assert found["morph"]["round_trip_relative"] < 0.05
    assert list(found["morph"]["round_trip_of_distance"]) == ["code"]
    assert 0 < found["morph"]["round_trip_of_distance"]["code"] < 0.15
    assert found["morph"]["monotone"] > 0.9


def test_another_model_judges_whether_the_middle_of_a_morph_is_like_a_real_picture(
    bundle, halved_bundle, coloured_folder
):
    words = ("--model", bundle.folder, "--model", halved_bundle.folder, "--only", "reconstruction")
    done = eval_command(coloured_folder, *words, "--json")
    found = {each["method"]: each["morph"]["nearer_than_cross_fade"] for each in done.record["reconstruction"]}
    apart = {each["method"]: each["morph"]["round_trip_of_distance"] for each in done.record["reconstruction"]}
    assert list(apart[halved_bundle.folder.name]) == ["code", "semantic", "pixel"]
    assert list(apart[bundle.folder.name]) == ["code"]
    assert {name: list(judged) for name, judged in found.items()} == {
        bundle.folder.name: [halved_bundle.folder.name],
        halved_bundle.folder.name: [bundle.folder.name],
    }
    assert all(0 <= share <= 1 for judged in found.values() for share in judged.values())


def test_the_same_seed_gives_the_same_figures_and_another_one_others(bundle, coloured_folder):
    words = (coloured_folder, "--model", bundle.folder, "--only", "drift", "--json", "--limit", 20)
    once, again, other = (eval_command(*words, "--seed", seed).record for seed in (3, 3, 4))
    assert once["drift"] == again["drift"]
    assert once["drift"] != other["drift"]
    assert once["pictures"] == 20


class Resources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def test_the_page_needs_no_other_file_and_shows_failures_first(whole):
    record, page = whole
    reader = Resources()
    reader.feed(page)
    assert reader.found
    assert all(place.startswith("data:image/webp;base64,") for place in reader.found)
    assert "prefers-color-scheme: dark" in page
    assert "url(" not in page
    for row in record["labels"]["methods"]:
        assert row["method"] in page
    missed = page.index("Copies whose original averaging does not find first")
    assert 'class="right"' in page[missed:] or 'class="wrong"' not in page[missed:]


def test_names_of_labels_and_folders_cannot_write_into_the_page(bundle, coloured_folder, tmp_path):
    folder = tmp_path / "<b>pictures"
    shutil.copytree(coloured_folder / "red", folder / "<script>alert(1)<")
    shutil.copytree(coloured_folder / "blue", folder / "&amp;")
    page = tmp_path / "page.html"
    assert eval_command(folder, "--model", bundle.folder, "--only", "labels", "--html", page).returncode == 0
    text = page.read_text()
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text and "<b>" not in text


def test_models_stand_in_one_table_and_one_without_decoder_is_measured_in_everything_else(
    bundle, coloured_folder, tmp_path
):
    other = without_decoder(bundle, tmp_path / "encoder-only", source="the same")
    ended = eval_command(coloured_folder, "--model", bundle.folder, "--model", other.folder)
    assert ended.returncode == 0, ended.stderr
    for said in ("with labels, %", "copies, %", "originals found first, %", "1 - cosine", "rebuilt", "morphs"):
        assert said in ended.stdout
    rows = [re.search(rf"^{name} +192 .*$", ended.stdout, re.MULTILINE) for name in ("averaging", "encoder-only")]
    assert rows[0] and rows[1]
    assert rows[0][0].split()[1:] == rows[1][0].split()[1:]
    assert rows[0][0].split()[2] == "100.0"
    assert "No reconstructions by encoder-only: the model has no decoder." in ended.stdout
    assert "pHash" in ended.stdout


def test_a_model_that_only_encodes_has_no_reconstruction_to_measure(bundle, coloured_folder, tmp_path):
    encoder = without_decoder(bundle, tmp_path / "encoder-only")
    ended = eval_command(coloured_folder, "--model", encoder.folder, "--only", "reconstruction")
    assert ended.returncode == 4
    assert "has no decoder" in ended.stderr


def test_pictures_without_labels_are_measured_by_their_copies(bundle, drawn_folder):
    words = ("--model", bundle.folder, "--only", "labels", "--only", "drift", "--only", "reconstruction", "--json")
    record = eval_command(drawn_folder / "round", *words).record
    assert "labels" not in record
    assert any(note.startswith("Nothing is measured with labels: these 24 pictures") for note in record["notes"])
    assert record["drift"] and record["reconstruction"]


def test_one_label_alone_is_none(bundle, coloured_folder, tmp_path):
    shutil.copytree(coloured_folder / "red", tmp_path / "one" / "red")
    ended = eval_command(tmp_path / "one", "--model", bundle.folder, "--only", "labels")
    assert ended.returncode == 4
    assert "have 1 label." in ended.stderr
    assert "folder of its own" in ended.stderr


def test_a_handful_of_pictures_is_enough_for_every_part(bundle, tmp_path):
    count = 2
    folder = tmp_path / "few"
    for number in range(count):
        for kind in "ab":
            (folder / kind).mkdir(parents=True, exist_ok=True)
            draw_picture(10 * number + ord(kind)).save(folder / kind / f"{number}.png")
    page = tmp_path / "page.html"
    record = eval_command(folder, "--model", bundle.folder, "--json", "--html", page).record
    assert any(f"kNN@200 lets all {2 * count - 1} vote" in note for note in record["notes"])
    assert record["labels"]["queries"] == 2 * count
    assert page.exists()


def test_one_picture_is_too_few(bundle, tmp_path):
    draw_picture(0).save(tmp_path / "only.png")
    ended = eval_command(tmp_path, "--model", bundle.folder)
    assert ended.returncode == 4
    assert "two at least can be compared" in ended.stderr


def test_a_folder_without_pictures_is_refused(bundle, tmp_path):
    ended = eval_command(tmp_path, "--model", bundle.folder)
    assert ended.returncode == 4
    assert "no images" in ended.stderr


def test_damaged_files_are_left_out_and_counted(bundle, coloured_folder, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(coloured_folder, folder)
    data = (folder / "red" / "0.png").read_bytes()
    (folder / "red" / "0.png").write_bytes(data[: len(data) // 2])
    record = eval_command(folder, "--model", bundle.folder, "--json", "--only", "drift").record
    assert record["pictures"] == 35
    assert "1 files could not be read, and are left out." in record["notes"]


def test_a_data_set_is_asked_as_its_split_says(bundle, coloured_folder, tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = random.integers(0, 100, (60, 28, 28, 3)).astype(np.uint8)
    pixels[np.arange(60), :, :, labels] += 120
    np.savez(tmp_path / "set.npz", x_train=pixels[:40], y_train=labels[:40], x_test=pixels[40:], y_test=labels[40:])
    record = eval_command(tmp_path / "set.npz", "--model", bundle.folder, "--json", "--queries", 12).record
    assert record["labels"] | {"methods": []} == {
        "queries": 12,
        "available_queries": 20,
        "pictures": 40,
        "labels": 3,
        "leave_one_out": False,
        "methods": [],
    }
    assert record["labels"]["methods"][0]["figures"]["kNN@20 T 0.07"]["value"] == 1
    assert record["reconstruction"][0]["learnt_from"] == 40


def test_people_with_one_picture_are_only_in_the_way(bundle, tmp_path):
    for person, pictures in (("ann", 3), ("bob", 2), ("cleo", 1), ("eve", 1)):
        (tmp_path / person).mkdir()
        for number in range(pictures):
            image = draw_picture(sum(map(ord, person)))
            image.putpixel((number, 0), (255, 0, 0))
            image.save(tmp_path / person / f"{number}.png")
    labels = eval_command(tmp_path, "--model", bundle.folder, "--json", "--only", "labels").record["labels"]
    assert (labels["queries"], labels["pictures"], labels["labels"]) == (5, 7, 2)
    assert labels["methods"][0]["figures"]["Recall@1"]["value"] == 1


def test_a_gallery_is_measured_with_its_own_model(gallery):
    record = eval_command(gallery, "--json", "--only", "drift").record
    assert list(record["models"]) == ["averaging"]
    assert record["pictures"] == 48
    assert "copies" not in record


def test_nothing_that_stands_there_is_written_over_unless_forced(bundle, coloured_folder, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    words = (coloured_folder, "--model", bundle.folder, "--only", "drift", "--html", page)
    ended = eval_command(*words)
    assert ended.returncode == 2
    assert page.read_text() == "mine"
    assert eval_command(*words, "--force").returncode == 0
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_of_another_kind_is_refused_before_any_work(bundle, coloured_folder, tmp_path):
    ended = eval_command(coloured_folder, "--model", bundle.folder, "--html", tmp_path / "page.pdf")
    assert ended.returncode == 2
    assert ".html" in ended.stderr


def test_the_same_model_twice_is_refused(bundle, coloured_folder):
    ended = eval_command(coloured_folder, "--model", bundle.folder, "--model", bundle.folder)
    assert ended.returncode == 2
    assert "given twice" in ended.stderr


def test_ctrl_c_ends_it_and_leaves_no_page(bundle, corel_photos, tmp_path):
    words = ["eval", corel_photos, "--model", bundle.folder, "--html", tmp_path / "page.html", "--progress", "json"]
    child = subprocess.Popen(
        [sys.executable, "-m", "search_server.lookalike", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    for line in child.stderr:
        if "reading" in line:
            child.send_signal(signal.SIGINT)
            break
    _, complaints = child.communicate()
    assert child.returncode == 130, complaints
    assert "nothing was written" in complaints
    assert not list(tmp_path.iterdir())


# --- report ---------------------------------------------------------------------------------------------------------


def test_a_gallery_is_judged_without_labels(gallery, tmp_path):
    page = tmp_path / "report.html"
    ended = report_command(gallery, "--html", page, "--json")
    record = ended.record
    assert (record["pictures"], record["originals"], record["unreadable"]) == (48, 6, 0)
    assert not record["collapsed"]
    rows = {row["transform"]: row for row in record["find_the_original"]}
    assert rows["untouched"]["recall@1"] == rows["JPEG 50"]["recall@1"] == 1
    assert 1 < record["rank_me"] <= 47
    near = record["near_duplicates"]
    assert near["copies_above"] > 0.8 > near["others_above"]
    for scores in record["scores"].values():
        assert sum(scores["shares"]) == pytest.approx(1)
    assert record["alpha"] is None
    reader = Resources()
    text = page.read_text()
    reader.feed(text)
    assert not reader.found
    assert "<svg" in text and "near-duplicates" in text


def test_the_verdict_comes_first_and_says_what_is_weak(gallery):
    ended = report_command(gallery)
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("Finds the original of ")
    assert "of the time" in lines[0]
    assert any(line.startswith("Nothing looks collapsed: the embeddings use about ") for line in lines)
    assert any(re.match(r"A score of 0\.\d\d tells near-duplicates best", line) for line in lines)
    table = [line for line in lines if re.match(r"(failed|passed) ", line)]
    assert table == sorted(table, key=lambda line: line.startswith("passed"))


def test_files_that_are_gone_are_passed_over_and_counted(bundle, drawn_folder, tmp_path):
    pictures = tmp_path / "pictures"
    shutil.copytree(drawn_folder, pictures)
    with Gallery.create(tmp_path / "g", bundle) as opened:
        add_folder(opened, bundle, pictures, workers=1, provider="cpu")
    for file in (pictures / "round").iterdir():
        file.unlink()
    record = report_command(tmp_path / "g", "--originals", 48, "--json").record
    assert record["unreadable"] + record["originals"] == 6 or record["unreadable"] == 24
    shutil.rmtree(pictures)
    ended = report_command(tmp_path / "g")
    assert ended.returncode == 4
    assert "are its folders still there?" in ended.stderr


def test_embeddings_that_are_all_alike_are_called_collapsed(bundle, tmp_path):
    """Pictures that differ in one pixel are all in one place."""
    folder = tmp_path / "alike"
    folder.mkdir()
    for number in range(12):
        image = draw_picture(5)
        image.putpixel((number, 3), (number, 20 * number, 255))
        image.save(folder / f"{number}.png")
    with Gallery.create(tmp_path / "g", bundle) as opened:
        add_folder(opened, bundle, folder, workers=1, provider="cpu")
    record = report_command(tmp_path / "g", "--json").record
    assert record["collapsed"]
    assert any("look collapsed" in sentence for sentence in record["verdict"])


def test_alpha_is_chosen_by_what_is_found(bundle, drawn_folder, tmp_path):
    """The model's halves are the upper and the lower part of the picture's colour planes: any weight may be best."""
    halved = without_decoder(bundle, tmp_path / "halved", semantic_dims=64, alpha=1.0)
    with Gallery.create(tmp_path / "g", halved) as opened:
        add_folder(opened, halved, drawn_folder, workers=1, provider="cpu")
    choice = report_command(tmp_path / "g", "--json").record["alpha"]
    assert choice["present"] == 1
    assert {"0", "0.25", "1", "2"} <= set(choice["recall@1"])
    best = choice["recall@1"][f"{choice['best']:g}"]
    assert best == max(choice["recall@1"].values()) or choice["best"] == 1


def test_what_an_alpha_would_find_is_the_same_whatever_alpha_the_model_has(bundle, drawn_folder, tmp_path):
    found = []
    for alpha in (1.0, 0.25):
        halved = without_decoder(bundle, tmp_path / f"halved{alpha}", semantic_dims=64, alpha=alpha)
        with Gallery.create(tmp_path / f"g{alpha}", halved) as opened:
            add_folder(opened, halved, drawn_folder, workers=1, provider="cpu")
        found.append(report_command(tmp_path / f"g{alpha}", "--json").record["alpha"]["recall@1"])
    assert len(set(found[0].values())) > 1
    assert found[0] == found[1]


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_pictures_are_refused(count, bundle, tmp_path):
    with Gallery.create(tmp_path / "g", bundle) as opened:
        if count:
            (tmp_path / "pictures").mkdir()
            for number in range(count):
                draw_picture(number).save(tmp_path / "pictures" / f"{number}.png")
            add_folder(opened, bundle, tmp_path / "pictures", workers=1, provider="cpu")
    ended = report_command(tmp_path / "g")
    assert ended.returncode == 4
    assert f"has {count} different pictures" in ended.stderr


def test_three_pictures_are_enough(bundle, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        draw_picture(number).save(tmp_path / "pictures" / f"{number}.png")
    with Gallery.create(tmp_path / "g", bundle) as opened:
        add_folder(opened, bundle, tmp_path / "pictures", workers=1, provider="cpu")
    assert report_command(tmp_path / "g", "--html", tmp_path / "page.html", "--json").record["originals"] == 3


def test_no_such_gallery(tmp_path):
    assert report_command("nowhere", "--home", tmp_path).returncode == 4
