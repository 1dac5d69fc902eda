"""Building an index of one kind over stored vectors, a slice at a time; writing and mapping its file."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from index_data.indexes.kinds import FLAT, Kind
from index_data.indexes.library import faiss_threads, load_faiss
from index_data.indexes.locality import rows_by_nearness
from index_data.indexes.searching import BuiltIndex
from index_data.indexes.vectors import Rows, StoredVectors
from train.errors import DamagedError
from train.interruption import StopRequest
from train.progress import Reporter

ADDED = 4096  # vectors between two looks at whether to stop: about a second of a graph's building
SEED = 0
ALL_CORES = len(os.sched_getaffinity(0))
ONE_BY_ONE = 11  # FAISS's name for it: each query by itself, finds kept in a reservoir


def build_index(
    kind: Kind,
    vectors: StoredVectors,
    *,
    threads: int = ALL_CORES,
    reporter: Reporter | None = None,
    stop: StopRequest | None = None,
) -> BuiltIndex:
    """Build an index of a kind.

    Beside the index itself and slices of the stored vectors, at most the vectors it is trained on are in memory; for
    `hnsw` all vectors, until it is built; for other graphs the index a second time, while it is laid down anew.

    Args:
        kind: What to build.
        vectors: Of all rows.
        threads: Of FAISS. With one, the same vectors give the same index; with more, a graph differs a little.
        reporter: Where progress is shown.
        stop: Looked at between two slices.

    Raises:
        Interrupted: It was asked to stop; nothing has been written.
    """
    if kind.make is None:
        return BuiltIndex(FLAT, vectors.as_index, vectors)
    index = kind.make(vectors.dims, len(vectors))
    reporter = reporter or Reporter("none")
    with faiss_threads(threads), reporter.task(f"building {kind.name}", len(vectors), "vectors") as task:
        if trained := kind.trained_on(len(vectors)):
            task.advance(0, note="training")
            index.train(vectors.take(sample_rows(len(vectors), trained)))
        for some in vectors.slices(length=ADDED):
            if stop is not None:
                stop.raise_if_set("The index that was there stays.")
            index.add(some)
            task.advance(len(some), note="")
        if kind.by_nearness:
            task.advance(0, note="ordering")
            index = _laid_down(index, rows_by_nearness(vectors, stop=stop))
    if not kind.holds_vectors:
        _lean_on(index, vectors)
    _search_one_by_one(index)
    return BuiltIndex(kind, index, vectors)


def sample_rows(count: int, wanted: int, seed: int = SEED) -> Rows:
    """Rows drawn without repetition, rising: read from a mapped file in its order."""
    if wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))


def _laid_down(index: Any, rows: Rows) -> Any:
    """The same index with its vectors in another order, which says of each which row it is of.

    Only now: a graph to which vectors were added in this order finds fewer neighbours (docs/benchmarks.md).
    """
    faiss = load_faiss()
    index.permute_entries(np.ascontiguousarray(rows, np.int64))
    nothing = faiss.IndexFlat(index.d, faiss.METRIC_INNER_PRODUCT)  # FAISS makes such a map over an empty index only
    mapped = faiss.IndexIDMap(nothing)
    mapped.index, mapped.ntotal = index, index.ntotal
    mapped.referenced_objects = [index]
    faiss.copy_array_to_vector(np.ascontiguousarray(rows, np.int64), mapped.id_map)
    return mapped


def _lean_on(index: Any, vectors: StoredVectors) -> None:
    """Let a graph's nodes be the stored vectors, and forget its own copy of them."""
    faiss = load_faiss()
    own = faiss.downcast_index(index.storage) if index.storage is not None else None
    index.storage = vectors.as_index
    index.own_fields = False
    index.referenced_objects = [vectors.as_index]  # they stay as long as the graph over them
    if own is not None:
        # Not `own.this.own(True)`: SWIG then gives up a reference to its table of types that it never took, and after a
        # few builds the table is gone and the process crashes.
        type(own).__swig_destroy__(own)


def _search_one_by_one(index: Any) -> None:
    """Let coded lists be scanned for one query at a time, as searches come; it is not written with the index.

    FAISS does it for several otherwise, even where there is one, which takes a sixth longer (docs/benchmarks.md).
    """
    if isinstance(index, load_faiss().IndexIVFPQFastScan):
        index.implem = ONE_BY_ONE


# --- The file -------------------------------------------------------------------------------------------------------


def write_index(built: BuiltIndex, write: Callable[[bytes], int]) -> None:
    """Write an index through a function; what its stored vectors say is not written again. Not for `flat`.

    Never by name: on a full disk `faiss.write_index(path)` leaves a short file and says nothing.
    """
    faiss = load_faiss()
    flags = 0 if built.kind.holds_vectors else faiss.IO_FLAG_SKIP_STORAGE
    writer = faiss.PyCallbackIOWriter(write)
    faiss.write_index(built.index, writer, flags)
    del writer


def open_index(kind: Kind, file: BinaryIO, vectors: StoredVectors, *, mapped: bool = True) -> BuiltIndex:
    """Map an index file into memory, or read it. The caller has checked its digest: damage is not noticed here.

    Args:
        kind: What it was built as; not `flat`, which has no file.
        file: Open at its start; it may be closed and its name be gone afterwards.
        vectors: Those that it was built over.
        mapped: Only what is searched comes into memory.

    Raises:
        DamagedError: It does not fit its kind or the vectors.
    """
    faiss = load_faiss()
    try:
        if mapped:
            # By the open file, whatever has its name meanwhile; the mapping outlives both.
            index = faiss.read_index(f"/proc/self/fd/{file.fileno()}", faiss.IO_FLAG_MMAP_IFC)
        else:
            index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
    except (RuntimeError, MemoryError) as error:  # all that FAISS throws
        raise DamagedError(f"{file.name} cannot be read by FAISS ({str(error).splitlines()[0][:200]}).") from error
    if index.ntotal != len(vectors) or index.d != vectors.dims:
        raise DamagedError(
            f"{file.name} holds {index.ntotal:,} vectors of {index.d} numbers, its stored vectors are "
            f"{len(vectors):,} of {vectors.dims}."
        )
    if not kind.holds_vectors:
        _lean_on(index, vectors)
    _search_one_by_one(index)
    return BuiltIndex(kind, index, vectors)
