"""The model that comes with the package."""

import numpy as np
import pytest

from export.bundle import Bundle, probe_pixels
from export.choice import choose_model
from export.sessions import Decoder, Encoder
from train.errors import DiskError
from train.warm_start import WarmStart
from train.workspace import SHIPPED, STARTER, Workspace

MEGABYTES = 12


def test_it_is_small_and_says_where_it_comes_from():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= MEGABYTES * 1_000_000
    bundle = Bundle.open(SHIPPED)
    assert "CC BY 4.0" in bundle.facts.licence
    assert "CC BY 4.0" in (SHIPPED / "MODEL_CARD.md").read_text()
    assert bundle.preprocessing.size == 64
    assert bundle.semantic_dims > 0


def test_it_computes_here_what_it_computed_where_it_was_made_and_paints():
    bundle = Bundle.open(SHIPPED)
    codes = Encoder.open(bundle, provider="cpu").encode(probe_pixels(64))
    assert (codes.embeddings * bundle.probes).sum(axis=1).min() > 0.999
    painted = Decoder.open(bundle, provider="cpu").decode(codes.latents)
    grey = np.full_like(painted, 128)
    error, worst = (float(((x.astype(float) - probe_pixels(64)) ** 2).mean()) for x in (painted, grey))
    assert error < worst


def test_a_workspace_without_a_model_takes_a_copy_of_it(tmp_path):
    workspace = Workspace(tmp_path / "lookalike")
    bundle = choose_model(workspace, None)
    assert bundle.folder == tmp_path / "lookalike" / "models" / STARTER
    assert bundle.model_id == Bundle.open(SHIPPED).model_id
    assert choose_model(workspace, STARTER).folder == bundle.folder
    assert workspace.names("models") == [STARTER]


def test_a_copy_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fails)
    with pytest.raises(DiskError, match="disk is full"):
        Workspace(tmp_path).take_starter()
    assert Workspace(tmp_path).names("models") == []


def test_a_trunk_can_start_from_it(tmp_path):
    start = WarmStart.find(Workspace(tmp_path), STARTER)
    assert start.trunk().features == start.shape["trunk_widths"][-1]
