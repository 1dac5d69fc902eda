import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from train.image_cache import FolderPictures, ImageCache, split
from train.images import Preprocessing
from train.interruption import Interrupted, StopRequest
from train.progress import SILENT

SIZE = Preprocessing(16)


def fill(folder: Path, source: Path, stop: StopRequest | None = None) -> ImageCache:
    cache = ImageCache(folder, SIZE)
    cache.fill(FolderPictures(source), workers=1, reporter=SILENT, stop=stop or StopRequest())
    return cache


@pytest.fixture(scope="module")
def mixed(drawn_folder, tmp_path_factory) -> Path:
    """The drawn pictures, a copy of one, two that are damaged, and a file that is no image; one odd name."""
    folder = tmp_path_factory.mktemp("mixed") / "pictures"
    shutil.copytree(drawn_folder, folder)
    pictures = sorted(folder.rglob("*.png"))
    shutil.copy(pictures[0], os.fsencode(folder) + b"/copy-\xff\n.png")
    (folder / "cut.png").write_bytes(pictures[1].read_bytes()[:200])
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("no image and nobody says so")
    return folder


@pytest.fixture(scope="module")
def undisturbed(mixed, tmp_path_factory) -> ImageCache:
    return fill(tmp_path_factory.mktemp("cache"), mixed)


def test_every_file_has_one_fate(undisturbed, mixed):
    summary = undisturbed.summary()
    assert (summary.stored, summary.duplicate, summary.other) == (48, 1, 1)
    assert summary.rejected == {"corrupt": 1, "unsupported_format": 1}
    assert summary.rejected_share == pytest.approx(2 / 51)
    assert {record["code"] for record in undisturbed.failures()} == {"corrupt", "unsupported_format"}
    assert undisturbed.complete


def test_rows_follow_the_paths(undisturbed):
    stored = [os.fsencode(record["path"]) for record in undisturbed.records() if record["fate"] == "stored"]
    assert stored == sorted(stored)
    assert undisturbed.pixels().shape == (48, 16, 16, 3)


@pytest.mark.parametrize("kept_rows", [0, 7, 30])
def test_a_killed_start_goes_on_to_the_same_cache(undisturbed, mixed, tmp_path, kept_rows):
    folder = tmp_path / "cache"
    shutil.copytree(undisturbed.folder, folder)
    (folder / "COMPLETE").unlink()
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    # Torn in the middle of a line, with pixels that the journal does not name.
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:kept_rows]) + lines[kept_rows][:20])
    assert fill(folder, mixed).hashes() == undisturbed.hashes()
    assert np.array_equal(ImageCache(folder, SIZE).pixels(), undisturbed.pixels())


def test_pixels_that_were_lost_with_the_power_are_decoded_again(undisturbed, mixed, tmp_path):
    folder = tmp_path / "cache"
    shutil.copytree(undisturbed.folder, folder)
    (folder / "COMPLETE").unlink()
    os.truncate(folder / "pixels.bin", 10 * 16 * 16 * 3 + 5)
    assert np.array_equal(fill(folder, mixed).pixels(), undisturbed.pixels())


def test_a_request_to_stop_keeps_what_was_read(undisturbed, mixed, tmp_path):
    stop = StopRequest()
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Interrupted) as caught:
        fill(tmp_path, mixed, stop)
    assert caught.value.exit_code == 143
    assert len(ImageCache(tmp_path, SIZE).records()) == 1
    assert not ImageCache(tmp_path, SIZE).complete
    assert np.array_equal(fill(tmp_path, mixed).pixels(), undisturbed.pixels())


def test_images_are_divided_by_content_whatever_their_order():
    hashes = [f"{number * 2654435761 % 2**32:08x}" for number in range(200)]
    parts = [{hashes[row] for row in rows} for rows in split(hashes, 0.05, 0.1)]
    assert [len(part) for part in parts] == [170, 10, 20]
    assert set().union(*parts) == set(hashes)
    assert [{hashes[::-1][row] for row in rows} for rows in split(hashes[::-1], 0.05, 0.1)] == parts


def test_no_part_is_empty_even_of_three_images():
    assert [len(rows) for rows in split(["a", "b", "c"], 0.05, 0.05)] == [1, 1, 1]
