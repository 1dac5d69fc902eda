"""`lookalike completion`: the shell script that completes commands and options with Tab."""

import click
from click.shell_completion import get_completion_class

from search_server.lookalike import lookalike
from train.command_line import COMPLETION_VARIABLE, Command


@click.command(cls=Command, examples='eval "$(lookalike completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands with Tab."""
    completion_class = get_completion_class(shell)
    if completion_class is None:  # click's list and ours disagree
        raise click.UsageError(f"click knows no completion for {shell}.")
    click.echo(completion_class(lookalike, {}, "lookalike", COMPLETION_VARIABLE).source())
