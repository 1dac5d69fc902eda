"""Answering: embed a picture with the gallery's own model, and find its nearest neighbours."""

import logging
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle import Bundle
from export.sessions import Codes, Decoder, Encoder
from index_data.calibration import Calibration, calibrate
from index_data.config import AS_INDEXED
from index_data.exact import nearest_rows, rows_of
from index_data.gallery import Gallery, Vectors
from index_data.generations import Generation, Ids, current, load_faiss, pointer_path
from index_data.weighting import Halves
from train.errors import UserError
from train.images import Pixels

logger = logging.getLogger(__name__)

TIE_DECIMALS = 6  # scores that differ by less are rounding: the lower id stands first


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour."""

    id: int
    rank: int  # from 1
    score: float  # cosine, -1 to 1


@dataclass(frozen=True)
class _State:
    """What one search looks at; replaced as a whole, so a search that began on the old one ends on it."""

    generation: Generation
    degraded: str | None
    removed: frozenset[int]  # items taken out of the gallery since the generation was built
    pointer: object  # identity of the file that named the generation
    selector: Any  # faiss.SearchParameters that pass over the removed ones; None where none are
    count: int  # of the rows that stay


class Engine:
    """An open gallery with its model and its current index. Usable from many threads; open it after a fork."""

    def __init__(self, gallery: Gallery, bundle: Bundle, encoder: Encoder, decoder: Decoder | None) -> None:
        """Use `open`."""
        self.gallery = gallery
        self.bundle = bundle
        self.encoder = encoder
        self.decoder = decoder
        self.halves = Halves.of(bundle)
        self._process = os.getpid()
        self._state = self._load()

    @classmethod
    def open(
        cls,
        gallery_folder: Path,
        *,
        bundle: Bundle | None = None,
        provider: str = "auto",
        threads: int | None = None,
        decoder: bool = True,
    ) -> "Engine":
        """Open a gallery for searching.

        Args:
            gallery_folder: The gallery.
            bundle: Its model; else the one that it was made with is opened.
            provider: Execution provider that is asked for.
            threads: Of ONNX Runtime for each call; None leaves it to ONNX Runtime.
            decoder: Also open the decoder, where the model has one.

        Raises:
            NothingFoundError: There is no gallery, or no model where it was.
            IncompatibleError: The model is not the one that the gallery was made with.
            DamagedError: The gallery's database or the model is damaged.
        """
        gallery = Gallery.open(gallery_folder)
        try:
            bundle = bundle or Bundle.open(gallery.bundle_folder)
            gallery.expect_model(bundle)
            encoder = Encoder.open(bundle, provider=provider, threads=threads)
            with_decoder = decoder and bundle.has_decoder
            painter = Decoder.open(bundle, provider=provider, threads=threads) if with_decoder else None
            return cls(gallery, bundle, encoder, painter)
        except BaseException:
            gallery.close()
            raise

    @property
    def generation(self) -> str:
        """Name of the generation that answers; empty for one in memory."""
        return self._state.generation.name

    @property
    def degraded(self) -> str | None:
        """What is wrong with the index that answers, in one sentence; None when all is well."""
        return self._state.degraded

    @property
    def count(self) -> int:
        """Number of items that can be found."""
        return self._state.count

    @property
    def calibration(self) -> Calibration:
        """What scores mean in this gallery."""
        return self._state.generation.calibration

    @property
    def ids(self) -> Ids:
        """Ids of the items that can be found, rising."""
        state = self._state
        ids = state.generation.ids
        return ids[~np.isin(ids, list(state.removed))] if state.removed else ids

    def embed(self, pixels: Pixels) -> Codes:
        """Latents and embeddings of pictures, (n, size, size, 3)."""
        return self.encoder.encode(pixels)

    def search(
        self,
        embeddings: Vectors,
        k: int,
        exclude: AbstractSet[int] = frozenset(),
        *,
        beta: float = AS_INDEXED,
        among: Ids | None = None,
    ) -> list[list[Hit]]:
        """The k nearest items of each query, best first; fewer where the gallery has fewer.

        Args:
            embeddings: (queries, dims), each of length 1.
            k: How many neighbours.
            exclude: Ids that are not wanted, such as the query itself.
            beta: Weight of the pixel half: 0 same thing, 1 as indexed, high: looks the same.
            among: Ids of the only items that are looked at, rising (`filters.matching_ids`); always exactly.

        Raises:
            UserError: A query has the wrong shape (dimension_mismatch) or is not finite (bad_embedding); beta is out of
                range, or the model has no semantic half to weigh (no_semantic_half).
        """
        self._expect_queries(embeddings)
        state = self._state
        queries = np.ascontiguousarray(self.halves.weigh_queries(embeddings, beta), np.float32)
        if k < 1 or not len(queries):
            return [[] for _ in queries]
        if among is not None:
            rows = rows_of(state.generation.ids, among, state.removed | exclude)
            return [_nearest_among(state, query[None], k, rows) for query in queries]
        return [_nearest(state, query[None], k, exclude) for query in queries]

    def refresh(self) -> bool:
        """Look for a newer generation and for items removed since; cheap, so a server may call it every second.

        Returns:
            Whether another generation answers now.
        """
        state = self._state
        if _identity_of(pointer_path(self.gallery)) != state.pointer:
            self._state = self._load()
            return True
        removed = self.gallery.removed_since(state.generation.seq)
        if removed != state.removed:
            self._state = _state(state.generation, state.degraded, removed, state.pointer)
        return False

    def close(self) -> None:
        """Close the gallery."""
        self.gallery.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _load(self) -> _State:
        # The pointer is looked at first: if it moves on meanwhile, the next refresh sees that it did.
        pointer = _identity_of(pointer_path(self.gallery))
        generation, degraded = current(self.gallery)
        if generation.calibration.halves != self.halves:  # the model was not there when the index was built
            generation = replace(generation, calibration=calibrate(generation.index, self.halves))
        return _state(generation, degraded, self.gallery.removed_since(generation.seq), pointer)

    def _expect_queries(self, embeddings: Vectors) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("FAISS hangs in a forked process: open the engine after the fork")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.gallery.dims:
            raise UserError(
                f"the query has the shape {embeddings.shape}, but the gallery {self.gallery.name} holds vectors of "
                f"{self.gallery.dims} numbers.",
                code="dimension_mismatch",
            )
        if not np.isfinite(embeddings).all():
            raise UserError("the query's embedding is not finite: use another picture.", code="bad_embedding")


def _state(generation: Generation, degraded: str | None, removed: frozenset[int], pointer: object) -> _State:
    if not removed:
        return _State(generation, degraded, removed, pointer, None, generation.count)
    faiss = load_faiss()
    stays = ~np.isin(generation.ids, np.fromiter(removed, np.int64, len(removed)))
    bits = np.packbits(stays, bitorder="little")
    selector = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    return _State(generation, degraded, removed, pointer, selector, int(np.count_nonzero(stays)))


def _nearest(state: _State, query: Vectors, k: int, exclude: AbstractSet[int]) -> list[Hit]:
    """The k nearest items of one query, (1, dims); equal scores stand in the order of their ids."""
    rows = state.generation.count
    # One more than is wanted shows whether the last one has equals.
    asked = min(k + len(exclude) + 1, rows)
    scores, ids = _search(state, query, asked)
    # Which of several equal neighbours a search leaves out at its end is chance: look on until the score falls.
    while asked < rows and len(scores) == asked and scores[-1] >= _last_wanted(scores, ids, k, exclude):
        asked = min(4 * asked, rows)
        scores, ids = _search(state, query, asked)
    wanted = [(-float(score), int(number)) for score, number in zip(scores, ids, strict=True) if number not in exclude]
    return [Hit(number, rank, -score) for rank, (score, number) in enumerate(sorted(wanted)[:k], 1)]


def _nearest_among(state: _State, query: Vectors, k: int, rows: Ids) -> list[Hit]:
    """The k nearest of some rows; equal scores stand in the order of their ids."""
    scores, found = nearest_rows(state.generation.index, query, rows, k)
    ids = state.generation.ids[found]
    wanted = zip((-_rounded(scores)).tolist(), ids.tolist(), strict=True)
    return [Hit(number, rank, -score) for rank, (score, number) in enumerate(sorted(wanted)[:k], 1)]


def _search(state: _State, query: Vectors, k: int) -> tuple[Any, Any]:
    """Scores and item ids of the k nearest rows, best first; scores are rounded, so that ties are ties."""
    if k == 0:
        return np.empty(0, np.float64), np.empty(0, np.int64)
    scores, rows = state.generation.index.search(query, k, params=state.selector)
    found = rows[0] >= 0  # FAISS fills up with -1, and -1 would be the last item
    return _rounded(scores[0][found]), state.generation.ids[rows[0][found]]


def _rounded(scores: Any) -> Any:
    # Lengths are 1 to within rounding: a picture's cosine with itself may come out as 1.0000001.
    return np.clip(np.round(scores.astype(np.float64), TIE_DECIMALS), -1.0, 1.0)


def _last_wanted(scores: Any, ids: Any, k: int, exclude: AbstractSet[int]) -> float:
    wanted = [score for score, number in zip(scores, ids, strict=True) if int(number) not in exclude]
    return float(wanted[k - 1]) if len(wanted) >= k else -np.inf


def _identity_of(path: Path) -> object:
    """What changes when a file is replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
