"""Is the promise kept, and what does keeping it cost? Certification data drawn again and again from a fixed population.

Each redraw goes the whole way: images drawn from the population, with replacement, are certified by `training.certify.certify`,
as for users, with the bundle's gate; the rules that come out answer the whole population through `model_store.decision`, where
what they do is known exactly. Among the images are some of a label without a head (fashion.py). Beside it the naive rule
(the most lenient threshold with an empirical precision of at least the target) and the most that was found to be possible for
who knows the population (oracle.py).

python -m tests.benchmarks.certify.promise            of Fashion-MNIST where it is installed
python -m tests.benchmarks.certify.promise sample     of the shipped sample
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable, decide
from tests.benchmarks.certify import oracle
from tests.benchmarks.certify.fashion import SEED, World, world
from training import tuning
from training.certify import blank, certify
from training.points import Bools, Floats, above, free
from training.recipe import Certification
from training.score import Scores

REDRAWS = 500
TARGETS = (0.90, 0.95, 0.99)
DELTA = 0.1
SIZES = {5_000: 0.80, 10_000: 0.88}
"""Certification images, and the share of the oracle's coverage that has to be reached with them at TARGET."""
ACCURATE = 0.91
"""The model's accuracy from which on so much coverage has to be reached. The shipped sample's has less to learn from."""
TARGET = 0.95
WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def answers(table: DecisionTable, population: Scores, target: float) -> tuple[float, Bools]:
    """Share of the population that is answered, and `[C]` whether a class's answers are right less often than `target`."""
    fires = decide(table, population.probability, population.typicality).fires
    fired, wrong = fires.sum(axis=0), (fires & (population.truth != 1)).sum(axis=0)
    return float(fired.sum() / len(population)), wrong > (1 - target) * fired + 1e-9


def naive(table: DecisionTable, plan: tuning.Tests, drawn: Scores, knobs: Certification) -> DecisionTable:
    """Per class the most lenient candidate with an empirical precision of at least the target."""
    points = above(table, drawn, np.full(len(table.heads), knobs.min_threshold, np.float32))
    points = points.only(free(table, drawn, points))
    threshold: Floats = np.full(len(table.heads), np.nan, np.float32)
    for k, tried in enumerate(plan.candidates):
        fired, wrong = points.counts(k, tried.threshold)
        good = np.flatnonzero((fired > 0) & (wrong <= (1 - knobs.target) * fired))
        if len(good):
            threshold[k] = tried.threshold[good[-1]]
    return replace(table, automatic=~np.isnan(threshold), threshold=threshold)


def measure(found: World, target: float, images: int, redraws: int) -> dict[str, object]:
    """One target with one size of certification sample."""
    knobs = replace(found.recipe.certification, target=target, delta=DELTA)
    recipe, population = replace(found.recipe, certification=knobs), found.population
    nothing = blank(found.bundle, recipe)
    plan = tuning.plan(
        nothing, found.tune, images, knobs
    )  # what `certify` makes again each time; here for the naive rule
    known = oracle.best(nothing, population, knobs, np.random.default_rng([SEED, round(1000 * target)]))
    rng = np.random.default_rng([SEED, images, round(1000 * target)])
    broken, broken_naive, coverage, classes, seconds = 0, 0, [], [], 0.0
    for _ in range(redraws):
        drawn = _take(population, rng.integers(0, len(population), images))
        started = time.perf_counter()
        made = certify(found.bundle, recipe, {}, found.tune, drawn, WHEN)
        seconds += time.perf_counter() - started
        table = DecisionTable.build(made, found.bundle.manifest)
        share, below = answers(table, population, target)
        broken += bool(below.any())
        coverage.append(share)
        classes.append(int(table.automatic.sum()))
        broken_naive += bool(
            answers(naive(replace(nothing, veto=plan.veto), plan, drawn, knobs), population, target)[1].any()
        )
    mean = float(np.mean(coverage))
    return {
        "target": target, "images": images, "redraws": redraws, "attempted": int(plan.attempted.sum()),
        "automatic": float(np.mean(classes)), "broken": broken / redraws, "naive_broken": broken_naive / redraws,
        "allowed": DELTA + 2 * (DELTA * (1 - DELTA) / redraws) ** 0.5,
        "coverage": mean, "coverage_5_to_95": np.quantile(coverage, (0.05, 0.95)).tolist(),
        "oracle": known.share, "oracle_starts": oracle.STARTS, "oracle_starts_agree": known.agree,
        "of_oracle": mean / known.share, "certify_milliseconds": 1000 * seconds / redraws,
    }  # fmt: skip


def _take(population: Scores, rows: npt.NDArray[np.int64]) -> Scores:
    """Without the images: a redraw holds some of them twice, as a certification set never does."""
    return Scores((), population.probability[rows], population.typicality[rows], population.truth[rows], 0)


def run(redraws: int = REDRAWS, name: str = "") -> dict[str, object]:
    """Every target at 5,000 certification images, and TARGET at every size of SIZES. Prints one JSON line."""
    started = time.perf_counter()
    found = world(name)
    asked = [(target, min(SIZES)) for target in TARGETS] + [
        (TARGET, images) for images in SIZES if images != min(SIZES)
    ]
    rows = [measure(found, target, images, redraws) for target, images in asked]
    gate = found.bundle.manifest.gate
    result = {
        "measure": "promise", "data": found.name, "bundle": found.bundle.digest, "accuracy": found.accuracy,
        "population": len(found.population), "strangers": found.strangers, "tune": len(found.tune),
        "floor": gate.reject if gate else 0.0, "delta": DELTA, "seed": SEED, "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip
    print(json.dumps(result))
    return result


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    accurate, small = found["accuracy"] >= ACCURATE, found["data"] == "sample"
    yield (
        f"accuracy of the model, {found['population']:,} images ({found['data']}), {found['strangers']:.1%} strangers",
        f"{found['accuracy']:.3f}", "" if small else f">= {ACCURATE:g}", accurate or small,
    )  # fmt: skip
    for row in found["rows"]:
        what = f"target {row['target']:g}, {row['images']:,} images, {row['redraws']} redraws"
        yield (
            f"{what}: a class below its target",
            f"{row['broken']:.3f} (naive rule {row['naive_broken']:.3f}; {row['automatic']:.1f} classes)",
            f"<= {row['allowed']:.3f}", row["broken"] <= row["allowed"],
        )  # fmt: skip
        if row["target"] == TARGET:
            least, asked = SIZES[row["images"]], accurate or not small
            yield (
                f"{what}: coverage over the best found",
                f"{row['of_oracle']:.3f} ({row['coverage']:.3f} of {row['oracle']:.3f})",
                f">= {least:g}" if asked else "", row["of_oracle"] >= least or not asked,
            )  # fmt: skip


if __name__ == "__main__":
    run(name=sys.argv[1] if len(sys.argv) > 1 else "")
