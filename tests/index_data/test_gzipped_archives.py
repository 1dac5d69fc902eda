"""Gzipped tar archives as sources: read in place, anywhere, whatever they are made of."""

import gzip
import io
import os
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from index_data import gzip_points
from index_data.adding import add_sources, scan_roots
from index_data.containers import find_members, read_member
from index_data.gzip_points import GzipPoints
from index_data.verification import verify
from tests.index_data.conftest import items_of
from tests.index_data.test_sources import HOSTILE_NAMES, png, tar_of
from train.datasets import archives
from train.errors import ImageError
from train.images import FOLDER_LIMITS, Rejected


@pytest.fixture
def add_here(gallery, bundle):
    return lambda *places: add_sources(gallery, bundle, places, provider="cpu", workers=2, batch=16)


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.TGZ", "gzipped.tar"])
def test_a_gzipped_archive_is_a_source_whose_originals_stay_readable(gallery, add_here, bundle, tmp_path, name):
    members = {f"{number:05}.png": png(number) for number in range(20)}
    packed = gzip.compress(tar_of(tmp_path / "plain.tar", members).read_bytes())
    archive = tmp_path / name
    archive.write_bytes(packed)
    summary = add_here(archive)
    assert (summary.embedded, summary.rejected) == (20, {})
    items = items_of(gallery)
    for item in random.Random(0).sample(items, len(items)):
        assert gallery.read_original(item) == members[item.path.decode()]
    assert add_here(archive).unchanged == 20
    plain = tar_of(tmp_path / "plain.tar", {**members, "00003.png": png(77)})
    archive.write_bytes(gzip.compress(plain.read_bytes()))
    assert scan_roots(gallery, bundle, provider="cpu", workers=1).embedded == 1
    assert verify(gallery) == []


def test_hostile_names_and_links_in_a_gzipped_archive_lead_nowhere(gallery, add_here, tmp_path):
    archive = tar_of(
        tmp_path / "hostile.tar.gz",
        {name: png(number) for number, name in enumerate(HOSTILE_NAMES)},
        link=tarfile.SYMTYPE, hard=tarfile.LNKTYPE, pipe=tarfile.FIFOTYPE, device=tarfile.CHRTYPE,
    )  # fmt: skip
    summary = add_here(archive)
    assert (summary.embedded, summary.rejected) == (2, {"not_a_file": 7})


def test_an_archive_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_UNPACKED", 1 << 20)
    archive = tar_of(tmp_path / "bomb.tar.gz", {"a.png": png(1), "zeros.png": bytes(100 << 20), "z.png": png(2)})
    assert archive.stat().st_size < 1 << 20
    found = list(find_members(archive))
    assert isinstance(found[-1], Rejected)
    assert (found[-1].code, "unpacks to more than" in found[-1].detail) == ("corrupt", True)
    assert [each.path for each in found[:-1]] == [b"a.png", b"zeros.png"]
    assert read_member(archive, b"a.png", FOLDER_LIMITS).data == png(1)


@pytest.mark.parametrize("damage", ["cut", "flipped", "no gzip", "empty"])
def test_a_damaged_archive_gives_what_is_whole_and_says_what_is_wrong(gallery, add_here, tmp_path, damage):
    random_pictures = {f"{n}.png": png(n) for n in range(30)}
    archive = tar_of(tmp_path / "damaged.tar.gz", random_pictures)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        data = data[: len(data) * 2 // 3]
    elif damage == "flipped":
        data[-6] ^= 0xFF  # of the checksum
    else:
        data = bytearray(b"\x1f\x8bno gzip" if damage == "no gzip" else b"")
    archive.write_bytes(data)
    summary = add_here(archive)
    assert summary.rejected["corrupt"] >= 1
    # What shares its piece with a wrong checksum is not believed either.
    assert (summary.embedded > 0) == (damage == "cut")


def test_an_archive_that_was_replaced_is_not_taken_for_the_one_before(gallery, add_here, tmp_path):
    archive = tar_of(tmp_path / "photos.tar.gz", {"a.png": png(1)})
    add_here(archive)
    tar_of(archive, {"a.png": png(2)})
    with pytest.raises(ImageError) as refused:
        gallery.read_original(items_of(gallery)[0])
    assert refused.value.problem.code == "file_changed"


@pytest.fixture
def noise() -> bytes:
    """Ten megabytes that shrink a little."""
    return np.random.default_rng(0).integers(0, 64, 10_000_000, np.uint8).tobytes()


@pytest.mark.parametrize("members", [1, 7])
def test_any_part_of_a_gzipped_file_is_what_unpacking_it_gives(noise, tmp_path, monkeypatch, members):
    monkeypatch.setattr(gzip_points, "MOST_POINTS", 8)
    monkeypatch.setattr(gzip_points, "FIRST_SPACING", 100_000)
    monkeypatch.setattr(gzip_points, "UNPACKED_AT_ONCE", 50_000)
    length = len(noise) // members + 1
    parts = [gzip.compress(noise[start : start + length], 1) for start in range(0, len(noise), length)]
    file = tmp_path / "noise.gz"
    file.write_bytes(b"\0\0\0".join(parts) + bytes(512))  # several members, and zeros between them, as tapes have
    assert gzip.decompress(file.read_bytes()) == noise
    points = GzipPoints(file)
    chance = random.Random(members)
    for _ in range(200):
        place, size = chance.randrange(len(noise) + 1000), chance.choice([0, 1, 512, 70_000, 300_000])
        assert points.read(place, size) == noise[place : place + size]
    assert len(points._points) <= 8
    with ThreadPoolExecutor(4) as threads:
        places = range(0, len(noise), 30_000)
        assert b"".join(threads.map(lambda place: points.read(place, 30_000), places)) == noise


def test_reading_on_in_order_unpacks_the_file_once(noise, tmp_path, monkeypatch):
    file = tmp_path / "noise.gz"
    file.write_bytes(gzip.compress(noise, 1))
    unpacked = []
    step = gzip_points._Cursor.step

    def counted(cursor, opened):
        piece = step(cursor, opened)
        unpacked.append(len(piece))
        return piece

    monkeypatch.setattr(gzip_points._Cursor, "step", counted)
    points = GzipPoints(file)
    for place in range(0, len(noise), 10_000):
        points.read(max(0, place - 50_000), 10_000)  # a little behind, as one of many readers is
        points.read(place, 10_000)
    assert sum(unpacked) == len(noise)


def test_a_gzipped_file_that_breaks_off_or_is_none_is_an_error(tmp_path):
    whole = gzip.compress(os.urandom(100_000))
    for data in (whole[:50_000], b"no gzip at all", whole + b"rubbish"):
        file = tmp_path / "broken.gz"
        file.write_bytes(data)
        with pytest.raises((EOFError, gzip_points.zlib.error)):
            GzipPoints(file).read(0, 200_000)
    assert io.BytesIO(gzip.decompress(whole)).read(10) == GzipPoints(_written(tmp_path / "whole.gz", whole)).read(0, 10)


def _written(place, data):
    place.write_bytes(data)
    return place
