"""Where people take what they are asked: leases, skips, images.

What they answer: answering.py. What else happens to the queues: sweeping.py.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection

from model_store.labels import LabelSchema
from model_store.manifest import ImageSpec
from triage.answering import Answering
from triage.control.sites import Control
from triage.errors import Conflict, Forbidden, NotFound
from triage.ids import now_us
from triage.index.reviews import RedisReviews
from triage.reviewing import shifts
from triage.reviewing.item import REVIEW, Lease, LeaseToken, name_of, project_of, queue_of
from triage.reviewing.person_document import PersonDocument
from triage.reviewing.queue_document import QueueDocument
from triage.slipping import Slipping


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Desk:
    """The lease side of the gateway's reviewing."""

    def __init__(
        self, control: Control, reviews: RedisReviews, answering: Answering, slipping: Slipping, lease_s: int,
        clock: Callable[[], datetime.datetime] = _now,
    ) -> None:  # fmt: skip
        self._control = control
        self._reviews = reviews
        self._answering = answering
        self._slipping = slipping
        self._lease_s = lease_s
        self._clock = clock

    async def lease(
        self, queue: str, reviewer: str, count: int, seconds: int | None, sites: Collection[str] | None = None,
        holder: str = "", by_case: bool = False,
    ) -> list[Lease]:  # fmt: skip
        """Up to `count` items for one reviewer, of these sites where they are named; `by_case`: the best one and what waits of
        its case. `holder` is the subject that asks for them, and for whom alone their tokens work.

        Raises IndexAway, NotFound, and Forbidden for whom the documents give nothing now.
        """
        await self.known(queue)
        document = self.document(queue)
        most = await self._most(queue, document, reviewer)
        count, seconds = count if most is None else min(count, most), seconds or self._seconds(queue)
        golds: list[Lease] = []
        if not by_case:  # of a case there is nothing to add
            golds = await self._slipping.slip(
                queue, document, reviewer, count, seconds, self.labels(queue), sites, holder
            )
        leases = await self._reviews.lease(
            queue, reviewer, count - len(golds), seconds, sites=sites, holder=holder, by_case=by_case
        ) if count > len(golds) else []  # fmt: skip
        return await self._slipping.veil(queue, document, self._slipping.mixed(leases, golds))

    async def _most(self, queue: str, document: QueueDocument, reviewer: str) -> int | None:
        """How many more items a reviewer may be given today, None for any number. Raises Forbidden for none."""
        project = project_of(queue)
        person: PersonDocument | None = self._control.of("person", project).get(reviewer)
        now = self._clock()
        refused = shifts.refusal(reviewer, person, document.skills, now)
        if refused:
            raise Forbidden(refused)
        if person is None or person.daily_cap is None:
            return None
        theirs = [name for name in await self._reviews.queues() if project_of(name) == project]
        began = 1e3 * shifts.day_began(person, now).timestamp()
        answered = await self._reviews.answered(theirs, reviewer, began) if theirs else 0
        held = sum([await self._reviews.held(name, reviewer) for name in theirs])
        most, refused = shifts.left(reviewer, person, answered, held)
        if refused:
            raise Forbidden(refused)
        return most

    async def known(self, queue: str) -> None:
        """Raises NotFound for a queue without a document that nothing was ever put into, unless it is the project's own: a
        typing error must not be an empty queue for ever."""
        self.labels(queue)
        if name_of(queue) == REVIEW or name_of(queue) in self._control.of("queue", project_of(queue)):
            return
        if queue not in await self._reviews.queues():
            raise NotFound(f"there is no queue {queue!r}; GET /v1/queues lists them")

    async def queues(self) -> list[str]:
        """Every queue there is: declared, a project's own, or one that something was put into."""
        projects = {site.project for site in self._control.sites}
        own = {queue_of(project, name) for project in projects for name in self._control.of("queue", project)}
        return sorted({*await self._reviews.queues(), *map(queue_of, projects), *own})

    def document(self, queue: str) -> QueueDocument:
        """What a queue does; the defaults for one without a document."""
        return self._answering.document(queue)

    def of_adjudicators(self, queue: str) -> bool:
        """Whether another queue of the project leaves to this one what its readers cannot settle."""
        documents: dict[str, QueueDocument] = self._control.of("queue", project_of(queue))
        return any(document.escalate_to == name_of(queue) for document in documents.values())

    def labels(self, queue: str) -> LabelSchema:
        """The labels that reviewers of a queue choose from. Raises NotFound."""
        return self._answering.labels(queue)

    def _seconds(self, queue: str) -> int:
        return self.document(queue).lease_s or self._lease_s

    async def extend(self, token: LeaseToken) -> int:
        return await self._reviews.extend(token, self._seconds(token.queue))

    async def image(self, token: LeaseToken) -> tuple[str, ImageSpec]:
        """The blob of a leased item, and how its site reads images. Raises Conflict when the lease is lost or used up."""
        item = (await self._reviews.holding(token)).item
        if item is None:
            raise Conflict("the item is answered already; lease the next one")
        return item.blob, self._control.site(item.project, item.site).image

    async def shown(self, token: LeaseToken) -> int:
        """The reviewer sees the image: the clock starts, once. The new expiry in microseconds."""
        return await self._reviews.extend(token, self._seconds(token.queue), shown_at=now_us())

    async def give_back(self, token: LeaseToken) -> None:
        await self._reviews.release(token)

    async def skip(self, token: LeaseToken) -> None:
        """Gives the item to somebody else; this reviewer is not asked again."""
        holding = await self._reviews.holding(token)
        await self._reviews.release(token, skipped_by=holding.reviewer)

    async def leave(self, queue: str, reviewer: str) -> int:
        """Returns to a queue what somebody has who went away; how many items that was."""
        await self.known(queue)
        return await self._reviews.leave(queue, [reviewer])
