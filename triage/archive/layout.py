"""Names of what lies in the deployment log, in a folder or a bucket.

<table>/date=YYYY-MM-DD/<node>-<segment>.parquet    rows of one journal segment and one day
<table>/date=YYYY-MM-DD/merged-<digest>.parquet     rows of several, after `log compact`
<table>/date=YYYY-MM-DD/_manifest.json              what was merged: its inputs are not read any more
segments/<node>/<segment>.json                      written last: this segment is archived whole
tombstones/<id>.json                                what was purged, or is being (tombstones.py)
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from model_store.record import TABLES, PredictionRecord, Record

MANIFEST = "_manifest.json"
SEGMENTS = "segments"
_FILE = re.compile(r"(?P<table>[a-z]+)/date=(?P<date>\d{4}-\d\d-\d\d)/(?P<stem>[^/]+)\.parquet")
_SEGMENT = re.compile(r"(?P<node>.+)-(?P<number>\d{8,})")
_MARKER = re.compile(rf"{SEGMENTS}/(?P<node>[^/]+)/(?P<number>\d{{8,}})\.json")
_MERGED = re.compile(r"merged-[0-9a-f]{16}")


class Segment(NamedTuple):
    """One segment of one node's journal."""

    node: str
    number: int

    def __str__(self) -> str:
        return f"{self.node}-{self.number:08d}"


class File(NamedTuple):
    """A Parquet object."""

    table: str
    date: str
    stem: str

    @property
    def name(self) -> str:
        return f"{self.table}/date={self.date}/{self.stem}.parquet"

    @property
    def segment(self) -> Segment | None:
        """Where its rows are from; None when they are from several."""
        found = None if _MERGED.fullmatch(self.stem) else _SEGMENT.fullmatch(self.stem)
        return Segment(found["node"], int(found["number"])) if found else None


def file_of(name: str) -> File | None:
    """The Parquet object of this name; None when it is none of the log's."""
    found = _FILE.fullmatch(name)
    return File(found["table"], found["date"], found["stem"]) if found and found["table"] in TABLES else None


def marker(segment: Segment) -> str:
    return f"{SEGMENTS}/{segment.node}/{segment.number:08d}.json"


def marked(name: str) -> Segment | None:
    """The segment that a marker of this name is of."""
    found = _MARKER.fullmatch(name)
    return Segment(found["node"], int(found["number"])) if found else None


def manifest(table: str, date: str) -> str:
    return f"{table}/date={date}/{MANIFEST}"


def date_of(record: Record) -> str:
    """UTC day of a record, as partitions are named."""
    at = record.received_at if isinstance(record, PredictionRecord) else record.at
    return datetime.datetime.fromtimestamp(at / 1e6, datetime.UTC).date().isoformat()
