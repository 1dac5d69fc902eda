"""A model's file is looked at before ONNX Runtime sees it: what asks for more than arithmetic is refused."""

import hashlib
import json
import shutil
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.bundle import Bundle
from export.onnx_file import UnsafeModelError, expect_self_contained
from train.errors import IncompatibleError


def weights(*, external: bool = False) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "secret.bin", "length": "16"}.items():
            tensor.external_data.add(key=key, value=value)
    return tensor


def graph(nodes, initializers=()):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    return helper.make_graph(nodes, "g", values[:1], values[1:], list(initializers))


def file_of(made, functions=()):
    return helper.make_model(made, functions=list(functions), ir_version=10).SerializeToString()


def constant(external):
    return helper.make_node("Constant", [], ["w"], value=weights(external=external))


def inside_a_branch(nodes):
    branch = helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    return helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)


def function_of(node):
    return helper.make_function("ai.onnx", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 20)])


RELU = helper.make_node("Relu", ["x"], ["y"])
ADD = helper.make_node("Add", ["x", "w"], ["y"])
STRANGE = helper.make_node("Relu", ["x"], ["y"], domain="com.example")
COMPILED = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")


@pytest.mark.parametrize(
    "content",
    [
        file_of(graph([RELU])),
        file_of(graph([ADD], [weights()])),
        file_of(graph([constant(False), ADD])),
        file_of(graph([inside_a_branch([helper.make_node("Relu", ["x"], ["z"])])])),
        file_of(graph([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")])),
    ],
)
def test_a_model_that_stands_alone_passes(content):
    expect_self_contained(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (file_of(graph([ADD], [weights(external=True)])), "beside it"),
        (file_of(graph([constant(True), ADD])), "beside it"),
        (file_of(graph([inside_a_branch([constant(True)])])), "beside it"),
        (file_of(graph([RELU]), [function_of(constant(True))]), "beside it"),
        (file_of(graph([STRANGE])), "com.example"),
        (file_of(graph([inside_a_branch([STRANGE])])), "com.example"),
        (file_of(graph([RELU]), [function_of(STRANGE)]), "com.example"),
        (file_of(graph([COMPILED])), "EPContext"),
        (file_of(graph([])), "no operators"),
        (b"", "no operators"),
        (b"not a model", "not an ONNX model"),
    ],
)
def test_what_asks_for_more_than_arithmetic_is_refused_wherever_it_stands(content, says):
    with pytest.raises(UnsafeModelError, match=says):
        expect_self_contained(content)


def test_every_truncation_and_every_damage_ends_in_an_answer(bundle):
    content = bundle.graph("encoder")
    random = np.random.default_rng(0)
    pieces = [content[:length] for length in range(0, len(content), 7)]
    for _ in range(2000):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        pieces.append(bytes(damaged))
    answers = set()
    for piece in pieces:
        try:
            expect_self_contained(piece)
            answers.add("passes")
        except UnsafeModelError as error:
            answers.add(str(error)[:20])
    assert len(answers) > 1


def test_nested_graphs_and_masses_of_parts_are_refused_quickly():
    node = helper.make_node("Relu", ["x"], ["y"])
    for _ in range(25):  # protobuf itself writes no more than 32
        node = inside_a_branch([node])
        node.attribute.pop()  # one branch: two would double the file each time
    deep = file_of(graph([node]))
    with pytest.raises(UnsafeModelError, match="too deeply"):
        expect_self_contained(deep)
    started = time.monotonic()
    with pytest.raises(UnsafeModelError, match="parts"):
        expect_self_contained(b"\x08\x01" * 3_000_000)
    assert time.monotonic() - started < 10


def test_a_large_model_is_looked_at_in_no_time():
    large = numpy_helper.from_array(np.zeros(25_000_000, np.float32), "w")
    content = file_of(graph([ADD], [large]))
    started = time.monotonic()
    expect_self_contained(content)
    assert time.monotonic() - started < 3, "100 MB of weights are stepped over, not read"


def test_a_bundle_whose_graph_names_files_is_refused_although_its_digest_is_right(bundle, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(bundle.folder, folder)
    model = onnx.load(folder / "encoder.onnx")
    model.graph.initializer.append(weights(external=True))
    content = model.SerializeToString()
    (folder / "encoder.onnx").write_bytes(content)
    description = json.loads((folder / "bundle.json").read_text())
    description["files"]["encoder.onnx"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(IncompatibleError, match=r"encoder\.onnx is refused: it keeps its weights in files beside it"):
        Bundle.open(folder).graph("encoder")
