"""The journal: what was acknowledged is read again, what was not whole is never served, and a broken disk ends it."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store import record as codec
from model_store.record import Record
from tests.triage.written import event, records
from triage.errors import JournalBroken, SettingsError
from triage.journal.segments import MAGIC, START, SegmentJournal, nodes, read, read_segment, segments
from triage.ports import Position

MEGABYTE = 2**20


@contextmanager
def journal(
    folder: Path,
    node: str = "n",
    segment_bytes: int = MEGABYTE,
    observe: Callable[[float], None] = lambda seconds: None,
) -> Iterator[SegmentJournal]:
    opened = SegmentJournal(folder, node, segment_bytes, observe)
    opened.start()
    try:
        yield opened
    finally:
        opened.close()


def write(folder: Path, *written: Record, segment_bytes: int = MEGABYTE) -> list[Position]:
    async def all_of_them(opened: SegmentJournal) -> list[Position]:
        return [await opened.append(each) for each in written]

    with journal(folder, segment_bytes=segment_bytes) as opened:
        return asyncio.run(all_of_them(opened))


def stored(folder: Path, since: Position = START) -> list[Record]:
    return [record for _, record in read(folder / "n", since)]


def frame(payload: bytes) -> bytes:
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


@given(st.lists(records, max_size=8))
@settings(max_examples=30, deadline=None)
def test_what_was_appended_is_read_in_order(tmp_path_factory: pytest.TempPathFactory, written: list[Record]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    positions = write(folder, *written)
    assert stored(folder) == written
    assert [position for position, _ in read(folder / "n")] == positions == sorted(positions)
    for index, position in enumerate(positions):
        assert stored(folder, position) == written[index:]


async def test_writers_share_an_fsync_and_each_finds_its_own_record(tmp_path: Path) -> None:
    commits: list[float] = []
    with journal(tmp_path, observe=commits.append) as opened:
        positions = await asyncio.gather(*(opened.append(event(number)) for number in range(500)))
        assert len(commits) < 250  # 500 fsyncs would be 500 commits; one runs while the rest queues up
        assert opened.end > max(positions)
        at = dict(read(tmp_path / "n"))
        assert {position: at[position].id for position in positions} == {
            position: f"{number:06d}" for number, position in enumerate(positions)
        }


async def test_writers_of_two_event_loops_are_both_answered(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(opened.append(event(1)))))
        mine = await opened.append(event(2))
        assert {mine, await other} == {position for position, _ in read(tmp_path / "n")}


async def test_what_was_handed_in_before_close_is_written(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        waiting = [asyncio.ensure_future(opened.append(event(number))) for number in range(20)]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*waiting)) == 20
    assert len(stored(tmp_path)) == 20


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    positions = write(tmp_path, *(event(number, 1000) for number in range(20)), segment_bytes=4096)
    assert len({position.segment for position in positions}) == 5
    assert [record.id for record in stored(tmp_path)] == [f"{number:06d}" for number in range(20)]
    for path in segments(tmp_path / "n")[:-1]:
        assert path.stat().st_size >= 4096


def test_each_start_opens_a_segment_and_forgets_nothing(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, event(number))
    assert [path.name for path in segments(tmp_path / "n")] == ["00000001.seg", "00000002.seg", "00000003.seg"]
    assert [record.id for record in stored(tmp_path)] == ["000000", "000001", "000002"]
    assert nodes(tmp_path) == [tmp_path / "n"]


def test_a_tail_torn_at_any_byte_is_cut_and_never_served(tmp_path: Path) -> None:
    positions = write(tmp_path, event(1), event(2))
    path = segments(tmp_path / "n")[0]
    whole = path.read_bytes()
    for length in range(positions[1].offset, len(whole)):
        path.write_bytes(whole[:length])
        assert [record.id for _, record in read_segment(path)] == ["000001"]
        with journal(tmp_path):
            assert path.stat().st_size == positions[1].offset
        for later in segments(tmp_path / "n")[1:]:
            later.unlink()
    path.write_bytes(whole)
    with journal(tmp_path):
        assert path.read_bytes() == whole


@pytest.mark.parametrize("length", range(len(MAGIC)))
def test_a_segment_whose_beginning_was_not_written_holds_nothing(tmp_path: Path, length: int) -> None:
    write(tmp_path, event(1))
    (tmp_path / "n" / "00000002.seg").write_bytes(MAGIC[:length])
    write(tmp_path, event(2))
    assert [record.id for record in stored(tmp_path)] == ["000001", "000002"]


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_is_never_served(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    positions = write(folder, event(1), event(2), event(3))
    path = segments(folder / "n")[0]
    content = bytearray(path.read_bytes())
    bit = 8 * positions[1].offset + place % (8 * (len(content) - positions[1].offset))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    served = stored(folder)
    assert served == [event(1), event(2), event(3)][: len(served)]
    assert len(served) == (1 if bit // 8 < positions[2].offset else 2)


def test_what_is_cut_off_behind_a_damaged_record_is_kept_aside(tmp_path: Path) -> None:
    """A flipped bit in the middle looks like a torn tail. Behind it may lie records that were acknowledged."""
    positions = write(tmp_path, event(1), event(2), event(3))
    path = segments(tmp_path / "n")[0]
    content = bytearray(path.read_bytes())
    content[positions[1].offset + 12] ^= 1
    path.write_bytes(content)
    with journal(tmp_path):
        assert path.read_bytes() == content[: positions[1].offset]
        assert path.with_suffix(".cut").read_bytes() == content[positions[1].offset :]
    assert segments(tmp_path / "n")[0] == path


def test_records_of_a_newer_version_are_not_cut(tmp_path: Path) -> None:
    """Schemas grow and readers ignore what they do not know, so a record may be longer than what this version would write."""
    write(tmp_path, event(1))
    path = segments(tmp_path / "n")[0]
    newer = {**msgspec.to_builtins(event(2)), "kind": "event", "added_later": "x" * 50}
    path.write_bytes(path.read_bytes() + frame(codec.encode(event(3))) + frame(msgspec.msgpack.encode(newer)))
    before = path.read_bytes()
    with journal(tmp_path):
        assert path.read_bytes() == before
    assert [record.id for record in stored(tmp_path)] == ["000001", "000003", "000002"]


def test_records_of_an_older_version_do_not_hide_a_torn_tail(tmp_path: Path) -> None:
    """An old record lacks fields, so that this version would write it longer than it is."""
    write(tmp_path)
    path = segments(tmp_path / "n")[0]
    older = frame(msgspec.msgpack.encode({"kind": "event", "id": "old", "name": "x", "project": "p", "at": 1}))
    path.write_bytes(MAGIC + older + b"torn")
    with journal(tmp_path):
        assert path.read_bytes() == MAGIC + older


def test_one_writer_a_node(tmp_path: Path) -> None:
    with journal(tmp_path):
        with pytest.raises(SettingsError) as refused:
            SegmentJournal(tmp_path, "n", MEGABYTE, lambda seconds: None).start()
        assert str(refused.value) == (
            f"{tmp_path / 'n'}: another gateway writes this journal; stop it, or set TRIAGE_NODE to another name"
        )
        with journal(tmp_path, node="m"):
            pass
    with journal(tmp_path):
        pass


_CHILD = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from tests.triage.written import event
from triage.errors import JournalBroken
from triage.journal.segments import SegmentJournal

async def main() -> None:
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit is an I/O error
    journal = SegmentJournal(folder, "n", 2**20, lambda seconds: None)
    journal.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    acknowledged, refused = [], []
    for number in range(20):
        try:
            await journal.append(event(number, 1000))
            acknowledged.append(f"{number:06d}")
        except JournalBroken as error:
            refused.append(str(error))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps({"acknowledged": acknowledged, "refused": refused, "broken": journal.broken}))
    journal.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("limit", [5000, 3])
def test_an_io_error_ends_acknowledging_for_good(tmp_path: Path, limit: int) -> None:
    """The disk refuses a write in the middle of a frame; space returns, trust does not."""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CHILD, str(tmp_path), str(limit)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    assert len(told["acknowledged"]) + len(told["refused"]) == 20
    assert told["refused"][0].startswith("the journal cannot be written (")
    assert all(each.startswith("the journal failed earlier (") for each in told["refused"][1:])
    assert all(each.endswith("; mend the disk and restart the gateway") for each in told["refused"])
    assert told["broken"]
    there = {record.id for record in stored(tmp_path)}
    assert set(told["acknowledged"]) <= there
    write(tmp_path, event(99))
    assert stored(tmp_path)[-1] == event(99)


async def test_a_journal_that_broke_is_closed_like_any_other(tmp_path: Path) -> None:
    with journal(tmp_path, segment_bytes=4096) as opened:
        (tmp_path / "n" / "00000002.seg").write_bytes(b"in the way")
        with pytest.raises(JournalBroken):
            await opened.append(event(1, 5000))
