import json
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from index_data.adding import AddSummary, _Run, add_folder, add_sources, judge, scan_roots
from index_data.config import MAX_BAD
from index_data.engine import Engine
from index_data.folders import expect_images, narrowed, places_of_roots, plan_places, plan_sources
from index_data.gallery import Gallery
from index_data.generations import current, current_name, stored_names
from index_data.removing import remove_items
from index_data.verification import verify
from tests.conftest import draw_picture, encoded
from tests.index_data.conftest import bundle_around, items_of
from train.errors import IncompatibleError, LockedError, NothingFoundError, TooManyRejectedError, UserError
from train.files import locked
from train.interruption import Interrupted, StopRequest
from train.progress import Reporter


def paths_of(gallery: Gallery) -> dict[bytes, int]:
    return {item.path: item.id for item in items_of(gallery)}


def has_one_fate_each(summary: AddSummary) -> bool:
    return summary.seen == summary.usable + summary.rejected_count + summary.other


@pytest.fixture
def scan(gallery, bundle):
    def scan(**settings):
        return scan_roots(gallery, bundle, **{"provider": "cpu", "workers": 1, "batch": 16, **settings})

    return scan


# --- Adding ---


def test_every_image_of_a_folder_becomes_an_item(gallery, bundle, add, pictures):
    summary = add(pictures)
    assert (summary.seen, summary.embedded, summary.rejected) == (48, 48, {})
    assert summary.generation == "000001"
    files = {os.fsencode(file.relative_to(pictures)) for file in pictures.rglob("*.*")}
    assert set(paths_of(gallery)) == files
    for item in items_of(gallery):
        assert (item.width, item.height) == (96, 80)
        assert item.format == ("JPEG" if item.path.endswith(b".jpg") else "PNG")
        assert gallery.thumbnail(item.sha256) is not None
    assert current(gallery)[0].ids.tolist() == sorted(paths_of(gallery).values())
    assert verify(gallery) == []


def test_an_item_has_the_embedding_that_its_picture_gets_as_a_query(gallery, bundle, add, pictures):
    from train.decoding import DecodePool
    from train.images import FOLDER_LIMITS

    add(pictures, batch=7)
    with Engine.open(gallery.folder, provider="cpu") as engine, DecodePool(1, FOLDER_LIMITS) as pool:
        for item in items_of(gallery)[::7]:
            pixels = pool.fit(item.file.read_bytes(), gallery.preprocessing).pixels
            codes = engine.embed(pixels[None])
            assert gallery.embeddings([item.id])[0] == pytest.approx(codes.embeddings[0], abs=1e-6)
            assert gallery.latents([item.id])[0] == pytest.approx(codes.latents[0], abs=1e-6)


def test_adding_again_embeds_nothing(gallery, add, pictures):
    add(pictures)
    before = items_of(gallery)
    again = add(pictures)
    assert (again.embedded, again.duplicate, again.unchanged, again.generation) == (0, 0, 48, "000001")
    assert items_of(gallery) == before


def test_the_same_bytes_are_embedded_once(gallery, add, pictures):
    for number in range(5):
        shutil.copy(pictures / "square" / "picture-02.png", pictures / f"copy-{number}.png")
    os.link(pictures / "square" / "picture-04.png", pictures / "link.png")
    summary = add(pictures)
    assert (summary.embedded, summary.duplicate) == (48, 6)
    assert gallery.count == 54
    assert len(list((gallery.folder / "thumbs").rglob("*.webp"))) == 48


def test_an_edited_file_keeps_its_id_and_is_embedded_again(gallery, add, pictures):
    add(pictures)
    before = paths_of(gallery)
    edited = b"square/picture-02.png"
    old = gallery.embeddings([before[edited]])
    draw_picture(500).save(pictures / os.fsdecode(edited))
    summary = add(pictures)
    assert (summary.embedded, summary.unchanged) == (1, 47)
    assert paths_of(gallery) == before
    assert not np.allclose(gallery.embeddings([before[edited]]), old)
    assert summary.generation == "000001"  # one of 48 is not worth a new one
    assert verify(gallery) == []


def test_a_file_that_was_only_touched_is_not_embedded_again(gallery, add, pictures):
    add(pictures)
    os.utime(pictures / "square" / "picture-02.png", ns=(1, 1))
    summary = add(pictures)
    assert (summary.embedded, summary.unchanged, summary.generation) == (0, 48, "000001")
    assert add(pictures).unchanged == 48


@pytest.mark.parametrize("mtime", [-(10**18), 0, 2**32 * 10**9])
def test_odd_times_change_nothing(gallery, add, pictures, mtime):
    os.utime(pictures / "square" / "picture-02.png", ns=(mtime, mtime))
    add(pictures)
    assert add(pictures).unchanged == 48


def test_a_moved_file_keeps_its_id_and_its_vector_without_being_embedded_again(gallery, add, pictures):
    add(pictures)
    before = paths_of(gallery)
    (pictures / "elsewhere").mkdir()
    (pictures / "square" / "picture-02.png").rename(pictures / "elsewhere" / "renamed.png")
    summary = add(pictures)
    assert (summary.embedded, summary.moved, summary.unchanged) == (0, 1, 47)
    number = before.pop(b"square/picture-02.png")
    assert paths_of(gallery) == before | {b"elsewhere/renamed.png": number}


def test_two_copies_of_a_file_that_is_gone_do_not_both_become_it(gallery, add, pictures):
    add(pictures)
    gone = pictures / "square" / "picture-02.png"
    shutil.copy(gone, pictures / "a.png")
    shutil.copy(gone, pictures / "b.png")
    gone.unlink()
    summary = add(pictures)
    assert (summary.moved, summary.duplicate) == (1, 1)
    assert gallery.count == 49


def test_a_folder_below_a_root_is_part_of_it(gallery, add, pictures):
    add(pictures)
    before = paths_of(gallery)
    draw_picture(600).save(pictures / "square" / "new.png")
    summary = add(pictures / "square")
    assert (summary.seen, summary.embedded, summary.unchanged) == (25, 1, 24)
    assert paths_of(gallery).keys() == before.keys() | {b"square/new.png"}
    assert list(gallery.roots().values()) == [pictures]


def test_a_folder_above_a_root_takes_it_in_and_ids_stay(gallery, add, pictures):
    add(pictures / "square")
    before = paths_of(gallery)
    assert plan_sources(gallery, [pictures]).new == 24
    summary = add(pictures)
    assert (summary.embedded, summary.unchanged) == (24, 24)
    assert list(gallery.roots().values()) == [pictures]
    assert {path: paths_of(gallery)[b"square/" + path] for path in before} == before


def test_a_plan_says_what_would_be_done_and_writes_nothing(gallery, add, pictures):
    add(pictures)
    draw_picture(700).save(pictures / "new.png")
    draw_picture(701).save(pictures / "square" / "picture-02.png")
    (pictures / "square" / "picture-04.png").unlink()
    before = gallery.seq
    plan = plan_sources(gallery, [pictures])
    assert (plan.new, plan.changed, plan.unchanged) == (1, 1, 46)
    plan = plan_places(gallery, *places_of_roots(gallery), missing=True)
    assert (plan.new, plan.changed, plan.unchanged, plan.missing) == (1, 1, 46, 1)
    assert gallery.seq == before
    assert plan_sources(None, [pictures]).new == 48


# --- Scanning ---


def test_a_scan_takes_in_what_is_new_or_changed_and_lets_go_what_is_gone(gallery, add, scan, pictures):
    add(pictures)
    before = paths_of(gallery)
    draw_picture(700).save(pictures / "new.png")
    draw_picture(701).save(pictures / "square" / "picture-02.png")
    gone = pictures / "square" / "picture-04.png"
    digest = gallery.item(before[b"square/picture-04.png"]).sha256
    gone.unlink()
    summary = scan()
    assert (summary.embedded, summary.removed, summary.unchanged) == (2, 1, 46)
    after = paths_of(gallery)
    assert b"square/picture-04.png" not in after
    assert after[b"square/picture-02.png"] == before[b"square/picture-02.png"]
    assert gallery.thumbnail(digest) is None
    assert verify(gallery) == []


def test_a_scan_follows_a_folder_that_was_renamed(gallery, add, scan, pictures):
    add(pictures)
    before = paths_of(gallery)
    (pictures / "square").rename(pictures / "angular")
    summary = scan()
    assert (summary.embedded, summary.moved, summary.removed) == (0, 24, 0)
    assert paths_of(gallery) == {path.replace(b"square", b"angular"): number for path, number in before.items()}


@pytest.mark.parametrize("gone", ["removed", "emptied"])
def test_a_disk_that_is_not_mounted_costs_no_items(gallery, add, scan, pictures, gone):
    add(pictures)
    shutil.rmtree(pictures)
    if gone == "emptied":
        pictures.mkdir()
    with pytest.raises(NothingFoundError, match="mount"):
        scan()
    assert gallery.count == 48


def test_one_of_two_folders_that_is_not_there_is_left_alone(gallery, add, scan, pictures, tmp_path):
    other = shutil.copytree(pictures / "square", tmp_path / "other")
    add(pictures)
    add(other)
    shutil.rmtree(other)
    (pictures / "round" / "picture-01.png").unlink()
    summary = scan()
    assert (summary.seen, summary.removed, gallery.count) == (47, 1, 71)


# --- What cannot be used ---


def test_every_kind_of_bad_file_has_exactly_one_fate(gallery, add, pictures):
    makers = {
        b"text.jpg": lambda path: path.write_text("no picture"),
        b"empty.png": lambda path: path.touch(),
        b"cut.jpg": lambda path: path.write_bytes(encoded(draw_picture(1), "JPEG")[:700]),
        b"note.txt": lambda path: path.write_text("a note"),
        b"line\nfeed.png": lambda path: draw_picture(801).save(path),
        b"not\xffutf8.jpg": lambda path: path.write_bytes(encoded(draw_picture(802), "JPEG")),
        b"\xff\xfe.png": lambda path: path.write_text("no picture"),
        b"n" * 251 + b".png": lambda path: draw_picture(803).save(path),
        b"pipe.png": os.mkfifo,
        b"pipe": os.mkfifo,
        b"folder.jpg": lambda path: path.mkdir(),
        b"link.png": lambda path: path.symlink_to(pictures / "square" / "picture-02.png"),
        b"circle": lambda path: path.symlink_to(pictures),
        b"dangling.png": lambda path: path.symlink_to(pictures / "nowhere"),
        b"no-extension": lambda path: path.write_bytes(encoded(draw_picture(804))),
        b"wrong.gif": lambda path: path.write_bytes(encoded(draw_picture(805))),
        b"drawing.svg": lambda path: path.write_text("<svg/>"),
        b".hidden.png": lambda path: draw_picture(806).save(path),
    }
    for name, make in makers.items():
        make(pictures / os.fsdecode(name))
    with socket.socket(socket.AF_UNIX) as unused:
        os.chdir(pictures)
        unused.bind("socket.png")
    summary = add(pictures)
    assert has_one_fate_each(summary)
    assert summary.embedded == 48 + 5
    assert summary.other == 3  # the note, the pipe and the circular link
    assert summary.rejected.keys() == {"unsupported_format", "empty", "corrupt", "not_a_file"}
    failed = {failure.path: failure.code for failure in gallery.failures(other=True)}
    assert failed[b"\xff\xfe.png"] == "unsupported_format"
    assert failed[b"link.png"] == failed[b"socket.png"] == failed[b"pipe.png"] == "not_a_file"
    assert failed[b"empty.png"] == "empty"
    assert failed.keys().isdisjoint(paths_of(gallery))
    assert len(failed) + gallery.count == summary.seen
    listed = [json.loads(line) for line in (gallery.folder / "failures.jsonl").read_text().splitlines()]
    assert len(listed) == summary.rejected_count == gallery.failure_count
    again = add(pictures)
    assert (again.rejected, again.other, again.unchanged) == (summary.rejected, summary.other, 53)
    assert has_one_fate_each(again)
    assert again.generation == "000001"


def test_what_was_mended_or_is_gone_leaves_the_list_of_failures(gallery, add, pictures):
    (pictures / "bad.png").write_text("no picture")
    (pictures / "worse.png").write_text("no picture")
    add(pictures)
    draw_picture(900).save(pictures / "bad.png")
    (pictures / "worse.png").unlink()
    summary = add(pictures)
    assert (summary.embedded, summary.rejected) == (1, {})
    assert gallery.failures(other=True) == []
    assert not (gallery.folder / "failures.jsonl").exists()


def test_a_file_that_becomes_unusable_is_an_item_no_more(gallery, add, pictures):
    add(pictures)
    (pictures / "square" / "picture-02.png").write_text("no picture")
    summary = add(pictures)
    assert (summary.rejected, summary.removed) == ({"unsupported_format": 1}, 1)
    assert gallery.count == 47
    assert verify(gallery) == []


@pytest.mark.usefixtures("permissions_count")
def test_a_folder_without_permission_is_listed_until_it_may_be_read(gallery, add, pictures):
    (pictures / "square").chmod(0)
    try:
        summary = add(pictures)
    finally:
        (pictures / "square").chmod(0o700)
    assert summary.rejected == {"unreadable": 1}
    assert add(pictures).rejected == {}


def test_rejected_files_are_looked_at_again_only_when_asked(gallery, add, pictures):
    (pictures / "bad.png").write_text("no picture")
    add(pictures)
    (first,) = gallery.failures()
    assert add(pictures).rejected == {"unsupported_format": 1}
    assert gallery.failures() == [first]
    assert add(pictures, retry=True).rejected == {"unsupported_format": 1}
    (again,) = gallery.failures()
    assert (again.path, again.code) == (first.path, first.code)
    assert again.id > first.id


def test_files_that_change_while_they_are_read_are_looked_at_by_the_next_run(gallery, add, pictures):
    """A thread rewrites one file all the while: it ends as an item or as a failure, and the last run gets it right."""
    restless = pictures / "square" / "picture-02.png"
    versions = [encoded(draw_picture(number)) for number in (950, 951)]
    ended = threading.Event()

    def rewrite():
        while not ended.is_set():
            for version in versions:
                restless.write_bytes(version)
                time.sleep(0.001)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(3):
            assert has_one_fate_each(add(pictures))
    finally:
        ended.set()
        thread.join()
    add(pictures)
    item = next(item for item in items_of(gallery) if item.path == b"square/picture-02.png")
    assert gallery.read_original(item) == versions[1]
    assert gallery.failures() == []


def test_a_picture_without_an_embedding_of_length_one_is_a_failure(gallery, add, pictures):
    # Mean colours around middle grey: this one is exactly in the middle, so its latent has no direction.
    board = np.indices((32, 32)).sum(axis=0) % 2 + 127
    Image.fromarray(np.repeat(board[..., None], 3, axis=2).astype(np.uint8)).save(pictures / "grey.png")
    summary = add(pictures)
    assert summary.rejected == {"bad_embedding": 1}
    assert [failure.path for failure in gallery.failures()] == [b"grey.png"]
    assert gallery.count == 48
    assert verify(gallery, repair=True) is not None
    assert verify(gallery) == []


def test_a_broken_model_ends_the_run_and_stores_nothing(broken_bundle, pictures, tmp_path):
    with Gallery.create(tmp_path / "broken", broken_bundle) as gallery:
        with pytest.raises(UserError, match="broken") as refused:
            add_folder(gallery, broken_bundle, pictures, provider="cpu", workers=1)
        assert refused.value.problem.code == "bad_embedding"
        assert gallery.count == 0


def test_more_rejected_images_than_allowed_are_said_although_the_good_ones_are_published(gallery, add, pictures):
    for number in range(3):
        (pictures / f"bad-{number}.png").write_text("no picture")
    summary = add(pictures)
    assert current(gallery)[0].count == 48
    with pytest.raises(TooManyRejectedError, match="3 of 51") as refused:
        judge(summary, what="pictures")
    assert refused.value.problem.exit_code == 3
    judge(summary, what="pictures", max_bad=0.06)
    assert MAX_BAD == 0.05


@pytest.mark.parametrize("content", ["nothing", "texts"])
def test_a_folder_without_images_is_said_before_a_gallery_is_made(tmp_path, content):
    folder = tmp_path / "folder"
    folder.mkdir()
    if content == "texts":
        (folder / "a.txt").write_text("text")
        (folder / "b").write_text("text")
    with pytest.raises(NothingFoundError, match="no images"):
        expect_images(folder)
    (folder / "c").write_bytes(encoded(draw_picture(1)))
    expect_images(folder)


def test_a_folder_of_damaged_images_alone_has_nothing_usable(gallery, add, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "text.jpg").write_text("no picture")
    with pytest.raises(NothingFoundError, match="unsupported_format"):
        judge(add(tmp_path / "bad"), what="bad")


def test_a_folder_that_is_not_there_is_named(gallery, add, tmp_path):
    with pytest.raises(NothingFoundError, match="nowhere"):
        add(tmp_path / "nowhere")


def test_another_model_is_refused(gallery, add, pictures, other_bundle):
    add(pictures)
    for refused in (add_folder, lambda gallery, bundle, _: scan_roots(gallery, bundle)):
        with pytest.raises(IncompatibleError, match=other_bundle.model_id):
            refused(gallery, other_bundle, pictures)


@pytest.mark.parametrize("settings", [{"batch": 0}, {"batch": 257}, {"workers": 0}])
def test_settings_that_make_no_sense_are_refused(add, pictures, settings):
    with pytest.raises(UserError):
        add(pictures, **settings)


# --- Stopping, locking ---


def test_a_stop_commits_the_batch_publishes_nothing_and_the_next_run_goes_on(gallery, add, pictures):
    add(pictures / "round")
    stop = StopRequest()
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Interrupted) as stopped:
        add(pictures, stop=stop)
    assert stopped.value.exit_code == 143
    assert current_name(gallery) == "000001"
    assert gallery.count == 24
    summary = add(pictures)
    assert (summary.embedded, summary.unchanged + summary.resumed) == (24, 24)


def test_what_an_unfinished_run_committed_is_not_embedded_again(gallery, bundle, add, pictures):
    class StopAfterOneBatch(StopRequest):
        def __bool__(self):
            return gallery.count > 0

        def raise_if_set(self, saved=""):
            if self:
                raise Interrupted(signal.SIGINT, saved)

    with pytest.raises(Interrupted) as stopped:
        add(pictures, stop=StopAfterOneBatch())
    assert stopped.value.exit_code == 130
    committed = gallery.count
    assert 0 < committed < 48
    assert current_name(gallery) is None
    summary = add(pictures)
    assert (summary.resumed, summary.embedded) == (committed, 48 - committed)


def test_adding_and_scanning_never_wait_for_a_build_but_a_second_builder_is_refused(gallery, add, scan, pictures):
    with locked(gallery.folder, "index build"):
        assert add(pictures).embedded == 48  # due, but somebody else is at it
        assert stored_names(gallery) == []
        (pictures / "square" / "picture-02.png").unlink()
        assert scan().removed == 1
        with pytest.raises(LockedError, match=str(os.getpid())) as refused:
            verify(gallery, repair=True)
        assert refused.value.problem.exit_code == 5
    assert add(pictures).unchanged == 47
    assert stored_names(gallery) == ["000001"]


def test_a_folder_that_is_added_above_one_that_is_being_added_takes_its_files(gallery, bundle, pictures):
    """The second run begins while the first one is reading; each file becomes one item."""

    class AddAbove(Reporter):
        """Adds the folder above as soon as the first run has begun."""

        def say(self, sentence):
            if sentence.startswith("Execution provider"):
                add_folder(gallery, bundle, pictures, provider="cpu", workers=1)

    add_folder(gallery, bundle, pictures / "square", provider="cpu", workers=1, batch=4, reporter=AddAbove("none"))
    assert list(gallery.roots().values()) == [pictures]
    assert sorted(item.path for item in items_of(gallery)) == sorted(
        os.fsencode(path.relative_to(pictures)) for path in pictures.rglob("*.*")
    )


def test_bytes_that_another_run_lets_go_meanwhile_are_embedded_after_all(gallery, bundle, add, pictures, tmp_path):
    add(pictures)
    only = pictures / "square" / "picture-02.png"
    copy = tmp_path / "copies"
    copy.mkdir()
    shutil.copy(only, copy / "copy.png")
    outcomes = _Run._batches

    def batches_after_a_removal(run, found):
        for batch in outcomes(run, found):
            (item,) = [item for item in items_of(gallery) if item.file == only]
            remove_items(gallery, [item.id])
            yield batch

    with patch.object(_Run, "_batches", batches_after_a_removal):
        assert add(copy).embedded == 1
    assert verify(gallery) == []


def test_the_order_of_providers_asked_for_is_said(add, pictures, tmp_path):
    import io

    said = io.StringIO()
    add(pictures, reporter=Reporter("lines", said))
    assert "Execution provider: cpu (asked for: cpu)." in said.getvalue()


def test_galleries_of_two_models_do_not_mix(bundle, other_bundle, pictures, tmp_path):
    again = bundle_around(bundle, tmp_path / "again", 0.25)
    assert again.model_id == other_bundle.model_id
    with Gallery.create(tmp_path / "g", other_bundle) as gallery:
        add_folder(gallery, again, pictures, provider="cpu", workers=1)
        assert gallery.bundle_folder == (tmp_path / "again").resolve()
        assert gallery.count == 48


# --- Scans of some folders ---


@pytest.fixture
def seasons(tmp_path, add):
    """A folder with two in it, each with two pictures, all of them items."""
    root = tmp_path / "seasons"
    for number, name in enumerate(("spring/a.png", "spring/b.png", "autumn/a.png", "autumn/b.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(draw_picture(number)))
    add(root)
    return root


def test_a_scan_of_some_folders_looks_at_no_others(gallery, seasons, scan):
    for number, folder in enumerate(("spring", "autumn")):
        (seasons / folder / "new.png").write_bytes(encoded(draw_picture(20 + number)))
        (seasons / folder / "a.png").unlink()
    summary = scan(paths=[Path("spring")])
    assert (summary.seen, summary.embedded, summary.removed) == (2, 1, 1)
    assert set(paths_of(gallery)) == {b"spring/b.png", b"spring/new.png", b"autumn/a.png", b"autumn/b.png"}
    absolute = scan(paths=[seasons / "autumn" / "new.png"])
    assert (absolute.embedded, absolute.removed) == (1, 0)
    assert scan(paths=[Path("autumn"), Path()]).removed == 1


def test_a_scan_that_keeps_what_is_missing_takes_nothing_out(gallery, seasons, scan):
    before = paths_of(gallery)
    shutil.rmtree(seasons / "spring")
    assert scan(remove_missing=False).removed == 0
    assert paths_of(gallery) == before
    there, not_there = places_of_roots(gallery)
    assert plan_places(gallery, narrowed(gallery, there, [Path("spring")]), not_there, missing=True).missing == 2
    assert plan_places(gallery, narrowed(gallery, there, [Path("autumn")]), not_there, missing=True).missing == 0
    assert scan(paths=[Path("spring")]).removed == 2
    assert set(paths_of(gallery)) == {b"autumn/a.png", b"autumn/b.png"}


def test_a_scan_follows_no_link_and_finds_no_hidden_name(gallery, seasons, scan, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(encoded(draw_picture(30)))
    (seasons / "link").symlink_to(outside)
    (seasons / ".hidden").mkdir()
    (seasons / ".hidden" / "h.png").write_bytes(encoded(draw_picture(31)))
    for path in ("link", "link/secret.png", ".hidden", ".hidden/h.png", "../outside", "/etc", "nowhere"):
        with pytest.raises(NothingFoundError, match="has nothing at"):
            scan(paths=[Path(path)])
    assert len(paths_of(gallery)) == 4


def test_a_scan_of_single_files_knows_those_that_were_given_one_by_one(gallery, bundle, tmp_path, scan):
    alone = tmp_path / "alone.png"
    alone.write_bytes(encoded(draw_picture(40)))
    add_sources(gallery, bundle, [alone], provider="cpu", workers=1)
    alone.write_bytes(encoded(draw_picture(41)))
    assert scan(paths=[alone]).embedded == 1
    alone.unlink()
    (tmp_path / "other.png").write_bytes(encoded(draw_picture(42)))
    below = scan(paths=[tmp_path])  # which is no folder of the gallery: of it, only that file was given
    assert (below.embedded, below.removed) == (0, 1)
