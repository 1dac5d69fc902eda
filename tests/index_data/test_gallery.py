import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from index_data.gallery import Content, FileState, Gallery
from tests.index_data.conftest import items_of
from train.errors import DamagedError, DiskError, ImageError, IncompatibleError, NothingFoundError, UserError

ODD_NAMES = [b"line\nfeed.png", b"not\xffutf8.png", "snow\N{SNOWMAN}.png".encode(), b"bell\x07.png", b"x" * 255]


def content(number: int, dims: int) -> Content:
    vector = np.random.default_rng(number).standard_normal(dims).astype(np.float32)
    unit = vector / np.linalg.norm(vector)
    return Content(number.to_bytes(32, "big"), 30, 20, "PNG", vector, unit)


def put(gallery: Gallery, root: Path, path: bytes, number: int) -> None:
    with gallery.changes() as changes:
        content_id = changes.content_id(number.to_bytes(32, "big"))
        if content_id is None:
            content_id = changes.add_content(content(number, gallery.dims))
        changes.put_item(FileState(changes.root_id(root), path, 10, 20), content_id)


def test_a_gallery_comes_back_as_it_was_written(gallery, bundle, tmp_path):
    for number, name in enumerate(ODD_NAMES):
        put(gallery, tmp_path, name, number)
    gallery.close()
    with Gallery.open(gallery.folder) as again:
        assert again.count == len(ODD_NAMES)
        assert [item.path for item in items_of(again)] == ODD_NAMES
        assert {item.root for item in items_of(again)} == {os.fsencode(tmp_path)}
        assert [item.id for item in again.items(after=2, limit=2)] == [3, 4]
        ids = [5, 1, 3]
        expected = [content(number - 1, again.dims) for number in ids]
        assert np.array_equal(again.latents(ids), np.stack([each.latent for each in expected]))
        assert np.array_equal(again.embeddings(ids), np.stack([each.embedding for each in expected]))
        assert again.model_id == bundle.model_id
        assert again.preprocessing == bundle.preprocessing
        assert again.bundle_folder == bundle.folder.resolve()
        item = again.item(1)
        assert (item.width, item.height, item.format, item.size, item.mtime_ns) == (30, 20, "PNG", 10, 20)
        assert item.sha256 == "0" * 64
        assert item.added_at.endswith("Z")


def test_names_are_shown_in_one_harmless_line(gallery, tmp_path):
    for number, name in enumerate(ODD_NAMES):
        put(gallery, tmp_path, b"folder/" + name, number)
    names = [item.name for item in items_of(gallery)]
    assert names[:4] == ["line\\nfeed.png", "not\\xffutf8.png", "snow\N{SNOWMAN}.png", "bell\\x07.png"]
    json.dumps(names).encode("utf-8")


def test_files_with_the_same_bytes_share_one_content(gallery, tmp_path):
    put(gallery, tmp_path, b"a.png", 7)
    put(gallery, tmp_path, b"b.png", 7)
    with sqlite3.connect(gallery.database) as database:
        assert database.execute("SELECT count(*) FROM contents").fetchone() == (1,)
    first, second = items_of(gallery)
    assert first.id != second.id
    assert first.sha256 == second.sha256


def test_an_id_is_never_used_again(gallery, tmp_path):
    put(gallery, tmp_path, b"a.png", 1)
    put(gallery, tmp_path, b"b.png", 2)
    with gallery.changes() as changes:
        changes.remove_items([2])
    gallery.close()
    with Gallery.open(gallery.folder) as again:
        put(again, tmp_path, b"b.png", 2)
        assert [item.id for item in items_of(again)] == [1, 3]
        changed = again.changed_since(0)
        assert (changed.ids.tolist(), changed.removed.tolist(), changed.seq) == ([1, 3], [2], again.seq)
        assert np.array_equal(changed.embeddings, again.embeddings([1, 3]))


def test_an_edited_file_keeps_its_id(gallery, tmp_path):
    put(gallery, tmp_path, b"a.png", 1)
    before = gallery.seq
    put(gallery, tmp_path, b"a.png", 2)
    assert gallery.changed_since(before).ids.tolist() == [1]
    assert gallery.changed_since(gallery.seq).ids.tolist() == []
    assert [(item.id, item.sha256[-1]) for item in items_of(gallery)] == [(1, "2")]
    assert gallery.drop_unused_contents() == 1


def test_a_change_that_fails_half_way_changes_nothing(gallery, tmp_path):
    def change_and_fail():
        with gallery.changes() as changes:
            content_id = changes.add_content(content(1, gallery.dims))
            changes.put_item(FileState(changes.root_id(tmp_path), b"a.png", 1, 2), content_id)
            raise KeyboardInterrupt

    before = gallery.seq
    with pytest.raises(KeyboardInterrupt):
        change_and_fail()
    assert (gallery.count, gallery.seq) == (0, before)
    put(gallery, tmp_path, b"a.png", 1)
    assert items_of(gallery)[0].id == 1


def test_an_item_that_is_not_there_is_named(gallery):
    for ask in (gallery.item, lambda number: gallery.latents([number])):
        with pytest.raises(UserError, match="no item 99") as refused:
            ask(99)
        assert refused.value.problem.code == "no_such_item"
    assert gallery.items_by_id([99]) == []


def test_many_threads_read_while_one_writes(gallery, tmp_path):
    ended = threading.Event()

    def read() -> int:
        reads = 0
        while not ended.is_set() or reads == 0:
            ids = [item.id for item in items_of(gallery)]
            assert len(gallery.embeddings(ids)) == len(ids)
            reads += 1
        return reads

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(4)]
        try:
            for number in range(60):
                put(gallery, tmp_path, b"%d.png" % number, number)
        finally:
            ended.set()
        assert all(reader.result() for reader in readers)
    assert gallery.count == 60


def test_another_process_reads_while_one_writes(gallery, tmp_path):
    put(gallery, tmp_path, b"a.png", 1)
    script = (
        "import sys; from pathlib import Path; from index_data.gallery import Gallery\n"
        "with Gallery.open(Path(sys.argv[1])) as gallery: print(gallery.count)"
    )
    with gallery.changes() as changes:
        changes.put_item(FileState(changes.root_id(tmp_path), b"b.png", 1, 2), 1)
        ended = subprocess.run([sys.executable, "-c", script, gallery.folder], capture_output=True, text=True)
    assert ended.stdout == "1\n", ended.stderr
    assert gallery.count == 2


def test_a_gallery_finds_its_model_after_the_workspace_has_moved(bundle, tmp_path):
    import shutil

    home = tmp_path / "home"
    (home / "galleries").mkdir(parents=True)
    shutil.copytree(bundle.folder, home / "models" / "averaging")
    from export.bundle import Bundle

    Gallery.create(home / "galleries" / "photos", Bundle.open(home / "models" / "averaging")).close()
    home.rename(tmp_path / "elsewhere")
    with Gallery.open(tmp_path / "elsewhere" / "galleries" / "photos") as gallery:
        assert gallery.bundle_folder == tmp_path / "elsewhere" / "models" / "averaging"


# --- Refusals ---


def test_a_gallery_that_is_not_there_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(NothingFoundError, match="index add photos") as refused:
        Gallery.open(tmp_path / "photos")
    assert refused.value.problem.code == "no_such_gallery"


def test_a_gallery_is_not_made_where_there_is_one(gallery, bundle, tmp_path):
    put(gallery, tmp_path, b"a.png", 1)
    with pytest.raises(UserError, match="already"):
        Gallery.create(gallery.folder, bundle)
    assert gallery.count == 1


def test_a_creation_that_was_killed_is_no_gallery_and_can_be_done_again(bundle, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "gallery.db").write_bytes(b"")
    with pytest.raises(NothingFoundError):
        Gallery.open(folder)
    Gallery.create(folder, bundle).close()
    assert Gallery.open(folder).count == 0


def test_another_models_bundle_is_refused_with_both_ids(copied, bundle, other_bundle):
    with Gallery.open(copied) as gallery:
        for refuse in (gallery.expect_model, gallery.accept_model):
            with pytest.raises(IncompatibleError) as refused:
                refuse(other_bundle)
            assert bundle.model_id in refused.value.detail
            assert other_bundle.model_id in refused.value.detail
            assert refused.value.problem.exit_code == 7


def test_an_empty_gallery_takes_another_model(gallery, other_bundle):
    gallery.accept_model(other_bundle)
    with Gallery.open(gallery.folder) as again:
        assert again.model_id == other_bundle.model_id
        assert again.bundle_folder == other_bundle.folder.resolve()


def test_a_newer_format_is_refused(copied):
    database = sqlite3.connect(copied / "gallery.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(IncompatibleError, match="format 99"):
        Gallery.open(copied)


@pytest.mark.parametrize("damage", ["no database", "another database", "cut in half", "missing", "emptied", "no row"])
def test_a_damaged_database_is_refused_with_its_name(copied, damage):
    path = copied / "gallery.db"
    data = path.read_bytes()
    if damage == "no database":
        path.write_bytes(b"x" * len(data))
    elif damage == "another database":
        path.unlink()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE cats (name)")
    elif damage == "cut in half":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "missing":
        path.unlink()
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        with sqlite3.connect(path) as database:
            database.execute("DELETE FROM gallery")
    with pytest.raises(DamagedError, match=r"gallery\.db") as refused, Gallery.open(copied) as gallery:
        gallery.embeddings([item.id for item in items_of(gallery)])
    assert refused.value.problem.exit_code == 8


def test_a_flipped_bit_in_a_stored_vector_is_noticed(copied):
    with sqlite3.connect(copied / "gallery.db") as database:
        ((number, blob),) = database.execute("SELECT id, embedding FROM contents WHERE id = 7")
        flipped = bytes([blob[0] ^ 1]) + blob[1:]
        database.execute("UPDATE contents SET embedding = ? WHERE id = ?", (flipped, number))
    with Gallery.open(copied) as gallery:
        with pytest.raises(DamagedError, match="verify --repair"):
            gallery.embeddings([7])
        assert len(gallery.embeddings([6, 8])) == 2
        assert gallery.damaged_items() == [7]


@pytest.mark.usefixtures("permissions_count")
def test_a_folder_that_may_not_be_written_is_refused(bundle, tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    with pytest.raises(DiskError, match="permissions"):
        Gallery.create(folder / "photos", bundle)


@pytest.mark.usefixtures("permissions_count")
def test_a_gallery_that_may_only_be_read_says_so_in_one_sentence(copied, add, drawn_folder, bundle):
    for path in (*copied.rglob("*"), copied):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        with pytest.raises(DiskError, match="permissions"), Gallery.open(copied) as gallery:
            gallery.count  # noqa: B018  (reads)
            with gallery.changes():
                pass
    finally:
        copied.chmod(0o700)


# --- Originals and thumbnails ---


def test_an_original_is_given_only_while_it_is_the_file_that_was_indexed(gallery, add, pictures):
    add(pictures)
    item = next(item for item in items_of(gallery) if item.path == b"square/picture-02.png")
    assert gallery.read_original(item) == (pictures / "square/picture-02.png").read_bytes()
    (pictures / "square/picture-02.png").write_bytes((pictures / "square/picture-04.png").read_bytes())
    with pytest.raises(ImageError) as refused:
        gallery.read_original(item)
    assert refused.value.problem.code == "file_changed"
    (pictures / "square/picture-02.png").unlink()
    with pytest.raises(ImageError) as refused:
        gallery.read_original(item)
    assert refused.value.problem.code == "file_missing"


def test_a_short_thumbnail_counts_as_none(copied):
    with Gallery.open(copied) as gallery:
        sha256 = gallery.item(1).sha256
        data = gallery.thumbnail(sha256)
        assert data is not None
        gallery.thumbnail_path(sha256).write_bytes(data[:-1])
        assert gallery.thumbnail(sha256) is None
        gallery.thumbnail_path(sha256).unlink()
        assert gallery.thumbnail(sha256) is None
