"""`lookalike datasets ...`: which data sets there are, and downloading one on the user's explicit word."""

from pathlib import Path
from typing import Any

import click

from train.command_line import Command, CommandLine, Group, common_options
from train.datasets.catalogue import KNOWN_SETS, KnownSet, known_set
from train.errors import NothingFoundError
from train.files import locked
from train.interruption import stop_request


@click.group(cls=Group)
def datasets() -> None:
    """List and download the data sets of the recipes."""


@datasets.command(
    "list",
    cls=Command,
    examples="lookalike datasets list\nlookalike datasets list --data ~/Datasets --json",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
@common_options
def list_sets(line: CommandLine, data: Path | None) -> None:
    """Show the data sets: what they are, their terms, and whether they are here.

    Besides these names, --dataset takes FILE.npz, FILE.tar and folders of images: docs/datasets.md.
    """
    folder = data or line.workspace.home / "datasets"
    records = [_record(known, folder) for known in KNOWN_SETS.values()]
    text = "\n\n".join(_paragraph(known, folder) for known in KNOWN_SETS.values())
    line.result({"folder": str(folder), "datasets": records}, f"Data sets in {folder}:\n\n{text}")


def _record(known: KnownSet, folder: Path) -> dict[str, Any]:
    form = known.present(folder)
    return {
        "name": known.name,
        "what": known.what,
        "labels": known.labels,
        "terms": known.terms,
        "page": known.page,
        "present": form is not None,
        "files": [str(folder / file) for file in form.files] if form else [],
        "forms": [list(each.files) for each in known.forms],
        "downloads": [url for item in known.downloads for url in item.urls[:1]],
    }


def _paragraph(known: KnownSet, folder: Path) -> str:
    form = known.present(folder)
    if form:
        place = f"here: {', '.join(form.files)}"
    elif known.downloads:
        place = f"not here: `lookalike datasets get {known.name}`, or by hand from {known.page}"
    else:
        place = f"not here: {known.how_to_get(folder)}"
    return f"{known.name}\n  {known.what}\n  labels: {known.labels}; terms: {known.terms}\n  {place}"


@datasets.command(
    "get",
    cls=Command,
    examples="lookalike datasets get cifar10\nlookalike datasets get mnist --to ~/Datasets",
)
@click.argument("name")
@click.option(
    "--to", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
@common_options
def get(line: CommandLine, name: str, to: Path | None) -> None:
    """Download a data set from its official address, and check it.

    What broke off or was stopped with Ctrl-C goes on where it was. The terms are those of the people who made the set.
    """
    from train.datasets.downloads import download

    known = known_set(name)
    folder = to or line.workspace.home / "datasets"
    form = known.present(folder)
    fetched: list[str] = []
    if form is None:
        if not known.downloads:
            raise NothingFoundError(f"{name} has no official file to download: {known.how_to_get(folder)}.")
        line.reporter.say(f"{known.what}. Terms: {known.terms}; see {known.page}")
        with stop_request() as stop, locked(folder, "downloading"):
            fetched = [
                item.file
                for item in known.downloads
                if download(item, folder, reporter=line.reporter, stop=stop)  # False: it was there
            ]
        form = known.present(folder)
    files = [str(folder / file) for file in form.files] if form else []
    verb = "Downloaded and checked" if fetched else "It is here already:"
    use = f"lookalike train --dataset {name}" + (f" --data {to}" if to else "")
    line.result(
        {"name": name, "folder": str(folder), "files": files, "downloaded": fetched},
        f"{verb} {', '.join(files)}.\nUse it: {use}",
    )
