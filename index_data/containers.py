"""Files that hold many images: tar archives, gzipped or not (webdataset shards too), and Parquet files of image bytes.

They are roots of a gallery as folders are, and are never unpacked: a member's path is its name in the archive, or the
number of its row. What they hold is hostile: names are data only, and bytes go where all others go, to the decode
workers. The originals are read from where they stand, in one seek in a plain tar archive.
"""

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from index_data.gzip_points import GzipPoints, UnpackedFile
from index_data.parquet_images import RowGroups, image_sizes
from train.datasets.archives import TAR_SUFFIXES, TarFile, reading
from train.errors import DamagedError, ImageError, NothingFoundError, UserError
from train.images import (
    FOLDER_LIMITS,
    HEAD_BYTES,
    FileContent,
    FoundFile,
    Limits,
    OtherFileError,
    Rejected,
    expect_bytes,
    expect_format,
    looks_like_image,
    read_file,
)

SUFFIXES = (*TAR_SUFFIXES, ".parquet")
WHOLE = b"."  # the path of what is wrong with a container itself
_TABLES_KEPT = 32  # of contents: a few megabytes for 10,000 members each


@dataclass(frozen=True)
class _Table:
    """What a container holds, as it was when it was looked at."""

    sizes: Mapping[bytes, int]
    places: Mapping[bytes, int]  # offset in a tar archive, number of the row in a Parquet file
    refused: tuple[Rejected, ...]
    points: GzipPoints | None = None  # of a gzipped tar archive


def is_container(path: Path) -> bool:
    """Whether a path is that of a container, be it there or not."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def read_original(root: Path, path: bytes) -> FileContent:
    """Read an image of a root: a file below a folder, or a member of a container.

    Raises:
        ImageError: It cannot be used; see `train.images.read_file`.
    """
    return read_member(root, path, FOLDER_LIMITS) if is_container(root) else read_file(root, path, FOLDER_LIMITS)


def find_members(path: Path) -> Iterator[FoundFile | Rejected]:
    """Everything in a container, in its order; what is wrong with it as a whole comes last, as `Rejected`.

    Raises:
        NothingFoundError: It cannot be opened.
        SettingsError: It is a Parquet file, and pyarrow is missing.
    """
    table, mtime_ns = _look_into(path)
    for name, size in table.sizes.items():
        yield FoundFile(name, size, mtime_ns)
    yield from table.refused


def read_member(path: Path, name: bytes, limits: Limits) -> FileContent:
    """Read one image of a container.

    Raises:
        OtherFileError: Neither its name nor its first bytes are those of an image.
        ImageError: unsupported_format, empty, body_too_large, file_missing, unreadable, or corrupt.
    """
    try:
        table, mtime_ns = _look_into(path)
        if name not in table.places:
            raise ImageError(f"It is not in {path.name} (any more).", code="file_missing")
        size = table.sizes[name]
        expect_bytes(size, limits)
        data = _read(path, table, name)
    except NothingFoundError as error:
        raise ImageError(error.detail, code="file_missing" if not path.exists() else "unreadable") from error
    except DamagedError as error:
        raise ImageError(error.detail, code="corrupt") from error
    head = data[:HEAD_BYTES]
    if not looks_like_image(name, head):
        raise OtherFileError("Neither its name nor its first bytes are those of an image.")
    expect_format(head)
    return FileContent(data, size, mtime_ns, hashlib.sha256(data).digest())


def has_member(path: Path, name: bytes) -> bool:
    """Whether a container that is there holds something of a name; what cannot be looked into may."""
    try:
        table, _ = _look_into(path)
    except UserError:
        return True
    refused = {each.path for each in table.refused}
    # One that breaks off may hold anything behind its break.
    return name in table.places or name in refused or (WHOLE in refused and name != WHOLE)


def _look_into(path: Path) -> tuple[_Table, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise NothingFoundError(f"{path} cannot be read: {error.strerror}. Check the file.") from error
    # One at a time, so that many threads do not all read the same table.
    with _looking:
        return _table(path, status.st_size, status.st_mtime_ns, status.st_ino), status.st_mtime_ns


_looking = threading.Lock()


@lru_cache(maxsize=_TABLES_KEPT)  # size, time and number say when it is another file
def _table(path: Path, size: int, mtime_ns: int, inode: int) -> _Table:
    return _table_of_parquet(path) if path.suffix.lower() == ".parquet" else _table_of_tar(path)


def _table_of_tar(path: Path) -> _Table:
    sizes: dict[bytes, int] = {}
    places: dict[bytes, int] = {}
    refused: dict[bytes, Rejected] = {}
    points = None

    def unpacked(file: BinaryIO) -> UnpackedFile:
        nonlocal points
        points = GzipPoints(path)
        return UnpackedFile(points, file)

    try:
        for member, _ in TarFile(path, unpacked).members():
            name = member.name.encode("utf-8", "surrogateescape")
            if member.hidden:
                continue
            if member.problem:
                refused[name] = Rejected(name, "not_a_file", member.problem)
            else:
                # Of two members of one name the last one counts, as when an archive is unpacked.
                sizes[name], places[name] = member.size, member.offset
    except DamagedError as error:
        refused[WHOLE] = Rejected(WHOLE, "corrupt", error.detail)
    return _Table(sizes, places, tuple(refused.values()), points)


def _table_of_parquet(path: Path) -> _Table:
    try:
        sizes = {b"%010d" % row: size for row, size in enumerate(image_sizes(path))}
    except DamagedError as error:
        return _Table({}, {}, (Rejected(WHOLE, "corrupt", error.detail),))
    return _Table(sizes, {name: row for row, name in enumerate(sizes)}, ())


_row_groups = RowGroups()


def _read(path: Path, table: _Table, name: bytes) -> bytes:
    place, size = table.places[name], table.sizes[name]
    if path.suffix.lower() == ".parquet":
        return _row_groups.image(path, place)
    data = _read_plain(path, place, size) if table.points is None else _read_packed(path, table.points, place, size)
    if len(data) != size:
        raise DamagedError(f"{path} breaks off.")
    return data


def _read_packed(path: Path, points: GzipPoints, place: int, size: int) -> bytes:
    with reading(path):
        return points.read(place, size)


def _read_plain(path: Path, place: int, size: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NothingFoundError(f"{path} cannot be read: {error.strerror}. Check the file.") from error
    try:
        return os.pread(descriptor, size, place)
    finally:
        os.close(descriptor)
