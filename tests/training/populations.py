"""Simulated populations that several tests certify on: scores without images, and the promise that is asked of them."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np

from training import recipe
from training.recipe import Certification, Recipe
from training.score import Scores

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
KNOBS = Certification(candidates=30, vetoes=(0.1, 0.5))


def population(n: int, seed: int, skill: float = 1.0, strangers: float = 0.05) -> Scores:
    """Images of three exclusive classes and of a fourth that has no head, scored by a model of some skill."""
    rng = np.random.default_rng(seed)
    kind = np.where(rng.random(n) < strangers, 3, rng.integers(0, 3, n))
    logit = rng.normal(-2.5, 1.5, (n, 3))
    for k, gain in enumerate((4.5, 4.0, 2.0)):
        logit[kind == k, k] += gain * skill
    logit[kind == 3] += rng.normal(1.0, 1.5, (int((kind == 3).sum()), 3))
    truth = (kind[:, None] == np.arange(3)).astype(np.int8)
    return Scores((), (1 / (1 + np.exp(-logit))).astype(np.float32), np.ones(n, np.float32), truth, 0)


def recipe_for(knobs: Certification = KNOBS) -> Recipe:
    """The shipped recipe with another promise."""
    return dataclasses.replace(recipe.sample(), certification=knobs)
