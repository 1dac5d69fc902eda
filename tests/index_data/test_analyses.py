"""Outliers, the map, and the neighbours of all items."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.sessions import Decoder
from index_data.adding import add_folder
from index_data.analyses import NotComputedError
from index_data.gallery import Gallery
from index_data.mapping import compute_map, read_map
from index_data.outliers import compute_outliers, ranked_outliers
from tests.conftest import draw_picture
from tests.index_data.conftest import items_of
from tests.index_data.test_commands import lookalike
from train.decoding import DecodePool
from train.errors import IncompatibleError
from train.images import FOLDER_LIMITS
from train.interruption import Interrupted, StopRequest


@pytest.fixture(scope="module")
def grouped(bundle, tmp_path_factory) -> Path:
    """The folder of a gallery: four kinds of pictures, 12 of each with small changes, and one like no other."""
    place = tmp_path_factory.mktemp("grouped")
    folder = place / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for kind in range(4):
        for number in range(12):
            image = draw_picture(kind)
            x, y = random.integers(0, 80, 2)
            image.paste((255, 255, 255), (int(x), int(y) % 70, int(x) + 8, int(y) % 70 + 8))
            image.save(folder / f"{kind}-{number:02}.png")
    checks = np.kron(random.integers(0, 2, (10, 12)), np.ones((8, 8))).astype(np.uint8) * 255
    Image.fromarray(checks).convert("RGB").save(folder / "odd.png")
    with Gallery.create(place / "gallery", bundle) as gallery:
        add_folder(gallery, bundle, folder, provider="cpu", workers=1)
    return place / "gallery"


@pytest.fixture
def gallery(grouped, tmp_path):
    import shutil

    with Gallery.open(shutil.copytree(grouped, tmp_path / "gallery")) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def decoder(bundle) -> Decoder:
    return Decoder.open(bundle, provider="cpu")


@pytest.fixture(scope="module")
def pool():
    with DecodePool(1, FOLDER_LIMITS) as pool:
        yield pool


def odd_one(gallery: Gallery) -> int:
    return next(item.id for item in items_of(gallery) if item.path == b"odd.png")


# --- Outliers ---


@pytest.mark.parametrize("by", ["reconstruction", "distance"])
def test_the_odd_one_stands_first(gallery, pool, decoder, by):
    assert compute_outliers(gallery, pool, decoder) == 0
    ranked = ranked_outliers(gallery, by)
    assert ranked.ids[0] == odd_one(gallery)
    assert len(ranked.ids) == gallery.count
    assert (np.diff(ranked.values) <= 0).all()
    assert not ranked.is_stale


def test_the_error_is_that_of_the_painted_picture(gallery, pool, decoder):
    compute_outliers(gallery, pool, decoder)
    ranked = ranked_outliers(gallery, "reconstruction")
    for number, value in list(zip(ranked.ids.tolist(), ranked.values.tolist(), strict=True))[::10]:
        item = gallery.item(number)
        seen = pool.fit(gallery.read_original(item), gallery.preprocessing).pixels / 255
        painted = decoder.decode(gallery.latents([number]))[0] / 255
        assert value == pytest.approx(np.square(seen - painted).mean(), rel=1e-4)


def test_a_run_that_was_stopped_goes_on_and_a_new_item_alone_is_painted(gallery, pool, decoder, bundle, tmp_path):
    stop = StopRequest()
    stop.signal_number = 15
    with pytest.raises(Interrupted):
        compute_outliers(gallery, pool, decoder, stop=stop)
    with pytest.raises(NotComputedError, match="index outliers"):
        ranked_outliers(gallery, "distance")
    compute_outliers(gallery, pool, decoder)
    before = gallery.rows("SELECT * FROM reconstruction_errors")
    (tmp_path / "more").mkdir()
    draw_picture(50).save(tmp_path / "more" / "new.png")
    add_folder(gallery, bundle, tmp_path / "more", provider="cpu", workers=1)
    assert ranked_outliers(gallery, "distance").is_stale
    compute_outliers(gallery, pool, decoder)
    assert len(ranked_outliers(gallery, "reconstruction").ids) == gallery.count
    assert set(before) < set(gallery.rows("SELECT * FROM reconstruction_errors"))


def test_a_picture_whose_file_is_gone_is_seen_by_its_thumbnail(gallery, pool, decoder, tmp_path):
    with gallery.changes() as changes:
        changes.connection.execute("UPDATE roots SET path = ?", (b"/nowhere",))
    assert compute_outliers(gallery, pool, decoder) == 0
    assert ranked_outliers(gallery, "reconstruction").ids[0] == odd_one(gallery)


def test_without_a_decoder_there_are_distances_only(gallery, pool):
    compute_outliers(gallery, pool, None)
    assert ranked_outliers(gallery, "distance").ids[0] == odd_one(gallery)
    with pytest.raises(IncompatibleError, match="rank by distance"):
        ranked_outliers(gallery, "reconstruction")


# --- Map ---


def kinds_apart(gallery: Gallery, points: np.ndarray, ids: np.ndarray) -> float:
    """Share of items whose nearest item on the plane is of their own kind."""
    kind = {item.id: item.path[:1] for item in items_of(gallery)}
    kinds = np.array([kind[number] for number in ids.tolist()])
    apart = np.square(points[:, None] - points[None]).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    inside = kinds != b"o"
    return float((kinds[apart.argmin(axis=1)] == kinds)[inside].mean())


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_pictures_of_a_kind_lie_together_and_make_clusters(gallery, decoder, method):
    if method == "umap":
        pytest.importorskip("umap")
    drawn = compute_map(gallery, decoder, method=method, clusters=5)
    assert sorted(drawn.ids.tolist()) == [item.id for item in items_of(gallery)]
    assert drawn.method == method
    assert np.abs(drawn.points).max() == pytest.approx(1)
    assert kinds_apart(gallery, drawn.points, drawn.ids) > 0.9
    kind = {item.id: item.path[:1] for item in items_of(gallery)}
    for cluster in range(len(drawn.medoids)):
        members = drawn.ids[drawn.clusters == cluster].tolist()
        assert drawn.medoids[cluster] in members
        assert len({kind[number] for number in members}) == 1, members
    assert drawn.prototypes.shape == (len(drawn.medoids), 32, 32, 3)


def test_a_map_by_pca_puts_any_vector_where_an_item_with_it_lies(gallery, decoder):
    drawn = compute_map(gallery, decoder)
    vectors = gallery.embeddings(drawn.ids.tolist())
    placed = np.stack([drawn.project(vector) for vector in vectors])
    assert placed == pytest.approx(drawn.points, abs=1e-5)
    assert drawn.project(vectors[0][:-1]) is None  # of another model
    again = read_map(gallery)
    assert again.project(vectors[3]) == pytest.approx(drawn.points[3], abs=1e-5)


def test_between_neighbours_lies_the_mean_of_their_places_the_nearer_the_more(gallery, decoder):
    drawn = compute_map(gallery, decoder)
    one, other = drawn.ids[:2].tolist()
    middle, count = drawn.between([one, other, 10**6], [0.5, 0.5, 0.9])
    assert count == 2
    assert middle == pytest.approx(drawn.points[:2].mean(axis=0), abs=1e-6)
    nearer, _ = drawn.between([one, other], [0.8, 0.2])
    assert nearer == pytest.approx((4 * drawn.points[0] + drawn.points[1]) / 5, abs=1e-6)
    same, _ = drawn.between([one, other], [1.0, 0.5])
    assert same == pytest.approx(drawn.points[0], abs=1e-3)
    assert drawn.between([10**6], [1.0]) is None


def test_a_map_is_drawn_the_same_again_and_loses_what_left(gallery, decoder):
    first = compute_map(gallery, decoder)
    again = compute_map(gallery, decoder)
    assert np.array_equal(first.points, again.points)
    assert np.array_equal(first.clusters, again.clusters)
    with gallery.changes() as changes:
        changes.remove_items([3])
    after = read_map(gallery)
    assert 3 not in after.ids
    assert len(after.points) == len(after.clusters) == len(after.ids) == gallery.count
    assert after.is_stale


def test_a_map_needs_neither_decoder_nor_many_items(bundle, tmp_path):
    with Gallery.create(tmp_path / "gallery", bundle) as gallery:
        with pytest.raises(NotComputedError, match="index map gallery"):
            read_map(gallery)
        assert len(compute_map(gallery, None).ids) == 0
        for number in range(3):
            (tmp_path / "pictures").mkdir(exist_ok=True)
            draw_picture(number).save(tmp_path / "pictures" / f"{number}.png")
            add_folder(gallery, bundle, tmp_path / "pictures", provider="cpu", workers=1)
            drawn = compute_map(gallery, None, method="umap")
            assert len(drawn.ids) == number + 1
            assert np.isfinite(drawn.points).all()
            assert drawn.prototypes.shape == (0, 0, 0, 3)


# --- On the command line ---


def test_outliers_map_and_neighbours_are_commands(gallery, tmp_path):
    ended = lookalike("index", "outliers", gallery.folder, "--provider", "cpu", "--top", 2, "-o", tmp_path / "odd.csv")
    assert ended.returncode == 0, ended.stderr
    assert "odd.png" in ended.stdout.splitlines()[0]
    rows = list(csv.DictReader((tmp_path / "odd.csv").read_text().splitlines()))
    assert len(rows) == gallery.count
    assert rows[0]["path"] == "odd.png"
    ended = lookalike("index", "outliers", gallery.folder, "--known", "--by", "distance", "--json", "-q")
    assert json.loads(ended.stdout)["shown"][0]["path"] == "odd.png"
    ended = lookalike("index", "map", gallery.folder, "--provider", "cpu", "--clusters", 4)
    assert "in 4 clusters" in ended.stdout, ended.stderr
    for suffix in ("csv", "jsonl", "npz"):
        ended = lookalike("index", "knn", gallery.folder, "-k", 3, "-o", tmp_path / f"knn.{suffix}")
        assert ended.returncode == 0, ended.stderr
    lines = (tmp_path / "knn.jsonl").read_text().splitlines()
    assert len(lines) == gallery.count
    with np.load(tmp_path / "knn.npz") as stored:
        first = json.loads(lines[0])
        row = stored["ids"].tolist().index(int(first["id"]))
        assert [int(each["id"]) for each in first["neighbours"]] == stored["neighbours"][row].tolist()
    assert len((tmp_path / "knn.csv").read_text().splitlines()) == 3 * gallery.count + 1
    for words in (("knn", "-o", tmp_path / "x.txt"), ("outliers", "-o", tmp_path / "x.txt")):
        assert lookalike("index", words[0], gallery.folder, *words[1:]).returncode == 2
