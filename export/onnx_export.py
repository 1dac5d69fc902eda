"""A trained network as ONNX graphs: uint8 pixels in and out, all arithmetic inside, so that it cannot drift."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnxruntime.transformers import float16
from torch import Tensor, nn

from export.bundle import Bundle, ModelFacts, Part, Variant, probe_pixels, write_bundle
from export.parity import expect_parity, measure_parity
from export.sessions import PROVIDERS, open_session
from train.images import Pixels
from train.progress import Reporter
from train.warm_start import TRUNK_FILE, trunk_bytes

if TYPE_CHECKING:
    from train.architectures import Autoencoder
    from train.run import Run

SMALLEST_HALVED = 256  # numbers; what is shorter is not worth a node
OPSET = 20  # of ONNX 1.15: read by every ONNX Runtime since 1.17
PARITY_IMAGES = 64
# Bytes become centred pixels in fp32: the difference of two numbers near 1 would keep two digits of fp16.
_ALWAYS_FP32 = ["Div", "Sub"]


class EncoderGraph(nn.Module):
    """uint8 pixels (n, h, w, 3) to latent (n, latent_dims) and embedding (n, dims)."""

    def __init__(self, network: "Autoencoder") -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode as the network does, from bytes."""
        latent = self.network.encode(pixels.permute(0, 3, 1, 2).float() / 255)
        return latent, self.network.embed(latent)


class DecoderGraph(nn.Module):
    """Latent (n, latent_dims) to uint8 pixels (n, h, w, 3)."""

    def __init__(self, network: "Autoencoder") -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor) -> Tensor:
        """Decode as the network does, to bytes."""
        return (self.network.decode(latent) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def export_run(run: "Run", folder: Path, *, licence: str, reporter: Reporter, compact: bool = False) -> Bundle:
    """Freeze a run's best network as a bundle; nothing is published before parity is proved.

    Args:
        run: Its images prove the parity, its figures become the bundle's quality.
        folder: Place of the bundle.
        licence: Of the training images; may be empty.
        reporter: Told each step.
        compact: Store weights in half precision; they are widened when a session opens, and all is computed in fp32.

    Raises:
        NothingFoundError: The run holds no trained network yet.
        IncompatibleError: The graphs do not compute what the network computes.
        DiskError: The bundle cannot be written.
    """
    network = run.load_network()
    reporter.say("Writing the ONNX graphs ...")
    encoder, decoder = to_onnx(network)
    if compact:
        models = {("encoder", "fp32"): with_halved_weights(encoder), ("decoder", "fp32"): with_halved_weights(decoder)}
    else:
        models = {
            ("encoder", "fp32"): encoder,
            ("decoder", "fp32"): decoder,
            ("encoder", "fp16"): to_fp16(encoder),
            ("decoder", "fp16"): to_fp16(decoder),
        }
    graphs: dict[tuple[Part, Variant], bytes] = {key: model.SerializeToString() for key, model in models.items()}  # type: ignore[misc]
    images = _parity_images(run)
    parity: dict[str, Any] = {}
    variants: tuple[Variant, ...] = ("fp32",) if compact else ("fp32", "fp16")
    for variant in variants:
        reporter.say(f"Comparing the {variant} graphs with PyTorch on {len(images)} pictures ...")
        measured = measure_parity(network, graphs["encoder", variant], graphs["decoder", variant], images)
        expect_parity("fp16" if compact else variant, measured)
        parity[variant] = measured.to_json()
    recipe, figures = run.recipe_as_planned, dict(run.result or {})
    facts = ModelFacts(
        preprocessing=run.preprocessing,
        dims=network.dims,
        latent_shape=network.latent_shape,
        semantic_dims=network.semantic_dims,
        alpha=network.alpha,
        channels=network.channels,
        tileable=network.tileable,
        removes=tuple(each.kind for each in recipe.corruption),
        latent=figures.pop("latent", {}),
        errors=figures.pop("errors", {}),
        recipe=recipe.to_json(),
        source=f"run {run.name}",
        licence=_with_licence_of_start(run, licence),
        quality=figures,
        parity=parity,
        versions=_versions(),
    )
    session = open_session(graphs["encoder", "fp32"], PROVIDERS["cpu"], None)
    (probes,) = session.run(["embedding"], {"pixels": probe_pixels(run.preprocessing.size)})
    trunk = trunk_bytes(network, recipe)
    return write_bundle(folder, graphs, facts, probes, {TRUNK_FILE: trunk} if trunk else None)


def _with_licence_of_start(run: "Run", licence: str) -> str:
    """The licence of the training images, and of those that the model it began from has learnt from."""
    start = run.record.get("start", {})
    inherited = f"began from {start['model']}: {start['licence']}" if start.get("licence") else ""
    return "; ".join(each for each in (licence, inherited) if each)


def _parity_images(run: "Run") -> Pixels:
    """Up to PARITY_IMAGES of the run's own images, or drawn ones where the run no longer has them."""
    try:
        images = run.images
    except (FileNotFoundError, ValueError):  # images/ was removed to save space; ValueError: a map of no rows
        drawn = probe_pixels(run.preprocessing.size)
        shifts = range(PARITY_IMAGES // len(drawn))
        return np.concatenate([np.roll(drawn, (shift, 2 * shift), axis=(1, 2)) for shift in shifts])
    return images[:: max(1, len(images) // PARITY_IMAGES)][:PARITY_IMAGES]


def to_onnx(network: "Autoencoder") -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Export encoder and decoder in fp32, for any number of pictures at once."""
    # Example inputs of 2: the exporter would take a batch of 1 for a constant.
    pixels = torch.zeros(2, network.image_size, network.image_size, 3, dtype=torch.uint8)
    latent = torch.zeros(2, network.latent_dims)
    return (
        _export(EncoderGraph(network), pixels, "pixels", ["latent", "embedding"]),
        _export(DecoderGraph(network), latent, "latent", ["pixels"]),
    )


def _export(module: nn.Module, example: Tensor, takes: str, gives: list[str]) -> onnx.ModelProto:
    with _quiet():
        program: Any = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            input_names=[takes],
            output_names=gives,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    _drop_developers_notes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _drop_developers_notes(model: onnx.ModelProto) -> None:
    """Leave out the exporter's stack traces: they name files of this machine, and change the digest."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""


def with_halved_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights in half precision and widen them again by a Cast, which sessions fold when they open."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    casts = []
    for weight in copy.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and math.prod(weight.dims) >= SMALLEST_HALVED:
            name, halved = weight.name, onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    onnx.checker.check_model(copy, full_check=True)
    return copy


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Halve the weights and compute in fp16; bytes are centred, and the embedding made from the latent, in fp32.

    Inputs and outputs keep their types.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half: onnx.ModelProto = float16.convert_float_to_float16(
        copy,
        keep_io_types=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *_ALWAYS_FP32],
        node_block_list=_nodes_after_output(model, "latent"),
    )
    # The converter writes the same cast twice where two nodes share an input.
    first = {node.output[0]: node for node in reversed(half.graph.node)}
    nodes = [node for node in half.graph.node if first[node.output[0]] is node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    _drop_round_trips(half)
    return half


def _drop_round_trips(model: onnx.ModelProto) -> None:
    """Where a value goes to fp16 and back, between two nodes that both compute in fp32, hand it on as it was."""
    halved = {node.output[0]: node.input[0] for node in model.graph.node if _casts_to(node, onnx.TensorProto.FLOAT16)}
    for node in model.graph.node:
        if _casts_to(node, onnx.TensorProto.FLOAT) and node.input[0] in halved:
            node.input[0] = halved[node.input[0]]


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and int(node.attribute[0].i) == kind


def _nodes_after_output(model: onnx.ModelProto, name: str) -> list[str]:
    """Names of the nodes that compute on from one of the model's outputs."""
    reached = {name} & {value.name for value in model.graph.output}
    names = []
    for node in model.graph.node:  # in the order of computation
        if reached.intersection(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes to its own developers off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _versions() -> dict[str, str]:
    import onnxruntime

    return {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
