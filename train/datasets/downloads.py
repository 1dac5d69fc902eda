"""Downloading a file that the user asked for: checked, resumed where it broke off, complete or not there at all.

cifar-10-binary.tar.gz.part   what has come so far; a later start goes on from its end
cifar-10-binary.tar.gz        whole, and its digest is the published one
"""

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from train.datasets.catalogue import Download
from train.errors import DamagedError, NothingFoundError
from train.files import disk_errors, sync_folder
from train.interruption import StopRequest
from train.progress import Reporter

TIMEOUT_SECONDS = 30.0  # without a byte
MAX_BYTES = 4 << 30  # of a file whose size is not known
ATTEMPTS = 4  # in a row that bring no byte
PAUSE_SECONDS = 2.0  # before the next attempt
_CHUNK = 256 << 10  # bytes
_USER_AGENT = "Lookalike"
_KEPT = "what has come is kept: the same command goes on from there."
_FINAL_STATUS = range(400, 500)  # "no such file", "not for you": asking again does not help


class _NotThereError(Exception):
    """This address does not give the file."""


class _BrokenOffError(Exception):
    """The connection ended too early; what has come is kept."""


def download(
    item: Download, folder: Path, *, reporter: Reporter, stop: StopRequest, pause: float = PAUSE_SECONDS
) -> bool:
    """Download a file, or go on with it.

    Args:
        item: What, from where, and its digest.
        folder: Of the data sets.
        reporter: Told how far it is.
        stop: Looked at between two pieces.
        pause: Seconds before another attempt after the connection broke.

    Returns:
        False where it was there already.

    Raises:
        NothingFoundError: No address gives it; the message says where to put it by hand.
        DamagedError: What came is not the file that was published; it is removed.
        Interrupted: The user asked to stop; what has come is kept.
        DiskError: The disk is full.
    """
    target = folder / item.file
    if target.exists():
        if _digest(target, item) == item.digest:
            return False
        raise DamagedError(
            f"{target} is there, but is not the published file ({item.algorithm} {item.digest}): move it away and "
            "download it again."
        )
    part = target.with_name(target.name + ".part")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(item, part, target, reporter, stop, pause)
        found = _digest(part, item)
        if found != item.digest:
            part.unlink()
            raise DamagedError(
                f"what came from {' or '.join(item.urls)} is not {target.name} as published ({item.algorithm} {found} "
                f"instead of {item.digest}) and is removed: try again, or put the file at {target.absolute()}."
            )
        part.replace(target)
        sync_folder(target.parent)
    return True


def _fetch(item: Download, part: Path, target: Path, reporter: Reporter, stop: StopRequest, pause: float) -> None:
    """Bring `part` to its full length, from the first address that gives it."""
    reasons = []
    for url in item.urls:
        try:
            _fetch_from(url, item, part, reporter, stop, pause)
        except (_NotThereError, _BrokenOffError) as error:
            reasons.append(f"{url} ({error})")
        else:
            return
    kept = f" {part.stat().st_size:,} bytes of it are kept." if part.exists() and part.stat().st_size else ""
    raise NothingFoundError(
        f"cannot download {' nor '.join(reasons)}: get {target.name} in another way and put it at "
        f"{target.absolute()}, or try again later.{kept}"
    )


def _fetch_from(url: str, item: Download, part: Path, reporter: Reporter, stop: StopRequest, pause: float) -> None:
    attempts = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _receive(url, item, part, before, reporter, stop)
        except _BrokenOffError as error:
            grown = part.exists() and part.stat().st_size > before
            attempts = 0 if grown else attempts + 1
            if attempts >= ATTEMPTS:
                raise
            reporter.say(f"{url}: {error}; trying again.")
            time.sleep(pause)
            stop.raise_if_set(_KEPT)


def _receive(url: str, item: Download, part: Path, have: int, reporter: Reporter, stop: StopRequest) -> None:
    """Ask once, and append what comes to `part`."""
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (the catalogue's own addresses)
    with _connection(), _open(request) as answer:
        if answer is None:  # nothing follows what we have: the digest will tell whether that is all
            return
        start, total = _place(answer, have)
        most = item.size or MAX_BYTES
        if total is not None and total > most:
            raise _NotThereError(f"it has {total:,} bytes, more than {most:,}")
        with part.open("r+b" if start else "wb") as file, _task(reporter, item, start, total or item.size) as count:
            file.seek(start)
            file.truncate()
            at = start
            while chunk := answer.read1(_CHUNK):
                if at + len(chunk) > most:
                    raise _NotThereError(f"it has more than {most:,} bytes")
                file.write(chunk)
                count(len(chunk))
                at += len(chunk)
                if stop:
                    file.flush()
                    stop.raise_if_set(_KEPT)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and at < total:
        raise _BrokenOffError(f"the connection ended after {at:,} of {total:,} bytes")


@contextmanager
def _open(request: urllib.request.Request) -> Iterator[http.client.HTTPResponse | None]:
    """Send a request; None is the answer that nothing follows the bytes that we have."""
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            yield None
            return
        kind = _NotThereError if error.code in _FINAL_STATUS else _BrokenOffError
        raise kind(f"{error.code} {error.reason}") from error
    with answer:
        yield answer


@contextmanager
def _connection() -> Iterator[None]:
    """Tell trouble with the network from trouble with the disk: both are `OSError`."""
    try:
        yield
    except urllib.error.URLError as error:
        reason = error.reason
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        # A name that is not resolved or a port that is closed stays so for the next seconds.
        raise _NotThereError(text) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error


def _place(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where what comes belongs in the file, and how long the whole is, if the server says so."""
    if answer.status == http.client.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != have:
            raise _NotThereError("it answers with another part than asked for")
        return have, None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


@contextmanager
def _task(reporter: Reporter, item: Download, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Give a function that counts bytes; kilobytes are shown."""
    at = start
    with reporter.task(
        f"downloading {Path(item.file).name}", None if total is None else -(-total // 1000), "kB"
    ) as task:
        task.resume_at(start // 1000)

        def count(size: int) -> None:
            nonlocal at
            task.advance((at + size) // 1000 - at // 1000)
            at += size

        yield count


def _digest(path: Path, item: Download) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(item.algorithm, usedforsecurity=False)).hexdigest()
