"""Nothing is given out of an index that some gateway's journal is not in yet: what it answered would be asked again."""

from __future__ import annotations

import shutil

import pytest
from redis import Redis

from embedded.stack import Valkey
from tests.triage.gateway_parts import QUEUE, Wired, wired
from triage.errors import IndexAway
from triage.index.reviews import RedisReviews
from triage.index.whole import Whole
from triage.reviewing.amendments import Said
from triage.reviewing.verdict_id import VerdictId


@pytest.fixture
def whole(gateway: Wired) -> Whole:
    """Of the gateway, as its process would have it."""
    return serving(gateway)


def serving(gateway: Wired) -> Whole:
    gateway.reviews.whole = Whole(
        gateway.reviews, gateway.journal.folder.name, gateway.recorder.holds, gateway.metrics.waits_for
    )
    return gateway.reviews.whole


async def test_a_whole_index_gives_out_what_waits(gateway: Wired, whole: Whole, redis: Redis) -> None:
    view = await gateway.predict("blue")
    assert [lease.item.id for lease in await gateway.desk.lease(QUEUE, "ada", 1, None)] == [view["id"]]


async def test_a_wiped_index_gives_out_nothing_before_its_gateway_noticed(
    gateway: Wired, whole: Whole, redis: Redis
) -> None:
    await gateway.predict("blue")
    assert await whole.step()
    redis.flushall()
    with pytest.raises(IndexAway, match="after a loss of Redis and waits for the gateway test; ask again"):
        await gateway.desk.lease(QUEUE, "ada", 1, None)
    await gateway.recorder.step()
    assert len(await gateway.desk.lease(QUEUE, "ada", 1, None)) == 1


async def test_one_gateway_waits_for_what_only_the_other_knows_to_be_answered(
    gateway: Wired, whole: Whole, redis: Redis, valkey: Valkey
) -> None:
    view = await gateway.predict("blue")
    async with wired(gateway.data, valkey.url, node="other") as other:
        others = serving(other)
        (lease,) = await other.desk.lease(QUEUE, "ada", 1, None)
        await other.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
        assert await whole.step()
        redis.flushall()
        await gateway.recorder.step()  # it brings the image back, and knows of no answer
        await others.step()  # the other lives, and has not noticed
        with pytest.raises(IndexAway, match="waits for the gateway other; ask again"):
            await gateway.desk.lease(QUEUE, "ben", 1, None)
        await other.recorder.step()
        await others.step()
        waited = gateway.metrics.registry.get_sample_value
        assert (whole.waits_for, waited("triage_index_waits_for", {"node": "other"})) == (("other",), 1)
        assert await gateway.desk.lease(QUEUE, "ben", 1, None) == []
        assert await gateway.reviews.item_state(QUEUE, view["id"]) == "resolved"
        assert (whole.waits_for, waited("triage_index_waits_for", {"node": "other"})) == ((), None)


async def test_no_answer_is_taken_into_an_index_that_another_gateway_has_not_filled_yet(
    gateway: Wired, whole: Whole, redis: Redis, valkey: Valkey
) -> None:
    """Redis was set back to when ben had the lease; ada has answered since, and only the other gateway's journal knows."""
    view = await gateway.predict("blue")
    async with wired(gateway.data, valkey.url, node="other") as other:
        others = serving(other)
        assert await whole.step()
        (lease,) = await gateway.desk.lease(QUEUE, "ben", 1, None)
        redis.delete(f"sr:{{{QUEUE}}}:whole")
        await others.step()
        redis.hset("sr:{gateways}:nodes", "other", "")
        for again in range(2):
            with pytest.raises(IndexAway, match="ask again"):
                await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
            assert await gateway.reviews.item_state(QUEUE, view["id"]) == "leased", again
        await others.step()
        await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")


async def test_what_a_wiped_index_does_not_show_may_be_in_a_journal(gateway: Wired, whole: Whole, redis: Redis) -> None:
    view = await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    verdict = await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    redis.flushall()
    said = Said("labels", {"blue": "absent"})
    for _ in range(2):
        with pytest.raises(IndexAway):
            await gateway.reviews.view(view["id"])
        with pytest.raises(IndexAway):
            await gateway.answering.amend(VerdictId.parse(verdict.id), 1, said, "ada")
        with pytest.raises(IndexAway):
            await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    await gateway.recorder.step()
    assert await gateway.reviews.view(view["id"])
    assert (await gateway.answering.amend(VerdictId.parse(verdict.id), 1, said, "ada")).revision == 2


async def test_an_amendment_waits_until_every_gateway_has_brought_its_own(
    gateway: Wired, whole: Whole, redis: Redis
) -> None:
    await gateway.predict("blue")
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    verdict = await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    redis.delete(f"sr:{{{QUEUE}}}:whole")
    said = Said("labels", {"blue": "absent"})
    with pytest.raises(IndexAway):
        await gateway.answering.amend(VerdictId.parse(verdict.id), 1, said, "ada")
    assert (await gateway.answering.amend(VerdictId.parse(verdict.id), 1, said, "ada")).revision == 2


async def test_who_is_silent_is_not_waited_for(
    gateway: Wired, whole: Whole, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.predict("blue")
    redis.hset("sr:{gateways}:nodes", "gone", "another index")
    redis.zadd("sr:{gateways}:seen", {"gone": 0})
    assert await whole.step()
    seconds, _ = redis.time()
    redis.zadd("sr:{gateways}:seen", {"here": 1000 * seconds})
    assert not await whole.step()


async def test_a_server_that_restarted_is_another_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = Valkey(tmp_path_factory.mktemp("restarted"))
    reviews = RedisReviews(server.url, 5.0)
    known: list[str | None] = [None]
    whole = Whole(reviews, "one", lambda: known[0])
    try:
        await reviews.epoch("e")
        known[0] = await reviews.identity()
        assert await whole.ready(QUEUE) == known[0]
        server.process.kill()
        server.start()
        await reviews.run(("PING",))
        with pytest.raises(IndexAway):
            await whole.ready(QUEUE)
    finally:
        await reviews.close()
        server.process.kill()


async def test_what_was_lost_in_the_last_second_before_a_restart_is_brought_back(
    gateway: Wired, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The checkpoint did not move in that second, so only the restart tells of the gap."""
    folder = tmp_path_factory.mktemp("second")
    server = Valkey(folder / "valkey")
    try:
        async with wired(gateway.data, server.url, node="lonely") as parts:
            await parts.recorder.step()
            with Redis.from_url(server.url) as client:
                client.config_set("appendfsync", "always")
                client.set("marker", 1)
            shutil.copytree(folder / "valkey", folder / "kept")
            view = await parts.predict("blue")
            server.process.kill()
            shutil.rmtree(folder / "valkey")
            shutil.move(folder / "kept", folder / "valkey")
            server.start()
            await parts.recorder.step()
            await parts.recorder.step()
            assert await parts.reviews.item_state(QUEUE, view["id"]) == "waiting"
    finally:
        server.process.kill()
