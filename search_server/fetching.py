"""Pictures by their address: off unless hosts are named, and never a way into networks that the server can reach.

A name is resolved once, every address that it has must be one of the public internet, and the connection goes to such
an address, so a second answer of the resolver changes nothing. Each redirect is a new address with the same checks.
Who asks learns no more than that an address is not fetched: not what it resolves to, not what answered there.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from search_server import limits
from search_server.incoming import File
from search_server.stopwatch import stage
from train.decoding import BusyError
from train.errors import ImageError, UserError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]  # host, port -> addresses as text
Connector = Callable[[str, int, float], socket.socket]  # address, port, seconds

TOTAL_SECONDS = 10.0
REDIRECTS = 3
AT_ONCE = 2  # each holds one of the server's threads
PORTS = {"https": 443, "http": 80}
_PIECE = 65_536
_USER_AGENT = "Lookalike"

# What Python's `is_global` calls global, and yet leads into special or private networks (checked with 3.11).
_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carriers' own
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64: the IPv4 address stands in it
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and others
        "2002::/16",  # 6to4: the same
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
]


class FetchError(UserError):
    """An address that is not fetched, or gave no picture."""

    code = "url_not_allowed"


@dataclass(frozen=True)
class FetchPolicy:
    """What may be fetched."""

    hosts: frozenset[str]  # names, compared as a whole; `*` stands for every public host
    plain_http: bool = False

    @property
    def is_on(self) -> bool:
        """Whether anything may be."""
        return bool(self.hosts)


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host, as the system gives them."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """A connection to an address, which is no name."""
    return socket.create_connection((address, port), timeout=seconds)


class Fetcher:
    """Fetches pictures by their addresses; usable from many threads."""

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        resolver: Resolver = resolve,
        connector: Connector = connect,
        seconds: float = TOTAL_SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Fetch nothing yet.

        Args:
            policy: What may be fetched.
            resolver: Gives the addresses of a name; it is called once for each hop.
            connector: Connects to an address.
            seconds: For all hops together.
            context: Of TLS; the default trusts what the system trusts.
        """
        self.policy = policy
        self._resolver = resolver
        self._connector = connector
        self._seconds = seconds
        self._context = context
        self._places = threading.BoundedSemaphore(AT_ONCE)
        # The system's resolver has time limits of its own, which may be minutes.
        self._resolving = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="resolve")

    def fetch(self, url: str) -> File:
        """The picture at an address.

        Raises:
            FetchError: The address is none (bad_url), is not fetched (url_not_allowed), or the other server gave
                nothing in time (upstream_timeout) or nothing of use (upstream_error).
            ImageError: It has too many bytes (body_too_large).
            BusyError: Others are being fetched.
        """
        if not self.policy.is_on:
            raise FetchError("pictures are not fetched by their address here: send the picture itself.")
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{AT_ONCE} pictures are being fetched: try again in a moment.")
        try:
            with stage("fetch_url"):
                return self._fetch(url, time.monotonic() + self._seconds)
        finally:
            self._places.release()

    def close(self) -> None:
        """Wait for no resolver any more."""
        self._resolving.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, url: str, deadline: float) -> File:
        for _ in range(REDIRECTS + 1):
            parts = self._checked(url)
            found = self._ask(parts, deadline)
            if isinstance(found, bytes):
                return File(found, unquote(parts.path.rpartition("/")[2]))
            url = urljoin(url, found)
        raise FetchError(f"the address leads on more than {REDIRECTS} times.", code="upstream_error")

    def _checked(self, url: str) -> SplitResult:
        """The parts of an address that may be fetched, as far as its text tells."""
        if len(url) > limits.URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise FetchError(
                f"an address has at most {limits.URL} letters of ASCII, without spaces and backslashes.", code="bad_url"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise FetchError("the address cannot be read: give a whole one.", code="bad_url") from error
        schemes = {"https", "http"} if self.policy.plain_http else {"https"}
        if parts.scheme and parts.scheme not in schemes:
            raise _refused()
        if not parts.hostname or not parts.scheme:
            raise FetchError("the address is not whole: begin it with https://.", code="bad_url")
        if parts.username is not None or parts.password is not None:
            raise _refused()
        if port is not None and port != PORTS[parts.scheme]:
            raise _refused()
        host = parts.hostname.rstrip(".").lower()
        if "*" not in self.policy.hosts and host not in self.policy.hosts:
            raise _refused()
        return parts

    def _addresses(self, host: str, port: int, deadline: float) -> Sequence[str]:
        """Addresses of a host, all of them public."""
        future: Future[Sequence[str]] = self._resolving.submit(self._resolver, host, port)
        try:
            found = future.result(timeout=max(0.0, deadline - time.monotonic()))
        except TooLate as error:
            raise _too_slow() from error
        except (OSError, UnicodeError) as error:
            raise _refused() from error
        if not found or not all(is_public(address) for address in found):
            raise _refused()
        return found

    def _ask(self, parts: SplitResult, deadline: float) -> bytes | str:
        """The bytes at an address, or the address that it leads to."""
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or PORTS[parts.scheme]
        address = self._addresses(host, port, deadline)[0]
        connected = self._open(parts.scheme, host, address, port, deadline)
        connection = _Connection(host, port, connected)
        try:
            path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
            headers = {"Host": host, "User-Agent": _USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"}
            connection.request("GET", path, headers=headers)
            # A watch closes the connection: each byte may come in time, and all of them too late.
            with _Watch(connection, deadline) as watch:
                try:
                    with contextlib.closing(connection.getresponse()) as response:
                        return _read(response, deadline)
                except (UserError, OSError, http.client.HTTPException, ValueError) as error:
                    if watch.closed or isinstance(error, TimeoutError):
                        raise _too_slow() from error
                    if isinstance(error, UserError):
                        raise
                    raise FetchError("the other server gave no picture.", code="upstream_error") from error
        except (OSError, http.client.HTTPException) as error:
            raise FetchError("the other server gave no picture.", code="upstream_error") from error
        finally:
            connection.close()
            connected.close()

    def _open(self, scheme: str, host: str, address: str, port: int, deadline: float) -> socket.socket:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _too_slow()
        try:
            plain = self._connector(address, port, left)
            if scheme == "http":
                return plain
            with contextlib.ExitStack() as stack:
                stack.callback(plain.close)  # where TLS is refused
                context = self._context or ssl.create_default_context()
                wrapped = context.wrap_socket(plain, server_hostname=host)
                stack.pop_all()
                return wrapped
        except TimeoutError as error:
            raise _too_slow() from error
        except OSError as error:
            raise FetchError("the other server gave no picture.", code="upstream_error") from error


class _Connection(http.client.HTTPConnection):
    """A connection whose socket is open already, to an address that was checked."""

    def __init__(self, host: str, port: int, connected: socket.socket) -> None:
        super().__init__(host, port)
        self.sock = connected
        self.auto_open = 0


class _Watch:
    """Closes a connection when the time is over."""

    def __init__(self, connection: _Connection, deadline: float) -> None:
        self.closed = False
        self._connection = connection
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._close)
        self._timer.daemon = True

    def _close(self) -> None:
        self.closed = True
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # also below TLS

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes | str:
    if response.status in (301, 302, 303, 307, 308):
        return response.headers.get("Location") or ""
    if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError("the other server gave no picture.", code="upstream_error")
    if (response.length or 0) > limits.IMAGE_BYTES:
        raise _too_large()
    data = bytearray()
    while piece := response.read(_PIECE):
        data += piece
        if len(data) > limits.IMAGE_BYTES:
            raise _too_large()
        if time.monotonic() > deadline:
            raise _too_slow()
    if response.length:  # it said that there was more
        raise FetchError("the other server gave no whole picture.", code="upstream_error")
    if not data:
        raise ImageError("there is nothing at this address.", code="empty")
    return bytes(data)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, and stands for no other."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if "%" in text or not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _REFUSED if network.version == address.version)


def _refused() -> FetchError:
    return FetchError("this address is not fetched here: send the picture itself.")


def _too_slow() -> FetchError:
    return FetchError("the other server took too long: send the picture itself.", code="upstream_timeout")


def _too_large() -> ImageError:
    return ImageError(f"the picture has more than {limits.IMAGE_BYTES:,} bytes.", code="body_too_large")
