"""Giving a gallery another model: all its images are embedded anew aside, and one transaction switches over.

galleries/<name>/model-<model id>.db    what the new model made so far, by the digest of the images' bytes; removed at
                                        the switch. Searches, adding and removing go on with the old model until then.
"""

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.bundle import Bundle
from export.sessions import Encoder
from index_data.adding import provider_sentence
from index_data.config import MAX_BAD, AddSettings
from index_data.gallery import Content, Gallery, NewVectors, database_errors
from index_data.generations import build_generation, is_of_this_model, remove_generation, stored_names
from train.decoding import Decoded, DecodePool, Undecoded
from train.errors import ImageError, TooManyRejectedError
from train.files import locked
from train.images import FOLDER_LIMITS
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

_Outcome = tuple[bytes, Decoded | ImageError]

FILES_TRIED = 8  # of the same bytes, before they count as lost


@dataclass(frozen=True, kw_only=True)
class RemodelSummary:
    """What became of a gallery's contents."""

    embedded: int  # by this run
    resumed: int  # by earlier runs that did not come to their end
    lost: dict[str, int] = field(default_factory=dict)  # contents that cannot be embedded any more, by code
    removed: int = 0  # items that had them
    seconds: float = 0.0
    generation: str = ""


def change_model(
    gallery: Gallery,
    bundle: Bundle,
    *,
    settings: AddSettings | None = None,
    max_bad: float = MAX_BAD,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> RemodelSummary:
    """Embed all images of a gallery with another model, and switch over to it when that is done.

    Where the gallery is of that model already, because a run was killed behind the switch, its index is built.

    Args:
        gallery: The gallery; it is of the new model afterwards.
        bundle: The new model.
        settings: How to work.
        max_bad: Share of the contents that may be lost, because their files are gone or cannot be read any more.
        reporter: Shows the progress.
        stop: When it is set, the batch in hand is kept and `Interrupted` raised; the next run goes on.

    Raises:
        TooManyRejectedError: More would be lost than `max_bad`: nothing is switched, and what was made is kept.
        LockedError: Another process builds.
        DiskError: The disk is full; the gallery is as it was.
        Interrupted: `stop` was set.
    """
    settings = settings or AddSettings()
    stop = StopRequest() if stop is None else stop  # not `or`: one that is not set is false
    started = time.monotonic()
    with locked(gallery.folder, "index build --model"):
        aside = _Aside(gallery.folder / f"model-{bundle.model_id}.db")
        for other in gallery.folder.glob("model-*.db"):
            if other != aside.place:
                other.unlink()
        with contextlib.closing(aside):
            if gallery.model_id == bundle.model_id:
                gallery.accept_model(bundle)
                resumed, embedded, removed = gallery.content_count, 0, 0
            else:
                resumed = aside.count
                embedded, removed = _embed_and_switch(gallery, bundle, aside, settings, max_bad, reporter, stop)
        lost = Counter(error.problem.code for error in aside.lost_before.values())
        aside.place.unlink(missing_ok=True)
        reporter.say(f"Building the index of {gallery.count:,} images.")
        generation = build_generation(gallery, reporter=reporter).name
        for name in stored_names(gallery):
            if name != generation and not is_of_this_model(gallery, name):
                remove_generation(gallery, name)
    return RemodelSummary(
        embedded=embedded,
        resumed=resumed,
        lost=dict(lost.most_common()),
        removed=removed,
        seconds=round(time.monotonic() - started, 3),
        generation=generation,
    )


def _embed_and_switch(
    gallery: Gallery,
    bundle: Bundle,
    aside: "_Aside",
    settings: AddSettings,
    max_bad: float,
    reporter: Reporter,
    stop: StopRequest,
) -> tuple[int, int]:
    """Embed what is missing, and switch; how many contents were embedded, and how many items were lost."""
    with DecodePool(settings.workers, FOLDER_LIMITS) as pool:
        run = _Run(gallery, bundle, aside, pool, settings, reporter)
        while True:
            run.embed_missing(stop)
            _expect_few_lost(aside, max_bad, gallery)
            removed = gallery.switch_model(bundle, NewVectors(aside.place, aside.lost()))
            if removed is not None:
                return run.embedded, removed
            # Something was added meanwhile.


def _expect_few_lost(aside: "_Aside", max_bad: float, gallery: Gallery) -> None:
    lost = aside.lost()
    total = aside.count + len(lost)
    if len(lost) > max_bad * total:
        codes = Counter(error.problem.code for error in lost.values())
        reasons = ", ".join(f"{number:,} {code}" for code, number in codes.most_common())
        raise TooManyRejectedError(
            f"{len(lost):,} of {total:,} images of {gallery.name} cannot be embedded again ({reasons}), more than "
            f"{max_bad:.0%}: the old model goes on serving. Mount their disk or run `lookalike index scan "
            f"{gallery.name}` first, or allow more with --max-bad; what is embedded is kept."
        )


class _Aside:
    """The file with what the new model made."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.lost_before: dict[bytes, ImageError] = {}  # not kept: a later run tries again
        with database_errors(place):
            self._connection = sqlite3.connect(place, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS contents (sha256 BLOB PRIMARY KEY, checksum INTEGER NOT NULL, "
                "latent BLOB NOT NULL, embedding BLOB NOT NULL) WITHOUT ROWID"
            )

    @property
    def count(self) -> int:
        """Contents that the new model has embedded."""
        with database_errors(self.place):
            return int(self._connection.execute("SELECT count(*) FROM contents").fetchone()[0])

    def has(self, sha256: bytes) -> bool:
        """Whether a content is embedded, or known to be lost."""
        with database_errors(self.place):
            row = self._connection.execute("SELECT 1 FROM contents WHERE sha256 = ?", (sha256,)).fetchone()
        return row is not None or sha256 in self.lost_before

    def lost(self) -> dict[bytes, ImageError]:
        """Contents that cannot be embedded."""
        return dict(self.lost_before)

    def put(self, contents: Sequence[Content]) -> None:
        """Keep what was made, durably."""
        with database_errors(self.place):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT OR IGNORE INTO contents VALUES (?, ?, ?, ?)", (each.stored_vectors() for each in contents)
            )
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _Run:
    def __init__(
        self,
        gallery: Gallery,
        bundle: Bundle,
        aside: _Aside,
        pool: DecodePool,
        settings: AddSettings,
        reporter: Reporter,
    ) -> None:
        self.embedded = 0
        self._gallery = gallery
        self._bundle = bundle
        self._aside = aside
        self._pool = pool
        self._settings = settings
        self._reporter = reporter
        self._encoder: Encoder | None = None

    def embed_missing(self, stop: StopRequest) -> None:
        """Embed every content of an item that the new model has not seen."""
        kept = "What is embedded is kept, and the old model goes on serving. The same command goes on from here."
        with self._reporter.task("Embedding anew", total=self._gallery.content_count, unit="images") as task:
            task.resume_at(self._aside.count)
            missing = (sha256 for sha256 in self._gallery.contents_in_use() if not self._aside.has(sha256))
            with contextlib.closing(self._decoded(missing)) as decoded:
                for batch in _batches(decoded, self._settings.batch):
                    self._embed(batch)
                    task.advance(len(batch))
                    stop.raise_if_set(kept)
        stop.raise_if_set(kept)

    def _decoded(self, missing: Iterable[bytes]) -> Generator[_Outcome, None, None]:
        advance = 2 * self._settings.batch
        yield from self._pool.fit_each(self._read, missing, self._bundle.preprocessing, in_advance=advance)

    def _read(self, sha256: bytes) -> Undecoded[Decoded] | Decoded:
        """Read an image from any of the files that have its bytes.

        Raises:
            ImageError: None of them can be read.
        """
        error = ImageError("No item has these bytes any more.", code="file_missing")
        for item in self._gallery.items_with(sha256, FILES_TRIED):
            try:
                return Undecoded(self._gallery.read_original(item), lambda decoded: decoded)
            except ImageError as refusal:
                error = refusal
        raise error

    def _embed(self, batch: list[_Outcome]) -> None:
        for sha256, outcome in batch:
            if isinstance(outcome, ImageError):
                self._aside.lost_before[sha256] = outcome
        good = [(sha256, outcome) for sha256, outcome in batch if isinstance(outcome, Decoded)]
        if not good:
            return
        if self._encoder is None:
            self._encoder = Encoder.open(self._bundle, provider=self._settings.provider)
            self._reporter.say(provider_sentence(self._encoder))
        codes = self._encoder.encode(np.stack([picture.pixels for _, picture in good]))
        usable = codes.usable
        contents = []
        for row, (sha256, picture) in enumerate(good):
            if usable[row]:
                size = (picture.width, picture.height, picture.format)
                contents.append(Content(sha256, *size, codes.latents[row], codes.embeddings[row]))
            else:
                self._aside.lost_before[sha256] = ImageError("The model gives no embedding.", code="bad_embedding")
        self._aside.put(contents)
        self.embedded += len(contents)


def _batches(decoded: Iterable[_Outcome], size: int) -> Iterator[list[_Outcome]]:
    batch = []
    for each in decoded:
        batch.append(each)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
