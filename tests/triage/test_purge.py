"""A purge leaves nothing of what it names and touches nothing else, whoever dies when, and holds win."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from embedded.stack import Valkey
from model_store.record import EventRecord, PredictionRecord, Record, TruthRecord, VerdictRecord, encode
from tests.triage.failing_objects import Died, Dying, content
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import expire
from tests.triage.test_index import verdict
from tests.triage.test_journal import write
from tests.triage.written import event
from triage.archive import tombstones
from triage.archive.archiver import Archiver
from triage.archive.background import Archiving
from triage.archive.compact import compact
from triage.archive.condemned import FOLDER, SETTLED_S
from triage.archive.history import History
from triage.archive.housekeeping import keep_house
from triage.archive.purge import Purged, Purging
from triage.archive.tombstones import Tombstone
from triage.control.hold_document import HoldDocument
from triage.ids import derived_id, now_us, reading_id
from triage.index.audit_fold import RECALLED
from triage.index.forgetting import forget
from triage.journal.reading import Damage, read, segments, verify
from triage.metrics import Metrics
from triage.outcomes.ledger import Ledger, Letter, Name
from triage.recovery.recover import recover
from triage.reviewing.item import Item
from triage.settings import Settings
from triage.store.documents import LocalDocuments
from triage.store.objects import Objects
from triage.store.person_key import keyed_person, person_key
from triage.store.places import open_objects

DAY_US = 86_400_000_000
PERSON = "ab" * 32


def about(prediction: PredictionRecord) -> list[Record]:
    """What else the log may hold of a prediction."""
    at = prediction.received_at + 1
    return [
        verdict(prediction),
        TruthRecord(id=f"t-{prediction.id}", prediction=prediction.id, project="default", answers={"red": "present"},
                    source="ward", at=at),
        EventRecord(id=f"e-{prediction.id}", name=RECALLED, project="default", site="default", subject=prediction.id,
                    detail={"sha256": prediction.sha256, "received_at": str(at), "recall": "r", "label": "red",
                            "labels": "red", "revision": "1", "read": "no"}, at=at),
    ]  # fmt: skip


class House:
    """A log with two segments of a gateway that is gone, images beside it, and everything it takes to purge them."""

    def __init__(self, gateway: Wired, folder: Path, log: Any = None) -> None:
        self.gateway = gateway
        self.journal = folder / "journal"
        self.log: Any = log or open_objects(folder / "log")
        self.blobs: Objects = open_objects(gateway.data.folder / "blobs")
        self.held: list[HoldDocument] = []
        self.now = time.time()

    def purging(self, serving: bool = True) -> Purging:
        reviews = self.gateway.reviews if serving else None
        return Purging(
            self.log, self.journal, self.blobs, reviews, lambda project: self.held, lambda: self.now, lambda project: ["ward"]
        )  # fmt: skip

    def tombstone(self, **what: Any) -> Tombstone:
        return Tombstone(id=derived_id(str(what)), project="default", at=round(1e6 * self.now), **what)

    async def purge(self, **what: Any) -> Tombstone:
        told = await asyncio.to_thread(self.purging().bury, self.tombstone(**what))
        await self.purging().carry_out(told)
        return told

    def left(self) -> list[Record]:
        """Everything that any reader could find, tombstones or not."""
        history = History(self.log, self.journal)
        history.hidden = tombstones.Hidden()
        return list(history.once())

    def images(self) -> set[str]:
        """Names of the images that are served."""
        return {name for name in content(self.blobs) if not name.startswith(f"{FOLDER}/")}

    async def go_on(self, told: Tombstone) -> Purged:
        """A turn after everything has settled."""
        self.now += SETTLED_S + 1
        return await self.purging().carry_out(told)

    def traces(self, *needles: str) -> list[str]:
        """Files of journal and log in which something stands in plain sight or compressed."""
        found = []
        for folder in segments(self.journal / "n"):
            data = folder.read_bytes()
            found += [f"{folder.name}: {needle}" for needle in needles if needle.encode() in data]
        for record in self.left():
            text = msgspec.json.encode(record).decode()
            found += [f"{type(record).__name__}: {needle}" for needle in needles if needle in text]
        return found


@pytest.fixture
async def house(gateway: Wired, tmp_path: Path) -> House:
    """Four images of one person and another; the last two have the same content."""
    for salt, colour in ((1, "blue"), (2, "blue"), (3, "red"), (3, "red")):
        await gateway.predict(colour, salt)
    first, second, third, fourth = gateway.predictions()
    records: list[Record] = []
    for number, each in enumerate((first, second, third, fourth)):
        mine = msgspec.structs.replace(each, person=PERSON if number in (0, 2) else "", case=f"case {number}")
        records += [mine, *about(mine)]
    made = House(gateway, tmp_path / "house")
    await asyncio.to_thread(write, made.journal, *records[:8], event(1))
    await asyncio.to_thread(write, made.journal, *records[8:], event(2))
    return made


def predictions(house: House) -> list[PredictionRecord]:
    return [record for record in house.left() if isinstance(record, PredictionRecord)]


async def test_an_image_and_all_that_was_said_of_it_are_gone(house: House, redis: Redis) -> None:
    before = await asyncio.to_thread(house.left)
    gone = predictions(house)[0]
    view = f"sr:view:{gone.id}"
    assert redis.exists(view)
    tombstone = await house.purge(predictions=(gone.id,))
    after = await asyncio.to_thread(house.left)
    assert len(after) == len(before) - 4
    assert all(tombstones.prediction_of(record) != gone.id for record in after)
    assert house.traces(gone.id, gone.sha256) == []
    assert not redis.exists(view)
    assert await house.gateway.reviews.item_state(QUEUE, gone.id) in (None, "withdrawn")
    assert f"default/default/{gone.sha256}" not in house.images()
    assert len(house.images()) == 2
    told: list[Damage] = []
    for path in segments(house.journal / "n"):
        verify(path, told.append)
    assert told == []
    assert [record.id for record in after if isinstance(record, EventRecord) and record.name == ""] == [
        "000001",
        "000002",
    ]
    assert (await house.go_on(tombstone)).done
    assert set(content(house.blobs)) == house.images()


async def test_later_readings_the_case_and_undelivered_letters_are_gone_too(house: House) -> None:
    gone, kept = predictions(house)[:2]
    reviews, cases, ward = house.gateway.reviews, house.gateway.cases, Name("default", "ward")
    ids = [
        reading_id(gone.id, purpose, number)
        for purpose, number in (("review", 9), ("review adjudicated", 10), ("recall adjudicated", 2), ("case", 4))
    ]
    for name in ids:
        item = Item(name, "default", "default", gone.case, gone.sha256, gone.received_at, (), prediction=gone.id)
        await reviews.enqueue(QUEUE, item, 1.0)
    for each in (gone, msgspec.structs.replace(kept, case=gone.case), kept):
        await cases.joined(each)
    ledger = Ledger(reviews)
    (fence,) = await ledger.acquire([ward], "holder")
    for each in (gone, kept):
        body = msgspec.json.encode({"type": "final", "prediction": each.id, "case": each.case})
        await ledger.bury(ward, fence, Letter("", body, f"msg_{each.id}"))
    await house.purge(predictions=(gone.id,))
    assert [await reviews.item_state(QUEUE, name) for name in ids] == ["withdrawn"] * 4
    assert gone.case is not None
    shared = await cases.read("default", "default", gone.case)
    assert shared is not None
    assert [record.id for record in shared.images] == [kept.id]
    assert [letter.message for letter in (await ledger.state(ward, 10))["letters"]] == [f"msg_{kept.id}"]


async def test_a_case_of_which_nothing_is_left_is_unknown(house: House, redis: Redis) -> None:
    gone = predictions(house)[0]
    assert gone.case is not None
    await house.gateway.cases.joined(gone)
    assert redis.zcard(f"sr:{{{QUEUE}}}:open_cases") == 1
    await house.purge(predictions=(gone.id,))
    assert await house.gateway.cases.read("default", "default", gone.case) is None
    assert redis.zcard(f"sr:{{{QUEUE}}}:open_cases") == 0
    assert not [key for key in redis.keys("*") if gone.id.encode() in (redis.dump(key) or b"")]


async def test_a_person_is_found_by_a_hash_and_comes_again_unharmed(house: House) -> None:
    gone = [record for record in predictions(house) if record.person]
    told = await house.purge(persons=(PERSON,))
    assert set(told.predictions) == {record.id for record in gone}
    assert house.traces(*(record.id for record in gone)) == []
    assert len(predictions(house)) == 2
    later = msgspec.structs.replace(gone[0], id="comes again", received_at=told.at + 1)
    await asyncio.to_thread(write, house.journal, later)
    assert [record.id for record in History(house.log, house.journal).once(("predictions",))].count("comes again") == 1


async def test_an_image_that_another_record_needs_stays(house: House) -> None:
    *_, third, fourth = predictions(house)
    assert third.sha256 == fourth.sha256
    await house.purge(predictions=(third.id,))
    assert f"default/default/{fourth.sha256}" in house.images()
    await house.purge(predictions=(fourth.id,))
    assert f"default/default/{fourth.sha256}" not in house.images()


async def test_holds_win_also_those_that_come_later(house: House) -> None:
    first, second, third, _ = predictions(house)
    house.held.append(HoldDocument(why="court order", predictions=(first.id,)))
    told = await asyncio.to_thread(house.purging().bury, house.tombstone(persons=(PERSON,)))
    assert (told.predictions, told.held) == ((third.id,), (first.id,))
    house.held.append(HoldDocument(why="another", cases=(third.case or "",)))
    done = await house.purging().carry_out(told)
    assert (done.records, done.held) == (0, 2)
    house.held.clear()
    await house.purge(predictions=(first.id, second.id, third.id))
    assert len(predictions(house)) == 1


async def test_whoever_dies_at_any_step_is_made_up_for(gateway: Wired, house: House, tmp_path: Path) -> None:
    gone, *others = predictions(house)
    records = [record for _, record in read(house.journal / "n")]
    images = content(house.blobs)
    alive = None
    for steps in range(60):
        at = House(gateway, tmp_path / f"at{steps}", Dying(open_objects(tmp_path / f"at{steps}" / "log"), steps))
        at.blobs = open_objects(tmp_path / f"at{steps}" / "blobs")
        for name, image in images.items():
            at.blobs.put(name, image)
        await asyncio.to_thread(write, at.journal, *records[:9])
        await asyncio.to_thread(write, at.journal, *records[9:])
        try:
            told = await asyncio.to_thread(at.purging(False).bury, at.tombstone(predictions=(gone.id,)))
            await at.purging(False).carry_out(told)
            alive = steps
        except Died:
            pass
        at.log = at.log.inner
        for tombstone in tombstones.load(at.log) or [at.tombstone(predictions=(gone.id,))]:
            await at.purging(False).carry_out(tombstone)
        assert at.traces(gone.id, gone.sha256) == [], steps
        assert {record.id for record in predictions(at)} == {record.id for record in others}
        assert at.images() == {f"default/default/{each.sha256}" for each in others}
        if alive is not None:
            break
    assert alive is not None
    assert alive > 8  # marker and file of each table, and every one of them again


async def test_a_tombstone_hides_before_anything_is_deleted(house: House, redis: Redis, valkey: Valkey) -> None:
    gone = predictions(house)[0]
    await asyncio.to_thread(house.purging().bury, house.tombstone(predictions=(gone.id,)))
    history = History(house.log, house.journal)
    assert all(tombstones.prediction_of(record) != gone.id for record in history.once())
    redis.flushall()
    log = str(house.journal.parent / "log")
    await recover(Settings(data=house.gateway.data.folder, journal=house.journal, log=log, redis_url=valkey.url))
    assert not redis.exists(f"sr:view:{gone.id}")
    await asyncio.to_thread(Archiver(house.log, house.journal).turn)
    assert all(
        tombstones.prediction_of(record) != gone.id for record in History(house.log, house.journal.parent / "x").once()
    )
    await asyncio.to_thread(compact, house.log, datetime.date(2099, 1, 1))
    assert all(
        tombstones.prediction_of(record) != gone.id for record in History(house.log, house.journal.parent / "x").once()
    )


async def test_a_segment_that_is_being_written_is_come_back_to(house: House) -> None:
    gateway = house.gateway
    house.journal = gateway.journal.folder.parent
    gone = gateway.predictions()[0]
    told = await asyncio.to_thread(house.purging().bury, house.tombstone(predictions=(gone.id,)))
    done = await house.purging().carry_out(told)
    assert (done.records, done.pending, done.done) == (0, ["test/00000001.seg"], False)
    await asyncio.to_thread(gateway.journal._turn)
    house.now += SETTLED_S + 1
    assert (await house.purging().carry_out(told)).records == 1
    done = await house.purging().carry_out(told)
    assert (done.records, done.done) == (0, False)  # the segment that is being written now
    assert gone.id not in {record.id for record in gateway.predictions()}


async def test_a_purge_is_done_when_a_late_look_finds_nothing(house: House) -> None:
    gone = predictions(house)[0]
    told = await house.purge(predictions=(gone.id,))
    assert not (await house.purging().carry_out(told)).done
    assert (await house.go_on(told)).done
    assert [each.done for each in tombstones.load(house.log)] == [True]


async def test_sites_keep_as_long_as_their_documents_say(house: House, tmp_path: Path) -> None:
    documents = LocalDocuments(tmp_path / "control")
    now = now_us()
    first, second, third, fourth = predictions(house)
    aged = [
        msgspec.structs.replace(each, received_at=now - days * DAY_US)
        for each, days in ((first, 400), (second, 40), (third, 4), (fourth, 1))
    ]
    house.journal = tmp_path / "aged"
    await asyncio.to_thread(write, house.journal, *aged, *about(aged[0]), *about(aged[1]))
    documents.swap("projects/default/retention/default.json", b'{"images_days": 30, "records_days": 365}', None)
    purging = house.purging()
    done = await keep_house(house.log, purging, documents, now)
    assert (done["images"], {record.id for record in predictions(house)}) == (2, {second.id, third.id, fourth.id})
    assert house.images() == {f"default/default/{third.sha256}"}
    assert not any(tombstones.prediction_of(record) == first.id for record in house.left())
    assert sum(isinstance(record, VerdictRecord) for record in house.left()) == 1
    again = await keep_house(house.log, purging, documents, now)
    assert (again["records"], again["images"], again["aside"]) == (0, 0, 2)


async def test_past_days_are_merged_once_a_day(house: House, tmp_path: Path) -> None:
    documents, later = LocalDocuments(tmp_path / "control"), now_us() + 5 * DAY_US
    await asyncio.to_thread(Archiver(house.log, house.journal).turn)
    before = await asyncio.to_thread(house.left)
    assert (await keep_house(house.log, house.purging(), documents, later))["merged"] > 0
    assert (await keep_house(house.log, house.purging(), documents, later))["merged"] == 0
    for path in segments(house.journal / "n"):
        await asyncio.to_thread(path.unlink)
    key = msgspec.json.encode
    assert sorted(map(key, await asyncio.to_thread(house.left))) == sorted(map(key, before))


async def test_a_hold_keeps_what_a_site_would_drop(house: House, tmp_path: Path) -> None:
    documents = LocalDocuments(tmp_path / "control")
    later = now_us() + 500 * DAY_US
    documents.swap("projects/default/retention/default.json", b'{"images_days": 30, "records_days": 365}', None)
    house.held.append(HoldDocument(why="court order", site="default"))
    await keep_house(house.log, house.purging(), documents, later)
    assert (len(predictions(house)), len(house.images())) == (4, 3)
    house.held.clear()
    await keep_house(house.log, house.purging(), documents, later + DAY_US)
    assert (len(predictions(house)), len(house.images())) == (0, 0)


@pytest.mark.parametrize(
    ("hold", "held"),
    [
        ({}, True), ({"site": "default"}, True), ({"site": "ward"}, False), ({"predictions": ("x",)}, True),
        ({"predictions": ("y",)}, False), ({"persons": (PERSON,)}, True), ({"persons": ("cd" * 32,)}, False),
        ({"cases": ("c",)}, True), ({"cases": ("d",)}, False), ({"since": "2026-01-01"}, True),
        ({"since": "2026-01-02"}, False), ({"until": "2026-01-01"}, True), ({"until": "2025-12-31"}, False),
        ({"predictions": ("x",), "site": "ward"}, False),
    ],
)  # fmt: skip
async def test_what_a_hold_holds(house: House, hold: dict[str, Any], held: bool) -> None:
    record = msgspec.structs.replace(
        predictions(house)[0], id="x", case="c", person=PERSON, received_at=1_767_225_600_000_000
    )
    assert HoldDocument.model_validate({"why": "?", **hold}).holds(record) is held


async def test_the_command_line_purges_a_person_and_tells_the_journal_nothing_of_them(
    gateway: Wired, valkey: Valkey
) -> None:
    data = gateway.data.folder
    hashed = keyed_person(person_key(data / "control"), "default", "Erika Mustermann")
    for salt in (1, 2):
        await gateway.predict("blue", salt)
    first, second = (msgspec.structs.replace(each, person=hashed) for each in gateway.predictions())
    for path in segments(gateway.journal.folder):
        await asyncio.to_thread(path.write_bytes, b"SRJ2")
    await asyncio.to_thread(write, data / "journal", first, second)

    def run(*arguments: str) -> tuple[int, str]:
        options = ["log", *arguments, "--data", str(data)]
        done = CliRunner().invoke(secondreader.main, options)
        return done.exit_code, done.output

    redis_url = ("--redis-url", valkey.url)
    assert await asyncio.to_thread(run, "person", "Erika Mustermann") == (0, hashed + "\n")
    told = await asyncio.to_thread(run, "purge", "--person", "Erika Mustermann", "--dry-run", "--json", *redis_url)
    assert told == (0, '{"would_purge": 2, "held": 0}\n')
    asked = (
        "purge",
        "--person",
        "Erika Mustermann",
        "--yes",
        "--why",
        "asked for",
        "--by",
        "ada",
        "--json",
        *redis_url,
    )
    code, output = await asyncio.to_thread(run, *asked)
    done = json.loads(output)
    assert (code, done["records"], done["images"]) == (0, 2, 2)
    history = History(open_objects(data / "log"), data / "journal")
    (event,) = history.once()
    assert isinstance(event, EventRecord)
    assert (event.name, event.actor, event.detail["why"]) == ("purged", "ada", "asked for")
    assert "Erika" not in msgspec.json.encode(event).decode()
    assert hashed not in msgspec.json.encode(event).decode()
    code, output = await asyncio.to_thread(run, "purge", "--resume", "--json", *redis_url)
    assert (code, json.loads(output)["records"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [((), "say what"), (("--before", "2026-01-01"), "--before needs --site"),
     (("--prediction", "x", "--person", "y"), "say what")],
)  # fmt: skip
def test_half_a_request_purges_nothing(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(secondreader.main, ["log", "purge", *options, "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert says in done.output


async def test_a_gateway_goes_on_with_purges(house: House, valkey: Valkey, tmp_path: Path) -> None:
    gone = predictions(house)[0]
    told = await asyncio.to_thread(house.purging().bury, house.tombstone(predictions=(gone.id,)))
    now = [0.0]
    places = {
        "blobs": str(house.gateway.data.folder / "blobs"), "control": str(tmp_path / "control"), "redis": valkey.url,
        "timeout_s": 5.0,
    }  # fmt: skip
    archiving = Archiving(
        house.journal, str(house.journal.parent / "log"), "n", 0.0, lambda: None, Metrics(), lambda: now[0], places
    )
    now[0] = 10_000
    await archiving.step()
    assert house.traces(gone.id) == []
    assert told.id in {each.id for each in tombstones.load(house.log)}


async def test_an_answer_on_its_way_into_the_journal_is_left_to_the_next_turn(gateway: Wired, redis: Redis) -> None:
    """What it says is taken from an item that is being answered, the sweep would find an answer without words."""
    await gateway.predict("blue")
    (sent,) = gateway.predictions()
    (lease,) = await gateway.desk.lease(QUEUE, "ada", 1, None)
    await gateway.reviews.answer(lease.token, encode(verdict(sent)))
    await forget(gateway.reviews, [QUEUE], sent.id)
    expire(redis, sent.id)  # its gateway died
    await gateway.sweeping.step()
    assert await gateway.reviews.item_state(QUEUE, sent.id) == "resolved"
    await forget(gateway.reviews, [QUEUE], sent.id)
    assert not redis.exists(f"sr:{{{QUEUE}}}:verdict:{sent.id}")
    assert (await gateway.reviews.stats(QUEUE)).oldest_age_s == 0
