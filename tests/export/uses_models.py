"""Models without training for the tests of `export/uses`: what they do to a picture is known beforehand."""

import contextlib
import io
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import export.uses.command as commands
from export.bundle import Bundle, ModelFacts, write_bundle
from train.command_line import exit_code
from train.images import Preprocessing

TILE = 32  # pixels


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def record(self) -> dict[str, Any]:
        return json.loads(self.stdout)


def use(name: str, *arguments: object, **environment: str) -> Ended:
    """Type `lookalike NAME ...`. All but the process is real."""
    output, complaints = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    if name != "decode" and name != "sample" and "--workers" not in words and name != "morph":
        words += ["--workers", "1"]
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(complaints),
        patch.dict(os.environ, environment),
    ):
        code = exit_code(getattr(commands, name), (name,), words)
    return Ended(code, output.getvalue(), complaints.getvalue())


def per_pixel_bundle(
    folder: Path, *, blur: int = 1, nan_above: int | None = None, scale: float = 1, **facts: Any
) -> Bundle:
    """A fully convolutional model of 32 x 32 pixels whose code is the picture itself.

    Args:
        folder: Its place.
        blur: Side of a box that the encoder averages over; beyond the border it sees black, as networks do.
        nan_above: Where the mean of a picture is above this level, its code is NaN: a broken model.
        scale: Of the code: this many times the values from 0 to 1.
        **facts: Of `ModelFacts`.
    """
    dims = 3 * TILE * TILE
    encoder = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["shares"]),
        helper.make_node("Transpose", ["shares"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["blurred"], kernel_shape=[blur, blur], pads=[blur // 2] * 4, count_include_pad=1
        ),
        helper.make_node("Flatten", ["blurred"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axis"], ["mean"]),
        helper.make_node("Greater", ["mean", "limit"], ["broken"]),
        helper.make_node("Where", ["broken", "nan", "flat"], ["honest"]),
        helper.make_node("Mul", ["honest", "scale"], ["latent"]),
        helper.make_node("LpNormalization", ["latent"], ["embedding"], axis=1, p=2),
    ]
    decoder = [
        helper.make_node("Div", ["latent", "scale"], ["values"]),
        helper.make_node("Clip", ["values", "zero", "one"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "white"], ["levels"]),
        helper.make_node("Round", ["levels"], ["rounded"]),
        helper.make_node("Reshape", ["rounded", "shape"], ["planes"]),
        helper.make_node("Transpose", ["planes"], ["float"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["float"], ["pixels"], to=TensorProto.UINT8),
    ]
    constants = {
        "white": np.float32(255),
        "zero": np.float32(0),
        "one": np.float32(1),
        "axis": np.array([1], np.int64),
        "limit": np.float32(9 if nan_above is None else nan_above / 255),
        "scale": np.float32(scale),
        "nan": np.float32(np.nan),
        "shape": np.array([-1, 3, TILE, TILE], np.int64),
    }
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", TILE, TILE, 3])
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["n", dims])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dims])
    graphs = {
        ("encoder", "fp32"): _file(encoder, [pixels], [latent, embedding], constants),
        ("decoder", "fp32"): _file(decoder, [latent], [pixels], constants),
    }
    told = {"tileable": True, "removes": ("gaussian",), "source": "itself"} | facts
    return write_bundle(
        folder,
        graphs,
        ModelFacts(preprocessing=Preprocessing(TILE), dims=dims, latent_shape=(3, TILE, TILE), **told),
        None,
    )


def retold(bundle: Bundle, folder: Path, *, without_decoder: bool = False, **facts: Any) -> Bundle:
    """The same graphs in another bundle that says something else of itself."""
    graphs = {("encoder", "fp32"): bundle.graph("encoder")}
    if not without_decoder:
        graphs["decoder", "fp32"] = bundle.graph("decoder")
    return write_bundle(folder, graphs, replace(bundle.facts, **facts), bundle.probes)


def _file(nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray]) -> bytes:
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(np.asarray(c), name) for name, c in constants.items() if name in used]
    graph = helper.make_graph(nodes, "per pixel", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()
