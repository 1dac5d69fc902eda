"""`python -m search_server` is `lookalike serve`."""

from search_server.command import serve
from train.command_line import run

run(serve, ("serve",))
