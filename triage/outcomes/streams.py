"""The outcome streams as Redis keeps them, read by whoever tells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from triage.index.reviews import RedisReviews
from triage.index.scripts import key
from triage.outcomes.position import START, Feed, StreamId


class _About(msgspec.Struct):
    type: str
    prediction: str = ""
    site: str | None = None


_about = msgspec.json.Decoder(_About)


class Entry(NamedTuple):
    """One outcome. `body` is the JSON that listeners and webhooks are sent; the rest is what it is chosen by."""

    id: StreamId
    feed: Feed
    type: str
    prediction: str
    site: str | None
    body: bytes


class Ends(NamedTuple):
    """What a stream holds: its first id, None when it is empty, and its last."""

    first: StreamId | None
    last: StreamId


class Streams:
    """Every method raises IndexAway. None waits in Redis: a blocked connection for each reader would use them up."""

    def __init__(self, reviews: RedisReviews) -> None:
        self._reviews = reviews

    async def queues(self) -> list[str]:
        return await self._reviews.queues()

    async def read(self, feed: Feed, after: StreamId, count: int) -> list[Entry]:
        """The oldest `count` after an id."""
        return (await self.read_many([(feed, after)], count))[0][0]

    async def read_many(
        self, feeds: Sequence[tuple[Feed, StreamId]], count: int
    ) -> list[tuple[list[Entry], StreamId | None]]:
        """Of each stream the oldest `count` after an id, and the last id that it has; one round trip."""
        commands = []
        for feed, after in feeds:
            commands.append(("XRANGE", _key(feed), f"({after}", "+", "COUNT", count))
            commands.append(("XREVRANGE", _key(feed), "+", "-", "COUNT", 1))
        replies = await self._reviews.run(*commands)
        return [
            ([_entry(feed, raw) for raw in found], StreamId.parse(last[0][0].decode()) if last else None)
            for (feed, _), found, last in zip(feeds, replies[::2], replies[1::2], strict=True)
        ]

    async def ends(self, feeds: Sequence[Feed]) -> list[Ends]:
        commands = []
        for feed in feeds:
            commands.append(("XRANGE", _key(feed), "-", "+", "COUNT", 1))
            commands.append(("XREVRANGE", _key(feed), "+", "-", "COUNT", 1))
        replies = await self._reviews.run(*commands)
        return [
            Ends(
                StreamId.parse(first[0][0].decode()) if first else None,
                StreamId.parse(last[0][0].decode()) if last else START,
            )
            for first, last in zip(replies[::2], replies[1::2], strict=True)
        ]


def _key(feed: Feed) -> str:
    return key(feed.queue, "automatic" if feed.automatic else "outcomes")


def _entry(feed: Feed, raw: tuple[bytes, list[bytes]]) -> Entry:
    entry_id, fields = raw
    body = fields[fields.index(b"outcome") + 1]
    about = _about.decode(body)
    return Entry(StreamId.parse(entry_id.decode()), feed, about.type, about.prediction, about.site, body)
