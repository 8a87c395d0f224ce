"""Deciding again from the record agrees exactly, for every record; anything that was touched disagrees."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from model_store import keys
from model_store.conditions import Condition
from model_store.errors import ModelStoreError
from model_store.record import PolicySnapshot, PredictionRecord
from tests import bundles
from tests.bundles import make
from tests.triage.gateway_parts import Wired
from triage.archive.history import History
from triage.control.catalog import Catalog
from triage.explain import explain, find, summary
from triage.store.places import open_objects


def history(gateway: Wired) -> History:
    return History(open_objects(gateway.data.folder / "log"), gateway.data.folder / "journal")


async def every_kind(gateway: Wired) -> list[PredictionRecord]:
    gateway.data.declare("held", suspended=("red",), always_review=("green",))
    gateway.data.declare("ward", mode="capture")
    gateway.data.declare("young", rules=None)
    gateway.data.declare("bare", model=None, rules=None, labels=gateway.data.bundle.manifest.labels)
    gateway.control.poll()
    for site in ("default", "held", "ward", "young", "bare"):
        for colour in ("red", "green", "blue", "grey"):
            await gateway.predict(colour, site=site)
    gateway.classifier.away()
    await gateway.predict("red")
    gateway.classifier.back()
    await gateway.returning.step()
    return gateway.predictions()


def tampered(record: PredictionRecord, head: str, score: float) -> PredictionRecord:
    scores = record.probabilities().copy()
    scores[record.heads.index(head)] = score
    return msgspec.structs.replace(record, probability=scores.astype("<f4").tobytes())


async def test_every_record_agrees_from_a_fresh_start(gateway: Wired) -> None:
    records = await every_kind(gateway)
    assert {record.route for record in records} == {"automatic", "review", "captured"}
    catalog = Catalog(gateway.data.folder)  # another process knows only files
    for record in records:
        explained = explain(record, catalog)
        assert explained.agrees, explained.disagreements
    assert max(record.revision for record in records) == 2


async def test_a_touched_record_disagrees(gateway: Wired) -> None:
    await gateway.predict("red")
    (record,) = gateway.predictions()
    replace = msgspec.structs.replace
    for other in (
        tampered(record, "red", 0.5), tampered(record, "green", 0.6), replace(record, route="review"),
        replace(record, reasons=("atypical",)), replace(record, fires=("green",)), replace(record, absent=("blue",)),
        replace(record, policy=replace(record.policy, suspended=("red",))),
        replace(record, policy=PolicySnapshot(mode="live", available=False)),
    ):  # fmt: skip
        explained = explain(other, Catalog(gateway.data.folder))
        assert not explained.agrees
        assert all(": recorded " in line for line in explained.disagreements)


async def test_a_record_that_left_its_rules_scope_or_time_disagrees(gateway: Wired) -> None:
    conditions = (Condition(field="scanner", one_of=("x1",)),)
    strict = bundles.signed(gateway.data.folder, bundles.sealed(gateway.data.rules, conditions=conditions))
    gateway.data.declare(rules=strict.digest)
    gateway.control.poll()
    await gateway.predict("red", source={"scanner": "x1"})
    await gateway.predict("red", source={"scanner": "x2"})
    inside, outside = gateway.predictions()
    catalog = Catalog(gateway.data.folder)
    assert (inside.route, outside.reasons) == ("automatic", ("out_of_scope",))
    assert explain(inside, catalog).agrees
    assert explain(outside, catalog).agrees
    replace = msgspec.structs.replace
    late = int(bundles.UNTIL.timestamp()) * 1_000_000
    for touched, says in (
        (replace(inside, source={}), "out_of_scope: recorded (), decided again ('scanner',)"),
        (replace(outside, source={"scanner": "x1"}), "out_of_scope: recorded ('scanner',), decided again ()"),
        (replace(inside, received_at=late), "certified_here: recorded True, decided again False"),
        (replace(inside, provider="cuda"), "certified_here: recorded True, decided again False"),
    ):
        assert says in explain(touched, catalog).disagreements


async def test_a_key_that_is_trusted_no_longer_leaves_the_past_readable(gateway: Wired) -> None:
    await gateway.predict("red")
    (record,) = gateway.predictions()
    for key in keys.trusted_folder(gateway.data.folder).iterdir():
        key.unlink()
    with pytest.raises(ModelStoreError, match="which is not trusted here"):
        Catalog(gateway.data.folder).rules(record.rules)
    assert explain(record, Catalog(gateway.data.folder)).agrees


async def test_the_smallest_step_over_a_threshold_is_seen(gateway: Wired) -> None:
    await gateway.predict("red")
    (record,) = gateway.predictions()
    catalog = Catalog(gateway.data.folder)
    threshold = np.float32(0.9)
    assert explain(tampered(record, "red", float(threshold)), catalog).agrees
    below = float(np.nextafter(threshold, np.float32(0), dtype=np.float32))
    assert explain(tampered(record, "red", below), catalog).disagreements[0] == (
        "route: recorded 'automatic', decided again 'review'"
    )


async def test_another_bundle_under_the_same_name_is_not_explained_away(gateway: Wired) -> None:
    await gateway.predict("red")
    (record,) = gateway.predictions()
    with pytest.raises(ModelStoreError, match="restore that bundle from a backup"):
        explain(msgspec.structs.replace(record, bundle="sha256:" + "0" * 64), Catalog(gateway.data.folder))
    with pytest.raises(ModelStoreError, match="no model 'colours/2'"):
        explain(msgspec.structs.replace(record, model="colours/2"), Catalog(gateway.data.folder))
    make(gateway.data.folder, version="2")
    with pytest.raises(ModelStoreError, match="restore that bundle"):
        explain(msgspec.structs.replace(record, model="colours/2"), Catalog(gateway.data.folder))


async def test_it_is_found_with_its_verdicts_and_told_in_words(gateway: Wired) -> None:
    view = await gateway.predict("blue")
    (lease,) = await gateway.desk.lease("default.review", "ada", 1, None)
    await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    predictions, verdicts = find(history(gateway), view["id"])
    catalog = Catalog(gateway.data.folder)
    told = summary([explain(record, catalog) for record in predictions], verdicts, catalog)
    assert told["agrees"] is True
    assert told["route"] == "review"
    (said,) = told["verdicts"]
    assert said == {
        "reviewer": "ada", "purpose": "review", "reading": 1, "outcome": "labels", "answers": {"blue": "present"},
    }  # fmt: skip
    assert [each["label"] for each in told["classes"]] == ["red", "green", "blue"]
    assert find(history(gateway), "nobody") == ([], [])
