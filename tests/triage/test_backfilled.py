"""What is backfilled gives way to what is live, is no evidence of today, and may be told of like everything else."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from redis import Redis

from tests.bundles import picture
from tests.triage.gateway_parts import Wired
from tests.triage.serving import Served
from triage.calling.room import Room
from triage.errors import Busy
from triage.index.fold import Index


def send(served: Served, project: str, colour: str, salt: int, backfill: bool) -> dict[str, object]:
    headers = {"Secondreader-Origin": "backfill"} if backfill else {}
    reply = served.http.post(
        "/v1/predictions", content=picture(colour, salt=salt), params={"project": project}, headers=headers
    )
    assert reply.status_code == 200, reply.text
    found: dict[str, object] = reply.json()
    return found


def test_what_is_backfilled_is_read_after_what_came_since(served: Served) -> None:
    queue = served.project("late")
    old = [send(served, "late", "blue", salt, True)["id"] for salt in range(2)]
    new = [send(served, "late", "blue", salt, False)["id"] for salt in range(2, 4)]
    assert [item["prediction"] for item in served.lease(queue, count=4)["items"]] == [*new, *old]


async def test_nothing_that_is_backfilled_is_drawn(gateway: Wired) -> None:
    gateway.data.declare(audit={"probability": 1.0, "suspended": 1.0})
    gateway.control.poll()
    await gateway.predict("red", 1)
    await gateway.predict("red", 2, origin="backfill")
    live, old = gateway.predictions()
    assert (live.route, old.route) == ("automatic", "automatic")
    assert (live.drawn, old.drawn) == (("red",), ())
    assert (old.policy.audit, old.audit_u) == ({}, None)


def test_a_backfill_leaves_half_of_the_room() -> None:
    room = Room(4, 10**6)
    room.yields()
    with room.enter(2):
        with pytest.raises(Busy, match="gives way"):
            room.yields()
        room.enter(2)


async def test_automatic_answers_are_told_where_the_site_says_so(gateway: Wired, redis: Redis) -> None:
    await gateway.predict("red", 1)
    gateway.data.declare(tell_automatic=True)
    gateway.control.poll()
    told = await gateway.predict("red", 2)
    await gateway.predict("blue", 3)
    ((_, fields),) = cast(Any, redis.xrange("sr:{default.review}:automatic"))
    body = json.loads(fields[b"outcome"])
    assert (body["type"], body["prediction"], body["final"]["by"]) == ("final", told["id"], "model")
    assert await gateway.outcomes() == []
    redis.flushall()
    index: Index = gateway.index
    await index.replay(gateway.journaled)
    assert redis.xlen("sr:{default.review}:automatic") == 1
