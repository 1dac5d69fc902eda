"""Answering: embed a picture with the gallery's own model, and find its nearest neighbours."""

import logging
import math
import os
import threading
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.sessions import Batching, Codes, Decoder, Encoder
from index_data.calibration import Calibration, calibrate
from index_data.config import AS_INDEXED, TIE_DECIMALS
from index_data.drift import Drift, measure_drift
from index_data.filters import Filter, matching_ids, state_of_fields
from index_data.gallery import Gallery, Vectors
from index_data.generations import Generation, Ids, check_generation, current_name, pointer_path
from index_data.indexes.curve import EXACT
from index_data.indexes.kinds import FLAT
from index_data.indexes.record import IndexRecord
from index_data.passing import PassingItems
from index_data.registration import Registration
from index_data.segments import Found, Segments, open_current
from index_data.standing_out import READ_AGAIN, READ_AGAIN_APPROXIMATELY, stand_out
from index_data.weighting import Halves
from train.errors import DamagedError, IncompatibleError, UserError
from train.images import Pixels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour."""

    id: int
    rank: int  # from 1
    score: float  # cosine, -1 to 1
    stands_out: float = 0.0  # above 0: it comes before the others, because it does so in one half of the code
    same: Registration | None = None  # it is the same picture, and the query lies on it so (`index_data.same_picture`)


@dataclass(frozen=True)
class _How:
    """How a search looks through the index."""

    accuracy: float | None
    beta: float
    halves: Halves | None  # in which hits may stand out; None: they are in the order of their scores


@dataclass(frozen=True)
class _State:
    """What one search looks at; replaced as a whole, so a search that began on the old one ends on it."""

    segments: Segments
    degraded: str | None
    pointer: object  # identity of the file that named the generation
    version: int  # of the gallery's data, read before its changes were
    passing: PassingItems = field(default_factory=PassingItems)  # filters, and what passed them at this version

    @property
    def generation(self) -> Generation:
        return self.segments.generation


class Engine:
    """An open gallery with its model and its current index. Usable from many threads; open it after a fork.

    Each search sees every change that was committed before it began, by whatever process.
    """

    def __init__(self, gallery: Gallery, bundle: Bundle, encoder: Encoder, decoder: Decoder | None) -> None:
        """Use `open`."""
        self.gallery = gallery
        self.bundle = bundle
        self.encoder = encoder
        self.decoder = decoder
        self.halves = Halves.of(bundle)
        self.trouble: str | None = None  # why it is not up to date
        self.is_outdated = False  # the gallery was given another model: open it again
        self._process = os.getpid()
        self._changing = threading.Lock()  # of the state: a few rows at a time
        self._loading = threading.Lock()  # of a generation: searches go on meanwhile
        self._damaged: dict[str, str] = {}  # generations whose files were found damaged after they were loaded
        self._drift: tuple[Segments, Drift] | None = None
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
        batching: Batching = "off",
    ) -> "Engine":
        """Open a gallery for searching.

        Args:
            gallery_folder: The gallery.
            bundle: Its model; else the one that it was made with is opened.
            provider: Execution provider that is asked for.
            threads: Of ONNX Runtime for each call; None leaves it to ONNX Runtime.
            decoder: Also open the decoder, where the model has one.
            batching: Whether threads that embed at the same time share a call; auto: on a GPU.

        Raises:
            NothingFoundError: There is no gallery, or no model where it was.
            IncompatibleError: The model is not the one that the gallery was made with.
            DamagedError: The gallery's database or the model is damaged.
        """
        gallery = Gallery.open(gallery_folder)
        try:
            bundle = bundle or gallery.open_bundle()
            gallery.expect_model(bundle)
            encoder = Encoder.open(bundle, provider=provider, threads=threads, batching=batching)
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
        return self._state.segments.count

    @property
    def version(self) -> int:
        """A number that differs from the last one after every change that was taken up."""
        return self._state.version

    @property
    def changed_count(self) -> int:
        """Number of rows that are searched beside the index, or hidden in it, because they changed since."""
        segments = self._state.segments
        return segments.fresh.count + segments.generation.count - segments.old.count

    @property
    def index_record(self) -> IndexRecord:
        """What is known of the index that answers: its kind, why, and its curve."""
        return self._state.generation.record

    @property
    def calibration(self) -> Calibration:
        """What scores mean in this gallery."""
        return self._state.generation.calibration

    def drift(self) -> Drift:
        """Whether what was added since the index was built is like what is in it; measured once for each state."""
        self.keep_up()
        segments = self._state.segments
        if self._drift is None or self._drift[0] is not segments:
            self._drift = (segments, measure_drift(segments))
        return self._drift[1]

    @property
    def ids(self) -> Ids:
        """Ids of the items that can be found, rising."""
        return self._state.segments.ids

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
        accuracy: float | None = None,
        exact: bool = False,
        among: Ids | None = None,
    ) -> list[list[Hit]]:
        """The k nearest items of each query, best first; fewer where the gallery has fewer.

        As indexed (beta 1), what stands out in one half of the code comes first (`index_data.standing_out`); all else
        is in the order of its scores.

        Args:
            embeddings: (queries, dims), each of length 1.
            k: How many neighbours.
            exclude: Ids that are not wanted, such as the query itself.
            beta: Weight of the pixel half: 0 same thing, 1 as indexed, high: looks the same.
            accuracy: Share of the exact neighbours that is asked for, 0 to 1: the index's curve says how to look for
                it. None: as the index was chosen.
            exact: Compare all stored vectors, whatever it takes.
            among: Ids of the only items that are looked at, rising (`filters.matching_ids`); where they are few, one by
                one.

        Raises:
            SettingsError: The accuracy is no share.
            UserError: A query has the wrong shape (dimension_mismatch) or is not finite (bad_embedding); beta is out of
                range, or the model has no semantic half to weigh (no_semantic_half).
        """
        self._expect_queries(embeddings)
        self.keep_up()
        state = self._state
        segments = state.segments
        queries = np.ascontiguousarray(self.halves.weigh_queries(embeddings, beta), np.float32)
        if k < 1 or not len(queries):
            return [[] for _ in queries]
        if among is not None:
            segments = state.passing.segments(segments, among)
        is_read_again = beta == AS_INDEXED and self.halves.semantic_dims
        how = _How(EXACT if exact else accuracy, beta, self.halves if is_read_again else None)
        return [_nearest(segments, query[None], k, exclude, how) for query in queries]

    def passing(self, asked: Filter) -> Ids:
        """Ids of the items that pass a filter, rising, for `search`; kept until something in the gallery changes.

        Raises:
            FilterError: It cannot be understood.
        """
        self.keep_up()
        state = state_of_fields(self.gallery)
        return self._state.passing.ids(asked, lambda: matching_ids(self.gallery, asked), state)

    def is_exact(self, accuracy: float | None = None, *, exact: bool = False) -> bool:
        """Whether such a search compares everything."""
        return exact or accuracy == EXACT or self.index_record.kind == FLAT.name

    def keep_up(self) -> None:
        """Take up what was added and removed since; microseconds where nothing was.

        Where the changes cannot be read, what is open can still be searched, and `trouble` says why.
        """
        try:
            version = self.gallery.data_version()
            if version != self._state.version:
                with self._changing:
                    self._take_up_changes()
            self.trouble = None
        except UserError as error:
            self.is_outdated = isinstance(error, IncompatibleError)
            logger.warning("the changes of %s cannot be read: %s", self.gallery.folder, error.detail)
            self.trouble = f"its changes cannot be read: {error.problem.title}"

    def refresh(self) -> bool:
        """Look for a newer generation too; it is loaded while searches go on.

        Returns:
            Whether another generation answers now.
        """
        self.keep_up()
        if self.is_outdated or _identity_of(pointer_path(self.gallery)) == self._state.pointer:
            return False
        with self._loading:
            if _identity_of(pointer_path(self.gallery)) == self._state.pointer:
                return False
            self._replace_generation()
        return True

    def check_files(self) -> None:
        """Check the digests of the files that answer, where the start did not; a damaged index is replaced."""
        generation = self._state.generation
        if generation.checked:
            return
        with self._loading:
            try:
                check_generation(self.gallery, generation.name)
            except DamagedError as error:
                # One that was removed meanwhile is no longer the current one, and as good as it was.
                if current_name(self.gallery) == generation.name:
                    self._damaged[generation.name] = error.detail
                    self._replace_generation()
                return
            with self._changing:
                if self._state.generation is generation:
                    segments = replace(self._state.segments, generation=replace(generation, checked=True))
                    self._state = replace(self._state, segments=segments, passing=PassingItems())

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
        version = self.gallery.data_version()
        segments, degraded = open_current(self.gallery, damaged=self._damaged)
        generation = segments.generation
        if generation.calibration.halves != self.halves:  # the model was not there when the index was built
            generation = replace(generation, calibration=calibrate(generation.index, self.halves))
            segments = replace(segments, generation=generation)
        return _State(segments, degraded, pointer, version)

    def _replace_generation(self) -> None:
        state = self._load()
        with self._changing:
            self._state = state
            self._take_up_changes()

    def _take_up_changes(self) -> None:
        """Bring the state up to date; the caller holds `_changing`."""
        state = self._state
        version = self.gallery.data_version()
        if version == state.version:
            return  # another thread was quicker
        changed = self.gallery.changed_since(state.segments.seq)
        # Somebody put an older database in its place, or so long ago was the last look that it cannot be told.
        if changed.seq < state.segments.seq or not changed.complete:
            self._state = self._load()
            return
        segments = state.segments.after(changed)
        self._state = replace(state, segments=segments, version=version, passing=PassingItems())

    def _expect_queries(self, embeddings: Vectors) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("FAISS hangs in a forked process: open the engine after the fork")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.gallery.dims:
            raise UserError(
                f"the query has the shape {embeddings.shape}, but the gallery {self.gallery.name} holds vectors of "
                f"{self.gallery.dims} numbers.",
                code="dimension_mismatch",
            )
        # One product: a length that is a number is of numbers.
        if not math.isfinite(np.vdot(embeddings, embeddings)):
            raise UserError("the query's embedding is not finite: use another picture.", code="bad_embedding")


class _Best(NamedTuple):
    """The rows that are nearest to a query, best first; what is equally near stands in the order of the ids."""

    scores: NDArray[np.float64]  # (n,), rounded, so that ties are ties
    rows: Ids  # of the segments
    ids: Ids

    def hits(self, order: Ids | slice, stands_out: NDArray[np.float64] | None = None) -> list[Hit]:
        """Some of them as neighbours, in an order; where they stand out, how far."""
        ids, scores = self.ids[order].tolist(), self.scores[order].tolist()
        far = [0.0] * len(ids) if stands_out is None else stands_out[order].tolist()
        return list(map(Hit, ids, range(1, len(ids) + 1), scores, far))


def _nearest(segments: Segments, query: Vectors, k: int, exclude: AbstractSet[int], how: _How) -> list[Hit]:
    """The k nearest items of one query, (1, dims)."""
    if how.halves is None:
        best = _best(segments, query, k, exclude, how)
        return best.hits(slice(None))
    is_exact = how.accuracy == EXACT or segments.generation.kind == FLAT.name
    again = READ_AGAIN if is_exact else READ_AGAIN_APPROXIMATELY
    best = _best(segments, query, max(k, again), exclude, how)
    stands_out = np.zeros(len(best.ids))
    stands_out[:again] = _rounded(stand_out(query[0], segments.vectors(best.rows[:again]), how.halves))
    # Those that stand out before the others, the farthest first; all else as it was.
    return best.hits((-stands_out).argsort(kind="stable")[:k], stands_out)


def _best(segments: Segments, query: Vectors, k: int, exclude: AbstractSet[int], how: _How) -> _Best:
    """The k best rows of one query."""
    # One more than is wanted shows whether the last one has equals.
    asked = min(k + len(exclude) + 1, segments.rows)
    while asked:
        found = segments.search(query, asked, accuracy=how.accuracy, beta=how.beta)
        best = _ranked(found, k, exclude)
        worst = best.scores[-1] if len(best.scores) == k else -np.inf
        # Which of several equal neighbours a search leaves out at its end is chance: look on until the score falls.
        is_whole = found.left_out is None or _rounded(np.float32(found.left_out)) < worst
        if is_whole or len(found.ids) >= segments.count or asked == segments.rows:
            return best
        asked = min(4 * asked, segments.rows)
    return _Best(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))


def _ranked(found: Found, k: int, exclude: AbstractSet[int]) -> _Best:
    """The k best of what was found that are not left out."""
    scores = _rounded(found.scores)
    order = np.lexsort((found.ids, -scores))
    if exclude:
        order = order[~np.isin(found.ids[order], list(exclude))]
    order = order[:k]
    return _Best(scores[order], found.rows[order], found.ids[order])


def _rounded(scores: Vectors | np.float32) -> NDArray[np.float64]:
    # Lengths are 1 to within rounding: a picture's cosine with itself may come out as 1.0000001. Not np.clip: a scan of
    # many vectors leaves none of its Python code in the processor's caches, and it is slow to fetch.
    rounded = scores.astype(np.float64).round(TIE_DECIMALS)
    found: NDArray[np.float64] = np.maximum(np.minimum(rounded, 1.0), -1.0)
    return found


def _identity_of(path: Path) -> object:
    """What changes when a file is replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
