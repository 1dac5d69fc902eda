"""Names are looked up in the workspace, paths are taken as they are."""

from pathlib import Path

import pytest

from train.errors import NothingFoundError, SettingsError
from train.workspace import Workspace, name_for


def test_a_name_means_the_workspace_and_a_path_means_itself(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.place("galleries", "photos") == tmp_path / "galleries" / "photos"
    assert workspace.place("galleries", "./photos") == Path("photos")
    assert workspace.place("models", "/models/one") == Path("/models/one")


def test_a_missing_gallery_names_the_nearest_one(tmp_path):
    for name in ("holidays", "herbarium"):
        (tmp_path / "galleries" / name).mkdir(parents=True)
    with pytest.raises(NothingFoundError, match="Did you mean holidays") as error:
        Workspace(tmp_path).existing("galleries", "holiday")
    assert error.value.problem.code == "no_such_gallery"
    with pytest.raises(NothingFoundError, match="There are: herbarium, holidays"):
        Workspace(tmp_path).existing("galleries", "xyz")


def test_a_settings_file_that_is_no_toml_is_refused_with_its_place(tmp_path):
    (tmp_path / "lookalike.toml").write_text("[train\nepochs = 3")
    with pytest.raises(SettingsError, match=r"lookalike\.toml cannot be read.*line 1"):
        Workspace(tmp_path).settings()


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Holiday Photos", "holiday-photos"), ("…", "pictures"), ("a\nb", "a-b"), ("ünter", "nter"), ("x_1-2", "x_1-2")],
)
def test_a_gallery_is_named_after_its_folder_in_safe_characters(tmp_path, folder, name):
    assert name_for(tmp_path / folder) == name
