"""What people answer: verdicts, escalations, amendments. One counts when its record is in the journal, and exactly once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import NoReturn

import msgspec

from model_store import record as records
from model_store.labels import LabelSchema
from model_store.record import Answer, Outcome, VerdictRecord
from triage.control.sites import Control
from triage.errors import Conflict, Forbidden, IndexAway, JournalBroken, NotFound
from triage.ids import now_us
from triage.index.connection import refused
from triage.index.disguises import RedisDisguises
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.index.verdicts import decoded_verdict
from triage.metrics import Metrics
from triage.recorder import Recorder
from triage.reviewing.amendments import Said, editions, says
from triage.reviewing.following import shows
from triage.reviewing.gold_document import GoldDocument
from triage.reviewing.item import Held, Holding, Item, LeaseToken, name_of, project_of
from triage.reviewing.queue_document import QueueDocument
from triage.reviewing.verdict_id import VerdictId
from triage.reviewing.verdicts import Terms, check_answers, decides, judged, terms_of

log = logging.getLogger(__name__)


class Answering:
    """Takes answers to leased items, and lets them go when their hold is over."""

    def __init__(
        self, control: Control, reviews: RedisReviews, index: Index, recorder: Recorder, metrics: Metrics, hold_s: float
    ) -> None:
        """`hold_s` holds where a queue's document says nothing else."""
        self._control = control
        self._reviews = reviews
        self._people = index.people
        self._verdicts = index.people.verdicts
        self._disguises = RedisDisguises(reviews)
        self._recorder = recorder
        self._metrics = metrics
        self._hold_s = hold_s

    def labels(self, queue: str) -> LabelSchema:
        """The labels that reviewers of a queue choose from. Raises NotFound."""
        project = project_of(queue)
        if project is None:
            raise NotFound(f"there is no queue {queue!r}; GET /v1/queues lists them")
        return self._control.labels(project)

    def document(self, queue: str) -> QueueDocument:
        """What a queue does; the defaults for one without a document."""
        document: QueueDocument | None = self._control.of("queue", project_of(queue)).get(name_of(queue) or "")
        return document or QueueDocument()

    def _terms(self, queue: str) -> Terms:
        return terms_of(self.document(queue), project_of(queue) or "", self._hold_s)

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
        try:
            holding = await self._reviews.holding(token)
        except Conflict:
            return await self._answered_before(token, Said(outcome, given, new_label, note), labels)
        verdict = await self._verdict(token, holding, Said(outcome, given, new_label, note), labels, principal)
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
            if decides(stands) and stands.step == "final" and stands.received_at:
                self._metrics.review_wait.observe((stands.at - stands.received_at) / 1e6)
        return stands

    async def escalate(self, token: LeaseToken, note: str, principal: str = "") -> VerdictRecord:
        """Leaves an item to the adjudicators of its queue. Raises Invalid without any, Conflict like an answer."""
        return await self.answer(token, "escalated", {}, None, note, principal)

    async def _verdict(
        self, token: LeaseToken, holding: Holding, said: Said, labels: LabelSchema, principal: str
    ) -> VerdictRecord:
        item = holding.item
        if item is not None and await self._disguises.veiled(token.queue, token.item):
            item = replace(item, blind=True, suggestions=(), reasons=())
        verdict = VerdictRecord(
            id=str(VerdictId.of(token)),
            prediction=item.prediction if item else token.item,
            item=token.item,
            project=item.project if item else "",
            site=item.site if item else "",
            case=item.case if item else None,
            queue=token.queue,
            sha256=item.sha256 if item else "",
            reviewer=holding.reviewer,
            outcome=said.outcome,
            answers=said.answers or {},
            new_label=said.new_label,
            note=said.note,
            suggestions=tuple(str(each["id"]) for each in item.suggestions) if item else (),
            leased_at=holding.leased_at,
            shown_at=holding.shown_at,
            principal="" if principal == holding.reviewer else principal,
            at=now_us(),
        )
        if item is None:
            return verdict
        terms = self._terms(token.queue)
        verdict = judged(verdict, item, labels, self._second_reader(item), terms)
        if verdict.purpose == "review" and (terms.agreement.readers > 1 or terms.escalate_to):
            verdict = msgspec.structs.replace(verdict, shows=shows(item))
        return self._graded(verdict)

    async def _answered_before(self, token: LeaseToken, said: Said, labels: LabelSchema) -> VerdictRecord:
        """The lease is gone. Its answer is not, if it gave one: the journal has it, also when the index was lost since."""
        stands = await self._verdicts.find(token.queue, token.item)
        if stands is None or stands.id != str(VerdictId.of(token)):
            await self._recorder.insist(token.queue)
            await self._reviews.holding(token)  # raises what stands against it
            raise Conflict("the lease changed hands just now; lease the next one")
        return stands if stands.amends else _compared(stands, said, labels)

    def _second_reader(self, item: Item) -> bool:
        try:
            return self._control.site(item.project, item.site).document.audit.second_reader
        except NotFound:
            return True

    def _graded(self, verdict: VerdictRecord) -> VerdictRecord:
        if not verdict.gold:
            return verdict
        gold: GoldDocument | None = self._control.of("gold", verdict.project).get(verdict.gold_id)
        right = gold.agrees(verdict.outcome, verdict.answers) if gold else None
        return msgspec.structs.replace(verdict, agreement=right)

    async def amend(
        self, name: VerdictId, revision: int, said: Said, reviewer: str, adjudicates: bool = False, principal: str = "",
        sites: Collection[str] | None = None,
    ) -> VerdictRecord:  # fmt: skip
        """The verdict as amended; of the same amendment sent again the one that stands.

        adjudicates: the reviewer may amend what others answered, at these `sites` where they are named. Raises NotFound,
        Forbidden, Invalid, Conflict.
        """
        labels = self.labels(name.queue)
        answers = said.answers or {}
        check_answers(labels, said.outcome, answers, said.new_label)
        stands = await self._verdicts.find(name.queue, name.item)
        if stands is None or stands.id != str(name):
            await self._unknown(name)
        if stands.reviewer != reviewer and not (adjudicates and (sites is None or stands.site in sites)):
            raise Forbidden(f"{reviewer} did not give this answer; ask its reviewer, or an adjudicator, to amend it")
        if stands.revision != revision:
            return self._repeated(stands, revision, said, reviewer, labels)
        unseen, seen = editions(
            stands, said, reviewer, principal, now_us(), labels, self._terms(name.queue), self._graded
        )
        what, other = await self._verdicts.amend(unseen, seen)
        if what == "gone":
            await self._unknown(name)
        assert other is not None
        if what == "late":
            raise Conflict(
                "its hold is over and others rely on this answer; an adjudicator can amend it, or leave it as it is"
            )
        if what != "accepted":
            other = self._repeated(other, revision, said, reviewer, labels)
            if what == "stale":
                return other
        await self._recorder.record(other)
        return other

    def _repeated(
        self, stands: VerdictRecord, revision: int, said: Said, reviewer: str, labels: LabelSchema
    ) -> VerdictRecord:
        """What stands, if it is this very amendment. Raises Conflict."""
        if (
            stands.revision == revision + 1
            and stands.amends
            and stands.reviewer == reviewer
            and says(stands, said, labels)
        ):
            return stands
        raise Conflict(
            f"the verdict is at revision {stands.revision} and not {revision}; look at what it says now, and amend that"
        )

    async def _unknown(self, name: VerdictId) -> NoReturn:
        await self._recorder.insist(name.queue)
        if await self._reviews.item_state(name.queue, name.item) == "answering":
            raise IndexAway("the verdict is on its way into the index; send it again soon")
        raise NotFound(
            "there is no such verdict, or it is older than the service keeps; ids come from POST .../verdict"
        )

    async def roll_forward(self, held: Held) -> None:
        """Records an answer whose gateway died between accepting and recording it. Raises JournalBroken, IndexAway."""
        await self._apart(held.queue, held.payload, self._recorder.record)

    async def step(self) -> None:
        """One turn: lets go what is held no longer, and finishes amendments whose gateway died. Raises IndexAway,
        JournalBroken."""
        for queue in await self._reviews.queues():
            await self._recorder.insist(queue)  # an amendment may lie in a journal that the index does not know yet
            for payload in await self._verdicts.silent(queue):
                await self._apart(queue, payload, self._recorder.record)
            for payload in await self._verdicts.due(queue):
                await self._apart(queue, payload, self._people.go)

    async def _apart(self, queue: str, payload: bytes, work: Callable[[VerdictRecord], Awaitable[None]]) -> None:
        """Whatever is wrong with one verdict, those behind it are carried out; it is tried again in a later turn. Raises what
        stands against all of them: IndexAway, JournalBroken."""
        name = ""
        try:
            verdict = decoded_verdict(payload)
            name = verdict.id
            await work(verdict)
        except JournalBroken:
            raise
        except Exception as error:
            # A command that Redis refuses is about this verdict's keys; a Redis that is away is everybody's.
            if isinstance(error, IndexAway) and not refused(error):
                raise
            self._metrics.verdicts_stuck.labels(queue).inc()
            log.exception("a verdict cannot be carried out", extra={"queue": queue, "verdict": name})


def _same(payload: bytes, verdict: VerdictRecord, labels: LabelSchema) -> VerdictRecord:
    """The first answer of a lease, if this one says the same. Raises Conflict when it does not."""
    first = records.decode(payload)
    assert isinstance(first, VerdictRecord)
    return _compared(first, Said(verdict.outcome, verdict.answers, verdict.new_label, verdict.note), labels)


def _compared(first: VerdictRecord, said: Said, labels: LabelSchema) -> VerdictRecord:
    if not says(first, said, labels):
        raise Conflict("this lease was answered already, and otherwise; the first answer stands")
    return first
