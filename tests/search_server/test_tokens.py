"""Where others can reach the server, a token says what its bearer may do; here, nobody needs one."""

import json
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from search_server.access import scope_of_route
from search_server.rates import RateLimit, RateLimitedError
from search_server.tokens import Tokens
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import serving
from train.errors import DamagedError, NothingFoundError, SettingsError

GALLERY = "/api/v1/galleries/drawn"
PICTURE = encoded(draw_picture(7))
OPEN = ("--host", "0.0.0.0")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---- the file


def test_a_token_is_found_by_its_text_alone_and_only_its_digest_is_kept(tmp_path):
    tokens = Tokens(tmp_path)
    text = tokens.create("phone", "read")
    found = tokens.find(text)
    assert found is not None
    assert (found.name, found.scope) == ("phone", "read")
    kept = tokens.file.read_text()
    assert text.rsplit("_", 1)[1] not in kept
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600
    for wrong in ("", text[:-1], text[:-1] + ("A" if text[-1] != "A" else "B"), text + "a", f"{text}\n", "x" * 10_000):
        assert tokens.find(wrong) is None


def test_a_revoked_token_and_its_sessions_open_nothing_in_other_processes_too(tmp_path):
    here, elsewhere = Tokens(tmp_path), Tokens(tmp_path)
    text = here.create("phone", "write")
    token = elsewhere.find(text)
    assert token is not None
    session = elsewhere.session(token)
    assert elsewhere.of_session(session) == token
    here.revoke("phone")
    assert elsewhere.find(text) is None
    assert elsewhere.of_session(session) is None
    here.create("phone", "write")
    assert elsewhere.of_session(session) is None


def test_a_forged_session_opens_nothing(tmp_path):
    tokens, others = Tokens(tmp_path / "ours"), Tokens(tmp_path / "theirs")
    tokens.create("phone", "read")
    other = others.find(others.create("phone", "admin"))
    assert other is not None
    for cookie in (others.session(other), "", "a.b.c", "\xff"):
        assert tokens.of_session(cookie) is None


def test_a_token_ends_when_its_time_is_over(tmp_path):
    tokens = Tokens(tmp_path)
    found = tokens.find(tokens.create("guest", "read", days=1))
    assert found is not None
    assert found.is_valid(datetime.now(UTC) + timedelta(hours=23))
    assert not found.is_valid(datetime.now(UTC) + timedelta(hours=25))


def test_what_cannot_be_done_with_tokens_is_said(tmp_path):
    tokens = Tokens(tmp_path)
    assert tokens.list() == ()
    tokens.create("phone", "read")
    with pytest.raises(SettingsError, match="revoke it first"):
        tokens.create("phone", "admin")
    with pytest.raises(NothingFoundError, match="there are phone"):
        tokens.revoke("tablet")
    tokens.file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        tokens.list()
    tokens.file.chmod(0o600)
    tokens.file.write_text("{}")
    with pytest.raises(DamagedError, match="make new tokens"):
        tokens.list()


def test_the_command_shows_a_token_once(tmp_path):
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "search_server.lookalike", "token", *words, "--home", str(tmp_path), "--json"]
        return subprocess.run(command, capture_output=True, text=True)

    made = json.loads(run("create", "nightly", "--scope", "write").stdout)
    assert Tokens(tmp_path).find(made["token"]) is not None
    listed = run("list").stdout
    assert [one["name"] for one in json.loads(listed)["tokens"]] == ["nightly"]
    assert made["token"] not in listed
    assert run("revoke", "nightly").returncode == 0
    assert json.loads(run("list").stdout) == {"tokens": []}
    assert run("revoke", "nightly").returncode == 4


# ---- rates


def test_a_bucket_lets_a_burst_through_then_a_steady_pace_and_each_has_its_own():
    now = 0.0
    limit = RateLimit(2, clock=lambda: now)
    for _ in range(30):
        limit.count("a")
    with pytest.raises(RateLimitedError) as refused:
        limit.count("a")
    assert refused.value.retry_after == pytest.approx(0.5)
    limit.count("b")
    now = 0.5
    limit.count("a")
    with pytest.raises(RateLimitedError):
        limit.count("a")


def test_no_rate_is_no_limit():
    limit = RateLimit(0)
    for _ in range(1000):
        limit.count("a")


# ---- the server


@pytest.fixture(scope="module")
def guarded(drawn_gallery, tmp_path_factory):
    """A server that others could reach, with a token of each scope."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = Tokens(folder / "lookalike")
    made = {scope: tokens.create(scope, scope) for scope in ("read", "write", "admin")}
    options = (*OPEN, "--rate", "1000", "--access-log", "--log-format", "json")
    with serving(drawn_gallery, log=folder / "log", options=options) as server:
        yield server, made


def test_without_a_token_nothing_but_health_signing_in_and_explanations_is_open(guarded):
    server, _ = guarded
    for path in ("/healthz", "/readyz", "/sign-in", "/problems/busy", "/static/any/styles/tokens.css"):
        assert server.get(path).status == 200, path
    for path in ("/api/v1/info", f"{GALLERY}/items", "/metrics", "/api/v1/openapi.json", "/nothing/here", GALLERY):
        answer = server.get(path)
        assert (answer.status, answer.code) == (401, "token_required"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert server.send_form(f"{GALLERY}/search", image=PICTURE).code == "token_required"


def test_a_token_lets_in_and_a_wrong_one_does_not(guarded):
    server, tokens = guarded
    assert server.get(f"{GALLERY}/items", headers=bearer(tokens["read"])).status == 200
    assert server.send_form(f"{GALLERY}/search", headers=bearer(tokens["read"]), image=PICTURE).status == 200
    for wrong in (tokens["read"][:-1], "nonsense", ""):
        assert server.get("/api/v1/info", headers=bearer(wrong)).code == "token_required"
    assert server.get("/api/v1/info", headers={"Authorization": f"Basic {tokens['read']}"}).code == "token_required"


def test_no_token_stands_in_the_log(guarded):
    server, tokens = guarded
    server.get(f"/api/v1/info?token={tokens['admin']}", headers=bearer(tokens["admin"]))
    logged = server.logged()
    for token in tokens.values():
        assert token.rsplit("_", 1)[1] not in logged
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    told = next(line for line in lines if line.get("route") == "/api/v1/info" and line["status"] != 401)
    assert (told["token"], told["method"]) == ("admin", "GET")
    assert all(ord(letter) >= 32 for line in logged.splitlines() for letter in line)


def sign_in(server, token: str, after: str = "/"):
    body = f"token={token}&after={after}".encode()
    return server.ask("POST", "/sign-in", body, Content_Type="application/x-www-form-urlencoded")


def test_a_browser_is_led_to_the_form_signs_in_and_comes_back_to_where_it_was(guarded):
    server, tokens = guarded
    led = server.get("/g/drawn/browse?x=1", headers={"Accept": "text/html"})
    assert (led.status, led.headers["location"]) == (302, "/sign-in?after=%2Fg%2Fdrawn%2Fbrowse%3Fx%3D1")
    assert sign_in(server, "wrong").status == 401
    done = sign_in(server, tokens["read"], "/g/drawn/browse")
    assert (done.status, done.headers["location"]) == (303, "/g/drawn/browse")
    cookie = done.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert tokens["read"] not in cookie
    signed_in = {"Cookie": cookie.split(";")[0]}
    assert server.get("/g/drawn/browse", headers={"Accept": "text/html", **signed_in}).status == 200
    assert server.get("/api/v1/info", headers=signed_in).status == 200


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_site(guarded, place):
    server, tokens = guarded
    assert sign_in(server, tokens["read"], place).headers["location"] == "/"


def test_a_signed_in_browser_sends_only_from_our_own_page(guarded):
    server, tokens = guarded
    cookie = sign_in(server, tokens["admin"]).headers["set-cookie"].split(";")[0]
    search = f"{GALLERY}/search"

    def ask(**headers: str):
        return server.send_form(search, headers={"Cookie": cookie, **headers}, image=PICTURE)

    assert ask(Origin=f"http://127.0.0.1:{server.port}").status == 200
    assert ask(Sec_Fetch_Site="same-origin").status == 200
    assert ask(Origin="http://evil.example").code == "origin_refused"
    assert ask().code == "origin_refused"


def test_others_may_search_an_insecure_server_and_change_nothing(drawn_gallery, tmp_path):
    with serving(drawn_gallery, log=tmp_path / "log", options=(*OPEN, "--insecure")) as server:
        assert server.get(f"{GALLERY}/items").status == 200
        assert server.send_form(f"{GALLERY}/search", image=PICTURE).status == 200
        for method, path in _changing(server):
            assert server.ask(method, path).code == "insufficient_scope", (method, path)


def _changing(server) -> list[tuple[str, str]]:
    """Every route that takes `write` or `admin`, as the OpenAPI document names it."""
    document = server.get("/api/v1/openapi.json").json()
    return [
        (method.upper(), path.replace("{gallery}", "drawn").replace("{id}", "1").replace("{step}", "1"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("x-scope") in ("write", "admin")
    ]


def test_who_asks_too_often_is_told_when_to_come_back(drawn_gallery, tmp_path):
    with serving(drawn_gallery, log=tmp_path / "log", options=("--rate", "0.2")) as server:
        answers = [server.get("/api/v1/info") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[3].code == "rate_limited"
        assert 1 <= int(answers[3].headers["retry-after"]) <= 5
        assert server.get("/healthz").status == 200


def test_a_proxys_word_for_a_client_counts_only_where_proxies_are_named(drawn_gallery, tmp_path):
    def peers(folder, *options: str) -> set[str]:
        folder.mkdir()
        options = ("--access-log", "--log-format", "json", *options)
        with serving(drawn_gallery, log=folder / "log", options=options) as server:
            for forged in ("198.51.100.1", "198.51.100.2, 203.0.113.9"):
                server.get("/api/v1/info", headers={"X-Forwarded-For": forged})
            lines = [json.loads(line) for line in server.logged().splitlines() if '"route"' in line]
            return {line["peer"] for line in lines}

    assert peers(tmp_path / "none") == {"127.0.0.1"}
    assert peers(tmp_path / "one", "--trusted-proxies", "1", "--insecure") == {"198.51.100.1", "203.0.113.9"}


def test_below_a_prefix_every_address_has_it(drawn_gallery, tmp_path):
    with serving(drawn_gallery, log=tmp_path / "log", options=("--url-prefix", "/pictures")) as server:
        item = server.get(f"/pictures{GALLERY}/items/1").json()
        assert item["thumb"].startswith("/pictures/api/v1/")
        assert server.get(item["thumb"]).status == 200
        page = server.get("/pictures/g/drawn/", headers={"Accept": "text/html"}).body.decode()
        assert 'href="/' not in page.replace('href="/pictures/', "")
        problem = server.get(f"/pictures{GALLERY}/items/999").json()
        assert problem["type"] == "/pictures/problems/no_such_item"
        assert server.get(problem["type"]).status == 200


def test_pages_of_a_site_that_was_allowed_may_ask_and_those_of_others_may_not(drawn_gallery, tmp_path):
    options = ("--allow-origin", "https://shop.example")
    with serving(drawn_gallery, log=tmp_path / "log", options=options) as server:
        allowed, other = {"Origin": "https://shop.example"}, {"Origin": "https://evil.example"}
        asked = server.ask("OPTIONS", f"{GALLERY}/search", **allowed, Access_Control_Request_Method="POST")
        assert asked.status == 204
        answer = server.send_form(f"{GALLERY}/search", headers=allowed, image=PICTURE)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
        assert "access-control-allow-credentials" not in answer.headers
        assert server.send_form(f"{GALLERY}/items", headers=allowed, images=PICTURE).code == "insufficient_scope"
        assert server.send_form(f"{GALLERY}/search", headers=other, image=PICTURE).code == "origin_refused"
        assert "access-control-allow-origin" not in server.get("/api/v1/info", headers=other).headers


def test_every_route_that_is_no_mere_look_says_what_it_takes(app_of_everything):
    for rule in app_of_everything.url_map.iter_rules():
        view = app_of_everything.view_functions[rule.endpoint]
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            assert hasattr(view, "lookalike_scope"), f"{method} {rule.rule}: mark it with @needs(...)"
            assert scope_of_route(view, method) in ("nothing", "read", "write", "admin")
