"""A model learns from the pictures of a gallery: from its items, wherever they lie, and from no others."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from export.bundle import Bundle
from index_data.adding import add_sources
from index_data.gallery import Gallery
from index_data.gallery_pictures import GalleryPictures
from tests.conftest import draw_picture, encoded
from train.image_cache import FolderPictures, ImageCache
from train.images import Preprocessing
from train.interruption import StopRequest
from train.progress import SILENT
from train.run import Run


@pytest.fixture
def gallery(bundle: Bundle, tmp_path: Path):
    """A gallery of a folder, a tar archive and one file of a folder that holds more."""
    folder, beside = tmp_path / "folder", tmp_path / "beside"
    for place, numbers in ((folder, range(4)), (beside, range(10, 13))):
        place.mkdir()
        for number in numbers:
            (place / f"{number}.png").write_bytes(encoded(draw_picture(number)))
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for number in (20, 21):
            (tmp_path / "member.png").write_bytes(encoded(draw_picture(number)))
            archive.add(tmp_path / "member.png", f"{number}.png")
    with Gallery.create(tmp_path / "gallery", bundle) as made:
        sources = [folder, tmp_path / "shard.tar", beside / "11.png"]
        add_sources(made, bundle, sources, provider="cpu", workers=1)
        yield made


def fill(gallery: Gallery, folder: Path) -> ImageCache:
    cache = ImageCache(folder, Preprocessing(16))
    cache.fill(GalleryPictures(gallery), workers=1, reporter=SILENT, stop=StopRequest())
    return cache


def test_all_items_and_nothing_that_only_lies_beside_them_are_read(gallery, tmp_path):
    cache = fill(gallery, tmp_path / "cache")
    assert cache.summary().stored == 7
    assert sorted(cache.hashes()) == sorted(item.sha256 for item in gallery.items())


def test_a_picture_becomes_the_same_pixels_as_from_its_folder(gallery, tmp_path):
    cache = fill(gallery, tmp_path / "cache")
    direct = ImageCache(tmp_path / "direct", Preprocessing(16))
    direct.fill(FolderPictures(tmp_path / "folder"), workers=1, reporter=SILENT, stop=StopRequest())
    rows = [cache.hashes().index(sha256) for sha256 in direct.hashes()]
    assert (cache.pixels()[rows] == direct.pixels()).all()


def test_what_was_taken_out_changed_or_is_gone_is_not_learned_from(gallery, tmp_path):
    by_name = {item.name: item.id for item in gallery.items()}
    with gallery.changes() as changes:
        changes.take_out([by_name["0.png"]])
    (tmp_path / "folder" / "1.png").write_bytes(encoded(draw_picture(99)))
    (tmp_path / "folder" / "2.png").unlink()
    summary = fill(gallery, tmp_path / "cache").summary()
    assert (summary.stored, summary.rejected) == (4, {"file_changed": 1, "file_missing": 1})


def test_a_killed_start_goes_on_with_what_it_read(gallery, tmp_path):
    whole = fill(gallery, tmp_path / "cache")
    torn = tmp_path / "torn"
    shutil.copytree(whole.folder, torn)
    (torn / "COMPLETE").unlink()
    lines = (torn / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (torn / "journal.jsonl").write_bytes(b"".join(lines[:3]))
    again = fill(gallery, torn)
    assert again.hashes() == whole.hashes()
    assert (again.pixels() == whole.pixels()).all()


def test_a_training_on_a_gallery_may_begin_from_a_model(gallery, bundle, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for number in range(30, 50):
        (more / f"{number}.png").write_bytes(encoded(draw_picture(number)))
    add_sources(gallery, bundle, [more], provider="cpu", workers=1)
    words = ["train", str(gallery.folder), "--from", "starter", "--name", "begun", "--epochs", "1"]
    words += ["--set", "training.precision=fp32", "--home", str(tmp_path / "home")]
    command = [sys.executable, "-m", "index_data", *words]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "from the decoder of starter: it paints held-out pictures with an MSE of" in ended.stderr
    assert Run.open(tmp_path / "home" / "runs" / "begun").result["start"]["model"] == "starter"
