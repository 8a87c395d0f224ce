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
from triage.journal.frames import MAGIC, SEAL_BYTES, Summing
from triage.journal.reading import START, Damage, nodes, read, read_segment, seal, segments, verify
from triage.journal.segments import SegmentJournal
from triage.ports import Position

MEGABYTE = 2**20


@contextmanager
def journal(
    folder: Path,
    node: str = "n",
    segment_bytes: int = MEGABYTE,
    observe: Callable[[float], None] = lambda seconds: None,
    segment_seconds: float = 300,
) -> Iterator[SegmentJournal]:
    opened = SegmentJournal(folder, node, segment_bytes, observe, segment_seconds)
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


def unsealed(path: Path) -> bytes:
    """A closed segment's bytes without its seal, as its gateway would have left them had it died."""
    assert seal(path) is not None
    return path.read_bytes()[:-SEAL_BYTES]


def sealed(content: bytes) -> bytes:
    """Bytes with the seal that says that they are right."""
    total = Summing()
    total.add(content, 0)
    return content + total.seal()


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
    told: list[Damage] = []
    for length in range(positions[1].offset, len(whole) - SEAL_BYTES):
        path.write_bytes(whole[:length])
        assert [record.id for _, record in read_segment(path, told=told.append)] == ["000001"]
        with journal(tmp_path):
            assert unsealed(path) == whole[: positions[1].offset]
            assert [record.id for _, record in read_segment(path, told=told.append)] == ["000001"]
        for later in segments(tmp_path / "n")[1:]:
            later.unlink()
    assert told == []  # nobody was promised what was torn
    for length in range(len(whole) - SEAL_BYTES, len(whole) + 1):
        path.write_bytes(whole[:length])
        with journal(tmp_path):
            assert path.read_bytes() == whole
        for later in segments(tmp_path / "n")[1:]:
            later.unlink()


@pytest.mark.parametrize("length", range(len(MAGIC)))
def test_a_segment_whose_beginning_was_not_written_holds_nothing(tmp_path: Path, length: int) -> None:
    write(tmp_path, event(1))
    (tmp_path / "n" / "00000002.seg").write_bytes(MAGIC[:length])
    write(tmp_path, event(2))
    told: list[Damage] = []
    assert [record.id for _, record in read(tmp_path / "n", told=told.append)] == ["000001", "000002"]
    assert told == []


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_told_and_hides_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, place: int, closed: bool
) -> None:
    """Wherever it is: in a closed segment it is always told, and of a segment that was being written, unless it lies in the
    last record, which looks torn."""
    folder = tmp_path_factory.mktemp("journal")
    positions = write(folder, event(1), event(2), event(3))
    path = segments(folder / "n")[0]
    if closed:
        write(folder)  # another segment follows
    content = bytearray(path.read_bytes() if closed else unsealed(path))
    bit = place % (8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    told: list[Damage] = []
    ends = [*(position.offset for position in positions[1:]), len(content) - (SEAL_BYTES if closed else 0)]
    hit = {number for number, (at, end) in enumerate(zip(positions, ends, strict=True)) if at.offset <= bit // 8 < end}
    served = [record for _, record in read(folder / "n", told=told.append)]
    assert served == [event(number + 1) for number in range(3) if number not in hit]
    assert bool(told) == (closed or hit != {2})
    if not closed:
        before = {(each.start, each.end) for each in told}
        told.clear()
        write(folder)  # the next start cuts what looks torn, and nothing else
        assert [record for _, record in read(folder / "n", told=told.append)] == served
        assert {(each.start, each.end) for each in told} == before
        cut = path.with_suffix(".cut")
        assert (cut.read_bytes() == content[positions[2].offset :]) if hit == {2} else not cut.exists()


def test_damage_says_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    positions = write(tmp_path, event(1), event(2), event(3))
    path = segments(tmp_path / "n")[0]
    content = bytearray(path.read_bytes())
    content[positions[1].offset + 12] ^= 1
    path.write_bytes(content)
    told: list[Damage] = []
    verify(path, told.append)
    start, end = positions[1].offset, positions[2].offset
    assert [str(each) for each in told] == [
        f"{path}: bytes {start} to {end} are damaged; what follows them is read",
        f"{path}: bytes 0 to {len(content) - SEAL_BYTES} are not what was sealed; restore the segment from a backup",
    ]
    assert stored(tmp_path) == [event(1), event(3)]
    assert "a journal segment is damaged" in caplog.text  # whoever does not ask is told by the log


def test_a_closed_segment_that_lost_its_end_is_told(tmp_path: Path) -> None:
    """Also when it was cut exactly between two frames, or to nothing."""
    positions = write(tmp_path, event(1), event(2))
    write(tmp_path, event(3))
    path = segments(tmp_path / "n")[0]
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        told: list[Damage] = []
        ids = [record.id for _, record in read(tmp_path / "n", told=told.append)]
        assert told, length
        assert ids[-1] == "000003"
        assert ("000001" in ids, "000002" in ids) == (
            length >= positions[1].offset, length >= len(whole) - SEAL_BYTES
        )  # fmt: skip


def test_several_damaged_places_are_passed_one_by_one(tmp_path: Path) -> None:
    positions = write(tmp_path, *(event(number, 50) for number in range(12)))
    path = segments(tmp_path / "n")[0]
    content = bytearray(path.read_bytes())
    for number in (0, 3, 4, 11):
        content[positions[number].offset + (number % 8)] ^= 0x40  # in lengths and checksums as well
    path.write_bytes(content)
    told: list[Damage] = []
    ids = [record.id for _, record in read_segment(path, told=told.append)]
    assert ids == [f"{number:06d}" for number in (1, 2, 5, 6, 7, 8, 9, 10)]
    assert len(told) == 3


def test_text_inside_a_damaged_record_is_never_taken_for_a_record(tmp_path: Path) -> None:
    """A caller's metadata may hold anything, also the bytes of a frame."""
    forged = frame(codec.encode(event(666)))
    host = {**msgspec.to_builtins(event(2)), "kind": "event", "added_later": forged}
    first, last = MAGIC + frame(codec.encode(event(1))), frame(codec.encode(event(3)))
    made = []
    for hosting, damaged in ((host, 10), ({**host, "and": "more"}, 0)):  # in the record, in its length
        content = bytearray(first + frame(msgspec.msgpack.encode(hosting)) + last)
        content[len(first) + damaged] ^= 1
        made += [sealed(bytes(content)), bytes(content)]
    (tmp_path / "n").mkdir()
    for written in made:
        (tmp_path / "n" / "00000001.seg").write_bytes(written)
        told: list[Damage] = []
        ids = [record.id for _, record in read(tmp_path / "n", told=told.append)]
        assert ids == ["000001", "000003"]
        assert len(told) == 1


def test_zeroes_behind_the_last_record_are_a_torn_tail(tmp_path: Path) -> None:
    """A file system may have lengthened the file before it wrote what was to be there."""
    write(tmp_path, event(1))
    path = segments(tmp_path / "n")[0]
    content = unsealed(path)
    path.write_bytes(content + bytes(5000))
    told: list[Damage] = []
    assert [record.id for _, record in read_segment(path, told=told.append)] == ["000001"]
    write(tmp_path, event(2))
    assert unsealed(path) == content
    assert [record.id for _, record in read(tmp_path / "n", told=told.append)] == ["000001", "000002"]
    assert told == []


def test_segments_without_seals_are_read(tmp_path: Path) -> None:
    """As version 0.1 wrote them."""
    folder = tmp_path / "n"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"0000000{number}.seg").write_bytes(b"SRJ1" + frame(codec.encode(event(number))))
    told: list[Damage] = []
    assert [record.id for _, record in read(folder, told=told.append)] == ["000001", "000002"]
    write(tmp_path, event(3))
    assert [record.id for _, record in read(folder, told=told.append)] == ["000001", "000002", "000003"]
    assert [seal(path) is not None for path in segments(folder)] == [False, True, True]
    assert told == []
    first = verify(segments(folder)[0], told.append)
    assert (first.records, first.length) == (1, (folder / "00000001.seg").stat().st_size)
    damaged = bytearray((folder / "00000001.seg").read_bytes())
    damaged[20] ^= 1
    (folder / "00000001.seg").write_bytes(damaged)
    assert [record.id for _, record in read(folder, told=told.append)] == ["000002", "000003"]
    assert len(told) == 1


def test_a_segment_is_sealed_when_it_is_full_and_at_close(tmp_path: Path) -> None:
    write(tmp_path, *(event(number, 1000) for number in range(20)), segment_bytes=4096)
    told: list[Damage] = []
    for path in segments(tmp_path / "n"):
        ended = seal(path)
        assert ended is not None
        assert verify(path, told.append) == ended
        assert ended.records == sum(1 for _ in read_segment(path))
    assert told == []


async def test_a_segment_that_is_not_full_is_sealed_in_time(tmp_path: Path) -> None:
    """Once it holds a record; an idle journal makes no segments."""
    with journal(tmp_path, segment_seconds=0.02) as opened:
        await opened.append(event(1))
        deadline = asyncio.get_running_loop().time() + 20
        while opened.end.segment < 2:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        assert seal(segments(tmp_path / "n")[0]) is not None
        assert (await opened.append(event(2))).segment == 2
    assert 2 <= len(segments(tmp_path / "n")) <= 3
    assert [record.id for record in stored(tmp_path)] == ["000001", "000002"]


async def test_a_journal_that_cannot_seal_in_time_is_broken(tmp_path: Path) -> None:
    with journal(tmp_path, segment_seconds=0.02) as opened:
        (tmp_path / "n" / "00000002.seg").write_bytes(b"in the way")
        await opened.append(event(1))
        deadline = asyncio.get_running_loop().time() + 20
        while not opened.broken:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        with pytest.raises(JournalBroken):
            await opened.append(event(2))


async def test_who_reads_while_segments_are_sealed_is_told_of_no_damage(tmp_path: Path) -> None:
    told: list[Damage] = []
    with journal(tmp_path, segment_bytes=4096) as opened:
        done = asyncio.Event()

        async def reading() -> int:
            turns = 0
            while not done.is_set() or not turns:
                ids = [
                    record.id
                    for _, record in await asyncio.to_thread(lambda: list(read(tmp_path / "n", told=told.append)))
                ]
                assert ids == sorted(ids)
                turns += 1
            return turns

        reader = asyncio.create_task(reading())
        for number in range(0, 1200, 8):
            await asyncio.gather(*(opened.append(event(number + each, 200)) for each in range(8)))
        done.set()
        assert await reader
    assert told == []
    assert len(stored(tmp_path)) == 1200


def test_records_of_a_newer_version_are_not_cut(tmp_path: Path) -> None:
    """Schemas grow and readers ignore what they do not know, so a record may be longer than what this version would write."""
    write(tmp_path, event(1))
    path = segments(tmp_path / "n")[0]
    newer = {**msgspec.to_builtins(event(2)), "kind": "event", "added_later": "x" * 50}
    path.write_bytes(unsealed(path) + frame(codec.encode(event(3))) + frame(msgspec.msgpack.encode(newer)))
    before = path.read_bytes()
    with journal(tmp_path):
        assert unsealed(path) == before
    assert [record.id for record in stored(tmp_path)] == ["000001", "000003", "000002"]


def test_records_of_an_older_version_do_not_hide_a_torn_tail(tmp_path: Path) -> None:
    """An old record lacks fields, so that this version would write it longer than it is."""
    write(tmp_path)
    path = segments(tmp_path / "n")[0]
    older = frame(msgspec.msgpack.encode({"kind": "event", "id": "old", "name": "x", "project": "p", "at": 1}))
    path.write_bytes(MAGIC + older + b"torn")
    with journal(tmp_path):
        assert unsealed(path) == MAGIC + older


def test_a_kind_of_record_that_this_version_does_not_know_is_told_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path)
    path = segments(tmp_path / "n")[0]
    newer = frame(msgspec.msgpack.encode({"kind": "of_tomorrow", "id": "x"}))
    path.write_bytes(sealed(MAGIC + newer + frame(codec.encode(event(1)))))
    told: list[Damage] = []
    assert [record.id for _, record in read_segment(path, told=told.append)] == ["000001"]
    assert [(each.start, each.end) for each in told] == [(len(MAGIC), len(MAGIC) + len(newer))]


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


async def test_what_was_handed_in_is_written_whoever_is_cancelled(tmp_path: Path) -> None:
    """And the cancelled learns so no sooner than it is."""
    with journal(tmp_path) as opened:
        writing = asyncio.create_task(opened.append(event(1)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert stored(tmp_path) == [event(1)]
        assert opened.end > Position(1, len(MAGIC))


async def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        pass
    with pytest.raises(JournalBroken, match="this gateway is ending, send it to another"):
        await opened.append(event(1))
