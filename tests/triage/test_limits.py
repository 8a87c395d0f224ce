"""Token buckets: what they let through, and that strangers cannot fill the memory with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.access.limits import BURST_S, Buckets


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    buckets = Buckets()
    assert [buckets.take("a", 2.0, 100.0) for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a", 2.0, 100.0) == pytest.approx(0.5)
    assert buckets.take("a", 2.0, 100.25) == pytest.approx(0.25)
    assert buckets.take("a", 2.0, 100.5) == 0
    assert buckets.take("b", 2.0, 100.5) == 0


def test_a_slow_rate_still_lets_one_through() -> None:
    buckets = Buckets()
    assert buckets.take("a", 0.01, 0) == 0
    assert buckets.take("a", 0.01, 0) == pytest.approx(100)


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    buckets = Buckets()
    assert [buckets.take("a", 1.0, now) for now in (10, 9, 8)][:2] == [0, 0]
    assert buckets.take("a", 1.0, 7) > 0


@given(st.floats(0.1, 50), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_more_passes_than_the_burst_and_the_rate(rate: float, pauses: list[float]) -> None:
    buckets, now, passed = Buckets(), 0.0, 0
    for pause in pauses:
        now += pause
        passed += buckets.take("a", rate, now) == 0
    assert passed <= max(1.0, rate * BURST_S) + rate * now + 1e-6


def test_names_beyond_the_bound_are_forgotten_oldest_first() -> None:
    buckets = Buckets(most=100)
    for name in range(1000):
        buckets.take(str(name), 1.0, 0.0, burst=1)
        buckets.take("kept", 1.0, 0.0, burst=1)
    assert len(buckets) == 100
    assert buckets.take("kept", 1.0, 0.0, burst=1) > 0
    assert buckets.take("1", 1.0, 0.0, burst=1) == 0
