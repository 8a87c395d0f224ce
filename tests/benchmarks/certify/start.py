"""Where should a class's one test sequence start? Compared on simulated populations, which no other figure is reported on.

Images of exclusive classes, common and rare, each with one neighbour it is taken for more or less often, and a few that belong
to none. Plans are made from tuning images as always; then certification images are drawn, and the sequences run on the same
draws from several starts: the threshold with the best chance to pass, the most lenient whose chance of failing is at most so
many times the least, and the one with the most expected certified answers (chance times answers), which is what `certify`
does. Of each start the coverage and how many classes pass, over those of the best chance, with standard errors over the
populations.

python -m tests.benchmarks.certify.start
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model_store.decision import DecisionTable
from training import calibrate, sequence, tuning
from training.points import above, free
from training.recipe import Certification
from training.score import Scores

Start = Callable[[tuning.Candidates], int]


def _within(times: float) -> Start:
    return lambda tried: int(np.flatnonzero(1 - tried.chance <= times * (1 - tried.chance.max()))[-1])


STARTS: dict[str, Start] = {
    "best chance": _within(1.0),
    **{f"fails {times:g} times the least": _within(times) for times in (1.05, 1.25, 1.5, 2, 4, 8)},
    "most expected answers": lambda tried: tried.start,  # what certify does
}
POPULATIONS, IMAGES, REDRAWS = 24, 40_000, 20
TUNE = (1_000, 5_000)
SIZES = (2_000, 5_000, 10_000)
TARGETS = (0.90, 0.95, 0.99)
SEED = 2_000


def run(populations: int = POPULATIONS) -> dict[str, object]:
    """Prints one JSON line."""
    gains = np.array([_gains(np.random.default_rng([SEED, each])) for each in range(populations)])
    mean, error = gains.mean(axis=0), gains.std(axis=0, ddof=1) / populations**0.5
    result = {
        "measure": "start", "seed": SEED, "populations": populations, "redraws": REDRAWS,
        "over_best_chance": {
            start: {
                what: {"mean": round(float(mean[at, column]), 4), "standard_error": round(float(error[at, column]), 4)}
                for column, what in enumerate(("coverage", "classes"))
            }
            for at, start in enumerate(STARTS)
        },
    }  # fmt: skip
    print(json.dumps(result))
    return result


def _gains(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """`[starts, 2]`: answers, and classes that pass, over those of the first start; all settings of one population."""
    tune, population = _simulated(rng)
    reached = np.zeros((len(STARTS), 2))
    for plan, table, images in _plans(tune, population):
        lowest = np.full(len(table.heads), Certification().min_threshold, np.float32)
        everything = above(table, population, lowest)
        everything = everything.only(free(table, population, everything))
        for _ in range(REDRAWS):
            drawn = _take(population, rng.integers(0, len(population), images))
            points = above(table, drawn, lowest)
            points = points.only(free(table, drawn, points))
            for k in np.flatnonzero(plan.attempted).tolist():
                tried = plan.candidates[k]
                firings, errors = points.counts(k, tried.threshold)
                for at, start in enumerate([rule(tried) for rule in STARTS.values()]):
                    found = sequence.presence(
                        tried.threshold[start:], firings[start:], errors[start:], float(plan.target[k]), plan.level
                    )
                    if found.threshold is not None:
                        (fired,), _ = everything.counts(k, np.array([found.threshold]))
                        reached[at] += fired, 1
    gains: npt.NDArray[np.float64] = reached / reached[0]
    return gains


def _plans(tune: Scores, population: Scores) -> Iterator[tuple[tuning.Tests, DecisionTable, int]]:
    for few in TUNE:
        chosen = _take(tune, np.arange(few))
        for target in TARGETS:
            for images in SIZES:
                table = blank(population.probability.shape[1])
                plan = tuning.plan(table, chosen, images, Certification(target=target))
                yield plan, replace(table, veto=plan.veto), images


def _simulated(rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Tuning images and a population of 5 to 30 classes; the scores are calibrated on the tuning images."""
    classes, images = int(rng.integers(5, 31)), IMAGES + max(TUNE)
    common = rng.dirichlet(np.full(classes, 2.0))
    ease, spread = rng.uniform(0.5, 6, classes), rng.uniform(1.5, 2.5, classes)
    neighbour = (np.arange(classes) + rng.integers(1, classes, classes)) % classes
    kind = rng.choice(classes, images, p=common)
    margin = rng.normal(ease[kind], spread[kind])
    logit = rng.normal(-7, 1, (images, classes))
    rows = np.arange(images)
    logit[rows, neighbour[kind]] = -margin + rng.normal(0, 0.7, images)
    logit[rows, kind] = margin + rng.normal(0, 0.7, images)
    truth = np.zeros((images, classes), np.int8)
    truth[rows, kind] = 1
    truth[rng.random(images) < 0.03] = 0  # of none of the classes, though the model takes it for one
    few = max(TUNE)
    score = logit.astype(np.float32)
    platt = calibrate.fit(score[:few], truth[:few])
    probability = (1 / (1 + np.exp(-(platt.slope * score + platt.offset)))).astype(np.float32)
    made = Scores((), probability, np.ones(images, np.float32), truth, 0)
    return _take(made, rows[:few]), _take(made, rows[few:])


def _take(scores: Scores, rows: npt.NDArray[np.int64]) -> Scores:
    return replace(
        scores, probability=scores.probability[rows], typicality=scores.typicality[rows], truth=scores.truth[rows]
    )


def blank(classes: int) -> DecisionTable:
    """One exclusive group under rules by which nothing answers."""
    nothing = np.full(classes, np.nan, np.float32)
    return DecisionTable(
        heads=tuple(f"class-{k}" for k in range(classes)), floor=np.float32(0), automatic=np.zeros(classes, bool),
        threshold=nothing, sampling=nothing, sampling_probability=nothing, veto=np.full(classes, 2, np.float32),
        absent_below=nothing, group=np.zeros(classes, np.intp), exclusive=np.array([True]),
        each_decided=np.array([False]), complete=np.array([True]), required=np.array([True]),
        size=np.array([classes]), headless_required=False,
    )  # fmt: skip


if __name__ == "__main__":
    run()
