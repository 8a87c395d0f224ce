"""Which queue an item comes to: rules match what they name, queues are asked in one order, and what matches nothing is read."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.record import PolicySnapshot, PredictionRecord
from triage.policy import REASONS
from triage.reviewing.queue_document import QueueDocument, Reason, Rule
from triage.reviewing.routing import Asked, asked, bonus_s, matches, route


def queue(*routes: dict[str, Any], **fields: Any) -> QueueDocument:
    return QueueDocument.model_validate({"routes": routes, **fields})


def record(**fields: Any) -> PredictionRecord:
    stored = {
        "id": "i", "project": "p", "site": "ward", "received_at": 1, "sha256": "0", "size": 1, "format": "PNG", "width": 1,
        "height": 1, "route": "review", "reasons": ("none_fired",), "policy": PolicySnapshot(mode="live"),
        "heads": ("cat", "dog"), "probability": np.array([0.2, 0.7], "<f4").tobytes(), **fields,
    }  # fmt: skip
    return PredictionRecord(**stored)


def test_documents_know_the_reasons_that_there_are() -> None:
    assert get_args(Reason) == REASONS


@pytest.mark.parametrize(
    ("rule", "there"),
    [
        ({}, True), ({"reasons": ["none_fired", "atypical"]}, True), ({"reasons": ["atypical"]}, False),
        ({"labels": ["dog"]}, True), ({"labels": ["cat"]}, False), ({"sites": ["ward"]}, True), ({"sites": ["lab"]}, False),
        ({"metadata": {"scanner": ["x1", "x2"]}}, True), ({"metadata": {"scanner": ["x3"]}}, False),
        ({"metadata": {"nothing": [""]}}, False), ({"metadata": {"view": ["lateral"], "role": ["current"]}}, True),
        ({"purposes": ["audit"]}, False), ({"reasons": ["none_fired"], "sites": ["lab"]}, False),
    ],
)  # fmt: skip
def test_a_rule_matches_when_each_of_its_fields_does(rule: dict[str, Any], there: bool) -> None:
    image = record(source={"scanner": "x1"}, view="lateral")
    assert matches(Rule.model_validate(rule), asked(image)) == there


def test_what_would_be_answered_counts_before_what_is_likely() -> None:
    assert asked(record(fires=("cat",))).labels == ("cat",)
    assert asked(record()).labels == ("dog",)
    assert asked(record(heads=(), probability=b"")).labels == ()
    assert asked(record(drawn=("absent:cat", "dog")), "audit").labels == ("cat", "dog")


def test_audits_and_recalls_go_where_a_rule_names_them_and_else_to_the_project_s_own() -> None:
    documents = {"all": queue({}), "watch": queue({"purposes": ["audit"]})}
    assert route(documents, asked(record())) == "all"
    assert route(documents, asked(record(drawn=("dog",)), "audit")) == "watch"
    assert route(documents, Asked("recall", "ward")) == "review"
    assert route({}, asked(record())) == "review"


def test_queues_are_asked_by_priority_and_then_by_name() -> None:
    documents = {"b": queue({}), "a": queue({}), "z": queue({"sites": ["lab"]}, priority=1)}
    assert route(documents, Asked("review", "ward")) == "a"
    assert route(documents, Asked("review", "lab")) == "z"


NAMES = st.sampled_from(["a", "b", "c"])
RULES = st.fixed_dictionaries(
    {}, optional={"sites": st.lists(NAMES, max_size=2), "reasons": st.lists(st.sampled_from(REASONS), max_size=2)}
)


@given(st.dictionaries(NAMES, st.tuples(st.lists(RULES, max_size=2), st.integers(0, 3))), NAMES)
def test_an_item_comes_to_one_queue_whatever_the_order_of_documents(
    told: dict[str, tuple[list[dict[str, Any]], int]], site: str
) -> None:
    documents = {name: queue(*rules, priority=priority) for name, (rules, priority) in told.items()}
    item = Asked("review", site, ("none_fired",))
    found = route(documents, item)
    assert found == route(dict(reversed(documents.items())), item)
    assert found == "review" or any(matches(rule, item) for rule in documents[found].routes)
    if found == "review":
        assert not any(matches(rule, item) for document in documents.values() for rule in document.routes)


def test_the_largest_bonus_counts() -> None:
    document = queue(bonus_s={"atypical": 60, "conflict": 3600})
    assert bonus_s(document, ("atypical", "conflict", "none_fired")) == 3600
    assert bonus_s(document, ("none_fired",)) == bonus_s(None, ("atypical",)) == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"agree": 3, "readers": 2}, "3 of 2 readers cannot agree; set readers to 3 at least"),
        ({"sla_s": 60, "deadline_s": 30}, "set sla_s below deadline_s"), ({"attempts": 0}, "greater than or equal to 1"),
        ({"bonus_s": {"bored": 1}}, "bonus_s"), ({"routes": [{"reason": ["atypical"]}]}, "Extra inputs"),
        ({"escalate_to": "Other.Queue"}, "escalate_to"),
    ],
)  # fmt: skip
def test_a_document_that_means_nothing_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        QueueDocument.model_validate(fields)
