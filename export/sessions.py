"""Running a bundle's graphs with ONNX Runtime on the execution provider that is asked for, or the nearest there is.

What is asked for and what is really taken are two things: ONNX Runtime silently computes on the CPU when CUDA was asked
for and does not work, and its GPU build lists CUDA as available on a machine without a GPU. So a session is opened and
then asked. `auto` takes the best that works and says so in one line; a provider asked for by name is taken or refused.
"""

import contextlib
import ctypes
import functools
import io
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from export.batching import SIZES, Batches
from export.bundle import Bundle, Part, probe_pixels
from train.errors import DamagedError, SettingsError, UserError
from train.images import Pixels

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Batching = Literal["auto", "on", "off"]

CPU = "cpu"
PROVIDERS = {
    CPU: "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_NAMES = {official: name for name, official in PROVIDERS.items()}
# Tried by `auto`, best first. TensorRT is not among them: it builds engines for minutes at the first start.
_AUTO = ("cuda", "migraphx", "rocm", "coreml", "directml", CPU)
_NVIDIA = {"cuda", "tensorrt"}
_FATAL_ONLY = 4  # ONNX Runtime's log level: a provider that does not load writes pages; we say it in one line
LENGTH_TOLERANCE = 1e-3  # of an embedding, whose length is 1; what fp16 graphs round is half of that
DRIFT_COSINE = 0.999  # below it, the libraries compute something else than those that wrote the bundle


@dataclass(frozen=True)
class Codes:
    """What the encoder makes of n pictures."""

    latents: Floats  # (n, latent_dims), norms kept: what the decoder takes
    embeddings: Floats  # (n, dims), each of length 1: what the index holds

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows may be stored and searched for, (n,): finite, and with a direction.

        A broken model gives NaN; a picture whose latent is zero has no direction. Neither spoils the other rows.
        """
        lengths = np.sqrt(np.einsum("ij,ij->i", self.embeddings, self.embeddings))
        usable: NDArray[np.bool_] = np.isfinite(self.latents).all(axis=1) & (np.abs(lengths - 1) <= LENGTH_TOLERANCE)
        return usable


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that is used here."""

    def run(self, output_names: Sequence[str] | None, input_feed: dict[str, Any]) -> Sequence[Any]:
        """Compute outputs by name."""
        ...

    def get_providers(self) -> Sequence[str]:
        """The providers that were really taken, by preference."""
        ...


SessionFactory = Callable[[bytes, str, int | None], Session]  # graph, provider's official name, threads


def open_session(graph: bytes, official_name: str, threads: int | None) -> Session:
    """Open an ONNX Runtime session on one provider.

    Args:
        graph: The ONNX file's bytes.
        official_name: Such as "CUDAExecutionProvider".
        threads: For one call; None lets ONNX Runtime take all cores.

    Raises:
        Exception: ONNX Runtime's, which have no base of their own; or the provider's libraries are missing.
    """
    # `session.disable_cpu_ep_fallback` is not set: it would also refuse graphs of which ONNX Runtime deliberately
    # leaves the arithmetic on shapes to the CPU (onnxruntime issue 17930). Whoever asks looks at `get_providers()`.
    onnxruntime = _onnxruntime()
    missing = _load_nvidia_libraries() if _NAMES.get(official_name) in _NVIDIA else ""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    # Idle threads that spin would take the cores from decoding and from other requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Its own fallback would print to stdout and go on with the CPU as if nothing had happened: ours says so.
    session: Session = onnxruntime.InferenceSession(graph, options, providers=[official_name], enable_fallback=0)
    if missing and session.get_providers()[0] != official_name:
        raise ImportError(missing)
    return session


def _onnxruntime() -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    return onnxruntime


@functools.cache
def _load_nvidia_libraries() -> str:
    """Load CUDA's libraries from the packages of `lookalike[cuda]`, else from the system; say what is missing.

    ONNX Runtime finds those packages only after this. It says what is missing on stdout, where results belong.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        _onnxruntime().preload_dlls()
    return next(iter(said.getvalue().strip().splitlines()), "")


def available_providers() -> list[str]:
    """Providers that may work here: ONNX Runtime has them, and for NVIDIA's there is a GPU."""
    onnxruntime = _onnxruntime()
    built_in = {_NAMES[official] for official in onnxruntime.get_available_providers() if official in _NAMES}
    if not has_nvidia_gpu():
        built_in -= _NVIDIA
    return [name for name in PROVIDERS if name in built_in]


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is loaded and knows a GPU; asks the driver itself, which needs no CUDA libraries."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


class _Graph:
    """One graph of a bundle, open on a provider; falls back to the CPU where that is allowed."""

    part: Part

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: str = "auto",
        variant: str = "fp32",
        threads: int | None = None,
        session_factory: SessionFactory = open_session,
    ) -> None:
        self.asked = provider
        self.degraded: str | None = None
        self._content = bundle.graph(self.part, variant)
        self._threads = threads
        self._factory = session_factory
        self._opening = threading.Lock()
        self._where = f"{self.part} of {bundle.folder}"
        self.provider, self._session = self._open_first(_candidates(provider))

    def _open_first(self, candidates: Sequence[str]) -> tuple[str, Session]:
        refusals = []
        for name in candidates:
            try:
                session = self._factory(self._content, PROVIDERS[name], self._threads)
            # ONNX Runtime's exceptions have no common base of their own.
            except Exception as error:  # noqa: BLE001
                refusals.append(f"{name}: {_first_line(error)}")
                continue
            taken = _NAMES.get(session.get_providers()[0], session.get_providers()[0])
            if taken == name:
                if refusals:
                    log.warning("Execution provider %s is taken; refused: %s", name, "; ".join(refusals))
                return name, session
            refusals.append(f"{name}: ONNX Runtime took {taken} instead")
        if list(candidates) == [CPU] or self.asked == "auto":
            raise DamagedError(f"the {self._where} cannot be opened ({'; '.join(refusals)}): export the model again.")
        raise SettingsError(
            f"the execution provider {self.asked} does not work here ({'; '.join(refusals)}): install its drivers and "
            "libraries (`lookalike doctor` looks for them), or use --provider auto or cpu."
        )

    def _run(self, outputs: Sequence[str], feed: dict[str, Any]) -> Sequence[Any]:
        """Compute; a provider that fails twice in a row gives way to the CPU, where `auto` was asked for."""
        session = self._session
        try:
            return session.run(outputs, feed)
        except Exception as first:
            if self.provider == CPU:
                raise
            log.warning("Execution provider %s failed (%s); trying once more", self.provider, _first_line(first))
        try:
            return session.run(outputs, feed)
        except Exception as error:
            if self.asked != "auto":
                raise SettingsError(
                    f"the execution provider {self.provider} failed on the {self._where} ({_first_line(error)}): "
                    "free its memory or use --provider auto, which goes on with the CPU."
                ) from error
            self._fall_back(session, error)
        return self._session.run(outputs, feed)

    def _try_out(self, outputs: Sequence[str], feed: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> list[Any]:
        """Compute once right after opening: a graph that does not give what a bundle's graph gives is found here.

        Raises:
            DamagedError: It does not run, or its outputs are of other shapes.
        """
        try:
            given = list(self._run(outputs, feed))
        except UserError:
            raise
        except Exception as error:
            raise DamagedError(
                f"the {self._where} does not run ({_first_line(error)}): export the model again."
            ) from error
        found = [array.shape for array in given]
        if found != list(shapes):
            raise DamagedError(
                f"the {self._where} gives arrays of {found}, not {list(shapes)}: export the model again."
            )
        return given

    def _fall_back(self, failed: Session, error: Exception) -> None:
        with self._opening:
            if self._session is not failed:
                return  # another thread was here before
            self.degraded = f"the execution provider {self.provider} failed ({_first_line(error)}); the CPU goes on"
            log.warning("%s", self.degraded)
            self._session = self._factory(self._content, PROVIDERS[CPU], self._threads)
            self.provider = CPU


class Encoder(_Graph):
    """Pixels to latents and embeddings; may be called from several threads."""

    part: Part = "encoder"

    def __init__(self, bundle: Bundle, *, batching: Batching = "off", **settings: Any) -> None:
        super().__init__(bundle, **settings)
        self._size = bundle.preprocessing.size
        self._batching = batching
        self._batches = Batches(self._encode)
        self._check_probes(bundle)
        if self.is_batching:
            for size in SIZES:  # what is planned now keeps no request waiting
                self._encode(np.zeros((size, self._size, self._size, 3), np.uint8))

    @classmethod
    def open(cls, bundle: Bundle, provider: str = "auto", **settings: Any) -> "Encoder":
        """Open the encoder of a bundle.

        Args:
            bundle: The model.
            provider: A name of `PROVIDERS`, or "auto" for the best that works.
            **settings: `variant` ("fp32" or another that the bundle has), `threads` for one call, `session_factory`,
                `batching`: whether threads that ask at the same time share a call; auto: not on the CPU.

        Raises:
            SettingsError: The provider is unknown, or asked for by name and does not work here.
            DamagedError: The graph is not what was written.
        """
        return cls(bundle, provider=provider, **settings)

    def encode(self, pixels: Pixels) -> Codes:
        """Encode pictures (n, size, size, 3), uint8; `Codes.usable` says which rows came out well."""
        _expect_shape(pixels, (self._size, self._size, 3), np.uint8)
        latents, embeddings = self._batches.run(pixels) if self.is_batching else self._encode(pixels)
        return Codes(np.asarray(latents, np.float32), np.asarray(embeddings, np.float32))

    @property
    def is_batching(self) -> bool:
        """Whether threads that ask at the same time share a call."""
        return self._batching == "on" or (self._batching == "auto" and self.provider != CPU)

    def _encode(self, pixels: Pixels) -> Sequence[Any]:
        return self._run(("latent", "embedding"), {"pixels": pixels})

    def _check_probes(self, bundle: Bundle) -> None:
        pixels = probe_pixels(self._size)
        shapes = ((len(pixels), bundle.latent_dims), (len(pixels), bundle.dims))
        _, now = self._try_out(("latent", "embedding"), {"pixels": pixels}, shapes)
        if bundle.probes is None:
            return
        cosine = float((now * bundle.probes).sum(axis=1).min())
        if not cosine >= DRIFT_COSINE:  # NaN counts as drift
            self.degraded = (
                f"this machine computes other embeddings than the one that exported the model (cosine {cosine:.4f}): "
                "export it again here, or use the versions that `lookalike version` shows there"
            )
            log.warning("%s", self.degraded)


class Decoder(_Graph):
    """Latents to pixels; may be called from several threads."""

    part: Part = "decoder"

    def __init__(self, bundle: Bundle, **settings: Any) -> None:
        super().__init__(bundle, **settings)
        self._dims = bundle.latent_dims
        size = bundle.preprocessing.size
        self._try_out(("pixels",), {"latent": np.zeros((1, self._dims), np.float32)}, [(1, size, size, 3)])

    @classmethod
    def open(cls, bundle: Bundle, provider: str = "auto", **settings: Any) -> "Decoder":
        """Open the decoder of a bundle; arguments as for `Encoder.open`.

        Raises:
            NothingFoundError: The bundle has none (a foreign encoder).
            SettingsError: The provider is unknown, or asked for by name and does not work here.
            DamagedError: The graph is not what was written.
        """
        return cls(bundle, provider=provider, **settings)

    def decode(self, latents: Floats) -> Pixels:
        """Paint latents (n, latent_dims) as pictures (n, size, size, 3), uint8."""
        _expect_shape(latents, (self._dims,), np.float32)
        (pixels,) = self._run(("pixels",), {"latent": latents})
        return np.asarray(pixels, np.uint8)


def _candidates(asked: str) -> list[str]:
    possible = available_providers()
    if asked == "auto":
        return [name for name in _AUTO if name in possible]
    if asked not in PROVIDERS:
        raise SettingsError(f"there is no execution provider {asked!r}: use auto, {', '.join(PROVIDERS)}.")
    if asked not in possible:
        raise SettingsError(
            f"the execution provider {asked} is not on this machine, which has {', '.join(possible)}: install it, "
            "or use --provider auto. `lookalike doctor` says what is missing."
        )
    return [asked]


def _expect_shape(array: NDArray[Any], row: tuple[int, ...], kind: type) -> None:
    if array.shape[1:] != row or array.dtype != kind:
        wanted = " x ".join(map(str, row))
        raise ValueError(f"expected (n, {wanted}) of {np.dtype(kind)}, not {array.shape} of {array.dtype}")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
