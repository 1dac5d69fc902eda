"""Parquet files whose rows hold images as bytes, as data sets are shared: a binary column, or a struct with one in it.

Needs pyarrow (`pip install 'lookalike[parquet]'`), whose reader is not sandboxed: open files that you trust.
"""

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from export.uses.codes import expect_pyarrow
from train.errors import DamagedError, NothingFoundError

COLUMNS = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "data")
_ROWS_AT_ONCE = 64
_GROUPS_KEPT = 2


def image_sizes(path: Path) -> Iterator[int]:
    """Bytes of the image of each row, 0 where it has none.

    Raises:
        DamagedError: It is no Parquet file, or has no column of images.
        SettingsError: pyarrow is missing.
    """
    with _opened(path) as file:
        column = _image_column(path, file.schema_arrow)
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[".".join(column)]):
            lengths = _compute().binary_length(_values(batch.column(0), column))
            yield from (length or 0 for length in lengths.to_pylist())


class RowGroups:
    """The row groups that were read last: rows are mostly asked for in order, by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[Path, int, int], Any] = {}

    def image(self, path: Path, row: int) -> bytes:
        """The bytes of the image of a row; raises like `image_sizes`."""
        with self._lock, _opened(path) as file:
            group, first = _group_of(file, row)
            key = (path, path.stat().st_mtime_ns, group)
            if key not in self._kept:
                while len(self._kept) >= _GROUPS_KEPT:
                    self._kept.pop(next(iter(self._kept)))
                column = _image_column(path, file.schema_arrow)
                table = file.read_row_group(group, columns=[".".join(column)])
                self._kept[key] = _values(table.column(0), column)
            value: bytes | None = self._kept[key][row - first].as_py()
            return value or b""


def _group_of(file: Any, row: int) -> tuple[int, int]:
    first = 0
    for group in range(file.num_row_groups):
        length = file.metadata.row_group(group).num_rows
        if row < first + length:
            return group, first
        first += length
    raise DamagedError(f"there is no row {row}.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    arrow = expect_pyarrow()
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        with path.open("rb") as raw, parquet.ParquetFile(raw) as file:
            yield file
    except (arrow.ArrowException, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DamagedError(f"{path} is damaged ({reason}): download or copy it again.") from error
    except OSError as error:
        raise NothingFoundError(f"{path} cannot be read: {error.strerror or error}. Check the file.") from error


def _image_column(path: Path, schema: Any) -> tuple[str, ...]:
    """The column that holds the images' bytes; two names where it is a field of a struct."""
    types = expect_pyarrow().types
    found: list[tuple[str, ...]] = []
    for field in schema:
        if types.is_binary(field.type) or types.is_large_binary(field.type):
            found.append((field.name,))
        elif types.is_struct(field.type):
            inner = (each for each in field.type if types.is_binary(each.type) or types.is_large_binary(each.type))
            found += [(field.name, each.name) for each in inner]
    for name in COLUMNS:
        for column in found:
            if column[0].lower() == name:
                return column
    if len(found) != 1:
        raise DamagedError(
            f"{path} has no column that is known to hold images: call it `image`. It has {', '.join(schema.names)}."
        )
    return found[0]


def _values(array: Any, column: tuple[str, ...]) -> Any:
    return array if len(column) == 1 else _compute().struct_field(array, column[1])


def _compute() -> Any:
    return importlib.import_module("pyarrow.compute")
