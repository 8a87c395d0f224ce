"""Which veto each class gets over the others of its exclusive group: a search on tuning images. Pure.

A veto that is easily reached keeps the others from answering where this class is likely too: it takes wrong answers away and
right ones with them. What a firing (an image on which a class could answer) is worth to the sum of expected certified firings
is, to first order, the derivative of its class's own sum at its present best threshold (the envelope theorem spares the
search over thresholds). With those worths the best veto of a class, all else fixed, is a cumulative sum over the firings that
it would stop. Classes take turns; then thresholds and worths are worked out anew.

Where a class has no chance yet its derivative is nothing, although a veto might give it one: so each round is also tried with a
price on the wrong answers of such classes. The best trial is kept, as long as the sum grows.

Every number that anything is later decided by comes from `model_store.decision`, not from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable
from training.points import Bools, Floats, Indices, Points

Doubles = npt.NDArray[np.float64]
_ROUNDS = 6


@dataclass(frozen=True)
class Worth:
    """What the present thresholds expect to certify, and what firings are worth to that; all but `total` along the heads."""

    total: float
    """Expected certified firings over all classes."""
    threshold: Floats
    right: Doubles
    """Of one more right answer."""
    wrong: Doubles
    """Of one more wrong answer; mostly negative."""


@dataclass(frozen=True)
class _Stops:
    """Which firing is stopped by which class, from which score on: P pairs, by class, within it by falling score."""

    point: Indices
    score: Floats
    start: Indices
    """`[C + 1]`"""


def choose(
    table: DecisionTable,
    points: Points,
    hits: Points,
    vetoes: Floats,
    lowest: Floats,
    appraise: Callable[[DecisionTable], tuple[Worth, ...]],
) -> DecisionTable:
    """The table with its vetoes replaced.

    points: possible firings. hits: veto hits, scores that reach the smallest of `vetoes`. lowest `[C]`: no class answers below.
    appraise: what a table expects, and one or more views of what firings are worth to it.
    """
    table = replace(table, veto=np.where(table.exclusive[table.group], vetoes.max(), np.inf).astype(np.float32))
    if len(vetoes) == 1 or not (table.exclusive & (table.size > 1)).any():
        return table
    stops = _stops(table, points, hits)
    best, worths = table, appraise(table)
    for _ in range(_ROUNDS):
        tables = {
            trial.veto.tobytes(): trial for trial in (_round(best, points, stops, vetoes, lowest, w) for w in worths)
        }
        tables.pop(best.veto.tobytes(), None)
        trials = [(trial, appraise(trial)) for trial in tables.values()]
        trial, found = max(trials, key=lambda each: each[1][0].total, default=(best, worths))
        if found[0].total <= worths[0].total:
            break
        best, worths = trial, found
    return best


def _stops(table: DecisionTable, points: Points, hits: Points) -> _Stops:
    """Every pair of a veto hit and a firing of another class of the same exclusive group on the same image."""
    by_row = np.argsort(points.row, kind="stable")
    low, high = (np.searchsorted(points.row[by_row], hits.row, side) for side in ("left", "right"))
    each = high - low
    hit = np.repeat(np.arange(len(hits.row)), each)
    within = np.arange(len(hit)) - np.repeat(np.cumsum(each) - each, each)
    point = by_row[low[hit] + within]
    one, other = hits.column[hit], points.column[point]
    kept = (one != other) & (table.group[one] == table.group[other]) & table.exclusive[table.group[one]]
    hit, point = hit[kept], point[kept]
    start = np.searchsorted(hits.column[hit], np.arange(len(table.heads) + 1))
    return _Stops(point, hits.score[hit], start)


def _round(
    table: DecisionTable, points: Points, stops: _Stops, vetoes: Floats, lowest: Floats, worth: Worth
) -> DecisionTable:
    """Each class in turn takes the veto that is worth most while the others' stay."""
    veto = table.veto.copy()
    levels = -np.sort(-vetoes)  # mildest first: among equals the first is taken
    value = np.where(points.wrong, worth.wrong[points.column], worth.right[points.column])
    value[points.score < worth.threshold[points.column]] = 0
    owner = np.repeat(np.arange(len(veto)), np.diff(stops.start))
    blocked = np.bincount(stops.point[stops.score >= veto[owner]], minlength=len(points.row))
    for j in np.flatnonzero(table.exclusive[table.group] & (table.size > 1)[table.group]).tolist():
        here = slice(stops.start[j], stops.start[j + 1])
        point, score = stops.point[here], stops.score[here]
        mine = score >= veto[j]
        lost = np.concatenate([[0.0], np.cumsum(np.where(blocked[point] == mine, value[point], 0.0))])
        cost: Doubles = lost[np.searchsorted(-score, -levels, side="right")]
        cost = cost + _own_loss(points, value, blocked, j, levels, lowest[j])
        chosen = levels[np.argmin(cost)]
        blocked[point] += (score >= chosen).astype(np.intp) - mine
        veto[j] = chosen
    return replace(table, veto=veto)


def _own_loss(points: Points, value: Doubles, blocked: Indices, j: int, levels: Floats, lowest: np.float32) -> Doubles:
    """A class never answers below its own veto, so that no two answer at once: what that costs it at each level."""
    if levels[0] <= lowest:
        return np.zeros(len(levels))
    here = slice(points.start[j], points.start[j + 1])
    kept: Bools = blocked[here] == 0
    worth = np.concatenate([[0.0], np.cumsum(np.where(kept, value[here], 0.0))])
    cost: Doubles = worth[-1] - worth[np.searchsorted(-points.score[here], -np.maximum(levels, lowest), side="right")]
    return cost
