"""Journal -> Parquet: `<out>/<table>/date=YYYY-MM-DD/<node>-<segment>.parquet`.

Names and contents follow from the journal alone, so exporting twice writes the same files. A segment still being written is
exported as far as it goes. A record that stands twice in the journal, as a verdict may whose gateway died, is exported once.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from pathlib import Path

from model_store.record import TABLES, PredictionRecord, Record, arrow_schema, table_of, to_row
from triage.journal.segments import nodes, read_segment, segments


def export(journal_folder: Path, out: Path) -> dict[str, int]:
    """Rows written per table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = dict.fromkeys(TABLES, 0)
    seen: set[tuple[str, str, int]] = set()
    for node in nodes(journal_folder):
        for segment in segments(node):
            parts: dict[tuple[str, str], list[Record]] = defaultdict(list)
            for _, record in read_segment(segment):
                table = table_of(record)
                key = (table, record.id, getattr(record, "revision", 1))
                if key not in seen:
                    seen.add(key)
                    parts[table, _date(record)].append(record)
            for (table, date), records in sorted(parts.items()):
                folder = out / table / f"date={date}"
                folder.mkdir(parents=True, exist_ok=True)
                rows = pa.Table.from_pylist([to_row(record) for record in records], arrow_schema(table))
                partial = folder / f".{node.name}-{segment.stem}.partial"
                pq.write_table(rows, partial, compression="zstd")
                partial.rename(folder / f"{node.name}-{segment.stem}.parquet")
                written[table] += len(records)
    return written


def _date(record: Record) -> str:
    at = record.received_at if isinstance(record, PredictionRecord) else record.at
    return datetime.datetime.fromtimestamp(at / 1e6, datetime.UTC).date().isoformat()
