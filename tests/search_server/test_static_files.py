"""What the page is made of comes compressed, and is kept for as long as it stays the same."""

import gzip
import re
from pathlib import Path

import pytest

from search_server.compression import LEAST_BYTES
from search_server.static_files import FOLDER, STYLES, StaticFolder
from tests.search_server.conftest import Client, Server

PACKED = {"Accept-Encoding": "gzip, deflate"}


def addresses(server: Client, page: str = "/g/drawn/") -> list[str]:
    return re.findall(r'(?:href|src)="(/static/[^"#]+)"', server.get(page).body.decode())


def test_what_a_page_is_made_of_is_kept_for_ever(server: Server):
    for address in addresses(server):
        answer = server.get(address)
        assert answer.status == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_a_page_names_all_modules_that_it_begins_with(server: Server):
    """Those that another one imports too: else they would be fetched one after the other."""
    named = {address.split("/", 3)[3] for address in addresses(server)}
    modules = {name for name in named if name.endswith(".js") and name != "theme.js"}
    assert "app.js" in modules
    for name in modules:
        text = (FOLDER / name).read_text()
        imported = re.findall(r'^(?:import|\}) .*?"(\.[^"]+)";$', text, re.MULTILINE)
        assert imported or name not in ("app.js", "start/start_view.js")
        assert {str((FOLDER / name).parent.joinpath(to).resolve().relative_to(FOLDER)) for to in imported} <= modules


def test_files_are_compressed_for_who_can_read_it(server: Server):
    [style] = [address for address in addresses(server, "/docs") if address.endswith("controls.css")]
    plain, packed = server.get(style), server.get(style, headers=PACKED)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body == (FOLDER / "styles" / "controls.css").read_bytes()
    assert len(packed.body) < len(plain.body) / 2
    assert "accept-encoding" in plain.headers["vary"].lower()
    assert "accept-encoding" in packed.headers["vary"].lower()


def test_the_style_sheets_of_every_view_come_as_one(server: Server):
    """In their order, so that what counts last stands last; each view's own follows."""
    every, own = (address for address in addresses(server) if address.endswith(".css"))
    text = server.get(every).body.decode()
    sheets = [(FOLDER / "styles" / f"{name}.css").read_text() for name in STYLES]
    places = [text.index(sheet) for sheet in sheets]
    assert places == sorted(places)
    assert own.endswith("/start/start.css")
    assert {path.stem for path in (FOLDER / "styles").iterdir()} == {*STYLES, "plain"}


def test_a_page_that_was_opened_before_an_update_still_finds_its_files_but_keeps_none(server: Server):
    answer = server.get("/static/000000000000/app.js")
    assert answer.body == (FOLDER / "app.js").read_bytes()
    assert answer.headers["cache-control"] == "no-cache"
    again = server.get("/static/000000000000/app.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304


def test_scripts_and_styles_are_not_sent_what_only_documents_obey(server: Server):
    document = server.get("/g/drawn/").headers
    kinds = set()
    for address in addresses(server):
        headers = server.get(address).headers
        kinds.add(kind := Path(address).suffix)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        for name in ("content-security-policy", "cross-origin-opener-policy", "permissions-policy"):
            assert (name in headers) == (kind == ".svg"), address  # a drawing can be opened as a document
            assert name in document
    assert kinds == {".js", ".css", ".svg"}


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "nothing.js", "", "styles"])
def test_nothing_else_is_given_away(server: Server, path: str):
    version = addresses(server)[0].split("/")[2]
    assert server.get(f"/static/{version}/{path}").status == 404


def test_a_changed_file_changes_every_address(tmp_path: Path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "app.js").write_text(
        'import { one } from "./parts/one.js";\nconst later = () => import("./later.js");\n'
    )
    (tmp_path / "parts" / "one.js").write_text('import {\n  two,\n} from "../two.js";\nexport const one = 1;\n')
    (tmp_path / "two.js").write_text('export { one } from "./parts/one.js";\n')
    (tmp_path / "later.js").write_text("")
    (tmp_path / "notes.txt").write_text("not served")
    folder = StaticFolder(tmp_path)
    before = folder.read()
    assert before is folder.read()
    assert sorted(before.files) == ["app.js", "later.js", "parts/one.js", "two.js"]
    assert before.modules_of("app.js") == ["app.js", "parts/one.js", "two.js"]
    (tmp_path / "two.js").write_text("export const two = 22;\n")
    assert folder.of(before.version) is before  # who asks for what was read last is not kept waiting by a look
    after = folder.of("another")
    assert after.version != before.version
    assert after is folder.read()
    assert after.files["two.js"].data == b"export const two = 22;\n"


def test_answers_of_some_length_are_compressed(server: Server):
    path = "/api/v1/galleries/drawn/items"
    plain, packed = server.get(path), server.get(path, headers=PACKED)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    page = server.get("/g/drawn/", headers=PACKED)
    assert b"Lookalike" in gzip.decompress(page.body)


def test_short_answers_pictures_and_what_if_match_compares_are_not_compressed(server: Server):
    path = "/api/v1/galleries/drawn"
    [item] = server.get(f"{path}/items", limit=1).json()["items"]
    short = server.get(f"{path}/items", limit=1, headers=PACKED)
    assert len(short.body) < LEAST_BYTES
    for answer in (
        short,
        server.get(item["thumb"], headers=PACKED),
        server.get(f"{path}/items/{item['id']}", headers=PACKED),
    ):
        assert "content-encoding" not in answer.headers


def test_another_sites_page_learns_nothing_from_the_length_of_an_answer(server: Server):
    path = "/api/v1/galleries/drawn/items"
    for site, encoding in (("cross-site", None), ("same-site", None), ("same-origin", "gzip"), ("none", "gzip")):
        answer = server.get(path, headers={**PACKED, "Sec-Fetch-Site": site})
        assert answer.headers.get("content-encoding") == encoding
        assert "accept-encoding" in answer.headers["vary"].lower()
