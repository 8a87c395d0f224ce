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
from model_store.record import PredictionRecord, Record, VerdictRecord, encode
from model_store.rules import Rules
from triage import answers
from triage.answers import Told
from triage.catalog import Catalog
from triage.redis_reviews import RedisReviews
from triage.review import score

log = logging.getLogger(__name__)
_AT_ONCE = 64


class Index:
    """Applies records to Redis. Every method raises IndexAway."""

    def __init__(self, reviews: RedisReviews, catalog: Catalog, suggestions: int, retention_s: int) -> None:
        self._reviews = reviews
        self._catalog = catalog
        self._suggestions = suggestions
        self._retention_s = retention_s

    async def apply(self, record: Record, told: Told | None = None) -> None:
        """Brings Redis to where the record says; `told` spares making its words again."""
        if isinstance(record, VerdictRecord):
            await self._apply_verdict(record)
        elif isinstance(record, PredictionRecord):
            await self._apply_prediction(
                record, told or answers.told(record, *self._look_up(record), self._suggestions)
            )

    async def replay(self, read: Callable[[], Iterable[Record]]) -> int:
        """Applies a stretch of journals, which `read` gives as often as it is asked; tells how many records it held.

        What closes an item goes in before what opens one: a reviewer is never shown an item that is answered.
        """
        await _many(self.apply, (record for record in read() if _closes(record)))
        opened = await _many(self.apply, (record for record in read() if not _closes(record)))
        return opened + sum(1 for record in read() if _closes(record))

    async def _apply_prediction(self, record: PredictionRecord, told: Told) -> None:
        if record.route == "review":
            assert record.queue is not None
            retry = encode(record) if record.reasons == ("model_unavailable",) else None
            place = score(record.received_at)
            await self._reviews.enqueue(record.queue, told.item, place, retry, told.view, record.revision)
            return
        blob, revision = told.item.blob, record.revision
        await self._reviews.put_view(record.id, told.view, blob, told.final, self._retention_s, revision)
        if _closes(record):
            assert record.queue is not None
            final = answers.model_final(record)
            assert final is not None
            await self._finish(record.queue, record.id, "withdrawn", final, record, b"")

    async def _apply_verdict(self, verdict: VerdictRecord) -> None:
        final = answers.people_final(verdict)
        await self._finish(verdict.queue, verdict.prediction, "resolved", final, verdict, encode(verdict))

    async def _finish(
        self, queue: str, item: str, state: str, final: dict[str, object], record: Record, payload: bytes
    ) -> None:
        assert isinstance(record, VerdictRecord | PredictionRecord)
        outcome = {
            "type": "final", "prediction": item, "project": record.project, "site": record.site, "case": record.case,
            "final": final,
        }  # fmt: skip
        await self._reviews.finish(
            queue, item, state, msgspec.json.encode(final), msgspec.json.encode(outcome), self._retention_s, payload,
            record.revision,
        )  # fmt: skip

    def _look_up(self, record: PredictionRecord) -> tuple[LabelSchema | None, Rules | None]:
        if not record.model:
            return None, None
        try:
            return self._catalog.bundle(record.model).manifest.labels, self._catalog.recorded(record.rules)
        except ModelStoreError as error:  # the item must reach a person even when its model was deleted
            log.warning("model of a journaled prediction is gone", extra={"prediction": record.id, "why": str(error)})
            return None, None


def _closes(record: Record) -> bool:
    if isinstance(record, PredictionRecord):
        return record.revision > 1 and record.route == "automatic"
    return isinstance(record, VerdictRecord)


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
