import os
import shutil
import socket
import stat
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import draw_picture, encoded
from train.errors import PROBLEMS, ImageError, IncompatibleError, NothingFoundError, SettingsError
from train.images import (
    FOLDER_LIMITS,
    FORMATS,
    HEAD_BYTES,
    HTTP_LIMITS,
    FoundFile,
    OtherFileError,
    Preprocessing,
    Rejected,
    find_files,
    looks_like_image,
    read_file,
    sniff,
)
from train.printable import printable

# Names that have broken programs before: each is a regular file, and each must come out, byte for byte.
ODD_NAMES = {
    "not UTF-8": b"\xff\xfe caf\xe9.jpg",
    "a lone surrogate": b"\xed\xa0\x80.png",
    "a newline": b"two\nlines.jpg",
    "a carriage return and an escape": b"\r\x1b[31mred.jpg",
    "a tab": b"a\tb.jpg",
    "255 bytes": b"x" * 251 + b".jpg",
    "a space in front": b" leading.jpg",
    "a space behind": b"trailing.jpg ",
    "a dot behind": b"dot.jpg.",
    "an option": b"-rf.jpg",
    "a wildcard": b"*.jpg",
    "a shell command": b"$(reboot)`reboot`;reboot.jpg",
    "a backslash": b"back\\slash.jpg",
    "quotes": b'"it\'s".jpg',
    "markup": b"<script>alert(1)<script>.jpg",
    "a percent escape": b"%2e%2e%2fpasswd.jpg",
    "a drive": b"C:con.jpg",
    "right to left": "gpj.\u202eexe.jpg".encode(),
    "emoji": "\N{CAT FACE}.jpg".encode(),
    "composed": "caf\u00e9.jpg".encode(),
    "decomposed": "cafe\u0301.jpg".encode(),
    "upper case": b"CASE.JPG",
    "lower case": b"case.jpg",
    "no extension": b"picture",
    "another extension": b"picture.txt",
    "a zero width space": "zero\u200bwidth.jpg".encode(),
    "SQL": b"'; DROP TABLE items; --.jpg",
    "a tilde": b"~.jpg",
}


@pytest.fixture
def tree(tmp_path):
    for name in ODD_NAMES.values():
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(b"content")
    return tmp_path


def fates(root):
    found = list(find_files(root))
    fate = {item.path: item for item in found}
    assert len(fate) == len(found)  # one fate each
    return fate


@pytest.fixture
def ordinary_user():
    """Root reads everything: become nobody for a while, below a folder that nobody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="lookalike-test-"))
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        yield folder, (lambda: os.seteuid(65534)) if root else (lambda: None)
    finally:
        if root:
            os.seteuid(0)
        for place, _, _ in os.walk(folder):
            Path(place).chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ODD_NAMES)
def test_a_file_is_found_and_read_under_any_name(tree, kind):
    found = fates(tree)[ODD_NAMES[kind]]
    assert isinstance(found, FoundFile)
    assert found.size == 7
    try:
        assert read_file(tree, found.path, FOLDER_LIMITS).data == b"content"
    except ImageError as error:
        assert error.problem.code == "unsupported_format"


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_name_is_shown_in_one_printable_line(name):
    assert printable(name).isprintable()


def test_names_are_found_in_folders_of_any_name_and_depth(tmp_path):
    path = b"/".join([b"folder.jpg", b"new\nline", b"\xff", *[b"d" * 50] * 20, b"x.jpg"])
    file = tmp_path / os.fsdecode(path)
    file.parent.mkdir(parents=True)
    file.write_bytes(encoded(draw_picture(1)))
    assert list(fates(tmp_path)) == [path]
    assert sniff(read_file(tmp_path, path, FOLDER_LIMITS).data) == "PNG"


def test_a_path_longer_than_the_system_takes_is_rejected_and_the_walk_goes_on(tmp_path):
    (tmp_path / "good.jpg").write_bytes(b"x")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=descriptor)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    found = fates(tmp_path)
    assert isinstance(found.pop(b"good.jpg"), FoundFile)
    [too_long] = found.values()
    assert too_long.code == "unreadable"
    # rmtree works step by step and can take it away again; pytest's own clean-up does the same


def test_hidden_names_are_passed_over(tmp_path):
    (tmp_path / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "picture.jpg").write_bytes(b"x")
    assert fates(tmp_path) == {}


def test_what_is_no_regular_file_is_rejected_by_its_kind(tmp_path):
    (tmp_path / "outside.jpg").write_bytes(b"x")
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    os.mkfifo(root / "pipe.jpg")
    (root / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (root / "dangling.jpg").symlink_to("nowhere")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "inner" / "up").symlink_to("..")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's path has at most 108 bytes
        server.bind("socket.jpg")
        os.chdir(here)
        found = fates(root)
    assert {path: item.code for path, item in found.items()} == dict.fromkeys(
        [b"pipe.jpg", b"link.jpg", b"dangling.jpg", b"loop.jpg", b"inner/up", b"socket.jpg"], "not_a_file"
    )
    assert "named pipe" in found[b"pipe.jpg"].detail
    assert "symbolic link" in found[b"link.jpg"].detail
    assert "socket" in found[b"socket.jpg"].detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_rejected_and_never_read(tmp_path):
    try:
        os.mknod(tmp_path / "zero.jpg", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container makes no devices")
    assert fates(tmp_path)[b"zero.jpg"].code == "not_a_file"
    with pytest.raises(ImageError, match="device"):
        read_file(tmp_path, b"zero.jpg", FOLDER_LIMITS)


def test_an_unreadable_folder_is_rejected_and_the_walk_goes_on(ordinary_user):
    folder, give_up_root = ordinary_user
    (folder / "closed").mkdir(mode=0o000)
    (folder / "open").mkdir()
    (folder / "open" / "picture.jpg").write_bytes(b"x")
    (folder / "closed.jpg").write_bytes(b"x")
    (folder / "closed.jpg").chmod(0o000)
    give_up_root()
    found = fates(folder)
    assert found[b"closed"].code == "unreadable"
    assert isinstance(found[b"open/picture.jpg"], FoundFile)
    with pytest.raises(ImageError, match="Permission denied") as refused:
        read_file(folder, b"closed.jpg", FOLDER_LIMITS)
    assert refused.value.problem.code == "unreadable"


def test_files_that_vanish_during_the_walk_have_one_fate_each(tmp_path):
    for number in range(3000):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    seen = set()
    for item in find_files(tmp_path):
        assert isinstance(item, FoundFile) or item.code == "file_missing"
        assert item.path not in seen
        seen.add(item.path)
        if len(seen) == 10:
            for number in range(0, 3000, 2):
                (tmp_path / f"{number}.jpg").unlink()
    assert len(seen) >= 1500


def test_a_folder_that_vanishes_is_rejected(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "picture.jpg").write_bytes(b"x")
    walk = find_files(tmp_path)
    first = next(walk)
    (tmp_path / "one").rmdir()
    rest = list(walk)
    assert {item.path for item in (first, *rest)} >= {b"picture.jpg"}
    assert all(item.code == "file_missing" for item in rest if isinstance(item, Rejected))


def test_a_walk_holds_no_names(tmp_path):
    for number in range(20_000):
        (tmp_path / f"{number:0100}").touch()
    import tracemalloc

    tracemalloc.start()
    try:
        count = sum(1 for _ in find_files(tmp_path))
        assert count == 20_000
        assert tracemalloc.get_traced_memory()[1] < 500_000  # bytes; the names alone have 2,000,000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("root", ["missing", "file.txt"])
def test_what_is_no_folder_cannot_be_searched(tmp_path, root):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(NothingFoundError, match="is not a folder"):
        find_files(tmp_path / root)


def test_a_file_is_read_whole_with_its_digest(tmp_path):
    picture = encoded(draw_picture(1))
    (tmp_path / "a.png").write_bytes(picture)
    os.utime(tmp_path / "a.png", ns=(-1_000_000_000, 5_000_000_000_123_456_789))
    content = read_file(tmp_path, b"a.png", FOLDER_LIMITS)
    assert content.data == picture
    assert content.size == len(picture)
    assert content.mtime_ns == (tmp_path / "a.png").stat().st_mtime_ns
    import hashlib

    assert content.sha256 == hashlib.sha256(picture).digest()


@pytest.mark.parametrize(
    "path", [b"../outside.jpg", b"/etc/passwd", b"a/../b.jpg", b"./a.jpg", b"a//b.jpg", b"", b".."]
)
def test_a_path_does_not_lead_outside(tmp_path, path):
    (tmp_path / "outside.jpg").write_bytes(b"\xff\xd8\xff")
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    with pytest.raises(ImageError) as refused:
        read_file(root, path, FOLDER_LIMITS)
    assert refused.value.problem.code == "not_a_file"


def test_a_link_is_not_followed_wherever_it_stands_in_the_path(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.jpg").write_bytes(b"\xff\xd8\xff")
    root = tmp_path / "root"
    root.mkdir()
    (root / "x.jpg").symlink_to(tmp_path / "secret" / "x.jpg")
    (root / "folder").symlink_to(tmp_path / "secret")
    for path in (b"x.jpg", b"folder/x.jpg"):
        with pytest.raises(ImageError) as refused:
            read_file(root, path, FOLDER_LIMITS)
        assert refused.value.problem.code == "not_a_file"


def test_a_named_pipe_does_not_keep_the_reader_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="named pipe"):
        read_file(tmp_path, b"pipe.jpg", FOLDER_LIMITS)


def test_a_folder_named_like_a_picture_is_no_file(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(ImageError, match="folder"):
        read_file(tmp_path, b"x.jpg", FOLDER_LIMITS)


def test_a_file_that_is_gone_says_so(tmp_path):
    with pytest.raises(ImageError) as refused:
        read_file(tmp_path, b"gone.jpg", FOLDER_LIMITS)
    assert refused.value.problem.code == "file_missing"


def test_a_file_that_changes_while_it_is_read_is_never_taken_half(tmp_path):
    file = tmp_path / "picture.bmp"
    versions = [b"BM" + bytes([number]) * 3_000_000 for number in (1, 2)]
    file.write_bytes(versions[0])
    stop = threading.Event()

    def rewrite():
        number = 0
        while not stop.is_set():
            number += 1
            with file.open("r+b") as handle:
                handle.write(versions[number % 2])

    writer = threading.Thread(target=rewrite)
    writer.start()
    outcomes = set()
    try:
        for _ in range(20):
            try:
                outcomes.add(read_file(tmp_path, b"picture.bmp", FOLDER_LIMITS).data in versions)
            except ImageError as error:
                outcomes.add(error.problem.code)
    finally:
        stop.set()
        writer.join()
    assert outcomes <= {True, "file_changed"}
    assert "file_changed" in outcomes


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with (tmp_path / "large.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(HTTP_LIMITS.bytes + 1)
    with pytest.raises(ImageError, match="20,971,521 bytes") as refused:
        read_file(tmp_path, b"large.jpg", HTTP_LIMITS)
    assert refused.value.problem.code == "body_too_large"
    assert read_file(tmp_path, b"large.jpg", FOLDER_LIMITS).size == HTTP_LIMITS.bytes + 1


def test_a_file_of_no_bytes_is_empty(tmp_path):
    (tmp_path / "nothing.jpg").touch()
    with pytest.raises(ImageError) as refused:
        read_file(tmp_path, b"nothing.jpg", FOLDER_LIMITS)
    assert refused.value.problem.code == "empty"


def test_other_files_are_told_from_images_that_cannot_be_read(tmp_path):
    contents = {b"notes.txt": b"Summer 2019", b"film.mp4": b"\0\0\0\x18ftypmp42" + bytes(99), b"empty.txt": b""}
    images = {b"photo.heic": b"\0\0\0\x18ftypheic", b"layers": b"8BPS\0\1", b"text.jpg": b"I am text"}
    for name, content in (contents | images).items():
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    for name in contents:
        with pytest.raises(OtherFileError):
            read_file(tmp_path, name, replace(FOLDER_LIMITS, bytes=5))
    for name in images:
        with pytest.raises(ImageError, match="convert") as refused:
            read_file(tmp_path, name, FOLDER_LIMITS)
        assert not isinstance(refused.value, OtherFileError)
        assert refused.value.problem.code == "unsupported_format"


def test_descriptors_are_closed_whatever_happens(tree):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (*ODD_NAMES.values(), b"missing.jpg", b"no/such/folder", b"picture/inside"):
        try:
            read_file(tree, path, FOLDER_LIMITS)
        except ImageError as error:
            assert error.problem.code in PROBLEMS
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_format_is_told_by_its_first_bytes(image_format):
    assert sniff(encoded(draw_picture(1), image_format)[:HEAD_BYTES]) == image_format


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG",
        b"GIF90a",
        b"RIFF\0\0\0\0WAVE",
        b"%PDF-1.7",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypisom\0\0\0\0avc1mp41",
        b"PK\3\4",
        b"\x7fELF",
        b"%!PS-Adobe",
        b"<svg>",
    ],
)
def test_other_bytes_are_no_format_that_is_read(head):
    assert sniff(head) is None


def test_an_avif_of_general_brand_is_told_from_heic():
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    # A brand beyond the end of the box belongs to something else.
    assert sniff(b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif") is None


def test_an_image_is_known_by_its_name_or_its_bytes():
    png = encoded(draw_picture(1))
    assert looks_like_image(b"a/b", png)
    assert looks_like_image(b"a.jpg/b.NEF", b"?")
    assert not looks_like_image(b"a.jpg/b", b"?")
    assert not looks_like_image(b"jpg", b"?")
    assert not looks_like_image(b"readme.md", b"# Pictures")


def test_preprocessing_comes_back_from_json():
    preprocessing = Preprocessing(64)
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"background": [0, 0, 0]}, {"gamma": 2.2}, {"size": "64"}, {"size": True}]
)
def test_preprocessing_of_another_version_is_refused(change):
    with pytest.raises(IncompatibleError, match="export the model again"):
        Preprocessing.from_json(Preprocessing(64).to_json() | change)


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(SettingsError, match="1 to 4096"):
        Preprocessing(size)
