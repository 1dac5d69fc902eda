"""The curve of an index: for each setting the recall and the time of a search, measured on the whole index."""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from index_data.config import AS_INDEXED
from index_data.indexes.kinds import Setting
from train.errors import DamagedError, SettingsError

NEARLY = 1.25  # times a measured k
EXACT = 1.0  # an accuracy that only a comparison with all vectors has
BELOW_EXACT = 1 - 1e-9  # as much as an index may have of itself


@dataclass(frozen=True)
class Point:
    """What was measured of one setting."""

    setting: Setting
    recall: float  # share of the exact k nearest neighbours that are found
    p50_ms: float  # of a search for one picture, by one thread
    p95_ms: float


@dataclass(frozen=True)
class Weight:
    """How much more has to be looked at where the query's halves are weighed otherwise (index_data/weighting.py)."""

    beta: float
    times: float | None  # of the effort; None: nothing but a comparison with all vectors finds enough


def times_for(weights: Sequence[Weight], beta: float) -> float | None:
    """How much more to look at for any weight: as much as the more demanding of the measured ones around it.

    Args:
        weights: Measured ones, rising; 1, the weight of the index, takes no more than its own effort.
        beta: Of a query.
    """
    if not weights and beta != AS_INDEXED:
        return None  # nothing was measured
    known = sorted([*weights, Weight(AS_INDEXED, 1.0)], key=lambda weight: weight.beta)
    place = bisect.bisect_left([weight.beta for weight in known], beta)
    around = (
        known[max(place - 1, 0) : place + 1] if place == len(known) or known[place].beta != beta else [known[place]]
    )
    times = [weight.times for weight in around]
    return None if None in times else max(each for each in times if each is not None)


@dataclass(frozen=True)
class Curve:
    """Points worth having, each with more recall and more time than the one before, for a few numbers of neighbours."""

    points: Mapping[int, tuple[Point, ...]]  # by k

    def at(self, k: int) -> tuple[Point, ...]:
        """The points of the smallest measured k that is not much smaller than `k`; of the largest where none is.

        Whoever wants ten neighbours asks for twelve, to leave out the query and to see ties: that is ten still.
        """
        known = sorted(self.points)
        return self.points[known[min(bisect.bisect_left(known, k / NEARLY), len(known) - 1)]]

    def fastest(self, k: int, recall: float) -> Point | None:
        """The fastest point that has a recall; None where none has."""
        return next((point for point in self.at(k) if point.recall >= recall), None)

    def setting_for(self, k: int, accuracy: float) -> Setting | None:
        """How to search for k neighbours with an accuracy; None: nothing but a comparison with all vectors has it.

        Args:
            k: Neighbours that are wanted; beyond the largest that was measured, more is looked at in proportion.
            accuracy: Recall that is asked for, 0 to 1.

        Raises:
            SettingsError: It is not from 0 to 1.
        """
        expect_accuracy(accuracy)
        point = self.fastest(k, accuracy) if accuracy < EXACT else None
        if point is None:
            return None
        return point.setting.scaled(max(1.0, k / max(self.points)))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {str(k): [asdict(point) for point in points] for k, points in self.points.items()}

    @classmethod
    def from_json(cls, stored: Any) -> "Curve":
        """Read what `to_json` gave.

        Raises:
            DamagedError: It is something else.
        """
        try:
            points = {
                int(k): tuple(Point(**{**point, "setting": Setting(**point["setting"])}) for point in row)
                for k, row in stored.items()
            }
            if not points or not all(points.values()):
                raise ValueError("it has no points")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"the curve of the index is damaged ({error}).") from error
        return cls(points)


def expect_accuracy(accuracy: float) -> None:
    """Refuse what is no share.

    Raises:
        SettingsError: It is not from 0 to 1.
    """
    if not 0 <= accuracy <= 1:  # nor is NaN
        raise SettingsError(f"the accuracy is {accuracy}: it is a share of the exact neighbours, from 0 to 1.")


def worth_having(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other one beats in both recall and time, the fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.p50_ms, -each.recall)):
        if not best or point.recall > best[-1].recall:
            best.append(point)
    return tuple(best)
