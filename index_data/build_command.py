"""`lookalike index build` and `explain`: which index a gallery is searched with, and why."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from index_data.config import MAX_BAD, AddSettings, BuildAims
from train.command_line import Command, CommandLine, common_options
from train.errors import NothingFoundError
from train.interruption import StopRequest, stop_request

if TYPE_CHECKING:
    from index_data.gallery import Gallery


def read_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Read a number of bytes, an option's callback: 500M, 2G, 1.5GiB; K, M, G and T are powers of 1,024."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if size < 1:
        raise click.BadParameter(f"{text!r} is no size: write 500M, 2G or a number of bytes.", context, parameter)
    return size


@click.command(
    cls=Command,
    examples="lookalike index build photos\nlookalike index build photos --recall 0.995 --memory 2G\n"
    "lookalike index build photos --if-due --quiet   # every night\nlookalike index build photos --model better",
)
@click.argument("gallery")
@click.option("--if-due", is_flag=True, help="Only where enough has changed since the last one.")
@click.option(
    "--memory",
    callback=read_size,
    metavar="SIZE",
    help="Most that the index may keep in memory: 500M, 2G.  [default: any]",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"Share of the ten nearest neighbours that shall be found.  [default: {BuildAims.recall:g}]",
)
@click.option(
    "--latency",
    "latency_ms",
    type=click.FloatRange(min=0, min_open=True),
    help=f"Milliseconds of a search below which all images are compared.  [default: {BuildAims.latency_ms:g}]",
)
@click.option("--kind", help="Instead of a choice: flat, hnsw, hnsw-fp16, hnsw-sq8, ivf-pq or ivf-rabitq.")
@click.option(
    "--store", type=click.Choice(["float32", "float16"]), help="How numbers are stored.  [default: as before]"
)
@click.option("--threads", type=click.IntRange(min=1), show_default="as many as there are cores", help="That build.")
@click.option("--model", help="Embed all images anew with this model, and switch over to it when that is done.")
@click.option("--provider", default="auto", help="With --model: execution provider (see `doctor`).")
@click.option("--workers", type=click.IntRange(min=1), help="With --model: processes that decode.")
@click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    default=MAX_BAD,
    help="With --model: share of the images that may be lost, because their files are gone or cannot be read.",
)
@common_options
def build(
    line: CommandLine,
    gallery: str,
    if_due: bool,
    store: Any,
    threads: int | None,
    model: str | None,
    provider: str,
    workers: int | None,
    max_bad: float,
    **aims: int | float | str | None,
) -> None:
    """Build the index anew beside the one that answers, check it, and let it take over in one step.

    All images are compared as long as that is fast enough. Beyond, kinds of index are measured on the gallery's own
    vectors, and the best is built; `index explain` says which and why. What --memory, --recall, --latency, --kind and
    --store say holds for later builds too, until one of the first four is said again.

    Searches, adding and removing go on meanwhile. Running servers take it up within a second.
    """
    from index_data.gallery import Gallery
    from index_data.generations import build_generation, build_if_due
    from index_data.indexes.building import ALL_CORES
    from index_data.indexes.choosing import Aims
    from train.files import locked

    said: dict[str, Any] = {name: value for name, value in aims.items() if value is not None}
    wanted = Aims(**said) if said else None
    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened, stop_request() as stop:
        if model is not None:
            _change_model(line, opened, model, stop, provider=provider, workers=workers, max_bad=max_bad)
            return
        if if_due:
            name = build_if_due(opened, line.reporter)
        else:
            with locked(opened.folder, "index build"):
                line.reporter.say(f"Building the index of {opened.count:,} images.")
                opened.drop_unused_contents()
                built = build_generation(
                    opened,
                    wanted,
                    precision=store,
                    threads=threads or ALL_CORES,
                    reporter=line.reporter,
                    stop=stop,
                )
                name = built.name
                for reason in built.record.reasons:
                    line.reporter.say(reason)
        text = f"Generation {name} of {gallery} answers now." if name else f"Nothing is due for {gallery}."
        record = {"gallery": opened.name, "items": opened.count, "generation": name}
        if name and not if_due:
            record["kind"] = built.kind
            text = f"Generation {name} of {gallery} ({built.kind}) answers now."
        line.result(record, text)


def _change_model(
    line: CommandLine,
    gallery: "Gallery",
    model: str,
    stop: StopRequest,
    *,
    provider: str,
    workers: int | None,
    max_bad: float,
) -> None:
    from export.choice import choose_model
    from index_data.remodelling import change_model
    from train.progress import duration

    settings = AddSettings(provider=provider, workers=workers or AddSettings.workers)
    bundle = choose_model(line.workspace, model)
    summary = change_model(gallery, bundle, settings=settings, max_bad=max_bad, reporter=line.reporter, stop=stop)
    text = (
        f"{gallery.name} is of the model {bundle.folder} now: {summary.embedded:,} images embedded and "
        f"{summary.resumed:,} by earlier runs in {duration(summary.seconds)}, {summary.removed:,} items lost."
    )
    line.result(asdict(summary) | {"gallery": gallery.name, "model": bundle.model_id, "items": gallery.count}, text)


@click.command(cls=Command, examples="lookalike index explain photos\nlookalike index explain photos -o curve.png")
@click.argument("gallery")
@click.argument("generation", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also draw the curve into a PNG file.")
@common_options
def explain(line: CommandLine, gallery: str, generation: str | None, output: Path | None) -> None:
    """Say why a gallery is searched as it is: what was measured, and what a search costs at which recall."""
    import json

    from index_data.gallery import Gallery
    from index_data.generations import current_record, stored_names
    from index_data.indexes.explanation import draw_curve
    from index_data.indexes.explanation import explain as in_words

    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened:
        if generation is not None and generation not in stored_names(opened):
            raise NothingFoundError(
                f"{gallery} has no generation {generation}: there are {', '.join(stored_names(opened)) or 'none'}."
            )
        record = current_record(opened, generation)
        if record is None:
            raise NothingFoundError(
                f"nothing is known of the index of {gallery}: build it anew with `lookalike index build {gallery}`."
            )
        if output is not None:
            draw_curve(record, opened.name, output)
        line.result({"gallery": opened.name} | json.loads(record.to_bytes()), in_words(record, opened.name))
