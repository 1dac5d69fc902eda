"""Parameters and pictures are read with limits, whatever is sent."""

import base64
import io
import json
from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from search_server import limits
from search_server.api.schemas import NoParameters, SearchBody, SearchOptions
from search_server.incoming import Incoming, decode_base64, loads_strictly, read_request
from train.errors import UserError

APP = Flask(__name__)


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return caught.value.problem.code


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "-1e999",
        "1" * 21,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        "[" * 100_000,
        "[" * 40 + "]" * 40,
        "",
        "{",
        "{'a': 1}",
        '{"a": 1} x',
        "\ufeff{}",
    ],
)
def test_json_that_json_does_not_have_is_malformed(text):
    assert refused(lambda: loads_strictly(text.encode())) == "bad_request"


def test_bytes_that_are_no_text_are_malformed():
    assert refused(lambda: loads_strictly(b'{"a": "\xff"}')) == "bad_request"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_python_reads_it(value):
    assert loads_strictly(json.dumps(value).encode()) == value


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["", "data:image/png;base64,"]), st.booleans())
def test_base64_comes_back_as_the_bytes_it_was(data, prefix, wrapped):
    text = (base64.encodebytes if wrapped else base64.b64encode)(data).decode()
    assert decode_base64(prefix + text, "image") == data


@pytest.mark.parametrize("text", ["A", "AAA", "AA=A", "AAAA=", "AAAA!", "A-_A", "data:image/png,AAAA", "Bäume+++"])
def test_text_that_is_no_base64_is_named_so(text):
    assert refused(lambda: decode_base64(text, "image")) == "bad_base64"


def test_base64_of_nothing_is_empty_and_of_too_much_is_refused_before_it_is_decoded():
    assert refused(lambda: decode_base64("", "image")) == "empty"
    assert refused(lambda: decode_base64("!" * (limits.IMAGE_BYTES * 4 // 3 + 8), "image")) == "body_too_large"


def read(body: bytes | dict, content_type: str, address: str = "/") -> Incoming[SearchBody]:
    with APP.test_request_context(address, method="POST", data=body, content_type=content_type):
        query = SearchOptions.model_validate({}) if address == "/" else SearchOptions(k=3)
        return read_request(SearchBody, query, image_fields=("image",))


def test_a_picture_may_come_in_a_form_or_as_the_whole_body():
    form = read({"image": (io.BytesIO(b"picture"), "cat.png"), "k": "7", "crop": "0,0,.5,1"}, "multipart/form-data")
    assert form.file("image").data == b"picture"
    assert form.file("image").name == "cat.png"
    assert (form.options.k, form.options.crop.box()) == (7, (0, 0, 0.5, 1))
    assert read(b"picture", "image/png").file("image").data == b"picture"
    assert read(b"picture", "application/octet-stream").file("image").data == b"picture"


def test_json_may_name_a_picture_and_the_address_may_hold_the_options():
    incoming = read(b'{"id": "12", "min_score": 0.5}', "application/json", "/?k=3")
    assert (incoming.options.id, incoming.options.k, incoming.options.min_score) == ("12", 3, 0.5)


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"[]", "application/json", "bad_request"),
        (b"3", "application/json", "bad_request"),
        (b'{"k": "3"}', "application/json", "bad_request"),
        (b'{"k": 3.0}', "application/json", "bad_request"),
        (b'{"k": true}', "application/json", "bad_request"),
        (b'{"id": 12}', "application/json", "bad_request"),
        (b'{"k": 0}', "application/json", "invalid"),
        (b'{"k": 99999999}', "application/json", "invalid"),
        (b'{"id": "../etc"}', "application/json", "invalid"),
        (b'{"id": "12\\u0000"}', "application/json", "invalid"),
        (b'{"colour": "red"}', "application/json", "invalid"),
        (b'{"crop": {"x": 0.5, "y": 0, "w": 0.6, "h": 1}}', "application/json", "invalid"),
        (b'{"crop": {"x": 0, "y": 0, "w": 0, "h": 1}}', "application/json", "invalid"),
        ({"k": "many"}, "multipart/form-data", "bad_request"),
        ({"min_score": "nan"}, "multipart/form-data", "bad_request"),
        ({"min_score": "1e999"}, "multipart/form-data", "bad_request"),
        ({"k": ["1", "2"]}, "multipart/form-data", "bad_request"),
        ({"crop": "1,2"}, "multipart/form-data", "bad_request"),
        ({"photo": (io.BytesIO(b"x"), "x.png")}, "multipart/form-data", "bad_request"),
        ({"image": (io.BytesIO(b""), "x.png")}, "multipart/form-data", "empty"),
        (b"", "image/png", "empty"),
        (b"<xml/>", "text/xml", "unsupported_format"),
        (b"k=3", "application/x-www-form-urlencoded", "unsupported_format"),
        (b"x" * (limits.IMAGE_BYTES + 1), "image/png", "body_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # one body has 20 MB
)
def test_what_cannot_be_used_is_refused_with_its_code(body, content_type, code):
    assert refused(lambda: read(body, content_type)) == code


def test_a_parameter_in_the_address_and_in_the_body_is_one_too_many():
    assert refused(lambda: read(b'{"k": 5}', "application/json", "/?k=3")) == "bad_request"


def test_a_route_without_parameters_takes_none():
    with APP.test_request_context("/", method="POST", json={"k": 1}):
        assert refused(lambda: read_request(NoParameters, NoParameters())) == "invalid"
