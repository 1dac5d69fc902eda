"""Who may ask: host names that are this server's, and pages that are this server's own.

A page of another site, open in the owner's browser, can send requests to this server. Two checks keep it out: the
`Host` must be one of ours (a rebound DNS name is not), and a request that may change or cost something must not come
from another origin. Neither bothers programs, which send no `Origin`.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from flask import Request

from search_server.settings import ServerSettings
from train.errors import UserError

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}


class OriginRefusedError(UserError):
    """The request was sent by a page of another site, or to a name that is not this server's."""

    code = "origin_refused"


def is_loopback(host: str) -> bool:
    """Whether an address or name to listen on is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Doorkeeper:
    """Checks each request's host and origin."""

    def __init__(self, settings: ServerSettings) -> None:
        self._names = {*_LOOPBACK_NAMES, settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
        # Rebinding needs a name, so a bare address is safe to accept where we listen beyond this machine.
        self._any_address = not is_loopback(settings.host)
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def check(self, request: Request) -> None:
        """Let a request in.

        Raises:
            OriginRefusedError: It is not for this server, or not from this server's page.
        """
        host = request.environ.get("HTTP_HOST", "")
        if not self._is_ours(_name_of(host)):
            raise OriginRefusedError(
                f"{_shown(host)} is not a name of this server: use its address, or start it with --allow-host NAME."
            )
        if request.method not in _SAFE_METHODS and not _same_origin(request, host):
            raise OriginRefusedError("a page of another site sent this request: open the page of this server.")

    def _is_ours(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def _same_origin(request: Request, host: str) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _name_of(host: str) -> str | None:
    """The name or address in a Host header, without its port and brackets; None where it is no host."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  (raises ValueError where the port is none)
    except ValueError:
        return None
    plain = parts.username is None and not parts.path and not parts.query and not parts.fragment
    return parts.hostname.rstrip(".") if plain and parts.hostname else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shown(host: str) -> str:
    return repr(host[:100])
