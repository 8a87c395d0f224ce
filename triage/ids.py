"""Identifiers that sort by time."""

from __future__ import annotations

import hashlib
import os
import time
import uuid


def new_id(now_ms: int | None = None) -> str:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then chance."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return _version_7(milliseconds, os.urandom(10))


def reading_id(prediction: str, purpose: str, reading: int) -> str:
    """The same id for the same reading of a prediction, forever, and one that looks like any other: a UUID version 7 of the
    prediction's own millisecond, so that it sorts beside it and does not tell what it is of."""
    chance = hashlib.sha256(f"secondreader:{prediction}\0{purpose}\0{reading}".encode()).digest()
    return _version_7(uuid.UUID(prediction).int >> 80, chance[:10])


def derived_id(*parts: str) -> str:
    """The same id for the same parts, forever (UUID version 5)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "secondreader:" + "\0".join(parts)))


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def _version_7(milliseconds: int, chance: bytes) -> str:
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(chance)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
