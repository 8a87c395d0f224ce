"""Certified absence: below which score a label may be called absent by the model alone. Pure.

In a group decided by `each_decided` every label has to be certainly present or certainly absent. What is bounded is the share
of images *that show the label* and are called absent, with the exact binomial over the certification images that show it.
(That most images called absent lack the label says little: of a label that one image in a hundred shows, a constant "absent"
is right 99 times.)

That share only grows with the threshold, so candidates are tested from the lowest up and the first that fails ends it: fixed
sequence testing again (sequence.py).
Candidates come from tuning images. Absence is attempted only where it can decide something: every
label of the group has a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable
from training.binomial import chance_to_pass
from training.recipe import Certification
from training.score import Scores

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tests:
    """Everything is along the C heads."""

    wanted: Bools
    """The head's group waits for each of its labels."""
    thresholds: tuple[Floats, ...]
    """From strict (low) to lenient."""
    positives: npt.NDArray[np.int64]
    """Tuning images that show the label."""
    missed: npt.NDArray[np.int64]
    """Of these, below the first threshold."""
    scale: float
    """Certification images for each tuning image."""
    target: float
    attempted: Bools
    delta: float
    shared_by: int

    @property
    def level(self) -> float:
        """Each attempted claim's share of delta."""
        return self.delta / self.shared_by

    def hopes(self, level: float) -> Doubles:
        """`[C]`: chance of the first threshold to pass at this level; 0 where absence is not wanted."""
        future = np.round(self.positives * self.scale).astype(np.int64)
        chance = chance_to_pass(self.positives, self.missed, future, 1 - self.target, level)
        return np.where(self.wanted & (np.array([len(each) for each in self.thresholds]) > 0), chance, 0.0)


def candidates(table: DecisionTable, tune: Scores, images: int, knobs: Certification) -> Tests:
    """The tests, before any is attempted. images: how many will certify."""
    heads = len(table.heads)
    wanted = (table.each_decided & table.complete)[table.group]
    typical = tune.typicality >= table.floor
    thresholds: list[Floats] = []
    positives, missed = np.zeros(heads, np.int64), np.zeros(heads, np.int64)
    for k in range(heads):
        found = np.zeros(0, np.float32)
        if wanted[k]:
            present = tune.truth[:, k] == 1
            positives[k] = present.sum()
            # Scores of what would be missed next: at each, one more positive is below. Never where it could be present.
            edge = np.unique(tune.probability[present & typical, k])
            edge = edge[edge <= np.float32(knobs.min_threshold)]
            share = np.searchsorted(np.sort(tune.probability[present & typical, k]), edge) / max(int(positives[k]), 1)
            edge = edge[share <= 2 * knobs.absence_target]
            if (
                not len(edge) and positives[k]
            ):  # every positive is above min_threshold, and so is whatever would be missed
                edge = np.array([knobs.min_threshold], np.float32)
            found = (
                edge[np.unique(np.linspace(0, len(edge) - 1, knobs.candidates).round().astype(np.intp))]
                if len(edge)
                else edge
            )
            if len(found):
                missed[k] = int((tune.probability[present & typical, k] < found[0]).sum())
        thresholds.append(found)
    return Tests(
        wanted, tuple(thresholds), positives, missed, images / max(len(tune), 1), knobs.absence_target,
        np.zeros(heads, np.bool_), knobs.delta, 1,
    )  # fmt: skip
