"""The command `lookalike train`. PyTorch is loaded when it runs, not when its help is shown."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import NothingFoundError, SettingsError
from train.interruption import stop_request
from train.recipe_files import DEFAULT_EPOCHS, DEFAULT_RECIPE, recipe_titles
from train.workspace import name_for

Function = TypeVar("Function", bound=Callable[..., Any])

MAX_BAD = 0.05  # reliability.md, section 5

# Options that change one setting of the recipe; the others are reached by --set.
_SECTIONS = {
    "image_size": "data",
    "mirror": "data",
    "dims": "architecture",
    "semantic_dims": "architecture",
    "invariance": "semantic",
    "epochs": "training",
    "minutes": "training",
    "batch": "training",
    "learning_rate": "training",
    "seed": "training",
    "device": "training",
    "precision": "training",
    "threads": "training",
    "checkpoint_seconds": "training",
}

# What `--decoder` sets: a sharp one is judged by the features of its own trunk to the end.
DECODERS: dict[str, dict[str, Any]] = {
    "mse": {"loss.structure": 0.0, "loss.edges": 0.0, "loss.features": 0.0},
    "sharp": {"loss.features": 0.05, "loss.plain": 0.0},
}


_LEARNING = (
    click.option(
        "--recipe",
        default=DEFAULT_RECIPE,
        help="Name of a recipe (`lookalike train --list-recipes`), or a TOML file of your own.",
    ),
    click.option("--preset", help="A recipe's settings for a kind of machine: cpu-small, cpu or gpu."),
    click.option(
        "--invariance",
        type=click.Choice(["semantic", "balanced", "copy"]),
        help="What counts as the same: also in other colours, in other light, or as a copy of it.",
    ),
    click.option(
        "--decoder",
        type=click.Choice(list(DECODERS)),
        help="Nearest to the pixels on the whole, or crisper and a little further from them.",
    ),
    click.option("--from", "start", metavar="MODEL", help="Start from what a model or run has learnt: name or folder."),
    click.option("--epochs", type=click.IntRange(min=1), help=f"Passes over the images.  [default: {DEFAULT_EPOCHS}]"),
    click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="Budget of the training itself, instead of --epochs.",
    ),
    click.option(
        "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting: architecture.dims=64."
    ),
    click.option(
        "--max-bad",
        default=MAX_BAD,
        type=click.FloatRange(min=0, max=1),
        help="Largest share of rejected images that still ends with exit code 0.",
    ),
    click.option(
        "--resume/--fresh", default=True, help="Go on with the run of that name, or remove it and begin again."
    ),
)


def learning_options(command: Function) -> Function:
    """What every command that trains a model can be told, whatever it trains on."""
    for option in reversed(_LEARNING):
        command = option(command)
    return command


def read_changes(changes: Sequence[str]) -> dict[str, Any]:
    """What --set says, by dotted key; raises SettingsError where one is not KEY=VALUE."""
    from train.recipe import read_value

    found = {}
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator:
            raise SettingsError(f"--set {change}: write KEY=VALUE, such as architecture.dims=64.")
        found[key.strip()] = read_value(value.strip())
    return found


def _list_recipes(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Print the recipes and end."""
    if not asked:
        return
    titles = recipe_titles()
    width = max(len(name) for name, _, _ in titles)
    for name, title, published in titles:
        click.echo(f"{name:<{width}}  {title}" + (f"  [published: {published}]" if published else ""))
    context.exit()


@click.command(
    cls=Command,
    examples="lookalike train ~/Pictures\n"
    "lookalike train ~/Pictures --name holidays --minutes 10\n"
    "lookalike train ~/Scans --recipe patches\n"
    "lookalike train scans --image-size 128 --dims 512 --mirror no\n"
    "lookalike train --recipe lfw-denoise-512\n"
    "lookalike train ~/Scans --recipe text-removal --set data.image_size=256 --set corruption.kind=boxes",
)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@learning_options
@click.option(
    "--list-recipes", is_flag=True, is_eager=True, expose_value=False, callback=_list_recipes, help="Show all."
)
@click.option("--dataset", help="Instead of a folder: name or file of a data set (`lookalike datasets list`).")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
@click.option("--name", help="Name of the run in the workspace, or a path.  [default: the recipe's or the folder's]")
@click.option("--image-size", type=int, help="Side of the images, px.")
@click.option("--dims", type=click.IntRange(min=1, max=65536), help="Dimensions of the latent.")
@click.option("--semantic-dims", type=click.IntRange(min=1), help="Of them that say what is shown.")
@click.option("--batch", type=click.IntRange(min=1), help="Images in one step.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Peak of the schedule.")
@click.option(
    "--mirror",
    type=click.Choice(["auto", "yes", "no"]),
    help="An image and its mirror image are the same; auto asks the images.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that is random.")
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto times both on this machine.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one for each core]")
@click.option("--checkpoint-seconds", type=click.FloatRange(min=0), help="At most this much work is lost with a kill.")
@common_options
def train(
    line: CommandLine,
    folder: Path | None,
    recipe: str,
    preset: str | None,
    start: str | None,
    decoder: Literal["mse", "sharp"] | None,
    dataset: str | None,
    data: Path | None,
    changes: tuple[str, ...],
    name: str | None,
    max_bad: float,
    resume: bool,
    **settings: Any,
) -> None:
    """Train an autoencoder on a folder of images, or by a recipe.

    What no option says, the recipe says: `--list-recipes` shows them, docs/recipes.md explains.
    """
    if folder is not None and dataset is not None:
        raise SettingsError("a folder and --dataset are both given: give one of them.")
    if settings["epochs"] is not None and settings["minutes"] is not None:
        raise SettingsError("epochs and minutes are both given: give one of them.")
    if folder is not None and not folder.is_dir():
        raise NothingFoundError(f"there is no folder {folder}: give the folder of your images.")
    # Before PyTorch is loaded: threads that wait sleep instead of spinning. Beside other work on the machine that is
    # several times faster (docs/training.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with stop_request() as stop:
        from train.recipe import Recipe
        from train.training import train_recipe
        from train.warm_start import WarmStart, agreed

        overrides: dict[str, Any] = dict(DECODERS[decoder]) if decoder else {}
        overrides |= {f"{_SECTIONS[key]}.{key}": value for key, value in settings.items() if value is not None}
        overrides |= read_changes(changes)
        if dataset is not None:
            overrides["data.dataset"] = dataset
        begun_from = WarmStart.find(line.workspace, start) if start else None
        chosen, begun_from = agreed(Recipe.read(recipe, overrides, preset), begun_from, plain=Recipe.read(recipe))
        source = folder or chosen.data.dataset
        if not source:
            raise SettingsError(
                f"the recipe {chosen.name} works on any pictures: give the folder of your images, or a --dataset."
            )
        if isinstance(source, str) and Path(source).is_dir():
            source = Path(source)
        default = name_for(folder) if folder and recipe == DEFAULT_RECIPE else chosen.name
        place = line.workspace.place("runs", name or default)
        result = train_recipe(
            source,
            place,
            chosen,
            datasets=data or line.workspace.home / "datasets",
            fresh=not resume,
            reporter=line.reporter,
            stop=stop,
            start=begun_from,
        )
    line.result(result.to_json(), result.sentence())
    result.refuse_too_many_rejected(max_bad)
