"""Merges the small files of past days: one file where there were hundreds. Readers see every row once throughout.

In this order, so that whoever dies between two steps leaves what the next run finishes: the manifest names the file that is to
be written; the file; the manifest names it as merged, and from here on readers take it for its inputs; the inputs are deleted.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from model_store.record import TABLES
from triage.archive import tombstones
from triage.archive.layout import File, file_of
from triage.archive.manifest import Manifest, swap, versioned
from triage.archive.rewriting import rewrite
from triage.archive.seen import Seen, identity
from triage.archive.tables import TableWriter, from_parquet
from triage.archive.tombstones import Hidden
from triage.errors import NotFound, PreconditionFailed
from triage.store.objects import Objects

MERGED_BYTES = 64 * 2**20
"""Of the inputs of one merged file: as much as a journal segment, which readers hold in memory anyway."""


@dataclass
class Compacted:
    merged: int = 0
    """Files that were put together."""
    into: int = 0
    deleted: int = 0


def compact(objects: Objects, before: datetime.date, most_bytes: int = MERGED_BYTES) -> Compacted:
    """Merges what lies in partitions of days before this one. Raises Unavailable.

    Where somebody else merges the same day at the same time one of the two gives way.
    """
    done = Compacted()
    for table in TABLES:
        found: dict[str, list[tuple[File, int]]] = {}
        for entry in objects.list(table):
            file = file_of(entry.name)
            if file is not None and datetime.date.fromisoformat(file.date) < before:
                found.setdefault(file.date, []).append((file, entry.size))
        for date, files in sorted(found.items()):
            try:
                _merge(objects, table, date, sorted(files), most_bytes, done)
            except PreconditionFailed:
                continue
    return done


def _merge(
    objects: Objects, table: str, date: str, files: list[tuple[File, int]], most_bytes: int, done: Compacted
) -> None:
    told, etag = versioned(objects, table, date)  # after the listing: what was there and is not named here is left over
    if told.writing:  # whoever was at it died, or finds that its manifest changed and gives way
        told = told.model_copy(update={"writing": ()})
        etag = swap(objects, table, date, told, etag)
    for file, _ in files:
        if file.stem in told.replaced or (file.segment is None and file.stem not in told.merged):
            objects.delete(file.name)
            done.deleted += 1
    left = [(file, size) for file, size in files if file.stem in told.merged or file.segment is not None]
    left = [(file, size) for file, size in left if file.stem not in told.replaced]
    for group in _groups(left, most_bytes):
        told, etag = _put(objects, table, date, group, told, etag, done)


def _groups(files: list[tuple[File, int]], most_bytes: int) -> list[list[File]]:
    """Files that go into one, in order; none by itself."""
    groups: list[list[File]] = [[]]
    size = 0
    for file, its in files:
        if size + its > most_bytes and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += its
    return [group for group in groups if len(group) > 1]


def _put(
    objects: Objects, table: str, date: str, group: list[File], told: Manifest, etag: str | None, done: Compacted
) -> tuple[Manifest, str | None]:
    graves = tombstones.load(objects)
    content, read = _contents(objects, table, group, Hidden(graves))
    if len(read) < 2:
        return told, etag
    target = File(table, date, f"merged-{hashlib.sha256(content).hexdigest()[:16]}")
    intent = told.model_copy(update={"writing": (target.stem,)})
    etag = swap(objects, table, date, intent, etag)
    objects.put(target.name, content)
    inputs = tuple(stem for file in read for stem in told.merged.get(file.stem, (file.stem,)))
    kept = {stem: of for stem, of in told.merged.items() if stem not in {file.stem for file in read}}
    after = Manifest(merged={**kept, target.stem: inputs})
    etag = swap(objects, table, date, after, etag)
    for file in read:
        if file != target:
            objects.delete(file.name)
            done.deleted += 1
    if len(later := tombstones.load(objects)) != len(graves):
        rewrite(objects, target.name, Hidden(later))
    done.merged += len(read)
    done.into += 1
    return after, etag


def _contents(objects: Objects, table: str, group: list[File], hidden: Hidden) -> tuple[bytes, list[File]]:
    """The merged file, and what it was made of: files may have been purged since they were listed."""
    writer, read = TableWriter(table), list[File]()
    with Seen() as seen:
        for file in group:
            try:
                content = objects.get(file.name)
            except NotFound:
                continue
            read.append(file)
            for record in from_parquet(table, content):
                if not hidden(record) and seen.add(identity(record)):
                    writer.add(record)
    return writer.close(), read
