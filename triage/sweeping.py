"""What happens to the queues by itself: leases end, people leave, items die or wait for too long, answers are finished for
gateways that went away. And what a manager does about items that died."""

from __future__ import annotations

import contextlib

from triage.answering import Answering
from triage.control.sites import Control
from triage.desk import Desk
from triage.errors import Conflict, IndexAway
from triage.ids import now_us
from triage.index import item_events
from triage.index.reviews import RedisReviews
from triage.metrics import Metrics
from triage.recorder import Recorder
from triage.reviewing.item import DeadLetter, project_of


class Sweeping:
    """A background task of the gateway. Any number of them may run at once."""

    def __init__(
        self, control: Control, reviews: RedisReviews, desk: Desk, answering: Answering, recorder: Recorder,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self._control = control
        self._reviews = reviews
        self._desk = desk
        self._answering = answering
        self._recorder = recorder
        self._metrics = metrics

    async def step(self) -> None:
        """Raises IndexAway, JournalBroken."""
        for queue in await self._reviews.queues():
            document = self._desk.document(queue)
            people = self._control.of("person", project_of(queue))
            await self._reviews.leave(queue, [name for name, person in people.items() if not person.active])
            whole = await self._is_whole(queue)
            swept = await self._reviews.sweep(queue, document.attempts, document.deadline_s if whole else None)
            for answer in swept.held:
                await self._answering.roll_forward(answer)
            for ending in swept.ending if whole else ():
                event = item_events.ended(ending, now_us())
                if event is None:
                    await self._reviews.forget_ending(queue, ending.item)
                    continue
                await self._recorder.record(event)
                counter = self._metrics.unresolved if ending.what == "unresolved" else self._metrics.dead_letters
                counter.labels(queue).inc()
            await self._show(queue, document.sla_s)

    async def _is_whole(self, queue: str) -> bool:
        """Whether an item that looks unanswered is: else somebody's answer may lie in a journal that the index lacks."""
        with contextlib.suppress(IndexAway):
            await self._recorder.insist(queue)
            return True
        return False

    async def _show(self, queue: str, sla_s: float | None) -> None:
        stats = await self._reviews.stats(queue, sla_s)
        self._metrics.queue_depth.labels(queue).set(stats.waiting)
        self._metrics.queue_leased.labels(queue).set(stats.leased)
        self._metrics.queue_age.labels(queue).set(stats.oldest_age_s)
        self._metrics.queue_dead.labels(queue).set(stats.dead)
        self._metrics.queue_overdue.labels(queue).set(stats.overdue)

    async def dead(self, queue: str, count: int) -> list[DeadLetter]:
        """What was set aside, the latest first. Raises NotFound, IndexAway."""
        await self._desk.known(queue)
        return await self._reviews.dead(queue, count)

    async def requeue(self, queue: str, item: str, actor: str) -> None:
        """Puts a dead letter back, at its old place and with all its attempts. Raises NotFound, IndexAway, JournalBroken, and
        Conflict for what is none."""
        await self._desk.known(queue)
        found = await self._reviews.dead(queue, 1, item)
        if not found:
            raise Conflict(f"{item} is no dead letter of {queue}; GET /v1/queues/{queue}/dead lists them")
        letter = found[0]
        await self._recorder.record(item_events.requeued(queue, letter.item, letter.number, actor, now_us()))
