"""What the tuning images decide, before a certification image is looked at. Pure.

Per class: the veto it has over the others of its exclusive group, the sequence of candidate thresholds from strict to
lenient, where in it the one test starts, and whether to attempt it at all. Nothing here claims anything: a bad choice costs
coverage, never the promise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_store import decision
from model_store.decision import DecisionTable
from training.binomial import chance_to_pass
from training.images import UNKNOWN
from training.recipe import Certification
from training.score import Scores

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """One class on the tuning images, by candidate threshold from strict to lenient; arrays `[T]`."""

    threshold: Floats
    firings: Integers
    errors: Integers
    chance: npt.NDArray[np.float64]
    """To pass the certification test, when as many images certify as will."""

    @property
    def start(self) -> int:
        """The threshold with the best chance; among equals the most lenient, which has the fewest tests behind it."""
        return int(np.flatnonzero(self.chance == self.chance.max())[-1]) if len(self.chance) else 0

    @property
    def best(self) -> float:
        return float(self.chance.max(initial=0.0))


@dataclass(frozen=True)
class Plan:
    """The test that certification will make; everything is along the C heads."""

    veto: Floats
    attempted: npt.NDArray[np.bool_]
    candidates: tuple[Candidates, ...]
    delta: float
    """Each attempted class's share of the recipe's delta."""


def plan(table: DecisionTable, tune: Scores, images: int, knobs: Certification) -> Plan:
    """table: any rules laid out along the heads; its vetoes are replaced. images: how many will certify."""
    heads = len(table.heads)
    table = replace(table, veto=np.where(table.exclusive[table.group], max(knobs.vetoes), np.inf).astype(np.float32))
    attempted = np.ones(heads, bool)
    while True:
        table = _choose_vetoes(table, tune, images, knobs, int(attempted.sum()))
        found = _candidates(table, tune, images, knobs, int(attempted.sum()))
        hopeless = attempted & np.array([one.best < knobs.min_chance for one in found])
        if not hopeless.any() or attempted.sum() == 1:
            break
        # The least hopeful goes first: without it the others share delta among fewer, and one of them may then do.
        attempted[min(np.flatnonzero(hopeless), key=lambda k: found[k].best)] = False
    attempted &= ~hopeless
    return Plan(table.veto, attempted, found, knobs.delta / max(int(attempted.sum()), 1))


def _choose_vetoes(
    table: DecisionTable, tune: Scores, images: int, knobs: Certification, shared_by: int
) -> DecisionTable:
    """Class by class, twice round: the veto under which most certified firings are to be expected over all classes."""

    def expected(trial: DecisionTable) -> float:
        return sum(
            float((one.chance * one.firings).max(initial=0.0))
            for one in _candidates(trial, tune, images, knobs, shared_by)
        )

    best = expected(table)
    for _ in range(2):
        for k in np.flatnonzero(table.exclusive[table.group]):
            for veto in sorted(knobs.vetoes, reverse=True):  # the mildest that is as good as any
                trial = replace(table, veto=np.where(np.arange(len(table.veto)) == k, np.float32(veto), table.veto))
                gain = expected(trial)
                if gain > best:
                    table, best = trial, gain
    return table


def _candidates(
    table: DecisionTable, tune: Scores, images: int, knobs: Certification, shared_by: int
) -> tuple[Candidates, ...]:
    eligible = decision.eligible(table, tune.probability, tune.typicality)
    scale = images / max(len(tune), 1)
    return tuple(
        sweep(
            tune.probability[:, k],
            eligible[:, k],
            tune.truth[:, k],
            # At or above its own veto a firing class silences its group, so that no two members ever answer at once.
            max(knobs.min_threshold, float(table.veto[k]) if table.exclusive[table.group[k]] else 0.0),
            scale,
            knobs,
            knobs.delta / max(shared_by, 1),
        )
        for k in range(len(table.heads))
    )


def sweep(
    probability: Floats,
    eligible: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.int8],
    lowest: float,
    scale: float,
    knobs: Certification,
    delta: float,
) -> Candidates:
    """One class: thresholds taken evenly from the scores of the images on which it could fire; inputs `[N]`."""
    counted = eligible & (truth != UNKNOWN) & (probability >= np.float32(lowest))
    order = np.argsort(-probability[counted], kind="stable")
    scores, wrong = probability[counted][order], truth[counted][order] == 0
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.intp)
    rows = (
        last[np.unique(np.linspace(0, len(last) - 1, min(knobs.candidates, len(last))).round().astype(np.intp))]
        if len(last)
        else last
    )
    firings = (rows + 1).astype(np.int64)
    errors = np.cumsum(wrong)[rows].astype(np.int64)
    future = np.round(firings * scale).astype(np.int64)
    return Candidates(
        scores[rows].astype(np.float32), firings, errors, chance_to_pass(firings, errors, future, knobs.target, delta)
    )
