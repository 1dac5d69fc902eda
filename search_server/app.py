"""The Flask application: limits, headers, errors and routes put together."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, redirect, request
from flask_openapi import Info, OpenAPI
from flask_openapi.models import Schema
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as Redirection

from index_data.engine import Engine
from search_server import limits, stopwatch
from search_server.access import (
    NOBODY,
    Doorkeeper,
    InsufficientScopeError,
    OriginRefusedError,
    Permissions,
    TokenRequiredError,
)
from search_server.analysis_pages import analysis_pages
from search_server.api.additions import additions
from search_server.api.analyses import analyses
from search_server.api.answers import PREFIX
from search_server.api.codes import codes
from search_server.api.documents import COMPONENTS, DescribedApp, describe_api
from search_server.api.galleries import galleries
from search_server.api.health import health
from search_server.api.index_explanation import index_explanation
from search_server.api.items import items
from search_server.api.jobs import jobs
from search_server.api.metadata import metadata
from search_server.api.models import models
from search_server.api.morph import morph
from search_server.api.queries import queries
from search_server.api.search import search
from search_server.api.searches import searches
from search_server.api.standings import standings
from search_server.api.training import training
from search_server.api_page import api_page
from search_server.compression import compress_answer
from search_server.incoming import refuse_repeated_parameters
from search_server.page import page
from search_server.problems import (
    ProblemDocument,
    answer_user_error,
    refuse_parameters,
    register_problems,
    wants_page,
)
from search_server.rates import RateLimitedError
from search_server.server_page import server_page
from search_server.service import EXTENSION, Service, open_service
from search_server.settings import ServerSettings
from search_server.sign_in import sign_in_routes
from search_server.tokens import Tokens
from train.workspace import Workspace

logger = logging.getLogger(__name__)

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
# A script or a style sheet is no document, and is not sent what only documents obey: a page is made of dozens of them.
_OF_DOCUMENTS = {"Content-Security-Policy", "Cross-Origin-Opener-Policy", "Permissions-Policy"}
_NO_DOCUMENTS = {"text/javascript", "text/css"}
_HEADERS_OF_ALL = {name: value for name, value in HEADERS.items() if name not in _OF_DOCUMENTS}
# Whatever a picture may once have been, a browser that opens it by itself runs nothing.
_PICTURE_POLICY = "default-src 'none'; sandbox"
_EXPOSED_HEADERS = "ETag, Location, Retry-After, Server-Timing, X-Request-Id"


def create_app(
    engines: Mapping[str, Engine], settings: ServerSettings | None = None, workspace: Workspace | None = None
) -> Flask:
    """Build the application that serves galleries.

    Args:
        engines: Open engines by the names that addresses have; the service closes them.
        settings: How to serve; the defaults listen to this machine alone.
        workspace: Where tokens, jobs, models and new galleries are; the default is ./lookalike.
    """
    settings = settings or ServerSettings()
    workspace = workspace or Workspace()
    app = DescribedApp(
        __name__,
        static_folder=None,  # the page has its own
        info=Info(title="Lookalike", version=version("lookalike")),
        doc_ui=False,
        validation_error_model=ProblemDocument,
        validation_error_callback=refuse_parameters,
        operation_id_callback=_operation_id,
        security_schemes={
            "token": {"type": "http", "scheme": "bearer", "description": "made by `lookalike token create`"}
        },
        # Where only the users of this machine can ask, no token is needed.
        openapi_extensions={"security": [{"token": []}, {}]},
    )
    app.config.update(
        MAX_CONTENT_LENGTH=limits.BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=limits.TEXT_FIELD_BYTES,
        MAX_FORM_PARTS=limits.FORM_PARTS,
    )
    service = open_service(engines, settings, workspace)
    app.extensions[EXTENSION] = service
    permissions = Permissions(settings, Tokens(workspace.home))
    _register_checks(app, service, Doorkeeper(settings), permissions)
    register_problems(app)
    for routes in (
        health,
        galleries,
        index_explanation,
        items,
        metadata,
        analyses,
        standings,
        additions,
        search,
        searches,
        queries,
        codes,
        morph,
        models,
        training,
        jobs,
    ):
        app.register_api(routes)
    app.register_blueprint(page)
    app.register_blueprint(server_page)
    app.register_blueprint(analysis_pages)
    app.register_blueprint(api_page)
    app.register_blueprint(sign_in_routes(permissions))
    _register_document(app)
    app.wsgi_app = _below(settings.url_prefix, app.wsgi_app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app


def _operation_id(*, bp_name: str = "", name: str = "", path: str = "", method: str = "") -> str:
    return name


def _below(prefix: str, application: Any) -> Any:
    """An application whose addresses begin with a prefix; a proxy may take the prefix off or leave it on."""
    if not prefix:
        return application

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :]
        environ["SCRIPT_NAME"] = prefix
        answered: Iterable[bytes] = application(environ, start)
        return answered

    return answer


def _register_checks(app: Flask, service: Service, doorkeeper: Doorkeeper, permissions: Permissions) -> None:
    @app.before_request
    def check() -> Response | Redirection | None:
        stopwatch.start()
        service.metrics.begin()
        g.counted = True
        given = request.environ.get("HTTP_X_REQUEST_ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        g.caller = NOBODY
        try:
            doorkeeper.check(request)
            if request.method == "OPTIONS" and doorkeeper.allows_origin(request.environ.get("HTTP_ORIGIN")):
                return Response(status=204)  # a browser asks before it asks
            view = current_app.view_functions.get(request.endpoint or "")
            g.caller = permissions.check(request, view)
        except TokenRequiredError as error:
            if request.method == "GET" and wants_page():
                return redirect(f"{request.script_root}/sign-in?{_after()}")
            return answer_user_error(error)
        except (OriginRefusedError, InsufficientScopeError, RateLimitedError) as error:
            # Answered here: the page's own way of showing errors would tell a stranger what galleries there are.
            return answer_user_error(error)
        refuse_repeated_parameters()
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        kind = response.mimetype or ""
        if kind.startswith("image/") or kind == "application/zip":
            response.headers["Content-Security-Policy"] = _PICTURE_POLICY
        origin = request.environ.get("HTTP_ORIGIN")
        if doorkeeper.allows_origin(origin):
            _let_read(response, origin or "")
        wanted = dict(_HEADERS_OF_ALL if kind in _NO_DOCUMENTS else HEADERS)
        wanted["X-Request-Id"] = g.request_id
        wanted["Server-Timing"] = stopwatch.server_timing()
        if request.path.startswith(PREFIX):
            wanted["Cache-Control"] = "no-store"
        # All that the answer does not have yet at once: Werkzeug looks through the list again for each that is set.
        there = {name.lower() for name, _ in response.headers}
        response.headers.extend({name: value for name, value in wanted.items() if name.lower() not in there})
        compress_answer(request, response)
        _tell(service, response)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if g.pop("counted", False):  # a stream ends its context a second time
            service.metrics.end()


def _after() -> str:
    from urllib.parse import urlencode

    return urlencode({"after": request.full_path.rstrip("?")})


def _let_read(response: Response, origin: str) -> None:
    """Let the pages of a site that was allowed read an answer (CORS); its cookies are never asked for."""
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.vary.add("Origin")
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match, Idempotency-Key"
        response.headers["Access-Control-Max-Age"] = "600"


def _tell(service: Service, response: Response) -> None:
    """Count an answer, and write its line of the log: the route's template, never its address or its parameters."""
    route = request.url_rule.rule if request.url_rule is not None else "none"
    seconds = time.perf_counter() - g.started
    service.metrics.answered(route, request.method, response.status_code, seconds, g.stages)
    if service.settings.access_log:
        told = {
            "request_id": g.request_id,
            "method": request.method[:10],
            "route": route,
            "status": response.status_code,
            "code": g.get("problem_code"),
            "ms": round(seconds * 1000, 1),
            "token": g.caller.name or None,
            "peer": request.remote_addr,
        }
        words = " ".join(f"{name}={value}" for name, value in told.items() if value is not None)
        logger.info("answered %s", words, extra={"fields": told})


def _register_document(app: OpenAPI) -> None:
    for name, schema in COMPONENTS.items():
        app.components_schemas[name] = Schema(**schema)

    @app.route(f"{PREFIX}/openapi.json")
    def openapi() -> Response:
        """Describe the API for programs (OpenAPI 3.2)."""
        return jsonify(describe_api(app))
