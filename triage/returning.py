"""When the model comes back: items that only waited because it was away are decided again.

The returning model takes items like any reviewer, by lease, so nobody else is given them meanwhile; what it would have
answered is withdrawn from the queue, the rest goes back with scores and suggestions. Both decisions are in the journal.
"""

from __future__ import annotations

import contextlib
from collections import deque

from model_store import record as records
from model_store.errors import ImageError
from model_store.record import PredictionRecord
from triage.errors import ClassifierUnavailable, Conflict, ImageFailed, NotFound
from triage.index.reviews import RedisReviews
from triage.intake import Intake
from triage.recorder import Recorder
from triage.reviewing.item import Lease

REVIEWER = "the model"
_AT_ONCE = 32
_LEASE_S = 60


class Returning:
    """A background task of the gateway."""

    def __init__(self, reviews: RedisReviews, intake: Intake, recorder: Recorder) -> None:
        self._reviews = reviews
        self._intake = intake
        self._recorder = recorder

    async def step(self) -> int:
        """Decides some items again; gives back how many; none while the models are away. Raises IndexAway."""
        done = 0
        for queue in await self._reviews.queues():
            ids = await self._reviews.retryable(queue, _AT_ONCE)
            if not ids:
                continue
            left = deque(await self._reviews.lease(queue, REVIEWER, len(ids), _LEASE_S, only=ids))
            try:
                done += await self._decide_all(left)
            finally:  # whatever went wrong: a lease that expires would cost the item one of its attempts
                for lease in left:
                    await self._give_back(lease)
        return done

    async def _decide_all(self, left: deque[Lease]) -> int:
        """Takes away what is decided, and what was given back; how many that were decided."""
        done = 0
        away: set[tuple[str, str]] = set()  # sites whose model is not back; another site's may be
        while left:
            site = left[0].item.project, left[0].item.site
            try:
                if site not in away:
                    await self._decide_again(left[0])
                    left.popleft()
                    done += 1
                    continue
            except ClassifierUnavailable:
                away.add(site)
            await self._give_back(left[0])
            left.popleft()
        return done

    async def _decide_again(self, lease: Lease) -> None:
        assert lease.retry is not None
        record = records.decode(lease.retry)
        assert isinstance(record, PredictionRecord)
        try:
            again = await self._intake.decide_again(record)
        except (ImageError, ImageFailed, NotFound):
            await self._leave_to_people(lease)
            return
        if again.route == "captured":  # the site answers nothing by now, but somebody was asked already
            await self._leave_to_people(lease)
            return
        await self._recorder.record(again)
        if again.route != "automatic":
            await self._give_back(lease)

    async def _leave_to_people(self, lease: Lease) -> None:
        """Gives an item back that the model is not to try again: a person was asked, and a person answers."""
        await self._reviews.no_retry(lease.token.queue, lease.token.item)
        await self._give_back(lease)

    async def _give_back(self, lease: Lease) -> None:
        with contextlib.suppress(Conflict):  # the lease ran out; the item is where it belongs already
            await self._reviews.release(lease.token)
