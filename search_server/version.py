"""`lookalike version`: the versions of Lookalike and of the libraries that decide its results."""

import platform
from importlib.metadata import PackageNotFoundError, distribution

import click

from train.command_line import Command, CommandLine, common_options

LIBRARIES = ("numpy", "pillow", "faiss-cpu", "onnxruntime", "onnxruntime-gpu", "flask", "waitress", "torch", "onnx")


def installed_versions() -> dict[str, str]:
    """Version of Lookalike, Python and each library that is installed."""
    versions = {"lookalike": distribution("lookalike").version, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = distribution(library).version
        except PackageNotFoundError:
            continue
    return versions


@click.command(cls=Command, examples="lookalike version --json")
@common_options
def version(line: CommandLine) -> None:
    """Print the versions of Lookalike and what it stands on."""
    versions = installed_versions()
    line.result(versions, "\n".join(f"{name:<16} {number}" for name, number in versions.items()))
