"""Figures of how people read: counted by hand on small logs, the interval against its definition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.binomial import at_most
from model_store.record import Answer, VerdictRecord
from tests.triage.test_consensus import SCHEMA
from triage.reviewing.figures import Figures, figures, interval

SECOND = 1_000_000


def said(reviewer: str, prediction: str, answers: dict[str, Answer], **more: Any) -> VerdictRecord:
    fields: dict[str, Any] = {
        "id": f"{reviewer} {prediction}", "prediction": prediction, "project": "p", "site": "s", "queue": "p.review",
        "sha256": "", "reviewer": reviewer, "answers": answers, "leased_at": 0, "shown_at": 0, "at": SECOND,
    }  # fmt: skip
    return VerdictRecord(**{**fields, **more})


def of(*verdicts: VerdictRecord, golds: dict[str, dict[str, str]] | None = None) -> Figures:
    return figures(verdicts, SCHEMA, golds or {})


def test_golds_are_counted_with_and_without_a_planted_suggestion() -> None:
    found = of(
        *(said("ada", f"g{n}", {"cat": "present"}, gold=True, agreement=n > 0, planted="dog") for n in range(3)),
        *(said("ada", f"h{n}", {"cat": "present"}, gold=True, agreement=True) for n in range(4)),
        said("ada", "left", {}, gold=True, outcome="escalated"),
    ).readers["ada"]
    assert (found.golds.of, found.golds.hits) == (7, 6)
    assert (found.golds_planted.of, found.golds_planted.hits) == (3, 2)
    assert (found.golds_plain.of, found.golds_plain.hits) == (4, 4)
    assert found.golds_plain.told()["interval"][1] == 1.0


def test_the_newest_edition_counts_and_the_first_one_s_time() -> None:
    first = said("ada", "1", {"cat": "present"}, at=4 * SECOND)
    amended = said("ada", "1", {"dog": "present"}, at=60 * SECOND, revision=2, amends=first.id)
    other = said("bob", "1", {"dog": "present"})
    for order in ((first, amended, other), (amended, other, first, first)):
        found = of(*order)
        assert found.readers["ada"].answered == 1
        assert (found.readers["ada"].agrees.of, found.readers["ada"].agrees.hits) == (1, 1)
        assert found.readers["ada"].told()["median_seconds"] == 4.0


def test_a_gold_that_is_amended_later_counts_as_it_stood() -> None:
    first = said("ada", "g", {"dog": "present"}, gold=True, agreement=False)
    late = said("ada", "g", {"cat": "present"}, gold=True, agreement=True, revision=2, corrects=True)
    assert of(first, late).readers["ada"].golds.hits == 0


def test_agreement_is_over_groups_and_labels_and_misses_what_was_not_said() -> None:
    found = of(
        said("ada", "1", {"cat": "present", "collar": "present", "leash": "unsure"}),
        said("bob", "1", {"cat": "present", "collar": "absent", "leash": "present"}),
        said("ada", "2", {"dog": "present"}),
        said("bob", "2", {"dog": "present"}),
        said("ada", "4", {"cat": "present"}),
        said("bob", "4", {}, outcome="none_of_these"),
        said("cy", "3", {"cat": "present"}),
    )
    assert {unit: each.images for unit, each in found.agreement.items()} == {"group main": 3, "label collar": 1}
    assert (found.readers["ada"].agrees.of, found.readers["ada"].agrees.hits) == (4, 2)
    assert found.readers["cy"].agrees.told()["share"] is None
    # of the group: cat 3, dog 2, none 1, one disagreeing image: 1 - (6 - 1) * 2 / (3 * 3 + 2 * 4 + 1 * 5)
    assert found.agreement["group main"].alpha == pytest.approx(1 - 5 * 2 / 22)


def test_acceptance_is_told_apart_by_what_was_right() -> None:
    known = {"g": {"cat": "present"}}
    found = of(
        said("ada", "g1", {"dog": "present"}, gold=True, gold_id="g", suggestions=("dog",)),
        said("ada", "g2", {"cat": "present"}, gold=True, gold_id="g", suggestions=("cat", "dog")),
        said("ada", "g3", {"cat": "present"}, gold=True, gold_id="g", suggestions=("dog", "cat")),
        said("ada", "1", {"dog": "present"}, suggestions=("dog",), step="again"),
        said("bob", "1", {"dog": "present"}, suggestions=("dog",), agreed={"dog": "present"}, agreed_outcome="labels"),
        said("ada", "2", {"dog": "present"}, suggestions=("dog",)),  # nobody knows
        said("ada", "3", {"dog": "present"}, gold=True, gold_id="g", suggestions=("dog",), blind=True),
        golds=known,
    ).readers["ada"]
    assert (found.accepts_wrong.of, found.accepts_wrong.hits) == (2, 1)
    assert (found.accepts_right.of, found.accepts_right.hits) == (2, 2)


@given(st.integers(1, 60).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_is_exact(counts: tuple[int, int]) -> None:
    """At each end the observed number, or one further out, has a chance of 2.5%."""
    hits, of = counts
    low, high = interval(hits, of)
    assert low <= hits / of <= high
    if hits < of:
        assert at_most(hits, of, high) == pytest.approx(0.025, abs=1e-6)
    if hits:
        assert 1 - at_most(hits - 1, of, low) == pytest.approx(0.025, abs=1e-6)


def test_nothing_read_says_nothing() -> None:
    assert of().told() == {"people": [], "agreement": []}
    assert interval(0, 0) == (0.0, 1.0)
