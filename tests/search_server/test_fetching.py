"""Pictures by their address: only from hosts that were named, never from networks that only the server can reach."""

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from search_server import limits
from search_server.fetching import Fetcher, FetchError, FetchPolicy, connect, is_public
from tests.conftest import draw_picture, encoded
from train.errors import UserError

PICTURE = encoded(draw_picture(7))
PUBLIC = "93.184.216.34"
ANYWHERE = FetchPolicy(frozenset({"*"}), plain_http=True)
SECONDS = 1.5

# Ways to write addresses of this machine, of private networks and of a cloud's metadata.
INSIDE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]"),
    *("localhost", "localhost.", "LOCALHOST", "localhost.localdomain", "ip6-localhost"),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]"),
    *("[fd00:ec2::254]", "100.64.0.1", "198.18.0.1", "224.0.0.1", "[ff02::1]", "255.255.255.255", "192.88.99.1"),
    *("[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2001::1]", "[3fff::1]", "[5f00::1]", "192.0.2.1", "[2001:db8::1]"),
]
NO_ADDRESS = [
    *("", "cat.jpg", "/cat.jpg", "//host/cat.jpg", "https://", "https:///x", "https://a b/", "https://a\\b/"),
    *(
        "https://host/\r\nX: y",
        "https://h\x00st/",
        "https://①②⑦.⓪.⓪.①/",
        "https://host:port/",
        "https://[::1/",
        "x" * 3000,
    ),
]
NOT_FETCHED = [
    *("file:///etc/passwd", "gopher://example.org/", "ftp://example.org/a", "data://x/y", "dict://example.org/"),
    *(
        "https://user@example.org/",
        "https://user:word@example.org/",
        "https://example.org:22/",
        "http://example.org:6379/",
    ),
]


class Stub:
    """Resolves every name to the same addresses, and connects to a server of the test whatever the address."""

    def __init__(self, addresses: list[list[str]], port: int = 0) -> None:
        self.addresses = addresses
        self.port = port
        self.asked: list[str] = []
        self.connected: list[str] = []

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.addresses[min(len(self.asked), len(self.addresses)) - 1]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append(address)
        return connect("127.0.0.1", self.port, seconds)

    def fetcher(self, policy: FetchPolicy = ANYWHERE) -> Fetcher:
        return Fetcher(policy, resolver=self.resolve, connector=self.connect, seconds=SECONDS)


@contextmanager
def answering(answer: Callable[[socket.socket, str], None]) -> Iterator[int]:
    """A server of raw bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with connection:
                try:
                    head = connection.recv(65_536).decode()
                    answer(connection, head.split()[1])
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        stop.set()


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


def refusal(fetcher: Fetcher, url: str) -> UserError:
    with pytest.raises(UserError) as refused:
        fetcher.fetch(url)
    return refused.value


def test_a_picture_is_fetched_from_the_address_that_was_checked():
    with answering(lambda connection, path: connection.sendall(whole(PICTURE))) as port:
        stub = Stub([[PUBLIC], ["127.0.0.1"]], port)
        file = stub.fetcher().fetch("http://pictures.example/a/cat%20one.png?x=1")
        assert (file.data, file.name) == (PICTURE, "cat one.png")
        # A resolver that answers otherwise the second time (DNS rebinding) is not asked a second time.
        assert (stub.asked, stub.connected) == (["pictures.example"], [PUBLIC])


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_an_inner_address_is_ever_connected_to(host, scheme):
    connected = []

    def note(address: str, port: int, seconds: float) -> socket.socket:
        connected.append(address)
        raise OSError

    fetcher = Fetcher(ANYWHERE, connector=note, seconds=SECONDS)  # with the system's own resolver
    error = refusal(fetcher, f"{scheme}://{host}/latest/meta-data/")
    assert error.problem.code in ("url_not_allowed", "bad_url")
    assert connected == []


@pytest.mark.parametrize("text", [host.strip("[]") for host in INSIDE])
def test_no_inner_address_counts_as_public(text):
    assert not is_public(text)


@pytest.mark.parametrize("text", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111"])
def test_addresses_of_the_internet_count_as_public(text):
    assert is_public(text)


@pytest.mark.parametrize("addresses", [[PUBLIC, "127.0.0.1"], ["2606:4700:4700::1111", "::1"], ["10.0.0.1"], [], ["x"]])
def test_one_inner_address_among_a_names_addresses_refuses_the_name(addresses):
    stub = Stub([addresses])
    assert refusal(stub.fetcher(), "http://pictures.example/").problem.code == "url_not_allowed"
    assert stub.connected == []


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_what_is_no_address_is_refused_before_anything_is_asked(url):
    stub = Stub([[PUBLIC]])
    assert refusal(stub.fetcher(), url).problem.code == "bad_url"
    assert stub.asked == []


@pytest.mark.parametrize("url", NOT_FETCHED)
def test_other_schemes_ports_and_passwords_are_refused(url):
    stub = Stub([[PUBLIC]])
    assert refusal(stub.fetcher(), url).problem.code == "url_not_allowed"
    assert stub.asked == []


def test_only_hosts_that_were_named_are_asked_and_a_name_is_compared_as_a_whole():
    policy = FetchPolicy(frozenset({"pictures.example"}), plain_http=True)
    for host in ("pictures.example.evil.org", "evilpictures.example", "a.pictures.example", "evil.org"):
        stub = Stub([[PUBLIC]])
        assert refusal(stub.fetcher(policy), f"http://{host}/").problem.code == "url_not_allowed"
        assert stub.asked == []
    with answering(lambda connection, path: connection.sendall(whole(PICTURE))) as port:
        stub = Stub([[PUBLIC]], port)
        assert stub.fetcher(policy).fetch("http://PICTURES.example./x").data == PICTURE


def test_without_tls_nothing_is_fetched_unless_it_is_said():
    stub = Stub([[PUBLIC]])
    policy = FetchPolicy(frozenset({"*"}))
    assert refusal(stub.fetcher(policy), "http://pictures.example/").problem.code == "url_not_allowed"
    assert stub.asked == []


def test_nothing_is_fetched_unless_hosts_are_named():
    stub = Stub([[PUBLIC]])
    error = refusal(stub.fetcher(FetchPolicy(frozenset())), "https://pictures.example/")
    assert error.problem.code == "url_not_allowed"


@pytest.mark.parametrize(
    "place",
    ["http://169.254.169.254/latest/", "file:///etc/passwd", "gopher://x/", "http://inner.example/", "//[::1]/"],
)
def test_where_a_server_leads_on_to_is_checked_like_the_first_address(place):
    moved = whole(b"", f"Location: {place}", status="302 Found")
    with answering(lambda connection, path: connection.sendall(moved)) as port:

        class Names(Stub):
            def resolve(self, host: str, port: int) -> list[str]:
                self.asked.append(host)
                return [PUBLIC] if host == "pictures.example" else [host.strip("[]") if "." in host else "::1"]

        stub = Names([], port)
        assert refusal(stub.fetcher(), "http://pictures.example/").problem.code in ("url_not_allowed", "bad_url")
        assert stub.connected == [PUBLIC]


def test_a_server_that_leads_round_in_circles_is_left():
    def lead_on(connection: socket.socket, path: str) -> None:
        connection.sendall(whole(b"", f"Location: /{len(path)}{path}", status="307 Temporary Redirect"))

    with answering(lead_on) as port:
        stub = Stub([[PUBLIC]], port)
        assert refusal(stub.fetcher(), "http://pictures.example/").problem.code == "upstream_error"
        assert len(stub.connected) == 4


def _drip(connection: socket.socket, path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.1)


def _drip_head(connection: socket.socket, path: str) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100:
        connection.sendall(bytes([letter]))
        time.sleep(0.1)


def _endless(connection: socket.socket, path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


HOSTILE = {
    "silent": (lambda connection, path: time.sleep(5), "upstream_timeout"),
    "drip": (_drip, "upstream_timeout"),
    "drip head": (_drip_head, "upstream_timeout"),
    "endless": (_endless, "body_too_large"),
    "too long": (
        lambda connection, path: connection.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Length: {limits.IMAGE_BYTES + 1}\r\n\r\n".encode()
        ),
        "body_too_large",
    ),
    "short": (
        lambda connection, path: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
        "upstream_error",
    ),
    "packed": (
        lambda connection, path: connection.sendall(whole(b"\x1f\x8b", "Content-Encoding: gzip")),
        "upstream_error",
    ),
    "many headers": (
        lambda connection, path: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n"),
        "upstream_error",
    ),
    "long line": (
        lambda connection, path: connection.sendall(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n"),
        "upstream_error",
    ),
    "junk": (lambda connection, path: connection.sendall(b"\x00\xff junk\r\n\r\n"), "upstream_error"),
    "not found": (lambda connection, path: connection.sendall(whole(b"secret", status="404 Gone")), "upstream_error"),
    "nothing": (lambda connection, path: connection.sendall(whole(b"")), "empty"),
    "closed": (lambda connection, path: connection.close(), "upstream_error"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_another_server_does_is_a_refusal_in_time_that_tells_nothing_of_it(name):
    behaviour, code = HOSTILE[name]
    with answering(behaviour) as port:
        started = time.monotonic()
        error = refusal(Stub([[PUBLIC]], port).fetcher(), "http://pictures.example/")
        assert error.problem.code == code
        assert "secret" not in error.detail
        assert time.monotonic() - started < SECONDS + 5  # a bound on what hangs, not a measurement


def test_every_refused_address_is_refused_in_the_same_words():
    details = {
        refusal(Stub([[address]]).fetcher(), "http://a.example/").detail for address in ("127.0.0.1", "10.0.0.7")
    }
    details.add(refusal(Fetcher(ANYWHERE, seconds=SECONDS), "http://127.0.0.1:80/").detail)
    assert len(details) == 1


def test_a_resolver_that_does_not_answer_costs_no_more_than_the_time_limit():
    def sleep(host: str, port: int) -> list[str]:
        time.sleep(SECONDS + 3)
        return [PUBLIC]

    error = refusal(Fetcher(ANYWHERE, resolver=sleep, seconds=0.2), "http://a.example/")
    assert error.problem.code == "upstream_timeout"


def test_this_machines_own_server_is_never_asked():
    hits = []

    class Canary(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)

        def log_message(self, *words: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Canary) as canary:
        threading.Thread(target=canary.serve_forever, daemon=True).start()
        port = canary.server_address[1]
        for host in INSIDE:
            for url in (f"http://{host}:{port}/", f"http://{host}/"):
                with pytest.raises(FetchError):
                    Fetcher(ANYWHERE, seconds=SECONDS).fetch(url)
        canary.shutdown()
    assert hits == []
