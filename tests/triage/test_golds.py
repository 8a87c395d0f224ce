"""Golds: who is given which and when is drawn by key, each once, and what a reviewer sees of one is what others look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.record import Answer
from tests.triage.test_consensus import SCHEMA
from triage.errors import Invalid
from triage.reviewing import golds
from triage.reviewing.gold_document import GoldDocument, Suggested

SECRET = b"k" * 32
SHOWN = tuple(
    Suggested(id=label, name=label.title(), probability=probability, state="assist")
    for label, probability in (("cat", 0.8), ("collar", 0.5), ("dog", 0.3))
)


def gold(**changes: Any) -> GoldDocument:
    fields = {"site": "default", "sha256": "0" * 64, "answers": {"cat": "present"}, "suggestions": SHOWN}
    return GoldDocument(**{**fields, **changes})


def disguised(reviewer: str = "ada", wrong_share: float = 0.0, made: GoldDocument | None = None) -> Any:
    return golds.disguised(
        SECRET, "default", "g", made or gold(), reviewer, SCHEMA, 10**15, wrong_share, frozenset({"bob"})
    )


def test_turns_are_drawn_with_the_share_and_alike_everywhere() -> None:
    drawn = golds.turns(SECRET, "default.review", "ada", 0, 4000, 0.1)
    assert 320 < len(drawn) < 480  # of 400: five standard deviations are 95
    assert drawn == golds.turns(SECRET, "default.review", "ada", 0, 4000, 0.1)
    cut = [
        first + place
        for first in range(0, 4000, 7)
        for place in golds.turns(SECRET, "default.review", "ada", first, min(7, 4000 - first), 0.1)
    ]
    assert cut == drawn
    assert golds.turns(SECRET, "default.review", "bob", 0, 4000, 0.1) != drawn
    assert golds.turns(SECRET, "default.review", "ada", 0, 100, 0.0) == []


def test_each_is_given_once_and_not_to_who_knows_it() -> None:
    known = {"a": gold(), "b": gold(readers=("ada",)), "c": gold(active=False), "d": gold(), "e": gold()}
    chosen = golds.choose(SECRET, known, {"d": frozenset({"ada"})}, "ada")
    assert sorted(chosen) == ["a", "e"]
    assert set(golds.choose(SECRET, known, {}, "bob")) == {"a", "b", "d", "e"}


def test_it_looks_like_the_image_that_it_comes_before() -> None:
    made = disguised()
    assert (made.id, made.prediction) == (made.id, made.id)  # as of every image that a caller waits for
    assert int(made.id.replace("-", "")[:12], 16) == made.received_at // 1000
    assert 0 < 10**15 - made.received_at < 2_001_001
    assert (made.purpose, made.gold_id, made.not_by) == ("gold", "g", ("bob",))
    assert made.reasons == ("none_fired",)
    assert [each["id"] for each in made.suggestions] == ["cat", "collar", "dog"]


def test_a_planted_suggestion_is_wrong_first_and_as_certain_as_the_right_one_was() -> None:
    made = disguised(wrong_share=1.0)
    assert made.planted == "dog"  # the one that the model thought of, which the known cat excludes
    assert [(each["id"], each["probability"]) for each in made.suggestions] == [
        ("dog", 0.8),
        ("collar", 0.5),
        ("cat", 0.3),
    ]
    unthought = gold(suggestions=SHOWN[:1])
    made = disguised(wrong_share=1.0, made=unthought)
    assert (made.planted, made.suggestions[0]["name"], made.suggestions[0]["probability"]) == ("dog", "dog", 0.8)
    assert disguised(wrong_share=1.0, made=gold(suggestions=())).planted == ""
    assert disguised(wrong_share=1.0, made=gold(outcome="unusable", answers={})).planted == "cat"


def test_the_wrong_share_is_kept() -> None:
    planted = sum(bool(disguised(f"r{n}", 0.5).planted) for n in range(400))
    assert 150 < planted < 250


@pytest.mark.parametrize(
    ("known", "outcome", "said", "right"),
    [
        ({"cat": "present"}, "labels", {"cat": "present"}, True),
        ({"cat": "present"}, "labels", {"cat": "present", "collar": "present"}, True),
        ({"cat": "present"}, "labels", {"dog": "present"}, False),
        ({"cat": "present"}, "labels", {"cat": "unsure"}, False),
        ({"cat": "present"}, "unusable", {}, False),
        ({"cat": "present"}, "escalated", {}, None),
        ({"cat": "present", "collar": "absent"}, "labels", {"cat": "present"}, True),
        ({"cat": "present", "collar": "absent"}, "labels", {"cat": "present", "collar": "unsure"}, False),
        ({"cat": "present", "collar": "absent"}, "labels", {"cat": "present", "collar": "present"}, False),
    ],
)
def test_who_is_right(known: dict[str, Any], outcome: Any, said: dict[str, Answer], right: bool | None) -> None:
    assert gold(answers=known).agrees(outcome, said) is right


def test_a_gold_without_an_answer_is_refused() -> None:
    with pytest.raises(ValidationError, match="knows something of at least one label"):
        gold(answers={})
    with pytest.raises(ValidationError, match="has no label present; remove 'cat'"):
        gold(outcome="none_of_these")
    with pytest.raises(Invalid, match="no label of this queue"):
        gold(answers={"bird": "present"}).check(SCHEMA)
    with pytest.raises(Invalid, match="exclude each other"):
        gold(answers={"cat": "present", "dog": "present"}).check(SCHEMA)


@given(st.floats(0, 1), st.uuids().map(str))
def test_a_larger_share_makes_no_item_see_more(share: float, name: str) -> None:
    """What is blind at some share is blind at every larger one."""
    if golds.blind(SECRET, name, share):
        assert golds.blind(SECRET, name, (1 + share) / 2)
    assert not golds.blind(SECRET, name, 0.0)
    assert golds.blind(SECRET, name, 1.0)
