"""Power is lost after any acknowledgement: what was acknowledged is there when it is back."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from embedded.stack import Valkey
from model_store.files import create_once, replace
from tests.services import Data, make_data
from tests.triage.gateway_parts import Wired, wired
from tests.triage.power import Disk
from tests.triage.test_index import verdict
from tests.triage.test_journal import write
from tests.triage.written import event
from triage.archive.archiver import Archiver
from triage.archive.history import History
from triage.journal.reading import Damage, nodes, read, segments
from triage.journal.segments import SegmentJournal
from triage.ports import Position
from triage.store.documents import LocalDocuments
from triage.store.places import open_objects


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "disk").mkdir()
    made = Disk(tmp_path / "disk")
    with made.watched():
        yield made


def lost(disk: Disk) -> Path:
    return disk.after_loss(disk.root.parent / f"after {disk.syncs}-{os.urandom(3).hex()}")


def journaled(folder: Path) -> list[str]:
    told: list[Damage] = []
    found = [record.id for node in nodes(folder) for _, record in read(node, told=told.append)]
    assert told == []
    return found


async def test_predictions_verdicts_images_and_documents(valkey: Valkey, redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    data = make_data(tmp_path / "disk" / "data")
    disk = Disk(tmp_path / "disk")
    with disk.watched():
        await everything_acknowledged_survives(disk, data, valkey.url)


async def everything_acknowledged_survives(disk: Disk, data: Data, redis_url: str) -> None:
    records: set[str] = set()
    images: set[str] = set()

    async def acknowledged(gateway: Wired) -> None:
        left = lost(disk) / "data"
        assert records <= set(journaled(left / "journal"))
        for image in images:
            content = (left / "blobs" / image).read_bytes()
            assert hashlib.sha256(content).hexdigest() == image.rpartition("/")[2]

    async with wired(data, redis_url, segment_bytes=4096) as gateway:
        for salt in range(12):
            told = await gateway.predict("blue", salt // 2)  # every other image is stored already
            record = gateway.predictions()[-1]
            assert record.id == told["id"]
            records.add(record.id)
            images.add(f"default/default/{record.sha256}")
            await acknowledged(gateway)
        said = verdict(gateway.predictions()[0])
        await gateway.recorder.record(said)
        records.add(said.id)
        await acknowledged(gateway)
    assert len(segments(data.folder / "journal" / "test")) > 2
    await acknowledged(gateway)
    data.declare("ward", mode="capture")
    assert b"capture" in (lost(disk) / "data/control/projects/default/sites/ward.json").read_bytes()


async def test_a_journal_that_loses_power_goes_on_behind_what_it_acknowledged(disk: Disk, tmp_path: Path) -> None:
    journal = SegmentJournal(disk.root / "journal", "n", 2000, lambda seconds: None)
    journal.start()
    acknowledged: list[str] = []
    for number in range(0, 60, 6):
        batch = [event(number + each, 50) for each in range(6)]
        await asyncio.gather(*(journal.append(each) for each in batch))
        acknowledged += [each.id for each in batch]
        again = lost(disk) / "journal"
        await asyncio.to_thread(write, again, event(1000 + number))  # the next start: cuts, seals, goes on
        assert journaled(again) == [*acknowledged, f"{1000 + number:06d}"]
    await asyncio.to_thread(journal.close)


def test_objects_and_documents(disk: Disk) -> None:
    objects, documents = open_objects(disk.root / "store"), LocalDocuments(disk.root / "control")
    etag = None
    for number in range(5):
        content = b"%d" % number
        assert objects.create(f"a/{number}/c", content)
        objects.put("over", content)
        etag = objects.swap("swapped", content, etag)
        documents.swap(f"projects/p/sites/s{number}.json", b'{"n": %d}' % number, None)
        left = lost(disk)
        for each in range(number + 1):
            assert (left / "store" / "a" / str(each) / "c").read_bytes() == b"%d" % each
            assert (left / "control/projects/p/sites" / f"s{each}.json").exists()
        assert (left / "store" / "over").read_bytes() == (left / "store" / "swapped").read_bytes() == content
    objects.delete("over")
    assert not (lost(disk) / "store" / "over").exists()


def test_a_segment_is_removed_only_when_its_archive_survives(disk: Disk) -> None:
    for number in range(4):
        write(disk.root / "journal", event(number))
    archiver = Archiver(open_objects(disk.root / "log"), disk.root / "journal", lambda: 1e12)
    archiver.turn()
    archiver.turn(None, Position(99, 0), 0)
    assert len(segments(disk.root / "journal" / "n")) == 1
    left = lost(disk)
    found = History(open_objects(left / "log"), left / "journal").once()
    assert sorted(record.id for record in found) == [f"{number:06d}" for number in range(4)]


def test_the_disk_forgets_what_was_not_synced(disk: Disk) -> None:
    """So that the tests above can fail."""
    replace(disk.root / "kept", b"1")
    (disk.root / "kept").write_bytes(b"2")
    (disk.root / "never").write_bytes(b"3")
    create_once(disk.root / "named", b"4")
    os.rename(disk.root / "named", disk.root / "renamed")
    left = lost(disk)
    assert sorted(path.name for path in left.iterdir() if not path.name.endswith(".partial")) == [
        "kept",
        "named",
        "never",
    ]
    assert (left / "kept").read_bytes() == b"1"
    assert (left / "named").read_bytes() == b"4"
    assert (left / "never").read_bytes() == b""
