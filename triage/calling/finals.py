"""Who waits for an answer is told when it is there: one subscription a gateway, however many wait.

Redis publishes each final that comes to a prediction which had none (lua/view.lua). A message may be lost, and Redis may be
away; so what is waited for is also looked up now and then, all of it in few round trips.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from itertools import islice

from triage.errors import IndexAway
from triage.index import views
from triage.index.reviews import RedisReviews
from triage.index.subscription import Subscription

CHANNEL = "sr:finals"
_SUBSCRIBED_S, _ALONE_S = 2.0, 0.25
"""Between looks, while the subscription stands and while it does not."""
_AT_ONCE = 500
"""Looked up in one round trip."""


class Finals:
    """`run` is its background task."""

    def __init__(self, url: str, timeout_s: float, reviews: RedisReviews) -> None:
        self._subscription = Subscription(url, timeout_s, CHANNEL, self._told)
        self._reviews = reviews
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._looks: dict[str, asyncio.Task[tuple[bytes, bytes | None]]] = {}

    @contextlib.contextmanager
    def watched(self, prediction_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when there may be something new of this prediction. Look after it was begun, or miss some."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(prediction_id, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(prediction_id, None)

    def wake(self, prediction_id: str | None = None) -> None:
        """Sets the events of one prediction, or everybody's."""
        chosen = self._waiting.values() if prediction_id is None else [self._waiting.get(prediction_id, set())]
        for events in list(chosen):
            for event in events:
                event.set()

    async def look(self, prediction_id: str) -> tuple[bytes, bytes | None]:
        """View and final state, for those who were woken; all who wait for one prediction look once.

        Raises NotFound, IndexAway.
        """
        task = self._looks.get(prediction_id)
        if task is None:
            task = self._looks[prediction_id] = asyncio.create_task(self._view(prediction_id))
            task.add_done_callback(lambda _: self._looks.pop(prediction_id, None))
        return await asyncio.shield(task)

    async def _view(self, prediction_id: str) -> tuple[bytes, bytes | None]:
        view, final, _ = await self._reviews.view(prediction_id)
        return view, final

    async def run(self, stopping: asyncio.Event) -> None:
        """Until the gateway stops, when everybody is woken."""
        tasks = [asyncio.create_task(each) for each in (self._subscription.run(), self._look())]
        try:
            await stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.wake()

    def _told(self, message: bytes | None) -> None:
        if message is not None:
            self.wake(message.decode().rpartition(":")[2])

    async def _look(self) -> None:
        """In case a message was lost."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_ALONE_S)
            if self._subscription.stands and time.monotonic() - last < _SUBSCRIBED_S:
                continue
            last = time.monotonic()
            names = iter(list(self._waiting))
            with contextlib.suppress(IndexAway):
                while batch := list(islice(names, _AT_ONCE)):
                    there = await self._reviews.run(*map(views.glance, batch))
                    for name, final in zip(batch, there, strict=True):
                        if views.is_final(final):
                            self.wake(name)
