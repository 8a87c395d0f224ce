"""Reads journals: whole frames only, in order, and never past damage without a word.

A frame that is not whole is either the torn tail of the segment that is being written, which nobody was promised, or damage:
in a closed segment, or in front of frames that are whole. Damage is told to whoever asks (`told`), and to the log otherwise;
what lies behind it is read.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from model_store import record as records
from model_store.record import Record
from triage.journal.frames import FRAME, MAGIC, MAGICS, SEAL_BYTES, Seal, next_frame, seal_of
from triage.ports import Position

log = logging.getLogger(__name__)
START = Position(0, 0)
_PIECE = 1 << 20
_LONGEST = 0xFFFFFFFE
_NO_LIMIT = 1 << 62
_PREDICTION = b"\xa4kind\xaaprediction"
_ERASED = b"\xa4kind\xa6erased"
_HEAD = 24
"""Bytes of a record in which its kind stands."""


@dataclass(frozen=True)
class Damage:
    """Bytes of a segment that cannot be read, or a record that this version does not know."""

    path: Path
    start: int
    end: int
    says: str

    def __str__(self) -> str:
        return f"{self.path}: bytes {self.start:,} to {self.end:,} {self.says}"


Told = Callable[[Damage], None]


def to_the_log(damage: Damage) -> None:
    log.error(
        "a journal segment is damaged",
        extra={"segment": str(damage.path), "from": damage.start, "to": damage.end, "why": damage.says},
    )


def segments(node_folder: Path) -> list[Path]:
    """The segments of one node, oldest first."""
    return sorted(node_folder.glob("*.seg"))


def nodes(folder: Path) -> list[Path]:
    """The node folders of a journal folder."""
    return sorted(path for path in folder.glob("*") if segments(path))


def seal(path: Path) -> Seal | None:
    """How a segment ended; None while it is written, or when it is of a version without seals."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - SEAL_BYTES))
        found = seal_of(stream.read())
    return found if found is not None and found.length == size - SEAL_BYTES else None


def closed(path: Path) -> bool:
    """Whether nothing will be added to a segment: it has its seal, or a later one follows."""
    return _followed(path) or seal(path) is not None


def _followed(path: Path) -> bool:
    number = int(path.stem)
    following = path.with_name(f"{number + 1:08d}.seg")  # nearly always; a removed one leaves a gap
    return following.exists() or any(int(each.stem) > number for each in segments(path.parent))


def read(node_folder: Path, since: Position = START, told: Told = to_the_log) -> Iterator[tuple[Position, Record]]:
    """Every record of a node from a position on, oldest first."""
    for path in segments(node_folder):
        if int(path.stem) >= since.segment:
            yield from read_segment(path, since.offset if int(path.stem) == since.segment else 0, told)


def read_segment(path: Path, offset: int = 0, told: Told = to_the_log) -> Iterator[tuple[Position, Record]]:
    """Records from a byte offset on, each with where it begins; ends at a torn tail."""
    number = int(path.stem)
    for at, payload in read_frames(path, offset, told):
        try:
            record = records.decode(payload)
        except msgspec.MsgspecError as error:
            if _ERASED in payload[:_HEAD]:
                continue
            end = at + FRAME.size + len(payload)
            told(
                Damage(
                    path, at, end, f"hold a record that this version cannot read ({error}); use the one that wrote it"
                )
            )
            continue
        yield Position(number, at), record


def skim_segment(path: Path, offset: int = 0, told: Told = to_the_log) -> Iterator[tuple[Position, Record]]:
    """As `read_segment`, less the first revisions of predictions, which are most of a journal and are not decoded."""
    number = int(path.stem)
    for at, payload in read_frames(path, offset, told):
        if _PREDICTION in payload[:_HEAD]:
            try:
                if _glances.decode(payload).revision == 1:
                    continue
            except msgspec.MsgspecError:
                continue  # the other reading tells of it
        try:
            yield Position(number, at), records.decode(payload)
        except msgspec.MsgspecError:
            continue


class _Glance(msgspec.Struct):
    revision: int = 1


_glances = msgspec.msgpack.Decoder(_Glance)


def read_frames(path: Path, offset: int = 0, told: Told = to_the_log) -> Iterator[tuple[int, bytes]]:
    """Whole frames, each with the byte where it begins."""
    # First whether it is closed: a segment that is closed between these two lines has its seal by then.
    is_closed = _followed(path)
    ended = seal(path)
    is_closed = is_closed or ended is not None
    with path.open("rb", buffering=_PIECE) as stream:
        begins = stream.read(len(MAGIC))
        if len(begins) < len(MAGIC):
            if is_closed:
                told(Damage(path, 0, len(begins), "are all that is left of it; restore it from a backup"))
            return
        at = max(offset, len(MAGIC) if begins in MAGICS else 0)  # no frame begins with a damaged beginning
        limit = ended.length if ended else _NO_LIMIT
        stream.seek(at)
        while at < limit:
            head = stream.read(FRAME.size)
            if not head:
                break
            length, checksum = FRAME.unpack(head) if len(head) == FRAME.size else (0, 0)
            if 0 < length <= min(limit - at - FRAME.size, _LONGEST):
                payload = stream.read(length)
                if len(payload) == length and zlib.crc32(payload) == checksum:
                    yield at, payload
                    at += FRAME.size + length
                    continue
            # Not whole. What is left is at most a segment, and is looked through in memory.
            stream.seek(at)
            rest = stream.read(min(limit - at, path.stat().st_size))
            behind = next_frame(rest, torn=ended is None)
            if behind is not None:
                told(Damage(path, at, at + behind, "are damaged; what follows them is read"))
                at += behind
                stream.seek(at)
                continue
            if is_closed:
                told(Damage(path, at, at + len(rest), "are damaged; nothing that follows can be read"))
            return
    if is_closed and ended is None and begins == MAGIC:
        told(Damage(path, at, at, "should be followed by a seal; what was written behind them is lost"))


def whole_end(path: Path) -> int:
    """The byte behind a segment's last whole frame: what follows is its seal, or a torn tail."""
    end = len(MAGIC)
    for at, payload in read_frames(path, 0, lambda damage: None):
        end = at + FRAME.size + len(payload)
    return end


def verify(path: Path, told: Told) -> Seal:
    """Reads a closed segment whole and compares it with its seal; one is made up for a segment of a version without seals.

    Everything that is wrong with it is told.
    """
    count = 0
    for _ in read_frames(path, 0, told):
        count += 1
    ended = seal(path)
    left = ended.length if ended else path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(min(_PIECE, left)):
            digest.update(piece)
            left -= len(piece)
    if ended is None:
        return Seal(path.stat().st_size, count, digest.hexdigest())
    if ended.sha256 != digest.hexdigest():
        told(Damage(path, 0, ended.length, "are not what was sealed; restore the segment from a backup"))
    return ended
