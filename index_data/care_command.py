"""`lookalike index build`, `rollback` and `remove`: what keeps a gallery fast and tidy."""

from typing import TYPE_CHECKING

import click

from train.command_line import Command, CommandLine, common_options

if TYPE_CHECKING:
    from index_data.gallery import Gallery


@click.command(
    cls=Command, examples="lookalike index build photos\nlookalike index build photos --if-due --quiet   # every night"
)
@click.argument("gallery")
@click.option("--if-due", is_flag=True, help="Only where enough has changed since the last one.")
@common_options
def build(line: CommandLine, gallery: str, if_due: bool) -> None:
    """Build the index anew beside the one that answers, check it, and let it take over in one step.

    Searches, adding and removing go on meanwhile. Running servers take it up within a second.
    """
    from index_data.generations import build_generation, build_if_due
    from train.files import locked

    with _existing(line, gallery) as opened:
        if if_due:
            name = build_if_due(opened, line.reporter)
        else:
            with locked(opened.folder, "index build"):
                line.reporter.say(f"Building the index of {opened.count:,} images.")
                opened.drop_unused_contents()
                name = build_generation(opened).name
        text = f"Generation {name} of {gallery} answers now." if name else f"Nothing is due for {gallery}."
        line.result({"gallery": opened.name, "items": opened.count, "generation": name}, text)


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


def _existing(line: CommandLine, gallery: str) -> "Gallery":
    from index_data.gallery import Gallery

    return Gallery.open(line.workspace.existing("galleries", gallery))
