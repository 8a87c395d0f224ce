"""The deployment log: exact through MessagePack and Parquet, and readable for ever."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store import record as log
from model_store.record import (
    TABLES,
    EarlierReading,
    EventRecord,
    PolicySnapshot,
    PredictionRecord,
    Record,
    ShadowRecord,
    TruthRecord,
    VerdictRecord,
)

FIXTURE = Path(__file__).parent / "fixtures" / "records_v1.msgpack"
"""A MessagePack array of binary strings, each a record as the first version journaled it. Never write it again: it stands
for the journals that people have. A new field is tested by being absent from it."""

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = st.lists(text, max_size=3).map(tuple)
# up to the year 2262, which is as far as nanoseconds reach elsewhere
times = st.integers(0, 9_223_372_036_000_000)
mapping = st.dictionaries(text, text, max_size=3)
answers = st.dictionaries(text, st.sampled_from(["present", "absent", "unsure", "not_assessed"]), max_size=3)
maybe = st.none() | text
share = st.floats(0, 1)


def packed(dtype: str, width: Literal[16, 32]) -> st.SearchStrategy[bytes]:
    bits = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return st.lists(bits, max_size=6).map(lambda values: np.array(values, dtype).tobytes())


policies = st.builds(
    PolicySnapshot, mode=st.sampled_from(["capture", "assist", "live"]), suspended=texts, always_review=texts,
    available=st.booleans(), certified_here=st.booleans(), control_stale=st.booleans(), out_of_scope=texts,
    audit=st.dictionaries(text, share, max_size=3), case=st.sampled_from(["", "open", "together", "undecided"]),
    case_wait_s=st.floats(0, 1e6),
)  # fmt: skip
outcomes = st.sampled_from(["labels", "none_of_these", "unusable", "new_label", "escalated", "undecided"])
earlier = st.builds(
    EarlierReading, verdict=text, reviewer=text, outcome=outcomes, answers=answers, note=text, new_label=maybe
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "predictions": st.builds(
        PredictionRecord, id=text, revision=st.integers(1, 9), project=text, site=text, case=maybe, view=maybe,
        role=st.sampled_from(["current", "prior"]), received_at=times, sha256=text, size=st.integers(0, 2**40),
        format=text, width=st.integers(0, 65535), height=st.integers(0, 65535), source=mapping, model=text, graph=text,
        bundle=text, rules=text, code=text, provider=text, precision=text, heads=texts, probability=packed("<f4", 32),
        typicality=st.none() | st.floats(0, 1, width=32), embedding=packed("<f2", 16), fires=texts, absent=texts,
        route=st.sampled_from(["automatic", "review", "captured"]), reasons=texts, policy=policies, queue=maybe,
        audit_u=st.none() | share, audit_probability=st.none() | share, drawn=texts,
        timings_ms=st.dictionaries(text, st.floats(0, 1e6), max_size=3), caller=text, trace=text, person=text,
        origin=st.sampled_from(["http", "v2", "backfill"]), release=st.sampled_from(["champion", "canary"]),
    ),
    "verdicts": st.builds(
        VerdictRecord, id=text, prediction=text, revision=st.integers(1, 9), project=text, site=text, case=maybe,
        queue=text, sha256=text, reviewer=text,
        outcome=outcomes, answers=answers, new_label=maybe,
        note=text, item=text, purpose=st.sampled_from(["review", "audit", "recall", "gold"]), blind=st.booleans(),
        reading=st.integers(1, 2), drawn=texts, doubts=texts, corrects=st.booleans(), received_at=st.none() | times,
        suggestions=texts, leased_at=times, shown_at=st.none() | times, at=times,
        gold=st.booleans(), agreement=st.none() | st.booleans(), principal=text, amends=text,
        earlier=st.lists(earlier, max_size=2).map(tuple), step=st.sampled_from(["final", "again", "escalate"]),
        escalate_to=text, agreed=st.none() | answers, agreed_outcome=st.none() | outcomes, hold_s=st.floats(0, 60),
        gold_id=text, planted=text, first_doubts=texts, answered=texts, adjudicated=st.booleans(), shows=text,
    ),
    "truths": st.builds(TruthRecord, id=text, prediction=text, project=text, answers=answers, source=text, at=times),
    "events": st.builds(
        EventRecord, id=text, name=text, project=text, site=maybe, subject=text, actor=text, detail=mapping, at=times
    ),
    "shadows": st.builds(
        ShadowRecord, id=text, project=text, site=text, model=text, graph=text, bundle=text, rules=text, provider=text,
        precision=text, heads=texts, probability=packed("<f4", 32), typicality=st.none() | st.floats(0, 1, width=32),
        fires=texts, absent=texts, route=st.sampled_from(["automatic", "review", "captured"]), reasons=texts, at=times,
    ),
}  # fmt: skip

V1: tuple[Record, ...] = (
    PredictionRecord(
        id="01936f1e-0000-7000-8000-000000000001", project="default", site="ward-3", case="c1", view="front",
        received_at=1767225600123456, sha256="ab" * 32, size=1234, format="JPEG", width=640, height=480,
        source={"device": "x1"}, model="colours/1", graph="sha256:" + "1" * 64, bundle="sha256:" + "2" * 64,
        rules="sha256:" + "3" * 64, code="0.1.0", provider="cpu", precision="fp32", heads=("red", "green"),
        probability=np.array([0.1, 0.9], "<f4").tobytes(), typicality=0.75,
        embedding=np.array([1.5, -2], "<f2").tobytes(), fires=("green",), route="automatic",
        policy=PolicySnapshot(mode="live", suspended=("red",)), audit_u=0.5, audit_probability=0.02,
        timings_ms={"classify": 3.25},
    ),
    PredictionRecord(
        id="2", project="default", site="default", received_at=0, sha256="", size=0, format="PNG", width=1, height=1,
        route="review", reasons=("model_unavailable",), policy=PolicySnapshot(mode="live", available=False), queue="q",
    ),
    VerdictRecord(
        id="v1", prediction="2", project="default", site="default", queue="q", sha256="", reviewer="ann",
        answers={"red": "present", "green": "unsure"}, note="hm", suggestions=("red",), leased_at=1, shown_at=2, at=3,
        agreement=False,
    ),
    TruthRecord(id="t1", prediction="2", project="default", answers={"red": "absent"}, source="lab", at=4),
    EventRecord(id="e1", name="withdrawn", project="default", subject="2", detail={"why": "model is back"}, at=5),
)  # fmt: skip


def through_parquet(table: str, records: list[Record], path: Path) -> list[Record]:
    schema = log.arrow_schema(table)
    pq.write_table(pa.Table.from_pylist([log.to_row(record) for record in records], schema=schema), path)
    read = pq.read_table(path)
    assert read.schema.equals(schema)
    return [log.from_row(table, row) for row in read.to_pylist()]


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_messagepack_gives_back_what_it_was_given(table: str, data: st.DataObject) -> None:
    record = data.draw(KINDS[table])
    assert log.decode(log.encode(record)) == record
    assert log.table_of(record) == table


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_parquet_gives_back_what_it_was_given_to_the_bit(
    table: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = data.draw(st.lists(KINDS[table], min_size=1, max_size=4))
    path = tmp_path_factory.getbasetemp() / f"{table}.parquet"
    assert through_parquet(table, records, path) == records


def test_every_float32_probability_survives_with_its_neighbours(tmp_path: Path) -> None:
    """`explain` decides again from the table: one unit in the last place would be another decision."""
    edges = np.array([0.9, np.nextafter(np.float32(0.9), np.float32(1)), np.float32(1e-45), 0, 1], "<f4")
    record = msgspec.structs.replace(V1[0], probability=edges.tobytes(), typicality=float(np.float32(0.1)))
    (back,) = through_parquet("predictions", [record], tmp_path / "p.parquet")
    assert isinstance(back, PredictionRecord)
    assert back.probability == edges.tobytes()
    assert back.probabilities().dtype == np.float32
    assert back.typicality == float(np.float32(0.1))


def test_the_first_versions_journal_is_still_read() -> None:
    stored = msgspec.msgpack.decode(FIXTURE.read_bytes(), type=list[bytes])
    assert tuple(log.decode(data) for data in stored) == V1


def test_todays_records_carry_all_that_the_first_version_wrote() -> None:
    """A field may be added; none may vanish or change its meaning."""
    for data, record in zip(msgspec.msgpack.decode(FIXTURE.read_bytes(), type=list[bytes]), V1, strict=True):
        then, now = msgspec.msgpack.decode(data), msgspec.msgpack.decode(log.encode(record))
        assert {key: now.get(key) for key in then} | {"policy": None} == then | {"policy": None}
        policy = now.get("policy", {})
        assert {key: policy.get(key) for key in then.get("policy", {})} == then.get("policy", {})


@pytest.mark.parametrize("record", V1, ids=lambda record: type(record).__name__)
def test_fields_of_a_later_version_are_ignored(record: Record) -> None:
    later = {**msgspec.msgpack.decode(log.encode(record)), "invented": {"later": [1, None]}}
    assert log.decode(msgspec.msgpack.encode(later)) == record
    row = {
        **pa.Table.from_pylist([log.to_row(record)], log.arrow_schema(log.table_of(record))).to_pylist()[0],
        "new": 1,
    }
    assert log.from_row(log.table_of(record), row) == record


@pytest.mark.parametrize("record", V1, ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("null", [False, True])
def test_fields_of_before_their_time_take_their_defaults(record: Record, null: bool) -> None:
    """A file from before a field has no such column; read together with newer files it has nulls."""
    table = log.table_of(record)
    row = pa.Table.from_pylist([log.to_row(record)], log.arrow_schema(table)).to_pylist()[0]
    expected = record
    for field in msgspec.structs.fields(record):
        if field.required:
            continue
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        expected = msgspec.structs.replace(expected, **{field.name: default})
        if null:
            row[field.name] = None
        else:
            del row[field.name]
    assert log.from_row(table, row) == expected


@pytest.mark.parametrize("null", [False, True])
def test_a_policy_field_of_before_its_time_takes_its_default(null: bool) -> None:
    row = pa.Table.from_pylist([log.to_row(V1[0])], log.arrow_schema("predictions")).to_pylist()[0]
    for name in ("certified_here", "suspended"):
        if null:
            row["policy"][name] = None
        else:
            del row["policy"][name]
    back = log.from_row("predictions", row)
    assert isinstance(back, PredictionRecord)
    assert back.policy == PolicySnapshot(mode="live")


@pytest.mark.parametrize("data", [b"", b"\xc1", log.encode(V1[3])[:-1], log.encode(V1[0])[:-9]], ids=len)
def test_a_torn_record_is_an_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        log.decode(data)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "prophecy"}, {"kind": None}, {"at": "now"}, {"answers": {"red": "perhaps"}}, {"id": None}],
    ids=str,
)
def test_a_record_that_says_the_impossible_is_an_error(changes: dict[str, Any]) -> None:
    wrong = {**msgspec.msgpack.decode(log.encode(V1[2])), **changes}
    with pytest.raises(msgspec.ValidationError):
        log.decode(msgspec.msgpack.encode(wrong))


def test_every_field_has_a_column_of_its_kind() -> None:
    """A new field that nobody gave a column would be written as text, or not at all."""
    for table, record in (("predictions", V1[0]), ("verdicts", V1[2]), ("truths", V1[3]), ("events", V1[4])):
        schema = log.arrow_schema(table)
        assert schema.names == [field.name for field in msgspec.structs.fields(TABLES[table])]
        for name, value in log.to_row(record).items():
            if isinstance(value, str):
                assert schema.field(name).type == pa.string(), name
            elif value is not None:
                assert schema.field(name).type != pa.string(), name


def test_times_are_utc_instants_in_the_table() -> None:
    row = pa.Table.from_pylist([log.to_row(V1[0])], log.arrow_schema("predictions")).to_pylist()[0]
    assert row["received_at"] == datetime.datetime(2026, 1, 1, 0, 0, 0, 123456, datetime.UTC)


def test_the_policy_struct_has_a_column_for_each_of_its_fields() -> None:
    struct = log.arrow_schema("predictions").field("policy").type
    assert [field.name for field in struct] == [field.name for field in msgspec.structs.fields(PolicySnapshot)]
