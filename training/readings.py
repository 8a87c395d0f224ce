"""Blind readings in the deployment log: which images were drawn for a class, and whether people found it there.

A drawn image counts as **right** for a class when the first blind reader calls the class present, or the second, who is asked
when the first does not. It is **wrong** when neither does, whatever the reason. It is **open** until then.

Open images are not simply left out: those that people put off may be the hard ones. One that has been open for longer than
`overdue` counts as wrong; and of the rest only images that came before the oldest open one are used, a stretch of the stream in
which everything drawn has been read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_store.record import PredictionRecord, VerdictRecord, arrow_schema, from_row
from training.errors import DataError

OVERDUE_DAYS = 7
_DAY = 24 * 3600 * 1_000_000


@dataclass(frozen=True)
class Reading:
    """One drawn image and what people found."""

    record: PredictionRecord
    right: bool


def read(folder: Path, rules: str, since: int = 0) -> tuple[list[PredictionRecord], list[VerdictRecord]]:
    """What was drawn under the rules of this digest and received from `since` on (microseconds), newest revision each, and
    the blind verdicts on it. `folder` is what `secondreader log export` wrote. Raises DataError."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    def rows(table: str, wanted: ds.Expression) -> Iterable[dict[str, object]]:
        path = folder / table
        if not any(path.glob("**/*.parquet")):
            return
        schema = arrow_schema(table)
        columns = [name for name in schema.names if name != "embedding"]
        try:
            found = ds.dataset(path, schema=schema, format="parquet", partitioning=None)
            for batch in found.to_batches(columns=columns, filter=wanted):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); write it anew with: secondreader log export") from None

    if not (folder / "predictions").is_dir():
        raise DataError(f"{folder} holds no predictions; name a folder that `secondreader log export` has written")
    drawn: dict[str, PredictionRecord] = {}
    for row in rows("predictions", ds.field("rules") == rules):
        if not row["drawn"]:
            continue
        record = from_row("predictions", row)
        assert isinstance(record, PredictionRecord)
        if record.received_at >= since and record.revision >= drawn.get(record.id, record).revision:
            drawn[record.id] = record
    verdicts = []
    for row in rows("verdicts", ds.field("blind")):
        if row["prediction"] in drawn:
            verdict = from_row("verdicts", row)
            assert isinstance(verdict, VerdictRecord)
            verdicts.append(verdict)
    return sorted(drawn.values(), key=lambda record: (record.received_at, record.id)), verdicts


def readings(
    drawn: Iterable[PredictionRecord],
    verdicts: Iterable[VerdictRecord],
    label: str,
    now: int,
    overdue: int = OVERDUE_DAYS * _DAY,
) -> tuple[list[Reading], int]:
    """The readings that are evidence of a class, in the order of arrival, and how many drawn images wait. Pure.

    now and overdue are microseconds.
    """
    said: dict[str, dict[int, VerdictRecord]] = {}
    for verdict in verdicts:
        by_reading = said.setdefault(verdict.prediction, {})
        if verdict.revision >= by_reading.get(verdict.reading, verdict).revision:
            by_reading[verdict.reading] = verdict
    found: list[Reading] = []
    waiting = 0
    for record in sorted(drawn, key=lambda record: (record.received_at, record.id)):
        if label not in record.drawn:
            continue
        right = _right(said.get(record.id, {}), label)
        if right is None and now - record.received_at > overdue:
            right = False
        if right is None or waiting:
            waiting += 1
        else:
            found.append(Reading(record, right))
    return found, waiting


def _right(said: Mapping[int, VerdictRecord], label: str) -> bool | None:
    """None while it is open."""
    confirmed = {reading: verdict.answers.get(label) == "present" for reading, verdict in said.items()}
    if any(confirmed.values()):
        return True
    first, second = said.get(1), said.get(2)
    if first is not None and (second is not None or not first.second_reader):
        return False
    return None
