"""What a verdict means: whether it may be given, what it is evidence of, whether it corrects the model, what it leads to. Pure.

A reading that its caller waits for **decides**: the image's first, those that were asked for because readers did not agree yet,
and an adjudicator's. What several of them are together says `consensus`; an adjudicator has the last word. The others, of
audits and recalls and second readings that a doubt asked for, only watch over the model. A gold watches over the reviewer, and
leads to nothing. Whoever escalates leaves the reading to an adjudicator; of an audit first to the second reader, since it is a
doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from model_store.labels import LabelSchema
from model_store.record import Answer, EarlierReading, Outcome, Step, VerdictRecord
from triage.errors import Invalid
from triage.promise import audits
from triage.reviewing.consensus import Agreement, consensus
from triage.reviewing.item import Item, queue_of
from triage.reviewing.queue_document import QueueDocument


@dataclass(frozen=True)
class Terms:
    """What a queue asks of its answers."""

    agreement: Agreement = field(default_factory=Agreement)
    escalate_to: str = ""
    """The adjudicators' queue; empty: there are none."""
    hold_s: float = 0.0
    """For so long a verdict can be taken back before anybody is told."""


ALONE = Terms()
"""One reader decides, and at once."""


def terms_of(document: QueueDocument, project: str, hold_s: float) -> Terms:
    """What a queue's document says; `hold_s` is the service's."""
    return Terms(
        Agreement(document.agree, document.readers, document.agreement),
        queue_of(project, document.escalate_to) if document.escalate_to else "",
        hold_s if document.hold_s is None else document.hold_s,
    )


def judged(
    verdict: VerdictRecord, item: Item, labels: LabelSchema, second_reader: bool, terms: Terms = ALONE
) -> VerdictRecord:
    """A verdict with what it means for the item. Its revision is the item's.

    Raises Invalid when a blind item's labels are not all answered, or nobody is there to escalate to.
    """
    given = verdict.answers
    if item.blind and verdict.outcome == "labels":
        given = every_label(labels, given)
    doubts = audits.doubts(item.drawn, given, verdict.outcome)
    verdict = msgspec.structs.replace(
        verdict, answers=given, purpose=item.purpose, blind=item.blind, reading=item.reading, drawn=item.drawn,
        doubts=doubts, second_reader=second_reader, corrects=_corrects(verdict, item, given, doubts, second_reader),
        revision=item.revision, received_at=item.received_at, first_doubts=item.doubts, answered=item.answered,
        earlier=item.earlier, adjudicated=item.adjudicates, hold_s=terms.hold_s, gold=item.purpose == "gold",
        gold_id=item.gold_id, planted=item.planted,
    )  # fmt: skip
    return _stepped(verdict, item, labels, terms)


def decides(verdict: VerdictRecord) -> bool:
    """Whether the image's caller waits for this reading."""
    return verdict.purpose == "review" and (verdict.reading == 1 or verdict.adjudicated or bool(verdict.earlier))


def as_earlier(verdict: VerdictRecord) -> EarlierReading:
    return EarlierReading(
        verdict=verdict.id, reviewer=verdict.reviewer, outcome=verdict.outcome, answers=verdict.answers,
        note=verdict.note, new_label=verdict.new_label,
    )  # fmt: skip


def item_of(verdict: VerdictRecord) -> Item:
    """The item that a verdict is about, as far as its meaning depends on it."""
    return Item(
        id=verdict.item or verdict.prediction, prediction=verdict.prediction, revision=verdict.revision,
        project=verdict.project, site=verdict.site, case=verdict.case, sha256=verdict.sha256,
        received_at=verdict.received_at or 0, reasons=(), purpose=verdict.purpose, blind=verdict.blind,
        reading=verdict.reading, drawn=verdict.drawn, doubts=verdict.first_doubts, answered=verdict.answered,
        earlier=verdict.earlier, adjudicates=verdict.adjudicated, gold_id=verdict.gold_id, planted=verdict.planted,
    )  # fmt: skip


def _corrects(
    verdict: VerdictRecord, item: Item, given: dict[str, Answer], doubts: tuple[str, ...], second_reader: bool
) -> bool:
    if verdict.outcome == "escalated":
        return False
    if item.purpose == "recall":
        return {label for label, answer in given.items() if answer == "present"} != set(item.answered)
    if item.purpose != "audit":
        return False
    if item.adjudicates:
        return bool(audits.doubts(item.doubts, given, verdict.outcome))
    if item.reading == 2:
        return bool(set(doubts) & set(item.doubts))
    return bool(doubts) and not second_reader


def _stepped(verdict: VerdictRecord, item: Item, labels: LabelSchema, terms: Terms) -> VerdictRecord:
    """The verdict with what follows from it, and with what the readings so far are together."""
    if verdict.outcome == "escalated":
        return _left_to_others(verdict, terms)
    if not decides(verdict):
        return verdict
    if item.adjudicates:
        return msgspec.structs.replace(verdict, agreed=verdict.answers, agreed_outcome=verdict.outcome)
    found = consensus([*item.earlier, as_earlier(verdict)], terms.agreement, labels)
    if found.state == "open":
        return msgspec.structs.replace(verdict, step="again")
    if found.state == "undecidable" and terms.escalate_to:
        return msgspec.structs.replace(verdict, step="escalate", escalate_to=terms.escalate_to)
    if item.earlier:
        return msgspec.structs.replace(verdict, agreed=found.answers, agreed_outcome=found.outcome)
    return verdict


def _left_to_others(verdict: VerdictRecord, terms: Terms) -> VerdictRecord:
    if not terms.escalate_to:
        raise Invalid(
            "this queue names nobody to escalate to; answer unsure, skip, or ask a manager to set escalate_to"
        )
    asked_anyway = verdict.purpose == "audit" and verdict.reading == 1 and verdict.second_reader
    if verdict.purpose == "gold" or asked_anyway or (verdict.purpose == "review" and not decides(verdict)):
        return verdict
    step: Step = "escalate"
    return msgspec.structs.replace(verdict, step=step, escalate_to=terms.escalate_to)


def every_label(labels: LabelSchema, given: dict[str, Answer]) -> dict[str, Answer]:
    """The answers with every label of the schema: in an exclusive group one that is present says of the others that they are
    absent. Raises Invalid when nothing was said of a label."""
    full = dict(given)
    for group in labels.groups:
        members = labels.members(group.id)
        if group.kind == "exclusive" and "present" in (given.get(label) for label in members):
            full.update({label: "absent" for label in members if label not in given})
    missing = [label for label in labels.ids if label not in full]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Invalid(
            f"this image is read blind, and nothing is said of {missing[0]!r}{more}; "
            "call every label present, absent, unsure or not_assessed"
        )
    return full


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
