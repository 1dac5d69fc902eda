import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms, ImageDraw

from tests.conftest import draw_picture, encoded
from train.decode_worker import jpeg_scans
from train.decoding import BusyError, Decoded, DecodePool, Undecoded
from train.errors import ImageError, UserError
from train.images import FOLDER_LIMITS, FORMATS, HTTP_LIMITS, THUMBNAIL_SIDE, Preprocessing

SIZE = 32
FIT = Preprocessing(SIZE)
BREAKING_WORKER = Path(__file__).with_name("breaking_worker.py")
HASTY = replace(HTTP_LIMITS, seconds=1.0, wait_seconds=1.0)

RED, GREEN, BLUE, YELLOW, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (230, 220, 40), (255, 255, 255)
QUADRANTS = (RED, GREEN, BLUE, YELLOW)  # top left, top right, bottom left, bottom right


@pytest.fixture(scope="module")
def pool():
    with DecodePool(2, HTTP_LIMITS) as pool:
        yield pool


@pytest.fixture
def breaking_pool():
    with DecodePool(2, HASTY, script=BREAKING_WORKER) as pool:
        yield pool


def quadrants(width=96, height=64, colours=QUADRANTS, mode="RGB"):
    """Four colours, so that every turn and flip shows."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for number, colour in enumerate(colours):
        x, y = number % 2 * width // 2, number // 2 * height // 2
        draw.rectangle((x, y, x + width // 2 - 1, y + height // 2 - 1), fill=colour)
    return image.convert(mode)


def centres(pixels):
    """Colours in the middle of the four quadrants."""
    near, far = pixels.shape[0] // 4, 3 * pixels.shape[0] // 4
    return [pixels[y, x].astype(int) for y in (near, far) for x in (near, far)]


def assert_quadrants(pixels, colours=QUADRANTS, tolerance=30):
    for found, colour in zip(centres(pixels), colours, strict=True):
        assert np.abs(found - colour).max() <= tolerance, (found, colour)


def refusal(pool, data, **settings):
    with pytest.raises(ImageError) as refused:
        pool.fit(data, FIT, **settings)
    return refused.value


def children():
    found = psutil.Process().children()
    return {
        child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE and "worker.py" in str(child.cmdline())
    }


# --- What comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_format_gives_the_same_picture(pool, image_format):
    decoded = pool.fit(encoded(quadrants(), image_format), FIT)
    assert_quadrants(decoded.pixels)
    assert decoded.pixels.shape == (SIZE, SIZE, 3)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.width, decoded.height, decoded.format) == (96, 64, image_format)
    assert decoded.thumbnail is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_is_turned_upright_once(pool, image_format, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose values that lay the upright picture as stored
    stored = quadrants(96, 64)
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"tiffinfo": {0x0112: orientation}} if image_format == "TIFF" else {"exif": exif}
    decoded = pool.fit(encoded(stored, image_format, **settings), FIT, thumbnail=48)
    assert (decoded.width, decoded.height) == (96, 64)
    assert_quadrants(decoded.pixels)
    assert Image.open(io.BytesIO(decoded.thumbnail)).size == (48, 32)


def test_a_large_turned_jpeg_has_its_stored_size_turned(pool):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = quadrants(2001, 3001).transpose(Image.Transpose.ROTATE_90)
    decoded = pool.fit(encoded(stored, "JPEG", exif=exif), FIT)
    assert (decoded.width, decoded.height) == (2001, 3001)
    assert_quadrants(decoded.pixels)


def grey_levels():
    return np.repeat(np.repeat(np.array([[87, 130], [52, 202]]), 32, 0), 48, 1)


GREYS = tuple((level,) * 3 for level in (87, 130, 52, 202))
ODD_MODES = {
    "greys": (lambda: encoded(Image.fromarray(grey_levels().astype(np.uint8))), GREYS),
    "greys with alpha": (lambda: encoded(Image.fromarray(grey_levels().astype(np.uint8)).convert("LA")), GREYS),
    "16-bit greys": (lambda: encoded(Image.fromarray((grey_levels() * 257).astype(np.uint16))), GREYS),
    "16-bit TIFF": (lambda: encoded(Image.fromarray((grey_levels() * 257).astype(np.uint16)), "TIFF"), GREYS),
    "32-bit 0..255": (lambda: encoded(Image.fromarray(grey_levels().astype(np.int32)), "TIFF"), GREYS),
    "32-bit 0..65535": (lambda: encoded(Image.fromarray((grey_levels() * 257).astype(np.int32)), "TIFF"), GREYS),
    "floats 0..1": (lambda: encoded(Image.fromarray((grey_levels() / 255).astype(np.float32)), "TIFF"), GREYS),
    "floats 0..255": (lambda: encoded(Image.fromarray(grey_levels().astype(np.float32)), "TIFF"), GREYS),
    "floats of any range": (
        lambda: encoded(Image.fromarray((grey_levels() * 1e6 - 5e8).astype(np.float32)), "TIFF"),
        tuple((round((level - 52) * 255 / 150),) * 3 for level in (87, 130, 52, 202)),
    ),
    "palette": (lambda: encoded(quadrants().quantize(16)), QUADRANTS),
    "two levels": (
        lambda: encoded(quadrants(colours=((0,) * 3, WHITE, WHITE, (0,) * 3)).convert("1")),
        ((0,) * 3, WHITE, WHITE, (0,) * 3),
    ),
    "CMYK JPEG": (lambda: encoded(quadrants(mode="CMYK"), "JPEG", quality=95), QUADRANTS),
    "CMYK TIFF": (lambda: encoded(quadrants(mode="CMYK"), "TIFF"), QUADRANTS),
    "YCbCr TIFF": (lambda: encoded(quadrants(mode="YCbCr"), "TIFF"), QUADRANTS),
    "LAB TIFF": (
        lambda: encoded(
            ImageCms.profileToProfile(
                quadrants(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
            ),
            "TIFF",
        ),
        QUADRANTS,
    ),
}


@pytest.mark.parametrize("mode", ODD_MODES)
def test_odd_colour_modes_come_out_right(pool, mode):
    data, colours = ODD_MODES[mode]
    assert_quadrants(pool.fit(data(), FIT).pixels, colours, tolerance=12)


def test_16_bits_are_scaled_not_cut(pool):
    level = np.full((8, 8), 4095, np.uint16)
    assert pool.fit(encoded(Image.fromarray(level)), FIT).pixels.max() == round(4095 / 257)


def transparent(colours):
    image = quadrants(mode="RGBA")
    image.paste((*colours[0], 0), (0, 0, 48, 32))
    return image


TRANSPARENT = {
    "PNG": lambda: encoded(transparent([(200, 0, 200)])),
    "WebP": lambda: encoded(transparent([(200, 0, 200)]), "WEBP", lossless=True),
    "AVIF": lambda: encoded(transparent([(200, 0, 200)]), "AVIF"),
    "TIFF": lambda: encoded(transparent([(200, 0, 200)]), "TIFF"),
    "GIF": lambda: encoded(transparent([(200, 0, 200)]), "GIF"),
    "palette": lambda: encoded(quadrants().quantize(4), transparency=quadrants().quantize(4).getpixel((5, 5))),
    "one colour": lambda: encoded(quadrants(), transparency=RED),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparent_parts_are_white(pool, kind):
    decoded = pool.fit(TRANSPARENT[kind](), FIT, thumbnail=64)
    assert_quadrants(decoded.pixels, (WHITE, GREEN, BLUE, YELLOW))
    assert_quadrants(np.asarray(Image.open(io.BytesIO(decoded.thumbnail)).resize((32, 32))), (WHITE, *QUADRANTS[1:]))


def test_values_that_are_not_finite_are_corrupt(pool):
    image = Image.fromarray(np.full((8, 8), np.nan, np.float32))
    assert refusal(pool, encoded(image, "TIFF")).problem.code == "corrupt"


def test_only_the_first_frame_counts(pool):
    others = [Image.new("RGB", (96, 64), (0, 0, number)) for number in range(20)]
    for image_format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        data = encoded(quadrants(), image_format, save_all=True, append_images=others)
        assert_quadrants(pool.fit(data, FIT).pixels)


def test_a_motion_photo_and_a_stereo_pair_are_jpegs(pool):
    motion = encoded(quadrants(), "JPEG") + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x02" * 500
    pair = encoded(quadrants(), "MPO", save_all=True, append_images=[draw_picture(1)])
    for data in (motion, pair):
        decoded = pool.fit(data, FIT)
        assert decoded.format == "JPEG"
        assert_quadrants(decoded.pixels)


def display_p3_like():
    """A matrix profile whose primaries are wider than sRGB's: sRGB with red and green exchanged, plain to see."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    tags = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "none".encode("utf-16-be"))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_embedded_profile_is_applied(pool, image_format):
    data = encoded(quadrants(), image_format, icc_profile=display_p3_like())
    decoded = pool.fit(data, FIT, thumbnail=64)
    exchanged = [(green, red, blue) for red, green, blue in QUADRANTS]
    assert_quadrants(decoded.pixels, exchanged)
    assert_quadrants(np.asarray(Image.open(io.BytesIO(decoded.thumbnail)).resize((32, 32))), exchanged)


@pytest.mark.parametrize("profile", [b"garbage" * 300, display_p3_like()[:200], b"\xff" * 128])
def test_a_damaged_profile_is_no_profile(pool, profile):
    assert_quadrants(pool.fit(encoded(quadrants(), "JPEG", icc_profile=profile), FIT).pixels)


def test_the_fit_is_the_centre_square_of_the_shorter_side(pool):
    image = Image.new("RGB", (300, 100), RED)
    image.paste(BLUE, (100, 0, 200, 100))
    pixels = pool.fit(encoded(image), FIT).pixels
    assert (pixels[2:-2, 2:-2] == BLUE).all()  # the filter looks a little beyond the edge


def test_the_fit_averages_over_all_pixels(pool):
    # A filter that takes samples only would show stripes or one of the two colours.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = pool.fit(encoded(Image.fromarray(stripes)), FIT).pixels
    assert pixels.min() >= 120
    assert pixels.max() <= 135


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3000), (7, 5)])
def test_tiny_and_thin_pictures_fill_the_square(pool, size):
    decoded = pool.fit(encoded(Image.new("RGB", size, RED)), FIT, thumbnail=100)
    assert (decoded.pixels == RED).all()
    assert (decoded.width, decoded.height) == size
    thumbnail = Image.open(io.BytesIO(decoded.thumbnail))
    assert max(thumbnail.size) == min(100, max(size))  # never enlarged


def test_a_thumbnail_is_a_webp_of_the_whole_picture(pool):
    decoded = pool.fit(encoded(quadrants(1200, 600), "JPEG"), FIT, thumbnail=THUMBNAIL_SIDE)
    thumbnail = Image.open(io.BytesIO(decoded.thumbnail))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (256, 128))
    assert_quadrants(np.asarray(thumbnail.resize((32, 32))))


def test_one_picture_gives_the_same_pixels_whoever_asks(pool, corel_photos):
    photo = sorted(corel_photos.rglob("*.jpg"))[7].read_bytes()
    large = encoded(Image.open(io.BytesIO(photo)).resize((3000, 2000)), "JPEG")
    with DecodePool(1, FOLDER_LIMITS) as other:
        for data in (photo, large):
            pixels = pool.fit(data, FIT).pixels
            assert (other.fit(data, FIT, thumbnail=THUMBNAIL_SIDE).pixels == pixels).all()
            assert (pool.fit(data, FIT, crop=(0, 0, 1, 1)).pixels == pixels).all()


def test_reduced_decoding_hardly_changes_what_the_model_sees(pool, corel_photos):
    photo = Image.open(sorted(corel_photos.rglob("*.jpg"))[7]).resize((3000, 2000), Image.Resampling.BICUBIC)
    reduced = pool.fit(encoded(photo, "JPEG", quality=95), Preprocessing(64)).pixels
    whole = pool.fit(encoded(photo), Preprocessing(64)).pixels
    assert np.abs(reduced.astype(int) - whole).mean() < 1.5  # grey levels


def test_a_crop_takes_shares_of_the_upright_picture(pool):
    data = encoded(quadrants())
    for crop, colour in zip(
        [(0, 0, 0.5, 0.5), (0.5, 0, 0.5, 0.5), (0, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)], QUADRANTS, strict=True
    ):
        decoded = pool.fit(data, FIT, crop=crop, thumbnail=40)
        assert (decoded.pixels == colour).all()
        assert (decoded.width, decoded.height) == (96, 64)
        assert Image.open(io.BytesIO(decoded.thumbnail)).size == (40, 27)


def test_a_small_crop_of_a_large_photo_keeps_its_detail(pool):
    image = Image.new("RGB", (4000, 4000), WHITE)
    fine = draw_picture(3, 400, 400)
    image.paste(fine, (1000, 2000))
    cut = pool.fit(encoded(image, "JPEG", quality=95), Preprocessing(128), crop=(0.25, 0.5, 0.1, 0.1)).pixels
    alone = pool.fit(encoded(fine, "PNG"), Preprocessing(128)).pixels
    assert np.abs(cut.astype(int) - alone).mean() < 3


@pytest.mark.parametrize(
    "crop", [(0, 0, 0, 1), (0.5, 0, 0.6, 1), (-0.1, 0, 1, 1), (0, 0, 1, float("nan")), (1, 0, 0, 1)]
)
def test_an_impossible_crop_is_refused(pool, crop):
    with pytest.raises(UserError, match="crop"):
        pool.fit(encoded(quadrants()), FIT, crop=crop)


@pytest.mark.parametrize("crop", [(0.999999, 0.999999, 1e-9, 1e-9), (0, 0, 1e-9, 1), (1 / 3, 1 / 3, 2 / 3, 2 / 3)])
def test_the_smallest_crop_has_a_pixel(pool, crop):
    assert pool.fit(encoded(quadrants()), FIT, crop=crop).pixels.shape == (SIZE, SIZE, 3)


# --- Encoding anew ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encode_as", "content_type"), [("WEBP", "image/webp"), ("JPEG", "image/jpeg"), ("PNG", "image/png")]
)
def test_a_picture_is_rendered_upright_and_small(pool, encode_as, content_type):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(quadrants(1000, 600).transpose(Image.Transpose.ROTATE_180), "JPEG", exif=exif)
    rendered = pool.render(data, 500, encode_as)
    image = Image.open(io.BytesIO(rendered.data))
    assert (image.format, image.size, rendered.content_type) == (encode_as, (500, 300), content_type)
    assert (rendered.width, rendered.height) == (500, 300)
    assert_quadrants(np.asarray(image.convert("RGB").resize((32, 32))))


def test_a_picture_is_decoded_whole_and_upright_as_bare_pixels(pool):
    drawn = draw_picture(3, 90, 41)
    assert np.array_equal(pool.pixels(encoded(drawn)), np.asarray(drawn))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    turned = pool.pixels(encoded(drawn, exif=exif))
    assert np.array_equal(turned, np.rot90(np.asarray(drawn), -1))
    with pytest.raises(ImageError):
        pool.pixels(b"no image")


def test_a_picture_is_rendered_at_its_size_and_never_enlarged(pool):
    data = encoded(quadrants())
    assert pool.render(data).width == 96
    assert pool.render(data, 500).width == 96
    thin = pool.render(encoded(Image.new("RGB", (16_384, 2), RED), "PNG"))
    assert (thin.width, thin.height) == (16_383, 2)  # all that WebP holds
    assert pool.render(encoded(Image.new("RGB", (3000, 2)), "JPEG"), 300).width == 300


@pytest.mark.parametrize("encode_as", ["WEBP", "JPEG", "PNG"])
def test_nothing_of_the_file_but_its_pixels_is_served(pool, encode_as):
    secret = b"<script>SECRET</script>"
    exif = Image.Exif()
    exif[0x010F] = secret.decode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("SECRET", secret)
    jpeg = encoded(quadrants(), "JPEG", exif=exif, comment=secret, icc_profile=display_p3_like() + secret)
    gif = encoded(quadrants(), "GIF", comment=secret)
    for data in (jpeg + archive.getvalue(), gif + secret):
        assert b"SECRET" in data
        decoded = pool.fit(data, FIT, thumbnail=64)
        for served in (pool.render(data, None, encode_as).data, decoded.thumbnail):
            assert b"SECRET" not in served
            assert not {"exif", "icc_profile", "comment"} & Image.open(io.BytesIO(served)).info.keys()


# --- What is refused ----------------------------------------------------------------------------------------------


def jpeg_of_many_scans(scans):
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(Image.new("RGB", (64, 64), RED), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * (scans - 10) + data[end:]


def test_the_limits_refuse_before_decoding(pool):
    started = time.monotonic()
    assert refusal(pool, b"").problem.code == "empty"
    assert refusal(pool, b"\xff\xd8\xff" + bytes(HTTP_LIMITS.bytes)).problem.code == "body_too_large"
    assert refusal(pool, encoded(Image.new("1", (8000, 7000)))).problem.code == "too_many_pixels"
    assert refusal(pool, encoded(Image.new("1", (16_385, 1)))).problem.code == "too_many_pixels"
    assert refusal(pool, jpeg_of_many_scans(65)).problem.code == "too_complex"
    assert refusal(pool, b"PK\3\4").problem.code == "unsupported_format"
    assert pool.fit(jpeg_of_many_scans(64), FIT).width == 64
    assert pool.fit(encoded(Image.new("1", (16_384, 1))), FIT).width == 16_384
    assert time.monotonic() - started < 5


def test_a_large_baseline_jpeg_is_decoded_and_a_progressive_one_is_not(pool):
    image = Image.new("L", (10_000, 6_000), 99)
    assert pool.fit(encoded(image, "JPEG"), FIT).width == 10_000
    assert refusal(pool, encoded(image, "JPEG", progressive=True)).problem.code == "too_many_pixels"


def test_a_jpeg_that_promises_more_pixels_than_it_can_hold_is_corrupt(pool):
    data = bytearray(encoded(Image.new("RGB", (64, 64), RED), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (8000).to_bytes(2, "big") * 2
    assert refusal(pool, bytes(data)).problem.code == "corrupt"


def test_what_starts_like_an_image_and_is_none_is_corrupt(pool):
    for image_format in FORMATS:
        head = encoded(quadrants(), image_format)[:32]
        assert refusal(pool, head).problem.code == "corrupt"
        assert refusal(pool, head + b"\xff" * 500).problem.code in {"corrupt", "too_many_pixels"}


def test_what_a_decoder_says_is_one_short_printable_line(pool):
    for number in range(20):
        data = bytearray(encoded(quadrants(), "TIFF"))
        data[8:60] = random.Random(number).randbytes(52)
        try:
            pool.fit(bytes(data), FIT)
        except ImageError as error:
            assert error.detail.isprintable()
            assert len(error.detail) <= 300


@pytest.mark.parametrize("image_format", FORMATS)
def test_no_truncated_file_is_taken_for_a_picture(pool, image_format):
    data = encoded(draw_picture(5, 40, 40), image_format)
    whole = pool.fit(data, FIT).pixels
    for share in range(1, 100):
        try:
            decoded = pool.fit(data[: len(data) * share // 100], FIT)
        except ImageError as error:
            assert error.problem.code in {"corrupt", "empty", "unsupported_format"}
        else:
            # A GIF is not read beyond its first frame: what follows is not missed.
            assert image_format == "GIF"
            assert share >= 98
            assert (decoded.pixels == whole).all()


def test_a_flipped_bit_in_a_png_is_found(pool):
    data = encoded(draw_picture(1))
    generator = random.Random(1)
    for _ in range(60):
        flipped = bytearray(data)
        flipped[generator.randrange(8, len(data))] ^= 1 << generator.randrange(8)
        assert refusal(pool, bytes(flipped)).problem.code in {"corrupt", "too_many_pixels"}


def count_scans_slowly(data):
    """Walk a JPEG byte by byte, as the standard describes it."""
    position, scans = 2, 0
    while position < len(data):
        if data[position] != 0xFF or data[position + 1] in {0x00, 0xFF, *range(0xD0, 0xD8)}:
            position += 1
            continue
        marker = data[position + 1]
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return scans


def test_scans_are_counted_as_the_standard_has_them():
    generator = random.Random(4)
    for number in range(60):
        image = draw_picture(number, generator.randrange(8, 90), generator.randrange(8, 90))
        progressive = bool(number % 2)
        data = encoded(
            image.convert(generator.choice(["RGB", "L", "CMYK"])),
            "JPEG",
            progressive=progressive,
            quality=generator.randrange(5, 100),
            restart_marker_blocks=generator.choice([0, 1, 7]),
            comment=b"\xff\xda\xff\xd9" * 3,
        )
        scans, single_pass = jpeg_scans(data + b"\xff\xda\0\2" * number)
        assert scans == count_scans_slowly(data)
        assert single_pass is not progressive


def mutated(data, generator):
    """One to four of the changes that have broken decoders before."""
    for _ in range(generator.randint(1, 4)):
        position = generator.randrange(max(len(data), 1))
        length = generator.choice([1, 1, 2, 4, 16, 200])
        match generator.randrange(6):
            case 0:
                change = bytes([data[position] ^ (1 << generator.randrange(8))]) if data else b"\0"
                data = data[:position] + change + data[position + 1 :]
            case 1:
                extreme = generator.choice([b"\xff", b"\0", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\1"])
                data = data[:position] + extreme + data[position + len(extreme) :]
            case 2:
                data = data[:position] + generator.randbytes(length) + data[position + length :]
            case 3:
                data = data[:position] + data[position + length :]
            case 4:
                data = data[:position] + data[position : position + length] * 3 + data[position + length :]
            case 5:
                data = data[:position] if generator.random() < 0.3 else data
    return data


def seeds():
    """Small files of every format and many modes."""
    yield from (data() for data, _ in ODD_MODES.values())
    yield from (data() for data in TRANSPARENT.values())
    exif = Image.Exif()
    exif[0x0112] = 6
    for image_format in FORMATS:
        yield encoded(draw_picture(2, 40, 30), image_format, **({"exif": exif} if image_format != "TIFF" else {}))
    yield encoded(draw_picture(2, 40, 30), "JPEG", progressive=True)
    for image_format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        yield encoded(quadrants(24, 16), image_format, save_all=True, append_images=[quadrants(24, 16)])
    for compression in ("tiff_lzw", "jpeg", "group4", "zstd", "packbits"):
        image = quadrants(24, 16, mode="1" if compression == "group4" else "RGB")
        yield encoded(image, "TIFF", compression=compression)


@pytest.mark.parametrize("count", [2000, pytest.param(200_000, marks=pytest.mark.full)])
def test_mutants_are_refused_or_decoded_and_nothing_else_happens(pool, count, request):
    generator = random.Random(20260)
    files = list(seeds())
    if count > 2000:
        evil = request.getfixturevalue("evil_images")
        files += [file.read_bytes() for file in evil.rglob("*") if file.is_file() and file.stat().st_size < 20_000]
    mutants = (mutated(generator.choice(files), generator) for _ in range(count))
    before, codes = children(), {}
    for mutant, outcome in pool.map(lambda data: timed_fit(pool, data), mutants):
        code = outcome.problem.code if isinstance(outcome, ImageError) else "ok"
        codes[code] = codes.get(code, 0) + 1
        assert code in {"ok", "corrupt", "too_many_pixels", "too_complex", "unsupported_format", "empty"}, mutant.hex()
    assert codes["ok"] > count / 20
    assert codes["corrupt"] > count / 5
    if count <= 2000:
        assert before <= children()  # none was lost
    for child in children():
        assert psutil.Process(child).memory_info().rss < 512 << 20


def timed_fit(pool, data):
    started = time.monotonic()
    try:
        return pool.fit(data, FIT, thumbnail=64)
    finally:
        assert time.monotonic() - started < 5, data.hex()


# --- Workers that break down --------------------------------------------------------------------------------------

GOOD = encoded(quadrants(), "JPEG")


@pytest.mark.parametrize(
    ("breakdown", "code", "said"),
    [
        (b"SEGFAULT", "decode_crashed", "SIGSEGV"),
        (b"KILLED", "decode_crashed", "SIGKILL"),
        (b"EXIT", "decode_crashed", "exit code 3"),
        (b"RUBBISH", "decode_crashed", "makes no sense"),
        (b"LIST", "decode_crashed", "makes no sense"),
        (b"NO SIZE", "decode_crashed", "makes no sense"),
        (b"ENDLESS", "decode_crashed", "no answer"),
        (b"SLEEP", "decode_timeout", "within 1 s"),
        (b"SPIN", "decode_timeout", "within 1 s"),
        (b"MEMORY", "too_many_pixels", "more memory"),
        (b"RECURSION", "corrupt", "RecursionError"),
    ],
)
def test_a_breakdown_costs_one_picture(breaking_pool, breakdown, code, said, caplog):
    breaking_pool.fit(GOOD, FIT)
    started = time.monotonic()
    error = refusal(breaking_pool, GOOD + breakdown)
    assert error.problem.code == code
    assert said in error.detail
    assert time.monotonic() - started < HASTY.seconds + 1.5  # alone, 0.1
    assert_quadrants(breaking_pool.fit(GOOD, FIT).pixels)
    if code in {"decode_crashed", "decode_timeout"}:
        assert "sha256" in caplog.text


def test_many_deaths_under_load_lose_no_worker_and_no_other_picture(breaking_pool):
    files = [GOOD + (b"SEGFAULT" if number % 5 == 0 else b"") for number in range(200)]
    outcomes = [outcome for _, outcome in breaking_pool.map(lambda data: breaking_pool.fit(data, FIT), files)]
    for number, outcome in enumerate(outcomes):
        if number % 5 == 0:
            assert outcome.problem.code == "decode_crashed"
        else:
            assert_quadrants(outcome.pixels)
    assert len(children()) <= 4  # two of this pool, two of the module's


def test_a_worker_that_dies_at_rest_is_replaced_unnoticed(breaking_pool):
    before = children()
    breaking_pool.fit(GOOD, FIT)
    [pid] = children() - before
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=1)
    breaking_pool.fit(GOOD, FIT)


def test_a_worker_is_replaced_after_so_many_pictures(breaking_pool):
    before, seen = children(), set()
    for _ in range(45):  # 20 each
        breaking_pool.fit(GOOD, FIT)
        seen |= children() - before
    assert len(seen) == 3


def test_workers_start_when_they_are_needed():
    before = children()
    with DecodePool(8, HTTP_LIMITS) as pool:
        assert children() == before
        pool.fit(GOOD, FIT)
        pool.fit(GOOD, FIT)
        assert len(children() - before) == 1
    assert children() == before


def test_workers_leave_signals_to_their_parent(breaking_pool):
    before = children()
    breaking_pool.fit(GOOD, FIT)
    [pid] = children() - before
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    breaking_pool.fit(GOOD, FIT)
    assert children() - before == {pid}
    assert os.getpgid(pid) != os.getpgid(0)  # the terminal's Ctrl-C does not even reach them


def test_a_worker_may_do_nothing_but_decode(breaking_pool, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_SERVE_TOKEN", "secret")
    facts = json.loads(refusal(breaking_pool, GOOD + b"ALLOWED").detail.split("ValueError: ")[-1])
    assert facts["FSIZE"] == facts["CORE"] == 0
    assert facts["NOFILE"] == 32
    assert 1 << 30 <= facts["AS"] <= 2 << 30
    assert facts["privileges"]
    assert facts["oom"] == "1000"
    assert not [name for name in facts["environment"] if "LOOKALIKE" in name]
    assert facts["nice"] >= 5
    assert not facts["numpy"]


def test_no_other_parser_is_loaded(breaking_pool):
    for data in (GOOD, encoded(quadrants(), "MPO", save_all=True, append_images=[quadrants()])):
        breaking_pool.fit(data, FIT)
    for image_format in ("EPS", "PPM", "ICO", "PDF", "TGA", "PCX"):
        assert refusal(breaking_pool, encoded(quadrants(), image_format)).problem.code == "unsupported_format"
    loaded = refusal(breaking_pool, GOOD + b"LOADED").detail.split()
    expected = {"Avif", "Bmp", "Gif", "Jpeg", "Mpo", "Png", "Tiff", "WebP"}
    assert {name.removeprefix("PIL.").removesuffix("ImagePlugin") for name in loaded} <= expected


def test_a_worker_that_cannot_start_is_a_bug_and_no_fault_of_the_picture(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text("raise SystemExit(9)")
    with DecodePool(1, HTTP_LIMITS, script=script) as pool:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="exit code 9"):
                pool.fit(GOOD, FIT)


@pytest.mark.parametrize("breakdown", [b"", b"SPIN", b"SLEEP"])
def test_no_worker_outlives_a_parent_that_is_killed(breakdown):
    program = """
        import sys, threading, time, pathlib
        from train.decoding import DecodePool
        from train.images import FOLDER_LIMITS, Preprocessing
        data = bytes.fromhex(sys.argv[2])
        pool = DecodePool(1, FOLDER_LIMITS, script=pathlib.Path(sys.argv[1]))
        pool.fit(data, Preprocessing(8))
        broken = bytes.fromhex(sys.argv[3])
        if broken:
            threading.Thread(target=pool.fit, args=(data + broken, Preprocessing(8)), daemon=True).start()
            time.sleep(0.3)
        print("ready", flush=True)
        time.sleep(600)
    """
    arguments = [str(BREAKING_WORKER), GOOD.hex(), breakdown.hex()]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout.readline() == b"ready\n"
        [worker] = psutil.Process(parent.pid).children()
        parent.kill()
        deadline = time.monotonic() + 2
        while has_not_ended(worker):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def has_not_ended(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- Many at once -------------------------------------------------------------------------------------------------


def test_the_order_is_kept_and_a_bad_file_costs_only_itself(pool):
    files = {number: encoded(draw_picture(number)) for number in range(30)}
    files[7], files[20] = b"\xff\xd8\xffnonsense", files[20][:100]
    sources = [(number, lambda data=data: data) for number, data in files.items()]
    outcomes = dict(pool.map_fit(sources, FIT, thumbnail=32))
    assert list(outcomes) == list(files)
    for number, outcome in outcomes.items():
        if number in {7, 20}:
            assert outcome.problem.code == "corrupt"
        else:
            assert (outcome.pixels == pool.fit(files[number], FIT).pixels).all()


def test_a_reader_that_refuses_is_one_bad_file_and_one_that_fails_is_a_bug(pool):
    def refuse():
        raise ImageError("It is gone.", code="file_missing")

    def fail():
        raise ZeroDivisionError

    outcomes = pool.map_fit([(1, refuse), (2, lambda: GOOD), (3, fail), (4, lambda: GOOD)], FIT)
    assert next(outcomes)[1].problem.code == "file_missing"
    assert isinstance(next(outcomes)[1], Decoded)
    with pytest.raises(ZeroDivisionError):
        next(outcomes)


def test_the_work_goes_on_while_the_caller_is_busy_but_not_without_bound(pool):
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = pool.map(lambda number: number * 2, items(), in_advance=10)
    assert next(results) == (0, 0)
    time.sleep(0.1)
    assert len(taken) == 11
    assert list(itertools.islice(results, 500))[-1] == (500, 1000)
    assert len(taken) <= 512
    results.close()


def test_leaving_early_drops_what_is_not_begun():
    started = []
    with DecodePool(2, replace(HASTY, seconds=60.0), script=BREAKING_WORKER) as pool:

        def work(data):
            started.append(data)
            return pool.fit(data, FIT)

        begun = time.monotonic()
        for _ in pool.map(work, [GOOD, *[GOOD + b"SLEEP"] * 100]):
            break
    assert time.monotonic() - begun < 10  # nobody waited for the sleepers
    assert len(started) <= 5


# --- Small files together ----------------------------------------------------------------------------------------


def test_files_that_are_decoded_together_come_out_as_each_alone(pool):
    large = encoded(Image.new("RGB", (2600, 2000), RED))  # asks for memory, which it can only do alone
    files = [encoded(draw_picture(number), image_format) for number, image_format in enumerate(FORMATS)]
    files += [b"\xff\xd8\xffnonsense", large, b"no image", b"", files[0][:100], *[GOOD] * 40]
    for thumbnail in (None, 32):
        for data, outcome in zip(files, pool.fit_all(files, FIT, thumbnail=thumbnail), strict=True):
            try:
                alone = pool.fit(data, FIT, thumbnail=thumbnail)
            except ImageError as refused:
                assert (outcome.problem.code, outcome.detail) == (refused.problem.code, refused.detail)
            else:
                assert (outcome.pixels == alone.pixels).all()
                assert replace(outcome, pixels=FIT) == replace(alone, pixels=FIT)
    assert pool.fit_all([], FIT) == []


@pytest.mark.parametrize("breakdown", [b"SEGFAULT", b"EXIT", b"RUBBISH", b"LIST", b"NO SIZE", b"ENDLESS", b"SLEEP"])
def test_a_file_that_breaks_the_worker_costs_no_other_that_was_sent_with_it(breaking_pool, breakdown):
    files = [GOOD] * 5 + [GOOD + breakdown] + [GOOD] * 5
    outcomes = breaking_pool.fit_all(files, FIT)
    assert outcomes[5].problem.code == ("decode_timeout" if breakdown == b"SLEEP" else "decode_crashed")
    for outcome in outcomes[:5] + outcomes[6:]:
        assert_quadrants(outcome.pixels)


def test_many_breakdowns_among_many_files_are_named_one_by_one(breaking_pool):
    files = [GOOD + (b"SEGFAULT" if number % 9 == 0 else b"") for number in range(100)]
    outcomes = list(breaking_pool.map_fit([(number, partial(bytes, data)) for number, data in enumerate(files)], FIT))
    assert [number for number, _ in outcomes] == list(range(100))
    for number, outcome in outcomes:
        if number % 9 == 0:
            assert outcome.problem.code == "decode_crashed"
        else:
            assert_quadrants(outcome.pixels)
    assert len(children()) <= 4


def test_files_that_are_decoded_together_count_one_by_one_for_the_replacement_of_a_worker(breaking_pool):
    before, seen = children(), set()
    for _ in range(6):  # a worker has enough after 20
        breaking_pool.fit_all([GOOD] * 10, FIT)
        seen |= children() - before
    assert len(seen) == 3


def test_what_needs_no_decoding_comes_out_in_its_place(pool):
    def read(number):
        if number % 3 == 0:
            return number
        if number % 3 == 1:
            raise ImageError("It is gone.", code="file_missing")
        return Undecoded(GOOD, lambda decoded: (number, decoded.width))

    outcomes = list(pool.fit_each(read, range(60), FIT))
    assert [item for item, _ in outcomes] == list(range(60))
    for number, outcome in outcomes:
        expected = [number, "file_missing", (number, 96)][number % 3]
        assert (outcome.problem.code if isinstance(outcome, ImageError) else outcome) == expected


def test_what_fails_after_decoding_is_raised_where_its_result_is_asked_for(pool):
    def read(number):
        return Undecoded(GOOD, lambda decoded: decoded.width // (number - 20))

    outcomes = pool.fit_each(read, range(40), FIT)
    assert len(list(itertools.islice(outcomes, 20))) == 20
    with pytest.raises(ZeroDivisionError):
        next(outcomes)


def test_leaving_early_drops_files_that_nobody_has_read():
    read = []
    with DecodePool(2, replace(HASTY, seconds=60.0), script=BREAKING_WORKER) as pool:

        def read_one(data):
            read.append(data)
            return Undecoded(data, lambda decoded: decoded)

        begun = time.monotonic()
        outcomes = pool.fit_each(read_one, [GOOD, *[GOOD + b"SLEEP"] * 500], FIT, in_advance=300)
        next(outcomes)
        outcomes.close()
    assert time.monotonic() - begun < 20  # nobody waited for the sleepers
    assert len(read) <= 5 * 16


def test_closing_ends_what_runs():
    with (
        DecodePool(2, replace(HASTY, seconds=60.0), script=BREAKING_WORKER) as pool,
        ThreadPoolExecutor(2) as threads,
    ):
        futures = [threads.submit(pool.fit, GOOD + b"SLEEP", FIT) for _ in range(2)]
        time.sleep(0.4)
        started = time.monotonic()
        pool.close()
        for future in futures:
            with pytest.raises(BusyError, match="shut down"):
                future.result()
        assert time.monotonic() - started < 10
        with pytest.raises(BusyError, match="shut down"):
            pool.fit(GOOD, FIT)


def test_closing_twice_or_unused_is_fine():
    pool = DecodePool(2, HTTP_LIMITS)
    pool.close()
    pool.close()


def test_who_waits_too_long_for_a_worker_is_told_to_come_again():
    limits = replace(HASTY, seconds=3.0, wait_seconds=0.2)
    with DecodePool(1, limits, script=BREAKING_WORKER) as pool, ThreadPoolExecutor(1) as threads:
        pool.fit(GOOD, FIT)
        sleeper = threads.submit(pool.fit, GOOD + b"SLEEP", FIT)
        with pytest.raises(BusyError) as busy:
            while not sleeper.done():
                pool.fit(GOOD, FIT)
        assert busy.value.problem.code == "busy"
        assert sleeper.exception().problem.code == "decode_timeout"
        pool.fit(GOOD, FIT)


def test_large_pictures_wait_for_memory_and_small_ones_do_not():
    large = encoded(Image.new("RGB", (2600, 2000), RED))  # 42 MB by the estimate
    together = threading.Barrier(4)
    with DecodePool(4, replace(HTTP_LIMITS, wait_seconds=None), memory=50 << 20) as pool:

        def fit(data):
            together.wait()
            return pool.fit(data, FIT)

        with ThreadPoolExecutor(4) as threads:
            decoded = list(threads.map(fit, [large, GOOD, large, large]))
    assert [picture.width for picture in decoded] == [2600, 96, 2600, 2600]


def test_who_waits_too_long_for_memory_is_told_to_come_again_and_the_worker_is_kept():
    large = encoded(Image.new("RGB", (2600, 2000), RED))
    with (
        DecodePool(3, replace(HTTP_LIMITS, wait_seconds=0.0), memory=1 << 20) as pool,
        ThreadPoolExecutor(3) as threads,
    ):
        before = children()
        list(threads.map(lambda _: pool.fit(GOOD, FIT), range(9)))
        outcomes = list(threads.map(lambda _: outcome_of(lambda: pool.fit(large, FIT)), range(9)))
        assert all(isinstance(outcome, Decoded) or outcome.problem.code == "busy" for outcome in outcomes)
        assert any(isinstance(outcome, Decoded) for outcome in outcomes)
        assert any(isinstance(outcome, UserError) for outcome in outcomes)
        pool.fit(large, FIT)
        assert len(children() - before) <= 3


def outcome_of(call):
    try:
        return call()
    except UserError as error:
        return error


@pytest.mark.full
def test_many_of_the_largest_pictures_at_once_stay_within_the_memory():
    data = encoded(Image.new("RGB", (8000, 6200), RED), "WEBP", lossless=True, method=0)
    limits = replace(HTTP_LIMITS, seconds=60.0, wait_seconds=None)
    peak, done = 0, threading.Event()
    with DecodePool(16, limits) as pool, ThreadPoolExecutor(16) as threads:
        futures = [threads.submit(pool.fit, data, FIT) for _ in range(16)]
        threading.Thread(target=lambda: ([future.result() for future in futures], done.set())).start()
        while not done.wait(0.02):
            peak = max(peak, sum(psutil.Process(child).memory_info().rss for child in children()))
        assert all(future.result().width == 8000 for future in futures)
    assert peak < (1 << 30) + 16 * (64 << 20)
