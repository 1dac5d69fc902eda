"""Checking everything that a gallery keeps, and mending what can be made again."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from index_data.gallery import Gallery, Item
from index_data.generations import (
    build_generation,
    current_name,
    load_generation,
    pointer_path,
    remove_generation,
    stored_names,
)
from train.decoding import DecodePool
from train.errors import ImageError, IncompatibleError, UserError
from train.files import locked, remove_leftovers
from train.images import FOLDER_LIMITS, THUMBNAIL_SIDE
from train.printable import printable
from train.progress import SILENT, Reporter


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    what: str  # database, vectors, index, model, thumbnails
    detail: str
    harmful: bool  # answers are wrong or missing; else it is only slow or untidy
    mended: bool = False


def verify(gallery: Gallery, *, repair: bool = False, reporter: Reporter = SILENT) -> list[Finding]:
    """Check database, vectors, index, model and thumbnails; with `repair`, mend what can be made again.

    Raises:
        LockedError: `repair`, and another process writes the gallery.
    """
    if not repair:
        return list(_findings(gallery, repair=False, reporter=reporter))
    with locked(gallery.folder, "index verify --repair"):
        return list(_findings(gallery, repair=True, reporter=reporter))


def _findings(gallery: Gallery, *, repair: bool, reporter: Reporter) -> Iterator[Finding]:
    reporter.say("Checking the database.")
    wrong = gallery.check_database()
    yield from (Finding("database", f"{gallery.database}: {detail}", harmful=True) for detail in wrong)
    if wrong:
        return
    reporter.say("Checking the vectors.")
    yield from _check_vectors(gallery, repair=repair)
    reporter.say("Checking the index.")
    yield from _check_index(gallery, repair=repair, reporter=reporter)
    yield from _check_model(gallery)
    reporter.say("Checking the thumbnails.")
    yield from _check_thumbnails(gallery, repair=repair)


def _check_vectors(gallery: Gallery, *, repair: bool) -> Iterator[Finding]:
    for item in gallery.items_by_id(gallery.damaged_items()):
        if repair:
            with gallery.changes() as changes:
                changes.remove_items([item.id])
        then = "It was taken out: `lookalike index scan` embeds it again." if repair else "--repair takes it out."
        yield Finding("vectors", f"{printable(os.fsencode(item.file))} has a damaged vector. {then}", True, repair)
    if repair:
        gallery.drop_unused_contents()


def _check_index(gallery: Gallery, *, repair: bool, reporter: Reporter) -> Iterator[Finding]:
    unusable = {}
    wrong, slow = [], []
    for name in stored_names(gallery):
        try:
            load_generation(gallery, name)
        except IncompatibleError as error:  # of the model before: a change of the model was killed before its end
            unusable[name] = error.detail
            slow.append(error.detail)
        except UserError as error:
            unusable[name] = error.detail
            wrong.append(error.detail)
    current = current_name(gallery)
    if not stored_names(gallery) and not pointer_path(gallery).exists():
        # Not a fault: searches compare all vectors until there is one.
        if gallery.count:
            slow.append(f"{gallery.name} has no index yet: searching it is slow to start.")
    elif current is None:
        wrong.append(f"{pointer_path(gallery)} names no generation.")
    elif current not in stored_names(gallery):
        wrong.append(f"the current generation {current} is not there.")
    if repair and (wrong or slow):
        for name in unusable:
            remove_generation(gallery, name)
        build_generation(gallery, reporter=reporter)
    yield from (Finding("index", detail, harmful=True, mended=repair) for detail in wrong)
    yield from (Finding("index", detail, harmful=False, mended=repair) for detail in slow)


def _check_model(gallery: Gallery) -> Iterator[Finding]:
    try:
        gallery.open_bundle()
    except UserError as error:
        yield Finding("model", error.detail, harmful=True)


def _check_thumbnails(gallery: Gallery, *, repair: bool) -> Iterator[Finding]:
    unused = [path for path in _thumbnail_files(gallery) if not gallery.has_content(_content_of(path))]
    if unused:
        for path in unused if repair else ():
            path.unlink(missing_ok=True)
        yield Finding("thumbnails", f"{len(unused):,} files in thumbs belong to no item.", False, repair)
    with DecodePool(len(os.sched_getaffinity(0)), FOLDER_LIMITS) as pool:
        for item in (item for items in gallery.in_slices() for item in items):
            if gallery.thumbnail(item.sha256) is None:
                mended = repair and _make_thumbnail(gallery, pool, item)
                yield Finding("thumbnails", f"{printable(os.fsencode(item.file))} has no thumbnail.", False, mended)
    if repair:
        for folder in (gallery.folder, *(gallery.folder / "thumbs").glob("*")):
            remove_leftovers(folder)


def _make_thumbnail(gallery: Gallery, pool: DecodePool, item: Item) -> bool:
    try:
        decoded = pool.fit(gallery.read_original(item), gallery.preprocessing, thumbnail=THUMBNAIL_SIDE)
    except ImageError:
        return False
    if decoded.thumbnail is not None:
        gallery.write_thumbnail(item.sha256, decoded.thumbnail)
    return decoded.thumbnail is not None


def _thumbnail_files(gallery: Gallery) -> Iterator[Path]:
    return (path for path in (gallery.folder / "thumbs").glob("*/*") if not path.name.startswith("."))


def _content_of(thumbnail: Path) -> bytes:
    try:
        return bytes.fromhex(thumbnail.stem)
    except ValueError:
        return b""
