"""Pictures that come over the API and stay: kept in the gallery's own folder, embedded, and searchable at once.

galleries/<name>/uploads/<first two digits of the SHA-256>/<its first sixteen>/<name>

The folder is a root of the gallery like any other. A file is durable before its item is, so a kill between the two
leaves a file that the next scan takes in.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from werkzeug.utils import secure_filename

from index_data.gallery import Content, FileState, Gallery
from search_server.galleries import ServedGallery
from search_server.incoming import File
from search_server.service import Service
from search_server.stopwatch import stage
from train.decoding import Decoded
from train.errors import ImageError, UserError
from train.files import write_file
from train.images import THUMBNAIL_SIDE

FOLDER = "uploads"
LONGEST_NAME = 100  # characters, without its ending
_ENDINGS = {"JPEG": "jpg", "TIFF": "tif"}  # all others are called as their format is


@dataclass(frozen=True)
class Added:
    """What became of one picture."""

    name: str  # as the client called it
    status: Literal["created", "duplicate", "failed"]
    item_id: int | None
    error: UserError | None = None


@dataclass(frozen=True)
class _Picture:
    """A picture that can be used."""

    file: File
    sha256: bytes
    decoded: Decoded
    content: Content

    @property
    def place(self) -> Path:
        """Where it is kept, below the folder of uploads."""
        digest = self.sha256.hex()
        # Only letters, digits and ._- are left, no dot before them: a name never leads elsewhere.
        stem = secure_filename(self.file.name.rpartition(".")[0] or self.file.name)[:LONGEST_NAME] or "picture"
        ending = _ENDINGS.get(self.decoded.format, self.decoded.format.lower())
        return Path(digest[:2]) / digest[:16] / f"{stem}.{ending}"


def uploads_folder(gallery: Gallery) -> Path:
    """Where the pictures are kept that were uploaded into a gallery."""
    return gallery.folder.resolve() / FOLDER


def add_pictures(service: Service, served: ServedGallery, files: Sequence[File]) -> list[Added]:
    """Make pictures items of a gallery; one that cannot be used keeps no other from it.

    Raises:
        DiskError: There is no room; those before it stay.
    """
    return [_add(service, served, file) for file in files]


def remove_items(served: ServedGallery, ids: Sequence[int]) -> list[int]:
    """Take items out of a gallery, their files stay, and no scan brings them back; return those that there were."""
    there = [item.id for item in served.gallery.items_by_id(list(dict.fromkeys(ids)))]
    if there:
        with served.gallery.changes() as changes:
            changes.take_out(there)
    return there


def _add(service: Service, served: ServedGallery, file: File) -> Added:
    digest = hashlib.sha256(file.data).digest()
    known = served.gallery.item_of_content(digest)
    if known is not None:
        return Added(file.name, "duplicate", known)
    try:
        picture = _see(service, served, file, digest)
    except ImageError as error:
        return Added(file.name, "failed", None, error)
    except UserError as error:
        if error.problem.code != "busy":
            raise
        return Added(file.name, "failed", None, error)
    with stage("store"):
        return _keep(served.gallery, picture)


def _see(service: Service, served: ServedGallery, file: File, digest: bytes) -> _Picture:
    with stage("decode"):
        decoded = service.decoding.fit(file.data, served.gallery.preprocessing, thumbnail=THUMBNAIL_SIDE)
    with stage("embed"):
        codes = served.engine.embed(decoded.pixels[None])
    if not codes.usable[0]:
        raise ImageError("the model gives no usable embedding of this picture.", code="bad_embedding")
    size = (decoded.width, decoded.height, decoded.format)
    return _Picture(file, digest, decoded, Content(digest, *size, codes.latents[0], codes.embeddings[0], decoded.facts))


def _keep(gallery: Gallery, picture: _Picture) -> Added:
    folder = uploads_folder(gallery)
    file = folder / picture.place
    write_file(file, picture.file.data)
    status = file.stat()
    if picture.decoded.thumbnail is not None:
        gallery.write_thumbnail(picture.sha256.hex(), picture.decoded.thumbnail)
    with gallery.changes() as changes:
        content_id = changes.content_id(picture.sha256)
        others = changes.files_of(content_id, 1) if content_id is not None else []
        if others:  # somebody else sent the same bytes meanwhile
            return Added(picture.file.name, "duplicate", others[0][0])
        place = bytes(picture.place)
        state = FileState(changes.root_id(folder), place, status.st_size, status.st_mtime_ns)
        changes.put_item(state, changes.add_content(picture.content) if content_id is None else content_id)
        item = changes.item_at(state)
        assert item is not None  # noqa: S101  (it was just put there)
        return Added(picture.file.name, "created", item[0])
