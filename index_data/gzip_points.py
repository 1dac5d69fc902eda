"""Reading anywhere in a gzipped file without unpacking it.

On the first way through, the state of the decompressor is kept at points along the file, and a later reading begins at
the point before. A point takes about 40 kB; there are at most `MOST_POINTS`, so in a file of 1 GB unpacked about every
10 MB. What was read last stays for a moment, so that readers who go through the file beside each other unpack it once.

The idea is that of zlib's examples/zran.c.
"""

import copy
import threading
import zlib
from bisect import bisect_right
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

MOST_POINTS = 128
FIRST_SPACING = 1 << 20  # bytes unpacked between two points; doubled when there are too many of them
PACKED_AT_ONCE, UNPACKED_AT_ONCE = 1 << 16, 1 << 20  # bytes
RECENT = 8  # pieces of `UNPACKED_AT_ONCE` that stay
_GZIP = 31  # zlib's name for a gzip header, a window of 32 kB, and a checksum that is compared


class _Cursor:
    """A place in the file from where it can be unpacked further."""

    def __init__(self) -> None:
        self.packed = 0  # of the next byte that the decompressor wants
        self.unpacked = 0  # of the next byte that it gives
        self._decompressor: Any = zlib.decompressobj(_GZIP)
        self._is_within = False  # a member of the file, which must not end here

    def copy(self) -> "_Cursor":
        """The same place, to go on from independently."""
        copied = copy.copy(self)
        copied._decompressor = self._decompressor.copy()
        return copied

    def step(self, file: BinaryIO) -> bytes:
        """Unpack some more; empty at the end of the file.

        Raises:
            EOFError: The file breaks off.
            zlib.error: It is damaged.
        """
        while True:
            file.seek(self.packed)
            data = file.read(PACKED_AT_ONCE)
            if not self._is_within:
                zeros = len(data) - len(data.lstrip(b"\0"))  # padding between members, and behind the last
                self.packed += zeros
                data = data[zeros:]
                if zeros and not data:
                    continue
            if not data:
                if self._is_within:
                    raise EOFError("it breaks off")
                return b""
            self._is_within = True
            given: bytes = self._decompressor.decompress(data, UNPACKED_AT_ONCE)
            left = len(self._decompressor.unconsumed_tail)
            if self._decompressor.eof:
                left = len(self._decompressor.unused_data)
                self._decompressor, self._is_within = zlib.decompressobj(_GZIP), False
            self.packed += len(data) - left
            self.unpacked += len(given)
            if given:
                return given


class GzipPoints:
    """A gzipped file, readable anywhere; by many threads, one at a time."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self.path = path
        self._lock = threading.Lock()
        self._cursor = _Cursor()
        self._points = [_Cursor()]  # rising
        self._spacing = FIRST_SPACING
        self._recent: deque[bytes] = deque(maxlen=RECENT)  # what the cursor gave last

    def read(self, place: int, size: int) -> bytes:
        """Bytes of the unpacked file; fewer at its end.

        Raises:
            OSError: The file cannot be read.
            EOFError, zlib.error: It breaks off, or is damaged.
        """
        with self.path.open("rb", buffering=0) as file:
            return self.read_from(file, place, size)

    def read_from(self, file: BinaryIO, place: int, size: int) -> bytes:
        """The same from the open file."""
        with self._lock:
            point = self._point_before(place)
            if place < self._recent_from or point.unpacked > self._cursor.unpacked:
                self._cursor = point.copy()
                self._recent.clear()
            end = place + size
            found = bytearray()
            start = self._recent_from
            for piece in self._recent:
                found += piece[max(0, place + len(found) - start) : max(0, end - start)]
                start += len(piece)
            while self._cursor.unpacked < end:
                before = self._cursor.unpacked
                piece = self._step(file)
                if not piece:
                    break
                found += piece[max(0, place + len(found) - before) : max(0, end - before)]
            return bytes(found)

    def _step(self, file: BinaryIO) -> bytes:
        piece = self._cursor.step(file)
        self._recent.append(piece)
        if self._cursor.unpacked - self._points[-1].unpacked >= self._spacing:
            self._points.append(self._cursor.copy())
            if len(self._points) > MOST_POINTS:
                self._points = self._points[::2]
                self._spacing *= 2
        return piece

    @property
    def _recent_from(self) -> int:
        return self._cursor.unpacked - sum(map(len, self._recent))

    def _point_before(self, place: int) -> _Cursor:
        return self._points[bisect_right(self._points, place, key=lambda point: point.unpacked) - 1]


class UnpackedFile:
    """A gzipped file as one that `tarfile` reads from its beginning to its end, laying points on the way."""

    def __init__(self, points: GzipPoints, file: BinaryIO) -> None:
        self._points = points
        self._file = file
        self._place = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._points.read_from(self._file, self._place, size)
        self._place += len(data)
        return data

    def seek(self, place: int) -> int:
        """Go to a place."""
        self._place = place
        return place

    def tell(self) -> int:
        """Where it stands."""
        return self._place

    def close(self) -> None:
        """Do nothing: the file below is another's."""
