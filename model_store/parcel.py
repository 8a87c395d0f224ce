"""Several byte strings as one: images that go to the model in one request, and what it says of each.

Layout, little-endian: `SRM1`, uint16 how many, uint32 length of each, the parts one behind the other. No image format that is
taken begins like that.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAGIC = b"SRM1"
MEDIA_TYPE = "application/vnd.secondreader.parcel"
MOST = 8
"""Parts that a handler takes in one parcel. What a request costs beside its images is spread thin by then."""
_HEAD = 6


def pack(parts: Sequence[bytes]) -> bytes:
    """The parts in one byte string, in their order."""
    lengths = struct.pack(f"<H{len(parts)}I", len(parts), *map(len, parts))
    return b"".join((MAGIC, lengths, *parts))


def unpack(data: bytes) -> list[bytes] | None:
    """The parts of a whole parcel; None for anything else."""
    if data[:4] != MAGIC or len(data) < _HEAD:
        return None
    (count,) = struct.unpack_from("<H", data, 4)
    at = _HEAD + 4 * count
    if len(data) < at:
        return None
    parts = []
    for length in struct.unpack_from(f"<{count}I", data, _HEAD):
        parts.append(data[at : at + length])
        at += length
    return parts if at == len(data) else None
