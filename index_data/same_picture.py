"""Which hits of a search are the same picture as the query: cropped, mirrored, turned, recoloured, or written on.

An embedding says how alike two pictures are. The first hits are looked at again: the query is laid over each of them
(`index_data.registration`), by their thumbnails. Hits that explain it come first, best first; all others stay as they
were.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import TypeVar

from index_data.gallery import Gallery
from index_data.registration import Registration, register
from index_data.template_matching import Outline
from train.decoding import Crop, DecodePool
from train.images import THUMBNAIL_SIDE, Preprocessing

LOOKED_AT = 32  # of the best hits
# Of a copy: at least each, and both together (docs/decisions/0017-the-same-picture.md).
AGREEMENT, DETAIL, TOGETHER = 0.5, 0.75, 1.6
KEPT = 2048  # outlines: 45 MB at most, of square pictures
_DIGITS = 2  # of an agreement; what differs by less stays in the order of the scores

T = TypeVar("T")


def is_same(lying: Registration) -> bool:
    """Whether two pictures that were registered are the same one, changed."""
    together = lying.agreement + lying.detail >= TOGETHER
    return together and lying.agreement >= AGREEMENT and lying.detail >= DETAIL


def same_first(
    query: Outline, hits: Sequence[T], outlines: Sequence[Outline | None]
) -> list[tuple[T, Registration | None]]:
    """Put the hits that are the same picture before the others.

    Args:
        query: The picture that was searched with.
        hits: Best first.
        outlines: Of the first of them, `LOOKED_AT` or fewer; None where there is none.

    Returns:
        All hits; with each that is the same picture, how the query lies on it.
    """
    known = {number: outline for number, outline in enumerate(outlines) if outline is not None}
    same = {
        number: registration
        for number, registration in zip(known, register(query, list(known.values())), strict=True)
        if registration is not None and is_same(registration)
    }
    first = sorted(same, key=lambda number: round(same[number].agreement, _DIGITS), reverse=True)
    return [(hits[number], same[number]) for number in first] + [
        (hit, None) for number, hit in enumerate(hits) if number not in same
    ]


def outline_of(data: bytes, pool: DecodePool, crop: Crop | None = None) -> Outline:
    """A picture that is searched with, seen as a gallery's own are: by a thumbnail.

    Args:
        data: Its whole file.
        pool: Where it is decoded.
        crop: Only this part of it.

    Raises:
        ImageError: The file is refused.
        BusyError: No decoder became free in time.
    """
    decoded = pool.fit(data, Preprocessing(1), thumbnail=THUMBNAIL_SIDE, crop=crop)  # the square is not needed
    return Outline.of(pool.pixels(decoded.thumbnail or b""))


class Outlines:
    """Outlines of galleries' pictures, from their thumbnails; those that were asked for last are kept."""

    def __init__(self, pool: DecodePool, kept: int = KEPT) -> None:
        """Read nothing yet.

        Args:
            pool: Where thumbnails are decoded.
            kept: How many, at most.
        """
        self._pool = pool
        self._most = kept
        self._kept: OrderedDict[str, Outline] = OrderedDict()
        self._changing = Lock()

    def of(self, gallery: Gallery, contents: Sequence[str]) -> list[Outline | None]:
        """Outlines of some of a gallery's pictures, by their SHA-256; None where a thumbnail is missing or damaged.

        Raises:
            BusyError: No decoder became free in time.
        """
        with self._changing:
            known = {content: self._kept[content] for content in contents if content in self._kept}
        missing = [content for content in dict.fromkeys(contents) if content not in known]
        read = self._pool.map(lambda content: self._read(gallery, content), missing)
        known |= {content: outline for content, outline in read if isinstance(outline, Outline)}
        with self._changing:
            for content, outline in known.items():
                self._kept[content] = outline
                self._kept.move_to_end(content)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return [known.get(content) for content in contents]

    def _read(self, gallery: Gallery, content: str) -> Outline | None:
        thumbnail = gallery.thumbnail(content)
        return None if thumbnail is None else Outline.of(self._pool.pixels(thumbnail))
