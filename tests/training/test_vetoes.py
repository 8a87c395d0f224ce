"""The search for vetoes: what it believes to be stopped is what the decision stops, and it never makes things worse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from tests import bundles
from tests.training.populations import population, recipe_for
from training import vetoes
from training.certify import blank
from training.points import above, chunks, free
from training.recipe import Certification
from training.score import Scores
from training.tuning import plan
from training.vetoes import Worth

GRID = np.array([0.05, 0.1, 0.3, 0.5], np.float32)
LEVELS = st.sampled_from([*GRID.tolist(), 2.0])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DecisionTable:
    bundle: Bundle = bundles.make(tmp_path_factory.mktemp("data"))
    return blank(bundle, recipe_for())


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 300), st.tuples(LEVELS, LEVELS, LEVELS), st.floats(0, 0.9))
def test_its_own_bookkeeping_of_what_is_stopped_is_the_decisions(
    table: DecisionTable, seed: int, n: int, veto: tuple[float, ...], lowest: float
) -> None:
    scores = population(n, seed)
    points = above(table, scores, np.full(3, lowest, np.float32))
    hits = above(table, scores, np.full(3, GRID.min(), np.float32))
    stops = vetoes._stops(table, points, hits)
    level = np.array(veto, np.float32)
    owner = np.repeat(np.arange(3), np.diff(stops.start))
    blocked = np.bincount(stops.point[stops.score >= level[owner]], minlength=len(points.row))
    assert np.array_equal(blocked == 0, free(replace(table, veto=level), scores, points))


def brute(table: DecisionTable, points: Any, scores: Any, worth: Any) -> float:
    """Worth of the places that fire, place by place."""
    kept = free(table, scores, points) & (points.score >= worth.threshold[points.column])
    return float(np.where(points.wrong, worth.wrong[points.column], worth.right[points.column])[kept].sum())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(-3, -0.5))
def test_a_round_takes_each_class_to_its_best_veto_while_the_others_stay(
    table: DecisionTable, seed: int, price: float
) -> None:
    """With fixed worths no single class could gain by another veto than the one the last turn gave it."""
    scores, lowest = population(400, seed), np.full(3, 0.5, np.float32)
    points = above(table, scores, lowest)
    hits = above(table, scores, np.full(3, GRID.min(), np.float32))
    stops = vetoes._stops(table, points, hits)
    worth = Worth(0.0, np.full(3, 0.55, np.float32), np.ones(3), np.full(3, price))
    now = replace(table, veto=np.full(3, 0.5, np.float32))
    for _ in range(12):
        after = vetoes._round(now, points, stops, GRID, lowest, worth)
        if np.array_equal(after.veto, now.veto):
            break
        assert brute(after, points, scores, worth) >= brute(now, points, scores, worth)
        now = after
    best = brute(now, points, scores, worth)
    for k in range(3):
        for level in GRID:
            other = replace(now, veto=np.where(np.arange(3) == k, level, now.veto).astype(np.float32))
            assert brute(other, points, scores, worth) <= best + 1e-9


def test_a_veto_that_gives_a_hopeless_class_its_chance_is_found(table: DecisionTable) -> None:
    """One red answer in three is a green image, as certain as the others, and only its second score betrays it.

    The veto that finds it out costs blue some right answers, so that it pays only for who sees that far.
    """
    rng, n = np.random.default_rng(0), 3000
    kind = rng.integers(0, 3, n)
    truth = (kind[:, None] == np.arange(3)).astype(np.int8)
    logit = rng.normal(-6, 0.7, (n, 3)) + 9 * truth
    betrayed = (kind == 1) & (rng.random(n) < 0.5)
    logit[betrayed, 0], logit[betrayed, 1] = 3 + rng.normal(0, 0.7, betrayed.sum()), -1.2
    logit[(kind == 2) & (rng.random(n) < 0.05), 1] = -1.2
    scores = Scores((), (1 / (1 + np.exp(-logit))).astype(np.float32), np.ones(n, np.float32), truth, 0)
    made, without = (plan(table, scores, 5000, knobs) for knobs in (Certification(), Certification(vetoes=(0.5,))))
    assert without.candidates[0].best < 0.2
    assert made.candidates[0].best > 0.99
    assert made.veto[1] <= 0.2


def test_chunks_cover_every_image_once() -> None:
    for n in (0, 1, 1000):
        rows = [row for part in chunks(population(n, 0)) for row in range(n)[part]]
        assert rows == list(range(n))
