"""Identifiers that sort by time."""

from __future__ import annotations

import os
import time
import uuid


def new_id(now_ms: int | None = None) -> str:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then chance."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def derived_id(*parts: str) -> str:
    """The same id for the same parts, forever (UUID version 5)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "secondreader:" + "\0".join(parts)))


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000
