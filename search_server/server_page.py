"""The views of the server as a whole, for all its galleries and for none: /jobs, /models, /new, /about.

They know which gallery the reader came from (`?gallery=NAME`, or the first), so that the bar leads back into it.
"""

from functools import cache

from flask import Blueprint, request, url_for

from search_server import limits
from search_server.access import caller
from search_server.api.health import check_readiness
from search_server.api.job_schemas import JobPath, ListJobs
from search_server.api.jobs import describe_job, list_newest
from search_server.api.models import NoSuchModelError, all_models
from search_server.page import SERVER_VIEWS, checked, draw_problem, draw_view, gallery_of_reader
from search_server.service import Service, service
from search_server.version import installed_versions
from train.errors import UserError

server_page = Blueprint("server_page", __name__)

SERVER_VIEWS |= {
    "new": ("New gallery", "add"),
    "jobs": ("Jobs", "jobs"),
    "models": ("Models", "model"),
    "about": ("About", "about"),
}
_COMMANDS = [  # the first steps, for readers without JavaScript: static/new/new_view.js has the same
    ("lookalike up FOLDER", "A model that learns from your own pictures (about 15 minutes), then search:"),
    (
        "lookalike index add NAME FOLDER",
        "Only index them, with the model that comes with Lookalike or one that you have:",
    ),
    ("lookalike demo", "Just look around: 4,500 drawn pictures"),
]
JOBS = 20  # that are listed at a time
_CHECKED = {"decode": "Reading pictures", "db": "Database", "index": "Index", "model": "Model"}


@server_page.get("/jobs")
def jobs() -> str:
    """The jobs: how far they are, how they ended; or one of them (`id`) with its log."""
    served = gallery_of_reader()
    if not caller().may("write"):
        return draw_view("jobs", served, None, title="Jobs", jobs=[])
    table = service().jobs.table
    chosen = request.args.get("id")
    if chosen is not None:
        asked = checked(JobPath, id=chosen)
        job = describe_job(table.get(asked.id), log_tail=table.log_tail(asked.id))
        return draw_view("jobs", served, None, title=f"Job {job.id}", jobs=[job], one=True)
    asked = checked(ListJobs, limit=JOBS, cursor=request.args.get("cursor"))
    listed = list_newest(asked)
    more = url_for("server_page.jobs", cursor=listed.next_cursor) if listed.next_cursor else None
    initial = listed.model_dump(mode="json") if asked.cursor is None else None
    return draw_view("jobs", served, initial, title="Jobs", jobs=listed.jobs, more=more)


@server_page.get("/models")
def models() -> str:
    """The models: what they were made of, how good they are, which galleries use them; or one of them (`name`)."""
    listed = all_models(service()).model_dump(mode="json")
    shown, name = listed["models"], request.args.get("name")
    if name is not None:
        shown = [model for model in shown if model["name"] == name]
        if not shown:
            raise NoSuchModelError(f"there is no model {name[:100]!r} in the server's workspace.")
    return draw_view("models", gallery_of_reader(), listed, title=name or "Models", shown=shown, one=name is not None)


@server_page.get("/new")
def new() -> str:
    """Make a gallery: the first one, or one more."""
    served = gallery_of_reader()
    return draw_view("new", served, None, title="New gallery" if served else "Welcome", commands=_COMMANDS)


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
