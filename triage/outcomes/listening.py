"""What one listener is sent, as server-sent events: from where it left off, exactly, for as long as it keeps up.

id: review=17640-3          event: final          data: {...}      an outcome
id: review=17640-9                                                 nothing for this listener, but it need not be read again
event: gap                  data: {...}                            outcomes may be lost to it: ask for what it waits for
: still here                                                       alive
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from triage.errors import IndexAway
from triage.outcomes.hub import Hub, in_order
from triage.outcomes.position import ANY_TIME, START, Feed, Position, lost
from triage.outcomes.streams import Entry

HEARTBEAT_S = 10.0
_AT_ONCE = 100
RETRY_MS = 1000
"""After which a browser connects again."""


@dataclass(frozen=True)
class Wanted:
    """None: all of them."""

    types: frozenset[str] | None = None
    sites: frozenset[str] | None = None

    def has(self, entry: Entry) -> bool:
        return (self.types is None or entry.type in self.types) and (self.sites is None or entry.site in self.sites)


@dataclass(frozen=True)
class Asked:
    """A listener's wishes. `queue`: of this one alone, and not of the whole project."""

    project: str
    queue: str | None
    position: Position
    wanted: Wanted = Wanted()
    automatic: bool = False
    only_new: bool = False


class Listening:
    """One listener. `start` before the reply begins, then `frames`."""

    def __init__(self, hub: Hub, asked: Asked, retention_s: int) -> None:
        self._hub = hub
        self._asked = asked
        self._position = asked.position
        self._horizon_ms = 1000 * (retention_s - 60)  # clocks differ a little
        self._feeds: dict[Feed, int] = {}
        """Each with how often it was set back when this listener last looked."""
        self._single = asked.queue is not None and not asked.automatic
        self._arrived: set[Feed] = set()
        """Streams in which this listener has come as far as the memory of the gateway."""

    async def frames(self) -> AsyncGenerator[bytes]:
        """Ends when the gateway drains, when Redis is away, and when the listener falls behind; it then connects again. The
        first frame comes when everything that the listener needs is known to be there. Raises IndexAway before it only."""
        with self._hub.woken() as event:
            gap = await self._join(event, self._asked.only_new)
            yield b"retry: %d\n\n" % RETRY_MS + gap
            try:
                async for frame in self._told(event):
                    yield frame
            except IndexAway:  # the status is sent
                yield b": the index is away; connect again\n\n"

    async def _told(self, event: asyncio.Event) -> AsyncGenerator[bytes]:
        silent_since = time.monotonic()
        while self._hub.open:
            event.clear()
            if gap := await self._join(event, False):
                yield gap
            found = in_order(
                [await self._hub.read(feed, self._position.of(feed), _AT_ONCE) for feed in self._feeds], _AT_ONCE
            )
            frames, passed = [], False
            for entry in found:
                self._position.move(entry.feed, entry.id)
                passed = not self._asked.wanted.has(entry)
                if not passed:
                    head = f"id: {self._position.told(self._single)}\nevent: {entry.type}\ndata: ".encode()
                    frames.append(head + entry.body + b"\n\n")
            self._arrived.update(feed for feed in self._feeds if self._at_hand(feed))
            if passed:
                frames.append(f"id: {self._position.told(self._single)}\n\n".encode())
            if frames:
                yield b"".join(frames)
                silent_since = time.monotonic()
            if found:
                if self._behind():
                    yield b": too slow, and what is next is no longer at hand; connect again\n\n"
                    return
                continue
            waits = HEARTBEAT_S - (time.monotonic() - silent_since)
            try:
                async with asyncio.timeout(max(waits, 0.0)):
                    await event.wait()
            except TimeoutError:
                yield b": still here\n\n"
                silent_since = time.monotonic()

    def _behind(self) -> bool:
        return not all(self._at_hand(feed) for feed in self._arrived)

    def _at_hand(self, feed: Feed) -> bool:
        return self._hub.holds(feed, self._position.of(feed))

    async def _join(self, event: asyncio.Event, only_new: bool) -> bytes:
        """Follows the streams there are by now, and sees whether one of them lost what is next; an event that says so, or
        nothing."""
        asked = self._asked
        if asked.queue is None:
            feeds = await self._hub.feeds(asked.project, asked.automatic)
        else:
            feeds = [Feed(asked.queue), *([Feed(asked.queue, True)] if asked.automatic else [])]
        new = [feed for feed in feeds if feed not in self._feeds]
        await self._hub.follow(event, new)
        back = [feed for feed, known in self._feeds.items() if self._hub.set_back(feed) != known]
        check = [*new, *back]
        self._feeds.update({feed: self._hub.set_back(feed) for feed in check})
        told = []
        for feed, ends in zip(check, await self._hub.streams.ends(check) if check else [], strict=True):
            at = self._position.of(feed)
            horizon = ANY_TIME if feed.automatic else int(1e3 * time.time()) - self._horizon_ms
            if only_new:
                self._position.move(feed, ends.last)
                continue
            again = START if feed in back else lost(at, ends.first, ends.last, horizon)
            if again is not None:
                told.append({"stream": feed.name, "after": str(at), "oldest": str(ends.first) if ends.first else None})
            self._position.move(feed, at if again is None else again)
        if not told:
            return b""
        body = msgspec.json.encode({"type": "gap", "project": asked.project, "streams": told})
        return f"id: {self._position.told(self._single)}\nevent: gap\ndata: ".encode() + body + b"\n\n"
