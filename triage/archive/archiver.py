"""Closed journal segments -> Parquet in the log, one marker a segment. Twice, or by two at once, it changes nothing.

A segment's files are put first and its marker last, each only where there is none. Their contents follow from the segment, so
whoever comes second finds what it would have put itself; whoever dies in between leaves files that the next one completes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.record import table_of
from triage.archive import tombstones
from triage.archive.layout import SEGMENTS, File, Segment, date_of, marked, marker
from triage.archive.rewriting import rewrite
from triage.archive.seen import identity
from triage.archive.tables import TableWriter, batches
from triage.archive.tombstones import Hidden
from triage.errors import Conflict
from triage.journal.reading import Damage, closed, nodes, read_segment, seal, segments, to_the_log, verify
from triage.ports import Position
from triage.store.objects import Objects

log = logging.getLogger(__name__)


@dataclass
class Archived:
    """What one turn did."""

    segments: int = 0
    rows: int = 0
    removed: int = 0
    damaged: int = 0
    unarchived_bytes: int = 0


class Archiver:
    """Of every node in a journal folder, or of those named. One object for many turns: it remembers what has its marker."""

    def __init__(self, objects: Objects, journal_folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._folder = journal_folder
        self._clock = clock
        self._marked: dict[str, set[int]] = {}
        self._compared: set[Segment] = set()

    def turn(self, of: str | None = None, indexed: Position | None = None, keep_s: float | None = None) -> Archived:
        """Archives what is closed of one node, or of all; then removes what may go when `keep_s` is given, and `indexed`
        tells before which position of that node everything is in the index. Raises Unavailable."""
        done = Archived()
        for folder in [self._folder / of] if of else nodes(self._folder):
            for path in segments(folder):
                if self.is_archived(path):
                    continue
                if closed(path):
                    told = self.archive(path)
                    done.segments += 1
                    done.rows += sum(each["rows"] for each in told["files"])
                    done.damaged += bool(told["damage"])
                else:
                    done.unarchived_bytes += path.stat().st_size
            if keep_s is not None:
                done.removed += self.remove(folder, indexed, keep_s)
        return done

    def is_archived(self, path: Path) -> bool:
        """Raises Conflict when another journal's segment of this name is in the log."""
        segment = Segment(path.parent.name, int(path.stem))
        if segment.number not in self._of(segment.node):
            return False
        if segment not in self._compared and closed(path):
            self._compare(path, json.loads(self._objects.get(marker(segment))))
            self._compared.add(segment)
        return True

    def highest(self, node: str) -> int:
        """Number of the newest archived segment of a node; 0 when there is none."""
        return max(self._of(node), default=0)

    def _of(self, node: str) -> set[int]:
        if node not in self._marked:
            listed = (marked(entry.name) for entry in self._objects.list(f"{SEGMENTS}/{node}"))
            self._marked[node] = {each.number for each in listed if each is not None}
        return self._marked[node]

    def _compare(self, path: Path, told: dict[str, Any]) -> None:
        ended = seal(path)
        if ended is not None and ended.sha256 not in (told["sha256"], *told.get("erasing", ())):
            raise Conflict(
                f"{path} is not the segment of that name in the log: another gateway was named {path.parent.name} before; "
                "set TRIAGE_NODE to a name that was never used, and move this folder to that name"
            )

    def forget(self, node: str) -> None:
        """Looks again what of a node is archived: somebody else was at it."""
        self._marked.pop(node, None)

    def unarchived_bytes(self, node: str) -> int:
        """Of the segments here that are only here."""
        return sum(path.stat().st_size for path in segments(self._folder / node) if not self.is_archived(path))

    def archive(self, path: Path) -> dict[str, Any]:
        """The marker of a closed segment, which is archived when this returns. Raises Unavailable."""
        segment = Segment(path.parent.name, int(path.stem))
        graves = tombstones.load(self._objects)
        hidden, damage = Hidden(graves), list[Damage]()
        ended = verify(path, damage.append)
        files = [
            self._put(File(*name, str(segment)), content) for name, content in _tables(path, hidden, damage.append)
        ]
        told = {
            "version": 1, "node": segment.node, "segment": segment.number, "sha256": ended.sha256, "bytes": ended.length,
            "records": ended.records, "files": files,
            "damage": sorted({(each.start, each.end, each.says) for each in damage}),
        }  # fmt: skip
        for each in damage:
            to_the_log(each)
        if not self._objects.create(marker(segment), json.dumps(told, indent=1).encode()):
            self._compare(path, json.loads(self._objects.get(marker(segment))))
        # Said while we wrote, and perhaps searched for before.
        if len(later := tombstones.load(self._objects)) != len(graves):
            for file in files:
                rewrite(self._objects, str(file["name"]), Hidden(later))
        self._marked.setdefault(segment.node, set()).add(segment.number)
        return told

    def _put(self, file: File, content: bytes) -> dict[str, Any]:
        if not self._objects.create(file.name, content):
            content = self._objects.get(file.name)  # the same, unless another version or an earlier purge wrote it
        rows = sum(batch.num_rows for batch in batches(file.table, content, columns=("id",)))
        return {"name": file.name, "rows": rows, "sha256": hashlib.sha256(content).hexdigest()}

    def remove(self, folder: Path, indexed: Position | None, keep_s: float) -> int:
        """Removes segments from the disk that are archived without damage, indexed and older than `keep_s`; never the last of
        a node, by which its next one is numbered."""
        gone = 0
        for path in segments(folder)[:-1]:
            segment = Segment(folder.name, int(path.stem))
            if indexed is None or segment.number >= indexed.segment or path.stat().st_mtime > self._clock() - keep_s:
                break
            if not self.is_archived(path) or json.loads(self._objects.get(marker(segment)))["damage"]:
                continue
            path.unlink()
            path.with_suffix(".cut").unlink(missing_ok=True)
            gone += 1
        return gone


def _tables(path: Path, hidden: Hidden, told: Callable[[Damage], None]) -> list[tuple[tuple[str, str], bytes]]:
    """(table, date) and Parquet of a segment's records, each once, less what is purged."""
    writers: dict[tuple[str, str], TableWriter] = {}
    seen: set[str] = set()
    for _, record in read_segment(path, 0, told):
        name = identity(record)
        if name not in seen and not hidden(record):
            seen.add(name)
            place = table_of(record), date_of(record)
            if place not in writers:
                writers[place] = TableWriter(place[0])
            writers[place].add(record)
    return [(place, writers[place].close()) for place in sorted(writers)]
