"""The recorder: nothing acknowledged stays out of the index for good, whatever happens to Redis or to the request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from redis import Redis

from embedded.stack import Valkey
from model_store.record import Record
from tests.services import Data, running_valkey
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.queue_items import dump
from triage.errors import IndexAway, JournalBroken
from triage.journal.segments import read
from triage.ports import Position
from triage.recorder import Recorder


def views(redis: Redis) -> set[str]:
    return {name.decode().removeprefix("sr:view:") for name in redis.keys("sr:view:*")}  # type: ignore[union-attr]


async def test_what_is_recorded_is_journaled_and_indexed(gateway: Wired, redis: Redis) -> None:
    assert not gateway.recorder.behind
    ids = {(await gateway.predict(colour, salt))["id"] for salt, colour in enumerate(("red", "blue", "green"))}
    assert views(redis) == ids == {record.id for record in gateway.predictions()}
    assert await gateway.reviews.checkpoint("test") != gateway.journal.end
    await gateway.recorder.step()
    assert await gateway.reviews.checkpoint("test") == gateway.journal.end


async def test_a_wiped_redis_is_noticed_and_filled_again(gateway: Wired, redis: Redis) -> None:
    for salt in range(70):
        await gateway.predict("blue", salt)
    await gateway.recorder.step()
    lived = dump(redis)
    redis.flushall()
    await gateway.recorder.step()
    found = dump(redis)
    assert found.pop("sr:epoch") != lived.pop("sr:epoch")
    assert found == lived


async def test_a_redis_set_back_names_its_own_gap(gateway: Wired, redis: Redis) -> None:
    await gateway.predict("blue", 1)
    await gateway.recorder.step()
    before = {name: redis.dump(name) for name in redis.keys("*")}
    await gateway.predict("blue", 2)
    await gateway.recorder.step()
    lived = dump(redis)
    redis.flushall()
    for name, content in before.items():
        redis.restore(name, 0, content)  # type: ignore[arg-type]
    await gateway.recorder.step()
    assert dump(redis) == lived


async def test_while_redis_is_away_records_go_on_and_are_indexed_later(data: Data, tmp_path_factory: Any) -> None:
    with running_valkey(tmp_path_factory.mktemp("own")) as own:
        async with wired(data, own.url, timeout_s=1.0) as gateway:
            first = await gateway.predict("blue", 1)
            await gateway.recorder.step()
            own.process.kill()
            second = await gateway.predict("blue", 2)
            assert gateway.recorder.behind
            assert second["route"] == "review"
            third = await gateway.predict("red", 3)
            await gateway.recorder.step()
            assert gateway.recorder.behind
            assert gateway.metrics.registry.get_sample_value("triage_outbox_depth") == 1
            with pytest.raises(IndexAway):
                await gateway.reviews.view(second["id"])
            own.start()
            await gateway.recorder.step()
            assert gateway.metrics.registry.get_sample_value("triage_outbox_depth") == 0
            for each in (first, second, third):
                view, final, _ = await gateway.reviews.view(each["id"])
                assert json.loads(view)["id"] == each["id"]
                assert (final is not None) == (each is third)


async def test_a_gateway_that_starts_indexes_what_was_journaled_before(
    data: Data, valkey: Valkey, redis: Redis
) -> None:
    async with wired(data, valkey.url) as first:
        await first.predict("blue")
    lived = dump(redis)
    redis.flushall()
    async with wired(data, valkey.url) as second:
        assert second.journal.end.segment == 2
        found = dump(redis)
        assert {name: value for name, value in found.items() if "view" in name} == {
            name: value for name, value in lived.items() if "view" in name
        }


class _Slow(Recorder):
    """Stops between journal and index until the test says go on."""

    def hold(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        apply = self._index.apply

        async def held(record: Record, *at_hand: Any) -> None:
            self.reached.set()
            await self.go.wait()
            await apply(record, *at_hand)

        self._index.apply = held  # type: ignore[method-assign, assignment]


async def test_the_checkpoint_never_passes_a_record_that_is_not_indexed(gateway: Wired, redis: Redis) -> None:
    slow = _Slow(gateway.journal, gateway.index, gateway.reviews, "test", gateway.metrics)
    await slow.step()
    gateway.intake._recorder = slow
    apply = gateway.index.apply
    slow.hold()
    waiting = asyncio.create_task(gateway.predict("blue", 1))
    await slow.reached.wait()
    gateway.index.apply = apply  # type: ignore[method-assign]
    await gateway.predict("blue", 2)
    await slow.step()
    reached = await gateway.reviews.checkpoint("test")
    assert reached is not None
    ahead = [record.id for _, record in read(gateway.journal.folder, reached)]
    assert [record.id for record in gateway.predictions()] == ahead
    slow.go.set()
    await waiting
    await slow.step()
    assert await gateway.reviews.checkpoint("test") == gateway.journal.end


async def test_a_request_that_was_cancelled_is_indexed_if_it_was_journaled(gateway: Wired, redis: Redis) -> None:
    """Its record may be on the disk already, or be about to be."""
    for salt in range(12):
        task = asyncio.create_task(gateway.predict("blue", salt))
        for _ in range(salt):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await gateway.predict("blue", 99)
    while gateway.recorder._open:
        await asyncio.wait(gateway.recorder._open)  # type: ignore[type-var]
    await gateway.recorder.step()
    assert views(redis) == {record.id for record in gateway.predictions()}


async def test_a_cancelled_record_holds_the_checkpoint_until_it_is_indexed(gateway: Wired, redis: Redis) -> None:
    await gateway.predict("blue", 1)
    (record,) = gateway.predictions()
    redis.flushall()
    await gateway.recorder.step()
    redis.delete(*redis.keys("sr:view:*"))
    cancelled = asyncio.create_task(gateway.recorder.record(record))
    await asyncio.sleep(0)
    before = gateway.journal.end
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while record.id not in views(redis):
        await gateway.recorder.step()
        reached = await gateway.reviews.checkpoint("test")
        assert reached is not None
        assert reached <= before or record.id in views(redis)
        assert loop.time() < deadline
        await asyncio.sleep(0.01)


async def test_a_cancelled_request_sets_nobody_else_s_index_behind(gateway: Wired, redis: Redis) -> None:
    slow = _Slow(gateway.journal, gateway.index, gateway.reviews, "test", gateway.metrics)
    await slow.step()
    gateway.intake._recorder = slow
    slow.hold()
    task = asyncio.create_task(gateway.predict("blue", 1))
    await slow.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not slow.behind
    assert views(redis) == set()
    slow.go.set()
    while slow._open:
        await asyncio.wait(slow._open)  # type: ignore[type-var]
    assert views(redis) == {record.id for record in gateway.predictions()} != set()


async def test_a_broken_journal_indexes_nothing(gateway: Wired, redis: Redis) -> None:
    gateway.journal.broken = "the test pulled the disk out"
    with pytest.raises(JournalBroken):
        await gateway.predict("blue")
    assert views(redis) == set()
    assert (await gateway.reviews.stats(QUEUE)).waiting == 0
    assert gateway.journal.end == Position(1, 4)


async def test_what_came_while_redis_was_away_is_indexed_though_the_checkpoint_is_of_a_lost_disk(
    data: Data, valkey: Valkey, redis: Redis
) -> None:
    """The disk is new, and segments number on from what was archived: the checkpoint lies beyond them."""
    redis.set("sr:checkpoint:test", "7:9000")
    async with wired(data, valkey.url) as started:
        recorder = Recorder(started.journal, started.index, started.reviews, "test", started.metrics)
        started.intake._recorder = recorder  # one that is behind, as at every start
        view = await started.predict("blue")
        redis.set("sr:checkpoint:test", "7:9000")
        await recorder.step()
        assert await started.reviews.item_state(QUEUE, view["id"]) == "waiting"
