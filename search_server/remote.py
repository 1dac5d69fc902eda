"""`--server URL`: commands that ask a running server instead of opening a gallery on this machine."""

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from index_data.search_lists import label_words
from train.command_line import CommandLine, common_options
from train.errors import ImageError, NothingFoundError, SettingsError
from train.printable import printable

if TYPE_CHECKING:
    from search_server.client import Client

Remote = Callable[..., Any]  # line, client, and the command's own arguments and options

SERVER_VARIABLE = "LOOKALIKE_SERVER"
_BY_THE_SERVER = ("provider", "model", "workers", "batch", "max_bad")  # options that the server decides


def with_server(command: click.Command, remote: Remote) -> click.Command:
    """A command that asks a server where --server names one."""
    local = command.callback
    option = click.Option(
        ["--server"],
        metavar="URL",
        envvar=SERVER_VARIABLE,
        help="Ask a running server, such as http://localhost:8000, with the token in LOOKALIKE_TOKEN.",
    )

    def ask(line: CommandLine, url: str, **settings: Any) -> Any:
        from search_server.client import Client

        context = click.get_current_context()
        for name in _BY_THE_SERVER:
            source = context.get_parameter_source(name)
            if settings.pop(name, None) is not None and source is click.core.ParameterSource.COMMANDLINE:
                raise SettingsError(f"--{name.replace('_', '-')} is for this machine: the server has its own.")
        with Client(url) as client:
            return remote(line, client, **settings)

    def decide(*, server: str | None, **settings: Any) -> Any:
        if server is None:
            assert local is not None  # noqa: S101  (every command of ours has one)
            return local(**settings)
        return common_options(ask)(url=server, **settings)

    both = copy.copy(command)
    both.params = [*command.params, option]
    both.callback = decide
    return both


def in_group(group: click.Group, name: str, remote: Remote) -> click.Group:
    """A group whose command of a name can also ask a server."""
    other = copy.copy(group)
    other.commands = {**group.commands, name: with_server(group.commands[name], remote)}
    return other


def search(
    line: CommandLine,
    client: "Client",
    *,
    gallery: str,
    images: tuple[Path, ...],
    folder_of_queries: Path | None,
    plus: tuple[Any, ...],
    minus: tuple[Any, ...],
    out: Path | None,
    asked: str | None,
    **options: Any,
) -> None:
    """Send pictures to a server, and show their neighbours."""
    from index_data.command import images_of
    from search_server.client import ServerProblem

    if plus or minus or out is not None:
        raise SettingsError(
            "--plus, --minus and --out are for galleries on this machine: leave them out, or ask without --server "
            "(docs/api.md says how a program sends several pictures)."
        )
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"filter": asked} if asked is not None else {}
    images = (*images, *images_of(folder_of_queries))
    if not images:
        raise NothingFoundError("there is nothing to look for: give an IMAGE, or --dir.")
    answers: list[dict[str, Any]] = []
    texts = []
    for image in images:
        name = printable(os.fsencode(image))
        try:
            answer = client.search(gallery, _read(image), store=False, **given)
        except (ImageError, ServerProblem) as error:
            if isinstance(error, ServerProblem) and error.status not in (413, 415, 422):
                raise
            click.echo(f"lookalike: {name}: {error.detail}", err=True)
            answers.append({"query": name, "problem": {"code": error.problem.code, "detail": error.detail}})
            continue
        answers.append({"query": name, **answer})
        rows = [
            f"{hit['rank']:>4}  {hit['score']:.4f}  {label_words(hit):<26}  {hit['path']}" for hit in answer["hits"]
        ]
        title = [name] if len(images) > 1 else []
        far = ["Nothing in this gallery is much like it: these are only the nearest."]
        texts.append("\n".join([*title, *rows, *(far if answer["query"]["warning"] == "nothing-close" else [])]))
    if texts or line.as_json:
        line.result({"gallery": gallery, "server": client.url, "results": answers}, "\n\n".join(texts))
    if not texts:
        raise NothingFoundError("no image could be used as a query.")


def scan(
    line: CommandLine,
    client: "Client",
    *,
    gallery: str,
    paths: Sequence[Path],
    keep_missing: bool,
    dry_run: bool,
    retry: bool,
) -> None:
    """Let a server look again at a gallery's folders, and wait for the end."""
    below = [str(path) for path in paths]
    answer = client.scan(gallery, paths=below, remove_missing=not keep_missing, dry_run=dry_run, retry=retry)
    if dry_run:
        line.result(
            answer, f"Would read {answer['new'] + answer['changed']:,} files and take out {answer['missing']:,}."
        )
        return
    line.reporter.say(f"Job {answer['id']} of {client.url}; it goes on if this command is stopped.")
    with line.reporter.task("Scanning", unit="files") as task:
        while answer["ended_at"] is None:
            answer = client.wait(answer["id"], seconds=1)
            task.total = answer["total"]
            task.advance(max(0, answer["done"] - task.done))
    line.result(answer, f"Job {answer['id']} is {answer['state']}: {answer['result'] or answer['message'] or ''}")
    if answer["state"] != "done":
        raise NothingFoundError(f"the job {answer['id']} is {answer['state']}: the server's log has the details.")


def listed(line: CommandLine, client: "Client", *, gallery: str | None) -> None:
    """List what a server serves."""
    records = [one for one in client.galleries() if gallery in (None, one["name"])]
    if gallery is not None and not records:
        raise NothingFoundError(f"no gallery {gallery!r} is served there.", code="no_such_gallery")
    rows = [f"{one['name']}  {one['items']:,} items  {one['failures']:,} rejected" for one in records]
    line.result({"galleries": records}, "\n".join(rows))


def _read(image: Path) -> Path:
    if not image.is_file():
        raise ImageError(f"there is no file {printable(os.fsencode(image))}.", code="file_missing")
    return image
