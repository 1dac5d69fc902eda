"""The weight of a search over HTTP, and what scores mean then."""

import numpy as np
import pytest

from search_server import limits
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import serving

GALLERY = "/api/v1/galleries/halved"


@pytest.fixture(scope="module")
def halved_server(halved_gallery, drawn_gallery, tmp_path_factory):
    with serving(halved_gallery, drawn_gallery, log=tmp_path_factory.mktemp("halved-server") / "log") as running:
        yield running


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


def test_the_weight_of_the_index_is_the_one_that_is_not_asked_for(halved_server):
    plain = halved_server.get(f"{GALLERY}/items/1/similar", k=50).json()
    same = halved_server.get(f"{GALLERY}/items/1/similar", k=50, beta=1).json()
    assert (plain["beta"], plain["hits"]) == (1.0, same["hits"])


@pytest.mark.parametrize("beta", [0, 0.25, 16, 1000])
def test_every_search_takes_a_weight(halved_server, beta):
    linked = halved_server.get(f"{GALLERY}/items/1/similar", k=20, beta=beta).json()
    posted = halved_server.send_json(f"{GALLERY}/search", id="1", k=20, beta=beta).json()
    assert linked["beta"] == beta
    assert linked["hits"] == posted["hits"]
    scores = [hit["score"] for hit in linked["hits"]]
    assert scores == sorted(scores, reverse=True)
    percentiles = [hit["percentile"] for hit in linked["hits"]]
    assert percentiles == sorted(percentiles, reverse=True)
    itself = halved_server.send_form(
        f"{GALLERY}/search", image=encoded(draw_picture(4, 120, 80)), k=1, beta=beta
    ).json()
    assert itself["hits"][0]["name"] == "drawn-004.png"
    assert itself["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert itself["hits"][0]["label"] == "identical"
    assert itself["query"]["warning"] is None


def test_the_ranking_is_that_of_the_halves(halved_server, halved_bundle):
    items = halved_server.get(f"{GALLERY}/items", limit=200).json()["items"]
    vectors = {}
    for item in items[:30]:
        asked = {"id": item["id"], "k": 1, "include": ["vector"]}
        vectors[item["id"]] = np.array(halved_server.send_json(f"{GALLERY}/search", **asked).json()["query"]["vector"])
    split = halved_bundle.semantic_dims
    hits = halved_server.get(f"{GALLERY}/items/1/similar", k=119, beta=0).json()["hits"]
    for hit in hits:
        if hit["id"] in vectors:
            a, b = vectors["1"][:split], vectors[hit["id"]][:split]
            assert hit["score"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-4)


def test_pages_of_weighted_neighbours_join_without_a_gap(halved_server):
    whole = halved_server.send_json(f"{GALLERY}/search", id="1", k=20, beta=64).json()["hits"]
    rest = halved_server.send_json(f"{GALLERY}/search", id="1", k=12, offset=8, beta=64).json()["hits"]
    assert whole[8:] == rest
    assert ids({"hits": whole}) != ids(halved_server.send_json(f"{GALLERY}/search", id="1", k=20, beta=0).json())


@pytest.mark.parametrize(
    ("beta", "status", "code"),
    [(-1, 422, "invalid"), (limits.BETA + 1, 422, "invalid"), ("high", 400, "bad_request"), ("nan", 400, "bad_request"),
     ("inf", 400, "bad_request")],
)  # fmt: skip
def test_a_weight_that_is_none_is_refused(halved_server, beta, status, code):
    answer = halved_server.get(f"{GALLERY}/items/1/similar", beta=beta)
    assert (answer.status, answer.code) == (status, code)


def test_a_model_without_a_semantic_half_has_one_weight_only(halved_server):
    place = "/api/v1/galleries/drawn"
    assert halved_server.get(place).json()["model"]["semantic_dims"] == 0
    assert halved_server.get(f"{place}/items/1/similar", beta=1).status == 200
    for answer in (
        halved_server.get(f"{place}/items/1/similar", beta=4),
        halved_server.send_json(f"{place}/search", id="1", beta=0),
    ):
        assert (answer.status, answer.code) == (409, "no_semantic_half")


def test_a_gallery_tells_its_calibration_and_the_limit_of_weights(halved_server):
    told = halved_server.get(GALLERY).json()
    assert told["model"]["semantic_dims"] == 8
    assert (told["calibration"]["pictures"], told["calibration"]["enough"]) == (120, True)
    for scores in (told["calibration"]["nearest"], told["calibration"]["random"]):
        assert list(scores) == ["p2", "p10", "p50", "p90", "p99", "p99.9"]
        assert list(scores.values()) == sorted(scores.values())
    assert told["calibration"]["random"]["p90"] < told["calibration"]["labels"]["similar"]
    assert told["calibration"]["labels"]["similar"] < told["calibration"]["random"]["p99"]
    assert told["calibration"]["nearest"]["p50"] > told["calibration"]["random"]["p50"]
    assert halved_server.get("/api/v1/galleries/drawn").json()["calibration"]["enough"] is False
    assert halved_server.get("/api/v1/info").json()["limits"]["beta_max"] == limits.BETA


def test_nothing_close_goes_by_the_gallerys_own_distances(halved_server):
    told = halved_server.get(GALLERY).json()["calibration"]
    limit = min(told["nearest"]["p2"], told["random"]["p99.9"])
    warned = []
    for item in halved_server.get(f"{GALLERY}/items", limit=200).json()["items"]:
        answer = halved_server.get(f"{GALLERY}/items/{item['id']}/similar", k=1).json()
        (first,), warning = answer["hits"], answer["query"]["warning"]
        best = first["score"]
        assert warning in (None, "nothing-close")
        if abs(best - limit) > 1e-4:  # percentiles are told rounded
            assert (warning == "nothing-close") == (best < limit and not first["stands_out"])
        warned.append(warning == "nothing-close")
    assert sum(warned) <= 6  # 2 % of 120, give or take
