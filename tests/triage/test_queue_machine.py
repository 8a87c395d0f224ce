"""The queue against a model of it: hypothesis takes reviewers through any order of events, a real Valkey must agree."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from embedded.stack import Valkey
from tests.triage.queue_items import QUEUE, expire, item, key, waiting
from triage.errors import Conflict
from triage.index.reviews import RedisReviews
from triage.reviewing.item import Lease

T = TypeVar("T")
REVIEWERS = ("ada", "bob", "cy")


@dataclass
class Known:
    """What the model says of one item."""

    place: float
    state: str = "waiting"
    fence: int = 0
    holder: tuple[int, str] | None = None
    payload: bytes | None = None
    skipped: set[str] = field(default_factory=set)


class Queue(RuleBasedStateMachine):
    """`leases` holds every token ever given, so that old ones are tried as often as good ones."""

    url = ""
    leases: Bundle[tuple[Lease, str]] = Bundle("leases")

    @initialize()
    def start(self) -> None:
        self.redis = Redis.from_url(self.url)
        self.redis.flushall()
        self.loop = asyncio.new_event_loop()
        self.reviews = RedisReviews(self.url, 5.0)
        self.items: dict[str, Known] = {}
        self.published = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.reviews.close())
            self.loop.close()
            self.redis.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, Any], allowed: bool) -> Any:
        if allowed:
            return self.run(work)
        with pytest.raises(Conflict):
            self.run(work)
        return None

    def holds(self, lease: Lease) -> bool:
        known = self.items[lease.item.id]
        return known.state == "leased" and known.holder == (lease.token.fence, lease.token.nonce)

    @rule(
        name=st.sampled_from("abcde"), place=st.integers(0, 3), not_by=st.sets(st.sampled_from(REVIEWERS), max_size=2)
    )
    def enqueue(self, name: str, place: int, not_by: set[str]) -> None:
        self.run(self.reviews.enqueue(QUEUE, item(name, not_by=tuple(not_by)), float(place), None, b"v"))
        self.items.setdefault(name, Known(place, skipped=not_by))

    @rule(target=leases, reviewer=st.sampled_from(REVIEWERS), count=st.integers(1, 3))
    def lease(self, reviewer: str, count: int) -> Any:
        free = sorted(
            (known.place, name)
            for name, known in self.items.items()
            if known.state == "waiting" and reviewer not in known.skipped
        )
        given = self.run(self.reviews.lease(QUEUE, reviewer, count, 60))
        assert [each.item.id for each in given] == [name for _, name in free[:count]]
        for each in given:
            known = self.items[each.item.id]
            known.fence += 1
            assert each.token.fence == known.fence
            known.state, known.holder = "leased", (each.token.fence, each.token.nonce)
        return multiple(*((each, reviewer) for each in given))

    @rule(held=leases)
    def extend(self, held: tuple[Lease, str]) -> None:
        self.attempt(self.reviews.extend(held[0].token, 60), self.holds(held[0]))

    @rule(held=consumes(leases), skip=st.booleans())
    def give_back(self, held: tuple[Lease, str], skip: bool) -> None:
        lease, reviewer = held
        allowed = self.holds(lease)
        self.attempt(self.reviews.release(lease.token, reviewer if skip else ""), allowed)
        if allowed:
            known = self.items[lease.item.id]
            known.state, known.holder = "waiting", None
            if skip:
                known.skipped.add(reviewer)

    @rule(held=leases, payload=st.sampled_from([b"yes", b"no"]))
    def answer(self, held: tuple[Lease, str], payload: bytes) -> None:
        lease, known = held[0], self.items[held[0].item.id]
        mine = known.holder == (lease.token.fence, lease.token.nonce)
        again = mine and known.payload is not None
        stands = self.attempt(self.reviews.answer(lease.token, payload), again or self.holds(lease))
        if again:
            assert stands == (known.payload, known.state == "resolved")
        elif self.holds(lease):
            assert stands == (payload, False)
            known.state, known.payload = "answering", payload

    @rule(
        name=st.sampled_from("abcde"), state=st.sampled_from(["resolved", "withdrawn"]),
        outcome=st.sampled_from([b"outcome", b""]),
    )  # fmt: skip
    def finish(self, name: str, state: str, outcome: bytes) -> None:
        known = self.items.get(name)
        if known is None:
            return
        self.run(self.reviews.finish(QUEUE, name, state, b"final", outcome, 3600, known.payload or b""))
        if known.state == "resolved" or known.state == state or (known.state, state) == ("answering", "withdrawn"):
            return
        if known.payload is None:
            known.holder = None
        known.state = state
        self.published += bool(outcome)

    @rule(name=st.sampled_from("abcde"))
    def time_passes(self, name: str) -> None:
        known = self.items.get(name)
        if known is None or known.state not in ("leased", "answering"):
            return
        expire(self.redis, name)
        expired, held, _ = self.run(self.reviews.sweep(QUEUE, attempts=1000))
        if known.state == "leased":
            assert (expired, held) == (1, [])
            known.state, known.holder = "waiting", None
        else:
            assert expired == 0
            assert [(each.item, each.payload) for each in held] == [(name, known.payload)]

    @invariant()
    def redis_agrees(self) -> None:
        if not hasattr(self, "items"):
            return
        for name, known in self.items.items():
            assert self.run(self.reviews.item_state(QUEUE, name)) == known.state
        leased = {name.decode() for name in self.redis.zrange(key("leases"), 0, -1)}  # type: ignore[union-attr]
        assert waiting(self.redis) == {name for name, known in self.items.items() if known.state == "waiting"}
        assert leased == {name for name, known in self.items.items() if known.state in ("leased", "answering")}
        assert self.redis.xlen(key("outcomes")) == self.published


def test_the_queue_is_what_its_model_says(valkey: Valkey) -> None:
    Queue.url = valkey.url
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )  # fmt: skip
