"""[semantic] of a recipe: what the semantic half is to be invariant to, and how its trunk is trained without labels."""

from dataclasses import dataclass
from typing import Literal

from train.errors import SettingsError
from train.views import VIEWS, Invariance, Views

# On 1,000 photos a map without whitening finds best, on 50,000 small images one with (docs/decisions/0007).
WHITENING: dict[Invariance, float] = {"semantic": 1.0, "balanced": 0.0, "copy": 0.0}

# On kinds of things the nearest of 256 numbers are worth keeping in fewer; on photos the closed form finds better.
NEIGHBOURS: dict[Invariance, int] = {"semantic": 256, "balanced": 0, "copy": 0}


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Settings of the semantic half; those of training matter where there is a trunk."""

    invariance: Invariance = "balanced"  # semantic: also to colours; balanced: to light; copy: to what copying does
    whitening: float | None = None  # 0 to 1: how alike all directions count; None: what suits the invariance
    neighbours: int | None = None  # numbers of the closed form whose neighbours the half keeps; 0: none
    objective: Literal["contrast", "bootstrap"] = "contrast"  # see train/trunk_learner.py
    views: int = 2  # strong views of an image in a step
    weak: bool = False  # and one weak view: the picture as a user brings it
    batch: int = 256
    epochs: int = 100  # of the trunk, where there is no budget of minutes; 0: it stays as a warm start brought it
    share: float = 0.75  # of the minutes, where there is one
    learning_rate: float = 2e-3  # peak, of AdamW; one cycle of a cosine behind a warm-up
    weight_decay: float = 1e-3
    warm_up: float = 0.05  # share of the steps
    temperature: float = 0.15  # of the contrast
    spread: float = 0.05  # weight of the log-determinant of the projections (bootstrap)
    distance: float = 0.05  # weight of the distance to the nearest other image (bootstrap)
    averaging: float = 0.99  # of the target network at first (bootstrap), rising to 1

    def __post_init__(self) -> None:
        if self.whitening is not None and not 0 <= self.whitening <= 1:
            raise SettingsError(f"semantic.whitening is {self.whitening}: it must be from 0 to 1.")
        if self.neighbours is not None and self.neighbours < 0:
            raise SettingsError(f"semantic.neighbours is {self.neighbours}: it must be 0 or more.")
        if self.views + self.weak < 2 or self.batch < 2:
            raise SettingsError("semantic.views and semantic.batch must be 2 or more: views are compared.")
        if not 0 < self.share < 1:
            raise SettingsError(f"semantic.share is {self.share}: it must be between 0 and 1.")
        if self.epochs < 0:
            raise SettingsError(f"semantic.epochs is {self.epochs}: it must be 0 or more.")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"semantic.{name} is {getattr(self, name)}: it must be more than 0.")

    @property
    def augmentation(self) -> Views:
        """The strong views."""
        return VIEWS[self.invariance]

    @property
    def whitening_power(self) -> float:
        """The whitening, chosen."""
        return WHITENING[self.invariance] if self.whitening is None else self.whitening

    @property
    def neighbours_kept(self) -> int:
        """The numbers whose neighbours are kept, chosen."""
        return NEIGHBOURS[self.invariance] if self.neighbours is None else self.neighbours
