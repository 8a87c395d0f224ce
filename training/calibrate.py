"""Readable scores: two-parameter Platt scaling per head, fitted on tuning images.

p = sigmoid(slope * logit + offset), by maximum likelihood with Platt's smoothed targets (Platt 1999; Lin, Lin and Weng 2007).
It is monotone and so changes no ranking, only what a score of .9 means. The tuning images are the natural mix, so images of
labels without a head are among the negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.images import UNKNOWN

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Platt:
    """`slope` and `offset`, both `[C]` float32; the slope is positive."""

    slope: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]


def fit(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int8]) -> Platt:
    """logits `[N, C]`, truth `[N, C]` (1, 0, UNKNOWN) -> Platt. A head with one kind of answer only keeps its scores."""
    fitted = [_one(logits[:, k].astype(np.float64), truth[:, k]) for k in range(logits.shape[1])]
    slope, offset = np.array(fitted, np.float32).reshape(-1, 2).T
    return Platt(np.ascontiguousarray(slope), np.ascontiguousarray(offset))


def _one(logit: Doubles, truth: npt.NDArray[np.int8]) -> tuple[float, float]:
    known = truth != UNKNOWN
    logit, positive = logit[known], truth[known] == 1
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return 1.0, 0.0
    target = np.where(positive, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        score = np.exp(parameters[0]) * logit + parameters[1]  # the slope as an exponential cannot turn negative
        pull = expit(score) - target
        value = np.logaddexp(0, score) - target * score
        return float(value.mean()), np.array([(pull * logit).mean() * np.exp(parameters[0]), pull.mean()])

    best = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-4, 4), (-20, 20)]).x
    return float(np.exp(best[0])), float(best[1])
