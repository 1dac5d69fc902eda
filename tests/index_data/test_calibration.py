"""What scores mean in a gallery, sampled when its index is built."""

import numpy as np
import pytest

from index_data import calibration
from index_data.adding import add_folder
from index_data.calibration import BY_CHANCE, ENOUGH, FAR, LABELS, Calibration, Scale, calibrate
from index_data.config import MAX_BETA
from index_data.engine import Engine
from index_data.gallery import Gallery
from index_data.generations import build_generation, load_generation
from index_data.indexes.library import load_faiss
from index_data.weighting import Halves
from tests.index_data.conftest import as_older_format

HALVES = Halves(4, 0.5)
ONE_PART = Halves()


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def embeddings_of(count, *, seed=0, halves=HALVES, dims=12):
    """Embeddings of as many pictures, in loose groups, as a model with these halves makes them."""
    random = np.random.default_rng(seed)
    raw = random.standard_normal((count, dims)) + 1.2 * random.standard_normal((1 + count // 20, dims))[
        random.integers(0, 1 + count // 20, count)
    ]  # fmt: skip
    if not halves.semantic_dims:
        return unit(raw)
    parts = [unit(raw[:, : halves.semantic_dims]), halves.alpha * unit(raw[:, halves.semantic_dims :])]
    return unit(np.hstack(parts))


def index_of(embeddings):
    index = load_faiss().IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    return index


def nearest_scores(embeddings, beta=1.0, halves=HALVES):
    """Score of each picture with its nearest other one, by plain NumPy."""
    scores = halves.weigh_queries(embeddings, beta) @ embeddings.T
    np.fill_diagonal(scores, -2)
    return scores.max(axis=1)


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
def test_in_a_gallery_too_small_to_calibrate_every_score_has_a_fixed_label(score, label):
    assert calibrate(index_of(embeddings_of(ENOUGH - 1)), HALVES).at(0.0).label(score) == label


@pytest.mark.parametrize("halves", [ONE_PART, HALVES], ids=["one part", "two halves"])
def test_a_small_gallery_is_counted_whole(halves):
    embeddings = embeddings_of(30, halves=halves)
    scale = calibrate(index_of(embeddings), halves).at(1.0)
    pairs = (embeddings @ embeddings.T)[np.triu_indices(30, 1)]
    assert scale.random == pytest.approx(np.sort(pairs), abs=1e-6)
    assert scale.nearest == pytest.approx(np.sort(nearest_scores(embeddings, halves=halves)), abs=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_where_no_picture_has_a_neighbour_there_are_no_percentiles(count):
    scale = calibrate(index_of(embeddings_of(2)[:count]), HALVES).at(1.0)
    assert scale.percentile(0.5) is None
    assert (scale.label(0.6), scale.is_far(0.6), scale.is_far(0.4)) == ("similar", False, True)


def test_a_percentile_says_how_many_pictures_have_a_farther_nearest_neighbour():
    embeddings = embeddings_of(200)
    scale = calibrate(index_of(embeddings), HALVES).at(1.0)
    nearest = nearest_scores(embeddings)
    for score in np.linspace(0.3, 1, 9):
        assert scale.percentile(score) == pytest.approx(100 * np.mean(nearest < score), abs=0.51)


def test_a_copy_is_the_nearest_neighbour_of_its_original():
    one = embeddings_of(10)
    scale = calibrate(index_of(np.vstack([one, one[:1], one[:1]])), HALVES).at(1.0)
    assert (scale.nearest > 0.999999).sum() == 3


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0, 2.0, 10.0, 300.0, MAX_BETA])
def test_the_distributions_follow_for_every_weight(beta):
    embeddings = embeddings_of(300)
    scale = calibrate(index_of(embeddings), HALVES).at(beta)
    nearest = np.sort(nearest_scores(embeddings, beta))
    assert (scale.nearest <= nearest + 1e-5).all()  # tangents lie below
    touches = beta in calibration.WEIGHTS
    assert scale.nearest == pytest.approx(nearest, abs=1e-5 if touches else 0.05)
    assert scale.nearest.mean() == pytest.approx(nearest.mean(), abs=1e-5 if touches else 0.005)
    scores = (HALVES.weigh_queries(embeddings, beta) @ embeddings.T)[np.triu_indices(300, 1)]
    assert np.quantile(scale.random, 0.5) == pytest.approx(np.quantile(scores, 0.5), abs=0.05)


def test_a_large_gallery_is_sampled_the_same_way_each_time(monkeypatch):
    monkeypatch.setattr(calibration, "WORK", 0)
    monkeypatch.setattr(calibration, "PAIRS", 500)
    embeddings = embeddings_of(2000)
    first, second = (calibrate(index_of(embeddings), HALVES) for _ in range(2))
    assert first.random.shape == (500, 2)
    assert first.nearest.shape == (calibration.PICTURES_MIN, len(calibration.WEIGHTS), 2)
    assert first.to_bytes() == second.to_bytes()
    middle = np.median(nearest_scores(embeddings))
    assert np.median(first.at(1.0).nearest) == pytest.approx(middle, abs=0.03)


def test_a_calibration_reads_back_as_it_was_written():
    written = calibrate(index_of(embeddings_of(40)), HALVES)
    read = Calibration.from_bytes(written.to_bytes())
    assert (read.halves, read.count) == (HALVES, 40)
    assert np.array_equal(read.random, written.random)
    assert np.array_equal(read.nearest, written.nearest)


@pytest.mark.parametrize("beta", [0.0, 1.0, 8.0, MAX_BETA])
def test_labels_go_by_what_random_pairs_reach_at_the_same_weight(beta):
    scale = calibrate(index_of(embeddings_of(400)), HALVES).at(beta)
    thresholds = [threshold for threshold, _ in scale.thresholds]
    assert thresholds == sorted(thresholds, reverse=True)
    labels = [scale.label(score) for score in scale.random]
    assert np.mean([label == "weak" for label in labels]) == pytest.approx(0.95, abs=0.001)
    assert np.mean([label in ("weak", "similar") for label in labels]) == pytest.approx(0.995, abs=0.001)
    assert (scale.label(1.0), scale.label(-1.0)) == ("identical", "weak")


def test_labels_of_a_gallery_of_photos_are_near_the_fixed_ones():
    # 95 % of the random pairs below .50 and 99.5 % below .70, about as with the photos that the fixed ones come from.
    random = np.interp(np.linspace(0, 1, 20_001), [0, 0.95, 0.995, 1], [-0.8, 0.5, 0.7, 0.9]).astype(np.float32)
    scale = Scale(random, random, 1000)
    assert [label for _, label in scale.thresholds] == [label for _, label in LABELS]
    assert [at for at, _ in scale.thresholds] == pytest.approx([at for at, _ in LABELS], abs=1e-3)


def test_a_picture_of_the_gallerys_kind_is_rarely_judged_far_and_one_of_another_kind_is():
    together = embeddings_of(1400, halves=ONE_PART, dims=16)
    scale = calibrate(index_of(together[:1000]), ONE_PART).at(1.0)
    best = (together[1000:] @ together[:1000].T).max(axis=1)
    assert np.mean([scale.is_far(score) for score in best]) < 3 * FAR
    assert scale.is_far(float(np.quantile(scale.nearest, FAR)) - 0.05)


def test_in_a_gallery_of_near_copies_a_hit_far_beyond_chance_is_still_close():
    pictures = unit(np.random.default_rng(0).standard_normal((400, 64)))
    copies = unit(pictures + 0.01 * np.random.default_rng(1).standard_normal((400, 64)))
    scale = calibrate(index_of(np.vstack([pictures, copies])), ONE_PART).at(1.0)
    assert scale.nearest.min() > 0.9
    assert np.quantile(scale.random, BY_CHANCE) < 0.6
    assert not scale.is_far(0.8)
    assert scale.is_far(0.2)


def test_a_gallery_too_small_to_calibrate_goes_by_fixed_cosines():
    few, many = (calibrate(index_of(embeddings_of(count)), HALVES).at(0.0) for count in (ENOUGH - 1, ENOUGH))
    assert (few.enough, many.enough) == (False, True)
    assert (few.is_far(0.49), few.is_far(0.5), few.label(0.75)) == (True, False, "very similar")


def test_a_generation_brings_its_calibration(copied):
    with Gallery.open(copied) as gallery:
        built = build_generation(gallery)
        loaded = load_generation(gallery, built.name).calibration
        embeddings = gallery.embeddings(built.ids.tolist())
    assert (loaded.halves, loaded.count) == (ONE_PART, 48)
    assert loaded.to_bytes() == built.calibration.to_bytes()
    assert loaded.at(1.0).nearest == pytest.approx(np.sort(nearest_scores(embeddings, halves=ONE_PART)), abs=1e-6)


def test_a_generation_of_before_there_were_calibrations_is_calibrated_when_it_is_loaded(copied):
    with Gallery.open(copied) as gallery:
        now = load_generation(gallery, "000001").calibration
        as_older_format(gallery, "000001", version=1)
        assert load_generation(gallery, "000001").calibration.to_bytes() == now.to_bytes()


def test_a_gallery_whose_model_was_away_when_it_was_indexed_is_calibrated_for_its_halves_when_it_is_opened(
    halved_bundle, drawn_folder, tmp_path
):
    with Gallery.create(tmp_path / "drawn", halved_bundle) as gallery:
        add_folder(gallery, halved_bundle, drawn_folder, provider="cpu", workers=1)
        halved_bundle.folder.rename(tmp_path / "away")
        try:
            assert build_generation(gallery).calibration.halves == ONE_PART
        finally:
            (tmp_path / "away").rename(halved_bundle.folder)
    with Engine.open(tmp_path / "drawn", provider="cpu", decoder=False) as engine:
        assert engine.calibration.halves == Halves(8, halved_bundle.alpha)
        assert engine.calibration.at(0.0).percentile(0.5) is not None


def test_the_spread_of_scores_counts_every_pair_once():
    embeddings = embeddings_of(200)
    scale = calibrate(index_of(embeddings), HALVES).as_indexed
    for kind, scores in (("nearest", scale.nearest), ("random", scale.random)):
        spread = scale.spread(kind)
        assert spread.pairs == len(scores) == sum(spread.histogram)
        assert spread.quantiles[50] == pytest.approx(np.median(scores))
        assert list(spread.quantiles.values()) == sorted(spread.quantiles.values())
    assert calibrate(index_of(embeddings[:1]), HALVES).as_indexed.spread("nearest") is None
