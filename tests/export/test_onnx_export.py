"""A run becomes a bundle that computes what its network computes, or nothing is published."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

from export.bundle import Bundle
from export.command import export
from export.onnx_export import export_run, to_fp16, to_onnx
from export.parity import Parity, expect_parity, measure_parity
from export.sessions import Decoder, Encoder
from train.architectures.principal import Principal
from train.command_line import exit_code
from train.errors import IncompatibleError, NothingFoundError
from train.progress import SILENT
from train.run import Run


@pytest.fixture(scope="module")
def run(drawn_folder, tmp_path_factory) -> Run:
    """A run of a few epochs on drawn pictures, made by the real command."""
    home = tmp_path_factory.mktemp("export-home")
    settings = ["--image-size", "32", "--dims", "24", "--epochs", "1", "--batch", "8", "--threads", "1"]
    command = [sys.executable, "-m", "train", str(drawn_folder), "--name", "drawn", "--home", str(home), *settings]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return Run.open(home / "runs" / "drawn")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("exported") / "drawn"
    return export_run(run, folder, licence="CC0", reporter=SILENT)


def test_both_variants_are_as_near_to_pytorch_as_promised(exported):
    parity = exported.facts.parity
    assert parity["fp32"]["embedding_difference"] <= 1e-4
    assert parity["fp32"]["pixel_difference"] <= 1
    assert parity["fp16"]["embedding_cosine"] >= 0.9999
    assert parity["fp16"]["pixel_difference"] <= 2
    assert parity["fp32"]["batches"][0] == 1
    assert len(parity["fp32"]["batches"]) >= 3


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
@pytest.mark.parametrize("count", [1, 2, 7, 24])
def test_the_bundle_computes_what_the_network_computes_for_any_number_of_pictures(
    run, exported, drawn_pixels, variant, count
):
    network = run.load_network()
    pixels = drawn_pixels[:count]
    with torch.inference_mode():
        latent = network.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
        embedding, painted = network.embed(latent).numpy(), network.decode(latent).permute(0, 2, 3, 1).numpy()
    codes = Encoder.open(exported, provider="cpu", variant=variant).encode(pixels)
    repainted = Decoder.open(exported, provider="cpu", variant=variant).decode(codes.latents)
    assert (codes.embeddings * embedding).sum(axis=1).min() > 0.9999
    assert np.abs(np.linalg.norm(codes.embeddings, axis=1) - 1).max() < 1e-4
    assert np.abs(repainted - painted * 255).max() < (1.01 if variant == "fp32" else 2.6)


def test_the_graphs_say_nothing_of_the_machine_that_made_them(exported):
    for part in ("encoder", "decoder"):
        for variant in exported.variants:
            graph = exported.graph(part, variant)
            assert b".py" not in graph
            assert b"site-packages" not in graph


def test_no_operator_has_to_be_left_to_the_cpu(exported):
    """Arithmetic on shapes would be, and would keep a GPU waiting."""
    for part in ("encoder", "decoder"):
        for variant in exported.variants:
            operators = {node.op_type for node in onnx.load_from_string(exported.graph(part, variant)).graph.node}
            assert not operators & {"Shape", "Size", "Gather", "NonZero", "If", "Loop"}


def test_the_halved_graphs_are_half_as_large(exported):
    assert exported.files["encoder.fp16.onnx"]["bytes"] < 0.6 * exported.files["encoder.onnx"]["bytes"]


def test_a_semantic_half_is_carried_through_both_graphs(drawn_pixels, tmp_path):
    torch.manual_seed(0)
    network = Principal(dims=32, widths=(16, 32, 64), semantic_dims=8, alpha=0.5).build(32, 3).eval()
    encoder, decoder = to_onnx(network)
    measured = measure_parity(network, encoder.SerializeToString(), decoder.SerializeToString(), drawn_pixels)
    expect_parity("fp32", measured)
    halved = [onnx.ModelProto.SerializeToString(to_fp16(model)) for model in (encoder, decoder)]
    expect_parity("fp16", measure_parity(network, *halved, drawn_pixels))


@pytest.mark.parametrize(
    ("variant", "parity"),
    [
        ("fp32", Parity(2e-4, 1.0, 0, (1,), 1)),
        ("fp32", Parity(0.0, 1.0, 2, (1,), 1)),
        ("fp32", Parity(float("nan"), float("nan"), 0, (1,), 1)),
        ("fp16", Parity(1e-3, 0.9998, 0, (1,), 1)),
        ("fp16", Parity(1e-3, 0.99999, 3, (1,), 1)),
    ],
)
def test_graphs_that_differ_are_refused_with_the_figures(variant, parity):
    with pytest.raises(IncompatibleError, match="nothing was published"):
        expect_parity(variant, parity)


def test_a_graph_of_another_network_is_noticed(run, exported, drawn_pixels):
    network = run.load_network()
    with torch.no_grad():
        weight = network.encoder.linear.weight
        weight.mul_(torch.linspace(0.5, 1.5, len(weight))[:, None])
    measured = measure_parity(network, exported.graph("encoder"), exported.graph("decoder"), drawn_pixels)
    with pytest.raises(IncompatibleError):
        expect_parity("fp32", measured)


def test_exporting_a_run_without_pytorch_says_how_to_get_it(run, tmp_path):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from export.command import export\nfrom train.command_line import run\nrun(export, ('export',))"
    )
    command = [sys.executable, "-c", script, str(run.folder), "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "pip install 'lookalike[train]'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_run_that_has_learnt_nothing_yet_is_refused(run, tmp_path):
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / "empty" / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    with pytest.raises(NothingFoundError, match="lookalike train"):
        export_run(Run.open(tmp_path / "runs" / "empty"), tmp_path / "model", licence="", reporter=SILENT)
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def exported_again(run, tmp_path_factory) -> tuple[Bundle, str]:
    """The same run without its images, exported by the command; and what that said."""
    home = tmp_path_factory.mktemp("again")
    shutil.copytree(run.folder, home / "runs" / "drawn", ignore=shutil.ignore_patterns("images"))
    command = [sys.executable, "-m", "export", "drawn", "--name", "mine", "--licence", "CC0", "--home", str(home)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Comparing the fp16 graphs with PyTorch on 64 pictures" in ended.stderr
    assert len(ended.stderr.splitlines()) == 3, "the exporter's own notes stay off the screen"
    return Bundle.open(home / "models" / "mine"), ended.stdout


def test_the_command_says_what_it_made_and_what_comes_next(exported_again):
    bundle, said = exported_again
    assert "32 px, 24 dimensions, with decoder, fp32/fp16" in said
    assert "mean squared error" in said
    assert "Next: lookalike index add GALLERY FOLDER --model mine" in said
    assert bundle.info()["licence"] == "CC0"


def test_exporting_twice_gives_the_same_model(exported, exported_again):
    assert exported_again[0].model_id == exported.model_id
    assert exported_again[0].files == exported.files


def test_a_run_whose_images_were_removed_is_compared_on_drawn_ones(exported, exported_again):
    assert exported_again[0].facts.parity["fp32"]["pictures"] == 64
    assert exported.facts.parity["fp32"]["pictures"] <= 48


def test_the_command_needs_a_run_or_a_file(tmp_path, capsys):
    assert exit_code(export, ("export",), ["--home", str(tmp_path)]) == 2
    assert "either a RUN or --from-onnx" in capsys.readouterr().err
    assert exit_code(export, ("export",), ["--from-onnx", "x.onnx", "--home", str(tmp_path)]) == 2
    assert "--size" in capsys.readouterr().err
