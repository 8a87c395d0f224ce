"""What is wrong with a site's rules, in words: other sites, an end, conditions that no image can meet."""

from __future__ import annotations

import datetime

import pytest

from model_store.conditions import Condition
from model_store.rules import Rules, assist_rules
from tests import bundles
from triage.control import validity


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    return bundles.rules(bundles.make(tmp_path_factory.mktemp("bundle")))


@pytest.mark.parametrize(
    ("before", "ended", "ends"),
    [
        (datetime.timedelta(days=31), False, None),
        (datetime.timedelta(days=30), False, "in 30 days"),
        (datetime.timedelta(hours=30), False, "in 1 days"),
        (datetime.timedelta(microseconds=1), False, "in 0 days"),
        (datetime.timedelta(), True, None),
        (-datetime.timedelta(days=400), True, None),
    ],
)
def test_rules_warn_for_thirty_days_and_then_have_ended(
    rules: Rules, before: datetime.timedelta, ended: bool, ends: str | None
) -> None:
    now = bundles.UNTIL - before
    told, warned = validity.expired(rules, now), validity.expiring(rules, now)
    assert (told is not None) == ended
    assert told is None or told == (
        "its rules ended on 2100-01-01, so that it only assists; certify again and name the new rules"
    )
    assert (warned is not None) == (ends is not None)
    assert ends is None or ends in str(warned)


def test_rules_that_promise_nothing_never_end(rules: Rules, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = bundles.make(tmp_path_factory.mktemp("other"))
    nothing = assist_rules(bundle.digest, bundle.manifest, "cpu", "default")
    later = datetime.datetime(2500, 1, 1, tzinfo=datetime.UTC)
    for each in (nothing, None):
        assert validity.expired(each, later) is None
        assert validity.expiring(each, later) is None
        assert validity.elsewhere(each, "p", "s") is None
        assert validity.never_met(each, ()) is None


def test_rules_of_other_sites(rules: Rules) -> None:
    assert validity.elsewhere(rules, "default", "default") is None
    for project, site in (("plants", "default"), ("default", "north")):
        assert validity.elsewhere(rules, project, site) == (
            "its rules are certified for default/default, so that it only assists; certify with its own images"
        )


def test_a_condition_that_no_image_can_meet_names_the_setting(rules: Rules) -> None:
    conditions = (Condition(field="scanner", one_of=("x1",)), Condition(field="view", one_of=("front",)))
    strict = bundles.sealed(rules, conditions=conditions)
    assert validity.never_met(strict, ("scanner",)) is None
    assert validity.never_met(strict, ("age",)) == (
        "its rules have a use condition on 'scanner', which this gateway does not record, so that every image would go to "
        "a person; add 'scanner' to TRIAGE_SOURCE_FIELDS"
    )
