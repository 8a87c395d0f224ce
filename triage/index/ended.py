"""Which items the journals say are ended: known before a replay begins, so that nobody is asked what is answered.

Sixteen bytes an item, whatever its id, so that millions of answers cost little beside one segment.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from pathlib import Path

import numpy as np

from model_store.record import EventRecord, PredictionRecord, Record, VerdictRecord
from triage.reviewing.item import UNRESOLVED


class Ended:
    """A set of (queue, item). Everything is added before anything is looked up."""

    def __init__(self) -> None:
        self._added = bytearray()
        self._high: array[int] = array("Q")
        self._low: array[int] = array("Q")

    def add(self, queue: str, item: str) -> None:
        self._added += _digest(queue, item)

    def note(self, record: Record) -> None:
        """Adds what a record ends."""
        found = ends(record)
        if found is not None:
            self.add(*found)

    def __contains__(self, queue_and_item: tuple[str, str]) -> bool:
        if self._added:
            self._sort()
        digest = _digest(*queue_and_item)
        high, low = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
        at = bisect_left(self._high, high)
        while at < len(self._high) and self._high[at] == high:
            if self._low[at] == low:
                return True
            at += 1
        return False

    def __len__(self) -> int:
        """How often something was added."""
        return len(self._high) + len(self._added) // 16

    def save(self, path: Path) -> None:
        """For another process, which `load`s it."""
        self._sort()
        path.write_bytes(self._high.tobytes() + self._low.tobytes())

    @classmethod
    def load(cls, path: Path) -> Ended:
        made, content = cls(), path.read_bytes()
        half = len(content) // 2
        made._high.frombytes(content[:half])
        made._low.frombytes(content[half:])
        return made

    def _sort(self) -> None:
        known = np.array([self._high, self._low], np.uint64).T
        pairs = np.concatenate([known, np.frombuffer(bytes(self._added), "<u8").reshape(-1, 2)])
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        self._added = bytearray()
        self._high, self._low = array("Q"), array("Q")
        self._high.frombytes(np.ascontiguousarray(pairs[:, 0]).tobytes())
        self._low.frombytes(np.ascontiguousarray(pairs[:, 1]).tobytes())


def ends(record: Record) -> tuple[str, str] | None:
    """Queue and item that a record ends for good; None when it ends none. Pure."""
    if isinstance(record, VerdictRecord):
        return record.queue, record.item or record.prediction
    if isinstance(record, PredictionRecord) and record.revision > 1 and record.route == "automatic" and record.queue:
        return record.queue, record.id
    if isinstance(record, EventRecord) and record.name == UNRESOLVED:
        return record.detail["queue"], record.detail["item"]
    return None


def _digest(queue: str, item: str) -> bytes:
    return hashlib.blake2b(f"{queue}\0{item}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
