"""The command `lookalike`: one door to all four stages. A command's module is imported only when it is called."""

import difflib
import importlib
from typing import NamedTuple, NoReturn

import click

from train.command_line import Group, run


class Entry(NamedTuple):
    """Where a command is found, and what `lookalike --help` says of it without importing it."""

    place: str  # module:attribute
    help: str  # the first line of the command's own help; a test compares them


SECTIONS: dict[str, dict[str, Entry]] = {
    "The first minute": {
        "demo": Entry("search_server.demo:demo", "Show Lookalike on 4,500 drawn pictures."),
        "up": Entry("search_server.up:up", "Make a folder of pictures searchable: train, export, index, serve."),
    },
    "The four stages": {
        "train": Entry("train.command:train", "Train an autoencoder on a folder of images, or by a recipe."),
        "export": Entry("export.command:export", "Export a run as a bundle of ONNX graphs."),
        "index": Entry("index_data.command:index", "Make galleries and keep them up to date."),
        "serve": Entry("search_server.command:serve", "Serve galleries as a web page and a REST API."),
    },
    "Ask": {
        "search": Entry("index_data.command:search", "Find the nearest neighbours of images in a gallery."),
    },
    "A model by itself": {
        "reconstruct": Entry(
            "export.uses.command:reconstruct", "Show what a model makes of pictures, with the error of each."
        ),
        "denoise": Entry(
            "export.uses.command:denoise", "Clean pictures: noise, lettering, boxes, as the model was trained."
        ),
        "outliers": Entry(
            "export.uses.command:outliers", "Find pictures that are unlike those that a model was trained on."
        ),
        "codes": Entry(
            "export.uses.command:codes", "Store pictures as codes: how small they become, and what is lost."
        ),
        "decode": Entry("export.uses.command:decode", "Paint stored codes as pictures again."),
        "sample": Entry("export.uses.command:sample", "Paint new pictures from codes drawn by chance."),
        "morph": Entry("export.uses.command:morph", "Paint what lies between two pictures."),
    },
    "Look into it": {
        "eval": Entry(
            "index_data.evaluation.command:evaluate",
            "Measure how good models are, with labels and without, beside what needs no training.",
        ),
        "report": Entry(
            "index_data.evaluation.command:report", "Say how well a gallery finds what it should, without any labels."
        ),
        "visualise": Entry(
            "export.uses.study_command:visualise",
            "Draw what a model's codes hold: codes, reconstructions, traversals, a map.",
        ),
        "probe": Entry(
            "export.uses.study_command:probe", "Measure how well labels are found from codes, from pixels and from PCA."
        ),
        "finetune": Entry(
            "train.finetune_command:finetune", "Teach labels to a trained encoder, beside the same net untrained."
        ),
        "datasets": Entry("train.datasets.command:datasets", "List and download the data sets of the recipes."),
    },
    "This machine": {
        "token": Entry(
            "search_server.token_command:token", "Make, list and revoke the tokens that let programs and people in."
        ),
        "doctor": Entry("search_server.doctor:doctor", "Say what works on this machine."),
        "config": Entry("search_server.config:config", "Show where settings come from."),
        "completion": Entry(
            "search_server.completion:completion", "Print the script that completes commands with Tab."
        ),
        "version": Entry("search_server.version:version", "Print the versions of Lookalike and what it stands on."),
    },
}
ENTRIES = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the help."""
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is no such name."""
        entry = ENTRIES.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.place.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return _also_of_a_server(cmd_name, command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; where there is none, say which may be meant: click looks at loaded ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], ENTRIES, n=1)
            if not near:
                raise
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their sections."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()], col_max=12)


def _also_of_a_server(name: str, command: click.Command) -> click.Command:
    """A command, with --server where a server can do the same."""
    if name == "search":
        from search_server import remote

        return remote.with_server(command, remote.search)
    if name == "index":
        from search_server import remote

        assert isinstance(command, click.Group)  # noqa: S101
        return remote.in_group(remote.in_group(command, "scan", remote.scan), "list", remote.listed)
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def lookalike() -> None:
    """Find the pictures that look like yours.

    Lookalike learns from a folder of pictures without labels, and answers a picture with its nearest neighbours, on
    this machine alone. Begin with `lookalike demo`, or with `lookalike up FOLDER` on pictures of your own.

    Every option can also stand in lookalike.toml or in the environment: `lookalike config show` explains.
    """


def main() -> NoReturn:
    """Run the command line and end the process."""
    run(lookalike, ())


if __name__ == "__main__":
    main()
