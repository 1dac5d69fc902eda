"""`lookalike visualise` and `lookalike probe`: what the codes of a model hold, to look at and in figures."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from train.command_line import Command, CommandLine, common_options
from train.interruption import stop_request
from train.workspace import name_for

if TYPE_CHECKING:
    pass

CLASSIFIERS = ("knn", "svm", "forest")

_source = click.argument("source")
_model = click.option("--model", help="Name or folder of the model.  [default: the only one there is]")
_data = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
_provider = click.option("--provider", default="auto", help="Execution provider: auto, cpu, cuda, ... (see `doctor`).")
_threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one for each core]")
_seed = click.option("--seed", default=0, type=click.IntRange(min=0), help="Of every choice by chance.")


@click.command(
    cls=Command,
    examples="lookalike visualise ~/Pictures --model pictures -o sheets\n"
    "lookalike visualise mnist --model mnist-variational -o sheets --data ~/archives",
)
@_source
@_model
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the sheets.  [default: SOURCE-sheets]",
)
@click.option("--pictures", default=16, type=click.IntRange(1, 200), help="On the sheet of reconstructions.")
@click.option("--limit", default=2000, type=click.IntRange(min=1), help="Pictures on the map, at most.")
@click.option("--thumbnails", is_flag=True, help="Show pictures on the map even where labels have colours.")
@_data
@_seed
@_provider
@_threads
@common_options
def visualise(
    line: CommandLine,
    source: str,
    model: str | None,
    output: Path | None,
    pictures: int,
    limit: int,
    thumbnails: bool,
    data: Path | None,
    seed: int,
    provider: str,
    threads: int | None,
) -> None:
    """Draw what a model's codes hold: codes, reconstructions, traversals, a map."""
    import numpy as np

    from export.choice import choose_model
    from export.uses.visualise import visualise as draw
    from train.labelled import read_labelled, stratified

    bundle = choose_model(line.workspace, model)
    folder = output or Path(f"{name_for(Path(source))}-sheets")
    with stop_request() as stop:
        images = read_labelled(
            source,
            bundle.preprocessing,
            datasets=data or line.workspace.home / "datasets",
            limit=limit,
            seed=seed,
            reporter=line.reporter,
            stop=stop,
            workers=threads,
        )
        if len(images) > limit:
            images = images.take(np.sort(stratified(images.labels, limit, seed)))
        drawn = draw(
            bundle,
            images,
            folder,
            pictures=pictures,
            seed=seed,
            thumbnails=thumbnails,
            reporter=line.reporter,
            stop=stop,
            provider=provider,
            threads=threads,
        )
    of = f" of {images.available:,}" if images.available > len(images) else ""
    lines = [f"{len(images):,}{of} pictures, {len(images.classes)} labels, drawn in {folder}:"]
    lines += [f"  {file.name}" for file in drawn.files]
    lines += drawn.left_out
    if images.rejected:
        lines.append(f"{images.rejected:,} files could not be read as images.")
    record = {
        "folder": str(folder),
        "files": [file.name for file in drawn.files],
        "left_out": list(drawn.left_out),
        "rejected": images.rejected,
        "seed": seed,
        **drawn.figures,
    }
    line.result(record, "\n".join(lines))


@click.command(
    cls=Command,
    examples="lookalike probe ~/Pictures --model pictures\n"
    "lookalike probe mnist --model mnist-conv-64 --data ~/archives --limit 60000 --test-limit 10000 --only knn",
)
@_source
@_model
@click.option("--k", default=5, type=click.IntRange(min=1), help="Neighbours that vote.")
@click.option("--limit", default=10_000, type=click.IntRange(min=2), help="Pictures to learn from, at most.")
@click.option("--test-limit", default=2_000, type=click.IntRange(min=1), help="Pictures to measure by, at most.")
@click.option(
    "--held-out",
    default=0.2,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share to measure by, where the data set has no split of its own.",
)
@click.option("--only", multiple=True, type=click.Choice(CLASSIFIERS), help="These classifiers alone; may be repeated.")
@_data
@_seed
@_provider
@_threads
@common_options
def probe(
    line: CommandLine,
    source: str,
    model: str | None,
    k: int,
    limit: int,
    test_limit: int,
    held_out: float,
    only: tuple[str, ...],
    data: Path | None,
    seed: int,
    provider: str,
    threads: int | None,
) -> None:
    """Measure how well labels are found from codes, from pixels and from PCA."""
    from export.uses.probe import ProbeSettings, expect_scikit_learn, probe_codes
    from train.labelled import divide, read_labelled

    expect_scikit_learn()
    from export.choice import choose_model

    bundle = choose_model(line.workspace, model)
    settings = ProbeSettings(k=k, classifiers=only or CLASSIFIERS, seed=seed, threads=threads, provider=provider)
    with stop_request() as stop:
        images = read_labelled(
            source,
            bundle.preprocessing,
            datasets=data or line.workspace.home / "datasets",
            # Of a folder no more is read than can be used.
            limit=max(round(limit / (1 - held_out)), round(test_limit / held_out)),
            seed=seed,
            reporter=line.reporter,
            stop=stop,
            workers=threads,
        )
        division = divide(images, held_out=held_out, seed=seed, train_limit=limit, test_limit=test_limit)
        line.reporter.say(division.sentence(seed))
        result = probe_codes(bundle, images, division, settings, reporter=line.reporter, stop=stop)
    line.result(result.to_json(), result.table())
