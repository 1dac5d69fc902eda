"""Ways between two latents: what lies between two pictures. Free of PyTorch: training's sheets and serving share it."""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Latents = NDArray[np.float32]  # (n, dims)
Path = Literal["lerp", "slerp"]

_PARALLEL = 1e-6  # sine of an angle below which a great circle is a line, or not defined


def interpolate(a: ArrayLike, b: ArrayLike, times: ArrayLike, *, path: Path, semantic_dims: int = 0) -> Latents:
    """Latents on the way from one latent to another.

    The semantic and the pixel half go each their own way, because the model measures them apart (each is scaled to
    length 1 in the embedding).

    Args:
        a: Where the way begins, (dims,).
        b: Where it ends, (dims,).
        times: From 0 (exactly `a`) to 1 (exactly `b`), (n,).
        path: lerp is the straight line, on which the middle is shorter than the ends: paler pictures. slerp turns at
            even angular speed while the length goes evenly from one to the other.
        semantic_dims: How many of the first dimensions are semantic.

    Returns:
        (n, dims).

    Source: slerp: Shoemake, "Animating rotation with quaternion curves", 1985.
    """
    first, last = np.asarray(a, np.float64), np.asarray(b, np.float64)
    steps = np.asarray(times, np.float64)[:, None]
    way = _slerp if path == "slerp" else _lerp
    halves = [slice(0, semantic_dims), slice(semantic_dims, None)]
    return np.concatenate([way(first[half], last[half], steps) for half in halves], axis=1).astype(np.float32)


def interpolate_along(stops: Sequence[ArrayLike], times: ArrayLike, *, path: Path, semantic_dims: int = 0) -> Latents:
    """Latents on the way past several latents, which takes as long from each to the next.

    Args:
        stops: Where the way leads, in their order, two or more of (dims,).
        times: From 0 (exactly the first) to 1 (exactly the last), (n,).
        path: Of each leg, see `interpolate`.
        semantic_dims: How many of the first dimensions are semantic.

    Returns:
        (n, dims).
    """
    legs = len(stops) - 1
    # Rounded: a third of three legs has to be the second stop exactly, and not one rounding beside it.
    places = np.round(np.asarray(times, np.float64) * legs, 9)
    leg = np.minimum(places.astype(int), legs - 1)
    latents = np.empty((len(places), len(np.asarray(stops[0]))), np.float32)
    for number, (a, b) in enumerate(itertools.pairwise(stops)):
        here = leg == number
        latents[here] = interpolate(a, b, places[here] - number, path=path, semantic_dims=semantic_dims)
    return latents


def _lerp(a: NDArray[np.float64], b: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 - t) * a + t * b


def _slerp(a: NDArray[np.float64], b: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    if length_a == 0 or length_b == 0:
        return _lerp(a, b, t)
    direction_a, direction_b = a / length_a, b / length_b
    angle = np.arccos(np.clip(direction_a @ direction_b, -1, 1))
    if np.sin(angle) < _PARALLEL:
        return _lerp(a, b, t)
    directions = (np.sin((1 - t) * angle) * direction_a + np.sin(t * angle) * direction_b) / np.sin(angle)
    return np.asarray(directions * ((1 - t) * length_a + t * length_b))
