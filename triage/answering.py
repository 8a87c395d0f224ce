"""What people answer: verdicts. One counts once its record is in the journal, and then exactly once."""

from __future__ import annotations

import msgspec

from model_store import record as records
from model_store.labels import LabelSchema
from model_store.record import Answer, Outcome, VerdictRecord
from triage.control.sites import Control
from triage.errors import Conflict, NotFound
from triage.ids import derived_id, now_us
from triage.index.reviews import RedisReviews
from triage.metrics import Metrics
from triage.recorder import Recorder
from triage.reviewing.item import Held, Item, LeaseToken, project_of
from triage.reviewing.verdicts import check_answers, every_label, judged


class Answering:
    """Takes answers to leased items."""

    def __init__(self, control: Control, reviews: RedisReviews, recorder: Recorder, metrics: Metrics) -> None:
        self._control = control
        self._reviews = reviews
        self._recorder = recorder
        self._metrics = metrics

    def labels(self, queue: str) -> LabelSchema:
        """The labels that reviewers of a queue choose from. Raises NotFound."""
        project = project_of(queue)
        if project is None:
            raise NotFound(f"there is no queue {queue!r}; GET /v1/queues lists them")
        return self._control.labels(project)

    async def answer(
        self, token: LeaseToken, outcome: Outcome, given: dict[str, Answer], new_label: str | None, note: str,
        principal: str = "",
    ) -> VerdictRecord:  # fmt: skip
        """The verdict that now stands; the first one when this lease answered before in the same words. `principal` is the
        subject that sends it, which may do so for a reviewer it names.

        Raises Invalid when it contradicts the labels, Conflict when the lease is lost or answered otherwise.
        """
        labels = self.labels(token.queue)
        check_answers(labels, outcome, given, new_label)
        holding = await self._reviews.holding(token)
        item = holding.item
        verdict = VerdictRecord(
            id=derived_id("verdict", str(token)),
            prediction=item.prediction if item else token.item,
            item=token.item,
            project=item.project if item else "",
            site=item.site if item else "",
            case=item.case if item else None,
            queue=token.queue,
            sha256=item.sha256 if item else "",
            reviewer=holding.reviewer,
            principal="" if principal == holding.reviewer else principal,
            outcome=outcome,
            answers=given,
            new_label=new_label,
            note=note,
            suggestions=tuple(each["id"] for each in item.suggestions) if item else (),
            leased_at=holding.leased_at,
            shown_at=holding.shown_at,
            at=now_us(),
        )
        if item:
            verdict = judged(verdict, item, labels, self._second_reader(item))
        mine = records.encode(verdict)
        payload, journaled = await self._reviews.answer(token, mine)
        stands = _same(payload, verdict, labels)
        if journaled:
            return stands
        # Also for a replay: whoever held the first answer may have died, or may not be done. A record that is written
        # twice counts once; a reply before the record would be a promise that nobody may keep.
        await self._recorder.record(stands)
        if payload == mine:
            self._metrics.verdicts.labels(token.queue, outcome).inc()
            if item and item.purpose == "review" and item.reading == 1:  # nobody waits for the others
                self._metrics.review_wait.observe((stands.at - item.received_at) / 1e6)
        return stands

    def _second_reader(self, item: Item) -> bool:
        try:
            return self._control.site(item.project, item.site).document.audit.second_reader
        except NotFound:
            return True

    async def roll_forward(self, held: Held) -> None:
        """Records an answer whose gateway died between accepting and recording it. Raises JournalBroken."""
        verdict = records.decode(held.payload)
        await self._recorder.record(verdict)


def _same(payload: bytes, verdict: VerdictRecord, labels: LabelSchema) -> VerdictRecord:
    """The first answer of a lease, if this one says the same. Raises Conflict when it does not."""
    first = records.decode(payload)
    assert isinstance(first, VerdictRecord)
    if first.blind and first.outcome == verdict.outcome == "labels":  # the item is gone, which said that it is blind
        verdict = msgspec.structs.replace(verdict, answers=every_label(labels, verdict.answers))
    said = ("outcome", "answers", "new_label", "note")
    if any(getattr(first, name) != getattr(verdict, name) for name in said):
        raise Conflict("this lease was answered already, and otherwise; the first answer stands")
    return first
