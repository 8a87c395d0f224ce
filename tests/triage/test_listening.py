"""Listeners over a real Valkey: exact resumption, merged queues, filters, bounded memory, gaps, drain."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from redis import Redis

from triage.errors import IndexAway
from triage.index.reviews import RedisReviews
from triage.outcomes.hub import Hub
from triage.outcomes.listening import Asked, Listening, Wanted
from triage.outcomes.position import Position
from triage.outcomes.streams import Streams

KEPT = 50
RETENTION_S = 3600


@dataclass
class Told:
    """The frames of one listener, parsed."""

    id: str = ""
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def take(self, frames: bytes) -> None:
        for frame in frames.decode().split("\n\n"):
            lines = [line.partition(": ") for line in frame.splitlines()]
            said = {name: value for name, _, value in lines if name}
            self.id = said.get("id", self.id)
            if "data" in said:
                self.events.append((self.id, said["event"], json.loads(said["data"])))
            self.comments += [value for name, _, value in lines if not name]

    @property
    def predictions(self) -> list[str]:
        return [body["prediction"] for _, kind, body in self.events if kind != "gap"]


class Room:
    """A hub whose step the test takes, and a publisher."""

    def __init__(self, reviews: RedisReviews, redis: Redis) -> None:
        self.stopping = asyncio.Event()
        self.hub = Hub(Streams(reviews), self.stopping, kept=KEPT)
        self.redis = redis
        self._count = 0

    def publish(
        self, count: int = 1, queue: str = "lab.review", type: str = "final", site: str = "north",
        stream: str = "outcomes", at: str = "*",
    ) -> list[str]:  # fmt: skip
        sent = []
        self.redis.sadd("sr:queues", queue)
        for _ in range(count):
            self._count += 1
            sent.append(f"p{self._count}")
            body = {"type": type, "prediction": sent[-1], "project": "lab", "site": site, "case": None, "final": None}
            self.redis.xadd(f"sr:{{{queue}}}:{stream}", {"outcome": json.dumps(body)}, id=at)
        return sent

    def frames(self, position: str = "0", queue: str | None = None, **about: Any) -> AsyncGenerator[bytes]:
        asked = Asked("lab", queue, Position.parse(position), **about)
        return Listening(self.hub, asked, RETENTION_S).frames()

    async def hear(self, count: int, position: str = "0", **about: Any) -> Told:
        """What a listener is told until it has heard so many outcomes."""
        told = Told()
        async with aclosing(self.frames(position, **about)) as frames:
            await self.until(told, frames, lambda: len(told.predictions) >= count)
        return told

    async def until(self, told: Told, frames: AsyncGenerator[bytes], done: Any) -> None:
        async def stepping() -> None:
            while True:
                await self.hub.step()
                await asyncio.sleep(0)

        steps = asyncio.create_task(stepping())
        try:
            async with asyncio.timeout(20):
                while not done():
                    told.take(await anext(frames))
        finally:
            steps.cancel()
            await asyncio.gather(steps, return_exceptions=True)


@pytest.fixture
async def room(reviews: RedisReviews, redis: Redis) -> Room:
    return Room(reviews, redis)


async def test_every_place_resumes_exactly(room: Room) -> None:
    sent = []
    for turn in range(400):  # more than is read at once
        sent += room.publish(queue="lab.second" if turn % 7 else "lab.review", at=f"{1000 + turn // 3}-{turn}")
    whole = await room.hear(len(sent))
    assert whole.predictions == sent
    for index, (event_id, _, _) in list(enumerate(whole.events[:-1]))[::13]:
        rest = await room.hear(len(sent) - index - 1, event_id)
        assert rest.predictions == sent[index + 1 :]


async def test_one_queue_has_the_ids_of_its_stream(room: Room, redis: Redis) -> None:
    room.publish(2, queue="lab.second")
    sent = room.publish(3)
    told = await room.hear(3, queue="lab.review")
    assert told.predictions == sent
    assert [event_id for event_id, _, _ in told.events] == [
        entry.decode() for entry, _ in cast(Any, redis.xrange("sr:{lab.review}:outcomes"))
    ]


async def test_other_projects_are_not_heard(room: Room) -> None:
    room.publish(1, queue="labs.review")
    sent = room.publish(1)
    assert (await room.hear(1)).predictions == sent


async def test_a_queue_that_opens_later_is_heard(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.outcomes.hub._QUEUES_S", 0.0)
    sent = room.publish()
    told = Told()
    async with aclosing(room.frames()) as frames:
        await room.until(told, frames, lambda: told.predictions == sent)
        sent += room.publish(queue="lab.new")
        await room.until(told, frames, lambda: told.predictions == sent)
    assert "new=" in told.id
    assert (await room.hear(0, told.id)).predictions == []


async def test_only_what_is_wanted_comes_and_the_rest_need_not_be_read_again(room: Room) -> None:
    room.publish(5, site="south")
    sent = room.publish(2, type="correction")
    room.publish(3)
    told = Told()
    wanted = Wanted(frozenset({"correction"}), frozenset({"north"}))
    async with aclosing(room.frames(wanted=wanted)) as frames:
        await room.until(told, frames, lambda: told.id != (told.events[-1][0] if told.events else ""))
    assert told.predictions == sent
    assert (await room.hear(0, told.id)).predictions == []


async def test_automatic_answers_come_when_asked_for(room: Room) -> None:
    people = room.publish()
    model = room.publish(stream="automatic")
    assert (await room.hear(1)).predictions == people
    assert (await room.hear(2, automatic=True)).predictions == people + model


async def test_now_leaves_out_what_was_before(room: Room) -> None:
    room.publish(3)
    told = Told()
    async with aclosing(room.frames(only_new=True)) as frames:
        told.take(await anext(frames))
        sent = room.publish(2)
        await room.until(told, frames, lambda: len(told.predictions) == 2)
    assert told.predictions == sent


async def test_a_thousand_listeners_read_once_and_memory_is_bounded(
    room: Room, reviews: RedisReviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [room.frames() for _ in range(1000)]
    told = [Told() for _ in opened]
    room.publish()
    for each, frames in zip(told, opened, strict=True):
        each.take(await anext(frames))
    asked = 0
    read_many = room.hub.streams.read_many

    async def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await read_many(*arguments)

    monkeypatch.setattr(room.hub.streams, "read_many", counted)
    sent = room.publish(20)
    await room.hub.step()

    async def hears(each: Told, frames: AsyncGenerator[bytes]) -> None:
        while len(each.predictions) < 21:
            each.take(await anext(frames))

    async with asyncio.timeout(60):
        await asyncio.gather(*(hears(each, frames) for each, frames in zip(told, opened, strict=True)))
    assert asked <= 1 + 1000  # one for the step; one each for what came before this gateway listened
    assert all(each.predictions[1:] == sent for each in told)
    for frames in opened:
        await frames.aclose()
    assert room.hub._rings == {}
    assert room.hub._events == set()


async def test_a_slow_listener_is_sent_away_and_resumes(room: Room) -> None:
    first = room.publish()
    told = Told()
    async with aclosing(room.frames()) as frames:
        await room.until(told, frames, lambda: told.predictions == first)
        sent = room.publish(6 * KEPT)  # meanwhile it takes nothing
        await room.hub.step()
        held = sum(len(ring.entries) for ring in room.hub._rings.values())
        assert held <= 2 * KEPT
        with pytest.raises(StopAsyncIteration):
            await room.until(told, frames, lambda: False)
    assert any("too slow" in comment for comment in told.comments)
    rest = await room.hear(len(first + sent) - len(told.predictions), told.id)
    assert told.predictions + rest.predictions == first + sent


async def test_who_asks_for_what_is_no_longer_kept_is_told_so(room: Room, redis: Redis) -> None:
    now = int(1e3 * time.time())
    old, kept = now - 2 * RETENTION_S * 1000, now - 1000
    room.publish(at=f"{old}-1")
    room.publish(at=f"{kept}-7")
    intact = await room.hear(1, f"review={old}-1")
    assert [kind for _, kind, _ in intact.events] == ["final"]
    redis.xtrim("sr:{lab.review}:outcomes", minid=f"{kept}-0", approximate=False)
    cut = await room.hear(1, f"review={old}-1")
    assert [kind for _, kind, _ in cut.events] == ["gap", "final"]
    assert cut.events[0][2] == {
        "type": "gap", "project": "lab",
        "streams": [{"stream": "review", "after": f"{old}-1", "oldest": f"{kept}-7"}],
    }  # fmt: skip
    resumed = await room.hear(1, cut.events[0][0])
    assert [kind for _, kind, _ in resumed.events] == ["final"]  # said once
    assert [kind for _, kind, _ in (await room.hear(1)).events] == ["final"]  # it asked for the oldest, and has it


async def test_a_stream_that_was_set_back_is_told_from_its_beginning(room: Room, redis: Redis) -> None:
    ahead = int(1e3 * time.time()) + 60_000
    room.publish(at=f"{ahead}-0")
    told = Told()
    async with aclosing(room.frames()) as frames:
        await room.until(told, frames, lambda: len(told.predictions) == 1)
        redis.delete("sr:{lab.review}:outcomes")
        await room.hub.step()
        sent = room.publish(2)
        await room.until(told, frames, lambda: len(told.predictions) == 3)
    assert [kind for _, kind, _ in told.events] == ["final", "gap", "final", "final"]
    assert told.predictions[1:] == sent
    again = await room.hear(2, f"review={ahead}-0")
    assert [kind for _, kind, _ in again.events] == ["gap", "final", "final"]


async def test_a_silent_listener_is_told_that_the_service_lives(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.outcomes.listening.HEARTBEAT_S", 0.05)
    told = Told()
    async with aclosing(room.frames()) as frames:
        await room.until(told, frames, lambda: told.comments == ["still here", "still here"])


async def test_listeners_end_when_the_gateway_drains_and_when_redis_is_away(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in ("drain", "away"):
        told = Told()
        async with aclosing(room.frames()) as frames:
            told.take(await anext(frames))
            if end == "drain":
                room.stopping.set()
            else:
                room.stopping.clear()

                async def away(*_: Any) -> Any:
                    raise IndexAway("switched off by the test")

                monkeypatch.setattr(room.hub.streams, "queues", away)
                room.hub._asked_at = float("-inf")
                with pytest.raises(IndexAway):
                    await room.hub.step()
            with pytest.raises(StopAsyncIteration):
                await room.until(told, frames, lambda: False) if end == "drain" else await anext(frames)
