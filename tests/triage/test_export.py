"""Journal -> Parquet: exact, the same bytes twice, nothing twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.record import TABLES, Record, arrow_schema, from_row, table_of
from tests.triage.test_journal import write
from tests.triage.written import event, records
from triage.archive.export import export


def read_back(out: Path) -> list[Record]:
    found = []
    for table in TABLES:
        for path in sorted((out / table).glob("date=*/*.parquet")):
            file = pq.ParquetFile(path)
            assert file.schema_arrow == arrow_schema(table)
            found += [from_row(table, row) for row in file.read().to_pylist()]
    return found


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def identity(record: Record) -> tuple[str, str, int]:
    return table_of(record), record.id, getattr(record, "revision", 1)


@given(st.lists(records, max_size=10, unique_by=identity))
@settings(max_examples=25, deadline=None)
def test_what_was_journaled_is_what_is_exported(
    tmp_path_factory: pytest.TempPathFactory, written: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    write(folder / "journal", *written)
    counts = export(folder / "journal", folder / "out")
    key = msgspec.json.encode
    assert sorted(map(key, read_back(folder / "out"))) == sorted(map(key, written))
    assert counts == {table: sum(table_of(record) == table for record in written) for table in TABLES}
    before = files(folder / "out")
    export(folder / "journal", folder / "out")
    assert files(folder / "out") == before
    export(folder / "journal", folder / "again")
    assert files(folder / "again") == before


def test_a_record_that_stands_twice_is_exported_once(tmp_path: Path) -> None:
    write(tmp_path / "journal", event(1), event(2), event(1))
    write(tmp_path / "journal", event(2), event(3))
    assert export(tmp_path / "journal", tmp_path / "out")["events"] == 3
    assert [record.id for record in read_back(tmp_path / "out")] == ["000001", "000002", "000003"]


def test_names_say_node_segment_and_day(tmp_path: Path) -> None:
    write(tmp_path / "journal", event(1))
    write(tmp_path / "journal", event(2))
    export(tmp_path / "journal", tmp_path / "out")
    assert list(files(tmp_path / "out")) == [
        "events/date=2026-01-01/n-00000001.parquet", "events/date=2026-01-01/n-00000002.parquet",
    ]  # fmt: skip


def test_a_segment_that_grew_is_exported_anew(tmp_path: Path) -> None:
    write(tmp_path / "journal", event(1), event(2))
    segment = next((tmp_path / "journal" / "n").glob("*.seg"))
    whole = segment.read_bytes()
    segment.write_bytes(whole[: len(whole) // 2 + 8])
    assert export(tmp_path / "journal", tmp_path / "out")["events"] == 1
    segment.write_bytes(whole)
    assert export(tmp_path / "journal", tmp_path / "out")["events"] == 2
    assert len(read_back(tmp_path / "out")) == 2


def test_no_journal_is_nothing_written(tmp_path: Path) -> None:
    assert export(tmp_path / "journal", tmp_path / "out") == dict.fromkeys(TABLES, 0)
