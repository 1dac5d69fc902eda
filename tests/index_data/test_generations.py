import json
import shutil

import numpy as np
import pytest

from index_data.gallery import Gallery
from index_data.generations import (
    build_generation,
    current,
    current_name,
    load_generation,
    read_manifest,
    stored_names,
)
from index_data.verification import verify
from tests.index_data.conftest import items_of
from train.errors import DamagedError, IncompatibleError, UserError


@pytest.fixture
def two_generations(copied):
    """A gallery with the generations 000001 and 000002, the second current."""
    with Gallery.open(copied) as gallery:
        build_generation(gallery)
        yield gallery


def test_a_generation_reads_back_as_it_was_built(copied):
    with Gallery.open(copied) as gallery:
        built = build_generation(gallery)
        loaded = load_generation(gallery, built.name)
        ids = [item.id for item in items_of(gallery)]
        assert loaded.ids.tolist() == built.ids.tolist() == ids
        assert np.array_equal(loaded.index.reconstruct_n(0, len(ids)), gallery.embeddings(ids))
        assert loaded.seq == gallery.seq
        manifest = read_manifest(gallery, built.name)
        assert (manifest.count, manifest.recall, manifest.kind) == (48, 1.0, "flat")
        assert (manifest.model_id, manifest.dims) == (gallery.model_id, gallery.dims)


def test_an_empty_gallery_has_an_empty_generation(gallery):
    built = build_generation(gallery)
    generation, degraded = current(gallery)
    assert (generation.name, generation.count, degraded) == (built.name, 0, None)


def test_two_generations_are_kept_and_no_name_is_used_twice(two_generations):
    assert stored_names(two_generations) == ["000002", "000001"]
    build_generation(two_generations)
    assert stored_names(two_generations) == ["000003", "000002"]
    shutil.rmtree(two_generations.folder / "indexes" / "000003")
    (two_generations.folder / "indexes" / "000009").mkdir()
    assert build_generation(two_generations).name == "000010"


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "flipped": lambda path: path.write_bytes(flipped(path.read_bytes(), len(path.read_bytes()) // 2)),
    "zeroed": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "swapped": lambda path: swap(path, path.parents[1] / "000001" / path.name),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def swap(path, other):
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


@pytest.fixture
def grown(copied, bundle, drawn_folder, tmp_path):
    """A gallery whose two generations differ: the second has three items more."""
    from index_data.adding import add_folder

    more = tmp_path / "more"
    more.mkdir()
    for number, file in enumerate(sorted(drawn_folder.rglob("*.png"))[:3]):
        (more / f"{number}.png").write_bytes(file.read_bytes())
    with Gallery.open(copied) as gallery:
        add_folder(gallery, bundle, more, provider="cpu", workers=1)
        yield gallery


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["vectors.npy", "ids.npy", "calibration.npz", "index.json", "manifest.json"])
def test_a_damaged_generation_gives_way_to_the_one_before(grown, name, damage):
    DAMAGES[damage](grown.folder / "indexes" / "000002" / name)
    generation, degraded = current(grown)
    # Where two files changed places, neither generation is what was written.
    assert (generation.name, generation.count) == (("", 51) if damage == "swapped" else ("000001", 48))
    assert "000002" in degraded
    assert "verify --repair" in degraded
    assert any(finding.harmful for finding in verify(grown))
    assert all(finding.mended for finding in verify(grown, repair=True) if finding.harmful)
    assert verify(grown) == []
    generation, degraded = current(grown)
    assert (generation.count, degraded) == (51, None)


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"swapped"}))
def test_a_damaged_pointer_gives_way_to_the_newest_generation(two_generations, damage):
    DAMAGES[damage](two_generations.folder / "current")
    generation, degraded = current(two_generations)
    assert generation.count == 48
    assert damage == "deleted" or degraded is not None
    verify(two_generations, repair=True)
    assert current(two_generations)[1] is None


def test_random_damage_to_an_index_never_loads(copied):
    random = np.random.default_rng(0)
    path = copied / "indexes" / "000001" / "vectors.npy"
    whole = path.read_bytes()
    with Gallery.open(copied) as gallery:
        for _ in range(300):
            path.write_bytes(flipped(whole, int(random.integers(len(whole)))))
            with pytest.raises(DamagedError, match=r"vectors\.npy"):
                load_generation(gallery, "000001")


def test_without_any_generation_one_is_made_in_memory(copied):
    shutil.rmtree(copied / "indexes")
    (copied / "current").unlink()
    with Gallery.open(copied) as gallery:
        generation, degraded = current(gallery)
        assert (generation.name, generation.count, degraded) == ("", 48, None)
        assert not (copied / "indexes").exists()


def test_a_generation_of_another_model_is_refused(copied):
    path = copied / "indexes" / "000001" / "manifest.json"
    (copied / "current").unlink()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_id": "another"}))
    with Gallery.open(copied) as gallery:
        with pytest.raises(IncompatibleError, match="another"):
            load_generation(gallery, "000001")
        assert current(gallery)[0].name == ""


def test_a_newer_format_is_refused(copied):
    path = copied / "indexes" / "000001" / "manifest.json"
    (copied / "current").unlink()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with Gallery.open(copied) as gallery, pytest.raises(IncompatibleError, match="format 99"):
        load_generation(gallery, "000001")


def test_rubbish_in_the_folder_never_stops_a_start(copied):
    for name in (".000002.99999999.tmp", "lost+found", ".DS_Store", "000001.bak"):
        (copied / "indexes" / name).mkdir()
        (copied / name).mkdir()
    (copied / "LOCK.holder").write_text("process 99999999 (index add)")
    (copied / "thumbs" / "note.txt").write_text("hello")
    with Gallery.open(copied) as gallery:
        generation, degraded = current(gallery)
        assert (generation.name, degraded) == ("000001", None)
        build_generation(gallery)
        assert current_name(gallery) == "000002"
        assert not (copied / "indexes" / ".000002.99999999.tmp").exists()


def test_a_stored_vector_that_is_damaged_is_never_published(copied):
    import sqlite3

    with sqlite3.connect(copied / "gallery.db") as database:
        database.execute("UPDATE contents SET latent = embedding WHERE id = 5")
    with Gallery.open(copied) as gallery:
        with pytest.raises(UserError, match="verify --repair"):
            build_generation(gallery)
        assert current_name(gallery) == "000001"
        findings = verify(gallery)
        assert [(finding.what, finding.harmful) for finding in findings] == [("vectors", True)]
        verify(gallery, repair=True)
        assert verify(gallery) == []
        assert gallery.count == 47
        assert build_generation(gallery).count == 47


def test_missing_and_short_thumbnails_are_made_again(copied):
    with Gallery.open(copied) as gallery:
        paths = [gallery.thumbnail_path(item.sha256) for item in items_of(gallery)]
        whole = [path.read_bytes() for path in paths[:2]]
        paths[0].unlink()
        paths[1].write_bytes(whole[1][:20])
        (paths[2].parent / f"{'0' * 64}.webp").write_bytes(b"of nobody")
        findings = verify(gallery)
        assert {finding.what for finding in findings} == {"thumbnails"}
        assert not any(finding.harmful for finding in findings)
        assert all(finding.mended for finding in verify(gallery, repair=True))
        assert verify(gallery) == []
        assert [path.read_bytes() for path in paths[:2]] == whole
