"""Exact binomial decisions, against scipy and against the table of published counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from model_store.binomial import fewest_draws
from triage.promise.exact import reads_for_resume, resumes


@given(errors=st.integers(0, 20), below=st.floats(0, 1))
def test_a_class_below_its_target_resumes_at_most_as_often_as_delta(errors: int, below: float) -> None:
    reads = fewest_draws(errors, 0.05, 0.05)
    assert binom.cdf(errors, reads, 1 - 0.95 * below) <= 0.05 + 1e-12


@pytest.mark.parametrize("precision", [0.97, 0.98, 0.99, 1.0])
def test_planned_reads_are_the_fewest_with_which_a_good_class_passes(precision: float) -> None:
    planned = reads_for_resume(0.95, 0.05, precision)
    assert planned is not None
    reads, errors = planned
    assert resumes(reads, errors, 0.95, 0.05)
    assert binom.cdf(errors, reads, 1 - precision) >= 0.8
    for fewer in range(1, reads):
        passing = [e for e in range(errors + 1) if resumes(fewer, e, 0.95, 0.05)]
        assert not passing or binom.cdf(passing[-1], fewer, 1 - precision) < 0.8


def test_what_cannot_be_proven_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match="name a precision above the target"):
        reads_for_resume(0.95, 0.05, 0.95)
    assert reads_for_resume(0.95, 0.05, 0.9501) is None, "nobody would read so much"
    assert reads_for_resume(0.9999, 0.01, 1.0) is None, "nor here, where no error is allowed"
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        resumes(10, 0, 1.0, 0.05)
