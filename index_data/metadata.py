"""What is known of items beside their pixels: typed fields and tags, put together from several sources.

Each source is kept as it was read (the table `documents`; EXIF by content in `exif`), and the fields that can be asked
for are made from them (`metadata`, `tags`). For a field that several name, the later of these has the last word:

    EXIF  <  tables, the outermost folder first  <  picture.json  <  picture.jpg.json  <  what was set by hand

A document is a JSON object. Objects in it become fields with dots (`author.name`), lists several values of one field.
"""

import json
import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from train.errors import UserError
from train.printable import printable

if TYPE_CHECKING:
    from index_data.gallery import Changes, Gallery

Value = str | int | float | bool
Type = Literal["text", "number", "boolean"]
Fields = dict[str, Value | list[Value]]

MAX_FIELDS = 100  # of an item
MAX_VALUES = 100  # of one field
MAX_TEXT = 2000  # characters of a value; the rest is cut off
MAX_NAME = 100  # characters of a field's name
MAX_DEPTH = 6  # objects and lists within each other
MAX_TAGS = 100  # of an item
MAX_TAG = 100  # characters
MAX_OWN_BYTES = 20_000  # of what is set by hand for one item, as JSON
TAGS = ("tags", "keywords")  # fields of a document that are tags of the item
_INT64 = 2**63
_SOURCES = {"table": 1, "sidecar": 2, "own": 3}
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of one item beside its pixels."""

    tags: list[str] = field(default_factory=list)  # in the order of the alphabet
    fields: Fields = field(default_factory=dict)  # by name
    own: Fields = field(default_factory=dict)  # those of them that were set by hand


# --- From documents to fields ---------------------------------------------------------------------------------------


def type_of(value: Value) -> Type:
    """Which values a value can be compared with."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def flatten(document: Mapping[str, Any]) -> dict[str, list[Value]]:
    """The fields of a document, bounded: what is too deep, too long or too much is left out, `null` is no value."""
    found: dict[str, list[Value]] = {}
    for name, value in document.items():
        _collect(_name(name), value, MAX_DEPTH, found)
    return {name: values for name, values in found.items() if values}


def _collect(name: str, value: Any, depth: int, found: dict[str, list[Value]]) -> None:
    if isinstance(value, Mapping) and depth > 0:
        for inner, inner_value in value.items():
            _collect(f"{name}.{_name(inner)}", inner_value, depth - 1, found)
    elif isinstance(value, list | tuple) and depth > 0:
        for inner_value in value[:MAX_VALUES]:
            _collect(name, inner_value, depth - 1, found)
    elif (known := _value(value)) is not None and name and len(name) <= MAX_NAME:
        if name not in found and len(found) >= MAX_FIELDS:
            return
        values = found.setdefault(name, [])
        if len(values) < MAX_VALUES and not any(_same(known, value) for value in values):
            values.append(known)


def _same(one: Value, other: Value) -> bool:
    return type_of(one) == type_of(other) and one == other  # Python says that True is 1


def _value(value: Any) -> Value | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else float(value) if abs(value) < 10**300 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        text = clean(value, MAX_TEXT)
        return text or None
    return None


def _name(name: Any) -> str:
    return clean(str(name), MAX_NAME + 1).strip(".")


def clean(text: str, most: int) -> str:
    """Text without halves of characters and without control characters but line feeds, at most so long."""
    text = text[: 2 * most].replace("\r\n", "\n")
    kept = "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "" for c in text)
    return kept.strip()[:most]


def clean_tag(tag: str) -> str:
    """A tag as it is kept: one line without space around it.

    Raises:
        UserError: Nothing is left of it, or it is too long.
    """
    kept = " ".join(clean(tag, MAX_TAG + 1).split())
    if not kept or len(kept) > MAX_TAG or "," in kept:
        raise UserError(f"the tag {tag[:50]!r} cannot be used: give 1 to {MAX_TAG} characters without a comma.")
    return kept


def _tags_in(values: Iterable[Value]) -> Iterator[str]:
    """Tags that a document names, as a list or as text with commas."""
    for value in values:
        for word in str(value).replace(";", ",").split(","):
            kept = " ".join(word.split())[:MAX_TAG]
            if kept:
                yield kept


def merge(documents: Iterable[Mapping[str, Any]]) -> tuple[dict[str, list[Value]], list[str]]:
    """Fields and tags of documents, the strongest last; tags add up."""
    fields: dict[str, list[Value]] = {}
    tags: dict[str, None] = {}
    for document in documents:
        told = flatten(document)
        for name in TAGS:
            tags.update(dict.fromkeys(_tags_in(told.pop(name, []))))
        fields.update(told)
    return dict(list(fields.items())[:MAX_FIELDS]), list(tags)[:MAX_TAGS]


# --- In the database ------------------------------------------------------------------------------------------------


def put_exif(connection: sqlite3.Connection, content_id: int, facts: Mapping[str, Any]) -> None:
    """Keep what a content's file says of itself."""
    connection.execute("INSERT OR REPLACE INTO exif VALUES (?, ?)", (content_id, json.dumps(facts)))


def put_document(
    connection: sqlite3.Connection,
    item_id: int,
    source: Literal["table", "sidecar", "own"],
    document: Mapping[str, Any],
    *,
    place: bytes = b"",
    state: str = "",
) -> None:
    """Keep what a source says of an item, in place of what it said before; `describe` then makes the fields."""
    row = (item_id, source, place, state, json.dumps(document))
    connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", row)


def describe(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Make the fields and tags of items from their documents."""
    for start in range(0, len(ids), _AT_ONCE):
        _describe(connection, ids[start : start + _AT_ONCE])


def _describe(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    marks = ",".join("?" * len(ids))
    documents: dict[int, list[tuple[tuple[int, int, int], str]]] = {number: [] for number in ids}
    for number, document in connection.execute(
        f"SELECT items.id, document FROM items JOIN exif USING (content_id) WHERE items.id IN ({marks})",  # noqa: S608
        ids,
    ):
        documents[number].append(((0, 0, 0), document))
    for number, source, place, document in connection.execute(
        f"SELECT item_id, source, place, document FROM documents WHERE item_id IN ({marks})",  # noqa: S608
        ids,
    ):
        # A table further in says more exactly what is meant, and so does a sidecar with the picture's whole name.
        documents[number].append(((_SOURCES[source], place.count(b"/"), len(place)), document))
    connection.execute(f"DELETE FROM metadata WHERE item_id IN ({marks})", ids)  # noqa: S608
    connection.execute(f"DELETE FROM tags WHERE NOT own AND item_id IN ({marks})", ids)  # noqa: S608
    for number, said in documents.items():
        if not said:
            continue
        fields, tags = merge(_load(document) for _, document in sorted(said))
        connection.executemany(
            "INSERT INTO metadata VALUES (?, ?, ?, ?, ?)",
            (
                (number, name, position, type_of(value), value)
                for name, values in fields.items()
                for position, value in enumerate(values)
            ),
        )
        connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?, 0)", ((number, tag) for tag in tags))


def _load(document: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(document)
    return loaded


# --- Asking and setting ---------------------------------------------------------------------------------------------


def descriptions(gallery: "Gallery", ids: Sequence[int]) -> dict[int, Description]:
    """What is known of some items, by id; those that are not there are left out."""
    found = {number: Description() for (number,) in gallery.rows_of("SELECT id FROM items WHERE id IN", ids)}
    columns = "SELECT item_id, field, type, value FROM metadata WHERE item_id IN"
    for number, name, kind, value in gallery.rows_of(columns, ids, "ORDER BY item_id, field, position"):
        if number in found:
            _put(found[number].fields, name, bool(value) if kind == "boolean" else value)
    for number, tag in gallery.rows_of("SELECT item_id, tag FROM tags WHERE item_id IN", ids, "ORDER BY item_id, tag"):
        if number in found:
            found[number].tags.append(tag)
    documents = "SELECT item_id, document FROM documents WHERE source = 'own' AND item_id IN"
    for number, document in gallery.rows_of(documents, ids):
        if number in found:
            for name, values in flatten(_load(document)).items():
                for value in values:
                    _put(found[number].own, name, value)
    return found


def _put(fields: Fields, name: str, value: Value) -> None:
    known = fields.get(name)
    if known is None:
        fields[name] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        fields[name] = [known, value]


def change_tags(changes: "Changes", ids: Sequence[int], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Give items tags, or take tags away from them.

    Raises:
        UserError: A tag cannot be used, or an item would have too many.
    """
    added, removed = [clean_tag(tag) for tag in add], [clean_tag(tag) for tag in remove]
    connection = changes.connection
    connection.executemany(
        "DELETE FROM tags WHERE item_id = ? AND tag = ?", ((number, tag) for number in ids for tag in removed)
    )
    connection.executemany(
        "INSERT INTO tags VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET own = 1",
        ((number, tag) for number in ids for tag in added),
    )
    if not added:
        return
    for number in ids:
        ((count,),) = connection.execute("SELECT count(*) FROM tags WHERE item_id = ?", (number,))
        if count > MAX_TAGS:
            raise UserError(f"item {number} would have {count} tags: at most {MAX_TAGS} are kept.")


def set_tags(changes: "Changes", item_id: int, tags: Iterable[str]) -> None:
    """Let an item have just these tags; those that its sidecar names come back when that is read again."""
    wanted = [clean_tag(tag) for tag in tags]
    changes.connection.execute("DELETE FROM tags WHERE item_id = ?", (item_id,))
    change_tags(changes, [item_id], add=wanted)


def change_own(changes: "Changes", item_id: int, patch: Mapping[str, Any]) -> None:
    """Set fields of an item by hand (JSON merge patch, RFC 7396): `null` takes back what was set.

    Raises:
        UserError: A name or a value cannot be kept, or it is too much.
    """
    connection = changes.connection
    row = connection.execute(
        "SELECT document FROM documents WHERE item_id = ? AND source = 'own'", (item_id,)
    ).fetchone()
    document = _patched(_load(row[0]) if row else {}, patch)
    _expect_kept(document)
    if document:
        put_document(connection, item_id, "own", document)
    else:
        connection.execute("DELETE FROM documents WHERE item_id = ? AND source = 'own'", (item_id,))
    describe(connection, [item_id])


def own_values(changes: "Changes", ids: Sequence[int], names: Sequence[str]) -> dict[int, dict[str, Any]]:
    """What was set by hand of some fields of items, as a patch that sets it again: null where nothing was.

    Args:
        changes: A transaction: nobody comes between this look and a change.
        ids: Of items.
        names: Of fields, as they can be asked for (`author.name`).
    """
    found: dict[int, dict[str, Any]] = {number: dict.fromkeys(names) for number in ids}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        marks = ",".join("?" * len(some))
        rows = changes.connection.execute(
            f"SELECT item_id, document FROM documents WHERE source = 'own' AND item_id IN ({marks})",  # noqa: S608
            some,
        )
        for number, document in rows:
            for name, values in flatten(_load(document)).items():
                if name in found[number]:
                    found[number][name] = values[0] if len(values) == 1 else values
    return found


def _patched(document: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        head, _, rest = name.partition(".")
        if rest and name not in result and isinstance(result.get(head), Mapping):
            # `author.name` means what `{"author": {"name": ...}}` set: there is one field of that name.
            result[head] = _patched(result[head], {rest: value})
            if not result[head]:
                del result[head]
        elif value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            result[name] = _patched(result.get(name), value)
        else:
            result[name] = value
    return result


_NAME = re.compile(r"[^\s.\"'{}\[\]][^\n\"'{}\[\]]*")


def _expect_kept(document: Mapping[str, Any]) -> None:
    size = len(json.dumps(document).encode())
    if size > MAX_OWN_BYTES:
        raise UserError(f"the metadata have {size:,} bytes: at most {MAX_OWN_BYTES:,} are kept for one item.")
    for name in document:
        if not _NAME.fullmatch(name) or clean(name, MAX_NAME) != name:
            raise UserError(f"{printable(name[:50])!r} cannot be the name of a field: use letters, digits, _ and -.")
        if name in TAGS:
            raise UserError(f"{name!r} are not set as metadata: use the tags of the item.")
    kept = flatten(document)
    for name, value in document.items():
        wanted = [value] if not isinstance(value, list) else value
        simple = all(isinstance(each, str | int | float) and each != "" for each in wanted)
        if simple and not all(any(_same(each, other) for other in kept.get(name, [])) for each in wanted):
            raise UserError(
                f"the value of {name!r} cannot be kept: text has at most {MAX_TEXT:,} characters and no control "
                f"characters, a list {MAX_VALUES} values, an item {MAX_FIELDS} fields."
            )
