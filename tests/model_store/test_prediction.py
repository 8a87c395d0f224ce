"""The wire reply: what was encoded comes back to the bit; anything else is one ReplyError."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model_store.errors import ReplyError
from model_store.prediction import MAGIC, Prediction, check_scores, decode, encode

scores = st.floats(0, 1, width=32)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
predictions = st.builds(
    Prediction,
    graph=texts,
    provider=texts,
    precision=texts,
    probability=arrays(np.float32, st.integers(0, 40), elements=scores),
    typicality=scores.map(np.float32),
    embedding=arrays(np.float16, st.integers(0, 40), elements=st.floats(-60000, 60000, width=16)),
    decode_ms=st.floats(0, 1e6).map(lambda value: round(value, 3)),
    run_ms=st.floats(0, 1e6).map(lambda value: round(value, 3)),
)
ONE = Prediction(
    "sha256:" + "a" * 64, "cpu", "fp32", np.array([0.25, 1, 0], np.float32), np.float32(0.5),
    np.array([1, -2], np.float16), 1.5, 2.5,
)  # fmt: skip


def with_header(**changes: Any) -> bytes:
    """`ONE` on the wire with some of its header's values changed; None removes one."""
    data = encode(ONE)
    (length,) = struct.unpack_from("<H", data, 4)
    header = {**json.loads(data[6 : 6 + length]), **changes}
    text = json.dumps({key: value for key, value in header.items() if value is not None}).encode()
    return MAGIC + struct.pack("<H", len(text)) + text + data[6 + length :]


@given(predictions)
@settings(deadline=None)
def test_what_was_encoded_comes_back_to_the_bit(prediction: Prediction) -> None:
    back = decode(encode(prediction))
    assert back.probability.tobytes() == prediction.probability.tobytes()
    assert back.embedding.tobytes() == prediction.embedding.tobytes()
    assert back.typicality.tobytes() == prediction.typicality.tobytes()
    for name in ("graph", "provider", "precision", "decode_ms", "run_ms"):
        assert getattr(back, name) == getattr(prediction, name)


def test_a_thousand_classes_and_a_wide_embedding_stay_small() -> None:
    large = Prediction("g", "cpu", "fp32", np.zeros(1000, np.float32), np.float32(1), np.zeros(1280, np.float16))
    assert len(encode(large)) < 4 * 1000 + 2 * 1280 + 200


def test_other_byte_orders_and_strides_are_written_right() -> None:
    odd = Prediction("g", "cpu", "fp32", np.linspace(0, 1, 6, dtype=">f4")[::2], np.float32(1), np.ones(3, ">f2"))
    assert np.array_equal(decode(encode(odd)).probability, odd.probability)
    assert np.array_equal(decode(encode(odd)).embedding, odd.embedding)


def test_every_truncation_is_a_reply_error() -> None:
    data = encode(ONE)
    for end in range(len(data)):
        with pytest.raises(ReplyError):
            decode(data[:end])


def test_anything_appended_is_a_reply_error() -> None:
    with pytest.raises(ReplyError, match="cut short"):
        decode(encode(ONE) + b"\0")


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_a_reply_error(data: bytes, magic: bool) -> None:
    with pytest.raises(ReplyError):
        decode(MAGIC + data if magic else data)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_changed_bytes_are_a_sound_prediction_or_a_reply_error(at: int, new: bytes) -> None:
    data = encode(ONE)
    at %= len(data)
    try:
        back = decode(data[:at] + new + data[at + len(new) :])
    except ReplyError:
        return
    check_scores(back.probability, back.typicality)
    assert isinstance(back.graph, str)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": -1, "embedding": 10},
        {"classes": 5, "embedding": -2},
        {"classes": 10**400},
        {"classes": "3"},
        {"classes": 3.5},
        {"classes": True},
        {"classes": None},
        {"embedding": [2]},
        {"graph": 7},
        {"provider": []},
        {"precision": {}},
        {"graph": None},
        {"decode_ms": "soon"},
        {"run_ms": float("nan")},
        {"decode_ms": float("inf")},
        {"run_ms": -1.0},
    ],
    ids=str,
)
def test_a_header_that_says_the_impossible_is_a_reply_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ReplyError):
        decode(with_header(**changes))


def test_a_header_may_grow() -> None:
    assert decode(with_header(later="news")).graph == ONE.graph


@pytest.mark.parametrize("header", [b"[" * 60_000, b"[]", b"null", b"\xff\xfe", b'{"graph":', b"9" * 60_000])
def test_a_header_that_is_no_object_is_a_reply_error(header: bytes) -> None:
    with pytest.raises(ReplyError):
        decode(MAGIC + struct.pack("<H", len(header)) + header + bytes(40))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.001, 1.0001])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_probability_that_is_none_is_refused(value: float, position: int) -> None:
    probability = ONE.probability.copy()
    probability[position] = value
    data = encode(Prediction("g", "cpu", "fp32", probability, np.float32(1), ONE.embedding))
    with pytest.raises(ReplyError, match="broken on this provider"):
        decode(data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_typicality_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ReplyError):
        decode(encode(Prediction("g", "cpu", "fp32", ONE.probability, np.float32(value), ONE.embedding)))


def test_the_messages_say_what_to_look_at() -> None:
    with pytest.raises(ReplyError, match="is this a Second Reader handler"):
        decode(b"<html>")
    with pytest.raises(ReplyError, match="may have been stopped while it answered"):
        decode(encode(ONE)[:-1])
    with pytest.raises(ReplyError, match="versions may differ"):
        decode(with_header(graph=None))
