"""Errors of the API as problem+json (RFC 9457), and the page that each problem's type leads to."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from flask import Flask, Response, g, has_request_context, jsonify, render_template_string, request
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import HTTPException, NotFound

from search_server.access import needs
from search_server.rates import RateLimitedError
from train.errors import PROBLEMS, Problem, UserError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1  # a busy or starting server is worth asking again so soon

# What each problem means to a client, and what to do: /problems/<code> shows it, docs/errors.md has the same words.
REMEDIES: dict[str, str] = {
    "bad_request": "The request cannot be understood: JSON that is not JSON, a number that is no number, a field given "
    "twice. Mend the request; `detail` and `errors` name the place.",
    "bad_base64": "`image_base64` is not standard base64 (RFC 4648, with padding; a `data:` URI is accepted). Encode "
    "the file's bytes again.",
    "invalid": "The request is well-formed, but a value is missing, unknown or out of range. `errors` names each one, "
    "and /api/v1/info has the limits.",
    "not_found": "There is nothing at this address. /api/v1/openapi.json lists the routes.",
    "method_not_allowed": "The address is right, the method is not: the header `Allow` names those that work.",
    "no_such_gallery": "No gallery of this name is served here. /api/v1/galleries lists those that are.",
    "no_such_item": "The gallery has no item with this id. Ids are never reused, so it was removed or never there.",
    "no_such_query": "A stored query lives for an hour, or until newer ones need its room. Send the picture again.",
    "no_such_model": "The server's workspace has no model of this name. /api/v1/models lists those that there are.",
    "no_such_job": "There is no job with this id. /api/v1/jobs lists those that there are.",
    "origin_refused": "The request came from a page of another site, or was sent to a host name that is not this "
    "server's. Open the page from this server; start the server with --allow-host NAME to accept another name.",
    "token_required": "This server asks for a token: send it as `Authorization: Bearer ...`, or sign in at /sign-in. "
    "Whoever runs the server makes one with `lookalike token create NAME`.",
    "insufficient_scope": "The token is valid, but its scope does not allow this: read searches, write adds and "
    "removes pictures, admin does all else. `lookalike token create NAME --scope ...` makes another.",
    "rate_limited": "You ask more often than is allowed. Ask again after `Retry-After` seconds; `lookalike serve "
    "--rate` sets the limit.",
    "bad_url": "The address is none that can be fetched. Give a whole one, such as https://example.org/cat.jpg.",
    "url_not_allowed": "The server fetches pictures only from the hosts that `lookalike serve --fetch-host` names, "
    "never from addresses of private networks, and does not say more about the address. Send the picture itself.",
    "upstream_error": "The server that the address names did not send a picture. Send the picture itself.",
    "upstream_timeout": "The server that the address names took too long. Send the picture itself.",
    "body_too_large": "The request or the picture has more bytes than allowed (/api/v1/info has the limits). Send a "
    "smaller file.",
    "too_many_pixels": "The picture is wider, higher or larger than allowed. Scale it down.",
    "unsupported_format": "The bytes are none of JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, or the request's content type "
    "is not one that this route reads.",
    "empty": "Nothing came in where something was expected: an empty file, a folder without images.",
    "corrupt": "The picture is cut short or damaged. Export it again from where it came.",
    "too_complex": "The file is built so that decoding takes far longer than its size suggests. Save it again as a "
    "plain JPEG or PNG.",
    "decode_timeout": "Decoding took longer than allowed and was stopped. Save the picture again, smaller.",
    "decode_crashed": "The decoder, a process of its own, died of this picture. Save it again in another format.",
    "bad_embedding": "The model gave no usable embedding for this picture. Try a crop, or another picture.",
    "dimension_mismatch": "A vector has another length than this gallery's model. Embed it with that model.",
    "unreadable": "The file could not be read: permissions, or the disk.",
    "not_a_file": "Not a regular file: a link, a pipe, a device. Point to the file itself.",
    "file_missing": "The item is in the gallery, its file is not where it was. Mount the folder, or run "
    "`lookalike index scan`.",
    "file_changed": "The file is another one than was indexed. Run `lookalike index scan`.",
    "taken_out": "`lookalike index remove` took its item out. `lookalike index add --retry` brings it back.",
    "not_computed": "Duplicates, outliers and the map are computed when somebody asks for them. `detail` names the "
    "request (POST) and the command (`lookalike index duplicates`, `outliers`, `map`) that do it.",
    "fingerprint_mismatch": "Made by another model or another version of the format. Use the model that made it, or "
    "build it again.",
    "no_decoder": "The model of this gallery only encodes: search works, reconstructions and morphs do not. Use a "
    "model that Lookalike trained.",
    "not_trained": "This gallery's model was not trained to take noise, lettering or boxes off pictures. Use one that "
    "was (docs/recipes.md), or say `anyway`.",
    "no_semantic_half": "This gallery's model does not tell what is shown from what it looks like, so the two cannot "
    "be weighed: leave `beta` at 1, or index the pictures with a model that has `semantic_dims`.",
    "gallery_exists": "A gallery has this name already. Choose another, or use that one.",
    "not_empty": "It holds what is nowhere else, such as uploaded pictures. Say in the request that they may go; "
    "`detail` names the parameter.",
    "precondition_failed": "It is not what `If-Match` says any more: somebody else changed it. Read it again, and "
    "decide again.",
    "key_reused": "The same `Idempotency-Key` came with another request within 24 hours. Use a new key for a new "
    "request.",
    "job_state": "A job that has ended cannot be cancelled, and one that runs or is done cannot be resumed. Look at "
    "its `state`.",
    "locked": "Another process is writing here. Wait for it, or stop it.",
    "damaged": "Stored data is not what was written. Run `lookalike index verify`; the server's log has the details.",
    "busy": "More is asked than can be done at the moment. Ask again after `Retry-After` seconds.",
    "loading": "The server is still starting. Ask again after `Retry-After` seconds.",
    "disk_full": "The server's disk is full or read-only. Free some space there.",
    "too_many_rejected": "Most of the files could not be used; the good ones are kept. The list of failures says why.",
    "internal_error": "The server's log has the traceback under the `request_id`: please report it.",
}


class FieldError(BaseModel):
    """Where in a request something is wrong."""

    pointer: str | None = Field(default=None, description="JSON pointer into the body")
    parameter: str | None = Field(default=None, description="name of a query parameter, path part or form field")
    detail: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457): `code` is the contract, `detail` is for people."""

    type: str = Field(description="/problems/<code>: a page that explains it")
    code: Literal[tuple(PROBLEMS)]  # type: ignore[valid-type]
    title: str
    status: int
    detail: str
    instance: str = Field(description="the path that was asked")
    request_id: str
    errors: list[FieldError] | None = None


class BadRequest(UserError):
    """The request cannot be read."""

    code = "bad_request"


class InvalidRequest(UserError):
    """The request can be read, and asks for what is not allowed.

    Args:
        detail: What is wrong, with the value, and the remedy.
        errors: The same for each field.
    """

    code = "invalid"

    def __init__(self, detail: str, *, code: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail, code=code)
        self.errors = list(errors)


# Groups that routes name together: what a picture's bytes can cause, and what sending them can.
DECODING = (
    "unsupported_format",
    "too_many_pixels",
    "empty",
    "corrupt",
    "too_complex",
    "decode_timeout",
    "decode_crashed",
    "busy",
)
FETCHING = ("bad_url", "url_not_allowed", "upstream_error", "upstream_timeout")
UPLOADING = ("bad_base64", "body_too_large", "bad_embedding")
CHANGING = ("body_too_large", "unsupported_format", "locked", "disk_full")  # a gallery, by JSON

# Problems of this machine, not of the request: their messages may name its folders, so they go to the log alone.
_OURS = {"locked", "damaged", "disk_full", "fingerprint_mismatch", "too_many_rejected", "unreadable", "not_a_file"}

# Ends of pydantic's error types that mean: this is no number, no list, no text.
_MALFORMED = ("_parsing", "_parsing_size", "_type", "_unicode", "finite_number")

# What Flask and Werkzeug refuse before a route is asked.
_CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_format"}


# What every route may answer, whatever it does.
ALWAYS = (
    "bad_request",
    "invalid",
    "origin_refused",
    "token_required",
    "insufficient_scope",
    "rate_limited",
    "internal_error",
    "busy",
)


def responses(*codes: str) -> dict[str | int, Any]:
    """What a route may answer when it refuses, for the OpenAPI document: one entry for each status."""
    by_status: dict[int, list[Problem]] = {}
    for code in (*ALWAYS, *codes):
        by_status.setdefault(PROBLEMS[code].status, []).append(PROBLEMS[code])
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    return {
        status: {
            "description": "; ".join(f"`{problem.code}`: {problem.title}" for problem in problems),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, problems in by_status.items()
    }


def problem_document(
    problem: Problem, detail: str, *, instance: str, request_id: str, errors: Iterable[FieldError] = ()
) -> str:
    """The body of an error answer, as JSON."""
    document = refusal(problem, detail, instance=instance, request_id=request_id, errors=errors)
    return document.model_dump_json(exclude_none=True)


def refusal(
    problem: Problem, detail: str, *, instance: str = "", request_id: str = "", errors: Iterable[FieldError] = ()
) -> ProblemDocument:
    """An error, also as a part of an answer."""
    return ProblemDocument(
        type=f"{request.script_root if has_request_context() else ''}/problems/{problem.code}",
        code=problem.code,
        title=problem.title,
        status=problem.status,
        detail=detail,
        instance=instance,
        request_id=request_id,
        errors=list(errors) or None,
    )


def problem_response(code: str, detail: str, errors: Iterable[FieldError] = ()) -> Response:
    """The answer to the request at hand that says what is wrong: for a browser's navigation a page, else JSON."""
    problem = PROBLEMS[code]
    if wants_page():
        response = Response(_page(problem, detail), mimetype="text/html")
    else:
        body = problem_document(
            problem, detail, instance=request.path, request_id=g.get("request_id", ""), errors=errors
        )
        response = Response(body, mimetype=MEDIA_TYPE)
    response.status_code = problem.status
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Lookalike"'
    if problem.status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    response.headers["Cache-Control"] = "no-store"
    g.problem_code = code
    return response


def from_validation(error: ValidationError, *, in_body: bool = False) -> InvalidRequest:
    """Turn pydantic's findings into one problem: malformed where a value is not of its type, else invalid."""
    findings = error.errors(include_url=False, include_context=False, include_input=False)
    malformed = any(finding["type"].endswith(_MALFORMED) for finding in findings)
    errors = [_field_error(finding["loc"], finding["msg"], in_body=in_body) for finding in findings]
    detail = "; ".join(f"{entry.parameter or entry.pointer}: {entry.detail}" for entry in errors[:5])
    return InvalidRequest(detail, code="bad_request" if malformed else "invalid", errors=errors[:20])


def _field_error(place: tuple[int | str, ...], detail: str, *, in_body: bool) -> FieldError:
    if in_body:
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in place]
        return FieldError(pointer="".join(f"/{part}" for part in parts), detail=detail)
    return FieldError(parameter=".".join(str(part) for part in place) or "request", detail=detail)


def refuse_parameters(error: ValidationError) -> Response:
    """What flask-openapi calls when path or query parameters do not fit their model."""
    raise from_validation(error)


def register_problems(app: Flask) -> None:
    """Answer every error of the application with a problem, and serve the page of each type."""
    app.register_error_handler(UserError, answer_user_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)
    app.add_url_rule("/problems/<code>", "problem", _explain)


def answer_user_error(error: UserError) -> Response:
    """The answer to the request at hand that an error stands for."""
    response = problem_response(error.problem.code, public_detail(error), getattr(error, "errors", ()))
    if isinstance(error, RateLimitedError):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


def public_detail(error: UserError) -> str:
    """What a client is told of an error; the whole of it goes to the log where it may name this machine's folders."""
    code = error.problem.code
    if code not in _OURS:
        return error.detail
    logger.warning("request %s: %s: %s", g.get("request_id", "-"), code, error.detail)
    return REMEDIES[code]


def _answer_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # a redirect is no problem
        return Response(error.get_response(request.environ).get_data(), status, error.get_headers())
    if status >= 500:
        return _answer_bug(error)
    code = _CODE_OF_STATUS.get(status, "bad_request")
    response = problem_response(code, error.description or PROBLEMS[code].title)
    for name, value in error.get_headers(request.environ):
        if name == "Allow":
            response.headers[name] = value
    return response


def _answer_bug(error: Exception) -> Response:
    # The answer holds nothing but the request's id: a traceback names files, and a message may hold data.
    logger.error("request %s: %s %s failed", g.get("request_id", "-"), request.method, request.path, exc_info=error)
    return problem_response("internal_error", REMEDIES["internal_error"])


def wants_page() -> bool:
    """Whether the request at hand is a browser's navigation, which is answered with a page."""
    if request.path.startswith("/api/"):
        return False
    return request.accept_mimetypes.best_match([MEDIA_TYPE, "application/json", "text/html"]) == "text/html"


@needs("nothing")
def _explain(code: str) -> Response:
    if code not in PROBLEMS:
        raise NotFound(f"there is no problem {code!r}: docs/errors.md lists them.")
    problem = PROBLEMS[code]
    if wants_page():
        return Response(_page(problem, REMEDIES[code]), mimetype="text/html")
    body = {"code": code, "title": problem.title, "status": problem.status, "exit_code": problem.exit_code}
    return jsonify({**body, "detail": REMEDIES[code]})


def _page(problem: Problem, detail: str) -> str:
    return render_template_string(_PAGE, problem=problem, detail=detail)


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ problem.title }} - Lookalike</title>
<main>
<h1>{{ problem.title }}</h1>
<p>{{ detail }}</p>
<p><code>{{ problem.code }}</code>, HTTP status {{ problem.status }}.
<a href="{{ request.script_root }}/">Back to the search</a></p>
</main>
</html>
"""
