"""Files beside the pictures that say something of them: one for a picture, or one table for a folder.

- `picture.jpg.json` or `picture.json`: an object.
- `metadata.csv`, `.json`, `.jsonl` or `.parquet`: a row for each picture, with a column `path` (or `file_name`, `file`,
  `filename`) relative to the table's folder. A JSON table is a list of objects, or an object of objects by path.

What such a file says is data from outside: its size, depth and number of values are bounded, and one that cannot be
read is named and left out.
"""

import csv
import io
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from train.errors import ImageError
from train.images import read_companion

SIDECAR_BYTES = 1 << 20
TABLE_BYTES = 512 << 20
JSON_TABLE_BYTES = 64 << 20  # parsed as a whole, it takes ten times as much memory
TABLES = (b"metadata.csv", b"metadata.json", b"metadata.jsonl", b"metadata.parquet")
PATH_COLUMNS = ("path", "file_name", "file", "filename")
LINE_CHARACTERS = 1 << 20
FOLDERS_AT_HAND = 256  # listings that are kept while the items of neighbouring folders are looked through

Row = tuple[bytes, dict[str, Any]]  # path below the table's folder, everything else


class SidecarError(Exception):
    """A file that says something of pictures cannot be used: the message says why."""


@dataclass(frozen=True)
class Listing:
    """What a folder has of such files, with their states: size and time of change."""

    sidecars: Mapping[bytes, str] = field(default_factory=dict)  # by name
    tables: Mapping[bytes, str] = field(default_factory=dict)

    def of(self, name: bytes) -> Iterator[tuple[bytes, str]]:
        """Names and states of the sidecars of a picture, the weaker first."""
        if not self.sidecars:
            return
        stem = name.rpartition(b".")[0] or name
        for sidecar in dict.fromkeys((stem + b".json", name + b".json")):
            state = self.sidecars.get(sidecar)
            if state is not None:
                yield sidecar, state


class Listings:
    """The folders below a root; the last few that were asked for are kept."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self.of = lru_cache(FOLDERS_AT_HAND)(self._list)

    def _list(self, folder: bytes) -> Listing:
        sidecars: dict[bytes, str] = {}
        tables: dict[bytes, str] = {}
        try:
            with os.scandir(self._root + b"/" + folder) as entries:
                for entry in entries:
                    known = tables if entry.name in TABLES else sidecars
                    if entry.name.startswith(b".") or not (known is tables or entry.name.endswith(b".json")):
                        continue
                    if entry.is_file(follow_symlinks=False):
                        known[entry.name] = state_of(entry.stat(follow_symlinks=False))
        except OSError:  # gone or closed: it says nothing
            return Listing()
        return Listing(sidecars, tables)


def state_of(status: os.stat_result) -> str:
    """What changes when a file does."""
    return f"{status.st_size}:{status.st_mtime_ns}"


def read_sidecar(root: Path, path: bytes) -> dict[str, Any]:
    """The object that a picture's sidecar holds.

    Raises:
        SidecarError: It cannot be read, or is no JSON object.
    """
    found = _json(_read(root, path, SIDECAR_BYTES))
    if not isinstance(found, dict):
        raise SidecarError("it holds no JSON object")
    return found


def read_table(root: Path, path: bytes) -> Iterator[Row]:
    """The rows of a table of metadata, one after the other.

    Raises:
        SidecarError: It cannot be read, or has no column with paths; rows before may have come out already.
    """
    kind = path.rpartition(b".")[2]
    if kind == b"parquet":
        rows = _parquet_rows(_read(root, path, TABLE_BYTES))
    elif kind == b"json":
        rows = _json_rows(_json(_read(root, path, JSON_TABLE_BYTES)))
    else:
        text = io.TextIOWrapper(io.BytesIO(_read(root, path, TABLE_BYTES)), "utf-8-sig", newline="")
        rows = _csv_rows(text) if kind == b"csv" else _json_lines(text)
    column = None
    for row in rows:
        column = column or next((name for name in PATH_COLUMNS if name in row), None)
        if column is None:
            raise SidecarError(f"it has no column {' or '.join(PATH_COLUMNS)}")
        place = _below(row.pop(column, None))
        if place is not None:
            yield place, row


def _read(root: Path, path: bytes, most: int) -> bytes:
    try:
        return read_companion(root, path, most).data
    except ImageError as error:
        raise SidecarError(error.detail) from error


def _json(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"it is not JSON: {str(error)[:200] or 'nested too deep'}") from error


def _json_rows(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        rows: Any = [{**row, "path": path} for path, row in found.items() if isinstance(row, dict)]
    else:
        rows = found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SidecarError("it is no list of objects, and no object of objects by path")
    yield from rows


def _json_lines(text: io.TextIOWrapper) -> Iterator[dict[str, Any]]:
    for line in _lines(text):
        if line.strip():
            row = _json(line)
            if not isinstance(row, dict):
                raise SidecarError("a line is no JSON object")
            yield row


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    try:
        while line := text.readline(LINE_CHARACTERS):
            if len(line) == LINE_CHARACTERS:
                raise SidecarError(f"a line has more than {LINE_CHARACTERS:,} characters")
            yield line
    except UnicodeDecodeError as error:
        raise SidecarError("it is not UTF-8") from error


def _csv_rows(text: io.TextIOWrapper) -> Iterator[dict[str, Any]]:
    """Rows of text; a column of nothing but numbers holds numbers, one of nothing but true and false holds those."""
    start = text.tell()
    kinds: dict[str, set[str]] = {}
    for row in _csv_texts(text):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(_kind(value))
    text.seek(start)
    readers = {name: _READERS.get(frozenset(kinds[name] - {"empty"}), str) for name in kinds}
    for row in _csv_texts(text):
        yield {name: readers[name](value) if value else None for name, value in row.items()}


def _csv_texts(text: io.TextIOWrapper) -> Iterator[dict[str, str]]:
    try:
        reader = csv.reader(_lines(text))
        names = [name.strip() for name in next(reader, [])]
        for values in reader:
            yield {name: value.strip() for name, value in zip(names, values, strict=False) if name}
    except csv.Error as error:
        raise SidecarError(f"it is not CSV: {error}") from error


def _kind(text: str) -> str:
    if not text:
        return "empty"
    if text.lower() in ("true", "false"):
        return "boolean"
    digits = text.removeprefix("-")
    if not digits[:1].isdigit() or (digits[0] == "0" and digits[1:2].isdigit()):
        return "text"  # 007 is no number
    if digits.isascii() and digits.isdigit() and len(digits) <= 18:
        return "integer"
    try:
        float(text)
    except ValueError:
        return "text"
    return "number" if "_" not in text else "text"


def _true(text: str) -> bool:
    return text.lower() == "true"


_READERS: dict[frozenset[str], Any] = {
    frozenset({"boolean"}): _true,
    frozenset({"integer"}): int,
    frozenset({"number"}): float,
    frozenset({"integer", "number"}): float,
}


def _parquet_rows(data: bytes) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise SidecarError("reading parquet takes pyarrow: pip install 'lookalike[parquet]'") from error
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data))
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                yield {name: _plain(value) for name, value in row.items()}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise SidecarError(f"it is not parquet: {str(error)[:200]}") from error


def _plain(value: Any) -> Any:
    """A value of parquet as JSON has it: times as text, bytes not at all."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return None if isinstance(value, bytes) else str(value)


def _below(path: Any) -> bytes | None:
    """A path of a row, if it stays below the table's folder."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    normal = posixpath.normpath(path.replace("\\", "/") if "/" not in path else path)
    if normal == ".." or normal.startswith(("/", "../")):
        return None
    try:
        return os.fsencode(normal)
    except UnicodeEncodeError:
        return None
