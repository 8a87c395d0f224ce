"""Policy only takes answers away, and says why in words of one closed list."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.conditions import Condition
from model_store.record import PolicySnapshot, PredictionRecord
from model_store.rules import Rules, assist_rules
from tests import bundles
from triage import policy

LABELS = ("red", "green", "blue")
DECISION = ("none_fired", "undecided_label", "atypical", "conflict")
some_labels = st.lists(st.sampled_from(LABELS), unique=True).map(tuple)
snapshots = st.builds(
    PolicySnapshot,
    mode=st.sampled_from(["capture", "assist", "live"]),
    suspended=some_labels,
    always_review=some_labels,
    available=st.booleans(),
    certified_here=st.booleans(),
    control_stale=st.booleans(),
    out_of_scope=st.sampled_from([(), ("scanner",), ("age", "view")]),
)
LIVE = PolicySnapshot(mode="live")


def routed(
    snapshot: PolicySnapshot = LIVE, answerable: bool = True, reasons: tuple[str, ...] = (), fires: tuple[str, ...] = ("red",),
    unsuspended: tuple[str, ...] | None = None,
) -> policy.Routing:  # fmt: skip
    return policy.route(
        snapshot, answerable=answerable, decision_reasons=reasons, fires=fires,
        fires_unsuspended=fires if unsuspended is None else unsuspended,
    )  # fmt: skip


@given(snapshots, st.booleans(), st.sets(st.sampled_from(DECISION)), some_labels, some_labels)
def test_it_only_takes_answers_away(
    snapshot: PolicySnapshot, answerable: bool, reasons: set[str], fires: tuple[str, ...], free: tuple[str, ...]
) -> None:
    routing = routed(snapshot, answerable, tuple(reasons), fires, free)
    if routing.route == "automatic":
        assert answerable
        assert not reasons
        assert routing.reasons == ()
        assert (snapshot.mode, snapshot.available, snapshot.certified_here) == ("live", True, True)
        assert not snapshot.control_stale
        assert not snapshot.out_of_scope
    assert set(routing.reasons) <= set(policy.REASONS)
    assert list(routing.reasons) == sorted(set(routing.reasons), key=policy.REASONS.index)


@given(snapshots, some_labels)
def test_a_stricter_site_never_answers_more(snapshot: PolicySnapshot, fires: tuple[str, ...]) -> None:
    for stricter in (
        msgspec.structs.replace(snapshot, control_stale=True), msgspec.structs.replace(snapshot, available=False),
        msgspec.structs.replace(snapshot, mode="assist"), msgspec.structs.replace(snapshot, mode="capture"),
        msgspec.structs.replace(snapshot, certified_here=False), msgspec.structs.replace(snapshot, suspended=fires),
        msgspec.structs.replace(snapshot, always_review=fires), msgspec.structs.replace(snapshot, out_of_scope=("age",)),
    ):  # fmt: skip
        if routed(stricter, fires=fires).route == "automatic":
            assert routed(snapshot, fires=fires).route == "automatic"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    return bundles.rules(bundles.make(tmp_path_factory.mktemp("bundle")))


def image(**changes: Any) -> PredictionRecord:
    """A record as it comes in, on a site that `rules` are for."""
    values: dict[str, Any] = {
        "id": "1", "project": "default", "site": "default", "received_at": 1_790_000_000_000_000, "sha256": "", "size": 1,
        "format": "PNG", "width": 1, "height": 1, "route": "review", "policy": LIVE,
    }  # fmt: skip
    return PredictionRecord(**{**values, **changes})


def test_rules_hold_for_what_they_name(rules: Rules) -> None:
    assert policy.certified_here(rules, image(), "cpu", "fp32")
    assert not policy.certified_here(rules, image(), "cuda", "fp32")
    assert not policy.certified_here(rules, image(), "cpu", "fp16")
    assert not policy.certified_here(rules, image(site="north"), "cpu", "fp32")
    assert not policy.certified_here(rules, image(project="plants"), "cpu", "fp32")


def test_rules_hold_until_the_microsecond_in_which_they_end(rules: Rules) -> None:
    end = int(bundles.UNTIL.timestamp()) * 1_000_000
    assert policy.certified_here(rules, image(received_at=end - 1), "cpu", "fp32")
    assert not policy.certified_here(rules, image(received_at=end), "cpu", "fp32")
    assert not policy.certified_here(rules, image(received_at=end + 1), "cpu", "fp32")


def test_rules_without_a_certificate_hold_nowhere(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path)
    assert not policy.certified_here(
        assist_rules(bundle.digest, bundle.manifest, "cpu", "default"), image(), "cpu", "fp32"
    )


def test_conditions_are_asked_of_what_the_record_says(rules: Rules) -> None:
    conditions = (
        Condition(field="scanner", one_of=("x1",)),
        Condition(field="view", one_of=("front",)),
        Condition(field="role", one_of=("current",)),
    )
    strict = bundles.sealed(rules, conditions=conditions)
    assert policy.out_of_scope(rules, image()) == ()
    assert policy.out_of_scope(strict, image()) == ("scanner", "view")
    assert policy.out_of_scope(strict, image(source={"scanner": "x1"}, view="front")) == ()
    assert policy.out_of_scope(strict, image(source={"scanner": "x1"}, view="front", role="prior")) == ("role",)
    borrowed = image(source={"scanner": "x1", "view": "front", "role": "current"}, view="side", role="prior")
    assert policy.out_of_scope(strict, borrowed) == ("view", "role")


def test_a_plain_answer_has_no_reason() -> None:
    assert routed() == policy.Routing("automatic", ())


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (PolicySnapshot(mode="live", always_review=("red",)), "always_review"),
        (PolicySnapshot(mode="live", out_of_scope=("scanner",)), "out_of_scope"),
        (PolicySnapshot(mode="live", available=False), "model_unavailable"),
        (PolicySnapshot(mode="live", control_stale=True), "control_stale"),
        (PolicySnapshot(mode="assist"), "site_assisting"),
        (PolicySnapshot(mode="live", certified_here=False), "site_assisting"),
    ],
)
def test_each_reason_alone_sends_the_image_to_a_person(snapshot: PolicySnapshot, reason: str) -> None:
    assert routed(snapshot) == policy.Routing("review", (reason,))


def test_a_suspended_class_that_would_fire_is_the_reason() -> None:
    suspended = PolicySnapshot(mode="live", suspended=("red",))
    assert routed(suspended, False, ("none_fired",), (), ("red",)).reasons == ("none_fired", "class_suspended")
    assert routed(suspended, True, (), ("green",), ("green",)) == policy.Routing("automatic", ())


def test_a_capturing_site_asks_nobody() -> None:
    assert routed(PolicySnapshot(mode="capture")) == policy.Routing("captured", ("site_capturing",))
    assert routed(PolicySnapshot(mode="capture"), False, ("none_fired",)).route == "captured"


def test_without_a_model_what_it_decided_is_no_reason() -> None:
    away = PolicySnapshot(mode="live", available=False, certified_here=False)
    assert routed(away, False, ("none_fired", "atypical"), (), ()).reasons == ("model_unavailable",)


@pytest.mark.parametrize("pair", list(combinations(DECISION, 2)))
def test_reasons_come_in_the_order_of_the_list(pair: tuple[str, str]) -> None:
    expected = tuple(reason for reason in policy.REASONS if reason in pair)
    for given_in in (pair, pair[::-1]):
        assert routed(answerable=False, reasons=given_in, fires=()).reasons == expected


def test_the_list_is_the_documented_one() -> None:
    assert policy.REASONS == (
        "none_fired", "undecided_label", "atypical", "conflict", "class_suspended", "always_review", "out_of_scope",
        "audit", "gold", "model_unavailable", "control_stale", "site_capturing", "site_assisting",
        "case_open", "case_undecided",
    )  # fmt: skip
