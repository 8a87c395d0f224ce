"""Exact binomial statements: against published tables, against SciPy's own test, and by their promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binom, binomtest

from model_store.binomial import fewest_draws
from training.binomial import allowed_errors, chance_to_pass, lower_bound, upper_bound

targets = st.sampled_from([0.8, 0.9, 0.95, 0.98, 0.99])
deltas = st.sampled_from([0.1, 0.05, 0.1 / 7, 0.01])


@given(st.integers(1, 3000), st.data(), deltas)
def test_bounds_are_scipys_clopper_pearson(firings: int, data: st.DataObject, delta: float) -> None:
    errors = data.draw(st.integers(0, firings))
    right = firings - errors
    low = binomtest(right, firings, alternative="greater").proportion_ci(1 - delta, "exact").low
    high = binomtest(right, firings, alternative="less").proportion_ci(1 - delta, "exact").high
    assert lower_bound(firings, errors, delta) == pytest.approx(low, abs=1e-9)
    assert upper_bound(firings, errors, delta) == pytest.approx(high, abs=1e-9)


@given(st.integers(0, 5000), targets, deltas)
def test_allowed_errors_is_the_last_count_whose_bound_reaches_the_target(n: int, target: float, delta: float) -> None:
    allowed = int(allowed_errors(n, target, delta))
    assert allowed == -1 or lower_bound(n, allowed, delta) >= target - 1e-12
    assert allowed + 1 > n or lower_bound(n, allowed + 1, delta) < target


@given(st.integers(0, 200), targets, deltas)
def test_the_inverse_agrees_with_the_tail_that_certificates_are_checked_with(
    errors: int, target: float, delta: float
) -> None:
    need = fewest_draws(errors, 1 - target, delta)
    assert allowed_errors(need, target, delta) == errors
    assert allowed_errors(need - 1, target, delta) < errors


@given(targets, deltas)
def test_a_class_at_the_target_is_certified_with_at_most_delta(target: float, delta: float) -> None:
    """The promise itself, exactly and for every number of firings: P(certified | precision just misses) <= delta."""
    firings = np.arange(1, 2000)
    certified = np.asarray(binom.cdf(allowed_errors(firings, target, delta), firings, 1 - target))
    assert certified.max() <= delta + 1e-12


@given(st.integers(0, 300), st.data(), st.integers(0, 600))
def test_chance_is_the_beta_binomial_tail(firings: int, data: st.DataObject, future: int) -> None:
    errors = data.draw(st.integers(0, firings))
    allowed = int(allowed_errors(future, 0.95, 0.02))
    wanted = betabinom.cdf(allowed, future, errors + 0.5, firings - errors + 0.5) if allowed >= 0 else 0.0
    found = chance_to_pass(np.array([firings]), np.array([errors]), np.array([future]), 0.95, 0.02)
    assert found[0] == pytest.approx(wanted, abs=1e-9)
