"""How long a fault would go unseen, and who is told so before and while a site is live."""

from __future__ import annotations

import json
import math

import pytest

from model_store.certificates import Certificate
from model_store.errors import ModelStoreError
from tests import bundles
from tests.services import Data
from triage.control.catalog import Catalog
from triage.control.site_document import SiteDocument
from triage.control.sites import Control
from triage.promise.audit_policy import AuditPolicy
from triage.promise.bets import Promise
from triage.promise.claims import Proof
from triage.promise.detection import audits_to_detect
from triage.promise.exposure import Exposure, exposure, exposures, told_of, told_together
from triage.store.documents import LocalDocuments

PROMISE = Promise(0.05, 0.05, 600)
RARE = {"drawn": "firings", "images": 200}
SHARE = 0.004


def days(certificate: Certificate, per_day: float | None = 1_000) -> Exposure:
    return exposure(certificate, PROMISE, 0.5, per_day, 90)


def test_a_rare_class_s_own_share_tells_its_days() -> None:
    known = days(bundles.certificate(**RARE, firing_share=SHARE))
    common = days(bundles.certificate(images=500))
    assert known.days is not None
    assert common.days is not None
    assert known.days == audits_to_detect(PROMISE, 0.15) / (1_000 * SHARE * 0.5)
    assert known.days * SHARE == pytest.approx(common.days * 200 / 500)
    assert days(bundles.certificate(firing_share=SHARE)).days == known.days
    assert days(bundles.certificate(**RARE, firing_share=0)).days == math.inf
    assert exposure(bundles.certificate(images=500), PROMISE, 0, 1_000, 90).days == math.inf


def test_a_claim_s_days_are_those_of_the_chance_it_is_drawn_with() -> None:
    proofs: dict[str, Proof] = {"red": bundles.certificate(), "absent:red": bundles.absence(absent_share=0.5)}

    def told(**labels: float) -> dict[str, float | None]:
        policy = AuditPolicy(probability=0.5, labels=labels, images_per_day=1_000, horizon=600)
        return {claim: each.days for claim, each in exposures(proofs, policy).items()}

    before, halved, own = told(), told(red=0.25), told(red=0.25, **{"absent:red": 0.125})
    for claim, times in (("red", 2), ("absent:red", 4)):
        days = before[claim]
        assert days is not None
        assert halved[claim] == pytest.approx(2 * days)
        assert own[claim] == pytest.approx(times * days)


def test_what_is_not_known_says_what_to_do() -> None:
    undeclared = days(bundles.certificate(), None)
    assert undeclared.told() == {"days": None, "why": undeclared.why}
    assert "declare in audit.images_per_day how many images come each day" in undeclared.why
    unknown = days(bundles.certificate(**RARE))
    assert unknown.days is None
    told = told_of("red", unknown, 90)
    assert told is not None
    assert "does not tell on which share of images it fires" in told
    assert told.endswith("certify it again, or name it in suspended")
    assert told_of("red", undeclared, 90) is None, "told, not refused"


def test_many_classes_are_told_of_in_one_sentence_with_what_suffices_for_all() -> None:
    found = {f"c{each}": Exposure(100.0 + each, probability_for=0.1 + each / 100, declared=True) for each in range(7)}
    told = told_together(found, 90)
    assert told.startswith("faults would go unseen, of c0 for 100 days, of c1 for 101 days, ")
    assert ", of c4 for 104 days, and 2 more, and max_days_to_detect is 90; " in told
    assert told.endswith("raise the audit probability of each to 0.16"), "that of a class which is not named counts"
    assert told_together({"c0": found["c0"]}, 90) == told_of("c0", found["c0"], 90)
    assert told_together({}, 90) == ""
    beyond = told_together({**found, "c0": Exposure(1000.0, probability_for=2, declared=True)}, 90)
    assert beyond.startswith("a fault of c0 would go unseen for 1,000 days")
    assert "audit every answer of it and set max_days_to_detect to 180" in beyond
    assert beyond.endswith("; and 2 more")


@pytest.fixture
def control(data: Data) -> Control:
    opened = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    opened.poll()
    return opened


def rare(data: Data, **changes: object) -> str:
    rule = data.rules.classes["red"].model_copy(update={"certificate": bundles.certificate(**RARE, **changes)})
    return bundles.signed(
        data.folder, bundles.sealed(data.rules, classes={**data.rules.classes, "red": rule})
    ).digest  # fmt: skip


def test_no_automatic_class_is_exempt(control: Control, data: Data) -> None:
    audit = {"probability": 1, "images_per_day": 1_000}

    def put(**document: object) -> None:
        site = control.site("default", "default")
        values = {"mode": "live", "model": "colours/1", "audit": audit, **document}
        control.put("default", "default", SiteDocument.model_validate(values), site.etag)

    with pytest.raises(
        ModelStoreError, match=r"site default/default: how long .* its certificate .* name it in suspended"
    ):
        put(rules=rare(data))
    with pytest.raises(ModelStoreError, match=r"a fault of red would go unseen for .* days"):
        put(rules=rare(data, firing_share=1e-6))
    put(rules=rare(data, firing_share=0.1))
    put(rules=rare(data), suspended=("red",))
    put(rules=rare(data), mode="assist")
    put(rules=rare(data), audit={"probability": 1})


def test_a_document_that_was_edited_in_place_is_told_of(control: Control, data: Data) -> None:
    path = data.folder / "control/projects/default/sites/default.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "audit": {"probability": 0.01, "images_per_day": 10}}))
    control.poll()
    assert control.problems == {}, "nobody waits for a simulation"
    control.judge()
    control.poll()
    (problem,) = control.problems.values()
    assert problem.startswith("faults would go unseen, of red for ")
    assert "raise the audit probability of each to " in problem
    assert control.site("default", "default").document.audit.images_per_day == 10, "it is in force, and told of"
    path.write_text(json.dumps(document))
    control.poll()
    assert control.problems == {}
