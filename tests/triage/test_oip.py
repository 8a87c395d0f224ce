"""The Open Inference Protocol's codec: what Triton's own client writes is read, and it reads what is written; garbage is one
named error."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from triage.calling.oip import MOST_IMAGES, Inference, Pixels, Tensor, parse, reply
from triage.errors import BadRequest, Invalid, TooLarge

http = pytest.importorskip("tritonclient.http")
LIMIT = 10**6


def written(images: np.ndarray[Any, Any], datatype: str, binary: bool = True, **more: Any) -> tuple[bytes, str | None]:
    """Body and header as the client sends them."""
    tensor = http.InferInput("image", list(images.shape), datatype)
    tensor.set_data_from_numpy(images, binary_data=binary)
    body, length = http.InferenceServerClient.generate_request_body([tensor], **more)
    return body, None if length is None else str(length)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5), st.booleans())
def test_encoded_images_of_tritons_client(images: list[bytes], flat: bool) -> None:
    shape = (len(images),) if flat else (len(images), 1)
    array = np.empty(len(images), dtype=np.object_)
    array[:] = images
    body, length = written(array.reshape(shape), "BYTES", request_id="r1")
    asked = parse(body, length, LIMIT)
    assert (asked.images, asked.id, asked.outputs, asked.binary) == (images, "r1", None, True)


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(3))),
    st.booleans(),
)
def test_pixels_of_tritons_client(pixels: np.ndarray[Any, Any], binary: bool) -> None:
    body, length = written(pixels, "UINT8", binary)
    found = parse(body, length, LIMIT).images
    assert len(found) == len(pixels)
    for image, array in zip(found, pixels, strict=True):
        assert isinstance(image, Pixels)
        assert (image.height, image.width, bytes(image.data)) == (*array.shape[:2], array.tobytes())


def test_images_in_json_are_base64_nested_or_not() -> None:
    for shape, data in (([1], ["aGk="]), ([1, 1], [["aGk="]])):
        body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": shape, "data": data}]}
        assert parse(json.dumps(body).encode(), None, LIMIT).images == [b"hi"]


@settings(max_examples=400)
@given(st.binary(max_size=300), st.none() | st.text(max_size=6), st.booleans())
def test_garbage_is_one_named_error(tail: bytes, length: str | None, like: bool) -> None:
    start = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":9}}]}'
    body, said = start + tail if like else tail, length if length is not None or not like else str(len(start))
    assert "; " in told(body, said)


def told(body: bytes, length: str | None) -> str:
    """What is said against a body; of one that is none the worse, how many images it has."""
    try:
        return f"taken; {len(parse(body, length, LIMIT).images)} images"
    except (BadRequest, Invalid, TooLarge) as error:
        return str(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "x"}, "the model takes one input; send 'image'"),
        ({"datatype": "FP32"}, "is no tensor of images; send BYTES"),
        ({"shape": [2]}, "the shape says 2 images and 1 are there"),
        ({"shape": [0], "data": []}, "1 to 64 images and this one 0"),
        ({"shape": [MOST_IMAGES + 1]}, "send several requests"),
        ({"shape": [-1]}, "1 to 64 images"),
        ({"data": ["no base64!"]}, "base64"),
        ({"data": [5]}, "base64"),
        ({"data": None}, "base64"),
        ({"datatype": "UINT8", "shape": [1, 1, 3], "data": [1, 2, 300]}, "whole numbers from 0 to 255"),
        ({"datatype": "UINT8", "shape": [1, 2, 3], "data": [1, 2, 3]}, "does not fit 3 bytes of pixels"),
        ({"data": [base64.b64encode(bytes(101)).decode()]}, "image 0 has more than 100 bytes; send a smaller one"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], says: str) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGk="], **change}
    with pytest.raises((BadRequest, Invalid, TooLarge), match=says.replace("[", r"\[")):
        parse(json.dumps({"inputs": [tensor]}).encode(), None, 100)


@pytest.mark.parametrize("where", ["data", "parameters", "shape", "inputs"])
def test_a_json_that_would_become_many_times_its_size_is_refused_before_it_is_read(where: str) -> None:
    image = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [0] * 12}
    many = b"[%s0]" % (b"0," * 2**22)
    tensor = {**image, where: "MANY"} if where in image else image
    asked = {
        "inputs": "MANY" if where == "inputs" else [tensor],
        "parameters": {"a": "MANY"} if where == "parameters" else {},
    }
    body = json.dumps(asked).encode()
    assert parse(json.dumps({"inputs": [image]}).encode(), None, LIMIT).images
    with pytest.raises(TooLarge, match="more than 4,194,304 values; send tensors in binary"):
        parse(body.replace(b'"MANY"', many), None, LIMIT)


def test_elements_without_bytes_are_counted_while_they_are_read() -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 40_000_000}}
            ]
        }
    ).encode()
    with pytest.raises(Invalid, match="a request has 1 to 64 images and this one 65"):
        parse(head + bytes(40_000_000), str(len(head)), LIMIT)


def test_images_in_a_large_json_are_taken() -> None:
    body = {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [2], "data": [base64.b64encode(bytes(LIMIT)).decode()] * 2}
        ]
    }
    assert parse(json.dumps(body).encode(), None, LIMIT).images == [bytes(LIMIT)] * 2


def test_lengths_that_lie() -> None:
    body, length = written(np.array([b"abc"], dtype=np.object_), "BYTES")
    for wrong in ("0", "-1", "x", str(len(body) + 1), "٣"):
        with pytest.raises(BadRequest, match="Inference-Header-Content-Length does not fit"):
            parse(body, wrong, LIMIT)
    with pytest.raises(BadRequest, match="binary_data_size does not fit"):
        parse(body[:-1], length, LIMIT)
    start = len(body) - 7
    with pytest.raises(BadRequest, match="within an element"):
        parse(body[:start] + struct.pack("<I", 99) + body[start + 4 :], length, LIMIT)


@given(
    st.lists(st.text(max_size=20), min_size=1, max_size=4),
    st.lists(st.floats(0, 1, width=32) | st.just(math.nan), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_tritons_client_reads_what_is_written(texts: list[str], scores: list[float], first: bool, second: bool) -> None:
    asked = Inference("r9", [], {}, {"route": first, "probability": second}, False)
    tensors = {
        "id": Tensor("BYTES", (1,), ["a"]), "route": Tensor("BYTES", (len(texts),), texts),
        "probability": Tensor("FP32", (1, len(scores)), scores),
    }  # fmt: skip
    body, length = reply(asked, "default", "1", tensors)
    found = http.InferenceServerClient.parse_response_body(body, header_length=length)
    said = found.get_response()
    assert (said["id"], said["model_name"], said["model_version"]) == ("r9", "default", "1")
    assert [output["name"] for output in said["outputs"]] == ["route", "probability"]
    route = [each.decode() if isinstance(each, bytes) else each for each in found.as_numpy("route")]
    assert route == texts
    assert np.array_equal(found.as_numpy("probability"), np.array([scores], np.float32), equal_nan=True)


def test_an_output_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="'scores' is no output; ask for some of id"):
        reply(Inference("", [], {}, {"scores": False}, False), "m", "1", {"id": Tensor("BYTES", (1,), ["a"])})
