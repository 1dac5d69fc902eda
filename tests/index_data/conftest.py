"""Galleries of drawn pictures, and models that are not as they should be."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.bundle import Bundle, write_bundle
from index_data.adding import AddSummary, add_folder
from index_data.gallery import Gallery


def bundle_around(bundle: Bundle, folder: Path, grey: float) -> Bundle:
    """The model that averages colours, around another grey: another model, whose embeddings live elsewhere."""
    model = onnx.load_from_string(bundle.graph("encoder"))
    (constant,) = (each for each in model.graph.initializer if each.name == "grey")
    constant.CopyFrom(numpy_helper.from_array(np.asarray(np.float32(grey)), "grey"))
    graphs = {("encoder", "fp32"): model.SerializeToString()}
    return write_bundle(folder, graphs, replace(bundle.facts, source=f"around {grey}"), None)


@pytest.fixture(scope="session")
def other_bundle(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_around(bundle, tmp_path_factory.mktemp("models") / "other", 0.25)


@pytest.fixture(scope="session")
def broken_bundle(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_around(bundle, tmp_path_factory.mktemp("models") / "broken", float("nan"))


@pytest.fixture
def pictures(drawn_folder: Path, tmp_path: Path) -> Path:
    """The 48 drawn pictures, to be changed."""
    return shutil.copytree(drawn_folder, tmp_path / "pictures")


@pytest.fixture
def gallery(bundle: Bundle, tmp_path: Path) -> Iterator[Gallery]:
    """An empty gallery."""
    with Gallery.create(tmp_path / "gallery", bundle) as gallery:
        yield gallery


@pytest.fixture
def add(gallery: Gallery, bundle: Bundle) -> Callable[..., AddSummary]:
    """Add a folder to the gallery."""

    def add(folder: Path, **settings: object) -> AddSummary:
        return add_folder(gallery, bundle, folder, **{"provider": "cpu", "workers": 1, "batch": 16, **settings})

    return add


@pytest.fixture(scope="session")
def filled(bundle: Bundle, drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gallery of the 48 drawn pictures. Read only: copy it to change it."""
    folder = tmp_path_factory.mktemp("galleries") / "drawn"
    with Gallery.create(folder, bundle) as gallery:
        add_folder(gallery, bundle, drawn_folder, provider="cpu", workers=1, batch=16)
    return folder


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Path:
    """A copy of the gallery of the 48 drawn pictures, to be changed."""
    return shutil.copytree(filled, tmp_path / "drawn")


@pytest.fixture
def permissions_count(tmp_path: Path) -> None:
    """Skip where this user may read and write everything, as root mostly may."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("this user may read and write everything")


def as_older_format(gallery: Gallery, name: str, version: int) -> None:
    """Make of a generation what an older version of Lookalike would have written."""
    folder = gallery.folder / "indexes" / name
    index = faiss.IndexFlatIP(gallery.dims)
    index.add(np.load(folder / "vectors.npy").astype(np.float32))
    faiss.write_index(index, str(folder / "index.faiss"))
    names = ["index.faiss", "ids.npy", *(["calibration.npz"] if version > 1 else [])]
    files = {
        each: {
            "size": (folder / each).stat().st_size,
            "sha256": hashlib.sha256((folder / each).read_bytes()).hexdigest(),
        }
        for each in names
    }
    manifest = json.loads((folder / "manifest.json").read_text()) | {"version": version, "files": files}
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (gallery.folder / "current").unlink()


def items_of(gallery: Gallery) -> list:
    return gallery.items(limit=100_000)
