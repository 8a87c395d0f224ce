"""The production monitor, simulated: false alarms, time to detect, reviewers' errors, coverage of its intervals.

    python -m tests.benchmarks.certify.monitor

`Runs` is triage.monitor for many classes side by side, with the same arithmetic in the same order: a test holds both to the
same alarms on the same audits (tests/triage/test_monitor.py).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tests.benchmarks.certify import monitor_designs
from triage.promise.bets import Promise, bets, shared, threshold
from triage.promise.detection import audits_to_detect
from triage.promise.monitor import EPOCH, State, interval, last_good, start, update

PROMISE = Promise(0.05, 0.05, 5_000)
CLASSES = 10
REFERENCE = {0.08: 625, 0.10: 197, 0.15: 52, 0.25: 13}
"""Median audits of a betting e-process with a mixture over all bets (Waudby-Smith and Ramdas 2024), from a fresh start."""
LATE = (0.10, 0.15, 0.25)
GOOD = 10_000
READERS = 0.05
"""A reviewer calls so many right answers wrong, and so many wrong ones right."""

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Draw = Callable[["Runs", int], Bools]


class Runs:
    """Many monitors of the same promise, each with audits of its own."""

    def __init__(self, promise: Promise, runs: int, seed: int, height: float | None = None) -> None:
        self.first, self.floor, self.right, self.wrong = bets(promise).columns()
        self.horizon, self.height = promise.horizon, height or threshold(promise)
        self.stakes = np.repeat(self.first, runs, 1)
        self.audits, self.runs, self.rng = 0, runs, np.random.default_rng(seed)

    def step(self, wrong: Bools) -> Bools:
        """One more audit of each; whether its stakes reach the threshold."""
        stakes = np.maximum(self.stakes, self.floor) * np.where(wrong, self.wrong, self.right)
        self.stakes = np.minimum(stakes, self.height)
        self.audits += 1
        high: Bools = self.stakes.sum(0) >= self.height
        if self.audits % self.horizon == 0:
            self.stakes = np.minimum(self.stakes, self.first)
        return high

    def restart(self, rows: Bools) -> None:
        self.stakes[:, rows] = np.minimum(self.stakes[:, rows], self.first)

    def errors(self, probability: float | Doubles) -> Bools:
        return self.rng.random(self.runs) < probability


def first_alarms(runs: Runs, audits: int, draw: Draw, restarts: float = 0.0) -> Doubles:
    """Number of the audit at which each run first alarms, infinite where none does; restarts at random in between."""
    found = np.full(runs.runs, np.inf)
    for t in range(1, audits + 1):
        high = runs.step(draw(runs, t))
        found[high & np.isinf(found)] = t
        if restarts:
            runs.restart(runs.rng.random(runs.runs) < restarts)
        if t % 100 == 0 and not np.isinf(found).any():
            break
    return found


def steady(probability: float) -> Draw:
    return lambda runs, t: runs.errors(probability)


def _share(values: Bools) -> dict[str, float]:
    mean = float(values.mean())
    return {"share": round(mean, 4), "standard_error": round(math.sqrt(mean * (1 - mean) / len(values)), 4)}


def false_alarms(runs: int) -> dict[str, object]:
    """Share of runs with an alarm within the horizon: exactly at the promise, against adversaries, over classes."""
    found: dict[str, object] = {}
    for error in (0.01, 0.05, 0.10):
        promise = Promise(error, PROMISE.alpha, PROMISE.horizon)
        alarms = first_alarms(Runs(promise, runs, seed=1), promise.horizon, steady(error))
        found[f"at_{error}"] = _share(np.isfinite(alarms))
    m, horizon = PROMISE.error, PROMISE.horizon
    adversaries: dict[str, tuple[Draw, float]] = {
        "bold_when_high": (lambda runs, t: runs.errors(np.where(runs.stakes.sum(0) > 0.5, m, 0.0)), 0.0),
        "bold_when_low": (lambda runs, t: runs.errors(np.where(runs.stakes.sum(0) < 5.0, m, m / 2)), 0.0),
        "bursts": (lambda runs, t: runs.errors(m if t // 100 % 2 else 0.0), 0.0),
        "restarts_each_200": (steady(m), 1 / 200),
    }
    for name, (draw, restarts) in adversaries.items():
        found[name] = _share(np.isfinite(first_alarms(Runs(PROMISE, runs, seed=2), horizon, draw, restarts)))
    each = first_alarms(Runs(shared(PROMISE, CLASSES), runs, seed=3), horizon, steady(m))
    found[f"any_of_{CLASSES}_classes"] = _share(np.any(np.isfinite(each).reshape(CLASSES, -1), axis=0))
    found["per_block_of_a_long_run"] = long_run(runs // 4)
    return found


def long_run(runs: int, blocks: int = 5) -> list[dict[str, float]]:
    """Share of runs with an alarm in each block, returning to work at once after each."""
    monitors, shares = Runs(PROMISE, runs, seed=4), []
    for _ in range(blocks):
        any_alarm = np.zeros(runs, np.bool_)
        for _ in range(PROMISE.horizon):
            high = monitors.step(monitors.errors(PROMISE.error))
            monitors.restart(high)
            any_alarm |= high
        shares.append(_share(any_alarm))
    return shares


def fresh(runs: int) -> dict[str, dict[str, float]]:
    """Median audits from the start where the class is bad from the first."""
    found = {}
    for error, reference in REFERENCE.items():
        median = float(np.median(first_alarms(Runs(PROMISE, runs, seed=5), 10_000, steady(error))))
        found[str(error)] = {
            "median": median,
            "times_reference": round(median / reference, 2),
            "predicted": audits_to_detect(PROMISE, error, fresh=True),
        }
    return found


def late(runs: int, fresh_medians: dict[float, float]) -> dict[str, dict[str, object]]:
    """Median audits from an abrupt change to the alarm. A class that alarms before the change returns at once."""
    pasts: dict[str, tuple[float, Doubles]] = {
        f"{good}_before": (good, np.full(runs, GOOD)) for good in (0.0, 0.02, 0.04, 0.05)
    }
    moments = np.random.default_rng(6).integers(GOOD // 2, 3 * GOOD // 2, runs).astype(np.float64)
    pasts["0.02_before_at_random_times"] = (0.02, moments)
    pasts["0.05_before_at_random_times"] = (0.05, moments)
    pasts["0.05_before_and_a_block_ends_10_audits_later"] = (0.05, np.full(runs, GOOD - 10.0))
    found: dict[str, dict[str, object]] = {}
    for name, (good, change) in pasts.items():
        medians = {error: float(np.median(_delays(runs, good, change, error))) for error in LATE}
        found[name] = {
            "median": medians,
            "times_fresh": {error: round(medians[error] / fresh_medians[error], 2) for error in LATE},
            "times_reference": {error: round(medians[error] / REFERENCE[error], 2) for error in LATE},
        }
    found["predicted"] = {"median": {error: audits_to_detect(PROMISE, error) for error in LATE}}
    return found


def _delays(runs: int, good: float, change: Doubles, bad: float) -> Doubles:
    monitors, delays = Runs(PROMISE, runs, seed=7), np.full(runs, np.inf)
    for t in range(int(change.max()) + 5_000):
        late_now = t >= change
        high = monitors.step(monitors.errors(np.where(late_now, bad, good)))
        monitors.restart(high & ~late_now)
        ended = high & late_now & np.isinf(delays)
        delays[ended] = t + 1 - change[ended]
        if t % 100 == 0 and not np.isinf(delays).any():
            break
    return delays


def reviewers(runs: int, true_error: float = 0.02, audits: int = 3_000) -> dict[str, dict[str, float]]:
    """Share of good classes suspended where reviewers err; the second reader errs independently, or half the time alike."""

    def reading(alike: float | None) -> Draw:
        def draw(monitors: Runs, _: int) -> Bools:
            wrong, errs = monitors.errors(true_error), monitors.errors(READERS)
            if alike is None:
                return wrong ^ errs
            same = monitors.errors(alike)
            second = np.where(same, errs, monitors.errors(READERS))
            confirmed: Bools = (wrong ^ errs) & (wrong ^ second)
            return confirmed

        return draw

    cases = {"second_reader": 0.0, "second_reader_half_alike": 0.5, "one_reader": None}
    return {
        name: _share(np.isfinite(first_alarms(Runs(PROMISE, runs, seed=8), audits, reading(alike))))
        for name, alike in cases.items()
    }


def coverage(runs: int) -> dict[str, dict[str, float]]:
    """Share of runs whose interval ever misses the mean precision, looked at each 20 audits over two epochs."""
    rng, t = np.random.default_rng(10), np.arange(2 * EPOCH)
    drifting = 0.045 + 0.035 * np.sin(t / 150)
    found = {}
    for name, errors in (
        ("at_0.02", np.full(len(t), 0.02)),
        ("at_0.05", np.full(len(t), 0.05)),
        ("drifting_0.01_to_0.08", drifting),
    ):
        missed, mean = np.zeros(runs, np.bool_), np.cumsum(errors) / (t + 1)
        for run in range(runs):
            state = start(PROMISE)
            for now, wrong in enumerate((rng.random(len(t)) < errors).tolist()):
                state = update(state, wrong, now)
                if now % 20 == 19:
                    low, high = interval(state)
                    missed[run] |= not low <= 1 - mean[now] <= high
        found[name] = _share(missed)
    return found


def recalls(runs: int, good: float = 0.02, bad: float = 0.15, change: int = 2_000) -> dict[str, float]:
    """How far `last_good` lies from the true last good audit, in audits, and what share of the bad ones a recall reaches."""
    rng, offsets, reached = np.random.default_rng(11), list[int](), list[float]()
    for _ in range(runs):
        state, t = start(PROMISE), 0
        while not state.alarmed:
            state = update(state, bool(rng.random() < (good if t < change else bad)), t)
            t += 1
        if t <= change:
            continue
        at = last_good(state)
        first_recalled = 0 if at is None else at + 1
        offsets.append(first_recalled - change)
        reached.append((t - max(first_recalled, change)) / (t - change))
    low, middle, high = np.quantile(offsets, (0.1, 0.5, 0.9))
    return {
        "p10": float(low),
        "median": float(middle),
        "p90": float(high),
        "mean_share_of_bad_audits_reached": round(float(np.mean(reached)), 3),
    }


def cost() -> dict[str, float]:
    """Microseconds an update, seconds to a new promise's threshold, bytes of state after a long history."""
    begin = time.perf_counter()
    threshold(Promise(0.049, 0.05, 5_000))
    calibration = time.perf_counter() - begin
    state: State = start(PROMISE)
    begin = time.perf_counter()
    for t in range(20_000):
        state = update(state, t % 40 == 0, 1_790_000_000_000_000 + t)
    return {
        "update_microseconds": round((time.perf_counter() - begin) / 20_000 * 1e6, 1),
        "threshold_seconds": round(calibration, 2),
        "state_bytes": len(msgspec.msgpack.encode(state)),
    }


def to_detect() -> dict[str, dict[str, list[float]]]:
    """Median audits from a fresh start and after a long good stretch: for a class alone, and for one of several."""
    found: dict[str, dict[str, list[float]]] = {}
    for classes in (1, CLASSES):
        for m in (0.01, 0.05, 0.10):
            promise = shared(Promise(m, PROMISE.alpha, PROMISE.horizon), classes)
            found[f"{m}_promised_{classes}_classes"] = {
                f"{times}_times": [audits_to_detect(promise, times * m, fresh=fresh) for fresh in (True, False)]
                for times in (2, 3, 5)
            }
    return found


def run(runs: int = 20_000) -> dict[str, object]:
    fresh_start = fresh(runs)
    return {
        "promise": msgspec.to_builtins(PROMISE),
        "threshold": round(threshold(PROMISE), 2),
        "runs": runs,
        "false_alarms": false_alarms(runs),
        "fresh_start": fresh_start,
        "after_10000_good_audits": late(runs // 10, {float(e): value["median"] for e, value in fresh_start.items()}),
        "audits_to_detect_fresh_and_late": to_detect(),
        "suspended_within_3000_audits_of_2_percent_error": reviewers(runs // 4),
        "interval_missed": coverage(runs // 50),
        "last_good": recalls(runs // 50),
        "cost": cost(),
        "designs": monitor_designs.compare(runs // 5),
    }


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    alpha = found["promise"]["alpha"]
    alarm = found["false_alarms"]["at_0.05"]
    yield (
        "false alarms in 5,000 audits at exactly the promise", f"{alarm['share']:.4f} (± {alarm['standard_error']:.4f})",
        f"<= {alpha:g}", alarm["share"] <= alpha + 2 * alarm["standard_error"],
    )  # fmt: skip
    fresh = found["fresh_start"]
    yield (
        "median audits to alarm at 8, 10, 15, 25% error", " / ".join(f"{each['median']:g}" for each in fresh.values()),
        "<= 1.3 x 625 / 197 / 52 / 13", all(each["times_reference"] <= 1.3 for each in fresh.values()),
    )  # fmt: skip
    late = max(
        max(each["times_fresh"].values()) for each in found["after_10000_good_audits"].values() if "times_fresh" in each
    )
    yield "after 10,000 good audits, over a fresh start, at worst", f"{late:.2f}", "<= 3", late <= 3
    readers = found["suspended_within_3000_audits_of_2_percent_error"]["second_reader"]["share"]
    yield "suspended at 2% error with 5% reviewer error", f"{readers:.4f}", "<= 0.02", readers <= 0.02
    cost = found["cost"]
    yield (
        "state of a class, its update", f"{cost['state_bytes']} bytes, {cost['update_microseconds']:.1f} µs",
        "<= 1,024 bytes", cost["state_bytes"] <= 1024,
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(run()))
