"""The stored vectors of an index: one .npy file in row order, float32 or float16, mapped into memory.

They are kept once. An exact search scans them, a graph walks over them, what a coarser code found is ranked anew by
them: FAISS looks at the mapped file itself (a view), so that nothing is copied, and a start reads nothing.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from index_data.indexes.library import load_faiss
from train.errors import DamagedError, UserError

Precision = Literal["float32", "float16"]
Floats = NDArray[np.float32]  # (n, dims)
Rows = NDArray[np.int64]

PRECISIONS: tuple[Precision, ...] = ("float32", "float16")
SLICE = 8192  # rows that are in memory at a time
# FAISS compares a query with what it decodes of a float16 row; its own sums are float32 either way.
_BYTES = {"float32": 4, "float16": 2}


class StoredVectors:
    """Vectors in a file, or in memory. Never changed, so any number of threads may look at them."""

    def __init__(self, array: NDArray[Any], *, keep_alive: object = None) -> None:
        """Take an array, (n, dims), float32 or float16, whose rows follow each other in memory.

        Args:
            array: The vectors.
            keep_alive: What owns their memory, where NumPy does not.

        Raises:
            ValueError: It is another one.
        """
        if array.ndim != 2 or array.dtype.name not in PRECISIONS or not array.flags.c_contiguous:
            raise ValueError(
                f"vectors of shape {array.shape}, type {array.dtype}: rows of float32 or float16 are needed"
            )
        self.array = array.view(np.ndarray)  # of NumPy's own class, which is quicker to look into than a mapping
        self._keep_alive = keep_alive

    @classmethod
    def open(cls, path: Path, *, mapped: bool = True) -> "StoredVectors":
        """Map a file into memory, or read it.

        Raises:
            DamagedError: It is missing, short, or holds something else.
        """
        try:
            return cls(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DamagedError(f"{path} cannot be read as vectors ({error}).") from error

    def __len__(self) -> int:
        return len(self.array)

    @property
    def dims(self) -> int:
        """Numbers in a vector."""
        return int(self.array.shape[1])

    @property
    def precision(self) -> Precision:
        """How each number is stored."""
        return "float32" if self.array.dtype == np.float32 else "float16"

    @property
    def bytes_each(self) -> int:
        """Bytes of one vector."""
        return self.dims * _BYTES[self.precision]

    def take(self, rows: Rows) -> Floats:
        """Some vectors, (len(rows), dims)."""
        return np.ascontiguousarray(self.array[rows], np.float32)

    def slices(self, rows: Rows | None = None, length: int = SLICE) -> Iterator[Floats]:
        """All vectors, or some, in order, a few at a time."""
        for start in range(0, len(self) if rows is None else len(rows), length):
            part = self.array[start : start + length] if rows is None else self.array[rows[start : start + length]]
            yield np.ascontiguousarray(part, np.float32)

    @cached_property
    def as_index(self) -> Any:
        """An exact FAISS index (inner product) over these very bytes. Never add to it."""
        faiss = load_faiss()
        if self.precision == "float32":
            index = faiss.IndexFlatIP(self.dims)
        else:
            index = faiss.IndexScalarQuantizer(self.dims, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        if len(self):
            raw = self.array.reshape(-1).view(np.uint8)
            # The codes of an empty index have no owner: nor shall these, which NumPy keeps.
            nobody = index.codes.owner
            index.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(raw), len(raw), nobody)
        index.ntotal = len(self)
        index.is_trained = True
        index.referenced_objects = [self.array, self._keep_alive]  # the bytes stay as long as the view on them
        return index


def write_vectors(
    file: BinaryIO, slices: Iterable[Floats], count: int, dims: int, precision: Precision = "float32"
) -> None:
    """Write vectors as an .npy file, a slice at a time.

    Args:
        file: What it is written to.
        slices: (some, dims) each, `count` rows together.
        count: Number of vectors.
        dims: Numbers in a vector.
        precision: How each number is stored.

    Raises:
        UserError: A vector is not finite (bad_embedding), or has another length (dimension_mismatch).
        ValueError: There are more or fewer than `count`.
    """
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.dtype(precision).newbyteorder("<").str, "fortran_order": False, "shape": (count, dims)}
    )
    written = 0
    for some in slices:
        expect_vectors(some, dims, first_row=written)
        file.write(np.ascontiguousarray(some, precision).tobytes())
        written += len(some)
    if written != count:
        raise ValueError(f"{written} vectors were given, but {count} announced")


def expect_vectors(vectors: NDArray[Any], dims: int, *, first_row: int = 0) -> None:
    """Refuse vectors of another length, and such as have no place in any index.

    Raises:
        UserError: dimension_mismatch, or bad_embedding: FAISS takes NaN without a word and never finds it again.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dims:
        raise UserError(
            f"vectors of shape {vectors.shape} came where each has {dims} numbers.", code="dimension_mismatch"
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = first_row + int(np.argmin(finite))
        raise UserError(
            f"the vector of row {row:,} is not finite: run `lookalike index verify --repair`.", code="bad_embedding"
        )
