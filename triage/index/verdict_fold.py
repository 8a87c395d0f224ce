"""Folds verdicts into Redis: what they close at once, and what follows from them when their hold is over. Part of the index.

A verdict closes its item as soon as it is journaled. Everything else waits until nobody can take it back unseen: the final
and its outcome, the next reading of several, the adjudicator's, the second one that a doubt asks for, what it is evidence of.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from model_store.record import VerdictRecord, encode
from triage import answers
from triage.index.audit_fold import AuditIndex
from triage.index.disguises import RedisDisguises
from triage.index.reviews import RedisReviews
from triage.index.verdicts import RedisVerdicts, decoded_verdict
from triage.promise.audits import BONUS_S
from triage.reviewing.following import following
from triage.reviewing.item import Item, score
from triage.reviewing.verdicts import decides


class VerdictIndex:
    """Every method raises IndexAway. Applying a record again changes nothing."""

    def __init__(self, reviews: RedisReviews, audits: AuditIndex, retention_s: int) -> None:
        self._reviews = reviews
        self._audits = audits
        self._retention_s = retention_s
        self.verdicts = RedisVerdicts(reviews, retention_s)
        self._disguises = RedisDisguises(reviews)

    async def close(self, verdict: VerdictRecord, leave: bool = False) -> bool:
        """Ends the item, and holds the verdict. True when it is due and the caller is to let it `go`."""
        # In this order: of a closed item the verdict stands, also when we die in between, and can be amended.
        due, _ = await asyncio.gather(self.verdicts.stands(verdict, leave), self._finish(verdict, b""))
        return due

    async def go_if_due(self, verdict: VerdictRecord) -> None:
        for due in await self.verdicts.due(verdict.queue, (verdict.item or verdict.prediction,)):
            await self.go(decoded_verdict(due))

    async def go(self, verdict: VerdictRecord) -> None:
        """The hold is over: everything that follows, and the outcome last."""
        if verdict.gold:
            await self._disguises.answered(verdict.queue, verdict.gold_id, verdict.reviewer)
            await self.verdicts.told(verdict, b"")
            return
        await self._watch(verdict)
        kind, final = told(verdict)
        published = self.verdicts.told(verdict, answers.outcome(kind, verdict, final) if kind else b"")
        if final:  # in one write and in this order: whoever hears of it finds it
            await asyncio.gather(self._finish(verdict, msgspec.json.encode(final)), published)
        else:
            await published

    async def relied_on(self, verdict: VerdictRecord) -> None:
        """An edition that others relied on before it was amended goes on being evidence, though another one stands."""
        stands = await self.verdicts.find(verdict.queue, verdict.item or verdict.prediction) if verdict.drawn else None
        if stands is not None and (stands.id, stands.relied_on) == (verdict.id, verdict.revision):
            await self._watch(verdict)

    async def _watch(self, verdict: VerdictRecord) -> None:
        """What a reading is evidence of, and whom it asks to read the image, too."""
        await self._audits.apply(verdict)
        for queue, item in following(verdict):
            await self._reviews.enqueue(queue, item, place(item))

    async def _finish(self, verdict: VerdictRecord, final: bytes) -> None:
        await self._reviews.finish(
            verdict.queue, verdict.item or verdict.prediction, "resolved", final, b"", self._retention_s, encode(verdict),
            verdict.revision, verdict.prediction, verdict.reviewer, verdict.at,
        )  # fmt: skip


def told(verdict: VerdictRecord) -> tuple[str | None, dict[str, Any] | None]:
    """What callers are told, a kind of outcome or None, and the final state that GET shows. Pure.

    A caller hears of the verdict that it waits for, and of one that decides otherwise than it was told; of readings that only
    watch over the model it hears nothing.
    """
    if verdict.step != "final" or verdict.gold:
        return None, None
    kind = "correction" if verdict.corrects else "final" if decides(verdict) else None
    return kind, answers.people_final(verdict) if kind or verdict.purpose == "recall" else None


def place(item: Item) -> float:
    """What was drawn comes first: evidence that waits is a fault that goes unseen."""
    return score(item.received_at, BONUS_S if item.drawn else 0.0)
