"""Monitors that were not chosen, beside the one that was: the same false alarms, the time to detect.

Each is a rule by which the same four stakes go on; its threshold is the 1 - alpha quantile of the simulated maximum over the
horizon, except where a theorem gives one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triage.promise.bets import FLOOR, Promise, bets

PROMISE = Promise(0.05, 0.05, 5_000)
FRESH = (0.08, 0.10, 0.15, 0.25)
LATE = (0.10, 0.15, 0.25)
LONG = 3_000
"""Good audits before a change. A detector is in its steady state by then; the e-process sinks with each more."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    carry: Callable[[Doubles, Doubles], Doubles]
    """What a stake has grown to, and its share of the stakes -> what is at risk in the next audit."""
    head_start: bool
    height: float | None = None
    """Its threshold, where a theorem gives one."""


HORIZON = PROMISE.horizon
DESIGNS = {
    "e-process, Ville": Design(lambda s, w: s, True, 1 / PROMISE.alpha),
    "Shiryaev-Roberts, Doob": Design(lambda s, w: s + w, False, HORIZON / PROMISE.alpha),
    "Shiryaev-Roberts, simulated": Design(lambda s, w: s + w, False),
    "CUSUM without head start, simulated": Design(np.maximum, False),
    "Shiryaev-Roberts with head start, simulated": Design(lambda s, w: s + w / HORIZON, True),
    "chosen: CUSUM with head start": Design(lambda s, w: np.maximum(s, w * FLOOR / HORIZON), True),
}


def compare(runs: int) -> dict[str, dict[str, object]]:
    return {name: _measure(design, runs) for name, design in DESIGNS.items()}


def _measure(design: Design, runs: int) -> dict[str, object]:
    height = design.height or float(np.quantile(_maxima(design, 2 * runs), 1 - PROMISE.alpha))
    return {
        "threshold": round(height, 1),
        "fresh_start": {error: _median(design, height, runs, error, 0) for error in FRESH},
        f"after_{LONG}_audits_at_0.02": {error: _median(design, height, runs, error, LONG) for error in LATE},
    }


def _start(design: Design, runs: int) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    first, _, right, wrong = bets(PROMISE).columns()
    return np.repeat(first, runs, 1) * (1.0 if design.head_start else 0.0), first, right, wrong


def _maxima(design: Design, runs: int) -> Doubles:
    rng = np.random.default_rng(12)
    stakes, weights, right, wrong = _start(design, runs)
    most = np.zeros(runs)
    for _ in range(PROMISE.horizon):
        stakes = design.carry(stakes, weights) * np.where(rng.random(runs) < PROMISE.error, wrong, right)
        most = np.maximum(most, stakes.sum(0))
    return most


def _median(design: Design, height: float, runs: int, bad: float, good_audits: int) -> float:
    """Median audits from the change to the alarm; -1 where most runs need over 5,000."""
    rng = np.random.default_rng(13)
    stakes, weights, right, wrong = _start(design, runs)
    for _ in range(good_audits):
        stakes = design.carry(stakes, weights) * np.where(rng.random(runs) < 0.02, wrong, right)
    open_runs = np.ones(runs, np.bool_)
    for t in range(1, 5_001):
        stakes = design.carry(stakes, weights) * np.where(rng.random(runs) < bad, wrong, right)
        open_runs &= stakes.sum(0) < height
        if 2 * open_runs.sum() <= runs:
            return float(t)
    return -1.0
