"""The galleries that are served: each by its name, and as fresh as the last commit of any process."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from index_data.config import AS_INDEXED
from index_data.engine import Engine, Hit
from index_data.filters import Filter, Ids
from index_data.gallery import Gallery, Item, Vectors
from index_data.registration import Registration
from search_server.stopwatch import stage
from train.errors import UserError


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item, and how near it is."""

    item: Item
    score: float  # cosine
    stands_out: float = 0.0  # see `index_data.engine.Hit`
    same: Registration | None = None  # it is the same picture, where that was asked for
    duplicates: tuple[int, ...] = ()  # ids of other hits that it stands for, where they are collapsed


class NoSuchGalleryError(UserError):
    """A name that is not served here."""

    code = "no_such_gallery"


class ServedGallery:
    """One open gallery under the name that its addresses have."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    @property
    def gallery(self) -> Gallery:
        """The items, their codes and thumbnails."""
        return self.engine.gallery

    @property
    def trouble(self) -> str | None:
        """Why it is not up to date, in one sentence; None when it is."""
        return self.engine.trouble

    def neighbours(
        self,
        embeddings: Vectors,
        k: int,
        exclude: AbstractSet[int] = frozenset(),
        *,
        beta: float = AS_INDEXED,
        accuracy: float | None = None,
        exact: bool = False,
        among: Ids | None = None,
    ) -> list[list[Neighbour]]:
        """The k nearest items of each query, best first; see `Engine.search`."""
        wanted = 1.0 if exact else accuracy
        found, items = self._search(embeddings, k, exclude, beta, wanted, among)
        if any(hit.id not in items for hits in found for hit in hits):
            # An item was removed between the search and the look at it, and another one has its place.
            found, items = self._search(embeddings, k, exclude, beta, wanted, among)
        return [
            [Neighbour(items[hit.id], hit.score, hit.stands_out) for hit in hits if hit.id in items] for hits in found
        ]

    def passing(self, asked: Filter | None) -> Ids | None:
        """Ids of the items that pass a filter, rising; None where there is none.

        Raises:
            FilterError: It cannot be understood.
        """
        if not asked:
            return None
        with stage("filter"):
            return self.engine.passing(asked)

    def _search(
        self,
        embeddings: Vectors,
        k: int,
        exclude: AbstractSet[int],
        beta: float,
        accuracy: float | None,
        among: Ids | None,
    ) -> tuple[list[list[Hit]], dict[int, Item]]:
        with stage("search"):
            found = self.engine.search(embeddings, k, exclude, beta=beta, accuracy=accuracy, among=among)
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
        """A gallery by its name, up to date.

        Raises:
            NoSuchGalleryError: It is not served here.
        """
        served = self.find(name)
        served.engine.keep_up()
        return served

    def find(self, name: str) -> ServedGallery:
        """A gallery by its name, as it last was: for a search, which brings it up to date itself.

        Raises:
            NoSuchGalleryError: It is not served here.
        """
        served = self._served.get(name)
        if served is None:
            raise NoSuchGalleryError(f"no gallery {name[:100]!r} is served here: there are {', '.join(self._served)}.")
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
