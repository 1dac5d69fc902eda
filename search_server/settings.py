"""Settings of the server."""

import functools
import ipaddress
import os
from dataclasses import dataclass
from typing import Literal

DEFAULT_RATE = 20.0  # requests a second, where others can reach the server
Batching = Literal["auto", "on", "off"]
_CORES = len(os.sched_getaffinity(0))
# More threads than cores get nothing done earlier, and what says how the server is waits behind them; a few wait for a
# decoder or a disk.
_THREADS = min(max(_CORES + 2, 4), 16)


def is_loopback(host: str) -> bool:
    """Whether an address or name to listen on is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How galleries are served; each field is an option of `lookalike serve`."""

    host: str = "127.0.0.1"
    port: int = 8000
    provider: str = "auto"  # the execution provider that is asked for
    threads: int = _THREADS  # requests answered at once
    decode_workers: int = min(4, _CORES)  # processes that decode pictures
    batching: Batching = "auto"  # requests that come together share one call of the encoder; auto: on a GPU
    allowed_hosts: tuple[str, ...] = ()  # names of this server besides localhost and its addresses
    originals: bool = False  # also give the files themselves, as they are
    insecure: bool = False  # let others search without a token
    trusted_proxies: int = 0  # reverse proxies before this server, whose X-Forwarded-* headers are believed
    url_prefix: str = ""  # path that the server's addresses begin with, such as /lookalike
    rate: float | None = None  # requests a second of one token or address; 0: any number; None: see `rate_limit`
    allowed_origins: tuple[str, ...] = ()  # other sites whose pages may ask
    fetch_hosts: tuple[str, ...] = ()  # from which pictures are fetched by their address; `*`: any public one
    fetch_http: bool = False  # also without TLS
    access_log: bool = False  # one line for each request

    @functools.cached_property
    def exposed(self) -> bool:
        """Whether others than the users of this machine can reach the server, by its address or through a proxy."""
        return not is_loopback(self.host) or self.trusted_proxies > 0 or bool(self.allowed_hosts)

    @property
    def rate_limit(self) -> float:
        """Requests a second; unless it is said, none are counted where only this machine can ask."""
        if self.rate is not None:
            return self.rate
        return DEFAULT_RATE if self.exposed else 0.0
