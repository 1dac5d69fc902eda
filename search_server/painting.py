"""What the decoder paints: reconstructions of pictures, and morphs between two."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.bundle import Bundle
from export.sessions import Decoder
from search_server.galleries import ServedGallery
from search_server.morphing import scale, side_by_side
from search_server.problems import InvalidRequest
from search_server.service import Service
from search_server.stopwatch import stage
from search_server.subjects import Subject, pixels_of
from train.decoding import BusyError
from train.errors import IncompatibleError, UserError
from train.images import Pixels

# Frames are held in memory while they are laid into a file, so only so many morphs are made at once.
MORPHS_AT_ONCE = 2
STRANGE = 99.0  # percentile of a reconstruction's error
LARGEST_NUMBER = 1e30  # of a code: what is computed between two of them still fits into 32 bits
WAIT_SECONDS = 5.0
_morphs = threading.BoundedSemaphore(MORPHS_AT_ONCE)


class NoDecoderError(IncompatibleError):
    """The model of the gallery only encodes."""

    code = "no_decoder"


@dataclass(frozen=True)
class Reconstruction:
    """A picture at the model's size, and what the decoder makes of its code."""

    original: Pixels  # (size, size, 3)
    painted: Pixels  # (size, size, 3)

    @property
    def mse(self) -> float:
        """Mean squared difference of values from 0 to 1."""
        difference = (self.original.astype(np.float32) - self.painted.astype(np.float32)) / 255
        return float(np.square(difference).mean())

    def image(self, side: int | None = None, *, pair: bool = False) -> Image.Image:
        """The painted picture, alone or to the right of the original."""
        side = side or self.painted.shape[0]
        painted = scale(self.painted, side)
        return side_by_side([scale(self.original, side), painted]) if pair else painted


def decoder_of(served: ServedGallery) -> Decoder:
    """The decoder of a gallery's model.

    Raises:
        NoDecoderError: It has none.
    """
    decoder = served.engine.decoder
    if decoder is None:
        raise NoDecoderError(
            f"the model of the gallery {served.name} only encodes: search works, morphs and reconstructions do not."
        )
    return decoder


def decode(served: ServedGallery, latents: NDArray[np.float32]) -> Pixels:
    """Paint latents, (n, dims) -> (n, size, size, 3)."""
    decoder = decoder_of(served)
    with stage("paint"):
        return decoder.decode(latents)


def error_percentile(bundle: Bundle, mse: float) -> float | None:
    """Share of the pictures held out in training, in percent, that the model paints better; None where none were.

    Above `STRANGE` a picture is hardly of the kind that the model learned.
    """
    known = bundle.error_quantiles
    if not known:
        return None
    shares, errors = zip((0.0, 0.0), *known, strict=True)
    return round(100 * float(np.interp(mse, errors, shares)), 1)


def as_latents(served: ServedGallery, codes: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Codes that a client sent as what the gallery's decoder takes, (n, latent_dims).

    Raises:
        UserError: One has another length (dimension_mismatch).
        InvalidRequest: A number is larger than any that a model gives.
    """
    wanted = served.engine.bundle.latent_dims
    for code in codes:
        if len(code) != wanted:
            raise UserError(
                f"a code has {len(code)} numbers, but those of the gallery {served.name} have {wanted}.",
                code="dimension_mismatch",
            )
    latents = np.array(codes, np.float64)
    if np.abs(latents).max() > LARGEST_NUMBER:
        raise InvalidRequest(f"a code has a number that is too large: at most {LARGEST_NUMBER:g} is painted.")
    return latents.astype(np.float32)


def reconstruct(service: Service, served: ServedGallery, subject: Subject) -> Reconstruction:
    """What the model sees of a picture."""
    painted = decode(served, subject.latent[None])[0]
    return Reconstruction(pixels_of(service, served, subject), painted)


@contextmanager
def morph_place() -> Iterator[None]:
    """Wait for a place to make a morph in.

    Raises:
        BusyError: None became free in time.
    """
    if not _morphs.acquire(timeout=WAIT_SECONDS):
        raise BusyError(f"{MORPHS_AT_ONCE} morphs are being made: try again in a moment.")
    try:
        yield
    finally:
        _morphs.release()
