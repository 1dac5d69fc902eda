"""A bundle comes back as it was written, and is refused when it is not what was written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.bundle import Bundle, ModelFacts, model_id_of, probe_pixels, write_bundle
from export.sessions import Encoder
from train.decoding import DecodePool
from train.errors import DamagedError, IncompatibleError, NothingFoundError
from train.images import FOLDER_LIMITS, Preprocessing


@pytest.fixture
def copied(bundle, tmp_path):
    """A bundle that a test may damage."""
    shutil.copytree(bundle.folder, tmp_path / "model")
    return tmp_path / "model"


def change(folder, **values):
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_bundle_comes_back_as_it_was_written(bundle):
    again = Bundle.open(bundle.folder)
    assert again == bundle
    assert np.array_equal(again.probes, bundle.probes)
    assert (again.dims, again.preprocessing.size, again.has_decoder, again.variants) == (192, 32, True, ("fp32",))
    json.dumps(again.info())


def test_the_model_id_is_of_the_encoder_and_how_pictures_are_prepared(bundle):
    encoder = bundle.graph("encoder")
    assert bundle.model_id == model_id_of(encoder, Preprocessing(32))
    assert model_id_of(encoder, Preprocessing(48)) != bundle.model_id
    assert model_id_of(encoder + b"\0", Preprocessing(32)) != bundle.model_id


def test_a_folder_without_a_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(NothingFoundError, match="lookalike export"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_damaged_graph_is_named(copied, part, damage):
    file = copied / f"{part}.onnx"
    content = file.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        file.unlink()
    elif damage == "flipped":
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 0x15]) + content[middle + 1 :])
    else:
        file.write_bytes(content[:middle] if damage == "truncated" else b"")
    with pytest.raises(DamagedError, match=file.name):
        Bundle.open(copied).graph(part)


@pytest.mark.parametrize("left", [0, 100, 1000])
def test_a_description_that_is_cut_short_is_named(copied, left):
    file = copied / "bundle.json"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DamagedError, match=file.name):
        Bundle.open(copied)


def test_a_newer_format_is_refused(copied):
    change(copied, format=99)
    with pytest.raises(IncompatibleError, match="update Lookalike"):
        Bundle.open(copied)


@pytest.mark.parametrize(
    "values",
    [
        {"dims": "many"},
        {"dims": float("inf")},
        {"files": {}},
        {"files": {"../encoder.onnx": {"sha256": "", "bytes": 1}}},
        {"files": {"encoder.onnx": {"sha256": "00", "bytes": 10**12}}},
        {"probes": [[0.0, 1.0]]},
        {"format": "1"},
        {"preprocessing": []},
    ],
)
def test_a_description_that_makes_no_sense_is_damaged(copied, values):
    change(copied, **values)
    with pytest.raises((DamagedError, IncompatibleError)):
        Bundle.open(copied)


@pytest.mark.parametrize("text", ["[" * 100_000, "{" + " " * (17 << 20) + "}", "\ud800", "null", "[]"])
def test_a_description_that_is_no_description_is_damaged(copied, text):
    (copied / "bundle.json").write_text(text, errors="surrogatepass")
    with pytest.raises(DamagedError, match=r"bundle\.json"):
        Bundle.open(copied)


def test_pictures_that_are_prepared_otherwise_are_refused(copied, bundle):
    change(copied, preprocessing=bundle.preprocessing.to_json() | {"resample": "NEAREST"})
    with pytest.raises(IncompatibleError, match="resample"):
        Bundle.open(copied)


def test_a_bundle_takes_the_place_of_another_whole(bundle, tmp_path):
    graphs = {("encoder", "fp32"): bundle.graph("encoder")}
    facts = ModelFacts(preprocessing=Preprocessing(32), dims=192, licence="CC BY 4.0")
    shutil.copytree(bundle.folder, tmp_path / "model")
    replaced = write_bundle(tmp_path / "model", graphs, facts, None)
    assert not replaced.has_decoder
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == ["bundle.json", "encoder.onnx"]
    assert replaced.info()["licence"] == "CC BY 4.0"
    with pytest.raises(NothingFoundError) as error:
        replaced.graph("decoder")
    assert error.value.problem.code == "no_decoder"


def test_probes_notice_a_machine_that_computes_otherwise(bundle, copied, caplog):
    assert Encoder.open(bundle, provider="cpu").degraded is None
    change(copied, probes=np.roll(bundle.probes, 7, axis=1).tolist())
    drifted = Encoder.open(Bundle.open(copied), provider="cpu")
    assert "other embeddings" in (drifted.degraded or "")


def test_probe_pictures_are_drawn_alike_everywhere():
    pixels = probe_pixels(64)
    assert pixels.shape == (4, 64, 64, 3)
    assert pixels.dtype == np.uint8
    assert len({picture.tobytes() for picture in pixels}) == 4
    assert np.array_equal(pixels, probe_pixels(64))


def test_the_example_of_the_documentation_computes_the_same_without_lookalike(bundle, drawn_folder, tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copy(bundle.folder / "encoder.onnx", tmp_path)
    shutil.copy(drawn_folder / "square" / "picture-00.jpg", tmp_path / "cat.jpg")
    script = example + "\nassert not {'train', 'export'} & set(__import__('sys').modules)\nprint(*embedding[0])"
    ended = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    theirs = np.array([float(word) for word in ended.stdout.split()])
    with DecodePool(1, FOLDER_LIMITS) as pool:
        pixels = pool.fit((tmp_path / "cat.jpg").read_bytes(), bundle.preprocessing).pixels
    ours = Encoder.open(bundle, provider="cpu").encode(pixels[None]).embeddings[0]
    assert float(ours @ theirs) > 0.999
