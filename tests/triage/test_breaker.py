"""The breaker, with a clock in the test's hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from triage.classifier.breaker import Breaker


def test_it_opens_after_failures_in_a_row_and_closes_on_one_success() -> None:
    breaker = Breaker(failures_to_open=3, retry_after_s=1)
    for moment in (0.0, 0.1):
        breaker.failed(moment)
        assert breaker.admits(moment)
    breaker.failed(0.2)
    assert [breaker.admits(moment) for moment in (0.3, 1.1, 1.2)] == [False, False, True]
    breaker.succeeded()
    assert [breaker.admits(moment) for moment in (1.2, 1.2)] == [True, True]


def test_while_open_one_trial_each_interval() -> None:
    breaker = Breaker(failures_to_open=1, retry_after_s=1)
    breaker.failed(0)
    admitted = [tenth for tenth in range(50) if breaker.admits(tenth / 10)]
    assert admitted == [10, 20, 30, 40]


@given(st.lists(st.sampled_from(["fail", "succeed"])))
def test_it_is_open_exactly_after_enough_failures_since_the_last_success(events: list[str]) -> None:
    breaker, row = Breaker(failures_to_open=3), 0
    for moment, event in enumerate(events):
        if event == "fail":
            breaker.failed(moment)
            row += 1
        else:
            breaker.succeeded()
            row = 0
        assert breaker.open == (row >= 3)


def test_a_trial_that_nobody_waited_for_is_followed_by_another() -> None:
    """A caller's deadline may end a trial before the model answers: that says nothing of the model, for better or worse."""
    breaker = Breaker(failures_to_open=1, retry_after_s=1)
    breaker.failed(0)
    assert breaker.admits(1)
    assert not breaker.admits(1.5)
    assert breaker.open
    assert breaker.admits(2)


@given(st.lists(st.tuples(st.sampled_from(["fail", "succeed", "ask"]), st.floats(0, 3))))
def test_while_open_trials_are_an_interval_apart_and_never_end(events: list[tuple[str, float]]) -> None:
    breaker, now, last = Breaker(failures_to_open=3, retry_after_s=1), 0.0, None
    for event, later in events:
        now += later
        if event == "fail":
            breaker.failed(now)
        elif event == "succeed":
            breaker.succeeded()
            last = None
        elif breaker.open and breaker.admits(now):
            assert last is None or now - last >= 1
            last = now
    if breaker.open:
        assert breaker.admits(now + 1)
