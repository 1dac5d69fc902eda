"""The command `lookalike` is quick, complete, and says the same everywhere."""

import subprocess
import sys

import click
import pytest

from search_server.lookalike import ENTRIES, lookalike
from train.command_line import exit_code


@pytest.fixture
def context():
    return click.Context(lookalike, info_name="lookalike")


@pytest.mark.parametrize("name", ENTRIES)
def test_the_overview_says_what_the_command_says(name, context):
    command = lookalike.get_command(context, name)
    assert command is not None
    assert command.get_short_help_str(limit=1000) == ENTRIES[name].help
    assert command.name == name


def test_an_unknown_command_is_refused_with_the_one_that_may_be_meant(capsys):
    assert exit_code(lookalike, (), ["sarch"]) == 2
    assert "No such command 'sarch'. Did you mean 'search'?" in capsys.readouterr().err
    assert exit_code(lookalike, (), ["xyz"]) == 2
    assert "No such command 'xyz'." in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["serve", "--help"], ["index", "add", "--help"]]
)
def test_help_loads_nothing_heavy(arguments):
    script = (
        "import sys; from search_server.lookalike import lookalike; from train.command_line import exit_code\n"
        f"code = exit_code(lookalike, (), {arguments!r})\n"
        "heavy = {'torch', 'faiss', 'onnxruntime', 'numpy', 'flask', 'PIL', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Usage: lookalike" in ended.stdout


def test_the_settings_file_that_config_writes_is_accepted_whole(tmp_path, capsys):
    home = ["--home", str(tmp_path)]
    assert exit_code(lookalike, (), ["config", "init", *home]) == 0
    path = tmp_path / "lookalike.toml"
    text = path.read_text()
    assert "# [train]" in text
    assert "# [index.add]" in text
    uncommented = "\n".join(
        line.removeprefix("# ") if line.startswith(("# [", "# epochs")) else line for line in text.splitlines()
    )
    path.write_text(uncommented)
    capsys.readouterr()
    assert exit_code(lookalike, (), ["config", "show", "train", *home]) == 0
    assert "train epochs" in capsys.readouterr().out
    assert exit_code(lookalike, (), ["config", "init", *home]) == 2


def test_config_names_the_environment_variable_a_value_comes_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOOKALIKE_SERVE_PORT", "8123")
    assert exit_code(lookalike, (), ["config", "show", "--home", str(tmp_path)]) == 0
    assert "serve port = '8123'  (from LOOKALIKE_SERVE_PORT)" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell, capsys):
    assert exit_code(lookalike, (), ["completion", shell]) == 0
    assert "_LOOKALIKE_COMPLETE" in capsys.readouterr().out
