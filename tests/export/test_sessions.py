"""What was asked for and what is really taken are two things, and the difference is said."""

import dataclasses
import subprocess
import sys
import threading

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from export.batching import SIZES
from export.bundle import write_bundle
from export.sessions import PROVIDERS, Codes, Decoder, Encoder, available_providers, open_session
from train.errors import DamagedError, SettingsError

CUDA = PROVIDERS["cuda"]


class Failing:
    """A real session that says it is on another provider and fails on some of its calls."""

    def __init__(self, graph, provider, fails_at):
        self.session = open_session(graph, PROVIDERS["cpu"], 1)
        self.provider = provider
        self.fails_at = fails_at
        self.calls = 0

    def run(self, outputs, feed):
        self.calls += 1
        if self.calls in self.fails_at:
            raise RuntimeError("CUDA failure 2: out of memory")
        return self.session.run(outputs, feed)

    def get_providers(self):
        return [self.provider, PROVIDERS["cpu"]]


@pytest.fixture
def with_cuda(monkeypatch):
    """As if ONNX Runtime and the driver offered CUDA."""
    monkeypatch.setattr("export.sessions.has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, PROVIDERS["cpu"]])


def failing_cuda(fails_at):
    sessions = []

    def factory(graph, provider, threads):
        if provider == PROVIDERS["cpu"]:
            return open_session(graph, provider, threads)
        sessions.append(Failing(graph, provider, fails_at))
        return sessions[-1]

    return factory, sessions


def test_requests_share_calls_on_a_gpu_and_no_more_when_it_gave_way_to_the_cpu(bundle, with_cuda):
    tried_out = 1 + len(SIZES)
    factory, _ = failing_cuda(fails_at={tried_out + 1, tried_out + 2})
    encoder = Encoder.open(bundle, provider="auto", threads=1, batching="auto", session_factory=factory)
    assert encoder.is_batching
    size = bundle.preprocessing.size
    assert encoder.encode(np.zeros((3, size, size, 3), np.uint8)).latents.shape == (3, bundle.latent_dims)
    assert (encoder.provider, encoder.is_batching) == ("cpu", False)


def refusing(graph, provider, threads):
    if provider == CUDA:
        raise RuntimeError("Failed to load libcublasLt.so.12\nand a page of advice")
    return open_session(graph, provider, threads)


def silently_on_the_cpu(graph, provider, threads):
    return open_session(graph, PROVIDERS["cpu"], threads)


@pytest.fixture
def pixels(drawn_pixels):
    return drawn_pixels[:5]


def test_a_picture_decodes_to_its_mean_colours(bundle, pixels):
    encoder, decoder = Encoder.open(bundle, provider="cpu"), Decoder.open(bundle, provider="cpu")
    codes = encoder.encode(pixels)
    means = pixels.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    assert np.abs(decoder.decode(codes.latents)[:, ::4, ::4] - means).max() <= 0.51
    assert np.allclose(np.linalg.norm(codes.embeddings, axis=1), 1, atol=1e-5)


def test_auto_takes_the_cpu_where_there_is_nothing_better(bundle):
    encoder = Encoder.open(bundle)
    assert encoder.asked == "auto"
    assert encoder.provider in available_providers()


def test_a_provider_that_is_not_here_is_an_error_that_names_those_that_are(bundle):
    missing = next(name for name in PROVIDERS if name not in available_providers())
    with pytest.raises(SettingsError, match=f"{missing} is not on this machine, which has .*cpu"):
        Encoder.open(bundle, provider=missing)


def test_an_unknown_provider_is_an_error_that_names_all(bundle):
    with pytest.raises(SettingsError, match="cuda"):
        Encoder.open(bundle, provider="gpu")


@pytest.mark.parametrize("factory", [refusing, silently_on_the_cpu])
def test_auto_falls_back_with_one_line_where_cuda_does_not_really_work(bundle, with_cuda, factory, caplog, pixels):
    encoder = Encoder.open(bundle, session_factory=factory)
    assert (encoder.asked, encoder.provider) == ("auto", "cpu")
    assert len(caplog.records) == 1
    assert "cuda" in caplog.text
    assert encoder.encode(pixels).embeddings.shape == (5, 192)


@pytest.mark.parametrize("factory", [refusing, silently_on_the_cpu])
def test_cuda_asked_for_by_name_is_an_error_where_it_does_not_really_work(bundle, with_cuda, factory):
    with pytest.raises(SettingsError, match="cuda does not work here"):
        Encoder.open(bundle, provider="cuda", session_factory=factory)


def test_a_provider_that_works_is_said_to_be_taken(bundle, with_cuda):
    factory, _ = failing_cuda(set())
    assert Encoder.open(bundle, session_factory=factory).provider == "cuda"


def test_one_failure_is_tried_again_and_nothing_changes(bundle, with_cuda, pixels):
    factory, _ = failing_cuda({2})  # the first call is the probes'
    encoder = Encoder.open(bundle, session_factory=factory)
    assert np.array_equal(encoder.encode(pixels).latents, Encoder.open(bundle, provider="cpu").encode(pixels).latents)
    assert (encoder.provider, encoder.degraded) == ("cuda", None)


def test_a_gpu_that_keeps_failing_gives_way_to_the_cpu_and_every_batch_is_answered(bundle, with_cuda, pixels, caplog):
    factory, sessions = failing_cuda(set(range(3, 1000)))
    encoder = Encoder.open(bundle, session_factory=factory)
    expected = Encoder.open(bundle, provider="cpu").encode(pixels).embeddings
    for _ in range(4):
        assert np.array_equal(encoder.encode(pixels).embeddings, expected)
    assert encoder.provider == "cpu"
    assert "out of memory" in (encoder.degraded or "")
    assert sessions[0].calls == 4, "the failed provider is not asked again"
    assert sum("the CPU goes on" in record.message for record in caplog.records) == 1


def test_many_threads_see_one_fall_back(bundle, with_cuda, pixels):
    factory, _ = failing_cuda(set(range(2, 1000)))
    encoder = Encoder.open(bundle, session_factory=factory)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(encoder.encode(pixels).latents)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_a_failing_gpu_that_was_asked_for_by_name_is_an_error(bundle, with_cuda, pixels):
    factory, _ = failing_cuda({2, 3})
    encoder = Encoder.open(bundle, provider="cuda", session_factory=factory)
    with pytest.raises(SettingsError, match="out of memory"):
        encoder.encode(pixels)


@pytest.mark.parametrize("shape", [(2, 16, 16, 3), (2, 32, 32), (2, 32, 32, 4)])
def test_pixels_of_another_shape_are_a_bug_of_the_caller(bundle, shape):
    with pytest.raises(ValueError, match="expected"):
        Encoder.open(bundle, provider="cpu").encode(np.zeros(shape, np.uint8))


def test_no_pictures_at_all_give_no_codes(bundle):
    codes = Encoder.open(bundle, provider="cpu").encode(np.zeros((0, 32, 32, 3), np.uint8))
    assert codes.embeddings.shape == codes.latents.shape == (0, 192)
    assert codes.usable.shape == (0,)


def test_a_picture_without_direction_spoils_no_other(bundle, pixels):
    grey = (np.indices((32, 32)).sum(axis=0) % 2 + 127).astype(np.uint8)  # the mean of every cell is middle grey
    batch = np.concatenate([pixels, np.repeat(grey[None, ..., None], 3, axis=3)])
    codes = Encoder.open(bundle, provider="cpu").encode(batch)
    assert codes.usable.tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e3])
def test_rows_that_are_not_finite_or_not_of_length_one_are_not_usable(value):
    embeddings = np.eye(3, dtype=np.float32)
    embeddings[1, 2] = value
    assert Codes(np.ones((3, 3), np.float32), embeddings).usable.tolist() == [True, False, True]
    if not np.isfinite(value):
        assert Codes(embeddings, np.eye(3, dtype=np.float32)).usable.tolist() == [True, False, True]


def test_a_graph_that_gives_other_arrays_than_the_bundle_says_is_found_when_it_is_opened(bundle, tmp_path):
    graphs = {("encoder", "fp32"): bundle.graph("encoder"), ("decoder", "fp32"): bundle.graph("decoder")}
    other = write_bundle(tmp_path / "dims", graphs, dataclasses.replace(bundle.facts, dims=100), None)
    with pytest.raises(DamagedError, match=r"encoder of .* gives arrays of .*192.*, not .*100"):
        Encoder.open(other, provider="cpu")
    with pytest.raises(DamagedError, match=r"decoder of .* does not run"):
        Decoder.open(other, provider="cpu")
    swapped = {("encoder", "fp32"): graphs["decoder", "fp32"], ("decoder", "fp32"): graphs["encoder", "fp32"]}
    with pytest.raises(DamagedError, match=r"encoder of .* does not run"):
        Encoder.open(write_bundle(tmp_path / "swapped", swapped, bundle.facts, None), provider="cpu")


def test_onnx_runtime_does_not_go_on_with_the_cpu_by_itself(bundle, pixels, capsys):
    """Its own fallback would hide from us that a GPU failed, and prints to stdout."""
    session = open_session(bundle.graph("encoder"), PROVIDERS["cpu"], 1)

    class FailingInside:
        def __init__(self, native):
            self.native = native

        def __getattr__(self, name):
            return getattr(self.native, name)

        def run(self, *_):
            raise EPFail("CUDA failure")

    session._sess = FailingInside(session._sess)
    with pytest.raises(EPFail):
        session.run(["latent"], {"pixels": pixels})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_whose_libraries_are_missing_says_which_and_keeps_stdout_clean(bundle, tmp_path, provider):
    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        pytest.skip(f"this ONNX Runtime is built without {provider}")
    if provider in available_providers():
        pytest.skip("there is a GPU")
    (tmp_path / "graph.onnx").write_bytes(bundle.graph("encoder"))
    script = (
        "import sys, pathlib\nfrom export.sessions import PROVIDERS, open_session\n"
        "try:\n    open_session(pathlib.Path(sys.argv[1]).read_bytes(), PROVIDERS[sys.argv[2]], 1)\n"
        "except Exception as error:\n    sys.exit(f'refused: {error}')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "graph.onnx"), provider]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stdout == ""
    assert ended.stderr.startswith("refused: ")
    assert "lib" in ended.stderr
