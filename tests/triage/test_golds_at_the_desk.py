"""Golds slipped in at the desk: each reviewer gets each once, nothing tells them apart, and they touch nothing but the log."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from redis import Redis

from model_store.record import VerdictRecord
from tests.bundles import picture
from tests.services import eventually
from tests.triage.answers_of_people import take
from tests.triage.blind import declare
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import key
from tests.triage.serving import Served, problem
from tests.triage.test_desk import verdicts
from triage.golding import Golding
from triage.reviewing.item import Lease
from triage.routes.reviewing import _leased


async def gold(gateway: Wired, name: str, colour: str = "blue", **known: Any) -> str:
    """Makes a gold of a new image; the image's digest."""
    made = await Golding(gateway.control, gateway.reviews, gateway.index, gateway.intake).of_image(
        "default", "default", picture(colour, salt=sum(name.encode())), "review",
        **(known or {"answers": {colour: "present"}}),
    )  # fmt: skip
    write(gateway, "golds", name, **made.model_dump(mode="json"))
    return made.sha256


async def everything(gateway: Wired, reviewer: str) -> list[Lease]:
    """All that this reviewer is given, one by one."""
    found: list[Lease] = []
    while leases := await gateway.desk.lease(QUEUE, reviewer, 1, None):
        found += leases
    return found


async def say_blue(gateway: Wired, lease: Lease) -> VerdictRecord:
    return await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")


async def found_gold(gateway: Wired, reviewer: str = "ada") -> Lease:
    """The first gold that a reviewer is given among twenty images; the others go back."""
    for salt in range(20):
        await gateway.predict("blue", 100 + salt)
    leases = await everything(gateway, reviewer)
    (found,) = [lease for lease in leases if lease.item.purpose == "gold"]
    for lease in leases:
        if lease is not found:
            await gateway.desk.give_back(lease.token)
    return found


@pytest.fixture
def slipped(gateway: Wired) -> Wired:
    """Everything that could be a gold is one."""
    write(gateway, "queues", "review", hold_s=0, gold_share=0.5)
    return gateway


async def test_each_reviewer_is_given_each_gold_once(slipped: Wired) -> None:
    for name in ("g1", "g2", "g3"):
        await gold(slipped, name)
    for salt in range(12):
        await slipped.predict("blue", salt)
    names: dict[str, list[str]] = {}
    for reviewer in ("ada", "bob"):
        for _ in range(20):
            for lease in await slipped.desk.lease(QUEUE, reviewer, 1, None):
                if lease.item.purpose == "gold":
                    names.setdefault(reviewer, []).append(lease.item.gold_id)
                    await say_blue(slipped, lease)
                else:
                    await slipped.desk.give_back(lease.token)
    assert {reviewer: sorted(each) for reviewer, each in names.items()} == {
        "ada": ["g1", "g2", "g3"],
        "bob": ["g1", "g2", "g3"],
    }


async def test_a_gold_looks_like_the_others(slipped: Wired) -> None:
    await gold(slipped, "g1")
    for salt in range(30):
        await slipped.predict("blue", salt)
    leases = await everything(slipped, "ada")
    (found,) = [lease for lease in leases if lease.item.purpose == "gold"]
    others = [lease for lease in leases if lease is not found]
    assert len(others) == 30
    shown, other = _leased(found), _leased(others[0])
    assert shown.keys() == other.keys()
    same = ("blind", "project", "site", "case", "reasons", "earlier")
    assert {name: shown[name] for name in same} == {name: other[name] for name in same}
    both = found.item.suggestions, others[0].item.suggestions
    assert [[each.keys() for each in suggestions] for suggestions in both[:1]] == [[each.keys() for each in both[1]]]
    assert [suggestions[0]["id"] for suggestions in both] == ["blue", "blue"]
    assert shown["item"] == shown["prediction"]
    assert found.token.fence == 1
    assert len(str(found.token)) == len(str(others[0].token))


async def test_among_several_it_stands_where_its_time_says(slipped: Wired) -> None:
    await gold(slipped, "g1")
    for salt in range(12):
        await slipped.predict("blue", salt)
    leases = await slipped.desk.lease(QUEUE, "ada", 10, None)
    assert len(leases) == 10
    assert sum(lease.item.purpose == "gold" for lease in leases) == 1
    times = [lease.item.received_at for lease in leases]
    assert times == sorted(times)


async def test_it_touches_nothing_but_the_log(slipped: Wired, redis: Redis) -> None:
    sha256 = await gold(slipped, "g1")
    found = await found_gold(slipped)
    before = slipped.predictions()
    said = await say_blue(slipped, found)
    assert (said.gold, said.gold_id, said.agreement, said.purpose, said.sha256) == (True, "g1", True, "gold", sha256)
    assert (said.step, said.drawn, said.corrects) == ("final", (), False)
    assert slipped.predictions() == before
    assert await slipped.outcomes() == []
    assert redis.exists(f"sr:view:{found.item.id}") == 0


async def test_nobody_is_given_a_gold_when_nothing_waits(slipped: Wired) -> None:
    await gold(slipped, "g1")
    for _ in range(10):
        assert await slipped.desk.lease(QUEUE, "ada", 1, None) == []


async def test_a_gold_that_is_given_back_goes_to_others_and_is_then_theirs(slipped: Wired) -> None:
    await gold(slipped, "g1")
    found = await found_gold(slipped)
    await slipped.desk.skip(found.token)
    assert found.item.id not in [lease.item.id for lease in await everything(slipped, "ada")]
    again = await take(slipped, "bob")
    assert again.item.id == found.item.id
    await say_blue(slipped, again)
    assert redis_members(await slipped.reviews.run(("SMEMBERS", key("gold:g1")))) == {"bob"}


def redis_members(reply: list[Any]) -> set[str]:
    return {each.decode() for each in reply[0]}


async def test_who_answered_the_image_is_never_given_its_gold(slipped: Wired) -> None:
    sent = await slipped.predict("blue")
    write(slipped, "queues", "review", hold_s=0)
    await say_blue(slipped, await take(slipped, "ada"))
    golding = Golding(slipped.control, slipped.reviews, slipped.index, slipped.intake)
    made = await golding.of_prediction("default", sent["id"], "review", answers={"blue": "present"})
    assert (made.readers, made.prediction, [each.id for each in made.suggestions][:1]) == (
        ("ada",),
        sent["id"],
        ["blue"],
    )
    assert made.reasons == tuple(sent["reasons"])


async def test_a_planted_suggestion_is_journaled(slipped: Wired) -> None:
    write(slipped, "queues", "review", hold_s=0, gold_share=0.5, wrong_gold_share=1.0)
    await gold(slipped, "g1")
    found = await found_gold(slipped)
    wrong = found.item.suggestions[0]["id"]
    assert wrong != "blue"
    said = await slipped.answering.answer(found.token, "labels", {wrong: "present"}, None, "")
    assert (said.planted, said.agreement, said.suggestions[0]) == (wrong, False, wrong)


async def test_a_replayed_journal_remembers_who_was_given_what(slipped: Wired, redis: Redis) -> None:
    await gold(slipped, "g1")
    await say_blue(slipped, await found_gold(slipped))
    redis.flushall()
    await slipped.recorder.step()
    again = await everything(slipped, "ada")
    assert [lease.item.purpose for lease in again] == 20 * ["review"]


async def test_a_blind_share_is_read_blind_by_every_reader(gateway: Wired) -> None:
    write(gateway, "queues", "review", hold_s=0, blind_share=0.5, agree=2, readers=2)
    for salt in range(20):
        await gateway.predict("blue", salt)
    first = {lease.item.prediction: lease.item for lease in await gateway.desk.lease(QUEUE, "ada", 100, None)}
    blind = {name for name, item in first.items() if item.blind}
    assert 3 <= len(blind) <= 17
    assert all(not first[name].suggestions and not first[name].reasons for name in blind)
    await gateway.desk.leave(QUEUE, "ada")
    again = {lease.item.prediction for lease in await gateway.desk.lease(QUEUE, "bob", 100, None) if lease.item.blind}
    assert again == blind
    lease = next(lease for lease in await everything_of(gateway, "bob") if lease.item.blind)
    said = await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert (said.blind, said.suggestions, said.drawn) == (True, (), ())
    assert said.answers == {"blue": "present", "red": "absent", "green": "absent", "other": "absent"}
    assert verdicts(gateway) == [said]


async def everything_of(gateway: Wired, reviewer: str) -> list[Lease]:
    await gateway.desk.leave(QUEUE, reviewer)
    return await gateway.desk.lease(QUEUE, reviewer, 100, None)


async def test_an_audited_gold_is_none(slipped: Wired) -> None:
    """A site that audits everything: golds stay what they are."""
    await gold(slipped, "g1", "red")
    declare(slipped)
    found = await found_gold(slipped)
    assert (found.item.drawn, found.item.blind) == ((), False)


def test_golds_are_made_over_http(served: Served) -> None:
    served.project("golden")
    image = base64.b64encode(picture("green", salt=5)).decode()
    body = {"site": "default", "image": image, "answers": {"green": "present"}}
    made = served.http.post("/v1/projects/golden/golds", json=body)
    assert made.status_code == 201, made.text
    name = made.json()["name"]
    stands = eventually(lambda: served.http.get(f"/v1/projects/golden/golds/{name}").json())
    assert stands["answers"] == {"green": "present"}
    assert stands["suggestions"][0]["id"] == "green"
    problem(served.http.post("/v1/projects/golden/golds", json=body), 412, "")
    sent = served.predict("blue", project="golden")
    of = {"prediction": sent["id"], "answers": {"bird": "present"}}
    problem(served.http.post("/v1/projects/golden/golds", json=of), 422, "no label of this queue")
    problem(
        served.http.post("/v1/projects/default/golds", json={**of, "answers": {"blue": "present"}}), 404, "in project"
    )
    problem(served.http.post("/v1/projects/golden/golds", json={"answers": {"blue": "present"}}), 422, "one of the two")
    problem(served.http.post("/v1/projects/golden/golds", json={**body, "image": "%"}), 400, "not base64")
    problem(served.http.post("/v1/projects/golden/golds", json={**body, "image": "AAAA"}), 415, "")
