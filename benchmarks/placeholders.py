"""How like the pictures their placeholders are, what they weigh, and what they cost.

python -m benchmarks.placeholders GALLERY
"""

import gzip
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from index_data.gallery import Gallery
from search_server.placeholders import SIDE, data_uri_of, fit_likeness, sample_of, small_picture
from train.decoding import DecodePool
from train.images import FOLDER_LIMITS

HELD_OUT = 300  # items that the map was not fitted to
SHOWN = 48  # of one answer
ROUNDS = 20


def main(folder: Path) -> None:
    """Measure one gallery."""
    going = threading.Event()
    with Gallery.open(folder) as gallery, DecodePool(1, FOLDER_LIMITS) as pool:
        began = time.perf_counter()
        likeness = fit_likeness(gallery, pool, going)
        fitted_in = time.perf_counter() - began
        others = np.setdiff1d(gallery.item_ids(), sample_of(gallery))
        if likeness is None or not len(others):
            raise SystemExit("the gallery is too small to tell")
        ids = np.random.default_rng(0).permutation(others)[:HELD_OUT].tolist()
        pictures = [small_picture(gallery, item.sha256, pool, going) for item in gallery.items_by_id(ids)]
        shown = np.stack([one for one in pictures if one is not None]).reshape(-1, SIDE * SIDE, 3)
        guessed = likeness.of(gallery.latents(ids)).reshape(shown.shape).astype(np.float32)
        print(f"fitted in {fitted_in:.2f} s")
        for name, guess in (
            ("the same grey for all", shown.mean()),
            ("the average picture for all", shown.mean(axis=0)),
            ("each picture's own average colour", shown.mean(axis=1, keepdims=True)),
            ("placeholders", guessed),
        ):
            print(f"{name}: {np.abs(shown - guess).mean():.1f} grey levels away")
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            uris = [data_uri_of(small) for small in likeness.of(gallery.latents(ids[:SHOWN]))]
            times.append(time.perf_counter() - began)
        print(f"{SHOWN} of them in {1000 * float(np.median(times)):.2f} ms")
        sha256s = [item.sha256 for item in gallery.items_by_id(ids[:SHOWN])]
        plain, larger = (
            len(gzip.compress(json.dumps([{"sha256": one, "placeholder": uri} for one, uri in rows]).encode(), 6))
            for rows in ([(one, None) for one in sha256s], list(zip(sha256s, uris, strict=True)))
        )
        print(f"{(larger - plain) / SHOWN:.0f} bytes each, compressed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
