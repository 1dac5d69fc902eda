"""Galleries that come and go while a server runs that was told no names: it serves whatever its workspace has."""

import logging
import time
from pathlib import Path

from index_data.gallery import DATABASE
from search_server.service import Service
from train.errors import UserError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # after a gallery could not be opened: it may just be made, or be mended


class Discovery:
    """Looks which galleries the workspace has now."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._not_before: dict[str, float] = {}
        self._troubles: dict[str, UserError] = {}

    def watch(self) -> None:
        """Look, and log what cannot be served: once, however often it is tried."""
        for name, error in self.look().items():
            logger.warning("gallery %s cannot be served: %s", name, error.detail)

    def look(self) -> dict[str, UserError]:
        """Serve what has come, and no longer what is gone; what cannot be opened is tried again after a while.

        Returns:
            Why a gallery is not served, by its name: what was not so, or not known, at the last look.
        """
        galleries = self._service.galleries
        there = self._folders()
        for name in [served.name for served in galleries if _is_gone(served.gallery.folder)]:
            galleries.remove(name)
            logger.warning("gallery %s is no longer there, and not served any more", name)
        before = self._troubles
        self._troubles = {name: error for name, error in before.items() if name in there}
        for name, folder in there.items():
            if not galleries.has(name) and time.monotonic() >= self._not_before.get(name, 0.0):
                self._take_in(name, folder)
        return {
            name: error
            for name, error in self._troubles.items()
            if name not in before or before[name].detail != error.detail
        }

    def _take_in(self, name: str, folder: Path) -> None:
        try:
            self._service.serve(name, folder)
        except UserError as error:
            self._not_before[name] = time.monotonic() + RETRY_SECONDS
            self._troubles[name] = error
        else:
            self._troubles.pop(name, None)
            logger.info("gallery %s is served", name)

    def _folders(self) -> dict[str, Path]:
        """Folders of all galleries of the workspace by the names that they are served under."""
        workspace = self._service.workspace
        places = [workspace.place("galleries", name) for name in workspace.names("galleries")]
        return {place.resolve().name: place for place in places if not _is_gone(place)}


def _is_gone(folder: Path) -> bool:
    return not (folder / DATABASE).exists()
