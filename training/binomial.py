"""Exact binomial statements about precision. Pure.

`firings` is how often a class fired on independent images, `errors` how often it was wrong there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik, betaincinv, betaln

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


def lower_bound(firings: int, errors: int, delta: float) -> float:
    """Precision is at least this, at confidence 1 - delta: the one-sided Clopper-Pearson bound (Biometrika 26, 1934)."""
    return float(betaincinv(firings - errors, errors + 1, delta)) if errors < firings else 0.0


def upper_bound(firings: int, errors: int, delta: float) -> float:
    """Precision is at most this, at confidence 1 - delta."""
    return float(betaincinv(firings - errors + 1, errors, 1 - delta)) if errors else 1.0


def allowed_errors(firings: npt.ArrayLike, target: npt.ArrayLike, delta: float) -> Integers:
    """The most errors among so many firings that still prove precision >= target; -1 where none would do.

    e errors prove it when P(Binomial(firings, 1 - target) <= e) <= delta, which is `lower_bound(...) >= target`.
    """
    count = np.asarray(firings, np.int64)
    wrong = 1 - np.asarray(target, np.float64)
    near = np.floor(np.nan_to_num(bdtrik(delta, count, wrong), nan=-1.0)).clip(-1, count)
    near = np.where((near < count) & (bdtr(near + 1, count, wrong) <= delta), near + 1, near)  # the inverse rounds
    return np.where((near >= 0) & (bdtr(near, count, wrong) > delta), near - 1, near).astype(np.int64)


def chance_to_pass(
    firings: npt.ArrayLike, errors: npt.ArrayLike, future: Integers, target: npt.ArrayLike, delta: float
) -> Doubles:
    """Probability that `future` new firings prove the target, judged from `firings` and `errors` seen so far; each `[T]`.

    The error rate is unknown, so the future errors are beta-binomial under Jeffreys' prior, Beta(1/2, 1/2).
    """
    allowed = allowed_errors(future, target, delta)
    order = np.argsort(-allowed)  # so that those with an e-th error to count stand in front
    seen, bad = np.asarray(firings, np.float64)[order], np.asarray(errors, np.float64)[order]
    wrong, right, n = bad + 0.5, seen - bad + 0.5, future[order].astype(np.float64)
    log = betaln(wrong, n + right) - betaln(wrong, right)  # of the probability of e errors, by its ratio to the next
    total = np.zeros(len(seen))
    for e, rows in enumerate(np.searchsorted(-allowed[order], -np.arange(allowed.max(initial=-1) + 1), side="right")):
        total[:rows] += np.exp(log[:rows])
        left = n[:rows] - e
        log[:rows] += np.log(left * (e + wrong[:rows]) / ((e + 1) * (left - 1 + right[:rows])))
    found = np.empty(len(seen))
    found[order] = np.minimum(total, 1.0)
    return found
