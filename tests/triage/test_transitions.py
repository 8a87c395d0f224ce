"""Walks the table of review.py against the scripts on a real Valkey: what it names happens, anything else is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any, get_args

import pytest
from redis import Redis

from tests.triage.queue_items import QUEUE, dump, expire, item, key, state_of, waiting
from triage.errors import Conflict
from triage.index.reviews import RedisReviews
from triage.reviewing.item import TERMINAL, TRANSITIONS, Event, LeaseToken, State

Do = Callable[[RedisReviews, Redis, LeaseToken], Awaitable[Any]]
ID = "it"


async def _lease(reviews: RedisReviews, redis: Redis, token: LeaseToken) -> None:
    if not await reviews.lease(QUEUE, "bob", 1, 60, only=[ID]):
        raise Conflict("nothing to lease")


async def _expire(reviews: RedisReviews, redis: Redis, token: LeaseToken) -> None:
    if state_of(redis, ID) == "leased":
        expire(redis, ID)
    if not (await reviews.sweep(QUEUE)).expired:
        raise Conflict("nothing expired")


async def _die(reviews: RedisReviews, redis: Redis, token: LeaseToken) -> None:
    before = await reviews.item_state(QUEUE, ID)
    await reviews.die(QUEUE, ID, 1, 60)
    if await reviews.item_state(QUEUE, ID) == before:
        raise Conflict("the journal's word changed nothing")


async def _requeue(reviews: RedisReviews, redis: Redis, token: LeaseToken) -> None:
    before = await reviews.item_state(QUEUE, ID)
    await reviews.requeue(QUEUE, ID, 1, 60)
    if await reviews.item_state(QUEUE, ID) == before:
        raise Conflict("the journal's word changed nothing")


async def _leave(reviews: RedisReviews, redis: Redis, token: LeaseToken) -> None:
    if not await reviews.leave(QUEUE, ["ada"]):
        raise Conflict("nothing to return")


async def _overdue(reviews: RedisReviews, redis: Redis, token: LeaseToken) -> None:
    if not (await reviews.sweep(QUEUE, deadline_s=1)).ending:
        raise Conflict("nothing is overdue")


async def _finish(reviews: RedisReviews, state: str) -> None:
    before = await reviews.item_state(QUEUE, ID)
    await reviews.finish(QUEUE, ID, state, b'{"by":"test"}', b"{}", 60, b"payload")
    if await reviews.item_state(QUEUE, ID) == before:
        raise Conflict("the journal's word changed nothing")


EVENTS: dict[str, Do] = {
    "lease": _lease,
    "expire": _expire,
    "release": lambda reviews, redis, token: reviews.release(token),
    "skip": lambda reviews, redis, token: reviews.release(token, skipped_by="ada"),
    "answer": lambda reviews, redis, token: reviews.answer(token, b"another answer"),
    "leave": _leave,
    "die": _die,
    "requeue": _requeue,
    "overdue": _overdue,
    "resolve": lambda reviews, redis, token: _finish(reviews, "resolved"),
    "withdraw": lambda reviews, redis, token: _finish(reviews, "withdrawn"),
}
USES: dict[str, Do] = {
    "extend": lambda reviews, redis, token: reviews.extend(token, 60),
    "holding": lambda reviews, redis, token: reviews.holding(token),
}


async def _bring_to(reviews: RedisReviews, state: str) -> LeaseToken:
    """An item in a state, and the token that ada holds, or held last."""
    await reviews.enqueue(QUEUE, item(ID), 1.0, None, b"view")
    if state == "waiting":
        return LeaseToken(QUEUE, ID, 1, "never-given")
    lease = (await reviews.lease(QUEUE, "ada", 1, 60))[0]
    if state == "dead":
        await reviews.die(QUEUE, ID, 1, 60)
    if state == "answering":
        await reviews.answer(LeaseToken(QUEUE, ID, lease.token.fence, lease.token.nonce), b"the answer")
        return LeaseToken(QUEUE, ID, 7, "somebody-else")
    if state in TERMINAL:
        await reviews.finish(QUEUE, ID, state, b"final", b"{}", 60, b"payload")
    return lease.token


@pytest.mark.parametrize(("state", "event"), [(s, e) for (s, e) in product(get_args(State), get_args(Event))])
async def test_the_scripts_do_what_the_table_says(
    reviews: RedisReviews, redis: Redis, state: State, event: Event
) -> None:
    token = await _bring_to(reviews, state)
    assert state_of(redis, ID) == state
    before = dump(redis)
    if (state, event) in TRANSITIONS:
        await EVENTS[event](reviews, redis, token)
        assert state_of(redis, ID) == TRANSITIONS[state, event]
    else:
        with pytest.raises(Conflict):
            await EVENTS[event](reviews, redis, token)
        assert _without_rounds(dump(redis)[key(f"item:{ID}")]) == _without_rounds(before[key(f"item:{ID}")])
        assert state_of(redis, ID) == state


def _without_rounds(content: Any) -> Any:
    """That it died or was requeued is remembered of an item in any state: the other half of the story may come later."""
    found, expires = content
    return {name: value for name, value in found.items() if name not in (b"d", b"u")}, expires


@pytest.mark.parametrize("state", get_args(State))
async def test_a_state_has_its_place_in_the_sets(reviews: RedisReviews, redis: Redis, state: State) -> None:
    await _bring_to(reviews, state)
    assert (ID in waiting(redis)) == (state == "waiting")
    for name, holds in (
        ("leases", state in ("leased", "answering")), ("dead", state == "dead"), ("due", state not in TERMINAL),
    ):  # fmt: skip
        assert (redis.zscore(key(name), ID) is not None) == holds
    assert redis.hgetall(key("reasons")) == ({} if state in TERMINAL else {b"none_fired": b"1"})


@pytest.mark.parametrize("use", ["release", "skip", "answer", "extend", "holding"])
async def test_another_lease_s_token_is_refused_in_words(reviews: RedisReviews, redis: Redis, use: str) -> None:
    mine = await _bring_to(reviews, "leased")
    for stranger in (
        LeaseToken(QUEUE, ID, mine.fence, "0" * 16), LeaseToken(QUEUE, ID, mine.fence + 1, mine.nonce),
        LeaseToken(QUEUE, "other", mine.fence, mine.nonce), LeaseToken("x.review", ID, mine.fence, mine.nonce),
    ):  # fmt: skip
        before = dump(redis)
        with pytest.raises(Conflict, match=r"; lease the next one$"):
            await {**EVENTS, **USES}[use](reviews, redis, stranger)
        assert dump(redis) == before
