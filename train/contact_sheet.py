"""Pictures in rows on white paper, with titles and notes. Free of PyTorch."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.images import Pixels

CELL = 96  # px; side of an image on a sheet
GAP = 6  # px between images
HEADER = 26  # px above the images, for the column titles
LABEL = 18  # px below each row, for what is said of its images
_INK, _PAPER, _SOFT = (32, 33, 36), (255, 255, 255), (110, 113, 120)


def sheet(rows: Sequence[Pixels], titles: Sequence[str], notes: Sequence[Sequence[str]], *, cell: int = CELL) -> Pixels:
    """Rows of images (n, h, w, 3), each with a title above it (may be empty) and a note below each image."""
    font, small = ImageFont.load_default(14), ImageFont.load_default(11)
    heights = [
        (HEADER if title else GAP) + cell + (LABEL if note else 0) for title, note in zip(titles, notes, strict=True)
    ]
    wanted = GAP + max(len(row) for row in rows) * (cell + GAP)
    width = max([wanted, *(round(font.getlength(title)) + 2 * GAP for title in titles)])
    paper = Image.new("RGB", (width, sum(heights) + GAP), _PAPER)
    draw = ImageDraw.Draw(paper)
    top = 0
    for row, title, note, height in zip(rows, titles, notes, heights, strict=True):
        draw.text((GAP, top + HEADER - 6), title, fill=_INK, font=font, anchor="ls")
        line = top + (HEADER if title else GAP)
        for column, pixels in enumerate(row):
            left = GAP + column * (cell + GAP)
            paper.paste(_scaled(pixels, cell), (left, line))
            # A hairline, so that a white image on white paper has its border.
            draw.rectangle((left, line, left + cell - 1, line + cell - 1), outline=(222, 224, 228))
            if column < len(note):
                draw.text((left + cell / 2, line + cell + 12), note[column], fill=_SOFT, font=small, anchor="ms")
        top += height
    return np.asarray(paper)


def _scaled(pixels: Pixels, cell: int) -> Image.Image:
    """An image at the size of a cell: whole pixels where it is enlarged, so that nothing is smoothed away."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    method = Image.Resampling.NEAREST if image.width <= cell // 2 else Image.Resampling.BICUBIC
    return image.resize((cell, cell), method)
