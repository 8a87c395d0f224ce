"""Walks the table of standing_changes.py: what it names comes about by the functions that the service calls."""

from __future__ import annotations

import datetime
from itertools import product
from typing import get_args

import pytest

from tests import bundles
from triage.promise import evidence, exact, monitor
from triage.promise.bets import Promise
from triage.promise.claims import Proof
from triage.promise.evidence import Evidence
from triage.promise.standing import ClassStanding, State
from triage.promise.standing_changes import TRANSITIONS, Event, by_operator, concluded, due

PROOF = bundles.certificate(target=0.8)
NOW = round(bundles.WHEN.timestamp() * 1e6) + 1
HOUR = 3_600_000_000
FROM_OUTSIDE: tuple[Event, ...] = ("certificate", "end", "rules")
"""They happen in every state, whether or not they mean anything in it."""


def in_state(state: State) -> ClassStanding:
    entry = ClassStanding(state="watching", rule=PROOF.rule)
    if state != "watching":
        entry = by_operator(entry, PROOF, NOW, "grace", "we looked at it", None)
    return by_operator(entry, PROOF, NOW, "grace", "a new lamp", NOW + HOUR) if state == "resumed" else entry


def alarmed() -> Evidence:
    found = Evidence(0, PROOF.rule, monitor.start(Promise(0.2, 0.2, 60)))
    while not evidence.decided(found, in_state("watching")):
        found = evidence.after(found, "wrong", NOW)
    return found


def read(entry: ClassStanding, errors: int) -> Evidence:
    assert entry.reads is not None
    return Evidence(entry.epoch, entry.rule, suspended=True, audits=entry.reads, errors=errors)


def newer() -> Proof:
    day = datetime.timedelta(days=1)
    return bundles.certificate(target=0.8, certified_at=bundles.WHEN + 2 * day, images_from=bundles.WHEN + day)


def after(entry: ClassStanding, event: Event) -> ClassStanding | None:
    """What follows from an event; None where nothing does."""
    match event:
        case "alarm":
            return concluded(entry, alarmed(), PROOF, NOW)
        case "passed":
            return concluded(entry, read(entry, entry.errors_allowed or 0), PROOF, NOW)
        case "failed":
            return concluded(entry, read(entry, (entry.errors_allowed or 0) + 1), PROOF, NOW)
        case "certificate":
            return due(entry.model_copy(update={"rule": newer().rule}), newer(), NOW)
        case "end":
            return due(entry, PROOF, NOW + HOUR)
        case "rules":
            return due(entry, bundles.certificate(target=0.8, rule="sha256:" + "9" * 64), NOW)
        case "suspend":
            return by_operator(entry, PROOF, NOW, "grace", "it looks wrong", None)
        case "resume":
            return by_operator(entry, PROOF, NOW, "grace", "a new lamp", NOW + HOUR)


@pytest.mark.parametrize(("state", "event"), list(TRANSITIONS))
def test_what_the_table_names_comes_about(state: State, event: Event) -> None:
    entry = in_state(state)
    found = after(entry, event)
    assert found is not None
    assert (found.state, found.epoch) == (TRANSITIONS[state, event], entry.epoch + 1)
    assert found.since >= NOW
    told = "class_suspended" if found.state == "suspended" else "" if event == "rules" else "class_resumed"
    assert (found.event, found.journaled) == (told, not told)
    if found.state == "suspended":
        assert found.attempt == entry.attempt + 1
        assert found.reads is not None
        assert exact.resumes(found.reads, found.errors_allowed or 0, PROOF.target, PROOF.level / 2**found.attempt)
    else:
        assert found.reads is None


@pytest.mark.parametrize(
    ("state", "event"), [pair for pair in product(get_args(State), FROM_OUTSIDE) if pair not in TRANSITIONS]
)
def test_what_means_nothing_in_a_state_changes_nothing(state: State, event: Event) -> None:
    assert after(in_state(state), event) is None


def test_nobody_resumes_a_class_that_answers() -> None:
    with pytest.raises(KeyError):
        by_operator(in_state("watching"), PROOF, NOW, "grace", "a new lamp", NOW + HOUR)
