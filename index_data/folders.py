"""The folders that a gallery looks through: which root they belong to, what in them is new, and what is gone."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from index_data.gallery import FileState, Gallery
from train.errors import ImageError, NothingFoundError
from train.images import (
    FOLDER_LIMITS,
    FoundFile,
    OtherFileError,
    Rejected,
    find_files,
    looks_like_image,
    read_file,
)
from train.printable import printable

_NOTHING_READ = replace(FOLDER_LIMITS, bytes=0)


@dataclass(frozen=True)
class Place:
    """A folder that is looked through, as part of a root of the gallery."""

    root: Path  # absolute
    root_id: int
    below: bytes = b""  # the way from the root to the folder, ending in '/'

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.root / os.fsdecode(self.below)


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a place, or something there that cannot be opened as one."""

    file: FileState
    refusal: ImageError | None = None
    other: bool = False  # the refused one is not meant to be an image


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do, as far as names, sizes and times can tell."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0  # those that were rejected before included
    missing: int = 0  # items whose file is gone
    folders_not_there: tuple[str, ...] = ()

    @property
    def to_read(self) -> int:
        """Files that would be opened."""
        return self.new + self.changed


def find(place: Place) -> Iterator[Found]:
    """Everything in a place, as the disk gives it."""
    for found in find_files(place.folder):
        path = place.below + found.path
        if isinstance(found, FoundFile):
            yield Found(FileState(place.root_id, path, found.size, found.mtime_ns))
        else:
            # A link or a pipe is missed only where its name says that it should be a picture.
            other = found.code == "not_a_file" and not looks_like_image(path, b"")
            refusal = ImageError(found.detail, code=found.code)
            yield Found(FileState(place.root_id, path, None, None), refusal, other)


def claim(gallery: Gallery, folder: Path) -> Place:
    """The place of a folder; where it lies in no root of the gallery, it becomes one.

    Roots below it become part of it, their items keep their ids: a file belongs to one root only.
    """
    folder = folder.resolve()
    inside = _inside_a_root(gallery.roots(), folder)
    if inside is not None:
        return inside
    with gallery.changes() as changes:
        roots = changes.roots()  # as they are now: another process may have come before
        inside = _inside_a_root(roots, folder)
        if inside is not None:
            return inside
        place = Place(folder, changes.root_id(folder))
        for below, root_id in _roots_below(roots, folder).items():
            changes.move_root(root_id, place.root_id, below)
    return place


def places_of_roots(gallery: Gallery) -> tuple[list[Place], list[Place]]:
    """All roots of a gallery: those that are there, and those that are not."""
    places = [Place(root, number) for number, root in gallery.roots().items()]
    there = [place for place in places if _is_there(gallery, place)]
    return there, [place for place in places if place not in there]


def expect_folder(folder: Path) -> None:
    """Raise NothingFoundError where there is no such folder."""
    if not folder.is_dir():
        raise NothingFoundError(f"there is no folder {_name(folder)}: give the folder of your pictures.")


def expect_images(folder: Path) -> None:
    """Raise NothingFoundError where no file of a folder is meant to be an image; looks until it finds one."""
    expect_folder(folder)
    refused: Counter[str] = Counter()
    for found in find_files(folder):
        if isinstance(found, Rejected):
            refused[found.code] += 1
        elif _is_meant_as_image(folder, found.path):
            return
    reasons = f" ({', '.join(f'{number:,} {code}' for code, number in refused.items())})" if refused else ""
    raise NothingFoundError(
        f"{_name(folder)} has no images{reasons}: give a folder with JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files "
        "that this user may read."
    )


def plan_folder(gallery: Gallery | None, folder: Path, *, retry: bool = False) -> Plan:
    """What adding a folder would do; nothing is written, and the gallery need not be there yet."""
    expect_folder(folder)
    folder = folder.resolve()
    if gallery is None:
        return Plan(new=sum(isinstance(found, FoundFile) for found in find_files(folder)))
    roots = gallery.roots()
    inside = _inside_a_root(roots, folder)
    inner = {} if inside else _roots_below(roots, folder)
    counts: Counter[str] = Counter()
    for found in find(inside or Place(folder, root_id=0)):
        counts[_kind(gallery, _as_known(found, inner), retry=retry)] += 1
    return _plan(counts)


def plan_places(
    gallery: Gallery, places: list[Place], not_there: Sequence[Place] = (), *, missing: bool, retry: bool = False
) -> Plan:
    """What looking again at places would do; with `missing`, items whose file is gone are counted too."""
    counts: Counter[str] = Counter()
    for place in places:
        for found in find(place):
            counts[_kind(gallery, found, retry=retry)] += 1
        if missing:
            counts["missing"] += sum(1 for _ in missing_items(gallery, place))
    return replace(_plan(counts), folders_not_there=tuple(_name(place.root) for place in not_there))


def missing_items(gallery: Gallery, place: Place) -> Iterator[tuple[int, bytes]]:
    """Ids and paths of the items of a place's root whose file is gone; one that merely cannot be reached is not."""
    for item_id, path in gallery.paths("items", place.root_id):
        if is_gone(place.root, path):
            yield item_id, path


def settled_failures(gallery: Gallery, place: Place) -> Iterator[int]:
    """Ids of the failures of a place's root that hold no longer: the file is gone, the folder may be read now."""
    for failure_id, path in gallery.paths("failures", place.root_id):
        if is_gone(place.root, path) or _is_readable_folder(place.root / os.fsdecode(path)):
            yield failure_id


def is_gone(root: Path, path: bytes) -> bool:
    """Whether there is nothing at a path any more."""
    try:
        (root / os.fsdecode(path)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_meant_as_image(folder: Path, path: bytes) -> bool:
    try:
        # What looks like an image by its name or its first bytes is refused for its length, anything else before.
        read_file(folder, path, _NOTHING_READ)
    except OtherFileError:
        return False
    except ImageError:
        pass
    return True


def _is_readable_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and os.access(path, os.R_OK | os.X_OK)


def _is_there(gallery: Gallery, place: Place) -> bool:
    # An empty folder that had items is most likely the mount point of a disk that is not mounted.
    if not place.root.is_dir():
        return False
    return next(find_files(place.root), None) is not None or next(gallery.paths("items", place.root_id), None) is None


def _inside_a_root(roots: Mapping[int, Path], folder: Path) -> Place | None:
    for number, root in roots.items():
        if folder.is_relative_to(root):
            below = os.fsencode(folder.relative_to(root))
            return Place(root, number, b"" if below == b"." else below + b"/")
    return None


def _roots_below(roots: Mapping[int, Path], folder: Path) -> dict[bytes, int]:
    return {
        os.fsencode(root.relative_to(folder)) + b"/": number
        for number, root in roots.items()
        if root.is_relative_to(folder)
    }


def _as_known(found: Found, inner: dict[bytes, int]) -> Found:
    """A file under the root that has it now, before `claim` gives it to a root above."""
    for below, root_id in inner.items():
        if found.file.path.startswith(below):
            path = found.file.path.removeprefix(below)
            return Found(FileState(root_id, path, found.file.size, found.file.mtime_ns), found.refusal, found.other)
    return found


def _kind(gallery: Gallery, found: Found, *, retry: bool) -> str:
    if found.refusal is not None:
        return "refused"
    fate = gallery.fate(found.file.root_id, found.file.path)
    if fate is None:
        return "new"
    return "unchanged" if fate.holds_for(found.file, retry=retry) else "changed"


def _plan(counts: Counter[str]) -> Plan:
    return Plan(new=counts["new"], changed=counts["changed"], unchanged=counts["unchanged"], missing=counts["missing"])


def _name(folder: Path) -> str:
    return printable(os.fsencode(folder))
