"""Taking items out of a gallery by their ids or their places; the files are never touched."""

import os
from collections.abc import Sequence
from pathlib import Path

from index_data.gallery import Gallery
from train.errors import NothingFoundError
from train.printable import printable

AT_ONCE = 1000  # items in one transaction


def choose_items(gallery: Gallery, words: Sequence[str]) -> list[int]:
    """Ids of the items that are meant, rising: each word is an id, or the path of a file or of a whole folder.

    Raises:
        NothingFoundError: A word means no item (code no_such_item).
    """
    ids: set[int] = set()
    for word in words:
        ids.update([gallery.item(int(word)).id] if word.isdecimal() else _items_at(gallery, Path(word)))
    return sorted(ids)


def remove_items(gallery: Gallery, ids: Sequence[int]) -> int:
    """Take items out: when this returns, no search of any process finds them; return how many were there.

    Their files are remembered as taken out, so that the next scan does not bring them back before they change.

    Raises:
        DiskError: The disk is full; what was committed before is out.
    """
    removed = 0
    let_go: set[int] = set()
    for start in range(0, len(ids), AT_ONCE):
        with gallery.changes() as changes:
            removed += changes.take_out(ids[start : start + AT_ONCE])
        let_go |= changes.let_go
    gallery.drop_unused_contents(let_go)
    return removed


def _items_at(gallery: Gallery, place: Path) -> list[int]:
    found: list[int] = []
    # As it was written and as it is: a folder may be reached by a link.
    for path in {Path(os.path.abspath(place)), place.resolve()}:  # noqa: PTH100  (must not follow the last link)
        for number, root in gallery.roots().items():
            if path.is_relative_to(root):
                below = os.fsencode(path.relative_to(root))
                found += gallery.ids_at(number, b"" if below == b"." else below)
            elif root.is_relative_to(path):
                found += gallery.ids_at(number, b"")
    if not found:
        raise NothingFoundError(
            f"the gallery {gallery.name} has no item at {printable(os.fsencode(place))}: give an id, or the path of a "
            "file or folder that was added.",
            code="no_such_item",
        )
    return found
