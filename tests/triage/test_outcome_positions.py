"""Last-Event-IDs: what is told is understood again, and what may be lost is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.errors import BadRequest
from triage.outcomes.position import START, Feed, Position, StreamId, lost

ids = st.builds(StreamId, st.integers(0, 10**14), st.integers(0, 10**6) | st.just(2**64 - 1))
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}(\.automatic)?", fullmatch=True)


@given(st.dictionaries(names, ids, min_size=1, max_size=8))
def test_a_position_that_was_told_is_the_same_when_it_comes_back(at: dict[str, StreamId]) -> None:
    assert Position.parse(Position(at=at).told(single=False)) == Position(at=at)


@given(ids)
def test_of_one_queue_the_id_is_the_streams_own(at: StreamId) -> None:
    told = Position(at={"review": at}).told(single=True)
    assert told == str(at)
    assert Position.parse(told).of(Feed("default.review")) == at


@given(ids.filter(lambda each: each > START))
def test_nothing_lies_between_an_id_and_the_one_before(at: StreamId) -> None:
    before = at.before()
    assert before < at
    assert (before.ms, before.n + 1) == at or (before.ms + 1, 0) == at


def test_a_stream_that_is_not_named_begins_at_its_oldest() -> None:
    position = Position.parse("review=5-1,second.automatic=7-0")
    assert position.of(Feed("lab.review")) == (5, 1)
    assert position.of(Feed("lab.second", automatic=True)) == (7, 0)
    assert position.of(Feed("lab.second")) == START


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1-", "-1", "1-2-3", "a=", "a=b", "a=1=2", "A=1", "a=1,,b=2", "9" * 20, "1-٣"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="leave it out to begin"):
        Position.parse(text)


def test_what_may_have_been_trimmed_is_lost_and_nothing_else() -> None:
    at, first, last = StreamId(100, 0), StreamId(200, 3), StreamId(900, 0)
    assert lost(at, first, last, horizon_ms=101) == (200, 2)  # trimmed up to 101: something after 100 may be gone
    assert lost(at, first, last, horizon_ms=100) is None  # nothing that young is trimmed
    assert lost(at, StreamId(100, 0), last, horizon_ms=500) is None  # it is still there itself
    assert lost(START, first, last, horizon_ms=500) is None  # it asked for the oldest
    assert lost(StreamId(901, 0), first, last, horizon_ms=0) == START  # the stream was set back
    assert lost(at, None, START, horizon_ms=0) == START  # all of it is gone
