"""Who may ask, and what: host names that are this server's, pages that are its own, tokens and their scopes.

A page of another site, open in the owner's browser, can send requests to this server. Two checks keep it out: the
`Host` must be one of ours (a rebound DNS name is not), and a request that may change or cost something must not come
from another origin. Neither bothers programs, which send no `Origin`.

Where only the users of this machine can ask, they may do everything. Elsewhere a token says what its bearer may do: in
the header `Authorization: Bearer`, or, for the page, as a signed cookie that the sign-in form sets.
"""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from flask import Request, g

from search_server.rates import RateLimit
from search_server.settings import ServerSettings, is_loopback
from search_server.tokens import SCOPES, Scope, Token, Tokens
from train.errors import UserError

COOKIE = "lookalike_session"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_SCOPE_OF_ROUTE = "lookalike_scope"

View = TypeVar("View", bound=Callable[..., Any])


class OriginRefusedError(UserError):
    """The request was sent by a page of another site, or to a name that is not this server's."""

    code = "origin_refused"


class TokenRequiredError(UserError):
    """There is no token, or one that is not valid."""

    code = "token_required"


class InsufficientScopeError(UserError):
    """The token is valid, but not for this."""

    code = "insufficient_scope"


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str  # of the token; "" where there is none
    scope: Scope | None  # None: may only ask what is open to all
    by_cookie: bool = False  # of a browser that is signed in

    def may(self, scope: Scope) -> bool:
        """Whether this caller may do what takes a scope."""
        return self.scope is not None and SCOPES.index(self.scope) >= SCOPES.index(scope)


NOBODY = Caller("", None)


def caller() -> Caller:
    """Who sent the request at hand."""
    found: Caller = g.caller
    return found


def needs(scope: Scope | Literal["nothing"]) -> Callable[[View], View]:
    """Say what a route takes; without it, GET takes `read` and all else `admin`."""

    def mark(view: View) -> View:
        setattr(view, _SCOPE_OF_ROUTE, scope)
        return view

    return mark


def scope_of_route(view: Callable[..., Any] | None, method: str) -> Scope | Literal["nothing"]:
    """What a route takes."""
    given: Scope | Literal["nothing"] | None = getattr(view, _SCOPE_OF_ROUTE, None)
    return given or ("read" if method in _SAFE_METHODS else "admin")


class Doorkeeper:
    """Checks each request's host and origin."""

    def __init__(self, settings: ServerSettings) -> None:
        self._allowed_origins = frozenset(settings.allowed_origins)
        self._names = {*_LOOPBACK_NAMES, settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
        # Rebinding needs a name, so a bare address is safe to accept where others can reach us.
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
        if request.method not in _SAFE_METHODS and not self._same_origin(request, host):
            raise OriginRefusedError("a page of another site sent this request: open the page of this server.")

    def allows_origin(self, origin: str | None) -> bool:
        """Whether the pages of another site may ask (--allow-origin)."""
        return origin in self._allowed_origins

    def _is_ours(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self._names or (self._any_address and _is_address(name))

    def _same_origin(self, request: Request, host: str) -> bool:
        origin = request.environ.get("HTTP_ORIGIN")
        if self.allows_origin(origin):
            return COOKIE not in request.cookies  # it asks as a program does, never as somebody who is signed in
        site = request.environ.get("HTTP_SEC_FETCH_SITE")
        if site is not None:
            return site in ("same-origin", "none")
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()


class Permissions:
    """Checks each request's token, rate and scope."""

    def __init__(self, settings: ServerSettings, tokens: Tokens) -> None:
        self._settings = settings
        self.tokens = tokens
        self._limit = RateLimit(settings.rate_limit)

    def check(self, request: Request, view: Callable[..., Any] | None) -> Caller:
        """Say who asks.

        Args:
            request: The request.
            view: The route's function; None where there is no such route.

        Raises:
            TokenRequiredError: It takes a token.
            InsufficientScopeError: It takes another token.
            RateLimitedError: It is one too many.
        """
        scope = scope_of_route(view, request.method)
        if scope == "nothing":
            return NOBODY
        caller = self._identify(request)
        if not caller.may(scope):
            has = f"the token {caller.name!r} has" if caller.name else "without a token there is only"
            raise InsufficientScopeError(
                f"this takes the scope {scope}, and {has} {caller.scope}: make a token with `lookalike token create "
                f"NAME --scope {scope}`."
            )
        if caller.by_cookie and request.method not in _SAFE_METHODS and not _proves_origin(request):
            raise OriginRefusedError("this browser does not say which page it sends from: use a token instead.")
        return caller

    def count(self, request: Request) -> None:
        """Count a request against the address that it comes from.

        Raises:
            RateLimitedError: It is one too many.
        """
        self._limit.count(("address", request.remote_addr))

    def _identify(self, request: Request) -> Caller:
        token, by_cookie = self._token_of(request)
        if token is not None:
            self._limit.count(("token", token.id))
            return Caller(token.name, token.scope, by_cookie)
        self.count(request)
        if request.environ.get("HTTP_AUTHORIZATION"):
            raise TokenRequiredError("this token is not valid here: it was revoked, its time is over, or it is cut.")
        # The page of a site that was allowed may search, and no more, unless it has a token: who reads it is not its
        # user.
        is_foreign = request.environ.get("HTTP_ORIGIN") in self._settings.allowed_origins
        if not self._settings.exposed and not is_foreign:
            return Caller("", "admin")
        if not self._settings.exposed or self._settings.insecure:
            return Caller("", "read")
        raise TokenRequiredError(
            "this server asks for a token: send `Authorization: Bearer ...`, or sign in. Whoever runs it makes one "
            "with `lookalike token create NAME`."
        )

    def _token_of(self, request: Request) -> tuple[Token | None, bool]:
        kind, _, text = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() == "bearer":
            return self.tokens.find(text.strip()), False
        cookie = request.cookies.get(COOKIE) if "HTTP_COOKIE" in request.environ else None
        return (self.tokens.of_session(cookie) if cookie is not None else None), True


def _proves_origin(request: Request) -> bool:
    """Whether a browser said where a request comes from; `_same_origin` looked at what it said."""
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


@lru_cache(maxsize=64)
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
