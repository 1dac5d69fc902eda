"""Runs that did not come to their end: each leaves a name that says where it began, so that the next one can tell.

galleries/<name>/unfinished-<seq>-<random>    seq: of the gallery's last change before the run; locked while it lives
"""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import filelock

from index_data.gallery import Gallery
from train.files import disk_errors


@contextlib.contextmanager
def noted_run(gallery: Gallery) -> Iterator[int | None]:
    """Note that a run begins, and take the note back when it ends without an error.

    Yields:
        The last change before the earliest run that was killed or stopped; None where none was.
    """
    earlier = [note for note in gallery.folder.glob("unfinished-*-*") if _is_abandoned(note)]
    note = gallery.folder / f"unfinished-{gallery.seq}-{secrets.token_hex(8)}"
    with disk_errors(note):
        lock = filelock.FileLock(note, timeout=0)
        lock.acquire()
    try:
        yield min((seq for each in earlier if (seq := _seq(each)) is not None), default=None)
        for each in (note, *earlier):
            each.unlink(missing_ok=True)
    finally:
        lock.release()


def _is_abandoned(note: Path) -> bool:
    lock = filelock.FileLock(note, timeout=0)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError):
        return False  # its run lives: the kernel frees the lock however it ends
    lock.release()
    return True


def _seq(note: Path) -> int | None:
    number = note.name.split("-")[1]
    return int(number) if number.isdecimal() else None
