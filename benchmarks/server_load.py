"""What HTTP costs: uploads searched by a server, beside the same pipeline called in process, and other WSGI servers.

    python benchmarks/server_load.py --model BUNDLE [--items 100000] [--seconds 10] [--servers ours,gunicorn,...]
    python benchmarks/server_load.py --model BUNDLE --servers ours,batching      (sharing the calls of the encoder)
    python benchmarks/server_load.py --model BUNDLE --overload 600      (twice what our server can do)

The query is a JPEG of 50 KB: decode, embed, search, fetch 20 items. All servers run the same application with as many
threads; clients and servers share the machine's cores. `cpu_ms` is what a request takes of all processes of the server,
decoders included; the times of one client are taken in turns, one request over HTTP and one query in process, so that
whatever else the machine does meets both alike. Beside it stands what the attacks W1 to W3 (a body without end, silent
clients, smuggling) meet. Prints one JSON line for each.
"""

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

PLACE = "LOAD_GALLERY"  # environment variable: folder of the gallery
THREADS, DECODERS = 4, 2
CLIENTS = 8
K = 20
SILENT = 120
OVERLOADING = 128  # clients that bring twice the sustainable load: enough to wait for all that is being answered
WARM_UP = 1 / 5  # of the time under load, before memory is looked at
LOOKS_EVERY, SIZES_EVERY = 0.2, 2.0  # seconds between two looks at /healthz, at the memory
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
    if name in ("ours", "batching"):
        options = ["--port", str(port), "--no-browser", "--threads", str(THREADS), "--decode-workers", str(DECODERS)]
        options += ["--batching", "on" if name == "batching" else "off"]
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
    return {
        "requests_per_s": round(len(many) / took, 1),
        "cpu_ms": round(cpu * 1000, 2),
        "p50_8_ms": round(statistics.median(many) * 1000, 2),
        "p99_8_ms": round(sorted(many)[int(0.99 * len(many))] * 1000, 2),
        "resident_MB": round(resident(process) / 1e6, 1),
    }


@contextlib.contextmanager
def pipeline(data: bytes) -> Iterator[Callable[[], None]]:
    """What answers the query without HTTP, in threads of this process."""
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

        yield once


@contextlib.contextmanager
def ahead_of_others(process: psutil.Process, *, wanted: bool) -> Iterator[None]:
    """Let this process, the server and their decoders run before whatever else the machine does (root only)."""
    everybody = {one.pid: one for root in (psutil.Process(), process) for one in [root, *root.children(recursive=True)]}

    def change(policy: int, priority: int) -> None:
        for one in everybody.values() if wanted else ():
            for thread in one.threads():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(thread.id, policy, os.sched_param(priority))

    change(os.SCHED_RR, 1)
    try:
        yield
    finally:
        change(os.SCHED_OTHER, 0)


def in_turns(ways: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Median milliseconds of each way of asking, taken in turns by one client."""
    latencies: dict[str, list[float]] = {name: [] for name in ways}
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for name, once in ways.items():
            started = time.monotonic()
            once()
            latencies[name].append(time.monotonic() - started)
    return {name: round(statistics.median(taken) * 1000, 2) for name, taken in latencies.items()}


def by_http(port: int, data: bytes) -> Callable[[], Callable[[], None]]:
    """Clients that keep their connection."""
    head = f"POST {search_address()} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: image/jpeg\r\n"
    request = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    def client() -> Callable[[], None]:
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def once() -> None:
            connection.sendall(request)
            status = read_answer(connection)
            if status != 200:
                raise RuntimeError(f"status {status}")

        return once

    return client


def read_answer(connection: socket.socket) -> int:
    """Read one answer and give its status: a client that costs little, because it shares the server's cores."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        if not part:
            raise RuntimeError("the server closed the connection")
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if length is None:
        raise RuntimeError(f"an answer without its length: {head[:200]!r}")
    missing = int(length[1]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(65_536))
    return int(head.split(b" ", 2)[1])


def search_address() -> str:
    """Where uploads are searched; our command serves a gallery by its folder's name."""
    return f"/api/v1/galleries/{Path(os.environ[PLACE]).name}/search?k={K}&store=false"


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


def look(port: int) -> None:
    """Look at /healthz until stdin ends, in a process that does nothing else; print the seconds of each look."""
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    taken = []
    while not stop.wait(LOOKS_EVERY):
        try:
            status, seconds = ask_health(port, 10)
        except (OSError, http.client.HTTPException):
            status, seconds = 0, 10.0
        taken.append(seconds if status == 200 else 10.0)
    print(json.dumps(taken))


@dataclass
class Flood:
    """Requests that come at a steady rate, whatever becomes of those before; refused ones are not sent again."""

    port: int
    data: bytes
    rate: float  # a second
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: dict[int, list[float]] = field(default_factory=dict)  # by status
    bare_503: int = 0  # without Retry-After
    lost: int = 0  # no answer
    guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float) -> None:
        """Send for so long."""
        begun = time.monotonic()
        turns = itertools.count()

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            while True:
                with self.guard:
                    due = begun + next(turns) / self.rate
                if due > begun + seconds:
                    return
                time.sleep(max(due - time.monotonic(), 0))
                self._ask(connection)

        threads = [threading.Thread(target=client) for _ in range(OVERLOADING)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        started = time.monotonic()
        try:
            connection.request("POST", search_address(), self.data, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            with self.guard:
                self.lost += 1
            return
        took = time.monotonic() - started
        with self.guard:
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            self.latencies.setdefault(answer.status, []).append(took)
            self.bare_503 += answer.status == 503 and "Retry-After" not in answer.headers


def overload(port: int, process: psutil.Process, data: bytes, seconds: float) -> dict[str, Any]:
    """Twice what can be done: answers, memory after warm-up and at the end, then calm again."""
    calm, _ = load(by_http(port, data), 1, 5)
    many, took = load(by_http(port, data), CLIENTS, 15)
    sustainable = len(many) / took
    Flood(port, data, 2 * sustainable).run(seconds * WARM_UP)
    flood = Flood(port, data, 2 * sustainable)
    sizes: list[tuple[int, int]] = []  # of the server's process, of all its processes
    stop = threading.Event()

    def weigh() -> None:
        while not stop.wait(SIZES_EVERY):
            sizes.append((process.memory_info().rss, resident(process)))

    looker = subprocess.Popen(
        [sys.executable, __file__, "--look", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    weigher = threading.Thread(target=weigh)
    weigher.start()
    started = time.monotonic()
    flood.run(seconds)
    lasted = time.monotonic() - started
    stop.set()
    weigher.join()
    health = json.loads(looker.communicate("")[0])
    time.sleep(5)
    again, _ = load(by_http(port, data), 1, 5)
    some = max(len(sizes) // 10, 1)
    first, last = ([min(column) for column in zip(*part, strict=True)] for part in (sizes[:some], sizes[-some:]))
    return {
        "sustainable_per_s": round(sustainable, 1),
        "asked_per_s": round((sum(flood.statuses.values()) + flood.lost) / lasted, 1),
        "statuses": flood.statuses,
        "without_answer": flood.lost,
        "503_without_Retry-After": flood.bare_503,
        "p50_ms": {status: round(statistics.median(taken) * 1000, 1) for status, taken in flood.latencies.items()},
        "worst_ms": {status: round(max(taken) * 1000, 1) for status, taken in flood.latencies.items()},
        "health_looks": len(health),
        "health_p50_p99_worst_ms": [
            round(1000 * value, 1)
            for value in (statistics.median(health), sorted(health)[int(0.99 * len(health))], max(health))
        ],
        "server_MB": [round(size[0] / 1e6, 1) for size in (first, last)],
        "with_decoders_MB": [round(size[1] / 1e6, 1) for size in (first, last)],
        "growth": [round(after / before - 1, 4) for before, after in zip(first, last, strict=True)],
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
    parser.add_argument("--ahead", action="store_true", help="measure one client ahead of all other work (root)")
    parser.add_argument("--serve", choices=("waitress", "cheroot"), help=argparse.SUPPRESS)
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if asked.serve:
        serve(asked.serve, asked.port)
        return
    if asked.look:
        look(asked.port)
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
        with pipeline(data) as once:
            bare = figures(lambda: once, psutil.Process(), asked.seconds)
            print(json.dumps({"server": "in process", "bytes": len(data), "items": asked.items, **bare}), flush=True)
            for name in asked.servers.split(","):
                with running(name) as (port, process):
                    found = figures(by_http(port, data), process, asked.seconds)
                    with ahead_of_others(process, wanted=asked.ahead):
                        turns = in_turns({"in_process": once, "http": by_http(port, data)()}, asked.seconds)
                    beside = {
                        "cpu_ratio": round(found["cpu_ms"] / bare["cpu_ms"], 2),
                        "cpu_more_ms": round(found["cpu_ms"] - bare["cpu_ms"], 2),
                        "throughput_ratio": round(found["requests_per_s"] / bare["requests_per_s"], 2),
                        "p99_over_p50": round(found["p99_8_ms"] / found["p50_8_ms"], 2),
                        "p50_1_ms": turns,
                        "p50_1_more_ms": round(turns["http"] - turns["in_process"], 2),
                    }
                    print(json.dumps({"server": name, **found, **beside, **attacks(port)}), flush=True)


if __name__ == "__main__":
    main()
