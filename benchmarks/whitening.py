"""Which power of a component's deviation should divide it, and whether mirrored components help to search.

    python -m benchmarks.whitening FOLDER [--image-size 64]

FOLDER has one folder of images for each class. Prints precision@10 over all images for cosine neighbours of PCA codes;
nothing is trained. "mirrored" are components of images and mirror images, the antisymmetric ones by their magnitude.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
DIMS = (64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image-size", type=int, default=64)
    arguments = parser.parse_args()
    images, classes = read(arguments.folder, arguments.image_size)
    print(f"{len(images)} images of {arguments.image_size} px in {len(set(classes.tolist()))} classes, precision@10")
    print("components  dims " + "".join(f"  s^{power:<4}" for power in POWERS))
    for mirror in (False, True):
        for dims in DIMS:
            row = "".join(f"  {precision(images, classes, dims, power, mirror=mirror):.4f}" for power in POWERS)
            print(f"{'mirrored' if mirror else 'plain':<10} {dims:>5} {row}")


def read(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images of a folder and the number of each one's class."""
    from train.image_cache import FolderPictures, ImageCache
    from train.images import Preprocessing
    from train.interruption import StopRequest
    from train.progress import Reporter

    with tempfile.TemporaryDirectory() as place:
        cache = ImageCache(Path(place), Preprocessing(size))
        cache.fill(FolderPictures(folder), workers=2, reporter=Reporter(), stop=StopRequest())
        folders = [str(Path(record["path"]).parent) for record in cache.records() if record["fate"] == "stored"]
        return np.array(cache.pixels()), np.unique(folders, return_inverse=True)[1]


def precision(images: np.ndarray, classes: np.ndarray, dims: int, power: float, *, mirror: bool) -> float:
    """Share of the 10 nearest other images that are of the query's class."""
    import torch

    from train import pca
    from train.architectures.principal import unit

    found = pca.principal_components(images, np.arange(len(images)), dims, mirror=mirror)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().flatten(1) / 255
    coordinates = (x - torch.from_numpy(found.mean)) @ torch.from_numpy(found.basis).T
    folded = torch.where(torch.from_numpy(found.antisymmetric) > 0, coordinates.abs(), coordinates)
    embeddings = unit((folded - folded.mean(0)) / torch.from_numpy(found.deviations) ** power)
    scores = (embeddings @ embeddings.T).fill_diagonal_(-2)
    nearest = scores.topk(10, dim=1).indices.numpy()
    return float((classes[nearest] == classes[:, None]).mean())


if __name__ == "__main__":
    main()
