"""What could be answered by who knows the population: the most found, not proven to be the most there is.

For every class the most lenient threshold that is precise enough on the population itself, under vetoes of the recipe's grid.
Vetoes are searched by coordinates: one class after the other takes the level under which most is answered in all, until no
class has a better one; from the mildest vetoes and from several random ones. The best end counts, and how many starts came
within a thousandth of it is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable, decide
from training.points import Bools, Floats, Points, above
from training.recipe import Certification
from training.score import Scores

STARTS = 10


@dataclass(frozen=True)
class Best:
    """Share of the population answered, by a table, and how many of STARTS ended within a thousandth of it."""

    share: float
    table: DecisionTable
    agree: int


def best(table: DecisionTable, population: Scores, knobs: Certification, rng: np.random.Generator) -> Best:
    """table: rules under which nothing answers, with the gate's floor."""
    search = _Search(table, population, knobs)
    ends = [search.climb(rng, search.mildest)]
    ends += [search.climb(rng, rng.integers(0, len(search.levels), len(table.heads))) for _ in range(STARTS - 1)]
    answered, choice = max(ends, key=lambda end: end[0])
    found = search.table_of(choice)
    served = int(decide(found, population.probability, population.typicality).fires.sum())
    if served != answered:
        raise AssertionError(f"the search counts {answered} answers and the decision {served}")
    agree = sum(answered - end[0] <= 0.001 * answered for end in ends)
    return Best(answered / len(population), found, agree)


class _Search:
    """The places where anything could fire, and from which of the levels on each class stops each of them."""

    def __init__(self, table: DecisionTable, population: Scores, knobs: Certification) -> None:
        self.table, self.knobs = table, knobs
        self.levels: Floats = -np.sort(-np.array(knobs.vetoes, np.float32))  # mildest first
        self.mildest = np.zeros(len(table.heads), np.int64)
        lowest = np.full(len(table.heads), knobs.min_threshold, np.float32)
        self.points: Points = above(table, population, lowest)
        columns = np.arange(len(table.heads))[:, None]
        same = table.group[columns] == table.group[self.points.column]
        others = same & (columns != self.points.column) & table.exclusive[table.group][columns]
        score = population.probability[self.points.row].T
        reached = np.searchsorted(-self.levels, -score, side="left")
        self.from_level = np.where(others, reached, len(self.levels)).astype(np.int8)
        """`[C, M]`: class j stops place m at this level and at every stricter one."""

    def climb(self, rng: np.random.Generator, choice: npt.NDArray[np.int64]) -> tuple[int, npt.NDArray[np.int64]]:
        """From levels `[C]` to levels that no single class can better, and what is answered there."""
        choice = choice.copy()
        stops = (self.from_level <= choice[:, None]).sum(axis=0)
        most, better = self._answered(stops == 0, choice), True
        while better:
            better = False
            for j in rng.permutation(len(choice)).tolist():
                rest = stops - (self.from_level[j] <= choice[j])
                for level in range(len(self.levels)):
                    trial = choice.copy()
                    trial[j] = level
                    found = self._answered(rest + (self.from_level[j] <= level) == 0, trial)
                    if found > most:
                        most, choice, better = found, trial, True
                stops = rest + (self.from_level[j] <= choice[j])
        return most, choice

    def table_of(self, choice: npt.NDArray[np.int64]) -> DecisionTable:
        """The rules that answer as the search counted."""
        free = (self.from_level <= choice[:, None]).sum(axis=0) == 0
        threshold = np.full(len(choice), np.nan, np.float32)
        for k in range(len(choice)):
            count, lowest = self._precise(k, free, choice)
            if count:
                threshold[k] = lowest
        return replace(self.table, automatic=~np.isnan(threshold), threshold=threshold, veto=self.levels[choice])

    def _answered(self, free: Bools, choice: npt.NDArray[np.int64]) -> int:
        return sum(self._precise(k, free, choice)[0] for k in range(len(choice)))

    def _precise(self, k: int, free: Bools, choice: npt.NDArray[np.int64]) -> tuple[int, float]:
        """How often class k may answer at most and still be precise enough, and from which score on."""
        here = slice(self.points.start[k], self.points.start[k + 1])
        kept = free[here] & (self.points.score[here] >= self.levels[choice[k]])  # never below its own veto
        score = self.points.score[here][kept]
        wrong = np.cumsum(self.points.wrong[here][kept])
        good = wrong <= (1 - self.knobs.target) * np.arange(1, len(score) + 1) + 1e-9
        good[:-1] &= score[1:] != score[:-1]  # equal scores fire together
        found = np.flatnonzero(good)
        return (int(found[-1]) + 1, float(score[found[-1]])) if len(found) else (0, np.nan)
