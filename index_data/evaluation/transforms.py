"""What people do to pictures: crops, mirror images, saving as JPEG, lettering, and combinations.

Each is drawn on the picture at full size, before it is fitted for a model, and is the same at every call: what it
needs of chance (where a crop lies) follows from the seed, the picture's number and the transform's name.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from train.images import BACKGROUND

Random = np.random.Generator
Step = Callable[[Image.Image, Random], Image.Image]

SMALLEST_SIDE = 16  # px: no picture is shrunk below
WORDS = "sample copy"

FLIP_PASSES, HALF_PASSES, PASSES = 0.95, 0.90, 0.98  # shares of originals that have to be found first


@dataclass(frozen=True)
class Transform:
    """One thing that may happen to a picture, mild or strong."""

    name: str
    kind: str
    severity: int  # 1 mild, 2 medium, 3 strong; 0: stands alone
    steps: tuple[Step, ...]
    passes: float = PASSES  # share of originals that has to be found first

    def apply(self, image: Image.Image, number: int, seed: int) -> Image.Image:
        """Draw it on a picture, RGB, which stays as it is."""
        random = np.random.default_rng([seed, number, zlib.crc32(self.name.encode())])
        for step in self.steps:
            image = step(image, random)
        return image


# --- Steps ----------------------------------------------------------------------------------------------------------


def jpeg(quality: int) -> Step:
    """Save as JPEG and read again."""

    def step(image: Image.Image, random: Random) -> Image.Image:
        del random
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as saved:
            return saved.convert("RGB")

    return step


def shrink(share: float) -> Step:
    """Make both sides smaller; it stays so, as a thumbnail of it would."""

    def step(image: Image.Image, random: Random) -> Image.Image:
        del random
        factor = max(share, min(1.0, SMALLEST_SIDE / min(image.size)))
        size = tuple(max(1, round(side * factor)) for side in image.size)
        return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)

    return step


def crop(area: float) -> Step:
    """Keep a share of the area, of the same shape, anywhere in the picture."""

    def step(image: Image.Image, random: Random) -> Image.Image:
        width, height = (max(1, round(side * area**0.5)) for side in image.size)
        left = round(random.random() * (image.width - width))
        top = round(random.random() * (image.height - height))
        return image.crop((left, top, left + width, top + height))

    return step


def flip(image: Image.Image, random: Random) -> Image.Image:
    """Mirror it: left becomes right."""
    del random
    return ImageOps.mirror(image)


def rotate(degrees: float) -> Step:
    """Turn it; the corners that come in are white."""

    def step(image: Image.Image, random: Random) -> Image.Image:
        del random
        return image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=BACKGROUND)

    return step


def colour(strength: float) -> Step:
    """Take away colour: 0 leaves shades of grey."""
    return _enhanced(ImageEnhance.Color, strength)


def brightness(factor: float) -> Step:
    """Multiply all values; what is brighter than white is white."""
    return _enhanced(ImageEnhance.Brightness, factor)


def contrast(factor: float) -> Step:
    """Draw all values towards the mean grey, or away from it."""
    return _enhanced(ImageEnhance.Contrast, factor)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance], factor: float) -> Step:
    def step(image: Image.Image, random: Random) -> Image.Image:
        del random
        return kind(image).enhance(factor)

    return step


def blur(share: float) -> Step:
    """Gaussian blur whose radius is a share of the shorter side."""

    def step(image: Image.Image, random: Random) -> Image.Image:
        del random
        return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))

    return step


def lettering(lines: int, width: float) -> Step:
    """Write on it, white with a black rim, each line as wide as a share of the picture."""

    def step(image: Image.Image, random: Random) -> Image.Image:
        written = image.copy()
        draw = ImageDraw.Draw(written)
        trial = ImageFont.load_default(100).getlength(WORDS)
        font = ImageFont.load_default(max(5, round(100 * width * image.width / trial)))
        height = draw.textbbox((0, 0), WORDS, font=font)[3]
        for number in range(lines):
            room = image.width - draw.textlength(WORDS, font=font)
            left = random.random() * max(room, 0)
            top = (number + random.random()) / lines * max(image.height - height, 0)
            rim = max(1, round(height / 16))
            draw.text((left, top), WORDS, fill="white", font=font, stroke_width=rim, stroke_fill="black")
        return written

    return step


# --- Sets -----------------------------------------------------------------------------------------------------------

UNTOUCHED = Transform("untouched", "untouched", 0, (), 1.0)


def _three(kind: str, *each: tuple[str, tuple[Step, ...]], passes: float = PASSES) -> list[Transform]:
    return [Transform(name, kind, severity, steps, passes) for severity, (name, steps) in enumerate(each, 1)]


# Whether the original of such a copy is found: each kind at three severities.
FINDING: tuple[Transform, ...] = (
    *_three("JPEG", *((f"JPEG {quality}", (jpeg(quality),)) for quality in (70, 50, 30))),
    *_three("smaller", *((f"size 1/{by}", (shrink(1 / by),)) for by in (2, 4, 8))),
    *_three("crop", *((f"crop {share:.0%}".replace("%", " %"), (crop(share),)) for share in (0.9, 0.8))),
    Transform("crop 50 %", "crop", 3, (crop(0.5),), HALF_PASSES),
    *_three(
        "mirror",
        ("mirror", (flip,)),
        ("mirror, JPEG 50", (flip, jpeg(50))),
        ("mirror, crop 80 %", (flip, crop(0.8))),
        passes=FLIP_PASSES,
    ),
    *_three("rotation", *((f"turn {degrees}°", (rotate(degrees),)) for degrees in (3, 5, 10))),
    *_three("less colour", ("colour 1/2", (colour(0.5),)), ("colour 1/4", (colour(0.25),)), ("grey", (colour(0),))),
    *_three("brightness", *((f"brightness x{factor}", (brightness(factor),)) for factor in (1.1, 1.2, 1.4))),
    *_three("contrast", *((f"contrast x{factor}", (contrast(factor),)) for factor in (0.8, 0.65, 0.5))),
    *_three("blur", *((f"blur {100 * share:g} %", (blur(share),)) for share in (0.005, 0.01, 0.02))),
    *_three(
        "lettering",
        ("text 1/3 wide", (lettering(1, 1 / 3),)),
        ("text 2/3 wide", (lettering(1, 2 / 3),)),
        ("two texts", (lettering(2, 0.9),)),
    ),
)
_BY_NAME = {each.name: each for each in FINDING}

# In the manner of the strong copies of Copydays (Douze et al. 2009), where any of them may be the query.
STRONG: tuple[Transform, ...] = (
    *(
        _BY_NAME[name]
        for name in (
            "crop 50 %",
            "crop 80 %",
            "JPEG 30",
            "size 1/4",
            "mirror",
            "turn 10°",
            "grey",
            "brightness x1.4",
            "contrast x0.5",
            "blur 2 %",
            "two texts",
        )
    ),
    Transform("JPEG 10", "JPEG", 0, (jpeg(10),)),
    Transform("crop 50 %, JPEG 30", "combination", 0, (crop(0.5), jpeg(30))),
    Transform("mirror, grey, JPEG 30", "combination", 0, (flip, colour(0), jpeg(30))),
    Transform("turn 10°, crop 80 %, text", "combination", 0, (rotate(10), crop(0.8), lettering(1, 2 / 3))),
    Transform("brightness x1.4, text, JPEG 10", "combination", 0, (brightness(1.4), lettering(1, 2 / 3), jpeg(10))),
    Transform("crop 80 %, mirror, blur 1 %, JPEG 30", "combination", 0, (crop(0.8), flip, blur(0.01), jpeg(30))),
)

# What happens to a picture on its way through messengers and web sites, where its embedding should hardly move.
DRIFTING: tuple[Transform, ...] = (
    *(Transform(f"JPEG {quality}", "JPEG", 0, (jpeg(quality),)) for quality in (90, 70, 50, 30)),
    *(Transform(f"size {name}", "smaller", 0, (shrink(share),)) for name, share in (("3/4", 0.75), ("1/2", 0.5))),
    _BY_NAME["size 1/4"],
    *(Transform(f"crop {share:.0%}".replace("%", " %"), "crop", 0, (crop(share),)) for share in (0.95, 0.9, 0.8)),
)
