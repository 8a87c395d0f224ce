"""What the journal says of items beside their verdicts: they died, were requeued, or nobody answered in time.

The queue takes an item out first and the journal is told next, so that nobody can answer any more what is about to be ended; an
item that was taken out by a gateway that died then is given out by the sweep again until the journal has it.
"""

from __future__ import annotations

import msgspec

from model_store.record import EventRecord
from triage import answers
from triage.ids import derived_id
from triage.index.reviews import RedisReviews
from triage.reviewing.item import DIED, REQUEUED, UNRESOLVED, Ending, Item

_STRAY_S = 30 * 86_400
"""How long an event waits for its item: that comes from another gateway's journal, which may be replayed much later."""


def ended(ending: Ending, at: int) -> EventRecord | None:
    """The event that tells of an item's end, the same from whichever gateway but for the time; None when nobody knows any more
    what the item was. Pure."""
    item = ending.body
    if item is None:
        return None
    if ending.what == "unresolved":
        return _event(UNRESOLVED, ending.queue, item, "", at)
    return _event(DIED, ending.queue, item, ending.what.removeprefix("dead "), at)


def requeued(queue: str, item: Item, number: int, actor: str, at: int) -> EventRecord:
    """The event that somebody puts an item back that died for the `number`th time. Pure."""
    return _event(REQUEUED, queue, item, str(number), at, actor)


def _event(name: str, queue: str, item: Item, number: str, at: int, actor: str = "") -> EventRecord:
    detail = {"queue": queue, "item": item.id, "received_at": str(item.received_at), "purpose": item.purpose}
    if item.case is not None:
        detail["case"] = item.case
    return EventRecord(
        id=derived_id(name, queue, item.id, number), name=name, project=item.project, site=item.site,
        subject=item.prediction, actor=actor, detail={**detail, "number": number} if number else detail, at=at,
    )  # fmt: skip


async def apply(reviews: RedisReviews, event: EventRecord, retention_s: int) -> None:
    """Brings the queue to where an event says, in any order. Raises IndexAway."""
    if event.name == DIED:
        await reviews.die(event.detail["queue"], event.detail["item"], int(event.detail["number"]), _STRAY_S)
    elif event.name == REQUEUED:
        await reviews.requeue(event.detail["queue"], event.detail["item"], int(event.detail["number"]), _STRAY_S)
    elif event.name == UNRESOLVED:
        final = {"labels": (), "by": "nobody", "outcome": "unresolved", "revision": 0, "at": answers.when(event.at)}
        await reviews.finish(
            event.detail["queue"], event.detail["item"], "unresolved", msgspec.json.encode(final),
            answers.outcome("unresolved", event, final), retention_s, prediction=event.subject,
        )  # fmt: skip
