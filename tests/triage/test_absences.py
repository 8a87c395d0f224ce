"""What is called absent is read, weighed, suspended and recalled as what is called present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.labels import Group, Label, LabelSchema
from model_store.rules import ClassRule, Rules
from tests import bundles
from tests.services import Data
from tests.triage.auditing import ALL, Audited
from tests.triage.gateway_parts import QUEUE, Wired
from triage.control.catalog import Catalog
from triage.explain import explain
from triage.promise import audits, claims, standing_changes
from triage.store.audit_key import audit_key

LABELS = ("red", "green", "blue")


def rules(data: Data, **absence: Any) -> Rules:
    """Every label answers and is certified absent; of what is called absent at most 16% are present."""
    each = ClassRule(
        state="automatic", threshold=0.9, absent_below=0.1, certificate=bundles.certificate(target=0.8),
        absence=bundles.absence(**{"absent_share": 0.1, **absence}),
    )  # fmt: skip
    made = bundles.sealed(
        bundle=data.bundle.digest, labels=data.bundle.manifest.labels.digest, sites=("default",), provider="cpu",
        precision="fp32", typicality_floor=0.0, classes=dict.fromkeys(LABELS, each),
    )  # fmt: skip
    return bundles.signed(data.folder, made)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Findings that may coexist, each of which has to be decided."""
    group = Group(kind="independent", decided_by="each_decided")
    labels = LabelSchema(labels=tuple(Label(id=name, name=name.title()) for name in LABELS), groups=(group,))
    found = Data(tmp_path, bundles.make(tmp_path, labels=labels), bundles.rules(bundles.make(tmp_path / "other")))
    found.declare(rules=rules(found).digest, audit=ALL)
    return found


@pytest.fixture
async def audited(gateway: Wired) -> Audited:
    gateway.control.poll()
    return Audited(gateway)


async def overlooked(audited: Audited, at_most: int = 40) -> int:
    """Images without a finding to the model, in which people see red, until the monitor has seen enough."""
    for count in range(1, at_most + 1):
        await audited.send(1, "black", "red")
        await audited.read()
        await audited.turn()
        if "absent:red" in audited.gateway.control.site("default", "default").suspended:
            return count
    raise AssertionError(f"no alarm after {at_most} overlooked")


async def test_every_claim_of_an_answer_is_drawn_and_explained(audited: Audited) -> None:
    await audited.send(1)
    await audited.send(1, "black", "nothing")
    await audited.send(1, "grey")
    red, black, grey = audited.gateway.predictions()
    assert (red.route, red.drawn) == ("automatic", ("absent:blue", "absent:green", "red"))
    assert (black.route, black.drawn) == ("automatic", ("absent:blue", "absent:green", "absent:red"))
    assert (grey.route, grey.drawn) == ("review", ())
    catalog, key = Catalog(audited.gateway.data.folder), audit_key(audited.gateway.data.folder / "control")
    for record in (red, black, grey):
        assert explain(record, catalog, key).agrees, explain(record, catalog, key).disagreements
    await audited.read()
    await audited.turn()
    for claim, count in (("red", 1), ("absent:red", 1), ("absent:blue", 2)):
        found = await audited.evidence(claim)
        assert (found.audits, found.errors) == (count, 0)
    watch = (await audited.evidence("absent:red")).watch
    assert watch is not None
    assert watch.promise.error == pytest.approx(0.04 * 0.4 / 0.1)
    assert watch.promise.alpha == pytest.approx(0.05 / 6), "shared by all claims"


async def test_a_label_that_is_overlooked_is_called_absent_no_more(audited: Audited) -> None:
    good = await audited.send(6, "black", "nothing")
    await audited.read()
    await audited.turn()
    count = await overlooked(audited)
    entry = audited.entry("absent:red")
    assert (entry.state, entry.by) == ("suspended", "monitor")
    assert audited.gateway.control.site("default", "default").suspended == {"absent:red"}
    (event,) = audited.events("class_suspended").values()
    assert (event.subject, event.detail["errors"]) == ("absent:red", str(count))

    bad = {prediction for prediction, seen in audited.truth.items() if seen == "red"}
    recalled = {each.subject for each in audited.events("recalled").values()}
    assert bad <= recalled
    assert len(recalled & set(good)) <= 1
    assert {each["label"] for each in await audited.gateway.outcomes() if each["type"] == "recall"} == {"absent:red"}
    corrected = {
        each["prediction"]: each["final"] for each in await audited.gateway.outcomes() if each["type"] == "correction"
    }
    assert corrected.keys() == bad
    assert {tuple(each["labels"]) for each in corrected.values()} == {("red",)}

    await audited.send(1, "green")
    await audited.send(1, "red")
    green, red = audited.gateway.sent[-2:]
    assert (green["route"], green["reasons"]) == ("review", ["undecided_label", "class_suspended"])
    assert red["route"] == "automatic", "nobody doubts what is called red"
    record = audited.gateway.predictions()[-2]
    assert (record.policy.suspended, record.drawn) == (("absent:red",), ("absent:red",))
    assert explain(record, Catalog(audited.gateway.data.folder)).agrees


async def test_it_earns_its_way_back(audited: Audited) -> None:
    await overlooked(audited)
    entry = audited.entry("absent:red")
    assert entry.reads is not None
    proof = audited.gateway.control.site("default", "default").proofs["absent:red"]
    assert (entry.reads, entry.errors_allowed) == standing_changes.test_of(proof, 1)
    await audited.send(entry.reads, "black", "nothing")
    assert {each["route"] for each in audited.gateway.sent[-entry.reads :]} == {"review"}
    await audited.read()
    await audited.turn()
    assert audited.entry("absent:red").state == "watching"
    await audited.send(1, "black", "nothing")
    assert audited.gateway.sent[-1]["route"] == "automatic"


async def test_what_was_not_drawn_is_recalled_and_read(audited: Audited, data: Data) -> None:
    data.declare(rules=rules(data).digest, audit={"probability": 0})
    audited.gateway.control.poll()
    (quiet,) = await audited.send(1, "black", "red")
    data.declare(rules=rules(data).digest, audit=ALL)
    audited.gateway.control.poll()
    await overlooked(audited)
    (waiting,) = await audited.gateway.desk.lease(QUEUE, "ada", 5, None)
    assert (waiting.item.prediction, waiting.item.purpose, waiting.item.drawn) == (quiet, "recall", ("absent:red",))


async def test_without_the_share_it_is_read_and_corrected_and_not_watched(audited: Audited, data: Data) -> None:
    data.declare(rules=rules(data, absent_share=None).digest, audit=ALL)
    audited.gateway.control.poll()
    site = audited.gateway.control.site("default", "default")
    assert site.unwatched == ("absent:red", "absent:green", "absent:blue")
    assert site.proofs.keys() == set(LABELS)
    (sent,) = await audited.send(1, "black", "red")
    await audited.read()
    await audited.turn()
    assert [each["prediction"] for each in await audited.gateway.outcomes() if each["type"] == "correction"] == [sent]
    assert await audited.evidence_or_none("absent:red") is None


def test_the_document_may_suspend_an_absence(data: Data, gateway: Wired) -> None:
    data.declare(rules=rules(data).digest, suspended=["absent:red"])
    gateway.control.poll()
    site = gateway.control.site("default", "default")
    assert site.table is not None
    assert site.table.automatic.tolist() == [True] * 3
    assert [value != value for value in site.table.absent_below] == [True, False, False]


outcome = st.sampled_from(["labels", "none_of_these", "unusable", "new_label"])
answer = st.sampled_from(["present", "absent", "unsure", "not_assessed", None])


@given(outcome, answer)
def test_only_who_calls_it_absent_confirms_an_absence(said: Any, given_answer: Any) -> None:
    given_answers = {} if given_answer is None or said != "labels" else {"red": given_answer}
    doubted = audits.doubts(("absent:red", "red"), given_answers, said)
    confirms = said in ("none_of_these", "new_label") or given_answers.get("red") == "absent"
    assert ("absent:red" not in doubted) == confirms
    assert ("red" not in doubted) == (given_answers.get("red") == "present")


def test_what_an_absence_promises() -> None:
    proof = bundles.absence(bound=0.04, prevalence=0.4, absent_share=0.5)
    assert claims.error(proof) == pytest.approx(0.032)
    assert claims.error(bundles.absence()) is None
    assert claims.error(bundles.absence(absent_share=0.0)) is None
    assert claims.error(bundles.absence(absent_share=0.01)) is None, "more than all of them"
    assert claims.share(proof) == 0.5
    assert claims.seen(proof) == pytest.approx(1 - 2 / 251)
