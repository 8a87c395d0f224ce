"""Everything that was ever recorded, as far as it is seen from here: the journals of this disk and the archived log.

A segment that lies here is read here, also when it is archived; the archive is read for the others. So a record may come by
twice (where it was merged with others whose segment is gone): whoever counts asks for `once`. What was purged never comes by.
Nothing is held but one file of the archive, which is no larger than a segment.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.record import TABLES, Record
from triage.archive import tombstones
from triage.archive.layout import MANIFEST, File, Segment, file_of
from triage.archive.manifest import read_manifest
from triage.archive.seen import once
from triage.archive.tables import batches, from_parquet
from triage.archive.tombstones import Hidden
from triage.errors import NotFound
from triage.journal.reading import Told, nodes, read_segment, segments, skim_segment, to_the_log
from triage.ports import Position
from triage.store.objects import Objects

_CLOCKS_S = 60
"""By how much the clocks of gateways and disks may differ."""


@dataclass(frozen=True)
class Part:
    """What is read in one go: a segment, or merged files."""

    node: str
    """Empty for what was merged."""
    number: int
    name: str
    path: Path | None = None
    """Of a segment that lies here."""
    files: tuple[File, ...] = ()
    """In the archive, of a segment that does not."""


class History:
    """The records of a journal folder and of a log. Methods raise Unavailable when the log's store is away."""

    def __init__(self, objects: Objects, journal_folder: Path, told: Told = to_the_log) -> None:
        self.objects = objects
        self.folder = journal_folder
        self._told = told
        self.hidden = Hidden(tombstones.load(objects))

    def parts(
        self, of: Collection[str] | None = None, tables: Collection[str] = tuple(TABLES), after: int = 0
    ) -> list[Part]:
        """What there is to read of these nodes (None: of all), each node's segments in order. Parts are left out that can hold
        nothing from after a moment (microseconds)."""
        here: dict[Segment, Path] = {}
        for folder in nodes(self.folder):
            for path in segments(folder):
                here[Segment(folder.name, int(path.stem))] = path
        archived, merged = self._archived(tables, after)
        parts = [
            Part(segment.node, segment.number, str(segment), path)
            for segment, path in here.items()
            if path.stat().st_mtime * 1e6 > after - 1e6 * _CLOCKS_S
        ]
        parts += [
            Part(segment.node, segment.number, str(segment), None, tuple(files))
            for segment, files in archived.items()
            if segment not in here
        ]
        if of is not None:
            parts = [part for part in parts if part.node in of]
        whole = [Part("", 0, file.stem, None, (file,)) for file, inputs in merged if not set(inputs) <= set(here)]
        return sorted(parts, key=lambda part: (part.node, part.number)) + whole

    def _archived(
        self, tables: Collection[str], after: int
    ) -> tuple[dict[Segment, list[File]], list[tuple[File, list[Segment]]]]:
        """Files of single segments, and merged ones with what they were merged of."""
        found: dict[tuple[str, str], list[File]] = {}
        manifests: set[tuple[str, str]] = set()
        first = day_before(after)
        for table in tables:
            for entry in self.objects.list(table):
                file = file_of(entry.name)
                if file is not None and file.date >= first:
                    found.setdefault((file.table, file.date), []).append(file)
                elif entry.name.endswith(f"/{MANIFEST}"):
                    _, date, _ = entry.name.split("/")
                    manifests.add((table, date.removeprefix("date=")))
        single: dict[Segment, list[File]] = {}
        merged: list[tuple[File, list[Segment]]] = []
        for place, files in sorted(found.items()):
            told = read_manifest(self.objects, *place).merged if place in manifests else {}
            replaced = {stem for inputs in told.values() for stem in inputs}
            for file in sorted(files):
                segment = file.segment
                if segment is not None and file.stem not in replaced:
                    single.setdefault(segment, []).append(file)
            for stem, of in sorted(told.items()):  # also one that was not there yet when the files were listed
                inputs = (File(*place, each).segment for each in of)
                merged.append((File(*place, stem), [each for each in inputs if each is not None]))
        return single, merged

    def read(
        self,
        part: Part,
        since: Position | None = None,
        tables: Collection[str] = tuple(TABLES),
        without: Collection[str] = (),
    ) -> Iterator[tuple[Position, Record]]:
        """The records of a part, each with where it begins; of the archive's, the position is the part's beginning. Columns in
        `without` may be missing."""
        kinds = tuple(TABLES[table] for table in tables)
        if part.path is not None:
            offset = since.offset if since is not None and since.segment == part.number else 0
            try:
                for position, record in read_segment(part.path, offset, self._told):
                    if isinstance(record, kinds) and not self.hidden(record):
                        yield position, record
                return
            except FileNotFoundError:
                pass
        for file in self._files(part):
            if file.table not in tables:
                continue
            for content in self._contents(file):
                for record in from_parquet(file.table, content, without):
                    if not self.hidden(record):
                        yield Position(part.number, 0), record

    def _files(self, part: Part) -> tuple[File, ...]:
        """Of a part in the archive; of one that was here when we looked, those into which it was archived and merged since."""
        if part.path is None:
            return part.files
        segment = Segment(part.node, part.number)
        single, merged = self._archived(tuple(TABLES), 0)
        return (*single.get(segment, ()), *(file for file, inputs in merged if segment in inputs))

    def _contents(self, file: File) -> Iterator[bytes]:
        """Of the file, or of those that it was merged into since we looked; of none when all of it was purged."""
        try:
            yield self.objects.get(file.name)
        except NotFound:
            merged = read_manifest(self.objects, file.table, file.date).merged
            gone = set(merged.get(file.stem, ())) or {file.stem}
            for stem, inputs in merged.items():
                if stem != file.stem and gone & set(inputs):
                    yield from self._contents(File(file.table, file.date, stem))

    def skim(self, part: Part, since: Position | None = None) -> Iterator[tuple[Position, Record]]:
        """As `read`, less first revisions of predictions; a few of these may be among it."""
        if part.path is not None:
            offset = since.offset if since is not None and since.segment == part.number else 0
            try:
                for position, record in skim_segment(part.path, offset, lambda damage: None):
                    if not self.hidden(record):
                        yield position, record
                return
            except FileNotFoundError:
                pass
        yield from self.read(part, since, ("verdicts", "events"), ("embedding",))
        for file in self._files(part):
            if file.table == "predictions":
                for content in self._contents(file):
                    if any(_largest(batch) > 1 for batch in batches(file.table, content, columns=("revision",))):
                        for record in from_parquet(file.table, content, ("embedding",)):
                            if not self.hidden(record):
                                yield Position(part.number, 0), record

    def records(
        self, of: Collection[str] | None = None, tables: Collection[str] = tuple(TABLES), after: int = 0,
        without: Collection[str] = (),
    ) -> Iterator[Record]:  # fmt: skip
        """Every record of these nodes and tables, and perhaps some twice."""
        for part in self.parts(of, tables, after):
            for _, record in self.read(part, None, tables, without):
                yield record

    def once(
        self, tables: Collection[str] = tuple(TABLES), after: int = 0, without: Collection[str] = ()
    ) -> Iterator[Record]:
        """Every record of these tables, each once."""
        return once(self.records(None, tables, after, without))


def _largest(batch: Any) -> int:
    """The largest number in a batch of one column, 0 of an empty one."""
    import pyarrow.compute as pc

    return int(pc.max(batch.column(0)).as_py() or 0) if batch.num_columns else 1


def day_before(after: int) -> str:
    """The first date whose partition may hold something from after a moment."""
    moment = datetime.datetime.fromtimestamp(max(0, after) / 1e6, datetime.UTC) - datetime.timedelta(days=1)
    return moment.date().isoformat() if after > 0 else ""
