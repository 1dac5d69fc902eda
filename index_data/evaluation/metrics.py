"""What answers and embeddings are measured by: pure functions, each with the source of its formula.

Scores are cosines, embeddings have length 1. All of it is deterministic: chance comes in as a seed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

BOOTSTRAP_DRAWS = 1000
EDGES = (0.025, 0.975)  # of the interval
SPECTRUM_PICTURES = 8192  # from which a spectrum is taken: twenty times as many dimensions as most models have


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and how far the choice of the queries may move it."""

    value: float
    low: float  # bootstrap interval, 95 %
    high: float

    def to_json(self) -> dict[str, float]:
        """For --json."""
        return {"value": round(self.value, 5), "low": round(self.low, 5), "high": round(self.high, 5)}


def bootstrap(columns: Mapping[str, NDArray[np.floating]], seed: int) -> dict[str, Estimate]:
    """Means with percentile intervals, from `BOOTSTRAP_DRAWS` samples of the queries with replacement.

    Args:
        columns: One value for each query, (queries,); all of one length, at least 1.
        seed: Of the samples, which are the same for all columns: two of them can be compared.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 13.3.
    """
    names = list(columns)
    values = np.stack([np.asarray(columns[name], np.float64) for name in names], axis=1)
    random = np.random.default_rng([seed, 4])
    count = len(values)
    means = np.empty((BOOTSTRAP_DRAWS, len(names)))
    for draw in range(BOOTSTRAP_DRAWS):
        times = np.bincount(random.integers(0, count, count), minlength=count)
        means[draw] = times @ values / count
    low, high = np.quantile(means, EDGES, axis=0)
    middle = values.mean(axis=0)
    return {
        name: Estimate(float(middle[column]), float(low[column]), float(high[column]))
        for column, name in enumerate(names)
    }


# --- Ranked answers -------------------------------------------------------------------------------------------------


def average_precisions(relevant: NDArray[np.bool_], most: int | None = None) -> Doubles:
    """Average precision of each query, from what was found best first.

    Args:
        relevant: Whether each picture is of the query's kind, in the order of the answer, (queries, pictures); every
            query has one at least.
        most: Only so many neighbours are looked at; a query is then perfect when all of them, or all that there are,
            are relevant.

    Returns:
        (queries,): the mean precision over the ranks of the relevant pictures.

    Source: Manning et al., Introduction to Information Retrieval, 8.4; cut off: Philbin et al. 2007, divided by the
    smaller of `most` and the number of relevant pictures, as in Weyand et al. 2020 (Google Landmarks v2).
    """
    seen = relevant if most is None else relevant[:, :most]
    # Only right answers count, and they are few: each one's precision is its number among them over its rank.
    rows, places = np.nonzero(seen)
    numbers = np.arange(len(rows)) - np.searchsorted(rows, rows) + 1
    sums = np.bincount(rows, numbers / (places + 1), minlength=len(seen))
    total = relevant.sum(axis=1)
    best = total if most is None else np.minimum(total, most)
    return np.asarray(sums / np.maximum(best, 1), np.float64)


def r_precisions(relevant: NDArray[np.bool_]) -> Doubles:
    """Share of relevant pictures among the first R, R being how many there are; (queries, pictures) -> (queries,).

    Source: Manning et al., Introduction to Information Retrieval, 8.4.
    """
    total = relevant.sum(axis=1)
    among = relevant & (np.arange(relevant.shape[1]) < total[:, None])
    found: Doubles = among.sum(axis=1) / np.maximum(total, 1)
    return found


def found_within(relevant: NDArray[np.bool_], most: int) -> Doubles:
    """Recall@k as retrieval papers have it: 1 where one relevant picture at least is among the first, else 0.

    Source: Jegou et al. 2011, Product quantization for nearest neighbor search; Musgrave et al. 2020.
    """
    return np.asarray(relevant[:, :most].any(axis=1), np.float64)


def precision_within(relevant: NDArray[np.bool_], most: int) -> Doubles:
    """Share of relevant pictures among the first `most`, or among all where there are fewer."""
    among = relevant[:, :most]
    found: Doubles = np.asarray(among.sum(axis=1) / max(among.shape[1], 1))
    return found


def vote(scores: Floats, labels: Rows, classes: int, temperature: float) -> Rows:
    """The label that the nearest neighbours choose, each with the weight exp(score / temperature).

    Args:
        scores: Cosines of the k nearest, (queries, k).
        labels: Their labels, (queries, k).
        classes: How many labels there are.
        temperature: .07 or .1.

    Returns:
        (queries,); of labels with equally many votes the smaller one.

    Source: Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 3.4.
    """
    # Weights relative to the best one: exp(1 / .07) would still do, but not at smaller temperatures.
    weights = np.exp((scores - scores[:, :1]).astype(np.float64) / temperature)
    cells = np.arange(len(labels))[:, None] * classes + labels
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=len(labels) * classes)
    chosen: Rows = votes.reshape(len(labels), classes).argmax(axis=1)
    return chosen


# --- One threshold for all ------------------------------------------------------------------------------------------


def micro_average_precision(above: Rows) -> float:
    """Average precision of all answers of all queries in one list: one threshold decides for every query.

    Args:
        above: For each right pair (every query has one), how many pairs of all queries score at least as much as it,
            itself among them, (queries,).

    Source: Perronnin et al. 2009, A family of contextual measures of similarity; used as uAP by the Image Similarity
    Challenge (Douze et al. 2021). Equal scores stand together, as in scikit-learn's average_precision_score.
    """
    return float(precisions_at_right_pairs(above).mean())


def precisions_at_right_pairs(above: Rows) -> Doubles:
    """Precision at the threshold of each right pair, best pair first; `above` as for `micro_average_precision`."""
    ranks = np.sort(above)
    # Of right pairs with one score, all count at once.
    right = np.searchsorted(ranks, ranks, side="right")
    return np.asarray(right / ranks, np.float64)


def best_threshold(copies: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """The score that tells copies from other pictures best: largest share of copies above plus share of others below.

    Args:
        copies: Scores of copies with their originals, (n,).
        others: Scores of pictures with the nearest picture that is no copy of theirs, (m,).

    Returns:
        The middle of the gap between two scores that occur.

    Source: Youden 1950, Index for rating diagnostic tests.
    """
    candidates = np.unique(np.concatenate([copies, others]).astype(np.float64))
    copies_below = np.searchsorted(np.sort(copies), candidates, side="left") / len(copies)
    others_below = np.searchsorted(np.sort(others), candidates, side="left") / len(others)
    gain = others_below - copies_below
    best = np.flatnonzero(gain == gain.max())
    above = candidates[best[-1]]
    below = candidates[best[-1] - 1] if best[-1] else above
    return float((above + below) / 2)


# --- What a set of embeddings looks like ----------------------------------------------------------------------------


def rank_me(embeddings: Floats) -> float:
    """Effective number of dimensions: exp of the entropy of the singular values' shares, from 1 to `dims`.

    Args:
        embeddings: (n, dims); at least as many rows as dimensions, else the rows bound it.

    Source: Garrido et al. 2023, RankMe; Roy and Vetterli 2007, The effective rank.
    """
    values = np.linalg.svd(embeddings[:SPECTRUM_PICTURES].astype(np.float64), compute_uv=False)
    shares = values / max(values.sum(), 1e-12) + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alpha_req(embeddings: Floats) -> float:
    """How fast the variances of the principal components fall: the exponent of a power law fitted to them.

    About 1 is good; far above, a few dimensions hold everything; far below, all of them are alike, as in noise.

    Source: Agrawal et al. 2022, alpha-ReQ; Stringer et al. 2019. The line is fitted by least squares through the
    logarithms, each rank weighted by 1 / rank, as in the reference implementation's fit over log-spaced ranks.
    """
    centred = embeddings[:SPECTRUM_PICTURES].astype(np.float64)
    centred = centred - centred.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    variances = variances[variances > 1e-10 * max(variances[0], 1e-300)] if len(variances) else variances
    if len(variances) < 3:
        return math.inf
    ranks = np.arange(1, len(variances) + 1)
    slope, _ = np.polyfit(np.log(ranks), np.log(variances), 1, w=1 / np.sqrt(ranks))
    return float(-slope)


def alignment(of_originals: Floats, of_copies: Floats) -> float:
    """Mean squared distance of a picture and its copy: 0 is best, 2 is chance.

    Source: Wang and Isola 2020, Understanding Contrastive Representation Learning through Alignment and Uniformity.
    """
    return float(np.square(of_originals - of_copies, dtype=np.float64).sum(axis=1).mean())


def uniformity(scores: NDArray[np.floating]) -> float:
    """How evenly embeddings fill the sphere: log of the mean of exp(-2 d^2) over random pairs; lower is more even.

    Args:
        scores: Cosines of random pairs, (n,); d^2 = 2 - 2 * cosine.

    Source: Wang and Isola 2020. 0: all in one point; about -4: even, in hundreds of dimensions.
    """
    return float(np.log(np.exp(-4 * (1 - scores.astype(np.float64))).mean()))


@dataclass(frozen=True)
class Hubness:
    """How unevenly pictures turn up as neighbours of others."""

    skewness: float  # of the number of times that each one is among the k nearest
    anti_hubs: float  # share that is nobody's neighbour: it can be found only by itself
    largest: int  # times that the most frequent neighbour turns up


def hubness(neighbours: Rows, count: int) -> Hubness:
    """How unevenly neighbours are spread.

    Args:
        neighbours: The k nearest of each picture, without itself, (count, k).
        count: Pictures.

    Source: Radovanovic et al. 2010, Hubs in Space: the skewness of N_k.
    """
    times = np.bincount(neighbours.ravel(), minlength=count).astype(np.float64)
    deviation = times.std()
    skewness = float(((times - times.mean()) ** 3).mean() / deviation**3) if deviation > 0 else 0.0
    return Hubness(skewness, float((times == 0).mean()), int(times.max()))


# --- Pictures -------------------------------------------------------------------------------------------------------


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in decibels of a squared error of values from 0 to 1; 100 for equal pictures."""
    return -10 * math.log10(max(mse, 1e-10))


SSIM_SIDE = 7  # px of the window
_LUMINANCE_FLOOR, _CONTRAST_FLOOR = 0.01**2, 0.03**2  # K1 and K2 of the paper, for values from 0 to 1


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Doubles:
    """Structural similarity of pictures (n, h, w, 3), one by one: 1 where they are equal.

    The mean over colours and over all windows of 7 x 7 pixels that lie inside, which count evenly.

    Source: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, with the window
    and the unbiased variances of scikit-image's structural_similarity.
    """
    side = min(SSIM_SIDE, *a.shape[1:3])
    count = side * side
    unbiased = count / max(count - 1, 1)
    x, y = a.astype(np.float64) / 255, b.astype(np.float64) / 255
    mean_x, mean_y = _window_means(x, side), _window_means(y, side)
    var_x = unbiased * (_window_means(x * x, side) - mean_x**2)
    var_y = unbiased * (_window_means(y * y, side) - mean_y**2)
    both = unbiased * (_window_means(x * y, side) - mean_x * mean_y)
    top = (2 * mean_x * mean_y + _LUMINANCE_FLOOR) * (2 * both + _CONTRAST_FLOOR)
    bottom = (mean_x**2 + mean_y**2 + _LUMINANCE_FLOOR) * (var_x + var_y + _CONTRAST_FLOOR)
    similar: Doubles = (top / bottom).mean(axis=(1, 2, 3))
    return similar


def _window_means(x: Doubles, side: int) -> Doubles:
    """Means over all windows inside, by sums of sums."""
    for axis in (1, 2):
        sums = np.cumsum(x, axis=axis)
        first = np.take(sums, [side - 1], axis=axis)
        count = x.shape[axis]
        rest = np.take(sums, range(side, count), axis=axis) - np.take(sums, range(count - side), axis=axis)
        x = np.concatenate([first, rest], axis=axis) / side
    return x


def laplacian_energy(pixels: NDArray[np.uint8]) -> Doubles:
    """How much fine detail pictures (n, h, w, 3) have: mean square of the 4-neighbour Laplacian, values from 0 to 1."""
    x = pixels.astype(np.float64) / 255
    inner = x[:, 1:-1, 1:-1]
    second = 4 * inner - x[:, :-2, 1:-1] - x[:, 2:, 1:-1] - x[:, 1:-1, :-2] - x[:, 1:-1, 2:]
    energy: Doubles = np.square(second).mean(axis=(1, 2, 3))
    return energy
