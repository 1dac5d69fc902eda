"""What the model makes of vectors and pictures, and why it finds them alike."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import AVERAGED_SIZE, draw_picture, encoded

API = "/api/v1"
GALLERY = f"{API}/galleries/drawn"


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def from_uri(uri: str) -> Image.Image:
    import base64

    return opened(base64.b64decode(uri.split(",", 1)[1]))


def test_an_items_code_is_painted_as_its_reconstruction_is(server):
    told = server.get(f"{GALLERY}/items/4/vector", kind="code").json()
    painted = server.ask(
        "POST",
        f"{API}/decode",
        _json(code=told["vector"], format="png"),
        Content_Type="application/json",
    )
    assert painted.status == 200, painted.body
    seen = server.get(f"{GALLERY}/items/4/reconstruction", format="png")
    np.testing.assert_array_equal(np.asarray(opened(painted.body)), np.asarray(opened(seen.body)))
    several = server.send_json(f"{API}/decode", codes=[told["vector"]] * 3).json()
    assert len(several["images"]) == 3


def _json(**fields) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"code": [0.0] * 5}, "dimension_mismatch"),
        ({"codes": [[0.0] * 192, [0.0] * 191]}, "dimension_mismatch"),
        ({"code": []}, "invalid"),
        ({"code": ["x"] * 192}, "bad_request"),
        ({"code": [1e300] * 192}, "invalid"),
        ({}, "invalid"),
        ({"code": [0.0] * 192, "codes": [[0.0] * 192]}, "invalid"),
        ({"codes": [[0.0] * 192] * 65}, "invalid"),
        ({"codes": [[0.0] * 192] * 2, "format": "png"}, "invalid"),
    ],
)
def test_what_is_no_code_is_refused(server, fields, code):
    assert server.send_json(f"{API}/decode", **fields).code == code


def test_a_vector_comes_as_json_or_as_numpy_writes_it(server):
    told = server.get(f"{GALLERY}/items/4/vector").json()
    assert (told["kind"], told["dims"]) == ("search", 192)
    assert np.linalg.norm(told["vector"]) == pytest.approx(1, abs=1e-5)
    packed = server.get(f"{GALLERY}/items/4/vector", format="npy")
    assert packed.headers["content-type"] == "application/x-npy"
    loaded = np.load(io.BytesIO(packed.body), allow_pickle=False)
    np.testing.assert_allclose(loaded, told["vector"], rtol=1e-6)
    assert server.get(f"{GALLERY}/items/999/vector").code == "no_such_item"


def test_several_pictures_are_embedded_into_one_array(server):
    pictures = [encoded(draw_picture(number)) for number in range(3)]
    told = server.send_form(f"{API}/embed", image=pictures).json()["vectors"]
    packed = server.send_form(f"{API}/embed", image=pictures, format="npy")
    np.testing.assert_allclose(np.load(io.BytesIO(packed.body), allow_pickle=False), told, rtol=1e-6)


def test_an_error_map_shows_where_the_reconstruction_differs(server):
    place = f"{GALLERY}/items/4/error-map"
    answer = server.get(place, format="png")
    image = opened(answer.body)
    assert image.size == (AVERAGED_SIZE, AVERAGED_SIZE)
    assert np.asarray(image).max() == 255
    assert server.get(place, format="png", headers={"If_None_Match": answer.headers["etag"]}).status == 304


def test_what_two_pictures_share_is_bright_on_both_and_what_only_one_has_is_not(server):
    base = draw_picture(1, 96, 96)
    left = base.copy()
    other = draw_picture(2, 96, 96)
    left.paste(other.crop((48, 0, 96, 96)), (48, 0))  # its right half is another picture's
    told = server.send_form(f"{API}/explain", a=encoded(base), b=encoded(left), grid=4).json()
    for part in ("a", "b"):
        weights = np.array(told[part]["weights"])
        assert weights.shape == (4, 4)
        assert weights[:, :2].mean() > weights[:, 2:].mean()
        assert from_uri(told[part]["image"]).size == (AVERAGED_SIZE, AVERAGED_SIZE)
    same = server.send_json(f"{API}/explain", a="3", b="3").json()
    assert same["score"] == pytest.approx(1, abs=1e-4)
    assert same["a"] == same["b"]
    assert server.send_json(f"{API}/explain", a="3").code == "invalid"


def test_the_main_axes_of_a_gallery_come_with_what_lies_on_them(server):
    answer = server.get(f"{GALLERY}/axes", count=3, steps=5)
    axes = answer.json()["axes"]
    shares = [axis["share"] for axis in axes]
    assert len(axes) == 3
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) < 1
    assert axes[0]["steps"] == [-2, -1, 0, 1, 2]
    assert len(axes[0]["images"]) == 5
    assert axes[0]["ends"][0] != axes[0]["ends"][1]
    assert (
        server.get(f"{GALLERY}/axes", count=3, steps=5, headers={"If_None_Match": answer.headers["etag"]}).status == 304
    )


def test_a_code_made_from_the_axes_vectors_is_painted_as_the_axis_is(server):
    told = server.get(f"{GALLERY}/axes", count=2, steps=3, include="vectors").json()
    mean, axis = np.array(told["mean"]), told["axes"][1]
    codes = [(mean + step * axis["deviation"] * np.array(axis["direction"])).tolist() for step in axis["steps"]]
    painted = server.send_json(f"{API}/decode", codes=codes).json()["images"]
    for image, expected in zip(painted, axis["images"], strict=True):
        np.testing.assert_allclose(np.asarray(from_uri(image)), np.asarray(from_uri(expected)), atol=8)
    assert "direction" not in {key for key, value in server.get(f"{GALLERY}/axes").json()["axes"][0].items() if value}


def test_the_ends_of_an_axis_are_the_pictures_that_lie_farthest_out(server):
    told = server.get(f"{GALLERY}/axes", count=1, include="vectors").json()
    [axis] = told["axes"]

    def place(number: str) -> float:
        code = server.get(f"{GALLERY}/items/{number}/vector", kind="code").json()["vector"]
        return float((np.array(code) - told["mean"]) @ axis["direction"])

    low, high = [place(number) for number in axis["low"]], [place(number) for number in axis["high"]]
    assert low == sorted(low)
    assert high == sorted(high, reverse=True)
    assert max(low) < 0 < min(high)
    assert [axis["low"][0], axis["high"][0]] == axis["ends"]


def test_painted_codes_come_with_the_real_pictures_nearest_to_them(server):
    code = server.get(f"{GALLERY}/items/4/vector", kind="code").json()["vector"]
    told = server.send_json(f"{API}/decode", codes=[code, [0.2] * 192], nearest_k=3).json()
    assert [len(hits) for hits in told["nearest"]] == [3, 3]
    assert told["nearest"][0][0]["id"] == "4"
    assert told["nearest"][0] != told["nearest"][1]
    assert server.send_json(f"{API}/decode", codes=[code]).json()["nearest"] == [[]]


@pytest.mark.parametrize(("by", "names"), [("folder", {"square", "round", "(no folder)"}), ("cluster", None)])
def test_prototypes_stand_for_folders_or_clusters(server, by, names):
    told = server.get(f"{GALLERY}/prototypes", by=by, count=5).json()
    groups = told["prototypes"]
    assert sum(group["items"] for group in groups) == told["items"] == 50
    assert [group["items"] for group in groups] == sorted((group["items"] for group in groups), reverse=True)
    if names:
        assert {group["name"] for group in groups} == names
    for group in groups:
        assert from_uri(group["image"]).size == (AVERAGED_SIZE, AVERAGED_SIZE)
        assert server.get(f"{GALLERY}/items/{group['nearest']}").status == 200
        assert group["members"][0] == group["nearest"]
        assert len(set(group["members"])) == min(group["items"], 8)
        if by == "folder":
            asked = json.dumps(group["filter"])
            passing = server.get(f"{GALLERY}/items", filter=asked).json()["items"]
            assert len(passing) == group["items"]
            assert set(group["members"]) <= {item["id"] for item in passing}
        else:
            assert group["filter"] is None


def test_a_model_that_was_not_trained_to_clean_says_so_unless_it_is_asked_all_the_same(server):
    picture = encoded(draw_picture(3))
    refused = server.send_form(f"{API}/denoise", image=picture)
    assert (refused.status, refused.code) == (409, "not_trained")
    done = server.send_form(f"{API}/denoise", image=picture, anyway="true", format="png")
    assert opened(done.body).size == (AVERAGED_SIZE, AVERAGED_SIZE)


def test_a_morph_can_be_an_animated_png(server):
    answer = server.get(f"{GALLERY}/morph", a=1, b=2, frames=4, format="apng", size=32)
    assert answer.headers["content-type"] == "image/apng"
    image = opened(answer.body)
    assert (image.format, image.n_frames) == ("PNG", 4)


def test_models_of_the_workspace_are_listed_and_shown(bundle, drawn_gallery, tmp_path):
    import shutil

    from tests.search_server.conftest import serving

    models = tmp_path / "lookalike" / "models"
    shutil.copytree(bundle.folder, models / "averaging")
    (models / "rubbish").mkdir()
    with serving(drawn_gallery, log=tmp_path / "log") as server:
        [told] = server.get(f"{API}/models").json()["models"]
        assert (told["name"], told["dims"], told["galleries"]) == ("averaging", 192, ["drawn"])
        assert server.get(f"{API}/models/averaging").json() == told
        for missing in ("rubbish", "nothing"):
            assert server.get(f"{API}/models/{missing}").code == "no_such_model"
        assert server.get(f"{API}/models/averaging/report").code == "empty"
        (models / "averaging" / "report.html").write_text("<h1>It is good</h1>")
        report = server.get(f"{API}/models/averaging/report")
        assert report.body == b"<h1>It is good</h1>"
        assert "sandbox" in report.headers["content-security-policy"]
