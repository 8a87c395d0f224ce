"""The few possible firings of classes: (image, head) pairs whose score is high enough, out of all N x C. Pure.

A hundred thousand images of a thousand classes hold a hundred million scores and a few hundred thousand such firings.
Whether another class stops one of them is asked of `model_store.decision`, some images at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable, stopped
from training.images import UNKNOWN
from training.score import Scores

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Integers = npt.NDArray[np.int64]
_AT_ONCE = 4_000_000
"""Scores looked at together: what fits into a processor's cache is fastest, and no copy of all scores is made."""


@dataclass(frozen=True)
class Points:
    """M firings, by head, within a head by falling score; all but `start` are `[M]`."""

    row: Indices
    column: Indices
    score: Floats
    wrong: Bools
    start: Indices
    """`[C + 1]`: head k's firings are `start[k]:start[k + 1]`."""

    def only(self, kept: Bools) -> Points:
        """Some of the firings, `kept` `[M]`, in the same order."""
        before = np.concatenate([[0], np.cumsum(kept)])
        return Points(self.row[kept], self.column[kept], self.score[kept], self.wrong[kept], before[self.start])

    def counts(self, k: int, thresholds: Floats) -> tuple[Integers, Integers]:
        """How many of head k's firings reach each of `[T]` thresholds, and how many of those are wrong."""
        here = slice(self.start[k], self.start[k + 1])
        firings = np.searchsorted(-self.score[here], -thresholds, side="right")
        errors = np.concatenate([[0], np.cumsum(self.wrong[here])])[firings]
        return firings.astype(np.int64), errors.astype(np.int64)


def above(table: DecisionTable, scores: Scores, lowest: Floats) -> Points:
    """Where an image is typical and a score reaches `lowest` `[C]`. What nobody has looked at is wrong: left out, it would
    take the hard images with it."""
    typical = scores.typicality >= table.floor
    rows, columns = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for part in chunks(scores):
        row, column = np.nonzero(scores.probability[part] >= lowest)
        row += part.start
        kept = typical[row]
        rows.append(row[kept])
        columns.append(column[kept])
    row, column = np.concatenate(rows), np.concatenate(columns)
    score = scores.probability[row, column]
    order = np.lexsort((-score, column))
    row, column = row[order], column[order]
    start = np.searchsorted(column, np.arange(len(table.heads) + 1))
    return Points(row, column, score[order], scores.truth[row, column] != 1, start)


def free(table: DecisionTable, scores: Scores, points: Points) -> Bools:
    """`[M]`: where no other member of the head's exclusive group stops it, by the decision that serves."""
    found = np.zeros(len(points.row), np.bool_)
    by_row = np.argsort(points.row, kind="stable")
    rows = points.row[by_row]
    for part in chunks(scores):
        low, high = np.searchsorted(rows, [part.start, part.stop])
        at = by_row[low:high]
        found[at] = ~stopped(table, scores.probability[part], points.row[at] - part.start, points.column[at])
    return found


def unlooked(table: DecisionTable, scores: Scores, k: int, threshold: np.float32) -> int:
    """On how many images that nobody has looked at for it head k would fire from a threshold on."""
    rows = np.flatnonzero(
        (scores.truth[:, k] == UNKNOWN) & (scores.probability[:, k] >= threshold) & (scores.typicality >= table.floor)
    )
    return int((~stopped(table, scores.probability[rows], np.arange(len(rows)), np.full(len(rows), k))).sum())


def chunks(scores: Scores) -> Iterator[slice]:
    """Slices of images that hold some million scores each."""
    images, heads = scores.probability.shape
    step = max(1, _AT_ONCE // max(heads, 1))
    for start in range(0, images, step):
        yield slice(start, min(start + step, images))
