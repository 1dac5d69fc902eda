"""What eight-bit integers would gain and lose: a run's fp32 encoder beside the same one quantised, in one run.

    python -m benchmarks.int8 RUN [--models FOLDER] [--queries 2000]

Static quantisation of ONNX Runtime (convolutions and matrix products, per channel, ranges from training pictures), by
its own tools; then agreement of the embeddings, kNN as in benchmarks/similarity.py, and pictures a second on one
thread, each model in turn, several times. The table is printed as Markdown.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.similarity import share_right
from export.bundle import Bundle, graph_name
from train.data import Data, evenly
from train.run import Run

CALIBRATED = 256  # pictures
BATCH = 64
ROUNDS = 7
KINDS = {"convolutions": ["Conv"], "convolutions and products": ["Conv", "MatMul", "Gemm"]}


class Pictures(CalibrationDataReader):  # type: ignore[misc]  # the tools have no types
    """Hands out training pictures in batches."""

    def __init__(self, name: str, pixels: np.ndarray[Any, Any]) -> None:
        self._batches: Iterator[dict[str, Any]] = iter(
            [{name: pixels[at : at + BATCH]} for at in range(0, len(pixels), BATCH)]
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None."""
        return next(self._batches, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="folder of a finished run on a data set with labels")
    parser.add_argument("--models", type=Path, help="folder of its bundle")
    parser.add_argument("--queries", type=int, default=2000, help="test pictures that ask, at most")
    asked = parser.parse_args()
    run = Run.open(asked.run)
    bundle = Bundle.open((asked.models or asked.run.parent.parent / "models") / asked.run.name)
    data = Data.of(run.cache, run.recipe.data)
    labels = np.unique(np.array(run.cache.labels()), return_inverse=True)[1]
    searched, queries = np.sort(data.train), evenly(data.test, asked.queries)
    with tempfile.TemporaryDirectory() as aside:
        graphs = quantised(
            bundle.folder / graph_name("encoder", "fp32"), data.images[searched[:CALIBRATED]], Path(aside)
        )
        sessions = {name: open_session(graph) for name, graph in graphs.items()}
        rates = rates_of(sessions, data.images[searched[:BATCH]])
        print("| encoder | MB | cosine to fp32, least of 99 % | kNN | images/s, one thread | of fp32 |")
        print("|---|---|---|---|---|---|")
        reference = embed(sessions["fp32"], data.images[queries])
        for name, session in sessions.items():
            asking = embed(session, data.images[queries])
            cosine = np.quantile((asking * reference).sum(axis=1), 0.01)
            accuracy = share_right(embed(session, data.images[searched]), labels[searched], asking, labels[queries])
            size = graphs[name].stat().st_size / 1e6
            print(
                f"| {name} | {size:.1f} | {cosine:.4f} | {accuracy:.4f} | {rates[name]:.0f} | "
                f"{rates[name] / rates['fp32']:.2f} |",
                flush=True,
            )


def quantised(encoder: Path, pixels: np.ndarray[Any, Any], aside: Path) -> dict[str, Path]:
    """The encoder as it is, and in eight bits."""
    prepared = aside / "prepared.onnx"
    # Shapes that depend on the batch confuse the symbolic inference: the plain one is enough.
    quant_pre_process(encoder, prepared, skip_symbolic_shape=True)
    found = {"fp32": encoder}
    for words, kinds in KINDS.items():
        place = aside / f"{len(found)}.onnx"
        name = ort.InferenceSession(encoder, providers=["CPUExecutionProvider"]).get_inputs()[0].name
        quantize_static(
            prepared,
            place,
            Pictures(name, pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        found[f"int8, {words}"] = place
    return found


def open_session(graph: Path) -> ort.InferenceSession:
    """A session with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def embed(session: ort.InferenceSession, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Embeddings of pictures: (n, dims)."""
    name = session.get_inputs()[0].name
    parts = [session.run(["embedding"], {name: pixels[at : at + BATCH]})[0] for at in range(0, len(pixels), BATCH)]
    return np.concatenate(parts)


def rates_of(sessions: dict[str, ort.InferenceSession], pixels: np.ndarray[Any, Any]) -> dict[str, float]:
    """Pictures a second of this thread's own time, the median of turns in which each has one."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            began = time.thread_time()
            embed(session, pixels)
            times[name].append(time.thread_time() - began)
    return {name: len(pixels) / float(np.median(found)) for name, found in times.items()}


if __name__ == "__main__":
    main()
