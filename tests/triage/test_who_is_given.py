"""Who is given what: sites, cases, skills, shifts, caps; and what becomes of the items of whoever leaves."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from redis import Redis

from embedded.stack import Valkey
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import item, key
from triage.errors import Forbidden
from triage.index import reviews as module
from triage.index.reviews import RedisReviews


async def put(reviews: RedisReviews, name: str, place: float, **about: Any) -> None:
    await reviews.enqueue(QUEUE, item(name, **about), place, None, b"v")


async def given(reviews: RedisReviews, reviewer: str = "ada", count: int = 10, **about: Any) -> list[str]:
    return [lease.item.id for lease in await reviews.lease(QUEUE, reviewer, count, 60, **about)]


async def test_only_items_of_the_sites_that_are_named(reviews: RedisReviews) -> None:
    for place, (name, site) in enumerate([("a", "lab"), ("b", "ward"), ("c", "lab"), ("d", "home")]):
        await put(reviews, name, place, site=site)
    assert await given(reviews, sites=["ward", "home"]) == ["b", "d"]
    assert await given(reviews, sites=[]) == []
    assert await given(reviews, count=1, sites=["lab", "ward"]) == ["a"]
    assert await given(reviews) == ["c"]


async def test_a_site_whose_items_nobody_may_see_stands_in_nobody_s_way(reviews: RedisReviews) -> None:
    for place in range(2500):
        await put(reviews, f"lab {place}", place, site="lab")
    await put(reviews, "last", 9999, site="ward")
    assert await given(reviews, sites=["ward"]) == ["last"]


async def test_a_case_is_leased_whole(reviews: RedisReviews) -> None:
    for place, (name, case) in enumerate(
        [("a", "c1"), ("b", None), ("c", "c1"), ("d", "c2"), ("e", "c1"), ("f", "c11")]
    ):
        await put(reviews, name, place, case=case)
    await put(reviews, "g", 9, case="c1", site="lab")
    assert await given(reviews, by_case=True) == ["a", "c", "e"]
    assert await given(reviews, by_case=True) == ["b"]
    assert await given(reviews, count=1) == ["d"]
    assert await given(reviews, by_case=True) == ["f"]
    assert await given(reviews, by_case=True) == ["g"]


async def test_a_case_whose_name_begins_like_another_s_is_another(reviews: RedisReviews) -> None:
    for place, (name, case) in enumerate([("a", "c"), ("b", "c\0c"), ("c", "c"), ("d", "c/c"), ("e", "")]):
        await put(reviews, name, place, case=case)
    assert await given(reviews, by_case=True) == ["a", "c"]
    assert await given(reviews, by_case=True) == ["b"]


async def test_of_a_case_nobody_is_given_what_is_not_for_them(reviews: RedisReviews) -> None:
    await put(reviews, "a", 0, case="c")
    await put(reviews, "b", 1, case="c", not_by=("ada",))
    await put(reviews, "c", 2, case="c")
    (taken,) = await reviews.lease(QUEUE, "bob", 1, 60, only=["c"])
    assert await given(reviews, by_case=True) == ["a"]
    await reviews.release(taken.token)
    assert await given(reviews, "cy", by_case=True) == ["b", "c"]


async def test_a_case_without_end_is_given_in_parts(reviews: RedisReviews) -> None:
    for place in range(130):
        await put(reviews, f"{place:03d}", place, case="c")
    assert [len(await given(reviews, by_case=True)) for _ in range(3)] == [100, 30, 0]


async def test_whoever_skipped_thousands_is_given_what_is_behind_them(reviews: RedisReviews, redis: Redis) -> None:
    for place in range(2500):
        await put(reviews, f"{place:04d}", place, not_by=("ada",))
    await put(reviews, "last", 9999)
    assert await given(reviews, "ada") == ["last"]
    assert await given(reviews, "bob", 1) == ["0000"]
    assert redis.scard(key("lanes")) == 1


async def test_more_kinds_of_items_than_lanes_are_mixed_and_nothing_is_lost(
    valkey: Valkey, redis: Redis, reviews: RedisReviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PASS_OVER", 7)
    for place in range(400):
        await put(reviews, f"{place:03d}", place, not_by=("ada", f"reader {place}"))
    await put(reviews, "last", 9999, not_by=("bob",))
    assert redis.scard(key("lanes")) <= 257
    assert await given(reviews, "ada") == ["last"]
    everybody = [await given(reviews, f"reader {place}", 1) for place in range(399, -1, -1)]
    assert sorted(name for names in everybody for name in names) == [f"{place:03d}" for place in range(400)]
    assert await given(reviews, "cy") == []


async def test_what_a_reviewer_had_goes_back_when_they_leave(reviews: RedisReviews) -> None:
    for place in range(6):
        await put(reviews, f"{place}", place)
    assert len(await given(reviews, "ada", 3)) == 3
    assert len(await given(reviews, "bob", 2)) == 2
    assert (await reviews.held(QUEUE, "ada"), await reviews.held(QUEUE, "cy")) == (3, 0)
    assert await reviews.leave(QUEUE, ["ada", "nobody"]) == 3
    assert await reviews.leave(QUEUE, ["ada"]) == 0
    assert await given(reviews, "cy") == ["0", "1", "2", "5"]


async def test_skills_are_asked_for_and_whoever_is_not_active_has_nothing(gateway: Wired) -> None:
    write(gateway, "queues", "review", skills=["ct"])
    await gateway.predict("blue")
    with pytest.raises(Forbidden, match="the skill 'ct', which ada lacks"):
        await gateway.desk.lease(QUEUE, "ada", 1, None)
    write(gateway, "people", "ada", skills=["ct", "mr"])
    assert len(await gateway.desk.lease(QUEUE, "ada", 1, None)) == 1
    write(gateway, "people", "ada", skills=["ct", "mr"], active=False)
    with pytest.raises(Forbidden, match="does not review here any more"):
        await gateway.desk.lease(QUEUE, "ada", 1, None)
    await gateway.sweeping.step()
    assert (await gateway.reviews.stats(QUEUE)).leased == 0


async def test_nobody_is_given_anything_outside_their_shifts(gateway: Wired) -> None:
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    hours = {"weekdays": [f"{tomorrow:%a}".lower()], "from": "08:00", "to": "09:00"}
    write(gateway, "people", "ada", shifts=[hours])
    with pytest.raises(Forbidden, match=f"not on shift; the next one begins on {tomorrow:%A} at 08:00"):
        await gateway.desk.lease(QUEUE, "ada", 1, None)


async def test_a_cap_holds_over_the_queues_of_a_project(gateway: Wired) -> None:
    write(gateway, "queues", "reds", routes=[{"labels": ["red"]}])
    write(gateway, "people", "ada", daily_cap=3)
    for salt in range(4):
        await gateway.predict("blue", salt)
    leases = await gateway.desk.lease(QUEUE, "ada", 2, None)
    assert len(leases) == 2
    await gateway.answering.answer(leases[0].token, "unusable", {}, None, "")
    more = await gateway.desk.lease(QUEUE, "ada", 9, None)
    assert len(more) == 1
    with pytest.raises(Forbidden, match="answer them or give them back"):
        await gateway.desk.lease("default.reds", "ada", 1, None)
    for lease in (leases[1], more[0]):
        await gateway.answering.answer(lease.token, "unusable", {}, None, "")
    with pytest.raises(Forbidden, match="ada has answered 3 items today, as many as allowed; go on tomorrow"):
        await gateway.desk.lease("default.reds", "ada", 1, None)
    assert len(await gateway.desk.lease(QUEUE, "bob", 1, None)) == 1


async def test_answers_of_a_day_are_counted_again_from_the_journal(gateway: Wired, redis: Redis) -> None:
    await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    await gateway.answering.answer(lease.token, "unusable", {}, None, "")
    redis.flushall()
    for record in [*gateway.journaled(), *gateway.journaled()]:
        await gateway.index.apply(record)
    assert await gateway.reviews.answered([QUEUE], "ada", 0) == 1
    assert (await gateway.reviews.stats(QUEUE)).answered == 1


async def test_a_lease_lasts_as_long_as_its_queue_says(gateway: Wired) -> None:
    write(gateway, "queues", "review", lease_s=7)
    await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    assert lease.expires_at - lease.leased_at == 7_000_000
