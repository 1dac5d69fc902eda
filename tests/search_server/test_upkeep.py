"""What a server does between requests: a real server, changed by other processes."""

import shutil
import time

import pytest

import search_server.upkeep
from index_data.adding import add_folder
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.generations import build_generation, current_name
from index_data.remodelling import change_model
from index_data.removing import remove_items
from search_server.galleries import Galleries
from search_server.upkeep import Upkeep
from tests.conftest import draw_picture
from tests.index_data.conftest import bundle_around
from tests.search_server.conftest import serving
from train.files import locked


@pytest.fixture
def folder(drawn_gallery, tmp_path):
    return shutil.copytree(drawn_gallery, tmp_path / "drawn")


def wait_until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holds()


def test_a_running_server_finds_what_was_added_and_not_what_was_removed_at_once(folder, bundle, tmp_path):
    (tmp_path / "more").mkdir()
    draw_picture(500).save(tmp_path / "more" / "new.png")
    with serving(folder, log=tmp_path / "log") as server, Gallery.open(folder) as gallery:
        search = "/api/v1/galleries/drawn/search"

        def hits(item_id):
            return [hit["id"] for hit in server.send_json(search, id=item_id, k=60).json()["hits"]]

        assert len(hits("1")) == 49
        add_folder(gallery, bundle, tmp_path / "more", build=False, provider="cpu", workers=1)
        assert "51" in hits("1")
        remove_items(gallery, [2])
        assert "2" not in hits("1")


def test_a_newer_generation_is_taken_up_by_itself(folder):
    with Engine.open(folder, provider="cpu", threads=1) as engine:
        upkeep = Upkeep(Galleries({"drawn": engine}), lambda name: engine)
        upkeep.start()
        try:
            with Gallery.open(folder) as gallery:
                build_generation(gallery)
            wait_until(lambda: engine.generation == "000002")
        finally:
            upkeep.stop()


def test_an_index_is_built_when_enough_has_changed_unless_somebody_else_does(folder, monkeypatch):
    monkeypatch.setattr(search_server.upkeep, "QUIET_SECONDS", 0.0)
    with Engine.open(folder, provider="cpu", threads=1) as engine, Gallery.open(folder) as gallery:
        galleries = Galleries({"drawn": engine})
        upkeep = Upkeep(galleries, lambda name: engine)
        remove_items(gallery, [1, 2])  # of 50: not enough
        upkeep.look_after(galleries.get("drawn"))
        assert upkeep._builds["drawn"]._process is None
        with locked(folder, "index build"):
            remove_items(gallery, [3, 4])
            upkeep.look_after(galleries.get("drawn"))
            assert upkeep._builds["drawn"]._process.wait(60) == 0
            assert current_name(gallery) == "000001"
        upkeep.look_after(galleries.get("drawn"))  # sees that it has ended
        upkeep.look_after(galleries.get("drawn"))
        wait_until(lambda: current_name(gallery) == "000002")
        upkeep.stop()
        assert engine.refresh()
        assert (engine.generation, engine.count, engine.changed_count) == ("000002", 46, 0)


def test_a_gallery_that_was_given_another_model_is_opened_again(folder, bundle, tmp_path):
    other = bundle_around(bundle, tmp_path / "other", 0.25)
    engine = Engine.open(folder, provider="cpu", threads=1)
    galleries = Galleries({"drawn": engine})
    upkeep = Upkeep(galleries, lambda name: Engine.open(folder, provider="cpu", threads=1))
    with Gallery.open(folder) as gallery:
        change_model(gallery, other)
        query = gallery.embeddings([5])
    served = galleries.get("drawn")
    assert "cannot be read" in served.trouble
    upkeep.look_after(served)
    served = galleries.get("drawn")
    assert (served.trouble, served.gallery.model_id) == (None, other.model_id)
    assert served.neighbours(query, 1)[0][0].item.id == 5
    upkeep.stop()
