"""Records to Parquet and back: exact, a few thousand rows in memory at a time, the same bytes for the same records."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from model_store.record import Record, arrow_schema, from_row, to_row

ROWS = 4096
"""A row group: what is held as rows at once."""
_VECTORS = {"probability": "<f4", "embedding": "<f2"}
_TIMES = ("received_at", "at", "leased_at", "shown_at")


class TableWriter:
    """Rows of one table, turned into the bytes of one Parquet file."""

    def __init__(self, table: str) -> None:
        import pyarrow.parquet as pq

        self.rows = 0
        self._schema = arrow_schema(table)
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def add(self, record: Record) -> None:
        self._waiting.append(to_row(record))
        self.rows += 1
        if len(self._waiting) == ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []

    def close(self) -> bytes:
        """The file."""
        if self._waiting:
            self._flush()
        self._writer.close()
        return self._sink.getvalue()


def from_parquet(table: str, content: bytes, without: Collection[str] = ()) -> Iterator[Record]:
    """The records of a file of any version; columns in `without` take their defaults, and are not read."""
    for batch in batches(table, content, without):
        yield from records_of(table, batch)


def batches(
    table: str, content: bytes, without: Collection[str] = (), columns: Collection[str] | None = None
) -> Iterator[Any]:
    """`pyarrow.RecordBatch`es of up to `ROWS` rows. A column that the file does not have is left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content))
    there = [name for name in file.schema_arrow.names if name not in without and (columns is None or name in columns)]
    yield from file.iter_batches(ROWS, columns=there)


def records_of(table: str, batch: Any) -> Iterator[Record]:
    """The records of a batch."""
    import pyarrow as pa

    vectors = {
        name: _vectors(batch.column(name), kind) for name, kind in _VECTORS.items() if name in batch.schema.names
    }
    plain = batch.drop_columns(list(vectors)) if vectors else batch
    for name in _TIMES:
        if name in plain.schema.names:
            at = plain.schema.get_field_index(name)
            plain = plain.set_column(at, name, plain.column(name).cast(pa.int64()))
    for number, row in enumerate(plain.to_pylist()):
        row.update((name, each[number]) for name, each in vectors.items())
        yield from_row(table, row)


def _vectors(column: Any, kind: str) -> list[np.ndarray[Any, Any]]:
    """A list column as arrays, without a Python object for each number."""
    values = column.values.to_numpy(zero_copy_only=False).astype(kind, copy=False)
    ends = column.offsets.to_numpy()
    return [values[ends[row] : ends[row + 1]] for row in range(len(column))]
