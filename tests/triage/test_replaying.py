"""Making the index again: nobody is asked what is answered, nobody hears twice, what is old counts no more than it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from embedded.stack import Valkey
from model_store.record import PredictionRecord, Record, VerdictRecord
from tests.services import Data
from tests.triage.failing_objects import Dying
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.test_index import contents, story, verdict
from tests.triage.test_journal import write
from tests.triage.written import event
from triage.archive import tombstones
from triage.archive.archiver import Archiver
from triage.archive.tombstones import Tombstone
from triage.errors import IndexAway, NotFound, Unavailable
from triage.ids import derived_id, now_us
from triage.index.ended import Ended
from triage.index.replaying import Replay
from triage.journal.reading import START, Damage, read, segments
from triage.journal.segments import SegmentJournal, settle
from triage.ports import Position
from triage.recorder import Recorder
from triage.recovery.past import ArchivedPast
from triage.recovery.recover import recover
from triage.settings import Settings
from triage.store.objects import Entry
from triage.store.places import open_objects

DAY_US = 86_400_000_000


def settings(gateway: Wired, valkey: Valkey) -> Settings:
    return Settings(data=gateway.data.folder, redis_url=valkey.url, retention_s=3600)


def rewritten(gateway: Wired, records: list[Record], name: str = "n") -> Path:
    """A data folder's journal that holds these records and nothing else."""
    folder = gateway.data.folder / "journal"
    for path in segments(folder / name):
        path.unlink()
    if name == "n":
        write(folder, *records)
    return folder


def aged(record: Record, days: float) -> Any:
    """The same record, so many days earlier."""
    back = round(days * DAY_US)
    if isinstance(record, PredictionRecord):
        return msgspec.structs.replace(record, received_at=record.received_at - back)
    assert isinstance(record, VerdictRecord)
    return msgspec.structs.replace(record, at=record.at - back)


def test_what_is_ended_is_known_exactly_and_in_little_room() -> None:
    ended = Ended()
    for number in range(3000):
        ended.add("a.review", f"item {number}")
        if number == 1000:
            assert ("a.review", "item 7") in ended  # also between
    assert all(("a.review", f"item {number}") in ended for number in range(3000))
    assert not any(("b.review", f"item {number}") in ended for number in range(3000))
    assert ("a.review", "item 3000") not in ended
    assert len(ended) == 3000


async def test_old_answers_cost_the_index_nothing_and_old_questions_wait_again(
    gateway: Wired, redis: Redis, valkey: Valkey
) -> None:
    for salt, colour in enumerate(("red", "blue", "blue", "red", "blue")):
        await gateway.predict(colour, salt)
    sent = gateway.predictions()
    old = [aged(sent[0], 30), aged(sent[1], 30), aged(sent[2], 30)]
    answered = aged(verdict(old[1]), 0)
    await asyncio.to_thread(rewritten, gateway, [*old, answered, sent[3], sent[4]], "test")
    await asyncio.to_thread(write, gateway.data.folder / "journal", *old, answered, sent[3], sent[4])
    redis.flushall()
    counts = await recover(settings(gateway, valkey))
    assert (counts["records"], counts["waiting"]) == (6, 2)
    views = {name.decode().removeprefix("sr:view:") for name in redis.keys("sr:view:*")}  # type: ignore[union-attr]
    assert views == {sent[2].id, sent[3].id, sent[4].id}  # what waits is shown however old it is
    assert await gateway.reviews.item_state(QUEUE, sent[1].id) is None
    assert await gateway.outcomes() == []
    (first, *_) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    assert first.item.id == sent[2].id


async def test_nobody_hears_again_what_the_stream_no_longer_keeps(gateway: Wired, redis: Redis, valkey: Valkey) -> None:
    await gateway.predict("blue", 1)
    await gateway.predict("blue", 2)
    first, second = gateway.predictions()
    await asyncio.to_thread(rewritten, gateway, [], "test")
    records = [aged(first, 9), aged(verdict(first), 9), second, verdict(second)]
    await asyncio.to_thread(write, gateway.data.folder / "journal", *records)
    redis.flushall()
    await recover(settings(gateway, valkey))
    assert [each["prediction"] for each in await gateway.outcomes()] == [second.id]
    await recover(settings(gateway, valkey))
    assert [each["prediction"] for each in await gateway.outcomes()] == [second.id]


async def test_a_recovery_sets_the_gateway_s_checkpoint_and_never_back(
    gateway: Wired, redis: Redis, valkey: Valkey
) -> None:
    await gateway.predict("blue")
    redis.flushall()
    await recover(settings(gateway, valkey))
    reached = await gateway.reviews.checkpoint("test")
    assert reached is not None
    assert START < reached < gateway.journal.end
    await gateway.recorder.step()
    assert await gateway.reviews.checkpoint("test") == gateway.journal.end
    await recover(settings(gateway, valkey))
    assert await gateway.reviews.checkpoint("test") == gateway.journal.end


async def archived_and_gone(gateway: Wired) -> None:
    """The journal so far is in the log, and no longer on this disk."""
    journal = gateway.journal.folder
    for path in segments(journal):
        await asyncio.to_thread(settle, path)
        await asyncio.to_thread(Archiver(open_objects(gateway.data.folder / "log"), journal.parent).archive, path)
        await asyncio.to_thread(path.unlink)


async def test_the_archive_alone_makes_the_index_that_was_lived(gateway: Wired, redis: Redis, valkey: Valkey) -> None:
    told = await story(gateway)
    for record in told[len(gateway.journaled()) :]:
        await gateway.recorder.record(record)
    lived = contents(redis)
    await archived_and_gone(gateway)
    redis.flushall()
    counts = await recover(settings(gateway, valkey))
    assert counts["records"] == len(told)
    assert contents(redis) == lived


async def test_a_gateway_that_lost_its_index_reads_its_archived_past(
    gateway: Wired, redis: Redis, valkey: Valkey
) -> None:
    waiting = [(await gateway.predict("blue", salt))["id"] for salt in range(3)]
    answered = await gateway.predict("blue", 9)
    last = gateway.predictions()[-1]
    assert last.id == answered["id"]
    await gateway.recorder.record(verdict(last))
    lived = contents(redis)
    await archived_and_gone(gateway)
    redis.flushall()
    log, folder = str(gateway.data.folder / "log"), gateway.journal.folder.parent
    past = ArchivedPast(log, folder, "test")
    recorder = Recorder(gateway.journal, gateway.index, gateway.reviews, "test", gateway.metrics, past)
    await recorder.step()
    assert not recorder.behind
    assert contents(redis) == lived
    leases = await gateway.desk.lease(QUEUE, "ada", 9, None)
    assert {lease.item.id for lease in leases} == set(waiting)


async def test_what_was_purged_is_not_shown_again_by_a_gateway_that_catches_up(gateway: Wired) -> None:
    """Its record lies in the segment that is being written, which a purge cannot take it out of yet."""
    kept, gone = [(await gateway.predict("blue", salt))["id"] for salt in range(2)]
    log, folder = gateway.data.folder / "log", gateway.journal.folder.parent
    tombstone = Tombstone(id=derived_id("one"), project="default", predictions=(gone,), at=now_us())
    tombstones.save(open_objects(log), tombstone)
    past, end = ArchivedPast(str(log), folder, "test"), gateway.journal.end
    for since in (START, read_positions(gateway)[0]):  # with the archive, and where all of it is on this disk
        assert {tombstones.prediction_of(each) for each in past.skim(since, end)} & {gone} == set()
        assert {tombstones.prediction_of(each) for each in past.read(since, end)} == {kept}


async def test_what_was_known_to_be_purged_stays_hidden_while_the_log_is_away(gateway: Wired) -> None:
    kept, gone = [(await gateway.predict("blue", salt))["id"] for salt in range(2)]
    log, folder = gateway.data.folder / "log", gateway.journal.folder.parent
    tombstones.save(
        open_objects(log), Tombstone(id=derived_id("one"), project="default", predictions=(gone,), at=now_us())
    )
    past, end, since = ArchivedPast(str(log), folder, "test"), gateway.journal.end, read_positions(gateway)[0]
    list(past.skim(since, end))
    past._objects = Away(open_objects(log))
    list(past.skim(since, end))
    assert {tombstones.prediction_of(each) for each in past.read(since, end)} == {kept}


class Away(Dying):
    """A store that answers nobody."""

    def list(self, folder: str = "") -> Iterator[Entry]:
        raise Unavailable("the object store does not answer; try this again soon")


def read_positions(gateway: Wired) -> list[Position]:
    """Where each record of the journal begins."""
    return [position for position, _ in read(gateway.journal.folder)]


async def test_what_another_node_answered_is_not_asked_again(data: Data, redis: Redis, valkey: Valkey) -> None:
    """Its journal is seen here: nobody is given the item even between the two replays."""
    async with wired(data, valkey.url, "first") as first, wired(data, valkey.url, "second") as second:
        await first.predict("blue")
        (record,) = first.predictions()
        await second.recorder.record(verdict(record))
        redis.flushall()
        past = ArchivedPast(str(data.folder / "log"), data.folder / "journal", "first")
        await Recorder(first.journal, first.index, first.reviews, "first", first.metrics, past).step()
        assert await first.desk.lease(QUEUE, "ada", 9, None) == []


async def test_a_gateway_catches_up_although_more_comes_in_all_the_time(gateway: Wired, redis: Redis) -> None:
    for salt in range(5):
        await gateway.predict("blue", salt)
    redis.flushall()
    gateway.recorder.behind = True
    stop, many, sent = asyncio.Event(), asyncio.Event(), [5]

    async def sending() -> None:
        while not stop.is_set():
            sent[0] += 1
            await gateway.predict("blue", sent[0])
            if sent[0] > 20:
                many.set()

    senders = [asyncio.create_task(sending()) for _ in range(3)]
    await many.wait()
    await gateway.recorder.step()
    behind = gateway.recorder.behind
    stop.set()
    await asyncio.gather(*senders)
    assert not behind
    assert (await gateway.reviews.stats(QUEUE)).waiting == len(gateway.predictions())
    await gateway.recorder.step()
    assert await gateway.reviews.checkpoint("test") == gateway.journal.end


async def test_what_is_not_found_while_the_index_is_behind_may_be_there(gateway: Wired, redis: Redis) -> None:
    told = await gateway.predict("blue")
    redis.flushall()
    gateway.recorder._set_behind(True)
    with pytest.raises(IndexAway, match="brought up to date"):
        await gateway.reviews.view(told["id"])
    await gateway.recorder.step()
    await gateway.reviews.view(told["id"])
    with pytest.raises(NotFound):
        await gateway.reviews.view("nobody")


async def test_a_journal_of_a_machine_that_is_gone_is_recovered_from_its_folder(
    data: Data, redis: Redis, valkey: Valkey, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "kept"
    async with wired(data, valkey.url, "here") as here:
        await here.predict("blue", 1)
        lost = SegmentJournal(elsewhere, "lost", 2**20, lambda seconds: None)
        lost.start()
        (record,) = here.predictions()
        await lost.append(msgspec.structs.replace(record, id="lost-1"))
        await asyncio.to_thread(lost.close)
        redis.flushall()
        told = Settings(data=data.folder, redis_url=valkey.url)
        counts = await recover(told, elsewhere)
        assert (counts["journals"], counts["records"], counts["waiting"]) == (2, 2, 2)

        def run() -> tuple[int, dict[str, int]]:
            options = ["--journal", str(elsewhere), "--data", str(data.folder), "--redis-url", valkey.url, "--json"]
            done = CliRunner().invoke(secondreader.main, ["recover", *options])
            return done.exit_code, json.loads(done.output)

        code, again = await asyncio.to_thread(run)
        assert (code, again["archived"], again["waiting"]) == (0, 1, 2)
        assert await asyncio.to_thread(Archiver(open_objects(data.folder / "log"), elsewhere).highest, "lost") == 1


async def test_a_replay_holds_little(gateway: Wired) -> None:
    """What it is given is read as it is applied."""
    await gateway.predict("blue")
    (record,) = gateway.predictions()
    read = 0

    def many() -> Any:
        nonlocal read
        for number in range(2000):
            read = number
            yield record

    replay = Replay(gateway.index, gateway.reviews, Ended(), now_us())
    task = asyncio.create_task(replay.read(many()))
    await asyncio.sleep(0)
    assert read < 300
    assert await task == 2000


async def test_processes_share_a_large_recovery(
    gateway: Wired, redis: Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await story(gateway)
    for number, record in enumerate(told[len(gateway.journaled()) :]):
        if number % 5 == 0:
            await asyncio.to_thread(gateway.journal._turn)
        await gateway.recorder.record(record)
    lived = contents(redis)
    redis.flushall()
    monkeypatch.setattr("triage.recovery.shares.ALONE_BYTES", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    counted: list[int] = []
    counts = await recover(settings(gateway, valkey), seen=lambda: counted.append(1))
    assert len(segments(gateway.journal.folder)) > 2
    assert (counts["records"], len(counted)) == (len(told), len(told))
    assert contents(redis) == lived
    assert START < (await gateway.reviews.checkpoint("test") or START) < gateway.journal.end


async def test_damage_is_told_by_whichever_process_finds_it(
    gateway: Wired, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for salt in range(3):
        await gateway.predict("blue", salt)
        await asyncio.to_thread(gateway.journal._turn)
    path = segments(gateway.journal.folder)[1]
    damaged = bytearray(await asyncio.to_thread(path.read_bytes))
    damaged[60] ^= 1
    await asyncio.to_thread(path.write_bytes, damaged)
    monkeypatch.setattr("triage.recovery.shares.ALONE_BYTES", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    told: list[Damage] = []
    counts = await recover(settings(gateway, valkey), told=told.append)
    assert (counts["records"], [each.path for each in told]) == (2, [path])


async def test_what_is_written_between_the_two_readings_is_left_to_its_gateway(
    gateway: Wired, redis: Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second reading ends no item: a verdict that only it came by would be indexed by nobody."""
    view = await gateway.predict("blue")
    (sent,) = gateway.predictions()
    redis.flushall()
    skim = Replay.skim

    async def then_somebody_answers(replay: Replay, records: Any) -> None:
        await skim(replay, records)
        await gateway.journal.append(verdict(sent))
        await gateway.journal.append(event(1))

    monkeypatch.setattr(Replay, "skim", then_somebody_answers)
    await recover(settings(gateway, valkey))
    monkeypatch.undo()
    await gateway.recorder.step()
    assert await gateway.reviews.item_state(QUEUE, view["id"]) == "resolved"
