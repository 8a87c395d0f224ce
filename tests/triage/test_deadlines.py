"""A caller is not left waiting for ever: past the deadline nobody is asked any more and the caller is told, once."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from redis import Redis

from embedded.stack import Valkey
from model_store.record import EventRecord
from tests.triage.blind import declare
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.queue_items import key
from tests.triage.test_whole import serving
from triage.errors import Conflict
from triage.reviewing.item import UNRESOLVED, Lease

LONG_AGO_S = 100


def age(redis: Redis, item: str) -> None:
    """Lets an item have come long ago."""
    for name in ("due", "kept"):
        if redis.zscore(key(name), item) is not None:
            redis.zincrby(key(name), -1000 * LONG_AGO_S, item)


async def waiting(gateway: Wired, redis: Redis, **document: Any) -> str:
    write(gateway, "queues", "review", **{"deadline_s": LONG_AGO_S / 2, **document})
    item = str((await gateway.predict("blue", len(gateway.sent)))["id"])
    age(redis, item)
    return item


async def test_past_its_deadline_an_item_is_unresolved_and_its_caller_told_once(gateway: Wired, redis: Redis) -> None:
    item = await waiting(gateway, redis)
    for _ in range(3):
        await gateway.sweeping.step()
    assert await gateway.reviews.item_state(QUEUE, item) == "unresolved"
    (event,) = [record for record in gateway.journaled() if isinstance(record, EventRecord)]
    assert (event.name, event.subject) == (UNRESOLVED, item)
    (told,) = await gateway.outcomes()
    assert (told["type"], told["prediction"], told["final"]["by"]) == ("unresolved", item, "nobody")
    _, final, _ = await gateway.reviews.view(item)
    assert json.loads(final or b"") == told["final"]
    assert await gateway.desk.lease(QUEUE, "ada", 1, None) == []
    assert (await gateway.reviews.stats(QUEUE)).reasons == {}
    assert gateway.metrics.registry.get_sample_value("triage_unresolved_total", {"queue": QUEUE}) == 1


async def leased_past_it(gateway: Wired, redis: Redis) -> Lease:
    write(gateway, "queues", "review", deadline_s=LONG_AGO_S / 2)
    await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    age(redis, lease.item.id)
    return lease


async def test_a_late_answer_is_impossible(gateway: Wired, redis: Redis) -> None:
    lease = await leased_past_it(gateway, redis)
    await gateway.sweeping.step()
    for use in (gateway.desk.extend, gateway.desk.shown, gateway.desk.give_back, gateway.desk.skip):
        with pytest.raises(Conflict, match="the item's deadline passed and its caller was told so"):
            await use(lease.token)
    with pytest.raises(Conflict, match="deadline passed"):
        await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert [each["type"] for each in await gateway.outcomes()] == ["unresolved"]


async def test_from_the_moment_the_queue_takes_it_out_no_answer_is_taken(gateway: Wired, redis: Redis) -> None:
    """The gateway died between that moment and the journal: another tells the caller what holds already."""
    lease = await leased_past_it(gateway, redis)
    await gateway.reviews.sweep(QUEUE, deadline_s=LONG_AGO_S / 2)
    with pytest.raises(Conflict, match="deadline passed"):
        await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert await gateway.outcomes() == []
    await gateway.sweeping.step()
    assert [each["type"] for each in await gateway.outcomes()] == ["unresolved"]


async def test_an_answer_that_was_accepted_in_time_stands(gateway: Wired, redis: Redis) -> None:
    lease = await leased_past_it(gateway, redis)
    await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    await gateway.sweeping.step()
    assert await gateway.reviews.item_state(QUEUE, lease.item.id) == "resolved"
    assert [each["type"] for each in await gateway.outcomes()] == ["final"]


async def test_an_answer_that_waits_for_the_journal_is_not_overdue(gateway: Wired, redis: Redis) -> None:
    lease = await leased_past_it(gateway, redis)
    await gateway.reviews.answer(lease.token, b"held")
    swept = await gateway.reviews.sweep(QUEUE, deadline_s=LONG_AGO_S / 2)
    assert (swept.ending, await gateway.reviews.item_state(QUEUE, lease.item.id)) == ([], "answering")


async def test_what_is_within_its_deadline_stays_and_is_counted_when_it_is_overdue(
    gateway: Wired, redis: Redis
) -> None:
    item = await waiting(gateway, redis, sla_s=LONG_AGO_S / 2, deadline_s=2 * LONG_AGO_S)
    await gateway.predict("blue", 1)
    await gateway.sweeping.step()
    assert await gateway.reviews.item_state(QUEUE, item) == "waiting"
    assert gateway.metrics.registry.get_sample_value("triage_queue_overdue", {"queue": QUEUE}) == 1


async def test_evidence_has_no_deadline(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", deadline_s=LONG_AGO_S / 2, sla_s=1)
    declare(gateway)
    await gateway.predict("red")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    assert lease.item.purpose == "audit"
    await gateway.desk.give_back(lease.token)
    age(redis, lease.item.id)
    await gateway.sweeping.step()
    assert await gateway.reviews.item_state(QUEUE, lease.item.id) == "waiting"
    stats = await gateway.reviews.stats(QUEUE, 1)
    assert stats.overdue == 0
    assert stats.oldest_age_s > LONG_AGO_S - 1


async def test_in_any_order_of_the_journal_a_person_s_word_stands_over_nobody_s(gateway: Wired, redis: Redis) -> None:
    """A verdict of another gateway, which this one had not heard of when the deadline passed."""
    lease = await leased_past_it(gateway, redis)
    await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    answered = gateway.journaled()
    redis.flushall()
    await gateway.index.apply(answered[0])
    age(redis, lease.item.id)
    await gateway.sweeping.step()
    assert await gateway.reviews.item_state(QUEUE, lease.item.id) == "unresolved"
    records = gateway.journaled()
    assert len(records) == 3
    for order in itertools.permutations(records):
        redis.flushall()
        for record in order:
            await gateway.index.apply(record)
        assert await gateway.reviews.item_state(QUEUE, lease.item.id) == "resolved"
        _, final, _ = await gateway.reviews.view(lease.item.id)
        assert json.loads(final or b"")["by"] == "people"
        assert not redis.exists(key("ending"), key("due"), key("leases"))


async def test_nobody_is_told_of_a_deadline_while_an_answer_may_lie_in_another_gateway_s_journal(
    gateway: Wired, redis: Redis, valkey: Valkey
) -> None:
    serving(gateway)
    write(gateway, "queues", "review", deadline_s=LONG_AGO_S / 2)
    view = await gateway.predict("blue")
    async with wired(gateway.data, valkey.url, node="other") as other:
        others = serving(other)
        (lease,) = await other.desk.lease(QUEUE, "ada", 1, None)
        await other.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
        redis.flushall()
        await gateway.recorder.step()
        await others.step()  # it lives, and has not noticed
        age(redis, view["id"])
        await gateway.sweeping.step()
        await other.recorder.step()
        await others.step()
        await gateway.sweeping.step()
        assert [each["type"] for each in await gateway.outcomes()] == ["final"]
        assert not [each for each in gateway.journaled() if isinstance(each, EventRecord)]
