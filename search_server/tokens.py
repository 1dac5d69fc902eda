"""Tokens: who may do what, kept as digests in one file of the workspace that only its owner may read.

access/tokens.json    {"version": 1, "cookie_key": "...", "tokens": [{"id": ..., "name": ..., "scope": ..., ...}]}

A token is `lookalike_<id>_<secret>` and is shown once. Its secret has 256 random bits, so one round of SHA-256 keeps
it: nobody can try them out. A running server sees a new or revoked token with the next request.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from itsdangerous import BadData, URLSafeTimedSerializer

from train.errors import DamagedError, NothingFoundError, SettingsError
from train.files import atomic_file, locked

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each may do what those before it may
FILE = Path("access") / "tokens.json"
VERSION = 1
COOKIE_SECONDS = 30 * 24 * 3600
_TOKEN = re.compile(r"lookalike_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class Token:
    """One token, as it is kept."""

    id: str
    name: str
    scope: Scope
    digest: str  # SHA-256 of the secret, hexadecimal
    created_at: str  # RFC 3339, UTC
    expires_at: str | None  # the same; None: never

    def is_valid(self, now: datetime) -> bool:
        """Whether its time is not over."""
        return self.expires_at is None or now < datetime.fromisoformat(self.expires_at)


@dataclass(frozen=True)
class _Content:
    cookie_key: str
    tokens: tuple[Token, ...]


class Tokens:
    """The tokens of a workspace; safe to use from several threads and processes."""

    def __init__(self, home: Path) -> None:
        """Read nothing yet.

        Args:
            home: The workspace.
        """
        self.file = home / FILE
        self._read_as: tuple[object, _Content] | None = None  # identity of the file, and what it held

    def create(self, name: str, scope: Scope, *, days: float | None = None) -> str:
        """Make a token and return it: the only time that it can be seen.

        Raises:
            SettingsError: There is one of this name.
            DiskError: It cannot be kept.
        """
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        expires = None if days is None else (now + timedelta(days=days)).isoformat(timespec="seconds")
        token = Token(identity, name, scope, _digest(secret), now.isoformat(timespec="seconds"), expires)
        with locked(self.file.parent, "token"):
            content = self._content()
            if any(other.name == name for other in content.tokens):
                raise SettingsError(f"there is a token {name!r} already: revoke it first, or choose another name.")
            self._write(replace(content, tokens=(*content.tokens, token)))
        return f"lookalike_{identity}_{secret}"

    def revoke(self, name: str) -> None:
        """Let a token open nothing from now on; the sessions that were opened with it end too.

        Raises:
            NothingFoundError: There is none of this name.
        """
        with locked(self.file.parent, "token"):
            content = self._content()
            left = tuple(token for token in content.tokens if token.name != name)
            if len(left) == len(content.tokens):
                known = ", ".join(token.name for token in left) or "none"
                raise NothingFoundError(f"there is no token {name!r}: there are {known}.")
            self._write(replace(content, tokens=left))

    def list(self) -> tuple[Token, ...]:
        """All of them, also those whose time is over.

        Raises:
            SettingsError: Others may read the file.
            DamagedError: It is no file of tokens.
        """
        return self._content().tokens

    def find(self, text: str) -> Token | None:
        """The token that somebody shows; None where it is none, was revoked, or its time is over."""
        match = _TOKEN.fullmatch(text)
        token = self._by_id(match[1]) if match else None
        # The digests are compared in constant time; which ids there are is no secret.
        if match is None or token is None or not hmac.compare_digest(token.digest, _digest(match[2])):
            return None
        return token

    def session(self, token: Token) -> str:
        """What a browser's cookie holds in a token's place."""
        return self._signer().dumps([token.id, token.digest[:16]])

    def of_session(self, text: str) -> Token | None:
        """The token that a cookie stands for; None where it is forged, old, or the token is no more."""
        try:
            identity, digest = self._signer().loads(text, max_age=COOKIE_SECONDS)
        except (BadData, ValueError, TypeError):
            return None
        token = self._by_id(identity)
        return token if token is not None and token.digest[:16] == digest else None

    def _by_id(self, identity: str) -> Token | None:
        now = datetime.now(UTC)
        return next((token for token in self.list() if token.id == identity and token.is_valid(now)), None)

    def _signer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._content().cookie_key, salt="lookalike session")

    def _content(self) -> _Content:
        try:
            status = self.file.stat()
        except FileNotFoundError:
            return _Content(secrets.token_hex(32), ())
        if status.st_mode & 0o077:
            raise SettingsError(f"other users may read {self.file}: run chmod 600 {self.file}")
        identity = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._read_as is None or self._read_as[0] != identity:
            self._read_as = (identity, _read(self.file))
        return self._read_as[1]

    def _write(self, content: _Content) -> None:
        record = {"version": VERSION, **asdict(content)}
        with atomic_file(self.file) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(json.dumps(record, indent=1).encode())


def _read(file: Path) -> _Content:
    try:
        record = json.loads(file.read_bytes())
        if record["version"] > VERSION:
            raise ValueError(f"it has format {record['version']}, and {VERSION} is read here")
        tokens = tuple(Token(**token) for token in record["tokens"])
        if any(token.scope not in SCOPES for token in tokens):
            raise ValueError("a scope is unknown")
        return _Content(record["cookie_key"], tokens)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{file} is no file of tokens ({error}): remove it and make new tokens.") from error


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
