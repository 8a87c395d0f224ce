"""People who answer, for tests: take an item, say something, let a hold be over."""

from __future__ import annotations

from typing import Any

from redis import Redis

from model_store.record import Answer, VerdictRecord
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import key
from triage.reviewing.amendments import Said
from triage.reviewing.item import Lease
from triage.reviewing.verdict_id import VerdictId


async def take(gateway: Wired, reviewer: str, queue: str = QUEUE) -> Lease:
    """The one item that this reviewer is given."""
    (lease,) = await gateway.desk.lease(queue, reviewer, 5, None)
    return lease


async def say(gateway: Wired, reviewer: str, label: str, queue: str = QUEUE) -> VerdictRecord:
    """Takes the one item there is and calls a label present; `none_of_these`, `unusable` or `escalated` say that."""
    lease = await take(gateway, reviewer, queue)
    if label == "escalated":
        return await gateway.answering.escalate(lease.token, "too hard")
    if label in ("none_of_these", "unusable"):
        return await gateway.answering.answer(lease.token, label, {}, None, "")  # type: ignore[arg-type]
    return await gateway.answering.answer(lease.token, "labels", {label: "present"}, None, "")


async def amend(gateway: Wired, verdict: VerdictRecord, label: str, by: str = "", **more: Any) -> VerdictRecord:
    """Amends a verdict to another label; by its reviewer unless somebody is named."""
    answers: dict[str, Answer] = {label: "present"}
    revision = more.pop("revision", verdict.revision)
    return await gateway.answering.amend(
        VerdictId.parse(verdict.id), revision, Said(answers=answers), by or verdict.reviewer, **more
    )


def hold_over(redis: Redis, *items: str) -> None:
    """Lets the hold of these items be over: the server's clock has passed it."""
    for item in items:
        assert redis.zadd(key("held"), {item: 1}, xx=True, ch=True) == 1


def held(redis: Redis) -> set[str]:
    names: Any = redis.zrange(key("held"), 0, -1)
    return {name.decode() for name in names}
