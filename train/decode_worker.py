"""The child process in which images are decoded: untrusted bytes live only here.

Started by `train/decoding.py` as a script, `python -I -S`: it imports Pillow and the standard library, nothing of
ours. It reads one request after another from stdin and answers on stdout; a picture that crashes, hangs or eats
memory ends this process and no other.

A frame, either way: lengths of the header and of the data (two little-endian uint32), the header as JSON, the data.
"""

import contextlib
import ctypes
import functools
import io
import json
import math
import os
import re
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageCms import ImageCmsTransform

LENGTHS = struct.Struct("<II")  # bytes of the header, bytes of the data
USUAL_BYTES = 64 << 10  # most frames are smaller
LARGEST_READ = 1 << 20  # what a pipe holds
READABLE = {"JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "GIF": "Gif", "BMP": "Bmp", "TIFF": "Tiff", "AVIF": "Avif"}
RETIRE_AFTER_IMAGES = 5000  # leaks of C libraries, if any, end here
RETIRE_ABOVE_BYTES = 400 << 20  # resident memory
IMAGES_BETWEEN_LOOKS = 16  # at the resident memory
UNASKED_BYTES = 32 << 20  # decoding below this needs no leave: it is part of what a worker costs
MAX_PROFILE_BYTES = 4 << 20  # CMYK profiles have 0.5 to 2 MB

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS = 38
_NICENESS = 5
_LIBC = ctypes.CDLL(None, use_errno=True)

Header = dict[str, Any]
Admit = Callable[[int], None]


class Refused(Exception):
    """This image is not decoded; the code is one of `train.errors.PROBLEMS`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


# --- The process --------------------------------------------------------------------------------------------------


def main() -> None:
    """Serve requests until stdin ends or it is time for a fresh process."""
    settings = json.loads(sys.argv[1])
    channel = Channel()
    try:
        _confine(settings["address_space"], settings["parent"])
        _prepare_pillow(settings["search_path"])
    except Exception as error:  # noqa: BLE001 (the parent shows it: the installation is broken)
        channel.send({"fatal": f"{type(error).__name__}: {error}"})
        return
    channel.send({"ready": True})
    served = 0
    while (received := channel.receive()) is not None:
        request = json.loads(received[0]) | settings["policy"]
        before, served = served, served + len(request.get("formats", [None]))
        reply, payload = answer(request, received[1], channel.admit)
        del received
        channel.give_memory_back()
        reply["retire"] = _should_retire(before, served)
        channel.send(reply, payload)
        if reply["retire"]:
            return


def _confine(address_space: int, parent: int) -> None:
    """Give up what decoding does not need."""
    # The terminal's Ctrl-C and a service manager's SIGTERM reach the whole group; the parent says when to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_PDEATHSIG, signal.SIGKILL)):
        if _LIBC.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option})")
    if os.getppid() != parent:
        os._exit(0)  # it died before it could be watched
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # where memory runs out, this process is the one to go
    limits = {
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
    }
    if os.geteuid() != 0:
        limits[resource.RLIMIT_NPROC] = 0
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
    os.nice(_NICENESS)


class _OtherFormats:
    """Keeps Pillow's other parsers out: they are never asked, so they need not be there.

    A finder by its method only: the base class and `dataclasses` would add 20 ms to the 60 ms of a start.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        allowed = {f"PIL.{name}ImagePlugin" for name in (*READABLE.values(), "Mpo")}
        if fullname.startswith("PIL.") and fullname.endswith("ImagePlugin") and fullname not in allowed:
            raise ModuleNotFoundError(f"{fullname} is not used here", name=fullname)


def _prepare_pillow(search_path: str) -> None:
    sys.path.append(search_path)
    sys.meta_path.insert(0, _OtherFormats())
    for name in READABLE.values():
        __import__(f"PIL.{name}ImagePlugin")
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # Filters are global to a process: set once. A warning of a bomb is a refusal, all others are noise.
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _should_retire(before: int, served: int) -> bool:
    """Say whether a fresh process should take over: after so many images, or where this one has grown.

    Args:
        before: Images that were served before the last request.
        served: And with it.
    """
    if served >= RETIRE_AFTER_IMAGES:
        return True
    if served // IMAGES_BETWEEN_LOOKS == before // IMAGES_BETWEEN_LOOKS:
        return False
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 (pathlib would cost a worker's start 3 ms)
        return int(file.read().split()[1]) * resource.getpagesize() > RETIRE_ABOVE_BYTES


# --- Frames -------------------------------------------------------------------------------------------------------


def frame(header: Header, data: bytes) -> Iterator[memoryview]:
    """A frame in as few pieces as can be: each write wakes the other side up."""
    encoded = json.dumps(header).encode()
    yield memoryview(LENGTHS.pack(len(encoded), len(data)) + encoded + data[:USUAL_BYTES])
    if len(data) > USUAL_BYTES:
        yield memoryview(data)[USUAL_BYTES:]


def read_frame(read: Callable[[int], bytes], most: int | None = None) -> tuple[bytes, bytes] | None:
    """Read one frame: the two sides take turns, so no other can follow it yet.

    Args:
        read: Gives some bytes, at most as many as asked for; none where the other side has closed its end.
        most: Bytes; where more are announced, nothing is read.

    Returns:
        The header as JSON and the data, or None at the end.
    """
    parts, missing = [b""], LENGTHS.size
    while missing > 0:
        parts[0] += (part := read(USUAL_BYTES))
        if not part:
            return None
        missing = LENGTHS.size - len(parts[0])
    header_length, data_length = LENGTHS.unpack_from(parts[0])
    if most is not None and header_length + data_length > most:
        return None
    missing = LENGTHS.size + header_length + data_length - len(parts[0])
    while missing > 0:
        parts.append(part := read(min(missing, LARGEST_READ)))
        if not part:
            return None
        missing -= len(part)
    start = LENGTHS.size + header_length
    if len(parts[0]) < start:
        parts = [b"".join(parts)]
    header = parts[0][LENGTHS.size : start]
    parts[0] = parts[0][start:]
    return header, b"".join(parts)


class Channel:
    """The child's side of the two pipes."""

    def __init__(self) -> None:
        """Take stdin and stdout away from everybody else: what a C library prints goes nowhere."""
        self._requests, self._answers = os.dup(0), os.dup(1)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        self._admitted = False

    def receive(self) -> tuple[bytes, bytes] | None:
        """Wait for a frame; None is the end."""
        return read_frame(functools.partial(os.read, self._requests))

    def send(self, header: Header, data: bytes = b"") -> None:
        """Write a whole frame."""
        for piece in frame(header, data):
            rest = piece
            while rest:
                rest = rest[os.write(self._answers, rest) :]

    def admit(self, needed: int) -> None:
        """Ask the parent whether an image may take this much memory now."""
        if needed <= UNASKED_BYTES:
            return
        self.send({"needs": needed})
        reply = self.receive()
        if reply is None or not json.loads(reply[0])["admitted"]:
            raise Refused("busy", "Decoding takes all the memory it may have: try again in a moment.")
        self._admitted = True

    def give_memory_back(self) -> None:
        """Return what a large image took: glibc would keep 200 MB after one of 50 megapixels."""
        if self._admitted:
            self._admitted = False
            with contextlib.suppress(AttributeError):  # other C libraries give it back by themselves
                _LIBC.malloc_trim(0)


# --- One request --------------------------------------------------------------------------------------------------


def answer(request: Header, data: bytes, admit: Admit) -> tuple[Header, bytes]:
    """Do what a request asks; whatever goes wrong with its image is a refusal with a code."""
    from PIL import Image, UnidentifiedImageError

    try:
        if request["task"] == "fit all":
            return _fit_all(request, data)
        if request["task"] == "fit":
            return _fit(request, data, admit)
        if request["task"] == "describe":
            return {"width": 0, "height": 0, "lengths": [], "facts": facts(_open(data, request["format"]))}, b""
        return _render(request, data, admit)
    except Refused as refusal:
        return {"code": refusal.code, "detail": refusal.detail}, b""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return {"code": "too_many_pixels", "detail": "It has more pixels than are decoded."}, b""
    except MemoryError:
        return {"code": "too_many_pixels", "detail": "Decoding it takes more memory than a decoder may have."}, b""
    except UnidentifiedImageError:
        return {"code": "corrupt", "detail": f"It starts like {request['format']}, but is not."}, b""
    # One failure in ten of Pillow's is no OSError: this is the one boundary behind which no error of a decoder gets.
    except Exception as error:  # noqa: BLE001
        return {"code": "corrupt", "detail": f"It cannot be decoded: {type(error).__name__}: {error}"}, b""


class _Alone(BaseException):  # no Exception: `answer` would take it for damage
    """This image takes more memory than one among others may: it needs a request of its own."""


def _fit_all(request: Header, data: bytes) -> tuple[Header, bytes]:
    """Several small files in one exchange: what each would be answered by itself, and where it has to be."""

    def admit(needed: int) -> None:
        if needed > UNASKED_BYTES:
            raise _Alone

    replies, payloads, start = [], [], 0
    for image_format, length in zip(request["formats"], request["lengths"], strict=True):
        single = {**request, "task": "fit", "format": image_format}
        try:
            reply, payload = answer(single, data[start : start + length], admit)
        except _Alone:
            reply, payload = {"alone": True}, b""
        start += length
        replies.append(reply)
        payloads.append(payload)
    return {"replies": replies}, b"".join(payloads)


def _fit(request: Header, data: bytes, admit: Admit) -> tuple[Header, bytes]:
    """The centre square of a picture, or of a part of it, as RGB bytes, and a thumbnail of the same part."""
    from PIL import Image

    decoded_side: int = request["decoded_side"]
    crop_width, crop_height = request["crop"][2:]

    def reduction(width: int, height: int) -> float:
        return float(min(width * crop_width, height * crop_height)) / decoded_side

    picture = _decode(request, data, reduction, admit)
    box = _crop_box(picture.image.size, request["crop"])
    square = picture.image.resize(
        (request["size"],) * 2,
        Image.Resampling[request["resample"]],
        box=_centre_square(box),
        reducing_gap=request["reducing_gap"],
    )
    payload = [picture.to_rgb(square).tobytes()]
    if request["thumbnail"] is not None:
        payload.append(_encode(picture.to_rgb(_shrink(picture.image, request["thumbnail"], box)), "WEBP"))
    reply = {"width": picture.width, "height": picture.height, "lengths": [len(part) for part in payload]}
    return reply | {"facts": picture.facts}, b"".join(payload)


def _render(request: Header, data: bytes, admit: Admit) -> tuple[Header, bytes]:
    """The whole picture, re-encoded or as bare RGB: nothing of the file but its pixels comes through."""
    longest_side = min(request["longest_side"] or math.inf, MAX_SIDE[request["encode_as"]])

    def reduction(width: int, height: int) -> float:
        return max(width, height) / longest_side

    picture = _decode(request, data, reduction, admit)
    image = picture.image
    if max(image.size) > longest_side:
        image = _shrink(image, int(longest_side), (0, 0, *image.size))
    encoded = _encode(picture.to_rgb(image), request["encode_as"])
    return {"width": image.width, "height": image.height, "lengths": [len(encoded)]}, encoded


def _crop_box(size: tuple[int, int], shares: Sequence[float]) -> tuple[float, float, float, float]:
    """Shares x, y, w, h of a picture as a box in pixels, at least one pixel wide and high."""
    (width, height), (x, y, w, h) = size, shares
    box_width, box_height = max(w * width, 1), max(h * height, 1)
    left, top = min(x * width, width - box_width), min(y * height, height - box_height)
    return left, top, min(left + box_width, width), min(top + box_height, height)


def _centre_square(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    side = min(right - left, bottom - top)
    x, y = left + (right - left - side) / 2, top + (bottom - top - side) / 2
    return x, y, min(x + side, right), min(y + side, bottom)


def _shrink(image: "Image.Image", longest_side: int, box: tuple[float, float, float, float]) -> "Image.Image":
    """Scale a part of a picture so that its longer side has at most `longest_side` pixels; never enlarge it."""
    from PIL import Image

    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(1.0, longest_side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)


RAW = "RGB"  # no format: three bytes a pixel, row by row
CONTENT_TYPES = {"WEBP": "image/webp", "JPEG": "image/jpeg", "PNG": "image/png"}
MAX_SIDE = {"WEBP": 16_383, "JPEG": 65_500, "PNG": 65_500, RAW: 65_500}
# Measured on photos of 256 pixels: method 2 of WebP takes half the time of the default 4 for 2 % more bytes.
_ENCODING: dict[str, dict[str, Any]] = {
    "WEBP": {"quality": 80, "method": 2},
    "JPEG": {"quality": 90},
    "PNG": {"compress_level": 1},  # photos hardly shrink further, at ten times the time
}


def _encode(image: "Image.Image", image_format: str) -> bytes:
    if image_format == RAW:
        return image.tobytes()
    image.info.clear()  # no metadata of the file
    buffer = io.BytesIO()
    image.save(buffer, image_format, **_ENCODING[image_format])
    return buffer.getvalue()


# --- From bytes to an upright picture -----------------------------------------------------------------------------


class Picture(NamedTuple):
    """A decoded picture, upright, in one of the modes that can be resized: L, RGB or CMYK."""

    image: "Image.Image"  # a JPEG may be reduced
    width: int  # upright, as stored in the file
    height: int
    profile: bytes | None  # ICC
    facts: Header  # what the camera wrote into the file

    def to_rgb(self, image: "Image.Image") -> "Image.Image":
        """Give this picture or a smaller copy in sRGB: colours are converted last, where there are few pixels."""
        transform = None
        if self.profile and len(self.profile) <= MAX_PROFILE_BYTES and image.mode in {"RGB", "CMYK"}:
            transform = _transform_to_srgb(self.profile, image.mode)
        if transform is not None:
            from PIL import ImageCms

            converted = ImageCms.applyTransform(image, transform)
            if converted is not None:
                return converted
        return image if image.mode == "RGB" else image.convert("RGB")


Reduction = Callable[[int, int], float]


def _decode(request: Header, data: bytes, reduction: Reduction, admit: Admit) -> Picture:
    """Decode the first frame and turn it upright.

    Args:
        request: Has the format and the limits.
        data: The whole file.
        reduction: How many times smaller than width x height the picture may be.
        admit: Asked before memory is taken.
    """
    from PIL import Image

    limits, image_format = request["limits"], request["format"]
    scans, single_pass = jpeg_scans(data) if image_format == "JPEG" else (1, False)
    cap = limits["baseline_jpeg_pixels"] if single_pass else limits["pixels"]
    Image.MAX_IMAGE_PIXELS = cap
    image = _open(data, image_format)
    if scans > limits["scans"]:
        raise Refused("too_complex", f"It has {scans} progressive scans; at most {limits['scans']} are decoded.")
    width, height = image.size
    if width * height > cap or max(width, height) > limits["side"]:
        detail = f"It has {width} x {height} pixels; at most {cap:,} are decoded, and {limits['side']:,} a side."
        raise Refused("too_many_pixels", detail)
    if single_pass and len(data) * _LEAST_BLOCKS_PER_BYTE < width * height / 64:
        raise Refused("corrupt", f"It says that it has {width} x {height} pixels, and has too few bytes for them.")
    if image_format == "PNG":
        # Decoding alone lets flipped bits pass: this compares the checksums, but not the last.
        image.verify()
        if _PNG_END not in data:
            raise Refused("corrupt", "Its end is missing.")
        image = _open(data, image_format)
    factor = _draft(image, reduction(width, height)) if image_format == "JPEG" else 1
    admit(_estimated_bytes(image, image_format, (width, height), single_pass))
    image.load()
    profile = image.info.get("icc_profile")
    # TIFF is turned by Pillow while it loads, and only then has no orientation left: ask after, not before.
    orientation, told = (_orientation(image), facts(image)) if _may_have_exif(image, image_format) else (1, {})
    upright = _flatten(image, request["background"])
    if orientation in _TURNS:
        upright = upright.transpose(Image.Transpose[_TURNS[orientation]])
    if factor == 1:
        width, height = upright.size
    elif orientation in _ON_THE_SIDE:
        width, height = height, width
    return Picture(upright, width, height, profile, told)


# A block of 8 x 8 takes 2 bits at the very least, an all but empty one; half of that is left for odd subsampling.
# libjpeg paints what is missing grey and says nothing.
_LEAST_BLOCKS_PER_BYTE = 8


_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the empty last chunk with its checksum


def _open(data: bytes, image_format: str) -> "Image.Image":
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=[image_format])


def _draft(image: "Image.Image", reduction: float) -> int:
    """Let the JPEG decoder reduce by 2, 4 or 8, which costs less than it saves."""
    factor = max(factor for factor in (1, 2, 4, 8) if factor <= max(reduction, 1))
    if factor > 1:
        image.draft(None, (max(image.width // factor, 1), max(image.height // factor, 1)))
    return factor


_BYTES_PER_PIXEL = {"PNG": 8, "TIFF": 8, "GIF": 8, "BMP": 8, "AVIF": 10, "WEBP": 17}
_BYTES_PER_PIXEL_WITH_ALPHA = 20
_BYTES_PER_PIXEL_OF_NUMBERS = 13  # of 32 bits
_BYTES_PER_COEFFICIENT_PIXEL = 6  # a JPEG of several scans is held whole: 3 channels of 16 bits


def _estimated_bytes(image: "Image.Image", image_format: str, stored: tuple[int, int], single_pass: bool) -> int:
    """What decoding takes at its worst, measured on pictures of 50 megapixels."""
    if image_format == "JPEG":
        coefficients = 0 if single_pass else _BYTES_PER_COEFFICIENT_PIXEL * stored[0] * stored[1]
        return coefficients + 8 * image.width * image.height
    if image.has_transparency_data:
        a_pixel = _BYTES_PER_PIXEL_WITH_ALPHA
    elif image.mode in {"I", "F"}:
        a_pixel = _BYTES_PER_PIXEL_OF_NUMBERS
    else:
        a_pixel = _BYTES_PER_PIXEL[image_format]
    return a_pixel * stored[0] * stored[1]


_ORIENTATION_TAG = 0x0112  # EXIF
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ON_THE_SIDE = {5, 6, 7, 8}


_EXIF_SOURCES = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow looks, in `Image.info`


def _may_have_exif(image: "Image.Image", image_format: str) -> bool:
    """False for a JPEG without any: looking for it costs 2 % of decoding one of 250 pixels."""
    return image_format != "JPEG" or not _EXIF_SOURCES.isdisjoint(image.info)


def _orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 to 8; 1 where the metadata make no sense."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
        return value if isinstance(value, int) and value in _TURNS else 1
    except Exception:  # noqa: BLE001 (damaged metadata do not make a picture unusable)
        return 1


# --- What the camera wrote ----------------------------------------------------------------------------------------

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _CHANGED_AT = 0x010F, 0x0110, 0x0132
_TAKEN_AT, _DIGITISED_AT, _OFFSET, _LENS = 0x9003, 0x9004, 0x9011, 0xA434
_WHEN = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET_FROM_UTC = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d", re.ASCII)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MAX_FACT = 200  # characters


def facts(image: "Image.Image") -> Header:
    """What the EXIF data say: when, with what and where it was taken. Whatever makes no sense is left out.

    Returns:
        Some of `taken` (as in RFC 3339, without a zone where the camera says none), `year`, `camera`, `lens`,
        `latitude` and `longitude` (degrees).
    """
    found: Header = {}
    try:
        exif = image.getexif()
        inner = exif.get_ifd(_EXIF_IFD)
    except Exception:  # noqa: BLE001 (damaged metadata do not make a picture unusable)
        return found
    for read in (_when, _with_what, _where):
        with contextlib.suppress(Exception):  # of one tag; the others may be sound
            found.update(read(exif, inner))
    return found


def _when(exif: Any, inner: Any) -> Header:
    for value in (inner.get(_TAKEN_AT), inner.get(_DIGITISED_AT), exif.get(_CHANGED_AT)):
        match = _WHEN.match(_text(value))
        if match is None:
            continue
        year, month, day, hour, minute, second = map(int, match.groups())
        if year >= 1800 and 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1] and hour < 24 and minute < 60:
            offset = _text(inner.get(_OFFSET))
            zone = offset if _OFFSET_FROM_UTC.fullmatch(offset) else ""
            second = min(second, 59)
            taken = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}"
            return {"taken": taken, "year": year}
    return {}


def _with_what(exif: Any, inner: Any) -> Header:
    make, model, lens = _text(exif.get(_MAKE)), _text(exif.get(_MODEL)), _text(inner.get(_LENS))
    # Many write the make into the model too: "Canon", "Canon EOS 5D".
    camera = model if model.lower().startswith(make.lower().split(" ")[0]) else f"{make} {model}".strip()
    return {name: value for name, value in (("camera", camera or make), ("lens", lens)) if value}


def _where(exif: Any, inner: Any) -> Header:
    del inner
    place = exif.get_ifd(_GPS_IFD)
    latitude, longitude = _degrees(place[2], place[1], "NS"), _degrees(place[4], place[3], "EW")
    if abs(latitude) > 90 or abs(longitude) > 180 or latitude == longitude == 0:  # 0, 0: the receiver had not begun
        return {}
    return {"latitude": latitude, "longitude": longitude}


def _degrees(parts: Any, side: Any, sides: str) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        raise ValueError("a division by zero")
    return round(-value if _text(side)[:1].upper() == sides[1] else value, 6)


def _text(value: Any) -> str:
    """One harmless line of text; empty for what is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    kept = "".join(character if character.isprintable() else " " for character in value.partition("\0")[0][:1000])
    return " ".join(kept.split())[:MAX_FACT]


# --- Colours ------------------------------------------------------------------------------------------------------


def _flatten(image: "Image.Image", background: Sequence[int]) -> "Image.Image":
    """Any mode as L, RGB or CMYK, laid over the background where it is transparent."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return image.convert("I").point(_grey_of_16_bits(), "L")
    if image.mode in {"I", "F"}:
        return _grey_of_range(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGB", layer.size, tuple(background))
        paper.paste(layer, (0, 0), layer)
        return paper
    if image.mode == "LAB":
        return _rgb_of_lab(image)
    if image.mode in {"L", "RGB", "CMYK"}:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


@functools.cache
def _grey_of_16_bits() -> list[int]:
    """0..65535 to 0..255: full scale to full scale, so divided by 257."""
    return [(value + 128) // 257 for value in range(65_536)]


def _grey_of_range(image: "Image.Image") -> "Image.Image":
    """Integers of 32 bits and floats say nothing about their scale: take the narrowest usual one that holds them."""
    low, high = image.getextrema()
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        raise TypeError(f"extrema of a {image.mode} image: {low}, {high}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise Refused("corrupt", "It holds values that are not finite numbers.")
    usual = (255, 65_535) if image.mode == "I" else (1, 255, 65_535)
    bottom, top = next(((0, full) for full in usual if low >= 0 and high <= full), (low, max(high, low + 1)))
    scale = 255 / (top - bottom)
    offset = 0.5 - bottom * scale  # conversion cuts off what follows the point
    return image.convert("F").point(lambda value: value * scale + offset).convert("L")


def _rgb_of_lab(image: "Image.Image") -> "Image.Image":
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise Refused("corrupt", "Its LAB colours cannot be converted.")
    return converted


@functools.lru_cache(maxsize=16)
def _transform_to_srgb(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """How an embedded ICC profile leads to sRGB; None where it is sRGB, of another kind, or damaged.

    Phones store Display P3 and cameras Adobe RGB: taken for sRGB, their pictures look dull.
    """
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != mode or "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception:  # noqa: BLE001 (a damaged profile is no profile)
        return None


# --- JPEG ---------------------------------------------------------------------------------------------------------

_SEQUENTIAL = {0xC0, 0xC1}  # start of frame: baseline, extended
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # within a scan: stuffed bytes and restarts are data


def jpeg_scans(data: bytes) -> tuple[int, bool]:
    """Count the scans up to the first end of image, and say whether one pass over the rows decodes it.

    What follows the end (the video of a motion photo, a second picture) is not looked at. A sequential JPEG whose
    first scan has all components is decoded in one pass, whatever follows: its data need not be searched.
    """
    scans, components, sequential = 0, 0, False
    position = 2
    while match := _NEXT_MARKER.search(data, position):
        marker, position = data[match.start() + 1], match.end()
        if marker == _END_OF_IMAGE:
            break
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in _START_OF_FRAME:
            components = int.from_bytes(data[position + 7 : position + 8], "big")
            sequential = marker in _SEQUENTIAL
        elif marker == _START_OF_SCAN:
            scans += 1
            in_scan = int.from_bytes(data[position + 2 : position + 3], "big")
            if scans == 1 and sequential and in_scan == components:
                return 1, True
        position += int.from_bytes(data[position : position + 2], "big")
    return scans, False


if __name__ == "__main__":
    main()
