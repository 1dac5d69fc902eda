"""Small real things that the tests of all stages share."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from export.bundle import Bundle, ModelFacts, probe_pixels, write_bundle
from export.sessions import Encoder
from train.images import Preprocessing

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the shared image sets."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the shared image sets are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def corel_photos(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Corel-1000 photos, unpacked: 10 folders of 100 JPEG files."""
    folder = tmp_path_factory.mktemp("corel")
    with tarfile.open(shared_data / "corel1k.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "corel1k"


@pytest.fixture(scope="session")
def evil_images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile and odd image files, unpacked, with their manifest.json."""
    folder = tmp_path_factory.mktemp("evil")
    with tarfile.open(shared_data / "evil_images.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "evil_images"


def draw_picture(number: int, width: int = 96, height: int = 80) -> Image.Image:
    """Draw a picture that nobody takes for another: its shapes, places and colours follow from its number."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (width, height), tuple(int(value) for value in random.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = random.integers(0, width), random.integers(0, height)
        radius = int(random.integers(6, 30))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        box = (x - radius, y - radius, x + radius, y + radius)
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return image


def encoded(image: Image.Image, image_format: str = "PNG", **settings: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **settings)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """48 drawn pictures in two folders, PNG and JPEG. Read only: copy it to change it."""
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    for number in range(48):
        place = folder / ("round" if number % 2 else "square")
        place.mkdir(parents=True, exist_ok=True)
        if number % 3:
            draw_picture(number).save(place / f"picture-{number:02}.png")
        else:
            draw_picture(number).save(place / f"picture-{number:02}.jpg", quality=95)
    yield folder


@pytest.fixture(scope="session")
def drawn_pixels() -> np.ndarray:
    """24 drawn pictures as the averaging bundle takes them, (24, 32, 32, 3) uint8."""
    return np.stack([np.asarray(draw_picture(number, 32, 32)) for number in range(24)])


AVERAGED_SIZE = 32  # pixels of the bundle that averages colours
AVERAGED_GRID = 8  # its latent: the mean colour of each of 8 x 8 cells


def averaging_graphs() -> tuple[bytes, bytes]:
    """Encoder and decoder of a model without training: 8 x 8 mean colours, around middle grey."""
    cell, dims = AVERAGED_SIZE // AVERAGED_GRID, AVERAGED_GRID**2 * 3
    size, grid = AVERAGED_SIZE, AVERAGED_GRID
    encoder = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["means"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["shares"]),
        helper.make_node("Sub", ["shares", "grey"], ["latent"]),
        helper.make_node("LpNormalization", ["latent"], ["embedding"], axis=1, p=2),
    ]
    decoder = [
        helper.make_node("Add", ["latent", "grey"], ["shares"]),
        helper.make_node("Clip", ["shares", "zero", "one"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "white"], ["flat"]),
        helper.make_node("Reshape", ["flat", "grid"], ["means"]),
        helper.make_node("Resize", ["means", "", "scales"], ["planes"], mode="nearest"),
        helper.make_node("Transpose", ["planes"], ["float"], perm=[0, 2, 3, 1]),
        helper.make_node("Round", ["float"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["pixels"], to=TensorProto.UINT8),
    ]
    constants = {
        "white": np.float32(255),
        "grey": np.float32(0.5),
        "zero": np.float32(0),
        "one": np.float32(1),
        "grid": np.array([-1, 3, grid, grid], np.int64),
        "scales": np.array([1, 1, cell, cell], np.float32),
    }
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", size, size, 3])
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["n", dims])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dims])
    return (
        _onnx_file(encoder, [pixels], [latent, embedding], constants),
        _onnx_file(decoder, [latent], [pixels], constants),
    )


def _onnx_file(nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray]) -> bytes:
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(np.asarray(c), name) for name, c in constants.items() if name in used]
    graph = helper.make_graph(nodes, "averaging", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real bundle, with decoder, whose model averages colours. Read only."""
    encoder, decoder = averaging_graphs()
    graphs = {("encoder", "fp32"): encoder, ("decoder", "fp32"): decoder}
    facts = ModelFacts(preprocessing=Preprocessing(AVERAGED_SIZE), dims=AVERAGED_GRID**2 * 3, source="mean colours")
    folder = tmp_path_factory.mktemp("models") / "averaging"
    without_probes = write_bundle(folder, graphs, facts, None)
    probes = Encoder.open(without_probes, provider="cpu").encode(probe_pixels(AVERAGED_SIZE)).embeddings
    return write_bundle(folder, graphs, facts, probes)


@pytest.fixture(scope="session")
def halved_bundle(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose embeddings have a semantic and a pixel half, trained for a moment by the real commands."""
    home = tmp_path_factory.mktemp("halved")
    train = [sys.executable, "-m", "train", drawn_folder, "--name", "halved", "--home", home, "--epochs", "1"]
    small = ["--image-size", "32", "--dims", "24", "--batch", "8", "--threads", "1"]
    export = [sys.executable, "-m", "export", "halved", "--home", home]
    for command in ([*train, *small, "--set", "architecture.semantic_dims=8"], export):
        ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    return Bundle.open(home / "models" / "halved")
