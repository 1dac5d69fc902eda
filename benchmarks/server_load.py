"""What HTTP costs: uploads searched by a server, beside the same pipeline called in process, and other WSGI servers.

    python benchmarks/server_load.py --model BUNDLE [--items 100000] [--seconds 10] [--servers ours,gunicorn,...]
    python benchmarks/server_load.py --model BUNDLE --overload 600      (more clients than our server has places for)

The query is a JPEG of 50 KB: decode, embed, search, fetch 20 items. All servers run the same application with as many
threads; clients and servers share the machine's cores. `cpu_ms` is what a request takes of all processes of the server,
decoders included. Beside it stands what the attacks W1 to W3 (a body without end, silent clients, smuggling) meet.
Prints one JSON line for each.
"""

import argparse
import contextlib
import http.client
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

PLACE = "LOAD_GALLERY"  # environment variable: folder of the gallery
THREADS, DECODERS = 8, 2
CLIENTS = 8
K = 20
SILENT = 120
OVERLOADING = 64
SERVERS = ("ours", "waitress", "gunicorn", "granian", "cheroot")
BODY_BYTES = 50_000


def application() -> Any:
    """The application, as other servers load it."""
    from index_data.engine import Engine
    from search_server.app import create_app
    from search_server.settings import ServerSettings

    engine = Engine.open(Path(os.environ[PLACE]), provider="cpu", threads=1)
    return create_app({"load": engine}, ServerSettings(threads=THREADS, decode_workers=DECODERS))


def command(name: str, port: int) -> list[str]:
    """What starts a server."""
    here, python = Path(__file__), sys.executable
    if name == "ours":
        options = ["--port", str(port), "--no-browser", "--threads", str(THREADS), "--decode-workers", str(DECODERS)]
        return [python, "-m", "search_server", os.environ[PLACE], "--provider", "cpu", *options]
    if name == "gunicorn":
        options = ["-k", "gthread", "--threads", str(THREADS), "-b", f"127.0.0.1:{port}", "--no-control-socket"]
        return [python, "-m", "gunicorn", *options, "--pythonpath", str(here.parent), f"{here.stem}:application()"]
    if name == "granian":
        options = ["--interface", "wsgi", "--factory", "--blocking-threads", str(THREADS), "--port", str(port)]
        options += ["--working-dir", str(here.parent), "--no-ws", "--log-level", "error"]
        return [python, "-m", "granian", *options, f"{here.stem}:application"]
    return [python, str(here), "--serve", name, "--port", str(port)]


def serve(name: str, port: int) -> None:
    """Run a server in this process."""
    app = application()
    if name == "waitress":
        import waitress

        waitress.serve(app, host="127.0.0.1", port=port, threads=THREADS)
    else:
        from cheroot.wsgi import Server

        Server(("127.0.0.1", port), app, numthreads=THREADS).start()


def picture() -> bytes:
    """A JPEG of about 50 KB."""
    random = np.random.default_rng(0)
    rough = Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8)).resize((800, 600), Image.Resampling.BICUBIC)
    for quality in range(95, 20, -5):
        buffer = io.BytesIO()
        rough.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= BODY_BYTES:
            break
    return buffer.getvalue()


def cpu_seconds(process: psutil.Process) -> float:
    """Of a process and all that it started."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def resident(process: psutil.Process) -> int:
    """Bytes of a process and all that it started."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


def load(ask: Callable[[], Callable[[], None]], clients: int, seconds: float) -> tuple[list[float], float]:
    """Latencies (s) of closed-loop clients, each with what `ask` makes it, and the seconds that it took."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    stop = time.monotonic() + seconds

    def run(mine: list[float]) -> None:
        once = ask()
        while time.monotonic() < stop:
            started = time.monotonic()
            once()
            mine.append(time.monotonic() - started)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in latencies]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for mine in latencies for one in mine], time.monotonic() - started


def figures(ask: Callable[[], Callable[[], None]], process: psutil.Process, seconds: float) -> dict[str, float]:
    """What is measured of one way of asking."""
    load(ask, CLIENTS, seconds / 4)
    before = cpu_seconds(process)
    many, took = load(ask, CLIENTS, seconds)
    cpu = (cpu_seconds(process) - before) / len(many)
    one, _ = load(ask, 1, seconds / 3)
    return {
        "requests_per_s": round(len(many) / took, 1),
        "cpu_ms": round(cpu * 1000, 2),
        "p50_8_ms": round(statistics.median(many) * 1000, 2),
        "p99_8_ms": round(sorted(many)[int(0.99 * len(many))] * 1000, 2),
        "p50_1_ms": round(statistics.median(one) * 1000, 2),
        "resident_MB": round(resident(process) / 1e6, 1),
    }


def in_process(data: bytes, seconds: float) -> dict[str, float]:
    """The same pipeline without HTTP, in threads of this process."""
    from index_data.engine import Engine
    from train.decoding import DecodePool
    from train.images import HTTP_LIMITS

    with (
        Engine.open(Path(os.environ[PLACE]), provider="cpu", threads=1) as engine,
        DecodePool(DECODERS, HTTP_LIMITS) as pool,
    ):

        def once() -> None:
            decoded = pool.fit(data, engine.gallery.preprocessing)
            hits = engine.search(engine.embed(decoded.pixels[None]).embeddings, K)[0]
            engine.gallery.items_by_id([hit.id for hit in hits])

        return figures(lambda: once, psutil.Process(), seconds)


def by_http(port: int, data: bytes) -> Callable[[], Callable[[], None]]:
    """Clients that keep their connection."""

    def client() -> Callable[[], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def once() -> None:
            while True:
                address = f"/api/v1/galleries/{gallery_name()}/search?k={K}&store=false"
                connection.request("POST", address, data, {"Content-Type": "image/jpeg"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return
                if answer.status != 503:
                    raise RuntimeError(f"status {answer.status}")

        return once

    return client


def gallery_name() -> str:
    """What the gallery is served as: our command takes the folder's name."""
    return Path(os.environ[PLACE]).name


@contextlib.contextmanager
def running(name: str) -> Iterator[tuple[int, psutil.Process]]:
    """A server that answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(command(name, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask_health(port, 5)[0] == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not start")
            time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()


def ask_health(port: int, seconds: float) -> tuple[int, float]:
    """Status and seconds of a look at /healthz, on a connection of its own."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status, time.monotonic() - started
    finally:
        connection.close()


def overload(port: int, process: psutil.Process, data: bytes, seconds: float) -> dict[str, Any]:
    """More closed-loop clients than there are places: answers, memory after warm-up and at the end, then calm again."""
    calm, _ = load(by_http(port, data), 1, 5)
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    bare_503 = 0
    guard = threading.Lock()

    def client() -> Callable[[], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def once() -> None:
            nonlocal bare_503
            address = f"/api/v1/galleries/{gallery_name()}/search?k={K}&store=false"
            started = time.monotonic()
            connection.request("POST", address, data, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            took = time.monotonic() - started
            with guard:
                statuses[answer.status] = statuses.get(answer.status, 0) + 1
                latencies.append(took)
                bare_503 += answer.status == 503 and "Retry-After" not in answer.headers
            if answer.status == 503:
                connection.close()
                time.sleep(1)  # as Retry-After says

        return once

    load(client, OVERLOADING, seconds / 5)
    before = resident(process)
    statuses.clear()
    latencies.clear()
    health: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            status, took = ask_health(port, 10)
            health.append(took if status == 200 else 10.0)

    looker = threading.Thread(target=look)
    looker.start()
    load(client, OVERLOADING, seconds)
    stop.set()
    looker.join()
    after = resident(process)
    time.sleep(5)
    again, _ = load(by_http(port, data), 1, 5)
    return {
        "clients": OVERLOADING,
        "statuses": statuses,
        "503_without_Retry-After": bare_503,
        "p50_ms": round(statistics.median(latencies) * 1000, 1),
        "worst_ms": round(max(latencies) * 1000, 1),
        "health_p99_ms": round(sorted(health)[int(0.99 * len(health))] * 1000, 1),
        "resident_MB": [round(size / 1e6, 1) for size in (before, after)],
        "resident_growth": round(after / before - 1, 4),
        "p50_alone_before_ms": round(statistics.median(calm) * 1000, 1),
        "p50_alone_5_s_after_ms": round(statistics.median(again) * 1000, 1),
    }


def attacks(port: int) -> dict[str, Any]:
    """What W1 (a body without end), W2 (silent clients) and W3 (smuggling) meet."""
    return {
        "W1_MB_taken": round(endless_body(port) / 1e6, 1),
        "W2_served": silent_clients(port),
        "W3": [exchange(port, probe) for probe in SMUGGLING],
    }


def endless_body(port: int) -> int:
    """Bytes that are taken of a chunked body without end, up to 256 MB."""
    kind = b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    head = b"POST /api/v1/embed HTTP/1.1\r\nHost: localhost\r\n" + kind
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    sent = 0
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head)
        while sent < 256e6:
            connection.sendall(piece)
            sent += len(piece)
    return sent


def silent_clients(port: int) -> str:
    """How many of 10 looks are answered within 2 s while many clients have sent half a request."""
    silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(SILENT)]
    try:
        for connection in silent:
            connection.sendall(b"POST /api/v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
        time.sleep(0.5)
        good = 0
        for _ in range(10):
            with contextlib.suppress(OSError, http.client.HTTPException):
                good += ask_health(port, 2)[0] == 200
        return f"{good}/10"
    finally:
        for connection in silent:
            connection.close()


_SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
_POST = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLING = (
    _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _SMUGGLED,
    _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    _POST + b"Content-Length: +5\r\n\r\nabcde",
    _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\nY: b\r\n\r\n",
)


def exchange(port: int, sent: bytes) -> str:
    """Statuses that come back for raw bytes."""
    received = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            received += part
    statuses = [line.split()[1].decode() for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.")]
    return "+".join(statuses) or "-"


def main() -> None:
    """Measure and print one JSON line for each way of asking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of load for each")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--overload", type=float, metavar="SECONDS", help="ask our server for more than it can do")
    parser.add_argument("--serve", choices=("waitress", "cheroot"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if asked.serve:
        serve(asked.serve, asked.port)
        return
    if asked.model is None:
        parser.error("--model is needed")
    from indexing import random_gallery

    from export.bundle import Bundle

    with tempfile.TemporaryDirectory(prefix="server-load-") as scratch:
        place = Path(scratch) / "load"
        os.environ[PLACE] = str(place)
        random_gallery(Bundle.open(asked.model), asked.items, place)
        data = picture()
        if asked.overload:
            with running("ours") as (port, process):
                print(json.dumps(overload(port, process, data, asked.overload)))
            return
        bare = in_process(data, asked.seconds)
        print(json.dumps({"server": "in process", "bytes": len(data), "items": asked.items, **bare}), flush=True)
        for name in asked.servers.split(","):
            with running(name) as (port, process):
                found = figures(by_http(port, data), process, asked.seconds)
                beside = {
                    "cpu_ratio": round(found["cpu_ms"] / bare["cpu_ms"], 2),
                    "cpu_more_ms": round(found["cpu_ms"] - bare["cpu_ms"], 2),
                    "throughput_ratio": round(found["requests_per_s"] / bare["requests_per_s"], 2),
                    "p50_1_more_ms": round(found["p50_1_ms"] - bare["p50_1_ms"], 2),
                    "p99_over_p50": round(found["p99_8_ms"] / found["p50_8_ms"], 2),
                }
                print(json.dumps({"server": name, **found, **beside, **attacks(port)}), flush=True)


if __name__ == "__main__":
    main()
