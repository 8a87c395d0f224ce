"""What gateways tell one another through Redis: one channel, subscribed again whenever the connection was lost.

A message may be lost, and Redis may be away: whoever subscribes also looks now and then without being told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

AGAIN_S = 0.25
"""Between attempts to subscribe."""


class Subscription:
    """`run` is a background task. `told` is called with each message, and with None whenever the subscription begins, since
    something may have been told before."""

    def __init__(self, url: str, timeout_s: float, channel: str, told: Callable[[bytes | None], None]) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._channel = channel
        self._told = told
        self.stands = False
        """Whether messages come."""

    async def run(self) -> None:
        while True:
            client = Redis.from_url(self._url, socket_connect_timeout=self._timeout_s, protocol=2)
            try:
                async with client, client.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    while True:
                        message = await channel.get_message(timeout=5)
                        if message is not None:
                            self.stands = True
                            self._told(message["data"] if message["type"] == "message" else None)
            except (RedisError, OSError):
                await asyncio.sleep(AGAIN_S)
            finally:
                self.stands = False
