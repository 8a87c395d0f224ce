"""Platt scaling: readable scores, the same ranking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training.calibrate import fit
from training.images import UNKNOWN


def _scores(slope: float, offset: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, (n, 1)).astype(np.float32)
    return logit, (rng.random((n, 1)) < expit(slope * logit + offset)).astype(np.int8)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.4, -1.0), (2.5, 1.5)])
def test_it_finds_the_scaling_that_made_the_labels(slope: float, offset: float) -> None:
    logit, truth = _scores(slope, offset, 40_000)
    platt = fit(logit, truth)
    assert platt.slope[0] == pytest.approx(slope, rel=0.06)
    assert platt.offset[0] == pytest.approx(offset, abs=0.06)


def test_it_is_logistic_regression() -> None:
    """With many labels Platt's smoothed targets are the labels, and the fit is unregularised logistic regression."""
    logit, truth = _scores(1.3, -0.7, 20_000)
    oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(logit, truth[:, 0])
    platt = fit(logit, truth)
    assert platt.slope[0] == pytest.approx(oracle.coef_[0, 0], abs=5e-3)
    assert platt.offset[0] == pytest.approx(oracle.intercept_[0], abs=5e-3)


@given(st.lists(st.tuples(st.floats(-30, 30, width=32), st.sampled_from([0, 1, UNKNOWN])), max_size=40))
def test_it_never_turns_a_ranking_round(rows: list[tuple[float, int]]) -> None:
    logit = np.array([row[0] for row in rows], np.float32).reshape(-1, 1)
    platt = fit(logit, np.array([row[1] for row in rows], np.int8).reshape(-1, 1))
    assert platt.slope[0] > 0
    assert np.isfinite(platt.slope).all()
    assert np.isfinite(platt.offset).all()


def test_unknown_labels_change_nothing() -> None:
    logit, truth = _scores(1.0, 0.0, 500)
    more = np.concatenate([logit, np.full((300, 1), 9, np.float32)])
    masked = np.concatenate([truth, np.full((300, 1), UNKNOWN, np.int8)])
    assert fit(more, masked) == fit(logit, truth) or np.allclose(fit(more, masked).slope, fit(logit, truth).slope)


def test_a_head_with_one_kind_of_answer_keeps_its_scores() -> None:
    platt = fit(np.ones((5, 2), np.float32), np.array([[0, 1]] * 5, np.int8))
    assert (platt.slope.tolist(), platt.offset.tolist()) == ([1, 1], [0, 0])
