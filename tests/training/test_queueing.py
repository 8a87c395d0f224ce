"""People at a queue: the formulas against a queue that is played through, and what has to hold of any of them."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.queueing import busy, late, people_needed


def played(people: int, per_hour: float, seconds: float, items: int, seed: int) -> np.ndarray:
    """Waits in seconds of so many items at an M/M/c queue, first come first served."""
    rng = np.random.default_rng(seed)
    arrives = np.cumsum(rng.exponential(3600 / per_hour, items))
    takes = rng.exponential(seconds, items)
    free = [0.0] * people
    waits = np.empty(items)
    for index, (at, length) in enumerate(zip(arrives, takes, strict=True)):
        start = max(at, heapq.heappop(free))
        waits[index] = start - at
        heapq.heappush(free, start + length)
    return waits


@pytest.mark.parametrize(("people", "per_hour", "seconds"), [(1, 90, 20), (3, 400, 20), (12, 1900, 20)])
def test_a_queue_that_is_played_through_waits_as_the_formula_says(people: int, per_hour: float, seconds: float) -> None:
    waits = played(people, per_hour, seconds, 200_000, seed=people)
    load = per_hour * seconds / 3600
    for wait in (0.0, 10.0, 30.0, 60.0):
        assert late(people, load, seconds, wait) == pytest.approx((waits > wait).mean(), abs=0.012)


def test_busy_is_the_textbook_sum() -> None:
    """a^c / c! / (1 - a/c) over itself plus the sum of a^k / k!, where factorials still fit."""
    for people, load in ((1, 0.3), (2, 1.9), (5, 3.2), (20, 17.5)):
        top = load**people / math.factorial(people) / (1 - load / people)
        whole = top + sum(load**k / math.factorial(k) for k in range(people))
        assert busy(people, load) == pytest.approx(top / whole, rel=1e-12)


@given(st.floats(0.01, 20_000), st.floats(1, 600), st.floats(0, 7200), st.floats(0.5, 0.999))
def test_people_needed_are_enough_and_one_fewer_is_not(
    per_hour: float, seconds: float, wait: float, share: float
) -> None:
    people = people_needed(per_hour, seconds, wait, share)
    load = per_hour * seconds / 3600
    assert people > load
    assert late(people, load, seconds, wait) <= 1 - share
    assert people == 1 or people - 1 <= load or late(people - 1, load, seconds, wait) > 1 - share


def test_nothing_to_read_takes_nobody_and_too_few_never_catch_up() -> None:
    assert people_needed(0, 20, 60, 0.95) == 0
    assert busy(2, 2.0) == busy(1, 5.0) == late(1, 5.0, 20, 1e6) == 1.0
    assert busy(3, 0.0) == 0.0
