"""The galleries that are served: each by its name, fresh within a second of a change on disk."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from index_data.config import AS_INDEXED
from index_data.engine import Engine, Hit
from index_data.gallery import Gallery, Item, Vectors
from search_server.stopwatch import stage
from train.errors import UserError

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0  # between two looks at the disk


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item, and how near it is."""

    item: Item
    score: float  # cosine


class NoSuchGalleryError(UserError):
    """A name that is not served here."""

    code = "no_such_gallery"


class ServedGallery:
    """One open gallery under the name that its addresses have."""

    def __init__(self, name: str, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.engine = engine
        self._clock = clock
        self._looked = clock()
        self._looking = threading.Lock()
        self.trouble: str | None = None  # why it is not up to date

    @property
    def gallery(self) -> Gallery:
        """The items, their codes and thumbnails."""
        return self.engine.gallery

    def look_for_changes(self) -> None:
        """Take up what another process added or removed; costs next to nothing where nothing changed."""
        if self._clock() - self._looked < REFRESH_SECONDS or not self._looking.acquire(blocking=False):
            return
        try:
            self.engine.refresh()
            self.trouble = None
        except UserError as error:
            # What is open can still be searched.
            logger.warning("gallery %s: its changes cannot be read: %s", self.name, error.detail)
            self.trouble = f"its changes cannot be read: {error.problem.title}"
        finally:
            self._looked = self._clock()
            self._looking.release()

    def neighbours(
        self, embeddings: Vectors, k: int, exclude: AbstractSet[int] = frozenset(), *, beta: float = AS_INDEXED
    ) -> list[list[Neighbour]]:
        """The k nearest items of each query, best first; see `Engine.search`."""
        found, items = self._search(embeddings, k, exclude, beta)
        if any(hit.id not in items for hits in found for hit in hits):
            # An item was removed since we last looked, and another one has its place.
            self.engine.refresh()
            found, items = self._search(embeddings, k, exclude, beta)
        return [[Neighbour(items[hit.id], hit.score) for hit in hits if hit.id in items] for hits in found]

    def _search(
        self, embeddings: Vectors, k: int, exclude: AbstractSet[int], beta: float
    ) -> tuple[list[list[Hit]], dict[int, Item]]:
        with stage("search"):
            found = self.engine.search(embeddings, k, exclude, beta=beta)
        with stage("fetch"):
            items = self.gallery.items_by_id(list({hit.id for hits in found for hit in hits}))
        return found, {item.id: item for item in items}


class Galleries:
    """All served galleries."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._served = {name: ServedGallery(name, engine) for name, engine in engines.items()}

    def __iter__(self) -> Iterator[ServedGallery]:
        return iter(list(self._served.values()))

    def get(self, name: str) -> ServedGallery:
        """A gallery by its name.

        Raises:
            NoSuchGalleryError: It is not served here.
        """
        served = self._served.get(name)
        if served is None:
            raise NoSuchGalleryError(f"no gallery {name[:100]!r} is served here: there are {', '.join(self._served)}.")
        served.look_for_changes()
        return served

    def has(self, name: str) -> bool:
        """Whether a gallery of this name is served."""
        return name in self._served

    def remove(self, name: str) -> None:
        """Serve a gallery no more; requests in flight finish."""
        self._served.pop(name, None)

    def replace(self, name: str, engine: Engine) -> None:
        """Serve a newly opened engine under a name; requests in flight finish on the old one."""
        self._served[name] = ServedGallery(name, engine)
