"""Decoding images in worker processes that may crash, hang or eat memory without harm to anybody.

`DecodePool` is the parent's side; `train/decode_worker.py` is the child's. An image costs one exchange over two
pipes: the file goes in, a square of pixels and a thumbnail come out.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import itertools
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from train.decode_worker import CONTENT_TYPES, RAW, frame, read_frame
from train.errors import PROBLEMS, ImageError, UserError
from train.images import (
    BACKGROUND,
    HEAD_BYTES,
    REDUCING_GAP,
    RESAMPLE,
    Limits,
    Pixels,
    Preprocessing,
    expect_bytes,
    expect_format,
)

logger = logging.getLogger(__name__)

WORKER_SCRIPT = Path(__file__).with_name("decode_worker.py")
DECODE_MEMORY = 1 << 30  # bytes
WORKER_BASE_MEMORY = 1 << 30  # of address space: the interpreter, the file, its copies
WORST_BYTES_PER_PIXEL = 20  # of address space: what a picture with alpha takes
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PASSED_ON = ("LD_LIBRARY_PATH",)  # nothing else of the environment, which may hold secrets
START_SECONDS = 30.0  # a start takes 0.1 s; a machine that swaps takes longer
PIPE_BYTES = 1 << 20
MAX_ANSWER_BYTES = 1 << 30  # 200 megapixels as PNG at its worst are 800 MB
MAX_DETAIL = 300  # characters of what a decoder says about a file
IN_ADVANCE = 128  # images that `map` works ahead of its reader

T = TypeVar("T")
R = TypeVar("R")
Header = dict[str, Any]
Facts = dict[str, str | int | float]
Crop = tuple[float, float, float, float]
WHOLE: Crop = (0.0, 0.0, 1.0, 1.0)


class BusyError(UserError):
    """No decoder, or no memory for one, became free in time."""

    code = "busy"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model sees of one picture, and what people see of it in a list."""

    pixels: Pixels  # (size, size, 3)
    width: int  # of the whole picture, upright, as stored
    height: int
    format: str  # one of `FORMATS`
    thumbnail: bytes | None  # WebP
    facts: Facts = field(default_factory=dict)  # what the camera wrote into the file: see `DecodePool.describe`


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture encoded anew, without the metadata of its file."""

    data: bytes
    width: int
    height: int
    content_type: str


class DecodePool:
    """Up to `workers` decoder processes, started when they are first needed; usable from many threads."""

    def __init__(
        self, workers: int, limits: Limits, *, memory: int = DECODE_MEMORY, script: Path = WORKER_SCRIPT
    ) -> None:
        """Start nothing yet.

        Args:
            workers: Most processes at a time.
            limits: What one image may cost.
            memory: Bytes that the images in decoding may take together, as estimated; small ones are not counted,
                and one that needs more than all of it is decoded alone.
            script: The program of the workers; tests give one that breaks down on purpose.
        """
        self.workers = workers
        self.limits = limits
        self._script = script
        self._memory = _Memory(memory)
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._alive: set[_Worker] = set()
        self._borrowed = 0
        self._closed = False
        # A worker dies with the thread that started it, so that thread must live as long as the pool.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="decode-starter")

    def __enter__(self) -> "DecodePool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers at once; calls that wait for them raise `BusyError`."""
        with self._changed:
            self._closed = True
            idle, borrowed = self._idle, self._alive.difference(self._idle)
            self._idle = []
            self._changed.notify_all()
        for worker in borrowed:
            worker.kill()  # who has it sees its end and discards it
        for worker in idle:
            self._discard(worker)
        self._starter.shutdown()

    def fit(
        self, data: bytes, preprocessing: Preprocessing, *, thumbnail: int | None = None, crop: Crop | None = None
    ) -> Decoded:
        """Decode an image file into the square that a model takes.

        Args:
            data: The whole file.
            preprocessing: Size of the square.
            thumbnail: Pixels of the longer side of a thumbnail, at most `THUMBNAIL_SIDE`; None makes none. A
                picture is never enlarged.
            crop: Left, top, width and height as shares (0 to 1) of the upright picture; the square and the
                thumbnail are taken from this part.

        Raises:
            ImageError: The file is refused; its code says why.
            BusyError: Nothing became free within `limits.wait_seconds`.
        """
        request = {
            "task": "fit",
            "size": preprocessing.size,
            "decoded_side": preprocessing.decoded_side,
            "thumbnail": thumbnail,
            "crop": _checked(crop or WHOLE),
        }
        answer = self._decode(request, data)
        shape = (preprocessing.size, preprocessing.size, 3)
        return Decoded(
            pixels=np.frombuffer(answer.parts[0], np.uint8).reshape(shape).copy(),
            width=answer.width,
            height=answer.height,
            format=answer.format,
            thumbnail=answer.parts[1] if thumbnail is not None else None,
            facts=answer.facts,
        )

    def describe(self, data: bytes) -> Facts:
        """What the camera wrote into a file (EXIF), without decoding its pixels.

        Args:
            data: The whole file.

        Returns:
            Some of `taken` (text as in RFC 3339, without a zone where the camera says none), `year`, `camera`, `lens`,
            `latitude` and `longitude` (degrees); empty where nothing makes sense.

        Raises:
            ImageError: The file is refused; its code says why.
            BusyError: Nothing became free within `limits.wait_seconds`.
        """
        return self._decode({"task": "describe"}, data).facts

    def render(self, data: bytes, longest_side: int | None = None, encode_as: str = "WEBP") -> Rendered:
        """Encode a picture anew, upright and in sRGB, for serving.

        Args:
            data: The whole file.
            longest_side: Most pixels of the longer side; None keeps the size (WebP holds at most 16,383).
            encode_as: WEBP, JPEG or PNG.

        Raises:
            ImageError: The file is refused; its code says why.
            BusyError: Nothing became free within `limits.wait_seconds`.
        """
        request = {"task": "render", "longest_side": longest_side, "encode_as": encode_as}
        content_type = CONTENT_TYPES[encode_as]
        answer = self._decode(request, data)
        return Rendered(answer.parts[0], answer.width, answer.height, content_type)

    def pixels(self, data: bytes) -> Pixels:
        """Decode a picture whole, upright and in sRGB, for what works at full resolution.

        Args:
            data: The whole file.

        Returns:
            (height, width, 3).

        Raises:
            ImageError: The file is refused; its code says why.
            BusyError: Nothing became free within `limits.wait_seconds`.
        """
        answer = self._decode({"task": "render", "longest_side": None, "encode_as": RAW}, data)
        if min(answer.width, answer.height) < 1 or len(answer.parts[0]) != answer.width * answer.height * 3:
            raise ImageError("The decoder gave another number of pixels than it said.", code="decode_crashed")
        return np.frombuffer(answer.parts[0], np.uint8).reshape(answer.height, answer.width, 3)

    def map(
        self, function: Callable[[T], R], items: Iterable[T], *, in_advance: int = IN_ADVANCE
    ) -> Iterator[tuple[T, R | ImageError]]:
        """Call a function that reads and decodes, in as many threads as there are workers, in the items' order.

        The threads go on while the caller works on what came out. A picture that is refused comes out as its
        `ImageError`; any other exception of the function is raised. Leaving the loop early drops what is not begun.

        Args:
            function: Does what can be done at the same time, `fit` among it.
            items: Taken in the caller's thread, never more than `in_advance` before their results are.
            in_advance: Results that may wait for the caller.
        """
        threads = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        pending: deque[tuple[T, Future[R]]] = deque()

        def first() -> tuple[T, R | ImageError]:
            item, future = pending.popleft()
            outcome = _result_or_refusal(future)
            return item, outcome

        try:
            for item in items:
                pending.append((item, threads.submit(function, item)))
                if len(pending) > in_advance:
                    yield first()
            while pending:
                yield first()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def map_fit(
        self,
        sources: Iterable[tuple[T, Callable[[], bytes]]],
        preprocessing: Preprocessing,
        *,
        thumbnail: int | None = None,
        in_advance: int = IN_ADVANCE,
    ) -> Iterator[tuple[T, Decoded | ImageError]]:
        """`fit` what each source's function reads; see `map`."""

        def fit(source: tuple[T, Callable[[], bytes]]) -> Decoded:
            return self.fit(source[1](), preprocessing, thumbnail=thumbnail)

        for (item, _), outcome in self.map(fit, sources, in_advance=in_advance):
            yield item, outcome

    def _decode(self, request: Header, data: bytes) -> "_Answer":
        expect_bytes(len(data), self.limits)
        image_format = expect_format(data[:HEAD_BYTES])
        request["format"] = image_format
        with self._worker() as worker:
            try:
                reply, payload = self._exchange(worker, request, data)
                answer = None if "code" in reply else _Answer.read(reply, payload, image_format)
            except _EndedError as ended:
                self._raise_if_closed()
                logger.warning("The decoder ended (%s) on the image with sha256 %s", ended, _digest(data))
                raise ImageError(f"The decoder ended on it: {ended}.", code="decode_crashed") from ended
            except _TooLateError as late:
                logger.warning("The decoder was stopped on the image with sha256 %s: %s", _digest(data), late)
                detail = f"It was not decoded within {self.limits.seconds:g} s."
                raise ImageError(detail, code="decode_timeout") from late
        if answer is not None:
            return answer
        detail, code = _one_line(str(reply.get("detail"))), reply["code"]
        if code == BusyError.code:
            raise BusyError(detail)
        raise ImageError(detail, code=code if code in PROBLEMS else None)

    def _exchange(self, worker: "_Worker", request: Header, data: bytes) -> tuple[Header, bytes]:
        deadline = time.monotonic() + self.limits.seconds
        worker.send(request, data, deadline)
        reply, payload = worker.receive(deadline)
        if "needs" not in reply:
            return reply, payload
        with _expecting_sense():
            needed = max(int(reply["needs"]), 0)
        # The time limit is for decoding, not for waiting.
        with self._memory.reserved(needed, self.limits.wait_seconds) as admitted:
            deadline = time.monotonic() + self.limits.seconds
            worker.send({"admitted": admitted}, b"", deadline)
            return worker.receive(deadline)

    @contextlib.contextmanager
    def _worker(self) -> "Iterator[_Worker]":
        """Borrow a worker; one that did not answer as it should is replaced."""
        worker = self._borrow()
        usable = False
        try:
            yield worker
            usable = not worker.retired
        finally:
            self._give_back(worker, usable)

    def _borrow(self) -> "_Worker":
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._closed or self._borrowed < self.workers, self.limits.wait_seconds
            )
            self._raise_if_closed()
            if not free:
                raise BusyError(f"All {self.workers} decoders are at work: try again in a moment.")
            self._borrowed += 1
            # The one used last has its memory warm.
            worker = self._idle.pop() if self._idle else None
        try:
            if worker is not None and worker.ended:
                self._discard(worker)
                worker = None
            return worker or self._start()
        except BaseException:
            with self._changed:
                self._borrowed -= 1
                self._changed.notify()
            raise

    def _start(self) -> "_Worker":
        try:
            worker = self._starter.submit(_Worker, self._script, self.limits).result()
        except RuntimeError:
            self._raise_if_closed()  # in the meantime
            raise
        with self._changed:
            self._alive.add(worker)
        try:
            self._raise_if_closed()
            worker.wait_until_ready()
        except BaseException:
            self._discard(worker)
            self._raise_if_closed()
            raise
        return worker

    def _give_back(self, worker: "_Worker", usable: bool) -> None:
        with self._changed:
            keep = usable and not self._closed
            if keep:
                self._idle.append(worker)
            self._borrowed -= 1
            self._changed.notify()
        if not keep:
            self._discard(worker)

    def _discard(self, worker: "_Worker") -> None:
        worker.kill()
        worker.close()
        with self._changed:
            self._alive.discard(worker)

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise BusyError("The decoders have been shut down.")


@dataclass(frozen=True, slots=True)
class _Answer:
    width: int
    height: int
    format: str
    parts: list[bytes]
    facts: Facts

    @classmethod
    def read(cls, reply: Header, payload: bytes, image_format: str) -> "_Answer":
        with _expecting_sense():
            ends = list(itertools.accumulate(reply["lengths"], initial=0))
            parts = [payload[start:end] for start, end in itertools.pairwise(ends)]
            facts = _sensible_facts(dict(reply.get("facts", {})))
            return cls(int(reply["width"]), int(reply["height"]), image_format, parts, facts)


def _sensible_facts(told: Header) -> Facts:
    """Of what a decoder tells, the facts that there can be."""
    facts: Facts = {}
    for name in ("taken", "camera", "lens"):
        if isinstance(told.get(name), str):
            facts[name] = _one_line(told[name])
    if type(told.get("year")) is int and 0 < told["year"] < 10_000:
        facts["year"] = told["year"]
    for name in ("latitude", "longitude"):
        if type(told.get(name)) in (int, float) and -180 <= told[name] <= 180:
            facts[name] = float(told[name])
    return facts


@contextlib.contextmanager
def _expecting_sense() -> Iterator[None]:
    """A decoder that was taken over by a picture may say anything."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise _EndedError("its answer makes no sense") from error


class _EndedError(Exception):
    """The worker process is gone, or does not speak as it should."""


class _TooLateError(Exception):
    """The worker has not answered in time."""


class _Worker:
    """One decoder process and the two pipes to it; used by one thread at a time."""

    def __init__(self, script: Path, limits: Limits) -> None:
        settings = {
            "address_space": WORKER_BASE_MEMORY + WORST_BYTES_PER_PIXEL * limits.pixels,
            "policy": {
                "limits": asdict(limits),
                "background": BACKGROUND,
                "resample": RESAMPLE,
                "reducing_gap": REDUCING_GAP,
            },
            "parent": os.getpid(),
            "search_path": _folder_of_pillow(),
        }
        # -S: site packages cost a quarter of the start, and Pillow's folder is all that is needed of them.
        self._process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-I", "-S", "-B", str(script), json.dumps(settings)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=WORKER_ENVIRONMENT | {name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101 (for the type checker)
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self._requests, self._answers):
            os.set_blocking(pipe, False)
            with contextlib.suppress(OSError):  # the user's share of pipe memory is used up: small ones do as well
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._answers, select.POLLIN)
        self._writable.register(self._requests, select.POLLOUT)
        self.retired = False

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait_until_ready(self) -> None:
        try:
            reply, _ = self.receive(time.monotonic() + START_SECONDS)
        except (_EndedError, _TooLateError) as error:
            raise RuntimeError(f"The decoder process does not start: {error}.") from error
        if "ready" not in reply:
            raise RuntimeError(f"The decoder process does not start: {reply}")

    def send(self, header: Header, data: bytes, deadline: float) -> None:
        for piece in frame(header, data):
            rest = piece
            while rest:
                try:
                    rest = rest[os.write(self._requests, rest) :]
                except BlockingIOError:
                    self._wait(self._writable, deadline)
                except OSError as error:
                    raise self._end(str(error)) from error

    def receive(self, deadline: float) -> tuple[Header, bytes]:
        def read(size: int) -> bytes:
            self._wait(self._readable, deadline)
            return os.read(self._answers, size)

        answer = read_frame(read, MAX_ANSWER_BYTES)
        if answer is None:
            raise self._end("no answer")
        with _expecting_sense():
            header: Header = dict(json.loads(answer[0]))
        self.retired = bool(header.get("retire"))
        return header, answer[1]

    def _wait(self, ready: "select.poll", deadline: float) -> None:
        if not ready.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise _TooLateError("no answer in time")

    def _end(self, otherwise: str) -> _EndedError:
        """Why the process is gone: its pipe is closed, so it has ended or is about to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return _EndedError(name)
        return _EndedError(otherwise)

    def kill(self) -> None:
        """End the process, whatever it does; a thread that waits for its answer sees its end."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close the pipes: only for the thread that uses them, as their numbers are given to other files next."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class _Memory:
    """Bytes that may be taken by several, up to a total; who asks for more than there is gets all of it, alone."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserved(self, amount: int, wait_seconds: float | None) -> Iterator[bool]:
        """Hold an amount until the block ends; gives False where it did not become free in time."""
        amount = min(amount, self._total)
        with self._changed:
            admitted = self._changed.wait_for(lambda: self._free >= amount, wait_seconds)
            held = amount if admitted else 0
            self._free -= held
        try:
            yield admitted
        finally:
            with self._changed:
                self._free += held
                self._changed.notify_all()


def _result_or_refusal(future: "Future[R]") -> R | ImageError:
    try:
        return future.result()
    except ImageError as error:
        return error


def _checked(crop: Crop) -> Crop:
    x, y, width, height = crop
    if not (0 <= x < 1 and 0 <= y < 1 and 0 < width <= 1 - x + 1e-6 and 0 < height <= 1 - y + 1e-6):
        raise UserError(
            f"The crop is {crop}, but left, top, width and height must be shares from 0 to 1 of the picture."
        )
    return crop


def _one_line(text: str) -> str:
    """What a decoder says may quote the file: keep it short and printable."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_DETAIL])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _folder_of_pillow() -> str:
    """Where Pillow is installed, found without importing it."""
    found = importlib.util.find_spec("PIL")
    if found is None or found.origin is None:
        raise RuntimeError("Pillow is not installed.")
    return str(Path(found.origin).parent.parent)
