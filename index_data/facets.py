"""How many items have which value of a field: folders, tags, years, cameras, clusters, and what else has few values."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from index_data.analyses import NotComputedError
from index_data.filters import ALL, CLUSTER, Condition, Filter, compile_filter, field_types
from index_data.gallery import Gallery
from index_data.mapping import read_clusters
from index_data.metadata import Value

USUAL = ("folder", "tags", "year", "camera", CLUSTER)  # in this order; others follow in that of the alphabet
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
    typical: dict[Value, int] = dataclasses.field(
        default_factory=dict
    )  # an item that stands for a value: the middle of a cluster


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
    for name in chosen:
        if fields is None and name not in USUAL and not _has_few_values(gallery, name):
            continue
        counted_by = condition
        if not with_own and name in asked:
            counted_by = compile_filter(gallery, {other: value for other, value in asked.items() if other != name})
        facet = _clusters(gallery, counted_by, values) if name == CLUSTER else None
        facet = facet or _counted(gallery, name, counted_by, values)
        if facet is not None:
            found.append(facet)
    return found[: MAX_FIELDS if fields is None else None]


def _counted(gallery: Gallery, name: str, condition: Condition, values: int) -> Facet | None:
    rows = gallery.rows(*_counting(name, condition.sql, condition.values, values + 1))
    counted = [FacetValue(_value(kind, value), count) for kind, value, count in rows[:values]]
    return Facet(name, counted, len(rows) > values) if rows else None


def _clusters(gallery: Gallery, condition: Condition, values: int) -> Facet | None:
    """Clusters of the map, which is no part of the database; None where there is no map."""
    try:
        ids, clusters, medoids = read_clusters(gallery)
    except NotComputedError:
        return None
    counts = np.bincount(clusters[np.isin(ids, gallery.item_ids(condition.sql, condition.values))])
    largest = [number for number in np.argsort(-counts, kind="stable").tolist() if counts[number]]
    if not largest:
        return None
    shown = largest[:values]
    counted = [FacetValue(number, int(counts[number])) for number in shown]
    return Facet(CLUSTER, counted, len(largest) > values, {number: int(medoids[number]) for number in shown})


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
