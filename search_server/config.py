"""`lookalike config`: where settings come from, and a settings file to begin with."""

import os
from typing import Any

import click

from search_server.lookalike import ENTRIES, lookalike
from train.command_line import PREFIX, Command, CommandLine, Group, common_options
from train.errors import SettingsError
from train.files import write_file
from train.workspace import SETTINGS_FILE

# Said about one call, not about a workspace.
_NOT_IN_FILE = {"home", "as_json", "help"}

_HEADER = """\
# Settings of Lookalike. A flag on the command line wins over an environment variable, that over this file, and this
# file over the default. Every line below is a default; take the '#' away to change it.
"""


@click.group(cls=Group)
def config() -> None:
    """Show where settings come from."""


@config.command(cls=Command, name="path", examples="lookalike config path")
@common_options
def path_command(line: CommandLine) -> None:
    """Print the place of the settings file, whether or not it is there."""
    path = line.workspace.home / SETTINGS_FILE
    line.result({"path": str(path), "exists": path.is_file()}, str(path))


@config.command(cls=Command, examples="lookalike config show\nlookalike config show train")
@click.argument("command", required=False)
@common_options
def show(line: CommandLine, command: str | None) -> None:
    """Print every setting that is not at its default, and where its value comes from."""
    if command is not None and command not in ENTRIES:
        raise SettingsError(f"there is no command {command!r}: it is one of {', '.join(ENTRIES)}.")
    file_settings = line.workspace.settings()
    rows = [row for words, found in _commands() for row in _settings_of(words, found, file_settings)]
    rows = [row for row in rows if command is None or row["command"].split()[0] == command]
    text = "\n".join(f"{row['command']} {row['setting']} = {row['value']!r}  (from {row['source']})" for row in rows)
    line.result({"settings": rows}, text or "Every setting has its default.")


@config.command(cls=Command, examples="lookalike config init")
@common_options
def init(line: CommandLine) -> None:
    """Write a settings file that lists every setting with its default and meaning."""
    path = line.workspace.home / SETTINGS_FILE
    if path.exists():
        raise SettingsError(f"{path} is there already: edit it, or remove it first.")
    write_file(path, _settings_text().encode())
    line.result({"path": str(path)}, f"Wrote {path}. Take the '#' away from a line to change a setting.")


def _commands() -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, those of groups included."""
    context = click.Context(lookalike)
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in ENTRIES:
        command = lookalike.get_command(context, name)
        if isinstance(command, click.Group):
            found += [((name, word), child) for word, child in command.commands.items()]
        elif command is not None:
            found.append(((name,), command))
    return found


def _options(command: click.Command) -> list[click.Option]:
    return [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in _NOT_IN_FILE
    ]


def _settings_of(words: tuple[str, ...], command: click.Command, tables: dict[str, Any]) -> list[dict[str, Any]]:
    table: Any = tables
    for word in words:
        table = table.get(word, {})
    rows = []
    for option in _options(command):
        variable = "_".join((PREFIX, *words, option.name or "")).upper()
        if variable in os.environ:
            value, source = os.environ[variable], variable
        elif option.name in table:
            value, source = table[option.name], SETTINGS_FILE
        else:
            continue
        rows.append({"command": " ".join(words), "setting": option.name, "value": value, "source": source})
    return rows


def _settings_text() -> str:
    sections = []
    for words, command in _commands():
        settings = [
            f"# {option.name} = {_toml_value(option)}  # {option.help or ''}".rstrip(" #")
            for option in _options(command)
        ]
        if settings:
            sections.append("\n".join((f"# [{'.'.join(words)}]", *settings)))
    return _HEADER + "\n" + "\n\n".join(sections) + "\n"


def _toml_value(option: click.Option) -> str:
    default = option.to_info_dict().get("default")
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return repr(default)
    return f'"{default}"' if default is not None else '""'
