"""Gateways tell one another through Redis that a control document changed, so that nobody waits for the next look.

A message says nothing but "look": what changed is read from the store, which is the truth. A message may be lost and Redis may
be away, so everybody also looks without being told.
"""

from __future__ import annotations

import asyncio
import contextlib

from triage.errors import IndexAway
from triage.index.connection import RedisIndex
from triage.index.subscription import Subscription

CHANNEL = "sr:documents"


class Announcing:
    """`run` is its background task; everything else is called from the same loop."""

    def __init__(self, url: str, timeout_s: float, index: RedisIndex) -> None:
        self._subscription = Subscription(url, timeout_s, CHANNEL, lambda _: self._heard.set())
        self._index = index
        self._heard = asyncio.Event()
        self._to_tell = asyncio.Event()

    def soon(self) -> None:
        """The others are told; of several changes at once maybe only once."""
        self._to_tell.set()

    async def wait(self, seconds: float) -> None:
        """Returns when somebody told of a change since the last call, at the latest after so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)
        self._heard.clear()

    async def run(self) -> None:
        await asyncio.gather(self._tell(), self._subscription.run())

    async def _tell(self) -> None:
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            with contextlib.suppress(IndexAway):  # the others look by themselves
                await self._index.run(("PUBLISH", CHANNEL, b""))
