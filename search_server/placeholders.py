"""A tiny blurred likeness of a picture, guessed from its code: what a page can show until the thumbnail is there.

A code says roughly where a picture is bright and of which colour. So a linear map from codes to 4 x 4 pixels, fitted to
some of a gallery's thumbnails, gives every other picture's likeness from what is stored already, for any model.
"""

import base64
import logging
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index_data.analyses import NotComputedError, read_analysis, write_analysis
from index_data.gallery import Gallery, Vectors
from index_data.generations import Ids
from search_server.galleries import ServedGallery
from train.decoding import BusyError, DecodePool
from train.errors import ImageError, UserError
from train.images import Pixels

logger = logging.getLogger(__name__)

KEPT = "placeholders"  # name of the file in the gallery's folder of analyses
SIDE = 4  # pixels
SAMPLE = 600  # thumbnails that the map is fitted to
FEWEST = 24  # with fewer there is nothing to fit
RIDGE = 0.05  # for each thumbnail: directions that hardly differ say nothing
BUSY_SECONDS = 1.0  # where others need the decoders
_SEED = 4
# A bitmap without a palette: rows from the bottom up, each pixel blue, green, red; rows of 12 bytes need no filling.
_HEAD = struct.pack(
    "<2sIHHIIiiHHIIiiII", b"BM", 54 + SIDE * SIDE * 3, 0, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0
)


@dataclass(frozen=True)
class Likeness:
    """A linear map from codes to small pictures."""

    model_id: str
    mean: Vectors  # (latent_dims,)
    deviation: Vectors  # (latent_dims,)
    weights: NDArray[np.float32]  # (latent_dims + 1, SIDE * SIDE * 3): the last row is the average picture

    def of(self, latents: Vectors) -> Pixels:
        """Small pictures, (n, SIDE, SIDE, 3)."""
        guessed = (latents - self.mean) / self.deviation @ self.weights[:-1] + self.weights[-1]
        small: Pixels = np.clip(guessed, 0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
        return small


def sample_of(gallery: Gallery) -> Ids:
    """Ids of the items whose thumbnails are looked at: all of a small gallery, the same random ones of a large one."""
    ids = gallery.item_ids()
    return ids if len(ids) <= SAMPLE else np.sort(np.random.default_rng(_SEED).choice(ids, SAMPLE, replace=False))


def fit_likeness(gallery: Gallery, pool: DecodePool, ended: threading.Event) -> Likeness | None:
    """Fit the map of a gallery's model to some of its thumbnails; None where there are too few, or when it has `ended`.

    Source: ridge regression, as in Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), 3.4.1.
    """
    seen: dict[int, NDArray[np.float32]] = {}
    for item in gallery.items_by_id(sample_of(gallery).tolist()):
        if ended.is_set():
            return None
        small = small_picture(gallery, item.sha256, pool, ended)
        if small is not None:
            seen[item.id] = small
    if len(seen) < FEWEST:
        return None
    latents, pictures = gallery.latents(list(seen)), np.stack(list(seen.values()))
    mean, deviation = latents.mean(axis=0), latents.std(axis=0) + np.float32(1e-6)
    spread = ((latents - mean) / deviation).astype(np.float64)
    average = pictures.mean(axis=0)
    kept = spread.T @ spread + RIDGE * len(seen) * np.eye(spread.shape[1])
    weights = np.linalg.solve(kept, spread.T @ (pictures - average))
    return Likeness(gallery.model_id, mean, deviation, np.vstack([weights, average]).astype(np.float32))


def small_picture(
    gallery: Gallery, sha256: str, pool: DecodePool, ended: threading.Event
) -> NDArray[np.float32] | None:
    """A thumbnail in `SIDE` x `SIDE` pixels, (SIDE * SIDE * 3,); None where it is missing or cannot be read."""
    thumbnail = gallery.thumbnail(sha256)
    while thumbnail is not None:
        try:
            picture = Image.fromarray(pool.pixels(thumbnail))
            return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
        except BusyError:
            if ended.wait(BUSY_SECONDS):
                return None
        except ImageError:
            return None
    return None


def keep_likeness(gallery: Gallery, likeness: Likeness) -> None:
    """Write the map down beside the gallery's index, so that the next server has it from its first answer on.

    Raises:
        DiskError: The disk is full.
    """
    arrays = {"mean": likeness.mean, "deviation": likeness.deviation, "weights": likeness.weights}
    write_analysis(gallery, KEPT, gallery.seq, {"side": SIDE}, **arrays)


def kept_likeness(gallery: Gallery) -> Likeness | None:
    """The map that was written down for the gallery's model; None where there is none that can be used."""
    try:
        analysis = read_analysis(gallery, KEPT)
    except NotComputedError:
        return None
    mean, deviation, weights = (analysis.arrays.get(name) for name in ("mean", "deviation", "weights"))
    if mean is None or deviation is None or weights is None or mean.ndim != 1:
        return None
    fits = deviation.shape == mean.shape and weights.shape == (len(mean) + 1, SIDE * SIDE * 3)
    return Likeness(gallery.model_id, mean, deviation, weights) if fits else None


def data_uri_of(small: Pixels) -> str:
    """A small picture as an address that holds it: a bitmap, because its head is the same for all."""
    bitmap = _HEAD + small[::-1, :, ::-1].tobytes()
    return f"data:image/bmp;base64,{base64.b64encode(bitmap).decode()}"


class Placeholders:
    """The maps of all galleries: what was never fitted is when it is asked for, while the answers go without."""

    def __init__(self, pool: DecodePool) -> None:
        """Fit nothing yet.

        Args:
            pool: Decodes the thumbnails.
        """
        self._pool = pool
        self._known: dict[str, Likeness | None] = {}  # by name of the gallery; None: it is being fitted, or cannot be
        self._tried: dict[str, tuple[str, int]] = {}  # model and items when it was
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def of(self, served: ServedGallery, ids: Sequence[int]) -> dict[int, str]:
        """Placeholders of some items as data: URIs; of none where the map is not fitted yet."""
        likeness = self._likeness(served)
        if likeness is None or not ids:
            return {}
        try:
            small = likeness.of(served.gallery.latents(ids))
        except UserError:
            return {}  # one left meanwhile, or is damaged: whoever needs it says so
        return {number: data_uri_of(picture) for number, picture in zip(ids, small, strict=True)}

    def close(self) -> None:
        """Fit no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _likeness(self, served: ServedGallery) -> Likeness | None:
        gallery = served.gallery
        with self._lock:
            known = self._known.get(served.name)
            if known is not None and known.model_id == gallery.model_id:
                return known
            model, items = self._tried.get(served.name, ("", 0))
            # Again for another model, and where there were too few pictures.
            if (model == gallery.model_id and gallery.count < 2 * items + FEWEST) or self._ended.is_set():
                return None
            self._tried[served.name] = (gallery.model_id, gallery.count)
            self._known[served.name] = kept = kept_likeness(gallery)
            if kept is not None:
                return kept
            thread = threading.Thread(target=self._fit, args=(served,), name="placeholders", daemon=True)
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()
            return None

    def _fit(self, served: ServedGallery) -> None:
        try:
            likeness = fit_likeness(served.gallery, self._pool, self._ended)
            with self._lock:
                self._known[served.name] = likeness
            if likeness is not None and likeness.model_id == served.gallery.model_id:
                keep_likeness(served.gallery, likeness)
        except UserError as error:
            logger.warning("gallery %s: no placeholders: %s", served.name, error.detail)
        except Exception:  # a page without them is a page all the same
            logger.exception("gallery %s: no placeholders", served.name)
