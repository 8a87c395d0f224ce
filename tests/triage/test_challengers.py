"""Challengers: a shadow never answers and holds nobody up; a canary answers its share, and is watched under its own name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from model_store.record import EventRecord, PredictionRecord, ShadowRecord
from model_store.rules import Rules
from tests import bundles
from tests.triage.auditing import ALL, TARGET, Audited, lenient
from tests.triage.gateway_parts import Wired
from triage.control.catalog import Catalog
from triage.errors import ClassifierUnavailable, NotFound
from triage.explain import explain
from triage.index.audit_fold import RECALLED
from triage.promise.releases import CANARY, chosen
from triage.shadowing import AT_ONCE

SECRET = b"k" * 32


@given(share=st.floats(0.05, 1), case=st.none() | st.text(max_size=5))
def test_a_share_is_kept_and_the_same_image_always_falls_alike(share: float, case: str | None) -> None:
    picks = [chosen(SECRET, share, "ward", str(number), None) for number in range(2000)]
    assert abs(sum(picks) / 2000 - share) < 0.06
    assert picks == [chosen(SECRET, share, "ward", str(number), None) for number in range(2000)]
    assert not any(
        chosen(SECRET, 0.02, "ward", str(n), None) and not picks[n] for n in range(2000)
    )  # a larger share adds
    if case is not None:
        assert len({chosen(SECRET, share, "ward", str(number), case) for number in range(50)}) == 1


def second(gateway: Wired) -> Rules:
    """Signed rules of a second version of the bundle."""
    bundle = bundles.make(gateway.data.folder, version="2")
    old = bundles.rules(bundle)
    certified = {"certificate": bundles.certificate(target=TARGET)}
    answering = {label: old.classes[label].model_copy(update=certified) for label in ("red", "green")}
    return bundles.signed(gateway.data.folder, bundles.sealed(old, classes={**old.classes, **answering}))


def declare(gateway: Wired, **how: Any) -> Rules:
    champion, tried = lenient(gateway.data), second(gateway)
    challenger = {"model": "colours/2", "rules": tried.digest, **how}
    gateway.data.declare(rules=champion.digest, audit=ALL, challenger=challenger)
    gateway.control.poll()
    return tried


def shadows(gateway: Wired) -> list[ShadowRecord]:
    return [record for record in gateway.journaled() if isinstance(record, ShadowRecord)]


async def shadows_of(gateway: Wired, count: int) -> list[ShadowRecord]:
    async with asyncio.timeout(20):
        while len(found := shadows(gateway)) < count:  # noqa: ASYNC110  # the journal tells nobody
            await asyncio.sleep(0.01)
    return found


async def test_a_canary_answers_by_its_own_model_and_rules(gateway: Wired, redis: Redis) -> None:
    tried = declare(gateway, canary=1)
    view = await gateway.predict("red")
    assert (view["route"], view["site"], view["model"]["version"], view["model"]["rules"]) == (
        "automatic", "default", "2", tried.digest,
    )  # fmt: skip
    (record,) = gateway.predictions()
    assert record.release == "canary"
    assert explain(record, Catalog(gateway.data.folder)).agrees


async def test_only_its_share_reaches_a_canary_and_a_case_whole(gateway: Wired, redis: Redis) -> None:
    declare(gateway, canary=0.5)
    for salt in range(40):
        await gateway.predict("red", salt)
    found = [record.release for record in gateway.predictions()]
    assert 8 < found.count("canary") < 32
    for salt in range(12):
        await gateway.predict("red", 100 + salt, case=f"case {salt % 3}")
    for case in range(3):
        of_case = {record.release for record in gateway.predictions() if record.case == f"case {case}"}
        assert len(of_case) == 1


async def test_nobody_sends_an_image_to_a_release(gateway: Wired, redis: Redis) -> None:
    declare(gateway, canary=0.5)
    with pytest.raises(
        NotFound, match=r"default\+canary is no site but a release of default; send the image to default"
    ):
        await gateway.predict("red", site="default" + CANARY)


async def test_a_canary_gone_bad_is_suspended_and_recalled_alone(gateway: Wired, redis: Redis) -> None:
    audited = Audited(gateway)
    declare(gateway, canary=0.5)
    sent = await audited.send(60)
    release = {record.id: record.release for record in gateway.predictions()}
    for prediction in sent:
        if release[prediction] == "canary":
            audited.truth[prediction] = "blue"
    await audited.read("ada", "ben", "eva")
    auditor = audited.auditor()
    for _ in range(4):
        await audited.turn(auditor)
    champion, canary = gateway.control.site("default", "default"), gateway.control.site("default", "default" + CANARY)
    assert "red" in canary.suspended
    assert "red" not in champion.suspended
    recalled = {
        record.subject for record in gateway.journaled() if isinstance(record, EventRecord) and record.name == RECALLED
    }
    assert recalled
    assert {release[prediction] for prediction in recalled} == {"canary"}
    after = [await gateway.predict("red", 1000 + salt) for salt in range(20)]
    later = {record.id: record for record in gateway.predictions()}
    for view in after:
        assert view["route"] == ("review" if later[view["id"]].release == "canary" else "automatic")


async def test_a_champions_suspension_silences_its_canary(gateway: Wired, redis: Redis) -> None:
    champion, tried = lenient(gateway.data), second(gateway)
    challenger = {"model": "colours/2", "rules": tried.digest, "canary": 1}
    gateway.data.declare(rules=champion.digest, challenger=challenger, suspended=["red"])
    gateway.control.poll()
    assert "class_suspended" in (await gateway.predict("red"))["reasons"]
    assert (await gateway.predict("green"))["route"] == "automatic"


async def test_what_waited_for_a_canary_that_is_gone_is_decided_by_the_champion(gateway: Wired, redis: Redis) -> None:
    declare(gateway, canary=1)
    gateway.classifier.away()
    view = await gateway.predict("red")
    gateway.data.declare(rules=lenient(gateway.data).digest)
    gateway.control.poll()
    gateway.classifier.back()
    assert await gateway.returning.step() == 1
    last = gateway.predictions()[-1]
    assert (last.id, last.revision, last.release, last.model, last.route) == (
        view["id"], 2, "champion", "colours/1", "automatic",
    )  # fmt: skip


async def test_a_shadow_is_recorded_and_answers_nothing(gateway: Wired, redis: Redis) -> None:
    tried = declare(gateway, shadow=1)
    view = await gateway.predict("red")
    assert view["model"]["version"] == "1"
    (found,) = await shadows_of(gateway, 1)
    assert (found.id, found.model, found.rules, found.route, found.fires) == (
        view["id"], "colours/2", tried.digest, "automatic", ("red",),
    )  # fmt: skip
    (record,) = gateway.predictions()
    assert record.release == "champion"
    assert (await gateway.reviews.view(view["id"]))[0]


async def test_a_shadow_that_fails_or_has_no_room_costs_nobody_anything(
    gateway: Wired, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(gateway, shadow=1)
    hold, classify = asyncio.Event(), gateway.classifier.classify

    async def slow(image: bytes, model: Any) -> Any:
        if model.manifest.version == "2":
            await hold.wait()
            raise ClassifierUnavailable("the challenger is away")
        return await classify(image, model)

    monkeypatch.setattr(gateway.classifier, "classify", slow)
    views = [await gateway.predict("red", salt) for salt in range(AT_ONCE + 3)]
    assert {view["route"] for view in views} == {"automatic"}
    counted = gateway.metrics.shadows.labels("default", "default", "dropped")
    assert counted._value.get() == 3
    hold.set()
    failed = gateway.metrics.shadows.labels("default", "default", "failed")
    async with asyncio.timeout(20):
        while failed._value.get() < AT_ONCE:  # noqa: ASYNC110  # nor does a counter
            await asyncio.sleep(0.01)
    assert shadows(gateway) == []
    assert len([record for record in gateway.journaled() if isinstance(record, PredictionRecord)]) == len(views)
