"""`lookalike index rollback`, `remove`, `export`, `import`, `relocate`, `watch`: looking after a gallery."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import NothingFoundError

if TYPE_CHECKING:
    from index_data.gallery import Gallery
    from train.interruption import StopRequest


@click.command(cls=Command, examples="lookalike index rollback photos\nlookalike index rollback photos 000007")
@click.argument("gallery")
@click.argument("generation", required=False)
@common_options
def rollback(line: CommandLine, gallery: str, generation: str | None) -> None:
    """Let the index before the current one answer again, or the one that is named; `index list GALLERY` names them.

    Items stay as they are. Until the next `index build` no other is built by itself.
    """
    from index_data.generations import current_name, roll_back
    from train.files import locked

    with _existing(line, gallery) as opened, locked(opened.folder, "index rollback"):
        before = current_name(opened)
        name = roll_back(opened, generation)
        record = {"gallery": opened.name, "generation": name, "before": before}
        line.result(record, f"Generation {name} of {gallery} answers now, instead of {before}.")


@click.command(
    cls=Command, examples="lookalike index remove photos 17 18\nlookalike index remove photos ~/Pictures/private"
)
@click.argument("gallery")
@click.argument("items", nargs=-1, required=True, metavar="ID|PATH...")
@click.option("--dry-run", is_flag=True, help="Only say how many would be taken out.")
@common_options
def remove(line: CommandLine, gallery: str, items: tuple[str, ...], dry_run: bool) -> None:
    """Take items out of a gallery: by their ids, or by the path of a file or a folder. No file is touched.

    When the command ends, no search finds them. Scans leave them out until the file changes, or --retry is said.
    """
    from index_data.generations import build_if_due
    from index_data.removing import choose_items, remove_items

    with _existing(line, gallery) as opened:
        ids = choose_items(opened, items)
        removed = 0 if dry_run else remove_items(opened, ids)
        text = (
            f"Would take {len(ids):,} of {opened.count:,} items out of {gallery}."
            if dry_run
            else f"Took {removed:,} items out of {gallery}: {opened.count:,} are left."
        )
        line.result({"gallery": opened.name, "chosen": len(ids), "removed": removed, "items": opened.count}, text)
        if removed:
            build_if_due(opened, line.reporter)


@click.command(name="export", cls=Command, examples="lookalike index export photos photos-2026-11.tar")
@click.argument("gallery")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@common_options
def export_command(line: CommandLine, gallery: str, file: Path) -> None:
    """Write a gallery to one file: database and thumbnails, with digests. Searches and changes go on meanwhile."""
    from index_data.backup import export_gallery

    with _existing(line, gallery) as opened:
        count = export_gallery(opened, file, reporter=line.reporter)
        size = file.stat().st_size
        record = {"gallery": opened.name, "items": count, "file": str(file), "bytes": size}
        line.result(record, f"{count:,} items of {gallery} are in {file} ({size:,} bytes). The pictures are not.")


@click.command(
    name="import", cls=Command, examples="lookalike index import photos photos-2026-11.tar --model models/photos"
)
@click.argument("gallery")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--model", help="Name or folder of its model, where that is not where it was.")
@common_options
def import_command(line: CommandLine, gallery: str, file: Path, model: str | None) -> None:
    """Make a gallery of a file that `index export` wrote; every byte is checked, and the index is built anew."""
    from export.choice import choose_model
    from index_data.backup import import_gallery

    bundle = choose_model(line.workspace, model) if model else None
    with import_gallery(file, line.workspace.place("galleries", gallery), reporter=line.reporter) as opened:
        if bundle is not None:
            opened.accept_model(bundle)
        record = {"gallery": opened.name, "items": opened.count, "folder": str(opened.folder)}
        line.result(record, f"{opened.count:,} items are in {opened.folder}.\nNext: lookalike serve {gallery}")


@click.command(cls=Command, examples="lookalike index relocate photos /mnt/old/Pictures /mnt/new/Pictures")
@click.argument("gallery")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path, exists=True))
@common_options
def relocate(line: CommandLine, gallery: str, old: Path, new: Path) -> None:
    """Say that the pictures below a folder lie below another one now; nothing is read or embedded again."""
    import os

    with _existing(line, gallery) as opened:
        # Not resolved: the old folder may be gone.
        roots = opened.relocate(Path(os.path.abspath(old)), new.resolve())  # noqa: PTH100
        moved = "1 folder" if roots == 1 else f"{roots:,} folders"
        line.result({"gallery": opened.name, "roots": roots}, f"{moved} of {gallery}: now below {new}.")


@click.command(cls=Command, examples="lookalike index watch photos --every 300")
@click.argument("gallery")
@click.option("--every", type=click.IntRange(min=1), default=300, help="Seconds from the end of a scan to the next.")
@common_options
def watch(line: CommandLine, gallery: str, every: int) -> None:
    """Scan a gallery's folders again and again, until Ctrl-C: what changed there can be found within the interval."""
    from index_data.adding import scan_roots
    from train.interruption import stop_request

    with _existing(line, gallery) as opened, stop_request() as stop:
        while not stop:
            try:
                summary = scan_roots(opened, opened.open_bundle(), reporter=line.reporter, stop=stop)
            except NothingFoundError as error:  # a disk that is not mounted may come back
                line.reporter.say(error.detail)
            else:
                changed = summary.embedded + summary.duplicate + summary.moved + summary.removed
                if changed:
                    line.result(
                        {"gallery": opened.name, "items": opened.count, "changed": changed},
                        f"{summary.embedded:,} embedded, {summary.duplicate:,} duplicates, {summary.moved:,} moved, "
                        f"{summary.removed:,} taken out: {opened.count:,} items.",
                    )
            _wait(every, stop)
        stop.raise_if_set("Everything that was found is kept.")


def _wait(seconds: int, stop: "StopRequest") -> None:
    until = time.monotonic() + seconds
    while not stop and time.monotonic() < until:
        time.sleep(0.2)


def _existing(line: CommandLine, gallery: str) -> "Gallery":
    from index_data.gallery import Gallery

    return Gallery.open(line.workspace.existing("galleries", gallery))
