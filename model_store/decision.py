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
comparisons are float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.manifest import Manifest
from model_store.rules import Rules

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Reason = Literal["none_fired", "undecided_label", "atypical", "conflict"]


@dataclass(frozen=True)
class DecisionTable:
    """Rules laid out along the graph's C heads and the schema's G groups."""

    heads: tuple[str, ...]
    floor: np.float32
    automatic: Bools
    threshold: Floats
    veto: Floats
    absent_below: Floats
    order: npt.NDArray[np.intp]
    """`[C]`: head columns sorted by group."""
    starts: npt.NDArray[np.intp]
    """First position in `order` of each group that has a head."""
    group: npt.NDArray[np.intp]
    """`[C]`: for each head, which of those groups."""
    exclusive: Bools
    """`[g]` for each group with a head, as are the next two."""
    each_decided: Bools
    complete: Bools
    """Every label of the group has a head."""
    required: Bools
    headless_required: bool
    """A required group has no head at all: nothing can be answered."""

    @classmethod
    def build(cls, rules: Rules, manifest: Manifest) -> DecisionTable:
        """Raises KeyError when the rules miss a label; check_fits says so in words before."""
        heads = manifest.heads
        per_head = [rules.classes[head] for head in heads]
        present = [g for g in manifest.labels.groups if set(manifest.labels.members(g.id)) & set(heads)]
        position = {g.id: index for index, g in enumerate(present)}
        group = np.array([position[manifest.labels[head].group] for head in heads], dtype=np.intp)
        order = np.argsort(group, kind="stable")
        return cls(
            heads=heads,
            floor=np.float32(rules.typicality_floor),
            automatic=np.array([rule.state == "automatic" for rule in per_head]),
            threshold=np.array([np.inf if rule.threshold is None else rule.threshold for rule in per_head], np.float32),
            veto=np.array([rule.veto for rule in per_head], np.float32),
            absent_below=np.array(
                [-1.0 if rule.absent_below is None else rule.absent_below for rule in per_head], np.float32
            ),
            order=order,
            starts=np.searchsorted(group[order], np.arange(len(present))).astype(np.intp),
            group=group,
            exclusive=np.array([g.kind == "exclusive" for g in present]),
            each_decided=np.array([g.kind == "independent" and g.decided_by == "each_decided" for g in present]),
            complete=np.array([set(manifest.labels.members(g.id)) <= set(heads) for g in present]),
            required=np.array([g.required for g in present]),
            headless_required=any(g.required and g.id not in position for g in manifest.labels.groups),
        )

    def without(self, suspended: frozenset[str]) -> DecisionTable:
        """The same with some classes not automatic. Vetoes ignore states: no other fires differently."""
        if not suspended:
            return self
        kept = np.array([head not in suspended for head in self.heads])
        return replace(self, automatic=self.automatic & kept)


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


def _any_by_group(table: DecisionTable, mask: Bools) -> npt.NDArray[np.intp]:
    """Counts of true columns per group, `[N, g]`."""
    return np.add.reduceat(mask[:, table.order], table.starts, axis=1, dtype=np.intp)


def vetoed(table: DecisionTable, probability: Floats) -> Bools:
    """`[N, C]`: another member of the class's exclusive group stops it."""
    hits = ~(probability < table.veto)  # so that NaN, which is below nothing, stops the others
    others = _any_by_group(table, hits)[:, table.group] - hits
    return (others > 0) & table.exclusive[table.group]


def eligible(table: DecisionTable, probability: Floats, typicality: Floats) -> Bools:
    """`[N, C]`: where a class would fire at threshold 0 if it were automatic; `certify` sweeps over this."""
    return ~vetoed(table, probability) & (typicality >= table.floor)[:, None]


def decide(table: DecisionTable, probability: Floats, typicality: Floats) -> Decisions:
    """probability `[N, C]` float32, typicality `[N]` float32 -> Decisions."""
    typical = typicality >= table.floor
    reaches = (probability >= table.threshold) & table.automatic
    stopped = vetoed(table, probability)
    fires = reaches & ~stopped & typical[:, None]
    absent = (probability < table.absent_below) & ~table.exclusive[table.group] & typical[:, None]
    any_fires = _any_by_group(table, fires) > 0
    all_known = (_any_by_group(table, ~(fires | absent)) == 0) & table.complete
    decided = np.where(table.each_decided, all_known, any_fires)
    undecided = ~decided & table.required
    return Decisions(
        fires=fires,
        absent=absent,
        answerable=~np.any(undecided, axis=1) & np.bool_(not table.headless_required),
        atypical=~typical,
        conflict=np.any(reaches & stopped, axis=1),
        undecided_label=np.any(undecided & table.each_decided, axis=1),
    )
