"""Whether a score means what it says, in the region where classes fire. Pure.

Answers are sorted by score and cut into bins of about equal counts, so that each bin has something to say; DeGroot and
Fienberg, 1983. Calibration elsewhere decides nothing here and flatters: most scores are near 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.binomial import lower_bound, upper_bound

BINS = 8
FEWEST = 25
"""Answers in a bin, at least."""
_RISK = 0.05
"""Of each side of a bin's interval."""


@dataclass(frozen=True)
class Bin:
    """Answers with scores from `low` to `high`."""

    low: float
    high: float
    answers: int
    predicted: float
    """Mean score."""
    right: float
    """Share that is right."""
    lower: float
    """Exact bounds on that share, each at 95%."""
    upper: float


def bins(score: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Both `[N]`, one entry per answer. Empty where nothing was answered."""
    if not len(score):
        return ()
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, len(order) // FEWEST)))
    return tuple(_bin(score[part], right[part]) for part in parts)


def _bin(score: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> Bin:
    wrong = int((~right).sum())
    return Bin(
        low=float(score[0]),
        high=float(score[-1]),
        answers=len(score),
        predicted=float(np.clip(score.astype(np.float64).mean(), score[0], score[-1])),
        right=1 - wrong / len(score),
        lower=lower_bound(len(score), wrong, _RISK),
        upper=upper_bound(len(score), wrong, _RISK),
    )


def gap(found: tuple[Bin, ...]) -> float | None:
    """Expected calibration error over the bins: how far, on average, scores are from the share that is right."""
    total = sum(each.answers for each in found)
    return sum(each.answers * abs(each.predicted - each.right) for each in found) / total if total else None
