"""Fixed-sequence testing: candidates in an order that other images fixed, up to the first that fails. Pure.

The sequence spends its share of delta once, however long it is (Learn-then-Test: Angelopoulos, Bates, Candès, Jordan and Lei,
2021); each candidate's test is the exact binomial tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.binomial import allowed_errors
from training.points import Floats, Integers


@dataclass(frozen=True)
class Tested:
    """How one class's sequence of tests ended: at the last threshold that passed it fired so often, so often wrongly.

    `threshold` is None when no test passed; the counts are then those of the first test, which failed.
    """

    threshold: np.float32 | None
    firings: int
    errors: int


@dataclass(frozen=True)
class TestedAbsence:
    """Where one label's tests ended. `below` is None when the first failed; `missed` is then what that one missed."""

    below: np.float32 | None
    positives: int
    missed: int


def presence(thresholds: Floats, firings: Integers, errors: Integers, target: float, delta: float) -> Tested:
    """Tests one class's thresholds `[T]`, from the start towards lenient, up to the first that fails."""
    failed = np.flatnonzero(allowed_errors(firings, target, delta) < errors)
    passed = int(failed[0]) if len(failed) else len(thresholds)
    at = max(passed - 1, 0)
    if not len(thresholds):
        return Tested(None, 0, 0)
    return Tested(thresholds[at] if passed else None, int(firings[at]), int(errors[at]))


def absence(
    thresholds: Sequence[np.float32] | Floats,
    shown: Floats,
    positives: int,
    target: float,
    level: float,
    unlooked: Floats | None = None,
) -> TestedAbsence:
    """shown: scores of the typical images that show the label; positives: all images that show it, typical or not.

    unlooked: scores of the typical images that nobody has looked at for it. One that would be called absent counts as one
    that shows it and is missed.
    """
    passed: TestedAbsence | None = None
    for below in thresholds:
        doubtful = 0 if unlooked is None else int((unlooked < below).sum())
        missed, of = int((shown < below).sum()) + doubtful, positives + doubtful
        if allowed_errors(of, 1 - target, level) < missed:
            return passed or TestedAbsence(None, of, missed)
        passed = TestedAbsence(np.float32(below), of, missed)
    return passed or TestedAbsence(None, positives, 0)
