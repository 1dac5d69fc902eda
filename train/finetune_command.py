"""The command `lookalike finetune`. PyTorch is loaded when it runs, not when its help is shown."""

import os
from pathlib import Path

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError
from train.interruption import stop_request
from train.workspace import name_for


@click.command(
    cls=Command,
    examples="lookalike finetune ~/Flowers --run pictures\n"
    "lookalike finetune ~/Flowers --run pictures --epochs 10 -o flowers-classifier\n"
    "lookalike finetune mnist --run mnist-conv-64 --data ~/archives --limit 1000",
)
@click.argument("source")
@click.option("--run", "--from", "run_name", required=True, help="Run whose encoder is tuned: a name or a folder.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the classifier.  [default: classifiers/SOURCE of the workspace]",
)
@click.option("--epochs", default=3, type=click.IntRange(min=1), help="Passes over the images.")
@click.option("--batch", default=32, type=click.IntRange(min=2), help="Images in one step.")
@click.option(
    "--learning-rate",
    default=1e-3,
    type=click.FloatRange(min=0, min_open=True),
    help="Peak of the schedule.",
)
@click.option(
    "--encoder-rate", default=0.5, type=click.FloatRange(0, 1), help="Part of it for the trained encoder; 0 leaves it."
)
@click.option(
    "--head-rate", default=10.0, type=click.FloatRange(min=0, min_open=True), help="Times the rate for the heads."
)
@click.option("--head-share", default=0.2, type=click.FloatRange(0, 1), help="Share of the steps for the head alone.")
@click.option("--limit", default=10_000, type=click.IntRange(min=2), help="Images to learn from, at most.")
@click.option("--test-limit", default=2_000, type=click.IntRange(min=1), help="Images to measure by, at most.")
@click.option(
    "--held-out",
    default=0.2,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share to measure by, where the data set has no split of its own.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of everything that is random.")
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one for each core]")
@common_options
def finetune(
    line: CommandLine,
    source: str,
    run_name: str,
    output: Path | None,
    limit: int,
    test_limit: int,
    held_out: float,
    data: Path | None,
    device: str,
    threads: int | None,
    epochs: int,
    batch: int,
    learning_rate: float,
    head_rate: float,
    encoder_rate: float,
    head_share: float,
    seed: int,
) -> None:
    """Teach labels to a trained encoder, beside the same net untrained."""
    from train.devices import find_device
    from train.labelled import divide, read_labelled
    from train.run import Run

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run = Run.open(line.workspace.existing("runs", run_name))
    try:
        import torch

        from train import finetune as tuning
    except ImportError as error:
        raise SettingsError(f"fine-tuning needs PyTorch ({error}): pip install 'lookalike[train]'.") from error
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    settings = tuning.FinetuneSettings(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        head_rate=head_rate,
        encoder_rate=encoder_rate,
        head_share=head_share,
        seed=seed,
        device=find_device(device),
    )
    folder = output or line.workspace.home / "classifiers" / name_for(Path(source))
    tuning.expect_replaceable(folder)
    recipe, network = run.recipe_as_planned, run.load_network()
    with stop_request() as stop:
        images = read_labelled(
            source,
            run.preprocessing,
            datasets=data or line.workspace.home / "datasets",
            limit=max(round(limit / (1 - held_out)), round(test_limit / held_out)),
            seed=seed,
            reporter=line.reporter,
            stop=stop,
            workers=threads,
        )
        division = divide(images, held_out=held_out, seed=seed, train_limit=limit, test_limit=test_limit)
        line.reporter.say(division.sentence(seed))
        twin = tuning.untrained_twin(recipe, seed)
        found = tuning.finetune(network, twin, images, division, settings, reporter=line.reporter, stop=stop)
    tuning.save_finetuned(found, recipe, folder)
    rejected = f"\n{images.rejected:,} files could not be read as images." if images.rejected else ""
    line.result(
        {"folder": str(folder), "run": run.name, "rejected": images.rejected, **found.to_json()},
        f"{found.sentence()}\nThe classifier is in {folder} (classifier.pt, classifier.json, curves.png).{rejected}",
    )
