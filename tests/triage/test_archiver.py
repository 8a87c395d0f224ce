"""Closed segments become Parquet in the log: exact, once, whoever dies or comes twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.record import Record
from tests.triage.failing_objects import Died, Dying, content
from tests.triage.object_store import S3
from tests.triage.test_export import identity
from tests.triage.test_journal import journal, write
from tests.triage.written import event, records
from triage.archive.archiver import Archiver
from triage.archive.history import History
from triage.archive.layout import Segment, marker
from triage.errors import Conflict
from triage.journal.reading import read, segments
from triage.journal.segments import SegmentJournal
from triage.ports import Position
from triage.store.objects import Objects
from triage.store.places import open_objects

DAY_US = 86_400_000_000


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return open_objects(tmp_path / "log")
    server: S3 = request.getfixturevalue("s3")
    return open_objects(server.url(f"{tmp_path.parent.name}-{tmp_path.name}"))


def seen(objects: Objects, journal_folder: Path) -> list[Record]:
    return list(History(objects, journal_folder).records())


def as_set(records: list[Record]) -> list[bytes]:
    return sorted(map(msgspec.json.encode, records))


@given(st.lists(records, max_size=12, unique_by=identity))
@settings(max_examples=25, deadline=None)
def test_what_was_journaled_is_read_back_exactly_from_the_archive(
    tmp_path_factory: pytest.TempPathFactory, written: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    write(folder / "journal", *written[: len(written) // 2])
    write(folder / "journal", *written[len(written) // 2 :])
    objects = open_objects(folder / "log")
    done = Archiver(objects, folder / "journal").turn()
    assert (done.segments, done.rows, done.unarchived_bytes) == (2, len(written), 0)
    assert as_set(seen(objects, folder / "no journal")) == as_set(written)
    assert as_set(seen(objects, folder / "journal")) == as_set(written)


def test_twice_and_by_two_at_once_changes_nothing(tmp_path: Path, objects: Objects) -> None:
    for number in range(3):
        write(tmp_path / "journal", *(event(100 * number + each) for each in range(5)), event(7 * DAY_US + number))
    Archiver(objects, tmp_path / "journal").turn()
    before = content(objects)
    assert sorted(before) == sorted(
        [f"events/date=2026-01-0{day}/n-0000000{number}.parquet" for day in (1, 8) for number in (1, 2, 3)]
        + [marker(Segment("n", number)) for number in (1, 2, 3)]
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: Archiver(objects, tmp_path / "journal").turn(), range(2)))
    assert content(objects) == before
    elsewhere = open_objects(tmp_path / "elsewhere")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: Archiver(elsewhere, tmp_path / "journal").turn(), range(2)))
    assert content(elsewhere) == before


def test_whoever_dies_at_any_step_is_made_up_for(tmp_path: Path) -> None:
    write(tmp_path / "journal", *(event(number * DAY_US) for number in range(4)))
    whole = open_objects(tmp_path / "whole")
    Archiver(whole, tmp_path / "journal").turn()
    for steps in range(5):
        objects = open_objects(tmp_path / f"log{steps}")
        with pytest.raises(Died):
            Archiver(Dying(objects, steps), tmp_path / "journal").turn()
        assert not Archiver(objects, tmp_path / "journal").is_archived(segments(tmp_path / "journal" / "n")[0])
        Archiver(objects, tmp_path / "journal").turn()
        assert content(objects) == content(whole)


def test_a_record_that_stands_twice_in_a_segment_is_archived_once(tmp_path: Path) -> None:
    write(tmp_path / "journal", event(1), event(2), event(1))
    objects = open_objects(tmp_path / "log")
    assert Archiver(objects, tmp_path / "journal").turn().rows == 2
    assert [record.id for record in seen(objects, tmp_path / "none")] == ["000001", "000002"]


def test_the_marker_tells_what_is_in_the_archive(tmp_path: Path) -> None:
    write(tmp_path / "journal", event(1), event(2))
    objects = open_objects(tmp_path / "log")
    Archiver(objects, tmp_path / "journal").turn()
    told = json.loads(objects.get(marker(Segment("n", 1))))
    (file,) = told.pop("files")
    assert file.pop("name") == "events/date=2026-01-01/n-00000001.parquet"
    assert (file["rows"], len(file["sha256"])) == (2, 64)
    assert {name: told[name] for name in ("version", "node", "segment", "records", "damage")} == {
        "version": 1, "node": "n", "segment": 1, "records": 2, "damage": []
    }  # fmt: skip


async def test_a_segment_that_is_being_written_waits(tmp_path: Path) -> None:
    objects = open_objects(tmp_path / "log")
    with journal(tmp_path / "journal", segment_bytes=4096) as opened:
        for number in range(10):
            await opened.append(event(number, 1000))
        archiver = Archiver(objects, tmp_path / "journal")
        done = archiver.turn()
        assert (done.segments, done.rows) == (2, 8)
        assert done.unarchived_bytes == archiver.unarchived_bytes("n") > 2000
        assert [record.id for record in History(objects, tmp_path / "journal").records()] == [
            f"{number:06d}" for number in range(10)
        ]
    assert archiver.turn().segments == 1
    assert archiver.unarchived_bytes("n") == 0


def test_only_what_is_archived_indexed_and_old_is_removed(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "journal", event(number))
    objects, there = open_objects(tmp_path / "log"), segments(tmp_path / "journal" / "n")
    now = [max(path.stat().st_mtime for path in there)]
    archiver = Archiver(objects, tmp_path / "journal", lambda: now[0])

    def left(indexed: Position | None, keep_s: float) -> list[int]:
        archiver.remove(tmp_path / "journal" / "n", indexed, keep_s)
        return [int(path.stem) for path in segments(tmp_path / "journal" / "n")]

    everything = Position(9, 0)
    assert left(everything, 0) == [1, 2, 3, 4]  # nothing is archived
    archiver.archive(there[0])
    archiver.archive(there[2])
    assert left(None, 0) == [1, 2, 3, 4]  # nobody knows what is indexed
    assert left(Position(1, 99), 0) == [1, 2, 3, 4]
    assert left(everything, 3600) == [1, 2, 3, 4]
    now[0] += 3601
    assert left(Position(2, 4), 3600) == [2, 3, 4]
    assert left(everything, 3600) == [2, 4]
    archiver.turn()
    assert left(everything, 3600) == [4]  # by which the next is numbered
    write(tmp_path / "journal", event(9))
    assert [int(path.stem) for path in segments(tmp_path / "journal" / "n")] == [4, 5]
    assert [record.id for record in seen(objects, tmp_path / "journal")] == [
        f"{number:06d}" for number in (0, 1, 2, 3, 9)
    ]


def test_a_damaged_segment_is_archived_as_far_as_it_goes_and_never_removed(tmp_path: Path) -> None:
    positions = write(tmp_path / "journal", event(1), event(2), event(3))
    write(tmp_path / "journal", event(4))
    path = segments(tmp_path / "journal" / "n")[0]
    whole = bytearray(path.read_bytes())
    whole[positions[1].offset + 10] ^= 1
    path.write_bytes(whole)
    objects = open_objects(tmp_path / "log")
    archiver = Archiver(objects, tmp_path / "journal", lambda: 1e12)
    done = archiver.turn(None, Position(9, 0), 0)
    assert (done.damaged, done.removed) == (1, 0)
    told = json.loads(objects.get(marker(Segment("n", 1))))["damage"]
    assert told[0][:2] == [0, positions[2].offset + positions[1].offset - positions[0].offset]
    assert [record.id for record in seen(objects, tmp_path / "none")] == ["000001", "000003", "000004"]


def test_another_journal_of_the_same_name_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """A gateway whose disk was lost, started again under its name while nobody could look into the log."""
    objects = open_objects(tmp_path / "log")
    write(tmp_path / "lost", event(1))
    Archiver(objects, tmp_path / "lost").turn()
    write(tmp_path / "journal", event(2))
    write(tmp_path / "journal", event(3))
    for _ in range(2):
        with pytest.raises(Conflict, match="is not the segment of that name in the log"):
            Archiver(objects, tmp_path / "journal").turn(None, Position(9, 0), 0)
    assert len(segments(tmp_path / "journal" / "n")) == 2
    assert [record.id for record in seen(objects, tmp_path / "none")] == ["000001"]


def test_a_journal_begins_behind_what_is_archived_of_its_name(tmp_path: Path) -> None:
    objects = open_objects(tmp_path / "log")
    for number in range(3):
        write(tmp_path / "lost", event(number))
    Archiver(objects, tmp_path / "lost").turn()
    archiver = Archiver(objects, tmp_path / "journal")
    assert (archiver.highest("n"), archiver.highest("m")) == (3, 0)
    opened = SegmentJournal(tmp_path / "journal", "n", 4096, lambda seconds: None)
    opened.start(archiver.highest("n"))
    opened.close()
    assert [int(path.stem) for path in segments(tmp_path / "journal" / "n")] == [4]
    assert archiver.turn().segments == 1


def test_a_local_segment_is_read_before_its_archive_and_a_removed_one_from_it(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "journal", event(number))
    objects = open_objects(tmp_path / "log")
    Archiver(objects, tmp_path / "journal").turn()
    history = History(objects, tmp_path / "journal")
    assert [part.path is not None for part in history.parts()] == [True, True, True]
    stale = history.parts()
    segments(tmp_path / "journal" / "n")[0].unlink()
    assert [part.path is not None for part in history.parts()] == [False, True, True]
    ids = [record.id for part in stale for _, record in history.read(part)]
    assert ids == ["000000", "000001", "000002"]  # also by who looked before it was removed


def test_parts_from_before_a_moment_are_left_out(tmp_path: Path) -> None:
    moment = event(0).at
    for number in range(4):
        write(tmp_path / "journal", event(number * 10 * DAY_US))
    objects = open_objects(tmp_path / "log")
    Archiver(objects, tmp_path / "journal").turn()
    history = History(objects, tmp_path / "none")
    assert len(history.parts(after=0)) == 4
    assert len(history.parts(after=moment + 15 * DAY_US)) == 2
    assert len(history.parts(after=moment + 15 * DAY_US, tables=("truths",))) == 0


def test_the_archive_is_the_journal(tmp_path: Path) -> None:
    """Order within a segment's table is kept."""
    write(tmp_path / "journal", *(event(number) for number in (5, 3, 9, 1)))
    objects = open_objects(tmp_path / "log")
    Archiver(objects, tmp_path / "journal").turn()
    assert seen(objects, tmp_path / "none") == [record for _, record in read(tmp_path / "journal" / "n")]
