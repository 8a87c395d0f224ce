"""A node's past, for the gateway that lost its index: what lies here, and before that what is archived."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from model_store.record import Record
from triage.archive import tombstones
from triage.archive.history import History, Part
from triage.archive.tombstones import Hidden
from triage.errors import Unavailable
from triage.journal.reading import START, read, segments
from triage.ports import Position
from triage.store.places import open_objects

log = logging.getLogger(__name__)


class ArchivedPast:
    """`recorder.Past` of one node, less what was purged. The archive is read only where the disk does not reach back so far.

    `read` hides what `skim`, which comes before it, found purged: so a log that is away is waited for once."""

    def __init__(self, log: str, journal_folder: Path, node: str) -> None:
        self._objects = open_objects(log)
        self._folder = journal_folder
        self._node = node
        self._hidden = Hidden()

    def skim(self, since: Position, end: Position) -> Iterator[Record]:
        history = self._history(since)
        if history is None:
            self._hidden = self._purged()
            yield from self._here(since, end)
            return
        for part in history.parts(None if since == START else {self._node}):
            if not self._outside(part, since, end):
                yield from (
                    record for position, record in history.skim(part, since) if self._before(part, position, end)
                )

    def read(self, since: Position, end: Position) -> Iterator[Record]:
        history = self._history(since)
        if history is None:
            yield from self._here(since, end)
            return
        for part in history.parts({self._node}):
            if not self._outside(part, since, end):
                rows = history.read(part, since, without=("embedding",))
                yield from (record for position, record in rows if self._before(part, position, end))

    def _history(self, since: Position) -> History | None:
        """None where this disk has everything from a position on, or where the archive is away: then what is here is better
        than nothing, and `secondreader recover` brings the rest."""
        here = segments(self._folder / self._node)
        if since != START and here and int(here[0].stem) <= since.segment:
            return None
        try:
            return History(self._objects, self._folder)
        except Unavailable as error:
            log.error(
                "the archive is away, and the index is made of what is on this disk; recover when it is back",
                extra={"why": str(error)},
            )
            return None

    def _here(self, since: Position, end: Position) -> Iterator[Record]:
        for position, record in read(self._folder / self._node, since):
            if position >= end:
                return
            if not self._hidden(record):
                yield record

    def _purged(self) -> Hidden:
        """What is not to be seen again although it may lie here; what was known of it before, where the log is away."""
        try:
            return Hidden(tombstones.load(self._objects))
        except Unavailable as error:
            log.error(
                "the log is away, and what was purged lately may be seen until the purge is gone on with",
                extra={"why": str(error)},
            )
            return self._hidden

    def _outside(self, part: Part, since: Position, end: Position) -> bool:
        return part.node == self._node and not since.segment <= part.number <= end.segment

    def _before(self, part: Part, position: Position, end: Position) -> bool:
        return part.node != self._node or part.path is None or position < end
