"""Somebody else's ONNX encoder as a bundle: its preprocessing moves into the graph, its output becomes the embedding.

Such a bundle has no decoder: search works, morphing is refused with a clear error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from export.bundle import MAX_GRAPH_BYTES, Bundle, ModelFacts, probe_pixels, write_bundle
from export.onnx_file import UnsafeModelError, expect_self_contained
from export.sessions import PROVIDERS, open_session
from train.errors import DamagedError, IncompatibleError, NothingFoundError, SettingsError
from train.images import Preprocessing
from train.progress import Reporter

OLDEST_OPSET = 11
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}
_PREFIX = "foreign/"


@dataclass(frozen=True, kw_only=True)
class ForeignEncoder:
    """An ONNX file and what its input expects."""

    file: Path
    size: int  # side of its input, pixels
    mean: tuple[float, float, float]  # R, G, B, of pixels from 0 to 1
    std: tuple[float, float, float]
    input_name: str | None = None  # None: the only one
    output_name: str | None = None
    layout: str | None = None  # "nchw" or "nhwc"; None: by where the 3 stands in its shape


def export_foreign(foreign: ForeignEncoder, folder: Path, *, licence: str, reporter: Reporter) -> Bundle:
    """Wrap a foreign encoder, run it, and publish it as a bundle.

    Raises:
        NothingFoundError: There is no such file.
        DamagedError: It is no ONNX model.
        SettingsError: A name, the size or the layout does not fit it.
        IncompatibleError: It cannot be wrapped: external data, foreign operators, one fixed batch size.
        DiskError: The bundle cannot be written.
    """
    model = _load(foreign.file)
    reporter.say(f"Wrapping {foreign.file.name}: preprocessing before it, unit length after it ...")
    graph = _wrap(model, foreign).SerializeToString()
    latents, embeddings = _try(graph, foreign)
    facts = ModelFacts(
        preprocessing=Preprocessing(foreign.size),
        dims=latents.shape[1],
        semantic_dims=0,
        source=f"foreign encoder {foreign.file.name}",
        licence=licence,
        versions={"onnx": onnx.__version__},
    )
    return write_bundle(folder, {("encoder", "fp32"): graph}, facts, embeddings)


def _load(file: Path) -> onnx.ModelProto:
    if not file.is_file():
        raise NothingFoundError(f"there is no file {file}: give the ONNX file of an encoder.")
    try:
        if file.stat().st_size > MAX_GRAPH_BYTES:
            raise IncompatibleError(f"{file} has more than {MAX_GRAPH_BYTES >> 20} MB: use a smaller encoder.")
        content = file.read_bytes()
    except OSError as error:
        raise DamagedError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, whose package is none of ours
        raise DamagedError(f"{file} is no ONNX model, or it is cut short.") from error
    try:
        expect_self_contained(content)
    except UnsafeModelError as error:
        raise IncompatibleError(f"{file} cannot be used: {error}.") from error
    opset = _opset(model)
    if opset < OLDEST_OPSET:
        raise IncompatibleError(f"{file} has opset {opset}: export it again with {OLDEST_OPSET} or newer.")
    return model


def _opset(model: onnx.ModelProto) -> int:
    return max((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _wrap(model: onnx.ModelProto, foreign: ForeignEncoder) -> onnx.ModelProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    outputs = {value.name: value for value in model.graph.output}
    taken = inputs[_choose(inputs, foreign.input_name, "input", foreign.file)]
    given = outputs[_choose(outputs, foreign.output_name, "output", foreign.file)]
    layout = _layout(taken, foreign)
    kind = taken.type.tensor_type.elem_type
    if kind not in _FLOATS:
        raise IncompatibleError(f"{foreign.file} takes {TensorProto.DataType.Name(kind)}: its input must be floats.")
    prefixed = compose.add_prefix(model, _PREFIX)
    graph = prefixed.graph
    del graph.input[:]
    del graph.output[:]
    del graph.value_info[:]  # shapes with a batch size of their own
    before, constants = _before(_PREFIX + taken.name, kind, layout, foreign)
    after = [
        helper.make_node("Flatten", [_PREFIX + given.name], ["flat"], axis=1),
        helper.make_node("Cast", ["flat"], ["latent"], to=TensorProto.FLOAT),
        helper.make_node("LpNormalization", ["latent"], ["embedding"], axis=1, p=2),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    size = foreign.size
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", size, size, 3]))
    for name in ("latent", "embedding"):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]))
    return prefixed


def _before(target: str, kind: int, layout: str, foreign: ForeignEncoder) -> tuple[list[Any], list[Any]]:
    """Bytes (n, h, w, 3) to what the encoder takes: ((x / 255) - mean) / std, as one product and one difference."""
    mean, deviation = np.asarray(foreign.mean, np.float64), np.asarray(foreign.std, np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise SettingsError(f"--std is {foreign.std}: every channel needs a standard deviation above 0.")
    scale, shift = 1 / (255 * deviation), mean / deviation
    constants = [
        numpy_helper.from_array(scale.astype(np.float32), "scale"),
        numpy_helper.from_array(shift.astype(np.float32), "shift"),
    ]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixel_floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixel_floats", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "shift"], ["normalised"]),
        helper.make_node(
            "Transpose", ["normalised"], ["ordered"], perm=[0, 3, 1, 2] if layout == "nchw" else [0, 1, 2, 3]
        ),
        helper.make_node("Cast", ["ordered"], [target], to=kind),
    ]
    return nodes, constants


def _choose(values: dict[str, Any], asked: str | None, what: str, file: Path) -> str:
    if asked is None and len(values) == 1:
        return next(iter(values))
    if asked in values and asked is not None:
        return asked
    said = f"has no {what} {asked!r}" if asked is not None else f"has {len(values)} {what}s"
    raise SettingsError(f"{file} {said}: choose one with --{what}-name: {', '.join(values)}.")


def _layout(value: onnx.ValueInfoProto, foreign: ForeignEncoder) -> str:
    shape = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]
    if len(shape) != 4:
        raise IncompatibleError(f"{foreign.file} takes {len(shape)} axes: an encoder of images takes 4.")
    layout = foreign.layout or ("nhwc" if shape[3] == 3 and shape[1] != 3 else "nchw")
    channels, sides = (shape[1], shape[2:]) if layout == "nchw" else (shape[3], shape[1:3])
    if channels not in (0, 3):
        raise IncompatibleError(f"{foreign.file} takes {channels} channels, but pictures have 3 (R, G, B).")
    if any(side not in (0, foreign.size) for side in sides):
        raise SettingsError(f"--size is {foreign.size}, but {foreign.file} takes {sides[0]} x {sides[1]} pixels.")
    return layout


def _try(graph: bytes, foreign: ForeignEncoder) -> Sequence[Any]:
    """Run the wrapped encoder on one and on several pictures: the batch size must be free."""
    pixels = probe_pixels(foreign.size)
    try:
        session = open_session(graph, PROVIDERS["cpu"], None)
        one = session.run(["latent", "embedding"], {"pixels": pixels[:1]})
    except Exception as error:
        raise IncompatibleError(
            f"{foreign.file} does not run on pictures of {foreign.size} pixels: {str(error).splitlines()[0][:200]}."
        ) from error
    try:
        several = session.run(["latent", "embedding"], {"pixels": pixels})
        fixed = several[0].shape != (len(pixels), one[0].shape[1]) or not np.allclose(several[1][:1], one[1], atol=1e-3)
    except Exception:  # noqa: BLE001  (ONNX Runtime's errors have no base of their own)
        fixed = True
    if fixed:
        raise IncompatibleError(f"{foreign.file} takes one picture at a time: export it with a dynamic batch axis.")
    if not np.isfinite(several[1]).all():
        raise IncompatibleError(f"{foreign.file} gives embeddings that are no numbers: check --mean and --std.")
    return several
