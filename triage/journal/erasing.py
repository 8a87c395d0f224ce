"""Takes records out of a closed segment: their bytes become padding of the same length, and every other one stays in place."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from model_store import files
from model_store import record as records
from model_store.record import Record
from triage.journal.frames import FRAME, SEAL_BYTES, Summing, frame
from triage.journal.reading import read_frames, seal

_HEAD = b"\x82\xa4kind\xa6erased\xa3pad\xc6"


def erase(
    path: Path, hidden: Callable[[Record], bool], announce: Callable[[str, str], None] = lambda before, after: None
) -> int:
    """How many records were taken out of a closed segment, which has another seal then: `announce` is called with the SHA-256
    of the one before and of the one after, before the file is replaced, whole. Raises OSError.
    """
    taken = 0
    content = bytearray(path.read_bytes())
    count = 0
    for at, payload in read_frames(path, 0, lambda damage: None):
        count += 1
        try:
            record = records.decode(payload)
        except msgspec.MsgspecError:
            continue  # of another version, or erased before
        if hidden(record):
            taken += 1
            content[at : at + FRAME.size + len(payload)] = frame(_padding(len(payload)))
    if not taken:
        return 0
    ended = seal(path)
    if ended is not None:
        del content[-SEAL_BYTES:]
        total = Summing()
        total.add(bytes(content), count)
        content += total.seal()
        announce(ended.sha256, total.sha256)
    files.replace(path, bytes(content), 0o600)
    path.with_suffix(".cut").unlink(missing_ok=True)
    return taken


def _padding(length: int) -> bytes:
    """A map of kind `erased`; no record is as short as its head."""
    left = length - len(_HEAD) - 4
    if left < 0:
        raise ValueError(f"a record of {length} bytes cannot be erased")
    return _HEAD + struct.pack(">I", left) + bytes(left)
