"""`lookalike serve`: galleries as a web page and a REST API."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from search_server.settings import Batching, ServerSettings, is_loopback
from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError, UserError

if TYPE_CHECKING:
    from search_server.discovery import Discovery
    from search_server.galleries import Galleries

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)


@click.command(
    cls=Command,
    examples="lookalike serve photos\nlookalike serve photos scans --port 9000 --no-browser\n"
    "lookalike serve ./galleries/photos --provider cuda",
)
@click.argument("galleries", nargs=-1, metavar="[GALLERY]...")
@click.option("--host", default=ServerSettings.host, help="Address to listen on; the default is this machine alone.")
@click.option("--port", default=ServerSettings.port, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--provider", default=ServerSettings.provider, help="Execution provider: auto, cpu, cuda, ...")
@click.option(
    "--threads", default=ServerSettings.threads, type=click.IntRange(1, 256), help="Requests answered at once."
)
@click.option(
    "--decode-workers",
    default=ServerSettings.decode_workers,
    type=click.IntRange(1, 64),
    help="Most processes that decode pictures.",
)
@click.option(
    "--batching",
    default=ServerSettings.batching,
    type=click.Choice(get_args(Batching)),
    help="Let requests that come together share one call of the encoder; auto: on a GPU.",
)
@click.option("--allow-host", "allowed_hosts", multiple=True, metavar="NAME", help="Another name of this server.")
@click.option("--originals", is_flag=True, help="Also give the pictures' files themselves, as they are, for download.")
@click.option("--insecure", is_flag=True, help="Let others search without a token; adding and all else takes one.")
@click.option(
    "--trusted-proxies",
    default=ServerSettings.trusted_proxies,
    type=click.IntRange(0, 10),
    help="Reverse proxies before this server, whose X-Forwarded-For, -Proto and -Host are believed.",
)
@click.option("--url-prefix", default=ServerSettings.url_prefix, help="Path that addresses begin with: /lookalike.")
@click.option(
    "--rate",
    type=click.FloatRange(0),
    help="Requests a second of one token or address; 0: any number.  [default: 20 where others can ask]",
)
@click.option(
    "--allow-origin", "allowed_origins", multiple=True, metavar="ORIGIN", help="Site whose pages may ask (CORS)."
)
@click.option(
    "--fetch-host",
    "fetch_hosts",
    multiple=True,
    metavar="HOST",
    help="Fetch pictures by their address from this host; * means any public one.  [default: none]",
)
@click.option("--fetch-http", is_flag=True, help="Fetch also without TLS.")
@click.option("--access-log", is_flag=True, help="Log one line for each request, without addresses or secrets.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser, where there is a display.")
@common_options
def serve(line: CommandLine, galleries: tuple[str, ...], browser: bool, **settings: Any) -> int:
    """Serve galleries as a web page and a REST API.

    Without names all of the workspace are served, those too that are made while it runs.
    """
    return _serve(line, galleries, ServerSettings(**settings), browser=browser)


def _serve(line: CommandLine, names: tuple[str, ...], settings: ServerSettings, *, browser: bool) -> int:
    _expect_closed_doors(line, settings)
    folders = _folders(line, names)
    # One thread for each request, many requests at a time: set before FAISS and ONNX Runtime are loaded, because
    # OpenMP's own call does not reach other threads.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from search_server.serving import Server, bind, run_until_stopped, settle_garbage, watch_signals

    listener = bind(settings.host, settings.port)
    signals = watch_signals()
    from search_server.api.health import check_readiness
    from search_server.app import create_app
    from search_server.discovery import Discovery
    from search_server.service import EXTENSION, open_engine
    from search_server.upkeep import Upkeep

    engines = {name: open_engine(folder, settings) for name, folder in folders.items()}
    app = create_app(engines, settings, line.workspace)
    service = app.extensions[EXTENSION]
    discovery = None if names else Discovery(service)
    if discovery is not None:
        _serve_all(line, discovery, service.galleries)
    upkeep = Upkeep(service.galleries, service.open_again, discovery.watch if discovery is not None else None)

    def reload() -> None:
        opened = [served.name for served in service.galleries]
        for served in service.galleries:
            try:
                service.serve(served.name, served.gallery.folder)
            except UserError as error:
                line.reporter.say(f"{served.name} stays as it was: {error.detail}")
        line.reporter.say(f"Opened again: {', '.join(opened)}." if opened else "There is no gallery to open again.")

    url = _url(*listener.getsockname()[:2]) + settings.url_prefix.removeprefix("/")
    server = Server(
        app,
        listener,
        settings.threads,
        trusted_proxies=settings.trusted_proxies,
        rejected=service.metrics.rejected,
    )
    readiness = check_readiness(service)  # which also starts a decode worker
    for sentence in readiness.degraded:
        line.reporter.say(f"degraded: {sentence}")
    settle_garbage()
    server.start()
    service.jobs.look_after()
    upkeep.start()
    served = [one.name for one in service.galleries]
    line.result(
        {"url": url, "galleries": served},
        f"Serving {', '.join(served) or 'no gallery yet'} at {url}  (Ctrl-C stops)",
    )
    if browser:
        _open_browser(url)
    try:
        run_until_stopped(server, signals, reload)
    finally:
        upkeep.stop()
        service.close()
    return 0


def _expect_closed_doors(line: CommandLine, settings: ServerSettings) -> None:
    """Refuse to let others in without a token, unless it is asked for.

    Raises:
        SettingsError: Others could reach the server, and nothing keeps them out.
    """
    from search_server.tokens import Tokens

    if settings.url_prefix and not _PREFIX.fullmatch(settings.url_prefix):
        raise SettingsError(
            f"--url-prefix is {settings.url_prefix!r}: it begins with / and ends without, as /lookalike."
        )
    tokens = Tokens(line.workspace.home).list()
    if not settings.exposed:
        return
    where = f"--host {settings.host}" if not is_loopback(settings.host) else "a reverse proxy"
    if not tokens and not settings.insecure:
        raise SettingsError(
            f"{where} would let others in, and there is no token to keep them out: make one with `lookalike token "
            "create NAME`, or use 127.0.0.1 alone (and, for example, an SSH tunnel), or say --insecure on a network "
            "that you trust."
        )
    if settings.insecure:
        line.reporter.say(
            f"Listening on {settings.host} without a token: anybody who reaches it can search these galleries."
        )
    if not settings.trusted_proxies:
        line.reporter.say(
            "What is sent can be read on the way: put a reverse proxy with TLS in front where the network is not "
            "your own."
        )


def _serve_all(line: CommandLine, discovery: "Discovery", galleries: "Galleries") -> None:
    """Serve every gallery of the workspace; one that is damaged keeps no other from it.

    Raises:
        UserError: There are some, and none can be opened.
    """
    troubles = discovery.look()
    if troubles and not list(galleries):
        raise next(iter(troubles.values()))
    for name, error in troubles.items():
        line.reporter.say(f"{name} is not served: {error.detail}")
    if not list(galleries):
        line.reporter.say(
            f"There is no gallery in {line.workspace.home / 'galleries'} yet: make one on the page, or with "
            "`lookalike up FOLDER`; it is served as soon as it is there."
        )


def _folders(line: CommandLine, names: tuple[str, ...]) -> dict[str, Path]:
    """The folders of the galleries that are named, by the names that they are served under.

    Raises:
        NothingFoundError: A gallery is not there.
        SettingsError: Two would have the same name.
    """
    folders: dict[str, Path] = {}
    for name in names:
        folder = line.workspace.existing("galleries", name)
        served_as = folder.resolve().name
        if served_as in folders:
            raise SettingsError(f"two galleries are called {served_as!r}: rename a folder, or serve one of them.")
        folders[served_as] = folder
    return folders


def _url(host: str, port: int) -> str:
    """Where the page is, seen from this machine."""
    if host in ("127.0.0.1", "::1", "0.0.0.0", "::"):  # noqa: S104  (compared with, not listened on)
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _open_browser(url: str) -> None:
    import webbrowser

    # Without a display a text browser would take over the terminal.
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
