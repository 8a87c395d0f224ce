"""Which test images to look at: the wrong answers, those on the edge, and what was taken for what. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from model_store.decision import Decisions, DecisionTable
from model_store.manifest import Manifest
from training.images import UNKNOWN
from training.score import Scores

SHOWN = 12
"""Images of each kind, at most."""
NEAR = 0.1
"""Farther from the threshold than this is not on the edge."""
MATRIX = 14
"""More labels than this make no matrix that anybody reads; the commonest mistakes are listed instead."""
PAIRS = 20
NONE = ""
"""In a confusion: the image shows no label of the group."""


@dataclass(frozen=True)
class Shown:
    """One image, and the label and score it is shown for."""

    row: int
    label: str
    probability: float
    threshold: float
    answered: bool
    wrong: bool


@dataclass(frozen=True)
class Confusion:
    """How often `answered` was said of an image whose true label in the group is `true` (NONE: it shows none)."""

    counts: dict[tuple[str, str], int]

    def wrong(self) -> list[tuple[str, str, int]]:
        """Mistakes, the commonest first."""
        found = [(answered, true, count) for (answered, true), count in self.counts.items() if answered != true]
        return sorted(found, key=lambda each: (-each[2], each[:2]))


def worst(table: DecisionTable, scores: Scores, decided: Decisions, limit: int = SHOWN) -> list[Shown]:
    """Wrong automatic answers, those given with the highest score first; each image once."""
    false = decided.fires & (scores.truth == 0) & decided.answerable[:, None]
    top = np.where(false, scores.probability, -1).argmax(axis=1)
    rows = np.flatnonzero(false.any(axis=1))
    rows = rows[np.argsort(-scores.probability[rows, top[rows]], kind="stable")][:limit]
    return [_shown(table, scores, decided, int(row), int(top[row])) for row in rows]


def borderline(table: DecisionTable, scores: Scores, decided: Decisions, limit: int = SHOWN) -> list[Shown]:
    """Half of them just reached the threshold of an automatic class, half just missed it; the nearest first."""
    margin = np.where(table.automatic, scores.probability - table.threshold, np.float32(np.nan))
    found = []
    reached = np.where(decided.fires & decided.answerable[:, None], margin, np.inf)
    missed = np.where((margin < 0) & ~(decided.answerable | decided.atypical)[:, None], -margin, np.inf)
    for distance in (reached, missed):
        nearest = distance.argmin(axis=1) if distance.size else np.zeros(0, np.intp)
        by_image = distance.min(axis=1, initial=np.inf)
        rows = np.argsort(by_image, kind="stable")[: limit // 2]
        found += [_shown(table, scores, decided, int(row), int(nearest[row])) for row in rows if by_image[row] <= NEAR]
    return found


def confusion(manifest: Manifest, scores: Scores, decided: Decisions) -> Confusion:
    """Over the labels that fired in images that were answered. An image that shows several labels of a group counts for the
    label that fired if that is one of them, else for each.
    """
    members = {label: frozenset(manifest.labels.members(manifest.labels[label].group)) for label in manifest.heads}
    counts: Counter[tuple[str, str]] = Counter()
    rows, columns = np.nonzero(decided.fires & decided.answerable[:, None] & (scores.truth != UNKNOWN))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        answered = manifest.heads[column]
        present = scores.images[row].present & members[answered]
        for true in [answered] if answered in present else sorted(present) or [NONE]:
            counts[answered, true] += 1
    return Confusion(dict(counts))


def _shown(table: DecisionTable, scores: Scores, decided: Decisions, row: int, column: int) -> Shown:
    return Shown(
        row=row,
        label=table.heads[column],
        probability=float(scores.probability[row, column]),
        threshold=float(table.threshold[column]),
        answered=bool(decided.answerable[row]),
        wrong=bool(scores.truth[row, column] == 0),
    )
