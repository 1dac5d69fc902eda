"""What is said of pictures beside them: EXIF, sidecars, tables, folders, tags, and what is set by hand."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_data import metadata, schema
from index_data.adding import scan_roots
from index_data.gallery import Gallery
from index_data.metadata import Description, descriptions, flatten, merge
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from tests.index_data.test_schema import make_format_1
from tests.train.test_facts import WHOLE, camera_exif
from train.errors import UserError


@pytest.fixture
def scan(gallery, bundle) -> Callable[[], None]:
    def scan() -> None:
        scan_roots(gallery, bundle, provider="cpu", workers=1)

    return scan


def told(gallery: Gallery) -> dict[str, Description]:
    items = items_of(gallery)
    known = descriptions(gallery, [item.id for item in items])
    return {os.fsdecode(item.path): known[item.id] for item in sorted(items, key=lambda item: item.path)}


def draw(folder: Path, *names: str, **settings: object) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        draw_picture(number).save(folder / name, **settings)
    return folder


# --- Sources ---


def test_a_picture_is_described_by_its_exif_data(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", exif=camera_exif())
    draw(folder, "plain.png")
    add(folder)
    assert told(gallery)["a.jpg"].fields == WHOLE
    assert told(gallery)["plain.png"] == Description()


def test_an_edited_picture_is_described_anew(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", exif=camera_exif())
    add(folder)
    draw_picture(9).save(folder / "a.jpg")
    add(folder)
    assert told(gallery)["a.jpg"].fields == {}


def test_a_sidecar_describes_its_picture(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "b.png", exif=camera_exif())
    (folder / "a.jpg.json").write_text(json.dumps({"title": "Cat", "year": 1999, "author": {"name": "Ada"}}))
    (folder / "b.json").write_text(json.dumps({"rating": 4.5, "good": True, "kinds": ["x", "y"], "none": None}))
    add(folder)
    known = told(gallery)
    assert known["a.jpg"].fields == (WHOLE | {"title": "Cat", "year": 1999, "author.name": "Ada"})
    assert known["b.png"].fields == (WHOLE | {"rating": 4.5, "good": True, "kinds": ["x", "y"]})
    assert known["b.png"].fields["good"] is True


def test_the_sidecar_with_the_whole_name_is_the_stronger_one(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg")
    (folder / "a.json").write_text('{"title": "weak", "only": 1}')
    (folder / "a.jpg.json").write_text('{"title": "strong"}')
    add(folder)
    assert told(gallery)["a.jpg"].fields == {"title": "strong", "only": 1}


def test_a_scan_sees_sidecars_that_changed_came_or_went(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    (folder / "a.json").write_text('{"title": "old"}')
    (folder / "b.json").write_text('{"title": "gone"}')
    add(folder)
    (folder / "a.json").write_text('{"title": "newer"}')
    (folder / "b.json").unlink()
    (folder / "c.json").write_text('{"title": "come"}')
    scan()
    assert {name: known.fields for name, known in told(gallery).items()} == {
        "a.jpg": {"title": "newer"},
        "b.jpg": {},
        "c.jpg": {"title": "come"},
    }


def test_a_scan_of_what_did_not_change_changes_nothing(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "in/b.jpg")
    (folder / "a.json").write_text('{"title": "x"}')
    (folder / "metadata.csv").write_text("path,place\nin/b.jpg,Rome\n")
    add(folder)
    before = gallery.seq
    scan()
    assert gallery.seq == before


TABLE = [
    {"path": "a.jpg", "title": "Cat", "year": 2001, "good": True, "code": "007"},
    {"path": "in/b.jpg", "title": "Dog", "year": 2002, "good": False, "code": "8"},
]


def write_table(place: Path) -> None:
    if place.suffix == ".csv":
        lines = ["path,title,year,good,code,empty"]
        lines += [
            f"{row['path']},{row['title']},{row['year']},{str(row['good']).lower()},{row['code']}," for row in TABLE
        ]
        place.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    elif place.suffix == ".json":
        place.write_text(json.dumps(TABLE))
    elif place.suffix == ".jsonl":
        place.write_text("\n".join(json.dumps(row) for row in TABLE))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(TABLE), place)


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_a_table_describes_the_pictures_that_it_names(add, gallery, tmp_path, suffix):
    folder = draw(tmp_path / "photos", "a.jpg", "in/b.jpg", "other.jpg")
    write_table(folder / f"metadata.{suffix}")
    add(folder)
    known = told(gallery)
    assert known["a.jpg"].fields == {"title": "Cat", "year": 2001, "good": True, "code": "007"}
    assert known["in/b.jpg"].fields == {"title": "Dog", "year": 2002, "good": False, "code": "8"}
    assert known["other.jpg"].fields == {}


def test_a_scan_sees_tables_that_changed_or_went_and_new_pictures_that_they_name(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "b.jpg")
    (folder / "metadata.csv").write_text("file_name,n\na.jpg,1\nb.jpg,2\nc.jpg,3\n")
    add(folder)
    draw_picture(7).save(folder / "c.jpg")
    scan()
    assert {name: known.fields for name, known in told(gallery).items()} == {
        "a.jpg": {"n": 1},
        "b.jpg": {"n": 2},
        "c.jpg": {"n": 3},
    }
    (folder / "metadata.csv").write_text("file_name,n\na.jpg,10\n")
    scan()
    assert [known.fields for known in told(gallery).values()] == [{"n": 10}, {}, {}]
    (folder / "metadata.csv").unlink()
    scan()
    assert [known.fields for known in told(gallery).values()] == [{}, {}, {}]


def test_the_table_further_in_is_the_stronger_one(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "in/a.jpg")
    (folder / "metadata.jsonl").write_text('{"path": "in/a.jpg", "title": "outer", "only": "outer"}')
    (folder / "in" / "metadata.jsonl").write_text('{"path": "a.jpg", "title": "inner"}')
    add(folder)
    assert told(gallery)["in/a.jpg"].fields == {"title": "inner", "only": "outer"}


def test_a_moved_picture_is_described_by_what_stands_at_its_new_place(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "b.jpg")
    (folder / "metadata.csv").write_text("path,n\na.jpg,1\nnew/a.jpg,2\n")
    (folder / "a.json").write_text('{"side": "old"}')
    add(folder)
    (folder / "new").mkdir()
    (folder / "a.jpg").rename(folder / "new" / "a.jpg")
    (folder / "new" / "a.json").write_text('{"side": "new"}')
    scan()
    assert told(gallery)["new/a.jpg"].fields == {"n": 2, "side": "new"}


def test_a_root_above_takes_descriptions_in(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos" / "in", "a.jpg")
    (folder / "a.json").write_text('{"side": 1}')
    (folder / "metadata.csv").write_text("path,n\na.jpg,1\n")
    add(folder)
    add(folder.parent)
    assert told(gallery) == {"in/a.jpg": Description(fields={"n": 1, "side": 1})}
    (folder / "metadata.csv").unlink()
    (folder / "a.json").unlink()
    add(folder.parent)
    assert told(gallery) == {"in/a.jpg": Description()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"[1]"),
        ("a.json", b"\xff\xfe"),
        ("a.json", b"[" * 100_000),
        ("a.json", b'{"x": ' + b"9" * 10_000 + b"}"),
        ("a.json", b" " * ((1 << 20) + 1)),
        ("metadata.json", b"7"),
        ("metadata.json", b"[[]]"),
        ("metadata.jsonl", b"{}\n[]\n"),
        ("metadata.csv", b"title\nCat\n"),
        ("metadata.csv", b"path\n\xff\n"),
        ("metadata.csv", b"path,x\na.jpg," + b"y" * (2 << 20)),
        ("metadata.parquet", b"PAR1" + bytes(100)),
    ],
)
def test_a_file_that_says_nothing_sensible_is_named_and_left_out(add, gallery, tmp_path, capsys, name, content):
    from train.progress import Reporter

    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    folder = draw(tmp_path / "photos", "a.jpg")
    (folder / name).write_bytes(content)
    summary = add(folder, reporter=Reporter("lines"))
    assert (summary.embedded, summary.rejected) == (1, {})
    assert told(gallery)["a.jpg"].fields == {}
    assert f"{name} is left out" in capsys.readouterr().err


def test_paths_of_a_table_do_not_lead_outside_its_folder(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "in/b.jpg")
    rows = [{"path": path, "n": 1} for path in ("../a.jpg", "/a.jpg", "in/../../a.jpg", "", "\0", 7, None)]
    (folder / "in" / "metadata.json").write_text(json.dumps([*rows, {"path": "./b.jpg", "n": 2}]))
    add(folder)
    assert {name: known.fields for name, known in told(gallery).items()} == {"a.jpg": {}, "in/b.jpg": {"n": 2}}


def test_a_link_is_no_sidecar(add, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg")
    (tmp_path / "secret.json").write_text('{"secret": 1}')
    (folder / "a.json").symlink_to(tmp_path / "secret.json")
    add(folder)
    assert told(gallery)["a.jpg"].fields == {}


def test_an_older_gallery_learns_what_its_pictures_say(bundle, tmp_path, add, gallery):
    folder = draw(tmp_path / "photos", "a.jpg", "b.jpg", exif=camera_exif())
    (folder / "a.json").write_text('{"title": "x"}')
    add(folder)
    gallery.close()
    make_format_1(gallery.folder)
    with Gallery.open(gallery.folder) as old:
        assert told(old) == {"a.jpg": Description(), "b.jpg": Description()}
        scan_roots(old, bundle, provider="cpu", workers=1)
        assert told(old)["a.jpg"].fields == (WHOLE | {"title": "x"})
        assert told(old)["b.jpg"].fields == WHOLE
    with Gallery.open(gallery.folder) as new:
        assert new.rows("PRAGMA user_version") == [(schema.FORMAT_VERSION,)]


# --- By hand ---


def test_what_is_set_by_hand_has_the_last_word_until_it_is_taken_back(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg")
    (folder / "a.json").write_text('{"title": "sidecar", "n": 1}')
    add(folder)
    with gallery.changes() as changes:
        metadata.change_own(changes, 1, {"title": "mine", "more": {"deep": [1, 2]}})
    (folder / "a.json").write_text('{"title": "sidecar again", "n": 2}')
    scan()
    assert told(gallery)["a.jpg"].fields == {"title": "mine", "n": 2, "more.deep": [1, 2]}
    assert told(gallery)["a.jpg"].own == {"title": "mine", "more.deep": [1, 2]}
    with gallery.changes() as changes:
        metadata.change_own(changes, 1, {"title": None, "more": None})
    assert told(gallery)["a.jpg"] == Description(fields={"title": "sidecar again", "n": 2})


def test_tags_are_given_and_taken_away(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", "b.jpg")
    (folder / "a.json").write_text('{"tags": ["red", "old"]}')
    (folder / "metadata.csv").write_text('path,keywords\nb.jpg,"blue, very  old"\n')
    add(folder)
    ids = [item.id for item in sorted(items_of(gallery), key=lambda item: item.path)]
    with gallery.changes() as changes:
        metadata.change_tags(changes, ids, add=["mine"], remove=["old"])
    assert [known.tags for known in told(gallery).values()] == [["mine", "red"], ["blue", "mine", "very old"]]
    (folder / "a.json").unlink()
    scan()
    assert [known.tags for known in told(gallery).values()] == [["mine"], ["blue", "mine", "very old"]]
    with gallery.changes() as changes:
        metadata.set_tags(changes, ids[1], ["just this"])
    assert told(gallery)["b.jpg"].tags == ["just this"]


@pytest.mark.parametrize("tag", ["", " ", "a,b", "x" * 101, "\x07"])
def test_a_tag_that_cannot_be_used_is_refused(gallery, tag):
    with pytest.raises(UserError, match="tag"), gallery.changes() as changes:
        metadata.change_tags(changes, [], add=[tag])


@pytest.mark.parametrize(
    "patch",
    [
        {"": 1},
        {".a": 1},
        {"tags": ["x"]},
        {"x" * 101: 1},
        {"a\nb": 1},
        {"a": "x" * 2001},
        {"a": list(range(101))},
        {f"f{number}": 1 for number in range(101)},
        {"a": "x" * 30_000},
        {"a": "bell\x07"},
    ],
)
def test_metadata_that_cannot_be_kept_are_refused(add, gallery, tmp_path, patch):
    add(draw(tmp_path / "photos", "a.jpg"))
    with pytest.raises(UserError), gallery.changes() as changes:
        metadata.change_own(changes, 1, patch)
    assert told(gallery)["a.jpg"] == Description()


def test_descriptions_go_with_their_item(add, scan, gallery, tmp_path):
    folder = draw(tmp_path / "photos", "a.jpg", exif=camera_exif())
    (folder / "a.json").write_text('{"tags": ["x"]}')
    add(folder)
    (folder / "a.jpg").unlink()
    scan()
    for table in ("names", "exif", "documents", "metadata", "tags"):
        assert gallery.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert gallery.check_database() == []


# --- From documents to fields ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=6), max_size=3))
def test_whatever_a_document_holds_becomes_bounded_typed_fields(documents):
    fields, tags = merge(documents)
    assert len(fields) <= metadata.MAX_FIELDS
    for name, values in fields.items():
        assert 0 < len(name) <= metadata.MAX_NAME
        assert 0 < len(values) <= metadata.MAX_VALUES
        for value in values:
            assert metadata.type_of(value) in ("text", "number", "boolean")
            assert value == value  # no NaN
            json.dumps(value).encode()
    assert all(0 < len(tag) <= metadata.MAX_TAG for tag in tags)


def test_fields_of_a_document_are_flat():
    document = {"a": {"b": {"c": 1}}, "list": [1, "two", [True], {"x": 2.5}], "none": None, "nan": float("nan")}
    assert flatten(document) == {"a.b.c": [1], "list": [1, "two", True], "list.x": [2.5]}
