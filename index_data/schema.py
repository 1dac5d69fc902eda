"""The tables of gallery.db, format by format, and how a gallery of an older format becomes one of today's.

A new gallery is made by the same statements as a migrated one: those of format 1, then every step since. A step is one
transaction together with all others, so a gallery is of one format or of the other, whatever happens; a copy of the
database as it was is kept beside it (gallery.db.format-1).
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from train.files import disk_errors, sync_folder
from train.printable import printable

FORMAT_VERSION = 2  # PRAGMA user_version; a newer one is refused, an older one is migrated when it is first written
APPLICATION_ID = 0x4C4F4F4B  # PRAGMA application_id: "LOOK"

FORMAT_1 = """
CREATE TABLE gallery (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    model_id TEXT NOT NULL,
    dims INTEGER NOT NULL,
    preprocessing TEXT NOT NULL,  -- JSON
    bundle BLOB NOT NULL,  -- absolute path of the model's folder
    bundle_from_here BLOB NOT NULL,  -- the same relative to the gallery: a workspace may be moved as a whole
    seq INTEGER NOT NULL,  -- number of the last transaction
    created_at TEXT NOT NULL
);
CREATE TABLE roots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE  -- absolute
);
CREATE TABLE contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    checksum INTEGER NOT NULL,  -- CRC-32 of latent and embedding: SQLite would not notice a flipped bit
    latent BLOB NOT NULL,  -- float32, little-endian
    embedding BLOB NOT NULL
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root_id INTEGER NOT NULL REFERENCES roots (id),
    path BLOB NOT NULL,
    content_id INTEGER NOT NULL REFERENCES contents (id),
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    added_at TEXT NOT NULL,
    seq INTEGER NOT NULL,  -- of the transaction that gave it its present content
    UNIQUE (root_id, path)
);
CREATE INDEX items_by_content ON items (content_id);
CREATE INDEX items_by_seq ON items (seq);
CREATE TABLE removals (
    item_id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
);
CREATE INDEX removals_by_seq ON removals (seq);
CREATE TABLE failures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root_id INTEGER NOT NULL REFERENCES roots (id),
    path BLOB NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    other INTEGER NOT NULL,  -- 1: not meant to be an image, so nobody misses it
    size INTEGER,
    mtime_ns INTEGER,
    seen_at TEXT NOT NULL,
    UNIQUE (root_id, path)
);
"""

# contents_by_size: without it a filter by width would read every vector.
FORMAT_2 = """
CREATE TABLE names (  -- of items, as text that can be shown and compared
    item_id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    folder TEXT NOT NULL,  -- below the root, '' for the root itself
    name TEXT NOT NULL
);
CREATE INDEX names_by_folder ON names (folder, item_id);
CREATE INDEX contents_by_size ON contents (width, height, format);
CREATE TABLE exif (  -- what the file of a content says of itself
    content_id INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    document TEXT NOT NULL  -- JSON: one object of fields
);
CREATE TABLE documents (  -- what is said of an item elsewhere, each as it was read
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    source TEXT NOT NULL CHECK (source IN ('table', 'sidecar', 'own')),
    place BLOB NOT NULL,  -- path of the file that says it, below the item's root; empty for 'own'
    state TEXT NOT NULL,  -- size and time of change of that file when it was read
    document TEXT NOT NULL,
    PRIMARY KEY (item_id, source, place)
) WITHOUT ROWID;
CREATE INDEX documents_by_place ON documents (place) WHERE source = 'table';
CREATE TABLE metadata (  -- the fields of an item, all sources put together: made again from exif and documents
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    field TEXT NOT NULL,
    position INTEGER NOT NULL,  -- in a list; 0 for a single value
    type TEXT NOT NULL CHECK (type IN ('text', 'number', 'boolean')),
    value NOT NULL,
    PRIMARY KEY (item_id, field, position)
) WITHOUT ROWID;
CREATE INDEX metadata_by_value ON metadata (field, type, value, item_id);
CREATE TABLE tags (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    own INTEGER NOT NULL,  -- 1: given by hand; 0: a document says it
    PRIMARY KEY (item_id, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_name ON tags (tag, item_id);
CREATE TABLE metadata_files (  -- tables of metadata in the folders, as they were when they were last read
    root_id INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    state TEXT NOT NULL,
    last_item_id INTEGER NOT NULL,  -- items after it have not been looked up in the table
    problem TEXT,  -- why it cannot be used
    PRIMARY KEY (root_id, path)
) WITHOUT ROWID;
CREATE TABLE pixel_digests (  -- SHA-256 of the decoded pixels, only of those that may be equal to another's
    content_id INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    digest BLOB NOT NULL
);
CREATE TABLE reconstruction_errors (  -- mean squared difference of what the decoder paints, values from 0 to 1
    content_id INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    mse REAL NOT NULL
);
CREATE TABLE verdicts (  -- what people said of two pictures, by their bytes: it holds wherever the files go
    one BLOB NOT NULL CHECK (one < other),  -- SHA-256
    other BLOB NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('duplicate', 'different')),
    decided_at TEXT NOT NULL,
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE TABLE keepers (  -- pictures that somebody chose to keep of their group
    sha256 BLOB PRIMARY KEY,
    decided_at TEXT NOT NULL
) WITHOUT ROWID;
"""


def names_of(path: bytes) -> tuple[str, str]:
    """Folder ('' for the root itself) and name of a path below a root, as text that is safe to show."""
    folder, _, name = path.rpartition(b"/")
    return printable(folder), printable(name)


def _name_all_items(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT id, path FROM items")
    named = ((item_id, *names_of(path)) for item_id, path in rows)
    connection.executemany("INSERT INTO names (item_id, folder, name) VALUES (?, ?, ?)", named)


# What a format adds to the one before: statements, and then what SQL cannot say.
_STEPS: dict[int, tuple[str, Callable[[sqlite3.Connection], None]]] = {
    2: (FORMAT_2, _name_all_items),
}


def create_tables(connection: sqlite3.Connection) -> None:
    """Give an empty database all tables; the caller's transaction makes it all or nothing."""
    _execute(connection, FORMAT_1)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    _upgrade(connection, 1)


def format_of(connection: sqlite3.Connection) -> int:
    """The format that a database has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, database: Path) -> None:
    """Bring a database to today's format, in one transaction; keep a copy of it as it was.

    Raises:
        DiskError: There is no room for the copy; the database is as it was.
        sqlite3.DatabaseError: It cannot be written; it is as it was.
    """
    before = format_of(connection)
    if before >= FORMAT_VERSION:
        return
    _keep_copy(connection, database, before)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = format_of(connection)  # another process may have been quicker
        if version < FORMAT_VERSION:
            _upgrade(connection, version)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def let_read(connection: sqlite3.Connection) -> None:
    """Let an older database be read as one of today's that says nothing of what it does not know.

    Its missing tables are empty ones of this connection alone: nothing is written.
    """
    for version in range(format_of(connection) + 1, FORMAT_VERSION + 1):
        statements = _STEPS[version][0].replace("CREATE TABLE ", "CREATE TEMP TABLE ")
        for statement in statements.split(";\n"):
            if "CREATE TEMP TABLE" in statement:
                connection.execute(statement)


def copy_path(database: Path, version: int) -> Path:
    """Where the copy of a database is kept that had an older format."""
    return database.with_name(f"{database.name}.format-{version}")


def _keep_copy(connection: sqlite3.Connection, database: Path, version: int) -> None:
    place = copy_path(database, version)
    if place.exists():
        return
    aside = place.with_name(f".{place.name}.{threading.get_native_id()}.{os.getpid()}.tmp")
    with disk_errors(place):
        aside.unlink(missing_ok=True)
        try:
            connection.execute("VACUUM INTO ?", (str(aside),))
            with contextlib.closing(sqlite3.connect(aside)) as copied:
                is_as_before = format_of(copied) == version
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            if is_as_before:  # else another process has migrated it meanwhile, and has kept one
                aside.replace(place)
                sync_folder(place.parent)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    for step in range(version + 1, FORMAT_VERSION + 1):
        statements, complete = _STEPS[step]
        _execute(connection, statements)
        complete(connection)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def _execute(connection: sqlite3.Connection, statements: str) -> None:
    # Not executescript: it would commit the transaction first.
    for statement in statements.split(";\n"):
        connection.execute(statement)
