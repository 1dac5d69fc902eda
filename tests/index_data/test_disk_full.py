"""A disk that fills up while indexing: exit code 6 with the remedy, nothing lost, and the same command goes on."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from index_data.adding import add_folder
from index_data.backup import export_gallery, import_gallery
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.generations import build_generation, current, current_name
from index_data.removing import remove_items
from index_data.verification import verify
from tests.index_data.conftest import items_of
from train.errors import DiskError


@pytest.fixture
def small_disk(tmp_path):
    """A file system in memory whose size can be set."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this container may not mount a tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


def test_a_disk_that_fills_up_anywhere_in_a_run_loses_nothing(small_disk, bundle, drawn_folder, filled):
    """The disk grows a little at a time; every run ends with DiskError until one has room, and each goes on."""
    place = small_disk / "drawn"
    refusals = 0
    kept = 0
    for kilobytes in range(64, 4000, 64):
        resize(small_disk, kilobytes)
        try:
            gallery = Gallery.open_or_create(place, bundle)
        except DiskError:
            refusals += 1
            continue
        with gallery:
            assert gallery.count >= kept
            kept = gallery.count
            try:
                summary = add_folder(gallery, bundle, drawn_folder, provider="cpu", workers=1, batch=4)
            except DiskError as error:
                assert "free some space" in error.detail.lower()
                assert error.problem.exit_code == 6
                refusals += 1
                generation, degraded = current(gallery)
                assert degraded is None
                assert generation.count in (0, gallery.count)
            else:
                break
    assert refusals > 5
    # All may be in, and only the index that had no room.
    assert summary.resumed + summary.unchanged + summary.embedded == 48
    with Gallery.open(place) as gallery, Gallery.open(filled) as reference:
        assert verify(gallery) == []
        assert [(item.id, item.path, item.sha256) for item in items_of(gallery)] == [
            (item.id, item.path, item.sha256) for item in items_of(reference)
        ]


def test_an_index_is_never_published_short(small_disk, filled):
    """Whatever room there is, a build publishes all of the index or none of it."""
    resize(small_disk, 4000)
    place = shutil.copytree(filled, small_disk / "drawn")
    filler = small_disk / "filler"
    index = (place / "indexes" / "000001" / "vectors.npy").stat().st_size
    refusals = 0
    with Gallery.open(place) as gallery:
        gallery.count  # noqa: B018  (opens the database, so that its files stand before the disk fills)
        for left in range(0, 2 * index, 4096):
            free = os.statvfs(small_disk).f_bavail * 4096
            filler.write_bytes(bytes(max(free - left, 0)))
            before = current_name(gallery)
            try:
                build_generation(gallery)
            except DiskError:
                refusals += 1
                assert current_name(gallery) == before
            generation, degraded = current(gallery)
            assert (generation.count, degraded) == (48, None)
            filler.unlink()
    assert refusals >= index // 4096
    with Engine.open(place, provider="cpu") as engine:
        assert engine.count == 48


def test_a_backup_is_never_written_or_read_short(small_disk, filled, tmp_path):
    with Gallery.open(filled) as gallery:
        whole = tmp_path / "whole.tar"
        export_gallery(gallery, whole)
        for kilobytes in range(64, whole.stat().st_size // 1024, 100):
            resize(small_disk, kilobytes)
            with pytest.raises(DiskError, match=r"[Ff]ree some space"):
                export_gallery(gallery, small_disk / "drawn.tar")
            assert list(small_disk.iterdir()) == []
            with pytest.raises(DiskError, match=r"[Ff]ree some space"):
                import_gallery(whole, small_disk / "again")
            assert list(small_disk.iterdir()) == []


def test_removing_on_a_full_disk_is_refused_or_done(small_disk, filled):
    resize(small_disk, 4000)
    place = shutil.copytree(filled, small_disk / "drawn")
    with Gallery.open(place) as gallery:
        gallery.count  # noqa: B018  (opens the database, so that its files stand before the disk fills)
        free = os.statvfs(small_disk).f_bavail * 4096
        (small_disk / "filler").write_bytes(bytes(free))
        left = gallery.count
        for item in items_of(gallery):
            try:
                left -= remove_items(gallery, [item.id])
            except DiskError as error:
                assert error.problem.exit_code == 6
                break
        assert gallery.count == left
        (small_disk / "filler").unlink()
        assert not [finding for finding in verify(gallery) if finding.harmful]


@pytest.mark.parametrize("kilobytes", [16, 48, 100, 160])
def test_a_limit_on_the_size_of_files_is_a_full_disk(kilobytes, bundle, drawn_folder, filled, tmp_path):
    """What needs no mount: the kernel refuses to let any file grow beyond a limit (ulimit -f)."""
    words = [sys.executable, "-m", "index_data", "add", "drawn", drawn_folder, "--model", bundle.folder]
    words += ["--home", tmp_path, "--provider", "cpu", "--workers", "1", "--batch", "8", "--quiet"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    ended = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit, timeout=120)
    assert ended.returncode == 6, ended.stderr
    assert "Traceback" not in ended.stderr
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    with Gallery.open(tmp_path / "galleries" / "drawn") as gallery:
        assert (gallery.count, verify(gallery)) == (48, [])
