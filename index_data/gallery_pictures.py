"""The pictures of a gallery as something that a model can be trained on: files, members of archives, uploads."""

import hashlib
import os

from index_data.gallery import Gallery, Item
from train.images import FileContent, FoundFile, Rejected


class GalleryPictures:
    """Each item of a gallery, oldest first; a file that is gone or has changed is rejected when it is read."""

    def __init__(self, gallery: Gallery) -> None:
        """Look at nothing yet."""
        self._gallery = gallery
        self._ids: dict[bytes, int] = {}  # by path

    @property
    def place(self) -> str:
        """The gallery's folder."""
        return os.fsdecode(self._gallery.folder.resolve())

    def files(self) -> list[FoundFile | Rejected]:
        """The files of all items, by their whole paths."""
        items = [item for items in self._gallery.in_slices() for item in items]
        self._ids = {_path(item): item.id for item in items}
        return [FoundFile(_path(item), item.size, item.mtime_ns) for item in items]

    def read(self, file: FoundFile) -> FileContent:
        """One of them; raises ImageError where it is no longer what was indexed."""
        item = self._gallery.item(self._ids[file.path])
        data = self._gallery.read_original(item)
        return FileContent(data, len(data), item.mtime_ns, hashlib.sha256(data).digest())

    def __str__(self) -> str:
        return f"the gallery {self._gallery.name}"


def _path(item: Item) -> bytes:
    return os.fsencode(item.file)
