"""Finding and reading image files, the limits they are held to, and how a picture becomes a square of pixels.

Free of PyTorch and of Pillow: files are hostile until a decode worker (`train/decoding.py`) has turned them into
pixels, so this process looks at no more than their first bytes.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.errors import ImageError, IncompatibleError, NothingFoundError, SettingsError

Pixels = NDArray[np.uint8]  # (n, h, w, 3) or (h, w, 3), RGB

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
HEAD_BYTES = 128  # of a file are enough to tell its format
THUMBNAIL_SIDE = 256  # pixels; pictures are decoded at least this large, so a thumbnail never needs more


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one image file may cost. Beyond it the file is refused before it is decoded, or its decoder is ended."""

    bytes: int  # of the file
    pixels: int
    baseline_jpeg_pixels: int  # these are decoded at reduced size, row by row, and cost next to nothing
    side: int  # pixels of the longer side
    scans: int = 64  # of a JPEG: each costs a pass over all pixels
    seconds: float  # of decoding, by the clock
    wait_seconds: float | None  # for a free decoder and for memory, then "busy"; None waits as long as it takes


HTTP_LIMITS = Limits(
    bytes=20 << 20,
    pixels=50_000_000,
    baseline_jpeg_pixels=200_000_000,
    side=16_384,
    seconds=10.0,
    wait_seconds=5.0,
)
FOLDER_LIMITS = Limits(
    bytes=200 << 20,
    pixels=200_000_000,
    baseline_jpeg_pixels=200_000_000,
    side=65_500,
    seconds=30.0,
    wait_seconds=None,
)


# --- From a picture to a square of pixels -------------------------------------------------------------------------

BACKGROUND = (255, 255, 255)  # RGB of what transparent pixels are laid over
RESAMPLE = "BICUBIC"  # Pillow's name; it averages over all source pixels (antialiasing)
REDUCING_GAP = 3.0  # a box filter may shrink down to 3 times the size first, as Pillow's `Image.resize` has it

_POLICY: dict[str, object] = {
    "version": 1,
    "orientation": "EXIF, upright",
    "colour": "sRGB: embedded ICC profiles of RGB and CMYK are applied; 16-bit greys / 257; other ranges to 0..255",
    "background": list(BACKGROUND),
    "fit": "shorter side to size, centre square",
    "resample": RESAMPLE,
    "reducing_gap": REDUCING_GAP,
    "draft": f"JPEG reduced 2, 4 or 8 times while the shorter side stays at least max(2 * size, {THUMBNAIL_SIDE})",
}


@dataclass(frozen=True)
class Preprocessing:
    """How every picture is fitted, in training, indexing and querying alike: part of a model's identity."""

    size: int  # side of the square, pixels

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 4096:
            raise SettingsError(f"The image size is {self.size}, but it must be from 1 to 4096 pixels.")

    @property
    def decoded_side(self) -> int:
        """Pixels that the shorter side keeps when a JPEG is decoded at reduced size."""
        return max(2 * self.size, THUMBNAIL_SIDE)

    def to_json(self) -> dict[str, object]:
        """Everything that changes pixels, for `bundle.json` and the fingerprint."""
        return {"size": self.size, **_POLICY}

    @classmethod
    def from_json(cls, stored: dict[str, object]) -> "Preprocessing":
        """Read what `to_json` gave.

        Raises:
            IncompatibleError: It was made by a version that prepares pictures in another way.
        """
        size = stored.get("size")
        if not isinstance(size, int) or isinstance(size, bool):
            raise IncompatibleError(f"The preprocessing has no image size (it says {size!r}): export the model again.")
        for name in sorted(_POLICY.keys() | (stored.keys() - {"size"})):
            if stored.get(name) != _POLICY.get(name):
                raise IncompatibleError(
                    f"The model prepares its pictures with {name} = {stored.get(name)!r}, this version with "
                    f"{_POLICY.get(name)!r}: export the model again, or use the version that made it."
                )
        return cls(size)


# --- Telling files apart ------------------------------------------------------------------------------------------

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"mif1", b"msf1"}  # any HEIF; an AVIF one names itself among the compatible brands

_OTHER_IMAGE_MAGIC = (
    b"8BPS",  # Photoshop
    b"\0\0\1\0",  # icon
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",  # JPEG 2000 code stream
    b"\0\0\0\x0cJXL ",
    b"\xff\x0a",  # JPEG XL code stream
    b"gimp xcf",
    b"qoif",
    b"v/1\x01",  # OpenEXR
    b"DDS ",
    b"SIMPLE  =",  # FITS
    b"<svg",
)
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", *_HEIF_BRANDS}

_IMAGE_EXTENSIONS = frozenset(
    b"jpg jpeg jpe jfif mpo png apng webp gif bmp dib tif tiff avif avifs "  # read
    b"heic heif hif psd psb ico cur icns svg svgz jp2 j2k jpf jpx jpc j2c jxl jxr wdp xcf kra qoi exr hdr dds "
    b"tga pcx ppm pgm pbm pnm pfm xbm xpm fits fit sgi ras wmf emf eps flif "  # known, not read
    b"dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw raw 3fr iiq x3f".split()
)


def sniff(head: bytes) -> str | None:
    """The format that a file's first bytes (`HEAD_BYTES` of them) announce, one of `FORMATS`; names count nothing."""
    for magic, image_format in _MAGIC:
        if head.startswith(magic):
            return image_format
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    major, compatible = _brands(head)
    if major in _AVIF_BRANDS or (major in _HEIF_BRANDS and compatible & _AVIF_BRANDS):
        return "AVIF"
    return None


def _brands(head: bytes) -> tuple[bytes, set[bytes]]:
    """Major and compatible brands of an ISO base media file (HEIF, AVIF, MP4), else empty."""
    if head[4:8] != b"ftyp":
        return b"", set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return head[8:12], {head[start : start + 4] for start in range(16, end, 4)}


def looks_like_image(path: bytes, head: bytes) -> bool:
    """Whether a file is meant to be an image, by its name or its first bytes, be it one that is read here or not.

    A folder of pictures holds other files too (sidecars, videos, notes): they are listed, but nobody misses them.
    """
    extension = path.rpartition(b"/")[2].rpartition(b".")[2].lower()
    return (
        (b"." in path.rpartition(b"/")[2] and extension in _IMAGE_EXTENSIONS)
        or sniff(head) is not None
        or head.startswith(_OTHER_IMAGE_MAGIC)
        or _brands(head)[0] in _HEIC_BRANDS
    )


# --- Finding files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file below a folder, not yet opened."""

    path: bytes  # relative to the folder; names need not be text
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something below a folder that cannot be used, and why."""

    path: bytes
    code: str  # of `train.errors.PROBLEMS`
    detail: str


def find_files(root: Path) -> Iterator[FoundFile | Rejected]:
    """Every file below a folder, as the disk gives them; nothing is held but the names of folders still to visit.

    Links are not followed, names with a leading dot are passed over, and what is neither file nor folder, or cannot
    be read, comes out as `Rejected` while the walk goes on.

    Raises:
        NothingFoundError: `root` is not a folder.
    """
    if not root.is_dir():
        raise NothingFoundError(f"{root} is not a folder: name one that holds images.")
    return _walk(os.fsencode(root))


def _walk(root: bytes) -> Iterator[FoundFile | Rejected]:
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root + b"/" + folder) as entries:
                for entry in entries:
                    if entry.name.startswith(b"."):
                        continue
                    path = folder + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path + b"/")
                    else:
                        yield _found(path, partial(entry.stat, follow_symlinks=False))
        except OSError as error:
            refusal = _refusal(error)
            yield Rejected(folder.rstrip(b"/") or b".", refusal.problem.code, f"The folder: {refusal.detail}")


def look_at(root: Path, path: bytes) -> FoundFile | Rejected:
    """One file below a folder, as `find_files` would give it."""
    return _found(path, (root / os.fsdecode(path)).lstat)


def _found(path: bytes, look: Callable[[], os.stat_result]) -> FoundFile | Rejected:
    try:
        status = look()
    except OSError as error:
        refusal = _refusal(error)
        return Rejected(path, refusal.problem.code, refusal.detail)
    if stat.S_ISREG(status.st_mode):
        return FoundFile(path, status.st_size, status.st_mtime_ns)
    return Rejected(path, "not_a_file", _not_a_file(status.st_mode))


def _not_a_file(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link, and links are not followed: add the folder that it points to",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return f"This is {kinds.get(stat.S_IFMT(mode), 'of an unknown kind')}."


_REFUSALS = {
    errno.ENOENT: ("file_missing", "There is no such file: its name is another, or it has gone meanwhile."),
    errno.ELOOP: ("not_a_file", _not_a_file(stat.S_IFLNK)),
    errno.ENOTDIR: ("not_a_file", "A folder on the way to it is a link or a file now."),
    errno.ENXIO: ("not_a_file", "This is a socket, or a pipe or device without another end."),
    errno.EISDIR: ("not_a_file", _not_a_file(stat.S_IFDIR)),
}
_NOT_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # the machine is short of something


def _refusal(error: OSError) -> ImageError:
    if error.errno in _NOT_THE_FILE:
        raise error
    code, detail = _REFUSALS.get(
        error.errno or 0, ("unreadable", f"It cannot be read: {error.strerror}. Check its permissions and the disk.")
    )
    return ImageError(detail, code=code)


# --- Reading files ------------------------------------------------------------------------------------------------


SETTLING_NS = 50_000_000  # a file that changed less than this ago may be half written


class OtherFileError(ImageError):
    """The file is not meant to be an image: listed, but not counted as a rejected image."""

    code = "unsupported_format"


@dataclass(frozen=True, slots=True)
class FileContent:
    """One file as it was read, whole and unchanged from the first byte to the last."""

    data: bytes
    size: int
    mtime_ns: int
    sha256: bytes  # of the data, 32 bytes


def read_file(root: Path, path: bytes, limits: Limits) -> FileContent:
    """Read an image file below `root` without following links or waiting for pipes.

    Args:
        root: The folder that was searched.
        path: Relative to it, as `FoundFile` has it.
        limits: `limits.bytes` is the most that is read; of what is no image, only the first bytes are.

    Raises:
        OtherFileError: Neither its name nor its first bytes are those of an image.
        ImageError: unsupported_format, empty, body_too_large, not_a_file, file_missing, unreadable, or file_changed.
    """
    return _read(root, path, lambda head: _expect_image(path, head), lambda size: expect_bytes(size, limits))


def read_companion(root: Path, path: bytes, most: int) -> FileContent:
    """Read a file that stands beside images, a sidecar or a table, as safely as an image.

    Args:
        root: The folder that was searched.
        path: Relative to it.
        most: Bytes.

    Raises:
        ImageError: body_too_large, not_a_file, file_missing, unreadable, or file_changed.
    """

    def expect_small(size: int) -> None:
        if size > most:
            raise ImageError(f"The file has {size:,} bytes; at most {most:,} are read.", code="body_too_large")

    return _read(root, path, lambda head: None, expect_small)


def _read(
    root: Path, path: bytes, expect_head: Callable[[bytes], None], expect_size: Callable[[int], None]
) -> FileContent:
    try:
        with _opened(root, path) as descriptor:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise ImageError(_not_a_file(mode), code="not_a_file")
            expect_head(os.pread(descriptor, HEAD_BYTES, 0))
            before = _settled(descriptor)
            expect_size(before.st_size)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(before.st_size + 1)
            after = os.fstat(descriptor)
    except OSError as error:
        raise _refusal(error) from error
    if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed_while_read()
    return FileContent(data, before.st_size, before.st_mtime_ns, hashlib.sha256(data).digest())


def _changed_while_read() -> ImageError:
    return ImageError("It changed while it was read: add the folder again.", code="file_changed")


def _settled(descriptor: int) -> os.stat_result:
    """Wait until a file is at rest: within a tick of the clock (4 ms or more), a change does not show in its times."""
    age = time.time_ns() - os.fstat(descriptor).st_mtime_ns
    if 0 <= age < SETTLING_NS:
        time.sleep((SETTLING_NS - age) / 1e9)
    status = os.fstat(descriptor)
    if 0 <= time.time_ns() - status.st_mtime_ns < SETTLING_NS:
        raise _changed_while_read()
    return status


def expect_bytes(size: int, limits: Limits) -> None:
    """Refuse a file of no bytes or of more than the limit."""
    if size == 0:
        raise ImageError("The file has no bytes.", code="empty")
    if size > limits.bytes:
        raise ImageError(
            f"The file has {size:,} bytes; at most {limits.bytes:,} are read: save it smaller.", code="body_too_large"
        )


def expect_format(head: bytes) -> str:
    """Tell the format of a file by its first bytes, one of `FORMATS`, or refuse it."""
    image_format = sniff(head)
    if image_format is None:
        raise ImageError(f"It is none of {', '.join(FORMATS)}: convert it to one.", code="unsupported_format")
    return image_format


def _expect_image(path: bytes, head: bytes) -> None:
    if not looks_like_image(path, head):
        raise OtherFileError("Neither its name nor its first bytes are those of an image.")
    if head:
        expect_format(head)


@contextmanager
def _opened(root: Path, path: bytes) -> Iterator[int]:
    """Open a file step by step from the root: no step may be a link, so nothing leads outside."""
    *folders, name = path.split(b"/")
    if not {b"", b".", b".."}.isdisjoint((*folders, name)):
        raise ImageError("Its path does not stay inside the folder.", code="not_a_file")
    folder_flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, folder_flags)
    try:
        for step in folders:
            inner = os.open(step, folder_flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        # O_NONBLOCK: a pipe without a writer would keep us waiting for ever.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        inner = os.open(name, flags, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)
