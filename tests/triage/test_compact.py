"""Merging a day's files: whoever reads sees each row once, whenever the merger dies and whoever merges beside it."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from model_store.record import PolicySnapshot, PredictionRecord, Record
from tests.triage.failing_objects import Died, Dying, content
from tests.triage.test_journal import write
from tests.triage.written import MOMENT, event
from triage.archive.archiver import Archiver
from triage.archive.compact import compact
from triage.archive.history import History
from triage.archive.layout import file_of
from triage.archive.manifest import read_manifest
from triage.journal.reading import segments
from triage.store.objects import Objects
from triage.store.places import open_objects

LATER = datetime.date(2026, 2, 1)
NUMBERS = range(12)


def archived(folder: Path, name: str) -> Objects:
    """Four segments' worth of a day in a log of its own; a record stands in two of them."""
    if not (folder / "journal").exists():
        for number in range(0, 12, 3):
            write(folder / "journal", *(event(number + each) for each in range(3)), event(0))
    objects = open_objects(folder / name)
    Archiver(objects, folder / "journal").turn()
    return objects


def rows(objects: Objects, folder: Path) -> list[int]:
    found: list[Record] = list(History(objects, folder / "none").once())
    return sorted(int(record.id) for record in found)


def files(objects: Objects) -> list[str]:
    return sorted(each.stem for each in map(file_of, content(objects)) if each is not None)


def test_a_day_becomes_one_file_and_stays_what_it_was(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    done = compact(objects, LATER)
    assert (done.merged, done.into, done.deleted) == (4, 1, 4)
    (stem,) = files(objects)
    assert read_manifest(objects, "events", "2026-01-01").merged == {
        stem: ("n-00000001", "n-00000002", "n-00000003", "n-00000004")
    }
    read = Counter(int(record.id) for record in History(objects, tmp_path / "none").records())
    assert read == dict.fromkeys(NUMBERS, 1)  # also the one that stood in two segments
    before = content(objects)
    assert compact(objects, LATER).merged == 0
    assert content(objects) == before


def test_a_day_that_is_not_over_is_left_alone(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    assert compact(objects, datetime.date(2026, 1, 1)).merged == 0


def test_files_that_come_later_are_merged_with_what_was(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    compact(objects, LATER)
    write(tmp_path / "journal", event(100))
    Archiver(objects, tmp_path / "journal").turn()
    assert rows(objects, tmp_path) == [*NUMBERS, 100]
    compact(objects, LATER)
    assert len(files(objects)) == 1
    assert rows(objects, tmp_path) == [*NUMBERS, 100]


def test_no_merged_file_is_larger_than_was_asked(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    size = max(entry.size for entry in objects.list("events"))
    compact(objects, LATER, 2 * size)
    assert len(files(objects)) == 2
    assert rows(objects, tmp_path) == [*NUMBERS]


def test_whoever_dies_at_any_step_leaves_each_row_once(tmp_path: Path) -> None:
    alive = Dying(archived(tmp_path, "whole"))
    compact(alive, LATER)
    assert alive.made == 7  # three steps and four deletions
    for steps in range(alive.made):
        objects = archived(tmp_path, f"log{steps}")
        with pytest.raises(Died):
            compact(Dying(objects, steps), LATER)
        read = Counter(int(record.id) for record in History(objects, tmp_path / "none").records())
        assert read == dict.fromkeys(NUMBERS, 1) | ({0: 4} if steps < 3 else {})
        again = Dying(objects)
        compact(again, LATER)
        assert (len(files(objects)), rows(objects, tmp_path)) == (1, [*NUMBERS])
        assert compact(objects, LATER).deleted == 0


def test_two_that_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    """One is stopped between any two of its steps, the other runs from beginning to end, the first goes on."""

    class Interrupted(Dying):
        def _step(self, what: str) -> None:
            if self.made == at:
                compact(self.inner, LATER)
            super()._step(what)

    for at in range(8):
        objects = archived(tmp_path, f"log{at}")
        compact(Interrupted(objects), LATER)
        assert rows(objects, tmp_path) == [*NUMBERS]
        compact(objects, LATER)
        assert (len(files(objects)), rows(objects, tmp_path)) == (1, [*NUMBERS])


def test_whoever_looked_before_reads_on_after(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    history = History(objects, tmp_path / "none")
    parts = history.parts()
    compact(objects, LATER)
    write(tmp_path / "journal", event(100))
    Archiver(objects, tmp_path / "journal").turn()
    compact(objects, LATER)
    assert {int(record.id) for part in parts for _, record in history.read(part)} >= set(NUMBERS)


def test_what_is_here_is_not_read_from_the_archive_too(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    compact(objects, LATER)
    assert [part.path is not None for part in History(objects, tmp_path / "journal").parts()] == [True] * 4


def test_whoever_looked_before_a_segment_was_removed_and_merged_reads_it_all_the_same(tmp_path: Path) -> None:
    objects = archived(tmp_path, "log")
    history = History(objects, tmp_path / "journal")
    parts = history.parts()
    for path in segments(tmp_path / "journal" / "n")[:-1]:
        path.unlink()  # as the archiver does, before it merges in the same turn
    compact(objects, LATER)
    for read in (history.read, history.skim):
        assert {int(record.id) for part in parts for _, record in read(part)} == set(NUMBERS)


def test_whoever_skims_what_was_removed_meanwhile_knows_what_was_decided_again(tmp_path: Path) -> None:
    captured = PredictionRecord(
        id="1", project="p", site="s", received_at=MOMENT, sha256="", size=0, format="PNG", width=1, height=1,
        route="captured", policy=PolicySnapshot(mode="live"),
    )  # fmt: skip
    write(tmp_path / "journal", captured, msgspec.structs.replace(captured, revision=2))
    write(tmp_path / "journal", event(3))
    objects = open_objects(tmp_path / "log")
    Archiver(objects, tmp_path / "journal").turn()
    history = History(objects, tmp_path / "journal")
    parts = history.parts()
    segments(tmp_path / "journal" / "n")[0].unlink()
    skimmed = [record for part in parts for _, record in history.skim(part)]
    assert 2 in [record.revision for record in skimmed if isinstance(record, PredictionRecord)]
