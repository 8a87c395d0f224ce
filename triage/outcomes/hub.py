"""One reader of the outcome streams for all listeners of a gateway.

The newest outcomes of each stream that somebody follows are kept in memory, bounded; a listener takes from there at its own
pace, and from Redis what is older. So thousands of listeners cost Redis what one does, and a slow one costs no memory.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from triage.errors import IndexAway
from triage.outcomes.position import START, Feed, StreamId
from triage.outcomes.streams import Entry, Streams

KEPT = 2048
"""Outcomes of one stream in memory: some hundred bytes each."""
_AT_ONCE = 512
_QUEUES_S = 1.0
_FROM_REDIS = 8
"""Listeners that read what is older at once."""


@dataclass
class _Ring:
    floor: StreamId
    """Everything after it is in `entries`."""
    tail: StreamId
    entries: list[Entry] = field(default_factory=list)
    listeners: set[asyncio.Event] = field(default_factory=set)
    set_back: int = 0


class Hub:
    """`step` is its background task; it does nothing while nobody listens."""

    def __init__(self, streams: Streams, stopping: asyncio.Event, kept: int = KEPT) -> None:
        self.streams = streams
        self._stopping = stopping
        self.listening = 0
        """Listeners that routes let in; they count it."""
        self._kept = kept
        self._rings: dict[Feed, _Ring] = {}
        self._events: set[asyncio.Event] = set()
        self._queues: list[str] = []
        self._asked_at = float("-inf")
        self._older = asyncio.Semaphore(_FROM_REDIS)
        self._away = False

    @property
    def open(self) -> bool:
        """False while Redis does not answer, and when the gateway drains: listeners are sent away, and connect again."""
        return not self._away and not self._stopping.is_set()

    async def step(self) -> None:
        """Takes in what is new and wakes who waits for it. Raises IndexAway."""
        if not self._events:
            return
        if self._stopping.is_set():
            self.wake()
            return
        try:
            await self._queues_now()
            while await self._take():
                pass
            self._away = False
        except IndexAway:
            self._away = True
            self.wake()
            raise

    async def feeds(self, project: str, automatic: bool) -> list[Feed]:
        """Every stream of a project."""
        await self._queues_now()
        mine = [queue for queue in self._queues if queue.partition(".")[0] == project]
        return [Feed(queue, also) for queue in mine for also in ((False, True) if automatic else (False,))]

    @contextmanager
    def woken(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever a stream that it `follow`s has something new, or a queue is new."""
        event = asyncio.Event()
        self._events.add(event)
        try:
            yield event
        finally:
            self._events.discard(event)
            for feed, ring in list(self._rings.items()):
                ring.listeners.discard(event)
                if not ring.listeners:
                    del self._rings[feed]

    async def follow(self, event: asyncio.Event, feeds: Collection[Feed]) -> None:
        """From now on what these streams have is kept, from their present end. Raises IndexAway."""
        new = []
        for feed in feeds:
            if feed in self._rings:
                self._rings[feed].listeners.add(event)  # at once: a stream that nobody follows is let go of
            else:
                new.append(feed)
        if new:
            for feed, ends in zip(new, await self.streams.ends(new), strict=True):
                self._rings.setdefault(feed, _Ring(ends.last, ends.last)).listeners.add(event)

    def end(self, feed: Feed) -> StreamId:
        """The last id of a stream that is followed."""
        return self._rings[feed].tail

    def set_back(self, feed: Feed) -> int:
        """How often a stream that is followed was found to have fewer outcomes than before."""
        return self._rings[feed].set_back

    def holds(self, feed: Feed, after: StreamId) -> bool:
        """Whether everything after an id is in memory."""
        return after >= self._rings[feed].floor

    async def read(self, feed: Feed, after: StreamId, count: int) -> list[Entry]:
        """The oldest `count` after an id, of a stream that is followed. Raises IndexAway."""
        if not self.holds(feed, after):
            async with self._older:
                return await self.streams.read(feed, after, count)
        entries = self._rings[feed].entries
        first = bisect_right(entries, after, key=lambda entry: entry.id)
        return entries[first : first + count]

    def wake(self) -> None:
        for event in self._events:
            event.set()

    async def _take(self) -> bool:
        """Whether a stream had more than is taken at once."""
        rings = list(self._rings.items())
        if not rings:
            return False
        replies = await self.streams.read_many([(feed, ring.tail) for feed, ring in rings], _AT_ONCE)
        more = False
        for (_, ring), (found, last) in zip(rings, replies, strict=True):
            if not found and (last or START) < ring.tail:  # set back, with Redis
                ring.set_back += 1
                ring.entries.clear()
                ring.floor = ring.tail = last or START
            elif found:
                ring.entries.extend(found)
                ring.tail = found[-1].id
                if len(ring.entries) > 2 * self._kept:  # cut seldom: a cut moves all that stays
                    ring.floor = ring.entries[-self._kept - 1].id
                    del ring.entries[: -self._kept]
                more = more or len(found) == _AT_ONCE
            else:
                continue
            for event in ring.listeners:
                event.set()
        return more

    async def _queues_now(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < _QUEUES_S:
            return
        queues = await self.streams.queues()
        self._asked_at = now
        if queues != self._queues:
            self._queues = queues
            self.wake()


def in_order(batches: Collection[list[Entry]], full: int) -> list[Entry]:
    """The entries of several streams in the order of their time. A batch of `full` entries may go on: nothing later than its
    last is among them, and is read again."""
    ends = [batch[-1].id for batch in batches if len(batch) == full]
    entries = [entry for entry in itertools.chain.from_iterable(batches) if not ends or entry.id <= min(ends)]
    return sorted(entries, key=lambda entry: (entry.id, entry.feed))
