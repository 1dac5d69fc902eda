"""The pickles of the official CIFAR-10 archive, read without running anything that they name.

A pickle is a program. This reader knows three names, those of an array's reconstruction, and puts inert stand-ins in
their places; a pickle that asks for any other is refused. The interpreter is the one written in Python, whose tables
grow with what is in them: the one in C takes 32 GB at the word of a pickle of ten bytes.
"""

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _Stand:
    """Takes the place of an array or a type of elements: keeps what it is told."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Stand):
    pass


class _Element(_Stand):
    pass


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Element,
}


class _Reader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which an array does not need")
        return _ALLOWED[module, name]


def read_pickled_batch(data: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    """Read one file of the archive.

    Returns:
        Pixels, (n, 3072), and labels.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        stored: Any = _Reader(io.BytesIO(data), encoding="bytes").load()
        array, labels = stored[b"data"], stored[b"labels"]
        # Source of the order: numpy's ndarray.__reduce__ and dtype.__reduce__.
        _, shape, element, columns_first, raw = array.state
        if not isinstance(array, _Array) or not isinstance(element, _Element) or columns_first:
            raise ValueError("its data is no array of rows")
        if element.arguments[0] not in ("u1", b"u1", "|u1", b"|u1"):
            raise ValueError(f"its data is of type {element.arguments[0]!r}, not uint8")
        if len(shape) != 2 or math.prod(shape) != len(raw):
            raise ValueError(f"its data of shape {shape} has {len(raw):,} bytes")
        rows = np.frombuffer(raw, np.uint8).reshape(shape)
        return rows, [int(label) for label in labels]
    # Every way in which a nonsensical program can fail: its operations meet whatever lies on the stack.
    except Exception as error:
        raise ValueError(f"no pickle of images: {error}") from error
