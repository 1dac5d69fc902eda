"""`lookalike up`: from a folder of pictures to a search page. Each step is a command of its own, resumable."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import NothingFoundError, TooManyRejectedError
from train.interruption import wait_for
from train.progress import duration
from train.recipe_files import DEFAULT_RECIPE, recipe_file
from train.workspace import STARTER, Workspace, name_for

TOO_FEW = 300  # images: fewer teach a model of their own less than the one that comes with the package knows
DEFAULT_MINUTES = 15.0  # of training on a CPU
_REJECTED_SOME = TooManyRejectedError("").problem.exit_code


@dataclass(frozen=True)
class Step:
    """One stage of the way, run as its own process: what serves never loads PyTorch."""

    sentence: str
    words: tuple[str, ...]  # of the command: module, then arguments


@dataclass(frozen=True, kw_only=True)
class Way:
    """From a folder of pictures to a served gallery, under one name."""

    folder: Path
    name: str
    minutes: float
    workspace: Workspace
    recipe: str = DEFAULT_RECIPE
    export_options: tuple[str, ...] = ()
    starter: bool = False  # take the model that comes with the package instead of training one

    def steps(self) -> list[Step]:
        """The steps that are still to be done; a step that was interrupted goes on where it was."""
        home = ("--home", str(self.workspace.home))
        steps = []
        own = self.workspace.place("models", self.name)
        trained = (own / "bundle.json").is_file()
        if not trained and not self.starter:
            budget = ("--recipe", self.recipe, "--minutes", f"{self.minutes:g}")
            steps += [
                Step(
                    f"Training on {self.folder} for about {duration(self.minutes * 60)}: it learns what these pictures "
                    "are made of. Ctrl-C saves; the same command goes on.",
                    ("train", str(self.folder), "--name", self.name, *budget, *home),
                ),
                Step(
                    "Exporting the model to ONNX and proving that it computes the same.",
                    ("export", self.name, "--name", self.name, *self.export_options, *home),
                ),
            ]
        model = str(own) if trained or not self.starter else STARTER
        add = ("index_data", "add", self.name, str(self.folder), "--model", model, *home)
        steps.append(Step("Indexing: every new picture gets its place in the gallery.", add))
        return steps


def prepare(way: Way, line: CommandLine) -> int:
    """Do the steps that are left, and return 0 or the exit code of the step that failed."""
    steps = way.steps()
    for number, step in enumerate(steps, 1):
        line.reporter.say(f"[{number}/{len(steps)}] {step.sentence}")
        code = _run(step, line)
        if code == _REJECTED_SOME:
            line.reporter.say("Some files were rejected; the good ones are kept, so it goes on.")
        elif code != 0:
            return code
    return 0


def become_server(way: Way, options: tuple[str, ...]) -> NoReturn:
    """Serve the gallery in this process's place."""
    words = ("search_server", way.name, *options, "--home", str(way.workspace.home))
    os.execv(sys.executable, _process(words))  # noqa: S606  (our own module, no shell)


def _run(step: Step, line: CommandLine) -> int:
    progress = ("--progress", line.reporter.mode) if line.reporter.mode != "none" else ("--quiet",)
    # Told to stop, the child saves and ends, and its exit code is ours.
    return wait_for(subprocess.Popen(_process((*step.words, *progress))))  # noqa: S603  (our own module, no shell)


def _process(words: tuple[str, ...]) -> list[str]:
    module, *arguments = words
    return [sys.executable, "-m", module, *arguments]


def count_images(folder: Path) -> int:
    """How many files in a folder have the name or the look of an image.

    Raises:
        NothingFoundError: There is no such folder, or no image in it.
    """
    from train.images import FoundFile, find_files, looks_like_image

    if not folder.is_dir():
        raise NothingFoundError(f"there is no folder {folder}: give the folder of your pictures.")
    images = sum(isinstance(found, FoundFile) and looks_like_image(found.path, b"") for found in find_files(folder))
    if images == 0:
        raise NothingFoundError(
            f"{folder} has no images: give a folder with JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files."
        )
    return images


def minutes_option(default: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the budget that it hands on to `lookalike train`."""
    return click.option(
        "--minutes",
        default=default,
        type=click.FloatRange(min=0, min_open=True),
        help="Budget for training, where there is no model yet.",
    )


def way_to(
    folder: Path, minutes: float, line: CommandLine, name: str | None = None, recipe: str = DEFAULT_RECIPE
) -> Way:
    """The way for a folder of the user's own, after saying how many images it has.

    Raises:
        NothingFoundError: There is no such folder, or no image in it.
    """
    count = count_images(folder)
    line.reporter.say(f"{count:,} images in {folder}.")
    starter = count < TOO_FEW and recipe == DEFAULT_RECIPE
    if starter:
        line.reporter.say(
            f"Fewer than {TOO_FEW} are too few to learn from: the model that comes with Lookalike is taken. "
            "`--recipe patches` makes one of their own all the same."
        )
    return Way(
        folder=folder,
        name=name or name_for(folder),
        minutes=minutes,
        workspace=line.workspace,
        recipe=recipe,
        starter=starter,
    )


def serve_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that it hands on to `lookalike serve`."""
    for option in (
        click.option("--browser/--no-browser", default=True, help="Open the page in a browser."),
        click.option("--port", default=8000, help="Port of the page and the API, on this machine alone."),
    ):
        function = option(function)
    return function


def serve_words(*, port: int, browser: bool) -> tuple[str, ...]:
    """The options of `serve_options` as `lookalike serve` takes them."""
    return ("--port", str(port), "--browser" if browser else "--no-browser")


@click.command(
    cls=Command, examples="lookalike up ~/Pictures\nlookalike up ~/Pictures --minutes 30 --name holidays --port 9000"
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the run, the model and the gallery.  [default: the folder's]")
@click.option(
    "--recipe",
    default=DEFAULT_RECIPE,
    help="What to train: a name of `lookalike train --list-recipes`, or a TOML file.",
)
@minutes_option(DEFAULT_MINUTES)
@serve_options
@common_options
def up(line: CommandLine, folder: Path, name: str | None, recipe: str, minutes: float, port: int, browser: bool) -> int:
    """Make a folder of pictures searchable: train, export, index, serve."""
    recipe_file(recipe)  # refused here, before the pictures are counted
    way = way_to(folder, minutes, line, name, recipe)
    return prepare(way, line) or become_server(way, serve_words(port=port, browser=browser))
