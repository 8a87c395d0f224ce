"""How the readings of several people become one answer. Pure.

Each of at most `readers` people reads the image by themselves; `agree` of them have to say the same. After each reading:

* **decided**: enough said the same. Nobody else is asked.
* **open**: not yet, and those who may still be asked could bring it about. Another person reads the image.
* **undecidable**: not yet, and nobody can bring it about any more. Nobody else is asked: the image goes to an adjudicator, or,
  where the queue names none, is final as `undecided`.

What "the same" is, says the queue's rule:

* `exact`: the same outcome, the same labels present and the same labels absent (and of a new label the same name, whatever its
  capitals). What is unsure, not assessed or not mentioned makes no claim, and makes no difference.
* `per_label`: an outcome is decided by `agree` readings of it. Where it is `labels`, each label besides for itself, by
  `agree` equal answers among those readings; not to mention a label is one of the answers. In an exclusive group the label
  that is present is what is compared, or else the answers to all of its labels. Everything has to be decided.

The agreed answers are those that all who said the same gave; where some of them were unsure and some did not assess, nothing
is agreed of the label. An undecidable image's are those that were decided, the others that anybody mentioned are `unsure`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from model_store.labels import LabelSchema
from model_store.record import Answer, EarlierReading, Outcome

Rule = Literal["exact", "per_label"]
State = Literal["decided", "open", "undecidable"]


@dataclass(frozen=True)
class Agreement:
    """Of at most `readers` people so many have to `agree`. Raises ValueError for numbers that nobody can meet."""

    agree: int = 1
    readers: int = 1
    rule: Rule = "exact"

    def __post_init__(self) -> None:
        if not 1 <= self.agree <= self.readers:
            raise ValueError(f"{self.agree} of {self.readers} readers cannot agree; ask at least {self.agree} readers")


@dataclass(frozen=True)
class Consensus:
    """Where the readings stand. While it is open, nothing is agreed."""

    state: State
    outcome: Outcome | None = None
    answers: dict[str, Answer] | None = None


def consensus(readings: Sequence[EarlierReading], asked: Agreement, labels: LabelSchema) -> Consensus:
    """What these readings, each by another person, are together."""
    left = asked.readers - len(readings)
    if asked.rule == "per_label":
        return _per_label(readings, asked.agree, left, labels)
    camp, state = _camp(readings, _claims, asked.agree, left)
    if state == "decided":
        return Consensus("decided", camp[0].outcome, _common(camp))
    return _undecided(state, {}, readings)


def _per_label(readings: Sequence[EarlierReading], agree: int, left: int, labels: LabelSchema) -> Consensus:
    """An outcome may be decided for as long as enough may say it, and of `labels` if each label may be decided, too."""
    camps: dict[Hashable, list[EarlierReading]] = {}
    for each in readings:
        camps.setdefault(_outcome(each), []).append(each)
    can_be = left >= agree
    agreed: dict[str, Answer] = {}
    for camp in camps.values():
        outcome, states = camp[0].outcome, [_camp(camp, _outcome, agree, left)[1]]
        common = {} if outcome == "labels" else _common(camp)
        if outcome == "labels":
            for members in _units(labels):
                same, state = _camp(camp, _said_of(members), agree, left)
                states.append(state)
                if state == "decided":
                    common |= {label: answer for label, answer in _common(same).items() if label in members}
            agreed = common
        if set(states) == {"decided"}:
            return Consensus("decided", outcome, common)
        can_be = can_be or "undecidable" not in states
    return _undecided("open" if can_be else "undecidable", agreed, readings)


def _undecided(state: State, agreed: dict[str, Answer], readings: Iterable[EarlierReading]) -> Consensus:
    if state == "open":
        return Consensus("open")
    mentioned = {label for each in readings for label in each.answers}
    return Consensus("undecidable", "undecided", {**dict.fromkeys(sorted(mentioned), "unsure"), **agreed})


def _camp(
    readings: Sequence[EarlierReading], of: Callable[[EarlierReading], Hashable], agree: int, left: int
) -> tuple[list[EarlierReading], State]:
    """The largest number of readings that say the same; of two, the one that was first."""
    camps: dict[Hashable, list[EarlierReading]] = {}
    for each in readings:
        camps.setdefault(of(each), []).append(each)
    largest = max(camps.values(), key=len, default=[])
    if len(largest) >= agree:
        return largest, "decided"
    return largest, "open" if len(largest) + left >= agree else "undecidable"


def _outcome(reading: EarlierReading) -> Hashable:
    return reading.outcome, " ".join((reading.new_label or "").casefold().split())


def _claims(reading: EarlierReading) -> Hashable:
    present = frozenset(label for label, answer in reading.answers.items() if answer == "present")
    absent = frozenset(label for label, answer in reading.answers.items() if answer == "absent")
    return _outcome(reading), present, absent


def _said_of(members: Sequence[str]) -> Callable[[EarlierReading], Hashable]:
    def said(reading: EarlierReading) -> Hashable:
        present = tuple(label for label in members if reading.answers.get(label) == "present")
        return present or tuple(reading.answers.get(label, "") for label in members)

    return said


def _common(readings: Sequence[EarlierReading]) -> dict[str, Answer]:
    """The answers that all of these gave."""
    first = readings[0].answers
    return {
        label: answer
        for label, answer in first.items()
        if all(each.answers.get(label) == answer for each in readings[1:])
    }


def _units(labels: LabelSchema) -> list[tuple[str, ...]]:
    """What is decided together: each exclusive group, each other label."""
    units: list[tuple[str, ...]] = []
    for group in labels.groups:
        members = labels.members(group.id)
        units += [members] if group.kind == "exclusive" else [(label,) for label in members]
    return units
