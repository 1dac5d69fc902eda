"""The server process: a socket, waitress with limits, and an end that finishes what was begun."""

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from search_server import limits
from search_server.app import HEADERS
from search_server.problems import MEDIA_TYPE, problem_document
from train.errors import PROBLEMS, SettingsError

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
IDLE_SECONDS = 15  # after which a silent connection is closed: slow clients cannot use up all places
HEADER_BYTES = 16_384
DRAIN_SECONDS = 9.0  # for what is being answered when the server is told to stop
_PORTS_TO_TRY = 50


def bind(host: str, port: int) -> socket.socket:
    """Take a port, before anything slow is loaded.

    Raises:
        SettingsError: It is in use, may not be used, or the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Another process may share a bound address; only one can listen.
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingsError(_why_not(host, port, error)) from error
    return listener


def _why_not(host: str, port: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        free = _next_free_port(host, port)
        remedy = f"take another, such as --port {free}" if free else "take another with --port"
        return f"port {port} of {host} is in use: stop the program that uses it, or {remedy}."
    if number == errno.EACCES:
        return f"port {port} may not be used by this user: take one above 1023, such as --port 8000."
    return f"cannot listen on {host} port {port} ({error}): use --host 127.0.0.1, or an address of this machine."


def _next_free_port(host: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + _PORTS_TO_TRY, 65_535)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
                probe.listen(1)
            except OSError:
                continue
            return candidate
    return None


class _ProblemTask(ErrorTask):
    """What waitress itself refuses (a body without end, a malformed head), as problem+json like all else."""

    def execute(self) -> None:
        error = self.request.error
        problem = PROBLEMS["body_too_large" if error.code == 413 else "bad_request"]
        body = problem_document(problem, str(error.body), instance="", request_id="").encode()
        self.status = f"{problem.status} {'Content Too Large' if problem.status == 413 else 'Bad Request'}"
        self.response_headers.extend([("Content-Type", MEDIA_TYPE), *HEADERS.items()])
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    error_task_class = _ProblemTask


@dataclass(frozen=True)
class Signals:
    """What the signals that a server understands have asked for."""

    stop: threading.Event
    reload: threading.Event
    changed: threading.Event  # one of the others was set


class Server:
    """Waitress around an application, in threads of its own."""

    def __init__(self, app: Flask, listener: socket.socket, threads: int) -> None:
        # With all threads at work a request waits its turn; that is worth a metric, not a line of log each time.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._server: Any = create_server(
            app,
            sockets=[listener],
            threads=threads,
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=IDLE_SECONDS,
            max_request_body_size=limits.BODY_BYTES + limits.MIB,
            max_request_header_size=HEADER_BYTES,
            asyncore_use_poll=True,
            ident=None,
            expose_tracebacks=False,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = _Channel
        self._loop = threading.Thread(target=self._server.run, name="waitress-loop", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._loop.start()

    @property
    def alive(self) -> bool:
        """Whether the loop runs; it never ends by itself."""
        return self._loop.is_alive()

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Take no new connections, and wait until what was begun is answered and sent, or the time is over."""
        self._server.accepting = False
        self._server.socket.close()
        deadline = time.monotonic() + seconds
        while self._busy() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._busy():
            logger.warning("requests were still being answered after %s s: they are cut off", seconds)

    def _busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def watch_signals() -> Signals:
    """Let SIGTERM and SIGINT stop the server, and SIGHUP open the galleries again (main thread only)."""
    signals = Signals(threading.Event(), threading.Event(), threading.Event())

    def remember(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP and signals.stop.is_set():
            os._exit(0)  # the user insists; nothing here needs to be saved
        (signals.reload if number == signal.SIGHUP else signals.stop).set()
        signals.changed.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, remember)
    return signals


def run_until_stopped(server: Server, signals: Signals, reload: Callable[[], None]) -> None:
    """Wait until a signal says stop; open the galleries again when one says so."""
    while not signals.stop.is_set() and server.alive:
        signals.changed.wait(timeout=1)
        signals.changed.clear()
        if signals.reload.is_set():
            signals.reload.clear()
            reload()
    server.drain()
