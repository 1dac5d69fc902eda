"""The linear map of the semantic half, in closed form: directions along which images differ and their views do not.

With C the covariance of the features of images, and W that of views about the mean of their image, the directions r
solve C r = e W r: e is how much more images differ than views of one image. Views stand where linear discriminant
analysis has classes, so that no label is needed.
"""

import numpy as np
import torch
from torch import Tensor

from train.architectures.similarity import SemanticEncoder
from train.data import Data, batches, evenly
from train.interruption import StopRequest
from train.neighbours import keep_neighbours
from train.progress import Reporter
from train.views import Views

FITTED_IMAGES = 5000  # whose features are looked at, at most
LEARNT_IMAGES = 10_000  # the same, where the map is learnt
VIEWED_IMAGES = 1500  # of them, whose views are
VIEWS_EACH = 4
KEPT = 1024  # principal directions of the features, in which the map is found: 3,584 cubed operations are too many
POWER_ITERATIONS = 2  # of the randomised method that finds them
RIDGE = 0.1  # of the mean variance of a feature, added to the variances of views
SMALLEST_RATIO = 1e-6


def fit_semantic_half(
    encoder: SemanticEncoder,
    data: Data,
    views: Views,
    *,
    mirror: bool,
    whitening: float,
    neighbours: int,
    seed: int,
    device: torch.device,
    reporter: Reporter,
    stop: StopRequest,
) -> None:
    """Set mean, scale and projection of an encoder whose filters and trunk are there.

    Args:
        encoder: Whose map it is.
        data: Its training images are looked at.
        views: What the half is to be invariant to.
        mirror: Mirrored images too.
        whitening: Power of e that divides the square of a direction's length: 0 leaves directions that tell images
            apart best with the largest say (best for a thousand photos), 1 gives all the same (best for many images).
        neighbours: Numbers of the closed form whose neighbours the half is to keep (train/neighbours.py); where they
            are no more than it has, the closed form is the map.
        seed: Of the views and of what is learnt.
        device: To work on.
        reporter: Told how far it is.
        stop: Looked at between two batches.
    """
    dims = len(encoder.projection)
    most = LEARNT_IMAGES if neighbours > dims else FITTED_IMAGES
    features, viewed = _look(encoder, data, views, mirror, most, seed, device, reporter, stop)
    mean = features.mean(0)
    scale = _scales(features - mean, encoder)
    centred = (features - mean) * scale
    kept = _principal_directions(centred, seed)
    centred = centred @ kept
    between = centred.T @ centred / len(centred)
    apart = ((viewed - viewed.mean(0)) * scale) @ kept
    within = sum(each.T @ each for each in apart) / max((len(apart) - 1) * apart.shape[1], 1)
    found = directions(between.double(), torch.as_tensor(within).double(), max(dims, neighbours), whitening).float()
    projection = found[:dims]
    if len(found) > dims:
        projection = keep_neighbours(centred @ found.T, dims, seed, reporter, stop) @ found
    # A mean square of 1, as the pixel half has: noise and mixtures are then of one size in both.
    spread = (centred @ projection.T).square().mean().sqrt()
    encoder.mean.copy_(mean)
    encoder.scale.copy_(scale)
    # Fewer images than numbers tell apart fewer directions: the other numbers say nothing.
    encoder.projection.zero_()
    encoder.projection[: len(projection)] = projection @ kept.T / spread.clamp_min(1e-12)


def directions(between: Tensor, within: Tensor, dims: int, whitening: float) -> Tensor:
    """Rows r with r W r' = e ** -whitening and the largest e = (r C r') / (r W r'): (dims, features).

    Args:
        between: C, (features, features).
        within: W, the same.
        dims: How many.
        whitening: From 0 to 1.
    """
    ridge = RIDGE * between.diagonal().mean().clamp_min(1e-12)
    lower = torch.linalg.cholesky(within + ridge * torch.eye(len(within), dtype=within.dtype))
    half = torch.linalg.solve_triangular(lower, between, upper=False)
    ratios, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(lower, half.T, upper=False))
    found = torch.linalg.solve_triangular(lower.T, vectors.flip(1)[:, :dims], upper=True)
    strength = ratios.flip(0)[:dims].clamp_min(SMALLEST_RATIO)
    rows: Tensor = (found * strength ** (-whitening / 2)).T
    return rows


def _principal_directions(centred: Tensor, seed: int) -> Tensor:
    """Directions of greatest variance of rows (n, features): (features, KEPT), or fewer where the rows are few."""
    count = min(KEPT, *centred.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.svd_lowrank(centred, q=count, niter=POWER_ITERATIONS)[2]


@torch.no_grad()
def _look(
    encoder: SemanticEncoder,
    data: Data,
    views: Views,
    mirror: bool,
    most: int,
    seed: int,
    device: torch.device,
    reporter: Reporter,
    stop: StopRequest,
) -> tuple[Tensor, Tensor]:
    """Features of `most` images, (n, features), and of views of some of them, (VIEWS_EACH, m, features)."""
    rows = evenly(data.train, most)
    some = evenly(rows, VIEWED_IMAGES)
    random = torch.Generator().manual_seed(seed)
    encoder.to(device)
    found: list[Tensor] = []
    viewed: list[list[Tensor]] = [[] for _ in range(VIEWS_EACH)]
    with reporter.task("views", len(rows) + VIEWS_EACH * len(some), "images") as task:
        for batch in batches(rows):
            found.append(encoder.features(data.tensor(batch, device)).cpu())
            task.advance(len(batch))
            stop.raise_if_set("nothing was trained yet: the same command begins anew.")
        for batch in batches(some):
            x = data.tensor(batch, device)
            for kept in viewed:
                kept.append(encoder.features(views(x, random, mirror=mirror)).cpu())
            task.advance(VIEWS_EACH * len(batch))
            stop.raise_if_set("nothing was trained yet: the same command begins anew.")
    return torch.cat(found), torch.stack([torch.cat(kept) for kept in viewed])


def _scales(centred: Tensor, encoder: SemanticEncoder) -> Tensor:
    """A factor for each feature that gives each kind of them a total variance of 1, colours times their weight."""
    weights = (1.0, encoder.colour, 1.0)
    parts = torch.split(centred, list(encoder.widths), dim=1)
    scales = [
        torch.full((part.shape[1],), weight / float(np.sqrt(max(float(part.square().sum(1).mean()), 1e-12))))
        for part, weight in zip(parts, weights, strict=True)
    ]
    return torch.cat(scales)
