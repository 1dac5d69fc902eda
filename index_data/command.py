"""`lookalike index ...` and `lookalike search`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from index_data import analysis_command, duplicates_command, metadata_command, training_command
from index_data.build_command import build, explain
from index_data.care_command import export_command, import_command, relocate, remove, rollback, watch
from index_data.config import AS_INDEXED, MAX_BAD, MAX_BATCH, MAX_BETA, MAX_WEIGHT, AddSettings
from train.command_line import Command, CommandLine, Group, common_options
from train.errors import DamagedError, ImageError, NothingFoundError, SettingsError
from train.interruption import stop_request
from train.printable import printable
from train.workspace import STARTER

if TYPE_CHECKING:
    from export.bundle import Bundle
    from index_data.adding import AddSummary
    from index_data.engine import Engine, Hit
    from index_data.folders import Plan
    from index_data.gallery import Gallery, Vectors
    from index_data.generations import Ids
    from index_data.queries import Transforms
    from index_data.same_picture import Outlines
    from index_data.template_matching import Outline
    from train.decoding import Crop

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_K = 10
MAX_K = 1000


@click.group(cls=Group)
def index() -> None:
    """Make galleries and keep them up to date."""


for _command in (
    *metadata_command.COMMANDS,
    *duplicates_command.COMMANDS,
    *analysis_command.COMMANDS,
    training_command.train,
):
    index.add_command(_command)


def _working_options(function: Function) -> Function:
    """Give a command the options that say how files are read and embedded."""
    options = (
        click.option(
            "--model", help="Name or folder of the model.  [default: the gallery's, or the only one there is]"
        ),
        click.option(
            "--provider",
            default=AddSettings.provider,
            help="Execution provider: auto, cpu, cuda, tensorrt, ... (see `doctor`).",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            default=AddSettings.workers,
            show_default="as many as there are cores",
            help="Processes that decode images.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(1, MAX_BATCH),
            default=AddSettings.batch,
            help="Images that are embedded and made durable together.",
        ),
        click.option(
            "--max-bad",
            type=click.FloatRange(0, 1),
            default=MAX_BAD,
            help="Share of the images that may be rejected before the command ends with code 3.",
        ),
        click.option("--retry", is_flag=True, help="Look again at files that were rejected and have not changed."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@index.command(
    cls=Command,
    examples="lookalike index add photos ~/Pictures --model photos\n"
    "lookalike index add photos ~/More cat.jpg --dry-run\n"
    "lookalike index add shards shard-*.tar train.parquet\n"
    "find /photos -newer mark -print0 | lookalike index add photos -",
)
@click.argument("gallery")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@_working_options
@common_options
def add(
    line: CommandLine,
    gallery: str,
    sources: tuple[Path, ...],
    model: str | None,
    max_bad: float,
    dry_run: bool,
    **settings: Any,
) -> None:
    """Make images items of a gallery, which is made if it is not there.

    SOURCE is a folder with all folders below it, an image, a tar archive or a Parquet file, or - for a list of such on
    the standard input, one a line, or separated by NUL.
    """
    from export.sessions import Encoder
    from index_data.adding import add_sources, judge
    from index_data.folders import expect_images, expect_sources, plan_sources
    from index_data.gallery import Gallery
    from index_data.generations import build_if_due

    place = line.workspace.place("galleries", gallery)
    found = _open_if_there(place)
    named = [each for source in sources for each in (_listed() if source == Path("-") else [source])]
    if dry_run:
        _show_plan(line, plan_sources(found, named, retry=settings["retry"]))
        return
    bundle = _bundle(line, found, model)
    expect_sources(named)
    if len(named) == 1 and named[0].is_dir():
        expect_images(named[0])
    if found is None and settings["provider"] != AddSettings.provider:
        Encoder.open(bundle, provider=settings["provider"])  # refused, if it must be, before anything is made
    with found or Gallery.open_or_create(place, bundle) as opened, stop_request() as stop:
        summary = add_sources(opened, bundle, named, build=False, reporter=line.reporter, stop=stop, **settings)
        _show_summary(line, summary, opened, gallery)
        build_if_due(opened, line.reporter)
    what = printable(os.fsencode(named[0])) if len(named) == 1 else f"{len(named):,} sources"
    judge(summary, what=what, max_bad=max_bad)


def _listed() -> list[Path]:
    """The paths on the standard input: separated by NUL if there is one, else one a line."""
    data = sys.stdin.buffer.read()
    words = data.split(b"\0" if b"\0" in data else b"\n")
    paths = [Path(os.fsdecode(word)) for word in words if word.strip()]
    if not paths:
        raise NothingFoundError("the list on the standard input is empty: give one path a line.")
    return paths


@index.command(
    cls=Command,
    examples="lookalike index scan photos\n"
    "lookalike index scan photos --dry-run\n"
    "lookalike index scan photos holidays/2026 --keep-missing",
)
@click.argument("gallery")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--keep-missing", is_flag=True, help="Leave items in the gallery whose file is gone.")
@_working_options
@common_options
def scan(
    line: CommandLine,
    gallery: str,
    paths: tuple[Path, ...],
    keep_missing: bool,
    model: str | None,
    max_bad: float,
    dry_run: bool,
    **settings: Any,
) -> None:
    """Look again at all folders of a gallery: new, changed and moved files, and those that are gone.

    PATHS are folders and files to which the look is kept, by their whole path or as it is below the gallery's folders.
    """
    from index_data.adding import judge, scan_roots
    from index_data.folders import narrowed, places_of_roots, plan_places
    from index_data.generations import build_if_due

    with _existing(line, gallery) as opened, stop_request() as stop:
        if dry_run:
            there, not_there = places_of_roots(opened)
            chosen = narrowed(opened, there, paths) if paths else there
            plan = plan_places(opened, chosen, not_there, missing=not keep_missing, retry=settings["retry"])
            _show_plan(line, plan)
            return
        bundle = _bundle(line, opened, model)
        summary = scan_roots(
            opened,
            bundle,
            paths=paths,
            remove_missing=not keep_missing,
            build=False,
            reporter=line.reporter,
            stop=stop,
            **settings,
        )
        _show_summary(line, summary, opened, gallery)
        build_if_due(opened, line.reporter)
    judge(summary, what=f"the gallery {gallery}", max_bad=max_bad)


@index.command(cls=Command, examples="lookalike index verify photos\nlookalike index verify photos --repair")
@click.argument("gallery")
@click.option("--repair", is_flag=True, help="Make again what can be made again: index, thumbnails.")
@common_options
def verify(line: CommandLine, gallery: str, repair: bool) -> None:
    """Check everything that a gallery keeps: database, vectors, index, model, thumbnails."""
    from index_data.verification import verify as check

    with _existing(line, gallery) as opened:
        findings = check(opened, repair=repair, reporter=line.reporter)
        count = opened.count
    lines = [f"{'mended' if found.mended else 'wrong'}: {found.what}: {found.detail}" for found in findings]
    text = "\n".join([*lines, "" if findings else f"All is well with the {count:,} items of {gallery}."]).strip()
    line.result({"gallery": gallery, "items": count, "findings": [asdict(found) for found in findings]}, text)
    left = [found for found in findings if found.harmful and not found.mended]
    if left:
        remedy = "" if repair else f": run `lookalike index verify --repair {gallery}`"
        raise DamagedError(
            f"the gallery {gallery} has {len(left):,} faults that make answers wrong or missing{remedy}."
        )


@index.command(name="list", cls=Command, examples="lookalike index list\nlookalike index list photos --json")
@click.argument("gallery", required=False)
@common_options
def list_command(line: CommandLine, gallery: str | None) -> None:
    """List the galleries of the workspace, or what one gallery holds and which files it rejected."""
    if gallery is not None:
        _list_one(line, gallery)
        return
    records = []
    for name in line.workspace.names("galleries"):
        opened = _open_if_there(line.workspace.place("galleries", name))
        if opened is not None:
            with opened:
                records.append(_about(opened))
    rows = [
        (each["name"], f"{each['items']:,}", f"{each['rejected']:,}", Path(each["model_folder"]).name)
        for each in records
    ]
    none = f"There is no gallery in {line.workspace.home}: make one with `lookalike index add NAME FOLDER`."
    text = _table(("gallery", "items", "rejected", "model"), rows, right=(1, 2)) if rows else none
    line.result({"galleries": records}, text)


for care in (build, explain, rollback, remove, watch, relocate, export_command, import_command):
    index.add_command(care)


@click.command(
    cls=Command,
    examples="lookalike search photos cat.jpg\nlookalike search photos *.png -k 3 --json\n"
    "lookalike search photos --dir queries/ --out hits.html\n"
    "lookalike search photos crop.jpg --same-picture\n"
    "lookalike search photos --plus beach.jpg 1 --plus boat.jpg 0.5 --minus crowd.jpg 1",
)
@click.argument("gallery")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@click.option(
    "--dir", "folder_of_queries", type=click.Path(path_type=Path, file_okay=False), help="All images of a folder too."
)
@click.option(
    "--plus",
    nargs=2,
    multiple=True,
    type=(click.Path(path_type=Path), click.FloatRange(0, MAX_WEIGHT, min_open=True)),
    metavar="IMAGE WEIGHT",
    help="One query of several images: like this one. May be repeated.",
)
@click.option(
    "--minus",
    nargs=2,
    multiple=True,
    type=(click.Path(path_type=Path), click.FloatRange(0, MAX_WEIGHT, min_open=True)),
    metavar="IMAGE WEIGHT",
    help="And unlike this one. May be repeated.",
)
@click.option("--crop", metavar="X,Y,W,H", help="Only this part of each image, as shares of its width and height.")
@click.option(
    "--transforms",
    type=click.Choice(["none", "mirror", "rotate", "all"]),
    default="none",
    help="Other forms of an image to look for too: mirrored, turned, or all 8; the best score counts.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write all answers to a file: .jsonl, .csv or .html.")
@click.option("-k", type=click.IntRange(1, MAX_K), default=DEFAULT_K, help="How many neighbours of each image.")
@click.option(
    "--beta",
    type=click.FloatRange(0, MAX_BETA),
    default=AS_INDEXED,
    help="Weight of what an image looks like: 0 same thing, 1 as indexed, high: looks the same. Only for models with a "
    "semantic half.",
)
@click.option(
    "--accuracy",
    type=click.FloatRange(0, 1),
    help="Share of the exact neighbours to look for; 1 compares all.  [default: what the index was built for]",
)
@click.option("--exact", is_flag=True, help="Compare all images, whatever it takes.")
@click.option(
    "--collapse-duplicates", is_flag=True, help="Of hits that are the same picture only the nearest, with their number."
)
@click.option(
    "--same-picture",
    is_flag=True,
    help="Lay the image over the first hits: those that are the same picture, cropped, mirrored, turned, recoloured or "
    "written on, come first, and it is said how.",
)
@click.option("--filter", "asked", metavar="JSON", help='Only items that pass it: \'{"year": {"gte": 2019}}\'.')
@click.option("--provider", default="auto", help="Execution provider: auto, cpu, cuda, ... (see `doctor`).")
@common_options
def search(
    line: CommandLine,
    gallery: str,
    images: tuple[Path, ...],
    folder_of_queries: Path | None,
    plus: tuple[tuple[Path, float], ...],
    minus: tuple[tuple[Path, float], ...],
    crop: str | None,
    transforms: "Transforms",
    out: Path | None,
    k: int,
    beta: float,
    accuracy: float | None,
    exact: bool,
    collapse_duplicates: bool,
    same_picture: bool,
    asked: str | None,
    provider: str,
) -> None:
    """Find the nearest neighbours of images in a gallery."""
    from index_data.adding import provider_sentence
    from index_data.collapsing import without_duplicates
    from index_data.engine import Engine
    from index_data.filters import matching_ids, parse_filter
    from index_data.queries import variants
    from index_data.same_picture import Outlines
    from index_data.search_lists import expect_format
    from train.decoding import DecodePool
    from train.images import FOLDER_LIMITS

    if out is not None:
        expect_format(out)
    part = _crop(crop)
    parts = [*plus, *((image, -weight) for image, weight in minus)]
    images = (*images, *images_of(folder_of_queries))
    _expect_queries(images, parts, transforms, same_picture=same_picture)
    folder = line.workspace.existing("galleries", gallery)
    answers: list[dict[str, Any]] = []
    with (
        Engine.open(folder, provider=provider, decoder=False) as engine,
        DecodePool(min(len(images or parts), len(os.sched_getaffinity(0))), FOLDER_LIMITS) as pool,
    ):
        engine.halves.expect_weight(beta)
        among = None if asked is None else matching_ids(engine.gallery, parse_filter(asked))
        _say_how(line, engine, among)
        line.reporter.say(provider_sentence(engine.encoder))

        outlines = Outlines(pool)

        def find(embeddings: "Vectors", outline: "Outline | None" = None) -> dict[str, Any]:
            def alike(count: int) -> "list[Hit]":
                found = engine.search(embeddings, count, beta=beta, accuracy=accuracy, exact=exact, among=among)
                return _in_any_form(found, count)

            def nearest(count: int) -> "list[Hit]":
                return alike(count) if outline is None else _same_first(engine, alike, count, outline, outlines)

            if not collapse_duplicates:
                return _described(engine, nearest(k), beta)
            standing = without_duplicates(
                nearest, k, id_of=lambda hit: hit.id, gallery=engine.gallery, calibration=engine.calibration
            )
            hits = [replace(hit, rank=rank) for rank, (hit, _) in enumerate(standing, 1)]
            return _described(engine, hits, beta, {hit.id: others for hit, others in standing})

        if parts:
            found = find(_combined(pool, engine, parts, part))
            answers.append({"query": _combination_words(parts), **found})
        for image, seen in pool.map(partial(_seen, pool, engine, part, same_picture), images):
            name = printable(os.fsencode(image))
            if isinstance(seen, ImageError):
                click.echo(f"lookalike: {name}: {seen.detail}", err=True)
                answers.append({"query": name, "problem": {"code": seen.problem.code, "detail": seen.detail}})
                continue
            pixels, outline = seen
            answers.append({"query": name, **find(engine.embed(variants(pixels, transforms)).embeddings, outline)})
        if out is not None:
            _write_answers(out, answers, engine.gallery)
        record = {
            "gallery": engine.gallery.name,
            "model": engine.gallery.model_id,
            "provider": engine.encoder.provider,
            "asked": engine.encoder.asked,
            "generation": engine.generation,
            "kind": engine.index_record.kind,
            "exact": engine.is_exact(accuracy, exact=exact),
            "beta": beta,
            "results": answers,
        }
    good = [answer for answer in answers if "hits" in answer]
    if good or line.as_json:
        text = "\n\n".join(_answer_text(answer, titled=len(answers) > 1) for answer in good)
        line.result(record, text if out is None else f"The answers to {len(answers):,} queries are in {out}.")
    if not good:
        raise NothingFoundError("no image could be used as a query.")


def _expect_queries(images: Sequence[Path], parts: Sequence[object], transforms: str, *, same_picture: bool) -> None:
    """Refuse a search for nothing, or for two kinds of things at once."""
    if bool(images) == bool(parts):
        raise SettingsError("say what to look for: images, --dir FOLDER, or --plus and --minus.")
    for image in images:
        if image.is_dir():
            name = printable(os.fsencode(image))
            raise SettingsError(f"{name} is a folder: --dir {name} looks for all images in it.")
    if parts and transforms != "none":
        raise SettingsError("--transforms is for one image at a time: leave it out, or leave out --plus and --minus.")
    if parts and same_picture:
        raise SettingsError("--same-picture is for one image at a time: leave it out, or leave out --plus and --minus.")


def _write_answers(out: Path, answers: Sequence[dict[str, Any]], gallery: "Gallery") -> None:
    from index_data.search_lists import answers_as
    from train.files import write_file

    content = answers_as(out.suffix.lower(), answers, gallery.thumbnail)
    write_file(out, content.encode("utf-8", "backslashreplace"))


def _say_how(line: CommandLine, engine: "Engine", among: "Ids | None") -> None:
    if among is not None:
        line.reporter.say(f"{len(among):,} of {engine.gallery.count:,} items pass the filter.")
    if engine.degraded:
        line.reporter.say(engine.degraded)


def _pixels(pool: Any, engine: "Engine", image: Path, crop: "Crop | None" = None) -> Any:
    return pool.fit(_bytes_of(image), engine.gallery.preprocessing, crop=crop).pixels


def _bytes_of(image: Path) -> bytes:
    from train.images import FOLDER_LIMITS, read_file

    return read_file(image.parent, os.fsencode(image.name), FOLDER_LIMITS).data


def _seen(pool: Any, engine: "Engine", crop: "Crop | None", with_outline: bool, image: Path) -> Any:
    """What the model sees of an image, and its outline where it is to be laid over hits."""
    from index_data.same_picture import outline_of

    data = _bytes_of(image)
    pixels = pool.fit(data, engine.gallery.preprocessing, crop=crop).pixels
    return pixels, outline_of(data, pool, crop) if with_outline else None


def _same_first(
    engine: "Engine",
    find: "Callable[[int], list[Hit]]",
    count: int,
    outline: "Outline",
    outlines: "Outlines",
) -> "list[Hit]":
    """The best hits, those that are the same picture first."""
    from index_data.same_picture import LOOKED_AT, same_first

    hits = find(max(count, LOOKED_AT))
    first = [hit.id for hit in hits[:LOOKED_AT]]
    contents = {item.id: item.sha256 for item in engine.gallery.items_by_id(first)}
    found = same_first(outline, hits, outlines.of(engine.gallery, [contents.get(number, "") for number in first]))
    return [replace(hit, rank=rank, same=same) for rank, (hit, same) in enumerate(found[:count], 1)]


def _crop(text: str | None) -> "Crop | None":
    if text is None:
        return None
    try:
        x, y, width, height = (float(word) for word in text.split(","))
    except ValueError:
        raise SettingsError(f"--crop is {text!r}: write it as X,Y,W,H, four shares from 0 to 1.") from None
    return x, y, width, height


def images_of(folder: Path | None) -> list[Path]:
    """The images below a folder, by name; other files are passed over."""
    from train.images import FoundFile, find_files, looks_like_image

    if folder is None:
        return []
    found = [each.path for each in find_files(folder) if isinstance(each, FoundFile)]
    images = [folder / os.fsdecode(path) for path in sorted(found) if looks_like_image(path, b"")]
    if not images:
        raise NothingFoundError(f"{printable(os.fsencode(folder))} has no images to look for.")
    return images


def _combined(pool: Any, engine: "Engine", parts: Sequence[tuple[Path, float]], crop: "Crop | None") -> "Vectors":
    import numpy as np

    from index_data.queries import combine

    pixels = np.stack([_pixels(pool, engine, image, crop) for image, _ in parts])
    return combine(engine.embed(pixels).embeddings, [weight for _, weight in parts])[None]


def _combination_words(parts: Sequence[tuple[Path, float]]) -> str:
    words = [f"{'-' if weight < 0 else '+'}{abs(weight):g} {printable(os.fsencode(image))}" for image, weight in parts]
    return " ".join(words)


def _in_any_form(found: "list[list[Hit]]", k: int) -> "list[Hit]":
    """Hits of an image in any of its forms: each item once, as the best of them found it."""
    from index_data.engine import Hit
    from index_data.queries import best_of

    if len(found) == 1:
        return found[0]
    best = best_of([[(hit.id, (hit.stands_out, hit.score)) for hit in hits] for hits in found], k)
    return [Hit(number, rank, score, stands_out) for rank, (number, (stands_out, score)) in enumerate(best, 1)]


def _described(
    engine: "Engine", hits: "list[Hit]", beta: float, collapsed: Mapping[int, Sequence[int]] | None = None
) -> dict[str, Any]:
    """Hits with what their scores mean in this gallery, and a warning where even the best one is far.

    Args:
        engine: That found them.
        hits: The hits.
        beta: The weight that they were found with.
        collapsed: The ids of the duplicates that each hit stands for; None where they are listed as hits.
    """
    scale = engine.calibration.at(beta)
    items = {item.id: item for item in engine.gallery.items_by_id([hit.id for hit in hits])}
    described = [
        {
            "id": str(hit.id),
            "rank": hit.rank,
            "score": round(hit.score, 6),
            "percentile": scale.percentile(hit.score),
            "label": scale.label(hit.score),
            "stands_out": round(hit.stands_out, 6) or None,
            "same_picture": hit.same.to_json() if hit.same else None,
            "file": printable(os.fsencode(items[hit.id].file)),
            "sha256": items[hit.id].sha256,
            "width": items[hit.id].width,
            "height": items[hit.id].height,
            **({} if collapsed is None else {"duplicates": [str(number) for number in collapsed[hit.id]]}),
        }
        for hit in hits
        if hit.id in items
    ]
    far = not hits or (not hits[0].stands_out and not hits[0].same and scale.is_far(hits[0].score))
    return {"warning": "nothing-close" if far else None, "hits": described}


def _answer_text(answer: dict[str, Any], *, titled: bool) -> str:
    from index_data.search_lists import label_words

    rows = [(str(hit["rank"]), f"{hit['score']:.4f}", label_words(hit), _and_others(hit)) for hit in answer["hits"]]
    lines = [_table(("rank", "score", "label", "file"), rows, right=(0, 1))]
    if titled:
        lines.insert(0, answer["query"])
    if answer["warning"]:
        lines.append("Nothing in this gallery is much like it: these are only the nearest.")
    return "\n".join(lines)


def _and_others(hit: dict[str, Any]) -> str:
    more = len(hit.get("duplicates", ()))
    return f"{hit['file']} (and {more:,} like it)" if more else str(hit["file"])


def _open_if_there(folder: Path) -> "Gallery | None":
    from index_data.gallery import Gallery

    try:
        return Gallery.open(folder)
    except NothingFoundError:
        return None


def _existing(line: CommandLine, gallery: str) -> "Gallery":
    from index_data.gallery import Gallery

    return Gallery.open(line.workspace.existing("galleries", gallery))


def _bundle(line: CommandLine, gallery: "Gallery | None", model: str | None) -> "Bundle":
    """The model that was asked for, else the gallery's, else the only one of the workspace."""
    from export.choice import choose_model

    if model is None and gallery is not None:
        return gallery.open_bundle()
    if model is None and not line.workspace.names("models"):
        line.reporter.say(f"There is no model yet: the one that comes with Lookalike is taken (--model {STARTER}).")
    return choose_model(line.workspace, model)


def _show_plan(line: CommandLine, plan: "Plan") -> None:
    text = (
        f"Would read {plan.to_read:,} files ({plan.new:,} new, {plan.changed:,} changed), leave {plan.unchanged:,} as "
        f"they are, and take out {plan.missing:,} items whose file is gone."
    )
    if plan.folders_not_there:
        text += f" Not there, so left alone: {', '.join(plan.folders_not_there)}."
    line.result(asdict(plan), text)


def _show_summary(line: CommandLine, summary: "AddSummary", gallery: "Gallery", asked: str) -> None:
    from index_data.adding import FAILURES_FILE
    from train.progress import duration

    rate = summary.embedded / summary.seconds if summary.seconds else 0.0
    counts = {
        "embedded": summary.embedded,
        "duplicates": summary.duplicate,
        "moved": summary.moved,
        "unchanged": summary.unchanged,
        "from an earlier run": summary.resumed,
        "rejected": summary.rejected_count,
        "no images": summary.other,
        "taken out": summary.removed,
    }
    listed = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
    lines = [
        f"{summary.seen:,} files in {duration(summary.seconds)} ({rate:,.1f} embedded/s): {listed or 'none'}.",
        f"Gallery {gallery.name}: {gallery.count:,} items that can be found now, in {gallery.folder}.",
    ]
    if summary.rejected_count:
        reasons = ", ".join(f"{number:,} {code}" for code, number in summary.rejected.items())
        lines.append(f"Rejected: {reasons}. Each file with its reason: {gallery.folder / FAILURES_FILE}")
    home = "" if line.workspace.home == Path("lookalike") else f" --home {line.workspace.home}"
    lines.append(f"Next: lookalike serve {asked}{home}")
    line.result(asdict(summary) | {"gallery": gallery.name, "items": gallery.count}, "\n".join(lines))


def _list_one(line: CommandLine, gallery: str) -> None:
    from index_data.adding import FAILURES_FILE

    with _existing(line, gallery) as opened:
        record = _about(opened)
    current = f"generation {record['generation']}" if record["generation"] else "no index yet"
    lines = [
        f"{record['name']}: {record['items']:,} items, {current}",
        *(f"  {_about_generation(each)}" for each in record["generations"]),
        f"  model {record['model_folder']} ({record['model']})",
        *(f"  {root}" for root in record["roots"]),
        *(f"  rejected: {number:,} {code}" for code, number in record["rejected_by_code"].items()),
    ]
    if record["rejected"]:
        lines.append(f"  each rejected file with its reason: {opened.folder / FAILURES_FILE}")
    line.result(record, "\n".join(lines))


def _about_generation(generation: dict[str, Any]) -> str:
    if "problem" in generation:
        return f"generation {generation['name']}: {generation['problem']}"
    state = "rolled back to" if generation["rolled_back"] else "current" if generation["current"] else "kept"
    return (
        f"generation {generation['name']} ({state}): {generation['kind']}, {generation['count']:,} rows, "
        f"{generation['bytes']:,} bytes, {generation['changed_since']:,} changes since"
    )


def _about(gallery: "Gallery") -> dict[str, Any]:
    from index_data.generations import current_name, describe_generations

    return {
        "name": gallery.name,
        "folder": str(gallery.folder),
        "items": gallery.count,
        "rejected": gallery.failure_count,
        "rejected_by_code": gallery.failures_by_code(),
        "model": gallery.model_id,
        "model_folder": printable(os.fsencode(gallery.bundle_folder)),
        "dims": gallery.dims,
        "image_size": gallery.preprocessing.size,
        "roots": [printable(os.fsencode(root)) for root in gallery.roots().values()],
        "generation": current_name(gallery),
        "generations": describe_generations(gallery),
        "created_at": gallery.created_at,
    }


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> str:
    """Columns of text, those of numbers to the right."""
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [titles, *rows]
    )
