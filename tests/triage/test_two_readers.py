"""Two doubts of a draw are of two people, also where one prediction has two chains of readings."""

from __future__ import annotations

import itertools

import pytest
from redis import Redis

from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import key
from triage.index.audits import Class, RedisAudits
from triage.promise.audits import Draw, Reading

RED = Class("default", "red")
SENT = 1_700_000_000_000_000
READINGS = (("ada", 1, 10), ("ben", 1, 20), ("ada", 2, 30), ("cleo", 2, 40))
"""Of an audit by ada, who is then given the second reading that ben's doubt of the reopened case asked for."""


async def line(audits: RedisAudits) -> Draw:
    (draw,) = await audits.line(QUEUE, RED, 10, 0)
    return draw


async def read(audits: RedisAudits, reviewer: str, number: int, at: int) -> None:
    reading = Reading(SENT + at, ("red",), True)
    await audits.reading(QUEUE, ("default",), "p", number, ("red",), reading, reviewer)


@pytest.mark.parametrize("order", list(itertools.permutations(READINGS)))
async def test_nobody_doubts_twice_in_whatever_order_readings_come(
    gateway: Wired, order: tuple[tuple[str, int, int], ...]
) -> None:
    audits = RedisAudits(gateway.reviews)
    for number, reading in enumerate(order):
        if number == 1:
            await audits.draw(QUEUE, "default", "p", "case", SENT, {"red": "rule"}, ())
        await read(audits, *reading)
    first, second = (await line(audits)).readings
    assert (first and first.at, second and second.at) == (SENT + 10, SENT + 40)


async def test_a_second_reading_by_the_first_reader_is_none(gateway: Wired) -> None:
    audits = RedisAudits(gateway.reviews)
    await audits.draw(QUEUE, "default", "p", "case", SENT, {"red": "rule"}, ())
    for reading in READINGS[:3]:
        await read(audits, *reading)
    first, second = (await line(audits)).readings
    assert (first and first.at, second) == (SENT + 10, None)


async def test_readings_that_an_earlier_version_kept_count_on(gateway: Wired, redis: Redis) -> None:
    audits = RedisAudits(gateway.reviews)
    await audits.draw(QUEUE, "default", "p", "case", SENT, {"red": "rule"}, ())
    await read(audits, "ada", 1, 10)
    draw = key("draw:p")
    said = redis.hget(draw, "said:1")
    redis.hdel(draw, "by:1:ada")
    redis.hset(draw, "at:1", SENT + 10)
    assert said == redis.hget(draw, "said:1")
    await read(audits, "ben", 1, 20)
    await read(audits, "cleo", 2, 40)
    first, second = (await line(audits)).readings
    assert (first and first.at, second and second.at) == (SENT + 10, SENT + 40)
