"""How long a server takes from its start to ready, and how much memory it holds.

    python benchmarks/server_start.py --items 10000 [--model lookalike/models/NAME] [--starts 5]

The gallery has random vectors and no files: start-up reads the database, the index and the model, never a picture.
"""

import argparse
import hashlib
import http.client
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
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
        measured = [start(gallery, folder / "log") for _ in range(chosen.starts)]
    for position, what in enumerate(("seconds to readyz", "MB at ready", "MB after 200 searches", "processes")):
        values = [one[position] for one in measured]
        print(f"{what}: median {statistics.median(values):.2f}, worst {max(values):.2f}")


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


def start(gallery: Path, log: Path, searches: int = 200) -> tuple[float, float, float, float]:
    """Seconds to ready, MB then, MB after some searches (resident, all processes), processes."""
    command = [sys.executable, "-m", "search_server", str(gallery), "--port", "0", "--no-browser"]
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=Path(__file__).resolve().parents[1])
    try:
        while not (found := re.search(r"http://localhost:(\d+)/", log.read_text())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.005)
        port = int(found[1])
        ask(port, "GET", "/readyz")
        seconds = time.perf_counter() - began
        at_ready = megabytes(process.pid)
        picture = encoded(draw_picture(1, 800, 600), "JPEG")
        for _ in range(searches):
            ask(port, "POST", f"/api/v1/galleries/{gallery.name}/search?store=false", picture)
        return seconds, at_ready, megabytes(process.pid), 1 + len(psutil.Process(process.pid).children(recursive=True))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=15)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "image/jpeg"} if body else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{method} {path}: {answer.status} {content[:500]!r}")


def megabytes(pid: int) -> float:
    """Resident memory of a process and its children; what they share is counted once for each."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6


if __name__ == "__main__":
    main()
