"""Writes a record where it is true (the journal), then where it is found (the index).

The checkpoint, kept in Redis itself, is the journal position before which everything is indexed; so a Redis that was wiped
or set back names its own gap. While Redis is away records are only journaled and the gateway is *behind*: when Redis
returns, a background task reads the gap from the journal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

from model_store.record import Record
from triage.answers import Told
from triage.errors import IndexAway
from triage.ids import new_id
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.journal.segments import START, SegmentJournal, read
from triage.metrics import Metrics
from triage.ports import Position

log = logging.getLogger(__name__)


class Recorder:
    """Journals and indexes; `step` is its background task."""

    def __init__(
        self, journal: SegmentJournal, index: Index, reviews: RedisReviews, node: str, metrics: Metrics
    ) -> None:
        self._journal = journal
        self._index = index
        self._reviews = reviews
        self._node = node
        self._metrics = metrics
        self._open: dict[object, Position] = {}
        """Records on their way, each with a position that is not after its own."""
        self._epoch: str | None = None
        self._checkpoint: Position | None = None
        self.behind = True
        """Until everything from before this start is indexed, and whenever Redis is away."""

    @property
    def epoch(self) -> str | None:
        """Of the index, as last seen; while not `behind` it held all of this journal."""
        return self._epoch

    @property
    def indexed(self) -> Position | None:
        """Everything before it is in the index, and was when Redis was last asked; None when nobody can tell."""
        return None if self.behind else self._checkpoint

    async def record(self, record: Record, told: Told | None = None) -> None:
        """Returns when the record is durable; indexed too, unless Redis is away. Raises JournalBroken.

        What was begun is finished also when the request is cancelled: its record may be on the disk already.
        """
        on_its_way = object()
        self._open[on_its_way] = self._journal.end  # no later than where the record will begin
        try:
            started = time.perf_counter()
            written = self._journal.begin(record)
            try:
                await written
                self._metrics.stage("journal", time.perf_counter() - started)
                await self._enter(record, told)
            except asyncio.CancelledError:
                # A task for each record, only in case it is cancelled, would cost every prediction; entering it twice is one.
                if written.exception() is None:
                    task = asyncio.create_task(self._enter(record, told))
                    self._open[task] = self._open[on_its_way]
                    task.add_done_callback(self._entered)
                raise
        finally:
            del self._open[on_its_way]

    async def _enter(self, record: Record, told: Told | None) -> None:
        """Into the index, unless that is behind."""
        started = time.perf_counter()
        if self.behind:
            return
        try:
            await self._index.apply(record, told)
        except IndexAway as error:
            log.warning("index is behind the journal", extra={"why": str(error)})
            self._set_behind(True)
        except Exception:
            self._set_behind(True)
            raise
        else:
            self._metrics.stage("enqueue", time.perf_counter() - started)

    def _entered(self, task: asyncio.Task[None]) -> None:
        del self._open[task]
        if task.cancelled():
            self._set_behind(True)

    async def step(self) -> None:
        """One turn: notices a lost index, catches up, moves the checkpoint."""
        try:
            await self._notice_loss()
            if self.behind:
                await self._catch_up()
            await self._move_checkpoint(min(self._open.values(), default=self._journal.end))
        except IndexAway as error:
            if not self.behind:
                log.warning("index is behind the journal", extra={"why": str(error)})
            self._set_behind(True)

    def _set_behind(self, behind: bool) -> None:
        self.behind = behind
        self._metrics.outbox.set(behind)

    async def _notice_loss(self) -> None:
        epoch = await self._reviews.epoch(new_id())
        stored = await self._reviews.checkpoint(self._node)
        if self._epoch not in (None, epoch) or stored != self._checkpoint:
            self._set_behind(True)
        self._epoch, self._checkpoint = epoch, stored

    async def _catch_up(self) -> None:
        since = self._checkpoint or START
        while True:
            end = self._journal.end
            await self._index.replay(lambda since=since, end=end: self._stretch(since, end))  # type: ignore[misc]
            if self._journal.end == end:  # nothing was journaled meanwhile, and nothing awaits before the next line
                self._set_behind(False)
                return
            since = end

    def _stretch(self, since: Position, end: Position) -> Iterator[Record]:
        for position, record in read(self._journal.folder, since):
            if position >= end:
                return
            yield record

    async def _move_checkpoint(self, position: Position) -> None:
        if position != self._checkpoint:
            await self._reviews.set_checkpoint(self._node, position)
            self._checkpoint = position
