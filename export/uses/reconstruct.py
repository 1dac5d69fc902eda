"""What a model makes of pictures: the original beside what is painted from its code."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.uses.pictures import (
    PICTURE_FORMATS,
    Model,
    Picture,
    PictureFormat,
    Tally,
    cell_of,
    encode_picture,
    expect_free,
    format_of,
    names_below,
    psnr,
    see,
    write_picture,
)
from train.contact_sheet import sheet
from train.decoding import DecodePool
from train.errors import SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

COLUMNS = 8  # pictures in a row of a sheet
MOST_ON_A_SHEET = 200
NAME_LENGTH = 20  # characters of a name below its picture


@dataclass
class Reconstructions:
    """What became of each picture."""

    tally: Tally = field(default_factory=Tally)
    names: list[str] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)  # mean squared, values from 0 to 1
    files: list[Path] = field(default_factory=list)

    @property
    def mse(self) -> float:
        """Mean over the pictures."""
        return float(np.mean(self.errors))


def reconstruct(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    output: Path,
    *,
    folder: bool,
    force: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Reconstructions:
    """Encode and paint pictures; write all on one sheet, or each painted one as a file.

    Args:
        model: Encoder and decoder.
        pool: Decodes.
        pictures: What is read; a sheet holds `MOST_ON_A_SHEET`.
        output: A PNG, JPEG or WebP file for the sheet, or a folder.
        folder: Which of the two it is.
        force: Write over what stands there.
        reporter: Shows the progress.
        stop: Looked at between two batches.

    Raises:
        SettingsError: Something stands where a file would be written, or a sheet cannot hold that many.
    """
    if not folder and len(pictures) > MOST_ON_A_SHEET:
        raise SettingsError(
            f"a sheet holds {MOST_ON_A_SHEET} pictures, and here are {len(pictures):,}: give a folder, as in -o out/."
        )
    sheet_format: PictureFormat = "png" if folder else PICTURE_FORMATS[format_of(output)]
    names = names_below([picture.name for picture in pictures], ".png") if folder else []
    targets = dict(zip(pictures, [output / name for name in names], strict=True)) if folder else {}
    expect_free(list(targets.values()) or [output], force=force, originals=pictures)
    result = Reconstructions()
    shown: list[tuple[Pixels, Pixels]] = []
    for seen in see(model, pool, pictures, result.tally, name="Reconstructing", reporter=reporter, stop=stop):
        painted = model.decode(seen.latents)
        result.errors += model.errors(seen.pixels, painted).tolist()
        result.names += [picture.name for picture in seen.pictures]
        for picture, original, rebuilt in zip(seen.pictures, seen.pixels, painted, strict=True):
            if folder:
                write_picture(targets[picture], encode_picture(rebuilt, "png"))
                result.files.append(targets[picture])
            else:
                shown.append((original, rebuilt))
    if shown:
        laid = reconstruction_sheet(shown, result.names, result.errors, cell=cell_of(model.size))
        write_picture(output, encode_picture(laid, sheet_format))
        result.files.append(output)
    return result


def reconstruction_sheet(
    pairs: Sequence[tuple[Pixels, Pixels]], names: Sequence[str], errors: Sequence[float], *, cell: int
) -> Pixels:
    """Originals in rows, each with its name, above what was painted, each with its error."""
    rows, titles, notes = [], [], []
    for start in range(0, len(pairs), COLUMNS):
        part = slice(start, start + COLUMNS)
        rows += [np.stack([pair[0] for pair in pairs[part]]), np.stack([pair[1] for pair in pairs[part]])]
        titles += ["original", "reconstruction"] if start == 0 else ["", ""]
        notes += [
            [short_name(name) for name in names[part]],
            [f"{error:.4f} / {psnr(error):.1f} dB" for error in errors[part]],
        ]
    return sheet(rows, titles, notes, cell=cell)


def short_name(name: str) -> str:
    """The end of a path, which tells most, as long as a cell is wide."""
    name = os.path.basename(name)  # noqa: PTH119  (text that need not be a path here)
    return name if len(name) <= NAME_LENGTH else f"...{name[3 - NAME_LENGTH :]}"
