"""Tokens and the table of an item's life; test_transitions.py walks the table against a real server."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.reviewing.item import (
    TERMINAL,
    TRANSITIONS,
    Event,
    Item,
    LeaseToken,
    State,
    name_of,
    nonce,
    project_of,
    queue_of,
    score,
)

part = st.text(st.characters(blacklist_characters="~", blacklist_categories=["Cs"]), min_size=1, max_size=40)


@given(part, part, st.integers(0, 10**9), part)
def test_a_token_comes_back_from_its_text(queue: str, item: str, fence: int, chance: str) -> None:
    token = LeaseToken(queue, item, fence, chance)
    assert LeaseToken.parse(str(token)) == token


@given(st.text(max_size=60))
def test_any_other_text_is_one_value_error(text: str) -> None:
    try:
        parsed = LeaseToken.parse(text)
    except ValueError:
        return
    assert text.count("~") == 3
    assert parsed.queue
    assert parsed.item
    assert parsed.nonce


@pytest.mark.parametrize("text", ["", "a", "a~b~c", "a~b~c~d", "~b~1~d", "a~~1~d", "a~b~1~", "a~b~1~d~e"])
def test_half_a_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        LeaseToken.parse(text)


def test_nonces_differ_and_fit_a_token() -> None:
    made = {nonce() for _ in range(1000)}
    assert len(made) == 1000
    assert not any("~" in each for each in made)


@given(st.integers(0, 2**52), st.integers(0, 2**52), st.floats(0, 1e6))
def test_who_came_first_is_served_first_and_a_bonus_is_time(first: int, second: int, bonus: float) -> None:
    assert (score(first) <= score(second)) == (first / 1e3 <= second / 1e3)
    assert score(first, bonus) <= score(first)


def test_the_table_speaks_of_every_state_and_event() -> None:
    states, events = set(get_args(State)), set(get_args(Event))
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == states
    assert {event for _, event in TRANSITIONS} == events
    later = {event for state, event in TRANSITIONS if state in TERMINAL}
    assert later == {"resolve", "withdraw"}  # a person's word still counts, and after nobody's the model's
    assert "answer" not in later


def test_every_state_can_end() -> None:
    ends = set(TERMINAL)
    while more := {state for (state, _), after in TRANSITIONS.items() if after in ends} - ends:
        ends |= more
    assert ends == set(get_args(State))


def test_a_queue_carries_its_project() -> None:
    assert queue_of("plants") == "plants.review"
    assert queue_of("plants", "rare") == "plants.rare"
    assert (project_of("plants.rare"), name_of("plants.rare")) == ("plants", "rare")


@pytest.mark.parametrize("queue", ["", "plants", ".review", "plants.", "plants.rare.review", "Plants.review", "a b.c"])
def test_what_no_queue_is_called_is_of_no_project(queue: str) -> None:
    assert (project_of(queue), name_of(queue)) == (None, None)


def test_an_item_from_before_audits_is_its_prediction() -> None:
    """The queue holds it as it was written, whatever the service has learnt since."""
    stored = {
        "id": "it", "project": "p", "site": "s", "case": None, "sha256": "0", "received_at": 1, "reasons": ["none_fired"],
    }  # fmt: skip
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=Item)
    assert (read.prediction, read.purpose, read.blind, read.reading, read.drawn) == ("it", "review", False, 1, ())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=Item) == read
