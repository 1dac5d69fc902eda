"""What a server does for its galleries between requests: new ones, newer generations, checks of files, builds."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from index_data.engine import Engine
from index_data.generations import FRESH_MAX, is_due
from search_server.galleries import Galleries, ServedGallery
from train.errors import UserError

logger = logging.getLogger(__name__)

SECONDS = 0.5  # between two looks
QUIET_SECONDS = 10.0  # without a change, before an index is built: more of them would follow
PATIENCE_SECONDS = 600.0  # after a build that failed
NICENESS = 10  # of a build: questions come first


class Upkeep:
    """A thread that looks after the served galleries."""

    def __init__(
        self, galleries: Galleries, reopen: Callable[[str], Engine], discover: Callable[[], None] | None = None
    ) -> None:
        """Use `start`.

        Args:
            galleries: All that are served.
            reopen: Opens the gallery of a name anew, after it was given another model.
            discover: Looks for galleries that have come or gone; None where only those that are named are served.
        """
        self._galleries = galleries
        self._reopen = reopen
        self._discover = discover
        self._builds: dict[str, _Builds] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a build that runs is ended too, which damages nothing."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        for builds in self._builds.values():
            builds.stop()

    def _run(self) -> None:
        while not self._ended.wait(SECONDS):
            if self._discover is not None:
                try:
                    self._discover()
                except Exception:  # those that are served still want to be looked after
                    logger.exception("the workspace cannot be looked through")
            for served in self._galleries:
                try:
                    self.look_after(served)
                except UserError as error:
                    logger.warning("gallery %s: %s", served.name, error.detail)
                except Exception:  # the others still want to be looked after
                    logger.exception("gallery %s cannot be looked after", served.name)

    def look_after(self, served: ServedGallery) -> None:
        """Take up what changed in one gallery, and start a build where it is due."""
        served.engine.refresh()
        if served.engine.is_outdated:
            self._galleries.replace(served.name, self._reopen(served.name))
            return
        served.engine.check_files()
        self._builds.setdefault(served.name, _Builds()).consider(served)


class _Builds:
    """Builds of one gallery, each in a process of its own: its memory and its time are not the server's."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._version: int | None = None
        self._changed_at = 0.0
        self._not_before = 0.0

    def consider(self, served: ServedGallery) -> None:
        """Start a build where enough has changed, and things are quiet or the changes are very many."""
        now = time.monotonic()
        if self._process is not None and not self._has_ended(now):
            return
        version = served.engine.version
        if version != self._version:
            self._version, self._changed_at = version, now
        is_quiet = now - self._changed_at >= QUIET_SECONDS
        if now < self._not_before or not (is_quiet or served.engine.changed_count > FRESH_MAX):
            return
        if (served.engine.changed_count or not served.engine.generation) and is_due(served.gallery):
            quiet = subprocess.DEVNULL
            self._process = subprocess.Popen(_command(served), stdout=quiet, stderr=quiet)  # noqa: S603  (our own)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
            logger.info("gallery %s: its index is being built again", served.name)

    def stop(self) -> None:
        """End a build that runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _has_ended(self, now: float) -> bool:
        assert self._process is not None  # noqa: S101  (the caller looked)
        code = self._process.poll()
        if code is None:
            return False
        self._process = None
        if code != 0:
            logger.warning("an index could not be built (exit code %d): it is tried again in a while", code)
            self._not_before = now + PATIENCE_SECONDS
        return True


def _command(served: ServedGallery) -> list[str]:
    return [sys.executable, "-m", "index_data", "build", str(served.gallery.folder.resolve()), "--if-due", "--quiet"]
