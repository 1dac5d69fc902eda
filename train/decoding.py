"""Decoding images in worker processes that may crash, hang or eat memory without harm to anybody.

`DecodePool` is the parent's side; `train/decode_worker.py` is the child's. An image costs one exchange over two
pipes: the file goes in, a square of pixels and a thumbnail come out.
"""

import contextlib
import fcntl
import functools
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

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
IN_ADVANCE = 128  # images that `map` and `fit_each` work ahead of their reader

# Small files go to a worker together: an exchange over the pipes costs a tenth of what decoding one of 250 pixels does.
FILES_TOGETHER = 16
BYTES_TOGETHER = 256 << 10  # a file of more goes alone
SECONDS_TOGETHER = 5.0  # for all of them, which take milliseconds; then each is decoded alone, within its own limit
READERS_A_WORKER = 2  # threads: while the files of one are decoded, the other reads the next

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


@dataclass(frozen=True, slots=True)
class Undecoded(Generic[R]):
    """An image file that was read, and what is done with it once it is decoded."""

    data: bytes
    then: Callable[[Decoded], R]


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
        request = _request_to_fit(preprocessing, thumbnail, _checked(crop or WHOLE))
        return _fitted(self._decode({"task": "fit", **request}, data), preprocessing)

    def fit_all(
        self, files: Sequence[bytes], preprocessing: Preprocessing, *, thumbnail: int | None = None
    ) -> list[Decoded | ImageError]:
        """`fit` several files, the small ones together: one exchange with a worker for all of them.

        A file that ends its worker, is slow, or takes much memory costs no other: what was sent together with it is
        decoded again, each alone.

        Args:
            files: Whole files.
            preprocessing: Size of the squares.
            thumbnail: See `fit`.

        Returns:
            In the order of the files; a file that is refused is its `ImageError`.

        Raises:
            BusyError: Nothing became free within `limits.wait_seconds`.
        """
        outcomes: list[Decoded | ImageError] = []
        for group in _groups(files):
            together = self._fit_together(group, preprocessing, thumbnail) if len(group) > 1 else [None]
            for data, outcome in zip(group, together, strict=True):
                alone = functools.partial(self.fit, data, preprocessing, thumbnail=thumbnail)
                outcomes.append(_or_refusal(alone) if outcome is None else outcome)
        return outcomes

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
        try:
            yield from _in_order(items, lambda item: threads.submit(function, item), in_advance)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def fit_each(
        self,
        read: Callable[[T], Undecoded[R] | R],
        items: Iterable[T],
        preprocessing: Preprocessing,
        *,
        thumbnail: int | None = None,
        in_advance: int = IN_ADVANCE,
    ) -> Iterator[tuple[T, R | ImageError]]:
        """Read and `fit` many files in threads, in the items' order: `map`, with small files decoded together.

        Args:
            read: Gives an item's file and what is done with it once it is decoded; or what comes out of it, where
                nothing is to be decoded.
            items: See `map`, as for all else.
            preprocessing: Size of the squares.
            thumbnail: See `fit`.
            in_advance: Results that may wait for the caller.
        """
        threads = ThreadPoolExecutor(READERS_A_WORKER * self.workers, thread_name_prefix="decode")
        fit_all = functools.partial(self.fit_all, preprocessing=preprocessing, thumbnail=thumbnail)
        waiting = _Waiting(read, fit_all, threads.submit, self.workers)
        try:
            yield from _in_order(items, waiting.add, in_advance)
        finally:
            waiting.drop()
            threads.shutdown(wait=False, cancel_futures=True)

    def map_fit(
        self,
        sources: Iterable[tuple[T, Callable[[], bytes]]],
        preprocessing: Preprocessing,
        *,
        thumbnail: int | None = None,
        in_advance: int = IN_ADVANCE,
    ) -> Iterator[tuple[T, Decoded | ImageError]]:
        """`fit` what each source's function reads; see `fit_each`."""

        def read(source: tuple[T, Callable[[], bytes]]) -> Undecoded[Decoded] | Decoded:
            return Undecoded(source[1](), lambda decoded: decoded)

        outcomes = self.fit_each(read, sources, preprocessing, thumbnail=thumbnail, in_advance=in_advance)
        for (item, _), outcome in outcomes:
            yield item, outcome

    def _fit_together(
        self, files: Sequence[bytes], preprocessing: Preprocessing, thumbnail: int | None
    ) -> list[Decoded | ImageError | None]:
        """`fit` small files in one exchange; None is for those that have to be decoded alone."""
        outcomes: list[Decoded | ImageError | None] = [None] * len(files)
        formats: dict[int, str] = {}
        for number, data in enumerate(files):
            try:
                expect_bytes(len(data), self.limits)
                formats[number] = expect_format(data[:HEAD_BYTES])
            except ImageError as error:
                outcomes[number] = error
        request = {
            "task": "fit all",
            "formats": list(formats.values()),
            "lengths": [len(files[number]) for number in formats],
            **_request_to_fit(preprocessing, thumbnail, WHOLE),
        }
        if not formats:
            return outcomes
        try:
            with self._worker() as worker:
                seconds = min(SECONDS_TOGETHER, self.limits.seconds)
                reply, payload = self._exchange(worker, request, b"".join(files[number] for number in formats), seconds)
                answers = _answers(reply, payload, list(formats.values()))
                for number, answer in zip(formats, answers, strict=True):
                    outcomes[number] = _fitted(answer, preprocessing) if isinstance(answer, _Answer) else answer
        except (_EndedError, _TooLateError) as error:
            self._raise_if_closed()
            logger.info("The decoder was lost on one of %d images (%s): each is decoded alone.", len(formats), error)
        return outcomes

    def _decode(self, request: Header, data: bytes) -> "_Answer":
        expect_bytes(len(data), self.limits)
        image_format = expect_format(data[:HEAD_BYTES])
        request["format"] = image_format
        with self._worker() as worker:
            try:
                reply, payload = self._exchange(worker, request, data, self.limits.seconds)
                answer = _answer(reply, payload, image_format)
            except _EndedError as ended:
                self._raise_if_closed()
                logger.warning("The decoder ended (%s) on the image with sha256 %s", ended, _digest(data))
                raise ImageError(f"The decoder ended on it: {ended}.", code="decode_crashed") from ended
            except _TooLateError as late:
                logger.warning("The decoder was stopped on the image with sha256 %s: %s", _digest(data), late)
                detail = f"It was not decoded within {self.limits.seconds:g} s."
                raise ImageError(detail, code="decode_timeout") from late
        if isinstance(answer, _Answer):
            return answer
        raise answer

    def _exchange(self, worker: "_Worker", request: Header, data: bytes, seconds: float) -> tuple[Header, bytes]:
        deadline = time.monotonic() + seconds
        worker.send(request, data, deadline)
        reply, payload = worker.receive(deadline)
        if "needs" not in reply:
            return reply, payload
        with _expecting_sense():
            needed = max(int(reply["needs"]), 0)
        # The time limit is for decoding, not for waiting.
        with self._memory.reserved(needed, self.limits.wait_seconds) as admitted:
            deadline = time.monotonic() + seconds
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


def _answer(reply: Header, payload: bytes, image_format: str) -> _Answer | ImageError | BusyError:
    """What a worker says of one image."""
    if "code" not in reply:
        return _Answer.read(reply, payload, image_format)
    detail, code = _one_line(str(reply.get("detail"))), reply["code"]
    if code == BusyError.code:
        return BusyError(detail)
    return ImageError(detail, code=code if code in PROBLEMS else None)


def _answers(reply: Header, payload: bytes, formats: Sequence[str]) -> list[_Answer | ImageError | None]:
    """What a worker says of several images; None of those that it has to be asked about alone."""
    with _expecting_sense():
        answers: list[_Answer | ImageError | None] = []
        start = 0
        for told, image_format in zip(reply["replies"], formats, strict=True):
            length = sum(told.get("lengths", ()))
            answer = None if "alone" in told else _answer(told, payload[start : start + length], image_format)
            answers.append(None if isinstance(answer, BusyError) else answer)
            start += length
        return answers


def _fitted(answer: _Answer, preprocessing: Preprocessing) -> Decoded:
    try:
        square, *thumbnail = answer.parts
        pixels = np.frombuffer(square, np.uint8).reshape(preprocessing.size, preprocessing.size, 3).copy()
    except ValueError as error:
        raise ImageError("The decoder gave another number of pixels than it said.", code="decode_crashed") from error
    return Decoded(
        pixels=pixels,
        width=answer.width,
        height=answer.height,
        format=answer.format,
        thumbnail=thumbnail[0] if thumbnail else None,
        facts=answer.facts,
    )


def _request_to_fit(preprocessing: Preprocessing, thumbnail: int | None, crop: Crop) -> Header:
    return {
        "size": preprocessing.size,
        "decoded_side": preprocessing.decoded_side,
        "thumbnail": thumbnail,
        "crop": crop,
    }


def _groups(files: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Files that are decoded together, in their order: few, and small."""
    group: list[bytes] = []
    size = 0
    for data in files:
        if group and (len(group) == FILES_TOGETHER or size + len(data) > BYTES_TOGETHER):
            yield group
            group, size = [], 0
        group.append(data)
        size += len(data)
    if group:
        yield group


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


class _Waiting(Generic[T, R]):
    """Items that wait to be read and decoded; a thread takes several, and decodes the small files among them together.

    Nothing runs while nothing waits, so nobody has to end it.
    """

    def __init__(
        self,
        read: Callable[[T], Undecoded[R] | R],
        fit_all: Callable[[Sequence[bytes]], list[Decoded | ImageError]],
        start: Callable[[Callable[[], None]], object],
        workers: int,
    ) -> None:
        """Begin with none.

        Args:
            read: See `DecodePool.fit_each`.
            fit_all: See `DecodePool.fit_all`.
            start: Lets a function run in a thread.
            workers: How many threads decode at a time; as many more read meanwhile.
        """
        self._read = read
        self._fit_all = fit_all
        self._start = start
        self._threads = READERS_A_WORKER * workers
        self._decoding = threading.Semaphore(workers)  # so that nobody waits for a worker longer than he may
        self._items: deque[tuple[T, Future[R]]] = deque()
        self._running = 0
        self._lock = threading.Lock()  # of the two

    def add(self, item: T) -> "Future[R]":
        """Let an item wait; the result is what comes out of it."""
        future: Future[R] = Future()
        with self._lock:
            self._items.append((item, future))
            start = self._running < self._threads
            self._running += start
        if start:
            self._start(self._work)
        return future

    def drop(self) -> None:
        """Forget what no thread has taken."""
        with self._lock:
            self._items.clear()

    def _work(self) -> None:
        """Go on until nothing waits."""
        while True:
            with self._lock:
                # The last ones are shared out.
                most = min(max(len(self._items) // self._threads, 1), FILES_TOGETHER)
            read: list[tuple[Undecoded[R], Future[R]]] = []
            size = taken = 0
            while taken < most and size <= BYTES_TOGETHER and (one := self._take()):
                taken += 1
                if (undecoded := self._undecoded(*one)) is not None:
                    read.append((undecoded, one[1]))
                    size += len(undecoded.data)
            if read:
                self._decode(read)
            elif self._is_done():
                return

    def _take(self) -> "tuple[T, Future[R]] | None":
        with self._lock:
            return self._items.popleft() if self._items else None

    def _is_done(self) -> bool:
        with self._lock:
            if not self._items:
                self._running -= 1
                return True
        return False

    def _undecoded(self, item: T, future: "Future[R]") -> Undecoded[R] | None:
        """What is to be decoded of an item; where there is nothing, it is done."""
        try:
            read = self._read(item)
        except BaseException as error:  # noqa: BLE001 (who asks for the result gets it)
            future.set_exception(error)
            return None
        if isinstance(read, Undecoded):
            return read
        future.set_result(read)
        return None

    def _decode(self, read: "list[tuple[Undecoded[R], Future[R]]]") -> None:
        try:
            with self._decoding:
                outcomes = self._fit_all([undecoded.data for undecoded, _ in read])
        except BaseException as error:  # noqa: BLE001 (as above)
            for _, future in read:
                future.set_exception(error)
            return
        # The caller waits for the first of them: told last, it does not take turns with this thread for all others.
        for (undecoded, future), outcome in reversed(list(zip(read, outcomes, strict=True))):
            try:
                if isinstance(outcome, ImageError):
                    raise outcome
                future.set_result(undecoded.then(outcome))
            except BaseException as error:  # noqa: BLE001 (as above)
                future.set_exception(error)


def _in_order(
    items: Iterable[T], begin: "Callable[[T], Future[R]]", in_advance: int
) -> Iterator[tuple[T, R | ImageError]]:
    """What comes out of items, in their order; at most `in_advance` of them are begun ahead of the caller."""
    pending: deque[tuple[T, Future[R]]] = deque()

    def first() -> tuple[T, R | ImageError]:
        item, future = pending.popleft()
        return item, _or_refusal(future.result)

    for item in items:
        pending.append((item, begin(item)))
        if len(pending) > in_advance:
            yield first()
    while pending:
        yield first()


def _or_refusal(call: Callable[[], R]) -> R | ImageError:
    try:
        return call()
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
