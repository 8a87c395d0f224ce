"""How people read: right on golds, agreeing with one another, led by suggestions, fast. Pure, over the log's verdicts.

* Of a verdict that was amended the newest edition is what its reader says; the time is that of the first. Of a gold counts what
  was said when the hold was over: whoever amends it later may have been told.
* **Golds**: how many of the known answers were given, with the exact 95% interval (Clopper and Pearson 1934), all and apart by
  whether a wrong suggestion was shown first. Golds that were left to others do not count.
* **Agreement**: where several people read an image, Krippendorff's alpha of each exclusive group and of each other label
  (`agreement.alpha`); and of one reader, how often another gave the same value. A label that is unsure, not assessed or not
  mentioned is missing.
* **Acceptance**: how often a reader called the first suggestion present, apart by whether it was right: where the right answer
  is known, of golds and of images that several readers agreed about or an adjudicator decided. A reader who accepts as many
  wrong ones as right ones adds nothing to the model.
* **Seconds** from the moment the image was shown to the answer, the median.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from model_store.binomial import at_most
from model_store.labels import LabelSchema
from model_store.record import Answer, VerdictRecord
from triage.reviewing.agreement import alpha

_LEVEL = 0.05
_STEPS = 50


@dataclass
class Share:
    """So many of so many."""

    of: int = 0
    hits: int = 0

    def add(self, hit: bool) -> None:
        self.of += 1
        self.hits += hit

    def told(self) -> dict[str, Any]:
        """`share` and its exact 95% `interval` are null without any."""
        low, high = interval(self.hits, self.of)
        return {
            "of": self.of, "hits": self.hits, "share": self.hits / self.of if self.of else None,
            "interval": [low, high] if self.of else None,
        }  # fmt: skip


@dataclass
class Reader:
    """What one person did."""

    answered: int = 0
    golds: Share = field(default_factory=Share)
    golds_planted: Share = field(default_factory=Share)
    golds_plain: Share = field(default_factory=Share)
    accepts_right: Share = field(default_factory=Share)
    accepts_wrong: Share = field(default_factory=Share)
    agrees: Share = field(default_factory=Share)
    """Of the values that another reader gave of the same image, too."""
    seconds: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return {
            "answered": self.answered, "golds": self.golds.told(), "golds_planted": self.golds_planted.told(),
            "golds_plain": self.golds_plain.told(), "agrees": self.agrees.told(),
            "accepts_right": self.accepts_right.told(), "accepts_wrong": self.accepts_wrong.told(),
            "median_seconds": statistics.median(self.seconds) if self.seconds else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Agreed:
    """How far readers agree about one group or label. `alpha` is None where it says nothing."""

    alpha: float | None
    images: int
    """Of which two people at least gave a value."""


@dataclass
class Figures:
    """Of everybody."""

    readers: dict[str, Reader]
    agreement: dict[str, Agreed]
    """By `group ID` or `label ID`."""

    def told(self) -> dict[str, Any]:
        people = [{"reviewer": name, **reader.told()} for name, reader in sorted(self.readers.items())]
        agreement = [{"of": of, "alpha": each.alpha, "images": each.images} for of, each in self.agreement.items()]
        return {"people": people, "agreement": agreement}


def figures(verdicts: Iterable[VerdictRecord], labels: LabelSchema, golds: Mapping[str, Mapping[str, str]]) -> Figures:
    """Verdicts of one project in any order, some perhaps twice; `golds` gives the known answers of each."""
    newest: dict[str, VerdictRecord] = {}
    first: dict[str, VerdictRecord] = {}
    for verdict in verdicts:
        if verdict.revision < first.get(verdict.id, verdict).revision or verdict.id not in first:
            first[verdict.id] = verdict
        told_late = verdict.gold and verdict.corrects
        if verdict.revision >= newest.get(verdict.id, verdict).revision and not told_late:
            newest[verdict.id] = verdict
    readers: dict[str, Reader] = defaultdict(Reader)
    truths = _truths(newest.values())
    for verdict in newest.values():
        reader = readers[verdict.reviewer]
        reader.answered += 1
        _add_gold(reader, verdict)
        known = golds.get(verdict.gold_id) if verdict.gold else truths.get(verdict.prediction)
        _add_acceptance(reader, verdict, known, labels)
        begun = first[verdict.id]
        if begun.shown_at is not None and begun.reviewer == verdict.reviewer:
            reader.seconds.append((begun.at - begun.shown_at) / 1e6)
    said = _said(newest.values(), labels)
    for values in said.values():
        for (one, value), (other, same) in combinations(values.items(), 2):
            for name in (one, other):
                readers[name].agrees.add(value == same)
    together: dict[str, list[list[Hashable]]] = defaultdict(list)
    for (_, unit), values in said.items():
        if len(values) > 1:
            together[unit].append(list(values.values()))
    agreement = {unit: Agreed(alpha(values), len(values)) for unit, values in sorted(together.items())}
    return Figures(dict(readers), agreement)


def interval(hits: int, of: int, level: float = _LEVEL) -> tuple[float, float]:
    """The exact interval of a share at confidence 1 - level (Clopper and Pearson, Biometrika 26, 1934)."""
    if not of:
        return 0.0, 1.0
    high = 1.0 if hits == of else _root(lambda share: at_most(hits, of, share) > level / 2)
    low = 0.0 if not hits else 1 - _root(lambda share: at_most(of - hits, of, share) > level / 2)
    return low, high


def _root(holds: Any) -> float:
    """Where a condition that holds for small shares ends, rounded to the outside."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


def _truths(verdicts: Iterable[VerdictRecord]) -> dict[str, Mapping[str, Answer]]:
    """What was decided of the images that several people read."""
    return {
        each.prediction: each.agreed
        for each in verdicts
        if each.agreed is not None and each.agreed_outcome != "undecided" and each.step == "final"
    }


def _add_gold(reader: Reader, verdict: VerdictRecord) -> None:
    if verdict.gold and verdict.agreement is not None:
        reader.golds.add(verdict.agreement)
        (reader.golds_planted if verdict.planted else reader.golds_plain).add(verdict.agreement)


def _add_acceptance(
    reader: Reader, verdict: VerdictRecord, known: Mapping[str, str] | None, labels: LabelSchema
) -> None:
    if verdict.blind or not verdict.suggestions or known is None or verdict.outcome == "escalated":
        return
    suggested = verdict.suggestions[0]
    right = _right(suggested, known, labels)
    if right is not None:
        share = reader.accepts_right if right else reader.accepts_wrong
        share.add(verdict.answers.get(suggested) == "present")


def _right(label: str, known: Mapping[str, str], labels: LabelSchema) -> bool | None:
    """Whether a label is present, as far as is known."""
    if label in known:
        return {"present": True, "absent": False}.get(known[label])
    if label not in labels.ids:
        return None
    group = labels.group(labels[label].group)
    others = (known.get(each) for each in labels.members(group.id) if each != label)
    return False if group.kind == "exclusive" and "present" in others else None


def _said(verdicts: Iterable[VerdictRecord], labels: LabelSchema) -> dict[tuple[str, str], dict[str, Hashable]]:
    """(prediction, group or label) -> reader -> value, without those that are missing."""
    said: dict[tuple[str, str], dict[str, Hashable]] = defaultdict(dict)
    for verdict in sorted(verdicts, key=lambda each: each.at):
        if verdict.gold or verdict.outcome == "escalated" or verdict.adjudicated:
            continue
        for unit, value in _values(verdict, labels):
            said[verdict.prediction, unit][verdict.reviewer] = value
    return said


def _values(verdict: VerdictRecord, labels: LabelSchema) -> Iterable[tuple[str, Hashable]]:
    other = None if verdict.outcome == "labels" else verdict.new_label or verdict.outcome
    for group in labels.groups:
        members = labels.members(group.id)
        if group.kind == "exclusive":
            present = [label for label in members if verdict.answers.get(label) == "present"]
            if present or other:
                yield f"group {group.id}", present[0] if present else other
            continue
        for label in members:
            answer = verdict.answers.get(label, "absent" if other and other != "unusable" else None)
            if answer in ("present", "absent"):
                yield f"label {label}", answer
