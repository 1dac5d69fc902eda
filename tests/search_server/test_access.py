"""Pages of other sites stay out; programs and the server's own page come in."""

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from search_server.access import Doorkeeper, OriginRefusedError
from search_server.settings import ServerSettings, is_loopback

HERE = ServerSettings()
OPEN = ServerSettings(host="0.0.0.0", insecure=True, allowed_hosts=("Pictures.example",))


def request(host: str, method: str = "GET", **headers: str) -> Request:
    builder = EnvironBuilder(method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return Request({**builder.get_environ(), "HTTP_HOST": host})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "localhost."]
)
def test_names_of_this_machine_come_in(host):
    Doorkeeper(HERE).check(request(host))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "192.168.1.5",
        "a@localhost",
        "localhost/x",
        "localhost:port",
        "[::1",
        "127.0.0.1:99999",
        "local\x00host",
    ],
)
def test_other_names_stay_out(host):
    with pytest.raises(OriginRefusedError, match="--allow-host"):
        Doorkeeper(HERE).check(request(host))


@pytest.mark.parametrize("host", ["192.168.1.5:8000", "[fe80::1]", "pictures.example", "localhost"])
def test_a_server_for_others_also_knows_addresses_and_the_names_it_was_given(host):
    Doorkeeper(OPEN).check(request(host))


def test_a_rebound_name_stays_out_there_too():
    with pytest.raises(OriginRefusedError):
        Doorkeeper(OPEN).check(request("evil.example"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "http://localhost:8000"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://localhost:8000"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_programs_and_the_own_page_may_send(method, headers):
    Doorkeeper(HERE).check(request("localhost:8000", method, **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "nonsense"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:9000"},
        {"Origin": "http://localhost"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost:8000"},
    ],
)
def test_pages_of_other_sites_may_not_send_but_may_link(headers):
    with pytest.raises(OriginRefusedError):
        Doorkeeper(HERE).check(request("localhost:8000", "POST", **headers))
    Doorkeeper(HERE).check(request("localhost:8000", "GET", **headers))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_only_addresses_of_this_machine_alone_are_loopback(host, loopback):
    assert is_loopback(host) is loopback
