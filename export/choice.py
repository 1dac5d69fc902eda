"""Which model a command works with."""

from export.bundle import Bundle
from train.errors import SettingsError
from train.workspace import STARTER, Workspace


def choose_model(workspace: Workspace, model: str | None) -> Bundle:
    """Open the model that was asked for, else the only one of the workspace, else the one that comes with the package.

    Args:
        workspace: Where names are looked up.
        model: A name or a folder.

    Raises:
        NothingFoundError: There is no such model.
        SettingsError: There are several, and none was asked for.
    """
    if model is not None:
        return Bundle.open(workspace.existing("models", model))
    names = workspace.names("models")
    if len(names) == 1:
        return Bundle.open(workspace.existing("models", names[0]))
    if names:
        raise SettingsError(f"there are the models {', '.join(names)}: say which one with --model.")
    return Bundle.open(workspace.existing("models", STARTER))
