"""What is drawn for a blind reading: classes that an image is evidence for, alike on every gateway, unseen by callers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from model_store.record import PolicySnapshot, PredictionRecord
from model_store.rules import ClassRule, Sampling
from tests import bundles
from tests.services import Data
from tests.triage.blind import declare
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import state_of
from triage import policy
from triage.control.catalog import Catalog
from triage.explain import explain
from triage.ids import reading_id
from triage.promise import audits
from triage.promise.audits import Chances
from triage.promise.drawing import chance
from triage.store.audit_key import audit_key

HALF = 0.5
labels = st.sets(st.sampled_from(["red", "green", "blue"]))


def sampling(data: Data, probability: float = 1.0) -> str:
    """Rules under which blue gathers evidence; their digest."""
    blue = ClassRule(state="assist", veto=0.5, sampling=Sampling(threshold=0.6, probability=probability), lacks="reads")
    rules = bundles.sealed(data.rules, classes={**data.rules.classes, "blue": blue})
    return bundles.signed(data.folder, rules).digest


@given(
    st.sampled_from(["capture", "assist", "live"]), st.booleans(), st.booleans(), st.booleans(), st.booleans(), labels, labels,
    labels, labels,
)  # fmt: skip
def test_only_what_would_have_been_answered_is_evidence(
    mode: str, certified: bool, scoped: bool, stale: bool, answerable: bool, fires: set[str], suspended: set[str],
    planned: set[str], always: set[str],
) -> None:  # fmt: skip
    snapshot = PolicySnapshot(
        mode=mode, suspended=tuple(suspended), certified_here=certified, out_of_scope=() if scoped else ("view",),  # type: ignore[arg-type]
        control_stale=stale, always_review=tuple(always),
    )  # fmt: skip
    answering = fires - suspended
    reasons = () if answerable else ("none_fired",)
    route = policy.route(
        snapshot, answerable=answerable and bool(answering), decision_reasons=reasons, fires=answering, fires_unsuspended=fires
    ).route  # fmt: skip
    free = policy.without_suspensions(snapshot, answerable=answerable, decision_reasons=reasons, fires=fires).route
    found = chance(
        Chances(audit=0.1, suspended=0.2, labels={"green": 0.3}), snapshot, route, free, answering, fires,
        dict.fromkeys(planned - fires, 0.4),
    )  # fmt: skip
    expected: dict[str, float] = {}
    if scoped and mode != "capture" and not stale and not fires & always:
        expected |= dict.fromkeys(planned - fires - always, 0.4)
        if mode == "live" and certified and answerable:
            expected |= dict.fromkeys(fires & suspended, 0.2)
            if answering and not fires & suspended:
                expected |= {label: 0.3 if label == "green" else 0.1 for label in answering}
    assert found == expected


async def test_a_suspended_class_is_read_only_where_it_would_have_answered(gateway: Wired) -> None:
    """Its certificate, its audits and its test for resumption are all about answers."""
    declare(gateway, suspended=("red",), always_review=("red",))
    await gateway.predict("red", 1)
    declare(gateway, suspended=("red",))
    await gateway.predict("red", 2)
    never, drawn = gateway.predictions()
    assert never.reasons == ("none_fired", "class_suspended")
    assert (never.drawn, never.policy.audit) == ((), {})
    assert drawn.drawn == ("red",)
    catalog, key = Catalog(gateway.data.folder), audit_key(gateway.data.folder / "control")
    for record in (never, drawn):
        assert explain(record, catalog, key).agrees
    claimed = msgspec.structs.replace(never, policy=msgspec.structs.replace(never.policy, audit={"red": 1.0}))
    assert not explain(claimed, catalog, key).agrees


async def test_a_plan_s_class_that_people_always_read_is_not_drawn(gateway: Wired) -> None:
    """It would not answer either if it were automatic."""
    declare(gateway, rules=sampling(gateway.data), always_review=("blue",))
    await gateway.predict("blue")
    (record,) = gateway.predictions()
    assert (record.drawn, record.policy.audit) == ((), {})
    assert explain(record, Catalog(gateway.data.folder)).agrees


async def test_the_caller_cannot_tell_that_its_answer_is_read_again(gateway: Wired) -> None:
    plain = await gateway.predict("red")
    declare(gateway)
    view = await gateway.predict("red")
    told = {"id", "received_at", "final"}
    assert {name: view[name] for name in view.keys() - told} == {name: plain[name] for name in plain.keys() - told}
    assert view["final"]["by"] == "model"
    before, after = gateway.predictions()
    assert (before.audit_u, before.audit_probability, before.drawn, before.policy.audit) == (None, None, (), {})
    assert (after.audit_probability, after.drawn, after.policy.audit) == (1.0, ("red",), {"red": 1.0})
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 5, None)
    assert (lease.item.id, lease.item.prediction) == (reading_id(view["id"], "audit", 1), view["id"])
    assert (lease.item.blind, lease.item.purpose, lease.item.drawn) == (True, "audit", ("red",))
    assert (lease.item.reasons, lease.item.suggestions) == ((), ())


async def test_the_key_and_the_id_draw_and_nothing_else(gateway: Wired) -> None:
    declare(gateway, audit={"probability": HALF})
    for salt in range(40):
        await gateway.predict("red", salt)
    key = audit_key(gateway.data.folder / "control")
    records = gateway.predictions()
    for record in records:
        assert record.audit_u == audits.share(key, record.id)
        assert record.drawn == (("red",) if record.audit_u < HALF else ())
    drawn = [record for record in records if record.drawn]
    assert 0 < len(drawn) < len(records)
    assert (await gateway.reviews.stats(QUEUE)).waiting == len(drawn)


async def test_a_suspended_class_is_read_blind_and_first(gateway: Wired) -> None:
    await gateway.predict("blue")
    declare(gateway, suspended=("red",))
    view = await gateway.predict("red")
    assert (view["route"], view["reasons"]) == ("review", ["none_fired", "class_suspended"])
    assert [each["id"] for each in view["suggestions"]] == ["red", "green", "blue"]  # the caller still sees them
    first, second = await gateway.desk.lease(QUEUE, "ada", 5, None)
    assert (first.item.id, first.item.purpose, first.item.blind) == (view["id"], "review", True)
    assert (first.item.drawn, first.item.reasons, first.item.suggestions) == (("red",), (), ())
    assert (second.item.blind, second.item.drawn) == (False, ())


@pytest.mark.parametrize(("mode", "drawn"), [("live", ("blue",)), ("assist", ("blue",)), ("capture", ())])
async def test_a_sampling_plan_is_carried_out_where_people_read(
    gateway: Wired, mode: str, drawn: tuple[str, ...]
) -> None:
    declare(gateway, mode=mode, rules=sampling(gateway.data), audit={"probability": 0, "suspended": 0})
    await gateway.predict("blue")
    await gateway.predict("red", 1)
    blue, red = gateway.predictions()
    assert (blue.drawn, red.drawn) == (drawn, ())
    assert (blue.audit_u is None) == (not drawn)


async def test_assisting_draws_no_suspended_class(gateway: Wired) -> None:
    declare(gateway, mode="assist", suspended=("red",))
    await gateway.predict("red")
    (record,) = gateway.predictions()
    assert (record.route, record.drawn, record.policy.audit) == ("review", (), {})


async def test_the_model_that_came_back_is_drawn_too(gateway: Wired, redis: Redis) -> None:
    """Without scores there is nothing to draw for; with them the answer is audited, and what waits becomes blind and first."""
    declare(gateway, suspended=("green",))
    gateway.classifier.away()
    blue, green, red = [(await gateway.predict(colour))["id"] for colour in ("blue", "green", "red")]
    assert all(record.audit_u is None for record in gateway.predictions())
    gateway.classifier.back()
    assert await gateway.returning.step() == 3
    assert state_of(redis, red) == "withdrawn"
    leases = await gateway.desk.lease(QUEUE, "ada", 5, None)
    assert [(each.item.prediction, each.item.blind) for each in leases] == [(green, True), (red, True), (blue, False)]
    assert [each.item.drawn for each in leases] == [("green",), ("red",), ()]


async def test_explain_draws_again_and_sees_what_was_touched(gateway: Wired) -> None:
    declare(gateway, "held", suspended=("red",), rules=bundles.signed(
        gateway.data.folder, bundles.sealed(gateway.data.rules, sites=("held",))
    ).digest)  # fmt: skip
    declare(gateway, "young", mode="assist", rules=sampling(gateway.data, 0.99), audit={"probability": 0})
    declare(gateway, audit={"probability": HALF, "labels": {"green": 0.25}})
    for site in ("default", "held", "young"):
        for salt in range(6):
            for colour in ("red", "green", "blue"):
                await gateway.predict(colour, salt, site=site)
    catalog, key = Catalog(gateway.data.folder), audit_key(gateway.data.folder / "control")
    records = gateway.predictions()
    assert {label for record in records for label in record.drawn} == {"red", "green", "blue"}
    for record in records:
        explained = explain(record, catalog, key)
        assert explained.agrees, explained.disagreements
        assert explain(record, catalog).agrees
    for touched in (touch for record in records if record.policy.audit for touch in _touched(record)):
        assert not explain(touched, catalog, key).agrees
    assert not explain(next(each for each in records if each.policy.audit), catalog, b"another").agrees


def _touched(record: PredictionRecord) -> list[PredictionRecord]:
    replace = msgspec.structs.replace
    assert record.audit_u is not None
    return [
        replace(record, audit_u=record.audit_u / 2), replace(record, audit_u=None), replace(record, audit_probability=0.3),
        replace(record, drawn=() if record.drawn else tuple(record.policy.audit)), replace(record, drawn=("other",)),
        replace(record, policy=replace(record.policy, audit={**record.policy.audit, "other": 1.0})),
    ]  # fmt: skip
