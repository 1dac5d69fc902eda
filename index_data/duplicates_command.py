"""`lookalike index duplicates` and `verdict`: pictures that are there more than once, and what people said of them."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError
from train.interruption import stop_request
from train.printable import printable

if TYPE_CHECKING:
    from index_data.duplicates import Group, Kind, Verdict
    from index_data.gallery import Gallery

THRESHOLD_EXIT_CODE = 10  # --fail-if-any: there are some
LIST_FORMATS = (".csv", ".json")
COLUMNS = ("group", "kind", "suggestion", "why", "score", "id", "path", "width", "height", "format", "bytes", "sha256")


@click.command(
    cls=Command,
    examples="lookalike index duplicates photos\nlookalike index duplicates photos --kind pixels -o duplicates.csv\n"
    "lookalike index duplicates photos --difference 17 42 -o difference.png",
)
@click.argument("gallery")
@click.option(
    "--kind",
    type=click.Choice(["bytes", "pixels", "near"]),
    default="near",
    help="The weakest link: the same bytes, the same pixels, or near by the score.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(-1, 1),
    help="Near from this cosine.  [default: pairs that stand out from what is around them]",
)
@click.option("--top", type=click.IntRange(min=0), default=20, help="How many groups are shown.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A list of all groups (.csv, .json), or a picture."
)
@click.option("--difference", nargs=2, type=click.IntRange(min=1), metavar="A B", help="Paint where two items differ.")
@click.option("--known", is_flag=True, help="Show what was computed before; compute nothing.")
@click.option("--fail-if-any", is_flag=True, help=f"End with code {THRESHOLD_EXIT_CODE} where there are duplicates.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, help="Processes that decode what may have the same pixels."
)
@common_options
def duplicates(
    line: CommandLine,
    gallery: str,
    kind: "Kind",
    min_score: float | None,
    top: int,
    output: Path | None,
    difference: tuple[int, int] | None,
    known: bool,
    fail_if_any: bool,
    workers: int,
) -> int:
    """Find pictures that are there more than once, and suggest which to keep. No file is ever deleted."""
    from index_data.duplicates import compute_duplicates, describe_groups, duplicate_groups
    from index_data.gallery import Gallery
    from train.decoding import DecodePool
    from train.files import write_file
    from train.images import FOLDER_LIMITS

    if output is not None and difference is None and output.suffix.lower() not in LIST_FORMATS:
        raise SettingsError(f"{output} ends in none of {', '.join(LIST_FORMATS)}: name the list so.")
    place = line.workspace.existing("galleries", gallery)
    with Gallery.open(place) as opened, DecodePool(workers, FOLDER_LIMITS) as pool:
        if difference is not None:
            _paint_difference(line, opened, pool, difference, output)
            return 0
        if kind != "bytes" and not known:
            with stop_request() as stop:
                compute_duplicates(opened, pool, min_score=min_score, reporter=line.reporter, stop=stop)
        groups = duplicate_groups(opened, kind=kind, min_score=min_score)
        if output is not None:
            records = (
                record
                for start in range(0, len(groups), 500)
                for record in _records(describe_groups(opened, groups[start : start + 500]), start)
            )
            write_file(output, _list(records, output.suffix.lower()).encode())
        shown = describe_groups(opened, groups[:top])
    surplus = sum(len(group) - 1 for group in groups)
    lines = [_group_text(number, group) for number, group in enumerate(shown, 1)]
    if len(groups) > len(shown):
        lines.append(f"... and {len(groups) - len(shown):,} more groups: --top shows them, -o FILE.csv lists them.")
    lines.append(f"{len(groups):,} groups; {surplus:,} items could go. Nothing was deleted.")
    record = {
        "gallery": gallery,
        "kind": kind,
        "groups": len(groups),
        "surplus": surplus,
        "shown": [_group_record(group) for group in shown],
        "output": None if output is None else str(output),
    }
    line.result(record, "\n\n".join(lines))
    return THRESHOLD_EXIT_CODE if fail_if_any and groups else 0


@click.command(
    cls=Command, examples="lookalike index verdict photos different 17 42\nlookalike index verdict photos keep 17"
)
@click.argument("gallery")
@click.argument("verdict", type=click.Choice(["duplicate", "different", "keep"]))
@click.argument("ids", nargs=-1, required=True, type=click.IntRange(min=1), metavar="ID...")
@common_options
def verdict(line: CommandLine, gallery: str, verdict: "Verdict", ids: tuple[int, ...]) -> None:
    """Remember what you say of pictures: the same, not the same, or the one to keep."""
    from index_data.duplicates import put_verdict
    from index_data.gallery import Gallery

    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened, opened.changes() as changes:
        put_verdict(changes, opened, ids, verdict)
    line.result({"gallery": gallery, "verdict": verdict, "ids": [str(number) for number in ids]}, "Remembered.")


COMMANDS = (duplicates, verdict)


def _paint_difference(
    line: CommandLine, gallery: "Gallery", pool: Any, pair: tuple[int, int], output: Path | None
) -> None:
    from PIL import Image

    from index_data.duplicates import difference
    from train.files import write_file

    if output is None or output.suffix.lower() != ".png":
        raise SettingsError("say where the picture goes: -o FILE.png.")
    one, other = (pool.pixels(gallery.read_original(gallery.item(number))) for number in pair)
    apart = difference(one, other)
    buffer = io.BytesIO()
    Image.fromarray(apart).save(buffer, "PNG")
    write_file(output, buffer.getvalue())
    share = float((apart.max(axis=2) > 0).mean())
    line.result(
        {"a": str(pair[0]), "b": str(pair[1]), "share": share, "output": str(output)},
        f"{share:.1%} of the pixels differ: {output}",
    )


def _group_record(group: "Group") -> dict[str, Any]:
    members = [
        {
            "id": str(member.item.id),
            "path": printable(member.item.path),
            "score": round(member.score, 6),
            "keep": member.keep,
            "why": member.why,
        }
        for member in group.members
    ]
    return {"kind": group.kind, "verdict": group.verdict, "members": members}


def _records(groups: Sequence["Group"], before: int) -> Iterable[dict[str, Any]]:
    for number, group in enumerate(groups, before + 1):
        for member in group.members:
            item = member.item
            yield dict(
                zip(
                    COLUMNS,
                    (
                        number,
                        group.kind,
                        "keep" if member.keep else "could go",
                        member.why,
                        round(member.score, 6),
                        str(item.id),
                        printable(item.path),
                        item.width,
                        item.height,
                        item.format,
                        item.size,
                        item.sha256,
                    ),
                    strict=True,
                )
            )


def _list(records: Iterable[dict[str, Any]], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(list(records), indent=1, ensure_ascii=False)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    # A spreadsheet would compute what begins with these: a name is a name.
    writer.writerows(
        {name: f"'{value}" if str(value).startswith(("=", "+", "@")) else value for name, value in record.items()}
        for record in records
    )
    return text.getvalue()


def _group_text(number: int, group: "Group") -> str:
    lines = [f"{number}. {group.kind}" + (", confirmed" if group.verdict else "")]
    for member in group.members:
        mark = f"keep ({member.why})" if member.keep else f"{member.score:.4f}"
        item = member.item
        lines.append(f"  {item.id:>8}  {printable(item.path)}  {item.width} x {item.height}  {mark}")
    return "\n".join(lines)
