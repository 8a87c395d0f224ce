"""Slips golds in among what people are given, and lays a veil over the items that a draw makes blind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from model_store.labels import LabelSchema
from triage.control.sites import Control
from triage.index.disguises import RedisDisguises
from triage.index.reviews import RedisReviews
from triage.reviewing import golds
from triage.reviewing.gold_document import GoldDocument
from triage.reviewing.item import Item, Lease, name_of, project_of, score
from triage.reviewing.queue_document import QueueDocument


class Slipping:
    """Every method raises IndexAway."""

    def __init__(self, control: Control, reviews: RedisReviews, secret: bytes) -> None:
        """`secret` draws, as it draws audits: all replicas have the same."""
        self._control = control
        self._reviews = reviews
        self._disguises = RedisDisguises(reviews)
        self._secret = secret

    async def slip(
        self, queue: str, document: QueueDocument, reviewer: str, count: int, seconds: int, labels: LabelSchema,
        sites: Collection[str] | None = None, holder: str = "",
    ) -> list[Lease]:  # fmt: skip
        """The golds among the reviewer's next `count` items, leased; mostly none. `sites` and `holder` as for any lease."""
        if not document.gold_share:
            return []
        first = await self._disguises.turn(queue, reviewer, count)
        places = golds.turns(self._secret, queue, reviewer, first, count, document.gold_share)
        if not places or (oldest := await self._disguises.oldest(queue)) is None:
            return []
        project = project_of(queue)
        assert project is not None
        known: dict[str, GoldDocument] = {
            name: gold
            for name, gold in self._control.of("gold", project).items()
            if gold.queue == name_of(queue) and (sites is None or gold.site in sites)
        }
        seen = await self._disguises.seen(queue, sorted(known))
        leased: list[Lease] = []
        for name in golds.choose(self._secret, known, seen, reviewer):
            if len(leased) == len(places):
                break
            item = golds.disguised(
                self._secret,
                project,
                name,
                known[name],
                reviewer,
                labels,
                oldest,
                document.wrong_gold_share,
                seen[name],
            )
            if await self._disguises.claim(queue, name, item.id):
                await self._reviews.enqueue(queue, item, score(item.received_at))
                leased += await self._reviews.lease(queue, reviewer, 1, seconds, only=[item.id], holder=holder)
        return leased

    def mixed(self, leases: list[Lease], slipped: list[Lease]) -> list[Lease]:
        """Both in one order, that of their times, which is the queue's."""
        if not slipped:
            return leases
        evidence = [lease for lease in leases if lease.item.drawn]  # comes first whenever it came
        others = [lease for lease in leases if not lease.item.drawn]
        return evidence + sorted([*others, *slipped], key=lambda lease: lease.item.received_at)

    async def veil(self, queue: str, document: QueueDocument, leases: list[Lease]) -> list[Lease]:
        """The leases as their reviewer sees them: those that the queue's blind share draws tell nothing of the model."""
        drawn = [
            lease.item.id for lease in leases
            if not lease.item.blind and golds.blind(self._secret, lease.item.id, document.blind_share)
        ]  # fmt: skip
        if not drawn:
            return leases
        await self._disguises.veil(queue, drawn)
        return [replace(lease, item=veiled(lease.item)) if lease.item.id in drawn else lease for lease in leases]


def veiled(item: Item) -> Item:
    """The item as one that is read blind."""
    return replace(item, blind=True, suggestions=(), reasons=())
