"""`lookalike index train`: a model that learns from a gallery's own pictures."""

import os
from typing import Any

import click

from train.command import DECODERS, learning_options, read_changes
from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError
from train.interruption import stop_request


@click.command(
    name="train",
    cls=Command,
    examples="lookalike index train photos --minutes 15\n"
    "lookalike index train photos --name photos-2 --preset gpu --invariance semantic",
)
@click.argument("gallery")
@click.option("--name", help="Name of the run in the workspace, or a path.  [default: the gallery's]")
@learning_options
@common_options
def train(
    line: CommandLine,
    gallery: str,
    name: str | None,
    recipe: str,
    preset: str | None,
    invariance: str | None,
    decoder: str | None,
    start: str | None,
    epochs: int | None,
    minutes: float | None,
    changes: tuple[str, ...],
    max_bad: float,
    resume: bool,
) -> None:
    """Train a model on the pictures of a gallery: those of its folders, archives and uploads, and no others.

    `lookalike train FOLDER` has all settings; here those that matter for a gallery. Then `lookalike export` makes a
    model of the run, and `lookalike index build GALLERY --model NAME` gives it to the gallery.
    """
    if epochs is not None and minutes is not None:
        raise SettingsError("epochs and minutes are both given: give one of them.")
    # As `lookalike train` has it, before PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from index_data.gallery import Gallery
    from index_data.gallery_pictures import GalleryPictures

    overrides: dict[str, Any] = dict(DECODERS.get(decoder or "", {}))
    said = {"semantic.invariance": invariance, "training.epochs": epochs, "training.minutes": minutes}
    overrides |= {key: value for key, value in said.items() if value is not None}
    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened, stop_request() as stop:
        try:
            from train.recipe import Recipe
            from train.training import train_recipe
            from train.warm_start import WarmStart, agreed
        except ImportError as error:
            raise SettingsError(f"training needs PyTorch ({error}): pip install 'lookalike[train]'.") from error
        overrides |= read_changes(changes)
        begun_from = WarmStart.find(line.workspace, start) if start else None
        chosen, begun_from = agreed(Recipe.read(recipe, overrides, preset), begun_from, plain=Recipe.read(recipe))
        result = train_recipe(
            GalleryPictures(opened),
            line.workspace.place("runs", name or opened.name),
            chosen,
            datasets=line.workspace.home / "datasets",
            fresh=not resume,
            reporter=line.reporter,
            stop=stop,
            start=begun_from,
        )
    line.result(result.to_json(), result.sentence())
    result.refuse_too_many_rejected(max_bad)
