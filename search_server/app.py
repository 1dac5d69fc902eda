"""The Flask application: limits, headers, errors and routes put together."""

import re
import secrets
from collections.abc import Mapping
from importlib.metadata import version

from flask import Flask, Response, g, jsonify, request
from flask_openapi import Info, OpenAPI
from flask_openapi.models import Schema

from index_data.engine import Engine
from search_server import limits, stopwatch
from search_server.access import Doorkeeper, OriginRefusedError
from search_server.api.analyses import analyses
from search_server.api.answers import PREFIX
from search_server.api.codes import codes
from search_server.api.documents import COMPONENTS
from search_server.api.health import health
from search_server.api.items import items
from search_server.api.metadata import metadata
from search_server.api.morph import morph
from search_server.api.queries import queries
from search_server.api.search import search
from search_server.api.searches import searches
from search_server.incoming import refuse_repeated_parameters
from search_server.page import page
from search_server.problems import ProblemDocument, answer_user_error, refuse_parameters, register_problems
from search_server.service import EXTENSION, open_service
from search_server.settings import ServerSettings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

# The page needs no more than this. No header here asks for HTTPS: the server also works on a plain home network.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
# Whatever a picture may once have been, a browser that opens it by itself runs nothing.
_PICTURE_POLICY = "default-src 'none'; sandbox"


def create_app(engines: Mapping[str, Engine], settings: ServerSettings | None = None) -> Flask:
    """Build the application that serves galleries.

    Args:
        engines: Open engines by the names that addresses have; the caller closes them.
        settings: How to serve; the defaults listen to this machine alone.
    """
    settings = settings or ServerSettings()
    app = OpenAPI(
        __name__,
        static_folder=None,  # the page has its own
        info=Info(title="Lookalike", version=version("lookalike")),
        doc_ui=False,
        validation_error_model=ProblemDocument,
        validation_error_callback=refuse_parameters,
        operation_id_callback=_operation_id,
    )
    app.config.update(
        MAX_CONTENT_LENGTH=limits.BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=limits.TEXT_FIELD_BYTES,
        MAX_FORM_PARTS=limits.FORM_PARTS,
    )
    app.extensions[EXTENSION] = open_service(engines, settings)
    _register_checks(app, Doorkeeper(settings))
    register_problems(app)
    for routes in (health, items, metadata, analyses, search, searches, queries, codes, morph):
        app.register_api(routes)
    app.register_blueprint(page)
    _register_document(app)
    return app


def _operation_id(*, bp_name: str = "", name: str = "", path: str = "", method: str = "") -> str:
    return name


def _register_checks(app: Flask, doorkeeper: Doorkeeper) -> None:
    @app.before_request
    def check() -> Response | None:
        stopwatch.start()
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        try:
            doorkeeper.check(request)
        except OriginRefusedError as error:
            # Answered here: the page's own way of showing errors would tell a stranger what galleries there are.
            return answer_user_error(error)
        refuse_repeated_parameters()
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if (response.mimetype or "").startswith("image/") or response.mimetype == "application/zip":
            response.headers["Content-Security-Policy"] = _PICTURE_POLICY
        response.headers["X-Request-Id"] = g.request_id
        response.headers["Server-Timing"] = stopwatch.server_timing()
        if request.path.startswith(PREFIX):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _register_document(app: OpenAPI) -> None:
    for name, schema in COMPONENTS.items():
        app.components_schemas[name] = Schema(**schema)

    @app.route(f"{PREFIX}/openapi.json")
    def openapi() -> Response:
        """Describe the API for programs (OpenAPI 3.2)."""
        return jsonify(app.api_doc)
