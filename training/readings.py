"""Blind readings in the deployment log: which images were drawn for a class, and whether people found it there.

A drawn image is **right** for a class when every blind reader who was asked calls the class present, and **wrong** as soon as
one does not: a certificate takes no split vote for a proof. It is **open** until those who were asked have read it. What is
open longer than `overdue` is wrong, and stays so if somebody reads it later: those that people put off may be the hard ones.
Readings of a recall say nothing here, since what is recalled was not drawn. Nor do golds, an adjudicator's answer or what
several readers agreed on: those decide about the image, and are asked because readers differed. Of an answer that was amended
counts the newest edition from before anybody relied on it; later ones are evidence of nothing and name no drawn class. Who left
it to an adjudicator did not confirm. Of two people who read as the same reader, because an index was lost, the earlier counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.record import PredictionRecord, VerdictRecord, arrow_schema, from_row
from training.errors import DataError

OVERDUE_DAYS = 7
_DAY = 24 * 3600 * 1_000_000


@dataclass(frozen=True)
class Reading:
    """One drawn image and what people found; None while it is open."""

    record: PredictionRecord
    right: bool | None


@dataclass(frozen=True)
class Log:
    """What a log holds of the images that some rules drew."""

    drawn: tuple[PredictionRecord, ...]
    """By arrival, the newest revision of each."""
    verdicts: tuple[VerdictRecord, ...]
    """The blind ones on these."""
    seen: Mapping[str, npt.NDArray[np.int64]]
    """Rules -> when each image came (microseconds, sorted) of which these rules could have drawn."""


def read(folder: Path, rules: Collection[str], sites: Collection[str]) -> Log:
    """What was drawn under the rules of these digests. `folder` is what `secondreader log export` wrote. Raises DataError.

    `seen` counts the images of `sites` that could have been drawn: they came as they are served, were read by the model, met
    the use conditions and were not merely captured.
    """
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    if not (folder / "predictions").is_dir():
        raise DataError(f"{folder} holds no predictions; name a folder that `secondreader log export` has written")
    wanted = ds.field("rules").isin(sorted(rules))
    drawn: dict[str, PredictionRecord] = {}
    for row in _rows(folder, "predictions", wanted & (pc.list_value_length(ds.field("drawn")) > 0)):
        record = from_row("predictions", row)
        assert isinstance(record, PredictionRecord)
        if record.revision >= drawn.get(record.id, record).revision:
            drawn[record.id] = record
    verdicts = []
    no_recall = ds.field("purpose").is_null() | (
        ds.field("purpose") != "recall"
    )  # a row from before it was asked has none
    for row in _rows(folder, "verdicts", ds.field("blind") & no_recall):
        if row["prediction"] in drawn:
            verdict = from_row("verdicts", row)
            assert isinstance(verdict, VerdictRecord)
            verdicts.append(verdict)
    came: dict[str, list[int]] = {digest: [] for digest in rules}
    columns = ["id", "rules", "received_at", "policy", "origin"]
    once: set[str] = set()
    for row in _rows(folder, "predictions", wanted & ds.field("site").isin(sorted(sites)), columns):
        if _could_be_drawn(row) and row["id"] not in once:
            once.add(row["id"])
            came[row["rules"]].append(int(row["received_at"].timestamp() * 1e6))
    return Log(
        tuple(sorted(drawn.values(), key=_arrival)),
        tuple(verdicts),
        {digest: np.sort(np.array(times, np.int64)) for digest, times in came.items()},
    )


def _could_be_drawn(row: Mapping[str, Any]) -> bool:
    """Whether an image could have been evidence, as the service has it. What a row's version did not know is null."""
    policy = row["policy"]
    if policy["mode"] == "capture" or policy["case"] == "open" or policy["control_stale"] or policy["out_of_scope"]:
        return False
    return bool(policy["available"]) and row["origin"] != "backfill"


def _rows(folder: Path, table: str, wanted: Any, columns: list[str] | None = None) -> Iterable[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    path = folder / table
    if not any(path.glob("**/*.parquet")):
        return
    schema = arrow_schema(table)
    try:
        found = ds.dataset(path, schema=schema, format="parquet", partitioning=None)
        kept = columns or [name for name in schema.names if name != "embedding"]
        for batch in found.to_batches(columns=kept, filter=wanted):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); write it anew with: secondreader log export") from None


def readings(
    drawn: Iterable[PredictionRecord],
    verdicts: Iterable[VerdictRecord],
    label: str,
    now: int,
    overdue: int = OVERDUE_DAYS * _DAY,
) -> list[Reading]:
    """What was drawn for a class, in the order of arrival. Pure. now and overdue are microseconds."""
    stands: dict[str, VerdictRecord] = {}
    for verdict in verdicts:
        if _evidence(verdict) and verdict.revision >= stands.get(verdict.id, verdict).revision:
            stands[verdict.id] = verdict
    said: dict[str, dict[int, VerdictRecord]] = {}
    for verdict in sorted(stands.values(), key=lambda each: (each.at, each.id)):
        said.setdefault(verdict.prediction, {}).setdefault(verdict.reading, verdict)
    found = []
    for record in sorted(drawn, key=_arrival):
        if label in record.drawn:
            end = record.received_at + overdue
            in_time = {reading: each for reading, each in said.get(record.id, {}).items() if each.at <= end}
            right = _right(in_time, label)
            found.append(Reading(record, False if right is None and now > end else right))
    return found


def _evidence(verdict: VerdictRecord) -> bool:
    return verdict.purpose != "recall" and bool(verdict.drawn) and not verdict.gold


def _right(said: Mapping[int, VerdictRecord], label: str) -> bool | None:
    """None while it is open: a second reader is asked for every class that the first doubts, and answers for all."""
    if any(verdict.answers.get(label) != "present" for verdict in said.values()):
        return False
    first = said.get(1)
    if first is None or (first.second_reader and first.doubts and 2 not in said):
        return None
    return True


def _arrival(record: PredictionRecord) -> tuple[int, str]:
    return record.received_at, record.id
