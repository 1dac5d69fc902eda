"""The command `lookalike train`. PyTorch is loaded when it runs, not when its help is shown."""

import os
from pathlib import Path
from typing import Any

import click

from train.command_line import Command, CommandLine, common_options
from train.config import DEFAULT_EPOCHS, TrainConfig
from train.errors import NothingFoundError
from train.interruption import stop_request
from train.workspace import name_for

MAX_BAD = 0.05  # reliability.md, section 5


@click.command(
    cls=Command,
    examples="lookalike train ~/Pictures\n"
    "lookalike train ~/Pictures --name holidays --minutes 10\n"
    "lookalike train scans --image-size 128 --dims 512 --mirror no",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the run in the workspace, or a path.  [default: the folder's]")
@click.option("--image-size", default=TrainConfig.image_size, help="Side of the images, px: a multiple of 16.")
@click.option(
    "--dims", default=TrainConfig.dims, type=click.IntRange(min=1, max=4096), help="Dimensions of the latent."
)
@click.option("--epochs", type=click.IntRange(min=1), help=f"Passes over the images.  [default: {DEFAULT_EPOCHS}]")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Budget of the training itself, instead of --epochs.",
)
@click.option("--batch", default=TrainConfig.batch, type=click.IntRange(min=1), help="Images in one step.")
@click.option(
    "--learning-rate",
    default=TrainConfig.learning_rate,
    type=click.FloatRange(min=0, min_open=True),
    help="Peak of the schedule.",
)
@click.option(
    "--mirror",
    default=TrainConfig.mirror,
    type=click.Choice(["auto", "yes", "no"]),
    help="An image and its mirror image are the same; auto asks the images.",
)
@click.option("--seed", default=TrainConfig.seed, type=click.IntRange(min=0), help="Of everything that is random.")
@click.option("--device", default=TrainConfig.device, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    default=TrainConfig.precision,
    type=click.Choice(["auto", "fp32", "bf16"]),
    help="auto times both on this machine.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one for each core]")
@click.option(
    "--checkpoint-seconds",
    default=TrainConfig.checkpoint_seconds,
    type=click.FloatRange(min=0),
    help="At most this much work is lost with a kill.",
)
@click.option(
    "--max-bad",
    default=MAX_BAD,
    type=click.FloatRange(min=0, max=1),
    help="Largest share of rejected images that still ends with exit code 0.",
)
@click.option("--resume/--fresh", default=True, help="Go on with the run of that name, or remove it and begin again.")
@common_options
def train(line: CommandLine, folder: Path, name: str | None, max_bad: float, resume: bool, **settings: Any) -> None:
    """Train an autoencoder on a folder of images."""
    if not folder.is_dir():
        raise NothingFoundError(f"there is no folder {folder}: give the folder of your images.")
    config = TrainConfig(**settings)
    place = line.workspace.place("runs", name or name_for(folder))
    # Before PyTorch is loaded: threads that wait sleep instead of spinning. Beside other work on the machine that is
    # several times faster (docs/training.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with stop_request() as stop:
        from train.training import train_folder

        result = train_folder(folder, place, config, fresh=not resume, reporter=line.reporter, stop=stop)
    line.result(result.to_json(), result.sentence())
    result.refuse_too_many_rejected(max_bad)
