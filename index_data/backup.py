"""A gallery as one file: written while it is served, checked when it is read, complete or not there.

The file is a plain tar archive that any tar opens: `gallery.db` as it was at one moment, the thumbnails, pictures that
stand in the gallery's own folder (uploads), and at the end `manifest.json` with the sizes and digests of all. The index
is not in it: it is made again.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from index_data.gallery import DATABASE, Gallery, Item
from index_data.generations import build_generation
from train.datasets.archives import reading
from train.errors import DamagedError, ImageError, IncompatibleError, SettingsError
from train.files import atomic_file, atomic_folder, disk_errors, locked
from train.printable import printable
from train.progress import SILENT, Reporter

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
# Nothing else is written anywhere: no step begins with a dot, and what the gallery is made of is not replaced.
_NAMES = re.compile(r"gallery\.db|thumbs/[0-9a-f]{2}/[0-9a-f]{64}\.webp")
_OWN_NAMES = re.compile(
    r"(?!(?:indexes|thumbs|current|LOCK)/)(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)+[A-Za-z0-9_-][A-Za-z0-9._-]*"
)
_MANIFEST_MAX = 1 << 30  # bytes
_AT_ONCE = 1 << 20  # bytes


def export_gallery(gallery: Gallery, file: Path, *, reporter: Reporter = SILENT) -> int:
    """Write a gallery to a file while it is searched, added to and removed from; return how many items are in it.

    Raises:
        SettingsError: There is a file already.
        DiskError: The disk is full; no short file is left.
    """
    if file.exists():
        raise SettingsError(f"{file} is there already: choose another name, or remove it.")
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as aside:
            reporter.say("Copying the database.")
            gallery.copy_to(Path(aside) / DATABASE)
            with Gallery.open(Path(aside)) as copied, atomic_file(file) as out:
                with tarfile.open(fileobj=out, mode="w") as tar:
                    _write_members(tar, gallery, copied, reporter)
                return copied.count


def import_gallery(file: Path, folder: Path, *, reporter: Reporter = SILENT) -> Gallery:
    """Make a gallery of a file that `export_gallery` wrote, and open it. If it is killed, there is no gallery.

    Raises:
        NothingFoundError: There is no such file.
        SettingsError: There is a gallery in the folder already.
        DamagedError: The file is not what was written.
        IncompatibleError: A newer version wrote it.
        DiskError: The disk is full.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"there is something in {folder} already: choose another name.")
    with atomic_folder(folder) as aside:
        reporter.say("Reading and checking the file.")
        own = _read_members(file, aside)
        with Gallery.open(aside) as copied:
            wrong = copied.check_database()
            if wrong:
                raise DamagedError(f"{file} holds a damaged database ({wrong[0]}): use another backup.")
            copied.use_write_ahead_log()
            with copied.changes() as changes:
                changes.place_roots({number: folder.resolve() / place for number, place in own.items()})
    gallery = Gallery.open(folder)
    try:
        with locked(folder, "index import"):
            reporter.say(f"Building the index of {gallery.count:,} images.")
            build_generation(gallery, reporter=reporter)
    except BaseException:
        gallery.close()
        raise
    return gallery


def _write_members(tar: tarfile.TarFile, gallery: Gallery, copied: Gallery, reporter: Reporter) -> None:
    with (copied.folder / DATABASE).open("rb") as database:
        files = {DATABASE: _write_member(tar, DATABASE, database, (copied.folder / DATABASE).stat().st_size)}
    folder = gallery.folder.resolve()
    own = {number: root.relative_to(folder) for number, root in copied.roots().items() if root.is_relative_to(folder)}
    own_places = {bytes(folder / place): place for place in own.values()}
    with reporter.task("Pictures", total=copied.count, unit="items") as task:
        for items in copied.in_slices():
            for item in items:
                name = gallery.thumbnail_path(item.sha256).relative_to(gallery.folder).as_posix()
                if name not in files and (thumbnail := gallery.thumbnail(item.sha256)) is not None:
                    files[name] = _write_member(tar, name, io.BytesIO(thumbnail), len(thumbnail))
                if item.root in own_places:
                    place = own_places[item.root] / os.fsdecode(item.path)
                    _write_own(tar, gallery, item, place.as_posix(), files, reporter)
            task.advance(len(items))
    manifest = {
        "format": "lookalike gallery",
        "version": FORMAT_VERSION,
        "items": copied.count,
        "own_roots": {number: place.as_posix() for number, place in own.items()},
        "files": files,
    }
    content = json.dumps(manifest).encode()
    _write_member(tar, MANIFEST, io.BytesIO(content), len(content))


def _write_own(
    tar: tarfile.TarFile,
    gallery: Gallery,
    item: Item,
    name: str,
    files: dict[str, dict[str, object]],
    reporter: Reporter,
) -> None:
    """Write a picture that stands nowhere else."""
    try:
        if not _OWN_NAMES.fullmatch(name):
            raise ImageError("Its name is not one that an upload has.", code="not_a_file")
        data = gallery.read_original(item)
    except ImageError as error:
        reporter.say(f"{printable(os.fsencode(name))} is left out: {error.detail}")
        return
    files[name] = _write_member(tar, name, io.BytesIO(data), len(data))


def _write_member(
    tar: tarfile.TarFile, name: str, file: io.BufferedReader | io.BytesIO, size: int
) -> dict[str, object]:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    info = tarfile.TarInfo(name)
    info.size = size
    tar.addfile(info, file)
    return {"bytes": size, "sha256": digest}


def _read_members(file: Path, folder: Path) -> dict[int, Path]:
    """Write what a backup holds to a folder, checked; return the roots that lie in the gallery's own folder."""
    found: dict[str, dict[str, object]] = {}
    manifest = None
    with reading(file), tarfile.open(file, "r:") as tar:
        for info in tar:
            tar.members = []  # type: ignore[attr-defined]
            content = tar.extractfile(info) if info.isreg() else None
            if content is None or not _is_expected(info.name):
                raise tarfile.ReadError(f"it holds {info.name[:100]!r}, which no backup of a gallery does")
            if info.name == MANIFEST:
                manifest = json.loads(content.read(_MANIFEST_MAX))
            else:
                found[info.name] = _copy(content, folder / info.name)
        if manifest is None:
            raise tarfile.ReadError("it breaks off")
        if manifest["version"] > FORMAT_VERSION:
            raise IncompatibleError(
                f"{file} has format {manifest['version']}, and this version of Lookalike reads up to {FORMAT_VERSION}: "
                "use the version that made it, or a newer one."
            )
        if found != manifest["files"] or DATABASE not in found:
            raise tarfile.ReadError("its digests differ")
        own = {int(number): Path(place) for number, place in manifest["own_roots"].items()}
        if not all(_OWN_NAMES.fullmatch(f"{place.as_posix()}/x") for place in own.values()):
            raise tarfile.ReadError("one of its folders leads elsewhere")
        return own


def _is_expected(name: str) -> bool:
    return name == MANIFEST or any(names.fullmatch(name) for names in (_NAMES, _OWN_NAMES))


def _copy(content: IO[bytes], place: Path) -> dict[str, object]:
    digest = hashlib.sha256()
    size = 0
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            while data := content.read(_AT_ONCE):
                out.write(data)
                digest.update(data)
                size += len(data)
    return {"bytes": size, "sha256": digest.hexdigest()}
