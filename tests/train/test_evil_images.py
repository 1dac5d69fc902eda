"""Every file of the hostile corpus through the real pool, held against what its manifest expects."""

import gzip
import io
import json
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from train.decoding import DecodePool
from train.errors import ImageError
from train.images import HTTP_LIMITS, Preprocessing, find_files, read_file

SIDE = 64
SLOWEST = 2.0  # seconds, on a busy machine; alone the slowest takes 0.2

# Where we answer otherwise than the manifest's reference policy, and why.
DEVIATIONS = {
    "gen_evil/bomb_jpg_gray_12000x12000.jpg": ("ok", "144 megapixels: baseline JPEGs are read up to 200"),
    "gen_evil/bomb_jpg_header_8000x8000_truncated.jpg": ("corrupt", "below 200 megapixels, but 3 kB cannot hold them"),
    "afl/jpeg/full/id_002724": ("corrupt", "too few bytes for the pixels that it announces: most of it would be grey"),
    "gen_evil/flip_3_avif.avif": ("unsupported_format", "its brand is damaged: refused by our sniff, not by Pillow"),
    # Pillow decodes them; their checksums or their ends are missing or wrong (reliability: truncated = refused).
    "pngsuite/xcsn0g01.png": ("corrupt", "made to have a wrong checksum"),
    "gofuzz/png/12c78abf392fdda9.png": ("corrupt", "truncated"),
    "gofuzz/png/4930d001f211f780.png": ("corrupt", "truncated"),
    "gofuzz/png/5c3ed56ce71be141.png": ("corrupt", "truncated within a checksum"),
    "gofuzz/png/96f6b7c6545f3057.png": ("corrupt", "truncated"),
    "gofuzz/png/d446be6373be79de.png": ("corrupt", "wrong checksum"),
}


@pytest.fixture(scope="module")
def manifest(evil_images):
    return json.loads((evil_images / "manifest.json").read_text())["files"]


@pytest.fixture(scope="module")
def outcomes(evil_images, manifest):
    """What the pool makes of each file, with the seconds it took; and the workers' process ids and peak memory."""

    def fit(name):
        data = read(evil_images, name, manifest[name])
        started = time.monotonic()
        try:
            outcome = pool.fit(data, Preprocessing(SIDE), thumbnail=SIDE)
        except ImageError as error:
            outcome = error
        return outcome, time.monotonic() - started

    with DecodePool(2, HTTP_LIMITS) as pool:
        found = dict(pool.map(fit, manifest))
        workers = [child for child in psutil.Process().children() if "decode_worker" in str(child.cmdline())]
        peaks = [peak_bytes(worker.pid) for worker in workers]
    return found, peaks


def read(folder, name, entry):
    data = (folder / entry["packed_as"]).read_bytes()
    return gzip.decompress(data) if entry["packed_as"] == f"{name}.gz" else data


def peak_bytes(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def code_of(outcome):
    return outcome.problem.code if isinstance(outcome, ImageError) else "ok"


def test_every_file_is_decoded_or_refused_as_the_policy_has_it(manifest, outcomes):
    found, _ = outcomes
    assert len(found) == 3086
    expected = {name: entry["reference_policy"].get("code", "ok") for name, entry in manifest.items()}
    expected |= {name: code for name, (code, _) in DEVIATIONS.items()}
    assert {name: code_of(outcome) for name, (outcome, _) in found.items()} == expected


def test_every_picture_has_its_upright_size(manifest, outcomes):
    found, _ = outcomes
    for name, (outcome, _) in found.items():
        policy = manifest[name]["reference_policy"]
        if code_of(outcome) == "ok" and "out" in policy:
            assert [outcome.width, outcome.height] == policy["out"], name
            assert outcome.format == policy["format"].replace("MPO", "JPEG"), name


def test_odd_but_valid_pictures_have_the_right_colours(evil_images, manifest):
    odd = {name: entry for name, entry in manifest.items() if "corners" in entry}
    assert len(odd) == 101
    with DecodePool(1, HTTP_LIMITS) as pool:
        for name, entry in odd.items():
            data = read(evil_images, name, entry)
            rendered = pool.render(data, encode_as="PNG")
            assert [rendered.width, rendered.height] == entry["upright_size"], name
            pixels = np.asarray(Image.open(io.BytesIO(rendered.data)).convert("RGB")).astype(int)
            height, width = pixels.shape[:2]
            for corner, colour in entry["corners"].items():
                y = height // 4 if corner[0] == "t" else height * 3 // 4
                x = width // 4 if corner[1] == "l" else width * 3 // 4
                # Where the corner is transparent, the manifest leaves the colour open: here it is white.
                wanted = (255, 255, 255) if colour is None else colour
                assert np.abs(pixels[y, x] - wanted).max() <= entry["tol"], (name, corner, pixels[y, x])


def test_none_takes_long_or_much_memory(outcomes):
    found, peaks = outcomes
    slow = {name: seconds for name, (_, seconds) in found.items() if seconds > SLOWEST}
    assert not slow
    assert len(peaks) == 2  # no worker was lost: each has served to the end
    assert max(peaks) < 512 << 20


def test_no_payload_of_a_polyglot_is_served(evil_images, manifest):
    marks = (b"<script", b"<?php", b"alert(", b"PK\3\4", b"<html", b"javascript")
    with DecodePool(1, HTTP_LIMITS) as pool:
        for name, entry in manifest.items():
            if name.startswith(("gen_evil/poly_", "gen_evil/trailing_", "gen_evil/exif_xss")):
                data = read(evil_images, name, entry)
                thumbnail = pool.fit(data, Preprocessing(SIDE), thumbnail=SIDE).thumbnail
                for served in (thumbnail, pool.render(data).data):
                    assert not [mark for mark in marks if mark in served.lower()], name


def test_the_folder_can_be_searched_and_every_file_has_one_fate(evil_images):
    fates = {}
    for found in find_files(evil_images):
        assert found.path not in fates
        try:
            fates[found.path] = len(read_file(evil_images, found.path, HTTP_LIMITS).data)
        except ImageError as error:
            fates[found.path] = error.problem.code
    assert len(fates) > 3086
    assert set(map(type, fates.values())) <= {int, str}
