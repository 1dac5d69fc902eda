"""How many items have which value of a field: folders, tags, years, cameras, and whatever else has few values."""

from dataclasses import dataclass
from typing import Any

from index_data.filters import ALL, Filter, compile_filter, field_types
from index_data.gallery import Gallery
from index_data.metadata import Value

USUAL = ("folder", "tags", "year", "camera")  # in this order; others follow in that of the alphabet
VALUES = 50  # of each field, the most frequent first
FEW = 200  # values: a field with more of them is no facet unless it is asked for
MAX_FIELDS = 20


@dataclass(frozen=True, slots=True)
class FacetValue:
    """One value of a field."""

    value: Value
    count: int  # items that have it


@dataclass(frozen=True, slots=True)
class Facet:
    """One field with its most frequent values."""

    field: str
    values: list[FacetValue]
    more: bool  # whether there are others


def facets(
    gallery: Gallery,
    asked: Filter | None = None,
    fields: list[str] | None = None,
    *,
    values: int = VALUES,
    with_own: bool = True,
) -> list[Facet]:
    """Count the values of fields among the items that a filter lets through.

    Args:
        gallery: The gallery.
        asked: Only what passes this filter is counted.
        fields: Which; else the usual ones and all with few values.
        values: How many of each, at most.
        with_own: Count a field also by the filter's own condition on it; without, its other values can be chosen
            instead.

    Raises:
        FilterError: See `compile_filter`.
    """
    asked = asked or {}
    condition = compile_filter(gallery, asked)
    known = field_types(gallery)
    chosen = fields if fields is not None else [*USUAL, *sorted(known.keys() - set(USUAL))]
    found = []
    for field in chosen:
        if fields is None and field not in USUAL and not _has_few_values(gallery, field):
            continue
        counted_by = condition
        if not with_own and field in asked:
            counted_by = compile_filter(gallery, {name: value for name, value in asked.items() if name != field})
        rows = gallery.rows(*_counting(field, counted_by.sql, counted_by.values, values + 1))
        if rows:
            counted = [FacetValue(_value(kind, value), count) for kind, value, count in rows[:values]]
            found.append(Facet(field, counted, len(rows) > values))
    return found[: MAX_FIELDS if fields is None else None]


_SOURCES = {
    "folder": "SELECT 'text' AS type, folder AS value FROM names WHERE ? NOTNULL",
    "tags": "SELECT 'text' AS type, tag AS value FROM tags WHERE ? NOTNULL",
}


def _counting(field: str, condition: str, parameters: tuple[Any, ...], limit: int) -> tuple[str, tuple[Any, ...]]:
    source = _SOURCES.get(field, "SELECT type, value FROM metadata WHERE field = ?")
    if condition != ALL.sql:
        source += f" AND item_id IN (SELECT id FROM items WHERE {condition})"  # noqa: S608
    statement = f"SELECT type, value, count(*) FROM ({source}) GROUP BY type, value ORDER BY 3 DESC, 2 LIMIT ?"  # noqa: S608
    return statement, (field, *parameters, limit)


def _has_few_values(gallery: Gallery, field: str) -> bool:
    rows = gallery.rows("SELECT DISTINCT type, value FROM metadata WHERE field = ? LIMIT ?", (field, FEW + 1))
    return len(rows) <= FEW


def _value(kind: str, value: Any) -> Value:
    known: Value = bool(value) if kind == "boolean" else value
    return known
