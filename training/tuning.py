"""What the tuning images decide, before a certification image is looked at. Pure.

Per class: the veto it has over the others of its exclusive group, the sequence of candidate thresholds from strict to
lenient, where in it the one test starts, and whether to attempt it at all. Nothing here claims anything: a bad choice costs
coverage, never the promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable
from training import absence, vetoes
from training.binomial import chance_to_pass
from training.points import Bools, Floats, Integers, Points, above, free
from training.recipe import Certification
from training.score import Scores
from training.vetoes import Doubles, Worth

_PRICES = (3.0, 20.0)
"""In right answers, what a wrong answer of a class without a chance may cost while vetoes are searched."""
_HARDLY = 0.5
"""The chance below which a class is looked at in that way."""


@dataclass(frozen=True)
class Candidates:
    """One class on the tuning images, by candidate threshold from strict to lenient; arrays `[T]`."""

    threshold: Floats
    firings: Integers
    errors: Integers
    chance: Doubles
    """To pass the certification test, when as many images certify as will."""

    @property
    def start(self) -> int:
        """The threshold with the most expected certified answers; of several the most lenient.

        Strict ones pass more surely and lenient ones answer more. Chance times answers weighs both without a constant to
        choose, and the vetoes were chosen by it too.
        """
        if not len(self.chance):
            return 0
        expected = self.chance * self.firings
        return int(np.flatnonzero(expected == expected.max())[-1])

    @property
    def best(self) -> float:
        return float(self.chance.max(initial=0.0))


@dataclass(frozen=True)
class Tests:
    """The tests that certification will make; everything is along the C heads."""

    veto: Floats
    attempted: Bools
    candidates: tuple[Candidates, ...]
    target: Doubles
    shared_by: int
    """Claims, of presence and of absence, among which `delta` is shared."""
    delta: float
    """The recipe's delta, or the part of it that claims of presence have."""
    absence: absence.Tests

    @property
    def level(self) -> float:
        """Each attempted class's share of delta."""
        return self.delta / self.shared_by


def plan(table: DecisionTable, tune: Scores, images: int, knobs: Certification) -> Tests:
    """table: any rules laid out along the heads; its vetoes are replaced. images: how many will certify."""
    lowest = np.full(len(table.heads), knobs.min_threshold, np.float32)
    grid = np.array(knobs.vetoes, np.float32)
    points = above(table, tune, lowest)
    hits = above(table, tune, np.where(table.exclusive[table.group], grid.min(), np.inf).astype(np.float32))
    target = np.array([knobs.target_of(head) for head in table.heads])
    scale = images / max(len(tune), 1)
    absences = absence.candidates(table, tune, images, knobs)

    def swept(trial: DecisionTable) -> _Sweep:
        kept = points.only(free(trial, tune, points))
        return sweep(kept, _lowest(trial, lowest), knobs.candidates)

    def settled(attempted: Bools, level: float) -> Tests:
        """The plan, were the vetoes chosen for these classes at this level."""
        chosen = vetoes.choose(
            table, points, hits, grid, lowest,
            lambda trial: _appraise(swept(trial), attempted, scale, target, level),
        )  # fmt: skip
        found = swept(chosen)
        made = Tests(chosen.veto, attempted, (), target, 1, knobs.delta, absences)
        made = _share(made, lambda at: found.best(found.chance(scale, target, at)), knobs)
        return replace(made, candidates=found.candidates(found.chance(scale, target, made.level)))

    first = settled(np.diff(points.start) > 0, knobs.delta / len(table.heads))
    return settled(
        first.attempted, first.level
    )  # which classes are attempted sets the level that vetoes are chosen for


def among_firings(table: DecisionTable, tune: Scores, reads: Integers, target: Doubles, knobs: Certification) -> Tests:
    """The tests on images drawn among firings at the table's sampling thresholds; reads and target `[C]`.

    Vetoes stay as the table has them. A class without reads is not attempted.
    """
    lowest = np.where((reads > 0) & ~np.isnan(table.sampling), table.sampling, np.float32(np.inf)).astype(np.float32)
    points = above(table, tune, lowest)
    points = points.only(free(table, tune, points))
    found = sweep(points, lowest, knobs.candidates)
    scale = reads / np.maximum(np.diff(points.start), 1)
    nothing = absence.candidates(table, tune, 0, knobs)

    def hopes(level: float) -> Doubles:
        return found.best(found.chance(scale, target, level))

    attempted, size = _Claims(hopes, knobs.min_chance).share(knobs.delta)
    candidates = found.candidates(found.chance(scale, target, knobs.delta / size))
    return Tests(table.veto, attempted, candidates, target, size, knobs.delta, nothing)


def _share(made: Tests, hopes: Callable[[float], Doubles], knobs: Certification) -> Tests:
    """Which claims are attempted, and what part of delta each has."""
    absent, heads = made.absence, len(made.veto)
    if knobs.absence_delta is None:
        both = _Claims(lambda level: np.concatenate([hopes(level), absent.hopes(level)]), knobs.min_chance)
        chosen, size = both.share(knobs.delta)
        absent = replace(absent, attempted=chosen[heads:], delta=knobs.delta, shared_by=size)
        return replace(made, attempted=chosen[:heads], shared_by=size, delta=knobs.delta, absence=absent)
    chosen, size = _Claims(absent.hopes, knobs.min_chance).share(knobs.absence_delta)
    absent = replace(absent, attempted=chosen, delta=knobs.absence_delta, shared_by=size)
    delta = knobs.delta - knobs.absence_delta
    chosen, size = _Claims(hopes, knobs.min_chance).share(delta)
    return replace(made, attempted=chosen, shared_by=size, delta=delta, absence=absent)


def _lowest(table: DecisionTable, lowest: Floats) -> Floats:
    """At or above its own veto a firing class silences its group, so that no two members ever answer at once."""
    return np.where(table.exclusive[table.group], np.maximum(lowest, table.veto), lowest).astype(np.float32)


@dataclass(frozen=True)
class _Claims:
    """Claims that may be attempted, and the chance of each to pass, which falls with its share of delta."""

    chance: Callable[[float], Doubles]
    least: float

    def share(self, delta: float) -> tuple[Bools, int]:
        """The largest set of claims of which each has a chance of at least `least` when they share delta, and its size.

        A claim without hope costs the others nothing. Fewer claims have more delta each, so the sizes that work are found
        by bisection. Returns size 1 with nothing attempted when not even one claim alone would do.
        """
        low, high = 0, len(self.chance(delta)) + 1  # low works, high does not
        while high - low > 1:
            middle = (low + high) // 2
            works = int((self.chance(delta / middle) >= self.least).sum()) >= middle
            low, high = (middle, high) if works else (low, middle)
        chance = self.chance(delta / max(low, 1))
        chosen = np.zeros(len(chance), np.bool_)
        chosen[np.argsort(-chance, kind="stable")[:low]] = True
        return chosen, max(low, 1)


@dataclass(frozen=True)
class _Sweep:
    """Candidate thresholds of all classes in one row: T of them, by class, within it from strict to lenient."""

    threshold: Floats
    firings: Integers
    errors: Integers
    column: npt.NDArray[np.intp]
    start: npt.NDArray[np.intp]
    """`[C + 1]`"""

    def chance(self, scale: float | Doubles, target: Doubles, level: float) -> Doubles:
        """`[T]`: to pass, with `scale` (for all, or `[C]`) certification images for each tuning image; target `[C]`."""
        each = np.broadcast_to(scale, target.shape)[self.column]
        future = np.round(self.firings * each).astype(np.int64)
        return chance_to_pass(self.firings, self.errors, future, target[self.column], level)

    def best(self, values: Doubles) -> Doubles:
        """`[C]`: the highest of `[T]` values of each class, 0 where it has no candidate."""
        found = np.zeros(len(self.start) - 1)
        np.maximum.at(found, self.column, values)
        return found

    def candidates(self, chance: Doubles) -> tuple[Candidates, ...]:
        cut = self.start[1:-1]
        parts = (np.split(values, cut) for values in (self.threshold, self.firings, self.errors, chance))
        return tuple(Candidates(*each) for each in zip(*parts, strict=True))


def sweep(points: Points, lowest: Floats, most: int) -> _Sweep:
    """Per class, thresholds taken evenly from the scores of its possible firings, `lowest` `[C]` and up."""
    thresholds, firings, errors, counts = [], [], [], []
    for k, least in enumerate(lowest):
        here = slice(points.start[k], points.start[k + 1])
        score = points.score[here]
        score = score[: np.searchsorted(-score, -least, side="right")]
        last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else np.zeros(0, np.intp)
        if len(last) > most:
            last = last[np.unique(np.linspace(0, len(last) - 1, most).round().astype(np.intp))]
        thresholds.append(score[last])
        firings.append(last + 1)
        errors.append(np.cumsum(points.wrong[here])[last])
        counts.append(len(last))
    return _Sweep(
        np.concatenate(thresholds).astype(np.float32),
        np.concatenate(firings).astype(np.int64),
        np.concatenate(errors).astype(np.int64),
        np.repeat(np.arange(len(lowest)), counts),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
    )


def _appraise(found: _Sweep, weight: Bools, scale: float, target: Doubles, level: float) -> tuple[Worth, ...]:
    """Expected certified firings of the classes in `weight`, and their derivatives by right and by wrong firings.

    Then the same with each of PRICES on a wrong answer of the classes that have hardly a chance, wherever they could fire.
    """
    heads = len(weight)
    expected = found.chance(scale, target, level) * found.firings
    best = np.zeros(heads, np.intp)
    for k in np.flatnonzero(np.diff(found.start)):
        best[k] = found.start[k] + int(expected[found.start[k] : found.start[k + 1]].argmax())
    has = weight & (np.diff(found.start) > 0)
    at = best[has]
    firings, errors = found.firings[at].astype(np.float64), found.errors[at].astype(np.float64)

    def certified(more: Doubles, wrong: Doubles) -> Doubles:
        n, e = np.maximum(firings + more, 1.0), np.maximum(errors + wrong, 0.0)
        future = np.round(n * scale).astype(np.int64)
        return n * chance_to_pass(n, np.minimum(e, n), future, target[has], level)

    none = np.zeros(len(at))
    step, slip = np.maximum(2.0, 0.05 * firings), np.maximum(1.0, 0.25 * errors)
    by_firing = (certified(step, none) - certified(-step, none)) / (2 * step)
    fewer = np.minimum(slip, errors)
    by_error = (certified(none, slip) - certified(none, -fewer)) / (slip + fewer)
    threshold, right, wrong = np.full(heads, np.inf, np.float32), np.zeros(heads), np.zeros(heads)
    threshold[has] = found.threshold[at]
    right[has], wrong[has] = by_firing, by_firing + by_error
    total = float(expected[at].sum())
    hopeless = np.flatnonzero(has)[expected[at] < _HARDLY * firings]
    views = [Worth(total, threshold, right, wrong)]
    for price in _PRICES if len(hopeless) else ():
        lenient, gain, loss = threshold.copy(), right.copy(), wrong.copy()
        lenient[hopeless], gain[hopeless], loss[hopeless] = (
            found.threshold[found.start[hopeless + 1] - 1],
            1.0,
            1.0 - price,
        )
        views.append(Worth(total, lenient, gain, loss))
    return tuple(views)
