"""Which model a command works with."""

from export.bundle import Bundle
from train.errors import NothingFoundError, SettingsError
from train.workspace import Workspace


def choose_model(workspace: Workspace, model: str | None) -> Bundle:
    """Open the model that was asked for, else the only one of the workspace.

    Args:
        workspace: Where names are looked up.
        model: A name or a folder.

    Raises:
        NothingFoundError: There is no such model, or none at all.
        SettingsError: There are several, and none was asked for.
    """
    if model is not None:
        return Bundle.open(workspace.existing("models", model))
    names = workspace.names("models")
    if len(names) == 1:
        return Bundle.open(workspace.existing("models", names[0]))
    if names:
        raise SettingsError(f"there are the models {', '.join(names)}: say which one with --model.")
    raise NothingFoundError(
        f"there is no model in {workspace.home}: train and export one first, or name its folder with --model. "
        "`lookalike up FOLDER` does all of it."
    )
