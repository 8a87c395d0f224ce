"""Scores and rules -> what fires, what is decided, and why not. Pure, vectorised, and the only
implementation: `certify` certifies these functions and the gateway runs them.

Class k **fires** on an image when all of these hold:

    typicality >= floor
    k is automatic
    p_k >= threshold_k
    in an exclusive group, every other member j, whatever its state, has p_j < veto_j

An exclusive group is **decided** when one member fires. An independent group is decided by one firing member
(`any_present`), or when every member fires or is certified absent, p_k < absent_below_k (`each_decided`; a
member without a head can be neither). An image is **answerable** when every required group is decided. All
comparisons are float32, and NaN meets none of them.

A **suspended** class neither fires nor counts as absent; of `absent:LABEL` only the absence is suspended. A class **would
fire** where it would if it were automatic: at its sampling threshold if it has one, else at its threshold. Of a suspended
class, or one that still gathers evidence, that says which images a person reads.

Few scores of an image reach a threshold or a veto, so the comparisons are made on all of them and the rest is worked out on
those few: the same code takes one image in microseconds and a hundred thousand in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.manifest import Manifest
from model_store.rules import Rules

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
ABSENT = "absent:"
"""Before a label (no label has a colon): the claim that it is absent, where claims are suspended and audited."""
Reason = Literal["none_fired", "undecided_label", "atypical", "conflict"]


@dataclass(frozen=True)
class DecisionTable:
    """Rules laid out along the graph's C heads and the schema's G groups."""

    heads: tuple[str, ...]
    floor: np.float32
    automatic: Bools
    threshold: Floats
    """`[C]`, NaN where a class has none, as the next two."""
    sampling: Floats
    """Threshold from which an assist class gathers evidence, ..."""
    sampling_probability: Floats
    """... and the share of those images that are read blind."""
    veto: Floats
    absent_below: Floats
    """`[C]`, NaN where no absence is certified and in exclusive groups."""
    group: Indices
    """`[C]`: for each head its group, among those that have a head."""
    exclusive: Bools
    """`[g]` for each group with a head, as are the next four."""
    each_decided: Bools
    complete: Bools
    """Every label of the group has a head."""
    required: Bools
    size: Indices
    """Heads of the group."""
    headless_required: bool
    """A required group has no head at all: nothing can be answered."""

    @classmethod
    def build(cls, rules: Rules, manifest: Manifest) -> DecisionTable:
        """Raises KeyError when the rules miss a label; check_fits says so in words before."""
        heads = manifest.heads
        per_head = [rules.classes[head] for head in heads]
        samplings = [rule.sampling for rule in per_head]
        group_of = {label.id: label.group for label in manifest.labels.labels}
        with_head = {group_of[head] for head in heads}
        headless = {group_of[label] for label in set(manifest.labels.ids) - set(heads)}
        present = [g for g in manifest.labels.groups if g.id in with_head]
        position = {g.id: index for index, g in enumerate(present)}
        group = np.array([position[group_of[head]] for head in heads], dtype=np.intp)
        exclusive = np.array([g.kind == "exclusive" for g in present])
        absent_below = _floats([rule.absent_below for rule in per_head])
        return cls(
            heads=heads,
            floor=np.float32(rules.typicality_floor),
            automatic=np.array([rule.state == "automatic" for rule in per_head]),
            threshold=_floats([rule.threshold for rule in per_head]),
            sampling=_floats([each.threshold if each else None for each in samplings]),
            sampling_probability=_floats([each.probability if each else None for each in samplings]),
            veto=_floats([rule.veto for rule in per_head]),
            absent_below=np.where(exclusive[group], np.float32(np.nan), absent_below),
            group=group,
            exclusive=exclusive,
            each_decided=np.array([g.kind == "independent" and g.decided_by == "each_decided" for g in present]),
            complete=np.array([g.id not in headless for g in present]),
            required=np.array([g.required for g in present]),
            size=np.bincount(group, minlength=len(present)),
            headless_required=any(g.required and g.id not in position for g in manifest.labels.groups),
        )

    def without(self, suspended: frozenset[str]) -> DecisionTable:
        """The same with some classes neither automatic nor certified absent, or of `absent:LABEL` only the latter not. Vetoes
        ignore states: no other fires differently."""
        if not suspended:
            return self
        kept = np.array([head not in suspended for head in self.heads])
        absences = kept & np.array([ABSENT + head not in suspended for head in self.heads])
        return replace(
            self,
            automatic=self.automatic & kept,
            absent_below=np.where(absences, self.absent_below, np.float32(np.nan)),
        )

    @cached_property
    def answers_from(self) -> Floats:
        """`[C]`: the threshold of an automatic class, NaN of any other: nothing reaches NaN."""
        return np.where(self.automatic, self.threshold, np.float32(np.nan))

    @cached_property
    def would_answer_from(self) -> Floats:
        """`[C]`: the sampling threshold, else the threshold, whatever the state."""
        return np.where(np.isnan(self.sampling), self.threshold, self.sampling)

    @cached_property
    def waits_for_each(self) -> bool:
        return bool(self.each_decided.any())

    @cached_property
    def knows_absence(self) -> bool:
        return not bool(np.isnan(self.absent_below).all())


def _floats(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float32)


def _any(mask: Bools) -> Bools:
    """`[N]`: whether anything holds in each row."""
    found: Bools = np.logical_or.reduce(mask, axis=1)
    return found


@dataclass(frozen=True)
class Decisions:
    """What the rules say of N images."""

    fires: Bools
    """`[N, C]`"""
    absent: Bools
    """`[N, C]`: certified absent."""
    answerable: Bools
    """`[N]`"""
    atypical: Bools
    """`[N]`"""
    conflict: Bools
    """`[N]`: in an exclusive group an automatic class reached its threshold and another's veto stopped it."""
    undecided_label: Bools
    """`[N]`: a required each_decided group lacks a member's answer."""

    def reasons(self, row: int) -> tuple[Reason, ...]:
        """Why an image is not answered; empty when it is."""
        if self.answerable[row]:
            return ()
        found: list[Reason] = []
        if self.atypical[row]:
            found.append("atypical")
        if self.conflict[row]:
            found.append("conflict")
        if self.undecided_label[row]:
            found.append("undecided_label")
        if not self.fires[row].any():
            found.append("none_fired")
        return tuple(found) or ("undecided_label",)


def stopped(table: DecisionTable, probability: Floats, rows: Indices, columns: Indices) -> Bools:
    """`[M]`: at each (row, column), whether another member of the column's exclusive group stops it on that image."""
    groups = len(table.exclusive)
    free = probability < table.veto
    hits = np.flatnonzero(~free)  # the negation, so that NaN, which is below nothing, stops the others
    hit_rows, hit_columns = np.divmod(hits, free.shape[1])
    count = np.bincount(hit_rows * groups + table.group[hit_columns], minlength=len(free) * groups)
    group = table.group[columns]
    others = count[rows * groups + group] > ~free[rows, columns]  # itself, if it is a hit, does not count
    found: Bools = others & table.exclusive[group]
    return found


def would_fire(table: DecisionTable, probability: Floats, typicality: Floats) -> Bools:
    """`[N, C]`: where each class would fire if it were automatic; states are ignored, vetoes and floor are not."""
    rows, columns = np.nonzero(probability >= table.would_answer_from)
    fires: Bools = np.zeros(probability.shape, np.bool_)
    fires[rows, columns] = ~stopped(table, probability, rows, columns) & (typicality >= table.floor)[rows]
    return fires


def decide(table: DecisionTable, probability: Floats, typicality: Floats) -> Decisions:
    """probability `[N, C]` float32, typicality `[N]` float32 -> Decisions."""
    images, groups = len(probability), len(table.exclusive)
    typical = typicality >= table.floor
    rows, columns = np.nonzero(
        probability >= table.answers_from
    )  # those that reach their threshold, the only ones to fire
    halted = stopped(table, probability, rows, columns)
    firing = typical[rows] & ~halted
    fires: Bools = np.zeros(probability.shape, np.bool_)
    fires[rows, columns] = firing
    conflict: Bools = np.zeros(images, np.bool_)
    conflict[rows[halted]] = True
    decided: Bools = np.zeros((images, groups), np.bool_)
    decided[rows[firing], table.group[columns[firing]]] = True
    if table.knows_absence:
        absent = (probability < table.absent_below) & typical[:, None]
    else:
        absent = np.zeros(probability.shape, np.bool_)
    if table.waits_for_each:
        known_rows, known_columns = np.nonzero(fires | absent)
        known = np.bincount(known_rows * groups + table.group[known_columns], minlength=images * groups)
        all_known = (known.reshape(images, groups) == table.size) & table.complete
        decided = np.where(table.each_decided, all_known, decided)
    undecided = ~decided & table.required
    return Decisions(
        fires=fires,
        absent=absent,
        answerable=~_any(undecided) if not table.headless_required else np.zeros(images, np.bool_),
        atypical=~typical,
        conflict=conflict,
        undecided_label=_any(undecided & table.each_decided),
    )
