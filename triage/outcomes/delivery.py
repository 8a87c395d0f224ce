"""One webhook, delivered by the replica that holds it: from its cursor on, at least once each, under the same `webhook-id`."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from triage.answers import when
from triage.control.webhook_document import WebhookDocument
from triage.ids import derived_id
from triage.outcomes.hub import Hub, in_order
from triage.outcomes.ledger import Ledger, Letter, Name
from triage.outcomes.listening import Wanted
from triage.outcomes.position import ANY_TIME, START, Feed, StreamId, lost
from triage.outcomes.sending import Sender, Sent
from triage.outcomes.streams import Ends, Entry
from triage.outcomes.window import Message, Window

WINDOW = 256
"""Messages under way or waiting to be tried again; beyond them the stream itself keeps what is to come."""
_AT_ONCE = 64
_LOOK_S = 1.0
"""New queues and letters to be sent again are looked for so often."""


class Report(Protocol):
    """What others make of a webhook's deliveries."""

    def counted(self, name: Name, result: str) -> None: ...

    def behind(self, name: Name, seconds: float) -> None: ...

    async def buried(self, name: Name, letter: Letter, prediction: str) -> None:
        """Journals a dead letter."""

    async def gap(self, name: Name, stream: str, after: str, oldest: str) -> None:
        """Journals that outcomes were trimmed before they were sent."""

    async def gone(self, name: Name, url: str, says: str) -> None:
        """The receiver wants nothing any more."""


class Delivery:
    """`run` ends when it is cancelled, with FenceLost when another replica delivers, and when the receiver is gone."""

    def __init__(
        self,
        name: Name,
        document: WebhookDocument,
        fence: int,
        hub: Hub,
        ledger: Ledger,
        sender: Sender,
        report: Report,
        retention_s: int,
    ) -> None:
        self._name = name
        self._document = document
        self._fence = fence
        self._hub = hub
        self._ledger = ledger
        self._sender = sender
        self._report = report
        self._window = Window(document)
        self._wanted = Wanted(frozenset(document.events), frozenset(document.sites) or None)
        self._at: dict[Feed, StreamId] = {}
        self._kept: dict[Feed, StreamId] = {}
        self._redo_at = START
        self._redo = Feed(f"{name.project}.redo")
        self._looked_at = float("-inf")
        self._is_gone = False
        self._horizon_ms = 1000 * (retention_s - 60)
        self._first = START if document.after is None else StreamId(int(1e3 * document.after.timestamp()), 0)

    async def run(self) -> None:
        """Raises IndexAway, FenceLost, JournalBroken."""
        cursor, since = await self._ledger.cursor(self._name)
        under_way: set[asyncio.Task[None]] = set()
        with self._hub.woken() as event:
            try:
                while not self._is_gone:
                    event.clear()
                    await self._fill(event, cursor, since / 1e3)
                    for message in self._window.start(time.time()):
                        under_way.add(asyncio.create_task(self._try(message)))
                    await self._keep()
                    waits = asyncio.create_task(event.wait())
                    done, _ = await asyncio.wait(
                        {*under_way, waits}, timeout=self._pause(), return_when=asyncio.FIRST_COMPLETED
                    )
                    waits.cancel()
                    for task in done - {waits}:
                        under_way.discard(task)
                        task.result()
            finally:
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)

    async def _fill(self, event: asyncio.Event, cursor: dict[str, StreamId], since_s: float) -> None:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            feeds = await self._hub.feeds(self._name.project, self._document.automatic)
            new = [feed for feed in feeds if feed not in self._at]
            await self._hub.follow(event, new)
            for feed, ends in zip(new, await self._hub.streams.ends(new) if new else [], strict=True):
                at = cursor.get(feed.name)
                self._at[feed] = self._first if at is None else await self._begin(feed, at, ends)
            for letter in await self._ledger.to_redo(self._name, self._redo_at, _AT_ONCE):
                self._take_redo(letter)
        if len(self._window) >= WINDOW:
            return
        batches = [await self._hub.read(feed, at, _AT_ONCE) for feed, at in self._at.items()]
        for entry in in_order(batches, _AT_ONCE):
            self._take(entry, since_s)

    async def _begin(self, feed: Feed, at: StreamId, ends: Ends) -> StreamId:
        horizon = ANY_TIME if feed.automatic else int(1e3 * time.time()) - self._horizon_ms
        again = lost(at, ends.first, ends.last, horizon)
        if again is None:
            return at
        if at <= ends.last:  # and not set back with Redis, which loses nothing: all of it is sent again
            await self._report.gap(self._name, feed.name, str(at), str(ends.first))
        return again

    def _take(self, entry: Entry, since_s: float) -> None:
        self._at[entry.feed] = entry.id
        self._window.read(entry.feed, entry.id)
        if self._wanted.has(entry):
            born = max(entry.id.ms / 1e3, since_s)
            message = derived_id("webhook", *self._name, entry.body.decode())
            self._window.add(Message(entry.feed, entry.id, f"msg_{message}", entry.prediction, entry.body, born))

    def _take_redo(self, letter: Letter) -> None:
        self._redo_at = StreamId.parse(letter.id)
        prediction = letter.message  # what came after it was delivered long ago: there is no order left to keep
        born = self._redo_at.ms / 1e3
        self._window.add(Message(self._redo, self._redo_at, letter.message, prediction, letter.body, born, redo=True))

    async def _try(self, message: Message) -> None:
        sent = await self._sender.post(self._document, message.id, message.body)
        now = time.time()
        self._report.counted(self._name, "delivered" if sent.taken else "failed")
        await self._ledger.tried(self._name, when(int(1e6 * now)), sent.says, sent.taken)
        if sent.gone:
            await self._report.gone(self._name, self._document.url, sent.says)
            self._is_gone = True
        elif sent.taken:
            await self._redone(message)
            self._window.got_through(message, now)
        elif self._window.failed(message, now, sent.retry_after_s):
            await self._bury(message, sent)

    async def _bury(self, message: Message, sent: Sent) -> None:
        letter = Letter("", message.body, message.id, sent.says, message.tries, int(1e3 * message.first_s))
        await self._report.buried(self._name, letter, message.prediction)
        await self._ledger.bury(self._name, self._fence, letter)
        await self._redone(message)
        self._window.given_up(message)
        self._report.counted(self._name, "dead")

    async def _redone(self, message: Message) -> None:
        if message.redo:
            await self._ledger.redone(self._name, self._fence, str(message.at))

    async def _keep(self) -> None:
        """Writes down how far everything is done; what is not written is sent again by whoever comes next."""
        cursor = self._window.cursor()
        if cursor != self._kept:
            await self._ledger.move(self._name, self._fence, cursor)
            self._kept = cursor
        oldest = self._window.oldest_s()
        self._report.behind(self._name, max(0.0, time.time() - oldest) if oldest else 0.0)

    def _pause(self) -> float:
        due = self._window.next_s()
        if len(self._window) < WINDOW and any(self._hub.end(feed) > at for feed, at in self._at.items()):
            return 0.0
        return min(_LOOK_S, max(0.0, due - time.time())) if due is not None else _LOOK_S
