"""A setting comes from the flag, else the environment, else the file, else the default; an error is one line."""

import json
import logging
import os
import subprocess
import sys

import click
import pytest

from train.command_line import Command, CommandLine, Group, common_options, exit_code, set_up_logging
from train.errors import PROBLEMS, ImageError, UserError
from train.interruption import Interrupted
from train.printable import printable


@click.group(cls=Group)
def tool() -> None:
    """Commands for these tests."""


@tool.command(cls=Command, examples="lookalike paint --colour red")
@click.option("--colour", default="blue")
@click.option("--layers", default=1)
@common_options
def paint(line: CommandLine, colour: str, layers: int) -> None:
    """Paint."""
    line.result({"colour": colour, "layers": layers, "home": str(line.workspace.home)}, f"{colour} x {layers}")


@pytest.fixture(autouse=True)
def keep_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def settings_file(tmp_path):
    (tmp_path / "lookalike.toml").write_text('[paint]\ncolour = "green"\nlayers = 3\n')
    return ["--home", str(tmp_path)]


def test_the_flag_wins_over_the_environment_over_the_file_over_the_default(settings_file, monkeypatch, capsys):
    def painted(*arguments: str) -> str:
        assert exit_code(tool, (), ["paint", *arguments]) == 0
        return capsys.readouterr().out.strip()

    assert painted() == "blue x 1"
    assert painted(*settings_file) == "green x 3"
    monkeypatch.setenv("LOOKALIKE_PAINT_COLOUR", "red")
    assert painted(*settings_file) == "red x 3"
    assert painted(*settings_file, "--colour", "white") == "white x 3"


def test_a_stage_called_as_a_module_takes_the_same_settings(settings_file, monkeypatch, capsys):
    monkeypatch.setenv("LOOKALIKE_PAINT_LAYERS", "7")
    assert exit_code(paint, ("paint",), [*settings_file]) == 0
    assert capsys.readouterr().out.strip() == "green x 7"


def test_a_misspelt_setting_is_refused_and_the_nearest_one_named(tmp_path, capsys):
    (tmp_path / "lookalike.toml").write_text('[paint]\ncolor = "green"\n')
    assert exit_code(tool, (), ["paint", "--home", str(tmp_path)]) == 2
    assert "table [paint] of lookalike.toml has an unknown setting 'color': did you mean colour?" in (
        capsys.readouterr().err
    )


def test_a_misspelt_table_is_refused_too(tmp_path, capsys):
    (tmp_path / "lookalike.toml").write_text("[pant]\nlayers = 2\n")
    assert exit_code(tool, (), ["paint", "--home", str(tmp_path)]) == 2
    assert "did you mean paint?" in capsys.readouterr().err


def test_json_is_one_line_on_stdout(settings_file, capsys):
    assert exit_code(tool, (), ["paint", "--json", *settings_file]) == 0
    assert json.loads(capsys.readouterr().out)["colour"] == "green"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (UserError("x is 3: use 4."), 2),
        (ImageError("a.jpg is damaged.", code="corrupt"), 4),
        (ImageError("too many.", code="too_many_rejected"), 3),
        (UserError("full.", code="disk_full"), 6),
        (UserError("other model.", code="fingerprint_mismatch"), 7),
        (UserError("broken.", code="damaged"), 8),
        (UserError("held.", code="locked"), 5),
        (MemoryError(), 9),
        (ZeroDivisionError(), 1),
        (Interrupted(2, "saved."), 130),
        (Interrupted(15), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_ending_has_its_exit_code(raised, code, capsys):
    @click.command(cls=Command)
    def failing() -> None:
        raise raised

    assert exit_code(failing, ("failing",), []) == code
    error = capsys.readouterr().err
    assert ("Traceback" in error) == (code == 1)
    if isinstance(raised, UserError):
        assert error == f"lookalike: error: {raised.detail}\n"


def test_every_row_of_the_table_has_a_status_and_an_exit_code_of_the_contract():
    assert {row.exit_code for row in PROBLEMS.values()} <= {1, 2, 3, 4, 5, 6, 7, 8}
    assert all(400 <= row.status < 600 for row in PROBLEMS.values())


def test_names_are_data_never_terminal_codes_or_lines():
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable(b"caf\xe9.jpg") == "caf\\xe9.jpg"
    assert printable(os.fsdecode(b"caf\xe9.jpg")) == "caf\\udce9.jpg"
    assert printable("schön.jpg") == "schön.jpg"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_one_log_record_is_one_line(log_format, capsys):
    set_up_logging(log_format=log_format)
    logging.getLogger("train").warning("rejected %s", "a\nb\x00.jpg")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_that_leaves_is_no_error(tmp_path):
    script = (
        "import click, sys; from train.command_line import Command, run\n"
        "@click.command(cls=Command)\n"
        "def talk():\n"
        "    for number in range(100000): click.echo('line')\n"
        "run(talk, ('talk',))\n"
    )
    command = f'{sys.executable} -c "$SCRIPT" | head -1; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], env=os.environ | {"SCRIPT": script}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "line\n", "")
