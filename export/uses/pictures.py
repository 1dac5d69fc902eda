"""Pictures in, pictures out: what all uses of a bundle share.

Files are read and decoded as for a gallery (`train/decoding.py`), in worker processes and ahead of the model; one that
cannot be used is reported and counted, and the others go on.
"""

import io
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.bundle import Bundle
from export.sessions import Decoder, Encoder, Floats
from train.contact_sheet import CELL
from train.decoding import Decoded, DecodePool
from train.errors import (
    DiskError,
    ImageError,
    IncompatibleError,
    NothingFoundError,
    SettingsError,
    TooManyRejectedError,
)
from train.files import disk_errors, write_file
from train.images import FOLDER_LIMITS, FoundFile, OtherFileError, Pixels, find_files, looks_like_image, read_file
from train.interruption import StopRequest
from train.printable import printable
from train.progress import SILENT, Reporter

log = logging.getLogger(__name__)

MAX_BAD = 0.05  # share of the pictures that may be rejected before a command says that something is wrong
BATCH_PIXELS = 1 << 20  # of one call of the model: 64 pictures of 128 x 128
MOST_IN_A_BATCH = 128
LARGEST_CELL = 256  # px; side of a picture on a sheet
REPORTED = 100  # pictures that cannot be used are logged one by one up to here, all of them counted

PictureFormat = Literal["png", "jpg", "webp"]
PICTURE_FORMATS: dict[str, PictureFormat] = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"}
# Of what a model painted: PNG keeps every value, the others are for the eye.
_ENCODING: dict[PictureFormat, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {"compress_level": 3}),
    "jpg": ("JPEG", {"quality": 92}),
    "webp": ("WEBP", {"quality": 90, "method": 2}),
}
MAX_SIDE: dict[PictureFormat, int] = {"png": 65_500, "jpg": 65_500, "webp": 16_383}  # px, what the formats hold

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Picture:
    """A file that is to be read, and what it is called in what is written of it."""

    root: Path
    path: bytes  # relative to `root`, as `train.images.read_file` wants it
    named: bool = False  # by itself, not found in a folder: whatever it is, it is missed

    @property
    def name(self) -> str:
        """The path below the folder that was named, as text that any terminal and any file may hold."""
        return printable(self.path)

    @property
    def label(self) -> str:
        """The first part of its path: how folders of labelled pictures are laid out. Empty for a file beside them."""
        folder, slash, _ = self.path.partition(b"/")
        return printable(folder) if slash else ""

    @property
    def place(self) -> Path:
        """Where the file is."""
        return self.root / os.fsdecode(self.path)

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            ImageError: It is gone, no image, or cannot be read.
        """
        return read_file(self.root, self.path, FOLDER_LIMITS).data


def pictures_of(places: Sequence[Path], *, output: Path | None = None) -> list[Picture]:
    """The pictures that were named, one by one or as folders, in the order of their names within a folder.

    What is not meant to be an image is passed over in a folder; a file that was named is always tried.

    Args:
        places: Files and folders.
        output: A folder of results: where it lies below a folder of originals, what an earlier run wrote there is none.

    Raises:
        NothingFoundError: A folder holds no images.
    """
    found: dict[Picture, None] = {}  # each once, in order
    for place in places:
        if place.is_dir():
            found |= dict.fromkeys(_in_folder(place, _way_to(output, place)))
        else:
            found[Picture(place.parent, os.fsencode(place.name), named=True)] = None
    return list(found)


def _way_to(output: Path | None, folder: Path) -> bytes | None:
    """The way from a folder to the output below it, with a slash at its end; None where it is not below it."""
    if output is None or output.resolve() == folder.resolve() or not output.resolve().is_relative_to(folder.resolve()):
        return None
    return os.fsencode(output.resolve().relative_to(folder.resolve())) + b"/"


def _in_folder(folder: Path, without: bytes | None) -> list[Picture]:
    pictures = []
    for found in find_files(folder):
        if without is not None and found.path.startswith(without):
            continue
        if isinstance(found, FoundFile):
            # A file without an extension may be one: that is seen when it is read.
            if looks_like_image(found.path, b"") or b"." not in found.path.rpartition(b"/")[2]:
                pictures.append(Picture(folder, found.path))
        elif found.code != "not_a_file" or looks_like_image(found.path, b""):
            log.warning("%s is passed over: %s", printable(found.path), found.detail)
    if not pictures:
        raise NothingFoundError(
            f"{printable(os.fsencode(folder))} has no images: give a folder with JPEG, PNG, WebP, GIF, BMP, TIFF or "
            "AVIF files that this user may read."
        )
    return sorted(pictures)


# --- What became of them ------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of the pictures of one run."""

    good: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # by code
    problems: list[dict[str, str]] = field(default_factory=list)  # the first `REPORTED`

    def refuse(self, picture: Picture, error: ImageError) -> None:
        """Report a picture that cannot be used, and count it."""
        if isinstance(error, OtherFileError) and not picture.named:
            return  # a file of the folder that was no image after all
        code = error.problem.code
        self.rejected[code] += 1
        if len(self.problems) < REPORTED:
            self.problems.append({"file": picture.name, "code": code, "detail": error.detail})
            log.warning("%s: %s", picture.name, error.detail)
        elif len(self.problems) == REPORTED and sum(self.rejected.values()) == REPORTED + 1:
            log.warning("More than %d pictures cannot be used: the others are only counted.", REPORTED)

    @property
    def bad(self) -> int:
        """Pictures that cannot be used."""
        return sum(self.rejected.values())

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"pictures": self.good, "rejected": dict(self.rejected), "problems": self.problems}

    def judge(self, max_bad: float = MAX_BAD) -> None:
        """Raise what a command has to end with, although everything good is done.

        Raises:
            NothingFoundError: Not one picture could be used.
            TooManyRejectedError: A larger share than `max_bad` was rejected.
        """
        reasons = ", ".join(f"{number:,} {code}" for code, number in self.rejected.items())
        if not self.good:
            raise NothingFoundError(f"no picture could be used ({reasons or 'none at all'}): the lines above say why.")
        if self.bad > max_bad * (self.bad + self.good):
            raise TooManyRejectedError(
                f"{self.bad:,} of {self.bad + self.good:,} pictures were rejected ({reasons}), more than "
                f"{max_bad:.0%}; all others are done. Mend or remove those files, or allow more with --max-bad."
            )


# --- The model ----------------------------------------------------------------------------------------------------


class Model:
    """Encoder and decoder of a bundle, in batches that suit its size."""

    def __init__(self, bundle: Bundle, encoder: Encoder | None, decoder: Decoder | None) -> None:
        self.bundle = bundle
        self._encoder = encoder
        self._decoder = decoder

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        *,
        provider: str = "auto",
        threads: int | None = None,
        encoder: bool = True,
        decoder: bool = True,
    ) -> "Model":
        """Open the graphs that are needed.

        Raises:
            IncompatibleError: A decoder is needed, and the model has none.
            SettingsError: The execution provider does not work here.
            DamagedError: A graph is not what was written.
        """
        if decoder and not bundle.has_decoder:
            raise IncompatibleError(
                f"the model {bundle.folder} only encodes, as other people's encoders do: it paints nothing. Use one "
                "that `lookalike train` made.",
                code="no_decoder",
            )
        return cls(
            bundle,
            Encoder.open(bundle, provider=provider, threads=threads) if encoder else None,
            Decoder.open(bundle, provider=provider, threads=threads) if decoder else None,
        )

    @property
    def size(self) -> int:
        """Side of the model's square, pixels."""
        return self.bundle.preprocessing.size

    @property
    def batch(self) -> int:
        """Pictures in one call."""
        return max(1, min(MOST_IN_A_BATCH, BATCH_PIXELS // self.size**2))

    @property
    def sentence(self) -> str:
        """Which execution provider was asked for, and which was taken."""
        graph = self._encoder or self._decoder
        assert graph is not None  # noqa: S101  (one of them is always open)
        said = f"Execution provider: {graph.provider} (asked for: {graph.asked})."
        return f"{said} {graph.degraded}" if graph.degraded else said

    def encode(self, pixels: Pixels) -> Floats:
        """Latents of pictures, (n, size, size, 3) -> (n, latent_dims); a broken model may give NaN."""
        assert self._encoder is not None  # noqa: S101
        return self._encoder.encode(pixels).latents

    def decode(self, latents: Floats) -> Pixels:
        """Paint latents, (n, latent_dims) -> (n, size, size, 3), in batches."""
        assert self._decoder is not None  # noqa: S101
        starts = range(0, len(latents), self.batch)
        painted = [self._decoder.decode(latents[start : start + self.batch]) for start in starts]
        return np.concatenate(painted) if painted else np.zeros((0, self.size, self.size, 3), np.uint8)

    def errors(self, pixels: Pixels, painted: Pixels) -> NDArray[np.float64]:
        """Mean squared error of each picture, (n,), values from 0 to 1: as training measured it.

        A model of greys is compared with the picture in greys.
        """
        if self.bundle.facts.channels == 1:
            pixels = greys(pixels)
        return squared_errors(pixels, painted)


def greys(pixels: Pixels) -> Pixels:
    """Pictures as shades of grey, with three equal channels: the weights of ITU-R BT.601, as in training."""
    shades = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(np.round(shades).astype(np.uint8)[..., None], 3, axis=-1)


def squared_errors(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    """Mean squared difference of pictures (n, h, w, 3), one by one, of values from 0 to 1."""
    difference = (a.astype(np.float32) - b.astype(np.float32)) / 255
    errors: NDArray[np.float64] = np.square(difference, dtype=np.float64).mean(axis=(1, 2, 3))
    return errors


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in decibels; 100 for equal pictures, whose ratio is infinite."""
    return -10 * math.log10(max(mse, 1e-10))


@dataclass(frozen=True)
class Seen:
    """A batch of pictures and what the model makes of them; row for row."""

    pictures: list[Picture]
    decoded: list[Decoded]
    pixels: Pixels  # (n, size, size, 3)
    latents: Floats  # (n, latent_dims), all finite


def see(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    tally: Tally,
    *,
    name: str,
    thumbnail: int | None = None,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
    saved: str = "Nothing was written.",
) -> Iterator[Seen]:
    """Read, fit and encode pictures, batch after batch.

    Args:
        model: With its encoder.
        pool: Decodes, ahead of the model.
        pictures: In the order in which they come out.
        tally: Told of those that cannot be used, and of how many are good.
        name: Of the task, for the progress.
        thumbnail: Pixels of the longer side, if one is wanted.
        reporter: Shows the progress.
        stop: Looked at between two batches.
        saved: What is said where the user stops it.
    """
    sources = ((picture, picture.read) for picture in pictures)
    outcomes = pool.map_fit(
        sources, model.bundle.preprocessing, thumbnail=thumbnail, in_advance=max(2 * model.batch, pool.workers)
    )
    with reporter.task(name, total=len(pictures), unit="pictures") as task:
        for batch in in_batches(outcomes, model.batch):
            if stop is not None:
                stop.raise_if_set(saved)
            before = tally.bad
            seen = _encoded(model, batch, tally)
            if seen is not None:
                tally.good += len(seen.pictures)
                yield seen
            task.advance(len(batch), rejected=tally.bad - before)


def _encoded(model: Model, batch: Sequence[tuple[Picture, Decoded | ImageError]], tally: Tally) -> Seen | None:
    good: list[tuple[Picture, Decoded]] = []
    for picture, outcome in batch:
        if isinstance(outcome, ImageError):
            tally.refuse(picture, outcome)
        else:
            good.append((picture, outcome))
    if not good:
        return None
    pixels = np.stack([decoded.pixels for _, decoded in good])
    latents = model.encode(pixels)
    finite = np.asarray(np.isfinite(latents).all(axis=1), np.bool_)
    for row in np.flatnonzero(~finite):
        tally.refuse(good[row][0], no_code())
    kept = [pair for pair, usable in zip(good, finite, strict=True) if usable]
    if not kept:
        return None
    return Seen([picture for picture, _ in kept], [decoded for _, decoded in kept], pixels[finite], latents[finite])


def no_code() -> ImageError:
    """What is said of a picture for which the model gives NaN."""
    return ImageError("The model gives no finite code for it.", code="bad_embedding")


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size`, the last one shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


# --- Writing ------------------------------------------------------------------------------------------------------


def encode_picture(pixels: Pixels, picture_format: PictureFormat) -> bytes:
    """The bytes of an image file of pixels (h, w, 3).

    Raises:
        ImageError: The format does not hold a picture of that size.
    """
    if max(pixels.shape[:2]) > MAX_SIDE[picture_format]:
        raise ImageError(
            f"It has {pixels.shape[1]} x {pixels.shape[0]} pixels, and {picture_format} holds at most "
            f"{MAX_SIDE[picture_format]:,} a side: write PNG.",
            code="too_many_pixels",
        )
    buffer = io.BytesIO()
    name, settings = _ENCODING[picture_format]
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, name, **settings)
    return buffer.getvalue()


def is_folder(output: str) -> bool:
    """Whether `-o` means a folder: it ends in a slash, is one, or has no extension."""
    return output.endswith(os.sep) or Path(output).is_dir() or not Path(output).suffix


def format_of(output: Path, formats: Iterable[str] = PICTURE_FORMATS) -> str:
    """The extension of a file to be written, in small letters.

    Raises:
        SettingsError: It is none of `formats`.
    """
    suffix = output.suffix.lower()
    known = list(formats)
    if suffix not in known:
        raise SettingsError(f"{output} would be a {suffix or 'file without extension'}: name it {', '.join(known)}.")
    return suffix


def cell_of(size: int) -> int:
    """Side of a picture of `size` pixels on a sheet: small ones are enlarged by whole numbers."""
    return min(LARGEST_CELL, size if size >= CELL else size * -(-CELL // size))


def expect_free(targets: Sequence[Path], *, force: bool, originals: Iterable[Picture] = ()) -> None:
    """Refuse to write where something stands, before any work is done.

    Args:
        targets: Files that would be written.
        force: What was written before may be written over; an original never.
        originals: Pictures that are read.

    Raises:
        SettingsError: A target is there, or is an original.
    """
    there = [target for target in targets if os.path.lexists(target)]
    if not there:
        return
    kept = {identity for picture in originals if (identity := _identity(picture.place)) is not None}
    for target in there:
        if _identity(target) in kept:
            raise SettingsError(
                f"{target} is a picture that is read: an original is never written over. Choose another."
            )
        if target.is_dir():
            raise SettingsError(f"{target} is a folder, where a file would be written: choose another place.")
    if not force:
        more = f" and {len(there) - 1:,} more" if len(there) > 1 else ""
        verb = "are" if more else "is"
        raise SettingsError(f"{there[0]}{more} {verb} there already: choose another place, or write over with --force.")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def names_below(names: Sequence[str], suffix: str) -> list[str]:
    """Names of what is written of some pictures, each once: the same path with another extension.

    Where two would be the same (a.jpg and a.png), all but the first keep their own extension too, and where that does
    not help are numbered.
    """
    taken: set[str] = set()
    found = []
    for name in names:
        folder, slash, file = name.rpartition("/")
        stem = file.rpartition(".")[0] or file
        candidates = _candidates(f"{folder}{slash}", stem, file, suffix)
        chosen = next(each for each in candidates if each.casefold() not in taken)
        taken.add(chosen.casefold())
        found.append(chosen)
    return found


def _candidates(folder: str, stem: str, file: str, suffix: str) -> Iterator[str]:
    yield f"{folder}{stem}{suffix}"
    yield f"{folder}{file}{suffix}"
    number = 2
    while True:
        yield f"{folder}{stem}-{number}{suffix}"
        number += 1


def write_picture(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, and make the folders that it lies in.

    Raises:
        DiskError: The disk is full, may not be written, or a file stands where a folder is needed.
    """
    try:
        write_file(target, content, durable=False)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DiskError(f"{target} cannot be written ({error.strerror}): choose another folder.") from error
    except OSError as error:  # such as a name that is too long for this disk
        raise DiskError(f"{target} cannot be written ({error.strerror}): choose another place.") from error


def expect_place(target: Path) -> None:
    """Make the folder of a file that will take long to make, so that a bad place is refused at once.

    Raises:
        DiskError: It cannot be made.
    """
    try:
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{target} cannot be written ({error.strerror}): choose another place.") from error
