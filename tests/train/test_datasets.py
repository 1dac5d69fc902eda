"""Data sets by name and from files: what is read, and what damaged or hostile files come to."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw_picture, encoded
from train.datasets.lookup import Dataset, Samples, find_dataset
from train.datasets.readers import fit_pixels
from train.decoding import DecodePool
from train.errors import DamagedError, NothingFoundError, SettingsError, UserError
from train.images import FOLDER_LIMITS, Preprocessing

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


# --- Making small files in the official formats ---------------------------------------------------------------------


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_tar(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return path


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", side) for side in array.shape)
    return gzip.compress(head + array.tobytes(), 1)


def write_idx(folder: Path, train: int = 12, test: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for images, labels, count in ((*IDX_FILES[:2], train), (*IDX_FILES[2:], test)):
        (folder / images).write_bytes(idx(noise(count, 28, 28)))
        (folder / labels).write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))


def cifar_rows(count: int, seed: int) -> np.ndarray:
    return noise(count, 3072, seed=seed)


def write_cifar_binary(path: Path, count: int = 7) -> Path:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    labels = (np.arange(count) % 10).astype(np.uint8)
    files = {
        f"cifar-10-batches-bin/{name}.bin": np.column_stack([labels, cifar_rows(count, seed)]).tobytes()
        for seed, name in enumerate(names)
    }
    return write_tar(path, files | {"cifar-10-batches-bin/readme.html": b"<html>"})


def pickled_as_python_2(rows: np.ndarray, labels: list[int], element: bytes = b"u1") -> bytes:
    """The official pickles: protocol 2, byte strings, an array rebuilt by three names of NumPy."""

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n" + short(element) + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + short(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + short(b"b") + b"\x87R"
    shape = b"".join(number(side) for side in rows.shape) + b"\x86"
    raw = rows.tobytes()
    array += b"(" + number(1) + shape + dtype + b"\x89" + b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    items = short(b"batch_label") + short(b"batch 1 of 5")
    items += short(b"labels") + b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + items + short(b"data") + array + b"u."


def write_cifar_python(path: Path, count: int = 7, **changed: bytes) -> Path:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    labels = (np.arange(count) % 10).tolist()
    files = {name: pickled_as_python_2(cifar_rows(count, seed), labels) for seed, name in enumerate(names)}
    return write_tar(path, {f"cifar-10-batches-py/{name}": data for name, data in (files | changed).items()})


def sheet(images: np.ndarray) -> bytes:
    """1,000 images, (1000, 32, 32, 3), as one lossless sheet."""
    tiled = images.reshape(25, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(800, 1280, 3)
    return encoded(Image.fromarray(tiled), "WEBP", lossless=True, method=0)


@pytest.fixture(scope="module")
def sheet_images() -> np.ndarray:
    """Flat colours: a small file."""
    return np.broadcast_to(noise(1000, 1, 1, 3), (1000, 32, 32, 3))


def write_sheets(path: Path, content: bytes, *, labels: int = 1000, of: int = 10) -> Path:
    numbers = [number % of for number in range(labels)]
    index = {"classes": ["a", "b", "c"] * 3 + ["d"], "sheets": {"train_00.webp": {"labels": numbers}}}
    return write_tar(path, {"cifar10/train_00.webp": content, "cifar10/index.json": json.dumps(index).encode()})


def photos(*names: str, width: int = 40, height: int = 30) -> dict[str, bytes]:
    return {
        name: encoded(draw_picture(number, width, height), "PNG" if name.endswith("png") else "JPEG")
        for number, name in enumerate(names)
    }


def everything(dataset: Dataset, size: int, **asked: object) -> Samples:
    parts = list(dataset.samples(Preprocessing(size), workers=1, **asked))
    assert all(0 < len(part.pixels) <= 1000 for part in parts)
    return Samples(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
        "+".join(dict.fromkeys(part.split for part in parts)),
        [name for part in parts for name in part.names],
    )


# --- By name ----------------------------------------------------------------------------------------------------------


def test_the_shared_sets_are_read_whole_with_their_labels_and_official_split(shared_data):
    expected = {"mnist": (70_000, 10, "train+test", 28), "lfw32": (13_233, 5749, "", 32), "corel1k": (1000, 10, "", 32)}
    for name, (count, classes, split, size) in expected.items():
        dataset = find_dataset(name, shared_data)
        images = everything(dataset, size)
        assert (len(images.pixels), len(dataset.classes), images.split) == (count, classes, split)
        assert dataset.count == count
        assert images.labels.max() == classes - 1
        assert len(set(images.names)) == count
        assert name in dataset.describe()


def test_cifar10_comes_balanced_from_its_sheets(shared_data):
    dataset = find_dataset("cifar10", shared_data)
    first = next(dataset.samples(Preprocessing(32), workers=1))
    assert (first.pixels.shape, first.split) == ((1000, 32, 32, 3), "train")
    assert np.bincount(first.labels).tolist() == [100] * 10
    assert dataset.classes[7] == "horse"


def test_a_set_that_is_not_there_says_which_file_where_and_which_command(tmp_path):
    with pytest.raises(NothingFoundError) as missing:
        find_dataset("cifar10", tmp_path)
    for word in ("lookalike datasets get cifar10", "cifar-10-binary.tar.gz", str(tmp_path), "https://"):
        assert word in missing.value.detail
    with pytest.raises(NothingFoundError, match=r"put corel1k\.tar into"):
        find_dataset("corel1k", tmp_path)


@pytest.mark.parametrize(("typed", "meant"), [("cifar-10", "cifar10"), ("MNIST", "mnist"), ("lwf", "lfw")])
def test_a_misspelt_name_is_answered_with_the_nearest(typed, meant, tmp_path):
    with pytest.raises(SettingsError, match=f"did you mean .*{meant}"):
        find_dataset(typed, tmp_path)
    with pytest.raises(SettingsError, match="there are cifar10, mnist"):
        find_dataset("zzzzzz", tmp_path)


def test_one_class_can_be_asked_for_and_a_misspelt_one_is_refused(tmp_path):
    write_cifar_binary(tmp_path / "cifar-10-binary.tar.gz")
    dataset = find_dataset("cifar10", tmp_path)
    birds = everything(dataset, 32, classes=["bird", "airplane"])
    assert set(birds.labels.tolist()) == {0, 2}
    assert len(birds.pixels) == 12
    assert set(birds.names) < set(everything(dataset, 32).names)  # a name does not depend on what was asked for
    with pytest.raises(SettingsError, match="no class 'hors': did you mean horse"):
        dataset.samples(Preprocessing(32), classes=["hors"])


def test_identity_tells_content_apart_and_not_its_place(tmp_path):
    def identity(folder: str, seed: int) -> str:
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "x.npz", x=noise(3, 8, 8, seed=seed))
        return find_dataset(str(tmp_path / folder / "x.npz"), tmp_path).identity

    assert identity("a", 1) == identity("b", 1) != identity("c", 2)


# --- The official archives --------------------------------------------------------------------------------------------


def test_both_official_archives_of_cifar10_give_the_same_images(tmp_path):
    write_cifar_binary(tmp_path / "cifar-10-binary.tar.gz")
    binary = everything(find_dataset("cifar10", tmp_path), 32)
    (tmp_path / "cifar-10-binary.tar.gz").unlink()
    write_cifar_python(tmp_path / "cifar-10-python.tar.gz")
    pickled = everything(find_dataset("cifar10", tmp_path), 32)
    assert np.array_equal(binary.pixels, pickled.pixels)
    assert np.array_equal(binary.labels, pickled.labels)
    assert (binary.split, len(binary.pixels)) == ("train+test", 42)
    plane = cifar_rows(7, 0)[3].reshape(3, 32, 32)
    assert np.array_equal(binary.pixels[3], np.moveaxis(plane, 0, 2))


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(U\x02lstR.",
        b"cbuiltins\neval\n(U\x011tR.",
        b"cnumpy\nfromfile\n(U\x01xtR.",
        pickle.dumps({"data": np.zeros((2, 3072), object)}, protocol=4),
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo of 2^31 entries
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",  # a byte string longer than any memory
        b"}.",
        b"",
        pickled_as_python_2(noise(2, 3072), [1, 2], b"O8"),
        pickled_as_python_2(noise(2, 3072), [1, 2, 3]),
        pickled_as_python_2(noise(2, 3072), [1, 77]),
        pickled_as_python_2(noise(2, 30), [1, 2]),
        pickled_as_python_2(noise(2, 3072), [1, 2])[:-400],
    ],
)
def test_a_pickle_that_is_more_or_less_than_images_is_refused(program, tmp_path):
    write_cifar_python(tmp_path / "cifar-10-python.tar.gz", data_batch_3=program)
    with pytest.raises(DamagedError, match=r"cifar-10-python\.tar\.gz is damaged"):
        everything(find_dataset("cifar10", tmp_path), 32)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "mnist"), ("mnist", "."), ("fashion-mnist", "fashion-mnist")])
def test_the_four_official_files_of_mnist_are_read(name, folder, tmp_path):
    write_idx(tmp_path / folder)
    dataset = find_dataset(name, tmp_path)
    images = everything(dataset, 28)
    assert (len(images.pixels), images.split, dataset.count) == (17, "train+test", 17)
    assert np.array_equal(images.pixels[2, ..., 1], noise(12, 28, 28)[2])
    assert dataset.classes[9] == ("9" if name == "mnist" else "Ankle boot")


def test_official_files_that_do_not_fit_together_are_refused(tmp_path):
    write_idx(tmp_path)
    labels = tmp_path / IDX_FILES[1]
    labels.write_bytes(idx(np.zeros(11, np.uint8)))
    with pytest.raises(DamagedError, match=r"12 images, but train-labels-idx1-ubyte\.gz 11 labels"):
        find_dataset("mnist", tmp_path)
    labels.write_bytes(idx(np.full(12, 10, np.uint8)))
    with pytest.raises(DamagedError, match="labels from 10 to 10"):
        everything(find_dataset("mnist", tmp_path), 28)
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(DamagedError):
        everything(find_dataset("mnist", tmp_path), 28)
    (tmp_path / IDX_FILES[0]).write_bytes(b"not gzip")
    with pytest.raises(DamagedError, match="train-images"):
        find_dataset("mnist", tmp_path)


def test_faces_of_the_official_archive_have_people_as_labels_and_can_be_cut_out(tmp_path):
    faces = photos("lfw/Ada_L/Ada_L_0001.png", "lfw/Alan_T/Alan_T_0001.png", width=250, height=250)
    write_tar(tmp_path / "lfw.tgz", faces)
    whole, cut = find_dataset("lfw", tmp_path), find_dataset("lfw32", tmp_path)
    assert whole.classes == cut.classes == ("Ada_L", "Alan_T")
    assert everything(whole, 250).pixels.shape == (2, 250, 250, 3)
    expected = draw_picture(0, 250, 250).crop((80, 80, 170, 170)).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(everything(cut, 32).pixels[0], np.asarray(expected))


# --- Sheets -----------------------------------------------------------------------------------------------------------


def test_a_sheet_is_cut_into_its_images_row_by_row(sheet_images, tmp_path):
    write_sheets(tmp_path / "cifar10_webp.tar", sheet(sheet_images))
    images = everything(find_dataset("cifar10", tmp_path), 32)
    assert np.array_equal(images.pixels, sheet_images)
    assert images.split == "train"


def test_sheets_that_do_not_fit_their_index_are_refused(sheet_images, tmp_path):
    path = tmp_path / "cifar10_webp.tar"
    write_sheets(path, encoded(Image.new("RGB", (1280, 801)), "WEBP"))
    with pytest.raises(DamagedError, match="1280 x 801 pixels instead of 1280 x 800"):
        everything(find_dataset("cifar10", tmp_path), 32)
    write_sheets(path, sheet(sheet_images)[:-2000])
    with pytest.raises(DamagedError, match=r"train_00\.webp"):
        everything(find_dataset("cifar10", tmp_path), 32)
    write_sheets(path, sheet(sheet_images), labels=1001)
    with pytest.raises(DamagedError, match="1001 labels"):
        find_dataset("cifar10", tmp_path)
    write_sheets(path, sheet(sheet_images), of=11)
    with pytest.raises(DamagedError, match="labels from 0 to 10, but there are 10 classes"):
        find_dataset("cifar10", tmp_path)


@pytest.mark.parametrize(
    "index",
    [b"", b"[]", b"{}", b"\xff", b'{"sheets": 3}', b'{"people": [], "labels": [0], "per_sheet": 0}', b"[" * 99999],
)
def test_an_index_without_sense_is_refused(index, tmp_path):
    write_tar(tmp_path / "lfw32_webp.tar", {"lfw32/index.json": index})
    with pytest.raises(DamagedError, match=r"index\.json"):
        find_dataset("lfw32", tmp_path)


def test_a_sheet_that_the_index_names_must_be_there(sheet_images, tmp_path):
    index = {"classes": ["a"], "sheets": {"train_00.webp": {"labels": [0]}, "train_01.webp": {"labels": [0]}}}
    files = {"cifar10/train_00.webp": sheet(sheet_images), "cifar10/index.json": json.dumps(index).encode()}
    write_tar(tmp_path / "cifar10_webp.tar", files)
    with pytest.raises(DamagedError, match=r"train_01\.webp is missing"):
        everything(find_dataset("cifar10", tmp_path), 32)


# --- FILE.npz ---------------------------------------------------------------------------------------------------------


def npz(folder: Path, **arrays: np.ndarray) -> Dataset:
    np.savez_compressed(folder / "own.npz", **arrays)
    return find_dataset("own.npz", folder)


def test_an_npz_file_of_ones_own_is_read_in_any_of_its_forms(tmp_path):
    grey, colour = noise(1500, 9, 6), noise(4, 6, 8, 3)
    dataset = npz(tmp_path, x_train=grey, y_train=np.arange(1500) % 3 + 5, x_test=colour[..., :1], y_test=np.full(4, 6))
    assert (dataset.classes, dataset.count, dataset.name) == (("5", "6", "7"), 1504, "own")
    images = everything(dataset, 6)
    assert images.labels[:4].tolist() == [0, 1, 2, 0]
    assert images.split == "train+test"
    assert np.array_equal(images.pixels[:1500, 1, 1, 2], fit_pixels(grey, 6)[:, 1, 1, 0])

    dataset = npz(tmp_path, images=colour, labels=np.array(["rose", "tulip", "rose", "daisy"]))
    assert dataset.classes == ("daisy", "rose", "tulip")
    assert everything(dataset, 6).labels.tolist() == [1, 2, 1, 0]

    dataset = npz(tmp_path, x=colour, y=np.array([[1], [0], [-1], [0]], np.int8), classes=np.array(["cat", "dog"]))
    assert dataset.classes == ("cat", "dog")
    assert everything(dataset, 6).labels.tolist() == [1, 0, -1, 0]

    dataset = npz(tmp_path, x=colour)
    assert dataset.classes == ()
    assert everything(dataset, 6).labels.tolist() == [-1] * 4
    with pytest.raises(SettingsError, match="has no labels"):
        dataset.samples(Preprocessing(6), classes=["cat"])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": noise(4, 6, 8) / 255}, "x is float64 of shape"),
        ({"x": noise(4, 6, 8, 4)}, "x is uint8 of shape"),
        ({"x": noise(4, 6)}, "x is uint8 of shape"),
        ({"x": np.array([None, {}], object)}, "x is object of shape"),
        ({"x": noise(2, 6, 8), "y": np.array([None, {}], object)}, "y is object of shape"),
        ({"x": noise(2, 6, 8), "y": np.array([0.0, 1.0])}, "y is float64"),
        ({"x": noise(2, 6, 8), "y": np.arange(3)}, "2 images, but y 3 labels"),
        ({"x": np.asfortranarray(noise(2, 6, 8))}, "np.ascontiguousarray"),
        ({"photos": noise(2, 6, 8)}, "holds photos. It needs x_train"),
        ({"x": noise(2, 6, 8), "y": np.array([0, 2]), "classes": np.array(["a", "b"])}, "a label is 2"),
        ({"x": noise(2, 6, 8), "y": np.array([0, 2**63], np.uint64)}, "the label 9223372036854775808"),
    ],
)
def test_arrays_that_are_no_images_are_refused_with_what_would_do(arrays, says, tmp_path):
    with pytest.raises(UserError) as refused:
        npz(tmp_path, **arrays)
    assert says in refused.value.detail
    assert "\n" not in refused.value.detail


def test_an_array_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path):
    header = io.BytesIO()
    for shape in ((10**12, 28, 28), (10**7, 4096, 4096, 3)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": "|u1"})

        with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
            archive.writestr("x.npy", header.getvalue() + b"123")
        with pytest.raises(DamagedError):
            everything(find_dataset("own.npz", tmp_path), 28)


# --- FILE.tar ---------------------------------------------------------------------------------------------------------


def test_label_folders_of_an_archive_are_read_without_unpacking_it(tmp_path):
    files = photos("./flowers/rose/1.jpg", "./flowers/rose/2.png", "./flowers/tulip/old/3.jpg", "./flowers/sheet.png")
    files |= {"./flowers/notes.txt": b"roses are red", "./flowers/rose/.hidden.jpg": b"x"}
    write_tar(tmp_path / "flowers.tar", files)
    dataset = find_dataset(str(tmp_path / "flowers.tar"), tmp_path)
    images = everything(dataset, 16)
    assert (dataset.name, dataset.classes, dataset.count) == ("flowers", ("rose", "tulip"), 4)
    assert images.labels.tolist() == [0, 0, 1, -1]
    with DecodePool(1, FOLDER_LIMITS) as pool:
        alone = pool.fit(files["./flowers/rose/2.png"], Preprocessing(16)).pixels
    assert np.array_equal(images.pixels[1], alone)
    assert everything(dataset, 16, classes=["tulip"]).names == ["flowers/tulip/old/3.jpg"]
    assert list(tmp_path.iterdir()) == [tmp_path / "flowers.tar"]


def test_folders_named_train_and_test_are_the_split(tmp_path):
    names = ("f/train/rose/1.jpg", "f/test/rose/2.jpg", "f/train/tulip/3.jpg", "f/test/tulip/4.jpg")
    write_tar(tmp_path / "f.tgz", photos(*names))
    dataset = find_dataset("f.tgz", tmp_path)
    parts = [(part.split, part.labels.tolist()) for part in dataset.samples(Preprocessing(8), workers=1)]
    assert dataset.classes == ("rose", "tulip")
    assert parts == [("train", [0]), ("test", [0]), ("train", [1]), ("test", [1])]


def test_links_odd_names_and_broken_pictures_are_left_out_and_said(tmp_path):
    def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return info

    files = photos("a/b/1.jpg", "a/c/2.jpg", "/etc/3.jpg", "a/../../4.jpg") | {"a/b/5.jpg": b"\xff\xd8\xff nothing"}
    links = (
        special("a/b/6.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("a/b/7.jpg", tarfile.LNKTYPE, "a/b/1.jpg"),
        special("a/b/8.jpg", tarfile.FIFOTYPE),
    )
    write_tar(tmp_path / "a.tar", files, *links)
    refused: dict[str, str] = {}
    dataset = find_dataset("a.tar", tmp_path)
    images = everything(dataset, 8, on_rejected=lambda name, error: refused.update({name: error.problem.code}))
    assert images.names == ["a/b/1.jpg", "a/c/2.jpg"]
    assert refused == {
        "/etc/3.jpg": "not_a_file",
        "a/../../4.jpg": "not_a_file",
        "a/b/5.jpg": "corrupt",
        "a/b/6.jpg": "not_a_file",
        "a/b/7.jpg": "not_a_file",
        "a/b/8.jpg": "not_a_file",
    }


def test_an_archive_that_breaks_off_anywhere_is_refused(tmp_path):
    whole = write_tar(tmp_path / "a.tar", photos("a/b/1.jpg", "a/c/2.jpg")).read_bytes()
    packed = gzip.compress(whole, 1)
    ends = [0, 1, 511, 512, 700, whole.index(b"a/c/2.jpg"), whole.index(b"a/c/2.jpg") + 600]
    for end in ends:
        (tmp_path / "a.tar").write_bytes(whole[:end])
        with pytest.raises(DamagedError, match=r"a\.tar is damaged"):
            find_dataset("a.tar", tmp_path)
    for end in (0, 1, 5, 40, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        (tmp_path / "a.tgz").write_bytes(packed[:end])
        with pytest.raises(DamagedError, match=r"a\.tgz is damaged"):
            find_dataset("a.tgz", tmp_path)


def test_an_archive_that_unpacks_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("train.datasets.archives.MIN_UNPACKED", 1 << 20)
    write_tar(tmp_path / "bomb.tgz", {"a/b/1.jpg": bytes(4 << 20)})
    with pytest.raises(DamagedError, match="unpacks to more than 1,048,576 bytes"):
        find_dataset("bomb.tgz", tmp_path)


# --- Damage at random -------------------------------------------------------------------------------------------------


def test_whatever_is_damaged_is_read_or_refused_in_one_line(tmp_path):
    write_idx(tmp_path / "mnist")
    write_cifar_binary(tmp_path / "cifar-10-binary.tar.gz", count=1)
    write_cifar_python(tmp_path / "python.tgz", count=1)
    np.savez(tmp_path / "own.npz", x_train=noise(5, 4, 4), y_train=np.arange(5), x=noise(2, 2, 2))
    np.savez_compressed(tmp_path / "packed.npz", x=noise(5, 4, 4), y=np.array(["a", "b", "c", "d", "e"]))
    places = {
        "mnist": tmp_path / "mnist" / IDX_FILES[0],
        "cifar10": tmp_path / "cifar-10-binary.tar.gz",
        "own.npz": tmp_path / "own.npz",
        "packed.npz": tmp_path / "packed.npz",
    }
    random = np.random.default_rng(3)
    outcomes = set()
    for name, place in places.items():
        whole = place.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(random.integers(1, 5)):
                damaged[random.integers(len(damaged))] = random.integers(256)
            place.write_bytes(damaged[: random.integers(len(damaged))] if random.random() < 0.3 else damaged)
            try:
                everything(find_dataset(name, tmp_path), 4)
                outcomes.add("read")
            except UserError as error:
                assert "\n" not in error.detail
                outcomes.add("refused")
        place.write_bytes(whole)
    assert outcomes == {"read", "refused"}


def test_pickles_damaged_at_random_are_read_or_refused(tmp_path):
    from train.datasets.pickles import read_pickled_batch

    whole = pickled_as_python_2(noise(1, 24), [4])
    random = np.random.default_rng(4)
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(len(damaged))] = random.integers(256)
        try:
            read_pickled_batch(bytes(damaged))
        except ValueError:
            continue


# --- Fitting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height", "size"), [(40, 30, 16), (30, 41, 64), (32, 32, 32), (300, 200, 16)])
def test_arrays_are_fitted_as_files_are(width, height, size):
    picture = draw_picture(1, width, height)
    with DecodePool(1, FOLDER_LIMITS) as pool:
        expected = pool.fit(encoded(picture), Preprocessing(size)).pixels
    assert np.array_equal(fit_pixels(np.asarray(picture)[None], size)[0], expected)
