"""How long a fault takes to show: what a site is told before a class goes live. Pure."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from triage.promise.bets import Promise, bets, threshold


@lru_cache(maxsize=1024)
def audits_to_detect(promise: Promise, error: float, *, fresh: bool = False, runs: int = 2_000) -> float:
    """Median audits from a fault, after which errors have probability `error`, to the alarm; infinite above ten horizons.

    The stakes stand at their lowest, as after a long run of right answers: from any others the alarm comes no later. (Where a
    block ends meanwhile, stakes above a fresh start's are lowered to them.) With `fresh`, for a fault that is there from
    the first audit. Simulated (seeded, a standard error of about 2%): a second or two where the fault is barely above the
    promise, and one more when the promise is new.
    """
    if error <= promise.error:
        return math.inf
    rng, height = np.random.default_rng(9), threshold(promise)
    first, floor, right, wrong = bets(promise).columns()
    stakes = np.repeat(first if fresh else floor * right, runs, 1)
    left = runs
    for audits in range(1, 10 * promise.horizon + 1):
        stakes = np.maximum(stakes, floor) * np.where(rng.random(stakes.shape[1]) < error, wrong, right)
        quiet = stakes.sum(0) < height
        if not quiet.all():
            stakes = stakes[:, quiet]
            left = stakes.shape[1]
        if 2 * left <= runs:
            return float(audits)
        if audits % promise.horizon == 0:
            stakes = np.minimum(stakes, first)  # the block's end, as in monitor.update
    return math.inf
