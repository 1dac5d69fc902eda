"""The views of the server as a whole, for all its galleries and for none: /about.

They know which gallery the reader came from (`?gallery=NAME`, or the first), so that the bar leads back into it.
"""

from functools import cache

from flask import Blueprint, url_for

from search_server import limits
from search_server.api.health import check_readiness
from search_server.page import SERVER_VIEWS, draw_problem, draw_view, gallery_of_reader
from search_server.service import Service, service
from search_server.version import installed_versions
from train.errors import UserError

server_page = Blueprint("server_page", __name__)

SERVER_VIEWS |= {"about": ("About", "about")}
_CHECKED = {"decode": "Reading pictures", "db": "Database", "index": "Index", "model": "Model"}


@server_page.get("/about")
def about() -> str:
    """How the server is, what it keeps to itself, what it can take, and what it is made of."""
    found = service()
    readiness = check_readiness(found)
    checks = [(_check_words(name), check) for name, check in readiness.checks.items()]
    return draw_view(
        "about",
        gallery_of_reader(),
        None,
        title="About",
        readiness=readiness,
        checks=checks,
        versions=_versions(),
        privacy=_who_reaches(found),
        fetches=found.fetcher.policy.is_on,
        limits=_limits_in_words(),
        again=url_for("server_page.about"),
    )


@server_page.errorhandler(UserError)
def explain(error: UserError) -> tuple[str, int]:
    """Show what is wrong in the page's own clothes."""
    return draw_problem(error, gallery_of_reader())


@cache
def _versions() -> dict[str, str]:
    return installed_versions()


def _check_words(name: str) -> str:
    kind, _, gallery = name.partition(":")
    words = _CHECKED.get(kind, kind)
    return f"{words} of {gallery}" if gallery else words


def _who_reaches(found: Service) -> str:
    settings = found.settings
    if not settings.exposed:
        return "Only programs and people on this machine can reach the server."
    if settings.insecure:
        return "Whoever reaches this machine over the network can search without a token; changing anything takes one."
    return "Others can reach the server over the network, with a token."


def _limits_in_words() -> list[tuple[str, str]]:
    shown = limits.as_json()
    return [
        (
            "A picture that is sent",
            f"{shown['image_bytes'] // limits.MIB:,} MiB, {shown['pixels'] // 10**6:,} megapixels",
        ),
        ("A sent picture is kept for", f"{shown['query_seconds'] / 3600:g} hour, in memory alone"),
        ("Neighbours of one search", f"{shown['k_max']:,} at a time, {shown['offset_max']:,} in all"),
        ("Pictures of one combined search", f"{shown['query_parts_max']:,}"),
        ("Frames of a morph", f"{shown['frames_max']:,}, up to {shown['frame_side_max']:,} pixels a side"),
        ("Pictures added at once", f"{shown['add_images_max']:,}; folders of any size as a job"),
    ]
