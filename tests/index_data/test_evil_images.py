"""All of the hostile corpus in one gallery: every file is indexed or listed, and the run comes to its end."""

import gzip
import json
import shutil

from export.bundle import Bundle
from index_data.adding import AddSummary, add_folder
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.verification import verify
from train.images import find_files


def test_every_hostile_file_is_indexed_or_listed(evil_images, bundle: Bundle, tmp_path):
    folder = shutil.copytree(evil_images, tmp_path / "evil")
    manifest = json.loads((folder / "manifest.json").read_text())
    for packed in folder.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    files = {found.path for found in find_files(folder)}
    assert len(files) >= len(manifest["files"])
    with Gallery.create(tmp_path / "gallery", bundle) as gallery:
        summary = add_folder(gallery, bundle, folder, provider="cpu", workers=2)
        items = {item.path for item in gallery.items(limit=10_000)}
        failures = {failure.path for failure in gallery.failures(limit=10_000, other=True)}
        assert items | failures == files
        assert not items & failures
        assert_counted(summary, files)
        assert verify(gallery) == []
        again = add_folder(gallery, bundle, folder, provider="cpu", workers=2)
        assert (again.embedded, again.rejected, again.other) == (0, summary.rejected, summary.other)
        with Engine.open(gallery.folder, provider="cpu") as engine:
            assert engine.count == len(items) > 500
            hits = engine.search(gallery.embeddings(engine.ids.tolist()), k=1)
            assert min(found[0].score for found in hits) > 0.999


def assert_counted(summary: AddSummary, files: set[bytes]) -> None:
    assert summary.seen == len(files)
    assert summary.usable + summary.rejected_count + summary.other == len(files)
    assert summary.rejected.keys() <= {
        "corrupt", "unsupported_format", "too_many_pixels", "too_complex", "empty", "bad_embedding",
        "decode_timeout", "decode_crashed", "body_too_large",
    }  # fmt: skip
