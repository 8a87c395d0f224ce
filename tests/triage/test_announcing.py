"""Who changes a document tells the others, who look at once; and whoever is not told looks all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import Redis

from embedded.ports import free_ports
from embedded.stack import Valkey
from triage.index.announcing import CHANNEL, Announcing
from triage.index.reviews import RedisReviews

FOREVER = 60.0


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Announcing]:
    reviews = RedisReviews(url, 5.0)
    announcing = Announcing(url, 5.0, reviews)
    task = asyncio.create_task(announcing.run())
    yield announcing
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await reviews.close()


async def test_what_one_tells_the_other_hears_before_it_would_look(valkey: Valkey, redis: Redis) -> None:
    async with running(valkey.url) as one, running(valkey.url) as other:
        await other.wait(FOREVER)  # subscribed
        await one.wait(FOREVER)
        waiting = asyncio.create_task(other.wait(FOREVER))
        one.soon()
        await asyncio.wait_for(waiting, 30)


async def test_a_change_told_while_nobody_waited_is_not_missed(valkey: Valkey, redis: Redis) -> None:
    async with running(valkey.url) as one:
        await one.wait(FOREVER)
        assert redis.publish(CHANNEL, b"") == 1
        await asyncio.wait_for(one.wait(FOREVER), 30)


async def test_without_redis_everybody_looks_after_a_while() -> None:
    (port,) = free_ports(1)
    async with running(f"redis://127.0.0.1:{port}/0") as alone:
        alone.soon()
        await asyncio.wait_for(alone.wait(0.05), 30)
