"""Signing in: a form that takes a token once, and a cookie that stands for it afterwards.

The cookie holds no token, only a signed reference to one; scripts cannot read it, other sites' pages do not send it,
and it ends with its token. On a plain-HTTP network it works too, only without the `Secure` flag.
"""

from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as Redirection

from search_server.access import COOKIE, Permissions, needs
from search_server.tokens import COOKIE_SECONDS

LONGEST_TOKEN = 200  # characters


def sign_in_routes(permissions: Permissions) -> Blueprint:
    """The routes /sign-in and /sign-out."""
    routes = Blueprint("sign_in", __name__)

    @routes.get("/sign-in")
    @needs("nothing")
    def form() -> str:
        return render_template("sign_in.html", after=_place(request.args.get("after")), refused=False)

    @routes.post("/sign-in")
    @needs("nothing")
    def sign_in() -> Response | Redirection:
        permissions.count(request)
        after = _place(request.form.get("after"))
        token = permissions.tokens.find(request.form.get("token", "")[:LONGEST_TOKEN].strip())
        if token is None:
            return make_response(render_template("sign_in.html", after=after, refused=True), 401)
        answer = redirect(f"{request.script_root}{after}", 303)
        answer.set_cookie(
            COOKIE,
            permissions.tokens.session(token),
            max_age=COOKIE_SECONDS,
            path=f"{request.script_root}/",
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
        return answer

    @routes.post("/sign-out")
    @needs("nothing")
    def sign_out() -> Redirection:
        answer = redirect(f"{request.script_root}/sign-in", 303)
        answer.delete_cookie(COOKIE, path=f"{request.script_root}/")
        return answer

    return routes


def _place(given: str | None) -> str:
    """A place on this server to go on to; anything else is the start."""
    parts = urlsplit(given or "/")
    own = not parts.scheme and not parts.netloc and parts.path.startswith("/") and "\\" not in parts.path
    return parts._replace(fragment="").geturl() if own and not parts.path.startswith("//") else "/"
