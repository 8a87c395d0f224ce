"""Which queue an item comes to, and how far forward. Pure.

It is decided once, when the image comes, and recorded: what is journaled stays where it is, whatever the documents say later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from model_store.record import PredictionRecord
from triage.promise.audits import BONUS_S
from triage.promise.claims import label_of
from triage.reviewing.item import REVIEW, Item, Purpose, name_of, queue_of, score
from triage.reviewing.queue_document import QueueDocument, Rule

BEHIND_S = 7 * 86_400.0
"""What is backfilled comes after what came since, for a week."""


@dataclass(frozen=True)
class Asked:
    """What rules look at."""

    purpose: Purpose
    site: str
    reasons: Collection[str] = ()
    labels: Collection[str] = ()
    metadata: Mapping[str, str] | None = None


def asked(record: PredictionRecord, purpose: Purpose = "review") -> Asked:
    """What rules look at in a record."""
    named = {"role": record.role} if record.view is None else {"role": record.role, "view": record.view}
    return Asked(purpose, record.site, record.reasons, _labels(record, purpose), {**record.source, **named})


def _labels(record: PredictionRecord, purpose: Purpose) -> tuple[str, ...]:
    if purpose == "audit":
        return tuple(map(label_of, record.drawn))
    if record.fires or not record.heads:
        return record.fires
    return (record.heads[int(record.probabilities().argmax())],)


def route(documents: Mapping[str, QueueDocument], item: Asked) -> str:
    """The name of the queue, within the project, that an item comes to."""
    for name in sorted(documents, key=lambda each: (documents[each].priority, each)):
        if any(matches(rule, item) for rule in documents[name].routes):
            return name
    return REVIEW


def matches(rule: Rule, item: Asked) -> bool:
    known = item.metadata or {}
    return (
        item.purpose in rule.purposes
        and (not rule.reasons or not set(rule.reasons).isdisjoint(item.reasons))
        and (not rule.labels or not set(rule.labels).isdisjoint(item.labels))
        and (not rule.sites or item.site in rule.sites)
        and all(known.get(name) in values for name, values in rule.metadata.items())
    )


def bonus_s(document: QueueDocument | None, reasons: Collection[str]) -> float:
    """Seconds by which an item comes before others of its time."""
    return max((document.bonus_s.get(reason, 0.0) for reason in reasons), default=0.0) if document else 0.0  # type: ignore[call-overload]


def routed(record: PredictionRecord, documents: Mapping[str, QueueDocument]) -> PredictionRecord:
    """The record with the queues that it comes to. One that was decided before stays where it is."""
    if record.route == "review":
        name = name_of(record.queue) if record.queue else route(documents, asked(record)) if documents else REVIEW
        return msgspec.structs.replace(
            record, queue=record.queue or queue_of(record.project, name or REVIEW),
            bonus_s=bonus_s(documents.get(name or REVIEW), record.reasons) - (BEHIND_S if record.origin == "backfill" else 0),
        )  # fmt: skip
    if record.drawn:
        return msgspec.structs.replace(
            record, audit_queue=queue_of(record.project, route(documents, asked(record, "audit")))
        )
    return record


def place(item: Item, bonus_s: float = 0.0) -> float:
    """Where an item waits, lowest first. What was drawn comes before everything: evidence that waits is a fault that goes
    unseen."""
    return score(item.received_at, BONUS_S if item.drawn else bonus_s)
