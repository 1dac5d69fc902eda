"""Placeholders: tiny likenesses of pictures, guessed from their codes."""

import base64
import dataclasses
import io
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from index_data.gallery import Gallery
from search_server.placeholders import SIDE, data_uri_of, fit_likeness, keep_likeness, kept_likeness
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import serving
from train.decoding import DecodePool
from train.images import FOLDER_LIMITS

GALLERY = "/api/v1/galleries/drawn"


@pytest.fixture(scope="module")
def pool():
    with DecodePool(1, FOLDER_LIMITS) as running:
        yield running


def pixels_of(uri: str) -> np.ndarray:
    """What a browser sees in a data: URI."""
    head, _, data = uri.partition(",")
    assert head == "data:image/bmp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_small_picture_is_a_bitmap_that_says_the_same():
    small = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    assert np.array_equal(pixels_of(data_uri_of(small)), small)


def test_codes_tell_roughly_what_the_thumbnails_show(drawn_gallery, pool):
    with Gallery.open(drawn_gallery) as gallery:
        likeness = fit_likeness(gallery, pool, threading.Event())
        assert likeness is not None
        items = list(gallery.items())
        guessed = likeness.of(gallery.latents([item.id for item in items])).astype(float)
        thumbnails = [Image.open(io.BytesIO(gallery.thumbnail(item.sha256) or b"")).convert("RGB") for item in items]
        shown = np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BOX), float) for one in thumbnails])
        by_average = np.abs(shown - shown.mean(axis=0)).mean()
        assert np.abs(shown - guessed).mean() < by_average / 2


def test_too_few_pictures_and_a_server_that_ends_are_no_reason_to_guess(drawn_gallery, pool, bundle, tmp_path):
    with Gallery.create(tmp_path / "unfilled", bundle) as gallery:
        assert fit_likeness(gallery, pool, threading.Event()) is None
    ended = threading.Event()
    ended.set()
    with Gallery.open(drawn_gallery) as gallery:
        assert fit_likeness(gallery, pool, ended) is None


def test_lists_and_searches_have_placeholders_for_whoever_asks(drawn_gallery, tmp_path):
    folder = shutil.copytree(drawn_gallery, tmp_path / "drawn")
    with serving(folder, log=tmp_path / "log") as server:
        deadline = time.monotonic() + 60
        while server.get(f"{GALLERY}/items", placeholders="true", limit=1).json()["items"][0]["placeholder"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # it is fitted while the answers go without
        item = server.get(f"{GALLERY}/items", placeholders="true", ids="5").json()["items"][0]
        assert pixels_of(item["placeholder"]).shape == (SIDE, SIDE, 3)
        picture = encoded(draw_picture(5))
        answers = [
            server.get(f"{GALLERY}/items/3/similar", placeholders="true").json(),
            server.send_form(f"{GALLERY}/search", image=picture, placeholders="true").json(),
            server.send_json("/api/v1/search", id="3", gallery="drawn", placeholders=True).json(),
        ]
        for answer in answers:
            found = {hit["id"]: hit["placeholder"] for hit in answer["hits"]}
            assert all(found.values())
            assert found.get("5", item["placeholder"]) == item["placeholder"]
        assert server.get(f"{GALLERY}/items/3/similar").json()["hits"][0]["placeholder"] is None
    with serving(folder, log=tmp_path / "log") as server:  # the next one has them from its first answer on
        again = server.get(f"{GALLERY}/items", placeholders="true", ids="5").json()["items"][0]
        assert again["placeholder"] == item["placeholder"]


def test_what_was_written_down_of_another_model_or_is_damaged_is_not_used(drawn_gallery, pool, tmp_path):
    folder = shutil.copytree(drawn_gallery, tmp_path / "drawn", ignore=shutil.ignore_patterns("analyses"))
    with Gallery.open(folder) as gallery:
        assert kept_likeness(gallery) is None
        likeness = fit_likeness(gallery, pool, threading.Event())
        assert likeness is not None
        keep_likeness(gallery, likeness)
        kept = kept_likeness(gallery)
        assert kept is not None
        assert np.array_equal(kept.weights, likeness.weights)
        keep_likeness(gallery, dataclasses.replace(likeness, weights=likeness.weights[1:]))
        assert kept_likeness(gallery) is None
        file = folder / "analyses" / "placeholders.npz"
        file.write_bytes(file.read_bytes()[:100])
        assert kept_likeness(gallery) is None
