"""A model's answer to one image, and its form on the wire: the handler writes it, the gateway reads it.

Layout, little-endian: `SRP1`, uint16 length of a JSON header, the header, float32 probability[C], float32
typicality, float16 embedding[D]. JSON for the whole would cost milliseconds at 1,000 classes; this costs
microseconds.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

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


def encode(prediction: Prediction) -> bytes:
    """The prediction as one byte string."""
    header = json.dumps(
        {
            "graph": prediction.graph,
            "provider": prediction.provider,
            "precision": prediction.precision,
            "classes": int(prediction.probability.size),
            "embedding": int(prediction.embedding.size),
            "decode_ms": round(prediction.decode_ms, 3),
            "run_ms": round(prediction.run_ms, 3),
        },
        separators=(",", ":"),
    ).encode()
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
        raise ReplyError(
            f"the reply begins with {data[:16]!r} and is no prediction; is this a Second Reader handler?"
        )
    try:
        (length,) = struct.unpack_from("<H", data, 4)
        header = json.loads(data[6 : 6 + length])
        classes, width = int(header["classes"]), int(header["embedding"])
        offset = 6 + length
        if len(data) != offset + 4 * classes + 4 + 2 * width:
            raise ReplyError("the reply was cut short; the server may have been stopped while it answered")
        probability = np.frombuffer(data, "<f4", classes, offset)
        typicality = np.frombuffer(data, "<f4", 1, offset + 4 * classes)[0]
        embedding = np.frombuffer(data, "<f2", width, offset + 4 * classes + 4)
        prediction = Prediction(
            header["graph"], header["provider"], header["precision"], probability, typicality, embedding,
            float(header["decode_ms"]), float(header["run_ms"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise ReplyError(
            f"the reply's header is broken ({error}); gateway and handler versions may differ"
        ) from None
    check_scores(prediction.probability, prediction.typicality)
    return prediction


def check_scores(probability: npt.NDArray[np.float32], typicality: np.float32) -> None:
    """Raises ReplyError unless every probability lies in [0, 1] and typicality is finite: NaN must never
    fire."""
    if not (np.all((probability >= 0) & (probability <= 1)) and np.isfinite(typicality)):
        raise ReplyError("a score is NaN or outside [0, 1]; the graph is broken on this provider")
