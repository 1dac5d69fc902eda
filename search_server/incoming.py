"""What comes in: a request's parameters and pictures, from JSON, a form or a bare image, read with limits."""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, TypeVar, cast, get_type_hints

from flask import request
from pydantic import BaseModel, ValidationError

from search_server import limits
from search_server.problems import BadRequest, from_validation
from train.errors import ImageError

Options = TypeVar("Options", bound=BaseModel)
View = TypeVar("View", bound=Callable[..., Any])
_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,", re.ASCII)


@dataclass(frozen=True)
class File:
    """One picture that came as a file."""

    data: bytes
    name: str  # as the client says; "" where it says none


@dataclass(frozen=True)
class Incoming(Generic[Options]):
    """A request's parameters, and the pictures that came as files."""

    options: Options
    files: dict[str, list[File]] = field(default_factory=dict)  # by field, in the order in which they came

    def file(self, name: str) -> File | None:
        """The one picture of a field; None where it did not come as a file."""
        found = self.files.get(name, [])
        if len(found) > 1:
            raise BadRequest(f"{name} came {len(found)} times: send one picture.")
        return found[0] if found else None


def reads_parameters(view: View) -> View:
    """Let a route read its parameters by itself, each model at once.

    flask-openapi looks in the address for each parameter that the route knows: of many, that takes as long as all else
    that it does. For routes whose lists may also come as text (`words_of`).
    """
    models = get_type_hints(view)

    @wraps(view)
    def read(**parts: str) -> Any:
        try:
            path = models["path"].model_validate(parts)
            query = models["query"].model_validate(request.args.to_dict())
        except ValidationError as error:
            raise from_validation(error) from error
        return view(path=path, query=query)

    read.__delay_validate_request__ = True  # type: ignore[attr-defined]  # flask-openapi's word for it
    return cast(View, read)


def read_request(model: type[Options], query: BaseModel, *, image_fields: tuple[str, ...] = ()) -> Incoming[Options]:
    """Read the body of the request at hand: JSON, a multipart form, or the bare bytes of one picture.

    Args:
        model: All parameters; those of the body and of the address are put together.
        query: The parameters of the address, already read.
        image_fields: Form fields that are files; a bare picture counts as the first.

    Raises:
        BadRequest: The body cannot be read as what it says it is.
        InvalidRequest: A value is missing, unknown or out of range.
        ImageError: The content type is none of these (unsupported_format), or a picture has too many bytes.
    """
    given = {name: getattr(query, name) for name in query.model_fields_set}
    kind = request.mimetype
    if kind == "application/json":
        body = loads_strictly(request.get_data(cache=False))
        if not isinstance(body, dict):
            raise BadRequest("the body is no JSON object: send {...}.")
        return Incoming(_validated(model, _united(given, body), strict=True))
    if kind == "multipart/form-data":
        texts = _single({name: request.form.getlist(name) for name in request.form})
        files = {
            name: [File(part.stream.read(), part.filename or "") for part in parts]
            for name, parts in request.files.lists()
        }
        _refuse_unknown_files(files, image_fields)
        return Incoming(_validated(model, _united(given, texts)), _bounded(files))
    if image_fields and (kind.startswith("image/") or kind == "application/octet-stream"):
        bare = File(request.get_data(cache=False), "")
        return Incoming(_validated(model, given), _bounded({image_fields[0]: [bare]}))
    if not kind and not request.content_length:
        return Incoming(_validated(model, given))
    raise ImageError(
        f"the content type {kind[:100]!r} is not read here: send multipart/form-data, application/json or image/*.",
        code="unsupported_format",
    )


def refuse_repeated_parameters() -> None:
    """Refuse an address that gives a parameter twice: which one is meant, nobody knows.

    Raises:
        BadRequest: It does.
    """
    for name, given in request.args.lists():
        _expect_one(name, given)


def decode_base64(text: str, name: str) -> bytes:
    """Bytes of a picture that came as base64, with or without a `data:` prefix; its size is checked before decoding.

    Raises:
        ImageError: It would have too many bytes.
        BadRequest: It is not base64 (bad_base64).
    """
    prefix = _DATA_URI.match(text[:200])
    payload = "".join(text[prefix.end() if prefix else 0 :].split())
    _refuse_large(len(payload) * 3 // 4 - payload[-2:].count("="), name)
    try:
        if len(payload) % 4:
            raise ValueError(f"its length {len(payload)} is no multiple of 4")  # Python overlooks what is too much
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{name} is not base64: {error}.", code="bad_base64") from error
    _refuse_empty(data, name)
    return data


def loads_strictly(data: bytes) -> Any:
    """Parse JSON and refuse what JSON does not have: NaN, numbers without end, keys given twice, endless depth.

    Raises:
        BadRequest: It is not such JSON.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_integer,
            object_pairs_hook=_unique_keys,
        )
    except RecursionError as error:
        raise BadRequest(f"the JSON is nested deeper than {limits.JSON_DEPTH} levels.") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}.") from error
    _check_depth(value, limits.JSON_DEPTH)
    return value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


def _short_integer(digits: str) -> int:
    if len(digits.lstrip("-")) > limits.JSON_DIGITS:
        raise ValueError(f"an integer has {len(digits)} digits")
    return int(digits)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("an object has a key twice")
    return result


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise BadRequest(f"the JSON is nested deeper than {limits.JSON_DEPTH} levels.")
    for child in value.values() if isinstance(value, dict) else value:
        _check_depth(child, left - 1)


def _single(values: dict[str, list[str]]) -> dict[str, str]:
    for name, given in values.items():
        _expect_one(name, given)
    return {name: given[0] for name, given in values.items()}


def _expect_one(name: str, given: list[str]) -> None:
    if len(given) > 1:
        raise BadRequest(f"{name[:100]!r} is given {len(given)} times: give it once.")


def _united(address: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    twice = address.keys() & body.keys()
    if twice:
        raise BadRequest(f"{min(twice)} is given in the address and in the body: give it once.")
    return {**address, **body}


def _validated(model: type[Options], values: dict[str, Any], *, strict: bool = False) -> Options:
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        raise from_validation(error, in_body=strict) from error


def _refuse_unknown_files(names: Iterable[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise BadRequest(f"a file came as {name[:100]!r}: the fields for files are {', '.join(known) or 'none'}.")


def _bounded(files: dict[str, list[File]]) -> dict[str, list[File]]:
    for name, parts in files.items():
        for part in parts:
            _refuse_large(len(part.data), name)
            _refuse_empty(part.data, name)
    return files


def _refuse_large(size: int, name: str) -> None:
    if size > limits.IMAGE_BYTES:
        raise ImageError(
            f"{name} has {size:,} bytes: at most {limits.IMAGE_BYTES:,} are allowed. Send a smaller picture.",
            code="body_too_large",
        )


def _refuse_empty(data: bytes, name: str) -> None:
    if not data:
        raise ImageError(f"{name} is empty: send the bytes of a picture.", code="empty")
