"""What can be added besides a folder: single files, tar archives, Parquet files, a list of any of them."""

import io
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from index_data.adding import add_sources, scan_roots
from index_data.containers import find_members, read_member
from index_data.folders import FILES, plan_sources
from index_data.gallery import Gallery
from index_data.removing import choose_items
from index_data.verification import verify
from tests.conftest import draw_picture, encoded
from tests.index_data.conftest import items_of
from train.errors import ImageError, NothingFoundError, SettingsError
from train.images import FOLDER_LIMITS, Rejected

HOSTILE_NAMES = ("../../etc/passwd.png", "/etc/shadow.png", "a/../../b.png", "line\nfeed.png", "x" * 200 + ".png")


def tar_of(path, members, **others):
    with tarfile.open(path, "w:" + path.suffix.removeprefix(".").replace("tar", "")) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, kind in others.items():
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return path


def png(number):
    return encoded(draw_picture(number), "PNG")


@pytest.fixture
def sources(gallery, bundle):
    def sources(*places, **settings):
        return add_sources(gallery, bundle, places, **{"provider": "cpu", "workers": 1, "batch": 16, **settings})

    return sources


@pytest.fixture
def scan(gallery, bundle):
    return lambda: scan_roots(gallery, bundle, provider="cpu", workers=1)


@pytest.fixture
def shard(tmp_path):
    """A webdataset shard of ten samples: an image and a label each."""
    samples = {f"{number:05}.{kind}": png(number) if kind == "png" else b"7"
               for number in range(10) for kind in ("png", "cls")}  # fmt: skip
    return tar_of(tmp_path / "shard-000000.tar", samples)


def test_a_webdataset_shard_is_read_member_by_member_and_its_originals_stay_readable(gallery, sources, shard):
    summary = sources(shard)
    assert (summary.embedded, summary.other, summary.rejected) == (10, 10, {})
    assert [item.path for item in items_of(gallery)] == [b"%05d.png" % number for number in range(10)]
    for number, item in enumerate(items_of(gallery)):
        assert item.root == os.fsencode(shard)
        assert gallery.read_original(item) == png(number)
    assert sources(shard).unchanged == 10
    assert verify(gallery) == []


def test_a_scan_sees_what_changed_in_an_archive_and_leaves_one_alone_that_is_not_there(gallery, sources, scan, shard):
    sources(shard)
    before = {item.path: item.id for item in items_of(gallery)}
    members = {f"{number:05}.png": png(number + 50 * (number == 3)) for number in range(1, 11)}
    tar_of(shard, members)
    summary = scan()
    assert (summary.embedded, summary.unchanged, summary.removed) == (2, 8, 1)
    after = {item.path: item.id for item in items_of(gallery)}
    assert b"00000.png" not in after
    assert all(after[path] == number for path, number in before.items() if path in after)
    shard.unlink()
    with pytest.raises(NothingFoundError, match="mount"):
        scan()
    assert gallery.count == 10
    with pytest.raises(ImageError) as refused:
        gallery.read_original(items_of(gallery)[0])
    assert refused.value.problem.code == "file_missing"


def test_hostile_names_and_links_in_an_archive_lead_nowhere(gallery, sources, tmp_path):
    archive = tar_of(
        tmp_path / "hostile.tar",
        {name: png(number) for number, name in enumerate(HOSTILE_NAMES)},
        link=tarfile.SYMTYPE, hard=tarfile.LNKTYPE, pipe=tarfile.FIFOTYPE, device=tarfile.CHRTYPE,
    )  # fmt: skip
    summary = sources(archive)
    assert summary.embedded == 2
    assert summary.rejected == {"not_a_file": 7}
    assert {item.name for item in items_of(gallery)} == {"line\\nfeed.png", "x" * 200 + ".png"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "hostile.tar"]


def test_an_archive_that_breaks_off_gives_what_is_whole(gallery, sources, scan, shard):
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2 + 700])
    summary = sources(shard, shard)
    assert 0 < summary.embedded < 10
    assert summary.rejected.get("corrupt", 0) >= 1
    shard.write_bytes(whole)
    assert scan().embedded == 10 - summary.embedded
    assert gallery.failure_count == 0


def test_of_two_members_of_one_name_the_last_one_counts(gallery, sources, tmp_path):
    archive = tar_of(tmp_path / "twice.tar", {"a.png": png(1)})
    with tarfile.open(archive, "a") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = len(png(2))
        tar.addfile(info, io.BytesIO(png(2)))
    sources(archive)
    (item,) = items_of(gallery)
    assert gallery.read_original(item) == png(2)


def test_an_archive_in_a_folder_that_is_added_keeps_its_own_root(gallery, sources, shard, tmp_path):
    sources(shard)
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.move(shard, folder / shard.name)
    sources(folder / shard.name)  # the same bytes at another place: the items followed
    draw_picture(90).save(folder / "beside.png")
    sources(folder)
    assert gallery.count == 11
    assert folder / shard.name in gallery.roots().values()
    assert len(choose_items(gallery, [str(folder / shard.name)])) == 10
    assert len(choose_items(gallery, [str(folder)])) == 11


@pytest.mark.parametrize("shape", ["struct", "plain"])
def test_rows_of_a_parquet_file_are_items(gallery, sources, scan, tmp_path, shape):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    images = [png(number) for number in range(7)] + [None, b"no picture"]
    column = [{"bytes": image, "path": None} for image in images] if shape == "struct" else images
    file = tmp_path / "train.parquet"
    parquet.write_table(arrow.table({"label": list(range(9)), "image": column}), file, row_group_size=3)
    summary = sources(file)
    assert summary.embedded == 7
    assert summary.seen == 9
    for number, item in enumerate(items_of(gallery)):
        assert item.path == b"%010d" % number
        assert gallery.read_original(item) == images[number]
    assert sources(file).unchanged == 7
    assert scan().unchanged == 7


def test_a_parquet_file_that_is_none_or_has_no_images_is_named(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    parquet.write_table(arrow.table({"label": [1]}), tmp_path / "labels.parquet")
    for name in ("text.parquet", "labels.parquet"):
        (problem,) = find_members(tmp_path / name)
        assert isinstance(problem, Rejected)
        assert (problem.code, name in problem.detail) == ("corrupt", True)
        with pytest.raises(ImageError):
            read_member(tmp_path / name, b"0000000000", FOLDER_LIMITS)


def test_single_files_are_added_without_their_neighbours_and_a_scan_looks_at_them_only(
    gallery, sources, scan, pictures
):
    chosen = sorted(pictures.rglob("*.png"))[:3]
    summary = sources(*chosen)
    assert (summary.embedded, gallery.count) == (3, 3)
    assert [item.file for item in items_of(gallery)] == chosen
    draw_picture(600).save(chosen[0])
    chosen[1].unlink()
    summary = scan()
    # What is gone is not seen, as in a folder.
    assert (summary.seen, summary.embedded, summary.removed, gallery.count) == (2, 1, 1, 2)
    # A folder above takes them in; their ids stay.
    before = {item.file: item.id for item in items_of(gallery)}
    assert sources(pictures).unchanged == 2
    after = {item.file: item.id for item in items_of(gallery)}
    assert len(after) == 47
    assert before.items() <= after.items()
    # What lies in a root belongs to it.
    draw_picture(601).save(pictures / "new.png")
    assert sources(pictures / "new.png", pictures / "new.png").seen == 1
    assert [root for root in gallery.roots().values() if root != FILES] == [pictures]
    assert verify(gallery) == []


def test_a_plan_for_many_sources_is_what_adding_them_does(gallery, sources, pictures, shard):
    mixed = [pictures / "square", sorted((pictures / "round").rglob("*.*"))[0], shard]
    assert plan_sources(None, mixed).new == plan_sources(gallery, mixed).new == 24 + 1 + 20
    assert sources(*mixed).usable == 24 + 1 + 10
    plan = plan_sources(gallery, mixed)
    assert (plan.new, plan.changed, plan.unchanged) == (0, 0, 45)


def test_what_is_no_source_is_refused(sources, tmp_path):
    with pytest.raises(NothingFoundError, match="nowhere"):
        sources(tmp_path / "nowhere.png")
    with pytest.raises(SettingsError, match="whole disk"):
        sources(FILES)


@pytest.mark.parametrize("separator", [b"\0", b"\n"])
def test_a_list_comes_on_the_standard_input(bundle, pictures, tmp_path, separator):
    odd = pictures / os.fsdecode(b"odd\xff.png")
    draw_picture(800).save(odd, "PNG")
    listed = [os.fsencode(path) for path in [odd, *sorted(pictures.rglob("*.jpg"))[:2], pictures / "square"]]
    words = [sys.executable, "-m", "index_data", "add", "listed", "-", "--model", bundle.folder, "--home", tmp_path]
    ended = subprocess.run(
        [*words, "--provider", "cpu", "--workers", "1", "--quiet"],
        input=separator.join(listed) + separator,
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr
    with Gallery.open(tmp_path / "galleries" / "listed") as gallery:
        assert gallery.count == 24 + len(
            {path for path in listed if not path.startswith(os.fsencode(pictures / "square"))}
        )
