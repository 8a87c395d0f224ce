"""Use conditions: what is not known to hold fails, and a condition that says nothing is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.conditions import Condition, failing, unrecorded
from model_store.errors import document_error

SCANNER = Condition(field="scanner", one_of=("A", "B"))
ADULT = Condition(field="age", at_least=18, at_most=90)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (SCANNER, "A", True),
        (SCANNER, "a", False),
        (SCANNER, "", False),
        (SCANNER, None, False),
        (ADULT, "18", True),
        (ADULT, "90", True),
        (ADULT, "90.0", True),
        (ADULT, "17.999", False),
        (ADULT, "90.5", False),
        (ADULT, None, False),
        (Condition(field="age", at_least=0), "-0.5", False),
        (Condition(field="age", at_most=0), "-0.5", True),
    ],
)
def test_a_value_in_the_list_or_the_range_holds(condition: Condition, value: str | None, holds: bool) -> None:
    assert condition.holds(value) is holds


@pytest.mark.parametrize(
    "value", ["", " 40", "40 ", "4_0", "4e1", "nan", "inf", "0x28", "٤٠", "forty", "40,5", "9" * 400]
)
def test_what_is_no_plain_decimal_is_unreadable_and_fails(value: str) -> None:
    assert not ADULT.holds(value)
    assert not Condition(field="age", at_least=0).holds(value)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_range_holds_exactly_between_its_ends(number: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    text = f"{number:.6f}"
    if len(text.lstrip("-").split(".")[0]) <= 15:
        assert Condition(field="x", at_least=low, at_most=high).holds(text) == (low <= float(text) <= high)


def test_a_condition_in_words() -> None:
    assert (SCANNER.told(), ADULT.told()) == ("scanner is A or B", "age is at least 18 and at most 90")
    assert Condition(field="age", at_most=60.5).told() == "age is at most 60.5"


def test_failing_names_each_field_once_in_order() -> None:
    conditions = (ADULT, SCANNER, Condition(field="age", at_most=60))
    assert failing(conditions, {}) == ("age", "scanner")
    assert failing(conditions, {"age": "70", "scanner": "A"}) == ("age",)
    assert failing(conditions, {"age": "50", "scanner": "A", "other": "x"}) == ()
    assert failing((), {}) == ()


def test_a_field_that_the_gateway_does_not_record_is_found_out() -> None:
    conditions = (ADULT, SCANNER, Condition(field="view", one_of=("PA",)), Condition(field="role", one_of=("current",)))
    assert unrecorded(conditions, ("age",)) == ("scanner",)
    assert unrecorded(conditions, ("age", "scanner")) == ()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"field": "age"}, "the condition on age needs either one_of, or at_least and at_most; give one kind"),
        ({"field": "age", "one_of": ["1"], "at_least": 1}, "needs either one_of, or at_least and at_most"),
        ({"field": "age", "one_of": []}, "the condition on age allows nothing; name the values in one_of"),
        ({"field": "age", "at_least": 5, "at_most": 1}, "the condition on age asks for 5 to 1; swap the two"),
        ({"field": "age", "at_least": float("nan")}, "at_least = nan: input should be a finite number"),
        ({"field": "a b", "at_least": 1}, "field = 'a b': string should match pattern"),
        ({"field": "age", "at_leest": 1}, "at_leest is not a known key; remove it or mend its spelling"),
        ({"one_of": ["x"]}, "field is missing; add it"),
    ],
)
def test_a_condition_that_cannot_be_is_one_sentence(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Condition.model_validate(values)
    told = str(document_error("rules", refused.value))
    assert says in told
    assert "\n" not in told
