"""Galleries of older formats, made by code: they are read as they are, and migrated when they are first written."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from index_data import schema
from index_data.adding import add_folder
from index_data.engine import Engine
from index_data.gallery import Gallery
from tests.index_data.conftest import items_of
from train.errors import DiskError, IncompatibleError


def make_format_1(folder: Path) -> Path:
    """Turn a gallery of today's into the one that format 1 had: only its own tables, and what they held."""
    database = folder / "gallery.db"
    now = sqlite3.connect(database, isolation_level=None)
    old = folder / "old.db"
    now.execute("ATTACH ? AS old", (str(old),))
    for statement in schema.FORMAT_1.split(";\n"):
        now.execute(
            statement.replace("CREATE TABLE ", "CREATE TABLE old.").replace("CREATE INDEX ", "CREATE INDEX old.")
        )
    for table in ("gallery", "roots", "contents", "items", "removals", "failures"):
        now.execute(f"INSERT INTO old.{table} SELECT * FROM {table}")
    now.execute(f"PRAGMA old.application_id = {schema.APPLICATION_ID}")
    now.execute("PRAGMA old.user_version = 1")
    now.close()
    for path in folder.glob("gallery.db*"):
        path.unlink()
    old.rename(database)
    sqlite3.connect(database).execute("PRAGMA journal_mode = WAL")
    return folder


@pytest.fixture
def of_format_1(copied: Path) -> Path:
    return make_format_1(copied)


def format_of(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        return schema.format_of(connection)


def test_an_older_gallery_answers_as_it_is(of_format_1, bundle):
    with Engine.open(of_format_1, bundle=bundle, provider="cpu") as engine:
        ids = engine.ids
        hits = engine.search(engine.gallery.embeddings(ids[:5].tolist()), 3)
        assert [found[0].id for found in hits] == ids[:5].tolist()
        assert engine.gallery.count == 48
    assert format_of(of_format_1 / "gallery.db") == 1
    assert not schema.copy_path(of_format_1 / "gallery.db", 1).exists()


def test_the_first_change_migrates_an_older_gallery_and_keeps_a_copy(of_format_1, bundle):
    with Gallery.open(of_format_1) as gallery:
        before = items_of(gallery)
        embeddings = gallery.embeddings([item.id for item in before])
        with gallery.changes() as changes:
            changes.remove_items([before[0].id])
        assert items_of(gallery) == before[1:]
        assert gallery.check_database() == []
        assert (gallery.embeddings([item.id for item in before[1:]]) == embeddings[1:]).all()
    assert format_of(of_format_1 / "gallery.db") == schema.FORMAT_VERSION
    kept = schema.copy_path(of_format_1 / "gallery.db", 1)
    assert format_of(kept) == 1
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (48,)


def test_a_migrated_gallery_has_the_tables_of_a_new_one(of_format_1, filled):
    def tables(folder: Path) -> set[tuple[str, str]]:
        with sqlite3.connect(folder / "gallery.db") as connection:
            return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))

    with Gallery.open(of_format_1) as gallery, gallery.changes():
        pass
    assert tables(of_format_1) == tables(filled)


def test_a_migrated_gallery_names_every_item(of_format_1, filled):
    def names(folder: Path) -> list:
        with sqlite3.connect(folder / "gallery.db") as connection:
            return connection.execute("SELECT * FROM names ORDER BY item_id").fetchall()

    with Gallery.open(of_format_1) as gallery, gallery.changes():
        pass
    assert names(of_format_1) == names(filled)


def test_a_migration_that_fails_leaves_the_older_gallery(of_format_1, monkeypatch):
    def fail(connection: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    statements, _ = schema._STEPS[2]
    monkeypatch.setitem(schema._STEPS, 2, (statements, fail))
    with Gallery.open(of_format_1) as gallery:
        with pytest.raises(KeyboardInterrupt), gallery.changes():
            pass
        assert gallery.count == 48
    assert format_of(of_format_1 / "gallery.db") == 1
    monkeypatch.undo()
    with Gallery.open(of_format_1) as gallery, gallery.changes():
        pass
    assert format_of(of_format_1 / "gallery.db") == schema.FORMAT_VERSION


def test_many_who_change_an_older_gallery_at_once_migrate_it_once(of_format_1):
    def change(_: int) -> int:
        with Gallery.open(of_format_1) as gallery, gallery.changes() as changes:
            return changes.seq

    with ThreadPoolExecutor(4) as threads:
        seqs = list(threads.map(change, range(8)))
    assert len(set(seqs)) == 8
    assert format_of(of_format_1 / "gallery.db") == schema.FORMAT_VERSION


def test_a_reader_that_began_before_goes_on_after_a_migration_by_another(of_format_1):
    with Gallery.open(of_format_1) as reader:
        before = items_of(reader)
        with Gallery.open(of_format_1) as writer, writer.changes() as changes:
            changes.remove_items([before[3].id])
        assert len(items_of(reader)) == 47
        with reader.changes() as changes:
            changes.remove_items([before[4].id])
        assert reader.count == 46


def test_a_folder_is_added_to_an_older_gallery(of_format_1, bundle, drawn_folder):
    with Gallery.open(of_format_1) as gallery:
        summary = add_folder(gallery, bundle, drawn_folder, provider="cpu", workers=1)
        assert (summary.unchanged, summary.embedded) == (48, 0)


def test_a_newer_format_is_refused(copied):
    with sqlite3.connect(copied / "gallery.db") as connection:
        connection.execute(f"PRAGMA user_version = {schema.FORMAT_VERSION + 1}")
    with pytest.raises(IncompatibleError, match=f"format {schema.FORMAT_VERSION + 1}"):
        Gallery.open(copied)


@pytest.mark.usefixtures("permissions_count")
def test_an_older_gallery_that_may_not_be_written_says_so(of_format_1):
    with Gallery.open(of_format_1) as gallery:
        of_format_1.chmod(0o500)
        try:
            with pytest.raises(DiskError), gallery.changes():
                pass
            assert gallery.count == 48
        finally:
            of_format_1.chmod(0o700)
