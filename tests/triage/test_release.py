"""Releases as documents: what is tried, put in force and taken back; a challenger is opened, checked, and suspended too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_store import rules as rule_files
from model_store.errors import ModelStoreError
from tests import bundles
from tests.services import Data
from tests.triage.test_standing import stand, suspended
from triage.control import release
from triage.control.catalog import Catalog
from triage.control.site_document import Release, SiteDocument
from triage.control.sites import Control
from triage.errors import Invalid, NotFound
from triage.promise.releases import CANARY
from triage.store.documents import LocalDocuments

R1, R2, R3 = ("sha256:" + digit * 64 for digit in "123")
LIVE = SiteDocument(mode="live", model="a/1", rules=R1)


def test_a_canary_is_promoted_and_rolled_back() -> None:
    tried = release.canary(LIVE, "a/2", R2, 0.05)
    assert tried.challenger is not None
    assert (tried.model, tried.challenger.model, tried.challenger.canary) == ("a/1", "a/2", 0.05)
    put = release.promote(tried)
    assert (put.model, put.rules, put.challenger, put.previous) == ("a/2", R2, None, Release(model="a/1", rules=R1))
    back = release.rollback(put)
    assert back == LIVE
    with pytest.raises(Invalid, match="nothing to go back to"):
        release.rollback(back)


def test_a_rollback_takes_a_challenger_away_before_it_takes_the_champion() -> None:
    put = release.promote(LIVE, "a/2", R2)
    tried = release.shadow(put, "a/3", None, 1.0)
    assert release.rollback(tried) == put
    assert release.rollback(release.rollback(tried)) == LIVE


def test_what_else_the_document_says_stays() -> None:
    document = LIVE.model_copy(update={"always_review": ("red",), "suspended": ("green",)})
    put = release.promote(release.shadow(document, "a/2", R2, 0.5))
    assert (put.mode, put.always_review, put.suspended) == ("live", ("red",), ("green",))


def test_promoting_what_is_in_force_changes_nothing_and_keeps_the_way_back() -> None:
    put = release.promote(LIVE, "a/2", R2)
    assert release.promote(put, "a/2", R2) == put
    tried = release.shadow(put, "a/3", R3, 1.0)
    assert release.promote(tried, "a/2", R2) == put, "it only ends what was tried"


def test_new_rules_for_the_same_model_are_a_release() -> None:
    put = release.promote(release.canary(LIVE, "a/1", R2, 1.0))
    assert (put.rules, put.previous) == (R2, Release(model="a/1", rules=R1))


def test_the_first_model_of_a_site_replaces_its_labels() -> None:
    captured = SiteDocument(mode="capture", labels=bundles.schema())
    put = release.promote(captured, "a/1", R1)
    assert (put.model, put.labels, put.previous) == ("a/1", None, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: release.promote(LIVE), "there is no challenger to promote; name a model"),
        (lambda: release.canary(LIVE, "a/1", R1, 0.5), "is the champion already; name another release"),
        (lambda: release.canary(LIVE, "a/2", None, 0.5), "without rules nothing does; name its rules"),
        (lambda: release.canary(LIVE, "a/2", R2, 0), "canary = 0: input should be greater than 0"),
        (lambda: release.shadow(LIVE, "a/2", R2, 1.5), "shadow = 1.5: input should be less than or equal to 1"),
        (lambda: release.shadow(LIVE, "A", None, 1), "model = 'A': string should match pattern"),
        (lambda: release.promote(LIVE, "a/2", "R"), "rules = 'R': string should match pattern"),
        (lambda: release.shadow(SiteDocument(labels=bundles.schema()), "a/1", None, 1), "no champion to challenge"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(change: Any, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        change()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def control(data: Data) -> Control:
    opened = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    opened.poll()
    return opened


def challenge(control: Control, data: Data, **challenger: Any) -> None:
    document = {"mode": "live", "model": "colours/1", "rules": data.rules.digest, "challenger": challenger}
    control.open("default", "default", json.dumps(document).encode())


def test_a_challenger_is_opened_with_all_it_names(control: Control, data: Data) -> None:
    other = bundles.make(data.folder, version="2")
    rules = bundles.signed(data.folder, bundles.rules(other))
    data.declare(challenger={"model": "colours/2", "rules": rules.digest, "canary": 0.25})
    control.poll()
    tried = control.site("default", "default").challenger
    assert tried is not None
    assert (tried.how, tried.share, tried.bundle.digest, tried.rules) == ("canary", 0.25, other.digest, rules)
    assert set(tried.proofs) == {"red", "green"}
    assert tried.table.automatic.tolist() == [True, True, False]
    before = control.site("default", "default")
    control.poll()
    assert control.site("default", "default") is before, "nothing changed, nothing is built again"


def test_a_release_that_failed_as_a_canary_is_not_promoted_unless_the_class_is_suspended(
    control: Control, data: Data
) -> None:
    other = bundles.make(data.folder, version="2")
    rules = bundles.signed(data.folder, bundles.rules(other))
    data.declare(challenger={"model": "colours/2", "rules": rules.digest, "canary": 0.25})
    control.poll()
    canary = control.site("default", "default" + CANARY)
    entry = suspended(rule=canary.proofs["red"].rule)
    control.change_standing(canary, lambda before: before.with_class("red", entry))
    control.poll()
    assert control.site("default", "default" + CANARY).suspended == {"red"}
    assert control.site("default", "default").suspended == frozenset()
    site = control.site("default", "default")
    put = release.promote(site.document)
    with pytest.raises(ModelStoreError, match="red was suspended under these rules while they were a canary's; add it"):
        control.prepare("default", "default", put, site.etag)
    changed, _ = control.put("default", "default", put.model_copy(update={"suspended": ("red",)}), site.etag)
    assert (changed.document.model, changed.suspended) == ("colours/2", frozenset({"red"}))
    back, _ = control.put("default", "default", release.rollback(changed.document), changed.etag)
    assert back.document.model == "colours/1", "what did not fail is not kept out"


def test_nothing_is_built_again_for_a_canary_that_did_not_change(control: Control, data: Data) -> None:
    other = bundles.make(data.folder, version="2")
    rules = bundles.signed(data.folder, bundles.rules(other))
    data.declare(challenger={"model": "colours/2", "rules": rules.digest, "canary": 0.25})
    control.poll()
    before = control.site("default", "default" + CANARY)
    control.poll()
    assert control.site("default", "default" + CANARY) is before
    data.declare()
    control.poll()
    with pytest.raises(NotFound):
        control.site("default", "default" + CANARY)


def test_a_shadow_needs_no_rules(control: Control, data: Data) -> None:
    bundles.make(data.folder, version="2")
    data.declare(challenger={"model": "colours/2", "shadow": 1})
    control.poll()
    tried = control.site("default", "default").challenger
    assert tried is not None
    assert (tried.how, tried.proofs) == ("shadow", {})
    assert not tried.table.automatic.any()


def test_a_suspended_class_answers_in_no_release(control: Control, data: Data) -> None:
    other = bundles.make(data.folder, version="2")
    rules = bundles.signed(data.folder, bundles.rules(other))
    data.declare(suspended=["green"], challenger={"model": "colours/2", "rules": rules.digest, "canary": 0.5})
    control.poll()
    stand(control, suspended())
    tried = control.site("default", "default").challenger
    assert tried is not None
    assert tried.suspended == {"red", "green"}
    assert not tried.table.automatic.any()
    assert tried.table_unsuspended.automatic.tolist() == [True, True, False]


def test_a_challenger_that_does_not_fit_is_refused(control: Control, data: Data) -> None:
    with pytest.raises(ModelStoreError, match="its challenger cannot be opened: no model 'colours/2'"):
        challenge(control, data, model="colours/2", shadow=1)
    schema = bundles.schema()
    more = schema.model_copy(update={"labels": (*schema.labels, schema.labels[0].model_copy(update={"id": "mauve"}))})
    bundles.make(data.folder, name="hues", labels=more)
    with pytest.raises(ModelStoreError, match="has other labels than colours/1"):
        challenge(control, data, model="hues/1", shadow=1)
    with pytest.raises(ModelStoreError, match="give one of the two a share"):
        challenge(control, data, model="colours/1", shadow=1, canary=1, rules=data.rules.digest)
    other = bundles.make(data.folder, version="2")
    with pytest.raises(ModelStoreError, match="and not for colours/2"):
        challenge(control, data, model="colours/2", canary=1, rules=data.rules.digest)
    unsigned = bundles.rules(other, sites=("elsewhere",))
    rule_files.write(data.folder, unsigned)
    with pytest.raises(ModelStoreError, match=r"its challenger cannot be opened: .*sign"):
        challenge(control, data, model="colours/2", canary=1, rules=unsigned.digest)
