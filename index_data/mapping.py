"""The map: all items on a plane, those alike near each other, and clusters of them with what the decoder makes of each.

PCA is there in a moment; UMAP (extra `map`) draws neighbourhoods, on the neighbours that the index finds.
"""

import importlib.util
import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.sessions import Decoder
from index_data.analyses import read_analysis, write_analysis
from index_data.gallery import Gallery, Vectors
from index_data.generations import Ids
from index_data.indexes.library import load_faiss
from index_data.neighbours import all_neighbours, open_segments, vectors_in_blocks
from index_data.segments import Segments
from train.errors import SettingsError
from train.images import Pixels
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

Method = Literal["pca", "umap"]
Points = NDArray[np.float32]  # (n, 2), from -1 to 1

NEIGHBOURS = 15  # that UMAP keeps together
MOST_CLUSTERS, FEWEST_IN_A_CLUSTER = 32, 8
TRIES = 5  # of k-means, from other beginnings: the best one counts
SAMPLED = 100_000  # items that the clusters are found on; all are put into one
LATENTS_AT_ONCE = 1024
SEED = 0
MOST_SEEDS = 2**31 - 2  # FAISS takes an int


@dataclass(frozen=True, slots=True)
class Map:
    """Where each item lies, and to which cluster it belongs."""

    method: Method
    computed_at: str
    is_stale: bool  # the gallery has changed since
    ids: Ids
    points: Points
    clusters: NDArray[np.int32]  # (n,)
    medoids: Ids  # (clusters,): the item in the middle of each
    prototypes: Pixels  # (clusters, size, size, 3): their mean codes, painted; (0, 0, 0, 3) without a decoder


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
        clusters: How many; else as many as suit the number of items.
        seed: Of what is left to chance; 0 to `MOST_SEEDS`. The same one draws the same map.
        reporter: Shows the progress.
        stop: When it is set, nothing is written.

    Raises:
        SettingsError: UMAP is not installed.
        Interrupted: `stop` was set.
    """
    segments = open_segments(gallery)
    blocks = list(vectors_in_blocks(segments))
    ids = np.concatenate([np.empty(0, np.int64), *(some for some, _ in blocks)])
    vectors = np.concatenate([np.empty((0, gallery.dims), np.float32), *(some for _, some in blocks)])
    del blocks
    reporter.say(f"Laying out {len(ids):,} items ({method}).")
    points = _pca(vectors)
    if method == "umap" and len(ids) > NEIGHBOURS + 1:
        points = _umap(segments, ids, vectors, points, seed, reporter, stop)
    found, medoids = _clusters(ids, vectors, clusters or usual_clusters(len(ids)), seed)
    prototypes = _prototypes(gallery, decoder, ids, found, len(medoids), reporter, stop)
    write_analysis(
        gallery,
        "map",
        segments.seq,
        {"method": method, "seed": seed},
        ids=ids,
        points=points,
        clusters=found,
        medoids=medoids,
        prototypes=prototypes,
    )
    return read_map(gallery)


def read_map(gallery: Gallery) -> Map:
    """The map that was computed last, without the items that have left since.

    Raises:
        NotComputedError: There is none.
    """
    analysis = read_analysis(gallery, "map")
    arrays, facts = analysis.arrays, analysis.facts
    there = np.fromiter((number for (number,) in gallery.rows("SELECT id FROM items")), np.int64)
    kept = np.isin(arrays["ids"], there)
    return Map(
        facts["method"],
        facts["computed_at"],
        analysis.is_stale(gallery),
        arrays["ids"][kept],
        arrays["points"][kept],
        arrays["clusters"][kept],
        arrays["medoids"],
        arrays["prototypes"],
    )


def usual_clusters(count: int) -> int:
    """How many clusters suit a number of items."""
    return max(1, min(MOST_CLUSTERS, round(math.sqrt(count)), count // FEWEST_IN_A_CLUSTER))


def _pca(vectors: Vectors) -> Points:
    """The items on the two axes along which they differ most."""
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2), np.float32)
    mean = vectors.mean(axis=0)
    covariance = vectors.T @ vectors / len(vectors) - np.outer(mean, mean)
    axes = np.linalg.eigh(covariance.astype(np.float64))[1][:, :-3:-1]
    # The sign of an axis is chance: the same gallery is to be drawn the same way.
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1, 1)
    points = (vectors - mean) @ axes.astype(np.float32)
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 1)))
    return _framed(points)


def can_draw_by_umap() -> bool:
    """Whether UMAP is installed."""
    return importlib.util.find_spec("umap") is not None


def _umap(
    segments: Segments,
    ids: Ids,
    vectors: Vectors,
    start: Points,
    seed: int,
    reporter: Reporter,
    stop: StopRequest | None,
) -> Points:
    row_of = {number: row for row, number in enumerate(ids.tolist())}
    rows = np.empty((len(ids), NEIGHBOURS), np.int64)
    distances = np.empty((len(ids), NEIGHBOURS), np.float32)
    for block in all_neighbours(segments, NEIGHBOURS - 1, reporter=reporter, stop=stop):
        places = [row_of[number] for number in block.ids.tolist()]
        rows[places, 0], distances[places, 0] = places, 0  # UMAP counts an item as its own first neighbour
        rows[places, 1:] = [[row_of[number] for number in some] for some in block.neighbours.tolist()]
        distances[places, 1:] = np.maximum(1 - block.scores, 0)
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
            init=start * 10,
            random_state=seed,
        )
        points: Any = reducer.fit_transform(vectors)
    return _framed(np.asarray(points, np.float32))


def _framed(points: Points) -> Points:
    """Points moved and scaled, both axes alike, so that they fill -1 to 1."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-9)
    framed: Points = ((points - (low + high) / 2) / half).astype(np.float32)
    return framed


def _clusters(ids: Ids, vectors: Vectors, count: int, seed: int) -> tuple[NDArray[np.int32], Ids]:
    """k-means on the sphere: the cluster of each item, and the item nearest to the middle of each."""
    if len(ids) == 0:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    faiss = load_faiss()
    count = min(count, len(ids))
    sample = vectors
    if len(ids) > SAMPLED:
        sample = vectors[np.random.default_rng(seed).choice(len(ids), SAMPLED, replace=False)]
    kmeans = faiss.Kmeans(
        vectors.shape[1], count, niter=20, nredo=TRIES, seed=seed + 1, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(np.ascontiguousarray(sample))
    scores, nearest = kmeans.index.search(np.ascontiguousarray(vectors), 1)
    used, found = np.unique(nearest[:, 0], return_inverse=True)  # an empty cluster is none
    best = np.lexsort((-scores[:, 0], found))
    first = np.searchsorted(found[best], np.arange(len(used)))
    return found.astype(np.int32), ids[best[first]]


def _prototypes(
    gallery: Gallery,
    decoder: Decoder | None,
    ids: Ids,
    clusters: NDArray[np.int32],
    count: int,
    reporter: Reporter,
    stop: StopRequest | None,
) -> Pixels:
    """What the decoder paints of the mean code of each cluster."""
    if decoder is None or count == 0:
        return np.empty((0, 0, 0, 3), np.uint8)
    sums: Any = None
    members = np.zeros(count)
    with reporter.task("Painting prototypes", total=len(ids)) as task:
        for start in range(0, len(ids), LATENTS_AT_ONCE):
            if stop is not None:
                stop.raise_if_set("Nothing was written.")
            some = slice(start, start + LATENTS_AT_ONCE)
            there = {item.id for item in gallery.items_by_id(ids[some].tolist())}
            kept = [row for row, number in enumerate(ids[some].tolist()) if number in there]
            latents = gallery.latents(ids[some][kept].tolist())
            sums = np.zeros((count, latents.shape[1])) if sums is None else sums
            np.add.at(sums, clusters[some][kept], latents)
            np.add.at(members, clusters[some][kept], 1)
            task.advance(len(kept))
    means = (sums / np.maximum(members, 1)[:, None]).astype(np.float32)
    return decoder.decode(means)
