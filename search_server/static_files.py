"""The page's static files: compressed once, at an address that changes with them, so that browsers keep them for ever.

Modules import each other by relative addresses, so the version stands before the path: /static/VERSION/app.js.
"""

import hashlib
import mimetypes
import os
import posixpath
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, g, request

from search_server.access import needs
from search_server.compression import compressed, takes_gzip

FOLDER = Path(__file__).parent / "static"
SERVED = {".js", ".css", ".svg", ".png", ".webp", ".woff2"}
STYLES = ("tokens", "controls", "frame", "pictures", "filters", "lightbox", "tray", "jobs", "setup", "charts")
EVERY_STYLE = "styles.css"  # these sheets of every view as one, in the order in which they count: one request, not ten
VERSION_LETTERS = 12  # of a SHA-256
_LEVEL = 9  # of gzip: done once
_FOR_EVER = "public, max-age=31536000, immutable"
# `import {…} from "./x.js"` and `import "./x.js"` at the start of a line; not `import("./x.js")`, which waits.
_IMPORT = re.compile(r'^(?:import|export)\s*(?:[\w*\s{},$]+\s+from\s*)?"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class StaticFile:
    """One file."""

    data: bytes
    content_type: str

    @cached_property
    def gzipped(self) -> bytes | None:
        """The same, smaller; None where that saves nothing."""
        smaller = compressed(self.data, _LEVEL)
        return smaller if len(smaller) < len(self.data) else None

    @cached_property
    def etag(self) -> str:
        """Changes with the content."""
        return hashlib.sha256(self.data).hexdigest()[:VERSION_LETTERS]

    @cached_property
    def imports(self) -> list[str]:
        """What a module begins with: addresses relative to its own."""
        return _IMPORT.findall(self.data.decode())


@dataclass(frozen=True)
class StaticFiles:
    """All files of one moment.

    Args:
        files: By their path below the folder; beside them the style sheets of every view as one.
        version: A digest of all names and contents.
    """

    files: Mapping[str, StaticFile]
    version: str

    def modules_of(self, *first: str) -> list[str]:
        """These modules and all that they import, in the order in which a browser would find them."""
        found: dict[str, None] = {}
        waiting = list(first)
        while waiting:
            name = waiting.pop(0)
            if name in found or name not in self.files:
                continue
            found[name] = None
            folder = posixpath.dirname(name)
            waiting += [posixpath.normpath(posixpath.join(folder, to)) for to in self.files[name].imports]
        return list(found)

    def styles_in(self, folder: str) -> list[str]:
        """The style sheets of a folder."""
        return sorted(name for name in self.files if posixpath.dirname(name) == folder and name.endswith(".css"))


class StaticFolder:
    """Reads the files again when one of them is another: after an update, or while somebody writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: list[tuple[str, int, int]] = []
        self._files = StaticFiles({}, "")

    def of(self, version: str) -> StaticFiles:
        """The files of a version, which takes no look at the disk if they were read last; else as they are now."""
        known = self._files
        return known if known.version == version else self.read()

    def read(self) -> StaticFiles:
        """The files as they are now."""
        with self._lock:
            seen = sorted(self._look())
            if seen != self._seen:
                files = _with_every_style({name: self._file(name) for name, _, _ in seen})
                digest = hashlib.sha256()
                for name, file in files.items():
                    digest.update(f"{name}\0{file.etag}\0".encode())
                self._seen, self._files = seen, StaticFiles(files, digest.hexdigest()[:VERSION_LETTERS])
            return self._files

    def _look(self) -> Iterator[tuple[str, int, int]]:
        """Name, time and size of each file; a document waits for this, and os.scandir takes a third of Path's time."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for entry in os.scandir(self._folder / below):
                if entry.is_dir():
                    waiting.append(f"{below}{entry.name}/")
                elif posixpath.splitext(entry.name)[1] in SERVED:
                    status = entry.stat()
                    yield f"{below}{entry.name}", status.st_mtime_ns, status.st_size

    def _file(self, name: str) -> StaticFile:
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return StaticFile((self._folder / name).read_bytes(), content_type)


def _with_every_style(files: dict[str, StaticFile]) -> dict[str, StaticFile]:
    sheets = [(name, files[name].data) for name in (f"styles/{sheet}.css" for sheet in STYLES) if name in files]
    if not sheets:
        return files
    data = b"\n".join(b"/* %s */\n%s" % (name.encode(), sheet) for name, sheet in sheets)
    return files | {EVERY_STYLE: StaticFile(data, "text/css")}


_folder = StaticFolder(FOLDER)


def static_files() -> StaticFiles:
    """The files as the request at hand found them when it first asked."""
    if "static_files" not in g:
        g.static_files = _folder.read()
    found: StaticFiles = g.static_files
    return found


def add_static_files(blueprint: Blueprint) -> None:
    """Let a blueprint serve the files, as its endpoint `static`; `url_for` puts the version into their addresses."""
    endpoint = f"{blueprint.name}.static"
    blueprint.add_url_rule("/static/<version>/<path:filename>", "static", needs("nothing")(show_static_file))

    @blueprint.app_url_defaults
    def name_version(asked: str, values: dict[str, Any]) -> None:
        if asked == endpoint:
            values.setdefault("version", static_files().version)


def show_static_file(version: str, filename: str) -> Response:
    """Give a file; a page that was opened before an update gets what there is now, without keeping it."""
    found = _folder.of(version)
    file = found.files.get(filename)
    if file is None:
        abort(404)
    smaller = file.gzipped if takes_gzip(request) else None
    answer = Response(file.data if smaller is None else smaller, mimetype=file.content_type)
    if file.gzipped is not None:
        answer.vary.add("Accept-Encoding")
    if smaller is not None:
        answer.headers["Content-Encoding"] = "gzip"
    # Weak: the same file with and without gzip.
    answer.set_etag(file.etag, weak=True)
    answer.headers["Cache-Control"] = _FOR_EVER if version == found.version else "no-cache"
    answer.make_conditional(request)
    return answer
