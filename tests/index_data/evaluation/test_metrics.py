"""What is measured is what the formulas say: against cases done by hand, and against scikit-learn."""

import numpy as np
import pytest

from index_data.evaluation.copies import ranks_of_originals
from index_data.evaluation.metrics import (
    alignment,
    alpha_req,
    average_precisions,
    best_threshold,
    bootstrap,
    found_within,
    hubness,
    laplacian_energy,
    micro_average_precision,
    precision_within,
    r_precisions,
    rank_me,
    ssim,
    uniformity,
    vote,
)
from index_data.evaluation.principal_axes import PrincipalAxes, flat
from index_data.evaluation.ranking import nearest, ranked_blocks, unit
from index_data.weighting import ONE_PART, Halves

ANSWERS = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 1]], bool)  # best first


def random_units(count: int, dims: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dims)))


def test_average_precision_is_the_mean_precision_at_the_right_answers():
    assert average_precisions(ANSWERS) == pytest.approx([(1 + 2 / 3) / 2, (1 / 4 + 2 / 5) / 2])


def test_cut_off_average_precision_is_perfect_when_all_that_could_be_found_is():
    assert average_precisions(ANSWERS, 3) == pytest.approx([(1 + 2 / 3) / 2, 0])
    assert average_precisions(np.ones((1, 9), bool), 3) == pytest.approx([1])


def test_precision_recall_and_r_precision_by_hand():
    assert precision_within(ANSWERS, 2) == pytest.approx([0.5, 0])
    assert found_within(ANSWERS, 1).tolist() == [1, 0]
    assert found_within(ANSWERS, 4).tolist() == [1, 1]
    assert r_precisions(ANSWERS) == pytest.approx([0.5, 0])


def test_fewer_pictures_than_are_looked_at_are_all_looked_at():
    assert precision_within(ANSWERS, 100) == pytest.approx([0.4, 0.4])
    assert average_precisions(ANSWERS, 100) == pytest.approx(average_precisions(ANSWERS))


def test_a_near_neighbour_outvotes_two_far_ones_only_at_a_low_temperature():
    scores = np.array([[0.9, 0.84, 0.84]], np.float32)
    labels = np.array([[0, 1, 1]])
    assert vote(scores, labels, 2, 0.07).tolist() == [0]
    assert vote(scores, labels, 2, 0.1).tolist() == [1]


def test_votes_are_those_of_scikit_learn():
    neighbours = pytest.importorskip("sklearn.neighbors")
    pictures, queries = random_units(300, 8), random_units(50, 8, seed=1)
    labels = np.random.default_rng(2).integers(0, 4, 300)

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / 0.07)

    model = neighbours.KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights=weights)
    expected = model.fit(pictures, labels).predict(queries)
    found, scores = nearest(queries, pictures, 20)
    assert vote(scores, labels[found], 4, 0.07).tolist() == expected.tolist()


def test_average_precision_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    relevant = random.random((20, 60)) < 0.2
    relevant[:, 0] |= ~relevant.any(axis=1)
    falling = np.arange(60, 0, -1)
    expected = [metrics.average_precision_score(row, falling) for row in relevant]
    assert average_precisions(relevant) == pytest.approx(expected)


def test_one_threshold_for_all_is_what_scikit_learn_finds_in_one_long_list():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(4)
    scores = np.round(random.random((30, 40)), 2)  # rounded: with equal scores
    right = np.zeros(scores.shape, bool)
    right[np.arange(30), random.integers(0, 40, 30)] = True
    above = np.array([(scores >= score).sum() for score in scores[right]])
    expected = metrics.average_precision_score(right.ravel(), scores.ravel())
    assert micro_average_precision(above) == pytest.approx(expected)


def test_an_embedding_that_is_always_the_same_finds_no_original():
    same = np.tile(unit(np.ones((1, 4))), (10, 1))
    for halves in (ONE_PART, Halves(2, 1.0)):
        ranks, _ = ranks_of_originals(same, same, np.arange(10), halves)
        assert ranks.tolist() == [10] * 10


@pytest.mark.parametrize("block", [1, 7, 100, 10_000])
def test_rankings_do_not_depend_on_how_many_scores_are_held(block):
    pictures = random_units(40, 5)
    pictures[7] = pictures[3]  # equal scores: the lower number first
    own = np.arange(40)
    order = np.concatenate([ranked.order for ranked in ranked_blocks(pictures, pictures, own, k=5, block=block)])
    scores = np.round(pictures @ pictures.T, 6)
    np.fill_diagonal(scores, -2)
    assert (order == np.argsort(-scores, axis=1, kind="stable")[:, :-1]).all()


def test_negative_scores_and_zeros_are_ranked_like_all_others():
    pictures = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.6, 0.8]], np.float32)
    (ranked,) = ranked_blocks(pictures[:1], pictures, k=5)
    assert ranked.order.tolist() == [[0, 4, 1, 3, 2]]
    assert ranked.scores == pytest.approx(np.array([[1, 0.6, 0, 0, -1]]))


def test_the_nearest_are_the_first_of_all():
    pictures, queries = random_units(50, 6), random_units(9, 6, seed=1)
    (ranked,) = ranked_blocks(queries, pictures, k=4)
    found, scores = nearest(queries, pictures, 4)
    assert found.tolist() == ranked.order[:, :4].tolist()
    assert scores == pytest.approx(ranked.scores)
    assert nearest(queries, pictures, 1000)[0].shape == (9, 50)


def test_what_is_not_finite_has_no_direction_and_is_near_to_nothing():
    assert unit(np.array([[np.nan, 1.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx(
        np.array([[0, 1], [0.6, 0.8], [0, 0]])
    )


def test_bootstrap_intervals_hold_the_mean_and_repeat_with_the_seed():
    values = {"right": (np.arange(200) % 4 > 0).astype(float), "always": np.ones(200)}
    once, again = bootstrap(values, 5), bootstrap(values, 5)
    assert once == again
    assert once["right"].value == 0.75
    # The deviation of a mean of 200 is .031.
    assert once["right"].low == pytest.approx(0.69, abs=0.015)
    assert once["right"].high == pytest.approx(0.81, abs=0.015)
    assert (once["always"].low, once["always"].high) == (1, 1)


def test_as_many_dimensions_are_used_as_vary():
    random = np.random.default_rng(0)
    seven = np.zeros((4000, 20))
    seven[:, :7] = random.standard_normal((4000, 7))
    assert rank_me(unit(seven)) == pytest.approx(7, abs=0.1)
    assert rank_me(np.tile(unit(np.ones((1, 20))), (100, 1))) == pytest.approx(1, abs=0.01)


def test_the_exponent_of_a_power_law_is_found():
    deviations = np.arange(1, 41) ** -0.7  # variances fall with the exponent 1.4
    rows = np.random.default_rng(0).standard_normal((8000, 40)) * deviations
    assert alpha_req(rows.astype(np.float32)) == pytest.approx(1.4, abs=0.06)
    assert alpha_req(np.ones((10, 4), np.float32)) == np.inf


def test_alignment_and_uniformity_by_hand():
    one, other = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    assert alignment(one, other) == pytest.approx(2)
    assert uniformity(np.ones(5)) == pytest.approx(0)
    assert uniformity(np.zeros(5)) == pytest.approx(-4)


def test_a_hub_is_everybodys_neighbour_and_the_others_nobodys():
    found = hubness(np.array([[1], [0], [0], [0], [0]]), 5)
    assert found.anti_hubs == pytest.approx(0.6)
    assert found.largest == 4
    assert found.skewness == pytest.approx(4.8 / 2.4**1.5)  # of 4, 1, 0, 0, 0
    assert hubness(np.array([[1], [2], [0]]), 3).skewness == 0


def test_the_threshold_lies_in_the_gap_between_copies_and_others():
    assert best_threshold(np.array([0.9, 0.95, 0.99]), np.array([0.2, 0.5, 0.7])) == pytest.approx(0.8)
    # One stray on either side costs one: the gap stays.
    assert best_threshold(np.array([0.1, 0.9, 0.95, 0.99]), np.array([0.2, 0.5, 0.7, 0.97])) == pytest.approx(0.8)


def test_similar_structure_is_that_of_the_plain_formula():
    random = np.random.default_rng(0)
    a = random.integers(0, 256, (2, 9, 10, 3), dtype=np.uint8)
    b = np.clip(a.astype(int) + random.integers(-40, 40, a.shape), 0, 255).astype(np.uint8)
    expected = []
    for x, y in zip(a / 255, b / 255, strict=True):
        values = []
        for channel in range(3):
            for top in range(3):
                for left in range(4):
                    p = x[top : top + 7, left : left + 7, channel].ravel()
                    q = y[top : top + 7, left : left + 7, channel].ravel()
                    ((vp, cov), (_, vq)) = np.cov(p, q)
                    values.append(
                        (2 * p.mean() * q.mean() + 1e-4)
                        * (2 * cov + 9e-4)
                        / ((p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (vp + vq + 9e-4))
                    )
        expected.append(np.mean(values))
    assert ssim(a, b) == pytest.approx(expected)
    assert ssim(a, a) == pytest.approx([1, 1])


def test_fine_detail_is_in_stripes_and_not_in_ramps():
    stripes = np.zeros((1, 8, 8, 3), np.uint8)
    stripes[:, :, ::2] = 255
    ramp = np.broadcast_to((np.arange(8) * 30)[None, None, :, None], (1, 8, 8, 3)).astype(np.uint8)
    assert laplacian_energy(stripes) == pytest.approx([4])
    assert laplacian_energy(ramp) == pytest.approx([0])


@pytest.mark.parametrize("count", [20, 400])  # fewer pictures than values, and more
def test_principal_axes_are_those_of_scikit_learn(count):
    decomposition = pytest.importorskip("sklearn.decomposition")
    pixels = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    pixels[:, :3] //= 4
    ours = PrincipalAxes.fit(pixels, 10, 0)
    theirs = decomposition.PCA(10, svd_solver="full").fit(flat(pixels))
    assert ours.deviations**2 * count / (count - 1) == pytest.approx(theirs.explained_variance_, rel=1e-3)
    assert np.abs((ours.axes * theirs.components_).sum(axis=1)) == pytest.approx(np.ones(10), abs=1e-3)
    whitened = ours.coordinates(flat(pixels), 10, power=1)
    assert whitened.std(axis=0) == pytest.approx(np.ones(10), rel=1e-3)


def test_pictures_with_fewer_axes_than_wanted_have_those_that_they_have():
    assert PrincipalAxes.fit(np.full((5, 2, 2, 3), 9, np.uint8), 4, 0).dims == 1
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    axes = PrincipalAxes.fit(pixels, 64, 0)
    assert axes.dims == 4
    assert axes.rebuilt(flat(pixels), 4) == pytest.approx(flat(pixels), abs=1e-4)
