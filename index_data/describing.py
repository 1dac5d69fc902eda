"""Looking through the folders of a gallery for what is said of its items: sidecars, tables, and EXIF not yet read.

Only what changed since the last look is read. Each batch is one transaction; what is killed is done again by the next
`index add` or `index scan`.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from index_data import metadata
from index_data.folders import Place
from index_data.gallery import Changes, Gallery
from index_data.sidecars import Listings, SidecarError, read_sidecar, read_table
from train.decoding import DecodePool
from train.errors import ImageError
from train.images import FOLDER_LIMITS, read_file
from train.interruption import StopRequest
from train.printable import printable
from train.progress import SILENT, Reporter

AT_ONCE = 2000  # items or rows of a table
PICTURES_AT_ONCE = 256  # whose EXIF is read

T = TypeVar("T")


@dataclass
class Described:
    """What a look found."""

    sidecars: int = 0  # items of which one was read, changed or went
    rows: int = 0  # of tables, that name an item
    exif: int = 0  # pictures of an older gallery, of which it was not known
    problems: list[str] = field(default_factory=list)  # files that cannot be used, and why


def describe_places(
    gallery: Gallery,
    places: Iterable[Place],
    pool: DecodePool,
    *,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Described:
    """Take in what sidecars and tables in some places say now, and EXIF data that are not known yet.

    Raises:
        Interrupted: `stop` was set; what was taken in stays.
    """
    look = _Look(gallery, reporter, StopRequest() if stop is None else stop)
    for place in places:
        listings = Listings(place.root)
        tables = look.read_sidecars(place, listings)
        look.read_tables(place, tables)
        look.read_missing_exif(place, pool)
    for problem in look.found.problems:
        reporter.say(problem)
    return look.found


class _Look:
    def __init__(self, gallery: Gallery, reporter: Reporter, stop: StopRequest) -> None:
        self.found = Described()
        self._gallery = gallery
        self._reporter = reporter
        self._stop = stop

    def _go_on(self) -> None:
        self._stop.raise_if_set("What was read of sidecars and tables is kept. The same command goes on from here.")

    # --- Sidecars ---

    def read_sidecars(self, place: Place, listings: Listings) -> dict[bytes, str]:
        """Take in the sidecars of a place's items; give its tables, by their paths, with their states."""
        tables: dict[bytes, str] = {}
        folders: set[bytes] = set()
        for batch in _batches(self._items(place), AT_ONCE):
            self._go_on()
            known = self._known_sidecars(batch[0][0], batch[-1][0])
            changed: dict[int, dict[bytes, str]] = {}
            for item_id, path in batch:
                folder, slash, name = path.rpartition(b"/")
                if folder not in folders:
                    folders.add(folder)
                    tables.update(_tables_above(listings, folder, folders))
                now = {folder + slash + sidecar: state for sidecar, state in listings.of(folder).of(name)}
                if now != known.get(item_id, {}):
                    changed[item_id] = now
            if changed:
                self._take_in(place, changed)
        return tables

    def _items(self, place: Place) -> Iterator[tuple[int, bytes]]:
        for item_id, path in self._gallery.paths("items", place.root_id):
            if path.startswith(place.below):
                yield item_id, path

    def _known_sidecars(self, first: int, last: int) -> dict[int, dict[bytes, str]]:
        known: dict[int, dict[bytes, str]] = {}
        rows = self._gallery.rows(
            "SELECT item_id, place, state FROM documents WHERE source = 'sidecar' AND item_id BETWEEN ? AND ?",
            (first, last),
        )
        for item_id, sidecar, state in rows:
            known.setdefault(item_id, {})[sidecar] = state
        return known

    def _take_in(self, place: Place, changed: dict[int, dict[bytes, str]]) -> None:
        # Read before the transaction: the disk may be slow, and others wait for it.
        read = {item_id: {at: self._sidecar(place, at) for at in sidecars} for item_id, sidecars in changed.items()}
        with self._gallery.changes() as changes:
            there = _there(changes, list(changed))
            for item_id in there:
                changes.connection.execute("DELETE FROM documents WHERE item_id = ? AND source = 'sidecar'", (item_id,))
                for at, document in read[item_id].items():
                    state = changed[item_id][at]
                    metadata.put_document(changes.connection, item_id, "sidecar", document, place=at, state=state)
            metadata.describe(changes.connection, there)
        self.found.sidecars += len(there)

    def _sidecar(self, place: Place, path: bytes) -> dict[str, Any]:
        try:
            return read_sidecar(place.root, path)
        except SidecarError as error:
            self._complain(place.root, path, error)
            return {}  # remembered with its state: it is read again when it has changed

    def _complain(self, root: Path, path: bytes, error: SidecarError) -> None:
        self.found.problems.append(f"{printable(os.fsencode(root) + b'/' + path)} is left out: {error}.")

    # --- Tables ---

    def read_tables(self, place: Place, tables: dict[bytes, str]) -> None:
        """Take in the tables of a place that changed, or that may name new items; forget those that are gone."""
        known = {
            path: (state, last)
            for path, state, last in self._gallery.rows(
                "SELECT path, state, last_item_id FROM metadata_files WHERE root_id = ?", (place.root_id,)
            )
        }
        newest = int(self._gallery.rows("SELECT coalesce(max(id), 0) FROM items")[0][0])
        for path in sorted(tables):
            if path not in known or known[path][0] != tables[path] or known[path][1] < newest:
                self._read_table(place, path, tables[path], newest)
        for path in known.keys() - tables.keys():
            if path.startswith(place.below) or place.below.startswith(path.rpartition(b"/")[0]):
                self._forget_table(place, path)

    def _read_table(self, place: Place, path: bytes, state: str, newest: int) -> None:
        folder = path[: path.rfind(b"/") + 1]
        before = {number for (number,) in self._documents_of(place, path)}
        named: set[int] = set()
        problem = None
        with self._reporter.task(f"Reading {printable(path)}", unit="rows") as task:
            try:
                for rows in _batches(read_table(place.root, path), AT_ONCE):
                    self._go_on()
                    named |= self._take_in_rows(place, path, [(folder + below, row) for below, row in rows])
                    task.advance(len(rows))
            except SidecarError as error:
                self._complain(place.root, path, error)
                problem = str(error)
        self._take_out(path, before - named)
        with self._gallery.changes() as changes:
            changes.connection.execute(
                "INSERT OR REPLACE INTO metadata_files VALUES (?, ?, ?, ?, ?)",
                (place.root_id, path, state, newest, problem),
            )
        self.found.rows += len(named)

    def _take_in_rows(self, place: Place, table: bytes, rows: list[tuple[bytes, dict[str, Any]]]) -> set[int]:
        with self._gallery.changes() as changes:
            named: list[int] = []
            for path, row in rows:
                found = changes.connection.execute(
                    "SELECT id FROM items WHERE root_id = ? AND path = ?", (place.root_id, path)
                ).fetchone()
                if found is not None:
                    metadata.put_document(changes.connection, found[0], "table", row, place=table)
                    named.append(found[0])
            metadata.describe(changes.connection, named)
        return set(named)

    def _forget_table(self, place: Place, path: bytes) -> None:
        self._take_out(path, {number for (number,) in self._documents_of(place, path)})
        with self._gallery.changes() as changes:
            changes.connection.execute(
                "DELETE FROM metadata_files WHERE root_id = ? AND path = ?", (place.root_id, path)
            )

    def _documents_of(self, place: Place, table: bytes) -> list[Any]:
        return self._gallery.rows(
            "SELECT item_id FROM documents JOIN items ON items.id = item_id "
            "WHERE source = 'table' AND place = ? AND root_id = ?",
            (table, place.root_id),
        )

    def _take_out(self, table: bytes, ids: set[int]) -> None:
        for some in _batches(sorted(ids), AT_ONCE):
            with self._gallery.changes() as changes:
                changes.connection.executemany(
                    "DELETE FROM documents WHERE source = 'table' AND place = ? AND item_id = ?",
                    ((table, number) for number in some),
                )
                metadata.describe(changes.connection, some)

    # --- EXIF of galleries that were made before it was read ---

    def read_missing_exif(self, place: Place, pool: DecodePool) -> None:
        """Read what the files say of themselves, where that is not known."""
        missing = self._gallery.rows(
            "SELECT min(path), content_id FROM items WHERE root_id = ? "
            "AND content_id NOT IN (SELECT content_id FROM exif) GROUP BY content_id ORDER BY content_id",
            (place.root_id,),
        )
        if not missing:
            return

        def facts(row: tuple[bytes, int]) -> dict[str, Any]:
            return pool.describe(read_file(place.root, row[0], FOLDER_LIMITS).data)

        with self._reporter.task("Reading EXIF data", total=len(missing)) as task:
            for batch in _batches(pool.map(facts, missing), PICTURES_AT_ONCE):
                self._go_on()
                with self._gallery.changes() as changes:
                    for (_, content_id), told in batch:
                        self._keep_exif(changes, content_id, told)
                task.advance(len(batch))

    def _keep_exif(self, changes: Changes, content_id: int, told: dict[str, Any] | ImageError) -> None:
        if isinstance(told, ImageError):
            return  # gone or closed for now: another run may reach it
        items = changes.connection.execute("SELECT id FROM items WHERE content_id = ?", (content_id,)).fetchall()
        if items:
            metadata.put_exif(changes.connection, content_id, told)
            metadata.describe(changes.connection, [number for (number,) in items])
            self.found.exif += 1


def _tables_above(listings: Listings, folder: bytes, seen: set[bytes]) -> Iterator[tuple[bytes, str]]:
    """Paths and states of the tables in a folder and in those above it that were not looked at."""
    while True:
        seen.add(folder)
        for name, state in listings.of(folder).tables.items():
            yield (folder + b"/" + name if folder else name), state
        if not folder:
            return
        folder = folder.rpartition(b"/")[0]
        if folder in seen:
            return


def _batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(things)
    while batch := list(islice(iterator, size)):
        yield batch


def _there(changes: Changes, ids: list[int]) -> list[int]:
    """Those of some items that have not been removed meanwhile."""
    found: list[int] = []
    for some in _batches(ids, 500):
        marks = ",".join("?" * len(some))
        rows = changes.connection.execute(f"SELECT id FROM items WHERE id IN ({marks})", some)  # noqa: S608
        found += [number for (number,) in rows]
    return found
