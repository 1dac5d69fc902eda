"""Settings of the server."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How galleries are served; each field is an option of `lookalike serve`."""

    host: str = "127.0.0.1"
    port: int = 8000
    provider: str = "auto"  # the execution provider that is asked for
    threads: int = 8  # requests answered at once
    decode_workers: int = min(4, os.cpu_count() or 1)  # processes that decode pictures
    allowed_hosts: tuple[str, ...] = ()  # names of this server besides localhost and its addresses
    insecure: bool = False  # listen beyond this machine without a token
