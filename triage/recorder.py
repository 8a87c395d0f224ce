"""Writes a record where it is true (the journal), then where it is found (the index).

The checkpoint, kept in Redis itself, is the journal position before which everything is indexed; so a Redis that was wiped
or set back names its own gap. While Redis is away records are only journaled and the gateway is *behind*: when Redis
returns, a background task reads the gap from the journal, while the gateway serves. When little is left, records go straight
to the index again, and then what was journaled meanwhile is read.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from model_store.record import Record
from triage.answers import Told
from triage.errors import IndexAway
from triage.ids import new_id, now_us
from triage.index.ended import Ended
from triage.index.fold import Index
from triage.index.replaying import Replay
from triage.index.reviews import RedisReviews
from triage.journal.segments import START, SegmentJournal, read
from triage.metrics import Metrics
from triage.ports import Position

log = logging.getLogger(__name__)
_FEW = 2000
"""Records that are read in less than a second."""


class Past(Protocol):
    """A node's journal between two positions, wherever it is kept by now. Read as it is asked for, in small pieces."""

    def skim(self, since: Position, end: Position) -> Iterator[Record]:
        """Everything that may end an item; when `since` is the beginning, of other nodes too."""

    def read(self, since: Position, end: Position) -> Iterator[Record]: ...


class _Here:
    """The segments in a folder, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def skim(self, since: Position, end: Position) -> Iterator[Record]:
        return self.read(since, end)

    def read(self, since: Position, end: Position) -> Iterator[Record]:
        return (record for _, record in itertools.takewhile(lambda each: each[0] < end, read(self._folder, since)))


class Recorder:
    """Journals and indexes; `step` is its background task."""

    def __init__(
        self, journal: SegmentJournal, index: Index, reviews: RedisReviews, node: str, metrics: Metrics,
        past: Past | None = None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._index = index
        self._reviews = reviews
        self._node = node
        self._metrics = metrics
        reviews.incomplete = lambda: self.behind
        self._past: Past = past or _Here(journal.folder)
        self._began: Position | None = journal.end
        """Where this run of the gateway began to write; None once all of it was indexed."""
        self._open: dict[object, Position] = {}
        """Records on their way, each with a position that is not after its own."""
        self._epoch: str | None = None
        self._identity: str | None = None
        self._checkpoint: Position | None = None
        self.behind = True
        """Until everything from before this start is indexed, and whenever Redis is away."""
        self.caught_up = asyncio.Event()
        """Set for as long as it is not behind."""
        self._entering = False
        """Whether records go straight to the index."""

    @property
    def epoch(self) -> str | None:
        """Of the index, as last seen; while not `behind` it held all of this journal."""
        return self._epoch

    @property
    def indexed(self) -> Position | None:
        """Everything before it is in the index, and was when Redis was last asked; None when nobody can tell."""
        return None if self.behind else self._checkpoint

    def holds(self) -> str | None:
        """The index that holds all of this journal; None while none is known to."""
        return None if self.behind else self._identity

    async def insist(self, queue: str) -> None:
        """Raises IndexAway unless every gateway's journal is in a queue's index, so that what is not found was never there."""
        if self.behind:
            raise IndexAway("the queue is being made again from the journal; send it again soon")
        if self._reviews.whole is not None:
            await self._reviews.whole.check(queue)

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
        if not self._entering:
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
        self._entering = not behind
        if behind:
            self.caught_up.clear()
        else:
            self.caught_up.set()
        self._metrics.outbox.set(behind)

    async def _notice_loss(self) -> None:
        epoch, identity, stored = await self._reviews.standing(new_id(), self._node)
        # A server that restarted may have lost its last second, in which the checkpoint did not move.
        if self._identity not in (None, identity) or stored != self._checkpoint:
            self._set_behind(True)
        self._epoch, self._identity, self._checkpoint = epoch, identity, stored

    async def _catch_up(self) -> None:
        since, count = self._checkpoint or START, _FEW + 1
        if self._began is not None:  # a checkpoint from before the disk was lost may lie beyond what is written since
            since = min(since, self._began)
        self._entering = False
        while not self._entering:
            # Who was journaled before this line is read now, and who is after it enters by itself: also with more coming in
            # all the time there is an end.
            self._entering = count <= _FEW
            end = self._journal.end
            replay = Replay(self._index, self._reviews, Ended(), now_us())
            await replay.skim(self._past.skim(since, end))
            count = await replay.read(self._past.read(since, end))
            since = end
        self._began = None
        self._set_behind(False)

    async def _move_checkpoint(self, position: Position) -> None:
        if position != self._checkpoint:
            await self._reviews.set_checkpoint(self._node, position)
            self._checkpoint = position
