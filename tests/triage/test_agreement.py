"""Krippendorff's alpha is the published one, and what its formula says it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.reviewing.agreement import alpha


def units(*readers: str) -> list[list[str]]:
    """Rows of readers as the paper prints them; `.` is missing."""
    return [[said for said in unit if said != "."] for unit in zip(*readers, strict=True)]


@pytest.mark.parametrize(
    ("readers", "published"),
    [
        (("0100000000", "1110010010"), 0.095),  # Krippendorff (2011), A: binary, two observers
        (("aabbdcccedda", "babbbccceddd"), 0.692),  # B: nominal, two observers
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),  # C: nominal, missing data
    ],
)
def test_the_published_examples(readers: tuple[str, ...], published: float) -> None:
    found = alpha(units(*readers))
    assert found is not None
    assert abs(found - published) < 0.0005


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=6))
def test_it_is_the_matrix_of_coincidences_written_out(said: list[Sequence[str]]) -> None:
    exact: dict[tuple[str, str], Fraction] = {}
    for unit in said:
        for one, other in itertools.permutations(range(len(unit)), 2):
            pair = unit[one], unit[other]
            exact[pair] = exact.get(pair, Fraction(0)) + Fraction(1, len(unit) - 1)
    rows = {value: sum(share for (row, _), share in exact.items() if row == value) for value in "abc"}
    total = sum(rows.values())
    observed = sum(share for (row, column), share in exact.items() if row != column)
    expected = sum(rows[one] * rows[other] for one, other in itertools.permutations("abc", 2))
    found = alpha(said)
    if not expected:
        assert found is None
        return
    assert found is not None
    assert abs(found - float(1 - (total - 1) * observed / expected)) < 1e-9


def test_who_always_agrees_has_one_and_single_readings_say_nothing() -> None:
    assert alpha([["a", "a"], ["b", "b", "b"]]) == 1.0
    assert alpha([["a", "a"], ["b"]]) is None
    assert alpha([]) is None
