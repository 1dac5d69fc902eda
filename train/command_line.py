"""How every command behaves: where settings come from, what is shown, and how it ends.

A setting is taken from the flag, else the environment (`LOOKALIKE_TRAIN_EPOCHS`), else the settings file
(`epochs` in the table `[train]` of lookalike.toml), else its default. click does the first, second and last;
`run` gives it the third.
"""

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import click.shell_completion

from train.errors import BUG_EXIT_CODE, OUT_OF_MEMORY_EXIT_CODE, UserError
from train.interruption import Interrupted
from train.printable import printable
from train.progress import Reporter
from train.workspace import SETTINGS_FILE, Workspace, refuse_unknown_keys

PREFIX = "LOOKALIKE"
COMPLETION_VARIABLE = "_LOOKALIKE_COMPLETE"  # click's own: the completion script sets it to ask what could come next
HOME_VARIABLE = f"{PREFIX}_HOME"
OUR_PACKAGES = ("train", "export", "index_data", "search_server")

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(click.Command):
    """A command with an EXAMPLES block at the end of its help."""

    def __init__(self, *args: Any, examples: str = "", **settings: Any) -> None:
        settings.setdefault("context_settings", {})
        settings["context_settings"] = {
            "help_option_names": ["-h", "--help"],
            "show_default": True,
            **settings["context_settings"],
        }
        super().__init__(*args, **settings)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse settings of lookalike.toml that this command does not have, then read the command line."""
        _refuse_unknown_settings(ctx, {parameter.name or "" for parameter in self.params})
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


class Group(click.Group):
    """Commands with one name before them, as in `index add`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse tables of lookalike.toml that no command of the group has, then read the command line."""
        _refuse_unknown_settings(ctx, set(self.list_commands(ctx)))
        return super().parse_args(ctx, args)


def _refuse_unknown_settings(ctx: click.Context, known: set[str]) -> None:
    tables = ctx.command_path.split()[1:]
    where = f"table [{'.'.join(tables)}] of {SETTINGS_FILE}" if tables else SETTINGS_FILE
    refuse_unknown_keys(ctx.default_map or {}, known, where)


class CommandLine:
    """What the common options of a command say; every command function gets one as its first argument."""

    def __init__(self, workspace: Workspace, reporter: Reporter, as_json: bool) -> None:
        self.workspace = workspace
        self.reporter = reporter
        self.as_json = as_json

    def result(self, record: Mapping[str, Any], text: str) -> None:
        """Write what the command found to stdout: one JSON line with --json, else the text."""
        click.echo(json.dumps(record, default=str) if self.as_json else text)


def common_options(function: Function) -> Function:
    """Give a command --home, --verbose, --quiet, --log-format, --progress and --json, and a `CommandLine` first."""

    def wrapped(
        *args: Any,
        home: Path,
        verbose: bool,
        quiet: bool,
        log_format: str,
        progress: str,
        as_json: bool,
        **settings: Any,
    ) -> Any:
        set_up_logging(verbose=verbose, log_format=log_format)
        reporter = Reporter("none" if quiet else progress)  # type: ignore[arg-type]
        return function(CommandLine(Workspace(home), reporter, as_json), *args, **settings)

    wrapped.__doc__ = function.__doc__
    wrapped.__name__ = function.__name__
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
    options = (
        click.option(
            "--home",
            type=click.Path(path_type=Path, file_okay=False),
            default=Workspace.home,
            envvar=HOME_VARIABLE,
            help="Workspace: the folder of the settings file, runs, models and galleries.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Write the result as one JSON line."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "bar", "lines", "json", "none"]),
            default="auto",
            help="How progress is shown on stderr.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
        click.option("-v", "--verbose", is_flag=True, help="Log what happens in detail."),
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            help="How log lines are written.",
        ),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # A file name may hold a line feed or a terminal's control codes: one record stays one harmless line.
        line = f"{record.levelname.lower()}: {printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logging(*, verbose: bool = False, log_format: str = "text") -> None:
    """Log our own packages to stderr; the root stays at WARNING, since faiss and onnx flood it at INFO."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


def run(command: click.Command, path: Sequence[str], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and end the process with the exit code of docs/errors.md.

    Args:
        command: The group `lookalike`, or one stage's command.
        path: Its words below `lookalike`, () for the group itself, ("train",) for `python -m train`.
        arguments: Instead of the process's own.
    """
    sys.exit(exit_code(command, path, sys.argv[1:] if arguments is None else arguments))


def exit_code(command: click.Command, path: Sequence[str], arguments: Sequence[str]) -> int:
    """Run a command, show its error in one line on stderr, and return the exit code."""
    try:
        if instruction := os.environ.get(COMPLETION_VARIABLE):
            return click.shell_completion.shell_complete(command, {}, "lookalike", COMPLETION_VARIABLE, instruction)
        settings: Any = _settings_file(arguments)
        for word in path:
            settings = settings.get(word, {})
        context = command.make_context(
            " ".join(("lookalike", *path)),
            list(arguments),
            auto_envvar_prefix="_".join((PREFIX, *path)).upper(),
            default_map=settings,
        )
        # Not command.main: it would end the process by itself, and with a bug's exit code when a pipe closes.
        with context:
            outcome = command.invoke(context)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UserError as error:
        _say_error(error.detail)
        return error.problem.exit_code
    except Interrupted as interruption:
        if str(interruption):
            _say_error(str(interruption), kind="stopped")
        return interruption.exit_code
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        _say_error("out of memory: use a smaller batch or fewer workers, or free some memory, and run it again.")
        return OUT_OF_MEMORY_EXIT_CODE
    except BrokenPipeError:
        # The reader of our output left (`| head`): not an error. Keep Python from complaining at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001  (the last line of defence: show the traceback, end with the code of a bug)
        traceback.print_exc()
        _say_error("this is a bug in Lookalike: please report the lines above.")
        return BUG_EXIT_CODE


def _say_error(text: str, kind: str = "error") -> None:
    click.echo(f"lookalike: {kind}: {printable(text)}", err=True)


def _settings_file(arguments: Sequence[str]) -> dict[str, Any]:
    """Read lookalike.toml of the workspace that --home or the environment names, before click parses the rest."""
    home = os.environ.get(HOME_VARIABLE, "lookalike")
    for position, word in enumerate(arguments):
        if word == "--home" and position + 1 < len(arguments):
            home = arguments[position + 1]
        elif word.startswith("--home="):
            home = word.removeprefix("--home=")
    return Workspace(Path(home)).settings()
