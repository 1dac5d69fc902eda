"""Adding a folder to a gallery, and looking again at what changed: find, read, decode, embed, commit.

Files are read and decoded ahead, in threads and worker processes, while the encoder works on the batch before. A
batch becomes durable, and can be found, in one transaction: a run that is killed goes on behind its last batch, and
several runs may work at once, on the same files even.
"""

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle import Bundle
from export.sessions import Encoder
from index_data.config import MAX_BAD, AddSettings
from index_data.containers import read_original
from index_data.describing import describe_places
from index_data.folders import (
    Found,
    Place,
    claim_all,
    expect_folder,
    expect_sources,
    find,
    has_left,
    missing_items,
    narrowed,
    places_of_roots,
    plan_places,
    settled_failures,
    with_fates,
)
from index_data.gallery import Changes, Content, FileFate, FileState, Gallery
from index_data.generations import build_if_due, current_name
from index_data.unfinished import noted_run
from train.decoding import Decoded, DecodePool, Undecoded
from train.errors import ImageError, NothingFoundError, TooManyRejectedError, UserError
from train.files import write_file
from train.images import FOLDER_LIMITS, THUMBNAIL_SIDE, OtherFileError
from train.interruption import StopRequest
from train.printable import printable
from train.progress import SILENT, Reporter, Task

OUTCOMES_A_COMMIT = 4  # times the batch: files that need no embedding do not wait for a full one
MAX_BAD_EMBEDDINGS = 0.01  # share; beyond it the model is broken, not the pictures
BAD_EMBEDDINGS_ALLOWED = 10  # before that share counts
SAME_BYTES_LOOKED_AT = 8  # files, to see whether one of them has moved: copies of a blank page may be thousands
REMOVED_AT_ONCE = 1000  # items in one transaction
FAILURES_FILE = "failures.jsonl"
COUNTED = ("seen", "embedded", "duplicate", "moved", "unchanged", "resumed", "other", "removed")

# The cause may pass without any change of the file: every run looks at these again.
PASSING = frozenset({"file_missing", "file_changed", "unreadable", "busy"})


@dataclass(frozen=True, kw_only=True)
class AddSummary:
    """What became of every file of one run: `seen` is the sum of the counts below it, up to `other`."""

    seen: int = 0
    embedded: int = 0
    duplicate: int = 0  # new or changed files with the bytes of one that is known
    moved: int = 0  # items that followed their file to another place
    unchanged: int = 0
    resumed: int = 0  # unchanged, and embedded by an earlier run that did not come to its end
    rejected: dict[str, int] = field(default_factory=dict)  # images that cannot be used, by code
    other: int = 0  # files that are not meant to be images
    removed: int = 0  # items whose file is gone, or is no usable image any more
    seconds: float = 0.0
    generation: str = ""

    @property
    def usable(self) -> int:
        """Files that are items now."""
        return self.embedded + self.duplicate + self.moved + self.unchanged + self.resumed

    @property
    def rejected_count(self) -> int:
        """Images that cannot be used."""
        return sum(self.rejected.values())


def add_folder(gallery: Gallery, bundle: Bundle, folder: Path, **settings: Any) -> AddSummary:
    """Make the images of a folder, and of all folders below it, items of a gallery; see `add_sources`."""
    expect_folder(folder)
    return add_sources(gallery, bundle, [folder], **settings)


def add_sources(
    gallery: Gallery,
    bundle: Bundle,
    sources: Sequence[Path],
    *,
    provider: str = AddSettings.provider,
    workers: int = AddSettings.workers,
    batch: int = AddSettings.batch,
    retry: bool = False,
    build: bool = True,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> AddSummary:
    """Make images items of a gallery; each batch can be found as soon as it is committed.

    Args:
        gallery: Made with this bundle, or empty.
        bundle: The model.
        sources: Folders, which are walked with all below them, single files, tar archives, and Parquet files.
        provider: See `AddSettings`, also for the next three.
        workers: Processes that decode.
        batch: Images that are embedded and committed together.
        retry: Look again at what was rejected.
        build: Build a new generation at the end, where enough has changed and nobody else does.
        reporter: Shows the progress.
        stop: When it is set, the batch in hand is committed, and `Interrupted` raised.

    Raises:
        NothingFoundError: There is no such folder or file.
        IncompatibleError: The gallery was made with another model.
        DiskError: The disk is full; what was committed stays.
        Interrupted: `stop` was set; the next run goes on.
    """
    settings = AddSettings(provider=provider, workers=workers, batch=batch, retry=retry)
    expect_sources(sources)
    gallery.accept_model(bundle)
    run = _Run(gallery, bundle, settings, reporter, stop)
    return run.update(claim_all(gallery, sources), build=build)


def scan_roots(
    gallery: Gallery,
    bundle: Bundle,
    *,
    paths: Sequence[Path] = (),
    remove_missing: bool = True,
    provider: str = AddSettings.provider,
    workers: int = AddSettings.workers,
    batch: int = AddSettings.batch,
    retry: bool = False,
    build: bool = True,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> AddSummary:
    """Look again at all folders of a gallery: take in what is new or changed, let go what is gone; see `add_sources`.

    Args:
        gallery: Made with this bundle, or empty.
        bundle: The model.
        paths: Look only at these folders and files, absolute or below the gallery's folders; empty: at everything.
        remove_missing: Take out items whose file is gone; else they stay.
        provider: See `add_sources`, also for the next six.
        workers: Processes that decode.
        batch: Images that are embedded and committed together.
        retry: Look again at what was rejected.
        build: Build a new generation at the end.
        reporter: Shows the progress.
        stop: When it is set, the batch in hand is committed.

    Raises:
        NothingFoundError: None of its folders is there, or there is nothing at a path; nothing is removed.
    """
    settings = AddSettings(provider=provider, workers=workers, batch=batch, retry=retry)
    gallery.accept_model(bundle)
    there, not_there = places_of_roots(gallery)
    for place in not_there:
        reporter.say(f"{_name(place.root)} is not there or empty: its items stay as they are. Is a disk not mounted?")
    if not_there and not there:
        folders = ", ".join(_name(place.root) for place in not_there)
        raise NothingFoundError(
            f"no folder of the gallery {gallery.name} is there ({folders}): mount the disk and scan again."
        )
    if paths:
        there = narrowed(gallery, there, paths)
    run = _Run(gallery, bundle, settings, reporter, stop)
    return run.update(there, remove_missing=remove_missing, build=build)


def judge(summary: AddSummary, *, what: str, max_bad: float = MAX_BAD) -> None:
    """Raise what a command has to end with, although everything good is published.

    Raises:
        NothingFoundError: Not one file of `what` could be used.
        TooManyRejectedError: A larger share of its images than `max_bad` was rejected.
    """
    bad = summary.rejected_count
    reasons = ", ".join(f"{number:,} {code}" for code, number in summary.rejected.items())
    if summary.seen and not summary.usable:
        raise NothingFoundError(
            f"{what} has no images that can be used ({reasons or 'none at all'}); {FAILURES_FILE} in the gallery's "
            "folder says why for each file."
        )
    if bad > max_bad * (bad + summary.usable):
        raise TooManyRejectedError(
            f"{bad:,} of {bad + summary.usable:,} images of {what} were rejected ({reasons}), more than {max_bad:.0%}; "
            "all others are indexed. Mend or remove those files, or allow more with --max-bad."
        )


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read: what the commit needs of it."""

    file: FileState
    sha256: bytes
    decoded: Decoded | None  # None where the gallery knows the bytes


_Outcome = tuple[Found, _Read | ImageError]


class _Run:
    """One run over some places, from the first look to the last commit."""

    def __init__(
        self, gallery: Gallery, bundle: Bundle, settings: AddSettings, reporter: Reporter, stop: StopRequest | None
    ) -> None:
        self._gallery = gallery
        self._bundle = bundle
        self._settings = settings
        self._reporter = reporter
        self._stop = StopRequest() if stop is None else stop  # not `or`: one that is not set is false
        self._roots: dict[int, Path] = {}
        self._earlier_seq: int | None = None  # before a run that did not come to its end
        self._let_go: set[int] = set()  # contents that items of this run had before
        self._counts: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._encoder: Encoder | None = None
        self._judged_embeddings = 0
        self._bad_embeddings = 0

    def update(self, places: list[Place], *, build: bool, remove_missing: bool = False) -> AddSummary:
        """Look through the places, and embed what is new."""
        started = time.monotonic()
        self._roots = {place.root_id: place.root for place in places}
        with noted_run(self._gallery) as self._earlier_seq:
            self._embed_files(places)
            for place in places:
                self._forget_settled_failures(place)
                if remove_missing:
                    self._remove_missing(place)
            self._gallery.drop_unused_contents(self._let_go)
            with DecodePool(self._settings.workers, FOLDER_LIMITS) as pool:
                describe_places(self._gallery, places, pool, reporter=self._reporter, stop=self._stop)
            write_failures(self._gallery)
        if build:
            build_if_due(self._gallery, self._reporter)
        return AddSummary(
            **{name: self._counts[name] for name in COUNTED},
            rejected=dict(self._rejected.most_common()),
            seconds=round(time.monotonic() - started, 3),
            generation=current_name(self._gallery) or "",
        )

    def _embed_files(self, places: list[Place]) -> None:
        plan = plan_places(self._gallery, places, missing=False, retry=self._settings.retry)
        self._reporter.say(f"{plan.to_read:,} files to read, {plan.unchanged:,} unchanged.")
        with (
            DecodePool(self._settings.workers, FOLDER_LIMITS) as pool,
            self._reporter.task("Indexing", total=plan.to_read, unit="files") as task,
            contextlib.closing(self._outcomes(pool, places)) as outcomes,
        ):
            for batch in self._batches(outcomes):
                lost = self._commit(batch)
                while lost:
                    # Another process let go of the last item with these bytes meanwhile: they are embedded after all.
                    lost = self._commit(list(self._read_and_decode(pool, lost)))
                self._show(task, batch)
                self._stop.raise_if_set(self._what_is_kept())
        self._stop.raise_if_set(self._what_is_kept())

    def _outcomes(self, pool: DecodePool, places: list[Place]) -> Generator[_Outcome, None, None]:
        """What became of every file that has to be opened, in the order of the walk."""
        yield from self._read_and_decode(pool, self._files_to_open(places))

    def _read_and_decode(self, pool: DecodePool, files: Iterable[Found]) -> Iterator[_Outcome]:
        # Two batches: while one is embedded, the next is decoded.
        return pool.fit_each(
            self._read,
            files,
            self._bundle.preprocessing,
            thumbnail=THUMBNAIL_SIDE,
            in_advance=2 * self._settings.batch,
        )

    def _files_to_open(self, places: list[Place]) -> Iterator[Found]:
        """Files that are new or have changed; all others are counted as what they are known to be."""
        for place in places:
            for found, fate in with_fates(self._gallery, find(place)):
                if self._stop:
                    return
                self._counts["seen"] += 1
                if not self._is_known(found, fate):
                    yield found

    def _is_known(self, found: Found, fate: FileFate | None) -> bool:
        file = found.file
        if fate is None:
            return False
        if found.refusal is not None:
            same = fate.failure == found.refusal.problem.code
        else:
            same = fate.holds_for(file, retry=self._settings.retry)
        if same:
            resumed = self._earlier_seq is not None and fate.seq > self._earlier_seq
            self._count(fate.failure, other=fate.other, resumed=resumed)
        return same

    def _count(self, failure: str | None, *, other: bool, resumed: bool = False) -> None:
        if other:
            self._counts["other"] += 1
        elif failure is not None:
            self._rejected[failure] += 1
        else:
            self._counts["resumed" if resumed else "unchanged"] += 1

    def _read(self, found: Found) -> Undecoded[_Read] | _Read:
        """Read a file, which is to be decoded unless the gallery knows its bytes; many threads do this at once.

        Raises:
            ImageError: It cannot be used.
        """
        if found.refusal is not None:
            raise found.refusal
        content = read_original(self._roots[found.file.root_id], found.file.path)
        file = replace(found.file, size=content.size, mtime_ns=content.mtime_ns)
        if self._gallery.has_content(content.sha256):
            return _Read(file, content.sha256, None)
        return Undecoded(content.data, partial(self._keep_thumbnail, file, content.sha256))

    def _keep_thumbnail(self, file: FileState, sha256: bytes, decoded: Decoded) -> _Read:
        if decoded.thumbnail is not None:
            # Before the commit, so that an item always has one.
            self._gallery.write_thumbnail(sha256.hex(), decoded.thumbnail)
        return _Read(file, sha256, replace(decoded, thumbnail=None))

    def _batches(self, outcomes: Iterable[_Outcome]) -> Iterator[list[_Outcome]]:
        """What is embedded and committed together."""
        size = self._settings.batch
        batch: list[_Outcome] = []
        fresh = 0
        for found, outcome in outcomes:
            batch.append((found, outcome))
            fresh += isinstance(outcome, _Read) and outcome.decoded is not None
            if fresh == size or len(batch) == OUTCOMES_A_COMMIT * size or self._stop:
                yield batch
                batch, fresh = [], 0
        if batch:
            yield batch

    def _commit(self, batch: list[_Outcome]) -> list[Found]:
        """Embed what is new in a batch, and make all of it durable; return the files that have to be read again."""
        # Keyed by content: the same bytes twice in a batch are embedded once.
        fresh = {
            outcome.sha256: outcome.decoded
            for _, outcome in batch
            if isinstance(outcome, _Read)
            and outcome.decoded is not None
            and not self._gallery.has_content(outcome.sha256)  # a batch before may have had them too
        }
        contents = self._embed(fresh) if fresh else {}
        lost = []
        with self._gallery.changes() as changes:
            roots = changes.roots()
            for found, outcome in batch:
                if isinstance(outcome, ImageError):
                    other = found.other or isinstance(outcome, OtherFileError)
                    self._put_failure(changes, self._placed(found.file, roots), outcome, other=other)
                    continue
                read = replace(outcome, file=self._placed(outcome.file, roots))
                content_id = changes.content_id(read.sha256)
                content = contents.get(read.sha256)
                if content_id is None and content is None:
                    lost.append(found)
                else:
                    self._put_item(changes, read, content_id, content)
            self._let_go |= changes.let_go
        return lost

    def _placed(self, file: FileState, roots: Mapping[int, Path]) -> FileState:
        """A file under the root that it belongs to now: another process may have added a folder above it."""
        if file.root_id in roots:
            return file
        before = self._roots[file.root_id]
        for number, root in roots.items():
            if before.is_relative_to(root):
                below = os.fsencode(before.relative_to(root)) + b"/"
                return replace(file, root_id=number, path=below + file.path)
        raise AssertionError(f"the root {before} is gone")  # a root goes only into one above it

    def _embed(self, pictures: Mapping[bytes, Decoded]) -> dict[bytes, Content | ImageError]:
        """What the model makes of some pictures, by the digest of their bytes."""
        if self._encoder is None:
            self._encoder = Encoder.open(self._bundle, provider=self._settings.provider)
            self._reporter.say(provider_sentence(self._encoder))
        codes = self._encoder.encode(np.stack([picture.pixels for picture in pictures.values()]))
        usable = codes.usable
        self._expect_good_model(len(usable), int(np.count_nonzero(~usable)))
        outcomes: dict[bytes, Content | ImageError] = {}
        for row, (sha256, picture) in enumerate(pictures.items()):
            outcomes[sha256] = (
                Content(
                    sha256,
                    picture.width,
                    picture.height,
                    picture.format,
                    codes.latents[row],
                    codes.embeddings[row],
                    picture.facts,
                )
                if usable[row]
                else ImageError("The model gives no embedding of length 1 for it.", code="bad_embedding")
            )
        return outcomes

    def _expect_good_model(self, embedded: int, bad: int) -> None:
        self._judged_embeddings += embedded
        self._bad_embeddings += bad
        if self._bad_embeddings > max(BAD_EMBEDDINGS_ALLOWED, MAX_BAD_EMBEDDINGS * self._judged_embeddings):
            raise UserError(
                f"the model {self._bundle.folder} gave no usable embedding for {self._bad_embeddings:,} of "
                f"{self._judged_embeddings:,} images: it is broken. Export or train it again.",
                code="bad_embedding",
            )

    def _put_item(
        self, changes: Changes, read: _Read, content_id: int | None, content: Content | ImageError | None
    ) -> None:
        if content_id is None and isinstance(content, ImageError):
            self._put_failure(changes, read.file, content, other=False)
            return
        known = changes.item_at(read.file)
        if content_id is None:
            assert isinstance(content, Content)  # noqa: S101  (the caller looked)
            changes.put_item(read.file, changes.add_content(content))
            self._counts["embedded"] += 1
        elif known is None and (item_id := _moved_item(changes, content_id)) is not None:
            changes.move_item(item_id, read.file)
            self._counts["moved"] += 1
        else:
            changes.put_item(read.file, content_id)
            touched = known is not None and known[1] == content_id
            self._counts["unchanged" if touched else "duplicate"] += 1

    def _put_failure(self, changes: Changes, file: FileState, error: ImageError, *, other: bool) -> None:
        code = error.problem.code
        if code in PASSING:
            # Without size and time it differs from any file, so the next run looks at it again.
            changes.put_failure(replace(file, size=None, mtime_ns=None), error, other=other)
        else:
            changes.put_failure(file, error, other=other)
            known = changes.item_at(file)
            if known is not None:
                changes.remove_items([known[0]])
                self._counts["removed"] += 1
        self._count(code, other=other)

    def _show(self, task: Task, batch: list[_Outcome]) -> None:
        rejected = sum(
            isinstance(outcome, ImageError) and not (found.other or isinstance(outcome, OtherFileError))
            for found, outcome in batch
        )
        task.advance(sum(found.refusal is None for found, _ in batch), rejected=rejected)

    def _what_is_kept(self) -> str:
        return f"{self._gallery.count:,} images are embedded and kept. The same command goes on from here."

    def _forget_settled_failures(self, place: Place) -> None:
        settled = list(settled_failures(self._gallery, place))
        if settled:
            with self._gallery.changes() as changes:
                changes.forget_failures(settled)

    def _remove_missing(self, place: Place) -> None:
        missing = list(missing_items(self._gallery, place))
        for start in range(0, len(missing), REMOVED_AT_ONCE):
            self._stop.raise_if_set(self._what_is_kept())
            with self._gallery.changes() as changes:
                some = missing[start : start + REMOVED_AT_ONCE]
                # Another process may have found such a file at another place meanwhile.
                still = [item_id for item_id, path in some if changes.is_at(item_id, place.root_id, path)]
                self._counts["removed"] += changes.remove_items(still)
                self._let_go |= changes.let_go


def provider_sentence(encoder: Encoder) -> str:
    """Which execution provider was asked for, which was really taken, and what is wrong with it."""
    taken = f"Execution provider: {encoder.provider} (asked for: {encoder.asked})."
    return f"{taken} {encoder.degraded}" if encoder.degraded else taken


def write_failures(gallery: Gallery) -> None:
    """Write the images that were rejected to failures.jsonl, one line each, for people; remove it where none was."""
    lines = []
    after = 0
    while failures := gallery.failures(after=after, limit=4096):
        lines += [
            json.dumps(
                {
                    "file": printable(failure.root + b"/" + failure.path),
                    "code": failure.code,
                    "detail": failure.detail,
                    "seen_at": failure.seen_at,
                }
            )
            for failure in failures
        ]
        after = failures[-1].id
    place = gallery.folder / FAILURES_FILE
    if lines:
        write_file(place, "".join(f"{line}\n" for line in lines).encode(), durable=False)
    else:
        place.unlink(missing_ok=True)


def _moved_item(changes: Changes, content_id: int) -> int | None:
    """An item with these bytes whose file is gone: what is found elsewhere now is that file."""
    for item_id, root, path in changes.files_of(content_id, SAME_BYTES_LOOKED_AT):
        if has_left(root, path):
            return item_id
    return None


def _name(folder: Path) -> str:
    return printable(os.fsencode(folder))
