"""12,600 real photographs of clothing, shipped with the package: the stream of the demo and of the tests.

Only pixels and labels are stored (4.7 MB); the PNG files that every later step starts from are made here, byte for byte
the same on every machine, and only when asked for. See README.md beside this file for the story and the provenance.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
import zlib
from functools import cache
from importlib.resources import files
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from model_store.labels import Label, LabelSchema
from training.errors import DataError
from training.images import LabelledImage, from_bytes
from training.splits import Split


class _Index(TypedDict):
    shape: list[int]
    pixels_sha256: str
    splits: dict[Split, int]
    classes: list[dict[str, str]]
    labels: dict[Split, str]


@cache
def _index() -> _Index:
    index: _Index = json.loads(files(__name__).joinpath("index.json").read_text("utf-8"))
    return index


@cache
def _pixels() -> npt.NDArray[np.uint8]:
    """`[N, 28, 28]` uint8, light on black, in the order of the stream."""
    raw = lzma.decompress(files(__name__).joinpath("images.xz").read_bytes())
    if hashlib.sha256(raw).hexdigest() != _index()["pixels_sha256"]:
        raise DataError("the sample data is not what index.json describes; install the package again")
    return np.frombuffer(raw, np.uint8).reshape(_index()["shape"])


def schema() -> LabelSchema:
    """All ten labels, one exclusive group."""
    return LabelSchema(labels=tuple(Label(id=kind["id"], name=kind["name"]) for kind in _index()["classes"]))


def images(split: Split) -> list[LabelledImage]:
    """The images of one split in the order of the stream; each is a case of its own."""
    sizes = _index()["splits"]
    names = list(sizes)
    start = sum(sizes[name] for name in names[: names.index(split)])
    kinds = [kind["id"] for kind in _index()["classes"]]
    return [
        from_bytes(png(_pixels()[start + row]), f"article-{start + row:05d}", (kinds[int(digit)],))
        for row, digit in enumerate(_index()["labels"][split])
    ]


def png(grey: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of `[H, W]` uint8 pixels, the same bytes everywhere.

    Stored, not compressed: compressed bytes differ between versions of zlib, and then so would every image's name.
    """
    height, width = grey.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), grey], axis=1).tobytes()
    size = struct.pack("<HH", len(lines), len(lines) ^ 0xFFFF)  # one stored block: final, length, its complement
    stream = b"\x78\x01\x01" + size + lines + struct.pack(">I", zlib.adler32(lines))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
