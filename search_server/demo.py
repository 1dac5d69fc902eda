"""`lookalike demo`: the OpenMoji gallery, from nothing to a search page in one command."""

from pathlib import Path

import click

from search_server.openmoji import ATTRIBUTION, draw_openmoji
from search_server.up import Way, become_server, minutes_option, prepare, serve_options, serve_words, way_to
from train.command_line import Command, CommandLine, common_options

NAME = "openmoji"
MINUTES = 1.25  # of training: enough to beat the linear model on drawn pictures, short enough to wait for


@click.command(
    cls=Command, examples="lookalike demo\nlookalike demo --port 9000 --no-browser\nlookalike demo --images ~/Pictures"
)
@click.option("--images", type=click.Path(path_type=Path), help="Show this folder of pictures instead of OpenMoji.")
@minutes_option(MINUTES)
@serve_options
@common_options
def demo(line: CommandLine, images: Path | None, minutes: float, port: int, browser: bool) -> int:
    """Show Lookalike on 4,500 drawn pictures."""
    way = way_to(images, minutes, line) if images is not None else _way_to_openmoji(minutes, line)
    return prepare(way, line) or become_server(way, serve_words(port=port, browser=browser))


def _way_to_openmoji(minutes: float, line: CommandLine) -> Way:
    folder = line.workspace.home / "pictures" / NAME
    if not folder.is_dir():
        draw_openmoji(folder, line.reporter)
    licence = ("--licence", ATTRIBUTION)
    return Way(folder=folder, name=NAME, minutes=minutes, workspace=line.workspace, export_options=licence)
