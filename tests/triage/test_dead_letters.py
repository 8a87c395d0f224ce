"""What nobody manages to answer does not go round for ever, a skip is no failure, and a manager brings back what died."""

from __future__ import annotations

import itertools
import random

import pytest
from redis import Redis

from model_store.record import EventRecord, Record
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import dump, expire, key
from triage.errors import Conflict
from triage.reviewing.item import DIED, REQUEUED


async def expires(gateway: Wired, redis: Redis, reviewer: str = "ada") -> str:
    """One lease that nobody answers."""
    (lease,) = await gateway.desk.lease(QUEUE, reviewer, 1, None)
    expire(redis, lease.item.id)
    await gateway.sweeping.step()
    return lease.item.id


async def dies(gateway: Wired, redis: Redis) -> str:
    write(gateway, "queues", "review", attempts=2)
    await gateway.predict("blue")
    await expires(gateway, redis)
    return await expires(gateway, redis)


def events(gateway: Wired) -> list[EventRecord]:
    return [record for record in gateway.journaled() if isinstance(record, EventRecord)]


async def test_an_item_that_expires_too_often_is_set_aside_and_the_journal_says_so(
    gateway: Wired, redis: Redis
) -> None:
    item = await dies(gateway, redis)
    assert await gateway.reviews.item_state(QUEUE, item) == "dead"
    assert await gateway.desk.lease(QUEUE, "bob", 1, None) == []
    (event,) = events(gateway)
    assert (event.name, event.subject, event.detail["queue"], event.detail["number"]) == (DIED, item, QUEUE, "1")
    (letter,) = await gateway.sweeping.dead(QUEUE, 10)
    assert (letter.item.id, letter.number, letter.expiries) == (item, 1, 2)
    sample = gateway.metrics.registry.get_sample_value
    assert sample("triage_queue_dead", {"queue": QUEUE}) == 1
    assert sample("triage_dead_letters_total", {"queue": QUEUE}) == 1
    await gateway.sweeping.step()
    assert len(events(gateway)) == 1


async def test_skips_and_what_is_given_back_cost_no_attempt(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", attempts=1)
    await gateway.predict("blue")
    for turn in range(5):
        (lease,) = await gateway.desk.lease(QUEUE, f"reader {turn}", 1, None)
        await (gateway.desk.skip if turn % 2 else gateway.desk.give_back)(lease.token)
        await gateway.sweeping.step()
    assert await gateway.sweeping.dead(QUEUE, 10) == []
    item = await expires(gateway, redis, "bob")
    assert [letter.item.id for letter in await gateway.sweeping.dead(QUEUE, 10)] == [item]


async def test_a_dead_item_takes_no_answer_from_whoever_had_it(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", attempts=1)
    await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    expire(redis, lease.item.id)
    await gateway.sweeping.step()
    with pytest.raises(Conflict, match="expired once too often and the item was set aside"):
        await gateway.answering.answer(lease.token, "unusable", {}, None, "")


async def test_requeued_it_has_its_old_place_and_all_its_attempts(gateway: Wired, redis: Redis) -> None:
    item = await dies(gateway, redis)
    later = (await gateway.predict("blue", 1))["id"]
    await gateway.sweeping.requeue(QUEUE, item, "meg")
    assert [(event.name, event.actor) for event in events(gateway)] == [(DIED, ""), (REQUEUED, "meg")]
    assert await expires(gateway, redis, "bob") == item
    leases = await gateway.desk.lease(QUEUE, "bob", 5, None)
    assert [each.item.id for each in leases] == [item, later]
    with pytest.raises(Conflict, match=r"no dead letter of default.review; GET /v1/queues/default.review/dead lists"):
        await gateway.sweeping.requeue(QUEUE, item, "meg")


async def test_what_died_is_dead_again_after_redis_was_lost_in_any_order_of_the_journal(
    gateway: Wired, redis: Redis
) -> None:
    item = await dies(gateway, redis)
    once = gateway.journaled()
    await gateway.sweeping.requeue(QUEUE, item, "meg")
    requeued = gateway.journaled()
    for _ in range(2):
        await expires(gateway, redis)
    twice = gateway.journaled()
    assert [event.name for event in events(gateway)] == [DIED, REQUEUED, DIED]
    for records, state in ((once, "dead"), (requeued, "waiting"), (twice, "dead")):
        assert {await replayed(gateway, redis, [*order]) for order in itertools.permutations(records)} == {state}
        order = random.Random(3).choices(records, k=12) + records
        assert await replayed(gateway, redis, order) == state


async def test_a_death_that_is_told_late_kills_nothing_that_was_put_back(gateway: Wired, redis: Redis) -> None:
    item = await dies(gateway, redis)
    await gateway.sweeping.requeue(QUEUE, item, "meg")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    await gateway.index.apply(events(gateway)[0])
    await gateway.desk.extend(lease.token)


async def replayed(gateway: Wired, redis: Redis, records: list[Record]) -> str | None:
    redis.flushall()
    for record in records:
        await gateway.index.apply(record)
    (item,) = [record.id for record in gateway.predictions()]
    state = await gateway.reviews.item_state(QUEUE, item)
    found = dump(redis)
    assert (key("dead") in found) == (state == "dead")
    assert bool(await gateway.desk.lease(QUEUE, "cy", 1, None)) == (state == "waiting")
    return state


async def test_a_gateway_that_died_before_it_told_the_journal_is_made_up_for(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", attempts=1)
    await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    expire(redis, lease.item.id)
    await gateway.reviews.sweep(QUEUE, 1)  # and here it died
    assert events(gateway) == []
    await gateway.sweeping.step()
    assert [event.name for event in events(gateway)] == [DIED]


async def test_the_model_that_comes_back_answers_for_the_dead_too(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", attempts=1)
    gateway.classifier.away()
    await gateway.predict("red")
    item = await expires(gateway, redis)
    again = await _back(gateway)
    await gateway.recorder.record(again)
    assert await gateway.reviews.item_state(QUEUE, item) == "withdrawn"
    assert await gateway.sweeping.dead(QUEUE, 10) == []


async def _back(gateway: Wired) -> Record:
    gateway.classifier.back()
    return await gateway.intake.decide_again(gateway.predictions()[0])
