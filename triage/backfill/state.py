"""What a backfill has done, in one file: it goes on from there, and tells what came of it."""

from __future__ import annotations

import datetime
import sqlite3
from collections import Counter
from pathlib import Path

from triage.backfill.sources import Image

_TABLES = """
CREATE TABLE IF NOT EXISTS about (source TEXT NOT NULL, project TEXT NOT NULL, site TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS done (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, prediction TEXT NOT NULL, became TEXT NOT NULL, why TEXT NOT NULL,
    day TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS days ON done (day, became);
"""
REVIEW, REFUSED = "review", "refused"


class OtherState(Exception):
    """The file is of another backfill. One sentence."""


class State:
    """Used by one thread. Each image is on the disk when `note` returns."""

    def __init__(self, path: Path, source: str, project: str, site: str) -> None:
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise OtherState(f"{path} is no state of a backfill ({error}); name another --state") from None
        mine = (source, project, site)
        row = self._connection.execute("SELECT * FROM about").fetchone()
        if row is None:
            self._connection.execute("INSERT INTO about VALUES (?, ?, ?)", mine)
        elif row != mine:
            raise OtherState(f"{path} is of {row[0]} for {row[1]}/{row[2]}; name another --state")

    def close(self) -> None:
        self._connection.close()

    def has(self, image: Image) -> bool:
        found = self._connection.execute("SELECT version FROM done WHERE name = ?", (image.name,)).fetchone()
        return found is not None and found[0] == image.version

    def note(self, image: Image, prediction: str, became: str, why: str, day: datetime.date) -> None:
        row = (image.name, image.version, prediction, became, why, day.isoformat())
        self._connection.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?, ?, ?)", row)

    def reviewed(self, day: datetime.date) -> int:
        """How many of a day went to people."""
        query = "SELECT count(*) FROM done WHERE day = ? AND became = ?"
        return int(self._connection.execute(query, (day.isoformat(), REVIEW)).fetchone()[0])

    def counts(self) -> Counter[str]:
        """What became of all images so far: route -> how many."""
        return Counter(dict(self._connection.execute("SELECT became, count(*) FROM done GROUP BY became").fetchall()))

    def refused(self) -> list[tuple[str, str]]:
        """Names, and why."""
        query = "SELECT name, why FROM done WHERE became = ? ORDER BY name"
        return list(self._connection.execute(query, (REFUSED,)).fetchall())
