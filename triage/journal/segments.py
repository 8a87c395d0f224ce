"""The journal: append-only segments of checksummed records, group-committed with fsync. The truth of one gateway.

    <folder>/<node>/lock            held while the gateway lives
    <folder>/<node>/00000001.seg    `SRJ1`, then frames: uint32 length, uint32 CRC-32, MessagePack record

Writers share an fsync: whatever arrives while one runs goes into the next. The first I/O error ends acknowledging for good,
because after a failed fsync nobody knows what is on the disk. A frame that was cut by a crash is never served: segments
are opened anew at each start, and the last one's torn tail is cut off (and kept beside it as `.cut`: a damaged record looks
like a torn one, and behind it may lie what was acknowledged).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model_store import record as records
from model_store.files import make_folder, sync_folder
from model_store.record import Record
from triage.errors import JournalBroken, SettingsError
from triage.ports import Position

MAGIC = b"SRJ1"
_FRAME = struct.Struct("<II")
START = Position(0, 0)
_Entry = tuple[bytes, "asyncio.Future[Position]"]


class SegmentJournal:
    """The journal of one node. `start` takes the lock and a writing thread, `close` gives both back."""

    def __init__(self, folder: Path, node: str, segment_bytes: int, observe_fsync: Callable[[float], None]) -> None:
        self.folder = folder / node
        self.broken: str | None = None
        self._segment_bytes = segment_bytes
        self._observe_fsync = observe_fsync
        self._inbox: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._end = START

    @property
    def end(self) -> Position:
        """Everything before it is synced."""
        return self._end

    def start(self) -> None:
        """Raises SettingsError when another gateway of this name writes here, or nobody can."""
        try:
            make_folder(self.folder)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SettingsError(
                f"{self.folder} cannot be written ({error.strerror}); mend its owner, or set TRIAGE_JOURNAL to another folder"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SettingsError(
                f"{self.folder}: another gateway writes this journal; stop it, or set TRIAGE_NODE to another name"
            ) from None
        existing = segments(self.folder)
        if existing:
            _cut_torn_tail(existing[-1])
        self._open_segment(int(existing[-1].stem) + 1 if existing else 1)
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._thread.start()

    async def append(self, record: Record) -> Position:
        if self.broken:
            raise JournalBroken(f"the journal failed earlier ({self.broken}); mend the disk and restart the gateway")
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._inbox.put((records.encode(record), future))
        return await future

    def close(self) -> None:
        """Writes what was handed in, then stops."""
        self._inbox.put(None)
        self._thread.join()
        os.close(self._file)
        os.close(self._lock)

    def _open_segment(self, number: int) -> None:
        path = self.folder / f"{number:08d}.seg"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            _write_all(file, MAGIC)
            os.fsync(file)
            sync_folder(self.folder)
        except OSError:
            os.close(file)
            raise
        self._file, self._end = file, Position(number, len(MAGIC))

    def _write_forever(self) -> None:
        while (first := self._inbox.get()) is not None:
            batch, last = [first], False
            while not self._inbox.empty():
                entry = self._inbox.get()
                if entry is None:
                    last = True
                    break
                batch.append(entry)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[_Entry]) -> None:
        positions: list[Position] = []
        frames: list[bytes] = []
        offset = self._end.offset
        for payload, _ in batch:
            positions.append(Position(self._end.segment, offset))
            frames += (_FRAME.pack(len(payload), zlib.crc32(payload)), payload)
            offset += _FRAME.size + len(payload)
        try:
            if self.broken:
                raise OSError(self.broken)
            started = time.perf_counter()
            _write_all(self._file, b"".join(frames))
            os.fdatasync(self._file)
            self._observe_fsync(time.perf_counter() - started)
            self._end = Position(self._end.segment, offset)
            if offset >= self._segment_bytes:
                full = self._file
                self._open_segment(self._end.segment + 1)
                os.close(full)
        except Exception as error:  # whatever it was, nothing more can be promised
            self.broken = str(error) or type(error).__name__
            failed = JournalBroken(f"the journal cannot be written ({error}); mend the disk and restart the gateway")
            _settle(batch, lambda future, _: future.set_exception(failed), positions)
            return
        _settle(batch, lambda future, position: future.set_result(position), positions)


def _settle(
    batch: list[_Entry], settle: Callable[[asyncio.Future[Position], Position], None], positions: list[Position]
) -> None:
    """Wakes the writers, once for each event loop and not once for each record."""
    loops: dict[asyncio.AbstractEventLoop, list[Any]] = {}
    for (_, future), position in zip(batch, positions, strict=True):
        loops.setdefault(future.get_loop(), []).append((future, position))

    def wake(pairs: list[tuple[asyncio.Future[Position], Position]]) -> None:
        for future, position in pairs:
            if not future.done():  # its request may have been cancelled meanwhile
                settle(future, position)

    for loop, pairs in loops.items():
        loop.call_soon_threadsafe(wake, pairs)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def segments(node_folder: Path) -> list[Path]:
    """The segments of one node, oldest first."""
    return sorted(node_folder.glob("*.seg"))


def nodes(folder: Path) -> list[Path]:
    """The node folders of a journal folder."""
    return sorted(path for path in folder.glob("*") if segments(path))


def read_segment(path: Path, offset: int = 0) -> Iterator[tuple[Position, Record]]:
    """Records from a byte offset on, each with where it begins; ends at the first frame that is not whole."""
    number = int(path.stem)
    for at, payload in _frames(path, offset):
        yield Position(number, at), records.decode(payload)


def _frames(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Whole frames, each with the byte where it begins."""
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return
        stream.seek(max(offset, len(MAGIC)))
        while True:
            at = stream.tell()
            head = stream.read(_FRAME.size)
            if len(head) < _FRAME.size:
                return
            length, checksum = _FRAME.unpack(head)
            payload = stream.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield at, payload


def read(node_folder: Path, since: Position = START) -> Iterator[tuple[Position, Record]]:
    """Every record of a node from a position on, oldest first."""
    for path in segments(node_folder):
        if int(path.stem) >= since.segment:
            yield from read_segment(path, since.offset if int(path.stem) == since.segment else 0)


def _cut_torn_tail(path: Path) -> None:
    end = len(MAGIC)
    for at, payload in _frames(path):
        end = at + _FRAME.size + len(payload)
    if path.stat().st_size > end:
        with path.open("r+b") as stream:
            stream.seek(end)
            path.with_suffix(".cut").write_bytes(stream.read())
            stream.truncate(end)
            os.fsync(stream.fileno())
