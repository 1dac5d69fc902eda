"""What openapi.json says about bodies: pydantic models and pictures, by content type."""

import re
from collections.abc import Callable
from typing import Any

from flask_openapi import APIBlueprint, OpenAPI
from pydantic import BaseModel

from search_server.access import scope_of_route

_REFERENCE = "#/components/schemas/{model}"
PICTURE = {"type": "string", "format": "binary"}

# An answer to a request with `If-None-Match`.
NOT_CHANGED: dict[str | int, Any] = {304: {"description": "it has not changed"}}

# Schemas of bodies that our own reader checks; `create_app` lays them beside those that flask-openapi finds.
COMPONENTS: dict[str, Any] = {}


class DescribedApp(OpenAPI):
    """An application whose document has all methods of a path, whichever blueprint they stand in."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No function here is asynchronous: Flask need not look at each, four times a request."""
        return func

    def register_api(self, api: APIBlueprint, **options: Any) -> None:
        """Register a blueprint; flask-openapi by itself keeps the methods of the last one with a path."""
        before = dict(self.paths)
        super().register_api(api, **options)
        for path in before.keys() & api.paths.keys():
            added = {method: operation for method, operation in api.paths[path] if operation is not None}
            self.paths[path] = before[path].model_copy(update=added)


def body_of(
    model: type[BaseModel],
    *,
    files: tuple[str, ...],
    bare: bool = True,
    several: bool = False,
    form: bool = True,
    required: bool = True,
) -> dict[str, Any]:
    """A body that is JSON, a form with pictures, or the bare bytes of one picture.

    Args:
        model: The JSON object; a form has the same fields as text.
        files: Fields of the form that are pictures.
        bare: Whether the bytes of one picture may be the whole body.
        several: Whether a field may come more than once.
        form: Whether it may be a form.
        required: Whether there has to be one.
    """
    reference = _refer_to(model)
    properties = COMPONENTS[model.__name__]["properties"]
    texts = {name: value for name, value in properties.items() if not _is_only_in_json(name, value)}
    picture: dict[str, Any] = {"type": "array", "items": PICTURE} if several else PICTURE
    fields = {"type": "object", "properties": {**texts, **dict.fromkeys(files, picture)}, "additionalProperties": False}
    content: dict[str, Any] = {
        "application/json": {"schema": reference},
    }
    if form:
        content["multipart/form-data"] = {"schema": fields}
    if bare:
        content["image/*"] = {"schema": PICTURE}
    return {"content": content, "required": required}


def _is_only_in_json(name: str, schema: dict[str, Any]) -> bool:
    return name.endswith("_base64") or "only in JSON" in schema.get("description", "")


def pictures(*content_types: str, described: str, or_json: type[BaseModel] | None = None) -> dict[str, Any]:
    """An answer that is a file, or JSON where the client asks for it."""
    content: dict[str, Any] = {kind: {"schema": PICTURE} for kind in content_types}
    if or_json is not None:
        content["application/json"] = {"schema": _refer_to(or_json)}
    return {"description": described, "content": content}


def describe_api(app: OpenAPI) -> dict[str, Any]:
    """The whole document, with the scope that each operation takes."""
    document = app.api_doc
    for rule in app.url_map.iter_rules():
        operations = document["paths"].get(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), {})
        for method, operation in operations.items():
            if method.upper() in (rule.methods or ()):
                operation["x-scope"] = scope_of_route(app.view_functions[rule.endpoint], method.upper())
    return document


def schema_of(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a model's schema, which is laid beside the others."""
    return _refer_to(model)


def _refer_to(model: type[BaseModel]) -> dict[str, str]:
    schema = dict(model.model_json_schema(ref_template=_REFERENCE))
    COMPONENTS.update(schema.pop("$defs", {}))
    COMPONENTS[model.__name__] = schema
    return {"$ref": _REFERENCE.format(model=model.__name__)}
