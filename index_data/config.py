"""Settings of a run that adds to a gallery, and what a search may ask for."""

import os
from dataclasses import dataclass

from train.errors import SettingsError

MAX_BATCH = 256  # images: the most work that a kill may cost


@dataclass(frozen=True, kw_only=True)
class AddSettings:
    """How a run works; what it finds does not depend on it."""

    provider: str = "auto"  # execution provider that is asked for
    workers: int = len(os.sched_getaffinity(0))  # processes that decode
    batch: int = 128  # images that are embedded and committed together
    retry: bool = False  # look again at files that were rejected before and have not changed

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MAX_BATCH:
            raise SettingsError(f"the batch is {self.batch}, but it must be from 1 to {MAX_BATCH} images.")
        if self.workers < 1:
            raise SettingsError(f"there are to be {self.workers} workers, but it takes at least 1.")


@dataclass(frozen=True, kw_only=True)
class BuildAims:
    """What an index shall reach (index_data/indexes/choosing.py). The memory is kept; of the others what can be had."""

    recall: float = 0.99  # share of the ten nearest that are found
    latency_ms: float = 5.0  # of a search by one thread, in the median, below which everything is compared
    memory: int | None = None  # bytes; None: no limit
    kind: str | None = None  # instead of a choice


MAX_BAD = 0.05  # share of the images that may be rejected before a command says that something is wrong

# Weight of the pixel half of a query (index_data/weighting.py). With the usual alpha of .25 the pixel half is 6 % of a
# score as indexed, 86 % at 100 and 98 % at 1000.
AS_INDEXED = 1.0
MAX_BETA = 1000.0

MAX_WEIGHT = 100.0  # of one picture in a query of several (index_data/queries.py)

TIE_DECIMALS = 6  # scores that differ by less are rounding: the lower id stands first
