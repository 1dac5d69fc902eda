"""Items that are unlike all others: those that the model paints badly, and those that are far from their neighbours.

The error of a reconstruction belongs to a content and is kept in gallery.db, so a run that is stopped goes on; the
distances follow from the index and are computed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.sessions import Decoder
from export.uses.outliers import QUANTILE, threshold_of
from export.uses.pictures import greys, squared_errors
from index_data.analyses import read_analysis, write_analysis
from index_data.gallery import Gallery, Item
from index_data.generations import Ids
from index_data.neighbours import all_neighbours, open_segments
from train.decoding import DecodePool, Undecoded
from train.errors import ImageError, IncompatibleError, SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

By = Literal["reconstruction", "distance"]
NEIGHBOURS = 5  # of whose scores the mean is taken: one copy does not hide that a picture is far from all others
BATCH = 64  # pictures that are painted together


@dataclass(frozen=True, slots=True)
class Ranked:
    """All items by how unusual they are, the most unusual first."""

    by: By
    ids: Ids
    values: NDArray[np.float64]  # mean squared error, or 1 - mean cosine of the nearest neighbours
    threshold: float | None  # above it a picture is unusual; None where nothing says so
    is_stale: bool  # the gallery has changed since


def compute_outliers(
    gallery: Gallery,
    pool: DecodePool,
    decoder: Decoder | None,
    *,
    in_greys: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> int:
    """Measure how far all items are from their neighbours and, with a decoder, how badly each is painted.

    Args:
        gallery: The gallery.
        pool: Decodes the pictures that are compared with what is painted.
        decoder: Of the gallery's model; None measures distances only.
        in_greys: The model knows greys only, so a picture is compared in greys.
        reporter: Shows the progress.
        stop: When it is set, no ranking is written.

    Returns:
        Number of pictures whose error could not be measured, because their file and thumbnail are gone.

    Raises:
        Interrupted: `stop` was set; errors of reconstructions that were measured are kept.
    """
    missed = 0 if decoder is None else _measure_errors(gallery, pool, decoder, in_greys, reporter, stop)
    segments = open_segments(gallery)
    ids, distances = [], []
    for block in all_neighbours(segments, min(NEIGHBOURS, max(segments.count - 1, 1)), reporter=reporter, stop=stop):
        found = np.isfinite(block.scores)
        total = np.where(found, block.scores, 0).sum(axis=1)
        ids.append(block.ids)
        distances.append(1 - total / np.maximum(found.sum(axis=1), 1))
    write_analysis(
        gallery,
        "outliers",
        segments.seq,
        {"reconstruction": decoder is not None},
        ids=np.concatenate([np.empty(0, np.int64), *ids]),
        distance=np.concatenate([np.empty(0), *distances]),
    )
    return missed


def _measure_errors(
    gallery: Gallery,
    pool: DecodePool,
    decoder: Decoder,
    in_greys: bool,
    reporter: Reporter,
    stop: StopRequest | None,
) -> int:
    rows = gallery.rows(
        "SELECT min(id) FROM items WHERE content_id NOT IN (SELECT content_id FROM reconstruction_errors) "
        "GROUP BY content_id ORDER BY 1"
    )
    waiting = [number for (number,) in rows]
    missed = 0

    def read(item: Item) -> Undecoded[Pixels] | Pixels:
        try:
            data = gallery.read_original(item)
        except ImageError:
            thumbnail = gallery.thumbnail(item.sha256)
            if thumbnail is None:
                raise
            data = thumbnail
        return Undecoded(data, lambda decoded: decoded.pixels)

    with reporter.task("Painting", total=len(waiting)) as task:
        for start in range(0, len(waiting), BATCH):
            if stop is not None:
                stop.raise_if_set("Errors that were measured are kept. The same command goes on from here.")
            items = gallery.items_by_id(waiting[start : start + BATCH])
            outcomes = pool.fit_each(read, items, gallery.preprocessing)
            seen = [(item, pixels) for item, pixels in outcomes if not isinstance(pixels, ImageError)]
            missed += len(items) - len(seen)
            if seen:
                pictures = np.stack([pixels for _, pixels in seen])
                _keep_errors(gallery, decoder, [item for item, _ in seen], greys(pictures) if in_greys else pictures)
            task.advance(len(items), unreadable=len(items) - len(seen))
    return missed


def _keep_errors(gallery: Gallery, decoder: Decoder, items: Sequence[Item], pixels: Pixels) -> None:
    painted = decoder.decode(gallery.latents([item.id for item in items]))
    errors = squared_errors(pixels, painted).tolist()
    with gallery.changes() as changes:
        changes.connection.executemany(
            "INSERT OR REPLACE INTO reconstruction_errors SELECT content_id, ? FROM items WHERE id = ?",
            [(error, item.id) for error, item in zip(errors, items, strict=True)],
        )


def ranked_outliers(gallery: Gallery, by: By, bundle: Bundle | None = None) -> Ranked:
    """All items by how unusual they are.

    Args:
        gallery: Its outliers must have been computed.
        by: What is measured.
        bundle: Its model, which may know which errors are usual.

    Raises:
        NotComputedError: They were not computed.
        IncompatibleError: The model has no decoder, so there are no errors (no_decoder).
    """
    analysis = read_analysis(gallery, "outliers")
    if by == "distance":
        ids, values = analysis.arrays["ids"], analysis.arrays["distance"]
        kept = np.isin(ids, gallery.item_ids())
        return _ranked(by, ids[kept], values[kept], None, analysis.is_stale(gallery))
    if not analysis.facts["reconstruction"]:
        raise IncompatibleError(
            f"the model of the gallery {gallery.name} only encodes: rank by distance instead.", code="no_decoder"
        )
    rows = gallery.rows("SELECT items.id, mse FROM items JOIN reconstruction_errors USING (content_id)")
    ids = np.array([number for number, _ in rows], np.int64)
    values = np.array([mse for _, mse in rows], np.float64)
    return _ranked(by, ids, values, _threshold(bundle), analysis.is_stale(gallery))


def _ranked(by: By, ids: Ids, values: NDArray[np.float64], threshold: float | None, is_stale: bool) -> Ranked:
    order = np.lexsort((ids, -values))
    return Ranked(by, ids[order], values[order], threshold, is_stale)


def _threshold(bundle: Bundle | None) -> float | None:
    """The error that held-out training pictures stay below, all but 1 %; None where the model does not know."""
    if bundle is None:
        return None
    try:
        return threshold_of(bundle, QUANTILE)
    except SettingsError:
        return None
