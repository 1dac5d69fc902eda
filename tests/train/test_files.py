"""Writing leaves the old content or the new one, and says what to do where it cannot write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from train.errors import DiskError, LockedError
from train.files import atomic_file, atomic_folder, locked, remove_leftovers, write_file


def test_a_file_takes_its_place_whole(tmp_path):
    write_file(tmp_path / "deep" / "note", b"one")
    write_file(tmp_path / "deep" / "note", b"two")
    assert (tmp_path / "deep" / "note").read_bytes() == b"two"
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["note"]


def test_an_error_while_writing_keeps_the_old_file(tmp_path):
    write_file(tmp_path / "note", b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "note") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert (tmp_path / "note").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_replaces_the_old_one_in_one_step(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "bundle") as aside:
            (aside / "inner").mkdir()
            (aside / "inner" / "file").write_text(content)
    assert (tmp_path / "bundle" / "inner" / "file").read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_an_error_while_making_a_folder_keeps_the_old_one(tmp_path):
    with atomic_folder(tmp_path / "bundle") as aside:
        (aside / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "bundle") as aside:
        (aside / "file").write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "bundle" / "file").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_what_a_killed_process_left_aside_is_removed_and_a_living_ones_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".bundle.{dead.pid}.tmp").mkdir()
    (tmp_path / f".note.{dead.pid}.tmp").write_text("half")
    (tmp_path / f".mine.{os.getpid()}.tmp").write_text("in work")
    (tmp_path / ".someone-elses.tmp").write_text("not ours")
    remove_leftovers(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f".mine.{os.getpid()}.tmp", ".someone-elses.tmp"]


@pytest.mark.parametrize("path", ["/proc/note", "/sys/note"])
def test_a_place_that_cannot_be_written_is_said_with_the_remedy(path):
    with pytest.raises((DiskError, FileNotFoundError)) as error:
        write_file(Path(path), b"content")
    if isinstance(error.value, DiskError):
        assert error.value.problem.exit_code == 6
        assert "choose another folder" in error.value.detail


def test_a_file_over_the_size_limit_is_a_disk_error_and_leaves_nothing(tmp_path):
    script = (
        "import resource, signal, sys; from pathlib import Path; from train.files import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_file(Path(sys.argv[1]), b'x' * 5000)\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "note")], capture_output=True, text=True)
    assert ended.stdout.strip() == "DiskError"
    assert list(tmp_path.iterdir()) == []


HOLD = (
    "import sys, time; from pathlib import Path; from train.files import locked\n"
    "with locked(Path(sys.argv[1]), 'adding pictures'): print('held', flush=True); time.sleep(60)\n"
)


def test_a_second_process_is_told_who_holds_the_folder_and_a_kill_frees_it(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(LockedError, match=rf"process {holder.pid} \(adding pictures\)"),
            locked(tmp_path, "adding more"),
        ):
            pytest.fail("two processes held the lock")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with locked(tmp_path, "adding more"):
        assert "adding more" in (tmp_path / "LOCK.holder").read_text()
