"""What is in flight is bounded in number and in bytes, and everything that was held is free again. And `Prefer: wait`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.calling.preferences import wait_s
from triage.calling.room import Room
from triage.errors import BadRequest, Busy


@given(st.lists(st.lists(st.integers(0, 300), max_size=5), max_size=8), st.integers(1, 5), st.integers(1, 500))
def test_what_is_held_is_bounded_and_comes_back(requests: list[list[int]], most: int, size: int) -> None:
    room = Room(most, size)
    with contextlib.ExitStack() as stack:
        for holds in requests:
            with contextlib.suppress(Busy):
                place = stack.enter_context(room.enter())
                for each in holds:
                    place.hold(each)
            assert room.requests <= most
            assert room.bytes <= max(size, 300), "one body alone may be larger"
    assert (room.requests, room.bytes) == (0, 0)


def test_a_body_that_is_alone_is_taken_and_the_next_is_not() -> None:
    room = Room(10, 100)
    with room.enter() as first, room.enter() as second:
        first.hold(500)
        with pytest.raises(Busy, match="bodies of 500 bytes are in flight; send this one again"):
            second.hold(1)
    with room.enter() as second:
        for size in (1, 100, 500):
            second.hold(size)  # it grows, alone


def test_a_batch_takes_a_place_for_each_image() -> None:
    room = Room(3, 100)
    with room.enter() as batch:
        batch.more(2)
        with pytest.raises(Busy, match="3 predictions are in flight"):
            room.enter()
        with pytest.raises(Busy):
            batch.more(1)
    assert room.requests == 0


def test_nobody_holds_more_than_their_share() -> None:
    room = Room(4, 100, share=0.5)
    with room.enter(name="ada") as first, room.enter(name="ada"):
        with pytest.raises(Busy, match="2 predictions of this key are in flight, and others need room, too; send"):
            room.enter(name="ada")
        with room.enter(name="ben") as other:
            first.hold(40)
            other.hold(40)  # half of the bytes are ada's
    with room.enter(name="ada") as first, room.enter(name="ada") as second, room.enter(name="ben") as other:
        first.hold(30)
        with pytest.raises(Busy, match="bodies of 30 bytes of this key are in flight"):
            second.hold(21)
        other.hold(21)
    with room.enter(3):  # whoever has no name keeps to no share
        assert (room.most(), room.most("ada")) == (4, 2)
    assert Room(1, 100, share=0.5).most("ada") == 1


@given(st.lists(st.integers(0, 60), max_size=20))
def test_what_one_name_leaves_is_always_enough_for_another(sizes: list[int]) -> None:
    """However many one name asks for, another comes in; and all that was held comes back."""
    room = Room(4, 200, share=0.5)
    with contextlib.ExitStack() as stack:
        for size in sizes:
            with contextlib.suppress(Busy):
                stack.enter_context(room.enter(name="greedy")).hold(size)
        with room.enter(name="modest") as place:
            place.hold(60)
    assert (room.requests, room.bytes, room._held) == (0, 0, {})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("", None), ("respond-async", None), ("wait=5", 5), ("respond-async, wait=0.25", 0.25), ("WAIT = 5", 5),
        ('wait="7"', 7), ("wait=3;strict", 3), ("waiting=3", None),
    ],
)  # fmt: skip
def test_how_long_a_caller_waits(header: str | None, seconds: float | None) -> None:
    assert wait_s(header) == seconds


@pytest.mark.parametrize("header", ["wait=", "wait=-1", "wait=soon", "wait=nan", "wait=1e3", "wait=9999999"])
def test_a_wait_that_is_no_number_is_refused(header: str) -> None:
    with pytest.raises(BadRequest, match="no number of seconds; send 'Prefer: wait=2'"):
        wait_s(header)


@given(st.text())
def test_any_header_is_seconds_or_one_named_error(header: str) -> None:
    with contextlib.suppress(BadRequest):
        found = wait_s(header)
        assert found is None or 0 <= found < 1e6
