"""The page that describes the API to people: drawn from the OpenAPI document, without a script."""

import re
from typing import Any

from flask import Blueprint, current_app, render_template, url_for
from flask_openapi import OpenAPI
from markupsafe import Markup

from search_server.api.documents import describe_api

api_page = Blueprint("api_page", __name__)

_METHODS = ("get", "post", "put", "patch", "delete")


@api_page.get("/docs")
def show() -> str:
    """Describe every operation: what it takes, what it answers, who may ask."""
    app = current_app
    assert isinstance(app, OpenAPI)  # noqa: S101  (create_app makes one)
    document = describe_api(app)
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                [tag] = operation.get("tags") or ["server"]
                groups.setdefault(tag, []).append({"method": method.upper(), "path": path, **operation})
    schemas = document["components"]["schemas"]
    return render_template(
        "api.html", document=document, groups=groups, schemas=schemas, type_of=type_of, with_links=with_links
    )


def with_links(text: str) -> Markup:
    """A description in which each code of a problem leads to its page."""
    pieces = re.split(r"`(\w+)`", text)
    linked = (
        Markup('<a href="{}"><code>{}</code></a>').format(url_for("problem", code=piece), piece)
        if number % 2
        else piece
        for number, piece in enumerate(pieces)
    )
    return Markup("").join(linked)


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_of(one) for one in schema[key]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    limits = [
        f"{sign} {schema[name]}"
        for name, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
        if name in schema
    ]
    return " ".join([str(schema.get("format") or schema.get("type") or "anything"), *limits])
