"""How well clusters agree with labels: k-means on the sphere, HDBSCAN over principal components and over UMAP's plane.

    python -m benchmarks.clusters FOLDER --model BUNDLE     (FOLDER has a folder for each label)

NMI and ARI are over all items; purity is over those that are in a cluster. `attached`: what HDBSCAN leaves out belongs
to the nearest cluster, as on the map.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from export.bundle import Bundle
from export.sessions import Encoder
from index_data.clustering import CORE, FEWEST_IN_A_CLUSTER, MOST_ISLANDS, Centres, islands, usual_clusters
from index_data.gallery import Vectors
from train.decoding import Decoded, DecodePool
from train.images import FOLDER_LIMITS

AT_ONCE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    import umap

    vectors, labels = embedded(asked.folder, Bundle.open(asked.model))
    count, fewest = len(labels), max(FEWEST_IN_A_CLUSTER, len(labels) // MOST_ISLANDS)
    print(f"{count:,} pictures, {len(set(labels))} labels")
    print("| | clusters | nowhere | NMI | ARI | purity |\n|---|---|---|---|---|---|")
    for clusters in sorted({usual_clusters(count), len(set(labels))}):
        report("k-means on the sphere", labels, Centres(vectors, clusters, 0).nearest(vectors))
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    hdbscan = HDBSCAN(min_cluster_size=fewest, min_samples=CORE, copy=True)
    for dims in (2, 8, 32):
        report(f"HDBSCAN, {dims} components", labels, hdbscan.fit_predict(centred @ axes[:dims].T))
    plane = umap.UMAP(n_neighbors=15, metric="cosine", random_state=0).fit_transform(vectors).astype(np.float32)
    report("HDBSCAN on UMAP's plane", labels, hdbscan.fit_predict(plane))
    attached = islands(plane, seed=0)
    if attached is not None:
        report("the same, attached", labels, attached)


def embedded(folder: Path, bundle: Bundle) -> tuple[Vectors, list[str]]:
    """The embeddings of all pictures that can be read, and the names of their folders."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    encoder = Encoder.open(bundle, provider="cpu")
    with DecodePool(2, FOLDER_LIMITS) as pool:
        outcomes = pool.map(lambda path: pool.fit(path.read_bytes(), bundle.preprocessing), files)
        good = [(path.parent.name, outcome.pixels) for path, outcome in outcomes if isinstance(outcome, Decoded)]
    pixels = np.stack([each for _, each in good])
    parts = [encoder.encode(pixels[start : start + AT_ONCE]).embeddings for start in range(0, len(pixels), AT_ONCE)]
    return np.concatenate(parts), [name for name, _ in good]


def report(name: str, labels: list[str], found: np.ndarray) -> None:
    """Print a row of the table."""
    truth = np.unique(labels, return_inverse=True)[1]
    inside = found >= 0
    majority = sum(np.bincount(truth[found == cluster]).max() for cluster in np.unique(found[inside]))
    agreement = normalized_mutual_info_score(truth, found), adjusted_rand_score(truth, found)
    figures = [f"{value:.3f}" for value in (*agreement, majority / max(inside.sum(), 1))]
    print(f"| {name} | {len(np.unique(found[inside]))} | {1 - inside.mean():.0%} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
