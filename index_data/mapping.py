"""The map: all items on a plane, those alike near each other, and clusters of them with what the decoder makes of each.

PCA is there in a moment; UMAP (extra `map`) draws neighbourhoods, on the neighbours that the index finds. The vectors
are read a block at a time, again and again, and never held: in memory are a sample of them (`SAMPLE_BYTES`), 20 bytes
an item, and for UMAP the neighbours of each.
"""

import importlib.util
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.sessions import Decoder
from index_data.analyses import read_analysis, write_analysis
from index_data.clustering import Centres, Clusters, Points, islands, usual_clusters
from index_data.clustering import Method as Clustering
from index_data.gallery import Gallery, Vectors
from index_data.generations import Ids
from index_data.neighbours import NOBODY, Rows, all_neighbours, open_segments, vectors_in_blocks
from index_data.segments import Segments
from train.errors import SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import SILENT, Reporter, Task

Method = Literal["pca", "umap"]

NEIGHBOURS = 15  # that UMAP keeps together
SAMPLE_BYTES = 64 << 20  # of the vectors that clusters are found in; all items are put into one
BLOCK = 8192  # vectors in memory at a time
PAINTED = 256  # items of a cluster whose mean code is painted
LATENTS_AT_ONCE = 1024
SAME = 1e-4  # 1 - the score of what is the same picture
SEED = 0
MOST_SEEDS = 2**31 - 2  # FAISS takes an int


@dataclass(frozen=True, slots=True)
class Map:
    """Where each item lies, and to which cluster it belongs."""

    method: Method
    clustering: Clustering
    computed_at: str
    is_stale: bool  # the gallery has changed since
    ids: Ids
    points: Points
    clusters: Clusters
    medoids: Ids  # (clusters,): the item in the middle of each
    prototypes: Pixels  # (clusters, size, size, 3): their mean codes, painted; (0, 0, 0, 3) without a decoder
    projection: NDArray[np.float32] | None = None  # (dims + 1, 2): by PCA, where any vector lies; None: nobody can say

    def project(self, vector: Vectors) -> Points | None:
        """Where a vector (dims,) that is no item's lies, (2,); None where the map has no axes, as those by UMAP."""
        if self.projection is None or len(self.projection) != len(vector) + 1:
            return None
        placed: Points = (vector @ self.projection[:-1] + self.projection[-1]).astype(np.float32)
        return placed

    def between(self, ids: Sequence[int], scores: Sequence[float]) -> tuple[Points, int] | None:
        """Where a vector lies by its neighbours: the mean of their places, the nearer the more; of how many.

        Each counts by 1 / (1 - score), so that one that is the same picture decides alone. None where no neighbour is
        on the map.
        """
        place_of = {number: row for row, number in enumerate(self.ids.tolist())}
        known = [(place_of[number], score) for number, score in zip(ids, scores, strict=True) if number in place_of]
        if not known:
            return None
        rows = [row for row, _ in known]
        weights = [1 / max(1 - score, SAME) for _, score in known]
        return np.average(self.points[rows], axis=0, weights=weights).astype(np.float32), len(known)


def compute_map(
    gallery: Gallery,
    decoder: Decoder | None,
    *,
    method: Method = "pca",
    clusters: int | None = None,
    seed: int = SEED,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Map:
    """Lay all items out, find clusters, paint their prototypes, and keep it all.

    Args:
        gallery: The gallery.
        decoder: Paints the prototypes; None leaves them out.
        method: How the items are laid out.
        clusters: How many; else as many as suit the number of items or, by UMAP, as there are islands on the map.
        seed: Of what is left to chance; 0 to `MOST_SEEDS`. The same one draws the same map.
        reporter: Shows the progress.
        stop: When it is set, nothing is written.

    Raises:
        SettingsError: UMAP is not installed.
        Interrupted: `stop` was set.
    """
    segments = open_segments(gallery)
    reporter.say(f"Laying out {segments.count:,} items ({method}).")
    with reporter.task("Laying out", total=2 * segments.count) as task:
        reading = _Reading(segments, task, stop)
        survey = _survey(reading, gallery.dims, seed)
        centres = Centres(survey.sample, clusters or usual_clusters(segments.count), seed) if segments.count else None
        ids, points, found, projection = _lay_out(reading, survey, centres)
        del survey, centres
    by: Clustering = "k-means"
    if method == "umap" and len(ids) > NEIGHBOURS + 1:
        points, projection = _umap(segments, ids, points, seed, reporter, stop), projection[:0]
        seen = islands(points, seed) if clusters is None else None
        if seen is not None:
            found, by = seen, "hdbscan"
    found = np.unique(found, return_inverse=True)[1].astype(np.int32)  # an empty cluster is none
    with reporter.task("Finding the middles", total=2 * segments.count) as task:
        medoids = _medoids(_Reading(segments, task, stop), found, gallery.dims)
    prototypes = _prototypes(gallery, decoder, ids, found, len(medoids), reporter, stop)
    write_analysis(
        gallery,
        "map",
        segments.seq,
        {"method": method, "clustering": by, "seed": seed},
        ids=ids,
        points=points,
        clusters=found,
        medoids=medoids,
        prototypes=prototypes,
        projection=projection,
    )
    return read_map(gallery)


def read_map(gallery: Gallery) -> Map:
    """The map that was computed last, without the items that have left since.

    Raises:
        NotComputedError: There is none.
    """
    analysis = read_analysis(gallery, "map")
    arrays, facts = analysis.arrays, analysis.facts
    kept = np.isin(arrays["ids"], gallery.item_ids())
    return Map(
        facts["method"],
        facts.get("clustering", "k-means"),  # that of older maps
        facts["computed_at"],
        analysis.is_stale(gallery),
        arrays["ids"][kept],
        arrays["points"][kept],
        arrays["clusters"][kept],
        arrays["medoids"],
        arrays["prototypes"],
        arrays["projection"] if len(arrays.get("projection", ())) else None,  # older maps have none
    )


def read_clusters(gallery: Gallery) -> tuple[Ids, Clusters, Ids]:
    """The clusters of the map that was computed last: ids of items, rising, their clusters, and each cluster's medoid.

    Raises:
        NotComputedError: There is no map.
    """
    arrays = read_analysis(gallery, "map").arrays
    order = np.argsort(arrays["ids"])
    return arrays["ids"][order], arrays["clusters"][order], arrays["medoids"]


class _Reading:
    """The vectors of all items, read as often as is wanted."""

    def __init__(self, segments: Segments, task: Task, stop: StopRequest | None) -> None:
        self.count = segments.count
        self._segments = segments
        self._task = task
        self._stop = stop

    def blocks(self) -> Iterator[tuple[slice, Ids, Vectors]]:
        """Which items, their ids and vectors; in the same order each time."""
        row = 0
        for ids, vectors in vectors_in_blocks(self._segments, BLOCK):
            if self._stop is not None:
                self._stop.raise_if_set("Nothing was written.")
            yield slice(row, row + len(ids)), ids, vectors
            row += len(ids)
            self._task.advance(len(ids))


@dataclass(frozen=True)
class _Survey:
    """What the first look at all vectors finds."""

    mean: NDArray[np.float64]  # (dims,)
    axes: NDArray[np.float64]  # (dims, 2): along which they differ most; (dims, 1) where there is one dimension
    sample: Vectors


def _survey(reading: _Reading, dims: int, seed: int) -> _Survey:
    count = reading.count
    size = min(count, max(1, SAMPLE_BYTES // (4 * dims)))
    chosen = np.sort(np.random.default_rng(seed).choice(count, size, replace=False)) if count else np.empty(0, int)
    sample = np.empty((size, dims), np.float32)
    total, products = np.zeros(dims), np.zeros((dims, dims))
    for place, _, vectors in reading.blocks():
        total += vectors.sum(axis=0, dtype=np.float64)
        products += vectors.T @ vectors
        first, last = np.searchsorted(chosen, (place.start, place.stop))
        sample[first:last] = vectors[chosen[first:last] - place.start]
    mean = total / max(count, 1)
    axes = np.linalg.eigh(products / max(count, 1) - np.outer(mean, mean))[1][:, :-3:-1]
    # The sign of an axis is chance: the same gallery is to be drawn the same way.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1, 1)
    return _Survey(mean, axes, sample)


def _lay_out(
    reading: _Reading, survey: _Survey, centres: Centres | None
) -> tuple[Ids, Points, Clusters, NDArray[np.float32]]:
    """Ids of all items, where the two main axes put them, the centre that is nearest to each, and the projection."""
    ids = np.empty(reading.count, np.int64)
    points, found = np.zeros((reading.count, 2), np.float32), np.zeros(reading.count, np.int32)
    for place, some, vectors in reading.blocks():
        ids[place] = some
        points[place, : survey.axes.shape[1]] = (vectors - survey.mean) @ survey.axes
        if centres is not None:
            found[place] = centres.nearest(vectors)
    middle, half = _frame(points)
    projection = np.zeros((len(survey.axes) + 1, 2))
    projection[:-1, : survey.axes.shape[1]] = survey.axes / half
    projection[-1, : survey.axes.shape[1]] = -survey.mean @ survey.axes / half
    projection[-1] -= middle / half
    return ids, _framed(points), found, projection.astype(np.float32)


def _medoids(reading: _Reading, clusters: Clusters, dims: int) -> Ids:
    """The item in the middle of each cluster."""
    count = int(clusters.max()) + 1 if len(clusters) else 0
    means = np.zeros((count, dims))
    for place, _, vectors in reading.blocks():
        order = np.argsort(clusters[place], kind="stable")
        here, first = np.unique(clusters[place][order], return_index=True)
        means[here] += np.add.reduceat(vectors[order], first)
    # An embedding's length is 1, so the nearest one has the largest product.
    means = means.astype(np.float32)
    medoids, best = np.zeros(count, np.int64), np.full(count, -np.inf)
    for place, ids, vectors in reading.blocks():
        scores = np.einsum("nd,nd->n", vectors, means[clusters[place]])
        for cluster in np.unique(clusters[place]).tolist():
            rows = np.flatnonzero(clusters[place] == cluster)
            first = rows[scores[rows].argmax()]
            if scores[first] > best[cluster]:
                medoids[cluster], best[cluster] = ids[first], scores[first]
    return medoids


def can_draw_by_umap() -> bool:
    """Whether UMAP is installed."""
    return importlib.util.find_spec("umap") is not None


def _umap(
    segments: Segments, ids: Ids, start: Points, seed: int, reporter: Reporter, stop: StopRequest | None
) -> Points:
    order = np.argsort(ids)
    rising = ids[order]
    rows = np.empty((len(ids), NEIGHBOURS), np.int32)
    distances = np.empty((len(ids), NEIGHBOURS), np.float32)
    for block in all_neighbours(segments, NEIGHBOURS - 1, reporter=reporter, stop=stop):
        places = order[np.searchsorted(rising, block.ids)]
        rows[places, 0], distances[places, 0] = places, 0  # UMAP counts an item as its own first neighbour
        found = order[np.minimum(np.searchsorted(rising, block.neighbours), len(ids) - 1)]
        missing = block.neighbours == NOBODY
        rows[places, 1:] = np.where(missing, -1, found)
        distances[places, 1:] = np.where(missing, np.inf, np.maximum(1 - block.scores, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, and of a seed that keeps UMAP to one thread
        try:
            import umap
        except ModuleNotFoundError as error:
            raise SettingsError("UMAP is not installed: pip install 'lookalike[map]', or take --method pca.") from error
        reducer = umap.UMAP(
            n_neighbors=NEIGHBOURS,
            metric="cosine",
            precomputed_knn=(rows, distances),
            force_approximation_algorithm=True,  # else it looks for the neighbours of few items itself
            init=start * 10,
            random_state=seed,
        )
        # Of what it is given instead of the vectors it takes the number only: the neighbours are known.
        points: Any = reducer.fit_transform(start)
    return _framed(np.asarray(points, np.float32))


def _framed(points: Points) -> Points:
    """Points moved and scaled, both axes alike, so that they fill -1 to 1."""
    middle, half = _frame(points)
    framed: Points = ((points - middle) / half).astype(np.float32)
    return framed


def _frame(points: Points) -> tuple[Points, float]:
    """The middle of points, (2,), and half of the longer side of the box around them."""
    if len(points) == 0:
        return np.zeros(2, np.float32), 1.0
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, max(float((high - low).max()) / 2, 1e-9)


def _prototypes(
    gallery: Gallery,
    decoder: Decoder | None,
    ids: Ids,
    clusters: Clusters,
    count: int,
    reporter: Reporter,
    stop: StopRequest | None,
) -> Pixels:
    """What the decoder paints of the mean code of each cluster."""
    if decoder is None or count == 0:
        return np.empty((0, 0, 0, 3), np.uint8)
    chosen = _some_of_each(clusters)
    sums = np.zeros((count, gallery.latents(ids[chosen[:1]].tolist()).shape[1]))
    members = np.zeros(count)
    with reporter.task("Painting prototypes", total=len(chosen)) as task:
        for start in range(0, len(chosen), LATENTS_AT_ONCE):
            if stop is not None:
                stop.raise_if_set("Nothing was written.")
            some = chosen[start : start + LATENTS_AT_ONCE]
            there = {item.id for item in gallery.items_by_id(ids[some].tolist())}
            kept = some[[number in there for number in ids[some].tolist()]]
            np.add.at(sums, clusters[kept], gallery.latents(ids[kept].tolist()))
            np.add.at(members, clusters[kept], 1)
            task.advance(len(some))
    means = (sums / np.maximum(members, 1)[:, None]).astype(np.float32)
    return decoder.decode(means)


def _some_of_each(clusters: Clusters) -> Rows:
    """Rows of at most `PAINTED` items of each cluster, evenly spread."""
    order = np.argsort(clusters, kind="stable")
    first = np.searchsorted(clusters[order], np.arange(int(clusters.max()) + 2))
    parts = [
        order[np.linspace(start, end - 1, min(PAINTED, end - start)).astype(np.int64)]
        for start, end in itertools.pairwise(first.tolist())
    ]
    return np.sort(np.concatenate(parts))
