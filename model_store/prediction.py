"""A model's answer to one image, and its form on the wire: the handler writes it, the gateway reads it.

Layout, little-endian: `SRP1`, uint16 length of a JSON header, the header, float32 probability[C], float32
typicality, float16 embedding[D]. JSON for the whole would cost milliseconds at 1,000 classes; this costs
microseconds.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from model_store.errors import ReplyError

MAGIC = b"SRP1"
MEDIA_TYPE = "application/vnd.secondreader.prediction"


@dataclass(frozen=True)
class Prediction:
    """Scores of one image, with the names of what produced them."""

    graph: str
    """`sha256:...` of the model.onnx that ran."""
    provider: str
    precision: str
    probability: npt.NDArray[np.float32]
    """`[C]`, one sigmoid per head in the manifest's order."""
    typicality: np.float32
    """Share of normal tuning images that are less typical than this one."""
    embedding: npt.NDArray[np.float16]
    """`[D]`"""
    decode_ms: float = 0.0
    run_ms: float = 0.0
    together: int = 1
    """Images that whoever said this takes in one request; more than one come and go as `parcel`."""


class _Header(msgspec.Struct, frozen=True):
    """The JSON between the magic and the arrays; keys that a later version adds are skipped."""

    graph: str
    provider: str
    precision: str
    classes: Annotated[int, msgspec.Meta(ge=0)]
    embedding: Annotated[int, msgspec.Meta(ge=0)]
    decode_ms: Annotated[float, msgspec.Meta(ge=0)]
    run_ms: Annotated[float, msgspec.Meta(ge=0)]
    together: Annotated[int, msgspec.Meta(ge=1)] = 1


_header_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(_Header)


def encode(prediction: Prediction) -> bytes:
    """The prediction as one byte string."""
    header = _header_encoder.encode(
        _Header(
            prediction.graph,
            prediction.provider,
            prediction.precision,
            int(prediction.probability.size),
            int(prediction.embedding.size),
            round(prediction.decode_ms, 3),
            round(prediction.run_ms, 3),
            prediction.together,
        )
    )
    return b"".join(
        (
            MAGIC,
            struct.pack("<H", len(header)),
            header,
            prediction.probability.astype("<f4", copy=False).tobytes(),
            struct.pack("<f", prediction.typicality),
            prediction.embedding.astype("<f2", copy=False).tobytes(),
        )
    )


def decode(data: bytes) -> Prediction:
    """The prediction in a byte string. Raises ReplyError when it is not one, whole and of finite scores."""
    if data[:4] != MAGIC:
        raise ReplyError(f"the reply begins with {data[:16]!r} and is no prediction; is this a Second Reader handler?")
    try:
        (length,) = struct.unpack_from("<H", data, 4)
        header = _header_decoder.decode(data[6 : 6 + length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, struct.error) as error:
        raise ReplyError(f"the reply's header is broken ({error}); gateway and handler versions may differ") from None
    offset = 6 + length
    if len(data) != offset + 4 * header.classes + 4 + 2 * header.embedding:
        raise ReplyError("the reply was cut short; the server may have been stopped while it answered")
    if not math.isfinite(header.decode_ms + header.run_ms):
        raise ReplyError("the reply's timings are no numbers; gateway and handler versions may differ")
    probability = np.frombuffer(data, "<f4", header.classes, offset)
    typicality = np.frombuffer(data, "<f4", 1, offset + 4 * header.classes)[0]
    embedding = np.frombuffer(data, "<f2", header.embedding, offset + 4 * header.classes + 4)
    check_scores(probability, typicality)
    return Prediction(
        header.graph, header.provider, header.precision, probability, typicality, embedding,
        header.decode_ms, header.run_ms, header.together,
    )  # fmt: skip


def check_scores(probability: npt.NDArray[np.float32], typicality: np.float32) -> None:
    """Raises ReplyError unless every probability lies in [0, 1] and typicality is finite: NaN must never
    fire."""
    # What is NaN makes both ends NaN, of which every comparison is false. The arrays' own methods: a call each, and not three.
    sane = not probability.size or (probability.min() >= 0 and probability.max() <= 1)
    if not (sane and math.isfinite(typicality)):
        raise ReplyError("a score is NaN or outside [0, 1]; the graph is broken on this provider")
