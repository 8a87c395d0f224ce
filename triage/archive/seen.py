"""Which records came by already: exact, however many they are, with what they need on the disk and not in memory."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from model_store.record import Record, ShadowRecord, table_of


def identity(record: Record) -> str:
    """What tells a record from every other, however often it stands in the journals."""
    revision = getattr(record, "revision", 1)
    what = f"{record.bundle}\0{record.rules}" if isinstance(record, ShadowRecord) else ""
    return f"{table_of(record)}\0{record.id}\0{revision}\0{what}"


class Seen:
    """A set of texts in a temporary file, kept as 128-bit digests."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="secondreader-")
        self._database = sqlite3.connect(
            Path(self._folder.name) / "seen.db", isolation_level=None, check_same_thread=False
        )  # by one thread at a time, though not always the same
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA cache_size = -16384")  # KiB
        self._database.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, text: str) -> bool:
        """True when it was not there yet."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_digest(text),)).rowcount == 1

    def discard(self, text: str) -> None:
        self._database.execute("DELETE FROM seen WHERE key = ?", (_digest(text),))

    def __contains__(self, text: str) -> bool:
        return self._database.execute("SELECT 1 FROM seen WHERE key = ?", (_digest(text),)).fetchone() is not None

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM seen").fetchone()
        return int(count)


def once(records: Iterable[Record]) -> Iterator[Record]:
    """Each record the first time that it comes by."""
    with Seen() as seen:
        for record in records:
            if seen.add(identity(record)):
                yield record


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
