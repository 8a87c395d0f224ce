"""What an amendment makes of a verdict. Pure.

The verdict keeps its id and has the next revision. Another person's amendment is an adjudication. What watches over the model
cannot be amended once it is evidence; and so that nobody can tell by trying what does, no blind reading can, and a gold where
any other image can. Where another reading followed, that one decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from model_store.labels import LabelSchema
from model_store.record import Answer, Outcome, VerdictRecord
from triage.errors import Forbidden, Invalid
from triage.reviewing.verdicts import Terms, decides, every_label, item_of, judged


@dataclass(frozen=True)
class Said:
    """The words of an answer."""

    outcome: Outcome = "labels"
    answers: dict[str, Answer] | None = None
    new_label: str | None = None
    note: str = ""


def says(verdict: VerdictRecord, said: Said, labels: LabelSchema) -> bool:
    """Whether a verdict is in these words. Those of a blind reading stand for every label."""
    answers = said.answers or {}
    if verdict.blind and verdict.outcome == said.outcome == "labels":
        try:
            answers = every_label(labels, answers)
        except Invalid:
            return False
    words = (said.outcome, answers, said.new_label, said.note)
    return (verdict.outcome, verdict.answers, verdict.new_label, verdict.note) == words


def editions(
    stands: VerdictRecord, said: Said, reviewer: str, principal: str, at: int, labels: LabelSchema, terms: Terms,
    graded: Callable[[VerdictRecord], VerdictRecord],
) -> tuple[VerdictRecord, VerdictRecord | None]:  # fmt: skip
    """The amendment if nobody has seen what it takes the place of, and if somebody has; None where it is too late then.

    `graded` knows the right answers of golds. Raises Invalid, and Forbidden where only the reviewer may amend.
    """
    other = stands.reviewer != reviewer
    if other and not decides(stands):
        raise Forbidden("this reading watches over the model; only its reviewer can amend it")
    item = replace(item_of(stands), revision=stands.revision + 1, adjudicates=stands.adjudicated or other)
    bare = msgspec.structs.replace(
        stands, outcome=said.outcome, answers=said.answers or {}, new_label=said.new_label, note=said.note, at=at,
        reviewer=reviewer, principal="" if principal == reviewer else principal, amends=stands.id, step="final",
        escalate_to="", agreed=None, agreed_outcome=None, agreement=None,
    )  # fmt: skip
    unseen = graded(judged(bare, item, labels, stands.second_reader, terms))
    if stands.corrects and (decides(stands) or stands.gold):  # callers know an edition before the one that they do not
        unseen = msgspec.structs.replace(unseen, corrects=True)
    alone = stands.gold and terms.agreement.agree == 1
    late = (decides(stands) or alone) and stands.step == "final" and (other or not stands.blind)
    if not late:
        return unseen, None
    no_evidence = replace(item, drawn=(), doubts=())
    relied_on = stands.relied_on or (stands.revision if stands.drawn else 0)
    seen = graded(judged(bare, no_evidence, labels, stands.second_reader, terms))
    return unseen, msgspec.structs.replace(seen, corrects=True, relied_on=relied_on)
