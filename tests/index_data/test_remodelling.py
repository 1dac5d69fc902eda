"""Another model for a gallery: embedded aside, resumable, switched in one step while the old one serves."""

import shutil

import numpy as np
import pytest

from index_data.adding import add_folder
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.remodelling import change_model
from index_data.verification import verify
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from train.errors import IncompatibleError, TooManyRejectedError
from train.interruption import Interrupted, StopRequest
from train.progress import Reporter


@pytest.fixture
def filled_gallery(gallery, add, pictures):
    shutil.copy(pictures / "square" / "picture-02.png", pictures / "copy.png")
    add(pictures)
    return gallery


def expected(bundle, pictures, folder):
    """The embeddings of a gallery that the other model made from the start."""
    with Gallery.create(folder, bundle) as gallery:
        add_folder(gallery, bundle, pictures, provider="cpu", workers=1)
        return {item.path: gallery.embeddings([item.id])[0] for item in items_of(gallery)}


def embeddings_of(gallery):
    return {item.path: gallery.embeddings([item.id])[0] for item in items_of(gallery)}


def equal(one, other):
    return one.keys() == other.keys() and all(np.allclose(one[path], other[path], atol=1e-6) for path in one)


class StopAfter(Reporter):
    """Asks to stop as soon as something has been embedded."""

    def __init__(self, stop):
        super().__init__("none")
        self.stop = stop

    def say(self, text):
        if text.startswith("Execution provider"):
            self.stop.signal_number = 2


def test_a_gallery_of_another_model_is_as_if_it_had_always_been_its(
    filled_gallery, bundle, other_bundle, pictures, tmp_path
):
    ids = [(item.id, item.path) for item in items_of(filled_gallery)]
    with Engine.open(filled_gallery.folder, provider="cpu") as serving:
        query = filled_gallery.embeddings([1])
        before = serving.search(query, 10)
        summary = change_model(filled_gallery, other_bundle)
        assert (summary.embedded, summary.resumed, summary.lost, summary.removed) == (48, 0, {}, 0)
        # Who has it open goes on with the old model, and knows that it should open it again.
        assert serving.search(query, 10) == before
        assert serving.is_outdated
        with pytest.raises(IncompatibleError, match=other_bundle.model_id):
            serving.gallery.embeddings([1])
    assert [(item.id, item.path) for item in items_of(filled_gallery)] == ids
    assert filled_gallery.model_id == other_bundle.model_id
    assert equal(embeddings_of(filled_gallery), expected(other_bundle, pictures, tmp_path / "fresh"))
    assert verify(filled_gallery) == []
    assert list(filled_gallery.folder.glob("model-*")) == []
    with Engine.open(filled_gallery.folder, provider="cpu") as engine:
        assert (engine.bundle.model_id, engine.degraded, engine.count) == (other_bundle.model_id, None, 49)
        assert engine.search(filled_gallery.embeddings([7]), 1)[0][0].id == 7


def test_a_change_of_model_goes_on_where_it_was_stopped(filled_gallery, bundle, other_bundle, pictures, tmp_path):
    stop = StopRequest()
    settings = settings_with(batch=16)
    with pytest.raises(Interrupted, match="goes on"):
        change_model(filled_gallery, other_bundle, settings=settings, stop=stop, reporter=StopAfter(stop))
    assert filled_gallery.model_id == bundle.model_id
    draw_picture(900).save(pictures / "new.png")
    add_folder(filled_gallery, bundle, pictures, provider="cpu", workers=1)
    summary = change_model(filled_gallery, other_bundle, settings=settings)
    assert (summary.embedded, summary.resumed) == (33, 16)
    assert equal(embeddings_of(filled_gallery), expected(other_bundle, pictures, tmp_path / "fresh"))


def test_what_is_added_while_the_new_model_works_is_embedded_too(filled_gallery, bundle, other_bundle, pictures):
    class AddMeanwhile(Reporter):
        def say(self, text):
            if text.startswith("Execution provider") and not (pictures / "new.png").exists():
                draw_picture(900).save(pictures / "new.png")
                with Gallery.open(filled_gallery.folder) as another:
                    add_folder(another, bundle, pictures, provider="cpu", workers=1)

    change_model(filled_gallery, other_bundle, settings=settings_with(batch=16), reporter=AddMeanwhile("none"))
    assert filled_gallery.count == 50
    assert verify(filled_gallery) == []


def test_images_that_are_gone_stop_the_switch_or_are_let_go(filled_gallery, bundle, other_bundle, pictures):
    for path in sorted(pictures.rglob("*.png"))[:10]:
        path.unlink()
    with pytest.raises(TooManyRejectedError, match="the old model goes on serving"):
        change_model(filled_gallery, other_bundle)
    assert (filled_gallery.model_id, filled_gallery.count) == (bundle.model_id, 49)
    assert verify(filled_gallery) == []
    summary = change_model(filled_gallery, other_bundle, max_bad=0.5)
    # One of the ten was there twice: its copy has its bytes.
    assert summary.lost["file_missing"] == summary.removed
    assert filled_gallery.count == 49 - summary.removed
    assert verify(filled_gallery) == []


def test_a_run_that_adds_with_the_old_model_is_refused_after_the_switch(filled_gallery, bundle, other_bundle, pictures):
    draw_picture(900).save(pictures / "new.png")
    with Gallery.open(filled_gallery.folder) as late:
        change_model(filled_gallery, other_bundle)
        with pytest.raises(IncompatibleError, match=other_bundle.model_id):
            add_folder(late, bundle, pictures, provider="cpu", workers=1)
    assert filled_gallery.count == 49


def settings_with(**values):
    from index_data.config import AddSettings

    return AddSettings(provider="cpu", workers=1, **values)
