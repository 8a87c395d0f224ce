"""What the monitor bets, and how high its stakes must rise for an alarm. Pure.

The monitor of one class (triage/promise/monitor.py) holds a few stakes, each a bet that the error probability has risen from
the promised m to some p_k: an audit multiplies it by the likelihood ratio, p_k/m when the answer was wrong, (1-p_k)/(1-m) when
it was right. All stakes together start at 1 (a fresh class is watched most sharply), and none falls below its share of a
floor (a fault after years of good work is found nearly as fast). The alarm is their sum reaching `threshold(promise)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

ODDS = (1.65, 2.1, 3.35, 7.0)
"""Faults that are bet on, as multiples of the promised odds of an error: 8, 10, 15 and 27% where 5% are promised."""
WEIGHTS = (0.1, 0.1, 0.2, 0.6)
"""How the first stakes are shared out: large faults are found within tens of audits, where each audit counts."""
FLOOR = 15
"""Floor of the stakes, in units of 1/horizon. More finds late faults sooner and a fresh class's later (ADR 9 has both)."""
RUNS = 40_000
DOUBT = 1e-6
"""Probability with which the simulation behind a threshold may mislead us."""
PROCEDURE = f"1 {ODDS} {WEIGHTS} {FLOOR} {RUNS} {DOUBT}"
"""What a threshold that was kept was found by; the first number counts changes of `threshold` itself."""


class Promise(msgspec.Struct, frozen=True):
    """Errors have probability at most `error`; a false alarm within `horizon` audits, at most `alpha`.

    Where a site has several classes, each gets its share of alpha (`shared`), so that the claim holds for all at once.
    """

    error: float
    alpha: float
    horizon: int

    def __post_init__(self) -> None:
        if not 0 < self.error < 1:
            raise ValueError(f"A promised error of {self.error} cannot be monitored: choose one between 0 and 1.")
        if not 0 < self.alpha < 1:
            raise ValueError(f"A false-alarm probability of {self.alpha} is no promise: choose one between 0 and 1.")
        if self.horizon < 2 * FLOOR:
            raise ValueError(f"A horizon of {self.horizon} audits is too short: choose at least {2 * FLOOR}.")


def shared(promise: Promise, classes: int) -> Promise:
    """The promise for each of `classes` monitored classes, so that `promise.alpha` holds for all of them together."""
    return Promise(promise.error, promise.alpha / classes, promise.horizon)


@dataclass(frozen=True)
class Bets:
    """One entry per stake: what it starts with, its floor, and what an audit multiplies it by."""

    first: tuple[float, ...]
    floor: tuple[float, ...]
    right: tuple[float, ...]
    wrong: tuple[float, ...]

    def columns(self) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """The same as arrays `[stakes, 1]`, for many runs side by side."""
        first, floor, right, wrong = (
            np.array(row)[:, None] for row in (self.first, self.floor, self.right, self.wrong)
        )
        return first, floor, right, wrong


@lru_cache(maxsize=1024)
def bets(promise: Promise) -> Bets:
    m = promise.error
    chances = [odds * m / (1 - m + odds * m) for odds in ODDS]
    return Bets(
        first=WEIGHTS,
        floor=tuple(weight * FLOOR / promise.horizon for weight in WEIGHTS),
        right=tuple((1 - p) / (1 - m) for p in chances),
        wrong=tuple(p / m for p in chances),
    )


def highest(promise: Promise) -> float:
    """A threshold that needs no simulation to keep the promise; `threshold` finds a lower one."""
    return (1 + FLOOR) / promise.alpha


@lru_cache(maxsize=1024)
def threshold(promise: Promise) -> float:
    """The least sum of stakes (on a grid of 2%) that errors of exactly the promised rate reach within the horizon with
    probability at most alpha, at confidence 1 - 1e-6. About a second, once per promise: call it in a thread.

    Let c = FLOOR / horizon, N = horizon, and let the twin R_k of stake k obey R_k <- (R_k + c w_k) l_k (Shiryaev-Roberts
    with a head start), l_k the audit's likelihood ratio. By induction stake k is at most R_k. R = sum R_k is the
    likelihood of a mixture Q over "fault k from the start" (weight w_k) and "fault k from audit j" (weight c w_k), so with T
    the first time the stakes reach h, P(T <= N) = E_Q[(1 + cN) / (R_T + c(N - T)); T <= N], a mean of terms between 0 and
    (1 + cN) / h. We draw from Q, where alarms are common, so that any alpha is estimated equally well, and bound the mean by
    Maurer and Pontil's empirical Bernstein inequality (COLT 2009, theorem 4), from the highest h downwards to the first that
    fails: fixed-sequence testing, no correction. The highest, (1 + cN) / alpha (`highest`), needs no simulation.
    """
    rng, bet, horizon = np.random.default_rng(9), bets(promise), promise.horizon
    first, floor, right, wrong = bet.columns()
    total = 1.0 + FLOOR
    heights = np.exp(np.arange(0.02, math.log(total / promise.alpha), 0.02))
    at = np.zeros(RUNS, np.int64)
    change = np.where(rng.random(RUNS) < 1 / total, 0, rng.integers(0, horizon, RUNS))
    rate = (np.array(bet.wrong) * promise.error)[rng.choice(len(WEIGHTS), RUNS, p=WEIGHTS)]
    stakes, twins = np.repeat(first, RUNS, 1), np.repeat(first, RUNS, 1)
    passed = np.zeros(RUNS, np.int64)
    sums, squares = np.zeros(len(heights) + 1), np.zeros(len(heights) + 1)
    while len(at):
        # From one error to the next: right answers only lower the stakes, so that no alarm is missed in between.
        here = at + rng.geometric(promise.error, len(at))
        later = np.maximum(at, change) + rng.geometric(rate)
        before, at = at, np.where((at < change) & (here <= change), here, later)
        good = at - before - 1
        decay = right**good
        stakes = np.where(good > 0, np.maximum(stakes * decay, floor * right), stakes)
        stakes = np.maximum(stakes, floor) * wrong
        twins = (twins * decay + floor * right * (1 - decay) / (1 - right) + floor) * wrong
        terms = total / (twins.sum(0) + FLOOR * (1 - at / horizon))
        reached = np.where(at <= horizon, np.searchsorted(heights, stakes.sum(0), side="right"), 0)
        for tally, values in ((sums, terms), (squares, terms**2)):
            rows = reached > passed
            np.add.at(tally, passed[rows], values[rows])
            np.subtract.at(tally, reached[rows], values[rows])
        passed = np.maximum(passed, reached)
        alive = (at < horizon) & (passed < len(heights))
        at, change, rate, passed = at[alive], change[alive], rate[alive], passed[alive]
        stakes, twins = stakes[:, alive], twins[:, alive]
    mean, square = sums.cumsum()[:-1] / RUNS, squares.cumsum()[:-1] / RUNS
    doubt = math.log(2 / DOUBT)
    spread = np.sqrt(2 * np.maximum(square - mean**2, 0) * doubt / (RUNS - 1))
    upper = mean + spread + 7 * doubt * total / heights / (3 * (RUNS - 1))
    proven = np.flatnonzero(upper > promise.alpha)
    lowest = int(proven[-1]) + 1 if len(proven) else 0
    return float(heights[lowest]) if lowest < len(heights) else highest(promise)
