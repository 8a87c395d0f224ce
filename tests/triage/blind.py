"""Blind items for tests: a gateway that audits everything, and people who take them one by one."""

from __future__ import annotations

from typing import Any

import msgspec

from model_store.record import Answer, VerdictRecord
from tests.triage.auditing import ALL
from tests.triage.gateway_parts import QUEUE, Wired
from triage.reviewing.item import Lease


def declare(gateway: Wired, site: str = "default", **changes: Any) -> None:
    """A site, everything drawn unless the changes say otherwise."""
    gateway.data.declare(site, **{"audit": ALL, **changes})
    gateway.control.poll()


async def taken(gateway: Wired, reviewer: str) -> Lease:
    """The one item that this reviewer is given."""
    (lease,) = await gateway.desk.lease(QUEUE, reviewer, 5, None)
    return lease


async def read(gateway: Wired, reviewer: str, label: str, answer: Answer = "present") -> VerdictRecord:
    """Takes the one item there is and says one thing of it."""
    lease = await taken(gateway, reviewer)
    given: dict[str, Answer] = {label: answer}
    if answer != "present":
        given |= {each: "absent" for each in ("red", "green", "blue", "other") if each != label}
    return await gateway.answering.answer(lease.token, "labels", given, None, "")


async def final(gateway: Wired, prediction: str) -> dict[str, Any] | None:
    """What GET shows as final."""
    _, found, _ = await gateway.reviews.view(prediction)
    return msgspec.json.decode(found) if found else None
