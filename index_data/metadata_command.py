"""`lookalike index tag`, `describe` and `facets`: what is said of items beside their pixels."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import NothingFoundError, SettingsError
from train.printable import printable

if TYPE_CHECKING:
    from index_data.filters import Ids
    from index_data.gallery import Gallery

Function = TypeVar("Function", bound=Callable[..., Any])

SHOWN = 10  # values of a field, on a terminal


def _chosen_items(function: Function) -> Function:
    """Give a command the ways to say which items are meant."""
    function = click.option("--dry-run", is_flag=True, help="Only say how many items would change.")(function)
    function = click.option(
        "--filter", "asked", metavar="JSON", help='All items that pass it: \'{"folder": {"prefix": "2019/"}}\'.'
    )(function)
    function = click.argument("ids", nargs=-1, type=click.IntRange(min=1), metavar="[ID]...")(function)
    return click.argument("gallery")(function)


@click.command(
    cls=Command,
    examples="lookalike index tag photos 17 42 --add holiday\n"
    """lookalike index tag photos --filter '{"folder": {"prefix": "2019/rome"}}' --add rome --remove todo""",
)
@_chosen_items
@click.option("--add", multiple=True, metavar="TAG", help="A tag to give; may be repeated.")
@click.option("--remove", multiple=True, metavar="TAG", help="A tag to take away; may be repeated.")
@common_options
def tag(
    line: CommandLine,
    gallery: str,
    ids: tuple[int, ...],
    asked: str | None,
    dry_run: bool,
    add: tuple[str, ...],
    remove: tuple[str, ...],
) -> None:
    """Give items tags, or take tags away."""
    from index_data.gallery import Gallery
    from index_data.metadata import change_tags

    if not add and not remove:
        raise SettingsError("no tag is given: use --add TAG or --remove TAG.")
    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened:
        chosen = _chosen(opened, ids, asked).tolist()
        if not dry_run:
            with opened.changes() as changes:
                change_tags(changes, chosen, add=add, remove=remove)
    words = "would be" if dry_run else "are"
    line.result({"gallery": gallery, "items": len(chosen)}, f"{len(chosen):,} items {words} tagged anew.")


@click.command(
    cls=Command,
    examples="lookalike index describe photos 17\n"
    "lookalike index describe photos 17 --set 'title=The cat' --set rating=5 --unset place",
)
@_chosen_items
@click.option("--set", "given", multiple=True, metavar="FIELD=VALUE", help="A field to set; VALUE is JSON, else text.")
@click.option("--unset", multiple=True, metavar="FIELD", help="A field to take back that was set so.")
@common_options
def describe(
    line: CommandLine,
    gallery: str,
    ids: tuple[int, ...],
    asked: str | None,
    dry_run: bool,
    given: tuple[str, ...],
    unset: tuple[str, ...],
) -> None:
    """Show what is known of items, or set fields of their metadata by hand."""
    from index_data.gallery import Gallery
    from index_data.metadata import change_own, descriptions

    patch: dict[str, Any] = dict(map(_assignment, given)) | dict.fromkeys(unset)
    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened:
        chosen = _chosen(opened, ids, asked).tolist()
        if patch and not dry_run:
            with opened.changes() as changes:
                for number in chosen:
                    change_own(changes, number, patch)
        known = descriptions(opened, chosen)
        files = {item.id: printable(item.path) for item in opened.items_by_id(chosen)}
    records = [
        {"id": str(number), "path": files[number], "tags": each.tags, "metadata": each.fields, "own": each.own}
        for number, each in known.items()
        if number in files
    ]
    if patch:
        words = "would be" if dry_run else "are"
        line.result({"gallery": gallery, "items": len(chosen)}, f"{len(chosen):,} items {words} described anew.")
    else:
        line.result({"gallery": gallery, "items": records}, "\n\n".join(map(_description_text, records)))


@click.command(cls=Command, examples="lookalike index facets photos\nlookalike index facets photos --json")
@click.argument("gallery")
@click.option("--filter", "asked", metavar="JSON", help="Count only items that pass it.")
@click.option("--field", "fields", multiple=True, help="Only these fields; may be repeated.")
@common_options
def facets(line: CommandLine, gallery: str, asked: str | None, fields: tuple[str, ...]) -> None:
    """Count the values of fields: folders, tags, years, cameras, and what else has few values."""
    from index_data.facets import facets as count
    from index_data.filters import parse_filter
    from index_data.gallery import Gallery

    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened:
        found = count(opened, parse_filter(asked) if asked else None, list(fields) or None)
    records = [
        {
            "field": facet.field,
            "values": [{"value": each.value, "count": each.count} for each in facet.values],
            "more": facet.more,
        }
        for facet in found
    ]
    texts = []
    for facet in found:
        shown = [f"  {each.count:>9,}  {json.dumps(each.value, ensure_ascii=False)}" for each in facet.values[:SHOWN]]
        left = facet.more or len(facet.values) > SHOWN
        texts.append("\n".join([facet.field, *shown, *(["             ..."] if left else [])]))
    line.result({"gallery": gallery, "facets": records}, "\n".join(texts))


COMMANDS = (tag, describe, facets)


def _chosen(gallery: "Gallery", ids: tuple[int, ...], asked: str | None) -> "Ids":
    """The items that are meant, which have to be there."""
    from index_data.filters import matching_ids, parse_filter

    if bool(ids) == (asked is not None):
        raise SettingsError("say which items are meant: their ids, or --filter JSON.")
    if asked is not None:
        return matching_ids(gallery, parse_filter(asked))
    found = matching_ids(gallery, {"id": {"in": list(ids)}})
    missing = set(ids) - set(found.tolist())
    if missing:
        raise NothingFoundError(f"there is no item {min(missing)} in the gallery {gallery.name}.", code="no_such_item")
    return found


def _assignment(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise SettingsError(f"{text!r} sets nothing: write it as FIELD=VALUE.")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def _description_text(record: dict[str, Any]) -> str:
    lines = [f"{record['id']}  {record['path']}"]
    if record["tags"]:
        lines.append(f"  tags: {', '.join(record['tags'])}")
    for name, value in record["metadata"].items():
        lines.append(f"  {name}: {printable(json.dumps(value, ensure_ascii=False))}")
    return "\n".join(lines)
