"""Recalls: which answers are in doubt, who reads them again, and what a turn that was cut off leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from model_store.record import Record
from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import waiting
from triage.archive.archiver import Archiver
from triage.auditing.recall import Doubt, Recalls, listing
from triage.control.catalog import Catalog
from triage.journal.reading import Told, read_segment, segments
from triage.journal.segments import settle
from triage.ports import Position
from triage.promise.standing import Recall
from triage.store.places import open_objects

OWN = {"test"}


@pytest.fixture
async def audited(data: Data, gateway: Wired) -> Audited:
    """Answers of which none is drawn."""
    declare(data, lenient(data, ("default", "ward")), "default", "ward", probability=0)
    gateway.control.poll()
    return Audited(gateway)


def doubt(audited: Audited, after: int = 0, rule: str | None = None) -> Doubt:
    proof = audited.gateway.control.site("default", "default").proofs["red"]
    return Doubt("default", "default", "red", Recall(id="R", at=0, rule=rule or proof.rule, after=after))


def recalls(audited: Audited) -> Recalls:
    folder = audited.gateway.data.folder
    return Recalls(folder / "journal", "test", Catalog(folder), audited.gateway.recorder)


def at(audited: Audited, prediction: str) -> int:
    return next(each.received_at for each in audited.gateway.predictions() if each.id == prediction)


async def test_only_answers_of_this_class_site_rule_and_time_are_in_doubt(audited: Audited, data: Data) -> None:
    early, last_good, *late = await audited.send(5)
    await audited.send(2, "green")
    await audited.send(2, "blue")
    await audited.send(2, site="ward")
    data.declare("default", rules=lenient(data, ("default", "ward"), target=0.9).digest, mode="assist")
    audited.gateway.control.poll()
    await audited.send(2)
    assert await recalls(audited).sweep(doubt(audited, after=at(audited, last_good)), OWN, 100) == 3
    events = audited.events("recalled").values()
    assert {each.subject for each in events} == set(late)
    assert early not in late
    assert await recalls(audited).sweep(doubt(audited, rule="sha256:" + "1" * 64), OWN, 100) == 0
    one = next(each for each in events if each.subject == late[0])
    assert one.detail["labels"] == "red"
    assert int(one.detail["received_at"]) == at(audited, late[0])


async def test_the_newest_are_read_again_and_all_are_listed(audited: Audited) -> None:
    sent = await audited.send(9)
    assert await recalls(audited).sweep(doubt(audited), OWN, 4) == 9
    leases = await audited.gateway.desk.lease(QUEUE, "ada", 100, None)
    assert {lease.item.prediction for lease in leases} == set(sent[-4:])
    assert all(lease.item.blind and lease.item.purpose == "recall" and not lease.item.suggestions for lease in leases)
    told = [each for each in await audited.gateway.outcomes() if each["type"] == "recall"]
    assert {each["prediction"] for each in told} == set(sent)
    for lease in leases:
        await audited.gateway.desk.give_back(lease.token)
    audited.truth[sent[-1]] = "blue"
    await audited.read("ada")
    assert [each["prediction"] for each in await audited.gateway.outcomes() if each["type"] == "correction"] == [
        sent[-1]
    ]
    (found,) = listing(audited.gateway.data.folder / "journal")
    became = {each["prediction"]: each["became"] for each in found["predictions"]}
    assert [became[each] for each in sent] == ["listed"] * 5 + ["confirmed"] * 3 + ["corrected"]
    assert await audited.evidence_or_none() is None, "what nobody drew by chance is no evidence"


async def test_a_sweep_again_or_two_at_once_changes_nothing(audited: Audited) -> None:
    await audited.send(5)
    await asyncio.gather(*(recalls(audited).sweep(doubt(audited), OWN, 100) for _ in range(3)))
    assert await recalls(audited).sweep(doubt(audited), OWN, 100) == 0
    await audited.send(2)
    assert await recalls(audited).sweep(doubt(audited), OWN, 100) == 2, "what was answered meanwhile is added"
    assert len(audited.events("recalled")) == 7
    assert sum(each["type"] == "recall" for each in await audited.gateway.outcomes()) == 7


async def test_segments_that_are_wholly_older_are_not_read(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await audited.send(3)
    (path,) = segments(audited.gateway.journal.folder)
    opened: list[str] = []

    def watched(each: Path, offset: int, told: Told) -> Iterator[tuple[Position, Record]]:
        opened.append(each.name)
        return read_segment(each, offset, told)

    monkeypatch.setattr("triage.archive.history.read_segment", watched)
    long_ago = at(audited, sent[0]) / 1e6 - 3600
    os.utime(path, (long_ago, long_ago))
    assert await recalls(audited).sweep(doubt(audited, after=at(audited, sent[0])), OWN, 100) == 0
    assert opened == []
    os.utime(path)
    assert await recalls(audited).sweep(doubt(audited, after=at(audited, sent[0])), OWN, 100) == 2
    assert opened


async def test_what_left_this_disk_is_recalled_from_the_archive(audited: Audited) -> None:
    await audited.send(3)
    log, journal = audited.gateway.data.folder / "log", audited.gateway.journal.folder
    (path,) = segments(journal)
    settle(path)
    Archiver(open_objects(log), journal.parent).archive(path)
    path.unlink()
    from_archive = Recalls(
        journal.parent, "test", Catalog(audited.gateway.data.folder), audited.gateway.recorder, str(log)
    )
    assert from_archive.nodes() == {"test"}
    assert await recalls(audited).sweep(doubt(audited), OWN, 100) == 0
    assert await from_archive.sweep(doubt(audited), OWN, 100) == 3


async def test_a_withdrawn_item_s_answer_counts_and_its_first_record_does_not(audited: Audited) -> None:
    audited.gateway.classifier.away()
    await audited.send(1)
    audited.gateway.classifier.back()
    assert await recalls(audited).sweep(doubt(audited), OWN, 100) == 0
    await audited.gateway.returning.step()
    assert await recalls(audited).sweep(doubt(audited), OWN, 100) == 1


async def test_a_replayed_journal_tells_and_asks_once(audited: Audited, redis: Redis) -> None:
    await audited.send(3)
    await recalls(audited).sweep(doubt(audited), OWN, 100)
    for record in audited.gateway.journaled():
        await audited.gateway.index.apply(record)
    assert sum(each["type"] == "recall" for each in await audited.gateway.outcomes()) == 3
    assert len(waiting(redis)) == 3
