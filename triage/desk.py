"""Where people answer: leases, verdicts, skips. A verdict counts once its record is in the journal, and then exactly once."""

from __future__ import annotations

from model_store import record as records
from model_store.labels import LabelSchema
from model_store.record import Answer, Outcome, VerdictRecord
from triage.control import Control
from triage.errors import Conflict, Invalid, NotFound
from triage.ids import derived_id, now_us
from triage.metrics import Metrics
from triage.recorder import Recorder
from triage.redis_reviews import RedisReviews
from triage.review import Held, Lease, LeaseToken, project_of


class Desk:
    """The review side of the gateway."""

    def __init__(
        self, control: Control, reviews: RedisReviews, recorder: Recorder, metrics: Metrics, lease_s: int
    ) -> None:
        self._control = control
        self._reviews = reviews
        self._recorder = recorder
        self._metrics = metrics
        self._lease_s = lease_s

    async def lease(self, queue: str, reviewer: str, count: int, seconds: int | None) -> list[Lease]:
        """Up to `count` items for one reviewer. Raises IndexAway, NotFound."""
        self.labels(queue)
        return await self._reviews.lease(queue, reviewer, count, seconds or self._lease_s)

    def labels(self, queue: str) -> LabelSchema:
        """The labels that reviewers of a queue choose from. Raises NotFound."""
        project = project_of(queue)
        if project is None:
            raise NotFound(f"there is no queue {queue!r}; GET /v1/queues lists them")
        return self._control.labels(project)

    async def extend(self, token: LeaseToken) -> int:
        return await self._reviews.extend(token, self._lease_s)

    async def shown(self, token: LeaseToken) -> int:
        """The reviewer sees the image: the clock starts, once. The new expiry in microseconds."""
        return await self._reviews.extend(token, self._lease_s, shown_at=now_us())

    async def give_back(self, token: LeaseToken) -> None:
        await self._reviews.release(token)

    async def skip(self, token: LeaseToken) -> None:
        """Gives the item to somebody else; this reviewer is not asked again."""
        holding = await self._reviews.holding(token)
        await self._reviews.release(token, skipped_by=holding.reviewer)

    async def answer(
        self, token: LeaseToken, outcome: Outcome, given: dict[str, Answer], new_label: str | None, note: str
    ) -> VerdictRecord:
        """The verdict that now stands; the first one when this lease answered before in the same words.

        Raises Invalid when it contradicts the labels, Conflict when the lease is lost or answered otherwise.
        """
        check_answers(self.labels(token.queue), outcome, given, new_label)
        holding = await self._reviews.holding(token)
        verdict = VerdictRecord(
            id=derived_id("verdict", str(token)),
            prediction=token.item,
            project=holding.item.project if holding.item else "",
            site=holding.item.site if holding.item else "",
            case=holding.item.case if holding.item else None,
            queue=token.queue,
            sha256=holding.item.sha256 if holding.item else "",
            reviewer=holding.reviewer,
            outcome=outcome,
            answers=given,
            new_label=new_label,
            note=note,
            suggestions=tuple(each["id"] for each in holding.item.suggestions) if holding.item else (),
            leased_at=holding.leased_at,
            shown_at=holding.shown_at,
            at=now_us(),
        )
        mine = records.encode(verdict)
        payload, journaled = await self._reviews.answer(token, mine)
        stands = _same(payload, verdict)
        if journaled:
            return stands
        # Also for a replay: whoever held the first answer may have died, or may not be done. A record that is written
        # twice counts once; a reply before the record would be a promise that nobody may keep.
        await self._recorder.record(stands)
        if payload == mine:
            self._metrics.verdicts.labels(token.queue, outcome).inc()
            if holding.item:
                self._metrics.review_wait.observe((stands.at - holding.item.received_at) / 1e6)
        return stands

    async def sweep(self) -> None:
        """Returns expired leases, and finishes answers whose gateway died between accepting and recording them."""
        for queue in await self._reviews.queues():
            _, held = await self._reviews.sweep(queue)
            for answer in held:
                await self._roll_forward(answer)
            stats = await self._reviews.stats(queue, now_us())
            self._metrics.queue_depth.labels(queue).set(stats.waiting)
            self._metrics.queue_leased.labels(queue).set(stats.leased)
            self._metrics.queue_age.labels(queue).set(stats.oldest_age_s)

    async def _roll_forward(self, held: Held) -> None:
        verdict = records.decode(held.payload)
        await self._recorder.record(verdict)


def check_answers(labels: LabelSchema, outcome: Outcome, given: dict[str, Answer], new_label: str | None) -> None:
    """Raises Invalid, naming the label and what to do."""
    unknown = sorted(set(given) - set(labels.ids))
    if unknown:
        raise Invalid(f"{unknown[0]!r} is no label of this queue; choose from {', '.join(labels.ids[:20])}")
    if outcome == "labels" and not given:
        raise Invalid("a verdict of outcome 'labels' says something of at least one label; or choose none_of_these")
    if outcome == "new_label" and not new_label:
        raise Invalid("a verdict of outcome 'new_label' names it in new_label")
    if outcome != "labels" and "present" in given.values():
        raise Invalid(f"a verdict of outcome {outcome!r} cannot call a label present; choose one of the two")
    for group in labels.groups:
        present = [label for label in labels.members(group.id) if given.get(label) == "present"]
        if group.kind == "exclusive" and len(present) > 1:
            raise Invalid(f"{present[0]!r} and {present[1]!r} exclude each other; call one of them present")


def _same(payload: bytes, verdict: VerdictRecord) -> VerdictRecord:
    first = records.decode(payload)
    assert isinstance(first, VerdictRecord)
    said = ("outcome", "answers", "new_label", "note")
    if any(getattr(first, name) != getattr(verdict, name) for name in said):
        raise Conflict("this lease was answered already, and otherwise; the first answer stands")
    return first
