"""Export while the gallery is used, import with every byte checked, and pictures that moved as a whole."""

import shutil
import tarfile
import threading

import pytest

from index_data.adding import scan_roots
from index_data.backup import export_gallery, import_gallery
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.verification import verify
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from tests.index_data.living import KINDS, put
from train.errors import DamagedError, NothingFoundError, SettingsError, UserError


@pytest.fixture
def exported(filled, tmp_path):
    file = tmp_path / "drawn.tar"
    with Gallery.open(filled) as gallery:
        assert export_gallery(gallery, file) == 48
    return file


def answers_of(folder):
    with Engine.open(folder, provider="cpu") as engine:
        embeddings = engine.gallery.embeddings(engine.ids.tolist())
        return items_of(engine.gallery), engine.search(embeddings, 10)


def test_what_was_exported_comes_back_with_the_same_answers(exported, filled, tmp_path):
    with import_gallery(exported, tmp_path / "again") as gallery:
        assert verify(gallery) == []
        assert {gallery.thumbnail(item.sha256) is not None for item in items_of(gallery)} == {True}
    assert answers_of(tmp_path / "again") == answers_of(filled)


def test_a_backup_is_one_moment_of_a_gallery_that_changes(gallery, bundle, tmp_path):
    """A writer keeps three files of one kind in every transaction: a backup never has two kinds."""
    put(gallery, {b"a": 0, b"b": 0, b"c": 0})
    ended = threading.Event()

    def change():
        kind = 0
        while not ended.is_set():
            kind = (kind + 1) % KINDS
            put(gallery, {b"a": kind, b"b": kind, b"c": kind})

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for number in range(5):
            assert export_gallery(gallery, tmp_path / f"{number}.tar") == 3
    finally:
        ended.set()
        writer.join()
    for number in range(5):
        with import_gallery(tmp_path / f"{number}.tar", tmp_path / f"again-{number}") as again:
            assert len({item.sha256 for item in items_of(again)}) == 1
            assert again.count == 3


@pytest.mark.parametrize("damage", ["cut", "flipped in the database", "flipped in a thumbnail", "a stranger", "no tar"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(exported, tmp_path, damage):
    data = bytearray(exported.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "no tar":
        data = bytearray(b"no tar" * 1000)
    elif damage == "a stranger":
        with tarfile.open(exported, "a") as tar:
            tar.add(__file__, "../../stranger.py")
        data = bytearray(exported.read_bytes())
    else:
        with tarfile.open(exported) as tar:
            (member,) = [each for each in tar if each.name.endswith(("db", "webp")[damage.endswith("thumbnail")])][:1]
        data[member.offset_data + member.size - 1] ^= 1
    exported.write_bytes(data)
    with pytest.raises(DamagedError, match=r"drawn\.tar"):
        import_gallery(exported, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn.tar"]


def test_pictures_that_stand_in_the_gallery_itself_are_in_its_backup(gallery, bundle, add, tmp_path):
    uploads = gallery.folder / "uploads" / "ab"
    uploads.mkdir(parents=True)
    draw_picture(5).save(uploads / "sent.png")
    add(gallery.folder / "uploads")
    assert export_gallery(gallery, tmp_path / "backup.tar") == 1
    shutil.rmtree(gallery.folder)
    with import_gallery(tmp_path / "backup.tar", tmp_path / "elsewhere") as again:
        (item,) = items_of(again)
        assert item.file == tmp_path / "elsewhere" / "uploads" / "ab" / "sent.png"
        assert again.read_original(item) == item.file.read_bytes()
        assert verify(again) == []


def test_nothing_is_overwritten(exported, filled, tmp_path):
    with Gallery.open(filled) as gallery, pytest.raises(SettingsError, match="there already"):
        export_gallery(gallery, exported)
    shutil.copytree(filled, tmp_path / "again")
    with pytest.raises(SettingsError, match="already"):
        import_gallery(exported, tmp_path / "again")
    with pytest.raises(NothingFoundError):
        import_gallery(tmp_path / "nowhere.tar", tmp_path / "other")


def test_pictures_that_moved_as_a_whole_are_found_at_their_new_place(gallery, bundle, add, pictures, tmp_path):
    add(pictures)
    before = items_of(gallery)
    new = pictures.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError):
        gallery.read_original(before[0])
    assert gallery.relocate(pictures, new) == 1
    assert gallery.read_original(before[0]._replace(root=bytes(new)))
    assert [item.id for item in items_of(gallery)] == [item.id for item in before]
    assert scan_roots(gallery, bundle, provider="cpu", workers=1).unchanged == 48
    with pytest.raises(NothingFoundError, match="nothing below"):
        gallery.relocate(pictures, new)
