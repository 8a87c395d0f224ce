"""Queues against a model of them: hypothesis takes reviewers, sweeps, the journal and losses of Redis through any order of
events, and a real Valkey must agree. Time is the test's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from embedded.stack import Valkey
from tests.triage.queue_items import item
from tests.triage.queue_model import ATTEMPTS, DEADLINE_MS, HOLD_MS, LEASE_MS, REVIEWERS, Known, Model
from triage.errors import Conflict
from triage.index.reviews import RedisReviews
from triage.index.scripts import key
from triage.reviewing.item import Lease

T = TypeVar("T")
QUEUES = ("default.review", "default.rare")
Said = Callable[[], Coroutine[Any, Any, Any]]
NAMES, SITES = st.sampled_from("abcdef"), st.sampled_from([(), (), ("lab",), ("lab", "default")])
QUEUE = st.sampled_from([*QUEUES, QUEUES[0], QUEUES[0]])
RARELY = st.sampled_from([False, False, False, True])
"""What is no part of everyday life comes seldom, so that everyday life is long enough to go wrong."""
REVIEWER = st.sampled_from(REVIEWERS)


class Queues(RuleBasedStateMachine):
    """`given` holds every lease ever given with its reviewer: mostly one that holds is used, and now and then an old one."""

    url = ""

    @initialize()
    def start(self) -> None:
        self.redis = Redis.from_url(self.url)
        self.redis.flushall()
        self.loop = asyncio.new_event_loop()
        self.now = 10_000_000
        self.given: list[tuple[Lease, str]] = []
        self.reviews = RedisReviews(self.url, 5.0, clock=lambda: self.now)
        self.models = {queue: Model() for queue in QUEUES}
        self.journal: dict[str, list[tuple[Said, Said]]] = {queue: [] for queue in QUEUES}
        """What is true whatever happens to Redis: how it is said to Redis, and how to the model."""
        for place, name in enumerate("abcd"):
            self.comes(QUEUES[0], name, place, (), "default", "c1", False)

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
        with pytest.raises(Conflict, match=r"; lease the next one$"):
            self.run(work)
        return None

    def of(self, lease: Lease) -> tuple[Model, str, tuple[int, str]]:
        return self.models[lease.token.queue], lease.item.id, (lease.token.fence, lease.token.nonce)

    def one(self, number: int, old: bool) -> tuple[Lease, str] | None:
        """A lease to do something with; an `old` one may hold or not."""
        holding = [each for each in self.given if self.of(each[0])[0].holds(*self.of(each[0])[1:])]
        those = self.given if old else holding
        return those[number % len(those)] if those else None

    def happens(self, queue: str, to_redis: Said, to_model: Callable[[Model], None]) -> None:
        """Something that the journal holds from now on."""

        async def told() -> None:
            to_model(self.models[queue])

        self.journal[queue].append((to_redis, told))
        self.run(to_redis())
        self.run(told())

    @rule(
        queue=QUEUE, name=NAMES, place=st.integers(0, 3), not_by=st.sampled_from([(), (), (), ("ada",), ("bob", "cy")]),
        site=st.sampled_from(["default", "lab"]), case=st.sampled_from([None, "c1", "c2"]), evidence=RARELY,
    )  # fmt: skip
    def comes(
        self, queue: str, name: str, place: int, not_by: tuple[str, ...], site: str, case: str | None, evidence: bool
    ) -> None:
        if any(name == said.__name__ for said, _ in self.journal[queue]):
            return
        plain = item(name, 1000 * self.now, not_by, site, case)
        made = replace(plain, purpose="audit") if evidence else plain
        known = Known(place, self.now, site, case, evidence, frozenset(not_by))

        async def enqueue() -> None:
            await self.reviews.enqueue(queue, made, float(place), None, b"v")

        enqueue.__name__ = name
        self.happens(queue, enqueue, lambda model: model.enqueue(name, replace(known, passed_by=set())))

    @rule(queue=QUEUE, reviewer=REVIEWER, count=st.integers(1, 3), sites=SITES, by_case=RARELY)
    def lease(self, queue: str, reviewer: str, count: int, sites: tuple[str, ...], by_case: bool) -> None:
        model = self.models[queue]
        expected = model.whole_case(reviewer, sites) if by_case else model.first(reviewer, count, sites)
        asked = self.reviews.lease(
            queue, reviewer, count, LEASE_MS // 1000, sites=sites or None, by_case=by_case
        )  # fmt: skip
        given = self.run(asked)
        assert [each.item.id for each in given] == expected
        for each in given:
            model.lease(each.item.id, reviewer, (each.token.fence, each.token.nonce), self.now)
            assert each.token.fence == model.items[each.item.id].fence
            assert each.expires_at == 1000 * (self.now + LEASE_MS)
            self.given.append((each, reviewer))

    @rule(number=st.integers(0, 99), old=RARELY)
    def beat(self, number: int, old: bool) -> None:
        held = self.one(number, old)
        if held is None:
            return
        model, name, token = self.of(held[0])
        allowed = model.holds(name, token)
        self.attempt(self.reviews.extend(held[0].token, LEASE_MS // 1000), allowed)
        if allowed:
            model.items[name].until = self.now + LEASE_MS

    @rule(number=st.integers(0, 99), old=RARELY, skip=st.booleans())
    def give_back(self, number: int, old: bool, skip: bool) -> None:
        held = self.one(number, old)
        if held is None:
            return
        model, name, token = self.of(held[0])
        allowed, skipped_by = model.holds(name, token), held[1] if skip else ""
        self.attempt(self.reviews.release(held[0].token, skipped_by), allowed)
        if allowed:
            model.give_back(name, skipped_by)

    @rule(queue=QUEUE, reviewer=REVIEWER)
    def leaves(self, queue: str, reviewer: str) -> None:
        model = self.models[queue]
        theirs = [name for name, known in model.items.items() if (known.state, known.holder) == ("leased", reviewer)]
        assert self.run(self.reviews.held(queue, reviewer)) == len(theirs)
        assert self.run(self.reviews.leave(queue, [reviewer])) == len(theirs)
        for name in theirs:
            model.give_back(name)

    @rule(number=st.integers(0, 99), old=RARELY, payload=st.sampled_from([b"yes", b"no"]))
    def answer(self, number: int, old: bool, payload: bytes) -> None:
        held = self.one(number, old)
        if held is None:
            return
        model, name, token = self.of(held[0])
        known = model.items[name]
        again = known.token == token and known.payload is not None
        allowed = model.holds(name, token)
        stands = self.attempt(self.reviews.answer(held[0].token, payload), again or allowed)
        if again:
            assert stands == (known.payload, known.state == "resolved")
        elif allowed:
            assert stands == (payload, False)
            known.state, known.payload, known.until = "answering", payload, self.now + HOLD_MS

    @rule(
        queue=QUEUE, name=NAMES, state=st.sampled_from(["resolved", "withdrawn", "unresolved"]), outcome=st.booleans(),
        now=RARELY,
    )  # fmt: skip
    def ends(self, queue: str, name: str, state: str, outcome: bool, now: bool = True) -> None:
        if name not in self.models[queue].items or not now:
            return
        payload = self.models[queue].items[name].payload or b""
        said = b"outcome" if outcome else b""

        async def finish() -> None:
            await self.reviews.finish(
                queue, name, state, b"final", said, 3600, payload, reviewer="ada", at=1000 * self.now
            )

        self.happens(queue, finish, lambda model: model.finish(name, state, outcome))

    @rule(queue=QUEUE, ms=st.sampled_from([1_000, HOLD_MS, LEASE_MS, LEASE_MS, DEADLINE_MS]), deadline=RARELY)
    def time_passes(self, queue: str, ms: int, deadline: bool) -> None:
        self.now += ms
        swept = self.run(self.reviews.sweep(queue, ATTEMPTS, DEADLINE_MS / 1000 if deadline else None))
        expired, held = self.models[queue].sweep(self.now, deadline)
        assert swept.expired == expired
        assert {each.item: each.payload for each in swept.held} == held
        assert {each.item: each.what for each in swept.ending} == self.models[queue].ending
        assert all(each.body is not None and each.body.id == each.item for each in swept.ending)

    @rule(seed=st.integers(0, 2**32 - 1))
    def a_day(self, seed: int) -> None:
        """Thirty things that reviewers do: what goes wrong only after many of them is not found by few."""
        chance = random.Random(seed)
        for _ in range(30):
            queue, number, old = chance.choice((*QUEUES, QUEUES[0])), chance.randrange(100), chance.random() < 0.1
            what = chance.choice(
                ("lease", "lease", "lease", "back", "back", "skip", "beat", "answer", "time", "leaves")
            )
            if what == "lease":
                sites = chance.choice([(), (), ("lab",), ("lab", "default")])
                self.lease(queue, chance.choice(REVIEWERS), chance.randint(1, 2), sites, chance.random() < 0.2)
            elif what in ("back", "skip"):
                self.give_back(number, old, what == "skip")
            elif what == "beat":
                self.beat(number, old)
            elif what == "answer" and chance.random() < 0.3:
                self.answer(number, old, chance.choice([b"yes", b"no"]))
            elif what == "time":
                ms = chance.choice([1_000, HOLD_MS, LEASE_MS // 2, LEASE_MS])
                self.time_passes(queue, ms, chance.random() < 0.1)
            elif what == "leaves" and chance.random() < 0.3:
                self.leaves(queue, chance.choice(REVIEWERS))
            for name in self.dead(queue) if chance.random() < 0.2 else ():
                self.requeue(queue, name)

    @rule(queue=QUEUE, name=NAMES)
    def the_end_is_journaled(self, queue: str, name: str) -> None:
        what = self.models[queue].ending.get(name)
        if what == "unresolved":
            self.ends(queue, name, "unresolved", True)
        elif what is not None:
            self.another_says_it_died(queue, name, int(what.removeprefix("dead ")))

    @rule(queue=QUEUE, name=NAMES, number=st.integers(1, 2), now=RARELY)
    def another_says_it_died(self, queue: str, name: str, number: int, now: bool = True) -> None:
        if not now:
            return

        async def die() -> None:
            await self.reviews.die(queue, name, number, 600)

        self.happens(queue, die, lambda model: model.die(name, number))

    @rule(queue=QUEUE, name=NAMES)
    def requeue(self, queue: str, name: str) -> None:
        number = self.models[queue].died.get(name)
        letters = {each.item.id: each.number for each in self.run(self.reviews.dead(queue, 100))}
        dead = {each: self.models[queue].died[each] for each in self.dead(queue)}
        assert letters == dead
        if name not in letters or number is None:
            return

        async def back() -> None:
            await self.reviews.requeue(queue, name, number, 600)

        self.happens(queue, back, lambda model: model.requeue(name, number))

    def dead(self, queue: str) -> list[str]:
        return [name for name, known in self.models[queue].items.items() if known.state == "dead"]

    @rule(seed=st.integers(0, 999), again=st.booleans(), now=RARELY)
    def redis_is_lost(self, seed: int, again: bool, now: bool) -> None:
        """Leases, skips, expiries and what no journal knows are gone; everything else is there in whatever order it is told."""
        if not now:
            return
        self.redis.flushall()
        shuffled = random.Random(seed)
        for queue in QUEUES:
            told = self.journal[queue] + (
                shuffled.choices(self.journal[queue], k=3) if self.journal[queue] and again else []
            )
            before, self.models[queue] = self.models[queue], Model()
            for _, to_model in self.journal[queue]:
                self.run(to_model())
            shuffled.shuffle(told)
            for to_redis, _ in told:
                self.run(to_redis())
            for name, known in self.models[queue].items.items():
                # Tokens from before are lost for good, since nonces differ; an answer is known by its journaled payload only.
                known.payload = known.token = None
                assert known.state == before.items[name].state or before.items[name].state not in (
                    "resolved",
                    "withdrawn",
                )
            self.models[queue].published = int(self.redis.xlen(key(queue, "outcomes")))

    @invariant()
    def redis_agrees(self) -> None:
        if not hasattr(self, "models"):
            return
        for queue, model in self.models.items():
            self._agrees(queue, model)

    def _agrees(self, queue: str, model: Model) -> None:
        by_state: dict[str, set[str]] = {}
        for name, known in model.items.items():
            assert self.run(self.reviews.item_state(queue, name)) == known.state, name
            by_state.setdefault(known.state, set()).add(name)
        lanes: Any = self.redis.keys(key(queue, "lane:*"))
        in_lanes = [name.decode() for lane in lanes for name in self.redis.zrange(lane, 0, -1)]  # type: ignore[union-attr]
        assert sorted(in_lanes) == sorted(by_state.get("waiting", ()))
        named: Any = self.redis.sunion([key(queue, "sites"), key(queue, "lanes")])
        assert {key(queue, "lane:").encode() + lane for lane in named} == set(lanes)
        still_open = {name for name, known in model.items.items() if known.open}
        evidence = {name for name in still_open if model.items[name].evidence}
        cases = {name for name in still_open if model.items[name].case}
        for kept, names in (
            ("leases", by_state.get("leased", set()) | by_state.get("answering", set())), ("kept", evidence),
            ("dead", by_state.get("dead", set())), ("due", still_open - evidence),
        ):  # fmt: skip
            assert {name.decode() for name in self.redis.zrange(key(queue, kept), 0, -1)} == names, kept  # type: ignore[union-attr]
        found: Any = self.redis.zrange(key(queue, "by_case"), 0, -1)
        assert {name.rpartition(b"\0")[2].decode() for name in found} == cases
        stats = self.run(self.reviews.stats(queue))
        assert stats.reasons == ({"none_fired": len(still_open)} if still_open else {})
        assert self.redis.xlen(key(queue, "outcomes")) == model.published


def test_the_queues_are_what_their_model_says(valkey: Valkey) -> None:
    Queues.url = valkey.url
    run_state_machine_as_test(
        Queues,
        settings=settings(
            max_examples=60, stateful_step_count=50, deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )  # fmt: skip
