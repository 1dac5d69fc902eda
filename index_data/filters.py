"""Filters: which items are meant, said as JSON, compiled to SQL with parameters, evaluated before a search.

    {"folder": {"prefix": "2019/"}, "or": [{"tags": {"eq": "cat"}}, {"year": {"gte": 2019, "lt": 2021}}]}

All names of an object must hold. A name is `and`, `or` (a list of filters), `not` (a filter), a field that every item
has (`BUILT_IN`), or a field of the metadata; `metadata.width` is the field of that name where the file's own is not
meant. Operators: eq, ne, in, lt, lte, gt, gte, prefix, exists.

Values are compared as what they are: text with text, numbers with numbers. An item with several values of a field
(tags, lists) meets a condition when one of them does. `ne` is the opposite of `eq`: it holds where there is no value.
Where a map was computed, an item on it has the number of its `cluster` there.
"""

import difflib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.analyses import NotComputedError, state_of
from index_data.gallery import Gallery
from index_data.mapping import read_clusters
from index_data.metadata import Type, type_of
from train.errors import UserError
from train.printable import printable

Ids = NDArray[np.int64]  # (n,), rising
Filter = dict[str, Any]

MAX_DEPTH = 8  # filters within each other
MAX_CONDITIONS = 100
MAX_CHOICES = 1000  # of one `in`
MAX_TEXT = 2000  # characters of a value
MAX_BYTES = 64_000  # of a filter as JSON

COMPARISONS = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
OPERATORS = (*COMPARISONS, "ne", "in", "prefix", "exists")
COMBINATIONS = ("and", "or", "not")
_PREFIX = "metadata."
_INT64 = 2**63


class FilterError(UserError):
    """A filter that cannot be understood: the message names the place and what is nearest to it."""

    code = "invalid"


@dataclass(frozen=True)
class _Column:
    """A field that every item has."""

    type: Type
    rows: str  # a SELECT of the ids of the items for which {condition} holds
    value: str  # what the condition compares


_PATH = "CASE folder WHEN '' THEN name ELSE folder || '/' || name END"
_NAMES = "SELECT item_id FROM names WHERE {condition}"
_ITEMS = "SELECT id FROM items WHERE {condition}"
# The subquery reads an index, not the contents themselves, which hold the vectors.
_CONTENTS = "SELECT id FROM items WHERE content_id IN (SELECT id FROM contents WHERE {condition})"
BUILT_IN: dict[str, _Column] = {
    "id": _Column("number", _ITEMS, "id"),
    "folder": _Column("text", _NAMES, "folder"),
    "name": _Column("text", _NAMES, "name"),
    "path": _Column("text", _NAMES, _PATH),
    "width": _Column("number", _CONTENTS, "width"),
    "height": _Column("number", _CONTENTS, "height"),
    "format": _Column("text", _CONTENTS, "format"),
    "sha256": _Column("text", _CONTENTS, "lower(hex(sha256))"),
    "bytes": _Column("number", _ITEMS, "size"),
    "added_at": _Column("text", _ITEMS, "added_at"),
    "tags": _Column("text", "SELECT item_id FROM tags WHERE {condition}", "tag"),
}
_ALIASES = {"tag": "tags"}
CLUSTER = "cluster"  # on the map


@dataclass(frozen=True)
class Condition:
    """A filter as SQL: an expression over `items.id`, and its parameters."""

    sql: str
    values: tuple[Any, ...]


ALL = Condition("1", ())


def parse_filter(text: str) -> Filter:
    """A filter from its JSON.

    Raises:
        FilterError: It is no JSON object, or too long.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise FilterError(f"the filter has more than {MAX_BYTES:,} bytes: make it shorter.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FilterError(f"the filter is not JSON: {str(error)[:200]}.") from error
    if not isinstance(found, dict):
        raise FilterError('the filter is no JSON object: write it as {"year": {"gte": 2019}}.')
    return found


def compile_filter(gallery: Gallery, asked: Filter) -> Condition:
    """A filter as SQL for a gallery.

    Raises:
        FilterError: An unknown field or operator (the nearest one is named), a value of another type than the field
            has, or too deep or too large a filter.
    """
    return _Compiler(gallery).compile(asked, 1, "")


def matching_ids(gallery: Gallery, asked: Filter) -> Ids:
    """Ids of the items that a filter lets through, rising; raises like `compile_filter`."""
    condition = compile_filter(gallery, asked)
    return gallery.item_ids(condition.sql, condition.values)


def state_of_fields(gallery: Gallery) -> str:
    """What changes when items have other values of a field although the gallery's database has not changed."""
    return state_of(gallery, "map")


def field_types(gallery: Gallery) -> dict[str, set[str]]:
    """The fields of a gallery's metadata, and the types of their values."""
    # One step into the index for each field and type: a gallery has few of them, but many values.
    found: dict[str, set[str]] = {}
    rows = gallery.rows(
        "WITH RECURSIVE step (field, type) AS ("
        " SELECT * FROM (SELECT field, type FROM metadata ORDER BY field, type LIMIT 1)"
        " UNION ALL SELECT (SELECT field FROM metadata WHERE (field, type) > (step.field, step.type)"
        "  ORDER BY field, type LIMIT 1),"
        " (SELECT type FROM metadata WHERE (field, type) > (step.field, step.type) ORDER BY field, type LIMIT 1)"
        " FROM step WHERE step.field IS NOT NULL"
        ") SELECT field, type FROM step WHERE field IS NOT NULL"
    )
    for field, kind in rows:
        found.setdefault(field, set()).add(kind)
    return found


class _Compiler:
    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._known: dict[str, set[str]] | None = None
        self._conditions = 0

    def compile(self, asked: Any, depth: int, place: str) -> Condition:
        if not isinstance(asked, dict):
            raise FilterError(f'{place or "the filter"} is no object: write {{"field": {{"eq": ...}}}}.')
        if depth > MAX_DEPTH:
            raise FilterError(f"the filter is nested deeper than {MAX_DEPTH} levels.")
        parts = []
        for name, value in asked.items():
            inner = f"{place}/{printable(str(name))[:100]}"
            if name == "not":
                part = self.compile(value, depth + 1, inner)
                parts.append(Condition(f"NOT {part.sql}", part.values))
            elif name in COMBINATIONS:
                parts.append(self._combine(name, value, depth, inner))
            else:
                parts.append(self._field(name, value, inner))
        return _joined("AND", parts)

    def _combine(self, name: str, value: Any, depth: int, place: str) -> Condition:
        if not isinstance(value, list) or not value:
            raise FilterError(f"{place} is no list of filters: write [{{...}}, {{...}}].")
        inner = [self.compile(each, depth + 1, f"{place}/{number}") for number, each in enumerate(value)]
        return _joined(name.upper(), inner)

    def _field(self, name: str, asked: Any, place: str) -> Condition:
        if not isinstance(asked, dict) or not asked:
            raise FilterError(f'{place} has no operator: write {{"{printable(name)[:50]}": {{"eq": ...}}}}.')
        test = self._test_of(name, place)
        return _joined("AND", [self._operator(test, word, value, f"{place}/{word}") for word, value in asked.items()])

    def _operator(self, test: "_Test", operator: str, value: Any, place: str) -> Condition:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise FilterError(f"the filter has more than {MAX_CONDITIONS} conditions.")
        if operator not in OPERATORS:
            raise FilterError(f"{printable(place)[:200]}: {_unknown('operator', operator, OPERATORS)}")
        if operator == "exists":
            if not isinstance(value, bool):
                raise FilterError(f"{place} is true or false.")
            return test.exists() if value else _negated(test.exists())
        if operator == "in":
            if not isinstance(value, list) or len(value) > MAX_CHOICES:
                raise FilterError(f"{place} is no list of at most {MAX_CHOICES:,} values.")
            return test.one_of([_checked(each, place) for each in value], place)
        checked = _checked(value, place)
        if operator == "ne":
            return _negated(test.compare("=", checked, place))
        if operator == "prefix":
            if not isinstance(checked, str):
                raise FilterError(f"{place} is no text.")
            return test.begins(checked, place)
        if isinstance(checked, bool) and operator != "eq":
            raise FilterError(f"{place}: true and false have no order: use eq or ne.")
        return test.compare(COMPARISONS[operator], checked, place)

    def _test_of(self, name: str, place: str) -> "_Test":
        built_in = BUILT_IN.get(_ALIASES.get(name, name))
        if built_in is not None:
            return _ColumnTest(built_in)
        field = name.removeprefix(_PREFIX)
        if self._known is None:
            self._known = field_types(self._gallery)
        if name == CLUSTER and (field not in self._known or state_of(self._gallery, "map")):
            return self._clusters(place)
        if field not in self._known:
            names = [*BUILT_IN, *self._known]
            raise FilterError(f"{printable(place)[:200]}: {_unknown('field', name, (*names, *COMBINATIONS))}")
        return _MetadataTest(field, self._known[field])

    def _clusters(self, place: str) -> "_Test":
        try:
            ids, clusters, _ = read_clusters(self._gallery)
        except NotComputedError as error:
            raise FilterError(f"{printable(place)[:200]}: {error}") from error
        return _ClusterTest(self._gallery, ids, clusters)


class _Test:
    """What can be asked of one field."""

    types: Iterable[str]

    def exists(self) -> Condition:
        raise NotImplementedError

    def _rows(self, kind: Type, condition: Callable[[str], str], values: tuple[Any, ...]) -> Condition:
        raise NotImplementedError

    def compare(self, sign: str, value: Any, place: str) -> Condition:
        self._expect_type(value, place)
        return self._rows(type_of(value), lambda column: f"{column} {sign} ?", (value,))

    def one_of(self, values: list[Any], place: str) -> Condition:
        by_type: dict[Type, list[Any]] = {}
        for value in values:
            self._expect_type(value, place)
            by_type.setdefault(type_of(value), []).append(value)
        if not by_type:
            return Condition("0", ())
        return _joined("OR", [self._one_of_type(kind, some) for kind, some in by_type.items()])

    def _one_of_type(self, kind: Type, values: list[Any]) -> Condition:
        marks = ",".join("?" * len(values))
        return self._rows(kind, lambda column: f"{column} IN ({marks})", tuple(values))

    def begins(self, text: str, place: str) -> Condition:
        self._expect_type(text, place)
        if not text:
            return self._rows("text", lambda column: f"{column} NOTNULL", ())
        # Not LIKE, which folds case and has wildcards. What begins with a text lies from it to its next one.
        last = text[-1]
        if ord(last) < 0x10FFFF and not 0xD7FF <= ord(last) < 0xE000:
            after = text[:-1] + chr(ord(last) + 1)
            return self._rows("text", lambda column: f"{column} >= ? AND {column} < ?", (text, after))
        return self._rows("text", lambda column: f"substr({column}, 1, ?) = ?", (len(text), text))

    def _expect_type(self, value: Any, place: str) -> None:
        kind = type_of(value)
        if kind in self.types:
            return
        has = " and ".join(sorted(self.types))
        how = ": leave the quotes out" if kind == "text" and "number" in self.types else ""
        how = ": write it in quotes" if kind == "number" and "text" in self.types else how
        raise FilterError(f"{place} is {json.dumps(value)[:100]}, a {kind} value, but the field holds {has}{how}.")


class _ColumnTest(_Test):
    def __init__(self, column: _Column) -> None:
        self.types = (column.type,)
        self._column = column

    def exists(self) -> Condition:
        return Condition(f"items.id IN ({self._column.rows.format(condition='1')})", ())

    def _rows(self, kind: Type, condition: Callable[[str], str], values: tuple[Any, ...]) -> Condition:
        del kind
        inner = self._column.rows.format(condition=condition(self._column.value))
        return Condition(f"items.id IN ({inner})", values)


class _ClusterTest(_Test):
    """Clusters are few: those that meet a condition are found first, then the items that are in them."""

    types = ("number",)

    def __init__(self, gallery: Gallery, ids: Ids, clusters: NDArray[np.int32]) -> None:
        self._gallery = gallery
        self._ids = ids
        self._clusters = clusters

    def exists(self) -> Condition:
        return _one_of_ids(self._ids)

    def _rows(self, kind: Type, condition: Callable[[str], str], values: tuple[Any, ...]) -> Condition:
        del kind
        numbers = json.dumps(np.unique(self._clusters).tolist())
        found = self._gallery.rows(
            f"SELECT value FROM json_each(?) WHERE {condition('value')}",  # noqa: S608
            (numbers, *values),
        )
        return _one_of_ids(self._ids[np.isin(self._clusters, [number for (number,) in found])])


class _MetadataTest(_Test):
    def __init__(self, field: str, types: set[str]) -> None:
        self.types = types
        self._field = field

    def exists(self) -> Condition:
        return Condition("items.id IN (SELECT item_id FROM metadata WHERE field = ?)", (self._field,))

    def _rows(self, kind: Type, condition: Callable[[str], str], values: tuple[Any, ...]) -> Condition:
        inner = f"SELECT item_id FROM metadata WHERE field = ? AND type = ? AND ({condition('value')})"  # noqa: S608
        return Condition(f"items.id IN ({inner})", (self._field, kind, *values))


def _checked(value: Any, place: str) -> Any:
    """A value that SQL can compare."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise FilterError(f"{place} has more than {MAX_TEXT:,} characters.")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"{place} holds half of a character.") from error
        return value
    if isinstance(value, int | float) and (isinstance(value, bool) or abs(value) < _INT64):
        return value
    raise FilterError(f"{place} is no text, number within 64 bits, true or false.")


def _joined(word: str, parts: list[Condition]) -> Condition:
    if not parts:
        return ALL
    sql = f" {word} ".join(part.sql for part in parts)
    return Condition(f"({sql})", tuple(value for part in parts for value in part.values))


def _one_of_ids(ids: Ids) -> Condition:
    return Condition("items.id IN (SELECT value FROM json_each(?))", (json.dumps(ids.tolist()),))


def _negated(condition: Condition) -> Condition:
    return Condition(f"NOT ({condition.sql})", condition.values)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(str(name), known, 1, 0.5)
    remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:30])}."
    return f"there is no {what} {printable(str(name))[:100]!r}: {remedy}"
