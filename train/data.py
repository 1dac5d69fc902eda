"""The training images and their division into those that are learnt from, chosen by, and measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.errors import SettingsError
from train.image_cache import ImageCache, split
from train.images import Pixels
from train.recipe import DataSettings

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """The images and their division."""

    images: Pixels
    train: Rows
    validation: Rows
    test: Rows

    @classmethod
    def of(cls, cache: ImageCache, settings: DataSettings) -> "Data":
        """Divide the images of a cache: official test images stay that, the others are divided by their content.

        Raises:
            SettingsError: None of the images has one of the labels that were asked for.
        """
        kept = cache.rows_of(settings.classes)
        if settings.classes and not kept:
            raise SettingsError(
                f"no image has a label of data.classes, {', '.join(settings.classes)}: there are "
                f"{', '.join(sorted(set(cache.labels()))[:20])}."
            )
        hashes, official = cache.hashes(), cache.splits()
        test = [row for row in kept if official[row] == "test"]
        rest = [row for row in kept if official[row] != "test"]
        share = 0.0 if test else settings.test_share
        learnt, validation, drawn = split([hashes[row] for row in rest], settings.validation_share, share)
        pick = np.array(rest, np.int64)
        learning = evenly(pick[learnt], settings.most) if settings.most else pick[learnt]
        return cls(cache.pixels(), learning, pick[validation], np.array(test, np.int64) if test else pick[drawn])

    def tensor(self, rows: Rows, device: torch.device) -> Tensor:
        """Images as (n, 3, h, w) in [0, 1]; being (n, h, w, 3) in memory they are channels_last as they are."""
        return torch.from_numpy(self.images[rows]).to(device).permute(0, 3, 1, 2).float().div_(255)


def evenly(rows: Rows, limit: int) -> Rows:
    """At most `limit` of the rows, evenly spaced."""
    return rows if len(rows) <= limit else rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]


def batches(rows: Rows, size: int = 128) -> Sequence[Rows]:
    """The rows in parts."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
