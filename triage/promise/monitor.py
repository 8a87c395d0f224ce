"""The precision monitor of one class at one site: an alarm when its audits say that the promise is broken. Pure.

An automatic answer that was drawn for an audit counts `wrong` when people decided differently (the disagreement confirmed
by a second blind reader); the caller also passes `wrong=True` for an audit that could not be used or came too late, since
an answer that nobody can check keeps no promise. Audits are fed in draw order.

**The claim.** From every start, restart and block's end (each `horizon` audits), whatever happened before: the probability
of an alarm within the next `horizon` audits is at most `alpha`, if each of them is wrong with a probability of at most
`promise.error` given everything before it. A `restart` within does no harm, however often and whenever; a second `start` is a
second claim from there on, with an alpha of its own. So where a fault lies between two stretches of kept promises, a
`restart` after it lets both together be one stretch. With `shared(promise, classes)` for each class the claim holds for all
classes of a site together, by the union bound.

**Proof.** Stakes rise with `wrong`, audit by audit and path by path. Draw U_t uniform and let audit t be wrong when
U_t <= p_t, with p_t <= error chosen by anybody who sees the past: a second path, wrong when U_t <= error, is wrong wherever
the first is, so its stakes are at least as high and it alarms no later. Restarts and block ends only lower stakes, to at
most those of a fresh start: the same comparison. So no audits alarm more often than a fresh start's at exactly `error`, and
there P(alarm within horizon) <= alpha is how `threshold` is chosen (triage/promise/bets.py).

A sum of CUSUM statistics with a head start (Lucas and Crosier, Technometrics 24, 1982; as an e-detector: Shin, Ramdas and
Rinaldo, NEJSDS 2, 2024); ADR 9 compares it with others.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from triage.promise.bets import Bets, Promise, bets, threshold

EPOCH = 1_000
"""Audits after which an epoch of the interval ends; the interval speaks of the current epoch and the one before."""
SLOPES = tuple(sign * 0.05 * 2 ** (step / 2) for sign in (-1, 1) for step in range(15))
"""Tilts that the interval mixes over: from tenths of a percent over thousands of audits to halves over a few."""


class Counts(msgspec.Struct, frozen=True, array_like=True):
    audits: int = 0
    wrong: int = 0


class State(msgspec.Struct, frozen=True):
    """All there is to remember, however long the history; times are microseconds since 1970."""

    promise: Promise
    threshold: float
    stakes: tuple[float, ...]
    rises: tuple[float, ...]
    """Per bet, the logarithm of the likelihood ratio of its best single change (Page's CUSUM) ..."""
    before: tuple[int | None, ...]
    """... and the draw time of the last audit before that change."""
    block: int = 0
    """Audits since the last block's end."""
    last_at: int | None = None
    alarmed: bool = False
    """Whether the promise counts as broken. Once true, true until `restart`."""
    epoch: Counts = Counts()
    epoch_before: Counts = Counts()


def start(promise: Promise, height: float | None = None) -> State:
    """A class with a new certificate. `height` is its threshold where that is known; else the first call for a promise
    simulates (about a second): call it in a thread."""
    return _begin(promise, threshold(promise) if height is None else height, bets(promise).first, block=0)


def restart(state: State) -> State:
    """After an alarm and the return of the class, or wherever earlier evidence speaks of something else: same claim."""
    return _begin(state.promise, state.threshold, _lowered(state.stakes, bets(state.promise)), block=state.block)


def update(state: State, wrong: bool, at_us: int) -> State:
    """The state after one more audit of an answer drawn at `at_us`."""
    bet = bets(state.promise)
    factors = bet.wrong if wrong else bet.right
    stakes = tuple(
        min(max(stake, floor) * factor, state.threshold)  # beyond the alarm nothing matters, and nothing overflows
        for stake, floor, factor in zip(state.stakes, bet.floor, factors, strict=True)
    )
    alarmed = state.alarmed or _total(stakes) >= state.threshold
    block = (state.block + 1) % state.promise.horizon
    epoch, epoch_before = state.epoch, state.epoch_before
    if epoch.audits == EPOCH:
        epoch, epoch_before = Counts(), epoch
    return State(
        promise=state.promise,
        threshold=state.threshold,
        stakes=_lowered(stakes, bet) if block == 0 else stakes,
        rises=tuple(max(rise, 0.0) + math.log(factor) for rise, factor in zip(state.rises, factors, strict=True)),
        before=tuple(
            state.last_at if rise <= 0 else at for rise, at in zip(state.rises, state.before, strict=True)
        ),
        block=block,
        last_at=at_us,
        alarmed=alarmed,
        epoch=Counts(epoch.audits + 1, epoch.wrong + wrong),
        epoch_before=epoch_before,
    )  # fmt: skip


def last_good(state: State) -> int | None:
    """Draw time (microseconds) of the last audit before the likeliest change for the worse; recalls begin after it.

    Of the bets whose likelihood is at least a twentieth of the best one's, the earliest change: an answer recalled in vain
    costs a reading, one that is not recalled stays wrong. None where that is the first audit since the start or restart.
    """
    best = max(state.rises)
    likely = [at for rise, at in zip(state.rises, state.before, strict=True) if rise >= best - math.log(20)]
    return None if None in likely else min(at for at in likely if at is not None)


def interval(state: State) -> tuple[float, float]:
    """Lowest and highest precision of the last one to two epochs (`EPOCH` audits each) that the audits leave plausible.

    A confidence sequence: from one epoch's beginning to the end of the next, all intervals hold at once with probability
    1 - `state.promise.alpha`, for the mean over those audits of the probability to be right, which may change all the while.
    For each tilt s, exp(s * wrong - sum of log(1 - p_t + p_t e^s)) has mean 1; log is concave, so that the n-fold
    logarithm at the mean p makes it no larger, and Ville's inequality holds for a mixture over s (Howard et al., Annals of
    Statistics 49, 2021). A conjugate Beta mixture is closed, but its tilts depend on p: it holds for a constant p only.
    """
    audits, wrong = state.epoch.audits + state.epoch_before.audits, state.epoch.wrong + state.epoch_before.wrong

    def excluded(error: float, slopes: tuple[float, ...]) -> bool:
        logs = [s * wrong - audits * math.log1p(error * math.expm1(s)) for s in slopes]
        top = max(logs)
        mean = top + math.log(math.fsum(math.exp(value - top) for value in logs) / len(logs))
        return mean >= math.log(2 / state.promise.alpha)

    half, centre = len(SLOPES) // 2, (wrong / audits if audits else 0.5)
    most = _edge(centre, 1.0, lambda error: excluded(error, SLOPES[:half]))
    least = _edge(centre, 0.0, lambda error: excluded(error, SLOPES[half:]))
    return 1 - most, 1 - least


def _begin(promise: Promise, height: float, stakes: tuple[float, ...], block: int) -> State:
    return State(promise, height, stakes, rises=(0.0,) * len(stakes), before=(None,) * len(stakes), block=block)


def _lowered(stakes: tuple[float, ...], bet: Bets) -> tuple[float, ...]:
    return tuple(min(stake, first) for stake, first in zip(stakes, bet.first, strict=True))


def _total(stakes: tuple[float, ...]) -> float:
    total = 0.0
    # Not sum(): from Python 3.12 on it rounds differently from numpy's, and simulations must agree.
    for stake in stakes:
        total += stake
    return total


def _edge(inside: float, outside: float, excluded: Callable[[float], bool]) -> float:
    """Where exclusion begins between a value that is not excluded and one that may be; from the excluded side."""
    if not excluded(outside):
        return outside
    for _ in range(40):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return outside
