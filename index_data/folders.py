"""Where a gallery's images come from: which root they belong to, what there is new, and what is gone.

A root is a folder, which is walked with all folders below it; a container (index_data/containers.py), a tar archive or
a Parquet file; or `FILES`, to which files belong that were given one by one: it is never walked.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from index_data.containers import find_members, has_member, is_container
from index_data.gallery import FileFate, FileState, Gallery
from train.errors import ImageError, NothingFoundError, SettingsError
from train.images import (
    FOLDER_LIMITS,
    FoundFile,
    OtherFileError,
    Rejected,
    find_files,
    look_at,
    looks_like_image,
    read_file,
)
from train.printable import printable

_NOTHING_READ = replace(FOLDER_LIMITS, bytes=0)
FATES_AT_ONCE = 500
FILES = Path("/")  # the root of files that were given one by one


@dataclass(frozen=True)
class Place:
    """Something that is looked through, as part of a root of the gallery."""

    root: Path  # absolute
    root_id: int
    below: bytes = b""  # the way from the root to the folder, ending in '/'
    files: tuple[bytes, ...] | None = None  # only these, by their paths below the root

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.root / os.fsdecode(self.below)

    def holds(self, path: bytes) -> bool:
        """Whether a file of the root, by its path below it, is one of this place."""
        return path.startswith(self.below) if self.files is None else path in self.files


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
    for found in _entries(place):
        path = place.below + found.path
        if isinstance(found, FoundFile):
            yield Found(FileState(place.root_id, path, found.size, found.mtime_ns))
        else:
            # A link or a pipe is missed only where its name says that it should be a picture.
            other = found.code == "not_a_file" and not looks_like_image(path, b"")
            refusal = ImageError(found.detail, code=found.code)
            yield Found(FileState(place.root_id, path, None, None), refusal, other)


def with_fates(gallery: Gallery, found: Iterable[Found]) -> Iterator[tuple[Found, FileFate | None]]:
    """Files with what became of each when it was last looked at; they are asked for a few hundred at a time."""
    found = iter(found)
    while some := list(islice(found, FATES_AT_ONCE)):
        by_root: dict[int, list[bytes]] = {}
        for each in some:
            by_root.setdefault(each.file.root_id, []).append(each.file.path)
        fates = {root_id: gallery.fates(root_id, paths) for root_id, paths in by_root.items()}
        for each in some:
            yield each, fates[each.file.root_id].get(each.file.path)


def _entries(place: Place) -> Iterator[FoundFile | Rejected]:
    if place.files is not None:
        # One that is gone is not found, as in a folder: `missing_items` has it.
        entries = (look_at(place.root, path) for path in place.files)
        return (each for each in entries if isinstance(each, FoundFile) or each.code != "file_missing")
    return find_members(place.root) if is_container(place.root) else find_files(place.folder)


def claim_all(gallery: Gallery, sources: Sequence[Path]) -> list[Place]:
    """The places of folders, containers and single files, each once."""
    places: dict[tuple[int, bytes], Place] = {}
    files = []
    for source in sources:
        if source.is_dir() or is_container(source):
            place = claim(gallery, source)
            places[place.root_id, place.below] = place
        else:
            files.append(source.parent.resolve() / source.name)
    return [*places.values(), *_claim_files(gallery, files)]


def claim(gallery: Gallery, folder: Path) -> Place:
    """The place of a folder or container; where it lies in no root of the gallery, it becomes one.

    Roots below a folder become part of it, and so do single files there; their items keep their ids: a file belongs to
    one root only.
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
        if not is_container(folder):
            for below, root_id in _roots_below(roots, folder).items():
                changes.move_root(root_id, place.root_id, below)
            for root_id in (number for number, root in roots.items() if root == FILES):
                changes.move_files(root_id, place.root_id, os.fsencode(folder.relative_to(FILES)) + b"/")
    return place


def _claim_files(gallery: Gallery, files: Sequence[Path]) -> list[Place]:
    if not files:
        return []
    roots = gallery.roots()
    by_root: dict[int, dict[bytes, None]] = {}
    outside: dict[bytes, None] = {}  # a dict, for its order: each once
    for file in files:
        inside = _inside_a_root(roots, file)
        if inside is not None:
            by_root.setdefault(inside.root_id, {})[inside.below.removesuffix(b"/")] = None
        else:
            outside[os.fsencode(file.relative_to(FILES))] = None
    places = [Place(roots[number], number, files=tuple(paths)) for number, paths in by_root.items()]
    if outside:
        with gallery.changes() as changes:
            places.append(Place(FILES, changes.root_id(FILES), files=tuple(outside)))
    return places


def places_of_roots(gallery: Gallery) -> tuple[list[Place], list[Place]]:
    """All roots of a gallery: those that are there, and those that are not."""
    places = [
        Place(root, number, files=_known_files(gallery, number) if root == FILES else None)
        for number, root in gallery.roots().items()
    ]
    there = [place for place in places if _is_there(gallery, place)]
    return there, [place for place in places if place not in there]


def narrowed(gallery: Gallery, places: Sequence[Place], paths: Sequence[Path]) -> list[Place]:
    """Of the places of whole roots, only some folders and files; what is gone is looked for where items were.

    Args:
        gallery: That the places belong to.
        places: See `places_of_roots`.
        paths: Absolute, or below any of the roots, as the items' paths are.

    Raises:
        NothingFoundError: No root has, or had, anything at a path.
    """
    found: dict[Place, None] = {}  # each once
    for path in paths:
        parts = [part for place in places if (part := _part_of(gallery, place, path)) is not None]
        if not parts:
            raise NothingFoundError(
                f"the gallery {gallery.name} has nothing at {_name(path)}: give folders or files below its folders, as "
                "the paths of its items are."
            )
        found |= dict.fromkeys(parts)
    return list(found)


def _part_of(gallery: Gallery, place: Place, path: Path) -> Place | None:
    """What a root has, or had, at a path; None: nothing."""
    inside = Path(os.path.normpath(place.root / path))
    if not inside.is_relative_to(place.root) or is_container(place.root):
        # A container is looked at as a whole, where it is named itself.
        return place if inside == place.root else None
    if inside == place.root:
        return place
    below = os.fsencode(inside.relative_to(place.root))
    walked = place.files is None and _is_walked(place.root, inside)
    if walked and inside.is_dir():
        return Place(place.root, place.root_id, below + b"/")
    known = {
        known: None
        for known in _known_files(gallery, place.root_id)
        if known == below or known.startswith(below + b"/")
    }
    if walked and inside.is_file():
        known[below] = None
    return Place(place.root, place.root_id, files=tuple(known)) if known else None


def _is_walked(root: Path, inside: Path) -> bool:
    """Whether a walk through a root comes by a path: over no link, and past no hidden name."""
    way = inside.relative_to(root)
    return inside.resolve() == root.resolve() / way and not any(part.startswith(".") for part in way.parts)


def _known_files(gallery: Gallery, root_id: int) -> tuple[bytes, ...]:
    return tuple(path for table in ("items", "failures") for _, path in gallery.paths(table, root_id))


def expect_folder(folder: Path) -> None:
    """Raise NothingFoundError where there is no such folder."""
    if not folder.is_dir():
        raise NothingFoundError(f"there is no folder {_name(folder)}: give the folder of your pictures.")


def expect_sources(sources: Sequence[Path]) -> None:
    """Raise an error where a source is not there, or is none.

    Raises:
        NothingFoundError: There is no such folder or file.
        SettingsError: It is the whole disk.
    """
    for source in sources:
        if not source.exists():
            raise NothingFoundError(
                f"there is no folder or file {_name(source)}: give folders or files of pictures, tar archives or "
                "Parquet files."
            )
        if source.resolve() == FILES:
            raise SettingsError("/ is the whole disk: give the folders of your pictures.")
        if is_container(source):
            next(iter(find_members(source)), None)  # says what is missing to read it


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


def plan_sources(gallery: Gallery | None, sources: Sequence[Path], *, retry: bool = False) -> Plan:
    """What adding folders and files would do; nothing is written, and the gallery need not be there yet."""
    expect_sources(sources)
    roots = {} if gallery is None else gallery.roots()
    counts: Counter[str] = Counter()
    for source in sources:
        is_file = not (source.is_dir() or is_container(source))
        place = source.parent.resolve() / source.name if is_file else source.resolve()
        inside = _inside_a_root(roots, place)
        inner = {} if inside or is_file else _roots_below(roots, place)
        if is_file:
            below = inside.below.removesuffix(b"/") if inside else os.fsencode(place.relative_to(FILES))
            files = next((number for number, root in roots.items() if root == FILES), 0)
            inside = Place(inside.root if inside else FILES, inside.root_id if inside else files, files=(below,))
        found = (_as_known(each, inner) for each in find(inside or Place(place, root_id=0)))
        counts.update(_kinds(gallery, found, retry=retry))
    return _plan(counts)


def plan_places(
    gallery: Gallery, places: list[Place], not_there: Sequence[Place] = (), *, missing: bool, retry: bool = False
) -> Plan:
    """What looking again at places would do; with `missing`, items whose file is gone are counted too."""
    counts: Counter[str] = Counter()
    for place in places:
        counts.update(_kinds(gallery, find(place), retry=retry))
        if missing:
            counts["missing"] += sum(1 for _ in missing_items(gallery, place))
    return replace(_plan(counts), folders_not_there=tuple(_name(place.root) for place in not_there))


def missing_items(gallery: Gallery, place: Place) -> Iterator[tuple[int, bytes]]:
    """Ids and paths of the items of a place whose file is gone; one that merely cannot be reached is not."""
    for item_id, path in gallery.paths("items", place.root_id):
        if place.holds(path) and is_gone(place.root, path):
            yield item_id, path


def settled_failures(gallery: Gallery, place: Place) -> Iterator[int]:
    """Ids of the failures of a place's root that hold no longer: the file is gone, the folder may be read now."""
    for failure_id, path in gallery.paths("failures", place.root_id):
        if is_gone(place.root, path) or _is_readable_folder(place.root / os.fsdecode(path)):
            yield failure_id


def is_gone(root: Path, path: bytes) -> bool:
    """Whether there is nothing at a path any more, although its root is there."""
    if is_container(root):
        return root.exists() and not has_member(root, path)
    file = root / os.fsdecode(path)
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        # An empty folder is most likely the mount point of a disk that is not mounted.
        return root != FILES or any(file.parent.glob("*"))
    except OSError:
        return False
    return False


def has_left(root: Path, path: bytes) -> bool:
    """Whether a file whose bytes turned up elsewhere is no longer where it was: alone, or with its container."""
    if is_container(root) and not root.exists():
        return any(root.parent.glob("*"))
    return root.exists() and is_gone(root, path)


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
    if place.root == FILES or is_container(place.root):
        return place.root.exists()
    if not place.root.is_dir():
        return False
    return next(find_files(place.root), None) is not None or next(gallery.paths("items", place.root_id), None) is None


def _inside_a_root(roots: Mapping[int, Path], folder: Path) -> Place | None:
    for number, root in roots.items():
        if root != FILES and folder.is_relative_to(root) and (folder == root or not is_container(folder)):
            below = os.fsencode(folder.relative_to(root))
            return Place(root, number, b"" if below == b"." else below + b"/")
    return None


def _roots_below(roots: Mapping[int, Path], folder: Path) -> dict[bytes, int]:
    return {
        os.fsencode(root.relative_to(folder)) + b"/": number
        for number, root in roots.items()
        if root != folder and root.is_relative_to(folder) and not is_container(root)
    }


def _as_known(found: Found, inner: dict[bytes, int]) -> Found:
    """A file under the root that has it now, before `claim` gives it to a root above."""
    for below, root_id in inner.items():
        if found.file.path.startswith(below):
            path = found.file.path.removeprefix(below)
            return Found(FileState(root_id, path, found.file.size, found.file.mtime_ns), found.refusal, found.other)
    return found


def _kinds(gallery: Gallery | None, found: Iterable[Found], *, retry: bool) -> Iterator[str]:
    if gallery is None:
        yield from ("new" if each.refusal is None else "refused" for each in found)
        return
    for each, fate in with_fates(gallery, found):
        if each.refusal is not None:
            yield "refused"
        elif fate is None:
            yield "new"
        else:
            yield "unchanged" if fate.holds_for(each.file, retry=retry) else "changed"


def _plan(counts: Counter[str]) -> Plan:
    return Plan(new=counts["new"], changed=counts["changed"], unchanged=counts["unchanged"], missing=counts["missing"])


def _name(folder: Path) -> str:
    return printable(os.fsencode(folder))
