"""Filters as links, for the page without JavaScript: each value leads to the pictures that have it, or lets it go."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from index_data.filters import Filter
from search_server.api.metadata import find_facets
from search_server.api.schemas import FacetOptions, FacetOut, FacetsOut, FacetValueOut
from search_server.galleries import ServedGallery
from train.errors import UserError

CHOICES = 24  # values of a field
FIELDS = {"folder": "Folder", "tags": "Tags", "year": "Year", "camera": "Camera", "cluster": "Cluster"}
_OPERATORS = {"eq": "", "ne": "not", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "prefix": "begins with"}


@dataclass(frozen=True)
class FilterLinks:
    """What the filter of an address is, and where others lead."""

    groups: list[dict[str, Any]]  # by field: title and values
    chosen: list[dict[str, Any]]  # each condition, and where letting it go leads
    everything: str | None  # without any; None where there is none
    passing: int | None  # items; None without a filter


def counted_values(galleries: Sequence[ServedGallery], asked: Filter | None) -> FacetsOut:
    """How many items have which values of each field, its own condition left aside; of all galleries together.

    A gallery that does not know what the filter asks for counts as nothing: a search finds nothing there, and says so.
    """
    if len(galleries) == 1:
        return find_facets(galleries[0], _options(asked, list(FIELDS)))
    # A cluster's number means something in its own gallery alone.
    shared = [field for field in FIELDS if field != "cluster"]
    answers = []
    for served in galleries:
        try:
            answers.append(find_facets(served, _options(asked, shared)))
        except UserError:
            continue
    found = [[facet for answer in answers for facet in answer.facets if facet.field == field] for field in shared]
    passing = sum(answer.passing or 0 for answer in answers) if asked else None
    return FacetsOut(facets=[_together(facets) for facets in found if facets], passing=passing)


def _options(asked: Filter | None, fields: list[str]) -> FacetOptions:
    return FacetOptions(filter=asked or None, fields=fields, values=CHOICES, own=False)


def _together(facets: list[FacetOut]) -> FacetOut:
    """One field of several galleries."""
    counts: Counter[str | int | float | bool] = Counter()
    for facet in facets:
        counts.update({each.value: each.count for each in facet.values})
    values = [FacetValueOut(value=value, count=count) for value, count in counts.most_common(CHOICES)]
    return FacetOut(field=facets[0].field, values=values, more=len(counts) > CHOICES or any(one.more for one in facets))


def filter_links(counted: FacetsOut, asked: Filter | None, address: Callable[[Filter | None], str]) -> FilterLinks:
    """Each value with the address that chooses it, or lets it go.

    Args:
        counted: What `counted_values` says.
        asked: The filter of the address.
        address: Gives the address of what is shown with another filter.
    """
    asked = asked or {}
    groups = []
    for facet in counted.facets:
        values = []
        for each in facet.values:
            is_chosen = asked.get(facet.field) == {"eq": each.value}
            others = {field: condition for field, condition in asked.items() if field != facet.field}
            then = others if is_chosen else {**others, facet.field: {"eq": each.value}}
            words = _value_words(facet.field, each.value)
            value = {"words": words, "count": each.count, "thumb": each.thumb, "chosen": is_chosen}
            values.append(value | {"address": address(then or None)})
        if len(values) > 1 or facet.field == "tags":  # all items have a folder, but not all a tag
            groups.append({"title": FIELDS[facet.field], "values": values})
    chosen = [_chosen(asked, field, address) for field in asked]
    return FilterLinks(groups, chosen, address(None) if asked else None, counted.passing)


def _chosen(asked: Filter, field: str, address: Callable[[Filter | None], str]) -> dict[str, Any]:
    """What is asked of a field, be it among the counted values or not, and where letting it go leads."""
    condition = asked[field]
    others = {name: other for name, other in asked.items() if name != field}
    is_choice = field in FIELDS and isinstance(condition, dict) and list(condition) == ["eq"]
    title = FIELDS[field] if is_choice and field != "cluster" else ""  # otherwise the words say it
    words = _value_words(field, condition["eq"]) if is_choice else _condition_words(field, condition)
    return {"title": title, "words": words, "address": address(others or None)}


def _condition_words(field: str, condition: Any) -> str:
    """A condition that is no choice among counted values, as people read it: "rating ≥ 4"."""
    if not isinstance(condition, dict):
        return "more conditions"
    parts = []
    for operator, value in condition.items():
        words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(f"{_OPERATORS.get(operator, operator)} {words}".strip())
    return f"{field}: {parts[0]}" if list(condition) == ["eq"] else f"{field} {' and '.join(parts)}"


def _value_words(field: str, value: Any) -> str:
    if field == "folder" and value == "":
        return "(top folder)"
    return f"Cluster {value + 1}" if field == "cluster" else str(value)  # they are called from 1, as on the map


def filter_text(asked: Filter | None) -> str | None:
    """A filter as an address has it."""
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")) if asked else None
