"""New pictures: codes drawn by chance, and painted."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.bundle import Bundle, Floats
from export.uses.pictures import (
    PICTURE_FORMATS,
    Model,
    cell_of,
    encode_picture,
    expect_free,
    format_of,
    in_batches,
    write_picture,
)
from train.contact_sheet import sheet
from train.errors import SettingsError
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

COLUMNS = 8
MOST_ON_A_SHEET = 1024


@dataclass
class Samples:
    """What was painted."""

    trained_for_it: bool
    files: list[Path] = field(default_factory=list)


def spread_of(bundle: Bundle) -> tuple[Floats, Floats]:
    """Mean and deviation to draw codes by, (latent_dims,) each: the prior's, else those of the model's own codes.

    Raises:
        SettingsError: The model was not trained to a prior, and does not say how its codes lie.
    """
    if trained_to_sample(bundle):
        return np.zeros(bundle.latent_dims, np.float32), np.ones(bundle.latent_dims, np.float32)
    try:
        mean = np.asarray(bundle.facts.latent.get("mean", ()), np.float32)
        deviation = np.asarray(bundle.facts.latent.get("deviation", ()), np.float32)
    except (TypeError, ValueError):
        mean = deviation = np.zeros(0, np.float32)
    if mean.shape != (bundle.latent_dims,) or deviation.shape != mean.shape:
        raise SettingsError(
            f"the model {bundle.folder} does not say how its {bundle.latent_dims:,} numbers of a code lie, so none can "
            "be drawn: use a variational model (`lookalike train --list-recipes`), or export the run again."
        )
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise SettingsError(f"the codes of the model {bundle.folder} are not finite: train it again.")
    return mean, deviation


def draw_latents(random: np.random.Generator, count: int, mean: Floats, deviation: Floats) -> Floats:
    """Codes by chance, (count, latent_dims), each number on its own."""
    return mean + deviation * random.standard_normal((count, len(mean))).astype(np.float32)


def trained_to_sample(bundle: Bundle) -> bool:
    """Whether codes from a normal distribution are what its decoder was trained on."""
    return bundle.facts.latent.get("prior") == "normal"


def sample(
    model: Model,
    output: Path,
    *,
    folder: bool,
    count: int = 64,
    seed: int = 0,
    force: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Samples:
    """Paint codes drawn by chance: all on one sheet, or each as a file.

    Args:
        model: With its decoder.
        output: A PNG, JPEG or WebP file for the sheet, or a folder.
        folder: Which of the two it is.
        count: How many.
        seed: The same seed gives the same pictures, on a sheet or as files.
        force: Write over what stands there.
        reporter: Shows the progress.
        stop: Looked at between two batches.

    Raises:
        SettingsError: Nothing can be drawn, a sheet cannot hold that many, or a file stands where one would be written.
    """
    if not folder and count > MOST_ON_A_SHEET:
        raise SettingsError(f"a sheet holds {MOST_ON_A_SHEET:,} pictures: give a folder for {count:,}, as in -o out/.")
    sheet_format = PICTURE_FORMATS[format_of(output)] if not folder else "png"
    digits = max(3, len(str(count - 1)))
    targets = [output / f"sample-{number:0{digits}}.png" for number in range(count)] if folder else [output]
    expect_free(targets, force=force)
    mean, deviation = spread_of(model.bundle)
    random = np.random.default_rng(seed)
    result = Samples(trained_to_sample(model.bundle))
    if not result.trained_for_it:
        reporter.say(
            "This model was not trained to paint codes drawn by chance: they are drawn as its own codes lie, number by "
            "number, and most pictures will look like mixtures. A variational recipe is trained for it."
        )
    shown = []
    with reporter.task("Painting", total=count, unit="pictures") as task:
        for numbers in in_batches(range(count), model.batch):
            if stop is not None:
                stop.raise_if_set(f"{len(result.files):,} pictures are written.")
            painted = model.decode(draw_latents(random, len(numbers), mean, deviation))
            if folder:
                for number, pixels in zip(numbers, painted, strict=True):
                    write_picture(targets[number], encode_picture(pixels, "png"))
                    result.files.append(targets[number])
            else:
                shown.append(painted)
            task.advance(len(numbers))
    if shown:
        pictures = np.concatenate(shown)
        rows = [pictures[start : start + COLUMNS] for start in range(0, count, COLUMNS)]
        said = "drawn from the model's prior" if result.trained_for_it else "drawn as its codes lie: not trained for it"
        titles = [f"{model.bundle.folder.name}: {said}, seed {seed}"] + [""] * (len(rows) - 1)
        laid = sheet(rows, titles, [[] for _ in rows], cell=cell_of(model.size))
        write_picture(output, encode_picture(laid, sheet_format))
        result.files.append(output)
    return result
