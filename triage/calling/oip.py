"""The Open Inference Protocol, version 2, over HTTP: tensors in JSON or behind it in binary. Pure.

A request names one input `image`: BYTES of shape [N] or [N, 1], each element one encoded image (as text in JSON: base64), or
UINT8 of shape [N, H, W, 3] or [H, W, 3], upright RGB pixels. With the header `Inference-Header-Content-Length` the body is so
many bytes of JSON and then the tensors that have a `binary_data_size`; a BYTES element there has its length before it, uint32
little endian. https://github.com/kserve/open-inference-protocol, and Triton's binary data extension.
"""

from __future__ import annotations

import binascii
import math
import struct
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from triage.errors import BadRequest, Invalid, TooLarge

INPUT = "image"
MOST_IMAGES = 64
"""In one request."""
_SMALL, _MOST_VALUES = 2**20, 2**22
"""A JSON of more bytes than the first may hold so many values at most: each becomes an object of many times its size."""
Datatype = Literal["BYTES", "FP32"]


class _Parameterised(msgspec.Struct):
    parameters: dict[str, Any] = {}


class _Input(_Parameterised, kw_only=True):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw()


class _Output(_Parameterised, kw_only=True):
    name: str


class _Request(_Parameterised, kw_only=True):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] = []


@dataclass(frozen=True)
class Pixels:
    """An image that came as a tensor."""

    height: int
    width: int
    data: memoryview
    """Height * width * 3 bytes."""


@dataclass(frozen=True)
class Inference:
    """A request."""

    id: str
    images: list[bytes | Pixels]
    parameters: dict[str, Any]
    outputs: dict[str, bool] | None
    """Name -> in binary; None: all of them."""
    binary: bool
    """For outputs that are not named."""


@dataclass(frozen=True)
class Tensor:
    """One output. `data` is flat: text for BYTES, float32 for FP32, where NaN stands for a score that nobody gave."""

    datatype: Datatype
    shape: tuple[int, ...]
    data: list[str] | list[float]


_decoder = msgspec.json.Decoder(_Request)


def parse(body: bytes, header_length: str | None, limit: int) -> Inference:
    """`limit` bytes is the largest image. Raises BadRequest, Invalid, TooLarge."""
    size = len(body)
    if header_length is not None:
        size = int(header_length) if header_length.isascii() and header_length.isdecimal() else -1
        if not 0 < size <= len(body):
            raise BadRequest(
                "Inference-Header-Content-Length does not fit the body; send the length of its JSON in bytes"
            )
    if size > _SMALL and sum(body.count(mark, 0, size) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise TooLarge(f"the JSON has more than {_MOST_VALUES:,} values; send tensors in binary, or images as BYTES")
    try:
        asked = _decoder.decode(memoryview(body)[:size])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is no inference request ({error}); see the Open Inference Protocol") from None
    if len(asked.inputs) != 1 or asked.inputs[0].name != INPUT:
        raise Invalid(f"the model takes one input; send {INPUT!r} and nothing else")
    given = asked.inputs[0]
    binary = _size(given.parameters.get("binary_data_size"))
    if size + (binary or 0) != len(body):
        raise BadRequest("binary_data_size does not fit the body; send as many bytes behind the JSON as it says")
    images = _images(given, None if binary is None else memoryview(body)[size:])
    for number, image in enumerate(images):
        if (len(image) if isinstance(image, bytes) else len(image.data)) > limit:
            raise TooLarge(f"image {number} has more than {limit:,} bytes; send a smaller one")
    outputs = {each.name: each.parameters.get("binary_data") for each in asked.outputs}
    all_binary = asked.parameters.get("binary_data_output") is True
    named = {name: all_binary if said is None else said is True for name, said in outputs.items()}
    return Inference(asked.id, images, asked.parameters, named or None, all_binary)


def _size(said: Any) -> int | None:
    if said is None:
        return None
    if type(said) is not int or said < 0:
        raise BadRequest("binary_data_size is no number of bytes; send the length of the tensor")
    return said


def _images(given: _Input, binary: memoryview | None) -> list[bytes | Pixels]:
    shape = given.shape
    if given.datatype == "BYTES" and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        _check_count(shape[0])
        elements: list[bytes | Pixels] = list(_texts(given) if binary is None else _elements(binary))
        if len(elements) != shape[0]:
            raise Invalid(f"the shape says {shape[0]} images and {len(elements)} are there; send as many as it says")
        return elements
    if given.datatype == "UINT8" and len(shape) in (3, 4) and shape[-1] == 3 and min(shape) > 0:
        count, height, width = (1, *shape[:2]) if len(shape) == 3 else shape[:3]
        _check_count(count)
        data = _bytes(given) if binary is None else binary
        if math.prod(shape) != len(data):
            raise Invalid(f"the shape {shape} does not fit {len(data):,} bytes of pixels; send one byte a value")
        step = height * width * 3
        return [Pixels(height, width, data[at : at + step]) for at in range(0, len(data), step)]
    raise Invalid(
        f"{given.datatype[:20]} of shape {shape[:8]} is no tensor of images; send BYTES [N], one encoded image each, or UINT8 "
        "[N, H, W, 3]"
    )


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST_IMAGES:
        raise Invalid(f"a request has 1 to {MOST_IMAGES} images and this one {count}; send several requests")


def _flat(data: Any) -> list[Any]:
    """Tensors in JSON may be nested like their shape."""
    flat: list[Any] = []
    stack = [data]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack.extend(reversed(each))
        else:
            flat.append(each)
    return flat


def _in_json(given: _Input) -> list[Any]:
    try:
        return _flat(msgspec.json.decode(given.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest(
            f"{INPUT!r} has no data; send it in 'data', or behind the JSON with binary_data_size"
        ) from None


def _texts(given: _Input) -> list[bytes]:
    try:
        return [b64decode(text, validate=True) for text in _in_json(given)]
    except (binascii.Error, TypeError, ValueError):
        raise Invalid("an image in JSON is text in base64; encode it so, or send it in binary") from None


def _bytes(given: _Input) -> memoryview:
    try:
        return memoryview(bytes(_in_json(given)))
    except (TypeError, ValueError):
        raise Invalid("a UINT8 tensor holds whole numbers from 0 to 255; send pixels so, or in binary") from None


def _elements(binary: memoryview) -> list[bytes]:
    found, at = list[bytes](), 0
    while at < len(binary):
        _check_count(len(found) + 1)  # four bytes make an element: there may be as many millions as one likes
        if at + 4 > len(binary):
            raise BadRequest("a BYTES tensor ends within a length; send each element with its length before it")
        (length,) = struct.unpack_from("<I", binary, at)
        at += 4
        if at + length > len(binary):
            raise BadRequest("a BYTES tensor ends within an element; send each element with its length before it")
        found.append(bytes(binary[at : at + length]))
        at += length
    return found


def reply(asked: Inference, model: str, version: str, tensors: Mapping[str, Tensor]) -> tuple[bytes, int | None]:
    """Body, and the length of its JSON where tensors follow in binary. Raises Invalid for an output that there is not."""
    wanted = asked.outputs or dict.fromkeys(tensors, asked.binary)
    unknown = [name for name in wanted if name not in tensors]
    if unknown:
        raise Invalid(f"{unknown[0]!r} is no output; ask for some of {', '.join(tensors)}")
    outputs, behind = [], []
    for name, binary in wanted.items():
        tensor = tensors[name]
        output: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if binary:
            behind.append(_packed(tensor))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = [None if value != value else value for value in tensor.data]
        outputs.append(output)
    body: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if asked.id:
        body["id"] = asked.id
    encoded = msgspec.json.encode(body)
    return (b"".join((encoded, *behind)), len(encoded)) if behind else (encoded, None)


def _packed(tensor: Tensor) -> bytes:
    if tensor.datatype == "FP32":
        return np.array(tensor.data, "<f4").tobytes()
    texts = [str(text).encode() for text in tensor.data]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
