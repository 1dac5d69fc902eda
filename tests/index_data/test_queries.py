"""Queries of several pictures, in all forms, from a folder; answers as files."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from index_data.engine import Engine
from index_data.queries import best_of, combine, combine_latents, unit_vector, variants
from tests.conftest import draw_picture
from tests.index_data.test_commands import lookalike
from train.errors import UserError


def units(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_picture_has_eight_forms_and_is_itself_the_first():
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    forms = variants(pixels, "all")
    assert np.array_equal(forms[0], pixels)
    assert len({form.tobytes() for form in forms}) == len(forms) == 8
    image = Image.fromarray(pixels)
    turned = {np.asarray(image.transpose(turn)).tobytes() for turn in Image.Transpose} | {pixels.tobytes()}
    assert {form.tobytes() for form in forms} == turned
    assert [len(variants(pixels, kind)) for kind in ("none", "mirror", "rotate")] == [1, 2, 4]


def test_a_combined_query_is_the_weighted_sum_of_length_1():
    vectors = units([1, 0, 0], [0, 1, 0], [0, 0, 1])
    assert combine(vectors[:1], [3.0]) == pytest.approx([1, 0, 0])
    assert combine(vectors, [1, 1, -1]) == pytest.approx(np.array([1, 1, -1]) / np.sqrt(3))
    assert combine(vectors, [2, 0, 1]) == pytest.approx(np.array([2, 0, 1]) / np.sqrt(5))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [float("nan"), 1.0], [1e9, 1.0]])
def test_pictures_that_cancel_each_other_are_no_query(weights):
    with pytest.raises(UserError):
        combine(units([1, 2], [1, 2]), weights)


def test_a_combined_latent_is_a_mean():
    latents = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    assert combine_latents(latents, [1, 1]) == pytest.approx([2, 4])
    assert combine_latents(latents, [1, -1]) == pytest.approx([-1, -2])


def test_a_vector_is_scaled_to_length_1_or_refused():
    assert unit_vector([3, 4], 2) == pytest.approx([0.6, 0.8])
    for vector, dims in (([1, 2], 3), ([0, 0], 2), ([float("inf"), 1], 2)):
        with pytest.raises(UserError):
            unit_vector(vector, dims)


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.floats(-1, 1)), max_size=8), max_size=5), st.integers(0, 12))
def test_the_best_of_several_is_each_thing_once_with_its_best_score(found, k):
    best: dict[int, float] = {}
    for pairs in found:
        for thing, score in pairs:
            best[thing] = max(best.get(thing, -2), score)
    chosen = best_of(found, k)
    assert [score for _, score in chosen] == sorted(best.values(), reverse=True)[:k]
    assert all(best[thing] == score for thing, score in chosen)


def test_images_are_added_and_taken_away_on_the_command_line(filled, drawn_folder, bundle):
    one, two = drawn_folder / "round" / "picture-01.png", drawn_folder / "square" / "picture-02.png"
    words = ["search", filled, "--plus", one, 2, "--minus", two, 0.5, "--provider", "cpu", "--json", "-q"]
    ended = lookalike(*words)
    assert ended.returncode == 0, ended.stderr
    (answer,) = json.loads(ended.stdout)["results"]
    assert answer["query"] == f"+2 {one} -0.5 {two}"
    with Engine.open(filled, bundle=bundle, provider="cpu") as engine:
        by_name = {item.name: item.id for item in engine.gallery.items()}
        vectors = engine.gallery.embeddings([by_name["picture-01.png"], by_name["picture-02.png"]])
        expected = engine.search(combine(vectors, [2, -0.5])[None], 10)[0]
    assert [hit["id"] for hit in answer["hits"]] == [str(hit.id) for hit in expected]


def test_a_turned_part_of_a_picture_is_found(filled, tmp_path):
    square = draw_picture(2, 96, 80).crop((8, 0, 88, 80)).transpose(Image.Transpose.ROTATE_270)
    sheet = Image.new("RGB", (160, 80))
    sheet.paste(square, (80, 0))
    sheet.save(tmp_path / "sheet.png")
    words = ["search", filled, tmp_path / "sheet.png", "--crop", "0.5,0,0.5,1", "--provider", "cpu", "--json", "-q"]
    found = json.loads(lookalike(*words, "--transforms", "all").stdout)["results"][0]["hits"]
    assert found[0]["file"].endswith("picture-02.png")
    assert found[0]["score"] > 0.99
    assert json.loads(lookalike(*words).stdout)["results"][0]["hits"][0]["score"] < found[0]["score"]


@pytest.fixture
def queries(tmp_path):
    folder = tmp_path / "queries"
    (folder / "in").mkdir(parents=True)
    draw_picture(1).save(folder / "=one.png")
    draw_picture(2).save(folder / "in" / "<b>two.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xffrubbish")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_of_queries_is_answered_in_a_file(filled, queries, tmp_path):
    for suffix in ("jsonl", "csv", "html"):
        out = tmp_path / f"hits.{suffix}"
        ended = lookalike("search", filled, "--dir", queries, "--out", out, "-k", 3, "--provider", "cpu")
        assert ended.returncode == 0, ended.stderr
        assert "The answers to 3 queries are in" in ended.stdout
        assert "broken.jpg" in ended.stderr
    answers = [json.loads(line) for line in (tmp_path / "hits.jsonl").read_text().splitlines()]
    assert [len(answer.get("hits", [])) for answer in answers] == [3, 0, 3]
    with (tmp_path / "hits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert [row["problem"] for row in rows] == ["", "", "", "corrupt", "", "", ""]
    page = (tmp_path / "hits.html").read_text()
    assert page.count("<img ") == 6
    assert "&lt;b&gt;two.png" in page
    assert "<b>two" not in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to look for"),
        (["x.png", "--plus", "y.png", "1"], "say what to look for"),
        (["x.png", "--crop", "1,2"], "four shares"),
        (["x.png", "--out", "hits.txt"], "name the list so"),
        (["--plus", "x.png", "0"], "0<x"),
        (["--plus", "x.png", "1", "--transforms", "all"], "one image at a time"),
        (["--plus", "x.png", "1000"], "100"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(filled, words, said):
    ended = lookalike("search", filled, *words)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_a_folder_without_images_is_said(filled, tmp_path):
    ended = lookalike("search", filled, "--dir", tmp_path)
    assert (ended.returncode, "no images to look for" in ended.stderr) == (4, True)
