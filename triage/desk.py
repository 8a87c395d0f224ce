"""Where people take what they are asked: leases, skips, images. What they answer: answering.py."""

from __future__ import annotations

from collections.abc import Collection

from model_store.labels import LabelSchema
from model_store.manifest import ImageSpec
from triage.answering import Answering
from triage.control.sites import Control
from triage.errors import Conflict, NotFound
from triage.ids import now_us
from triage.index.reviews import RedisReviews
from triage.metrics import Metrics
from triage.reviewing.item import REVIEW, Lease, LeaseToken, name_of


class Desk:
    """The lease side of the gateway's reviewing."""

    def __init__(
        self, control: Control, reviews: RedisReviews, answering: Answering, metrics: Metrics, lease_s: int
    ) -> None:
        self._control = control
        self._reviews = reviews
        self._answering = answering
        self._metrics = metrics
        self._lease_s = lease_s

    async def lease(
        self, queue: str, reviewer: str, count: int, seconds: int | None, sites: Collection[str] | None = None,
        holder: str = "",
    ) -> list[Lease]:  # fmt: skip
        """Up to `count` items for one reviewer, of these sites where they are named; `holder` is the subject that asks for
        them, and for whom alone their tokens work. Raises IndexAway, NotFound."""
        await self.known(queue)
        seconds = seconds or self._lease_s
        return await self._reviews.lease(queue, reviewer, count, seconds, sites=sites, holder=holder)

    async def known(self, queue: str) -> None:
        """Raises NotFound for a queue that nothing was ever put into, unless it is the project's own: a typing error must not be
        an empty queue for ever."""
        self.labels(queue)
        if name_of(queue) != REVIEW and queue not in await self._reviews.queues():
            raise NotFound(f"there is no queue {queue!r}; GET /v1/queues lists them")

    def labels(self, queue: str) -> LabelSchema:
        """The labels that reviewers of a queue choose from. Raises NotFound."""
        return self._answering.labels(queue)

    async def extend(self, token: LeaseToken) -> int:
        return await self._reviews.extend(token, self._lease_s)

    async def image(self, token: LeaseToken) -> tuple[str, ImageSpec]:
        """The blob of a leased item, and how its site reads images. Raises Conflict when the lease is lost or used up."""
        item = (await self._reviews.holding(token)).item
        if item is None:
            raise Conflict("the item is answered already; lease the next one")
        return item.blob, self._control.site(item.project, item.site).image

    async def shown(self, token: LeaseToken) -> int:
        """The reviewer sees the image: the clock starts, once. The new expiry in microseconds."""
        return await self._reviews.extend(token, self._lease_s, shown_at=now_us())

    async def give_back(self, token: LeaseToken) -> None:
        await self._reviews.release(token)

    async def skip(self, token: LeaseToken) -> None:
        """Gives the item to somebody else; this reviewer is not asked again."""
        holding = await self._reviews.holding(token)
        await self._reviews.release(token, skipped_by=holding.reviewer)

    async def sweep(self) -> None:
        """Returns expired leases, and finishes answers whose gateway died between accepting and recording them."""
        for queue in await self._reviews.queues():
            swept = await self._reviews.sweep(queue)
            for answer in swept.held:
                await self._answering.roll_forward(answer)
            stats = await self._reviews.stats(queue)
            self._metrics.queue_depth.labels(queue).set(stats.waiting)
            self._metrics.queue_leased.labels(queue).set(stats.leased)
            self._metrics.queue_age.labels(queue).set(stats.oldest_age_s)
