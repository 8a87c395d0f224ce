"""What a verdict means: whether it may be given, what it is evidence of, whether it corrects the model. Pure."""

from __future__ import annotations

import msgspec

from model_store.labels import LabelSchema
from model_store.record import Answer, Outcome, VerdictRecord
from triage.errors import Invalid
from triage.promise import audits
from triage.reviewing.item import Item


def judged(verdict: VerdictRecord, item: Item, labels: LabelSchema, second_reader: bool) -> VerdictRecord:
    """A verdict with what it means for the item: what it is evidence of, and whether it corrects the model. Pure.

    Raises Invalid when a blind item's labels are not all answered.
    """
    given = verdict.answers
    if item.blind and verdict.outcome == "labels":
        given = every_label(labels, given)
    doubts = audits.doubts(item.drawn, given, verdict.outcome)
    if item.purpose == "recall":
        corrects = {label for label, answer in given.items() if answer == "present"} != set(item.answered)
    else:
        shared = set(doubts) & set(item.doubts) if item.reading == 2 else set(() if second_reader else doubts)
        corrects = item.purpose == "audit" and bool(shared)
    return msgspec.structs.replace(
        verdict, answers=given, purpose=item.purpose, blind=item.blind, reading=item.reading, drawn=item.drawn,
        doubts=doubts, second_reader=second_reader, corrects=corrects, revision=item.revision,
        received_at=item.received_at,
    )  # fmt: skip


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
