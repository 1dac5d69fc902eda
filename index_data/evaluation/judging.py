"""How much like a real picture a painted one is, in the eyes of a model that had no part in painting it."""

import numpy as np
from PIL import Image

from index_data.evaluation.methods import ModelMethod
from index_data.evaluation.ranking import Floats, unit
from train.images import Pixels


class Judge:
    """Another model, and what it says of real pictures.

    Args:
        model: Its encoder.
        real: Pictures as it takes them, (n, size, size, 3).
    """

    def __init__(self, model: ModelMethod, real: Pixels) -> None:
        self.name = model.name
        self._model = model
        self._real = unit(model.vectors({model.size: real}))

    def nearness(self, painted: Pixels, without: tuple[int, ...]) -> Floats:
        """The cosine of pictures (n, h, w, 3) to the nearest real one, but for those with these numbers: (n,)."""
        size = self._model.size
        fitted = np.stack(
            [np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.LANCZOS)) for each in painted]
        )
        cosines = unit(self._model.vectors({size: fitted})) @ self._real.T
        cosines[:, list(without)] = -1.0
        nearest: Floats = cosines.max(axis=1)
        return nearest
