"""The kinds of index that are compared: what each keeps in memory, how FAISS makes it, and what can be turned on it.

| kind | keeps of a vector | found by |
|---|---|---|
| flat | the stored vector | comparing all: exact |
| hnsw | the stored vector and a graph of 32 links | walking the graph |
| hnsw-fp16, hnsw-sq8 | 2 bytes or 1 byte a number, and the graph | the same; sq8 is ranked anew by stored vectors |
| ivf-pq | 4 bits for two numbers (fast scan) | the nearest of many lists; ranked anew by stored vectors |
| ivf-rabitq | 1 bit a number | the same |
| lsh | 4 bits a number | comparing all codes; ranked anew. Measured only: it cannot pass over removed pictures |

All compare by inner product. Their rows are in the order of the stored vectors, but for graphs that hold vectors of
their own: those lie in an order of nearness, below FAISS's map to rows (`IndexIDMap`), and that below the ranking anew;
the other way round it filters the wrong ones.

Sources: HNSW, Malkov and Yashunin 2016; product quantisation with fast scan, Andre, Kermarrec, Le Scouarnec 2015;
RaBitQ, Gao and Long 2024; the table of docs/decisions/0008-choice-of-index.md for what was measured here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from index_data.indexes.library import load_faiss
from index_data.indexes.vectors import Precision
from train.datasets.catalogue import nearest
from train.errors import SettingsError

LINKS = 32  # of a vector in the graph, to each side
GRAPH_BYTES = 8 * LINKS + 16  # of a vector: links of 4 bytes, twice as many on the lowest level, offsets and levels
CONSTRUCTION = 60  # candidates that are looked at for each new vector's links
ID_BYTES = 8  # of a vector whose place in the index is not its row
LISTS_A_ROOT = 4  # lists of an inverted file: so many times the square root of the count
TRAINED_A_LIST = 40  # vectors from which a list's centre is found: FAISS asks for 39
GRAPHED_LISTS = 16_384  # above it the lists' centres are searched by a graph of their own
PQ_TRAINED = 65_536  # vectors, at most, from which codes are found
LEAST = 1024  # vectors: below it there is nothing to be coarse about
LSH_BITS = 4  # a number


@dataclass(frozen=True, order=True)
class Setting:
    """What can be turned at search time."""

    effort: int = 0  # candidates that a graph keeps (efSearch), or lists looked at (nprobe); 0: nothing to turn
    factor: int = 1  # so many times k candidates are ranked anew by the stored vectors

    def scaled(self, by: float) -> "Setting":
        """A setting that looks at more."""
        return Setting(math.ceil(self.effort * by), self.factor)


@dataclass(frozen=True)
class Kind:
    """One kind of index."""

    name: str
    says: str  # in a few words
    make: Callable[[int, int], Any] | None  # (dims, count) -> an empty FAISS index; None: the stored vectors suffice
    resident: Callable[[int, int, int], float]  # (dims, count, bytes of a stored vector) -> bytes in memory for each
    efforts: tuple[int, ...]  # that are tried, rising
    factors: tuple[int, ...] = (1,)
    refined: bool = False  # what it finds is ranked anew by stored vectors
    walks: bool = False  # a graph: effort is efSearch
    holds_vectors: bool = True  # False: a graph whose nodes are the stored vectors themselves
    by_nearness: bool = False  # like vectors are near each other in it (`locality`), and it says which row each is of
    chosen: bool = True  # False: measured only

    def memory(self, dims: int, count: int, precision: Precision) -> int:
        """Bytes that have to be in memory for searches to be fast; stored vectors that are only looked up are not."""
        bytes_each = dims * (4 if precision == "float32" else 2)
        return math.ceil(count * self.resident(dims, count, bytes_each))

    def trained_on(self, count: int) -> int:
        """Vectors that the codes of an index of `count` are found from; 0: nothing is trained."""
        if self.name.startswith("ivf"):
            return min(count, max(TRAINED_A_LIST * lists_for(count), PQ_TRAINED))
        return 0 if self.name in ("flat", "hnsw", "hnsw-fp16") else min(count, PQ_TRAINED)

    def settings(self, count: int) -> list[list[Setting]]:
        """What is tried on an index of `count` vectors: for each factor a rising row of efforts."""
        most = lists_for(count) if self.name.startswith("ivf") else count
        efforts = [effort for effort in self.efforts if effort <= most] or [min(most, self.efforts[0])]
        return [[Setting(effort, factor) for effort in efforts] for factor in self.factors]

    def parameters(self, setting: Setting, k: int, selector: Any, count: int) -> Any:
        """What FAISS is told for one search.

        Args:
            setting: How much to look at.
            k: Neighbours that are asked of the index itself.
            selector: faiss.IDSelector of rows that may be found; None: all.
            count: Of the index's vectors.
        """
        faiss = load_faiss()
        if self.walks:
            return faiss.SearchParametersHNSW(sel=selector, efSearch=min(max(setting.effort, k), max(count, 1)))
        if self.name.startswith("ivf"):
            return faiss.SearchParametersIVF(sel=selector, nprobe=min(max(setting.effort, 1), lists_for(count)))
        return faiss.SearchParameters(sel=selector) if selector is not None else None


def lists_for(count: int) -> int:
    """Lists of an inverted file: a power of two near a multiple of the root, with enough vectors to train each."""
    wanted: int = 2 ** round(math.log2(max(LISTS_A_ROOT * math.sqrt(count), 1)))
    return max(1, min(wanted, count // TRAINED_A_LIST))


# --- What each is made of -------------------------------------------------------------------------------------------


def _graph(codes: str) -> Callable[[int, int], Any]:
    def make(dims: int, count: int) -> Any:
        del count
        faiss = load_faiss()
        index = faiss.index_factory(dims, f"HNSW{LINKS},{codes}", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CONSTRUCTION
        return index

    return make


def _lists(codes: Callable[[int], str]) -> Callable[[int, int], Any]:
    def make(dims: int, count: int) -> Any:
        faiss = load_faiss()
        lists = lists_for(count)
        centres = f"IVF{lists}_HNSW32" if lists >= GRAPHED_LISTS else f"IVF{lists}"
        return faiss.index_factory(dims, f"{centres},{codes(dims)}", faiss.METRIC_INNER_PRODUCT)

    return make


def _pairs(dims: int) -> str:
    # Each code of 4 bits stands for two numbers, or for one where they are odd; of the residual to the list's centre.
    return f"PQ{dims // 2 if dims % 2 == 0 else dims}x4fsr"


def _hashes(dims: int, count: int) -> Any:
    del count
    faiss = load_faiss()
    index = faiss.IndexLSH(dims, LSH_BITS * dims)
    index.metric_type = faiss.METRIC_INNER_PRODUCT  # it counts different bits whatever this says; ranking anew looks
    return index


def _listed(dims: int, count: int, code_bytes: float) -> float:
    """Bytes of a vector in an inverted file: code, id, its share of the centres, and rooms of 32 that are not full."""
    return code_bytes + ID_BYTES + (4 * dims + 16 * code_bytes) * lists_for(count) / max(count, 1)


_EFFORTS_OF_GRAPHS = (16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
_EFFORTS_OF_LISTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)

FLAT = Kind("flat", "all stored vectors compared: exact", None, lambda dims, count, stored: stored, (0,))
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        FLAT,
        Kind(
            "hnsw",
            "a graph over the stored vectors",
            _graph("Flat"),
            lambda dims, count, stored: stored + GRAPH_BYTES,
            _EFFORTS_OF_GRAPHS,
            walks=True,
            holds_vectors=False,
        ),
        Kind(
            "hnsw-fp16",
            "a graph over numbers of 2 bytes",
            _graph("SQfp16"),
            lambda dims, count, stored: 2 * dims + GRAPH_BYTES + ID_BYTES,
            _EFFORTS_OF_GRAPHS,
            walks=True,
            refined=True,
            by_nearness=True,
        ),
        Kind(
            "hnsw-sq8",
            "a graph over numbers of 1 byte, ranked anew",
            _graph("SQ8"),
            lambda dims, count, stored: dims + GRAPH_BYTES + ID_BYTES,
            _EFFORTS_OF_GRAPHS,
            factors=(1, 2, 4),
            walks=True,
            refined=True,
            by_nearness=True,
        ),
        Kind(
            "ivf-pq",
            "lists of 2-bit codes, ranked anew",
            _lists(_pairs),
            lambda dims, count, stored: _listed(dims, count, dims / 4 if dims % 2 == 0 else dims / 2),
            _EFFORTS_OF_LISTS,
            factors=(4, 8, 16, 32, 64),
            refined=True,
        ),
        Kind(
            "ivf-rabitq",
            "lists of 1-bit codes, ranked anew",
            _lists(lambda dims: "RaBitQfs"),
            lambda dims, count, stored: _listed(dims, count, dims / 8 + 8),
            _EFFORTS_OF_LISTS,
            factors=(8, 16, 32, 64),
            refined=True,
        ),
        Kind(
            "lsh",
            "hashes of 4 bits a number, ranked anew",
            _hashes,
            lambda dims, count, stored: LSH_BITS * dims / 8,
            (0,),
            factors=(4, 8, 16, 32, 64, 128),
            refined=True,
            chosen=False,
        ),
    )
}


def kind_named(name: str) -> Kind:
    """Look a kind up that an index may be.

    Raises:
        SettingsError: There is none of that name, the message has the nearest ones; or it is measured only.
    """
    if name not in KINDS:
        raise SettingsError(f"there is no kind of index {name!r}: {nearest(name, choosable())}")
    if not KINDS[name].chosen:
        raise SettingsError(
            f"{name} is measured for comparison only, it cannot pass over removed pictures: take one of "
            f"{', '.join(choosable())}."
        )
    return KINDS[name]


def choosable() -> list[str]:
    """Names of the kinds that an index may be."""
    return [kind.name for kind in KINDS.values() if kind.chosen]


def candidates(count: int, dims: int, precision: Precision, memory: int | None) -> Sequence[Kind]:
    """Kinds worth measuring for so many vectors within a budget; those of comparison stand last."""
    kinds = [kind for kind in KINDS.values() if kind is not FLAT and count >= LEAST]
    if precision == "float16":  # a graph over numbers of 2 bytes is the same, and lies in an order of nearness
        kinds = [kind for kind in kinds if kind.name != "hnsw"]
    return [
        kind for kind in kinds if memory is None or not kind.chosen or kind.memory(dims, count, precision) <= memory
    ]
