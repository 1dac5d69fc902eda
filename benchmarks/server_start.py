"""How long a server takes from its start to ready and to its first answer, and how much memory it holds.

    python benchmarks/server_start.py --items 10000 [--model lookalike/models/NAME] [--starts 5]

The gallery has random vectors and no files: start-up reads the database, the index and the model, never a picture. Each
server is ended with SIGKILL in the middle of a search, and the next one takes its port. Processor time is that of all
its processes: where other work shares the machine, it says more than the clock.
"""

import argparse
import hashlib
import http.client
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from export.bundle import Bundle, ModelFacts, write_bundle
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import build_generation
from tests.conftest import AVERAGED_SIZE, averaging_graphs, draw_picture, encoded
from train.images import Preprocessing

ROWS_AT_ONCE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--model", type=Path, help="a bundle; else one that averages colours")
    parser.add_argument("--starts", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = Bundle.open(chosen.model) if chosen.model else averaging_bundle(folder / "model")
        gallery = random_gallery(folder / "many", bundle, chosen.items)
        print(
            f"{chosen.items:,} items, {bundle.dims} dimensions, {bundle.preprocessing.size} px, {os.cpu_count()} cores"
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        measured = [start(gallery, port, folder / "log") for _ in range(chosen.starts)]
    for name in fields(Measured):
        values = [getattr(one, name.name) for one in measured]
        print(f"{name.name}: median {statistics.median(values):.2f}, worst {max(values):.2f}")


def averaging_bundle(folder: Path) -> Bundle:
    encoder, decoder = averaging_graphs()
    facts = ModelFacts(preprocessing=Preprocessing(AVERAGED_SIZE), dims=192, source="mean colours")
    return write_bundle(folder, {("encoder", "fp32"): encoder, ("decoder", "fp32"): decoder}, facts, None)


def random_gallery(folder: Path, bundle: Bundle, count: int) -> Path:
    random = np.random.default_rng(0)
    with Gallery.create(folder, bundle) as gallery:
        for first in range(0, count, ROWS_AT_ONCE):
            with gallery.changes() as changes:
                root = changes.root_id(folder / "pictures")
                for number in range(first, min(first + ROWS_AT_ONCE, count)):
                    latent = random.normal(size=bundle.dims).astype(np.float32)
                    sha256 = hashlib.sha256(str(number).encode()).digest()
                    content = Content(sha256, 640, 480, "JPEG", latent, latent / np.linalg.norm(latent))
                    file = FileState(root, f"{number:07}.jpg".encode(), 50_000, number)
                    changes.put_item(file, changes.add_content(content))
        build_generation(gallery)
    return folder


@dataclass
class Measured:
    """Of one server."""

    seconds_to_ready: float
    seconds_to_first_answer: float
    cpu_seconds_to_first_answer: float
    megabytes_at_ready: float  # resident, all processes
    megabytes_after_searches: float
    processes: float


def start(gallery: Path, port: int, log: Path, searches: int | None = 200) -> Measured:
    """Start a server, and kill it in the middle of a search; None: as soon as it is ready, whatever its model."""
    command = [sys.executable, "-m", "search_server", str(gallery), "--port", str(port), "--no-browser"]
    command += ["--provider", "cpu"]
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=Path(__file__).resolve().parents[1])
    try:
        while "http://localhost:" not in log.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.005)
        ask(port, "GET", "/readyz")
        to_ready, at_ready = time.perf_counter() - began, megabytes(process.pid)
        if searches is None:
            return Measured(to_ready, math.nan, math.nan, at_ready, math.nan, math.nan)
        picture = encoded(draw_picture(1, 800, 600), "JPEG")
        place = f"/api/v1/galleries/{gallery.name}/search?store=false"
        ask(port, "POST", place, picture)
        to_answer, cpu = time.perf_counter() - began, cpu_seconds(process.pid)
        for _ in range(searches):
            ask(port, "POST", place, picture)
        count = 1 + len(psutil.Process(process.pid).children(recursive=True))
        measured = Measured(to_ready, to_answer, cpu, at_ready, megabytes(process.pid), count)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", place, picture, {"Content-Type": "image/jpeg"})
        return measured
    finally:
        process.kill()
        process.wait(timeout=15)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "image/jpeg"} if body else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{method} {path}: {answer.status} {content[:500]!r}")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children."""
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def megabytes(pid: int) -> float:
    """Resident memory of a process and its children; what they share is counted once for each."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6


if __name__ == "__main__":
    main()
