"""Duplicates in three tiers: the same bytes, the same pixels, and near ones, which stand out from what is around them.

The pairs are computed by a command and kept (index_data/analyses.py); groups, the suggestion which picture to keep, and
what people said of them are put together when they are asked for. No file is ever deleted.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_data.analyses import NotComputedError, read_analysis, write_analysis
from index_data.calibration import ENOUGH, LABELS
from index_data.gallery import Changes, Gallery, Item, Vectors
from index_data.generations import Ids
from index_data.neighbours import BLOCK, NOBODY, Scores, nearest, open_segments, vectors_in_blocks, without_themselves
from index_data.prominence import LAST, near_from, ordinary_scores
from index_data.segments import Segments
from train.decoding import DecodePool
from train.errors import ImageError, UserError
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

Kind = Literal["bytes", "pixels", "near"]
Verdict = Literal["duplicate", "different", "keep", "forget"]
Said = Literal["duplicate", "different", "keep"]  # of a group
KINDS: tuple[Kind, ...] = ("bytes", "pixels", "near")

FIRST_K, MOST_K = LAST, 4096  # neighbours that are looked at: more where all of them are duplicates
FIXED = LABELS[1][0]  # cosine of near-duplicates where a gallery is too small for anything to be ordinary
SAME_PIXELS_FROM = 0.9999  # score: beneath it the same pixels would have been decoded in another way
DIGESTS_AT_ONCE = 64
DIFFERENCE_GAIN = 4  # how much brighter a difference is shown
LOSSLESS = {"PNG": 1, "TIFF": 1, "BMP": 1}


@dataclass(frozen=True, slots=True)
class Member:
    """One item of a group."""

    item: Item
    score: float  # with the one to keep
    keep: bool  # the suggestion
    why: str  # why it is to be kept; empty for the others
    apart: bool = False  # somebody said that it is not the same as the one to keep


@dataclass(frozen=True, slots=True)
class Group:
    """Items that are the same picture, the one to keep first."""

    kind: Kind  # of the weakest link in it
    members: list[Member]
    verdict: Said | None  # that they are all the same, that some are not, or that somebody chose the one to keep

    @property
    def first_id(self) -> int:
        """The lowest id in it: groups stand in this order."""
        return min(member.item.id for member in self.members)


# --- Computing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Computed:
    """What a computation found."""

    items: int
    min_score: float  # the lowest of a near pair, or what was asked for
    pairs: int  # of different contents
    same_pixels: int  # of them


def compute_duplicates(
    gallery: Gallery,
    pool: DecodePool,
    *,
    min_score: float | None = None,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Computed:
    """Find all pairs of pictures that are near each other, and which of them have the same pixels; keep them.

    Args:
        gallery: The gallery.
        pool: Decodes those that may have the same pixels.
        min_score: Cosine from which two pictures are near; else they are where they stand out from what is around
            both (index_data/prominence.py).
        reporter: Shows the progress.
        stop: When it is set, nothing is written; digests of pixels that were read are kept.

    Raises:
        Interrupted: `stop` was set.
    """
    segments = open_segments(gallery)
    content_of = dict(gallery.rows("SELECT id, content_id FROM items"))
    pairs = _near_pairs(segments, content_of, _Rule.of(segments, min_score), reporter, stop)
    least = min(pairs.values(), default=1.0) if min_score is None else min_score
    same = _same_pixels(gallery, pool, pairs, content_of, reporter, stop)
    rows = sorted(pairs.items())
    write_analysis(
        gallery,
        "duplicates",
        segments.seq,
        {"min_score": least, "items": segments.count},
        one=np.array([one for (one, _), _ in rows], np.int64),
        other=np.array([other for (_, other), _ in rows], np.int64),
        score=np.array([score for _, score in rows], np.float32),
        same_pixels=np.array([pair in same for pair, _ in rows], np.bool_),
    )
    return Computed(segments.count, least, len(rows), len(same))


Pairs = dict[tuple[int, int], float]  # lower and higher content -> score


@dataclass(frozen=True)
class _Rule:
    """From which score another picture is near a picture."""

    fixed: float | None  # for all pictures; None: by what is ordinary around each

    @classmethod
    def of(cls, segments: Segments, min_score: float | None) -> "_Rule":
        """The rule for a gallery: the score that is asked for, or where it is small a fixed one."""
        return cls(FIXED if min_score is None and segments.count < ENOUGH else min_score)

    def near_from(self, scores: Scores) -> Scores:
        """That score for some pictures, (n,), from those of their nearest other pictures, (n, at least `LAST`)."""
        if self.fixed is not None:
            return np.full(len(scores), self.fixed, np.float32)
        return near_from(ordinary_scores(scores))


def _others(segments: Segments, ids: Ids, vectors: Vectors, k: int = LAST) -> tuple[Ids, Scores]:
    """The k nearest other items of some, best first, and their scores."""
    return without_themselves(ids, *nearest(segments, vectors, k + 1))


def _near_pairs(
    segments: Segments, content_of: dict[int, int], rule: _Rule, reporter: Reporter, stop: StopRequest | None
) -> Pairs:
    pairs: Pairs = {}
    near_from: dict[int, float] = {}  # by content
    with reporter.task("Comparing", total=segments.count) as task:
        for ids, vectors in vectors_in_blocks(segments, BLOCK):
            if stop is not None:
                stop.raise_if_set("Nothing was written.")
            task.advance(len(ids))
            waiting = _first_of_each(ids, content_of, near_from)
            k, least = FIRST_K, np.empty(0, np.float32)
            while len(waiting):
                found, scores = _others(segments, ids[waiting], vectors[waiting], k)
                if k == FIRST_K:
                    least = rule.near_from(scores)
                    contents = [content_of[number] for number in ids[waiting].tolist()]
                    near_from.update(zip(contents, least.tolist(), strict=True))
                for row, neighbours, values, lowest in zip(waiting.tolist(), found, scores, least, strict=True):
                    _collect(pairs, content_of, int(ids[row]), neighbours, values, float(lowest))
                # Where even the last one is a duplicate, there may be more.
                more = (scores[:, -1] >= least) & (k < min(MOST_K, segments.rows))
                waiting, least = waiting[more], least[more]
                k = min(4 * k, MOST_K)
    # They have to stand out from both sides.
    return {pair: score for pair, score in pairs.items() if score >= max(near_from[number] for number in pair)}


def _first_of_each(ids: Ids, content_of: dict[int, int], seen: Container[int]) -> NDArray[np.int64]:
    """Rows of one item of each content that was not seen before: its copies have the same neighbours."""
    rows: dict[int, int] = {}
    for row, number in enumerate(ids.tolist()):
        content = content_of.get(number)
        if content is not None and content not in seen:
            rows.setdefault(content, row)
    return np.array(list(rows.values()), np.int64)


def _collect(
    pairs: Pairs, content_of: dict[int, int], item_id: int, neighbours: Any, scores: Any, least: float
) -> None:
    content = content_of[item_id]
    for number, score in zip(neighbours.tolist(), scores.tolist(), strict=True):
        other = content_of.get(number)
        if score < least or number == NOBODY or other is None or other == content:
            continue
        pairs[min(content, other), max(content, other)] = min(score, 1.0)


def _same_pixels(
    gallery: Gallery,
    pool: DecodePool,
    pairs: Pairs,
    content_of: dict[int, int],
    reporter: Reporter,
    stop: StopRequest | None,
) -> set[tuple[int, int]]:
    near = [pair for pair, score in pairs.items() if score >= SAME_PIXELS_FROM]
    contents = sorted({number for pair in near for number in pair})
    rows = gallery.rows_of("SELECT id, width, height FROM contents WHERE id IN", contents)
    size = {number: (width, height) for number, width, height in rows}
    maybe = [pair for pair in near if size.get(pair[0]) == size.get(pair[1])]
    wanted = {number for pair in maybe for number in pair}
    digests = dict(gallery.rows_of("SELECT content_id, digest FROM pixel_digests WHERE content_id IN", sorted(wanted)))
    item_of = {content: item_id for item_id, content in content_of.items() if content in wanted}
    missing = gallery.items_by_id([item_of[content] for content in sorted(wanted - digests.keys())])
    digests |= _read_digests(gallery, pool, missing, content_of, reporter, stop)
    return {(one, other) for one, other in maybe if one in digests and digests[one] == digests.get(other)}


def _read_digests(
    gallery: Gallery,
    pool: DecodePool,
    items: Sequence[Item],
    content_of: dict[int, int],
    reporter: Reporter,
    stop: StopRequest | None,
) -> dict[int, bytes]:
    def digest(item: Item) -> bytes:
        pixels = pool.pixels(gallery.read_original(item))
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()

    read: dict[int, bytes] = {}
    kept: list[tuple[int, bytes]] = []

    def keep() -> None:
        with gallery.changes() as changes:
            there = "SELECT ?, ? WHERE EXISTS (SELECT 1 FROM contents WHERE id = ?)"
            changes.connection.executemany(
                f"INSERT OR REPLACE INTO pixel_digests {there}",
                [(content, value, content) for content, value in kept],
            )
        kept.clear()

    with reporter.task("Comparing pixels", total=len(items)) as task:
        for item, outcome in pool.map(digest, items, in_advance=4):
            task.advance(1, unreadable=isinstance(outcome, ImageError))
            if not isinstance(outcome, ImageError):
                read[content_of[item.id]] = outcome
                kept.append((content_of[item.id], outcome))
            if len(kept) >= DIGESTS_AT_ONCE:
                keep()
            if stop is not None and stop:
                break
    if kept:
        keep()
    if stop is not None:
        stop.raise_if_set("Digests of pixels are kept. The same command goes on from here.")
    return read


@dataclass(frozen=True, slots=True)
class Computation:
    """When the pairs were looked for, and from which score."""

    min_score: float
    is_stale: bool  # the gallery has changed since


def describe_computation(gallery: Gallery) -> Computation | None:
    """What is known of the last computation; None where there was none."""
    try:
        analysis = read_analysis(gallery, "duplicates")
    except NotComputedError:
        return None
    return Computation(float(analysis.facts["min_score"]), analysis.is_stale(gallery))


# --- Groups ---------------------------------------------------------------------------------------------------------


class _Contents:
    """What grouping has to know of the contents that are in pairs or have several files."""

    def __init__(self, gallery: Gallery, numbers: Iterable[int]) -> None:
        several = gallery.rows("SELECT content_id FROM items GROUP BY content_id HAVING count(*) > 1")
        wanted = sorted(set(numbers) | {number for (number,) in several})
        self.items: dict[int, list[int]] = {}
        for item_id, content in gallery.rows_of("SELECT id, content_id FROM items WHERE content_id IN", wanted):
            self.items.setdefault(content, []).append(item_id)
        rows = gallery.rows_of("SELECT id, sha256, width * height FROM contents WHERE id IN", wanted)
        self.sha256: dict[int, bytes] = {}
        self.pixels: dict[int, int] = {}
        for number, sha256, pixels in rows:
            if number in self.items:
                self.sha256[number], self.pixels[number] = sha256, pixels


def duplicate_groups(
    gallery: Gallery, *, kind: Kind = "near", min_score: float | None = None, judged: bool = False
) -> list[list[int]]:
    """Contents that are the same picture, in the order of the lowest item id; the largest picture of each first.

    Every other one is a duplicate of the first by itself, so that a chain of small changes does not become one group.

    Args:
        gallery: Its duplicates must have been computed, unless only the same bytes are asked for.
        kind: The weakest link that counts: bytes, then pixels, then near.
        min_score: Of near ones; at least what they were computed with.
        judged: Leave together what somebody said is different, so that it can be shown what was said.

    Returns:
        Items of each group.

    Raises:
        NotComputedError: The pairs have not been computed.
    """
    pairs = [] if kind == "bytes" else _linked(gallery, kind, min_score)
    contents = _Contents(gallery, {number for pair in pairs for number in pair})
    linked: dict[int, set[int]] = {number: set() for number in contents.items}
    for one, other in pairs:
        if one in linked and other in linked:
            linked[one].add(other)
            linked[other].add(one)
    different = set() if judged else _different(gallery, contents)
    # The picture with the most pixels draws the others to itself.
    order = sorted(linked, key=lambda number: (-contents.pixels[number], contents.items[number][0]))
    groups = _stars(order, linked, lambda one, other: (min(one, other), max(one, other)) in different)
    items = [[item for number in group for item in sorted(contents.items[number])] for group in groups]
    return sorted((group for group in items if len(group) > 1), key=min)


def _linked(gallery: Gallery, kind: Kind, min_score: float | None) -> list[tuple[int, int]]:
    arrays = read_analysis(gallery, "duplicates").arrays
    chosen = arrays["same_pixels"]
    if kind == "near":
        chosen = chosen | (arrays["score"] >= (-1.0 if min_score is None else min_score))
    return list(zip(arrays["one"][chosen].tolist(), arrays["other"][chosen].tolist(), strict=True))


def _stars(
    order: Sequence[int], linked: dict[int, set[int]], are_different: Callable[[int, int], bool]
) -> list[list[int]]:
    taken: set[int] = set()
    groups = []
    for centre in order:
        if centre in taken:
            continue
        group = [centre]
        for other in sorted(linked[centre] - taken):
            if not any(are_different(other, member) for member in group):
                group.append(other)
        taken.update(group)
        groups.append(group)
    return groups


def _different(gallery: Gallery, contents: _Contents) -> set[tuple[int, int]]:
    number_of = {sha256: number for number, sha256 in contents.sha256.items()}
    found = set()
    for one, other in gallery.rows("SELECT one, other FROM verdicts WHERE verdict = 'different'"):
        first, second = number_of.get(one), number_of.get(other)
        if first is not None and second is not None:
            found.add((min(first, second), max(first, second)))
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """What can be said of a group without looking at its pictures."""

    kind: Kind  # of the weakest link in it
    verdict: Said | None


def survey_groups(gallery: Gallery, groups: Sequence[Sequence[int]]) -> list[Survey]:
    """Of what kind each group is, and what somebody said of it."""
    ids = [number for group in groups for number in group]
    rows = gallery.rows_of(
        "SELECT items.id, sha256, digest FROM items JOIN contents ON contents.id = content_id "
        "LEFT JOIN pixel_digests USING (content_id) WHERE items.id IN",
        ids,
    )
    known = {number: (sha256, digest) for number, sha256, digest in rows}
    said = _read_verdicts(gallery)
    return [_surveyed([known[number] for number in group if number in known], said) for group in groups]


@dataclass(frozen=True, slots=True)
class _Said:
    """All verdicts."""

    kept: set[bytes]
    same: set[tuple[bytes, bytes]]
    different: set[tuple[bytes, bytes]]

    def of(self, contents: Sequence[bytes]) -> Said | None:
        """What was said of some contents, each named once."""
        pairs = [_pair(one, other) for place, one in enumerate(contents) for other in contents[place + 1 :]]
        if any(pair in self.different for pair in pairs):
            return "different"
        if any(content in self.kept for content in contents):
            return "keep"
        is_confirmed = any(
            all(_pair(centre, other) in self.same for other in contents if other != centre) for centre in contents
        )
        return "duplicate" if pairs and is_confirmed else None


def _read_verdicts(gallery: Gallery) -> _Said:
    rows = gallery.rows("SELECT one, other, verdict FROM verdicts")
    return _Said(
        {sha256 for (sha256,) in gallery.rows("SELECT sha256 FROM keepers")},
        {(one, other) for one, other, verdict in rows if verdict == "duplicate"},
        {(one, other) for one, other, verdict in rows if verdict == "different"},
    )


def _surveyed(members: Sequence[tuple[bytes, bytes | None]], said: _Said) -> Survey:
    contents = list(dict.fromkeys(sha256 for sha256, _ in members))
    digests = {digest for _, digest in members}
    kind: Kind = "near"
    if len(contents) < 2:
        kind = "bytes"
    elif len(digests) == 1 and None not in digests:
        kind = "pixels"
    return Survey(kind, said.of(contents))


def describe_groups(gallery: Gallery, groups: Sequence[Sequence[int]]) -> list[Group]:
    """Groups with their items, the one to keep first, and why."""
    ids = [number for group in groups for number in group]
    items = {item.id: item for item in gallery.items_by_id(ids)}
    said = _read_verdicts(gallery)
    found = []
    for group, survey in zip(groups, survey_groups(gallery, groups), strict=True):
        there = [items[number] for number in group if number in items]
        if len(there) > 1:
            found.append(_described(gallery, there, survey, said))
    return found


def _described(gallery: Gallery, items: list[Item], survey: Survey, said: _Said) -> Group:
    kept = {sha256.hex() for sha256 in said.kept}
    ranked = sorted(items, key=lambda item: _merit(item, kept), reverse=True)
    best = ranked[0]
    embeddings = gallery.embeddings([item.id for item in ranked])
    scores = np.clip(embeddings @ embeddings[0], -1, 1).tolist()
    members = [Member(best, 1.0, True, _why(best, ranked[1], kept))]
    for item, score in zip(ranked[1:], scores[1:], strict=True):
        same = item.sha256 == best.sha256
        pair = _pair(bytes.fromhex(best.sha256), bytes.fromhex(item.sha256))
        members.append(Member(item, 1.0 if same else float(score), False, "", pair in said.different))
    return Group(survey.kind, members, survey.verdict)


def _merit(item: Item, kept: set[str]) -> tuple[Any, ...]:
    return (
        item.sha256 in kept,
        item.width * item.height,
        item.size,
        LOSSLESS.get(item.format, 0),
        -item.mtime_ns,  # the older one is the original
        -item.path.count(b"/"),
        [-byte for byte in item.path],  # in the order of the names
        -item.id,
    )


def _why(best: Item, second: Item, kept: set[str]) -> str:
    if best.sha256 in kept and second.sha256 not in kept:
        return "chosen by hand"
    if best.width * best.height != second.width * second.height:
        return f"most pixels: {best.width} x {best.height}"
    if best.size != second.size:
        return f"least compressed: {best.size:,} bytes"
    if LOSSLESS.get(best.format, 0) != LOSSLESS.get(second.format, 0):
        return f"without loss: {best.format}"
    if best.mtime_ns != second.mtime_ns:
        return "the oldest file"
    if best.path.count(b"/") != second.path.count(b"/"):
        return "the folder nearest to the top"
    return "the first by name"


# --- Verdicts -------------------------------------------------------------------------------------------------------


def put_verdict(
    changes: Changes, gallery: Gallery, ids: Sequence[int], verdict: Verdict, *, instead_of: Sequence[int] = ()
) -> None:
    """Remember what somebody said of some pictures, by their bytes: it holds wherever the files go.

    Args:
        changes: The transaction.
        gallery: The gallery.
        ids: Two items or more; for `keep` and `forget` one or more.
        verdict: duplicate: they are the same; different: they are not; keep: these are to be kept of their group;
            forget: nothing was said of them, neither of two of them nor which to keep.
        instead_of: With keep: these are no longer to be kept.

    Raises:
        UserError: There is no such item, or too few are named.
    """
    contents = _contents_of(gallery, ids)
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    pairs = [_pair(one, other) for place, one in enumerate(contents) for other in contents[place + 1 :]]
    if verdict == "keep":
        left = [(sha256,) for sha256 in _contents_of(gallery, instead_of)]
        changes.connection.executemany("DELETE FROM keepers WHERE sha256 = ?", left)
        rows = [(sha256, now) for sha256 in contents]
        changes.connection.executemany("INSERT OR REPLACE INTO keepers VALUES (?, ?)", rows)
    elif verdict == "forget":
        changes.connection.executemany("DELETE FROM keepers WHERE sha256 = ?", [(sha256,) for sha256 in contents])
        changes.connection.executemany("DELETE FROM verdicts WHERE one = ? AND other = ?", pairs)
    elif pairs:
        rows_of_pairs = [(*pair, verdict, now) for pair in pairs]
        changes.connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows_of_pairs)
    else:
        raise UserError("a verdict is about two pictures or more, of different bytes: name their ids.")


def _contents_of(gallery: Gallery, ids: Sequence[int]) -> list[bytes]:
    items = [gallery.item(number) for number in dict.fromkeys(ids)]
    return sorted({bytes.fromhex(item.sha256) for item in items})


def _pair(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    return (one, other) if one < other else (other, one)


# --- Difference -----------------------------------------------------------------------------------------------------


def difference(one: Pixels, other: Pixels) -> Pixels:
    """Where two pictures differ: black where they are the same, brighter the more they are not.

    Args:
        one: (h, w, 3).
        other: (h2, w2, 3); scaled to the size of the first.

    Returns:
        (h, w, 3).
    """
    from PIL import Image

    if other.shape != one.shape:
        size = one.shape[1], one.shape[0]
        other = np.asarray(Image.fromarray(other).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
    shown: Pixels = np.minimum(apart * DIFFERENCE_GAIN, 255).astype(np.uint8)
    return shown
