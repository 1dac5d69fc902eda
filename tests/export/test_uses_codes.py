"""Pictures as codes, and back: what is stored, what is lost, and files that somebody else may have made."""

import importlib
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from export.sessions import Encoder
from export.uses.codes import CodeFile, Quantisation
from export.uses.pictures import Model, pictures_of, psnr
from tests.conftest import AVERAGED_SIZE, draw_picture
from tests.export.uses_models import per_pixel_bundle, retold, use
from train.decoding import DecodePool
from train.errors import DamagedError, IncompatibleError, UserError
from train.images import FOLDER_LIMITS

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow, of lookalike[parquet], is not installed"
)
KINDS = ("npz", pytest.param("parquet", marks=needs_pyarrow))


def fitted(bundle, folder):
    """Names and pixels of a folder as the model takes them."""
    with DecodePool(1, FOLDER_LIMITS) as pool:
        return {
            picture.name: pool.fit(picture.read(), bundle.preprocessing).pixels for picture in pictures_of([folder])
        }


@pytest.fixture(scope="module")
def pixels(bundle, drawn_folder):
    return fitted(bundle, drawn_folder)


@pytest.fixture(scope="module")
def stored(bundle, drawn_folder, tmp_path_factory):
    """The drawn pictures as codes."""
    file = tmp_path_factory.mktemp("codes") / "codes.npz"
    ended = use("codes", drawn_folder, "-o", file, "--model", bundle.folder)
    assert ended.returncode == 0, ended.stderr
    return file


# --- There and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2), ("uint8", 1)])
def test_pictures_come_back_as_the_decoder_paints_them_and_the_loss_is_what_was_printed(
    bundle, drawn_folder, pixels, tmp_path, dtype, size, suffix
):
    file = tmp_path / f"codes.{suffix}"
    ended = use("codes", drawn_folder, "-o", file, "--dtype", dtype, "--model", bundle.folder, "--json")
    assert ended.returncode == 0, ended.stderr
    record = ended.record
    assert record["code_bytes"] == 48 * bundle.latent_dims * size
    assert record["pixel_bytes"] == 48 * AVERAGED_SIZE**2 * 3
    assert record["source_bytes"] == sum(path.stat().st_size for path in drawn_folder.rglob("*.*"))
    assert record["ratio_to_pixels"] == pytest.approx(16 / size)
    assert record["file_bytes"] == file.stat().st_size
    assert record["measured"] == 48

    back = use("decode", file, "-o", tmp_path / "back", "--model", bundle.folder, "--json")
    assert back.returncode == 0, back.stderr
    assert back.record["pictures"] == 48
    errors = []
    for name, original in pixels.items():
        with Image.open(tmp_path / "back" / Path(name).with_suffix(".png")) as image:
            painted = np.asarray(image)
        errors.append((((painted.astype(float) - original) / 255) ** 2).mean())
    assert np.mean(errors) == pytest.approx(record["mse"], rel=1e-5)
    assert record["psnr"] == pytest.approx(psnr(record["mse"]))


def test_what_is_stored_is_what_the_encoder_gave_and_numpy_reads_it(bundle, stored, pixels):
    latents = Encoder.open(bundle, provider="cpu").encode(np.stack(list(pixels.values()))).latents
    with np.load(stored, allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == list(pixels)
        assert np.abs(arrays["codes"] - latents).max() < 1e-6
        facts = json.loads(str(arrays["facts"]))
    assert (facts["model_id"], facts["count"], facts["dims"]) == (bundle.model_id, 48, bundle.latent_dims)


def test_the_same_codes_are_the_same_bytes(bundle, drawn_folder, stored, tmp_path):
    assert use("codes", drawn_folder, "-o", tmp_path / "a.npz", "--model", bundle.folder).returncode == 0
    assert (tmp_path / "a.npz").read_bytes() == stored.read_bytes()


def test_the_text_says_how_much_is_saved_and_what_is_lost(bundle, drawn_folder, tmp_path):
    ended = use("codes", drawn_folder, "-o", tmp_path / "a.npz", "--dtype", "uint8", "--model", bundle.folder)
    assert "48 pictures as 192 numbers of uint8 each: 9,216 bytes of codes" in ended.stdout
    assert "16.0 times smaller than their pixels at 32 x 32 (147,456 bytes)" in ended.stdout
    assert "a mean squared error of" in ended.stdout


def test_the_loss_of_many_pictures_is_measured_on_some_and_it_is_said(bundle, drawn_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("export.uses.codes.MEASURED_BYTES", 1)
    monkeypatch.setattr("export.uses.pictures.MOST_IN_A_BATCH", 10)
    ended = use("codes", drawn_folder, "-o", tmp_path / "a.npz", "--dtype", "uint8", "--model", bundle.folder)
    assert "(measured on 10 of them)" in ended.stdout


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_quantised_code_is_at_most_half_a_step_away(count, dims, seed):
    random = np.random.default_rng(seed)
    latents = (random.standard_normal((count, dims)) * 10.0 ** random.integers(-3, 4, dims)).astype(np.float32)
    quantisation = Quantisation(latents.min(0), latents.max(0))
    back = quantisation.restore(quantisation.quantise(latents))
    step = (latents.max(0).astype(float) - latents.min(0)) / 255
    assert (np.abs(back - latents) <= step / 2 + 1e-5 * np.abs(latents) + 1e-12).all()


def test_codes_that_float16_cannot_hold_are_refused(bundle, drawn_folder, tmp_path):
    from tests.export import uses_models

    large = uses_models.per_pixel_bundle(tmp_path / "large", scale=1e6)
    ended = use("codes", drawn_folder, "-o", tmp_path / "a.npz", "--dtype", "float16", "--model", large.folder)
    assert (ended.returncode, "use --dtype float32" in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "a.npz").exists()
    assert not list(tmp_path.glob(".*"))


def test_the_model_that_made_the_codes_is_found_among_several(bundle, stored, tmp_path):
    per_pixel_bundle(tmp_path / "home" / "models" / "another")
    retold(bundle, tmp_path / "home" / "models" / "mine")
    ended = use("decode", stored, "-o", tmp_path / "back", "--home", tmp_path / "home")
    assert ended.returncode == 0, ended.stderr


def test_pictures_are_not_written_over_without_force(bundle, stored, tmp_path):
    words = ("decode", stored, "-o", tmp_path, "--model", bundle.folder)
    assert use(*words).returncode == 0
    again = use(*words)
    assert (again.returncode, "47 more are there already" in again.stderr) == (2, True), again.stderr
    assert use(*words, "--force").returncode == 0


def test_without_pyarrow_the_remedy_is_said(bundle, drawn_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    ended = use("codes", drawn_folder, "-o", tmp_path / "a.parquet", "--model", bundle.folder)
    assert (ended.returncode, "pip install 'lookalike[parquet]'" in ended.stderr) == (2, True)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    ended = use("decode", tmp_path / "a.parquet", "-o", tmp_path / "out", "--model", bundle.folder)
    assert (ended.returncode, "lookalike[parquet]" in ended.stderr) == (2, True)


# --- Bad input ----------------------------------------------------------------------------------------------------


def remade(stored, target, **changes):
    """A copy of a file of codes with other arrays in it; None takes one out."""
    with np.load(stored, allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files} | changes
    np.savez(target, **{name: array for name, array in content.items() if array is not None})
    return target


def test_codes_of_another_model_are_refused_by_name(stored, tmp_path):
    another = per_pixel_bundle(tmp_path / "another")
    ended = use("decode", stored, "-o", tmp_path / "back", "--model", another.folder)
    assert ended.returncode == 7
    assert "was made by the model averaging" in ended.stderr
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/a.png", "a/../../b.png", "a//b.png", "./a.png", "", "a\n.png", "a\x00b", "x" * 250, ".."]
)
def test_no_name_leads_out_of_the_folder(bundle, stored, tmp_path, name):
    with np.load(stored) as arrays:
        names = arrays["names"].tolist()
    file = remade(stored, tmp_path / "evil.npz", names=np.array([*names[:-1], name]))
    ended = use("decode", file, "-o", tmp_path / "inner" / "back", "--model", bundle.folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (8, 1), ended.stderr
    assert "nothing was written" in ended.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["evil.npz"]


def test_no_link_leads_out_of_the_folder(bundle, stored, tmp_path):
    (tmp_path / "back").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "back" / "round").symlink_to(tmp_path / "elsewhere")
    ended = use("decode", stored, "-o", tmp_path / "back", "--model", bundle.folder)
    assert (ended.returncode, "through a link" in ended.stderr) == (8, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_name_that_is_a_folder_too_is_one_line(bundle, stored, tmp_path):
    with np.load(stored) as arrays:
        names = ["a.png", "a.png/b.png", *arrays["names"].tolist()[2:]]
    file = remade(stored, tmp_path / "odd.npz", names=np.array(names))
    ended = use("decode", file, "-o", tmp_path / "back", "--model", bundle.folder)
    assert (ended.returncode, "choose another folder" in ended.stderr) == (6, True), ended.stderr


def test_codes_that_are_not_finite_are_refused(bundle, stored, tmp_path):
    with np.load(stored) as arrays:
        codes = arrays["codes"].copy()
    codes[0, 3] = np.nan
    ended = use(
        "decode", remade(stored, tmp_path / "nan.npz", codes=codes), "-o", tmp_path / "b", "--model", bundle.folder
    )
    assert (ended.returncode, "not finite" in ended.stderr) == (8, True), ended.stderr


def facts_with(stored, **changes):
    with np.load(stored) as arrays:
        return np.array(json.dumps(json.loads(str(arrays["facts"])) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": None},
        {"names": None},
        {"facts": None},
        {"codes": np.zeros((48, 7), np.float32)},
        {"codes": np.zeros((2, 192), np.float32)},
        {"codes": np.zeros((48, 192), np.float64)},
        {"codes": np.zeros((192, 48), np.float32).T},
        {"names": np.zeros(48, np.int64)},
        {"names": np.array(["a"])},
        {"facts": np.array("[]")},
        {"facts": np.array("[" * 100_000)},
        {"facts": np.array("{")},
        {"facts": np.array(3)},
    ],
)
def test_a_file_that_makes_no_sense_is_damaged(stored, tmp_path, changes):
    with pytest.raises(DamagedError, match="make it again"):
        CodeFile.open(remade(stored, tmp_path / "odd.npz", **changes))


@pytest.mark.parametrize(
    "facts", [{"count": -1}, {"count": 10**30}, {"dims": "x"}, {"dtype": "object"}, {"dtype": "uint8"}, {"model_id": 3}]
)
def test_facts_that_make_no_sense_are_damaged(stored, tmp_path, facts):
    with pytest.raises(DamagedError):
        CodeFile.open(remade(stored, tmp_path / "odd.npz", facts=facts_with(stored, **facts)))


def test_a_newer_format_is_refused_with_the_advice_to_update(stored, tmp_path):
    with pytest.raises(IncompatibleError, match="update Lookalike"):
        CodeFile.open(remade(stored, tmp_path / "new.npz", facts=facts_with(stored, format=2)))


def test_nothing_is_unpickled(stored, tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (ran,)

    names = np.array([Evil()] * 48, object)
    with pytest.raises(DamagedError):
        CodeFile.open(remade(stored, tmp_path / "evil.npz", names=names))
    assert not ran.exists()


def test_an_array_that_claims_to_be_huge_takes_no_memory(stored, tmp_path):
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        header = b"{'descr': '<U900', 'fortran_order': False, 'shape': (4000000000,), }"
        header = header.ljust(117) + b"\n"
        for name in ("names", "codes", "facts"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DamagedError):
        CodeFile.open(tmp_path / "huge.npz")


def test_cut_and_flipped_files_are_refused_or_read_but_never_a_bug(bundle, stored, tmp_path):
    whole = stored.read_bytes()
    random = np.random.default_rng(0)
    file = tmp_path / "odd.npz"
    model = Model.open(bundle, provider="cpu", encoder=False)
    refused = 0
    for number in range(300):
        content = bytearray(whole)
        if number % 3 == 0:
            del content[int(random.integers(len(content))) :]
        else:
            # The directory at the end and the headers at the start are where flips hurt.
            where = random.integers(0, 2000, 4) if number % 3 == 1 else -random.integers(1, 500, 4)
            for place in where:
                content[place] ^= 1 << int(random.integers(8))
        file.write_bytes(content)
        try:
            for _, latents in CodeFile.open(file).batches(16):
                assert latents.shape[1] == model.bundle.latent_dims
        except UserError:
            refused += 1
    assert refused > 200


def test_other_files_are_refused_in_one_line(bundle, tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    for name, code in (("text.npz", 8), ("gone.npz", 4), ("codes.txt", 2)):
        ended = use("decode", tmp_path / name, "-o", tmp_path / "back", "--model", bundle.folder)
        assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended.stderr


def test_a_folder_without_usable_pictures_leaves_no_file(bundle, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = use("codes", tmp_path / "in", "-o", tmp_path / "a.npz", "--model", bundle.folder)
    assert (ended.returncode, "no picture could be used" in ended.stderr) == (4, True)
    draw_picture(1).save(tmp_path / "single.png")
    ended = use("codes", tmp_path / "single.png", "-o", tmp_path / "a.npz", "--model", bundle.folder)
    assert (ended.returncode, "is a file" in ended.stderr) == (2, True)
    assert not (tmp_path / "a.npz").exists()


@needs_pyarrow
def test_a_parquet_file_is_checked_like_any_other(bundle, drawn_folder, tmp_path):
    import pyarrow
    import pyarrow.parquet

    file = tmp_path / "codes.parquet"
    assert use("codes", drawn_folder, "-o", file, "--model", bundle.folder).returncode == 0
    table = pyarrow.parquet.read_table(file)
    assert table.column_names == ["name", "code"]
    evil = table.set_column(0, "name", pyarrow.array(["../../a"] * 48))
    pyarrow.parquet.write_table(evil.replace_schema_metadata(table.schema.metadata), tmp_path / "evil.parquet")
    with pytest.raises(DamagedError, match="nothing was written"):
        CodeFile.open(tmp_path / "evil.parquet")
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), tmp_path / "bare.parquet")
    with pytest.raises(DamagedError):
        CodeFile.open(tmp_path / "bare.parquet")
    (tmp_path / "cut.parquet").write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DamagedError):
        CodeFile.open(tmp_path / "cut.parquet")
