"""How the error grows with the share answered: for scores as they are, and for an oracle's. Pure.

Images are ranked by how certain the model is of its whole answer, and the surest are answered (risk-coverage: El-Yaniv and
Wiener, 2010). The oracle has the same answers and ranks every right one before every wrong one: no ranking does better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.manifest import Manifest
from training.images import UNKNOWN
from training.score import Scores

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
POINTS = 150


@dataclass(frozen=True)
class Answered:
    """The model's best answer for each of N images, whatever the rules say."""

    confidence: Doubles
    """`[N]`, higher is surer; images below the typicality floor come after all others."""
    right: Bools
    """`[N]`"""


@dataclass(frozen=True)
class Curve:
    """Share of images answered, rising, and the share of wrong ones among these; `[T]` each."""

    coverage: Doubles
    error: Doubles


def best_answers(manifest: Manifest, scores: Scores, floor: float) -> Answered:
    """Each image's answer in every required group that has a head: of an exclusive or `any_present` group the highest score,
    of an `each_decided` group every member present or absent, whichever is likelier. The answer is as sure as its least sure
    part. Images of which a needed label is unknown are left out.
    """
    count = len(scores)
    confidence, right, known = np.full(count, np.inf), np.ones(count, bool), np.ones(count, bool)
    probability = scores.probability.astype(np.float64)
    rows = np.arange(count)
    for group in manifest.labels.groups:
        columns = [
            manifest.heads.index(label) for label in manifest.labels.members(group.id) if label in manifest.heads
        ]
        if not group.required or not columns:
            continue
        score, truth = probability[:, columns], scores.truth[:, columns]
        if group.kind == "independent" and group.decided_by == "each_decided":
            sure = np.maximum(score, 1 - score).min(axis=1)
            seen = (truth != UNKNOWN).all(axis=1)
            good = ((score >= 0.5) == (truth == 1)).all(axis=1)
        else:
            top = score.argmax(axis=1)
            sure, seen, good = score[rows, top], truth[rows, top] != UNKNOWN, truth[rows, top] == 1
        confidence, right, known = np.minimum(confidence, sure), right & good, known & seen
    confidence = np.where(scores.typicality >= np.float32(floor), confidence, confidence - 1)
    return Answered(confidence[known], right[known])


def ours(answered: Answered) -> Curve:
    """By falling confidence; images that are equally sure are answered together."""
    order = np.argsort(-answered.confidence, kind="stable")
    sorted_by = answered.confidence[order]
    last = np.flatnonzero(np.append(sorted_by[1:] != sorted_by[:-1], True)) if len(order) else np.zeros(0, np.intp)
    wrong = np.cumsum(~answered.right[order])
    return _thin(Curve((last + 1) / max(len(order), 1), wrong[last] / (last + 1)))


def oracle(answered: Answered) -> Curve:
    """The same answers, every right one before every wrong one."""
    count = len(answered.right)
    ranks = np.arange(1, count + 1)
    wrong = np.maximum(ranks - int(answered.right.sum()), 0)
    return _thin(Curve(ranks / max(count, 1), wrong / ranks))


def coverage_at(curve: Curve, error: float) -> float:
    """The largest share that could be answered with no more than this error, known only with hindsight."""
    return float(curve.coverage[curve.error <= error].max(initial=0.0))


def _thin(curve: Curve) -> Curve:
    if len(curve.coverage) <= POINTS:
        return curve
    rows = np.unique(np.linspace(0, len(curve.coverage) - 1, POINTS).round().astype(np.intp))
    return Curve(curve.coverage[rows], curve.error[rows])
