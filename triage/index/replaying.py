"""Folds stretches of journals into the index: what was lost, or what is behind. Two readings, however long they are.

The first skims: it passes over predictions, which are nearly everything, and takes in what ends items. So the second, which
asks people, asks nobody what is answered. What is older than the index keeps is passed over: no views, no items, no outcomes
that everybody was told of long ago. What is old and waits for a person is put back, and what is old and evidence counts.

Nothing is held but a few hundred records and sixteen bytes for each item that is ended.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple

from model_store.record import EventRecord, PredictionRecord, Record, TruthRecord, VerdictRecord
from triage.index.audit_fold import RECALLED
from triage.index.audits import RedisAudits
from triage.index.ended import Ended
from triage.index.fold import Index
from triage.index.lane import Command
from triage.index.reviews import RedisReviews
from triage.index.verdicts import RedisVerdicts
from triage.reviewing.following import following
from triage.reviewing.item import DIED, REQUEUED, Item

AT_ONCE = 256
"""Records on their way to Redis at once."""
_old: ContextVar[bool] = ContextVar("old", default=False)
"""Whether the record that is applied is older than the index keeps."""


class Editions(NamedTuple):
    """Of a verdict: the revision that stands, and the one that others relied on before it was amended."""

    newest: int
    relied_on: int


class Replay:
    """One replay. `now` is microseconds since the epoch. Methods raise IndexAway."""

    def __init__(
        self, index: Index, reviews: RedisReviews, ended: Ended, now: int, amended: dict[str, Editions] | None = None
    ) -> None:
        """`amended`: of another process that skimmed, with what it found `ended`."""
        self._ended = ended
        keep_s = index._retention_s
        self._horizon = now - 1_000_000 * keep_s
        replayed = _Replayed(reviews, ended, keep_s)
        self._to = reviews
        self._gathered = _Gathered(reviews, ended, keep_s)
        # The same fold, over connections and publishers that know what is old.
        self._index, self._gathering = (
            Index(each, index._catalog, index._suggestions, keep_s) for each in (replayed, self._gathered)
        )
        self._index.people.verdicts = _Verdicts(replayed, keep_s)
        self._index._audits._audits = _Audits(replayed)
        self.amended: dict[str, Editions] = amended or {}
        """Verdict -> what of it matters, of those that were amended."""

    async def skim(self, records: Iterable[Record]) -> None:
        """The first reading: everything but first revisions of predictions, which may be among it."""
        for batch in _batches(records):
            for record in batch:
                self._ended.note(record)
                if isinstance(record, VerdictRecord) and record.revision > 1:
                    self.amended[record.id] = max(
                        Editions(record.revision, record.relied_on), self.amended.get(record.id, Editions(0, 0))
                    )
            await self._apply((each for each in batch if not self._is_old(each) or _of_dead(each)), self._close)

    async def read(self, records: Iterable[Record]) -> int:
        """The second reading, of everything; how many records it held."""
        count = 0
        sending: asyncio.Task[None] | None = None
        try:
            for batch in _batches(records):
                count += len(batch)
                others = []
                for record in batch:
                    if not self._matters(record):
                        continue
                    if isinstance(record, PredictionRecord):  # nearly all: gathered, without a task for each
                        _old.set(self._is_old(record))
                        await self._gathering._open(record)
                    else:
                        others.append(record)
                if sending is not None:
                    await sending
                sending = asyncio.create_task(self._send(self._gathered.taken(), others))
                await asyncio.sleep(0)  # a gateway serves meanwhile
        finally:
            if sending is not None:
                await sending
        return count

    async def _send(self, commands: list[Command], others: Iterable[Record]) -> None:
        if commands:
            await self._to.run(*commands)
        await self._apply(others, self._open)

    async def _apply(self, records: Iterable[Record], apply: Callable[[Record], Any]) -> None:
        await asyncio.gather(*(apply(record) for record in records))

    async def _close(self, record: Record) -> None:
        _old.set(self._is_old(record))
        await self._index._close(record)

    async def _open(self, record: Record) -> None:
        _old.set(self._is_old(record))
        if isinstance(record, VerdictRecord) and _old.get():
            await self._index.people.go(record)
        else:
            await self._index._open(record)

    def _is_old(self, record: Record) -> bool:
        at = record.received_at if isinstance(record, PredictionRecord) else record.at
        return at < self._horizon

    def _matters(self, record: Record) -> bool:
        """Whether the index needs to know of a record in the second reading."""
        if not self._is_old(record):
            return True
        if isinstance(record, PredictionRecord):
            waits = record.route == "review" and (record.queue or "", record.id) not in self._ended
            return waits or bool(record.drawn or record.policy.case)
        if isinstance(record, VerdictRecord):
            matters = record.revision in self.amended.get(record.id, Editions(record.revision, 0))
            waits = any((queue, item.id) not in self._ended for queue, item in following(record))
            return matters and (waits or bool(record.drawn))
        if isinstance(record, EventRecord):
            return record.name == RECALLED
        return not isinstance(record, TruthRecord)


class _Replayed(RedisReviews):
    """The index's own connection, asked for what a replay needs."""

    def __init__(self, reviews: RedisReviews, ended: Ended, retention_s: int) -> None:
        self.__dict__.update(reviews.__dict__)
        self._ended = ended
        self._retention_s = retention_s

    async def enqueue(
        self, queue: str, item: Item, score: float, retry: bytes | None = None, view: bytes = b"", revision: int = 1,
        caller: str = "", told: bool = False,
    ) -> None:  # fmt: skip
        if (queue, item.id) not in self._ended:
            await super().enqueue(queue, item, score, retry, view, revision, caller, told)
        elif view:
            await self.put_view(item.prediction, view, item.blob, None, self._retention_s, revision, caller)

    async def put_view(
        self, item: str, view: bytes, blob: str, final: bytes | None, retention_s: int, revision: int = 1,
        caller: str = "",
    ) -> None:  # fmt: skip
        if not _old.get():
            await super().put_view(item, view, blob, final, retention_s, revision, caller)

    async def finish(self, *arguments: Any, **named: Any) -> None:
        if not _old.get():
            await super().finish(*arguments, **named)


class _Gathered(_Replayed):
    """Sends nothing: keeps what is to be sent. For predictions, of which nobody waits for a reply."""

    def __init__(self, reviews: RedisReviews, ended: Ended, retention_s: int) -> None:
        super().__init__(reviews, ended, retention_s)
        self._commands: list[Command] = []

    async def run(self, *commands: Command, over: int | None = None) -> list[Any]:
        self._commands += commands
        return [None] * len(commands)

    def taken(self) -> list[Command]:
        taken, self._commands = self._commands, []
        return taken


class _Verdicts(RedisVerdicts):
    """Tells nobody of what everybody was told of."""

    async def told(self, verdict: VerdictRecord, outcome: bytes) -> None:
        if not _old.get():
            await super().told(verdict, outcome)


class _Audits(RedisAudits):
    async def tell_recall(self, queue: str, recall: str, prediction: str, outcome: bytes, retention_s: int) -> None:
        if not _old.get():
            await super().tell_recall(queue, recall, prediction, outcome, retention_s)


def _of_dead(record: Record) -> bool:
    """Whether an item died or was put back, which counts however long ago."""
    return isinstance(record, EventRecord) and record.name in (DIED, REQUEUED)


def _batches(records: Iterable[Record]) -> Iterable[list[Record]]:
    stream = iter(records)
    while batch := list(itertools.islice(stream, AT_ONCE)):
        yield batch
