"""The recipes that come with Lookalike, as files. Free of PyTorch: listing them is quick."""

import difflib
import tomllib
from pathlib import Path

from train.errors import NothingFoundError, SettingsError

DEFAULT_RECIPE = "similarity"
DEFAULT_EPOCHS = 40
_FOLDER = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Names of all recipes, the default first."""
    names = sorted(file.stem for file in _FOLDER.glob("*.toml"))
    return sorted(names, key=lambda name: name != DEFAULT_RECIPE)


def recipe_titles() -> list[tuple[str, str, str]]:
    """Name, title and published number of every recipe."""
    found = []
    for name in recipe_names():
        about = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")).get("about", {})
        found.append((name, about.get("title", ""), about.get("published", "")))
    return found


def preset_names(name: str) -> list[str]:
    """Names of a recipe's own sets of changes, each for a kind of machine.

    Raises:
        SettingsError: There is no such recipe, or it is no TOML file.
    """
    file = recipe_file(name)
    try:
        return list(tomllib.loads(file.read_text(encoding="utf-8")).get("preset", {}))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file.name} is no TOML file ({error}): mend it.") from error


def recipe_file(name: str) -> Path:
    """The file of a recipe: one of ours by its name, or a TOML file of the user's own by its path.

    Raises:
        SettingsError: There is no recipe of that name; the nearest ones are named.
        NothingFoundError: The file is not there.
    """
    if name.endswith(".toml") or "/" in name:
        file = Path(name)
        if not file.is_file():
            raise NothingFoundError(f"there is no recipe file {name}: give the path of a TOML file.")
        return file
    if name in recipe_names():
        return _FOLDER / f"{name}.toml"
    close = difflib.get_close_matches(name, recipe_names(), n=3, cutoff=0.4)
    nearest = f": did you mean {' or '.join(close)}?" if close else "."
    raise SettingsError(
        f"there is no recipe {name!r}{nearest} `lookalike train --list-recipes` shows all, and a path ending in .toml "
        "names a file of your own."
    )
