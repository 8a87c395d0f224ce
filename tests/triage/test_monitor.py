"""The monitor: its claim's ingredients one by one, and its claim in small simulations (the large ones: bench-certify)."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.certify.monitor import Runs, first_alarms, steady
from triage.promise.bets import FLOOR, Promise, bets, shared, threshold
from triage.promise.detection import audits_to_detect
from triage.promise.monitor import EPOCH, State, interval, last_good, restart, start, update

PROMISE = Promise(0.05, 0.05, 5_000)
SHORT = Promise(0.05, 0.2, 60)
"""A horizon that tests reach: blocks end within a hypothesis example."""
AUDITS = st.lists(st.booleans(), max_size=200)


def fed(promise: Promise, audits: list[bool], state: State | None = None) -> State:
    state = state or start(promise)
    for at, wrong in enumerate(audits):
        state = update(state, wrong, 1_790_000_000_000_000 + at)
    return state


@given(audits=AUDITS, turned=st.integers(0, 199), again=st.integers(0, 199))
def test_a_right_audit_turned_wrong_never_lowers_a_stake(audits: list[bool], turned: int, again: int) -> None:
    worse = [wrong or at == turned for at, wrong in enumerate(audits)]
    one, other = (fed(SHORT, row[:again], restart(fed(SHORT, row[again:]))) for row in (audits, worse))
    assert all(a <= b for a, b in zip(one.stakes, other.stakes, strict=True))
    assert one.alarmed <= other.alarmed


@given(audits=AUDITS)
def test_a_restart_never_raises_a_stake_and_is_at_most_a_start(audits: list[bool]) -> None:
    before = fed(SHORT, audits)
    after = restart(before)
    assert all(a <= b for a, b in zip(after.stakes, before.stakes, strict=True))
    assert all(a <= b for a, b in zip(after.stakes, start(SHORT).stakes, strict=True))
    assert not after.alarmed
    assert last_good(after) is None
    assert interval(after) == (0.0, 1.0)


@given(audits=st.lists(st.booleans(), min_size=61, max_size=200))
def test_a_block_end_lowers_stakes_to_at_most_a_start(audits: list[bool]) -> None:
    state = fed(SHORT, audits[: 60 * (len(audits) // 60)])
    assert state.block == 0
    assert all(a <= b for a, b in zip(state.stakes, start(SHORT).stakes, strict=True))


@given(audits=AUDITS)
def test_a_state_survives_messagepack_and_goes_on_the_same(audits: list[bool]) -> None:
    state = fed(SHORT, audits)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)
    assert stored == state
    assert fed(SHORT, audits, stored) == fed(SHORT, audits, state)


def test_state_stays_below_a_kilobyte_however_long_the_history() -> None:
    state = start(PROMISE)
    sizes = set()
    for at in range(6_000):
        state = update(state, at % 7 == 0, 2**62 + at)
        sizes.add(len(msgspec.msgpack.encode(state)) if at % 500 == 0 else 0)
    assert max(sizes) <= 1024
    assert max(sizes) - min(sizes - {0}) < 100


def test_nothing_overflows_while_every_audit_is_wrong() -> None:
    state = fed(PROMISE, [True] * 12_000)
    assert state.alarmed
    assert all(math.isfinite(stake) for stake in state.stakes)
    assert interval(state)[1] < 0.02


def test_an_alarm_stays_until_a_restart() -> None:
    state = fed(PROMISE, [True] * 10)
    assert state.alarmed
    state = fed(PROMISE, [False] * 6_000, state)
    assert state.alarmed
    assert not restart(state).alarmed


@pytest.mark.parametrize(
    ("error", "alpha", "horizon"), [(0.0, 0.05, 5_000), (1.0, 0.05, 5_000), (0.05, 0.0, 5_000), (0.05, 0.05, 10)]
)
def test_an_impossible_promise_is_refused_with_the_mend(error: float, alpha: float, horizon: int) -> None:
    with pytest.raises(ValueError, match="choose"):
        Promise(error, alpha, horizon)


@pytest.mark.parametrize("error", [0.02, 0.05, 0.3])
def test_runs_side_by_side_give_the_very_alarms_of_the_monitor(error: float) -> None:
    """The benchmark simulates `Runs`: on the same audits it must be triage.monitor, alarm by alarm."""
    runs, audits, promise = 20, 700, Promise(0.05, 0.2, 300)
    table = np.random.default_rng(1).random((audits, runs)) < error
    side_by_side = first_alarms(Runs(promise, runs, seed=0), audits, lambda _, t: table[t - 1])
    for run in range(runs):
        state, found = start(promise), math.inf
        for t, wrong in enumerate(table[:, run].tolist(), start=1):
            state = update(state, wrong, t)
            if state.alarmed:
                found = t
                break
        assert found == side_by_side[run]


@pytest.mark.parametrize("error", [0.01, 0.05, 0.10])
def test_false_alarms_at_exactly_the_promise_are_rarer_than_alpha(error: float) -> None:
    promise, runs = Promise(error, 0.05, 1_000), 4_000
    share = np.isfinite(first_alarms(Runs(promise, runs, seed=2), promise.horizon, steady(error))).mean()
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert share >= 0.03  # a threshold far too high would pass the line above


def test_the_share_of_alpha_of_one_in_fifty_classes_is_kept() -> None:
    promise = shared(Promise(0.5, 0.05, 2 * FLOOR), 50)
    runs = 20_000
    share = np.isfinite(first_alarms(Runs(promise, runs, seed=3), promise.horizon, steady(0.5))).mean()
    assert share <= promise.alpha + 3 * math.sqrt(promise.alpha / runs)


def test_a_bold_adversary_with_restarts_gains_nothing() -> None:
    promise, runs = Promise(0.05, 0.05, 1_000), 4_000

    def draw(monitors: Runs, _: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        monitors.restart(monitors.stakes.sum(0) < 0.1)  # where a restart could only help, if it helped
        return monitors.errors(np.where(monitors.stakes.sum(0) < 5, 0.05, 0.02))

    share = np.isfinite(first_alarms(Runs(promise, runs, seed=4), promise.horizon, draw, restarts=0.01)).mean()
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_the_threshold_is_below_what_doob_gives_and_falls_with_alpha() -> None:
    heights = [threshold(Promise(0.05, alpha, 1_000)) for alpha in (0.2, 0.05, 0.0005)]
    assert heights == sorted(heights)
    assert all(height <= (1 + FLOOR) / alpha for height, alpha in zip(heights, (0.2, 0.05, 0.0005), strict=True))


def test_stakes_are_fair_bets_on_the_promised_error() -> None:
    bet = bets(PROMISE)
    for right, wrong in zip(bet.right, bet.wrong, strict=True):
        assert 0.05 * wrong + 0.95 * right == pytest.approx(1, abs=1e-12)
        assert right < 1 < wrong
    assert sum(bet.first) == pytest.approx(1)


@pytest.mark.parametrize("fresh", [True, False])
def test_time_to_detect_is_that_of_the_simulation(fresh: bool) -> None:
    runs = Runs(PROMISE, 2_000, seed=5)
    if not fresh:
        for _ in range(500):
            runs.step(np.zeros(2_000, np.bool_))
    median = np.median(first_alarms(runs, 3_000, steady(0.15)))
    assert audits_to_detect(PROMISE, 0.15, fresh=fresh) == pytest.approx(median, rel=0.15)


def test_a_kept_promise_is_never_detected() -> None:
    assert audits_to_detect(PROMISE, 0.05) == math.inf


def test_the_last_good_audit_is_the_one_before_the_change() -> None:
    state = fed(PROMISE, [False] * 500)
    good = state.last_at
    state = update(state, True, 10**16)
    for step in range(1, 30):
        state = update(state, step % 3 == 0, 10**16 + step)
    assert state.alarmed
    assert last_good(state) == good


def test_a_class_that_is_bad_from_the_start_has_no_last_good_audit() -> None:
    assert last_good(fed(PROMISE, [True] * 5)) is None


@given(audits=st.lists(st.booleans(), max_size=60))
@settings(max_examples=30)
def test_the_interval_holds_the_share_of_right_audits(audits: list[bool]) -> None:
    low, high = interval(fed(PROMISE, audits))
    assert 0 <= low <= high <= 1
    if audits:
        assert low <= 1 - sum(audits) / len(audits) <= high


def test_the_interval_forgets_all_but_one_to_two_epochs() -> None:
    state = fed(PROMISE, [True] * 500 + [False] * (EPOCH - 500))
    assert interval(fed(PROMISE, [False] * EPOCH, state))[0] < 0.8
    assert interval(fed(PROMISE, [False] * (EPOCH + 1), state)) == interval(fed(PROMISE, [False] * (EPOCH + 1)))


def test_the_interval_misses_a_drifting_precision_rarely() -> None:
    rng, promise, missed, runs = np.random.default_rng(6), Promise(0.05, 0.2, 5_000), 0, 40
    errors = 0.05 + 0.04 * np.sin(np.arange(600) / 60)
    mean = np.cumsum(errors) / np.arange(1, 601)
    state = start(promise)
    for _ in range(runs):
        state, outside = start(promise), False
        for at, wrong in enumerate((rng.random(600) < errors).tolist()):
            state = update(state, wrong, at)
            if at % 30 == 29:
                low, high = interval(state)
                outside |= not low <= 1 - mean[at] <= high
        missed += outside
    assert missed <= runs * (0.2 + 3 * math.sqrt(0.2 * 0.8 / runs))
    assert interval(state)[1] - interval(state)[0] < 0.1
