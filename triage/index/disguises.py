"""What the queue knows of golds and of items that a draw made blind. In Redis beside the queue.

sr:{<queue>}:turns         hash: reviewer -> items leased so far, by which golds are drawn
sr:{<queue>}:gold:<name>   set: reviewers who answered this gold, also made again from the journal
sr:{<queue>}:golds         hash: gold -> its item that is with somebody, or waits because somebody gave it back
sr:{<queue>}:veiled        set: items that are read blind because a draw said so
"""

from __future__ import annotations

from collections.abc import Sequence

from triage.index.reviews import RedisReviews
from triage.index.scripts import key

_GONE = (None, "resolved", "withdrawn", "unresolved")


class RedisDisguises:
    """Every method raises IndexAway."""

    def __init__(self, reviews: RedisReviews) -> None:
        self._reviews = reviews

    async def turn(self, queue: str, reviewer: str, count: int) -> int:
        """The number of the first of the reviewer's next `count` items."""
        (after,) = await self._reviews.run(("HINCRBY", key(queue, "turns"), reviewer, count))
        return int(after) - count

    async def seen(self, queue: str, golds: Sequence[str]) -> dict[str, frozenset[str]]:
        """Who answered each gold."""
        if not golds:
            return {}
        found = await self._reviews.run(*(("SMEMBERS", key(queue, f"gold:{name}")) for name in golds))
        return {name: frozenset(each.decode() for each in who) for name, who in zip(golds, found, strict=True)}

    async def claim(self, queue: str, gold: str, item: str) -> bool:
        """Whether the gold is free, and this item of it now the only one."""
        names = key(queue, "golds")
        (out,) = await self._reviews.run(("HGET", names, gold))
        if out is not None:
            if await self._reviews.item_state(queue, out.decode()) not in _GONE:
                return False
            await self._reviews.run(("HDEL", names, gold))
        (mine,) = await self._reviews.run(("HSETNX", names, gold, item))
        return bool(mine)

    async def answered(self, queue: str, gold: str, reviewer: str) -> None:
        """The journal says so."""
        await self._reviews.run(("SADD", key(queue, f"gold:{gold}"), reviewer), ("HDEL", key(queue, "golds"), gold))

    async def veil(self, queue: str, items: Sequence[str]) -> None:
        await self._reviews.run(("SADD", key(queue, "veiled"), *items))

    async def veiled(self, queue: str, item: str) -> bool:
        (member,) = await self._reviews.run(("SISMEMBER", key(queue, "veiled"), item))
        return bool(member)

    async def oldest(self, queue: str) -> int | None:
        """When the oldest image came that its caller waits for, microseconds; None while nothing waits."""
        if not (await self._reviews.stats(queue)).waiting:
            return None
        (flat,) = await self._reviews.run(("ZRANGE", key(queue, "due"), 0, 0, "WITHSCORES"))
        return int(1e3 * float(flat[1])) if flat else None
