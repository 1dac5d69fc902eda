"""What is stored of a choice beside its index: kind, aims, what was compared, the curve. Written and read here."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from index_data.config import AS_INDEXED
from index_data.indexes.choosing import Aims, Choice, Trial
from index_data.indexes.curve import BELOW_EXACT, Curve, Weight, expect_accuracy, times_for
from index_data.indexes.kinds import FLAT, KINDS, Setting
from index_data.indexes.vectors import PRECISIONS, Precision, StoredVectors
from train.errors import DamagedError


@dataclass(frozen=True, kw_only=True)
class IndexRecord:
    """All that is known of an index."""

    kind: str
    count: int
    dims: int
    precision: Precision
    memory: int  # bytes that have to be in memory
    exact_ms: float | None
    setting: Setting  # of searches that ask for nothing else
    aims: Aims
    sampled: int
    trials: tuple[Trial, ...]
    reasons: tuple[str, ...]
    curve: Curve | None
    weights: tuple[Weight, ...] = ()  # empty: embeddings of one part

    @classmethod
    def of(cls, choice: Choice) -> "IndexRecord":
        """What there is to say of a choice."""
        vectors = choice.built.vectors
        return cls(
            kind=choice.built.kind.name,
            count=len(vectors),
            dims=vectors.dims,
            precision=vectors.precision,
            memory=choice.memory,
            exact_ms=choice.exact_ms,
            setting=choice.setting,
            aims=choice.aims,
            sampled=choice.sampled,
            trials=choice.trials,
            reasons=choice.reasons,
            curve=choice.curve,
            weights=choice.weights,
        )

    @classmethod
    def of_flat(cls, vectors: StoredVectors) -> "IndexRecord":
        """Of vectors that nothing was chosen for: they are all compared."""
        return cls(
            kind=FLAT.name,
            count=len(vectors),
            dims=vectors.dims,
            precision=vectors.precision,
            memory=FLAT.memory(vectors.dims, len(vectors), vectors.precision),
            exact_ms=None,
            setting=Setting(),
            aims=Aims(),
            sampled=0,
            trials=(),
            reasons=("Nothing was measured.",),
            curve=None,
        )

    def setting_for(self, k: int, accuracy: float | None, beta: float = AS_INDEXED) -> Setting | None:
        """How to search for k neighbours; None: by comparing all.

        Args:
            k: Neighbours that are wanted.
            accuracy: Recall that is asked for; None: the one that the index was chosen for, or what it comes near to.
            beta: How the query's halves are weighed.

        Raises:
            SettingsError: It is not from 0 to 1.
        """
        if accuracy is not None:
            expect_accuracy(accuracy)
        if self.curve is None or self.kind == FLAT.name:
            return None
        if accuracy is None:
            accuracy = min(self.aims.recall, self.curve.at(k)[-1].recall, BELOW_EXACT)
        setting, times = self.curve.setting_for(k, accuracy), times_for(self.weights, beta)
        return None if setting is None or times is None else setting.scaled(times)

    def to_bytes(self) -> bytes:
        """As JSON."""
        plain = asdict(self) | {"curve": self.curve.to_json() if self.curve is not None else None}
        return json.dumps(plain, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "IndexRecord":
        """Read what `to_bytes` gave.

        Raises:
            DamagedError: It is something else.
        """
        try:
            stored: dict[str, Any] = json.loads(data)
            if stored["kind"] not in KINDS or stored["precision"] not in PRECISIONS:
                raise ValueError(f"it speaks of {stored['kind']}, {stored['precision']}")
            curve = stored.pop("curve")
            return cls(
                setting=Setting(**stored.pop("setting")),
                aims=Aims(**stored.pop("aims")),
                trials=tuple(
                    Trial(**{**trial, "setting": Setting(**trial["setting"])}) for trial in stored.pop("trials")
                ),
                reasons=tuple(stored.pop("reasons")),
                weights=tuple(Weight(**weight) for weight in stored.pop("weights")),
                curve=None if curve is None else Curve.from_json(curve),
                **stored,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"what is stored of the index is damaged ({error}).") from error
