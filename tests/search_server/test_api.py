"""Every route answers what it should, and refuses what it should, over HTTP."""

import base64
import gzip
import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from index_data.engine import Engine
from search_server import limits
from search_server.app import create_app
from search_server.service import EXTENSION
from search_server.settings import ServerSettings
from search_server.subjects import PLAIN_DEVIATION, is_plain
from tests.conftest import draw_picture, encoded
from train.workspace import Workspace

GALLERY = "/api/v1/galleries/drawn"
PICTURE = encoded(draw_picture(7))


def opened(answer, image_format: str) -> Image.Image:
    assert answer.status == 200, answer.body[:300]
    assert answer.headers["content-type"] == f"image/{image_format}"
    image = Image.open(io.BytesIO(answer.body))
    image.load()
    return image


def items(server, **parameters) -> list[dict]:
    return server.get(f"{GALLERY}/items", limit=1000, **parameters).json()["items"]


@pytest.fixture(scope="module")
def by_name(server) -> dict[str, dict]:
    return {item["name"]: item for item in items(server)}


# ---- health and information


def test_the_server_says_that_it_lives_and_is_ready(server):
    assert server.get("/healthz").json() == {"status": "ok"}
    ready = server.get("/readyz")
    assert (ready.status, ready.json()["status"], ready.json()["degraded"]) == (200, "ready", [])
    assert set(ready.json()["checks"]) == {"decode", "db:drawn", "index:drawn", "model:drawn"}
    assert all(check["ok"] for check in ready.json()["checks"].values())


def test_the_server_describes_itself(server):
    info = server.get("/api/v1/info").json()
    assert [gallery["name"] for gallery in info["galleries"]] == ["drawn"]
    assert info["galleries"][0]["items"] == 50
    assert info["galleries"][0]["provider"] == {
        "asked": "auto",
        "used": info["galleries"][0]["provider"]["used"],
        "degraded": None,
    }
    assert info["galleries"][0]["index"]["count"] == 50
    assert info["limits"]["image_bytes"] == 20 << 20
    assert info["features"]["morph"] is True


def test_openapi_describes_every_route_of_the_api_with_each_of_its_methods(app_of_everything):
    document = app_of_everything.test_client().get("/api/v1/openapi.json").get_json()
    assert document["openapi"].startswith("3.")
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app_of_everything.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") or rule.rule in ("/healthz", "/readyz", "/metrics")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == routes - {("GET", "/api/v1/openapi.json")}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    references = set(re.findall(r'"\$ref": ?"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])


# ---- galleries and items


def test_galleries_are_listed_and_shown(server):
    listed = server.get("/api/v1/galleries").json()["galleries"]
    assert listed == [server.get(GALLERY).json()]
    assert server.get("/api/v1/galleries/another").code == "no_such_gallery"


def test_items_come_page_by_page_without_one_left_out_or_twice(server):
    for order in ({}, {"sort": "-id"}, {"seed": 5}):
        found, cursor = [], None
        while True:
            page = server.get(f"{GALLERY}/items", limit=7, **order, **({"cursor": cursor} if cursor else {})).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert sorted(map(int, found)) == list(range(1, 51)), order
        if "sort" in order:
            assert found == sorted(found, key=int, reverse=True)


def test_the_same_seed_gives_the_same_start_and_another_seed_another(server):
    first, again, other = (server.get(f"{GALLERY}/items", limit=5, seed=seed).json()["items"] for seed in (1, 1, 2))
    assert first == again != other


def test_an_item_is_shown_by_its_id_and_named_items_together(server):
    item = server.get(f"{GALLERY}/items/3").json()
    assert item["id"] == "3"
    assert {"name", "path", "sha256", "width", "height", "format", "bytes", "added_at", "thumb", "image"} <= set(item)
    assert [one["id"] for one in server.get(f"{GALLERY}/items", ids="9,3").json()["items"]] == ["9", "3"]


def test_a_name_that_is_no_text_is_shown_as_one_harmless_line(by_name):
    assert by_name["<b>odd\\xff\\n.png"]["path"] == "<b>odd\\xff\\n.png"


@pytest.mark.parametrize(
    "item", ["0", "999999", "99999999999999999999", "abc", "-1", "1.0", "%00", "..", "1%2f2", "q_" + "a" * 22, "１"]
)
def test_an_id_that_is_no_item_is_refused(server, item):
    from urllib.parse import quote

    path = f"{GALLERY}/items/{item if '%' in item else quote(item)}"
    answer = server.get(path)
    assert answer.status == 404
    assert answer.code in ("no_such_item", "not_found")


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": 1001}, 422),
        ({"limit": "many"}, 400),
        ({"limit": "1e3"}, 400),
        ({"sort": "beauty"}, 422),
        ({"seed": -1}, 422),
        ({"cursor": "nonsense"}, 422),
        ({"cursor": "WyJpZCIsIC0xXQ"}, 422),
        ({"colour": "red"}, 422),
        ({"ids": "1,x"}, 404),
    ],
)
def test_a_list_that_cannot_be_given_is_refused(server, parameters, status):
    answer = server.get(f"{GALLERY}/items", **parameters)
    assert answer.status == status
    assert answer.code in ("invalid", "bad_request", "no_such_item")


def test_a_cursor_is_good_for_its_own_order_only(server):
    cursor = server.get(f"{GALLERY}/items", limit=5).json()["next_cursor"]
    assert server.get(f"{GALLERY}/items", limit=5, cursor=cursor, sort="-id").code == "invalid"


# ---- pictures


def test_a_picture_comes_in_each_size_and_format_encoded_anew(server, by_name):
    item = by_name["picture-01.png"]
    place = f"{GALLERY}/items/{item['id']}/image"
    assert opened(server.get(place), "webp").size == (96, 80)
    assert opened(server.get(place, size="thumb"), "webp").size == (96, 80)
    assert opened(server.get(place, size="full", format="jpeg"), "jpeg").size == (96, 80)
    png = server.get(place, size="full", format="png")
    np.testing.assert_array_equal(np.asarray(opened(png, "png")), np.asarray(draw_picture(1)))
    assert hashlib.sha256(png.body).hexdigest() != item["sha256"]


def test_a_picture_under_its_hash_may_be_kept_for_ever_and_is_not_sent_twice(server):
    item = server.get(f"{GALLERY}/items/2").json()
    for size in ("thumb", "image"):
        first = server.get(item[size])
        assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
        again = server.get(item[size], headers={"If_None_Match": first.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert server.get(f"{GALLERY}/items/2/image").headers["cache-control"] == "private, no-cache"
    assert server.get(f"{GALLERY}/items/2/image", v="0" * 64).headers["cache-control"] == "private, no-cache"


def test_what_the_model_sees_comes_as_a_picture_a_pair_or_numbers(server, bundle):
    side = bundle.preprocessing.size
    place = f"{GALLERY}/items/4/reconstruction"
    assert opened(server.get(place), "webp").size == (side, side)
    assert opened(server.get(place, format="png", layout="pair", size=50), "png").size == (100, 50)
    told = server.get(place, headers={"Accept": "application/json"}).json()
    assert 0 <= told["mse"] < 1
    assert told["image"].startswith("data:image/webp;base64,")
    first = server.get(place)
    assert server.get(place, headers={"If_None_Match": first.headers["etag"]}).status == 304


# ---- search


def test_an_uploaded_picture_finds_itself_first_however_it_is_sent(server, by_name):
    picture = encoded(draw_picture(4))
    answers = [
        server.send_form(f"{GALLERY}/search", image=picture, k=3),
        server.ask("POST", f"{GALLERY}/search?k=3", picture, Content_Type="image/png"),
        server.send_json(f"{GALLERY}/search", image_base64=base64.b64encode(picture).decode(), k=3),
    ]
    for answer in answers:
        found = answer.json()
        first = found["hits"][0]
        assert first["id"] == by_name["picture-04.png"]["id"]
        assert (first["rank"], first["label"]) == (1, "identical")
        assert first["score"] == pytest.approx(1, abs=1e-4)
        assert len(found["hits"]) == 3
        assert found["query"]["kind"] == "upload"
        assert (found["index"]["kind"], found["index"]["exact"]) == ("flat", True)
        assert {"decode", "embed", "search", "fetch", "total"} <= set(found["took_ms"])
    assert answers[0].json()["query"]["name"] == "image-picture.png"


def test_a_search_may_ask_for_an_accuracy_or_for_all(server):
    usual = server.get(f"{GALLERY}/items/1/similar").json()["hits"]
    for how in ({"exact": "true"}, {"accuracy": 1}, {"accuracy": 0.5}):
        assert server.get(f"{GALLERY}/items/1/similar", **how).json()["hits"] == usual
    for wrong in ({"accuracy": 1.5}, {"accuracy": "nan"}, {"exact": "perhaps"}):
        assert server.get(f"{GALLERY}/items/1/similar", **wrong).status in (400, 422)


def test_hits_stand_from_the_nearest_and_say_what_their_scores_mean(server):
    hits = server.get(f"{GALLERY}/items/1/similar", k=50).json()["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, 50))
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert "1" not in {hit["id"] for hit in hits}
    percentiles = [hit["percentile"] for hit in hits]
    assert percentiles == sorted(percentiles, reverse=True)
    assert opened(server.get(hits[0]["thumb"]), "webp").size == (96, 80)


def test_pictures_of_the_same_bytes_are_identical_neighbours(server, by_name):
    hits = server.get(f"{GALLERY}/items/{by_name['the same.png']['id']}/similar", k=2).json()["hits"]
    assert (hits[0]["id"], hits[0]["label"]) == (by_name["picture-01.png"]["id"], "identical")
    assert hits[0]["sha256"] == by_name["the same.png"]["sha256"]
    assert hits[1]["label"] != "identical"


def test_pages_of_neighbours_join_without_a_gap(server):
    whole = server.send_json(f"{GALLERY}/search", id="1", k=20).json()["hits"]
    rest = server.send_json(f"{GALLERY}/search", id="1", k=12, offset=8).json()["hits"]
    assert whole[8:] == rest


def test_the_item_itself_a_least_score_and_a_crop_are_taken_into_account(server):
    itself = server.send_json(f"{GALLERY}/search", id="1", k=1, exclude_self=False).json()["hits"][0]
    assert (itself["id"], itself["score"]) == ("1", 1)
    near = server.send_json(f"{GALLERY}/search", id="1", k=50, min_score=0.5).json()["hits"]
    assert all(hit["score"] >= 0.5 for hit in near)
    box = {"x": 0.5, "y": 0, "w": 0.5, "h": 0.5}
    part = server.send_json(f"{GALLERY}/search", id="1", k=5, exclude_self=False, crop=box).json()
    assert part["hits"][0]["score"] < 1
    assert (part["query"]["width"], part["query"]["height"]) == (96, 80)
    cropped = encoded(draw_picture(0).crop((48, 0, 96, 40)))
    same = server.send_form(
        f"{GALLERY}/search", image=encoded(draw_picture(0)), crop="0.5,0,0.5,0.5", k=5, include="vector"
    )
    direct = server.send_form(f"{GALLERY}/search", image=cropped, k=5, include="vector")
    assert np.dot(same.json()["query"]["vector"], direct.json()["query"]["vector"]) > 0.99


def test_a_search_can_also_tell_the_vector_and_what_the_model_sees(server, bundle):
    query = server.send_form(f"{GALLERY}/search", image=PICTURE, include="vector,reconstruction").json()["query"]
    assert len(query["vector"]) == bundle.dims
    assert np.linalg.norm(query["vector"]) == pytest.approx(1, abs=1e-3)
    assert query["reconstruction_url"].startswith("data:image/webp;base64,")
    assert 0 <= query["reconstruction_mse"] < 1
    assert query["reconstruction_percentile"] is None  # this model was never trained, so nothing was held out
    plain = server.send_form(f"{GALLERY}/search", image=PICTURE).json()["query"]
    assert opened(server.get(plain["reconstruction_url"]), "webp").size == (bundle.preprocessing.size,) * 2


def test_a_picture_that_the_model_paints_far_worse_than_those_it_learned_is_out_of_its_domain(app_of_everything):
    engine = app_of_everything.extensions[EXTENSION].galleries.get("drawn").engine
    quantiles = {"images": 100, "quantiles": {"0.5": 1e-4, "0.99": 2e-4, "1": 3e-4}}
    facts = replace(engine.bundle.facts, errors=quantiles)
    engine.bundle = replace(engine.bundle, facts=facts)
    query = app_of_everything.test_client().get(f"{GALLERY}/items/1/similar").get_json()["query"]
    assert (query["warning"], query["reconstruction_percentile"]) == (None, None)  # nothing was painted
    search = app_of_everything.test_client().post(f"{GALLERY}/search", json={"id": "1", "include": ["reconstruction"]})
    query = search.get_json()["query"]
    assert (query["warning"], query["reconstruction_percentile"]) == ("out-of-domain", 100.0)


@pytest.mark.parametrize("originals", [False, True])
def test_the_file_itself_is_given_only_where_the_server_is_started_for_that(drawn_gallery, tmp_path, originals):
    with Engine.open(drawn_gallery, provider="cpu", threads=1) as engine:
        app = create_app({"drawn": engine}, ServerSettings(originals=originals), Workspace(tmp_path))
        item = engine.gallery.items_by_id([1])[0]
        answer = app.test_client().get(f"{GALLERY}/items/1/original")
        app.extensions[EXTENSION].close()
        if not originals:
            assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
            return
        assert answer.data == engine.gallery.read_original(item)
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_picture_of_one_colour_gets_a_warning_or_a_clear_refusal(server):
    answer = server.send_form(f"{GALLERY}/search", image=encoded(Image.new("RGB", (60, 60), (90, 20, 20))))
    assert (
        answer.status == 200 and answer.json()["query"]["warning"] == "plain-query"
    ) or answer.code == "bad_embedding"


@pytest.mark.parametrize("side", [8, 32, 96])
def test_a_picture_is_plain_where_no_channel_deviates_from_its_mean_by_much(side):
    random = np.random.default_rng(side)
    for deviation in np.linspace(2, 6, 9):
        noise = random.normal(0, 1, (side, side, 3))
        pixels = (random.integers(40, 200, 3) + deviation * noise).clip(0, 255).astype(np.uint8)
        deviations = [float(np.std(pixels[:, :, channel].astype(np.float64))) for channel in range(3)]
        assert is_plain(pixels) == (max(deviations) < PLAIN_DEVIATION)


@pytest.mark.parametrize(
    ("address", "status", "code", "parameter"),
    [
        ("k=many", 400, "bad_request", "k"),
        ("k=0", 422, "invalid", "k"),
        ("nearest=3", 422, "invalid", "nearest"),
        ("include=metadata,everything", 422, "invalid", "include.1"),
        ("id=1", 422, "invalid", "id"),
    ],
)
def test_what_is_wrong_in_the_address_of_a_search_is_named(server, address, status, code, parameter):
    answer = server.ask("POST", f"{GALLERY}/search?{address}", PICTURE, Content_Type="image/png")
    assert (answer.status, answer.code) == (status, code)
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


def test_words_in_the_address_of_a_search_stand_with_commas_between_them(server):
    address = f"{GALLERY}/search?k=2&include=metadata,vector"
    answer = server.ask("POST", address, PICTURE, Content_Type="image/png").json()
    assert len(answer["query"]["vector"]) > 0
    assert [hit["tags"] for hit in answer["hits"]] == [[], []]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 422, "invalid"),
        ({"id": "1", "image_base64": "AAAA"}, 422, "invalid"),
        ({"id": "77777"}, 404, "no_such_item"),
        ({"id": "q_" + "a" * 22}, 404, "no_such_query"),
        ({"id": "1", "k": 0}, 422, "invalid"),
        ({"id": "1", "k": 10**8}, 422, "invalid"),
        ({"id": "1", "k": -5}, 422, "invalid"),
        ({"id": "1", "offset": 10**9}, 422, "invalid"),
        ({"id": "1", "min_score": 7}, 422, "invalid"),
        ({"id": "1", "include": ["everything"]}, 422, "invalid"),
        ({"id": "1", "k": "5"}, 400, "bad_request"),
        ({"image_base64": "not base64!"}, 400, "bad_base64"),
        ({"image_base64": base64.b64encode(b"GIF").decode()}, 415, "unsupported_format"),
        ({"image_base64": base64.b64encode(PICTURE[:200]).decode()}, 422, "corrupt"),
    ],
    ids=str,
)
def test_a_search_that_cannot_be_done_is_refused_with_its_code(server, fields, status, code):
    answer = server.send_json(f"{GALLERY}/search", **fields)
    assert (answer.status, answer.code) == (status, code)


def test_a_problem_names_the_field(server):
    errors = server.send_json(f"{GALLERY}/search", id="1", crop={"x": 0, "y": 0, "w": 2, "h": 1}, k=-1).json()["errors"]
    assert {error["pointer"] for error in errors} == {"/crop/w", "/k"}
    assert server.get(f"{GALLERY}/items/1/similar", k=-1).json()["errors"][0]["parameter"] == "k"


@pytest.mark.parametrize(
    "body",
    [
        b'{"k": NaN, "id": "1"}',
        b'{"min_score": 1e999}',
        b"[" * 100_000,
        b'{"k": 1, "k": 2}',
        b"\xff",
        b"",
        b"null",
        b'{"k": ' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_cannot_be_read_is_malformed(server, body):
    answer = server.ask(
        "POST", f"{GALLERY}/search", body, Content_Type="application/json", Content_Length=str(len(body))
    )
    assert (answer.status, answer.code) == (400, "bad_request")


def test_compressed_and_unknown_bodies_are_refused(server):
    body = gzip.compress(b'{"id": "1"}')
    answer = server.ask("POST", f"{GALLERY}/search", body, Content_Type="application/json", Content_Encoding="gzip")
    assert answer.status in (400, 415)
    assert server.ask("POST", f"{GALLERY}/search", b"<a/>", Content_Type="text/xml").code == "unsupported_format"


@pytest.mark.parametrize("size", [limits.IMAGE_BYTES + 1, limits.BODY_BYTES + 1])
def test_too_many_bytes_are_refused_by_whichever_limit_is_met_first(server, size):
    answer = server.ask("POST", f"{GALLERY}/search", bytes(size), Content_Type="image/png")
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_far_too_many_bytes_are_refused_before_they_are_sent(server):
    answer = server.ask("POST", f"{GALLERY}/search", Content_Type="image/png", Content_Length=str(1 << 40))
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"


# ---- stored queries


def test_a_stored_query_stands_for_its_picture(server, by_name):
    stored = server.send_form(f"{GALLERY}/queries", image=encoded(draw_picture(4)))
    assert stored.status == 201
    described = stored.json()
    assert stored.headers["location"] == f"{GALLERY}/queries/{described['id']}"
    assert server.get(stored.headers["location"]).json() == described
    assert opened(server.get(described["image"]), "webp").size == (96, 80)
    assert server.get(f"{GALLERY}/queries/{described['id']}/reconstruction").headers["content-type"] == "image/webp"
    found = server.send_json(f"{GALLERY}/search", id=described["id"], k=1).json()
    assert found["query"]["kind"] == "stored"
    assert found["hits"][0]["id"] == by_name["picture-04.png"]["id"]


def test_an_upload_that_is_searched_can_be_asked_about_again_unless_it_should_not_be_kept(server):
    kept = server.send_form(f"{GALLERY}/search", image=PICTURE, k=4).json()
    again = server.send_json(f"{GALLERY}/search", id=kept["query"]["id"], k=4).json()
    assert again["hits"] == kept["hits"]
    forgotten = server.send_form(f"{GALLERY}/search", image=PICTURE, store="false").json()["query"]
    assert (forgotten["id"], forgotten["image"], forgotten["reconstruction_url"]) == (None, None, None)


@pytest.mark.parametrize("rest", ["", "/image", "/reconstruction"])
def test_a_query_that_was_never_stored_is_refused(server, rest):
    assert server.get(f"{GALLERY}/queries/q_nonsense{rest}").code == "no_such_query"


def test_a_picture_that_cannot_be_decoded_is_not_stored(server):
    assert server.send_form(f"{GALLERY}/queries", image=b"GIF89a").status == 422
    assert server.send_json(f"{GALLERY}/queries", id="1").code == "invalid"


# ---- vectors and reconstructions of pictures that are sent


def test_pictures_are_embedded_in_their_order(server, bundle):
    pictures = [encoded(draw_picture(number)) for number in (1, 2, 3)]
    told = server.send_form("/api/v1/embed", image=pictures).json()
    vectors = np.array(told["vectors"])
    assert vectors.shape == (3, told["dims"])
    assert told["model"] == bundle.model_id
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    alone = server.send_form("/api/v1/embed", image=pictures[1], gallery="drawn").json()["vectors"][0]
    np.testing.assert_allclose(alone, vectors[1], atol=1e-5)
    latent = np.array(server.send_json("/api/v1/embed", id="1", kind="code").json()["vectors"][0])
    assert latent.shape == (told["dims"],)
    many = server.send_form("/api/v1/embed", image=pictures * 6)
    assert many.code == "invalid"


def test_a_picture_that_is_sent_is_painted_from_its_code(server):
    assert opened(server.send_form("/api/v1/reconstruct", image=PICTURE, size=48), "webp").size == (48, 48)
    assert opened(server.send_json("/api/v1/reconstruct", id="1", format="png"), "png")
    assert server.send_form("/api/v1/reconstruct?format=json", image=PICTURE).json()["mse"] >= 0


# ---- morphs


@pytest.mark.parametrize(("kind", "image_format"), [("webp", "webp"), ("gif", "gif")])
def test_a_morph_is_an_animation(server, kind, image_format):
    image = opened(server.get(f"{GALLERY}/morph", a=1, b=2, frames=5, size=40, format=kind), image_format)
    assert (image.n_frames, image.size) == (5, (40, 40))


def test_a_morph_is_a_strip_or_an_archive(server):
    assert opened(server.get(f"{GALLERY}/morph", a=1, b=2, frames=4, size=32, format="strip"), "png").size == (128, 32)
    archive = server.get(f"{GALLERY}/morph", a=1, b=2, frames=4, size=32, format="zip")
    assert len(zipfile.ZipFile(io.BytesIO(archive.body)).namelist()) == 4


def test_accept_picks_the_format_and_the_parameter_wins(server):
    def kind(accept: str, **parameters) -> str:
        answer = server.get(f"{GALLERY}/morph", headers={"Accept": accept}, a=1, b=2, frames=2, size=16, **parameters)
        return answer.headers["content-type"]

    assert kind("image/gif") == "image/gif"
    assert kind("application/json") == "application/json"
    assert kind("*/*") == "image/webp"
    assert kind("image/gif", format="strip") == "image/png"


def test_a_morph_tells_its_frames_with_the_nearest_real_pictures(server):
    told = server.get(f"{GALLERY}/morph", a=1, b=2, frames=5, size=32, format="json", nearest_k=2).json()
    assert [frame["t"] for frame in told["frames"]] == [0, 0.25, 0.5, 0.75, 1]
    assert all(len(frame["nearest"]) == 2 for frame in told["frames"])
    assert all(frame["image"].startswith("data:image/webp;base64,") for frame in told["frames"])
    assert (told["a"]["id"], told["b"]["id"]) == ("1", "2")
    bare = server.get(f"{GALLERY}/morph", a=1, b=2, frames=2, size=32, format="json", nearest_k=0).json()
    assert [frame["nearest"] for frame in bare["frames"]] == [[], []]


def test_kept_ends_are_the_pictures_themselves(server):
    told = server.get(f"{GALLERY}/morph", a=1, b=2, frames=3, format="json", keep_ends="true").json()
    first, _, last = told["frames"]
    assert (first["nearest"][0]["id"], first["nearest"][0]["label"]) == ("1", "identical")
    assert (last["nearest"][0]["id"], last["nearest"][0]["label"]) == ("2", "identical")


def test_a_morph_says_how_far_it_is_and_how_like_each_end_its_frames_are(server):
    told = server.get(f"{GALLERY}/morph", a=1, b=2, frames=3, format="json", keep_ends="true").json()
    first, middle, last = (frame["scores"] for frame in told["frames"])
    assert first == pytest.approx([1, told["score"]], abs=1e-4)
    assert last == pytest.approx([told["score"], 1], abs=1e-4)
    assert told["score"] < min(middle) < 1
    assert told["label"] == "weak"
    bare = server.get(f"{GALLERY}/morph", a=1, b=2, frames=2, format="json", nearest_k=0).json()
    assert [frame["scores"] for frame in bare["frames"]] == [[], []]


def test_a_code_on_the_way_is_as_like_as_what_is_painted_from_it(server):
    code = server.get(f"{GALLERY}/items/4/vector", kind="code").json()["vector"]
    sent = server.send_json(
        "/api/v1/morph", a="4", b="2", via=[{"code": code}], frames=3, size=32, format="json"
    ).json()
    assert sent["frames"][1]["scores"][1] == pytest.approx(1, abs=1e-4)
    assert [one["kind"] for one in sent["via"]] == ["code"]


def test_a_morph_leads_past_several_pictures_in_their_order(server):
    options = {"frames": 7, "size": 32, "format": "json", "keep_ends": "true"}
    told = server.get(f"{GALLERY}/morph", a=1, via="3,4", b=2, **options).json()
    assert [one["id"] for one in told["via"]] == ["3", "4"]
    assert [frame["nearest"][0]["id"] for frame in told["frames"][::2]] == ["1", "3", "4", "2"]
    assert [len(frame["scores"]) for frame in told["frames"]] == [4] * 7
    sent = server.send_json("/api/v1/morph", a="1", b="2", via=["3", {"id": "4"}], frames=7, size=32, format="zip")
    linked = server.get(f"{GALLERY}/morph", a=1, via="3,4", b=2, frames=7, size=32, format="zip")
    assert sent.body == linked.body
    assert (
        linked.headers["etag"]
        != server.get(f"{GALLERY}/morph", a=1, b=2, frames=7, size=32, format="zip").headers["etag"]
    )
    half = server.get(f"{GALLERY}/morph/frame", a=1, via=3, b=2, t=0.5, size=32)
    assert half.body == server.get(f"{GALLERY}/morph/frame", a=3, b=2, t=0, size=32).body


def test_uploads_items_and_stored_queries_morph_into_each_other(server):
    stored = server.send_form(f"{GALLERY}/queries", image=PICTURE).json()["id"]
    ends = {"frames": 2, "size": 16}
    assert (
        opened(server.send_form("/api/v1/morph", a=PICTURE, b=encoded(draw_picture(2)), **ends), "webp").n_frames == 2
    )
    assert opened(server.send_form("/api/v1/morph", a=PICTURE, b="2", **ends), "webp")
    picture = {"image_base64": base64.b64encode(PICTURE).decode()}
    assert opened(server.send_json("/api/v1/morph", gallery="drawn", a=stored, b=picture, **ends), "webp")
    assert opened(server.send_json("/api/v1/morph", a={"id": "1"}, b=stored, **ends), "webp")
    assert opened(server.get(f"{GALLERY}/morph", a=1, b=stored, **ends), "webp")


def test_a_code_is_an_end_of_a_morph_as_the_picture_is_that_it_is_the_code_of(server):
    codes = [server.send_json("/api/v1/embed", id=item, kind="code").json()["vectors"][0] for item in "12"]
    asked = {"frames": 3, "size": 16, "format": "json"}
    told = server.send_json("/api/v1/morph", a={"code": codes[0]}, b={"code": codes[1]}, **asked).json()
    pictures = server.send_json("/api/v1/morph", a="1", b="2", **asked).json()
    for seen in ("image", "nearest"):
        assert [frame[seen] for frame in told["frames"]] == [frame[seen] for frame in pictures["frames"]]
    assert (told["a"]["kind"], told["a"]["id"], told["a"]["image"]) == ("code", None, None)
    kept = server.send_json("/api/v1/morph", a={"code": codes[0]}, b="2", keep_ends=True, **asked).json()["frames"]
    assert kept[0]["image"] == told["frames"][0]["image"]
    assert kept[2]["image"] != told["frames"][2]["image"]
    short = server.send_json("/api/v1/morph", a={"code": codes[0][1:]}, b="2")
    assert (short.status, short.code) == (422, "dimension_mismatch")
    large = server.send_json("/api/v1/morph", a={"code": [1e31] * len(codes[0])}, b="2")
    assert (large.status, large.code) == (422, "invalid")


def test_a_link_to_a_morph_is_not_computed_again_while_nothing_changed(server):
    first = server.get(f"{GALLERY}/morph", a=1, b=2, frames=3, size=16)
    assert (
        server.get(
            f"{GALLERY}/morph", headers={"If_None_Match": first.headers["etag"]}, a=1, b=2, frames=3, size=16
        ).status
        == 304
    )
    other = server.get(f"{GALLERY}/morph", a=1, b=3, frames=3, size=16)
    assert other.headers["etag"] != first.headers["etag"]
    assert server.get(f"{GALLERY}/morph", a=1, b=2, frames=3, size=16).body == first.body


def test_one_frame_of_a_morph_comes_for_the_slider(server):
    place = f"{GALLERY}/morph/frame"
    frames = [server.get(place, a=1, b=2, t=t, size=64) for t in (0, 0.5, 1)]
    assert [opened(frame, "webp").size for frame in frames] == [(64, 64)] * 3
    assert len({frame.body for frame in frames}) == 3
    again = server.get(place, a=1, b=2, t=0.5, size=64)
    assert again.body == frames[1].body
    assert "paint" not in again.headers["server-timing"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"a": "1"}, 422),
        ({"a": "1", "b": "2", "frames": 1}, 422),
        ({"a": "1", "b": "2", "frames": 241}, 422),
        ({"a": "1", "b": "2", "size": 5000}, 422),
        ({"a": "1", "b": "2", "frames": 240, "size": 1024}, 422),
        ({"a": "1", "b": "2", "path": "zigzag"}, 422),
        ({"a": "1", "b": "2", "fps": 0}, 422),
        ({"a": "1", "b": "7777"}, 404),
        ({"a": "1", "b": "2", "via": ["7777"]}, 404),
        ({"a": "1", "b": "2", "via": ["3"] * 15}, 422),
        ({"a": "1", "b": {"id": "1", "image_base64": "AAAA"}}, 422),
        ({"a": "1", "b": {}}, 422),
        ({"a": "1", "b": {"id": "2", "code": [1.0]}}, 422),
        ({"a": "x", "b": "2"}, 422),
        ({"a": "1", "b": "2", "gallery": "another"}, 404),
    ],
    ids=str,
)
def test_a_morph_that_cannot_be_made_is_refused(server, fields, status):
    answer = server.send_json("/api/v1/morph", **fields)
    assert (answer.status, answer.code) == (status, answer.code)


# ---- every route


ROUTES = [
    "/healthz",
    "/readyz",
    "/api/v1/info",
    "/api/v1/openapi.json",
    "/api/v1/galleries",
    GALLERY,
    f"{GALLERY}/items",
    f"{GALLERY}/items/1",
    f"{GALLERY}/items/1/image",
    f"{GALLERY}/items/1/image?size=thumb",
    f"{GALLERY}/items/1/similar",
    f"{GALLERY}/items/1/reconstruction",
    f"{GALLERY}/morph?a=1&b=2&frames=2&size=16",
    f"{GALLERY}/morph/frame?a=1&b=2&t=0.5",
    "/problems/busy",
    "/nowhere",
    f"{GALLERY}/items/0",
    f"{GALLERY}/items?limit=0",
    "/api/v1/galleries/no",
    "/",
]


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_has_the_headers_that_keep_a_browser_safe(server, path):
    answer = server.get(path, headers={"X_Request_Id": "my-request.1"})
    headers = answer.headers
    assert headers["x-request-id"] == "my-request.1"
    assert re.search(r"total;dur=[\d.]+", headers["server-timing"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["content-type"].startswith("image/") == headers["content-security-policy"].endswith("sandbox")
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("path", ROUTES)
def test_no_answer_names_a_folder_of_this_machine(server, path, drawn_gallery, pictures):
    body = server.get(path).body
    for place in (drawn_gallery, pictures, pictures.parent):
        assert str(place).encode() not in body


@pytest.mark.parametrize("request_id", ["", "a" * 65, "new\tline", "<b>", "ä"])
def test_a_request_id_that_is_no_plain_word_is_replaced(server, request_id):
    answer = server.get("/healthz", headers={"X_Request_Id": request_id.encode().decode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_a_method_that_a_route_does_not_have_is_refused_with_those_that_it_has(server, method):
    answer = server.ask(method, f"{GALLERY}/items")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_head_gives_the_headers_alone(server):
    answer = server.ask("HEAD", f"{GALLERY}/items/1/image")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_other_sites_and_other_names_are_refused_on_every_route(server):
    for path in (f"{GALLERY}/search", f"{GALLERY}/queries", "/api/v1/embed", "/api/v1/morph", "/api/v1/reconstruct"):
        answer = server.send_form(path, headers={"Sec_Fetch_Site": "cross-site"}, image=PICTURE)
        assert (answer.status, answer.code) == (403, "origin_refused")
    for path in ROUTES:
        answer = server.get(path, headers={"Host": "evil.example"})
        assert (answer.status, answer.code) == (403, "origin_refused"), path
        assert b"drawn" not in answer.body.replace(path.partition("?")[0].encode(), b"")


def test_a_parameter_that_is_given_twice_is_refused(server):
    assert server.get(f"{GALLERY}/items?limit=1&limit=2").code == "bad_request"


def test_an_unknown_page_is_a_page_for_a_browser_and_a_problem_for_a_program(server):
    assert server.get("/nowhere").code == "not_found"
    page = server.get("/nowhere", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert server.get("/api/v1/nowhere", headers={"Accept": "text/html"}).code == "not_found"
