"""A score comes with its meaning."""

import numpy as np
import pytest

from search_server.scores import LABELS, NeighbourScores, label_of, sample_size


@pytest.mark.parametrize(
    ("score", "label"),
    [
        (1.0, "identical"),
        (0.96, "near-duplicate"),
        (0.8, "very similar"),
        (0.6, "similar"),
        (0.2, "weak"),
        (-1, "weak"),
    ],
)
def test_every_score_has_a_label(score, label):
    assert label_of(score) == label


def test_labels_stand_from_the_nearest_to_the_farthest():
    thresholds = [threshold for threshold, _ in LABELS]
    assert thresholds == sorted(thresholds, reverse=True)


def test_a_percentile_says_how_many_pictures_have_a_farther_nearest_neighbour():
    scores = NeighbourScores(np.array([0.9, 0.1, 0.5, 0.7], np.float32))
    assert [scores.percentile(score) for score in (0.0, 0.3, 0.6, 0.95)] == [0, 25, 50, 100]


def test_a_gallery_of_one_picture_has_no_percentiles():
    assert NeighbourScores(np.empty(0, np.float32)).percentile(0.5) is None


@pytest.mark.parametrize(("count", "samples"), [(0, 0), (10, 10), (10_000, 256), (1_000_000, 32)])
def test_the_sample_is_smaller_where_each_comparison_costs_more(count, samples):
    assert sample_size(count) == samples
