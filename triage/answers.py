"""What callers and reviewers are told of a record. Pure: the same record always gives the same words."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from model_store.labels import LabelSchema
from model_store.record import EventRecord, PredictionRecord, VerdictRecord
from model_store.rules import Rules
from triage.ids import reading_id
from triage.reviewing.item import Item


@dataclass(frozen=True)
class Told:
    """A prediction in words, made once: the reply, what GET finds, and what reviewers see."""

    item: Item
    view: bytes
    """JSON, without the final state."""
    final: bytes | None
    """JSON; None while a person is to answer."""

    @property
    def whole(self) -> bool:
        """Whether the view says all that a reviewer needs to know of the item."""
        item = self.item
        plain = Item(
            item.id, item.project, item.site, item.case, item.sha256, item.received_at, item.reasons, item.suggestions
        )
        return item == plain

    def reply(self) -> bytes:
        """JSON of the whole prediction."""
        return b'%b,"final":%b}' % (self.view[:-1], self.final or b"null")


def told(record: PredictionRecord, labels: LabelSchema | None, rules: Rules | None, count: int) -> Told:
    """Labels and rules are those of the record, None when no model answered; `count` bounds the suggestions."""
    view = prediction_view(record, labels, rules, count)
    final = model_final(record)
    return Told(_item(record, view), msgspec.json.encode(view), msgspec.json.encode(final) if final else None)


def item_id(record: PredictionRecord) -> str:
    """Of the item that asks people about an image: the prediction's own id. Where a late image opened a case again whose images
    had been answered, that item is closed for good, and another asks."""
    return reading_id(record.id, "case", record.revision) if _asked_again(record) else record.id


def _revision(record: PredictionRecord, audit: bool) -> int:
    """Of the final that the answer to this item gives: above every one that its callers may have been told before. The model
    that comes back, or a case that is decided again, may give one just while a person answers."""
    if audit:
        return record.revision + 1
    again = record.reasons == ("model_unavailable",) or bool(record.policy.case)
    return record.revision + 2 if again else record.revision


def _asked_again(record: PredictionRecord) -> bool:
    return record.policy.case == "undecided" and record.revision > 2


def _item(record: PredictionRecord, view: dict[str, Any]) -> Item:
    """What was drawn is read blind: of a prediction that a person reads anyway as that item, of an automatic answer as another,
    so that nothing which its caller is told tells of it."""
    blind = bool(record.drawn)
    audit = blind and record.route == "automatic"
    return Item(
        id=reading_id(record.id, "audit", 1) if audit else item_id(record),
        prediction=record.id,
        revision=_revision(record, audit),
        project=record.project,
        site=record.site,
        case=record.case,
        sha256=record.sha256,
        received_at=record.received_at,
        reasons=() if blind else record.reasons,
        suggestions=() if blind else tuple(view["suggestions"]),
        purpose="audit" if audit else "review",
        blind=blind,
        drawn=record.drawn,
    )


def when(microseconds: int) -> str:
    """RFC 3339, UTC."""
    moment = datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def suggestions(record: PredictionRecord, labels: LabelSchema, rules: Rules, count: int) -> list[dict[str, Any]]:
    """The most probable labels that were not answered, best first."""
    probability = record.probabilities()
    answered = set(record.fires) if record.route == "automatic" else set()
    best = [int(column) for column in np.argsort(-probability, kind="stable")]
    chosen = [column for column in best if record.heads[column] not in answered][:count]
    return [
        {
            "id": record.heads[column],
            "name": labels[record.heads[column]].name,
            "probability": float(probability[column]),
            "state": rules.classes[record.heads[column]].state,
        }
        for column in chosen
    ]


def prediction_view(
    record: PredictionRecord, labels: LabelSchema | None, rules: Rules | None, count: int
) -> dict[str, Any]:
    """The prediction as callers see it, without its final state."""
    probability = record.probabilities()
    known = labels is not None and rules is not None and probability.size > 0
    answered: list[dict[str, Any]] = []
    if known and record.route == "automatic":
        assert labels is not None
        assert rules is not None
        for label in record.fires:
            score = float(probability[record.heads.index(label)])
            answered.append(
                {
                    "id": label,
                    "name": labels[label].name,
                    "probability": score,
                    "threshold": rules.classes[label].threshold,
                }
            )
    review = None
    if record.route == "review":
        review = {
            "queue": record.queue,
            "item": item_id(record),
            "status": "waiting",
            "url": f"/v1/predictions/{record.id}",
        }
    model = None
    if record.model:
        name, version = record.model.split("/")
        model = {"name": name, "version": version, "graph": record.graph, "rules": record.rules}
    return {
        "id": record.id,
        "project": record.project,
        "site": record.site,
        "case": record.case,
        "route": record.route,
        "reasons": list(record.reasons),
        "labels": answered,
        "absent": list(record.absent) if record.route == "automatic" else [],
        "suggestions": suggestions(record, labels, rules, count) if labels and rules and known else [],
        "typicality": record.typicality,
        "review": review,
        "model": model,
        "received_at": when(record.received_at),
    }


def model_final(record: PredictionRecord) -> dict[str, Any] | None:
    """The final state that the model gives, None while a person is to."""
    if record.route != "automatic":
        return None
    return {"labels": list(record.fires), "by": "model", "revision": record.revision, "at": when(record.received_at)}


def people_final(verdict: VerdictRecord) -> dict[str, Any]:
    """The final state that a verdict gives: where there were several readings, what they are together."""
    said = verdict.answers if verdict.agreed is None else verdict.agreed
    final: dict[str, Any] = {
        "labels": [label for label, answer in said.items() if answer == "present"],
        "by": "people",
        "outcome": verdict.agreed_outcome or verdict.outcome,
        "revision": verdict.revision,
        "at": when(verdict.at),
    }
    if verdict.new_label and verdict.agreed_outcome in (None, "new_label"):
        final["new_label"] = verdict.new_label
    return final


def outcome(
    kind: str, record: PredictionRecord | VerdictRecord | EventRecord, final: dict[str, Any] | None, **more: str
) -> bytes:
    """What is told to those who listen for a prediction, JSON."""
    if isinstance(record, EventRecord):
        prediction, case = record.subject, record.detail.get("case")
    else:
        prediction, case = record.prediction if isinstance(record, VerdictRecord) else record.id, record.case
    return msgspec.json.encode(
        {
            "type": kind, "prediction": prediction, "project": record.project, "site": record.site, "case": case, **more,
            "final": final,
        }
    )  # fmt: skip
