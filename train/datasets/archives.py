"""Tar archives, read member by member and never unpacked: what they hold is hostile until it is decoded.

Truncation, damage, links, odd names and bombs end in an error that names the archive, or leave out the one member.
"""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from train.errors import DamagedError, NothingFoundError
from train.images import FOLDER_LIMITS, expect_bytes, looks_like_image

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_READ = 256 << 20  # bytes at once; of image files `FOLDER_LIMITS` allows less
MAX_RATIO = 100  # of unpacked to packed bytes; pictures hardly shrink, deflate reaches 1,032
MIN_UNPACKED = 1 << 30  # bytes that any archive may unpack to
MAX_MEMBERS = 5_000_000
_BLOCK = 512  # bytes

# What `tarfile`, `zipfile`, `gzip` and NumPy's format reader raise on damaged files.
_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RuntimeError,  # an encrypted or an unknown kind of zip
)


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str  # as the archive has it, without "./" at its start
    size: int  # bytes
    problem: str = ""  # why it is not to be read: a link, a device, a name that leads outside
    hidden: bool = False  # a name with a leading dot on its path
    offset: int = 0  # of its first byte in the archive, unpacked


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into a `DamagedError` that names it; the block must do no more than read."""
    try:
        yield
    except _ERRORS as error:
        raise DamagedError(
            f"{path} is damaged ({str(error) or type(error).__name__}): download or copy it again."
        ) from error
    except OSError as error:
        raise NothingFoundError(f"{path} cannot be read: {error.strerror or error}. Check the file.") from error


class _Guarded:
    """A file for `tarfile` that reads no more than an archive of this size may hold, and remembers its last block."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"it asks for {size:,} bytes at once")
        if self._file.tell() + size > self._most:
            raise tarfile.ReadError(f"it unpacks to more than {self._most:,} bytes")
        self.last = self._file.read(size)
        return self.last

    def seek(self, position: int) -> int:
        if position > self._most:
            raise tarfile.ReadError(f"it unpacks to more than {self._most:,} bytes")
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def finish(self) -> None:
        """Read what follows the last member: the checksum of a gzip file stands at its end."""
        if self.last != b"\0" * _BLOCK:
            raise tarfile.ReadError("it breaks off")
        while self.read(1 << 20):
            pass


class TarFile:
    """A tar archive on disk, plain or gzipped."""

    def __init__(self, path: Path, unpacked: Callable[[BinaryIO], Any] = gzip.open) -> None:
        """Open nothing yet.

        Args:
            path: The archive.
            unpacked: Makes a file of a gzipped one; it has to have `read`, `seek`, `tell` and `close`.
        """
        self.path = path
        self._unpacked = unpacked

    def members(self) -> Iterator[tuple[Member, "Content"]]:
        """Every member but folders, in the archive's order, with a way to read it before the next is taken.

        Raises:
            DamagedError: The archive is truncated, or no tar archive.
        """
        with reading(self.path), self.path.open("rb") as raw:
            head = raw.read(2)
            raw.seek(0)
            packed = self.path.stat().st_size
            compressed = head == b"\x1f\x8b"
            with closing(self._unpacked(raw) if compressed else raw) as file:
                most = max(packed * MAX_RATIO, MIN_UNPACKED) if compressed else packed + MAX_READ
                guarded = _Guarded(file, most)
                with tarfile.open(fileobj=guarded, mode="r:", errorlevel=2) as tar:  # type: ignore[call-overload]
                    for number, info in enumerate(tar):
                        if number >= MAX_MEMBERS:
                            raise tarfile.ReadError(f"it has more than {MAX_MEMBERS:,} members")
                        tar.members = []  # else it keeps all of them
                        if not info.isdir():
                            yield _member(info), Content(self.path, tar, info)
                guarded.finish()


class Content:
    """What a member holds, while the archive stands at it."""

    def __init__(self, archive: Path, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._archive = archive
        self._tar = tar
        self._info = info

    def read(self) -> bytes:
        """Read it whole.

        Raises:
            DamagedError: It breaks off, or has more than `MAX_READ` bytes.
        """
        with reading(self._archive):
            if self._info.size > MAX_READ:
                raise tarfile.ReadError(f"{self._info.name} has {self._info.size:,} bytes")
            file = self._tar.extractfile(self._info)
            data = file.read() if file is not None else b""
            if len(data) != self._info.size:
                raise tarfile.ReadError(f"{self._info.name} breaks off")
        return data


def _member(info: tarfile.TarInfo) -> Member:
    name = info.name.removeprefix("./")
    parts = name.split("/")
    problem = ""
    if not info.isreg() or info.issparse():
        kind = "a link" if info.islnk() or info.issym() else "no regular file"
        problem = f"This is {kind}, and only files are read from an archive."
    elif name.startswith("/") or not {"", ".", ".."}.isdisjoint(parts) or "\0" in name:
        problem = "Its name does not stay inside the archive."
    hidden = any(part.startswith(".") for part in parts if part != "..")
    return Member(name, info.size, problem, hidden, info.offset_data)


# --- Images in label folders ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """An image file of an archive: its place says what it shows."""

    name: str
    label: str  # "" where it lies in no folder
    split: str  # "train", "test" or ""


class Layout:
    """How the folders of an archive are meant: [root/] [train|test/] label/ ... /file."""

    def __init__(self, names: list[str]) -> None:
        """Look at the names of all images."""
        paths = [name.split("/") for name in names]
        self._skip = 0
        # A contact sheet beside the label folders does not make the folder above them a label.
        while sum(len(path) > self._skip + 2 for path in paths) > len(paths) / 2 and self._shared(paths):
            self._skip += 1
        firsts = {path[self._skip] for path in paths if len(path) > self._skip + 2}
        self._splits = firsts == {"train", "test"} and all(len(path) > self._skip + 2 for path in paths)
        self.classes = tuple(sorted({self.picture(name).label for name in names} - {""}))

    def _shared(self, paths: list[list[str]]) -> bool:
        return len({path[self._skip] if len(path) > self._skip + 1 else "" for path in paths}) == 1

    def picture(self, name: str) -> Picture:
        """What the place of an image says."""
        path = name.split("/")[self._skip :]
        split = path.pop(0) if self._splits else ""
        return Picture(name, path[0] if len(path) > 1 else "", split)


def looks_usable(member: Member) -> bool:
    """Whether a member is meant to be an image, by its name alone."""
    return not member.hidden and looks_like_image(member.name.encode("utf-8", "surrogateescape"), b"")


def image_data(member: Member, content: Content) -> bytes:
    """Read an image file.

    Raises:
        ImageError: It has no bytes, or too many.
    """
    expect_bytes(member.size, FOLDER_LIMITS)
    return content.read()
