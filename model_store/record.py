"""The deployment log's schema and only definition: triage writes these records, training reads them.

A record is journaled as MessagePack with its `kind`, and exported as a row of the Parquet table of that name.
Schemas only grow: a new field has a default, and a reader ignores fields that it does not know.
"""

from __future__ import annotations

import datetime
from typing import Any, Literal

import msgspec
import numpy as np

Route = Literal["automatic", "review", "captured"]
Answer = Literal["present", "absent", "unsure", "not_assessed"]
Outcome = Literal["labels", "none_of_these", "unusable", "new_label", "escalated", "undecided"]
"""`escalated`: the reviewer leaves the item to an adjudicator. `undecided`: the readers did not agree, and there is no
adjudicator; nobody answers so."""
Step = Literal["final", "again", "escalate"]
"""What a verdict leads to: it settles the item, another person reads it, or an adjudicator does."""
CaseState = Literal["", "open", "together", "undecided"]


class PolicySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything beside scores and rules that decided a route."""

    mode: Literal["capture", "assist", "live"]
    suspended: tuple[str, ...] = ()
    """Labels; `absent:LABEL` where only its absence is suspended."""
    always_review: tuple[str, ...] = ()
    available: bool = True
    """The classifier answered with the expected graph."""
    certified_here: bool = True
    """The rules name this site, provider and precision, and had not expired when the image came."""
    control_stale: bool = False
    out_of_scope: tuple[str, ...] = ()
    """Metadata fields whose declared use condition failed or that were missing."""
    audit: dict[str, float] = {}
    """The probability with which each claim that would be evidence, a label or `absent:LABEL`, is read blind."""
    case: CaseState = ""
    """open: the image waits for the rest of its case. together: the case was decided, and each image answers by itself.
    undecided: the case was decided, and people read all of it. Empty: images are decided one by one."""
    case_wait_s: float = 0.0
    """Seconds after this image at which its case closes by itself."""


class EarlierReading(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said of the same item before."""

    verdict: str
    reviewer: str
    outcome: Outcome = "labels"
    answers: dict[str, Answer] = {}
    note: str = ""
    new_label: str | None = None


class PredictionRecord(msgspec.Struct, frozen=True, kw_only=True, tag="prediction", tag_field="kind"):
    """One image read by the model (or stored without it), decided, and routed."""

    id: str
    revision: int = 1
    """2 and up: decided again after the model came back."""
    project: str
    site: str
    case: str | None = None
    view: str | None = None
    role: Literal["current", "prior"] = "current"
    received_at: int
    """Microseconds since the epoch, UTC."""
    sha256: str
    size: int
    format: str
    width: int
    height: int
    source: dict[str, str] = {}
    """Metadata of the caller's, allowlisted names only."""
    model: str = ""
    """`name/version`, empty when no model was asked."""
    graph: str = ""
    bundle: str = ""
    rules: str = ""
    code: str = ""
    provider: str = ""
    precision: str = ""
    heads: tuple[str, ...] = ()
    probability: bytes = b""
    """float32 little-endian, one a head; exact, so that `explain` can decide again."""
    typicality: float | None = None
    embedding: bytes = b""
    """float16 little-endian."""
    fires: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    route: Route
    reasons: tuple[str, ...] = ()
    policy: PolicySnapshot
    queue: str | None = None
    """Set when the image waits for a person."""
    bonus_s: float = 0.0
    """It waits there as if it had come so many seconds earlier."""
    audit_queue: str = ""
    """Where an automatic answer that was drawn is read; empty: in its project's own queue."""
    audit_u: float | None = None
    """Keyed hash of the id in [0, 1); None where nothing could be drawn."""
    audit_probability: float | None = None
    """The largest in `policy.audit`."""
    drawn: tuple[str, ...] = ()
    """Claims for which this image is read blind, labels or `absent:LABEL`: those whose probability is above `audit_u`. Within a
    claim every answer has the same chance, so that no weights are needed."""
    timings_ms: dict[str, float] = {}
    caller: str = ""
    """Subject of whoever sent the image."""
    trace: str = ""
    """W3C trace id of the request, 32 hexadecimal digits."""
    person: str = ""
    """Keyed hash of whom the image is of, so that it can be found for a purge; never the name."""
    origin: Literal["http", "v2", "backfill"] = "http"
    """How it came; what is backfilled is kept out of live monitors."""
    release: Literal["champion", "canary"] = "champion"
    """Whose model and rules answered."""
    tell: bool = False
    """Listeners are told of an automatic answer, which its caller has as the reply."""

    def probabilities(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """`[C]` float32, empty when no model answered."""
        return np.frombuffer(self.probability, "<f4")


class VerdictRecord(msgspec.Struct, frozen=True, kw_only=True, tag="verdict", tag_field="kind"):
    """What a person said of one item. A label that is not mentioned is unknown, and masked in training."""

    id: str
    prediction: str
    revision: int = 1
    """Of the final that this verdict gives. Each amendment, which keeps the verdict's id, has the next one."""
    project: str
    site: str
    case: str | None = None
    queue: str
    sha256: str
    reviewer: str
    outcome: Outcome = "labels"
    answers: dict[str, Answer] = {}
    new_label: str | None = None
    note: str = ""
    item: str = ""
    """The queue's item; empty: its id is the prediction's."""
    purpose: Literal["review", "audit", "recall", "gold"] = "review"
    """review: the caller waits for it. audit: the caller has the model's answer. recall: that answer is in doubt.
    gold: the answer is known, and the reviewer is."""
    blind: bool = False
    """The reviewer saw neither what the model said nor why the image was here, and was asked for every label."""
    reading: int = 1
    """2: by a second reviewer, because the first did not confirm the model."""
    drawn: tuple[str, ...] = ()
    """Claims for which this reading is evidence, labels or `absent:LABEL`."""
    doubts: tuple[str, ...] = ()
    """Those of `drawn` that the reviewer does not confirm."""
    second_reader: bool = True
    """Doubts count only when a second, other reader shares them."""
    corrects: bool = False
    """Callers had an answer, the model's or a person's, and people decided otherwise: they are told so."""
    received_at: int | None = None
    """When the image came, microseconds since the epoch."""
    suggestions: tuple[str, ...] = ()
    """Label ids the reviewer was shown, best first."""
    leased_at: int
    shown_at: int | None = None
    at: int
    gold: bool = False
    agreement: bool | None = None
    """Of a gold: the reviewer gave the known answer."""
    principal: str = ""
    """Subject that was authenticated, where a program answers for a reviewer it names; empty: the reviewer's own."""
    amends: str = ""
    """Id of the verdict that this one takes the place of, where it was answered before: its own, with a lower revision."""
    earlier: tuple[EarlierReading, ...] = ()
    """Readings of the same item before this one, oldest first."""
    step: Step = "final"
    escalate_to: str = ""
    """Queue of the adjudicators, where `step` is `escalate`."""
    agreed: dict[str, Answer] | None = None
    """What all readings together say, where there were several and `step` is `final`."""
    agreed_outcome: Outcome | None = None
    hold_s: float = 0.0
    """The reviewer may take the verdict back for so long before anybody is told."""
    gold_id: str = ""
    planted: str = ""
    """Of a gold: the wrong label that was suggested first on purpose."""
    first_doubts: tuple[str, ...] = ()
    """In a second reading: those of `drawn` that the first reader did not confirm."""
    answered: tuple[str, ...] = ()
    """In a recall: the labels that the model had answered."""
    adjudicated: bool = False
    """By an adjudicator, whose answer is final."""
    relied_on: int = 0
    """Of an amendment that came when others relied on the answer already: the revision that they relied on. That one goes on
    being evidence; 0 where it is none."""
    shows: str = ""
    """Where another person is to read the image: what is shown beside it, JSON of reasons and suggestions; empty when
    nothing is."""


class TruthRecord(msgspec.Struct, frozen=True, kw_only=True, tag="truth", tag_field="kind"):
    """What turned out to be right, from the caller's world."""

    id: str
    prediction: str
    project: str
    answers: dict[str, Answer]
    source: str
    at: int


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, tag="event", tag_field="kind"):
    """Something that is about no single answer: control changes, refusals, withdrawals, purges."""

    id: str
    name: str
    project: str
    site: str | None = None
    subject: str = ""
    actor: str = ""
    detail: dict[str, str] = {}
    at: int


class ShadowRecord(msgspec.Struct, frozen=True, kw_only=True, tag="shadow", tag_field="kind"):
    """What a challenger would have said of an image that another release answered for. It never answers."""

    id: str
    """The prediction's."""
    project: str
    site: str
    model: str
    graph: str
    bundle: str
    rules: str
    provider: str = ""
    precision: str = ""
    heads: tuple[str, ...] = ()
    probability: bytes = b""
    """float32 little-endian, one a head."""
    typicality: float | None = None
    fires: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    route: Route
    reasons: tuple[str, ...] = ()
    at: int


Record = PredictionRecord | VerdictRecord | TruthRecord | EventRecord | ShadowRecord
TABLES: dict[str, type[Record]] = {
    "predictions": PredictionRecord,
    "verdicts": VerdictRecord,
    "truths": TruthRecord,
    "events": EventRecord,
    "shadows": ShadowRecord,
}

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """MessagePack of a record, its kind among the keys."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """The record in MessagePack bytes. Raises msgspec.ValidationError or DecodeError."""
    return _decoder.decode(data)


def table_of(record: Record) -> str:
    """Name of the Parquet table a record belongs to."""
    return next(name for name, kind in TABLES.items() if isinstance(record, kind))


def arrow_schema(table: str) -> Any:
    """The Parquet schema of a table (a `pyarrow.Schema`): times are UTC microseconds, scores exact float32
    lists."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    time = pa.timestamp("us", tz="UTC")
    special = {
        "received_at": time, "at": time, "leased_at": time, "shown_at": time,
        "probability": pa.list_(pa.float32()), "embedding": pa.list_(pa.float16()),
        "typicality": pa.float32(),
        "answers": pa.map_(text, text), "source": pa.map_(text, text), "detail": pa.map_(text, text),
        "timings_ms": pa.map_(text, pa.float64()),
        "heads": texts, "fires": texts, "absent": texts, "reasons": texts, "suggestions": texts, "drawn": texts,
        "doubts": texts, "first_doubts": texts, "answered": texts,
        "policy": pa.struct([
            ("mode", text), ("suspended", texts), ("always_review", texts),
            ("available", pa.bool_()), ("certified_here", pa.bool_()), ("control_stale", pa.bool_()),
            ("out_of_scope", texts), ("audit", pa.map_(text, pa.float64())), ("case", text),
            ("case_wait_s", pa.float64()),
        ]),
        "revision": pa.int32(), "size": pa.int64(), "width": pa.int32(), "height": pa.int32(),
        "audit_u": pa.float64(), "audit_probability": pa.float64(),
        "blind": pa.bool_(), "reading": pa.int32(), "relied_on": pa.int32(),
        "second_reader": pa.bool_(), "corrects": pa.bool_(),
        "gold": pa.bool_(), "tell": pa.bool_(), "agreement": pa.bool_(), "adjudicated": pa.bool_(), "hold_s": pa.float64(),
        "bonus_s": pa.float64(), "agreed": pa.map_(text, text),
        "earlier": pa.list_(pa.struct([
            ("verdict", text), ("reviewer", text), ("outcome", text), ("answers", pa.map_(text, text)), ("note", text),
            ("new_label", text),
        ])),
    }  # fmt: skip
    if table == "truths":
        special["source"] = text  # who said so; in a prediction the name holds the caller's metadata
    fields = msgspec.structs.fields(TABLES[table])
    return pa.schema([(field.name, special.get(field.name, text)) for field in fields])


def to_row(record: Record) -> dict[str, Any]:
    """The record as a row for `arrow_schema`."""
    row: dict[str, Any] = msgspec.structs.asdict(record)
    if isinstance(record, PredictionRecord):
        row["probability"] = record.probabilities()
        row["embedding"] = np.frombuffer(record.embedding, "<f2")
        row["policy"] = {**msgspec.structs.asdict(record.policy), "audit": list(record.policy.audit.items())}
    if isinstance(record, ShadowRecord):
        row["probability"] = np.frombuffer(record.probability, "<f4")
    if isinstance(record, VerdictRecord):
        row["earlier"] = [
            {**msgspec.structs.asdict(each), "answers": list(each.answers.items())} for each in record.earlier
        ]
    for name, value in row.items():
        if isinstance(value, dict) and name != "policy":
            row[name] = list(value.items())
    return row


def from_row(table: str, row: dict[str, Any]) -> Record:
    """The record in a row that came out of Parquet through `Table.to_pylist()`.

    A field that is missing or null (a column from after the row was written) takes its default. Times may be microseconds,
    too, and vectors numpy arrays.
    """
    values = {name: value for name, value in row.items() if value is not None}
    for name in ("answers", "source", "detail", "timings_ms", "agreed"):
        if isinstance(values.get(name), list):
            values[name] = dict(values[name])
    for name in ("received_at", "at", "leased_at", "shown_at"):
        if name in values and not isinstance(values[name], int):
            values[name] = (values[name] - _EPOCH) // datetime.timedelta(microseconds=1)
    for name, dtype in (("probability", "<f4"), ("embedding", "<f2")):
        if name in values:
            values[name] = np.array(values[name], dtype).tobytes()
    if "earlier" in values:
        values["earlier"] = [
            {**{name: value for name, value in each.items() if value is not None}, "answers": dict(each["answers"])}
            for each in values["earlier"]
        ]
    if "policy" in values:
        values["policy"] = {name: value for name, value in values["policy"].items() if value is not None}
        values["policy"]["audit"] = dict(values["policy"].get("audit", ()))
    return msgspec.convert(values, TABLES[table])
