"""Several queues of a project: what comes where is decided once, and stays whatever the documents say later."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from embedded.stack import Valkey
from tests.triage.blind import declare
from tests.triage.documents import remove, write
from tests.triage.gateway_parts import QUEUE, Wired
from triage.errors import NotFound
from triage.recovery.recover import recover
from triage.settings import Settings


async def names(gateway: Wired, queue: str, reviewer: str = "ada") -> list[str]:
    return [lease.item.prediction for lease in await gateway.desk.lease(queue, reviewer, 100, None)]


async def test_a_rule_brings_an_item_to_its_queue(gateway: Wired) -> None:
    write(gateway, "queues", "blues", routes=[{"labels": ["blue"]}])
    blue, other = [(await gateway.predict(colour))["id"] for colour in ("blue", "grey")]
    assert [record.queue for record in gateway.predictions()] == ["default.blues", QUEUE]
    assert await names(gateway, "default.blues") == [blue]
    assert await names(gateway, QUEUE) == [other]


async def test_what_came_before_a_document_is_gone_is_found_and_answered(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "blues", routes=[{}])
    blue = (await gateway.predict("blue"))["id"]
    remove(gateway, "queues", "blues")
    assert gateway.sent[0]["review"]["queue"] == "default.blues"
    (lease,) = await gateway.desk.lease("default.blues", "ada", 1, None)
    await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert await gateway.reviews.item_state("default.blues", blue) == "resolved"
    await gateway.predict("blue", 1)
    assert gateway.predictions()[-1].queue == QUEUE


async def test_a_queue_that_nobody_declared_is_not_found_and_a_declared_one_may_be_empty(gateway: Wired) -> None:
    with pytest.raises(NotFound, match="GET /v1/queues lists them"):
        await gateway.desk.lease("default.blues", "ada", 1, None)
    write(gateway, "queues", "blues")
    assert await gateway.desk.lease("default.blues", "ada", 1, None) == []


async def test_an_item_that_is_decided_again_stays_in_its_queue(gateway: Wired) -> None:
    write(gateway, "queues", "dark", routes=[{"reasons": ["model_unavailable"]}])
    gateway.classifier.away()
    await gateway.predict("blue")
    gateway.classifier.back()
    await gateway.returning.step()
    assert [(record.revision, record.queue) for record in gateway.predictions()] == [
        (1, "default.dark"), (2, "default.dark"),
    ]  # fmt: skip
    assert len(await names(gateway, "default.dark")) == 1
    assert await names(gateway, QUEUE) == []


async def test_a_bonus_brings_an_item_forward_and_is_remembered(gateway: Wired, redis: Redis, valkey: Valkey) -> None:
    first = (await gateway.predict("blue"))["id"]
    write(gateway, "queues", "review", bonus_s={"none_fired": 3600})
    second = (await gateway.predict("blue", 1))["id"]
    remove(gateway, "queues", "review")
    redis.flushall()
    await recover(Settings(data=gateway.data.folder, redis_url=valkey.url))
    assert await names(gateway, QUEUE) == [second, first]


async def test_audits_go_to_the_queue_that_asks_for_them_and_are_evidence_all_the_same(gateway: Wired) -> None:
    write(gateway, "queues", "watch", routes=[{"purposes": ["audit"]}])
    declare(gateway)
    await gateway.predict("red")
    assert gateway.predictions()[0].audit_queue == "default.watch"
    (lease,) = await gateway.desk.lease("default.watch", "ada", 1, None)
    assert lease.item.purpose == "audit"
    await gateway.answering.answer(lease.token, "labels", {"green": "present"}, None, "")
    (second,) = await gateway.desk.lease("default.watch", "bob", 1, None)
    assert second.item.reading == 2
    assert "default red" in await evidence(gateway)


async def evidence(gateway: Wired) -> list[str]:
    (found,) = await gateway.reviews.run(("SMEMBERS", "sr:{default.review}:ready"))
    return [name.decode() for name in found]


async def test_the_view_names_the_queue(gateway: Wired) -> None:
    write(gateway, "queues", "blues", routes=[{}])
    sent = await gateway.predict("blue")
    view, _, _ = await gateway.reviews.view(sent["id"])
    assert json.loads(view)["review"]["queue"] == "default.blues"
