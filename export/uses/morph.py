"""From one picture to another: what lies between their codes, as a strip or an animation."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.uses.pictures import (
    Model,
    Picture,
    Tally,
    cell_of,
    encode_picture,
    expect_free,
    format_of,
    see,
    write_picture,
)
from export.uses.reconstruct import short_name
from train.contact_sheet import sheet
from train.decoding import DecodePool
from train.errors import ImageError
from train.images import Pixels
from train.interpolation import Path as Way
from train.interpolation import interpolate

FRAMES = 7
FPS = 12.0
MORPH_FORMATS = (".png", ".webp", ".gif")


@dataclass(frozen=True)
class Morph:
    """What was painted."""

    frames: Pixels  # (n, size, size, 3), from the first picture's code to the second's
    ends: Pixels  # (2, size, size, 3): the pictures themselves
    file: Path


def morph(
    model: Model,
    pool: DecodePool,
    first: Picture,
    second: Picture,
    output: Path,
    *,
    frames: int = FRAMES,
    path: Way = "slerp",
    fps: float = FPS,
    force: bool = False,
) -> Morph:
    """Paint what lies between two pictures.

    Args:
        model: Encoder and decoder.
        pool: Decodes.
        first: Where the way begins.
        second: Where it ends.
        output: .png for a strip with the pictures themselves at both ends; .webp or .gif for an animation that goes
            there and back for ever.
        frames: How many are painted from the first to the second, both ends among them.
        path: How the way leads, see `train.interpolation.interpolate`.
        fps: Frames a second of an animation.
        force: Write over what stands there.

    Raises:
        ImageError: One of the two cannot be used.
        SettingsError: Something stands where the file would be written, or its name has another extension.
    """
    kind = format_of(output, MORPH_FORMATS)
    expect_free([output], force=force, originals=(first, second))
    ends, latents = [], []
    for picture in (first, second):
        tally = Tally()
        seen = next(see(model, pool, [picture], tally, name="Reading"), None)
        if seen is None:
            problem = tally.problems[0]
            raise ImageError(f"{problem['file']} cannot be used: {problem['detail']}", code=problem["code"])
        ends.append(seen.pixels[0])
        latents.append(seen.latents[0])
    times = np.linspace(0, 1, frames)
    way = interpolate(latents[0], latents[1], times, path=path, semantic_dims=model.bundle.semantic_dims)
    painted = model.decode(way)
    both = np.stack(ends)
    if kind == ".png":
        laid = _strip(painted, both, times, (first.name, second.name), cell=cell_of(model.size))
        content = encode_picture(laid, "png")
    else:
        content = animation(painted, kind, fps, side=cell_of(model.size))
    write_picture(output, content)
    return Morph(painted, both, output)


def _strip(frames: Pixels, ends: Pixels, times: NDArray[np.float64], names: tuple[str, str], *, cell: int) -> Pixels:
    row = np.concatenate([ends[:1], frames, ends[1:]])
    note = [short_name(names[0]), *(f"t = {time:.2f}" for time in times), short_name(names[1])]
    return sheet([row], [""], [note], cell=cell)


def animation(frames: Pixels, kind: str, fps: float, *, side: int) -> bytes:
    """Frames there and back, for ever, as WebP or GIF; small ones are enlarged."""
    turned = np.concatenate([frames, frames[-2:0:-1]])
    method = Image.Resampling.NEAREST if side % frames.shape[1] == 0 else Image.Resampling.LANCZOS
    first, *others = [Image.fromarray(frame).resize((side, side), method) for frame in turned]
    name, settings = ("WEBP", {"quality": 90, "method": 2}) if kind == ".webp" else ("GIF", {"optimize": False})
    buffer = io.BytesIO()
    first.save(buffer, name, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **settings)
    return buffer.getvalue()
