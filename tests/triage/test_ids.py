"""Ids sort by time and say what they are."""

from __future__ import annotations

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from triage.ids import derived_id, new_id, now_us, reading_id

moments = st.integers(0, 2**48 - 1)


@given(moments, moments)
def test_ids_sort_as_their_milliseconds_do(first: int, second: int) -> None:
    if first < second:
        assert new_id(first) < new_id(second)


@given(moments)
def test_version_variant_and_time_stand_where_rfc_9562_puts_them(moment: int) -> None:
    made = uuid.UUID(new_id(moment))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == moment


def test_the_clock_is_used_and_ids_of_one_millisecond_differ() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(2000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == len(made)
    assert all(before <= uuid.UUID(each).int >> 80 <= after for each in made)


@given(st.lists(st.text(max_size=9), max_size=3), st.lists(st.text(max_size=9), max_size=3))
def test_derived_ids_are_the_same_for_the_same_parts_only(first: list[str], second: list[str]) -> None:
    assert derived_id(*first) == derived_id(*first)
    joined = ["\0".join(parts) for parts in (first, second)]
    assert (derived_id(*first) == derived_id(*second)) == (joined[0] == joined[1])


def test_microseconds_are_of_now() -> None:
    before = time.time()
    assert before - 1 < now_us() / 1e6 < time.time() + 1


@given(moments, st.sampled_from(["review", "audit", "recall"]), st.integers(1, 2))
def test_a_reading_s_id_is_fixed_and_looks_like_its_prediction_s(moment: int, purpose: str, reading: int) -> None:
    prediction = new_id(moment)
    made = reading_id(prediction, purpose, reading)
    assert made == reading_id(prediction, purpose, reading)
    others = {reading_id(prediction, "other", reading), reading_id(prediction, purpose, reading + 1), prediction}
    assert made not in others | {reading_id(new_id(moment), purpose, reading)}
    first, second = uuid.UUID(made), uuid.UUID(prediction)
    assert (first.version, first.variant, first.int >> 80) == (7, second.variant, moment)
