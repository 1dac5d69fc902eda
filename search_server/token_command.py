"""`lookalike token`: who may ask a server that others can reach."""

import click

from train.command_line import Command, CommandLine, Group, common_options

_SCOPES = ("read", "write", "admin")


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke the tokens that let programs and people in."""


@token.command(
    cls=Command,
    examples="lookalike token create phone\nlookalike token create nightly --scope write --days 365\n"
    "lookalike token create boss --scope admin --json",
)
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(_SCOPES),
    default="read",
    help="read: search and look; write: also add and remove pictures; admin: also galleries, jobs and folders.",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Days after which it ends.  [default: never]")
@common_options
def create(line: CommandLine, name: str, scope: str, days: float | None) -> None:
    """Make a token; it is shown once, and kept only as a digest."""
    from search_server.tokens import Tokens

    made = Tokens(line.workspace.home).create(name, scope, days=days)  # type: ignore[arg-type]
    line.reporter.say(f"Token {name!r} ({scope}). Keep it: it cannot be shown again.")
    line.result({"name": name, "scope": scope, "token": made}, made)


@token.command(name="list", cls=Command, examples="lookalike token list\nlookalike token list --json")
@common_options
def list_command(line: CommandLine) -> None:
    """List the tokens, without what they open doors with."""
    from search_server.tokens import Tokens

    tokens = Tokens(line.workspace.home).list()
    records = [
        {"name": one.name, "scope": one.scope, "created_at": one.created_at, "expires_at": one.expires_at}
        for one in tokens
    ]
    rows = [f"{one.name}  {one.scope}  made {one.created_at}  ends {one.expires_at or 'never'}" for one in tokens]
    line.result({"tokens": records}, "\n".join(rows) or "There is no token: make one with `lookalike token create`.")


@token.command(cls=Command, examples="lookalike token revoke phone")
@click.argument("name")
@common_options
def revoke(line: CommandLine, name: str) -> None:
    """Let a token open nothing from now on, in running servers too."""
    from search_server.tokens import Tokens

    Tokens(line.workspace.home).revoke(name)
    line.result({"revoked": name}, f"The token {name!r} opens nothing any more.")
