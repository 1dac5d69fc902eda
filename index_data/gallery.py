"""The gallery: one folder whose SQLite file is the truth about its items; this module alone reads and writes it.

galleries/<name>/
    gallery.db                 items, contents (latent, embedding), failures, roots: the truth
    thumbs/ab/<sha256>.webp    by content; made again where missing
    indexes/<generation>/      see index_data/generations.py; made again from gallery.db
    current                    names the generation that is searched
    failures.jsonl             what the last `index add` or `index scan` could not use, for people

An item is a file: a root folder and a path of bytes below it. Items with the same bytes share one content, so one
latent, one embedding and one thumbnail. Ids are never used again.
"""

import contextlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index_data import metadata, schema
from index_data.containers import read_original
from train.errors import (
    DamagedError,
    DiskError,
    ImageError,
    IncompatibleError,
    LockedError,
    NothingFoundError,
    SettingsError,
    UserError,
)
from train.files import disk_errors, write_file
from train.images import Preprocessing
from train.printable import printable

if TYPE_CHECKING:
    from export.bundle import Bundle

Vectors = NDArray[np.float32]  # (n, dims)

DATABASE = "gallery.db"
TAKEN_OUT = "taken_out"  # the code of files whose item was removed by hand
WRITER_WAIT_SECONDS = 30.0  # for another process's transaction; each takes milliseconds

_ITEM_COLUMNS = """
    items.id, roots.path, items.path, lower(hex(contents.sha256)), contents.width, contents.height, contents.format,
    items.size, items.mtime_ns, items.added_at
"""  # the fields of `Item`
_ITEM_TABLES = "items JOIN contents ON contents.id = items.content_id JOIN roots ON roots.id = items.root_id"
_VECTOR_COLUMNS = "items.id, checksum, latent, embedding"
_VECTOR_TABLES = "items JOIN contents ON contents.id = items.content_id"
_ROOTS = "SELECT id, path FROM roots ORDER BY id"
# In the list of removed items: the row that says up to which change it was shortened. No item has this id.
_SHORTENED = 0
_FORGOTTEN_AT_ONCE = 10_000  # so that nobody waits long for the transaction
_IDS_AT_ONCE = 500  # SQLite takes 999 parameters or more


class Item(NamedTuple):  # not a dataclass: ten of them are made for each search, out of rows, at a fifth of the price
    """One file of the gallery."""

    id: int
    root: bytes  # absolute folder
    path: bytes  # relative to the root; names need not be text
    sha256: str  # of the bytes that were embedded, hexadecimal
    width: int  # upright, pixels
    height: int
    format: str
    size: int  # bytes
    mtime_ns: int
    added_at: str  # RFC 3339, UTC

    @property
    def name(self) -> str:
        """The file's name for people: one harmless line whatever bytes it has."""
        return printable(self.path.rpartition(b"/")[2])

    @property
    def file(self) -> Path:
        """Where the file is, or was when it was indexed."""
        return Path(os.fsdecode(self.root)) / os.fsdecode(self.path)


@dataclass(frozen=True, slots=True)
class Failure:
    """One file that could not be used, and why."""

    id: int
    root: bytes
    path: bytes
    code: str  # of train.errors.PROBLEMS
    detail: str
    other: bool  # not meant to be an image: listed, but not counted as rejected
    seen_at: str


@dataclass(frozen=True, slots=True)
class FileFate:
    """What became of a file when it was last looked at: an item or a failure."""

    size: int | None
    mtime_ns: int | None
    seq: int  # of the item; 0 for a failure
    failure: str | None  # its code
    other: bool = False

    def holds_for(self, file: "FileState", *, retry: bool = False) -> bool:
        """Whether the file has not changed since; with `retry`, a rejected image is worth another look all the same."""
        same = self.size is not None and (self.size, self.mtime_ns) == (file.size, file.mtime_ns)
        is_rejected = self.failure is not None and (not self.other or self.failure == TAKEN_OUT)
        return same and not (retry and is_rejected)


@dataclass(frozen=True, slots=True)
class Content:
    """What the gallery keeps of one sequence of bytes."""

    sha256: bytes
    width: int
    height: int
    format: str
    latent: Vectors  # (latent_dims,)
    embedding: Vectors  # (dims,), length 1
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the camera wrote: `DecodePool.describe`

    def stored_vectors(self) -> tuple[bytes, int, bytes, bytes]:
        """Digest, checksum, latent and embedding, as they are stored."""
        latent, embedding = _blob(self.latent), _blob(self.embedding)
        return self.sha256, _checksum(latent, embedding), latent, embedding


@dataclass(frozen=True, slots=True)
class NewVectors:
    """What another model made of a gallery's contents."""

    database: Path  # with a table contents (sha256, checksum, latent, embedding)
    lost: dict[bytes, ImageError]  # digests of contents that it could not embed


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was when it was looked at: the same size and time mean unchanged."""

    root_id: int
    path: bytes
    size: int | None
    mtime_ns: int | None


class Changes:
    """What one transaction changes. All of it carries one sequence number, larger than any before."""

    def __init__(self, connection: sqlite3.Connection, seq: int) -> None:
        self.seq = seq
        self.connection = connection  # for the modules beside this one, within the same transaction
        self.let_go: set[int] = set()  # contents that an item has no more; others may have them
        self._connection = connection
        self._now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def roots(self) -> dict[int, Path]:
        """The folders whose files are items, by number."""
        return _roots(self._connection.execute(_ROOTS))

    def root_id(self, root: Path) -> int:
        """The number of a root folder, which becomes one if it was none."""
        path = os.fsencode(root)
        self._connection.execute("INSERT OR IGNORE INTO roots (path) VALUES (?)", (path,))
        (number,) = self._connection.execute("SELECT id FROM roots WHERE path = ?", (path,)).fetchone()
        return int(number)

    def place_roots(self, places: dict[int, Path]) -> None:
        """Say where roots are now.

        Raises:
            SettingsError: Two would be at one place.
        """
        try:
            for number, place in places.items():
                self._connection.execute("UPDATE roots SET path = ? WHERE id = ?", (os.fsencode(place), number))
        except sqlite3.IntegrityError as error:
            raise SettingsError(
                f"another folder of the gallery is at {printable(os.fsencode(place))} already: scan that one instead."
            ) from error

    def move_root(self, root_id: int, new_root_id: int, below: bytes) -> None:
        """Let everything of a root belong to a folder above it: `below` is the way down, ending in '/'."""
        moved = self._connection.execute("SELECT id, path FROM items WHERE root_id = ?", (root_id,)).fetchall()
        self._connection.execute(
            "UPDATE documents SET place = CAST(? || place AS BLOB) "
            "WHERE source != 'own' AND item_id IN (SELECT id FROM items WHERE root_id = ?)",
            (below, root_id),
        )
        for table in ("items", "failures"):
            self._connection.execute(
                f"UPDATE {table} SET root_id = ?, path = CAST(? || path AS BLOB) WHERE root_id = ?",  # noqa: S608
                (new_root_id, below, root_id),
            )
        for item_id, path in moved:
            self._name_item(item_id, below + path)
        self._connection.execute("DELETE FROM roots WHERE id = ?", (root_id,))

    def move_files(self, root_id: int, new_root_id: int, below: bytes) -> None:
        """Let what lies in a folder of a root, `below` ending in '/', belong to a root that is that folder."""
        inside = (root_id, below, below[:-1] + b"0")  # "0" is the byte behind "/"
        moved = self._connection.execute(
            "SELECT id, path FROM items WHERE root_id = ? AND path > ? AND path < ?", inside
        ).fetchall()
        for table in ("items", "failures"):
            self._connection.execute(
                f"UPDATE {table} SET root_id = ?, path = CAST(substr(path, ?) AS BLOB) "  # noqa: S608
                "WHERE root_id = ? AND path > ? AND path < ?",
                (new_root_id, len(below) + 1, *inside),
            )
        for item_id, path in moved:
            self._name_item(item_id, path[len(below) :])

    def content_id(self, sha256: bytes) -> int | None:
        """The number of a content by the digest of its bytes."""
        row = self._connection.execute("SELECT id FROM contents WHERE sha256 = ?", (sha256,)).fetchone()
        return row and int(row[0])

    def add_content(self, content: Content) -> int:
        """Store what the model made of some bytes, once."""
        latent, embedding = _blob(content.latent), _blob(content.embedding)
        values = (content.sha256, content.width, content.height, content.format)
        columns = "sha256, width, height, format, checksum, latent, embedding"
        row = (*values, _checksum(latent, embedding), latent, embedding)
        cursor = self._connection.execute(f"INSERT INTO contents ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        assert cursor.lastrowid is not None  # noqa: S101  (an INSERT gives one)
        metadata.put_exif(self._connection, cursor.lastrowid, content.facts)
        return cursor.lastrowid

    def item_at(self, file: FileState) -> tuple[int, int] | None:
        """Id and content of the item that a file is."""
        row: tuple[int, int] | None = self._connection.execute(
            "SELECT id, content_id FROM items WHERE root_id = ? AND path = ?", (file.root_id, file.path)
        ).fetchone()
        return row

    def is_at(self, item_id: int, root_id: int, path: bytes) -> bool:
        """Whether an item is there, and at a place."""
        known = self.item_at(FileState(root_id, path, None, None))
        return known is not None and known[0] == item_id

    def files_of(self, content_id: int, limit: int) -> list[tuple[int, Path, bytes]]:
        """Item, root and path of files with the same bytes, at most `limit` of them."""
        rows = self._connection.execute(
            "SELECT items.id, roots.path, items.path FROM items JOIN roots ON roots.id = root_id "
            "WHERE content_id = ? ORDER BY items.id LIMIT ?",
            (content_id, limit),
        )
        return [(item_id, Path(os.fsdecode(root)), path) for item_id, root, path in rows]

    def put_item(self, file: FileState, content_id: int) -> None:
        """Make a file an item, or give the item that it is its new content; the id stays."""
        known = self.item_at(file)
        if known is None:
            cursor = self._connection.execute(
                "INSERT INTO items (root_id, path, content_id, size, mtime_ns, added_at, seq) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.root_id, file.path, content_id, file.size, file.mtime_ns, self._now, self.seq),
            )
            assert cursor.lastrowid is not None  # noqa: S101  (an INSERT gives one)
            self._name_item(cursor.lastrowid, file.path)
            metadata.describe(self._connection, [cursor.lastrowid])
        else:
            item_id, old_content_id = known
            self._connection.execute(
                "UPDATE items SET content_id = ?, size = ?, mtime_ns = ? WHERE id = ?",
                (content_id, file.size, file.mtime_ns, item_id),
            )
            if content_id != old_content_id:
                self._connection.execute("UPDATE items SET seq = ? WHERE id = ?", (self.seq, item_id))
                metadata.describe(self._connection, [item_id])
                self.let_go.add(old_content_id)
        self._forget_failure(file)

    def move_item(self, item_id: int, file: FileState) -> None:
        """Let an item follow its file to another place."""
        self._connection.execute(
            "UPDATE items SET root_id = ?, path = ?, size = ?, mtime_ns = ? WHERE id = ?",
            (file.root_id, file.path, file.size, file.mtime_ns, item_id),
        )
        self._name_item(item_id, file.path)
        # A table of metadata may name the new place: it is to be read again.
        self._connection.execute("DELETE FROM metadata_files WHERE root_id = ?", (file.root_id,))
        self._forget_failure(file)

    def remove_items(self, ids: Iterable[int]) -> int:
        """Take items out of the gallery, and return how many were there; their files are never touched."""
        removed = 0
        for item_id in ids:
            row = self._connection.execute("DELETE FROM items WHERE id = ? RETURNING content_id", (item_id,)).fetchone()
            if row is not None:
                self._connection.execute("INSERT INTO removals (item_id, seq) VALUES (?, ?)", (item_id, self.seq))
                self.let_go.add(row[0])
                removed += 1
        return removed

    def take_out(self, ids: Iterable[int]) -> int:
        """Remove items, and remember their files, so that no scan brings them back; return how many were there."""
        taken = 0
        for item_id in ids:
            row = self._connection.execute(
                "SELECT root_id, path, size, mtime_ns FROM items WHERE id = ?", (item_id,)
            ).fetchone()
            if row is not None:
                taken += self.remove_items([item_id])
                error = ImageError("It was taken out of the gallery: --retry brings it back.", code=TAKEN_OUT)
                self.put_failure(FileState(*row), error, other=True)
        return taken

    def put_failure(self, file: FileState, error: ImageError, *, other: bool = False) -> None:
        """List a file that cannot be used, in place of what was listed for it before."""
        self._connection.execute(
            "INSERT OR REPLACE INTO failures (root_id, path, code, detail, other, size, mtime_ns, seen_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                file.root_id,
                file.path,
                error.problem.code,
                error.detail,
                int(other),
                file.size,
                file.mtime_ns,
                self._now,
            ),
        )

    def forget_failures(self, ids: Iterable[int]) -> None:
        """Take failures off the list whose files are gone."""
        self._connection.executemany("DELETE FROM failures WHERE id = ?", ((number,) for number in ids))

    def _name_item(self, item_id: int, path: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO names (item_id, folder, name) VALUES (?, ?, ?)", (item_id, *schema.names_of(path))
        )

    def _forget_failure(self, file: FileState) -> None:
        self._connection.execute("DELETE FROM failures WHERE root_id = ? AND path = ?", (file.root_id, file.path))


class Gallery:
    """An open gallery. Many threads and processes may read it while one writes (SQLite's write-ahead log)."""

    def __init__(self, folder: Path) -> None:
        """Use `open` or `create`."""
        self.folder = folder
        self.database = folder / DATABASE
        self._idle: list[_Connection] = []  # append and pop are atomic, so no lock is needed
        self._watch: sqlite3.Connection | None = None  # of `data_version`
        self._watch_lock = threading.Lock()
        self._closed = False
        self._is_old = False  # of an older format, until the first change migrates it

    @classmethod
    def create(cls, folder: Path, bundle: "Bundle") -> "Gallery":
        """Make an empty gallery for the embeddings of one model. If it is killed, there is no gallery.

        Raises:
            SettingsError: There is one already.
            DiskError: The disk is full or may not be written.
        """
        gallery = cls(folder)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with database_errors(gallery.database):
            # All tables and the row come in one transaction: a kill leaves a blank file, which is no gallery.
            connection = _connect(gallery.database, mode="rwc")
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                if not _is_blank(connection):
                    raise SettingsError(
                        f"there is a gallery in {folder} already: choose another name, or open that one."
                    )
                schema.create_tables(connection)
                connection.execute("INSERT INTO gallery VALUES (1, ?, ?, ?, ?, ?, 0, ?)", _identity(folder, bundle))
                connection.execute("COMMIT")
            finally:
                connection.close()
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Gallery":
        """Open a gallery.

        Raises:
            NothingFoundError: There is none (code no_such_gallery).
            IncompatibleError: A newer version made it.
            DamagedError: Its database is no database, or not one of a gallery.
        """
        gallery = cls(folder)
        if not gallery.database.is_file():
            raise _absent(folder)
        with gallery._reading() as connection:
            if _is_blank(connection):
                raise _absent(folder)
            ((application,),) = connection.execute("PRAGMA application_id")
            ((version,),) = connection.execute("PRAGMA user_version")
            if application != schema.APPLICATION_ID:
                raise DamagedError(
                    f"{gallery.database} is no database of a gallery: restore it from a backup, or remove {folder} "
                    "and index the pictures again."
                )
            if version > schema.FORMAT_VERSION:
                raise IncompatibleError(
                    f"{folder} has format {version}, and this version of Lookalike reads up to "
                    f"{schema.FORMAT_VERSION}: use the version that made it, or a newer one."
                )
        gallery._read_identity()
        return gallery

    @classmethod
    def open_or_create(cls, folder: Path, bundle: "Bundle") -> "Gallery":
        """Open a gallery; make it for a model where there is none. Raises like `open` and `create`."""
        with contextlib.suppress(NothingFoundError):
            return cls.open(folder)
        with contextlib.suppress(SettingsError):
            return cls.create(folder, bundle)
        # Another process was quicker.
        return cls.open(folder)

    model_id: str
    dims: int  # of embeddings
    preprocessing: Preprocessing
    created_at: str  # RFC 3339, UTC

    def _read_identity(self) -> None:
        try:
            row = self._one("SELECT model_id, dims, preprocessing, created_at FROM gallery")
            self.model_id, self.dims, preprocessing, self.created_at = row
            self.preprocessing = Preprocessing.from_json(json.loads(preprocessing))
        except (sqlite3.OperationalError, TypeError, ValueError) as error:
            raise _damaged(self.database, str(error)) from error

    @property
    def name(self) -> str:
        """The folder's name."""
        return printable(self.folder.resolve().name)

    @property
    def bundle_folder(self) -> Path:
        """Folder of the model that it was made with, also after its workspace was moved as a whole."""
        bundle, from_here = self._one("SELECT bundle, bundle_from_here FROM gallery")
        near = Path(os.path.normpath(self.folder.resolve() / os.fsdecode(from_here)))
        return near if near.is_dir() else Path(os.fsdecode(bundle))

    def open_bundle(self) -> "Bundle":
        """Open the model that it was made with.

        Raises:
            NothingFoundError: There is none where it was.
            IncompatibleError: There is another one, or a newer version of Lookalike wrote it.
            DamagedError: It is damaged.
        """
        from export.bundle import Bundle

        folder = self.bundle_folder
        try:
            bundle = Bundle.open(folder)
        except NothingFoundError as error:
            raise NothingFoundError(
                f"the model of the gallery {self.name} is not in {printable(os.fsencode(folder))} any more: put it "
                f"back, or give the gallery another one with `lookalike index build {self.name} --model MODEL`."
            ) from error
        self.expect_model(bundle)
        return bundle

    def expect_model(self, bundle: "Bundle") -> None:
        """Refuse a bundle whose embeddings live in another space: its neighbours would look plausible and be wrong.

        Raises:
            IncompatibleError: The gallery was made with another model; both are named.
        """
        if bundle.model_id != self.model_id:
            raise IncompatibleError(
                f"the gallery {self.name} was made with the model {self.model_id}, but {bundle.folder} is the model "
                f"{bundle.model_id}: use the one it was made with ({self.bundle_folder}), or index the pictures into a "
                "new gallery."
            )

    def accept_model(self, bundle: "Bundle") -> None:
        """Refuse another model's bundle, unless there is no item yet; remember where the bundle is now.

        Raises:
            IncompatibleError: The items were embedded by another model; both are named.
        """
        *identity, _ = _identity(self.folder, bundle)
        columns = "model_id, dims, preprocessing, bundle, bundle_from_here"
        if list(self._one(f"SELECT {columns} FROM gallery")) == identity:  # noqa: S608
            return
        with self._transaction() as connection:
            ((model_id, filled),) = connection.execute("SELECT model_id, EXISTS (SELECT 1 FROM items) FROM gallery")
            if model_id != bundle.model_id:
                if filled:
                    self._read_identity()
                    self.expect_model(bundle)
                connection.execute("DELETE FROM contents")
            connection.execute(
                "UPDATE gallery SET model_id = ?, dims = ?, preprocessing = ?, bundle = ?, bundle_from_here = ?",
                identity,
            )
        self._read_identity()

    def switch_model(self, bundle: "Bundle", vectors: NewVectors) -> int | None:
        """Give the gallery another model, whose vectors replace the old ones, in one transaction.

        Items whose content is lost are removed and listed as failures.

        Returns:
            How many those were; None, and nothing is changed, where a content has no new vectors yet.

        Raises:
            DiskError: The disk is full; the gallery is as it was.
        """
        *identity, _ = _identity(self.folder, bundle)
        with database_errors(self.database):
            connection = _connect(self.database)  # of its own: what is attached stays so
            try:
                schema.migrate(connection, self.database)
                connection.execute("ATTACH ? AS new", (f"{vectors.database.resolve().as_uri()}?mode=ro",))
                connection.execute("BEGIN IMMEDIATE")
                missing = connection.execute(
                    "SELECT sha256 FROM contents WHERE sha256 NOT IN (SELECT sha256 FROM new.contents) "
                    "AND EXISTS (SELECT 1 FROM items WHERE content_id = contents.id)"
                )
                if not {sha256 for (sha256,) in missing} <= vectors.lost.keys():
                    connection.execute("ROLLBACK")
                    return None
                removed, dropped = _take_over(connection, identity, vectors.lost)
                connection.execute("COMMIT")
            finally:
                connection.close()  # which rolls back what was not committed
        for sha256 in dropped:
            self.thumbnail_path(sha256.hex()).unlink(missing_ok=True)
        self._read_identity()
        return removed

    # --- Reading ---

    @property
    def seq(self) -> int:
        """Number of the last change; it only grows."""
        return int(self._one("SELECT seq FROM gallery")[0])

    @property
    def count(self) -> int:
        """Number of items."""
        return int(self._one("SELECT count(*) FROM items")[0])

    @property
    def failure_count(self) -> int:
        """Number of images that were rejected; other files are not counted."""
        return int(self._one("SELECT count(*) FROM failures WHERE NOT other")[0])

    def failures_by_code(self) -> dict[str, int]:
        """How many images were rejected for each reason, the most frequent first."""
        rows = self._all("SELECT code, count(*) FROM failures WHERE NOT other GROUP BY code ORDER BY 2 DESC, 1")
        return {code: int(number) for code, number in rows}

    def roots(self) -> dict[int, Path]:
        """The folders whose files are items, by number."""
        return _roots(self._all(_ROOTS))

    def item(self, item_id: int) -> Item:
        """One item.

        Raises:
            UserError: There is none with that id (code no_such_item).
        """
        for item in self.items_by_id([item_id]):
            return item
        raise _no_such_item(item_id, self.name)

    def items(self, *, after: int = 0, limit: int = 100) -> list[Item]:
        """Items in the order of their ids, beginning behind the id `after`."""
        rows = self._all(
            f"SELECT {_ITEM_COLUMNS} FROM {_ITEM_TABLES} WHERE items.id > ? ORDER BY items.id LIMIT ?",  # noqa: S608
            (after, limit),
        )
        return [Item._make(row) for row in rows]

    def in_slices(self, length: int = 1000) -> Iterator[list[Item]]:
        """All items in the order of their ids, some at a time; what is added meanwhile comes last."""
        after = 0
        while items := self.items(after=after, limit=length):
            yield items
            after = items[-1].id

    def item_ids(self, condition: str = "1", values: Any = ()) -> NDArray[np.int64]:
        """Ids of all items, rising; or of those for which an SQL condition of a module beside this one holds."""
        with self._reading() as connection:
            found = connection.execute(f"SELECT id FROM items WHERE {condition} ORDER BY id", values)  # noqa: S608
            return np.fromiter((number for (number,) in found), np.int64)

    def items_by_id(self, ids: Sequence[int]) -> list[Item]:
        """Those of some items that exist, in the order of the ids."""
        rows = self._for_ids(f"SELECT {_ITEM_COLUMNS} FROM {_ITEM_TABLES} WHERE items.id IN", ids)  # noqa: S608
        by_id = {item.id: item for item in map(Item._make, rows)}
        return [by_id[number] for number in ids if number in by_id]

    def latents(self, ids: Sequence[int]) -> Vectors:
        """Latents of items, (n, latent_dims), in the order of the ids.

        Raises:
            UserError: There is no such item (code no_such_item).
            DamagedError: A stored vector does not have its checksum.
        """
        return self._vectors(ids)[0]

    def embeddings(self, ids: Sequence[int]) -> Vectors:
        """Embeddings of items, (n, dims), each of length 1, in the order of the ids; raises like `latents`."""
        return self._vectors(ids)[1]

    def contents_of(self, ids: Sequence[int]) -> dict[int, tuple[bytes, Vectors]]:
        """Digest of the bytes and embedding, (dims,), of those of some items that exist; raises like `latents`."""
        statement = f"SELECT {_VECTOR_COLUMNS}, sha256 FROM {_VECTOR_TABLES} WHERE items.id IN"  # noqa: S608
        digests, rows = {}, {}
        for *row, sha256 in self._for_ids(statement, ids):
            digests[row[0]], rows[row[0]] = sha256, row
        vectors = self._of_this_model(rows)
        return {number: (digests[number], embedding) for number, (_, embedding) in vectors.items()}

    def failures(self, *, after: int = 0, limit: int = 100, other: bool = False) -> list[Failure]:
        """Files that could not be used, in the order of `Failure.id`; with `other`, those meant to be no image too."""
        rows = self._all(
            "SELECT failures.id, roots.path, failures.path, code, detail, other, seen_at "
            "FROM failures JOIN roots ON roots.id = failures.root_id "
            "WHERE failures.id > ? AND (NOT other OR ?) ORDER BY failures.id LIMIT ?",
            (after, other, limit),
        )
        return [
            Failure(number, root, place, code, detail, bool(is_other), seen_at)
            for number, root, place, code, detail, is_other, seen_at in rows
        ]

    def fates(self, root_id: int, paths: Sequence[bytes]) -> dict[bytes, FileFate]:
        """What became of many files of a root when they were last looked at; new ones are left out."""
        fates: dict[bytes, FileFate] = {}
        for start in range(0, len(paths), _IDS_AT_ONCE):
            some = paths[start : start + _IDS_AT_ONCE]
            there = f"WHERE root_id = ? AND path IN ({','.join('?' * len(some))})"
            for table in ("items", "failures"):
                columns = "seq, NULL, 0" if table == "items" else "0, code, other"
                statement = f"SELECT path, size, mtime_ns, {columns} FROM {table} {there}"  # noqa: S608
                for path, size, mtime_ns, seq, failure, other in self._all(statement, (root_id, *some)):
                    # A file is in both tables only if its bytes could not be read lately: it is still an item.
                    fates.setdefault(path, FileFate(size, mtime_ns, seq, failure, bool(other)))
        return fates

    def ids_at(self, root_id: int, path: bytes) -> list[int]:
        """Ids of the items that a file is, or that lie in a folder; the empty path is the root itself."""
        folder = path + b"/" if path else b""
        after = folder[:-1] + b"0" if folder else None  # "0" is the byte behind "/"
        rows = self._all(
            "SELECT id FROM items WHERE root_id = :root AND (path = :path OR (path >= :folder AND "
            "(:after IS NULL OR path < :after))) ORDER BY id",
            {"root": root_id, "path": path, "folder": folder, "after": after},
        )
        return [number for (number,) in rows]

    @property
    def content_count(self) -> int:
        """Number of different contents."""
        return int(self._one("SELECT count(*) FROM contents")[0])

    def contents_in_use(self) -> Iterator[bytes]:
        """Digests of all contents that items have, read a slice at a time."""
        after = 0
        while rows := self._all(
            "SELECT id, sha256 FROM contents WHERE id > ? "
            "AND EXISTS (SELECT 1 FROM items WHERE content_id = contents.id) ORDER BY id LIMIT 4096",
            (after,),
        ):
            yield from (sha256 for _, sha256 in rows)
            after = rows[-1][0]

    def items_with(self, sha256: bytes, limit: int) -> list[Item]:
        """Items with some bytes, at most `limit` of them."""
        rows = self._all(
            f"SELECT {_ITEM_COLUMNS} FROM {_ITEM_TABLES} WHERE contents.sha256 = ? ORDER BY items.id LIMIT ?",  # noqa: S608
            (sha256, limit),
        )
        return [Item._make(row) for row in rows]

    def has_content(self, sha256: bytes) -> bool:
        """Whether the model's answer for some bytes is known."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM contents WHERE sha256 = ?)", (sha256,))[0])

    def item_of_content(self, sha256: bytes) -> int | None:
        """The first item with some bytes."""
        row = self._one(
            "SELECT min(items.id) FROM items JOIN contents ON contents.id = content_id WHERE sha256 = ?", (sha256,)
        )
        return None if row[0] is None else int(row[0])

    def paths(self, table: Literal["items", "failures"], root_id: int) -> Iterator[tuple[int, bytes]]:
        """Id and path of all items or failures of a root, read a slice at a time."""
        after = 0
        while rows := self._all(
            f"SELECT id, path FROM {table} WHERE root_id = ? AND id > ? ORDER BY id LIMIT 4096",  # noqa: S608
            (root_id, after),
        ):
            yield from rows
            after = rows[-1][0]

    def rows(self, statement: str, values: Any = ()) -> list[Any]:
        """What a SELECT of one of the modules beside this one gives."""
        return self._all(statement, values)

    def rows_of(self, statement: str, ids: Sequence[int], order: str = "") -> Iterator[Any]:
        """What a SELECT that ends in `IN` gives for ids, any number of them; `order` holds for each slice of them."""
        return self._for_ids(statement, ids, order)

    def data_version(self) -> int:
        """A number that differs from the last one if anything was committed since, here or in another process.

        It costs microseconds, so every search may ask. It means nothing beyond this object.
        """
        with self._watch_lock, database_errors(self.database):
            if self._watch is None:
                self._watch = _connect(self.database)
            # The connection does nothing else, so every commit is one of another connection, which SQLite counts.
            ((version,),) = self._watch.execute("PRAGMA data_version")
        return int(version)

    def changed_count(self, seq: int) -> int:
        """Number of items that came, went or got another content after a change."""
        row = self._one(
            "SELECT (SELECT count(*) FROM items WHERE seq > :seq) + (SELECT count(*) FROM removals WHERE seq > :seq)",
            {"seq": seq},
        )
        return int(row[0])

    def changed_since(self, seq: int) -> "ChangedItems":
        """The items that came, went or got another content after a change, as they are at one moment.

        Raises:
            DamagedError: A stored vector does not have its checksum.
        """
        with self._snapshot() as connection:
            ((now, model_id),) = connection.execute("SELECT seq, model_id FROM gallery")
            # The plus keeps SQLite from reading all items in order rather than the few that changed.
            rows = connection.execute(
                f"SELECT {_VECTOR_COLUMNS} FROM {_VECTOR_TABLES} WHERE items.seq > ? ORDER BY +items.id",  # noqa: S608
                (seq,),
            ).fetchall()
            removed = connection.execute("SELECT item_id FROM removals WHERE seq > ?", (seq,)).fetchall()
        if model_id != self.model_id:
            raise model_changed(self, model_id)
        embeddings = [_unpack(row, self.dims, self.database)[1] for row in rows]
        return ChangedItems(
            now,
            np.array([row[0] for row in rows], np.int64),
            np.stack(embeddings) if embeddings else np.empty((0, self.dims), np.float32),
            np.array([number for (number,) in removed if number != _SHORTENED], np.int64),
            all(number != _SHORTENED for (number,) in removed),
        )

    @contextlib.contextmanager
    def embeddings_in_order(self, *, until: int | None = None, slice_length: int = 4096) -> Iterator["Snapshot"]:
        """All ids and embeddings of one moment, in the order of the ids; changes meanwhile are not seen.

        Args:
            until: Leave out what came or got another content after this change.
            slice_length: How many rows are in memory at a time.
        """
        with self._snapshot() as connection:
            ((seq,),) = connection.execute("SELECT seq FROM gallery")
            until = seq if until is None else until
            ((count,),) = connection.execute("SELECT count(*) FROM items WHERE seq <= ?", (until,))
            yield Snapshot(seq, count, _slices(connection, self.database, self.dims, until, slice_length))

    def copy_to(self, database: Path) -> None:
        """Write the database as it is at one moment to a new file; others may change it meanwhile.

        Raises:
            DiskError: The disk is full.
        """
        with self._reading() as connection:
            connection.execute("VACUUM INTO ?", (database.resolve().as_uri(),))  # a URI: its name may be no text

    def use_write_ahead_log(self) -> None:
        """Let readers and a writer work side by side, as `create` does; a copied database has forgotten it."""
        with self._reading() as connection:
            connection.execute("PRAGMA journal_mode = WAL")

    def relocate(self, old: Path, new: Path) -> int:
        """Say that everything below a folder lies below another one now; return how many roots that concerns.

        Raises:
            NothingFoundError: No root lies there.
            SettingsError: A root would stand where another one is.
        """
        with self.changes() as changes:
            moved = {
                number: new / root.relative_to(old)
                for number, root in changes.roots().items()
                if root.is_relative_to(old)
            }
            if not moved:
                raise NothingFoundError(
                    f"the gallery {self.name} has nothing below {old}: `lookalike index list {self.name}` names its "
                    "folders."
                )
            changes.place_roots(moved)
        return len(moved)

    def check_database(self) -> list[str]:
        """What SQLite finds wrong with its file, in sentences; empty when all is well."""
        try:
            rows = self._all("PRAGMA integrity_check(20)")
            orphans = self._all("PRAGMA foreign_key_check")
        except DamagedError as error:
            return [error.detail]
        wrong = [str(row[0]) for row in rows if row[0] != "ok"]
        return wrong + [f"row {row} of {table} points nowhere" for table, row, *_ in orphans]

    def damaged_items(self) -> list[int]:
        """Ids of items whose vectors do not have their checksum, or are no embedding."""
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_VECTOR_COLUMNS} FROM {_VECTOR_TABLES} ORDER BY items.id")  # noqa: S608
            return [row[0] for row in rows if not _is_sound(row, self.dims)]

    def read_original(self, item: Item) -> bytes:
        """The bytes of an item's file, or of its member of a container.

        Raises:
            ImageError: The file is gone (file_missing), cannot be read, or is not the one that was indexed
                (file_changed).
        """
        content = read_original(Path(os.fsdecode(item.root)), item.path)
        if content.sha256.hex() != item.sha256:
            raise ImageError(
                f"{item.name} has changed since it was indexed: run `lookalike index scan {self.name}`.",
                code="file_changed",
            )
        return content.data

    # --- Thumbnails ---

    def thumbnail_path(self, sha256: str) -> Path:
        """Where the thumbnail (WebP) of a content is, if it is there."""
        return self.folder / "thumbs" / sha256[:2] / f"{sha256}.webp"

    def thumbnail(self, sha256: str) -> bytes | None:
        """A thumbnail (WebP); None where it is missing or a power cut left it short: make it again."""
        try:
            data = self.thumbnail_path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        return data if _is_whole_webp(data) else None

    def write_thumbnail(self, sha256: str, data: bytes) -> None:
        """Keep a thumbnail (WebP).

        Raises:
            DiskError: The disk is full; no short file is left.
        """
        # It can be made again, so it need not wait for the disk: a reader checks that it is whole.
        write_file(self.thumbnail_path(sha256), data, durable=False)

    # --- Writing ---

    @contextlib.contextmanager
    def changes(self) -> Iterator[Changes]:
        """Change the gallery in one transaction: all of it, durably, when the block ends without an error.

        Many processes may do so at once; each waits for the others' transactions, which are short.

        Raises:
            DiskError: The disk is full; the gallery is as it was.
            IncompatibleError: The gallery was given another model since it was opened here.
        """
        with self._transaction() as connection:
            connection.execute("UPDATE gallery SET seq = seq + 1")
            ((seq, model_id),) = connection.execute("SELECT seq, model_id FROM gallery")
            if model_id != self.model_id:
                raise model_changed(self, model_id)
            yield Changes(connection, seq)

    def drop_unused_contents(self, ids: Iterable[int] | None = None) -> int:
        """Forget what the model made of bytes that no item has any more, thumbnails included; return how many.

        Not at once with the item: the file may turn up at another place in the same run.

        Args:
            ids: Contents that may be unused; None looks at all of them, which reads the whole table.
        """
        if ids is None:
            # Read first, so that nobody waits for it.
            unused = self._all("SELECT id FROM contents WHERE id NOT IN (SELECT content_id FROM items)")
            ids = [number for (number,) in unused]
        dropped = 0
        numbers = sorted(ids)
        for start in range(0, len(numbers), _IDS_AT_ONCE):
            some = numbers[start : start + _IDS_AT_ONCE]
            with self._transaction() as connection:
                rows = connection.execute(
                    f"DELETE FROM contents WHERE id IN ({','.join('?' * len(some))}) "  # noqa: S608
                    "AND NOT EXISTS (SELECT 1 FROM items WHERE content_id = contents.id) RETURNING sha256",
                    some,
                ).fetchall()
            for (sha256,) in rows:
                self.thumbnail_path(sha256.hex()).unlink(missing_ok=True)
            dropped += len(rows)
        return dropped

    def forget_removals(self, until: int) -> int:
        """Forget which items were removed up to a change that all stored generations are newer than; return how many.

        Whoever asks for what changed since an older moment is told that this is not known any more.
        """
        forgotten = 0
        old = "FROM removals WHERE seq <= ? AND item_id != ?"
        while True:
            with self._transaction() as connection:
                ((newest,),) = connection.execute(f"SELECT max(seq) {old}", (until, _SHORTENED))
                if newest is None:
                    return forgotten
                connection.execute(
                    "INSERT INTO removals VALUES (?, ?) "
                    "ON CONFLICT (item_id) DO UPDATE SET seq = max(seq, excluded.seq)",
                    (_SHORTENED, newest),
                )
                some = f"SELECT item_id {old} LIMIT {_FORGOTTEN_AT_ONCE}"
                cursor = connection.execute(
                    f"DELETE FROM removals WHERE item_id IN ({some})",  # noqa: S608
                    (until, _SHORTENED),
                )
                forgotten += cursor.rowcount

    def close(self) -> None:
        """Close all connections; the last one to close folds the write-ahead log into the database."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _reading(self) -> "Iterator[_Connection]":
        """Borrow a connection; there are as many as threads read at once."""
        with database_errors(self.database):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._open_connection()
            try:
                yield connection
            finally:
                if self._closed or connection.is_old:
                    connection.close()
                else:
                    self._idle.append(connection)

    def _open_connection(self) -> "_Connection":
        connection = _connect(self.database)
        try:
            connection.is_old = 0 < schema.format_of(connection) < schema.FORMAT_VERSION  # 0: no gallery
            self._is_old = connection.is_old
            if connection.is_old:
                schema.let_read(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self) -> None:
        connection = _connect(self.database)
        try:
            schema.migrate(connection, self.database)
            self._is_old = False
        finally:
            connection.close()

    @contextlib.contextmanager
    def _snapshot(self) -> "Iterator[_Connection]":
        """Borrow a connection that sees one moment, whatever is committed meanwhile."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._is_old:
            with database_errors(self.database):
                self._migrate()
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some errors, such as a full disk.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _one(self, statement: str, values: Any = ()) -> Any:
        with self._reading() as connection:
            return connection.execute(statement, values).fetchone()

    def _all(self, statement: str, values: Any = ()) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(statement, values).fetchall()

    def _for_ids(self, statement: str, ids: Sequence[int], order: str = "") -> Iterator[Any]:
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = [int(number) for number in ids[start : start + _IDS_AT_ONCE]]
            yield from self._all(f"{statement} ({','.join('?' * len(some))}) {order}", some)

    def _of_this_model(self, rows: dict[int, Any]) -> dict[int, tuple[Vectors, Vectors]]:
        """Vectors out of rows, unless the gallery was given another model before they were read."""
        # Read after them: if the model is the same now, it was so then, or has come back.
        ((model_id,),) = self._all("SELECT model_id FROM gallery")
        if model_id != self.model_id:
            raise model_changed(self, model_id)
        return {number: _unpack(row, self.dims, self.database) for number, row in rows.items()}

    def _vectors(self, ids: Sequence[int]) -> tuple[Vectors, Vectors]:
        rows = self._for_ids(
            f"SELECT {_VECTOR_COLUMNS} FROM {_VECTOR_TABLES} WHERE items.id IN",  # noqa: S608
            ids,
        )
        by_id = self._of_this_model({row[0]: row for row in rows})
        for number in ids:
            if number not in by_id:
                raise _no_such_item(number, self.name)
        found = [by_id[number] for number in ids]
        if not found:
            return np.empty((0, 0), np.float32), np.empty((0, self.dims), np.float32)
        latents, embeddings = (np.stack(vectors).astype(np.float32) for vectors in zip(*found, strict=True))
        return latents, embeddings


@dataclass(frozen=True)
class ChangedItems:
    """What changed in a gallery between two moments."""

    seq: int  # of the last change
    ids: NDArray[np.int64]  # items that are new or have another content, rising
    embeddings: Vectors  # theirs, (n, dims)
    removed: NDArray[np.int64]  # items that are there no more
    complete: bool = True  # False: some that were removed so long ago are forgotten, so it cannot be told what changed


@dataclass(frozen=True)
class Snapshot:
    """The embeddings of all items at one moment."""

    seq: int  # of the last change that it contains
    count: int
    slices: Iterator[tuple[NDArray[np.int64], Vectors]]  # ids (n,), embeddings (n, dims)


@contextlib.contextmanager
def database_errors(database: Path) -> Iterator[None]:
    """Turn SQLite's errors that the user can put right into ours; all else is a bug and passes."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary of an extended code
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _damaged(database, str(error)) from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise DiskError(
                f"{database} cannot be written: the disk is full or failing ({error}). Free some space and run the "
                "command again; it goes on where it was."
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise DiskError(
                f"{database} cannot be opened for writing ({error}): change the permissions, or copy the gallery to a "
                "place where this user may write."
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LockedError(f"{database} is being written by another process: try again in a moment.") from error
        raise


def _is_blank(connection: sqlite3.Connection) -> bool:
    """Whether a database has no tables: a `create` was killed in it, or has just begun."""
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    return int(tables) == 0


class _Connection(sqlite3.Connection):
    """A connection that knows whether it had to be helped to read an older format: such a one is not used again."""

    is_old = False


def _connect(database: Path, mode: str = "rw") -> _Connection:
    connection: _Connection = sqlite3.connect(
        f"{database.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=WRITER_WAIT_SECONDS,
        isolation_level=None,  # transactions begin and end where this module says so
        check_same_thread=False,  # a connection is lent to one thread at a time
        factory=_Connection,
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _identity(folder: Path, bundle: "Bundle") -> tuple[str, int, str, bytes, bytes, str]:
    place = bundle.folder.resolve()
    from_here = os.path.relpath(place, folder.resolve())
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    preprocessing = json.dumps(bundle.preprocessing.to_json(), sort_keys=True)
    return bundle.model_id, bundle.dims, preprocessing, os.fsencode(place), os.fsencode(from_here), now


def _take_over(
    connection: sqlite3.Connection, identity: list[Any], lost: dict[bytes, ImageError]
) -> tuple[int, list[bytes]]:
    """Replace all vectors; return how many items were lost, and the digests of the contents that nobody has now."""
    connection.execute("DELETE FROM reconstruction_errors")  # of the model before
    connection.execute(
        "UPDATE gallery SET seq = seq + 1, model_id = ?, dims = ?, preprocessing = ?, bundle = ?, bundle_from_here = ?",
        identity,
    )
    ((seq,),) = connection.execute("SELECT seq FROM gallery")
    changes = Changes(connection, seq)
    removed = 0
    for sha256, error in lost.items():
        files = connection.execute(
            "SELECT items.id, root_id, path, size, mtime_ns FROM items JOIN contents ON contents.id = content_id "
            "WHERE sha256 = ?",
            (sha256,),
        ).fetchall()
        for item_id, root_id, path, size, mtime_ns in files:
            removed += changes.remove_items([item_id])
            changes.put_failure(FileState(root_id, path, size, mtime_ns), error)
    dropped = connection.execute(
        "DELETE FROM contents WHERE NOT EXISTS (SELECT 1 FROM items WHERE content_id = contents.id) RETURNING sha256"
    ).fetchall()
    connection.execute(
        "UPDATE contents SET checksum = made.checksum, latent = made.latent, embedding = made.embedding "
        "FROM new.contents AS made WHERE made.sha256 = contents.sha256"
    )
    return removed, [sha256 for (sha256,) in dropped]


def _roots(rows: Iterable[tuple[int, bytes]]) -> dict[int, Path]:
    return {int(number): Path(os.fsdecode(path)) for number, path in rows}


def _blob(vector: Vectors) -> bytes:
    return vector.astype("<f4").tobytes()


def _checksum(latent: bytes, embedding: bytes) -> int:
    return zlib.crc32(embedding, zlib.crc32(latent))


def _is_sound(row: Any, dims: int) -> bool:
    """Whether a row of `_VECTOR_COLUMNS` holds what was written."""
    _, checksum, latent, embedding = row
    # A latent may be longer than an embedding: a spatial code is.
    return len(embedding) == 4 * dims and len(latent) % 4 == 0 and _checksum(latent, embedding) == checksum


def _unpack(row: Any, dims: int, database: Path) -> tuple[Vectors, Vectors]:
    """Latent and embedding of a row of `_VECTOR_COLUMNS`, checked."""
    if not _is_sound(row, dims):
        raise DamagedError(
            f"{database} holds a damaged vector for item {row[0]}: run `lookalike index verify --repair "
            f"{printable(database.resolve().parent.name)}`."
        )
    return np.frombuffer(row[2], "<f4"), np.frombuffer(row[3], "<f4")


def _slices(
    connection: sqlite3.Connection, database: Path, dims: int, until: int, length: int
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    cursor = connection.execute(
        # The plus keeps SQLite from looking up by seq what it then has to sort.
        f"SELECT {_VECTOR_COLUMNS} FROM {_VECTOR_TABLES} WHERE +items.seq <= ? ORDER BY items.id",  # noqa: S608
        (until,),
    )
    while rows := cursor.fetchmany(length):
        yield (
            np.array([row[0] for row in rows], np.int64),
            np.stack([_unpack(row, dims, database)[1] for row in rows]),
        )


def _is_whole_webp(data: bytes) -> bool:
    # A WebP file says in its bytes 4 to 7 how many follow.
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 8 + int.from_bytes(data[4:8], "little")


def model_changed(gallery: Gallery, model_id: str) -> IncompatibleError:
    """What a reader or writer has to say whose gallery was given another model meanwhile."""
    return IncompatibleError(
        f"the gallery {gallery.name} has changed from the model {gallery.model_id} to {model_id}: open it again."
    )


def _damaged(database: Path, reason: str) -> DamagedError:
    return DamagedError(
        f"{database} is damaged ({reason}): restore it from a backup, or remove {database.parent} and index the "
        "pictures again."
    )


def _absent(folder: Path) -> UserError:
    if (folder / "indexes").exists():
        return _damaged(folder / DATABASE, "it is missing or empty, but an index of it is there")
    return NothingFoundError(
        f"there is no gallery in {folder}: make it with `lookalike index add {printable(folder.name)} FOLDER`.",
        code="no_such_gallery",
    )


def _no_such_item(item_id: int, name: str) -> UserError:
    return NothingFoundError(f"there is no item {item_id} in the gallery {name}.", code="no_such_item")
