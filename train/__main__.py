"""`python -m train`: the same as `lookalike train`."""

from train.command import train
from train.command_line import run

if __name__ == "__main__":
    run(train, ("train",))
