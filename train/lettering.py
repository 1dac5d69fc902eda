"""Words drawn into a mask: what a recipe lays over pictures so that a network learns to take it off."""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Mask = NDArray[np.float32]  # (side, side), 0 where nothing is written, 1 in the middle of a letter

# Of those that come with matplotlib; the others hold symbols only.
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
)
WORDS = (
    "sample",
    "copy",
    "proof",
    "draft",
    "photo",
    "image",
    "archive",
    "private",
    "city",
    "garden",
    "summer",
    "winter",
    "river",
    "market",
    "stone",
    "light",
    "window",
    "letter",
    "museum",
    "harbour",
    "copyright",
    "studio",
    "preview",
    "original",
    "number",
    "north",
    "street",
    "water",
    "forest",
    "music",
    "paper",
    "colour",
    "mirror",
    "sunday",
    "orange",
    "silver",
    "kitchen",
    "bridge",
    "morning",
    "captain",
    "pocket",
)
SIGNS = "ABCDEFGHKLMNPRSTUVWXYZabcdefghkmnprstuvwxyz0123456789&@#-"
SMALLEST, LARGEST = 0.07, 0.2  # height of letters, as shares of the side
WRITTEN = 0.1  # of full opacity: less is the soft rim of a letter
MOST_WORDS = 60  # in a picture
_SIZE_STEPS = 4  # px between the sizes that are kept in memory


def centred_words(words: str, side: int) -> Mask:
    """One text in the middle, as wide as two thirds of the picture; the same at every call."""
    return _centred(words, side).copy()


@functools.lru_cache(maxsize=16)
def _centred(words: str, side: int) -> Mask:
    trial = _font(0, 100).getlength(words)
    font = _font(0, max(6, round(100 * side * 2 / 3 / trial)))
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).text((side / 2, side / 2), words, fill=255, font=font, anchor="mm")
    return _as_mask(image)


def random_words(side: int, cover: float, random: np.random.Generator) -> Mask:
    """Words at random places until they cover a share of the picture; the same for the same generator."""
    image = Image.new("L", (side, side))
    mask = _as_mask(image)
    for _ in range(MOST_WORDS):
        left = cover - float((mask > WRITTEN).mean())
        if left <= 0.002:
            break
        stamp = _word(side, left, random)
        x, y = (int(random.integers(-each // 4, side - each // 2)) for each in stamp.size)
        before = image.copy()
        image.paste(255, (x, y), stamp)
        written = _as_mask(image)
        if float((written > WRITTEN).mean()) > cover * 1.15:
            image = before  # too much: another try with another word
            continue
        mask = written
    return mask


def _word(side: int, cover: float, random: np.random.Generator) -> Image.Image:
    """One word as a stamp, a little turned."""
    if random.random() < 0.7:
        word = WORDS[random.integers(len(WORDS))]
        word = (word, word.upper(), word.title())[random.integers(3)]
    else:
        word = "".join(SIGNS[n] for n in random.integers(len(SIGNS), size=random.integers(2, 9)))
    # A letter covers about a fifth of its height squared.
    fitting = (5 * cover / len(word)) ** 0.5
    height = side * min(random.uniform(SMALLEST, LARGEST), max(fitting, SMALLEST))
    size = max(6, round(height / _SIZE_STEPS) * _SIZE_STEPS)
    font = _font(int(random.integers(len(FONTS))), size)
    left, top, right, bottom = font.getbbox(word)
    stamp = Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(stamp).text((-left, -top), word, fill=255, font=font)
    if random.random() < 0.5:
        stamp = stamp.rotate(random.uniform(-30, 30), Image.Resampling.BILINEAR, expand=True)
    return stamp


@functools.lru_cache(maxsize=512)
def _font(number: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(str(_font_folder() / f"{FONTS[number]}.ttf"), size)


@functools.cache
def _font_folder() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def _as_mask(image: Image.Image) -> Mask:
    return np.asarray(image, np.float32) / np.float32(255)
