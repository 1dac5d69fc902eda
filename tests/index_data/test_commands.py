"""`lookalike index ...` and `lookalike search` as they are typed."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

import search_server.lookalike
from index_data.gallery import Gallery
from tests.conftest import draw_picture
from train.command_line import exit_code


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def lookalike(*arguments: object, **environment: str) -> Ended:
    """Type a command. All but the process is real: Python's start would take most of the time."""
    output, complaints = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(complaints), patch.dict(os.environ, environment):
        code = exit_code(search_server.lookalike.lookalike, (), [str(argument) for argument in arguments])
    return Ended(code, output.getvalue(), complaints.getvalue())


@pytest.fixture(scope="module")
def home(bundle, drawn_folder, tmp_path_factory):
    """A workspace with one model and a gallery of the 48 drawn pictures. Read only."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    shutil.copytree(bundle.folder, home / "models" / "averaging")
    # The only model there is needs no --model.
    ended = lookalike("index", "add", "drawn", drawn_folder, "--home", home, "--provider", "cpu", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    assert "Execution provider: cpu (asked for: cpu)." in ended.stderr
    assert "48 embedded" in ended.stdout
    assert f"Next: lookalike serve drawn --home {home}" in ended.stdout
    return home


def test_each_stage_is_a_program_of_its_own(home):
    words = [sys.executable, "-m", "index_data", "list", "drawn", "--home", home]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("drawn: 48 items, generation 000001\n")


def test_adding_again_says_as_json_that_nothing_was_embedded(home, drawn_folder):
    ended = lookalike("index", "add", "drawn", drawn_folder, "--home", home, "--json", "--quiet")
    assert ended.stderr == ""
    record = json.loads(ended.stdout)
    assert record.keys() == {
        "seen", "embedded", "duplicate", "moved", "unchanged", "resumed", "rejected", "other", "removed", "seconds",
        "generation", "gallery", "items",
    }  # fmt: skip
    assert (record["seen"], record["unchanged"], record["embedded"], record["items"]) == (48, 48, 0, 48)


def test_a_search_finds_the_picture_itself_first(home, drawn_folder):
    queries = sorted(drawn_folder.rglob("*.png"))[:2]
    ended = lookalike("search", "drawn", *queries, "-k", 3, "--home", home, "--json")
    assert ended.returncode == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert record["provider"] == "cpu"
    assert [answer["query"] for answer in record["results"]] == [str(query) for query in queries]
    for answer in record["results"]:
        assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
        assert answer["hits"][0]["file"] == answer["query"]
        assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_a_search_is_shown_as_a_table(home, drawn_folder):
    query = drawn_folder / "square" / "picture-02.png"
    ended = lookalike("search", "drawn", query, "-k", 2, "--home", home)
    title, first, second = ended.stdout.splitlines()
    assert title.split() == ["rank", "score", "label", "file"]
    assert first.split() == ["1", "1.0000", "identical", str(query)]
    assert second.split()[0] == "2"


def test_a_search_says_what_its_scores_mean_and_when_nothing_is_close(home, drawn_folder, tmp_path):
    query = drawn_folder / "square" / "picture-02.png"
    noise = tmp_path / "noise.png"
    Image.effect_noise((96, 80), 100).convert("RGB").save(noise)
    ended = lookalike("search", "drawn", query, noise, "-k", 48, "--home", home, "--json")
    near, far = json.loads(ended.stdout)["results"]
    assert (near["warning"], near["hits"][0]["label"], near["hits"][0]["percentile"]) == (None, "identical", 100.0)
    assert far["hits"][0]["label"] == "weak"
    assert far["warning"] == "nothing-close"
    shown = lookalike("search", "drawn", noise, "-k", 1, "--home", home)
    assert shown.stdout.splitlines()[-1] == "Nothing in this gallery is much like it: these are only the nearest."


def test_a_search_can_be_weighed(halved_bundle, drawn_folder, tmp_path):
    options = ["--home", tmp_path, "--quiet"]
    model = ["--model", halved_bundle.folder, "--provider", "cpu", "--workers", 1]
    assert lookalike("index", "add", "drawn", drawn_folder, *options, *model).returncode == 0
    query = drawn_folder / "square" / "picture-02.png"
    found = {}
    for beta in (0, 1, 1000):
        record = json.loads(lookalike("search", "drawn", query, "--beta", beta, "--json", *options).stdout)
        assert record["beta"] == beta
        assert record["results"][0]["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
        found[beta] = [hit["id"] for hit in record["results"][0]["hits"]]
    assert found[0] != found[1000]
    assert found[1] == [
        hit["id"]
        for hit in json.loads(lookalike("search", "drawn", query, "--json", *options).stdout)["results"][0]["hits"]
    ]
    assert lookalike("search", "drawn", query, "--beta", 1001, *options).returncode == 2
    assert "beta is nan" in lookalike("search", "drawn", query, "--beta", "nan", *options).stderr


def test_a_model_without_a_semantic_half_cannot_be_weighed(home, drawn_folder):
    ended = lookalike("search", "drawn", drawn_folder / "square" / "picture-02.png", "--beta", 2, "--home", home)
    assert ended.returncode == 7
    assert "no semantic half" in ended.stderr


def test_a_gallery_may_be_named_by_its_path(home, drawn_folder):
    query = drawn_folder / "square" / "picture-02.png"
    assert lookalike("search", home / "galleries" / "drawn", query).returncode == 0


def test_queries_that_are_no_images_cost_only_themselves(home, drawn_folder, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    good = drawn_folder / "square" / "picture-02.png"
    ended = lookalike("search", "drawn", tmp_path / "text.jpg", good, tmp_path / "nowhere.png", "--home", home)
    assert ended.returncode == 0
    complaints = [line for line in ended.stderr.splitlines() if line.startswith("lookalike: ")]
    assert len(complaints) == 2
    assert "text.jpg" in complaints[0]
    assert "nowhere.png: There is no such file" in complaints[1]
    alone = lookalike("search", "drawn", tmp_path / "text.jpg", "--home", home, "--json")
    assert alone.returncode == 4
    assert json.loads(alone.stdout)["results"][0]["problem"]["code"] == "unsupported_format"


def test_galleries_are_listed(home):
    ended = lookalike("index", "list", "--home", home)
    assert ended.stdout.splitlines()[1].split() == ["drawn", "48", "0", "averaging"]
    record = json.loads(lookalike("index", "list", "drawn", "--home", home, "--json").stdout)
    assert (record["items"], record["rejected"], record["generation"]) == (48, 0, "000001")
    assert "no gallery" in lookalike("index", "list", "--home", home / "nowhere").stdout


def test_a_sound_gallery_verifies_and_a_damaged_one_is_mended(home, tmp_path):
    copy = shutil.copytree(home, tmp_path / "copy")
    ended = lookalike("index", "verify", "drawn", "--home", copy, "--quiet")
    assert (ended.returncode, ended.stdout) == (0, "All is well with the 48 items of drawn.\n")
    (copy / "galleries" / "drawn" / "indexes" / "000001" / "vectors.npy").write_bytes(b"")
    ended = lookalike("index", "verify", "drawn", "--home", copy, "--quiet")
    assert ended.returncode == 8
    assert "vectors.npy" in ended.stdout
    assert "--repair" in ended.stderr
    assert lookalike("index", "verify", "drawn", "--home", copy, "--repair").returncode == 0
    assert lookalike("index", "verify", "drawn", "--home", copy).returncode == 0


def test_a_scan_is_planned_then_done(home, drawn_folder, tmp_path):
    copy = shutil.copytree(home, tmp_path / "copy")
    pictures = shutil.copytree(drawn_folder, tmp_path / "pictures")
    lookalike("index", "add", "mine", pictures, "--home", copy)
    draw_picture(77).save(pictures / "new.png")
    (pictures / "square" / "picture-02.png").unlink()
    planned = json.loads(lookalike("index", "scan", "mine", "--dry-run", "--json", "--home", copy).stdout)
    assert (planned["new"], planned["missing"], planned["unchanged"]) == (1, 1, 47)
    with Gallery.open(copy / "galleries" / "mine") as gallery:
        assert gallery.count == 48
    done = json.loads(lookalike("index", "scan", "mine", "--json", "--home", copy).stdout)
    assert (done["embedded"], done["removed"], done["unchanged"]) == (1, 1, 47)


def test_a_gallery_is_looked_after(home, drawn_folder, tmp_path, other_bundle):
    copy = shutil.copytree(home, tmp_path / "copy")
    options = ["--home", copy, "--quiet", "--json"]

    def record(*words):
        ended = lookalike("index", *words, *options)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    assert record("build", "drawn", "--if-due")["generation"] is None
    assert record("build", "drawn")["generation"] == "000002"
    assert record("remove", "drawn", drawn_folder / "square", "--dry-run")["removed"] == 0
    assert record("remove", "drawn", "1", drawn_folder / "square")["items"] in (23, 24)
    assert record("rollback", "drawn", "000002")["before"] == "000003"
    generations = {each["name"]: each for each in record("list", "drawn")["generations"]}
    assert (generations["000002"]["rolled_back"], generations["000003"]["current"]) == (True, False)
    left = record("list", "drawn")["items"]
    # What was taken out stays out, unless it is asked for.
    assert record("add", "drawn", drawn_folder)["items"] == left
    assert record("add", "drawn", drawn_folder, "--retry")["items"] == 48
    file = tmp_path / "drawn.tar"
    assert record("export", "drawn", file)["items"] == 48
    assert record("import", "again", file)["items"] == 48
    changed = record("build", "again", "--model", other_bundle.folder, "--provider", "cpu", "--workers", 1)
    assert (changed["embedded"], changed["model"]) == (48, other_bundle.model_id)
    assert record("verify", "again")["findings"] == []
    moved = drawn_folder.parent
    assert record("relocate", "again", drawn_folder, moved)["roots"] == 1


def test_a_watched_gallery_takes_in_what_is_new_until_it_is_told_to_stop(home, drawn_folder, tmp_path):
    copy = shutil.copytree(home, tmp_path / "copy")
    pictures = shutil.copytree(drawn_folder / "square", tmp_path / "pictures")
    lookalike("index", "add", "mine", pictures, "--home", copy)
    words = [sys.executable, "-m", "index_data", "watch", "mine", "--every", "1", "--home", copy, "--quiet", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        draw_picture(77).save(pictures / "new.png")
        assert json.loads(watching.stdout.readline())["items"] == 25
        (pictures / "new.png").unlink()
        assert json.loads(watching.stdout.readline())["items"] == 24
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130


def test_names_with_line_feeds_and_bytes_that_are_no_text_go_all_the_way(home, tmp_path):
    copy = shutil.copytree(home, tmp_path / "copy")
    odd = tmp_path / os.fsdecode(b"odd\xff\nfolder")
    odd.mkdir()
    names = [b"line\nfeed.png", b"not\xffutf8.png", b"\x1b[31mred.png"]
    for number, name in enumerate(names):
        draw_picture(number).save(odd / os.fsdecode(name))
    (odd / os.fsdecode(b"bad\xff\n.jpg")).write_text("no picture")
    added = lookalike("index", "add", "odd", odd, "--max-bad", 1, "--home", copy)
    assert added.returncode == 0, added.stderr
    for ended in (
        added,
        lookalike("search", "odd", odd / os.fsdecode(names[1]), "--home", copy),
        lookalike("index", "list", "odd", "--home", copy),
        lookalike("index", "verify", "odd", "--home", copy),
    ):
        assert ended.returncode == 0, ended.stderr
        assert "\x1b" not in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
    found = json.loads(lookalike("search", "odd", odd / os.fsdecode(names[0]), "--home", copy, "--json").stdout)
    assert {Path(hit["file"]).name for hit in found["results"][0]["hits"]} == {
        "line\\nfeed.png", "not\\xffutf8.png", "\\x1b[31mred.png",
    }  # fmt: skip


# --- Refusals: one line with the remedy, and the exit code of the table ---


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("index", "add", "new", "FOLDER", "--model", "nothing"), 4, "no model 'nothing'"),
        (("index", "add", "new", "NOWHERE"), 4, "no folder"),
        (("index", "add", "new", "EMPTY"), 4, "no images"),
        (("index", "add", "new", "FOLDER", "--provider", "coreml"), 2, "coreml"),
        (("index", "add", "new", "FOLDER", "--provider", "abacus"), 2, "abacus"),
        (("index", "add", "new", "FOLDER", "--batch", "1000"), 2, "--batch"),
        (("index", "scan", "nothing"), 4, "no gallery 'nothing'"),
        (("index", "verify", "drwan"), 4, "Did you mean drawn"),
        (("search", "drawn", "NOWHERE"), 4, "no image"),
        (("search", "drawn"), 2, "say what to look for"),
        (("search", "drawn", "FOLDER"), 2, "is a folder: --dir "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(home, drawn_folder, tmp_path, words, code, said):
    (tmp_path / "empty").mkdir()
    places = {"FOLDER": drawn_folder, "NOWHERE": tmp_path / "nowhere", "EMPTY": tmp_path / "empty"}
    ended = lookalike(*(places.get(word, word) for word in words), "--home", home)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (home / "galleries" / "new").exists()


def test_a_gallery_whose_model_is_gone_says_so_and_takes_another(home, drawn_folder, tmp_path, other_bundle):
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    shutil.rmtree(copy / "models" / "averaging")
    shutil.move(home / "models", home / "elsewhere")  # where it was before the workspace was copied
    try:
        ended = lookalike("search", "drawn", drawn_folder / "square" / "picture-02.png", "--home", copy)
    finally:
        shutil.move(home / "elsewhere", home / "models")
    assert ended.returncode == 4
    assert (
        "put it back, or give the gallery another one with `lookalike index build drawn --model MODEL`" in ended.stderr
    )
    ended = lookalike("index", "build", "drawn", "--model", other_bundle.folder, "--home", copy)
    assert ended.returncode == 0, ended.stderr
    assert lookalike("search", "drawn", drawn_folder / "square" / "picture-02.png", "--home", copy).returncode == 0


def test_a_gallery_of_another_model_is_refused(home, drawn_folder, other_bundle, bundle):
    ended = lookalike("index", "add", "drawn", drawn_folder, "--model", other_bundle.folder, "--home", home)
    assert ended.returncode == 7
    assert other_bundle.model_id in ended.stderr
    assert bundle.model_id in ended.stderr


def test_more_rejected_images_than_allowed_end_with_code_three(home, drawn_folder, tmp_path):
    copy = shutil.copytree(home, tmp_path / "copy")
    pictures = shutil.copytree(drawn_folder, tmp_path / "pictures")
    for number in range(5):
        (pictures / f"bad-{number}.jpg").write_text("no picture")
    ended = lookalike("index", "add", "mine", pictures, "--home", copy, "--json")
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["rejected"] == {"unsupported_format": 5}
    assert "5 of 53" in ended.stderr
    allowed = lookalike("index", "add", "mine", pictures, "--home", copy, LOOKALIKE_INDEX_ADD_MAX_BAD="0.2")
    assert allowed.returncode == 0
