"""Somebody else's encoder becomes a bundle whose embeddings are its own, or is refused with what would mend it."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.bundle import Bundle
from export.command import export
from export.foreign import ForeignEncoder, export_foreign
from export.sessions import Encoder
from train.command_line import exit_code
from train.errors import DamagedError, IncompatibleError, NothingFoundError, SettingsError
from train.progress import SILENT

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def foreign_file(
    path,
    *,
    layout="nchw",
    batch="batch",
    size=32,
    outputs=("features",),
    kind=TensorProto.FLOAT,
    domain="",
    opset=17,
    reshape=False,
):
    """Write an encoder: a random 4 x 4 patch convolution, ReLU, and the mean over all places."""
    weights = np.random.default_rng(0).normal(size=(10, 3, 4, 4)).astype(np.float32)
    shape = [batch, 3, size, size] if layout == "nchw" else [batch, size, size, 3]
    nodes = [] if layout == "nchw" else [helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])]
    source = "image" if layout == "nchw" else "planes"
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [source], ["as_float"], to=TensorProto.FLOAT))
        source = "as_float"
    nodes += [
        helper.make_node("Conv", [source, "weights"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["positive"], domain=domain),
        helper.make_node("GlobalAveragePool", ["positive"], [outputs[0]]),
    ]
    nodes += [helper.make_node("Relu", ["positive"], [name]) for name in outputs[1:]]
    constants = [numpy_helper.from_array(weights, "weights")]
    if reshape:
        nodes[-1].output[0] = "pooled"
        nodes.append(helper.make_node("Reshape", ["pooled", "one_row"], [outputs[0]]))
        constants.append(numpy_helper.from_array(np.array([1, -1], np.int64), "one_row"))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


def expected_embeddings(pixels):
    weights = np.random.default_rng(0).normal(size=(10, 3, 4, 4)).astype(np.float32)
    x = (pixels / 255 - np.asarray(MEAN)) / np.asarray(STD)
    patches = x.reshape(len(x), 8, 4, 8, 4, 3).transpose(0, 1, 3, 5, 2, 4)
    features = np.maximum(np.einsum("nyxcij,ocij->nyxo", patches, weights), 0).mean((1, 2))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def wrapped(file, tmp_path, **settings) -> Bundle:
    foreign = ForeignEncoder(file=file, **({"size": 32, "mean": MEAN, "std": STD} | settings))
    return export_foreign(foreign, tmp_path / "model", licence="", reporter=SILENT)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_wrapped_encoder_gives_the_embeddings_of_the_original(tmp_path, layout, kind, drawn_pixels):
    bundle = wrapped(foreign_file(tmp_path / "f.onnx", layout=layout, kind=kind), tmp_path)
    found = Encoder.open(bundle, provider="cpu").encode(drawn_pixels).embeddings
    assert np.abs(found - expected_embeddings(drawn_pixels)).max() < 2e-3
    assert (bundle.dims, bundle.has_decoder) == (10, False)


def test_a_batch_size_that_is_fixed_in_name_only_is_freed(tmp_path, drawn_pixels):
    bundle = wrapped(foreign_file(tmp_path / "f.onnx", batch=1), tmp_path)
    assert Encoder.open(bundle, provider="cpu").encode(drawn_pixels).embeddings.shape == (24, 10)


def test_one_of_several_outputs_is_chosen_by_name(tmp_path):
    file = foreign_file(tmp_path / "f.onnx", outputs=("features", "maps_again"))
    with pytest.raises(SettingsError, match="--output-name: features, maps_again"):
        wrapped(file, tmp_path)
    with pytest.raises(SettingsError, match=r"'pooled'.*features, maps_again"):
        wrapped(file, tmp_path, output_name="pooled")
    assert wrapped(file, tmp_path, output_name="features").dims == 10
    assert wrapped(file, tmp_path, output_name="maps_again").dims == 640


@pytest.mark.parametrize(
    ("settings", "asked", "error", "says"),
    [
        ({}, {"size": 48}, SettingsError, "takes 32 x 32"),
        ({"batch": 1, "reshape": True}, {}, IncompatibleError, "dynamic batch"),
        ({"domain": "com.example"}, {}, IncompatibleError, "com.example"),
        ({"opset": 9}, {}, IncompatibleError, "opset 9"),
        ({}, {"std": (0.0, 1.0, 1.0)}, SettingsError, "standard deviation above 0"),
        ({"kind": TensorProto.DOUBLE}, {}, IncompatibleError, "must be floats"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_with_the_reason(tmp_path, settings, asked, error, says):
    file = foreign_file(tmp_path / "f.onnx", **settings)
    with pytest.raises(error, match=says):
        wrapped(file, tmp_path, **asked)
    assert not (tmp_path / "model").exists()


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "f.onnx").write_bytes(b"not a model")
    with pytest.raises(DamagedError, match="ONNX model"):
        wrapped(tmp_path / "f.onnx", tmp_path)
    with pytest.raises(NothingFoundError):
        wrapped(tmp_path / "nothing.onnx", tmp_path)


def test_weights_in_another_file_are_refused(tmp_path):
    model = onnx.load(foreign_file(tmp_path / "f.onnx"))
    onnx.save_model(model, tmp_path / "g.onnx", save_as_external_data=True, location="w", size_threshold=0)
    with pytest.raises((IncompatibleError, DamagedError), match=r"beside it|cannot be read"):
        wrapped(tmp_path / "g.onnx", tmp_path)


def test_a_graph_inside_the_graph_is_wrapped_with_it(tmp_path, drawn_pixels):
    """An encoder whose last step is a branch: every name inside has to follow the prefix."""
    model = onnx.load(foreign_file(tmp_path / "f.onnx"))
    model.graph.node[-1].output[0] = "pooled"
    outcome = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    branch = helper.make_graph([helper.make_node("Identity", ["pooled"], ["z"])], "b", [], outcome)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["features"], then_branch=branch, else_branch=branch))
    onnx.save(model, tmp_path / "f.onnx")
    found = Encoder.open(wrapped(tmp_path / "f.onnx", tmp_path), provider="cpu").encode(drawn_pixels).embeddings
    assert np.abs(found - expected_embeddings(drawn_pixels)).max() < 1e-5


def test_the_command_wraps_a_file_and_says_what_it_can_do(tmp_path, capsys):
    file = foreign_file(tmp_path / "patches.onnx")
    arguments = ["--from-onnx", str(file), "--size", "32", "--mean", "0.485,0.456,0.406", "--std", "0.25"]
    home = ["--home", str(tmp_path / "home"), "--quiet"]
    assert exit_code(export, ("export",), [*arguments, *home, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["dims"], record["variants"], record["preprocessing"]["size"]) == (10, ["fp32"], 32)
    assert record["folder"] == str(tmp_path / "home" / "models" / "patches")
    assert exit_code(export, ("export",), [*arguments, *home]) == 0
    assert "without decoder: search works, morphing does not" in capsys.readouterr().out
    assert exit_code(export, ("export",), [*arguments, *home, "--std", "a,b"]) == 2
    assert "neither one number nor three" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "arguments", "says"),
    [
        ("onnx", ["--from-onnx", "encoder.onnx", "--size", "32"], "needs the package onnx"),
        ("torch", ["--from-onnx", "encoder.onnx", "--size", "32"], "no file encoder.onnx"),
    ],
)
def test_wrapping_needs_onnx_but_no_pytorch_and_says_so_in_one_line(tmp_path, missing, arguments, says):
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from export.command import export\nfrom train.command_line import run\nrun(export, ('export',))"
    )
    command = [sys.executable, "-c", script, *arguments, "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == (2 if missing == "onnx" else 4)
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
