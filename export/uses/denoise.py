"""Cleaned pictures: noise, lettering or boxes taken away by a model that was trained for it.

A fully convolutional model works at full resolution, tile by tile. Tiles overlap and fade into one another, so that no
seam shows, and reach beyond the picture's border, where it is mirrored: what a network does at the border of a tile is
never seen. Any other model sees the whole picture fitted to its square.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.uses.pictures import (
    Model,
    Picture,
    PictureFormat,
    Tally,
    encode_picture,
    expect_free,
    in_batches,
    names_below,
    no_code,
    see,
    write_picture,
)
from train.decoding import DecodePool
from train.errors import ImageError, SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

OVERLAP = 0.25  # of a tile's side
LARGEST_OVERLAP = 0.5
WHOLE_IN_ADVANCE = 2  # decoded pictures that wait: one of 200 megapixels has 600 MB

Floats = NDArray[np.float32]
Numbers = NDArray[np.intp]


@dataclass
class Denoised:
    """What was written."""

    tally: Tally = field(default_factory=Tally)
    files: list[Path] = field(default_factory=list)
    skipped: int = 0  # results that were there already


def expect_trained_for_it(bundle: Bundle) -> None:
    """Refuse a model that was never shown corrupted pictures.

    Raises:
        SettingsError: It would only blur them.
    """
    if not bundle.facts.removes:
        raise SettingsError(
            f"the model {bundle.folder} was not trained to remove anything: train one with a denoising recipe, such as "
            "`lookalike train --recipe lfw-denoise-512`, or use this one all the same with --anyway."
        )


def denoise(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    folder: Path,
    *,
    picture_format: PictureFormat = "png",
    overlap: float = OVERLAP,
    anyway: bool = False,
    force: bool = False,
    skip_existing: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Denoised:
    """Clean pictures and write them into a folder, each under the name of its original.

    Args:
        model: Encoder and decoder.
        pool: Decodes.
        pictures: What is read.
        folder: Where they go; made if it is not there.
        picture_format: Of the files.
        overlap: Of tiles, as a share of their side.
        anyway: Take a model that was not trained to remove anything.
        force: Write over earlier results; an original is never written over.
        skip_existing: Leave out pictures whose result is there: how an interrupted run goes on.
        reporter: Shows the progress.
        stop: Looked at between two pictures.

    Raises:
        SettingsError: The model was not trained for it, or something stands where a file would be written.
        Interrupted: The user asked to stop; what was written stays.
    """
    if not anyway:
        expect_trained_for_it(model.bundle)
    names = names_below([picture.name for picture in pictures], f".{picture_format}")
    targets = {picture: folder / name for picture, name in zip(pictures, names, strict=True)}
    result = Denoised()
    if skip_existing:
        left = {picture: target for picture, target in targets.items() if not os.path.lexists(target)}
        result.skipped, targets = len(targets) - len(left), left
    expect_free(list(targets.values()), force=force, originals=pictures)
    reporter.say(_sentence(model))
    cleaned = _tiled if model.bundle.facts.tileable else _fitted
    saved = "Finished pictures are kept. The same command with --skip-existing goes on from here."
    for picture, pixels in cleaned(model, pool, list(targets), overlap, result.tally, reporter, stop, saved):
        try:
            content = encode_picture(pixels, picture_format)
        except ImageError as error:
            result.tally.good -= 1
            result.tally.refuse(picture, error)
            continue
        write_picture(targets[picture], content)
        result.files.append(targets[picture])
    return result


def _sentence(model: Model) -> str:
    """What is about to happen, in one line."""
    facts = model.bundle.facts
    removes = f"trained to remove {', '.join(facts.removes)}" if facts.removes else "not trained to remove anything"
    grey = " It sees greys only, so the results are grey." if facts.channels == 1 else ""
    how = (
        f"full resolution, in tiles of {model.size} x {model.size} pixels"
        if facts.tileable
        else f"not fully convolutional, so every picture is fitted to {model.size} x {model.size} pixels"
    )
    return f"The model is {removes}; {how}.{grey}"


def _fitted(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    _overlap: float,
    tally: Tally,
    reporter: Reporter,
    stop: StopRequest | None,
    saved: str,
) -> Iterator[tuple[Picture, Pixels]]:
    """Pictures as the model's square."""
    for seen in see(model, pool, pictures, tally, name="Cleaning", reporter=reporter, stop=stop, saved=saved):
        yield from zip(seen.pictures, model.decode(seen.latents), strict=True)


def _tiled(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    overlap: float,
    tally: Tally,
    reporter: Reporter,
    stop: StopRequest | None,
    saved: str,
) -> Iterator[tuple[Picture, Pixels]]:
    """Pictures at their full size."""
    whole = pool.map(lambda picture: pool.pixels(picture.read()), pictures, in_advance=WHOLE_IN_ADVANCE)
    with reporter.task("Cleaning", total=len(pictures), unit="pictures") as task:
        for picture, pixels in whole:
            try:
                if isinstance(pixels, ImageError):
                    raise pixels
                cleaned = clean_by_tiles(model, pixels, overlap=overlap, stop=stop, saved=saved)
            except ImageError as error:
                tally.refuse(picture, error)
                task.advance(rejected=1)
                continue
            tally.good += 1
            yield picture, cleaned
            task.advance()


# --- Tiles --------------------------------------------------------------------------------------------------------


def clean_by_tiles(
    model: Model, pixels: Pixels, *, overlap: float = OVERLAP, stop: StopRequest | None = None, saved: str = ""
) -> Pixels:
    """Send a picture through a model in tiles that fade into one another.

    Memory beside the two pictures is a band as high as a tile: a row of tiles is added to it, and what no further tile
    reaches is written out.

    Args:
        model: Fully convolutional.
        pixels: (h, w, 3), of any size.
        overlap: Of neighbouring tiles, as a share of their side.
        stop: Looked at between two batches of tiles.
        saved: What is said where the user stops it.

    Returns:
        (h, w, 3).

    Raises:
        ImageError: The model gives no finite code for a part of it.
    """
    tile = model.size
    shared = min(max(1, round(tile * overlap)), tile // 2) if tile > 1 else 0
    down, across = Axis.of(pixels.shape[0], tile, shared), Axis.of(pixels.shape[1], tile, shared)
    window = fade(tile, shared)
    # The sum of all windows at a place is a product: rows and columns are laid out apart.
    shares = np.reciprocal(across.total(window), dtype=np.float32)
    cleaned = np.empty_like(pixels)
    band = np.zeros((tile, across.reach, 3), np.float32)
    done = 0  # rows of the reach that are finished
    heights = down.total(window)
    for number, top in enumerate(down.starts):
        following = down.starts[number + 1] if number + 1 < len(down.starts) else down.reach
        rows = pixels[down.source[top : top + tile]]
        for lefts in in_batches(across.starts, model.batch):
            if stop is not None:
                stop.raise_if_set(saved)
            tiles = np.stack([rows[:, across.source[left : left + tile]] for left in lefts])
            latents = model.encode(tiles)
            if not np.isfinite(latents).all():
                raise no_code()
            for left, painted in zip(lefts, model.decode(latents), strict=True):
                band[:, left : left + tile] += painted * (window[:, None, None] * window[None, :, None])
        weights = shares[None, :, None] / heights[done:following, None, None]
        finished = np.asarray(band[: following - top] * weights, np.float32)
        _put(cleaned, finished, done, down, across)
        band = np.concatenate([band[following - top :], np.zeros_like(band[: following - top])])
        done = following
    return cleaned


def _put(cleaned: Pixels, finished: Floats, top: int, down: "Axis", across: "Axis") -> None:
    """Write finished rows of the reach into the picture, without the mirrored margins."""
    first, last = max(top, down.margin), min(top + len(finished), down.margin + down.length)
    if first < last:
        inside = finished[first - top : last - top, across.margin : across.margin + across.length]
        cleaned[first - down.margin : last - down.margin] = np.clip(np.rint(inside), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Axis:
    """How tiles lie along one side of a picture."""

    length: int  # of the picture, pixels
    margin: int  # mirrored pixels before it
    reach: int  # with the mirrored pixels on both sides, at least a tile
    starts: list[int]  # of the tiles, in the reach
    source: Numbers  # (reach,): which pixel of the picture stands there

    @classmethod
    def of(cls, length: int, tile: int, overlap: int) -> "Axis":
        """Lay as few tiles as cover a side with its margins, evenly, so that neighbours share `overlap` or more."""
        margin = overlap // 2
        reach = max(tile, length + 2 * margin)
        count = 1 + -(-(reach - tile) // (tile - overlap))
        starts = np.rint(np.linspace(0, reach - tile, count)).astype(int).tolist()
        return cls(length, margin, reach, starts, mirrored(length, np.arange(reach) - margin))

    def total(self, window: Floats) -> Floats:
        """Sum of the windows of all tiles at each place of the reach, (reach,); above 0 wherever the picture is."""
        total = np.zeros(self.reach, np.float32)
        for start in self.starts:
            total[start : start + len(window)] += window
        return np.where(total > 0, total, np.float32(1))


def mirrored(length: int, places: Numbers) -> Numbers:
    """Which of `length` pixels stands at places before and behind them, as in a mirror: 2 1 | 0 1 2 | 1 0."""
    if length == 1:
        return np.zeros_like(places)
    period = 2 * (length - 1)
    folded = places % period
    return np.minimum(folded, period - folded)


def fade(tile: int, overlap: int) -> Floats:
    """Weights along the side of a tile, (tile,): nothing at its very ends, then a raised cosine, and 1 between.

    What a network paints at the border of a tile is its worst: a quarter of the overlap is not used at all.
    """
    unused = overlap // 4
    steps = overlap - 2 * unused
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(steps) + 0.5) / max(steps, 1))
    window = np.ones(tile, np.float32)
    window[:unused] = 0
    window[unused : unused + steps] = ramp
    return np.minimum(window, window[::-1])
