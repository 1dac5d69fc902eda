"""Rates of a bundle's encoder and decoder by execution provider and batch size, beside a bare ONNX Runtime loop.

    python benchmarks/execution_providers.py lookalike/models/openmoji [--seconds 3]

For each provider that works here and each variant of the bundle: pictures a second (encode and decode), the ratio to a
bare `InferenceSession.run` on the same arrays in the same run, and the smallest cosine of an embedding to the CPU's.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from export.bundle import Bundle
from export.sessions import PROVIDERS, Decoder, Encoder, available_providers

BATCHES = (1, 16, 64)


def rate(call: Callable[[], object], pictures: int, seconds: float) -> float:
    """Pictures a second of repeated calls, after one that warms up."""
    call()
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        call()
        calls += 1
    return calls * pictures / elapsed


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

                def bare_run(some: np.ndarray = some, bare: onnxruntime.InferenceSession = bare) -> object:
                    return bare.run(["latent", "embedding"], {"pixels": some})

                encode_rate = rate(lambda some=some: encoder.encode(some), batch, asked.seconds)  # noqa: B023
                figures = {
                    "provider": encoder.provider,
                    "variant": variant,
                    "batch": batch,
                    "encode_per_second": round(encode_rate, 1),
                    "of_bare_loop": round(encode_rate / rate(bare_run, batch, asked.seconds), 3),
                    "cosine_to_cpu": round(float((codes.embeddings * reference).sum(axis=1).min()), 6),
                }
                if decoder is not None:
                    decode_rate = rate(lambda latents=latents: decoder.decode(latents), batch, asked.seconds)  # noqa: B023
                    figures["decode_per_second"] = round(decode_rate, 1)
                print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
