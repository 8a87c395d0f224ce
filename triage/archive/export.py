"""Journals and archive -> Parquet in a folder: `<out>/<table>/date=YYYY-MM-DD/<node>-<segment>.parquet`.

Names and contents follow from the journals alone, so exporting twice writes the same files. A segment still being written is
exported as far as it goes. A record that stands twice, as a verdict may whose gateway died, is exported once. In memory are a
few thousand rows, and one file of the archive.
"""

from __future__ import annotations

from pathlib import Path

from model_store import files
from model_store.record import TABLES, table_of
from triage.archive.history import History, Part
from triage.archive.layout import File, date_of
from triage.archive.seen import Seen, identity
from triage.archive.tables import TableWriter
from triage.journal.reading import Told, to_the_log
from triage.store.places import open_objects


def export(journal_folder: Path, out: Path, log: str | None = None, told: Told = to_the_log) -> dict[str, int]:
    """Rows written per table. `log` is the folder or URL of the archive, for what lies in no journal here any more."""
    written = dict.fromkeys(TABLES, 0)
    history = History(open_objects(log or journal_folder / "no archive"), journal_folder, told)
    with Seen() as seen:
        for part in history.parts():
            for table, rows in _export(history, part, out, seen).items():
                written[table] += rows
    return written


def _export(history: History, part: Part, out: Path, seen: Seen) -> dict[str, int]:
    writers: dict[File, TableWriter] = {}
    for _, record in history.read(part):
        if seen.add(identity(record)):
            file = File(table_of(record), date_of(record), part.name)
            if file not in writers:
                writers[file] = TableWriter(file.table)
            writers[file].add(record)
    rows = dict.fromkeys(TABLES, 0)
    for file, writer in sorted(writers.items()):
        files.replace(out / file.name, writer.close())
        rows[file.table] += writer.rows
    return rows
