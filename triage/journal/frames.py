"""The bytes of a segment, as docs/durability.md lists them: a beginning, frames, and the seal that a closed one ends with.

    SRJ2 | frame ... | seal          SRJ1, until version 0.1, has no seal
    frame  uint32 length, uint32 CRC-32 of the record, the record as MessagePack: a map whose first key is `kind`
    seal   uint32 0xFFFFFFFF, uint32 CRC-32 of what follows, `SEAL`, uint64 bytes before the seal, uint64 records, their SHA-256

Numbers are little-endian. No frame is as long as a seal says to be, so that nobody takes one for the other.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import NamedTuple

MAGIC = b"SRJ2"
MAGICS = (b"SRJ1", MAGIC)
FRAME = struct.Struct("<II")
_SEALED = 0xFFFFFFFF
_BODY = struct.Struct("<4sQQ32s")
_WORD = b"SEAL"
SEAL_BYTES = FRAME.size + _BODY.size
_KIND = b"\xa4kind"
_BEFORE_KIND = (1, 3, 5)
"""Bytes of a MessagePack map's head: up to 15, up to 65,535, or more fields."""


class Seal(NamedTuple):
    """How a segment ended: nothing may be added, and everything before it can be checked."""

    length: int
    """Bytes before the seal."""
    records: int
    sha256: str
    """Hex, of the bytes before the seal."""


class Summing:
    """What a seal will say of the bytes that were added."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.length = 0
        self.records = 0

    def add(self, data: bytes | memoryview, records: int) -> None:
        self._hash.update(data)
        self.length += len(data)
        self.records += records

    def seal(self) -> bytes:
        body = _BODY.pack(_WORD, self.length, self.records, self._hash.digest())
        return FRAME.pack(_SEALED, zlib.crc32(body)) + body

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def seal_of(tail: bytes) -> Seal | None:
    """The seal that these bytes, the last of a file, are; None when they are none."""
    if len(tail) != SEAL_BYTES:
        return None
    mark, checksum = FRAME.unpack_from(tail)
    body = tail[FRAME.size :]
    if mark != _SEALED or zlib.crc32(body) != checksum:
        return None
    word, length, records, digest = _BODY.unpack(body)
    return Seal(length, records, digest.hex()) if word == _WORD else None


def frame(payload: bytes) -> bytes:
    return FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def whole(data: bytes, at: int) -> int | None:
    """Where the frame that begins at a byte ends; None when no whole one begins there."""
    if at + FRAME.size > len(data):
        return None
    length, checksum = FRAME.unpack_from(data, at)
    end = at + FRAME.size + int(length)
    if end > len(data) or zlib.crc32(memoryview(data)[at + FRAME.size : end]) != checksum or not length:
        return None
    return end


def next_frame(data: bytes, torn: bool) -> int | None:
    """Where the first whole frame begins behind a damaged one, with which `data` begins; None when there is none.

    It begins where the damaged one says to end. If that is not so, its length is damaged too, and what a record begins with,
    its kind, is looked for: with a checksum that holds, and followed by another whole frame, by the end, or with `torn` by a
    tail in which nothing is whole. So text inside a record that was made to look like a frame is not taken for one.
    """
    if len(data) >= FRAME.size:
        end = FRAME.size + int(FRAME.unpack_from(data)[0])
        if whole(data, end) is not None:
            return end
        if end == len(data):
            return None
    before_tail = None
    found = data.find(_KIND, 1)
    while found >= 0:
        for head in _BEFORE_KIND:
            at = found - head - FRAME.size
            if at > 0 and (end := whole(data, at) or 0):
                if end == len(data) or whole(data, end) is not None:
                    return at
                before_tail = before_tail or at
        found = data.find(_KIND, found + 1)
    return before_tail if torn else None
