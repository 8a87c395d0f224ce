"""The index is a fold of the journal: any order, any repetition, live or from nothing, it ends as the same index."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import msgspec
import pytest
from redis import Redis

from embedded.stack import Valkey
from model_store.record import PredictionRecord, Record, VerdictRecord
from tests.bundles import schema
from tests.services import Data
from tests.triage.blind import declare
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.queue_items import dump, key, waiting
from triage import answers
from triage.ids import derived_id
from triage.recovery.recover import recover
from triage.reviewing.following import following
from triage.reviewing.item import Item
from triage.reviewing.verdicts import judged
from triage.settings import Settings


def verdict(record: PredictionRecord, at: int = 5) -> VerdictRecord:
    return VerdictRecord(
        id=derived_id(record.id, "verdict"), prediction=record.id, project=record.project, site=record.site,
        queue=QUEUE, sha256=record.sha256, reviewer="ada", answers={"blue": "present"}, leased_at=1,
        at=record.received_at + at,
    )  # fmt: skip


def reading(first: Item, reviewer: str, label: str, at: int) -> VerdictRecord:
    """A blind reading of an item that calls one label present."""
    bare = VerdictRecord(
        id=derived_id(first.id, reviewer), prediction=first.prediction, item=first.id, project=first.project,
        site=first.site, queue=QUEUE, sha256=first.sha256, reviewer=reviewer, answers={label: "present"}, leased_at=1,
        at=first.received_at + at,
    )  # fmt: skip
    return judged(bare, first, schema(), True)


def readings(record: PredictionRecord, *said: str) -> list[Record]:
    """What up to two readers say of a drawn prediction."""
    item = answers.told(record, None, None, 0).item
    found = [reading(item, "ada", said[0], 6)]
    if len(said) > 1:
        ((_, second),) = following(found[0])
        found.append(reading(second, "bob", said[1], 7))
    return list(found)


async def story(gateway: Wired) -> list[Record]:
    """Records of every kind of life: answered, waiting, reviewed, captured, withdrawn, back with scores, both at once, audited
    and confirmed, doubted, corrected, audited after the model came back, and read blind because a class is suspended."""
    await gateway.predict("red", 1)
    await gateway.predict("blue", 2)
    await gateway.predict("blue", 3)
    gateway.data.declare("ward", mode="capture")
    gateway.control.poll()
    await gateway.predict("red", 4, site="ward")
    gateway.classifier.away()
    for salt, colour in ((5, "red"), (6, "blue"), (7, "green"), (8, "red")):
        await gateway.predict(colour, salt)
    gateway.classifier.back()
    again = [await gateway.intake.decide_again(record) for record in gateway.predictions()[4:7]]
    by_people = [verdict(gateway.predictions()[2]), verdict(again[2])]
    declare(gateway, suspended=("green",))
    again.append(await gateway.intake.decide_again(gateway.predictions()[7]))
    for salt, colour in ((9, "red"), (10, "red"), (11, "red"), (12, "red"), (13, "green"), (14, "green")):
        await gateway.predict(colour, salt)
    confirmed, doubted, corrected, _, suspended, _ = gateway.predictions()[8:]
    blind = [
        *readings(confirmed, "red"), *readings(doubted, "green"), *readings(corrected, "green", "blue"),
        *readings(suspended, "blue", "red"),
    ]  # fmt: skip
    return [*gateway.journaled(), *again, *by_people, *blind]


def contents(redis: Redis) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything but the stream and the recorder's own keys; and the last outcome of each prediction."""
    found = dump(redis)
    events = [json.loads(fields[b"outcome"]) for fields in found.pop(key("outcomes"), ([], False))[0]]
    last = {event["prediction"]: event["final"] for event in events}
    return {name: value for name, value in found.items() if not name.startswith(("sr:check", "sr:epoch"))}, last


async def fold(gateway: Wired, redis: Redis, records: list[Record]) -> Any:
    redis.flushall()
    for record in records:
        await gateway.index.apply(record)
    return contents(redis)


async def test_any_order_and_any_repetition_end_in_the_same_index(gateway: Wired, redis: Redis) -> None:
    records = await story(gateway)
    expected = await fold(gateway, redis, records)
    assert len(expected[1]) == 6  # two withdrawn, two answered by people, one corrected, one suspended class read
    assert await fold(gateway, redis, records + records) == expected
    assert await fold(gateway, redis, records[::-1]) == expected
    shuffled = random.Random(7)
    for _ in range(25):
        order = records + shuffled.sample(records, 4)
        shuffled.shuffle(order)
        assert await fold(gateway, redis, order) == expected


async def test_one_image_s_records_converge_in_every_order(gateway: Wired, redis: Redis) -> None:
    gateway.classifier.away()
    await gateway.predict("red")
    gateway.classifier.back()
    (first,) = gateway.predictions()
    again = await gateway.intake.decide_again(first)
    records: list[Record] = [first, again, verdict(first)]
    expected = await fold(gateway, redis, records)
    assert all([await fold(gateway, redis, list(order)) == expected for order in itertools.permutations(records)])
    view, final, _ = await gateway.reviews.view(first.id)
    assert json.loads(view)["route"] == "automatic"
    assert json.loads(final or b"")["by"] == "people"
    assert await gateway.reviews.item_state(QUEUE, first.id) == "resolved"


async def test_recover_makes_the_index_that_was_lived(gateway: Wired, redis: Redis, valkey: Valkey) -> None:
    told = await story(gateway)
    for record in told[len(gateway.journaled()) :]:
        await gateway.recorder.record(record)
    lived = contents(redis)
    redis.flushall()
    counts = await recover(Settings(data=gateway.data.folder, redis_url=valkey.url))
    assert contents(redis) == lived
    # Never answered: one that waits, one that came back with scores, two audits, a second reading, a suspended class's.
    assert counts == {"journals": 1, "records": len(told), "waiting": 6, "leased": 0}
    await recover(Settings(data=gateway.data.folder, redis_url=valkey.url))
    assert contents(redis) == lived


async def test_a_site_without_rules_is_recovered_with_its_suggestions(data: Data, redis: Redis, valkey: Valkey) -> None:
    """Its rules lie in no file when nobody writes them: nothing could be explained or recovered by another process."""
    data.declare(rules=None)
    async with wired(data, valkey.url) as gateway:
        await gateway.predict("red")
        lived = contents(redis)
        redis.flushall()
        await recover(Settings(data=data.folder, redis_url=valkey.url))
        assert contents(redis) == lived
        (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
        assert [each["id"] for each in lease.item.suggestions] == ["red", "green", "blue"]


async def test_an_item_whose_model_is_gone_still_reaches_a_person(gateway: Wired, redis: Redis) -> None:
    await gateway.predict("blue")
    (record,) = gateway.predictions()
    redis.flushall()
    await gateway.index.apply(msgspec.structs.replace(record, model="deleted/9"))
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    assert (lease.item.id, lease.item.suggestions) == (record.id, ())


@pytest.mark.parametrize("suspended", [(), ("red",)])
@pytest.mark.parametrize("said", [("red",), ("green",), ("green", "red"), ("green", "blue")])
async def test_readings_converge_in_every_order(
    gateway: Wired, redis: Redis, said: tuple[str, ...], suspended: tuple[str, ...]
) -> None:
    """A first reading that is replayed after the second opens nothing again."""
    declare(gateway, suspended=suspended)
    await gateway.predict("red")
    (record,) = gateway.predictions()
    records: list[Record] = [record, *readings(record, *said)]
    expected = await fold(gateway, redis, records)
    for order in itertools.permutations(records):
        assert await fold(gateway, redis, [*order]) == expected
        assert await fold(gateway, redis, [*order, *order[::-1]]) == expected
    left = await gateway.desk.lease(QUEUE, "cy", 5, None)
    assert [lease.item.reading for lease in left] == ([2] if said == ("green",) else [])
    stands = json.loads((await gateway.reviews.view(record.id))[1] or b"")
    if suspended:
        assert (stands["by"], stands["labels"]) == ("people", [said[0]])
    else:
        assert stands["by"] == ("people" if said == ("green", "blue") else "model")


async def test_a_replay_asks_nobody_a_second_time(gateway: Wired, redis: Redis) -> None:
    """Between the two halves of a replay no second reading waits that was answered."""
    declare(gateway)
    await gateway.predict("red")
    (record,) = gateway.predictions()
    redis.flushall()
    seen: list[str] = []

    def records() -> list[Record]:
        seen.extend(waiting(redis))
        return [*readings(record, "green", "blue"), record]

    assert await gateway.index.replay(records) == 3
    assert seen == []
    assert (await gateway.reviews.stats(QUEUE)).waiting == 0


@pytest.mark.parametrize("closing", ["verdict", "withdrawal"])
async def test_a_replay_never_shows_an_answered_item(gateway: Wired, redis: Redis, closing: str) -> None:
    """What closes goes in before what opens, so nobody is given an item between the two."""
    gateway.classifier.away()
    await gateway.predict("red")
    gateway.classifier.back()
    (record,) = gateway.predictions()
    close = verdict(record) if closing == "verdict" else await gateway.intake.decide_again(record)
    redis.flushall()
    seen: list[str] = []

    def records() -> list[Record]:
        seen.extend(waiting(redis))
        return [record, close]

    assert await gateway.index.replay(records) == 2
    assert seen == []
    assert (await gateway.reviews.stats(QUEUE)).waiting == 0
