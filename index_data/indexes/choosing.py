"""Choosing an index by measuring: candidates on a sample at two sizes, the best one in full, its curve on all vectors.

1. Exact, where comparing all stored vectors stays under the latency that is aimed at and in the memory there is.
2. Otherwise each candidate that fits the memory is built on a sample and on a quarter of it, and its settings are swept
   against exact neighbours of vectors that are in neither. How its time grows from the quarter to the sample says what
   it will be at full size.
3. Fastest first, the smallest of those that are about as fast, candidates are built in full until one reaches recall
   and latency there too (`TRIED` at most); the best of those stays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index_data.config import BuildAims
from index_data.indexes.building import ALL_CORES, build_index
from index_data.indexes.curve import Curve, Point, Weight, worth_having
from index_data.indexes.kinds import FLAT, KINDS, LEAST, Kind, Setting, candidates, kind_named
from index_data.indexes.measuring import (
    AIMED_K,
    Sample,
    Weigh,
    affordable_queries,
    curve_of,
    exact_point,
    sample_of,
    sweep,
    weights_of,
)
from index_data.indexes.searching import BuiltIndex
from index_data.indexes.vectors import Rows, StoredVectors
from train.errors import SettingsError
from train.interruption import StopRequest
from train.progress import Reporter

SAMPLE = 32_768  # vectors that candidates are built on
TRIAL_QUERIES = 256
SMALLER = 4  # times fewer in the second sample
SEED = 1
TRIED = 2  # candidates, at most, that are built in full
ALIKE = 1.25  # times the least time that is expected: no difference that a sample shows for sure
STEEPEST = 1.0  # a candidate's time grows no faster than an exact search's


@dataclass(frozen=True, kw_only=True)
class Aims(BuildAims):
    """What an index shall reach, checked."""

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise SettingsError(f"the recall is {self.recall}, but it is a share above 0 and at most 1.")
        if not (math.isfinite(self.latency_ms) and self.latency_ms > 0):
            raise SettingsError(f"the latency is {self.latency_ms} ms, but it has to be more than 0.")
        if self.memory is not None and self.memory <= 0:
            raise SettingsError(f"the memory is {self.memory} bytes, but it has to be more than 0.")
        if self.kind is not None:
            kind_named(self.kind)


@dataclass(frozen=True)
class Trial:
    """What the sample said of one candidate."""

    kind: str
    memory: int  # bytes, at full size
    chosen: bool  # False: measured for comparison only
    recall: float  # at the point below, on the sample
    sampled_ms: float  # time of a search there, on the sample
    expected_ms: float  # the same at full size
    setting: Setting


@dataclass(frozen=True)
class Choice:
    """An index, why it was taken, and what is known of it."""

    built: BuiltIndex
    curve: Curve | None  # None: with fewer than two vectors there is nothing to measure
    aims: Aims
    setting: Setting  # what searches use that ask for nothing else
    memory: int  # bytes that have to be in memory
    exact_ms: float | None  # time of an exact search
    trials: tuple[Trial, ...] = ()
    sampled: int = 0  # vectors that the trials were built on
    reasons: tuple[str, ...] = ()  # in sentences
    weights: tuple[Weight, ...] = ()  # how much more is looked at where a query's halves are weighed otherwise


def choose_index(
    vectors: StoredVectors,
    aims: Aims | None = None,
    *,
    threads: int = ALL_CORES,
    sample: int = SAMPLE,
    keep: str | None = None,
    weigh: Weigh | None = None,
    reporter: Reporter | None = None,
    stop: StopRequest | None = None,
) -> Choice:
    """Choose and build the index of stored vectors.

    Args:
        vectors: All rows.
        aims: What it shall reach.
        threads: Of FAISS, while building; searches are measured with one.
        sample: Vectors that candidates are built on.
        keep: A kind that was chosen before, for as many vectors or nearly: it is built again without comparing others,
            where it still fits and comparing all is still too slow.
        weigh: Weighs the halves of queries, where the embeddings have two.
        reporter: Where progress is shown.
        stop: Looked at between steps of a second or so, but for one training of codes or lists.

    Raises:
        SettingsError: Nothing fits the memory; the message has what would.
        Interrupted: It was asked to stop.
    """
    return _Chooser(vectors, aims or Aims(), threads, sample, keep, weigh, reporter or Reporter("none"), stop).choose()


@dataclass(frozen=True)
class _Chooser:
    vectors: StoredVectors
    aims: Aims
    threads: int
    sampled: int
    keep: str | None
    weigh: Weigh | None
    reporter: Reporter
    stop: StopRequest | None

    def choose(self) -> Choice:
        if len(self.vectors) < 2:
            why = "There is nothing to compare."
            return Choice(self._flat(), None, self.aims, Setting(), self._memory(FLAT), None, reasons=(why,))
        asked = self._asked()
        exact = exact_point(self._flat(), asked)
        if self.aims.kind is not None:
            return self._forced(kind_named(self.aims.kind), asked, exact)
        if self._fits(FLAT) and exact.p50_ms <= self.aims.latency_ms:
            return self._exact(
                exact, f"comparing all takes {_ms(exact.p50_ms)}, less than {_ms(self.aims.latency_ms)}."
            )
        if not (possible := [kind for kind in self._candidates() if kind.chosen]):
            return self._nothing_but_exact(exact)
        if self.keep in [kind.name for kind in possible]:
            built, curve = self._in_full(kind_named(self.keep), asked)
            return self._with(
                built, curve, asked, exact, [f"{self.keep} was chosen before; nothing else was compared."]
            )
        trials = self._trials(exact)
        kinds = [KINDS[trial.kind] for trial in ranked(trials, self.aims.recall)]
        built, curve = self._best_in_full(kinds[:TRIED], asked)
        reasons = [
            f"comparing all takes {_ms(exact.p50_ms)} and {_megabytes(self._memory(FLAT))}.",
            f"{built.kind.name} ({built.kind.says}) is the best of {len(possible)} kinds that were measured.",
        ]
        return self._with(built, curve, asked, exact, reasons, trials)

    # --- Ways to end ---

    def _exact(self, exact: Point, *reasons: str) -> Choice:
        curve = Curve({AIMED_K: (exact,)})
        return Choice(
            self._flat(), curve, self.aims, Setting(), self._memory(FLAT), exact.p50_ms, reasons=_sentences(reasons)
        )

    def _nothing_but_exact(self, exact: Point) -> Choice:
        if not self._fits(FLAT):
            least = min((kind for kind in KINDS.values() if kind.chosen), key=self._memory)
            if len(self.vectors) < LEAST:
                least = FLAT
            raise SettingsError(
                f"the memory is {_megabytes(self.aims.memory or 0)}, but {len(self.vectors):,} vectors of "
                f"{self.vectors.dims} numbers take {_megabytes(self._memory(least))} as {least.name}, the smallest "
                "kind: allow more."
            )
        return self._exact(exact, f"{len(self.vectors):,} vectors are too few for anything but comparing all.")

    def _forced(self, kind: Kind, asked: Sample, exact: Point) -> Choice:
        if not self._fits(kind):
            raise SettingsError(
                f"{kind.name} takes {_megabytes(self._memory(kind))}, but the memory is "
                f"{_megabytes(self.aims.memory or 0)}: allow more, or leave the kind out."
            )
        if kind is FLAT:
            return self._exact(exact, "it was asked for.")
        if len(self.vectors) < LEAST:
            return self._exact(exact, f"{kind.name} was asked for, but it takes {LEAST:,} vectors to be of use.")
        built, curve = self._in_full(kind, asked)
        return self._with(built, curve, asked, exact, [f"{kind.name} was asked for."])

    def _with(
        self,
        built: BuiltIndex,
        curve: Curve,
        asked: Sample,
        exact: Point,
        reasons: list[str],
        trials: Sequence[Trial] = (),
    ) -> Choice:
        """The choice, and of the aims those that it misses."""
        point = self._nearest_to_aim(curve.at(AIMED_K))
        if point.recall < self.aims.recall:
            reasons.append(f"it reaches a recall of {point.recall:.4f}, not {self.aims.recall:g}.")
        if point.p50_ms > self.aims.latency_ms:
            reasons.append(f"it takes {_ms(point.p50_ms)}, not {_ms(self.aims.latency_ms)}.")
        return Choice(
            built,
            curve,
            self.aims,
            point.setting,
            self._memory(built.kind),
            exact.p50_ms,
            tuple(trials),
            min(self.sampled, len(self.vectors)) if trials else 0,
            _sentences(reasons),
            self._weights(built, asked, point, exact),
        )

    def _weights(self, built: BuiltIndex, asked: Sample, point: Point, exact: Point) -> tuple[Weight, ...]:
        if self.weigh is None:
            return ()
        slowest = exact.p50_ms
        return weights_of(built, asked, self.weigh, point, slowest_ms=slowest, threads=self.threads, stop=self.stop)

    # --- Steps ---

    def _asked(self) -> Sample:
        """Queries among all vectors, with their exact neighbours."""
        rows = _drawn(len(self.vectors), affordable_queries(len(self.vectors), self.vectors.dims))
        self.reporter.say(f"Looking up the exact neighbours of {len(rows):,} of {len(self.vectors):,} vectors.")
        return sample_of(self.vectors, rows, self.vectors.take(rows), 100, self.threads)

    def _candidates(self) -> Sequence[Kind]:
        return candidates(len(self.vectors), self.vectors.dims, self.vectors.precision, self.aims.memory)

    def _trials(self, exact: Point) -> list[Trial]:
        """Measure each candidate on the sample."""
        queries = min(TRIAL_QUERIES, len(self.vectors) // 4)
        drawn = np.random.default_rng(SEED).permutation(len(self.vectors))[: self.sampled + queries]
        asked, rest = drawn[:queries], drawn[queries:]
        large = StoredVectors(self.vectors.array[np.sort(rest)])
        small = StoredVectors(large.array[::SMALLER].copy())
        nowhere: Rows = np.full(queries, -1, np.int64)
        against = [sample_of(some, nowhere, self.vectors.take(asked), AIMED_K, self.threads) for some in (small, large)]
        trials = []
        kinds = self._candidates()
        with self.reporter.task("comparing kinds of index", len(kinds), "kinds") as task:
            for kind in kinds:
                task.advance(0, note=kind.name)
                points = []
                for some, sample in zip((small, large), against, strict=True):
                    built = build_index(kind, some, threads=self.threads, stop=self.stop)
                    slowest = 2 * exact.p50_ms
                    points.append(worth_having(sweep(built, sample, AIMED_K, slowest_ms=slowest, stop=self.stop)))
                trials.append(self._trial(kind, points[0], points[1], len(small), len(large)))
                task.advance(1)
        return trials

    def _trial(
        self, kind: Kind, small: Sequence[Point], large: Sequence[Point], small_count: int, large_count: int
    ) -> Trial:
        point, before = self._nearest_to_aim(large), self._nearest_to_aim(small)
        growth = math.log(point.p50_ms / before.p50_ms) / math.log(large_count / small_count)
        growth = min(max(growth, 0.0), STEEPEST)
        expected = point.p50_ms * (len(self.vectors) / large_count) ** growth
        return Trial(
            kind.name,
            self._memory(kind),
            kind.chosen,
            round(point.recall, 4),
            round(point.p50_ms, 4),
            round(expected, 4),
            point.setting,
        )

    def _nearest_to_aim(self, points: Sequence[Point]) -> Point:
        """The fastest point with the recall that is aimed at, else the one with the most recall."""
        return next((point for point in points if point.recall >= self.aims.recall), points[-1])

    def _best_in_full(self, kinds: Sequence[Kind], asked: Sample) -> tuple[BuiltIndex, Curve]:
        """Build kinds until one reaches the aims; else the best of them: recall counts before time."""
        best: tuple[BuiltIndex, Curve] | None = None
        worth = (False, -math.inf)
        for kind in kinds:
            built, curve = self._in_full(kind, asked)
            point = self._nearest_to_aim(curve.at(AIMED_K))
            reached = point.recall >= self.aims.recall
            if best is None or (reached, -point.p50_ms if reached else point.recall) > worth:
                best, worth = (built, curve), (reached, -point.p50_ms if reached else point.recall)
            if reached and point.p50_ms <= self.aims.latency_ms:
                break
        if best is None:
            raise ValueError("there is no kind to build")
        return best

    def _in_full(self, kind: Kind, asked: Sample) -> tuple[BuiltIndex, Curve]:
        built = build_index(kind, self.vectors, threads=self.threads, reporter=self.reporter, stop=self.stop)
        self.reporter.say(f"Measuring {kind.name}.")
        return built, curve_of(built, asked, stop=self.stop)

    # --- Small things ---

    def _flat(self) -> BuiltIndex:
        return BuiltIndex(FLAT, self.vectors.as_index, self.vectors)

    def _memory(self, kind: Kind) -> int:
        return kind.memory(self.vectors.dims, len(self.vectors), self.vectors.precision)

    def _fits(self, kind: Kind) -> bool:
        return self.aims.memory is None or self._memory(kind) <= self.aims.memory


def ranked(trials: Sequence[Trial], recall: float) -> list[Trial]:
    """The trials of kinds that may be chosen, the most promising first.

    Of those with the recall the fastest; but what a sample hardly tells apart, memory decides: a large index waits for
    it, and a sample does not.
    """
    fit = [trial for trial in trials if trial.chosen]
    reach = sorted((trial for trial in fit if trial.recall >= recall), key=lambda trial: trial.expected_ms)
    miss = sorted((trial for trial in fit if trial.recall < recall), key=lambda trial: -trial.recall)
    alike = [trial for trial in reach if trial.expected_ms <= ALIKE * reach[0].expected_ms]
    return [*sorted(alike, key=lambda trial: trial.memory), *reach[len(alike) :], *miss]


def _drawn(count: int, wanted: int) -> Rows:
    return np.sort(np.random.default_rng(SEED).choice(count, min(wanted, count), replace=False))


def _ms(value: float) -> str:
    return f"{value:,.4g} ms"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _sentences(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part[:1].upper() + part[1:] for part in parts)
