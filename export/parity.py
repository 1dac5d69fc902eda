"""Proof that the ONNX graphs compute what the PyTorch network computes, on pictures that it was made for."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from export.sessions import PROVIDERS, open_session
from train.errors import IncompatibleError
from train.images import Pixels

if TYPE_CHECKING:
    from train.architectures import Autoencoder

BATCHES = (1, 3, 16, 64)  # a graph that is right for one batch size may be wrong for another


@dataclass(frozen=True)
class Parity:
    """The largest differences over all pictures and batch sizes."""

    embedding_difference: float  # largest |d| of a component
    embedding_cosine: float  # smallest cosine between the two embeddings of one picture
    pixel_difference: int  # largest difference of a decoded pixel, grey levels of 255
    batches: tuple[int, ...]
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """For bundle.json."""
        return asdict(self)


def measure_parity(network: "Autoencoder", encoder: bytes, decoder: bytes, images: Pixels) -> Parity:
    """Compare graphs with the network they were made from.

    Args:
        network: In evaluation mode.
        encoder: The encoder's ONNX file.
        decoder: The decoder's ONNX file.
        images: (n, size, size, 3).
    """
    import torch

    cpu = PROVIDERS["cpu"]
    encoder_session, decoder_session = open_session(encoder, cpu, None), open_session(decoder, cpu, None)
    difference, cosine, grey_levels = 0.0, 1.0, 0
    batches = tuple(sorted({min(batch, len(images)) for batch in BATCHES}))
    with torch.inference_mode():
        for batch in batches:
            pixels = np.array(images[:batch])  # a copy: PyTorch warns of a read-only map
            latent = network.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
            expected = network.embed(latent).numpy()
            painted = (network.decode(latent) * 255).round().byte().permute(0, 2, 3, 1).numpy()
            _, embedding = encoder_session.run(["latent", "embedding"], {"pixels": pixels})
            (repainted,) = decoder_session.run(["pixels"], {"latent": latent.numpy()})
            difference = max(difference, float(np.abs(expected - embedding).max()))
            cosine = min(cosine, float((expected * embedding).sum(axis=1).min()))
            grey_levels = max(grey_levels, int(np.abs(painted.astype(int) - repainted.astype(int)).max()))
    return Parity(difference, cosine, grey_levels, batches, len(images))


def expect_parity(variant: str, measured: Parity) -> None:
    """Refuse graphs that differ more than their number format explains.

    Raises:
        IncompatibleError: With the figures.
    """
    # NaN fails every comparison that is written this way round.
    good = {
        "fp32": measured.embedding_difference <= 1e-4 and measured.pixel_difference <= 1,
        "fp16": measured.embedding_cosine >= 0.9999 and measured.pixel_difference <= 2,
    }
    if not good[variant]:
        raise IncompatibleError(
            f"the {variant} graphs do not compute what the network computes (embedding: largest difference "
            f"{measured.embedding_difference:.2e}, smallest cosine {measured.embedding_cosine:.6f}; pixels: "
            f"{measured.pixel_difference} grey levels): nothing was published. Train further, or report this run."
        )
