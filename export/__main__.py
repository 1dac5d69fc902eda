"""`python -m export`."""

from export.command import export
from train.command_line import run

if __name__ == "__main__":
    run(export, ("export",))
