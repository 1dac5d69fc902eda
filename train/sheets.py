"""Contact sheets: what the network sees, how it morphs, and which images it takes for neighbours."""

import numpy as np
import torch
from numpy.typing import NDArray

from train.architectures import Autoencoder
from train.contact_sheet import sheet
from train.images import Pixels
from train.interpolation import interpolate

MORPH_STEPS = 8


def reconstruction_sheet(network: Autoencoder, images: Pixels, seen: Pixels | None = None) -> Pixels:
    """Originals above their reconstructions, with the error of each; between them what was seen, where corrupted."""
    rebuilt = _to_pixels(_decode(network, _encode(network, images if seen is None else seen)))
    notes = _errors(rebuilt, images)
    if seen is None:
        return sheet([images, rebuilt], ["original", "reconstruction"], [[], notes])
    return sheet(
        [images, seen, rebuilt],
        ["original", "corrupted, as it is seen", "restored"],
        [[], _errors(seen, images), notes],
    )


def _errors(found: Pixels, images: Pixels) -> list[str]:
    errors = ((found.astype(np.float64) - images) / 255) ** 2
    return [f"MSE {error:.4f}" for error in errors.mean(axis=(1, 2, 3))]


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
    return sheet(rows, ["from one image to another, through the decoder"] + [""] * (len(rows) - 1), notes)


def neighbour_sheet(network: Autoencoder, queries: Pixels, pool: Pixels, count: int = 7) -> Pixels:
    """Each query with its nearest images of a pool, best first, and their scores."""
    scores = _embed(network, queries) @ _embed(network, pool).T
    nearest = np.argsort(-scores, axis=1)[:, :count]
    rows = [np.concatenate([query[None], pool[found]]) for query, found in zip(queries, nearest, strict=True)]
    notes = [["query", *(f"{score:.2f}" for score in row[found])] for row, found in zip(scores, nearest, strict=True)]
    return sheet(rows, ["held-out image, then its nearest training images"] + [""] * (len(rows) - 1), notes)


@torch.no_grad()
def _encode(network: Autoencoder, images: Pixels) -> NDArray[np.float32]:
    device = network.centre.device
    found = [
        network.encode(torch.from_numpy(images[start : start + 128]).to(device).permute(0, 3, 1, 2).float() / 255).cpu()
        for start in range(0, len(images), 128)
    ]
    return torch.cat(found).numpy()


@torch.no_grad()
def _embed(network: Autoencoder, images: Pixels) -> NDArray[np.float32]:
    latents = torch.from_numpy(_encode(network, images)).to(network.centre.device)
    return network.embed(latents).cpu().numpy()


@torch.no_grad()
def _decode(network: Autoencoder, latents: NDArray[np.float32]) -> torch.Tensor:
    return network.decode(torch.from_numpy(latents).to(network.centre.device)).cpu()


def _to_pixels(images: torch.Tensor) -> Pixels:
    return (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
