"""Exact tails and the fewest draws, against SciPy and against published tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from model_store.binomial import at_most, fewest_draws

FEWEST = {  # draws that prove a precision of the target, for 0, 1, 2 and 5 errors
    (0.10, 0.90): (22, 38, 52, 91), (0.10, 0.95): (45, 77, 105, 184),
    (0.10, 0.98): (114, 194, 265, 462), (0.10, 0.99): (230, 388, 531, 926),
    (0.05, 0.90): (29, 46, 61, 103), (0.05, 0.95): (59, 93, 124, 208),
    (0.05, 0.98): (149, 236, 313, 523), (0.05, 0.99): (299, 473, 628, 1049),
    (0.01, 0.90): (44, 64, 81, 127), (0.01, 0.95): (90, 130, 165, 259),
    (0.01, 0.98): (228, 330, 418, 652), (0.01, 0.99): (459, 662, 838, 1307),
}  # fmt: skip


@given(draws=st.integers(0, 3_000), share=st.floats(0, 1), rate=st.floats(0, 1))
def test_the_tail_is_scipys(draws: int, share: float, rate: float) -> None:
    events = int(share * draws)
    assert at_most(events, draws, rate) == pytest.approx(binom.cdf(events, draws, rate), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("promise", "fewest"), FEWEST.items())
def test_the_fewest_draws_are_the_known_table(promise: tuple[float, float], fewest: tuple[int, ...]) -> None:
    delta, target = promise
    assert tuple(fewest_draws(errors, 1 - target, delta) for errors in (0, 1, 2, 5)) == fewest


@given(events=st.integers(0, 40), rate=st.floats(0.01, 0.5), level=st.floats(0.001, 0.2))
def test_one_draw_less_would_not_do_and_a_known_beginning_changes_nothing(
    events: int, rate: float, level: float
) -> None:
    fewest = fewest_draws(events, rate, level)
    assert at_most(events, fewest, rate) <= level < at_most(events, fewest - 1, rate)
    assert fewest_draws(events, rate, level, above=fewest - 1) == fewest


@pytest.mark.parametrize(("rate", "level"), [(0.0, 0.1), (1.0, 0.1), (0.05, 0.0), (0.05, 1.0), (float("nan"), 0.1)])
def test_what_cannot_be_tested_is_refused(rate: float, level: float) -> None:
    with pytest.raises(ValueError, match=re.escape("cannot be tested")):
        fewest_draws(0, rate, level)
