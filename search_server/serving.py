"""The server process: a socket, waitress with limits, and an end that finishes what was begun."""

import errno
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import FrameType
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

from search_server import limits
from search_server.app import HEADERS
from search_server.problems import MEDIA_TYPE, RETRY_SECONDS, problem_document
from train.errors import PROBLEMS, SettingsError

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
IDLE_SECONDS = 15  # after which a silent connection is closed: slow clients cannot use up all places
CLEAN_UP_SECONDS = 5
LEAST_RATE = 2048  # bytes a second of a request, after IDLE_SECONDS: one byte now and then keeps no place for ever
HEADER_BYTES = 16_384
RECEIVED_BYTES = 65_536  # at once: a picture comes in one or two pieces, not in ten
SHORT_BYTES = 65_536  # of an answer that is sent together with its head
DRAIN_SECONDS = 9.0  # for what is being answered when the server is told to stop
WAITING_FOR_A_THREAD = 4  # requests for each thread; more are refused
WAIT_SECONDS = 5.0  # of a request for its thread; then it is refused
OBJECTS_BETWEEN_COLLECTIONS = 5_000  # seven times as many as by default: a few requests
_EXPRESS = ("/healthz", "/readyz", "/metrics")
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
    """What is refused before the application sees it (no end, a malformed head, a full queue), as a problem."""

    def execute(self) -> None:
        error = self.request.error
        code = _CODE_OF_STATUS.get(error.code, "bad_request")
        problem = PROBLEMS[code]
        body = problem_document(problem, str(error.body), instance="", request_id="").encode()
        self.status = f"{problem.status} {HTTPStatus(problem.status).phrase}"
        self.response_headers.extend([("Content-Type", MEDIA_TYPE), *HEADERS.items()])
        if problem.status == 503:
            self.response_headers.append(("Retry-After", str(RETRY_SECONDS)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):
    """One request; a short answer goes out in one piece, so that its client is woken once, not twice."""

    wrote_header: bool

    def write(self, data: bytes) -> None:
        """Send the head, if it was not yet, and a part of the body (called by waitress)."""
        whole = self.content_length == len(data) <= SHORT_BYTES and data
        if not (self.complete and whole and self.has_body) or self.wrote_header:
            super().write(data)
            return
        self.wrote_header = True
        self.channel.write_soon(self.build_response_header() + data)
        self.content_bytes_written = len(data)


_CODE_OF_STATUS = {413: "body_too_large", 503: "busy"}


class _Busy(Error):
    """Too much is waiting already."""

    code = HTTPStatus.SERVICE_UNAVAILABLE.value
    reason = HTTPStatus.SERVICE_UNAVAILABLE.phrase


class _Channel(HTTPChannel):
    """One connection; it knows how long its request has been coming in."""

    task_class = _Task
    error_task_class = _ProblemTask
    waits_since = 0.0  # for a thread
    comes_since: float | None = None  # the request that is not complete yet
    came = 0  # bytes of it

    def received(self, data: bytes) -> bool:
        """Take bytes (called by waitress)."""
        if self.comes_since is None:
            self.comes_since, self.came = time.monotonic(), 0
        self.came += len(data)
        taken = bool(super().received(data))
        if self.request is None:  # complete
            self.comes_since = None
        return taken

    def is_too_slow(self) -> bool:
        """Whether the request has been coming in for longer than the slowest line takes."""
        if self.comes_since is None:
            return False
        return time.monotonic() - self.comes_since > IDLE_SECONDS + self.came / LEAST_RATE


class _Desk:
    """Where requests wait for a thread: only so many, and not for long; what says how we are goes past the queue.

    Without a bound, a server that is asked for more than it can do answers everybody later and later, and in the end
    those who have given up long ago.
    """

    def __init__(self, threads: int, rejected: Callable[[str], None]) -> None:
        self._rejected = rejected
        self._most_waiting = WAITING_FOR_A_THREAD * threads
        self._queue = ThreadedTaskDispatcher()
        self._express = ThreadedTaskDispatcher()  # answers in no time: refusals, and how the server is
        self._queue.set_thread_count(threads)
        self._express.set_thread_count(1)

    def add_task(self, channel: _Channel) -> None:
        """Let a request wait, or refuse it (called by waitress)."""
        request = channel.requests[0]
        if request.error is None and request.path.endswith(_EXPRESS):
            self._express.add_task(channel)
        elif request.error is None and len(self._queue.queue) >= self._most_waiting:
            self._refuse(channel, "full")
            self._express.add_task(channel)
        else:
            channel.waits_since = time.monotonic()
            self._queue.add_task(_Waiting(channel, self))

    def refuse_late(self, channel: _Channel) -> None:
        """Refuse a request that waited so long that its sender may have given up."""
        if channel.requests[0].error is None and time.monotonic() - channel.waits_since > WAIT_SECONDS:
            self._refuse(channel, "late")

    def _refuse(self, channel: _Channel, reason: str) -> None:
        channel.requests[0].error = _Busy("More is asked than can be done at the moment: ask again in a second.")
        self._rejected(reason)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End (called by waitress)."""
        self._express.shutdown(cancel_pending, timeout)
        return bool(self._queue.shutdown(cancel_pending, timeout))


@dataclass(frozen=True)
class _Waiting:
    channel: _Channel
    desk: _Desk

    def service(self) -> None:
        self.desk.refuse_late(self.channel)
        self.channel.service()

    def cancel(self) -> None:
        self.channel.cancel()


@dataclass(frozen=True)
class Signals:
    """What the signals that a server understands have asked for."""

    stop: threading.Event
    reload: threading.Event
    changed: threading.Event  # one of the others was set


class Server:
    """Waitress around an application, in threads of its own."""

    def __init__(
        self,
        app: Flask,
        listener: socket.socket,
        threads: int,
        *,
        trusted_proxies: int = 0,
        rejected: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """Take the socket; answer nothing yet.

        Args:
            app: What answers.
            listener: Bound and listening.
            threads: Requests answered at once.
            trusted_proxies: How many there are before us; without any, what they would say of a client is thrown away.
            rejected: Is told why a request was refused before the application saw it: `full` or `late`.
        """
        # With all threads at work a request waits its turn; that is worth a metric, not a line of log each time.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._server: Any = create_server(
            app,
            sockets=[listener],
            _dispatcher=_Desk(threads, rejected),
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=CLEAN_UP_SECONDS,
            max_request_body_size=limits.BODY_BYTES + limits.MIB,
            max_request_header_size=HEADER_BYTES,
            asyncore_use_poll=True,
            recv_bytes=RECEIVED_BYTES,
            ident=None,
            expose_tracebacks=False,
            # Where proxies are named, ProxyFix reads their headers, as many as there are proxies.
            clear_untrusted_proxy_headers=trusted_proxies == 0,
        )
        self._server.channel_class = _Channel
        clean_up = self._server.maintenance

        def close_slow_ones(now: float) -> None:
            clean_up(now)
            for channel in list(self._server.active_channels.values()):
                if not channel.requests and channel.is_too_slow():
                    channel.will_close = True

        self._server.maintenance = close_slow_ones
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


def settle_garbage() -> None:
    """Let Python's collector pass over what there is now, and look less often at what comes and goes.

    A request makes more objects than the collector waits for by default, and nearly all go without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)


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
