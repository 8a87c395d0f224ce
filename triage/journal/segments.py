"""The journal: append-only segments of checksummed records, group-committed with fsync. The truth of one gateway.

    <folder>/<node>/lock            held while the gateway lives
    <folder>/<node>/00000001.seg    frames, and the seal of a closed segment (frames.py)

Writers share an fsync: whatever arrives while one runs goes into the next. The first I/O error ends acknowledging for good,
because after a failed fsync nobody knows what is on the disk. A segment is sealed when it is full, when it has held records
for a while, so that they reach the archive, and at close. A frame that was cut by a crash is never served: segments are opened
anew at each start, and the last one's torn tail is cut off (and kept beside it as `.cut`) before it is sealed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_store import record as records
from model_store.files import make_folder, sync_folder
from model_store.record import Record
from triage.errors import JournalBroken, SettingsError
from triage.journal.frames import FRAME, MAGIC, Summing, frame
from triage.journal.reading import START, nodes, read, read_frames, read_segment, seal, segments, whole_end
from triage.ports import Position

__all__ = ["MAGIC", "START", "SegmentJournal", "nodes", "read", "read_segment", "segments", "settle"]
SEGMENT_SECONDS = 300.0
_Entry = tuple[bytes, "asyncio.Future[Position]"]


class SegmentJournal:
    """The journal of one node. `start` takes the lock and a writing thread, `close` gives both back."""

    def __init__(
        self,
        folder: Path,
        node: str,
        segment_bytes: int,
        observe_fsync: Callable[[float], None],
        segment_seconds: float = SEGMENT_SECONDS,
    ) -> None:
        self.folder = folder / node
        self.broken: str | None = None
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._observe_fsync = observe_fsync
        self._inbox: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._end = START
        self._closing = False

    @property
    def end(self) -> Position:
        """Everything before it is synced."""
        return self._end

    def start(self, after: int = 0) -> None:
        """Opens a segment numbered above all that are here, and above `after`: archived ones may be here no more.

        Raises SettingsError when another gateway of this name writes here, or nobody can.
        """
        try:
            make_folder(self.folder)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
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
            settle(existing[-1])
        self._open_segment(max(after, int(existing[-1].stem) if existing else 0) + 1)
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._thread.start()

    async def append(self, record: Record) -> Position:
        return await self.begin(record)

    def begin(self, record: Record) -> asyncio.Future[Position]:
        """`append` for who must know how it ended also when cancelled: the future cannot be cancelled. Raises JournalBroken."""
        if self.broken:
            raise JournalBroken(f"the journal failed earlier ({self.broken}); mend the disk and restart the gateway")
        if self._closing:
            raise JournalBroken("the journal is closed; this gateway is ending, send it to another")
        written = _Written(loop=asyncio.get_running_loop())
        self._inbox.put((records.encode(record), written))
        return written

    def close(self) -> None:
        """Writes what was handed in, seals the segment, then stops."""
        self._closing = True
        self._inbox.put(None)
        self._thread.join()
        if not self.broken:
            self._seal()
        os.close(self._file)
        os.close(self._lock)

    def _open_segment(self, number: int) -> None:
        path = self.folder / f"{number:08d}.seg"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            _write_all(file, MAGIC)
            os.fsync(file)
            sync_folder(self.folder)
        except OSError:
            os.close(file)
            raise
        self._file, self._end = file, Position(number, len(MAGIC))
        self._sum = Summing()
        self._sum.add(MAGIC, 0)
        self._seal_at: float | None = None
        """When the segment is sealed though it is not full; None while it holds no record."""

    def _seal(self) -> None:
        """Nothing may be added to the segment any more. Raises OSError."""
        _write_all(self._file, self._sum.seal())
        os.fsync(self._file)

    def _turn(self) -> None:
        """Seals the segment and opens the next."""
        full = self._file
        self._seal()
        self._open_segment(self._end.segment + 1)
        os.close(full)

    def _turn_when_due(self) -> None:
        try:
            if not self.broken and self._seal_at is not None and time.monotonic() >= self._seal_at:
                self._turn()
        except Exception as error:  # as in _commit
            self.broken = str(error) or type(error).__name__

    def _next(self) -> _Entry | None:
        """What was handed in next; meanwhile a segment whose time has come is sealed."""
        while True:
            left = None if self._seal_at is None or self.broken else max(0.0, self._seal_at - time.monotonic())
            try:
                return self._inbox.get(timeout=left)
            except queue.Empty:
                self._turn_when_due()

    def _write_forever(self) -> None:
        while (first := self._next()) is not None:
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
            frames.append(frame(payload))
            offset += FRAME.size + len(payload)
        try:
            if self.broken:
                raise OSError(self.broken)
            started = time.perf_counter()
            data = b"".join(frames)
            _write_all(self._file, data)
            os.fdatasync(self._file)
            self._observe_fsync(time.perf_counter() - started)
            self._sum.add(data, len(batch))
            self._end = Position(self._end.segment, offset)
            if self._seal_at is None:
                self._seal_at = time.monotonic() + self._segment_seconds
            if offset >= self._segment_bytes or time.monotonic() >= self._seal_at:
                self._turn()
        except Exception as error:  # whatever it was, nothing more can be promised
            self.broken = str(error) or type(error).__name__
            failed = JournalBroken(f"the journal cannot be written ({error}); mend the disk and restart the gateway")
            _settle(batch, lambda future, _: future.set_exception(failed), positions)
            return
        _settle(batch, lambda future, position: future.set_result(position), positions)


class _Written(asyncio.Future[Position]):
    """What was handed to the journal cannot be taken back. Whoever is cancelled meanwhile learns of it when this is done."""

    def cancel(self, msg: Any = None) -> bool:
        return False


def _settle(
    batch: list[_Entry], settle: Callable[[asyncio.Future[Position], Position], None], positions: list[Position]
) -> None:
    """Wakes the writers, once for each event loop and not once for each record."""
    loops: dict[asyncio.AbstractEventLoop, list[Any]] = {}
    for (_, future), position in zip(batch, positions, strict=True):
        loops.setdefault(future.get_loop(), []).append((future, position))

    def wake(pairs: list[tuple[asyncio.Future[Position], Position]]) -> None:
        for future, position in pairs:
            settle(future, position)

    for loop, pairs in loops.items():
        loop.call_soon_threadsafe(wake, pairs)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def settle(path: Path) -> None:
    """Cuts the torn tail of a segment that its writer did not close, and seals it. The caller holds the node's lock."""
    if seal(path) is not None:
        return
    with path.open("r+b") as stream:
        if stream.read(len(MAGIC)) in (MAGIC[:length] for length in range(len(MAGIC))):
            stream.seek(0)  # its beginning was not written whole, so that it holds nothing
            stream.write(MAGIC)
            stream.flush()
    end, total = whole_end(path), Summing()
    with path.open("r+b") as stream:
        stream.seek(end)
        if torn := stream.read():
            path.with_suffix(".cut").write_bytes(torn)
            stream.truncate(end)
        stream.seek(0)
        while piece := stream.read(1 << 20):
            total.add(piece, 0)
        total.records = sum(1 for _ in read_frames(path, 0, lambda damage: None))
        stream.write(total.seal())
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(path.parent)
