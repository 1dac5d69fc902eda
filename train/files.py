"""Writing files so that a crash, a kill or a full disk leaves the old content or the new one, never half of it.

Everything that a later start will trust is written through this module.
"""

import ctypes
import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock

from train.errors import DiskError, LockedError

_DISK_ERRNOS = {
    errno.ENOSPC: "the disk is full: free some space and run the command again; it goes on where it was",
    errno.EDQUOT: "the disk quota is used up: free some space and run the command again; it goes on where it was",
    errno.EFBIG: "the file would grow over the size limit (ulimit -f): raise it and run the command again",
    errno.EROFS: "the disk is mounted read-only: choose another folder or mount it writable",
    errno.EACCES: "this user may not write there: change the permissions or choose another folder",
    errno.EPERM: "this user may not write there: change the permissions or choose another folder",
}


_AT_FDCWD = -100  # <fcntl.h>: names are relative to the working folder
_RENAME_EXCHANGE = 2  # <linux/fs.h>


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into a `DiskError` that names `path` and the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _DISK_ERRNOS.get(error.errno or 0)
        if remedy is None:
            raise
        raise DiskError(f"{path} cannot be written: {remedy}.") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: without it a rename may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes its place only when the block ends without an error.

    Args:
        path: Its place.
        durable: Wait until it would survive a power cut. Not needed for what can be made again, if its reader notices
            when it is short.

    Raises:
        DiskError: The disk is full or may not be written; what stood at `path` before is untouched.
    """
    # Two threads may write the same file: each has its own aside.
    aside = path.with_name(f".{path.name}.{threading.get_native_id()}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            with _created(aside) as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            aside.replace(path)
            if durable:
                sync_folder(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def _created(path: Path) -> BinaryIO:
    """A new file, in a folder that may not be there yet: most often it is, so it is not asked for first."""
    try:
        return path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


def write_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a whole file atomically and, if asked for, durably."""
    with atomic_file(path, durable=durable) as file:
        file.write(content)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder aside that takes `folder`'s place when the block ends without an error.

    A folder that stood there before is replaced; on an error it stays as it was. Files in it are made durable first.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        aside.mkdir()
        try:
            yield aside
            for file in aside.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
                else:
                    sync_folder(file)
            sync_folder(aside)
            if folder.exists():
                _exchange(aside, folder)
            else:
                aside.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names in one step (Linux's renameat2), so that no moment is without a folder at either."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left aside in `folder`: `.name.PID.tmp` of processes that no longer run."""
    for entry in list(folder.glob(".*.tmp")):
        process = entry.suffixes[-2][1:] if len(entry.suffixes) > 1 else ""
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, purpose: str) -> Iterator[None]:
    """Hold a folder against other processes; the kernel frees the lock however the process ends.

    Args:
        folder: The run, bundle or gallery to be written; made if it is not there.
        purpose: What is being done, for the message that the second process shows.

    Raises:
        LockedError: Another process holds it; the message names its pid.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        holder = folder / "LOCK.holder"
        lock = filelock.FileLock(folder / "LOCK", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            who = holder.read_text(errors="replace").strip() if holder.exists() else "another process"
            raise LockedError(f"{folder} is in use by {who}: wait for it, or stop it, and try again.") from None
        try:
            holder.write_text(f"process {os.getpid()} ({purpose})")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()
