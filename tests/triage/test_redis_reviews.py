"""What the queue promises beside its table: order, fencing, skips, replays, sweeping, views, outcomes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis import Redis

from embedded.ports import free_ports
from embedded.stack import Valkey
from tests.triage.queue_items import QUEUE, expire, item, key, state_of
from triage.errors import Conflict, IndexAway, NotFound
from triage.index.reviews import RedisReviews
from triage.ports import Position


async def put(reviews: RedisReviews, *names: str) -> None:
    for place, name in enumerate(names):
        await reviews.enqueue(QUEUE, item(name), float(place), None, b"view of " + name.encode())


async def test_the_oldest_comes_first_and_a_released_item_keeps_its_place(reviews: RedisReviews) -> None:
    await put(reviews, "a", "b", "c")
    leases = await reviews.lease(QUEUE, "ada", 2, 60)
    assert [each.item.id for each in leases] == ["a", "b"]
    await reviews.release(leases[0].token)
    assert [each.item.id for each in await reviews.lease(QUEUE, "bob", 3, 60)] == ["a", "c"]


async def test_a_lease_tells_all_of_the_item_and_when_it_ends(reviews: RedisReviews) -> None:
    await put(reviews, "a")
    (lease,) = await reviews.lease(QUEUE, "ada", 1, 60)
    assert lease.item == item("a")
    assert lease.expires_at - lease.leased_at == 60_000_000
    assert lease.retry is None
    assert await reviews.extend(lease.token, 120) >= lease.leased_at + 120_000_000


async def test_a_hundred_at_once_never_share_an_item(reviews: RedisReviews) -> None:
    await put(reviews, *(f"{number:03d}" for number in range(60)))
    taken = await asyncio.gather(*(reviews.lease(QUEUE, f"r{number}", 1, 60) for number in range(100)))
    given = [each.item.id for leases in taken for each in leases]
    assert sorted(given) == [f"{number:03d}" for number in range(60)]


async def test_who_skipped_is_not_asked_again_and_others_are(reviews: RedisReviews) -> None:
    await put(reviews, "a", "b")
    (lease,) = await reviews.lease(QUEUE, "ada", 1, 60)
    await reviews.release(lease.token, skipped_by="ada")
    assert [each.item.id for each in await reviews.lease(QUEUE, "ada", 5, 60)] == ["b"]
    assert [each.item.id for each in await reviews.lease(QUEUE, "ad", 5, 60)] == ["a"]


async def test_a_skip_is_remembered_over_other_people_s_leases(reviews: RedisReviews) -> None:
    await put(reviews, "a")
    for reviewer in ("bob", "ada"):
        (lease,) = await reviews.lease(QUEUE, reviewer, 1, 60)
        await reviews.release(lease.token, skipped_by=reviewer)
    (lease,) = await reviews.lease(QUEUE, "cy", 1, 60)
    await reviews.release(lease.token)
    assert [await reviews.lease(QUEUE, reviewer, 1, 60) for reviewer in ("ada", "bob")] == [[], []]
    assert len(await reviews.lease(QUEUE, "cy", 1, 60)) == 1


async def test_hundreds_of_skips_do_not_hide_what_is_behind_them(reviews: RedisReviews) -> None:
    await put(reviews, *(f"{number:03d}" for number in range(305)))
    for lease in await reviews.lease(QUEUE, "ada", 300, 60):
        await reviews.release(lease.token, skipped_by="ada")
    left = await reviews.lease(QUEUE, "ada", 10, 60)
    assert [each.item.id for each in left] == ["300", "301", "302", "303", "304"]


async def test_a_fence_grows_with_each_lease(reviews: RedisReviews) -> None:
    await put(reviews, "a")
    (first,) = await reviews.lease(QUEUE, "ada", 1, 60)
    await reviews.release(first.token)
    (second,) = await reviews.lease(QUEUE, "ada", 1, 60)
    assert second.token.fence == first.token.fence + 1
    assert second.token.nonce != first.token.nonce


async def test_an_expired_lease_goes_to_the_next_and_its_holder_is_told(reviews: RedisReviews, redis: Redis) -> None:
    await put(reviews, "a")
    (lost,) = await reviews.lease(QUEUE, "ada", 1, 60)
    expire(redis, "a")
    assert await reviews.sweep(QUEUE) == (1, [], [])
    with pytest.raises(Conflict, match="waits for the next reviewer"):
        await reviews.answer(lost.token, b"late")
    (taken,) = await reviews.lease(QUEUE, "bob", 1, 60)
    with pytest.raises(Conflict, match="somebody else has the item"):
        await reviews.answer(lost.token, b"late")
    assert await reviews.answer(taken.token, b"in time") == (b"in time", False)


async def test_a_real_clock_ends_a_lease(reviews: RedisReviews, redis: Redis) -> None:
    await put(reviews, "a")
    await reviews.lease(QUEUE, "ada", 1, 0)  # over at once, on the server's own clock
    assert await reviews.sweep(QUEUE) == (1, [], [])
    assert state_of(redis, "a") == "waiting"


async def test_an_answer_is_held_and_repeated_by_the_same_lease(reviews: RedisReviews, redis: Redis) -> None:
    await put(reviews, "a")
    (lease,) = await reviews.lease(QUEUE, "ada", 1, 60)
    assert await reviews.answer(lease.token, b"first") == (b"first", False)
    assert await reviews.answer(lease.token, b"second") == (b"first", False)
    assert await reviews.sweep(QUEUE) == (0, [], [])
    expire(redis, "a")
    (held,) = (await reviews.sweep(QUEUE)).held
    assert (held.queue, held.item, held.payload) == (QUEUE, "a", b"first")
    assert (await reviews.sweep(QUEUE)).held == []  # whoever got it has time to write it
    await reviews.finish(QUEUE, "a", "resolved", b"f", b"o", 60, b"first")
    assert await reviews.answer(lease.token, b"third") == (b"first", True)


async def test_when_it_was_first_shown_is_kept(reviews: RedisReviews) -> None:
    await put(reviews, "a")
    (lease,) = await reviews.lease(QUEUE, "ada", 1, 60)
    assert (await reviews.holding(lease.token)).shown_at is None
    await reviews.extend(lease.token, 60, shown_at=5)
    await reviews.extend(lease.token, 60, shown_at=9)
    held = await reviews.holding(lease.token)
    assert (held.reviewer, held.shown_at, held.leased_at) == ("ada", 5, lease.leased_at)
    await reviews.release(lease.token)
    (again,) = await reviews.lease(QUEUE, "bob", 1, 60)
    assert (await reviews.holding(again.token)).shown_at is None


async def test_an_outcome_is_published_once_and_read_from_where_one_stopped(reviews: RedisReviews) -> None:
    await put(reviews, "a", "b")
    for name in ("a", "b", "a"):
        await reviews.finish(QUEUE, name, "resolved", b"f", b"outcome of " + name.encode(), 60)
    events = await reviews.outcomes(QUEUE, "0", 10)
    assert [outcome for _, outcome in events] == [b"outcome of a", b"outcome of b"]
    assert await reviews.outcomes(QUEUE, events[0][0], 10) == events[1:]
    assert await reviews.outcomes(QUEUE, events[1][0], 10) == []


async def test_who_has_read_an_image_is_not_given_its_second_reading(reviews: RedisReviews) -> None:
    """Also not by a name that is part of theirs, and also after somebody else skipped it."""
    await reviews.enqueue(QUEUE, item("a", not_by=("ada", "bob")), 0.0)
    for reviewer in ("ada", "bob"):
        assert await reviews.lease(QUEUE, reviewer, 5, 60) == []
    (lease,) = await reviews.lease(QUEUE, "ad", 5, 60)
    await reviews.release(lease.token, skipped_by="ad")
    for reviewer in ("ada", "bob", "ad"):
        assert await reviews.lease(QUEUE, reviewer, 5, 60) == []
    assert len(await reviews.lease(QUEUE, "cy", 5, 60)) == 1


async def test_a_reading_that_callers_do_not_hear_of_touches_nothing_of_theirs(
    reviews: RedisReviews, redis: Redis
) -> None:
    await reviews.put_view("p", b"view", "blob", b"final", 60)
    await reviews.enqueue(QUEUE, replace(item("a"), prediction="p"), 0.0)
    before = redis.get("sr:view:p")
    await reviews.finish(QUEUE, "a", "resolved", b"", b"", 60, b"payload", prediction="p")
    assert redis.get("sr:view:p") == before
    assert not redis.exists("sr:view:a")
    assert await reviews.outcomes(QUEUE, "0", 10) == []
    assert state_of(redis, "a") == "resolved"


async def test_what_is_waiting_is_kept_and_what_is_final_goes(reviews: RedisReviews, redis: Redis) -> None:
    await put(reviews, "a")
    assert redis.ttl("sr:view:a") == -1
    await reviews.finish(QUEUE, "a", "resolved", b"f", b"o", 60)
    assert 0 < int(redis.ttl("sr:view:a")) <= 60
    assert 0 < int(redis.ttl(key("item:a"))) <= 60
    assert await reviews.view("a") == (b"view of a", b"f", item("a").blob)


async def test_an_unknown_prediction_is_not_found(reviews: RedisReviews) -> None:
    with pytest.raises(NotFound, match="ids come from POST /v1/predictions"):
        await reviews.view("nobody")


async def test_stats_count_and_age(valkey: Valkey, redis: Redis) -> None:
    reviews = RedisReviews(valkey.url, 5.0, clock=lambda: 11_000)
    assert (await reviews.stats(QUEUE)).oldest_age_s == 0
    await reviews.enqueue(QUEUE, item("a", received_at=1_000_000), 1_000.0, None, b"v")
    await reviews.enqueue(QUEUE, item("b", received_at=3_000_000), 3_000.0, None, b"v")
    (lease,) = await reviews.lease(QUEUE, "ada", 1, 60)
    stats = await reviews.stats(QUEUE, sla_s=9)
    assert (stats.waiting, stats.leased, stats.oldest_age_s, stats.overdue) == (1, 1, 10, 1)
    assert (stats.reasons, stats.answered) == ({"none_fired": 2}, 0)
    await reviews.finish(QUEUE, lease.item.id, "resolved", b"f", b"o", 60, reviewer="ada", at=10_000_000)
    stats = await reviews.stats(QUEUE, sla_s=9)
    assert (stats.waiting, stats.leased, stats.oldest_age_s, stats.overdue) == (1, 0, 8, 0)
    assert (stats.reasons, stats.answered) == ({"none_fired": 1}, 1)
    await reviews.close()


async def test_checkpoint_and_epoch_are_kept(reviews: RedisReviews, redis: Redis) -> None:
    assert await reviews.checkpoint("n") is None
    await reviews.set_checkpoint("n", Position(3, 44))
    assert await reviews.checkpoint("n") == Position(3, 44)
    assert (await reviews.epoch("one"), await reviews.epoch("two")) == ("one", "one")
    redis.flushall()
    assert await reviews.epoch("three") == "three"


async def test_a_server_that_forgot_the_scripts_is_given_them_again(reviews: RedisReviews, redis: Redis) -> None:
    await put(reviews, "a")
    redis.script_flush()
    assert len(await reviews.lease(QUEUE, "ada", 1, 60)) == 1


async def test_redis_away_is_one_error_with_a_mend() -> None:
    reviews = RedisReviews(f"redis://127.0.0.1:{free_ports(1)[0]}/0", 1.0)
    with pytest.raises(IndexAway, match=r"^Redis does not answer \(.+\); predictions go on, try this again soon$"):
        await reviews.view("a")
    await reviews.close()


async def test_many_listeners_leave_connections_for_everybody_else(valkey: Valkey, redis: Redis) -> None:
    """A page left open, times sixty-five, must not stop the queue."""
    reviews = RedisReviews(valkey.url, 5.0)
    try:
        for _ in range(8):
            await asyncio.gather(*(reviews.outcomes(QUEUE, "0", 10) for _ in range(8)))
        assert await reviews.queues() == []
    finally:
        await reviews.close()
