"""Folds what audits and recalls are made of into Redis: draws, readings, answers in doubt. Part of the index (fold.py)."""

from __future__ import annotations

import logging

from model_store.errors import ModelStoreError
from model_store.record import EventRecord, PredictionRecord, Record, VerdictRecord
from triage import answers
from triage.control.catalog import Catalog
from triage.ids import reading_id
from triage.index.audits import RedisAudits
from triage.index.reviews import RedisReviews
from triage.promise.audits import BONUS_S, Reading, case_key
from triage.promise.claims import certified
from triage.promise.releases import CANARY, watched_as
from triage.reviewing.item import Item, queue_of, score

log = logging.getLogger(__name__)
RECALLED = "recalled"
"""Name of the event that says of one automatic answer that it is in doubt."""


class AuditIndex:
    """Every method raises IndexAway. Applying a record again, or a reading before its draw, changes nothing."""

    def __init__(self, reviews: RedisReviews, catalog: Catalog, retention_s: int) -> None:
        self._reviews = reviews
        self._audits = RedisAudits(reviews)
        self._catalog = catalog
        self._retention_s = retention_s

    async def apply(self, record: Record) -> None:
        """To be called before the record's item is in the queue: a reading must find its draw."""
        if isinstance(record, PredictionRecord):
            if record.drawn:
                await self._audits.draw(
                    queue_of(record.project), watched_as(record), record.id, case_key(record.case, record.sha256),
                    record.received_at, self._rules_of(record), record.policy.suspended,
                )  # fmt: skip
        elif isinstance(record, VerdictRecord):
            if record.drawn and record.purpose != "recall":  # nobody drew by chance what is recalled: it is no evidence
                reading = Reading(record.at, record.doubts, record.second_reader)
                # A reading does not know which release answered: whoever watches either of them looks.
                await self._audits.reading(
                    queue_of(record.project), (record.site, record.site + CANARY), record.prediction, record.reading,
                    record.drawn, reading, record.reviewer,
                )  # fmt: skip
        elif isinstance(record, EventRecord) and record.name == RECALLED:
            await self._recalled(record)

    def _rules_of(self, record: PredictionRecord) -> dict[str, str]:
        """Label -> hash of its rule, for the drawn classes that have a certificate: nothing was promised of the others."""
        try:
            proofs = certified(self._catalog.recorded(record.rules))
        except ModelStoreError as error:
            log.warning("rules of a journaled prediction are gone", extra={"prediction": record.id, "why": str(error)})
            return {}
        return {label: proofs[label].rule for label in record.drawn if label in proofs}

    async def _recalled(self, event: EventRecord) -> None:
        detail, queue = event.detail, queue_of(event.project)
        labels, received_at = tuple(detail["labels"].split()), int(detail["received_at"])
        final = {
            "labels": labels, "by": "model", "revision": int(detail["revision"]), "at": answers.when(received_at)
        }  # fmt: skip
        outcome = answers.outcome("recall", event, final, recall=detail["recall"], label=detail["label"])
        if detail["read"] == "now":
            assert event.site is not None
            item = Item(
                id=reading_id(event.subject, "recall", 1), prediction=event.subject, revision=int(detail["revision"]) + 2,
                project=event.project, site=event.site, case=detail.get("case"), sha256=detail["sha256"],
                received_at=received_at, reasons=(), purpose="recall", blind=True, drawn=(detail["label"],),
                answered=labels,
            )  # fmt: skip
            # After the audits, which are evidence, and before everything else: somebody may be relying on the answer.
            await self._reviews.enqueue(detail.get("queue", queue), item, score(received_at, BONUS_S / 2))
        await self._audits.tell_recall(queue, detail["recall"], event.subject, outcome, self._retention_s)
