"""Exact binomial tails, for whoever proves a rate and whoever checks the proof. Pure.

`rate` is the share of errors (or of what is overlooked) that is to be ruled out: so few events among so many draws rule it out
at confidence 1 - level when `at_most(events, draws, rate) <= level` (Clopper and Pearson, Biometrika 26, 1934).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np


def at_most(events: int, draws: int, rate: float) -> float:
    """P(Binomial(draws, rate) <= events), summed from its logarithms, so that no term is lost."""
    if events >= draws or rate <= 0:
        return 1.0
    if rate >= 1 or events < 0:
        return 0.0
    k = np.arange(1, events + 1)
    steps = np.log((draws - k + 1) / k) + (np.log(rate) - np.log1p(-rate))
    terms = draws * np.log1p(-rate) + np.concatenate([[0.0], np.cumsum(steps)])
    most = terms.max()
    return min(1.0, float(np.exp(most + np.log(np.exp(terms - most).sum()))))


def printed(bound: float, digits: int, upper: bool = False) -> float:
    """A bound to so many decimals, as it may be told: a lower one rounded down, an upper one up, so that it claims no more."""
    step = Decimal(1).scaleb(-digits)
    return float(Decimal(str(float(bound))).quantize(step, ROUND_CEILING if upper else ROUND_FLOOR))


def fewest_draws(events: int, rate: float, level: float, above: int = 0) -> int:
    """The fewest draws that rule the rate out in spite of so many events; `above` are known to be too few.

    Raises ValueError for a rate or level that is not strictly between 0 and 1.
    """
    if not 0 < rate < 1 or not 0 < level < 1:
        raise ValueError(
            f"a rate of {rate:g} at the level {level:g} cannot be tested: both lie strictly between 0 and 1"
        )
    low, step = max(events, above), 1
    while at_most(events, high := low + step, rate) > level:
        low, step = high, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at_most(events, middle, rate) <= level else (middle, high)
    return high
