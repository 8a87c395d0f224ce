"""Folds the journal into Redis. Live, after an outage and from nothing, it is the same fold.

Applying a record twice, or a verdict before its prediction, changes nothing, so any order ends in the same index.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator

import msgspec

from model_store.errors import ModelStoreError
from model_store.labels import LabelSchema
from model_store.record import EventRecord, PredictionRecord, Record, TruthRecord, VerdictRecord, encode
from model_store.rules import Rules
from triage import answers
from triage.answers import Told
from triage.control.catalog import Catalog
from triage.index import item_events
from triage.index.audit_fold import AuditIndex
from triage.index.automatic import tell_automatic
from triage.index.cases import CLOSED, RedisCases
from triage.index.reviews import RedisReviews
from triage.index.truths import put_truth
from triage.index.verdict_fold import VerdictIndex
from triage.reviewing.item import queue_of
from triage.reviewing.routing import place

log = logging.getLogger(__name__)
_AT_ONCE = 64


class Index:
    """Applies records to Redis. Every method raises IndexAway."""

    def __init__(self, reviews: RedisReviews, catalog: Catalog, suggestions: int, retention_s: int) -> None:
        self._reviews = reviews
        self._catalog = catalog
        self._suggestions = suggestions
        self._retention_s = retention_s
        self._audits = AuditIndex(reviews, catalog, retention_s)
        self._cases = RedisCases(reviews, retention_s)
        self.people = VerdictIndex(reviews, self._audits, retention_s)

    async def apply(self, record: Record, told: Told | None = None) -> None:
        """Brings Redis to where the record says; `told` spares making its words again."""
        if isinstance(record, VerdictRecord):
            if await self.people.close(record, leave=True):
                await self.people.go(record)
            await self.people.relied_on(record)
            return
        await self._close(record, told)
        await self._open(record, told)

    async def replay(self, read: Callable[[], Iterable[Record]]) -> int:
        """Applies a stretch of journals, which `read` gives as often as it is asked; tells how many records it held.

        What closes an item goes in before what opens one: a reviewer is never shown an item that is answered.
        """
        await _many(self._close, read())
        return await _many(self._open, read())

    async def _close(self, record: Record, told: Told | None = None) -> None:
        """The part of a record that ends an item: a verdict, or an answer of the model that came back."""
        if isinstance(record, VerdictRecord):
            await self.people.close(record)
        elif isinstance(record, EventRecord):
            await item_events.apply(self._reviews, record, self._retention_s)
        elif isinstance(record, PredictionRecord) and _withdraws(record):
            await self._put_view(record, self._told(record, told))
            assert record.queue is not None
            final = answers.model_final(record)
            await self._reviews.finish(
                record.queue, record.id, "withdrawn", msgspec.json.encode(final),
                answers.outcome("final", record, final), self._retention_s, b"", record.revision,
            )  # fmt: skip

    async def _open(self, record: Record, told: Told | None = None) -> None:
        """The part of a record that asks somebody, or that nobody is asked about."""
        if isinstance(record, VerdictRecord):
            await self.people.go_if_due(record)
            await self.people.relied_on(record)
            return
        await self._audits.apply(record)
        if isinstance(record, TruthRecord):
            await put_truth(self._reviews, record, self._retention_s)
        if isinstance(record, EventRecord) and record.name == CLOSED:
            await self._cases.closed(record)
        if not isinstance(record, PredictionRecord):
            return
        if record.policy.case:
            await self._cases.joined(record)
        told = self._told(record, told)
        if record.route == "review":
            assert record.queue is not None
            retry = encode(record) if record.reasons == ("model_unavailable",) else None
            await self._reviews.enqueue(
                record.queue, told.item, place(told.item, record.bonus_s), retry, told.view, record.revision, record.caller,
                told.whole,
            )  # fmt: skip
            return
        if not _withdraws(record):
            if record.tell:
                await asyncio.gather(self._put_view(record, told), tell_automatic(self._reviews, record))
            else:
                await self._put_view(record, told)
        if told.item.purpose == "audit":
            await self._reviews.enqueue(record.audit_queue or queue_of(record.project), told.item, place(told.item))

    async def _put_view(self, record: PredictionRecord, told: Told) -> None:
        blob, revision = told.item.blob, record.revision
        await self._reviews.put_view(record.id, told.view, blob, told.final, self._retention_s, revision, record.caller)

    def _told(self, record: PredictionRecord, told: Told | None) -> Told:
        return told or answers.told(record, *self._look_up(record), self._suggestions)

    def _look_up(self, record: PredictionRecord) -> tuple[LabelSchema | None, Rules | None]:
        if not record.model:
            return None, None
        try:
            return self._catalog.bundle(record.model).manifest.labels, self._catalog.recorded(record.rules)
        except ModelStoreError as error:  # the item must reach a person even when its model was deleted
            log.warning("model of a journaled prediction is gone", extra={"prediction": record.id, "why": str(error)})
            return None, None


def _withdraws(record: PredictionRecord) -> bool:
    return record.revision > 1 and record.route == "automatic"


async def _many(apply: Callable[[Record], Awaitable[None]], records: Iterable[Record]) -> int:
    count = 0
    for batch in _batches(iter(records)):
        await asyncio.gather(*(apply(record) for record in batch))
        count += len(batch)
    return count


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch = []
    for record in records:
        batch.append(record)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
