"""FAISS, imported the one way that requests beside each other need; threads for a build."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def load_faiss() -> ModuleType:
    """Import FAISS with one thread a call: requests run side by side, and more threads than cores slow all of them.

    `faiss.omp_set_num_threads` reaches the calling thread only, so the environment has to say it before the import.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import faiss

    module: ModuleType = faiss
    return module


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Let FAISS use more threads in calls of this thread, inside the block."""
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
