"""The workspace: one folder with the settings file, the runs, the models and the galleries.

lookalike/
    lookalike.toml
    runs/<name>/  models/<name>/  galleries/<name>/
"""

import difflib
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from train.errors import NothingFoundError, SettingsError
from train.files import atomic_folder

Kind = Literal["runs", "models", "galleries"]
SETTINGS_FILE = "lookalike.toml"
STARTER = "starter"  # name of the model that comes with the package, train/starter/
SHIPPED = Path(__file__).parent / STARTER
_SINGULAR: dict[Kind, str] = {"runs": "run", "models": "model", "galleries": "gallery"}


@dataclass(frozen=True)
class Workspace:
    """Where names are looked up. A name without a slash means the workspace, anything else is a path."""

    home: Path = Path("lookalike")

    def place(self, kind: Kind, name_or_path: str) -> Path:
        """Folder of a run, model or gallery, whether or not it exists yet."""
        if os.sep in name_or_path or name_or_path in (".", ".."):
            return Path(name_or_path)
        return self.home / kind / name_or_path

    def existing(self, kind: Kind, name_or_path: str) -> Path:
        """Folder of a run, model or gallery that must exist.

        Raises:
            NothingFoundError: It does not; the message names those that do.
        """
        inside = self.place(kind, name_or_path)
        for folder in (inside, Path(name_or_path)):
            if folder.is_dir():
                return folder
        if kind == "models" and name_or_path == STARTER:
            return self.take_starter()
        names = self.names(kind)
        known = f" There are: {', '.join(names)}." if names else ""
        near = difflib.get_close_matches(name_or_path, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else known
        code = "no_such_gallery" if kind == "galleries" else None
        raise NothingFoundError(f"there is no {_SINGULAR[kind]} {name_or_path!r} in {inside.parent}.{hint}", code=code)

    def take_starter(self) -> Path:
        """Copy the model that comes with the package into the workspace, whole or not at all; return its place.

        Galleries name their model by its place: a copy outlives an update of the package.
        """
        place = self.place("models", STARTER)
        if not place.is_dir():
            with atomic_folder(place) as aside:
                for file in sorted(SHIPPED.iterdir()):
                    shutil.copyfile(file, aside / file.name)
        return place

    def names(self, kind: Kind) -> list[str]:
        """Names of the runs, models or galleries in the workspace, sorted."""
        folder = self.home / kind
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))

    def settings(self) -> dict[str, Any]:
        """Tables of the settings file; empty where there is none.

        Raises:
            SettingsError: It is not valid TOML.
        """
        path = self.home / SETTINGS_FILE
        if not path.is_file():
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{path} cannot be read as settings: {error}. Mend that line or remove the file."
            ) from error


def name_for(folder: Path) -> str:
    """A name for what is made from a folder of images: its own, with all but letters, digits, '-' and '_' as '-'."""
    words = re.sub(r"[^\w-]+", "-", folder.resolve().name, flags=re.ASCII).strip("-").lower()
    return words or "pictures"


def refuse_unknown_keys(table: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse a misspelt setting and name the nearest valid one.

    Raises:
        SettingsError: `table` has a key that is not in `known`.
    """
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(known))}."
            raise SettingsError(f"{where} has an unknown setting {key!r}: {hint}")
