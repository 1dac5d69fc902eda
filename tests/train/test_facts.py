"""What cameras write into their files, read by the decode worker."""

import struct

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from tests.conftest import draw_picture, encoded
from train.decoding import DecodePool
from train.images import HTTP_LIMITS, Preprocessing

WHOLE = {
    "taken": "2019-07-21T14:03:59+02:00",
    "year": 2019,
    "camera": "Canon EOS 5D",
    "lens": "EF 50mm",
    "latitude": 48.858222,
    "longitude": -2.2945,
}


@pytest.fixture(scope="module")
def pool():
    with DecodePool(1, HTTP_LIMITS) as pool:
        yield pool


def exif_of(tags: dict, inner: dict | None = None, place: dict | None = None) -> Image.Exif:
    exif = Image.Exif()
    for number, value in tags.items():
        exif[number] = value
    exif.get_ifd(0x8769).update(inner or {})
    exif.get_ifd(0x8825).update(place or {})
    return exif


def camera_exif() -> Image.Exif:
    degrees = [IFDRational(number, 100) for number in (4800, 5100, 2960)]
    west = [IFDRational(number, 100) for number in (200, 1700, 4020)]
    return exif_of(
        {0x010F: "Canon\0", 0x0110: "Canon EOS 5D", 0x0132: "2020:01:01 00:00:00"},
        {0x9003: "2019:07:21 14:03:59", 0x9011: "+02:00", 0xA434: " EF\n50mm "},
        {1: "N", 2: degrees, 3: "W", 4: west},
    )


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_says_when_with_what_and_where_it_was_taken(pool, image_format):
    data = encoded(draw_picture(1), image_format, exif=camera_exif())
    fitted = pool.fit(data, Preprocessing(32))
    assert fitted.facts == WHOLE
    assert pool.describe(data) == fitted.facts


def test_a_tiff_says_what_its_own_tags_say(pool):
    data = encoded(draw_picture(1), "TIFF", exif=camera_exif())  # Pillow writes no inner directories into a TIFF
    told = {"taken": "2020-01-01T00:00:00", "year": 2020, "camera": "Canon EOS 5D"}
    assert pool.fit(data, Preprocessing(32)).facts == pool.describe(data) == told


def test_a_picture_without_exif_says_nothing(pool):
    assert pool.fit(encoded(draw_picture(1)), Preprocessing(32)).facts == {}
    assert pool.describe(encoded(draw_picture(1), "GIF")) == {}


@pytest.mark.parametrize(
    ("tags", "inner", "place", "told"),
    [
        ({0x010F: "NIKON CORPORATION", 0x0110: "NIKON D90"}, {}, {}, {"camera": "NIKON D90"}),
        ({0x010F: "Apple", 0x0110: "iPhone 12"}, {}, {}, {"camera": "Apple iPhone 12"}),
        ({0x010F: "Apple"}, {}, {}, {"camera": "Apple"}),
        ({0x0132: "2020-05-06 07:08:60"}, {}, {}, {"taken": "2020-05-06T07:08:59", "year": 2020}),
        ({}, {0x9003: "0000:00:00 00:00:00"}, {}, {}),
        ({}, {0x9003: "2020:13:01 00:00:00"}, {}, {}),
        ({}, {0x9003: "yesterday"}, {}, {}),
        ({}, {0x9003: "2020:02:03 04:05:06", 0x9011: "+99:99"}, {}, {"taken": "2020-02-03T04:05:06", "year": 2020}),
        ({}, {}, {1: "N", 2: [IFDRational(1, 0)] * 3, 3: "E", 4: [1.0, 2.0, 3.0]}, {}),
        ({}, {}, {1: "N", 2: [91.0, 0.0, 0.0], 3: "E", 4: [1.0, 2.0, 3.0]}, {}),
        ({}, {}, {1: "N", 2: [0.0, 0.0, 0.0], 3: "E", 4: [0.0, 0.0, 0.0]}, {}),
        ({}, {}, {1: "N", 2: [1.0], 3: "E", 4: [1.0, 2.0, 3.0]}, {}),
        ({0x0110: "x" * 5000}, {}, {}, {"camera": "x" * 200}),
        ({0x0110: "\x1b[2Jcls\x07"}, {}, {}, {"camera": "[2Jcls"}),
    ],
)
def test_what_makes_no_sense_is_left_out(pool, tags, inner, place, told):
    data = encoded(draw_picture(1), "JPEG", exif=exif_of(tags, inner, place))
    assert pool.fit(data, Preprocessing(32)).facts == told


def hostile_exif() -> dict[str, bytes]:
    header = b"Exif\0\0II*\0\x08\0\0\0"

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    many = b"".join(entry(0x0110, 2, 0xFFFFFFFF, 8) for _ in range(2000))
    return {
        "cut": header[:9],
        "a loop": header + struct.pack("<H", 1) + entry(0x8769, 4, 1, 8) + struct.pack("<I", 8),
        "a count of 4 G": header + struct.pack("<H", 1) + entry(0x0110, 2, 0xFFFFFFFF, 8) + b"\0\0\0\0",
        "many entries": header + struct.pack("<H", 2000) + many,
        "an offset beyond the end": header + struct.pack("<H", 1) + entry(0x8825, 4, 1, 0x7FFFFFFF) + b"\0\0\0\0",
        "rubbish": header + bytes(range(256)) * 8,
    }


@pytest.mark.parametrize("kind", hostile_exif())
def test_hostile_exif_says_nothing_and_hurts_nobody(pool, kind):
    data = encoded(draw_picture(1), "JPEG", exif=hostile_exif()[kind])
    decoded = pool.fit(data, Preprocessing(32))
    assert decoded.facts == {}
    assert decoded.pixels.shape == (32, 32, 3)
