"""Sheets that show what a model's codes hold: reconstructions, traversals, a map of the codes, and samples.

    reconstructions.png   original | code | reconstruction, with the error of each
    traversals.png        what single dimensions of the code do, around the mean code and around a picture's
    map.png               the codes in two dimensions, coloured by label
    samples.png           pictures painted from random codes, where the model was trained for that

A bundle and ONNX Runtime do; matplotlib colours the codes and draws the map.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.sessions import Decoder, Encoder
from train.contact_sheet import sheet
from train.errors import NothingFoundError, SettingsError
from train.files import write_file
from train.images import Pixels
from train.interruption import StopRequest
from train.labelled import LabelledImages, batches, stratified
from train.progress import Reporter

Floats = NDArray[np.float32]

CELL = 128  # px; side of a picture, and of a code, on the sheet of reconstructions
COLUMNS = 8  # pictures in a row
MOVED = 8  # dimensions that the traversals show
REACH = np.linspace(-3, 3, 7)  # deviations
SAMPLES = 32
MOST_LABELS = 20  # with a colour each
THUMBNAILS = 160  # on the map, at most
MAP_GRID = 20  # cells on a side, of which each shows one thumbnail
BATCH = 64
PRIORS = ("normal",)
_GREY = (0.6, 0.62, 0.65)  # of what has no label


@dataclass(frozen=True)
class Visualisation:
    """What was drawn."""

    files: tuple[Path, ...]
    figures: dict[str, Any]
    left_out: tuple[str, ...]  # sentences that say which sheets there are not, and why


@dataclass(frozen=True)
class _Spread:
    """How codes lie: from the model's training images where the bundle says it, else from these pictures."""

    mean: Floats  # (latent_dims,)
    deviation: Floats  # (latent_dims,)
    told: bool  # by the bundle


def visualise(
    bundle: Bundle,
    images: LabelledImages,
    folder: Path,
    *,
    pictures: int,
    seed: int,
    thumbnails: bool,
    reporter: Reporter,
    stop: StopRequest,
    provider: str = "auto",
    threads: int | None = None,
) -> Visualisation:
    """Draw every sheet that the model allows into a folder.

    Args:
        bundle: The model.
        images: All of them are on the map.
        folder: Of the PNG files; each is written atomically.
        pictures: On the sheet of reconstructions, at most.
        seed: Of the choice of pictures and of the samples.
        thumbnails: Show pictures on the map even where labels have colours.
        reporter: Told what is going on.
        stop: Looked at between two batches.
        provider: Execution provider.
        threads: For one call of ONNX Runtime.

    Raises:
        SettingsError: matplotlib is missing.
        NothingFoundError: The model gives no usable code for any of the images.
        Interrupted: The user asked to stop.
    """
    _expect_matplotlib()
    encoder = Encoder.open(bundle, provider=provider, threads=threads)
    decoder = Decoder.open(bundle, provider=provider, threads=threads) if bundle.has_decoder else None
    images, latents = _encoded(encoder, images, reporter, stop)
    spread = _spread(bundle, latents)
    chosen = stratified(images.labels, pictures, seed)
    drawn: dict[str, bytes] = {}
    left_out: list[str] = []
    figures: dict[str, Any] = {"images": len(images), "latent_dims": bundle.latent_dims}
    reporter.say("Drawing the sheets.")
    rebuilt = None if decoder is None else _decoded(decoder, latents[chosen])
    codes = code_pictures(latents[chosen], _shape(bundle), spread.mean, spread.deviation)
    drawn["reconstructions.png"] = _png(_reconstruction_sheet(images.pixels[chosen], codes, rebuilt))
    if decoder is None:
        left_out.append("The model has no decoder: there are no reconstructions, traversals and samples.")
    else:
        assert rebuilt is not None  # noqa: S101  (for the type checker)
        errors = ((rebuilt.astype(np.float64) - images.pixels[chosen]) / 255) ** 2
        figures["mse"] = float(errors.mean())
        moved = np.argsort(-spread.deviation, kind="stable")[:MOVED]
        figures["moved_dims"] = moved.tolist()
        first = int(chosen[0])
        drawn["traversals.png"] = _png(
            traversal_sheet(decoder, images.pixels[first], latents[first], spread.mean, spread.deviation, moved)
        )
        if bundle.facts.latent.get("prior") in PRIORS:
            drawn["samples.png"] = _png(_sample_sheet(decoder, bundle.latent_dims, seed))
        else:
            left_out.append("No samples.png: the model was not trained to paint random codes (it is not variational).")
    stop.raise_if_set("nothing was written.")
    if len(images) < 3:
        left_out.append("No map.png: a map needs three pictures or more.")
    else:
        places, shares = principal_plane(latents)
        figures["map_share_of_variance"] = round(float(shares.sum()), 4)
        drawn["map.png"] = _map(images, places, shares, thumbnails=thumbnails)
    for name, content in drawn.items():
        write_file(folder / name, content)
    return Visualisation(tuple(folder / name for name in drawn), figures, tuple(left_out))


def _expect_matplotlib() -> ModuleType:
    try:
        import matplotlib as found
    except ImportError as error:
        raise SettingsError(
            f"the sheets need matplotlib ({error}): pip install matplotlib, or 'lookalike[train]'."
        ) from error
    return found


def _encoded(
    encoder: Encoder, images: LabelledImages, reporter: Reporter, stop: StopRequest
) -> tuple[LabelledImages, Floats]:
    """Codes of the images; those without a usable one are left out."""
    latents: list[Floats] = []
    usable: list[NDArray[np.bool_]] = []
    with reporter.task("encoding", len(images)) as task:
        for rows in batches(np.arange(len(images)), BATCH):
            stop.raise_if_set("nothing was written.")
            codes = encoder.encode(images.pixels[rows])
            latents.append(codes.latents)
            usable.append(np.asarray(np.isfinite(codes.latents).all(axis=1)))
            task.advance(len(rows))
    good = np.flatnonzero(np.concatenate(usable))
    if not len(good):
        raise NothingFoundError("the model gives no finite code for any of these images: export it again.")
    return images.take(good), np.concatenate(latents)[good]


def _decoded(decoder: Decoder, latents: Floats) -> Pixels:
    parts = [decoder.decode(latents[rows]) for rows in batches(np.arange(len(latents)), BATCH)]
    return np.concatenate(parts)


def _shape(bundle: Bundle) -> tuple[int, ...]:
    return bundle.facts.latent_shape or (bundle.latent_dims,)


def _spread(bundle: Bundle, latents: Floats) -> _Spread:
    mean, deviation = (np.asarray(bundle.facts.latent.get(name, []), np.float32) for name in ("mean", "deviation"))
    if len(mean) == len(deviation) == bundle.latent_dims:
        return _Spread(mean, deviation, True)
    return _Spread(latents.mean(axis=0), latents.std(axis=0), False)


# --- codes as pictures ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CodePictures:
    """Codes, drawn."""

    pixels: Pixels  # (n, CELL, CELL, 3)
    caption: str  # what is shown, in which colours


def code_pictures(latents: Floats, shape: Sequence[int], mean: Floats, deviation: Floats) -> CodePictures:
    """Draw codes as small pictures: a flat one as a near-square heat map, a spatial one as tiles, one for each map.

    Codes that are never negative (sigmoid, ReLU, sparse ones) are shown from 0 upwards; all others in deviations from
    the mean code, since dimensions differ by orders of magnitude.

    Args:
        latents: (n, latent_dims).
        shape: Of one, (latent_dims,) or (c, h, w).
        mean: Over the training images, (latent_dims,).
        deviation: The same.
    """
    from matplotlib import colormaps

    if latents.min() >= 0:
        top = max(float(np.quantile(latents, 0.995)), 1e-9)
        shares, colours, scale = latents / top, colormaps["viridis"], f"dark 0, yellow {top:.2g} and more"
    else:
        away = (latents - mean) / np.maximum(deviation, 1e-3 * max(float(deviation.max()), 1e-9))
        shares, colours, scale = away / 6 + 0.5, colormaps["RdBu_r"], "blue -3, white 0, red +3 deviations"
    if len(shape) == 1:
        tiles, told = _flat_tiles(shares), f"{shape[0]:,} numbers, row by row"
    else:
        tiles, told = _spatial_tiles(shares, shape, deviation)
    painted = (colours(np.clip(np.nan_to_num(tiles), 0, 1))[..., :3] * 255).round().astype(np.uint8)
    painted[np.isnan(tiles)] = 255
    return CodePictures(_enlarged(painted), f"code: {told}; {scale}")


def _flat_tiles(shares: Floats) -> NDArray[np.float64]:
    """(n, dims) as (n, rows, columns), row by row; NaN where nothing is left to show."""
    dims = shares.shape[1]
    columns = math.ceil(math.sqrt(dims))
    rows = math.ceil(dims / columns)
    tiles = np.full((len(shares), rows * columns), np.nan)
    tiles[:, :dims] = shares
    return tiles.reshape(-1, rows, columns)


def _spatial_tiles(shares: Floats, shape: Sequence[int], deviation: Floats) -> tuple[NDArray[np.float64], str]:
    """(n, c * h * w) as (n, h', w'): the maps that vary most, side by side, as many as can be told apart."""
    maps, height, width = shape
    step = max(1, math.ceil(max(height, width) / (CELL // 2 - 1)))  # so that at least 2 x 2 maps find room
    cells = shares.reshape(-1, maps, height, width)[:, :, ::step, ::step]
    rows, columns = cells.shape[2:]
    side = min(max(1, (CELL + 1) // (max(rows, columns) + 1)), math.ceil(math.sqrt(maps)))
    count = min(maps, side * side)
    energy = (deviation.reshape(maps, -1).astype(np.float64) ** 2).mean(axis=1)
    chosen = np.sort(np.argsort(-energy, kind="stable")[:count])
    tiles = np.full((len(shares), side * (rows + 1) - 1, side * (columns + 1) - 1), np.nan)
    for place, number in enumerate(chosen):
        top, left = place // side * (rows + 1), place % side * (columns + 1)
        tiles[:, top : top + rows, left : left + columns] = cells[:, number]
    which = f"all {maps}" if count == maps else f"{count} of {maps:,}"
    return tiles, f"{which} maps of {height} x {width}"


def _enlarged(pictures: Pixels) -> Pixels:
    """Whole pixels, as large as CELL allows, centred on white: (n, CELL, CELL, 3)."""
    height, width = pictures.shape[1:3]
    if max(height, width) > CELL:
        step = math.ceil(max(height, width) / CELL)
        pictures = pictures[:, ::step, ::step]
        height, width = pictures.shape[1:3]
    factor = CELL // max(height, width)
    large = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    paper = np.full((len(pictures), CELL, CELL, 3), 255, np.uint8)
    top, left = (CELL - height * factor) // 2, (CELL - width * factor) // 2
    paper[:, top : top + height * factor, left : left + width * factor] = large
    return paper


# --- sheets -----------------------------------------------------------------------------------------------------------


def _reconstruction_sheet(originals: Pixels, codes: CodePictures, rebuilt: Pixels | None) -> Pixels:
    rows: list[Pixels] = []
    titles: list[str] = []
    notes: list[list[str]] = []
    for start in range(0, len(originals), COLUMNS):
        part = slice(start, start + COLUMNS)
        rows += [originals[part], codes.pixels[part]]
        titles += ["original", codes.caption]
        notes += [[], []]
        if rebuilt is not None:
            errors = ((rebuilt[part].astype(np.float64) - originals[part]) / 255) ** 2
            rows.append(rebuilt[part])
            titles.append("reconstruction")
            notes.append([f"MSE {error:.4f}" for error in errors.mean(axis=(1, 2, 3))])
    return sheet(rows, titles, notes, cell=CELL)


def traversal_sheet(
    decoder: Decoder, picture: Pixels, latent: Floats, mean: Floats, deviation: Floats, moved: NDArray[np.int64]
) -> Pixels:
    """One dimension in each row, moved by -3 to +3 deviations: left around the mean code, right around a picture's.

    Args:
        decoder: Paints codes.
        picture: (h, w, 3), shown beside its own code's traversals.
        latent: Its code, (latent_dims,).
        mean: Over the training images, (latent_dims,).
        deviation: The same.
        moved: Numbers of the dimensions.
    """
    around_mean, around_picture = (_traversals(decoder, centre, deviation, moved) for centre in (mean, latent))
    notes = [[f"{reach:+g}" if reach else "0" for reach in REACH] for _ in moved]
    labels = [f"dimension {number}, deviation {deviation[number]:.3g}" for number in moved]
    left = sheet(around_mean, [f"{label}: around the mean code" for label in labels], notes)
    original = picture[None]
    right = sheet(
        [np.concatenate([row, original]) for row in around_picture],
        ["around the code of the picture at the right", *["around the same code"] * (len(moved) - 1)],
        [[*note, "picture"] for note in notes],
    )
    gap = np.full((len(left), 24, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def _traversals(decoder: Decoder, centre: Floats, deviation: Floats, moved: NDArray[np.int64]) -> list[Pixels]:
    rows = []
    for number in moved:
        codes = np.repeat(centre[None], len(REACH), axis=0)
        codes[:, number] += (REACH * deviation[number]).astype(np.float32)
        rows.append(decoder.decode(np.ascontiguousarray(codes, np.float32)))
    return rows


def _sample_sheet(decoder: Decoder, latent_dims: int, seed: int) -> Pixels:
    codes = np.random.default_rng(seed).standard_normal((SAMPLES, latent_dims)).astype(np.float32)
    painted = _decoded(decoder, codes)
    rows = [painted[start : start + COLUMNS] for start in range(0, SAMPLES, COLUMNS)]
    return sheet(rows, [f"painted from random codes, seed {seed}", *[""] * (len(rows) - 1)], [[] for _ in rows])


def _png(pixels: Pixels) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


# --- the map ----------------------------------------------------------------------------------------------------------


def principal_plane(latents: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places of codes on the plane in which they vary most.

    Args:
        latents: (n, latent_dims), n at least 3.

    Returns:
        Places (n, 2), and the share of the variance along each axis (2,).
    """
    centred = latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64)
    total = max(float((centred**2).sum()), 1e-30)
    # The smaller of the two products has the same eigenvalues.
    if latents.shape[1] <= len(latents):
        values, vectors = np.linalg.eigh(centred.T @ centred)
        places = centred @ vectors[:, ::-1][:, :2]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        places = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    shares = np.maximum(values[::-1][:2], 0) / total
    if places.shape[1] < 2:  # a code of a single number
        places = np.concatenate([places, np.zeros((len(places), 1))], axis=1)
        shares = np.append(shares, 0.0)
    return places, shares


def _map(
    images: LabelledImages, places: NDArray[np.float64], shares: NDArray[np.float64], *, thumbnails: bool
) -> bytes:
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot: no global state and no display.
    figure = Figure(figsize=(10, 8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    present = [int(number) for number in np.unique(images.labels) if number >= 0]
    coloured = 1 <= len(present) <= MOST_LABELS
    size = float(np.clip(12_000 / len(images), 8, 50))
    shades: list[tuple[float, ...]] = [_GREY] * len(images)
    if coloured:
        colours = colormaps["tab10" if len(present) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
        # Mixed up, so that the last label does not cover the others.
        order = np.random.default_rng(0).permutation(len(images))
        numbers = {number: place for place, number in enumerate(present)}
        shades = [colours[numbers[label]] if label >= 0 else _GREY for label in images.labels.tolist()]
        axes.scatter(
            places[order, 0], places[order, 1], c=[shades[row] for row in order], s=size, alpha=0.75, linewidths=0
        )
        for number, place in numbers.items():
            axes.scatter([], [], color=colours[place], s=30, label=_plain(images.classes[number]))
        if (images.labels < 0).any():
            axes.scatter([], [], color=_GREY, s=30, label="(no label)")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        axes.scatter(places[:, 0], places[:, 1], color=_GREY, s=size, alpha=0.5, linewidths=0)
    if thumbnails or not coloured:
        _add_thumbnails(axes, images.pixels, places, shades)
    axes.set(
        title=f"codes of {len(images):,} pictures on their two principal axes",
        xlabel=f"first axis, {shares[0]:.1%} of the variance",
        ylabel=f"second axis, {shares[1]:.1%}",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _plain(text: str) -> str:
    """A folder's name as matplotlib shall print it: no formula, no name that hides from the legend, no line feeds."""
    shown = text.encode(errors="replace").decode().replace("$", r"\$")
    shown = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return f" {shown}" if shown.startswith("_") else shown[:40]


def _add_thumbnails(
    axes: Any, pixels: Pixels, places: NDArray[np.float64], shades: Sequence[tuple[float, ...]]
) -> None:
    """One picture for each cell of a grid over the map, the one nearest to the cell's middle, framed in its colour."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    low, high = places.min(axis=0), places.max(axis=0)
    grid = (places - low) / np.maximum(high - low, 1e-12) * MAP_GRID
    cells = np.minimum(grid.astype(int), MAP_GRID - 1)
    distance = np.linalg.norm(grid - cells - 0.5, axis=1)
    nearest: dict[tuple[int, int], int] = {}
    for row in np.argsort(distance, kind="stable").tolist():
        nearest.setdefault((int(cells[row, 0]), int(cells[row, 1])), row)
    for row in list(nearest.values())[:THUMBNAILS]:
        shown = OffsetImage(pixels[row], zoom=24 / pixels.shape[1])
        frame = {"edgecolor": shades[row], "linewidth": 1.5}
        axes.add_artist(AnnotationBbox(shown, places[row], pad=0.06, bboxprops=frame))
