"""Rates of a bundle's encoder and decoder by execution provider and batch size, beside a bare ONNX Runtime loop.

    python benchmarks/execution_providers.py lookalike/models/openmoji [--seconds 3]

For each provider that works here and each variant of the bundle: pictures a second (encode and decode), the ratio to a
bare `InferenceSession.run` on the same arrays, and the smallest cosine of an embedding to the CPU's. Our calls and the
bare ones take turns, so that what else the machine does falls on both alike.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from export.bundle import Bundle
from export.sessions import PROVIDERS, Decoder, Encoder, available_providers

BATCHES = (1, 16, 64)


TURNS = 6


def rates(calls: Sequence[Callable[[], object]], pictures: int, seconds: float) -> list[float]:
    """Pictures a second of each call; they take turns, each for `seconds` in all, after one that warms up."""
    counts, elapsed = [0] * len(calls), [0.0] * len(calls)
    for call in calls:
        call()
    for _ in range(TURNS):
        for number, call in enumerate(calls):
            started = time.perf_counter()
            while (now := time.perf_counter()) - started < seconds / TURNS:
                call()
                counts[number] += 1
            elapsed[number] += now - started
    return [count * pictures / spent for count, spent in zip(counts, elapsed, strict=True)]


def main() -> None:
    """Measure and print one JSON line for each provider, variant and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    asked = parser.parse_args()
    bundle = Bundle.open(asked.bundle)
    size = bundle.preprocessing.size
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (max(BATCHES), size // 8, size // 8, 3), dtype=np.uint8)
    pictures = pictures.repeat(8, axis=1).repeat(8, axis=2)
    reference = Encoder.open(bundle, provider="cpu").encode(pictures).embeddings
    for provider in available_providers():
        for variant in bundle.variants:
            encoder = Encoder.open(bundle, provider=provider, variant=variant)
            decoder = Decoder.open(bundle, provider=provider, variant=variant) if bundle.has_decoder else None
            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            graph = bundle.graph("encoder", variant)
            bare = onnxruntime.InferenceSession(graph, options, providers=[PROVIDERS[provider]])
            codes = encoder.encode(pictures)
            for batch in BATCHES:
                some, latents = pictures[:batch], codes.latents[:batch]
                ours = partial(encoder.encode, some)
                theirs = partial(bare.run, ["latent", "embedding"], {"pixels": some})
                encoded, bare_encoded = rates([ours, theirs], batch, asked.seconds)
                figures = {
                    "provider": encoder.provider,
                    "variant": variant,
                    "batch": batch,
                    "encode_per_second": round(encoded, 1),
                    "of_bare_loop": round(encoded / bare_encoded, 3),
                    "cosine_to_cpu": round(float((codes.embeddings * reference).sum(axis=1).min()), 6),
                }
                if decoder is not None:
                    (decoded,) = rates([partial(decoder.decode, latents)], batch, asked.seconds)
                    figures["decode_per_second"] = round(decoded, 1)
                print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
