"""Images of a case wait for one another, answer together or go to people together, and a late one opens the case again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from embedded.stack import Valkey
from model_store.record import EventRecord, PolicySnapshot, PredictionRecord
from tests.bundles import schema
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.queue_items import state_of
from tests.triage.test_whole import serving
from triage import casework
from triage.control.catalog import Catalog
from triage.errors import Conflict, IndexAway, Invalid, NotFound
from triage.explain import explain
from triage.index.cases import CLOSED, Case
from triage.reviewing import cases


@pytest.fixture
def together(gateway: Wired) -> Wired:
    declare(gateway)
    return gateway


def declare(gateway: Wired, **policy: Any) -> None:
    gateway.data.declare(cases={"close_after_s": 3600, **policy})
    gateway.control.poll()


async def closed(gateway: Wired, case: str = "c1") -> Case:
    return await gateway.casework.close("default", "default", case)


def routes(case: Case) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {record.id: (record.route, record.reasons) for record in case.images}


async def finals(gateway: Wired) -> dict[str, tuple[str, list[str]]]:
    return {each["prediction"]: (each["type"], each["final"]["labels"]) for each in await gateway.outcomes()}


async def test_an_image_of_a_case_is_not_answered_before_its_case(together: Wired, redis: Redis) -> None:
    view = await together.predict("red", case="c1")
    assert (view["route"], view["reasons"], view["labels"], view["final"]) == ("captured", ["case_open"], [], None)
    assert await together.outcomes() == []
    assert await together.desk.lease(QUEUE, "ada", 5, None) == []
    alone = await together.predict("red", salt=7)  # names no case
    assert alone["route"] == "automatic"


async def test_a_case_whose_images_agree_answers_for_all_of_them(together: Wired, redis: Redis) -> None:
    one, two = [await together.predict("red", salt, case="c1") for salt in (1, 2)]
    case = await closed(together)
    assert not case.open
    assert routes(case) == {one["id"]: ("automatic", ()), two["id"]: ("automatic", ())}
    assert await finals(together) == {one["id"]: ("final", ["red"]), two["id"]: ("final", ["red"])}
    _, final, _ = await together.reviews.view(one["id"])
    assert msgspec.json.decode(final or b"")["revision"] == 2


@pytest.mark.parametrize("second", ["blue", "green"], ids=["one undecided", "two that contradict"])
async def test_one_image_in_doubt_brings_all_of_its_case_to_people(together: Wired, redis: Redis, second: str) -> None:
    one, two = await together.predict("red", case="c1"), await together.predict(second, case="c1")
    found = routes(await closed(together))
    assert {route for route, _ in found.values()} == {"review"}
    assert all("case_undecided" in reasons for _, reasons in found.values())
    leases = await together.desk.lease(QUEUE, "ada", 5, None)
    assert {lease.item.id for lease in leases} == {one["id"], two["id"]}


async def test_priors_are_compared_with_and_not_answered(together: Wired, redis: Redis) -> None:
    current, prior = await together.predict("red", case="c1"), await together.predict("grey", case="c1", role="prior")
    found = routes(await closed(together))
    assert found == {current["id"]: ("automatic", ()), prior["id"]: ("captured", ("none_fired", "case_open"))}


async def test_a_late_image_opens_the_case_and_what_agrees_stays(together: Wired, redis: Redis) -> None:
    one = await together.predict("red", case="c1")
    await closed(together)
    late = await together.predict("red", salt=3, case="c1")
    assert (await together.casework.read("default", "default", "c1")).open
    case = await closed(together)
    assert routes(case) == {one["id"]: ("automatic", ()), late["id"]: ("automatic", ())}
    assert {record.id: record.revision for record in case.images} == {one["id"]: 2, late["id"]: 2}
    assert len(await together.outcomes()) == 2


async def test_a_late_image_in_doubt_brings_back_what_was_answered(together: Wired, redis: Redis) -> None:
    one = await together.predict("red", case="c1")
    await closed(together)
    late = await together.predict("blue", case="c1")
    case = await closed(together)
    assert {route for route, _ in routes(case).values()} == {"review"}
    leases = await together.desk.lease(QUEUE, "ada", 5, None)
    assert {lease.item.prediction for lease in leases} == {one["id"], late["id"]}
    assert one["id"] not in {lease.item.id for lease in leases}  # that item is closed for good
    for lease in leases:
        await together.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    _, final, _ = await together.reviews.view(one["id"])
    assert msgspec.json.decode(final or b"")["by"] == "people"


async def test_a_case_that_people_read_stays_with_people(together: Wired, redis: Redis) -> None:
    await together.predict("blue", case="c1")
    await closed(together)
    late = await together.predict("red", case="c1")
    assert routes(await closed(together))[late["id"]] == ("review", ("case_undecided",))


async def test_a_case_closes_by_itself_when_its_time_has_come(gateway: Wired, redis: Redis) -> None:
    declare(gateway, close_after_s=0.001)
    one = await gateway.predict("red", case="c1")
    declare(gateway)
    await gateway.predict("red", salt=1, case="later")
    assert await gateway.casework.step() == 1
    assert await gateway.casework.step() == 0
    assert set(await finals(gateway)) == {one["id"]}


async def test_closing_twice_changes_nothing(together: Wired, redis: Redis) -> None:
    await together.predict("red", case="c1")
    first = await closed(together)
    before = len(together.journaled())
    assert await closed(together) == first
    assert len(together.journaled()) == before


async def test_only_one_closes_a_case_at_a_time(together: Wired, redis: Redis) -> None:
    await together.predict("red", case="c1")
    case = await together.casework.read("default", "default", "c1")
    word = await together.cases.begin_closing(case)
    assert word is not None
    with pytest.raises(Conflict, match="being closed just now; read it again"):
        await closed(together)
    await together.cases.end_closing(case, "somebody else's word")
    with pytest.raises(Conflict):
        await closed(together)
    await together.cases.end_closing(case, word)
    assert not (await closed(together)).open


@pytest.mark.parametrize("survived", [0, 1, 2])
async def test_whoever_finds_a_case_half_closed_ends_it_the_same(
    together: Wired, redis: Redis, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    for salt in range(2):
        await together.predict("red", salt, case="c1")
    written, record = 0, together.recorder.record

    async def dies(*given: Any) -> None:
        nonlocal written
        if written == survived:
            raise RuntimeError("the gateway dies here")
        written += 1
        await record(*given)

    with monkeypatch.context() as patch:
        patch.setattr(together.recorder, "record", dies)
        with pytest.raises(RuntimeError):
            await closed(together)
    await closed(together)
    revisions = [(each.id, each.revision) for each in together.predictions()]
    assert len(revisions) == len(set(revisions)) == 4
    assert len(await together.outcomes()) == 2


async def test_a_lost_index_knows_its_cases_again_in_whatever_order(together: Wired, redis: Redis) -> None:
    for salt, name in enumerate(("shut", "shut", "open", "again")):
        await together.predict("red", salt, case=name)
    for name in ("shut", "again"):
        await closed(together, name)
    await together.predict("red", 9, case="again")
    names = ("shut", "open", "again")
    before = {name: await together.casework.read("default", "default", name) for name in names}
    assert {name: case.open for name, case in before.items()} == {"shut": False, "open": True, "again": True}
    for order in (1, -1):
        redis.flushall()
        for record in together.journaled()[::order]:
            await together.index.apply(record)
        assert {name: await together.casework.read("default", "default", name) for name in names} == before


async def test_a_case_has_no_more_images_than_it_may(gateway: Wired, redis: Redis) -> None:
    declare(gateway, max_images=2)
    for salt in range(2):
        await gateway.predict("red", salt, case="c1")
    with pytest.raises(Invalid, match="'c1' has 2 images already; give this one a case of its own"):
        await gateway.predict("red", 3, case="c1")


async def test_every_decision_of_a_case_explains_itself(together: Wired, redis: Redis) -> None:
    for colour in ("red", "blue"):
        await together.predict(colour, case="c1")
    await together.predict("green", case="c2")
    await closed(together, "c1")
    await closed(together, "c2")
    catalog = Catalog(together.data.folder)
    explained = [explain(record, catalog) for record in together.predictions()]
    assert len(explained) == 6
    assert [each.disagreements for each in explained if not each.agrees] == []


async def test_what_the_model_could_not_read_goes_to_people_with_its_case(together: Wired, redis: Redis) -> None:
    together.classifier.away()
    one = await together.predict("red", case="c1")
    assert one["reasons"] == ["model_unavailable", "case_open"]
    together.classifier.back()
    await together.predict("red", 1, case="c1")
    assert {route for route, _ in routes(await closed(together)).values()} == {"review"}
    assert state_of(redis, one["id"]) == "waiting"


async def test_a_case_nobody_sent_is_not_found(together: Wired, redis: Redis) -> None:
    with pytest.raises(NotFound, match=r"no image of the case 'c9' is known .* send its images with \?case=c9"):
        await closed(together, "c9")


async def test_the_closing_is_an_event_with_its_images(together: Wired, redis: Redis) -> None:
    view = await together.predict("red", case="c1")
    await together.casework.close("default", "default", "c1", actor="clinic")
    (event,) = [each for each in together.journaled() if isinstance(each, EventRecord) and each.name == CLOSED]
    assert (event.subject, event.actor, event.detail["images"]) == ("c1", "clinic", view["id"])


SCHEMA = schema()
LABELS = st.lists(st.sampled_from(SCHEMA.ids), max_size=3).map(tuple)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=4))
def test_a_case_answers_only_without_contradiction(said: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    alone = [record(fires, absent) for fires, absent in said]
    fired, denied = {label for fires, _ in said for label in fires}, {label for _, absent in said for label in absent}
    exclusive = [set(SCHEMA.members(group.id)) & fired for group in SCHEMA.groups if group.kind == "exclusive"]
    agree = not fired & denied and all(len(named) <= 1 for named in exclusive)
    assert cases.answers(alone, SCHEMA) == agree
    assert bool(cases.contradictions(alone, SCHEMA)) != agree


def record(fires: tuple[str, ...], absent: tuple[str, ...]) -> PredictionRecord:
    return PredictionRecord(
        id="1", project="default", site="default", case="c", received_at=0, sha256="", size=0, format="PNG", width=1,
        height=1, route="automatic", policy=PolicySnapshot(mode="live"), fires=fires, absent=absent,
    )  # fmt: skip


async def test_nothing_closes_in_an_index_that_another_gateway_has_not_filled_yet(
    together: Wired, redis: Redis, valkey: Valkey
) -> None:
    """The other gateway closed the case; only its journal knows, and what the case was told."""
    serving(together)
    await together.predict("red", case="c1")
    async with wired(together.data, valkey.url, node="other") as other:
        others = serving(other)
        await closed(other)
        redis.flushall()
        await together.recorder.step()
        await others.step()  # it lives, and has not noticed
        redis.zadd(f"sr:{{{QUEUE}}}:open_cases", {"default/c1": 1})  # its time came while Redis was away
        written = len(together.journaled())
        for close in (together.casework.step, lambda: closed(together)):
            with pytest.raises(IndexAway, match="ask again"):
                await close()
        assert len(together.journaled()) == written
        await other.recorder.step()
        await others.step()
        assert not (await closed(together)).open
        assert await together.casework.step() == 0
        assert len(together.journaled()) == written


async def test_a_gateway_that_is_behind_closes_nothing(together: Wired, redis: Redis) -> None:
    await together.predict("red", case="c1")
    together.recorder.behind = True
    with pytest.raises(IndexAway, match="from the journal"):
        await closed(together)


async def test_people_are_asked_once_however_often_a_case_is_decided(together: Wired, redis: Redis) -> None:
    one = await together.predict("red", case="c1")
    two = await together.predict("blue", case="c1")
    await closed(together)
    together.data.declare(mode="assist", cases={"close_after_s": 3600})  # there is one reason more by now
    together.control.poll()
    late = await together.predict("red", 5, case="c1")
    await closed(together)
    leases = await together.desk.lease(QUEUE, "ada", 9, None)
    assert sorted(lease.item.prediction for lease in leases) == sorted(each["id"] for each in (one, two, late))


async def test_cases_of_a_site_that_is_gone_stand_in_nobody_s_way(
    gateway: Wired, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casework, "_AT_ONCE", 2)
    declare(gateway, close_after_s=0.001)
    one = await gateway.predict("red", case="c1")
    redis.zadd(f"sr:{{{QUEUE}}}:open_cases", {"gone/a": 1, "gone/b": 2, "default/forgotten": 3})
    done = [await gateway.casework.step() for _ in range(3)]
    assert sum(done) == 1
    assert set(await finals(gateway)) == {one["id"]}


async def test_listeners_hear_of_an_answer_that_a_late_image_changed(together: Wired, redis: Redis) -> None:
    one = await together.predict("red", case="c1")
    await closed(together)
    first = await together.outcomes()
    (before,) = [each for each in together.predictions() if each.id == one["id"] and each.revision == 2]
    after = msgspec.structs.replace(before, revision=3, fires=("green",))
    for _ in range(2):
        await together.recorder.record(after)
        await together.recorder.record(before)  # replayed
    said = (await together.outcomes())[len(first) :]
    assert [(each["final"]["revision"], each["final"]["labels"]) for each in said] == [(3, ["green"])]
