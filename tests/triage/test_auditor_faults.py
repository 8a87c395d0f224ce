"""Deaths between any two steps, two auditors at once, a lost index: the same end, each answer counted once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from embedded.stack import Valkey
from model_store.record import EventRecord
from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import Wired, wired
from triage.auditing.auditor import Auditor
from triage.auditing.recall import Recalls
from triage.auditing.suspensions import Suspensions
from triage.control.catalog import Catalog
from triage.index import audits as redis_audits
from triage.journal.segments import read
from triage.recovery.recover import recover
from triage.settings import Settings

BAD = 8


class Killed(BaseException):
    """No handler of ours catches it, as none outlives a kill."""


class Knife:
    """Kills an auditor just before its `at`-th step that changes something."""

    def __init__(self, at: int) -> None:
        self.left = at

    def through(self, part: Any, name: str) -> None:
        whole = getattr(part, name)

        async def cut(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Killed
            return await whole(*arguments, **named)

        setattr(part, name, cut)


def under_the_knife(audited: Audited, knife: Knife) -> Auditor:
    """An auditor of its own, so that its parts' steps can be cut and nobody else's."""
    auditor: Any = audited.auditor()
    knife.through(auditor._audits, "take")
    knife.through(auditor._suspensions, "change")
    knife.through(auditor._suspensions, "_mark")
    knife.through(auditor._suspensions, "begin")
    recorder = _Passing(audited.gateway.recorder)
    auditor._suspensions._recorder = auditor._suspensions._recalls._recorder = recorder
    knife.through(recorder, "record")
    return auditor  # type: ignore[no-any-return]


class _Passing:
    """A recorder with attributes of its own over the one that is everybody's."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def record(self, record: Any) -> None:
        await self._inner.record(record)


@pytest.fixture
async def audited(data: Data, gateway: Wired) -> Audited:
    declare(data, lenient(data))
    gateway.control.poll()
    return Audited(gateway)


async def end_of(audited: Audited) -> dict[str, Any]:
    """What came of it, without ids and times."""
    entry = audited.entry()
    evidence = await audited.evidence_or_none()
    return {
        "entry": entry.model_dump(exclude={"since", "suspended_at", "last_good", "recalls", "evidence"}),
        "swept": [list(each.swept.values()) for each in entry.recalls],
        "suspended": len(audited.events("class_suspended")),
        "resumed": len(audited.events("class_resumed")),
        "recalled": len({each.subject for each in audited.events("recalled").values()}),
        "told": sum(each["type"] == "recall" for each in await audited.gateway.outcomes()),
        "evidence": evidence and (evidence.epoch, evidence.audits, evidence.errors),
    }


async def bad_times(audited: Audited) -> None:
    await audited.send(3)
    await audited.send(BAD, "red", "blue")
    await audited.read()


async def good_times(audited: Audited) -> None:
    reads = audited.entry().reads
    assert reads is not None
    await audited.send(reads)
    await audited.read()


async def life(audited: Audited, turn: Callable[[], Any]) -> list[dict[str, Any]]:
    await bad_times(audited)
    await turn()
    ends = [await end_of(audited)]
    await good_times(audited)
    await turn()
    return [*ends, await end_of(audited)]


async def test_a_death_between_any_two_steps_is_mended_by_the_next_turn(
    data: Data, valkey: Valkey, redis: Redis
) -> None:
    declare(data, lenient(data))

    async def lived(at: int, node: str) -> tuple[list[dict[str, Any]], bool]:
        redis.flushall()
        standing = data.folder / "control/projects/default/standing/default.json"
        standing.unlink(missing_ok=True)
        async with wired(data, valkey.url, node) as gateway:
            gateway.control.poll()
            audited, knife = Audited(gateway, salt=iter(range(10_000_000))), Knife(at)

            async def turn() -> None:
                with contextlib.suppress(Killed):
                    await audited.turn(under_the_knife(audited, knife))
                for _ in range(3):  # until nothing is left to do
                    await audited.turn()

            return await life(audited, turn), knife.left <= 0

    expected, _ = await lived(10_000, "whole")
    assert [end["entry"]["state"] for end in expected] == ["suspended", "watching"]
    assert expected[0]["recalled"] == expected[0]["told"] == BAD
    assert [(end["suspended"], end["resumed"]) for end in expected] == [(1, 0), (1, 1)]
    cut, at = True, 0
    while cut:
        at += 1
        ends, cut = await lived(at, f"cut-{at}")
        for end, wanted in zip(ends, expected, strict=True):
            assert {name for name in wanted if end[name] != wanted[name]} == set(), (
                f"cut before step {at}: {end} {wanted}"
            )
    assert at > BAD, "every event of the recall is a step"


async def test_two_auditors_at_once_count_everything_once(audited: Audited, data: Data, valkey: Valkey) -> None:
    async with wired(data, valkey.url, "other") as other:
        others = Audited(other, truth=audited.truth)
        auditors = [audited.auditor(), others.auditor(), audited.auditor(), others.auditor()]

        async def turn() -> None:
            audited.gateway.control.poll()
            other.control.poll()
            for _ in range(4):
                await asyncio.gather(*(auditor.turn() for auditor in auditors))
            audited.gateway.control.poll()
            other.control.poll()

        await audited.send(30)
        await audited.read()
        await turn()
        assert (await audited.evidence()).audits == 30
        sample = [each.metrics.registry.get_sample_value for each in (audited.gateway, other)]
        labels = {"project": "default", "site": "default", "class": "red", "result": "right"}
        assert sum(each("triage_audits_total", labels) or 0 for each in sample) == 30
        await audited.send(20, "red", "blue")
        await audited.read()
        await turn()
        assert audited.entry() == others.entry()
        assert (audited.entry().state, audited.entry().epoch) == ("suspended", 1)
        both = audited.events("recalled") | others.events("recalled")
        assert len(audited.events("class_suspended") | others.events("class_suspended")) == 1
        assert len(both) == len({each.subject for each in both.values()}) == 20
        assert sum(each["type"] == "recall" for each in await audited.gateway.outcomes()) == 20


async def test_a_lost_index_comes_to_the_same_evidence_and_a_healthy_one_keeps_it(
    audited: Audited, data: Data, valkey: Valkey, redis: Redis
) -> None:
    await audited.send(7)
    await audited.send(1, "red", "blue")
    await audited.read()
    await audited.send(4)
    await audited.read(limit=2)
    await audited.turn()
    before = await audited.evidence()
    assert (before.audits, before.errors) == (10, 1)

    await recover(Settings(data=data.folder, redis_url=valkey.url))
    await audited.turn()
    assert await audited.evidence() == before, "a replay brings nothing back into the line"

    redis.flushall()
    await audited.turn()
    assert await audited.evidence_or_none() is None, "nothing is judged before the index is whole again"
    await audited.gateway.recorder.step()
    await audited.turn()
    assert await audited.evidence() == before
    await audited.read()
    await audited.turn()
    assert (await audited.evidence()).audits == 12

    redis.flushall()
    await recover(Settings(data=data.folder, redis_url=valkey.url))
    await audited.gateway.recorder.step()
    await audited.turn()
    assert (await audited.evidence()).audits == 12


async def test_after_a_loss_nothing_is_overdue_before_every_journal_had_its_time(
    audited: Audited, redis: Redis
) -> None:
    """The readings of these draws lie in the journal of a gateway that is not back yet."""
    audited.clock_ahead_us = round(80 * 3.6e9)
    await audited.send(40)
    redis.flushall()
    await audited.gateway.recorder.step()
    audited.clock_ahead_us = round(70 * 3.6e9)
    await audited.turn()
    assert await audited.evidence_or_none() is None
    assert audited.entry().state == "watching"


async def test_what_was_taken_is_forgotten_and_still_not_let_in_again(
    audited: Audited, data: Data, valkey: Valkey, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_audits, "REMEMBERED", 3)
    await audited.send(8)
    await audited.read()
    await audited.turn()
    assert redis.zcard("sr:{default.review}:taken:default red") == 3
    assert redis.exists("sr:{default.review}:line:default red") == 0
    await recover(Settings(data=data.folder, redis_url=valkey.url))
    await audited.turn()
    assert (await audited.evidence()).audits == 8
    left: Any = redis.keys("sr:{default.review}:draw:*")
    assert all(redis.ttl(name) > 0 for name in left), "readings that belong to no draw in line end by themselves"
    assert len((await audited.evidence()).pack()) <= 1024


async def test_the_answers_of_a_gateway_that_is_gone_are_recalled_by_another(
    audited: Audited, data: Data, valkey: Valkey
) -> None:
    async with wired(data, valkey.url, "gone") as other:
        others = Audited(other, truth=audited.truth, salt=itertools.count(1000))
        await others.send(2, "red", "blue")
    await audited.until_suspended()

    def recalled() -> set[str]:
        return {each.subject for each in audited.events("recalled").values()}

    gone = {each["id"] for each in other.sent}
    assert not gone & recalled(), "it may be alive, and then sees to its own"
    audited.clock_ahead_us = 11_000_000
    await audited.turn()
    assert gone <= recalled()
    (recall,) = audited.entry().recalls
    assert recall.swept == {"test": "whole", "gone": "whole"}


async def test_a_gateway_that_sees_no_journal_but_its_own_recalls_its_own_answers(
    audited: Audited, data: Data, valkey: Valkey, tmp_path: Path
) -> None:
    """As pods with a disk each; this one was down when the class was suspended."""
    async with wired(data, valkey.url, "apart") as other:
        others = Audited(other, truth=audited.truth, salt=itertools.count(1000))
        await others.send(2, "red", "blue")
        apart = tmp_path / "apart"
        apart.mkdir()
        (data.folder / "journal" / "apart").rename(apart / "apart")
        await audited.until_suspended()
        audited.clock_ahead_us = 11_000_000
        await audited.turn()
        (recall,) = audited.entry().recalls
        assert recall.swept == {"test": "whole"}
        recalls = Recalls(apart, "apart", Catalog(data.folder), other.recorder)
        other.control.poll()
        site = other.control.site("default", "default")
        await Suspensions(other.control, other.recorder, recalls, 0.0).follow(site, "red")
        told = [record for _, record in read(apart / "apart") if isinstance(record, EventRecord)]
        assert {each.subject for each in told} == {each["id"] for each in other.sent}
