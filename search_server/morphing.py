"""Morphs as files: frames scaled up, laid into an animation, a strip or an archive."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.images import Pixels

Times = NDArray[np.float64]  # (n,): 0 is the first picture, 1 the second
Easing = Literal["linear", "ease-in", "ease-out", "ease-in-out"]

WEBP_QUALITY = 82
_WEBP_METHOD = 0  # the fastest: a morph is made while somebody waits
_SAMPLE_SIDE = 48  # pixels of each frame that the colours of a GIF are taken from
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same morph is the same bytes


@dataclass(frozen=True)
class Rendered:
    """A file that shows a morph."""

    data: bytes
    content_type: str
    name: str  # to be saved under


def frame_times(frames: int, *, easing: Easing = "linear", pingpong: bool = False, legs: int = 1) -> Times:
    """Where on the way each frame stands.

    Args:
        frames: How many, from the first picture to the second; both ends are among them.
        easing: Slow at the start, the end or both; linear is even.
        pingpong: And back again, without showing an end twice: 2 * frames - 2 in all.
        legs: Into how many equal parts the way is divided; each has its own slow start or end.
    """
    places = np.linspace(0.0, legs, frames)
    leg = np.minimum(np.floor(places), legs - 1)
    times = (leg + _EASINGS[easing](places - leg)) / legs
    return np.concatenate([times, times[-2:0:-1]]) if pingpong else times


_EASINGS = {
    "linear": lambda t: t,
    "ease-in": lambda t: t * t,
    "ease-out": lambda t: t * (2 - t),
    "ease-in-out": lambda t: t * t * (3 - 2 * t),
}


def scale(frame: Pixels, side: int) -> Image.Image:
    """A frame at another size, smoothly."""
    image = Image.fromarray(frame)
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.LANCZOS)


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height in a row."""
    row = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width
    return row


def encode(image: Image.Image, image_format: Literal["webp", "png"]) -> bytes:
    """The bytes of one picture."""
    buffer = io.BytesIO()
    if image_format == "png":
        image.save(buffer, "PNG", compress_level=3)
    else:
        image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=_WEBP_METHOD)
    return buffer.getvalue()


def render_webp(frames: Pixels, side: int, fps: float) -> Rendered:
    """An animated WebP that plays for ever: the fastest to make, and in all colours."""
    return Rendered(_animation(frames, side, fps, "WEBP"), "image/webp", "morph.webp")


def render_gif(frames: Pixels, side: int, fps: float) -> Rendered:
    """An animated GIF that plays for ever, for where WebP is not shown."""
    return Rendered(_animation(frames, side, fps, "GIF"), "image/gif", "morph.gif")


def render_apng(frames: Pixels, side: int, fps: float) -> Rendered:
    """An animated PNG that plays for ever, without loss."""
    return Rendered(_animation(frames, side, fps, "PNG"), "image/apng", "morph.png")


_SETTINGS: dict[str, dict[str, Any]] = {
    "WEBP": {"quality": WEBP_QUALITY, "method": _WEBP_METHOD},
    "GIF": {"optimize": False},
    "PNG": {"compress_level": 3},
}


def _animation(frames: Pixels, side: int, fps: float, image_format: str) -> bytes:
    first, *others = _in_one_palette(frames, side) if image_format == "GIF" else [scale(one, side) for one in frames]
    settings = _SETTINGS[image_format]
    buffer = io.BytesIO()
    first.save(
        buffer, image_format, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **settings
    )
    return buffer.getvalue()


def _in_one_palette(frames: Pixels, side: int) -> list[Image.Image]:
    """Frames in the 256 colours that suit all of them: six times faster than colours of each, and nothing flickers."""
    samples = [scale(frame, min(side, _SAMPLE_SIDE)) for frame in frames]
    palette = side_by_side(samples).quantize(256, method=Image.Quantize.MEDIANCUT)
    return [scale(frame, side).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]


def render_strip(frames: Pixels, side: int) -> Rendered:
    """All frames in a row, as one PNG."""
    row = side_by_side([scale(frame, side) for frame in frames])
    return Rendered(encode(row, "png"), "image/png", "morph.png")


def render_zip(frames: Pixels, side: int) -> Rendered:
    """Each frame as a PNG of its own, numbered."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, frame in enumerate(frames):
            entry = zipfile.ZipInfo(f"frame-{number:03}.png", _ZIP_DATE)
            archive.writestr(entry, encode(scale(frame, side), "png"))
    return Rendered(buffer.getvalue(), "application/zip", "morph.zip")
