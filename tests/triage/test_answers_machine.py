"""Readings, adjudications, holds and amendments against a model of them: hypothesis takes a whole gateway over a real Valkey
through any order of events, with gateways that die between accepting and journaling, and with losses of Redis."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from embedded.stack import Valkey
from model_store.record import VerdictRecord
from tests.services import Data, make_data
from tests.triage.answers_of_people import amend
from tests.triage.blind import final
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired, wired
from triage.errors import Conflict, Forbidden, JournalBroken
from triage.index.scripts import key
from triage.reviewing.item import Lease

T = TypeVar("T")
LAST = "default.last"
PEOPLE = ("ada", "bob", "cy", "dan")
AGREE, READERS = 2, 3
IMAGE, LABEL = st.sampled_from([0, 0, 0, 1]), st.sampled_from(["red", "green", "blue"])
NEWEST = st.sampled_from([-1, -1, -1, -2, 0])
"""Which of the readings so far."""
RARELY = st.sampled_from([False, False, False, True])


@dataclass
class Reading:
    """What one person said, as the model sees it; `told`: the newest revision that left."""

    reviewer: str
    label: str
    earlier: tuple[str, ...]
    adjudicated: bool
    revision: int
    held: bool = True
    seen: bool = False
    """It takes the place of one that callers know."""

    @property
    def step(self) -> str:
        if self.adjudicated:
            return "final"
        said = [*self.earlier, self.label]
        if max(map(said.count, said)) >= AGREE:
            return "final"
        left = READERS - len(said)
        return "again" if max(map(said.count, said)) + left >= AGREE else "escalate"


@dataclass
class Image:
    readings: list[Reading] = field(default_factory=list)
    open: str | None = QUEUE
    """Where it waits for the next reader."""
    told: list[tuple[str, str, int]] = field(default_factory=list)
    """What listeners heard since Redis was lost last: type, label, revision."""
    final: str | None = None

    def earlier(self) -> tuple[str, ...]:
        return tuple(each.label for each in self.readings)

    def leaves(self, reading: Reading) -> None:
        reading.held = False
        if reading.step == "final":
            self.told.append(("correction" if reading.seen else "final", reading.label, reading.revision))
            self.final = reading.label
        elif reading is self.readings[-1]:
            self.open = QUEUE if reading.step == "again" else LAST


class Answers(RuleBasedStateMachine):
    """Two images, two of three readers, adjudicators, a hold that ends when the test says so."""

    url = ""
    data: Data
    numbers = itertools.count()

    @initialize()
    def start(self) -> None:
        self.redis = Redis.from_url(self.url)
        self.redis.flushall()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        node = f"n{next(self.numbers)}"
        self.gateway: Wired = self.run(self.stack.enter_async_context(wired(self.data, self.url, node=node)))
        write(self.gateway, "queues", "review", hold_s=3600, agree=AGREE, readers=READERS, escalate_to="last")
        write(self.gateway, "queues", "last", hold_s=3600)
        self.ids = [self.run(self.gateway.predict("blue", salt))["id"] for salt in range(2)]
        self.images = {name: Image() for name in self.ids}
        self.verdicts: dict[tuple[str, int], VerdictRecord] = {}
        """Image and number of the reading -> the edition that stands."""
        self.editions = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            journaled = [each for each in self.gateway.journaled() if isinstance(each, VerdictRecord)]
            identities = {(each.id, each.revision) for each in journaled}
            assert len(identities) == self.editions, "lost or doubled"
            self.run(self.stack.aclose())
            self.loop.close()
            self.redis.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def dying(self, work: Coroutine[Any, Any, VerdictRecord]) -> None:
        """The gateway is killed before its journal has what it accepted; another one goes on."""
        self.gateway.journal.broken = "killed"
        with pytest.raises(JournalBroken):
            self.run(work)
        self.gateway.journal.broken = None
        for queue in (QUEUE, LAST):
            for zset in ("leases", "amending"):
                members: Any = self.redis.zrange(key(queue, zset), 0, -1)
                for member in members:
                    self.redis.zadd(key(queue, zset), {member: 1})
        self.run(self.gateway.sweeping.step())
        self.run(self.gateway.answering.step())

    def leased(self, name: str, reviewer: str, queue: str) -> Lease | None:
        """The lease of this image, if the reviewer may have it; whatever else they were given goes back."""
        leases = self.run(self.gateway.desk.lease(queue, reviewer, 10, None))
        for lease in leases:
            if lease.item.prediction != name:
                self.run(self.gateway.desk.give_back(lease.token))
        return next((lease for lease in leases if lease.item.prediction == name), None)

    def answered(self) -> bool:
        return bool(getattr(self, "images", None)) and bool(self.images[self.ids[0]].readings)

    def asked(self) -> bool:
        return bool(getattr(self, "images", None)) and any(each.open for each in self.images.values())

    def held(self) -> bool:
        return self.answered() and any(each.held for each in self.images[self.ids[0]].readings)

    def chosen(self, image: int, number: int) -> tuple[str, int] | None:
        """An image and the place of one of its readings."""
        name = self.ids[image]
        count = len(self.images[name].readings)
        return (name, max(0, count + number) if number < 0 else min(number, count - 1)) if count else None

    @precondition(asked)
    @rule(image=IMAGE, reviewer=st.sampled_from(PEOPLE), label=LABEL, dies=RARELY)
    def read(self, image: int, reviewer: str, label: str, dies: bool) -> None:
        name = self.ids[image]
        known = self.images[name]
        queue = known.open or QUEUE
        lease = self.leased(name, reviewer, queue)
        may = known.open is not None and reviewer not in [each.reviewer for each in known.readings]
        assert (lease is not None) == may
        if lease is None:
            return
        assert [each.answers for each in lease.item.earlier] == [{said: "present"} for said in known.earlier()]
        work = self.gateway.answering.answer(lease.token, "labels", {label: "present"}, None, "")
        if dies:
            self.dying(work)
        else:
            self.run(work)
        before = known.readings[-1].revision if known.readings else 1
        known.readings.append(Reading(reviewer, label, known.earlier(), queue == LAST, before))
        known.open = None
        self.editions += 1
        self.look(name, len(known.readings) - 1)

    def look(self, name: str, number: int) -> None:
        """Reads from the journal what stands of a reading."""
        reviewer = self.images[name].readings[number].reviewer
        found = [
            each for each in self.gateway.journaled()
            if isinstance(each, VerdictRecord) and each.prediction == name and each.reading == number + 1
        ]  # fmt: skip
        stands = max(found, key=lambda each: each.revision)
        assert stands.reviewer == reviewer
        self.verdicts[name, number] = stands

    @precondition(answered)
    @rule(image=IMAGE, number=NEWEST, label=LABEL, by=st.sampled_from(["self", "self", "eve", "bob"]), dies=RARELY)
    def amends(self, image: int, number: int, label: str, by: str, dies: bool) -> None:
        place = self.chosen(image, number)
        if place is None:
            return
        name, number = place
        known = self.images[name]
        reading, verdict = known.readings[number], self.verdicts[name, number]
        who = reading.reviewer if by == "self" else by
        work = amend(self.gateway, verdict, label, by=who, adjudicates=by == "eve")
        if who != reading.reviewer and by != "eve":
            with pytest.raises(Forbidden):
                self.run(work)
            return
        if not reading.held and reading.step != "final":
            with pytest.raises(Conflict, match="others rely on this answer"):
                self.run(work)
            return
        if dies:
            self.dying(work)
        else:
            assert self.run(work).revision == reading.revision + 1
        reading.seen = reading.seen or not reading.held
        reading.adjudicated = reading.adjudicated or who != reading.reviewer
        reading.reviewer, reading.label, reading.held = who, label, True
        reading.revision += 1
        self.editions += 1
        self.look(name, number)

    @precondition(held)
    @rule(image=IMAGE)
    def hold_ends(self, image: int) -> None:
        known = self.images[self.ids[image]]
        for number, reading in enumerate(known.readings):
            if reading.held:
                self.over(self.ids[image], number)
                self.run(self.gateway.answering.step())
                known.leaves(reading)

    def over(self, name: str, number: int) -> None:
        verdict = self.verdicts[name, number]
        assert (
            self.redis.zadd(key(verdict.queue, "held"), {verdict.item or verdict.prediction: 1}, xx=True, ch=True) == 1
        )

    @precondition(answered)
    @rule(image=IMAGE, number=NEWEST)
    def repeats(self, image: int, number: int) -> None:
        """The last amendment of a reading is sent again: nothing changes. An older edition is refused."""
        place = self.chosen(image, number)
        verdict = self.verdicts[place] if place else None
        if verdict is not None and verdict.amends:
            other = "red" if "red" not in verdict.answers else "green"
            with pytest.raises(Conflict, match="look at what it says now"):
                self.run(amend(self.gateway, verdict, other, by=verdict.reviewer, revision=verdict.revision - 1))
            (label,) = verdict.answers
            again = self.run(amend(self.gateway, verdict, label, by=verdict.reviewer, revision=verdict.revision - 1))
            assert again == verdict

    @precondition(answered)
    @rule()
    def redis_is_lost(self) -> None:
        """Everything comes back from the journal: what was told is told again in its last edition, and nothing else."""
        self.redis.flushall()
        self.run(self.gateway.recorder.step())
        for name, known in self.images.items():
            known.told, known.final = [], None
            for number, reading in enumerate(known.readings):
                if not reading.held:
                    self.over(name, number)
                    self.run(self.gateway.answering.step())
                    known.leaves(reading)

    @precondition(answered)
    @rule()
    def the_journal_is_replayed(self) -> None:
        records = self.gateway.journaled()
        self.run(self.gateway.index.replay(lambda: records))

    @invariant()
    def the_gateway_agrees(self) -> None:
        if not hasattr(self, "images"):
            return
        told: dict[str, list[tuple[str, str, int]]] = {name: [] for name in self.ids}
        for queue in (QUEUE, LAST):
            for _, body in self.run(self.gateway.reviews.outcomes(queue, "0", 1000)):
                event = msgspec.json.decode(body)
                (label,) = event["final"]["labels"]
                told[event["prediction"]].append((event["type"], label, event["final"]["revision"]))
        for name, known in self.images.items():
            assert sorted(told[name]) == sorted(known.told)
            stands = self.run(final(self.gateway, name))
            assert (stands["labels"] if stands else None) == ([known.final] if known.final else None)


def test_answers_are_what_their_model_says(valkey: Valkey, tmp_path: Path) -> None:
    Answers.url = valkey.url
    Answers.data = make_data(tmp_path / "data")
    run_state_machine_as_test(
        Answers,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )  # fmt: skip
