"""What the routes share: the galleries, the decode workers, and what is kept between requests."""

import math
import secrets
import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import current_app

from index_data.engine import Engine
from index_data.generations import current_name, read_manifest
from index_data.same_picture import Outlines
from search_server import limits
from search_server.cache import BoundedCache
from search_server.fetching import Fetcher, FetchPolicy
from search_server.galleries import Galleries, ServedGallery
from search_server.jobs import JobQueue
from search_server.metrics import GalleryState, Metrics
from search_server.placeholders import Placeholders
from search_server.problems import InvalidRequest
from search_server.settings import ServerSettings
from train.decoding import DecodePool
from train.errors import UserError
from train.images import FOLDER_LIMITS, HTTP_LIMITS
from train.workspace import Workspace

EXTENSION = "lookalike"
WATCHERS = 2
_FRAME_BYTES, _FRAME_COUNT = 16 * limits.MIB, 2000


class NoSuchQueryError(UserError):
    """A stored query that is forgotten, or never was."""

    code = "no_such_query"


@dataclass(frozen=True)
class StoredQuery:
    """A picture that somebody asked about, kept for a while as it came."""

    id: str
    name: str
    data: bytes
    width: int
    height: int
    format: str
    plain: bool  # almost one colour
    expires_at: str


def _size_of_query(query: StoredQuery) -> int:
    return len(query.data)


@dataclass
class Service:
    """Everything that outlives a request."""

    galleries: Galleries
    settings: ServerSettings
    workspace: Workspace
    metrics: Metrics
    jobs: JobQueue
    fetcher: Fetcher
    decoding: DecodePool  # of what clients send
    originals: DecodePool  # of the galleries' files, which may be larger
    placeholders: Placeholders
    outlines: Outlines  # of pictures that were laid over each other
    queries: BoundedCache[str, StoredQuery] = field(
        default_factory=lambda: BoundedCache(
            _size_of_query,
            max_bytes=limits.QUERY_BYTES,
            max_count=limits.QUERY_COUNT,
            seconds=limits.QUERY_SECONDS,
        )
    )
    frames: BoundedCache[Hashable, bytes] = field(  # of the morph slider, which goes back and forth
        default_factory=lambda: BoundedCache(len, max_bytes=_FRAME_BYTES, max_count=_FRAME_COUNT)
    )

    # Each watcher of a job holds a thread.
    watchers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(WATCHERS))
    closing: threading.Event = field(default_factory=threading.Event)
    decoded_at: float = -math.inf  # when a picture that somebody sent was last decoded (time.monotonic)

    def gallery(self, name: str | None) -> ServedGallery:
        """A gallery by its name; None means the only one.

        Raises:
            InvalidRequest: None, and there are several.
        """
        if name is None:
            names = [served.name for served in self.galleries]
            if len(names) != 1:
                raise InvalidRequest(f"say which gallery: {', '.join(names)}.")
            name = names[0]
        return self.galleries.get(name)

    def store_query(
        self, data: bytes, *, name: str, width: int, height: int, image_format: str, plain: bool
    ) -> StoredQuery:
        """Keep a picture under a new id that nobody can guess."""
        expires = datetime.now(UTC) + timedelta(seconds=limits.QUERY_SECONDS)
        query = StoredQuery(
            id=f"q_{secrets.token_urlsafe(16)}",
            name=name,
            data=data,
            width=width,
            height=height,
            format=image_format,
            plain=plain,
            expires_at=expires.isoformat(timespec="seconds"),
        )
        self.queries.put(query.id, query)
        return query

    def stored_query(self, query_id: str) -> StoredQuery:
        """A picture that was stored before.

        Raises:
            NoSuchQueryError: It is forgotten, or never was.
        """
        query = self.queries.get(query_id)
        if query is None:
            raise NoSuchQueryError("this stored query is gone: send the picture again.")
        return query

    def open_again(self, name: str) -> Engine:
        """Open the gallery that is served under a name anew."""
        folder = self.galleries.get(name).gallery.folder
        return open_engine(folder, self.settings)

    def serve(self, name: str, folder: Path) -> None:
        """Open a gallery, and let it answer under a name; requests in flight finish on what was open before.

        Raises:
            UserError: It cannot be opened; what answered goes on.
        """
        self.galleries.replace(name, open_engine(folder, self.settings))

    def close(self) -> None:
        """Look after no jobs any more, and end the decode workers."""
        self.closing.set()
        self.jobs.close()
        self.fetcher.close()
        self.placeholders.close()
        self.decoding.close()
        self.originals.close()


def open_engine(folder: Path, settings: ServerSettings) -> Engine:
    """Open a gallery to be served: one thread for each of many requests; raises like `Engine.open`."""
    return Engine.open(folder, provider=settings.provider, threads=1, batching=settings.batching)


def open_service(engines: Mapping[str, Engine], settings: ServerSettings, workspace: Workspace) -> Service:
    """Put everything together; decode workers start when they are first needed, and end with `close`."""
    patient = replace(FOLDER_LIMITS, wait_seconds=HTTP_LIMITS.wait_seconds)
    originals = DecodePool(settings.decode_workers, patient)
    service = Service(
        galleries=Galleries(engines),
        settings=settings,
        workspace=workspace,
        metrics=Metrics(),
        jobs=JobQueue(workspace.home),
        fetcher=Fetcher(FetchPolicy(frozenset(host.lower() for host in settings.fetch_hosts), settings.fetch_http)),
        decoding=DecodePool(settings.decode_workers, HTTP_LIMITS),
        originals=originals,
        placeholders=Placeholders(originals),
        outlines=Outlines(originals),
    )
    service.metrics.watch(
        lambda: {served.name: _state_of(served) for served in service.galleries}, service.jobs.table.counts
    )
    return service


def _state_of(served: ServedGallery) -> GalleryState:
    gallery, encoder = served.gallery, served.engine.encoder
    name = current_name(gallery)
    try:
        size = sum(file.size for file in read_manifest(gallery, name).files.values()) if name else 0
    except UserError:
        size = 0
    parts = (encoder, served.engine.decoder, served.engine)
    degraded = bool(served.trouble) or any(part is not None and part.degraded for part in parts)
    return GalleryState(served.engine.count, size, encoder.asked, encoder.provider, degraded)


def service() -> Service:
    """The service of the application that answers the request at hand."""
    found: Service = current_app.extensions[EXTENSION]
    return found
