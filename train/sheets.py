"""Contact sheets: what the network sees, how it morphs, and which images it takes for neighbours."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from train.architectures.principal import Autoencoder
from train.images import Pixels
from train.interpolation import interpolate

CELL = 96  # px; side of an image on a sheet
GAP = 6  # px between images
HEADER = 26  # px above the images, for the column titles
LABEL = 18  # px below each row, for what is said of its images
MORPH_STEPS = 8
_INK, _PAPER, _SOFT = (32, 33, 36), (255, 255, 255), (110, 113, 120)


def reconstruction_sheet(network: Autoencoder, images: Pixels) -> Pixels:
    """Originals above their reconstructions, with the error of each."""
    rebuilt = _to_pixels(_decode(network, _encode(network, images)))
    errors = ((rebuilt.astype(np.float64) - images) / 255) ** 2
    notes = [f"MSE {error:.4f}" for error in errors.mean(axis=(1, 2, 3))]
    return _sheet([images, rebuilt], ["original", "reconstruction"], [[], notes])


def morph_sheet(network: Autoencoder, images: Pixels) -> Pixels:
    """A way between two images in each row: the images themselves at both ends, decoded latents between."""
    latents = _encode(network, images)
    times = np.linspace(0, 1, MORPH_STEPS)
    rows = []
    for first in range(0, len(images) - 1, 2):
        way = interpolate(latents[first], latents[first + 1], times, path="slerp", semantic_dims=network.semantic_dims)
        frames = _to_pixels(_decode(network, way))
        rows.append(np.concatenate([images[first : first + 1], frames, images[first + 1 : first + 2]]))
    notes = [["image", *(f"t = {time:.2f}" for time in times), "image"] for _ in rows]
    return _sheet(rows, ["from one image to another, through the decoder"] + [""] * (len(rows) - 1), notes)


def neighbour_sheet(network: Autoencoder, queries: Pixels, pool: Pixels, count: int = 7) -> Pixels:
    """Each query with its nearest images of a pool, best first, and their scores."""
    scores = _embed(network, queries) @ _embed(network, pool).T
    nearest = np.argsort(-scores, axis=1)[:, :count]
    rows = [np.concatenate([query[None], pool[found]]) for query, found in zip(queries, nearest, strict=True)]
    notes = [["query", *(f"{score:.2f}" for score in row[found])] for row, found in zip(scores, nearest, strict=True)]
    return _sheet(rows, ["held-out image, then its nearest training images"] + [""] * (len(rows) - 1), notes)


def _sheet(rows: Sequence[Pixels], titles: Sequence[str], notes: Sequence[Sequence[str]]) -> Pixels:
    """Rows of images (n, h, w, 3), each with a title above it (may be empty) and a note below each image."""
    font, small = ImageFont.load_default(14), ImageFont.load_default(11)
    heights = [
        (HEADER if title else GAP) + CELL + (LABEL if note else 0) for title, note in zip(titles, notes, strict=True)
    ]
    width = GAP + max(len(row) for row in rows) * (CELL + GAP)
    sheet = Image.new("RGB", (width, sum(heights) + GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, title, note, height in zip(rows, titles, notes, heights, strict=True):
        draw.text((GAP, top + HEADER - 6), title, fill=_INK, font=font, anchor="ls")
        line = top + (HEADER if title else GAP)
        for column, pixels in enumerate(row):
            left = GAP + column * (CELL + GAP)
            sheet.paste(_scaled(pixels), (left, line))
            # A hairline, so that a white image on white paper has its border.
            draw.rectangle((left, line, left + CELL - 1, line + CELL - 1), outline=(222, 224, 228))
            if column < len(note):
                draw.text((left + CELL / 2, line + CELL + 12), note[column], fill=_SOFT, font=small, anchor="ms")
        top += height
    return np.asarray(sheet)


def _scaled(pixels: Pixels) -> Image.Image:
    """An image at the size of a cell: whole pixels where it is enlarged, so that nothing is smoothed away."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    method = Image.Resampling.NEAREST if image.width <= CELL // 2 else Image.Resampling.BICUBIC
    return image.resize((CELL, CELL), method)


@torch.no_grad()
def _encode(network: Autoencoder, images: Pixels) -> NDArray[np.float32]:
    device = network.deviation.device
    found = [
        network.encode(torch.from_numpy(images[start : start + 128]).to(device).permute(0, 3, 1, 2).float() / 255).cpu()
        for start in range(0, len(images), 128)
    ]
    return torch.cat(found).numpy()


@torch.no_grad()
def _embed(network: Autoencoder, images: Pixels) -> NDArray[np.float32]:
    latents = torch.from_numpy(_encode(network, images)).to(network.deviation.device)
    return network.embed(latents).cpu().numpy()


@torch.no_grad()
def _decode(network: Autoencoder, latents: NDArray[np.float32]) -> torch.Tensor:
    return network.decode(torch.from_numpy(latents).to(network.deviation.device)).cpu()


def _to_pixels(images: torch.Tensor) -> Pixels:
    return (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
