"""`lookalike eval` and `lookalike report`: how good a model is, with labels and without."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError
from train.interruption import stop_request

if TYPE_CHECKING:
    from export.bundle import Bundle
    from index_data.evaluation.methods import ModelMethod

PARTS = ("labels", "copies", "reconstruction", "drift")

_html = click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page that needs no other file."
)
_force = click.option("--force", is_flag=True, help="Write over a page that is there already.")
_seed = click.option("--seed", default=0, type=click.IntRange(min=0), help="Of every choice by chance.")
_provider = click.option("--provider", default="auto", help="Execution provider: auto, cpu, cuda, ... (see `doctor`).")
_threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one for each core]")


@click.command(
    name="eval",
    cls=Command,
    examples="lookalike eval ~/Pictures --model pictures --html eval.html\n"
    "lookalike eval cifar10 --model mine --model others --data ~/archives --only labels\n"
    "lookalike eval photos --json",
)
@click.argument("source")
@click.option("--model", "names", multiple=True, help="Name or folder of a model; may be repeated.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="These parts alone; may be repeated.")
@click.option("--limit", type=click.IntRange(min=2), help="Pictures at most: a sample of each label.")
@click.option("--queries", default=10_000, type=click.IntRange(min=1), help="Pictures with labels that ask, at most.")
@click.option("--originals", default=200, type=click.IntRange(min=1), help="Pictures that are copied, at most.")
@click.option(
    "--same-picture",
    is_flag=True,
    help="Also look for originals as `search --same-picture` does, which takes minutes for each 100 originals.",
)
@_html
@_force
@_seed
@_provider
@_threads
@common_options
def evaluate(
    line: CommandLine,
    source: str,
    names: tuple[str, ...],
    data: Path | None,
    only: tuple[str, ...],
    limit: int | None,
    queries: int,
    originals: int,
    same_picture: bool,
    html: Path | None,
    force: bool,
    seed: int,
    provider: str,
    threads: int | None,
) -> None:
    """Measure how good models are, with labels and without, beside what needs no training."""
    from export.choice import choose_model
    from index_data.evaluation.evaluation import EvaluationSettings, text_of
    from index_data.evaluation.evaluation import evaluate as measure
    from index_data.evaluation.html_report import evaluation_page
    from index_data.evaluation.originals import gallery_folder, read_material
    from index_data.gallery import Gallery

    _expect_page(html, force)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_request())
        folder = gallery_folder(line.workspace, source)
        gallery = stack.enter_context(Gallery.open(folder)) if folder else None
        if gallery is not None and not names:
            bundles = {gallery.bundle_folder.name: gallery.open_bundle()}
        else:
            bundles = _distinct([choose_model(line.workspace, name) for name in (names or (None,))])
        models = _open_models(bundles, provider, threads)
        material = read_material(
            source,
            [model.size for model in models],
            gallery=gallery,
            datasets=data or line.workspace.home / "datasets",
            limit=limit,
            seed=seed,
            workers=threads or len(os.sched_getaffinity(0)),
            reporter=line.reporter,
            stop=stop,
        )
        settings = EvaluationSettings(
            parts=only or PARTS, queries=queries, originals=originals, same_picture=same_picture, seed=seed
        )
        result = measure(material, models, settings, reporter=line.reporter, stop=stop)
    text = text_of(result)
    if html is not None:
        _write_page(html, evaluation_page(result))
        text += f"\nThe page: {html}"
    line.result(result.to_json(), text)


def _expect_page(html: Path | None, force: bool) -> None:
    from export.uses.pictures import expect_free, expect_place, format_of

    if html is not None:
        format_of(html, (".html", ".htm"))
        expect_free([html], force=force)
        expect_place(html)


def _write_page(html: Path, page: str) -> None:
    from export.uses.pictures import write_picture

    write_picture(html, page.encode())


def _distinct(bundles: "list[Bundle]") -> "dict[str, Bundle]":
    """Models by a short name of their own."""
    named: dict[str, Bundle] = {}
    for bundle in bundles:
        name = bundle.folder.resolve().name
        if name in named and named[name].model_id == bundle.model_id:
            raise SettingsError(f"--model {name} is given twice: name each model once.")
        named[name if name not in named else f"{name} ({bundle.model_id[:8]})"] = bundle
    return named


def _open_models(bundles: "dict[str, Bundle]", provider: str, threads: int | None) -> "list[ModelMethod]":
    from index_data.evaluation.methods import ModelMethod

    return [ModelMethod(name, bundle, provider=provider, threads=threads) for name, bundle in bundles.items()]


@click.command(
    cls=Command,
    examples="lookalike report photos\nlookalike report photos --html report.html",
)
@click.argument("gallery")
@click.option("--originals", default=200, type=click.IntRange(min=1), help="Pictures that are copied, at most.")
@_html
@_force
@_seed
@_provider
@_threads
@common_options
def report(
    line: CommandLine,
    gallery: str,
    originals: int,
    html: Path | None,
    force: bool,
    seed: int,
    provider: str,
    threads: int | None,
) -> None:
    """Say how well a gallery finds what it should, without any labels."""
    from index_data.evaluation.gallery_report import report_gallery, text_of
    from index_data.evaluation.html_report import gallery_page
    from index_data.gallery import Gallery

    _expect_page(html, force)
    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened, stop_request() as stop:
        bundle = opened.open_bundle()
        (model,) = _open_models({bundle.folder.name: bundle}, provider, threads)
        found = report_gallery(
            opened,
            model,
            originals=originals,
            seed=seed,
            workers=threads or len(os.sched_getaffinity(0)),
            reporter=line.reporter,
            stop=stop,
        )
    text = text_of(found)
    if html is not None:
        _write_page(html, gallery_page(found))
        text += f"\nThe page: {html}"
    line.result(found.to_json(), text)
