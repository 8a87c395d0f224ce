"""Is the promise kept, and what does keeping it cost? Certification data drawn again and again from a fixed population.

Per target: plans are made once, from tuning images; then certification images are drawn from the population, with replacement,
and the tests run on them. What the certified thresholds do on the whole population is known exactly. Beside it the naive rule
(the most lenient threshold with an empirical precision of at least the target) and the oracle, which knows the population:
for every class the most lenient threshold that is precise enough there, under the best vetoes of the same family.

python -m tests.benchmarks.certify.promise
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable
from tests.benchmarks.certify.fashion import SEED, World, world
from training import tuning, vetoes
from training.certify import presence
from training.points import Floats, Points, above, free
from training.recipe import Certification
from training.score import Scores
from training.vetoes import Worth

REDRAWS = 500
TARGETS = (0.90, 0.95, 0.99)
DELTA = 0.1
SIZES = {5_000: 0.80, 10_000: 0.88}
"""Certification images, and the share of the oracle's coverage that has to be reached with them at TARGET."""
TARGET = 0.95


@dataclass(frozen=True)
class Known:
    """The population under a plan's vetoes: what any thresholds would do."""

    points: Points
    images: int

    def does(self, thresholds: Floats) -> tuple[float, list[float]]:
        """Share of the images answered, and the precision of each class that fires at all; NaN thresholds never do."""
        firings, precisions = 0, []
        for k in np.flatnonzero(~np.isnan(thresholds)).tolist():
            (fired,), (wrong,) = self.points.counts(k, thresholds[k : k + 1])
            firings += int(fired)
            if fired:
                precisions.append(1 - float(wrong / fired))
        return firings / self.images, precisions


def known(table: DecisionTable, population: Scores, lowest: float) -> Known:
    points = above(table, population, np.full(len(table.heads), lowest, np.float32))
    return Known(points.only(free(table, population, points)), len(population))


def oracle(table: DecisionTable, population: Scores, knobs: Certification) -> tuple[float, DecisionTable]:
    """The highest share answered with every class at least as precise as its target on the population itself."""
    lowest = np.full(len(table.heads), knobs.min_threshold, np.float32)
    grid = np.array(knobs.vetoes, np.float32)
    points = above(table, population, lowest)
    hits = above(table, population, np.full(len(lowest), grid.min(), np.float32))

    def appraise(trial: DecisionTable) -> tuple[Worth]:
        kept = points.only(free(trial, population, points))
        heads = len(lowest)
        threshold, right, wrong, total = np.full(heads, np.inf, np.float32), np.zeros(heads), np.zeros(heads), 0.0
        for k in range(heads):
            here = slice(kept.start[k], kept.start[k + 1])
            score = kept.score[here]
            fired = np.arange(1, len(score) + 1)
            over = np.cumsum(kept.wrong[here]) - (1 - knobs.target) * fired
            over[np.append(score[1:] == score[:-1], False)] = np.inf  # only whole ties can fire
            best = int(np.flatnonzero(over <= 0)[-1]) + 1 if (over <= 0).any() else 0
            if not best:
                continue
            slack = max(3.0, 0.01 * best)
            more, less = (int(np.flatnonzero(over <= s)[-1]) + 1 if (over <= s).any() else 0 for s in (slack, -slack))
            price = (more - less) / (2 * slack)  # firings that one error less is worth, beside itself
            total += best
            threshold[k] = score[best - 1]
            right[k], wrong[k] = 1 + price * (1 - knobs.target), 1 - price * knobs.target
        return (Worth(total, threshold, right, wrong),)

    best = vetoes.choose(table, points, hits, grid, lowest, appraise)
    return max(appraise(each)[0].total for each in (best, table)) / len(population), best


def naive(plan: tuning.Plan, seen: Points, target: float) -> Floats:
    """`[C]`: per class the most lenient candidate with an empirical precision of at least the target; NaN without one."""
    thresholds = np.full(len(plan.candidates), np.nan, np.float32)
    for k, tried in enumerate(plan.candidates):
        fired, wrong = seen.counts(k, tried.threshold)
        good = np.flatnonzero((fired > 0) & (wrong <= (1 - target) * fired))
        if len(good):
            thresholds[k] = tried.threshold[good[-1]]
    return thresholds


def measure(found: World, table: DecisionTable, target: float, images: int, redraws: int) -> dict[str, object]:
    """One target with one size of certification sample."""
    knobs = Certification(target=target, delta=DELTA)
    plan = tuning.plan(table, found.tune, images, knobs)
    table = replace(table, veto=plan.veto)
    truth = known(table, found.population, knobs.min_threshold)
    best = max(oracle(table, found.population, knobs)[0], oracle(table_mild(table), found.population, knobs)[0])
    rng = np.random.default_rng([SEED, images, round(1000 * target)])
    broken, broken_naive, coverage, classes = 0, 0, [], []
    for _ in range(redraws):
        rows = rng.integers(0, len(found.population), images)
        drawn = sample(found.population, rows)
        thresholds = np.full(len(table.heads), np.nan, np.float32)
        for label, verdict in presence(table, plan, drawn).items():
            if verdict.threshold is not None:
                thresholds[table.heads.index(label)] = verdict.threshold
        share, precisions = truth.does(thresholds)
        broken += any(precision < target for precision in precisions)
        coverage.append(share)
        classes.append(len(precisions))
        broken_naive += any(
            p < target for p in truth.does(naive(plan, known(table, drawn, knobs.min_threshold).points, target))[1]
        )
    return {
        "target": target, "images": images, "redraws": redraws, "attempted": int(plan.attempted.sum()),
        "automatic": float(np.mean(classes)), "broken": broken / redraws, "naive_broken": broken_naive / redraws,
        "allowed": DELTA + 2 * (DELTA * (1 - DELTA) / redraws) ** 0.5,
        "coverage": float(np.mean(coverage)), "oracle": best, "of_oracle": float(np.mean(coverage) / best),
    }  # fmt: skip


def sample(population: Scores, rows: npt.NDArray[np.int64]) -> Scores:
    return Scores((), population.probability[rows], population.typicality[rows], population.truth[rows], 0)


def table_mild(table: DecisionTable) -> DecisionTable:
    return replace(table, veto=np.full(len(table.veto), max(Certification().vetoes), np.float32))


def blank(found: World) -> DecisionTable:
    """No class automatic, no floor: the gate is measured apart (unlike.py)."""
    schema, heads = found.schema, found.schema.ids
    nothing = np.full(len(heads), np.nan, np.float32)
    return DecisionTable(
        heads=heads, floor=np.float32(0), automatic=np.zeros(len(heads), bool), threshold=nothing, sampling=nothing,
        sampling_probability=nothing, veto=np.full(len(heads), 2, np.float32), absent_below=nothing,
        group=np.zeros(len(heads), np.intp), exclusive=np.array([schema.groups[0].kind == "exclusive"]),
        each_decided=np.array([False]), complete=np.array([True]), required=np.array([True]),
        size=np.array([len(heads)]), headless_required=False,
    )  # fmt: skip


def run(redraws: int = REDRAWS) -> dict[str, object]:
    """Every target at 5,000 certification images, and TARGET at every size of SIZES. Prints one JSON line."""
    started = time.perf_counter()
    found = world()
    table = blank(found)
    asked = [(target, min(SIZES)) for target in TARGETS] + [
        (TARGET, images) for images in SIZES if images != min(SIZES)
    ]
    rows = [measure(found, table, target, images, redraws) for target, images in asked]
    result = {
        "measure": "promise", "data": found.name, "accuracy": found.accuracy, "population": len(found.population),
        "tune": len(found.tune), "delta": DELTA, "seed": SEED, "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    run()
