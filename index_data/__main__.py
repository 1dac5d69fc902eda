"""`python -m index_data` is `lookalike index`."""

from index_data.command import index
from train.command_line import run

if __name__ == "__main__":
    run(index, ("index",))
