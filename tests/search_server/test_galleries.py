"""A served gallery keeps up with its folder."""

import shutil

import pytest

from index_data.engine import Engine
from index_data.gallery import Gallery
from search_server.galleries import Galleries, NoSuchGalleryError, ServedGallery


@pytest.fixture
def folder(drawn_gallery, tmp_path):
    return shutil.copytree(drawn_gallery, tmp_path / "drawn")


@pytest.fixture
def engine(folder):
    with Engine.open(folder, provider="cpu", threads=1) as engine:
        yield engine


def remove(folder, *ids):
    with Gallery.open(folder) as gallery, gallery.changes() as changes:
        changes.remove_items(ids)


def test_a_change_is_seen_by_whoever_asks_next(folder, engine):
    galleries = Galleries({"drawn": engine})
    remove(folder, 1)
    assert galleries.get("drawn").engine.count == 49


def test_a_gallery_whose_changes_cannot_be_read_is_served_as_it_was(folder, engine):
    galleries = Galleries({"drawn": engine})
    engine.gallery.close()
    (folder / "gallery.db").unlink()
    served = galleries.get("drawn")
    assert "cannot be read" in served.trouble
    assert served.engine.count == 50


def test_an_item_that_was_just_removed_leaves_its_place_to_the_next(folder, engine):
    served = ServedGallery("drawn", engine)
    query = engine.gallery.embeddings([1])
    before = [neighbour.item.id for neighbour in served.neighbours(query, 6)[0]]
    remove(folder, *before[:2])
    assert [neighbour.item.id for neighbour in served.neighbours(query, 4)[0]] == before[2:]


def test_a_name_that_is_not_served_is_refused_with_those_that_are(engine):
    galleries = Galleries({"drawn": engine})
    assert galleries.get("drawn").engine is engine
    with pytest.raises(NoSuchGalleryError, match="there are drawn"):
        galleries.get("others")
