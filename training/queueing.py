"""How many people keep a review queue short. Pure.

The queue is M/M/c: images arrive at random, each takes an exponential time to read, whoever is free takes the oldest. Real
reading times vary less than that, so real waits are a little shorter. A. K. Erlang, 1917; formulas as in Kleinrock, Queueing
Systems I, 1975, section 3.5:

    load a = arrivals per second x seconds per item,  c people,  a < c
    P(wait > t) = C(c, a) exp(-(c - a) t / seconds)
"""

from __future__ import annotations

import bisect
import math


def busy(people: int, load: float) -> float:
    """Erlang's C: the share of arrivals that find everybody reading; 1 where the queue only grows."""
    if load <= 0:
        return 0.0
    if people <= load:
        return 1.0
    blocked = 1.0  # Erlang's B for 0, 1, 2, ... people: a recursion without the factorials that would overflow
    for count in range(1, people + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / people * (1 - blocked))


def late(people: int, load: float, seconds: float, wait: float) -> float:
    """Share of items that wait longer than `wait` seconds for somebody, at `seconds` of reading each."""
    return busy(people, load) * math.exp(-max(people - load, 0.0) * wait / seconds)


def people_needed(per_hour: float, seconds: float, wait: float, share: float) -> int:
    """The fewest people with whom at least `share` of the items wait at most `wait` seconds; 0 where nothing arrives."""
    load = per_hour * seconds / 3600
    if load <= 0:
        return 0

    def enough(people: int) -> bool:
        return late(people, load, seconds, wait) <= 1 - share

    most = math.floor(load) + 1
    while not enough(most):
        most *= 2
    return bisect.bisect_left(range(most), True, key=enough)  # one more person never makes anybody wait longer
